from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import oomscope
from oomscope.sources.kernel_log.source import KernelLogParser
from tests.support import captures

FRAMES = ("post_alloc_hook+0x6f/0xc2", "leak_pages_show+0x11/0x17 [leak]", "seq_read_iter+0x160/0x30f")
OTHER = ("post_alloc_hook+0x6f/0xc2", "0xffffffffc0a81234")
REPORT = (
    "OOM: greatest memory consumer: 77671 pages are allocated from:",
    *(f" {frame}" for frame in FRAMES),
    "OOM: memory consumer #2: 1283 pages are allocated from:",
    *(f" {frame}" for frame in OTHER),
    "OOM: 496 stacks hold 121876 of 122923 pages; 17 pages not counted",
)


def test_the_dying_6_12_kernel_names_its_consumer() -> None:
    """The at-panic lines that a real kernel printed through the trace buffer are read to the page."""
    verdict = oomscope.explain(captures.CONSOLE_6_12)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 74_600
    assert str(verdict.greatest.holding.culprit) == "leak_kmalloc_show [leak]"
    assert len(verdict.greatest.holding.stack.frames) == 16
    assert (verdict.counted_stacks, verdict.counted_pages) == (496, 117_173)
    assert verdict.oom is not None
    assert verdict.oom.panic is True
    assert verdict.kernel.release == "6.12.117"
    assert verdict.at_ns == 29_443_894_000


def test_the_dying_6_1_kernel_names_its_consumer() -> None:
    """The same on 6.1, whose prototype printed other totals: what is not said is not known."""
    verdict = oomscope.explain(captures.CONSOLE_6_1)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 77_671
    assert str(verdict.greatest.holding.culprit) == "leak_pages_show [leak]"
    assert any("totals" in absent.what for absent in verdict.absent)
    assert verdict.partial


def _ftrace(line: str) -> str:
    return f"           <...>-1       [000] d..2.    19.637216: bpf_trace_printk: {line}"


PREFIXES: dict[str, Callable[[str], str]] = {
    "none": lambda line: line,
    "printk time": lambda line: f"[   19.637216] {line}",
    "level and time": lambda line: f"<4>[   19.637216] {line}",
    "caller": lambda line: f"[   19.637216][    T1] {line}",
    "dmesg -T": lambda line: f"[Thu Nov 19 21:02:11 2026] {line}",
    "journal": lambda line: f"Nov 19 21:02:11 host kernel: {line}",
    "syslog with time": lambda line: f"Nov 19 21:02:11 host kernel: [   19.637216] {line}",
    "tp_printk": lambda line: f"[   19.637216] bpf_trace_printk: {line}",
    "ftrace": _ftrace,
    "ftrace dump": lambda line: f"[   20.828407]    <...>-1         1....1 19637216us : bpf_trace_printk: {line}",
    "quoted": lambda line: f"> [   19.637216] {line}",
    "journal as JSON": lambda line: json.dumps({"MESSAGE": line, "PRIORITY": "4"}),
    # Of no known form: what the stamp within the line cuts off is no line of its own.
    "docker -t": lambda line: f"2026-01-05T10:00:00.123456789Z [   19.637216] {line}",
    "grep -n": lambda line: f"12:[   19.637216] {line}",
    "LAVA": lambda line: f"10:00:00.123456 console-7: [   19.637216] {line}",
    "compose": lambda line: f"node1  | [   19.637216] {line}",
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES.keys())
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_whatever_stands_before_the_lines(tmp_path: Path, prefix: Callable[[str], str], end: str) -> None:
    """Printk, ftrace, syslog and journal prefixes, and CRLF, are passed over."""
    around = ["Kernel panic - not syncing: System is deadlocked on memory", "CPU: 0 PID: 1 Comm: init", "Call Trace:"]
    tail = [" dump_stack_lvl+0x5d/0x80", " panic+0x118/0x2d3"]
    lines = [prefix(line) for line in ("Mem-Info:", *REPORT, *around, *tail)]
    path = tmp_path / "console.log"
    path.write_bytes(end.join(lines).encode() + end.encode())
    verdict = oomscope.explain(path)
    assert [(c.pages, c.holding.stack.texts) for c in verdict.consumers] == [(77_671, FRAMES), (1_283, OTHER)]
    assert (verdict.counted_stacks, verdict.counted_pages, verdict.ram_pages) == (496, 121_876, 122_923)
    assert verdict.consumers[0].share_of_ram == pytest.approx(77_671 / 122_923)


@pytest.mark.parametrize("word", ["greatest", "largest"])
def test_both_words_of_the_patch_are_known(tmp_path: Path, word: str) -> None:
    """The patch's first version said largest, its second greatest."""
    path = tmp_path / "console.log"
    path.write_text("\n".join(REPORT[:4]).replace("greatest", word))
    verdict = oomscope.explain(path)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 77_671


