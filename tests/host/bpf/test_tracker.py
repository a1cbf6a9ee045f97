"""The table of owners: its layout, what it costs, and its text. What kernels put into it is tested in the lab."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oomscope
from oomscope.attribution.tally import Tally
from oomscope.errors import NoAccess, NotOffered
from oomscope.host.bpf import arm
from oomscope.host.bpf import tracker as tracking
from oomscope.model.stack import Frame, parse_frame
from oomscope.sources.tracker import layout
from oomscope.sources.tracker.layout import COUNTERS, FIRST_SLOT, PageOwners, stack_dtype, state_dtype
from oomscope.sources.tracker.table import OwnerRows
from oomscope.sources.tracker.text import TrackedText, text_of
from tests.host.bpf.test_arm import machine

BPF = Path(oomscope.__file__).parent / "host" / "bpf"
BYTES = {"__u64": 8, "__u32": 4}
IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-2fffffff : System RAM
  01000000-01a00000 : Kernel code
100000000-10fffffff : CXL Window 0
  100000000-107ffffff : System RAM (kmem)
"""
FREE = dict.fromkeys(COUNTERS, 0)


def header_text() -> str:
    return re.sub(r"/\*.*?\*/", "", (BPF / "owners_layout.h").read_text(), flags=re.DOTALL)


def members(name: str) -> list[tuple[str, int]]:
    """Names and sizes in bytes of a structure's members, by the header alone."""
    constants = {"OWNER_FRAMES": layout.FRAMES, "HOOKS": 3}
    body = re.search(rf"struct {name} \{{(.*?)\n\}};", header_text(), re.DOTALL)
    assert body is not None
    found = re.findall(r"(__u\d\d) (\w+)(?:\[(\w+)\])?;", body[1])
    return [(member, BYTES[kind] * (constants[count] if count else 1)) for kind, member, count in found]


def test_the_layout_is_the_headers() -> None:
    """What Python reads is what C writes: members, sizes, order and limits come from the header."""
    assert re.search(rf"#define OWNER_FRAMES {layout.FRAMES}\n", header_text().replace(" \n", "\n"))
    assert re.search(rf"#define OWNER_BLOCK_PAGES {layout.BLOCK_PAGES}\n", header_text())
    assert re.search(rf"#define OWNER_LAST_STEP {layout.LAST_STEP}\n", header_text())
    slots = {"LEFT_OUT": layout.LEFT_OUT, "TABLE_FULL": layout.TABLE_FULL, "NO_STACK": layout.NO_STACK}
    assert re.search(rf"\tFIRST_SLOT = {FIRST_SLOT},", header_text())
    for name, slot in slots.items():
        assert re.search(rf"SLOT_{name} = {slot},", header_text())
    assert re.search(rf"#define MOST_ALLOCATORS {tracking._MOST_ALLOCATORS}\n", (BPF / "owners.h").read_text())
    for name, dtype in (("owner_state", state_dtype()), ("owned_stack", stack_dtype())):
        assert dtype.names is not None
        assert [(each, dtype[each].itemsize) for each in dtype.names] == members(name)
    assert [name for name, _ in members("owner_counters")] == list(COUNTERS)


def test_holes_are_not_paid_for(tmp_path: Path) -> None:
    """Blocks of 128 MiB in which RAM lies, nested ranges too; nothing for what lies between them."""
    planned = tracking.plan(machine(tmp_path, proc__iomem=IOMEM), kernel_only=False)
    assert planned.blocks == (0, 1, 2, 3, 4, 5, 32)
    assert planned.table_bytes == 7 * 32768 * 4
    assert planned.stacks == 8192
    with pytest.raises(NotOffered, match="does not tell where RAM is"):
        tracking.plan(machine(tmp_path / "hidden", proc__iomem="00000000-00000000 : System RAM\n"), kernel_only=False)


def test_the_cost_is_refused_or_asked_about(tmp_path: Path) -> None:
    """Beyond a fiftieth of what is available only when confirmed, beyond half of it never; told with the numbers."""
    planned = tracking.plan(machine(tmp_path, proc__iomem=IOMEM), kernel_only=False)
    for available_kib, confirmed, message in (
        (1 << 20, False, None),
        (50_000, True, None),
        (50_000, False, "tracking takes 3.1 MiB"),
        (3_000, True, "not enough memory"),
    ):
        this = machine(tmp_path, proc__meminfo=f"MemAvailable: {available_kib} kB\n")
        if message is None:
            tracking.require_memory(this, planned, confirmed=confirmed)
        else:
            with pytest.raises(NotOffered, match=message):
                tracking.require_memory(this, planned, confirmed=confirmed)


def test_the_time_that_is_told_is_the_guides() -> None:
    """One measurement: its figures stand in the guide's table and in what `arm` says."""
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "track.md").read_text()
    (row,) = re.findall(r"^\| page faults \|(.*)\|$", guide, re.MULTILINE)
    _, kernel_only, everything, *_ = (float(cell) for cell in row.split("|"))
    assert (kernel_only, everything) == (tracking.FAULTS_OF_KERNEL_ONLY, tracking.FAULTS_OF_ALL)


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ("bpf_for_each_map_elem", "no bpf_for_each_map_elem"),
        ("bpf_snprintf", "no bpf_for_each_map_elem"),
        ("__traceiter_mm_page_free", "no tracepoints"),
        ("vm_zone_stat", "vm_zone_stat"),
    ],
)
def test_what_a_kernel_lacks_is_named(tmp_path: Path, lacking: str, told: str) -> None:
    """Each thing that tracking needs, taken away alone."""
    needed = [
        "bpf_for_each_map_elem",
        "bpf_snprintf",
        "__traceiter_mm_page_alloc",
        "__traceiter_mm_page_free",
        "mem_section",
        "vm_zone_stat",
    ]
    lines = [f"ffffffff81000000 T {name}\n" for name in [*needed, "_totalram_pages"] if name != lacking]
    with pytest.raises(NotOffered, match=told):
        tracking.require(machine(tmp_path, proc__kallsyms="".join(lines)))


