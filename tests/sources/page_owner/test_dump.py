from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import oomscope
from oomscope.attribution.tally import Tally
from oomscope.model.counts import Counts
from oomscope.sources.page_owner.dump import PageOwnerParser
from tests.support import brute_force, captures
from tests.support.transcriptions import EARLY, FORMS, ORDINARY, Form, Record, awkward_records, linux_6_1, linux_6_12

ReadText = Callable[..., oomscope.Evidence]


def parse(text: bytes, *, piece: int = 1 << 20, ranking_only: bool = False) -> tuple[Counts, PageOwnerParser]:
    """Counts of a dump whose bytes come in pieces of a size."""

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(text), piece):
            yield text[start : start + piece]

    parser = PageOwnerParser(ranking_only=ranking_only)
    tally = Tally()
    for batch in parser.batches(pieces()):
        tally.add(batch)
    return tally.counts(), parser


def pages_per_stack(counts: Counts) -> Counter[tuple[str, ...]]:
    assert counts.pages is not None
    return Counter({s.texts: p for s, p in zip(counts.stacks, counts.pages.tolist(), strict=True) if p})


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_kernel_form_is_counted_to_the_page(form: Form) -> None:
    """Each kernel's records, awkward ones too, are all counted, with their orders."""
    records = awkward_records()
    counts, parser = parse(b"".join(form.text(r) for r in records))
    assert counts.pages is not None
    assert (parser.notes.stats.records, parser.notes.stats.corrupt_records) == (len(records), 0)
    assert int(counts.pages.sum()) == sum(1 << r.order for r in records)
    if form.has_frames:
        expected: Counter[tuple[str, ...]] = Counter()
        for r in records:
            expected[r.frames] += 1 << r.order
        assert pages_per_stack(counts) == expected
    else:
        assert {s.handle for s in counts.stacks} == {11, 12}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_field_of_every_form_is_read_or_absent(form: Form) -> None:
    """Pid, comm, time, node and memcg come through where the kernel prints them and are None where it does not."""
    r = replace(ORDINARY, order=2, pfn=0x1000, comm=b"a) (b", memcg=b"grp")
    counts, _ = parse(form.text(r))
    (task,) = counts.tasks.values
    (place,) = counts.places.values
    (request,) = counts.requests.values
    assert (request.order, request.gfp_mask, request.gfp_flags) == (2, 0xCC0, "GFP_KERNEL")
    assert task.pid == (54 if form.has_pid else None)
    assert task.comm == ("a) (b" if form.has_comm else None)
    assert task.tgid == (53 if form.has_comm and form.name != "5.18-rc" else None)
    assert (place.node, place.zone) == ((0, 1) if form.has_place else (None, None))
    charged = {memcg for memcg, pages in zip(counts.memcgs.values, counts.memcgs.pages.tolist(), strict=True) if pages}
    assert charged == ({"grp"} if form.has_memcg else {None})
    assert counts.timed_pages.tolist() == ([4] if form.has_time else [0])
    if form.has_time:
        assert counts.first_ns.tolist() == [r.ts_ns]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_where_chunks_are_cut_makes_no_difference(form: Form, piece: int) -> None:
    """The same counts come out whatever the size of the pieces that the bytes arrive in."""
    text = b"".join(form.text(r) for r in awkward_records())
    counts, parser = parse(text, piece=piece)
    whole, whole_parser = parse(text)
    assert pages_per_stack(counts) == pages_per_stack(whole)
    assert parser.notes == whole_parser.notes


