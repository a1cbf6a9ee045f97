"""What page_owner_sort makes of a dump tells the same holders as the dump: real outputs of its versions.

The fixtures are what the tool of 5.10, 6.1, 6.12 and 7.2 wrote when it was run on examples/leak-6.12/page_owner.zst.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import oomscope
from oomscope.sources import recognise
from tests.support import captures

DUMP = Path(__file__).parents[3] / "examples" / "leak-6.12" / "page_owner.zst"
OUTPUTS = sorted((captures.DATA / "page_owner_sort").glob("*.zst"))
OF_STACKS = [path for path in OUTPUTS if "cull-many" not in path.name]

Read = Callable[..., oomscope.Evidence]


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: path.name)
def test_the_same_holders_as_the_dump(path: Path) -> None:
    """Every culprit with its pages and stacks, and nothing spoilt."""
    of_dump, of_output = oomscope.explain(DUMP), oomscope.explain(path)
    assert [(str(row.culprit), row.pages, row.stacks) for row in of_output.culprits] == [
        (str(row.culprit), row.pages, row.stacks) for row in of_dump.culprits
    ]
    reading = oomscope.read(path).latest.reading
    assert (reading.format, reading.notes.stats.corrupt_records, reading.notes.stats.unknown_lines) == (
        "page_owner_sort",
        0,
        0,
    )


@pytest.mark.parametrize("path", OF_STACKS, ids=lambda path: path.name)
def test_beside_its_dump_it_is_a_witness(path: Path) -> None:
    """Never added: the pages stay those of the dump."""
    verdict = oomscope.explain(DUMP, path)
    (witness,) = verdict.witnesses
    assert witness.ours == witness.theirs
    assert verdict.greatest is not None
    assert verdict.greatest.pages == 40_009


def test_groups_without_stacks_name_nobody(read_text: Read) -> None:
    """--cull=pid leaves no stack: those groups are spoilt records, not holders."""
    text = b"7 times, 9 pages, PID 4\n3 times, 3 pages, PID 5:\n take_page+0x1/0x2 [oomlab]\n\n"
    reading = read_text(text).latest.reading
    assert (reading.notes.stats.records, reading.notes.stats.corrupt_records) == (1, 1)


def test_times_alone_need_an_order(read_text: Read) -> None:
    """Before pages were printed the header's order makes them: 3 blocks of order 2 are 12 pages."""
    text = b"3 times:\nPage allocated via order 2, mask 0xcc0(GFP_KERNEL)\n take_page+0x1/0x2 [oomlab]\n\n"
    text += b"5 times:\n take_page+0x1/0x2 [oomlab]\n\n"
    latest = read_text(text).latest
    assert latest.counts.pages is not None
    assert (int(latest.counts.pages.sum()), latest.reading.notes.stats.corrupt_records) == (12, 1)


def test_a_cut_output_keeps_its_whole_groups(read_text: Read) -> None:
    """Cut anywhere, it gives no more than the whole and never fails."""
    whole = captures.text(OF_STACKS[-1])
    total = read_text(whole).latest.counts.pages
    assert total is not None
    for cut in range(300, len(whole), len(whole) // 40):
        pages = read_text(whole[:cut]).latest.counts.pages
        assert pages is not None
        assert int(pages.sum()) <= int(total.sum())


def test_page_owner_itself_is_not_taken_for_it() -> None:
    """The dump stays page_owner's text."""
    source = recognise(captures.text(captures.AFTER_6_12)[: 1 << 20])
    assert source is not None
    assert source.format == "page_owner"