def table(entries: list[int], stacks: int = 8) -> PageOwners:
    """A table of one block at block number 3, with a stack of two frames in each slot that may have one."""
    block = np.zeros(layout.BLOCK_PAGES, np.uint32)
    block[: len(entries)] = entries
    records = np.zeros(stacks, stack_dtype())
    for slot in range(FIRST_SLOT, stacks):
        records[slot]["hash"], records[slot]["frames"] = slot, 2
        records[slot]["frame"][:2] = (0x1000, 0x2000 + slot)
    places = np.array([0, 0, 0, 1], np.uint64)
    counters = layout.OwnerCounters(**FREE)
    return PageOwners(
        5 * 10**9,
        500 * 10**9,
        1_024_000_000,
        records,
        places,
        [block].__getitem__,
        counters,
        np.zeros((1, len(records)), np.int64),
    )


def frames_of(addresses: object) -> tuple[Frame, ...]:
    assert isinstance(addresses, list)
    found = [parse_frame(f"function_{address:x}+0x1/0x2") for address in addresses]
    return tuple(frame for frame in found if frame is not None)


def test_entries_are_found_by_their_page_frame() -> None:
    """Over the edges of blocks; what the table does not reach has no owner."""
    this = table([4 << 16, 5 << 16])
    start = 3 * layout.BLOCK_PAGES
    assert this.entries(start - 1, 4).tolist() == [0, 4 << 16, 5 << 16, 0]
    assert this.entries(start + layout.BLOCK_PAGES - 1, 3).tolist() == [0, 0, 0]


def test_times_are_exact_for_nine_hours_and_coarse_then() -> None:
    """A step each up to 32,768, 256 of them each after that."""
    times = (table([]).allocated_ns(np.array([0, 1, 32768, 32769])) - 5 * 10**9) // 1_024_000_000
    assert times.tolist() == [0, 1, 32768, 32768 + 256]


@given(st.lists(st.integers(1, 7).flatmap(lambda slot: st.integers(0, 400).map(lambda step: slot << 16 | step))))
def test_the_text_gives_back_what_the_table_says(entries: list[int]) -> None:
    """Pages per stack are the entries', in the rows and read back from the text; what has no stack is said."""
    expected: dict[str, int] = {}
    for entry in entries:
        if entry >> 16 >= FIRST_SLOT:
            name = f"function_{0x2000 + (entry >> 16):x}"
            expected[name] = expected.get(name, 0) + 1
    rows = OwnerRows(table(entries), frames_of)
    text = "".join(text_of(rows, 500 * 10**9)).encode()
    assert TrackedText().recognises(text)
    parser, tally = TrackedText().parser(ranking_only=False), Tally()
    for batch in parser.batches([text[:100], text[100:]]):
        tally.add(batch)
    counts = tally.counts()
    pages = [] if counts.pages is None else counts.pages.tolist()
    assert {stack.frames[1].symbol: held for stack, held in zip(counts.stacks, pages, strict=True)} == expected
    assert parser.notes.stats.corrupt_records == parser.notes.stats.unknown_lines == 0
    assert parser.notes.absent == rows.notes.absent
    assert len(rows.notes.absent) == 1 + len({entry >> 16 for entry in entries} & {1, 2, 3})


@given(st.binary(max_size=300), st.integers(0, 600))
def test_spoilt_text_costs_only_its_own_block(damage: bytes, at: int) -> None:
    """Whatever stands in it, no exception; pages are never more than were written."""
    rows = OwnerRows(table([4 << 16] * 7 + [5 << 16 | 3] * 5), frames_of)
    text = "".join(text_of(rows, 500 * 10**9)).encode()
    parser, tally = TrackedText().parser(ranking_only=False), Tally()
    for batch in parser.batches([text[:at] + b"\n" + damage.replace(b"nr_base", b"") + b"\n" + text[at:]]):
        tally.add(batch)
    pages = tally.counts().pages
    assert pages is None or int(pages.sum()) <= 12


def test_stacks_are_named_in_one_go() -> None:
    """However many there are: naming reads the kernel's symbols, which is not to be done for each."""
    asked: list[int] = []

    def counted(addresses: list[int]) -> tuple[Frame, ...]:
        asked.append(len(addresses))
        return frames_of(addresses)

    rows = OwnerRows(table([slot << 16 for slot in range(FIRST_SLOT, 20)], stacks=20), counted)
    assert sum(int(batch.pages.sum()) for batch in rows.batches() if batch.pages is not None) == 16
    assert len(asked) == 1


def test_tracking_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody else is told in a sentence, with exit code 4, before anything is written."""
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    this = machine(tmp_path, proc__iomem=IOMEM)
    planned = tracking.plan(this, kernel_only=False)
    with pytest.raises(NoAccess, match="arming and disarming need root") as refused:
        arm.arm(this, top=3, on_kill=False, track=planned)
    assert refused.value.exit_code == 4
    assert not this.path(arm.STATE).exists()