@pytest.mark.parametrize("path", captures.DUMPS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_real_dump_equals_a_slow_reading_of_it(path: Path) -> None:
    """Pages per stack, task, order, node, memcg and time of a real capture equal a line-by-line reading."""
    seen = brute_force.records(captures.text(path))
    counts, parser = parse(captures.text(path))
    assert parser.notes.stats.records == len(seen)
    assert (parser.notes.stats.corrupt_records, parser.notes.stats.unknown_lines) == (0, 0)
    assert pages_per_stack(counts) == brute_force.sums(seen)
    tasks: Counter[tuple[object, ...]] = Counter()
    orders: Counter[int] = Counter()
    memcgs: Counter[str | None] = Counter()
    for record in seen:
        tasks[record.pid, record.tgid, record.comm] += record.pages
        orders[record.order] += record.pages
        memcgs[record.memcg] += record.pages
    got = zip(counts.tasks.values, counts.tasks.pages.tolist(), strict=True)
    assert {(t.pid, t.tgid, t.comm): p for t, p in got} == tasks
    by_order: Counter[int] = Counter()
    for request, pages in zip(counts.requests.values, counts.requests.pages.tolist(), strict=True):
        by_order[request.order] += pages
    assert by_order == orders
    assert dict(zip(counts.memcgs.values, counts.memcgs.pages.tolist(), strict=True)) == memcgs
    assert int(counts.last_ns.max()) == max(record.ts_ns or 0 for record in seen)


@pytest.mark.parametrize("path", captures.DUMPS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_ranking_only_gives_the_same_ranking(path: Path) -> None:
    """The faster reading that leaves tasks and times out counts the same pages per stack."""
    full, _ = parse(captures.text(path))
    ranked, parser = parse(captures.text(path), ranking_only=True)
    assert pages_per_stack(ranked) == pages_per_stack(full)
    assert parser.notes.stats.records == full.rows


@pytest.mark.parametrize(
    ("path", "transcription"), [(captures.AFTER_6_1, linux_6_1), (captures.AFTER_6_12, linux_6_12)], ids=["6.1", "6.12"]
)
def test_the_transcriptions_print_what_real_kernels_print(path: Path, transcription: Callable[[Record], bytes]) -> None:
    """Printing every record of a real capture again by transcription gives the capture, byte for byte."""
    text = captures.text(path)
    printed = b"".join(transcription(_as_record(block)) for block in text.split(b"\n\n") if block)
    assert printed == text


def _as_record(block: bytes) -> Record:
    lines = block.decode().split("\n")
    pfn_words = lines[1].split(" ")
    flags, _, names = pfn_words[9].partition("(")
    (seen,) = brute_force.records(block)
    free_ts = lines[0].rpartition("free_ts ")[2].removesuffix(" ns")
    charged = [line for line in lines if line.startswith("Charged")]
    return Record(
        order=seen.order,
        gfp_mask=seen.gfp_mask,
        gfp_flags=seen.gfp_flags,
        pid=seen.pid or 0,
        tgid=seen.tgid or 0,
        comm=(seen.comm or "").encode(),
        ts_ns=seen.ts_ns or 0,
        free_ts_ns=int(free_ts) if free_ts.isdigit() else 0,
        pfn=int(pfn_words[1], 0),
        migratetype=pfn_words[3],
        pageblock_type=pfn_words[7],
        flags=int(flags, 16),
        flag_names=names.rstrip(")"),
        frames=seen.frames,
        migrate_reason=next((m.partition("reason: ")[2] for m in lines if m.startswith("Page has been")), None),
        memcg=None if seen.memcg is None else seen.memcg.encode(),
        via_objcg=any("via objcg" in line for line in charged),
        offline=any("offline" in line for line in charged),
        slab_page="Slab cache page" in lines,
    )


def test_optional_lines_are_no_frames() -> None:
    """Memcg, slab and migration lines do not split a stack: the 2020 patch counted per stack, and so do we."""
    r = replace(ORDINARY, memcg=b"a", slab_page=True, migrate_reason="compaction")
    others = [replace(r, memcg=b"b"), replace(r, memcg=None), replace(r, migrate_reason=None), ORDINARY]
    counts, _ = parse(b"".join(linux_6_12(each) for each in [r, *others]))
    assert pages_per_stack(counts) == {ORDINARY.frames: 5}


def test_crlf_and_missing_last_blank_line() -> None:
    """A dump that went through a serial console, or lost its last blank line, counts the same."""
    text = b"".join(linux_6_12(r) for r in awkward_records() if b"\n" not in r.comm)
    expected = pages_per_stack(parse(text)[0])
    assert pages_per_stack(parse(text.replace(b"\n", b"\r\n"))[0]) == expected
    assert pages_per_stack(parse(text.replace(b"\n", b"\r\r\n"), piece=13)[0]) == expected
    assert pages_per_stack(parse(text[:-1])[0]) == expected
    assert pages_per_stack(parse(text[:-2])[0]) == expected
    assert pages_per_stack(parse(text.replace(b"\n\n", b"\n"))[0]) == expected


def test_a_dump_cut_in_a_record_counts_the_others() -> None:
    """A record that the end of the file cuts is not counted under a stack of its own."""
    whole = linux_6_12(ORDINARY) * 3
    one = len(linux_6_12(ORDINARY))
    for length in range(2 * one + 1, 3 * one - 1):
        counts, parser = parse(whole[:length])
        stacks = pages_per_stack(counts)
        counted = stacks.pop(ORDINARY.frames)
        assert counted == 2 or (counted == 3 and length >= 3 * one - 2), length
        assert sum(stacks.values()) <= 1, length
        assert counted + sum(stacks.values()) + parser.notes.stats.corrupt_records in (2, 3), length


def test_a_record_run_into_by_the_next_costs_only_itself() -> None:
    """Where a record lost its end, the next one on the same line is still counted."""
    first, second = linux_6_12(ORDINARY), linux_6_12(replace(ORDINARY, frames=EARLY.frames))
    counts, parser = parse(first * 2 + first[:-30] + second + first)
    assert pages_per_stack(counts) == {ORDINARY.frames: 3, EARLY.frames: 1}
    assert parser.notes.stats.corrupt_records == 1


def test_a_foreign_line_inside_a_stack_spoils_that_record() -> None:
    """A printk line between two frames makes a record that is not counted under a shortened stack."""
    record = linux_6_12(ORDINARY)
    foreign = record.replace(b" vfs_write", b"[   12.345678] e1000: link is up\n vfs_write", 1)
    counts, parser = parse(record + foreign + record)
    assert pages_per_stack(counts) == {ORDINARY.frames: 2}
    assert parser.notes.stats.corrupt_records == 1


def test_text_around_the_records_is_counted_as_unknown_lines() -> None:
    """A shell prompt before and a message behind the dump are counted, not taken for frames."""
    record = linux_6_12(ORDINARY)
    counts, parser = parse(b"# cat page_owner\n" + record + record + b"cat: read error: Cannot allocate memory\n")
    assert pages_per_stack(counts) == {ORDINARY.frames: 2}
    assert parser.notes.stats.unknown_lines == 2


@pytest.mark.parametrize(
    "damage",
    [
        (b"order 0", b"order 99999"),
        (b"order 0", b"order 23"),
        (b"order 0", b"order 18446744073709551616"),
        (b"order 0", b"order -1"),
        (b"ts 5423000001", b"ts 99999999999999999999999"),
        (b"ts 5423000001", b"ts 9223372036854775808"),
        (b"ts 5423000001", b"ts -5"),
        (b"pid 54", b"pid 99999999999999999999"),
        (b"mask 0xcc0", b"mask 0xfffffffffffffffffffff"),
        (b"0x100000000000000(", b"(("),
        (b"PFN 0x1000 type Unmovable Block 8 type Unmovable Flags 0x100000000000000(node=0|zone=1)\n", b""),
    ],
    ids=lambda damage: damage[1].decode() or "no PFN line",
)
def test_numbers_beyond_all_bounds_spoil_their_record(damage: tuple[bytes, bytes]) -> None:
    """An order, time, pid or mask that no kernel can print costs its record and nothing else."""
    record = linux_6_12(ORDINARY)
    spoilt = record.replace(*damage, 1)
    assert spoilt != record
    counts, parser = parse(record + spoilt + record)
    assert pages_per_stack(counts) == {ORDINARY.frames: 2}
    assert (parser.notes.stats.records, parser.notes.stats.corrupt_records) == (2, 1)


def test_a_gigantic_folio_is_believed_at_an_aligned_pfn_only() -> None:
    """An order beyond the buddy allocator's counts where the PFN is a multiple of it, as a 1 GiB page's is."""
    gigantic = replace(ORDINARY, order=18, pfn=1 << 18)
    counts, _ = parse(linux_6_12(ORDINARY) + linux_6_12(gigantic))
    assert pages_per_stack(counts) == {ORDINARY.frames: (1 << 18) + 1}
    counts, parser = parse(linux_6_12(ORDINARY) + linux_6_12(replace(gigantic, pfn=0x1001)))
    assert pages_per_stack(counts) == {ORDINARY.frames: 1}
    assert parser.notes.stats.corrupt_records == 1


def test_handles_are_resolved_by_another_reading(tmp_path: Path) -> None:
    """A dump in mode=handle gets its stacks from show_stacks_handles, whose handles may be printed negative."""
    handle = 0x80000001
    records = b"".join(
        b"Page allocated via order 1, mask 0xcc0(GFP_KERNEL), pid 1, tgid 1 (a), ts %d ns\n"
        b"PFN 0x%x type Unmovable Block 8 type Unmovable Flags 0x1(node=0|zone=1)\nhandle: %d\n\n"
        % (i, 0x1000 + 2 * i, handle)
        for i in range(5)
    )
    stacks = b"".join(b" %s\n" % frame.encode() for frame in ORDINARY.frames)
    (tmp_path / "page_owner").write_bytes(records)
    unresolved = oomscope.explain(tmp_path)
    assert unresolved.greatest is not None
    assert unresolved.greatest.holding.culprit is None
    assert (unresolved.greatest.pages, unresolved.greatest.holding.stack.handle) == (10, handle)
    (tmp_path / "show_stacks_handles").write_bytes(stacks + b"handle: %d\n\n" % (handle - (1 << 32)))
    verdict = oomscope.explain(tmp_path)
    assert verdict.greatest is not None
    assert verdict.greatest.holding.stack.texts == ORDINARY.frames
    assert (verdict.greatest.pages, str(verdict.greatest.holding.culprit)) == (10, "leak_mb_write [leak]")


def test_a_line_of_any_length_is_read_past(read_text: ReadText) -> None:
    """A record that is one endless line is skipped in bounded memory, and the records around it count."""
    record = linux_6_12(ORDINARY)
    endless = b"Page allocated via order 0, mask " + b"A" * (3 << 20)
    evidence = read_text(record * 2 + endless + b"\n" + record * 2)
    assert pages_per_stack(evidence.latest.counts) == {ORDINARY.frames: 4}
    assert evidence.latest.reading.notes.stats.corrupt_records >= 1
