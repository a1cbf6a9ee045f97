from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import oomscope
from oomscope.sources.page_owner.stacks import PageOwnerStacksParser
from tests.support import captures

ReadText = Callable[..., oomscope.Evidence]

STACK = b" post_alloc_hook+0x6f/0xc2\n leak_mb_write+0x7b/0xaf [leak]\n"
OTHER = b" post_alloc_hook+0x6f/0xc2\n copy_process+0x2f0/0x1cc0\n"
FRAMES = ("post_alloc_hook+0x6f/0xc2", "leak_mb_write+0x7b/0xaf [leak]")


def show_stacks(stack: bytes, pages: int) -> bytes:
    r"""stack_print() of 6.9 to 7.x: the stack, seq_printf("nr_base_pages: %ld\\n\\n")."""
    return stack + b"nr_base_pages: %d\n\n" % pages


def show_stacks_6_9_rc(stack: bytes, allocations: int) -> bytes:
    r"""stack_print() of 6.9-rc and backports: seq_printf("stack_count: %d\\n\\n")."""
    return stack + b"stack_count: %d\n\n" % allocations


def show_handles(handle: int, pages: int) -> bytes:
    r"""6.19+: seq_printf("handle: %d\\nnr_base_pages: %ld\\n\\n")."""
    return b"handle: %d\nnr_base_pages: %d\n\n" % (handle, pages)


def show_stacks_handles(stack: bytes, handle: int) -> bytes:
    r"""6.19+: the stack, seq_printf("handle: %d\\n\\n")."""
    return stack + b"handle: %d\n\n" % handle


def test_the_real_file_is_read_whole() -> None:
    """Every block of a 6.12 show_stacks is counted: as many as it has count lines, their sum to the page."""
    text = captures.text(captures.SHOW_STACKS)
    parser = PageOwnerStacksParser()
    pages = [int(n) for batch in parser.batches(iter([text])) for n in (batch.pages if batch.pages is not None else [])]
    lines = [line for line in text.split(b"\n") if line.startswith(b"nr_base_pages: ")]
    assert (parser.notes.stats.records, parser.notes.stats.corrupt_records, parser.notes.stats.unknown_lines) == (
        len(lines),
        0,
        0,
    )
    assert sum(pages) == sum(int(line.split()[1]) for line in lines) == 39_168


def test_nr_base_pages_counts_pages(read_text: ReadText) -> None:
    """nr_base_pages are base pages, whatever order the blocks have."""
    counts = read_text(show_stacks(STACK, 35_072) + show_stacks(OTHER, 7)).latest.counts
    assert counts.pages is not None
    assert dict(zip((s.texts for s in counts.stacks), counts.pages.tolist(), strict=True))[FRAMES] == 35_072
    assert counts.blocks is None


def test_stack_count_counts_allocations_and_is_never_called_pages(tmp_path: Path) -> None:
    """stack_count is a number of allocations: no pages are claimed, the ranking is by allocations."""
    path = tmp_path / "show_stacks"
    path.write_bytes(show_stacks_6_9_rc(OTHER, 7) + show_stacks_6_9_rc(STACK, 4_001))
    verdict = oomscope.explain(path)
    assert verdict.greatest is None
    assert verdict.counted_pages is None
    assert verdict.partial
    assert [(h.blocks, str(h.culprit)) for h in verdict.most_allocations] == [
        (4_001, "leak_mb_write [leak]"),
        (7, "copy_process"),
    ]


def test_handles_and_stacks_are_joined(tmp_path: Path) -> None:
    """show_handles has the pages, show_stacks_handles the stacks; negative handles are the same modulo 2^32."""
    (tmp_path / "show_handles").write_bytes(show_handles(-5, 31) + show_handles(9, 4))
    alone = oomscope.explain(tmp_path / "show_handles")
    assert alone.greatest is not None
    assert (alone.greatest.pages, alone.greatest.holding.stack.handle) == (31, 2**32 - 5)
    (tmp_path / "show_stacks_handles").write_bytes(
        show_stacks_handles(STACK, 2**32 - 5) + show_stacks_handles(OTHER, 9)
    )
    joined = oomscope.explain(tmp_path)
    assert [(c.pages, str(c.holding.culprit)) for c in joined.consumers] == [
        (31, "leak_mb_write [leak]"),
        (4, "copy_process"),
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        STACK,
        STACK + b"nr_base_pages: many\n\n",
        STACK + b"nr_base_pages: 99999999999999999999\n\n",
        STACK + b"\xff\xfe\nnr_base_pages: 3\n\n",
        b" not a frame\nnr_base_pages: 3\n\n",
        STACK * 200 + b"nr_base_pages: 3\n\n",
        STACK + b"nr_base_pages: 3\n" + STACK + b"nr_base_pages: 4\n\n",
        b" " + b"a" * 100_000 + b"\nnr_base_pages: 3\n\n",
    ],
    ids=["cut", "word", "huge", "foreign line", "no frame", "deep", "no blank line", "long line"],
)
def test_a_spoilt_block_costs_only_itself(read_text: ReadText, spoilt: bytes) -> None:
    """A block that is no stack with a count is not counted; its neighbours are."""
    text = show_stacks(OTHER, 11) + spoilt
    if spoilt.endswith(b"\n\n"):
        text += show_stacks(STACK, 5)
    evidence = read_text(text)
    counts = evidence.latest.counts
    assert counts.pages is not None
    assert int(counts.pages.sum()) == (16 if spoilt.endswith(b"\n\n") else 11)
    assert evidence.latest.reading.notes.stats.corrupt_records == 1


def test_crlf(read_text: ReadText) -> None:
    """Line ends of a serial console make no difference."""
    counts = read_text(show_stacks(STACK, 5).replace(b"\n", b"\r\n")).latest.counts
    assert counts.pages is not None
    assert counts.pages.tolist() == [5]