def test_lines_of_another_cpu_between_the_frames(tmp_path: Path) -> None:
    """With caller ids, another task's lines between two frames neither end the stack nor enter it."""
    lines = [f"[   19.637216][    T1] {line}" for line in REPORT]
    lines.insert(2, "[   19.637217][    C1] e1000: link is down")
    lines.insert(4, "[   19.637218][   T77]  stranger+0x1/0x2")
    path = tmp_path / "console.log"
    path.write_text("\n".join(lines))
    assert [c.holding.stack.texts for c in oomscope.explain(path).consumers] == [FRAMES, OTHER]


def test_the_call_trace_of_the_panic_is_no_part_of_a_stack(tmp_path: Path) -> None:
    """A stack ends at the first line that is no frame: the panic's own backtrace does not lengthen it."""
    lines = [*REPORT[:4], "Kernel panic - not syncing: Out of memory", "Call Trace:", " <TASK>", " panic+0x118/0x2d3"]
    path = tmp_path / "console.log"
    path.write_text("\n".join(lines))
    verdict = oomscope.explain(path)
    assert [c.holding.stack.texts for c in verdict.consumers] == [FRAMES]


def test_of_two_reports_the_last_one_counts(tmp_path: Path) -> None:
    """A log over two boots is explained by its last report."""
    again = [line.replace("77671", "88001") for line in REPORT]
    path = tmp_path / "console.log"
    path.write_text("\n".join([*REPORT, "Linux version 6.1.0 (x) y", *again]))
    verdict = oomscope.explain(path)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 88_001


def test_chunks_cut_anywhere() -> None:
    """The report is found wherever the bytes are cut."""
    text = ("[ 1.000000] quiet\n" * 50 + "\n".join(REPORT) + "\n").encode()
    for piece in (1, 3, 50, 1000):
        parser = KernelLogParser()
        batches = list(parser.batches(_pieces(text, piece)))
        assert [batch.pages.tolist() for batch in batches if batch.pages is not None] == [[77_671, 1_283]]


def test_a_header_of_the_oom_killer_alone_says_what_is_missing(tmp_path: Path) -> None:
    """Of an OOM of which one line is left, the class is undetermined and the verdict names what the log lacks."""
    path = tmp_path / "dmesg"
    path.write_text("[    1.000000] sh invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n")
    verdict = oomscope.explain(path)
    assert verdict.oom is not None
    assert (verdict.oom.oom_class, verdict.oom.certainty, verdict.partial) == ("undetermined", "possible", True)
    assert {"Mem-Info", "who was killed"} <= {absent.what for absent in verdict.absent}


def test_a_log_without_any_oom_has_nothing_to_explain(tmp_path: Path) -> None:
    """A kernel log of quiet times is recognised as one, and says nothing."""
    path = tmp_path / "dmesg"
    path.write_text("[    1.000000] usb 1-1: new device\n" * 10)
    with pytest.raises(oomscope.NothingToExplain, match="a kernel log without any OOM or allocation failure"):
        oomscope.explain(path)


def _pieces(text: bytes, size: int) -> Iterable[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES.keys())
def test_a_report_behind_megabytes_of_log(tmp_path: Path, prefix: Callable[[str], str]) -> None:
    """A log is searched to its end, whatever its lines begin with."""
    path = tmp_path / "console.log"
    quiet = prefix("usb 1-1: new high-speed device") + "\n"
    path.write_text(quiet * ((2 << 20) // len(quiet)) + "\n".join(map(prefix, REPORT)) + "\n")
    verdict = oomscope.explain(path)
    assert [c.pages for c in verdict.consumers] == [77_671, 1_283]


def test_a_later_report_that_is_cut_does_not_hide_a_whole_one(tmp_path: Path) -> None:
    """Of two reports the last that has a stack is explained."""
    path = tmp_path / "console.log"
    path.write_text("\n".join([*REPORT, REPORT[0].replace("77671", "5")]) + "\n")
    verdict = oomscope.explain(path)
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 77_671


def test_colours_of_dmesg_are_passed_over(tmp_path: Path) -> None:
    """Dmesg --color=always writes escapes around time and text."""
    path = tmp_path / "dmesg"
    path.write_text("".join(f"\x1b[32m[   19.637216] \x1b[0m\x1b[31m{line}\x1b[0m\n" for line in REPORT))
    assert [c.holding.stack.texts for c in oomscope.explain(path).consumers] == [FRAMES, OTHER]


def test_raw_kmsg_tells_the_time(tmp_path: Path) -> None:
    """/dev/kmsg has microseconds in its third field."""
    path = tmp_path / "kmsg"
    path.write_text("".join(f"6,{1234 + i},19637216,-;{line}\n" for i, line in enumerate(REPORT)))
    verdict = oomscope.explain(path)
    assert (verdict.at_ns, [c.pages for c in verdict.consumers]) == (19_637_216_000, [77_671, 1_283])
