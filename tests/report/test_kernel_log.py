from __future__ import annotations

from pathlib import Path

import oomscope
from oomscope.report import kernel_log
from tests.support import captures


def test_exactly_the_lines_of_the_patch() -> None:
    """One header and the frames in %pS form with one leading space: what the 2020 patch prints, ready for a mail."""
    assert kernel_log.render(oomscope.explain(captures.AFTER_6_12)) == (
        "OOM: greatest memory consumer: 35072 pages are allocated from:\n"
        " post_alloc_hook+0x6f/0xc2\n"
        " prep_new_page+0x1c/0x4f\n"
        " get_page_from_freelist+0x839/0x97f\n"
        " __alloc_pages_noprof+0xea/0x1b3\n"
        " alloc_pages_mpol_noprof+0xae/0x1b6\n"
        " leak_mb_write+0x7b/0xaf [leak]\n"
        " proc_reg_write+0x86/0x9d\n"
        " vfs_write+0xa4/0x19d\n"
        " ksys_write+0x83/0xc4\n"
        " do_syscall_64+0x4e/0xa4\n"
        " entry_SYSCALL_64_after_hwframe+0x4b/0x53\n"
    )


def test_what_a_dying_kernel_printed_comes_out_again() -> None:
    """The lines read from a console are printed as the kernel printed them."""
    text = captures.text(captures.CONSOLE_6_12).decode(errors="replace")
    printed = [
        line.partition("bpf_trace_printk: ")[2].rstrip() for line in text.splitlines() if "bpf_trace_printk" in line
    ]
    report = printed[: next(i for i, line in enumerate(printed) if "stacks hold" in line)]
    assert kernel_log.render(oomscope.explain(captures.CONSOLE_6_12)).splitlines() == report


def test_more_than_one_stack_reads_back_as_evidence(tmp_path: Path) -> None:
    """With --top the next stacks follow as numbered consumers, and the text is evidence again."""
    verdict = oomscope.explain(captures.AFTER_6_12)
    text = kernel_log.render(verdict, top=3)
    assert text.count("OOM: memory consumer #") == 2
    path = tmp_path / "mail"
    path.write_text("> " + text.replace("\n", "\n> "))
    again = oomscope.explain(path)
    assert [(c.pages, c.holding.stack.texts) for c in again.consumers] == [
        (c.pages, c.holding.stack.texts) for c in verdict.consumers[:3]
    ]
