"""/sys/kernel/debug/page_owner: one record per allocation, in every form from 4.9 to 7.x.

A record is a header, a PFN line, the stack (one leading space per frame), optional lines without one, and a blank
line (mm/page_owner.c, print_page_owner()). docs/formats/page_owner.md lists the forms by kernel.

Millions of records must not become millions of objects: a record's varying bytes (PFN, time stamp) are cut out, the
rest is looked up in tables of distinct texts that are parsed once each, and rows of indices go on in columns.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

from oomscope import bounds
from oomscope.model.batch import Batch, Column, Place, Request, Tables, Task
from oomscope.model.reading import Notes, ParseStats, Role
from oomscope.model.stack import Frame
from oomscope.numeric import np
from oomscope.sources.base import RowSource
from oomscope.sources.page_owner.record import (
    CorruptTextError,
    TextIds,
    handle_of,
    header_values,
    line_ends_unified,
    request_of,
    task_of,
    time_words,
    times_of,
)
from oomscope.sources.stack_table import StackTable
from oomscope.text import printable

Value = TypeVar("Value", bound=Hashable)

_TITLE = b"Page allocated via order "
SEPARATOR = b"\n" + _TITLE
# Folios beyond MAX_PAGE_ORDER (10 on most kernels) are gigantic hugetlb pages (6.12+ prints them); the largest on any
# architecture is 16 GiB, order 22 with 4 KiB pages. Such orders are believed only at an aligned PFN, as all heads are.
_LARGEST_BUDDY_ORDER = 10
# longer than 400 lines: one class, whose tables and columns every way of reading a record shares
_SPACE = ord(" ")
_LINE_FEED = ord("\n")

_TIMES = rb"(?:, ts (?P<ts>\d{1,19}) ns)?(?:, free_ts \d{1,20} ns)?"
_PFN_LINE = rb"PFN (?P<pfn>0x[0-9a-f]{1,16}|\d{1,20}) [^\n]*Flags (?P<place>[^\n ]++)"
_RECORD = re.compile(
    rb"(?P<header>[^\n]*?(?: \(.{0,64}\))?)" + _TIMES + rb"\n" + _PFN_LINE + rb"(?:\n(?P<tail>.*))?", re.DOTALL
)
_FLAGS = re.compile(rb" ?0x[0-9a-f]{1,16}(?:\((?P<names>[^()]*)\))?")
_NODE = re.compile(rb"(?:^|\|)node=(\d{1,5})(?:\||$)")
_ZONE = re.compile(rb"(?:^|\|)zone=(\d{1,2})(?:\||$)")
_CHARGED = re.compile(rb"Charged (?:\(via objcg\) )?to (?:offline )?memcg (?P<name>.+)")
_NO_NEWS = re.compile(rb"Slab cache page|Page has been migrated, last migrate reason: .*|")


class PageOwnerText(RowSource):
    """The format: recognised by a record's first line."""

    format = "page_owner"
    role = Role.DUMP
    separator = SEPARATOR

    def recognises(self, head: bytes) -> bool:
        """A line that begins with a page_owner header; not where page_owner_sort has counted such records."""
        if _WORDS not in head:
            return False
        found = _HEADER.search(head)
        return found is not None and _SORTED.search(head[max(found.start() - _LINE, 0) : found.start() + 1]) is None

    def parser(self, *, ranking_only: bool) -> PageOwnerParser:
        """A parser of its own tables."""
        return PageOwnerParser(ranking_only=ranking_only)


_WORDS = b"Page allocated via order "
_HEADER = re.compile(rb"(?:^|\n)Page allocated via order \d")
_SORTED = re.compile(rb"(?:^|\n)\d{1,12} times(?:, \d{1,15} pages[^\n]{0,200})?: {0,4}\r?\n$")
_LINE = 300


class _BeyondError(ValueError):
    """A stack beyond the bound on stacks."""


class PageOwnerParser:
    """Turns record texts into rows; see Parser."""

    def __init__(self, *, ranking_only: bool = False) -> None:
        self.notes = Notes(ParseStats(ranked_only=ranking_only))
        self.tables = Tables(memcgs=[None])
        self._ranking_only = ranking_only
        self._stack_table = StackTable(self.tables)
        self._request_ids: dict[Request, int] = {}
        self._task_ids: dict[Task, int] = {}
        self._place_ids: dict[Place, int] = {}
        self._memcg_ids: dict[str | None, int] = {None: 0}
        # From the distinct texts of a dump to indices.
        self._stacks = TextIds(self._parse_stack)
        self._requests = TextIds(self._parse_request)
        self._tasks = TextIds(self._parse_task)
        self._orders = TextIds(_parse_order)
        self._places = TextIds(self._parse_place)
        self._tails = TextIds(self._parse_tail)
        self._pages_of_request = np.zeros(0, np.int64)

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """Rows of a dump whose bytes come in `chunks`."""
        for records in self._records(chunks):
            if self._ranking_only:
                yield from self._ranking_rows(records)
            else:
                yield from self._rows(records)

    def _records(self, chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
        """Lists of record texts, each from behind `Page allocated via order ` up to the next one."""
        rest = b"\n"
        within_record = False
        for chunk in line_ends_unified(chunks):
            records = chunk.split(SEPARATOR)
            # The title itself may be cut: what the last chunk left is joined to the first piece and looked at again.
            joined = rest + records[0]
            records[:1] = joined.split(SEPARATOR)
            rest = records.pop()
            if not within_record and records:
                records[:1] = self._glued_record(records[0])
                within_record = True
            yield records
            if len(rest) > bounds.RECORD_BYTES:
                # A record ends at its blank line. Read past what is none, up to the next title, wherever on its line
                # that stands.
                if not within_record and _TITLE in rest:
                    strangers, _, rest = rest.partition(_TITLE)
                    self._count_unknown_lines(strangers)
                    within_record = True
                end = rest.find(b"\n\n") if within_record else -1
                if end >= 0:
                    yield [rest[: end + 1]]
                self.notes.stats.corrupt_records += within_record and end < 0
                self.notes.stats.unknown_lines += not within_record
                title = rest.rfind(_TITLE, max(end, 0))
                within_record = 0 <= len(rest) - title < bounds.RECORD_BYTES and title >= 0
                rest = rest[title + len(_TITLE) :] if within_record else rest[-len(SEPARATOR) :]
        if not within_record:
            yield self._glued_record(rest)
        else:
            yield [self._last_record(rest)]

    def _glued_record(self, strangers: bytes) -> list[bytes]:
        """What belongs to no record, but for one whose title follows other text on its line."""
        text, *glued = strangers.split(_TITLE)
        self._count_unknown_lines(text)
        self.notes.stats.corrupt_records += max(len(glued) - 1, 0)
        return glued[-1:]

    def _last_record(self, record: bytes) -> bytes:
        """The record at the end of the input: without a line end, its last line may be cut short."""
        if record.endswith(b"\n"):
            return record
        _, _, stack = record.partition(b"\n ")
        if any(text.startswith(stack, 1) and len(text.rstrip(b"\n")) > len(stack) + 1 for text in self._stacks):
            self.notes.stats.cut_off = True
            return b""
        return record

    def _rows(self, records: list[bytes]) -> Iterator[Batch]:
        stacks, requests, tasks, places = self._stacks, self._requests, self._tasks, self._places
        time_column: list[int] = []
        add_time = time_column.append
        # Neighbours often differ in PFN and time only: the row at which each such run begins, and what it shares, six
        # numbers a run (one flat list: NumPy takes it at twice the speed of a list of tuples).
        runs: list[int] = []
        odd: list[bytes] = []
        words_from_time = time_words(records)
        last_header = last_rest = None
        last_place_text = b"none yet"
        stack = request = task = place = tail = 0
        time_text = b"0"
        for record in records:
            try:
                header, pfn_line, rest = record.split(b"\n", 2)
                if words_from_time:
                    header, time_text, *_ = header.rsplit(b" ", words_from_time)
                time = int(time_text)
                if rest != last_rest or header != last_header or not pfn_line.endswith(last_place_text):
                    if rest != last_rest:
                        if rest[rest.rfind(b"\n", 0, -1) + 1] == _SPACE:
                            stack, tail = stacks[rest], 0
                        else:
                            stack, tail = self._stack_and_tail(rest)
                        last_rest = rest
                    if header != last_header:
                        request_end = header.index(b")")
                        request, task = requests[header[:request_end]], tasks[header[request_end:]]
                        last_header = header
                    if not pfn_line.endswith(last_place_text):
                        place_text = pfn_line[pfn_line.rindex(b" ") :]
                        place = places[place_text]
                        last_place_text = place_text
                    runs += (len(time_column), stack, request, task, place, tail)
            except (ValueError, IndexError):
                # What this record has changed is no run: the next one begins its own.
                last_rest = None
                odd.append(record)
                continue
            add_time(time)
        if runs:
            yield self._batch_of_runs(runs, times_of(time_column), timed=words_from_time > 0)
        for record in odd:
            yield from self._odd_record(record)

    def _ranking_rows(self, records: list[bytes]) -> Iterator[Batch]:
        stacks, orders = self._stacks, self._orders
        runs: list[tuple[int, int, int]] = []
        odd: list[bytes] = []
        last_rest = None
        order_text = b"none yet"
        stack = order = length = 0
        for record in records:
            try:
                header, _, rest = record.split(b"\n", 2)
                if rest == last_rest and header.startswith(order_text):
                    length += 1
                    continue
                if rest[rest.rfind(b"\n", 0, -1) + 1] == _SPACE:
                    next_stack = stacks[rest]
                else:
                    next_stack, _ = self._stack_and_tail(rest)
                next_order_text = header[: header.index(b")")]
                next_order = orders[next_order_text]
            except (ValueError, IndexError):
                odd.append(record)
                continue
            runs.append((stack, order, length))
            stack, order, length = next_stack, next_order, 1
            last_rest, order_text = rest, next_order_text
        runs.append((stack, order, length))
        stack_column, order_column, blocks = np.array(runs, np.int64)[1:].T
        if len(blocks):
            self.notes.stats.records += int(blocks.sum())
            yield Batch(self.tables, stack_column, blocks << order_column, blocks)
        for record in odd:
            yield from self._odd_record(record)

    def _stack_and_tail(self, rest: bytes) -> tuple[int, int]:
        """The stack, and the memcg that the lines after its frames name."""
        line = rest.rfind(b"\n", 0, -1)
        while line >= 0 and rest[line + 1] != _SPACE:
            line = rest.rfind(b"\n", 0, line)
        # Without any frame, `handle: N` stands first, in their place.
        end = rest.index(b"\n", line + 1) + 1
        stack = self._stacks[rest[:end]]
        tail = rest[end:]
        if tail.startswith(b"handle: "):
            named, _, tail = tail.partition(b"\n")
            self._name_by_handle(stack, named)
        return stack, self._tails[tail]

    def _name_by_handle(self, stack: int, line: bytes) -> None:
        handle = handle_of(line)
        if handle is None:
            raise CorruptTextError
        self._keep_handle(handle, stack)

    def _keep_handle(self, handle: int, stack: int) -> None:
        if len(self.notes.handles) < bounds.STACKS:
            self.notes.handles[handle] = self.tables.stacks[stack]

    def _batch_of_runs(self, runs: list[int], times_ns: Column, *, timed: bool) -> Batch:
        starts, *columns = np.array(runs, np.int64).reshape(-1, 6).T
        lengths = np.diff(starts, append=len(times_ns))
        stack, request, task, place, tail = (np.repeat(column, lengths) for column in columns)
        batch = self._batch(stack, request, task, place, tail, times_ns if timed else None)
        if (times_ns < 0).any():
            batch = batch.kept(times_ns >= 0)
            self.notes.stats.corrupt_records += int((times_ns < 0).sum())
        self.notes.stats.records += len(batch.stack)
        return batch

    def _odd_record(self, text: bytes) -> Iterator[Batch]:
        """A record that is not in the usual form: whole after all, cut, or run into by the next one."""
        *run_into, last = text.split(_TITLE)
        # A title in the middle of a line: the record before it lost its end, unless a blank line closed it before.
        for record in (*(r if b"\n\n" in r else b"" for r in run_into), last):
            try:
                batch = self._odd_row(record)
            except _BeyondError:
                self.notes.stats.leave_out("stacks")
                continue
            except ValueError:
                self.notes.stats.corrupt_records += 1
                continue
            yield batch

    def _odd_row(self, record: bytes) -> Batch:
        match = _RECORD.fullmatch(record)
        if match is None:
            raise CorruptTextError
        request, task = header_values(match["header"])
        if request.order > _LARGEST_BUDDY_ORDER and int(match["pfn"], 0) % (1 << request.order):
            raise CorruptTextError
        frame_lines: list[bytes] = []
        tail_lines: list[bytes] = []
        tail, _, strangers = (match["tail"] or b"").partition(b"\n\n")
        for line in tail.split(b"\n"):
            if line.startswith(b" ") and not tail_lines:
                frame_lines.append(line)
            elif line.startswith(b" "):
                raise CorruptTextError  # a foreign line stands inside the stack
            elif line:
                tail_lines.append(line)
        # Behind the blank line stands what lost its own title, or text of somebody else.
        self._count_unknown_lines(strangers)
        self.notes.stats.corrupt_records += b"\nPFN " in strangers
        memcg, handle = self._tail_values(tail_lines)
        if frame_lines:
            stack = self._parse_stack(b"\n" + b"\n".join(frame_lines))
            if handle is not None:
                self._keep_handle(handle, stack)
        elif handle is not None:
            stack = self._stack_id((), handle)
        else:
            raise CorruptTextError
        place = self._parse_place(match["place"])
        times_ns = None if match["ts"] is None else times_of([int(match["ts"])])
        if times_ns is not None and times_ns[0] < 0:
            raise CorruptTextError
        run = [0, stack, self._request_id(request), self._task_id(task), place, memcg]
        return self._batch_of_runs(
            run, np.zeros(1, np.int64) if times_ns is None else times_ns, timed=times_ns is not None
        )

    def _batch(
        self, stack: Column, request: Column, task: Column, place: Column, tail: Column, times_ns: Column | None
    ) -> Batch:
        requests = self.tables.requests
        if len(self._pages_of_request) < len(requests):
            self._pages_of_request = np.array([1 << request.order for request in requests], np.int64)
        return Batch(
            tables=self.tables,
            stack=stack,
            pages=self._pages_of_request[request],
            blocks=np.ones(len(stack), np.int64),
            request=request,
            task=task,
            place=place,
            memcg=tail,
            allocated_ns=times_ns,
        )

    def _parse_stack(self, text: bytes) -> int:
        handle = handle_of(text.strip(b"\n"))
        if handle is not None:
            return self._stack_id((), handle)
        frames = []
        for line in text.strip(b"\n").split(b"\n"):
            frame = self._stack_table.frame(line) if line.startswith(b" ") else None
            if frame is None:
                raise CorruptTextError
            frames.append(frame)
        return self._stack_id(frames)

    def _parse_request(self, text: bytes) -> int:
        request = request_of(text)
        if request.order > _LARGEST_BUDDY_ORDER:
            raise CorruptTextError  # not in the usual form: its PFN is looked at
        return self._request_id(request)

    def _parse_task(self, text: bytes) -> int:
        return self._task_id(task_of(text))

    def _parse_place(self, text: bytes) -> int:
        match = _FLAGS.fullmatch(text)
        if match is None:
            raise CorruptTextError
        names = match["names"] or b""
        node, zone = _NODE.search(names), _ZONE.search(names)
        place = Place(None if node is None else int(node[1]), None if zone is None else int(zone[1]))
        return _index(self._place_ids, self.tables.places, place)

    def _parse_tail(self, text: bytes) -> int:
        memcg, handle = self._tail_values(text.split(b"\n"))
        if handle is not None:
            raise CorruptTextError  # a handle belongs to one stack: not a text to look up
        return memcg

    def _tail_values(self, tail_lines: list[bytes]) -> tuple[int, int | None]:
        memcg: str | None = None
        handle: int | None = None
        for line in tail_lines:
            charged = _CHARGED.fullmatch(line)
            named = handle_of(line)
            if charged is not None:
                memcg = printable(charged["name"])
            elif named is not None:
                handle = named
            elif _NO_NEWS.fullmatch(line) is None:
                self.notes.stats.unknown_lines += 1
        return _index(self._memcg_ids, self.tables.memcgs, memcg), handle

    def _stack_id(self, frames: Iterable[Frame], handle: int | None = None) -> int:
        index = self._stack_table.index(frames, handle)
        if index is None:
            raise _BeyondError
        return index

    def _request_id(self, request: Request) -> int:
        return _index(self._request_ids, self.tables.requests, request)

    def _task_id(self, task: Task) -> int:
        return _index(self._task_ids, self.tables.tasks, task)

    def _count_unknown_lines(self, text: bytes) -> None:
        self.notes.stats.unknown_lines += sum(1 for line in text.split(b"\n") if line.strip())


def _index(ids: dict[Value, int], table: list[Value], value: Value) -> int:
    index = ids.get(value)
    if index is None:
        index = ids[value] = len(table)
        table.append(value)
    return index


def _parse_order(text: bytes) -> int:
    """The order of a request's text; one that is not in the usual form is for the slow path."""
    request = request_of(text)
    if request.order > _LARGEST_BUDDY_ORDER:
        raise CorruptTextError
    return request.order
