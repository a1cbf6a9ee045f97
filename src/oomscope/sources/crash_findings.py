"""vmcore-oom.json: what the crash kernel's reader found in the dead kernel's memory (crash_reader/findings.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oomscope import bounds
from oomscope.crash_reader.findings import FORMAT, TRACKED
from oomscope.errors import CorruptInput
from oomscope.io.input import Stream
from oomscope.model.batch import Batch
from oomscope.model.reading import Notes, ParseStats, Reading, Role, System
from oomscope.model.stack import Frame, parse_frame
from oomscope.model.unknown import Unknown
from oomscope.numeric import np
from oomscope.sources.base import Options, RowSource
from oomscope.sources.kernel_log.source import KernelLog
from oomscope.sources.log_facts import last_stamp_ns, panic_message
from oomscope.sources.stack_table import StackTable
from oomscope.sources.tracker.panic_report import REPORTS, PanicReport, decode
from oomscope.sources.tracker.reports import rows_of
from oomscope.text import printable

if TYPE_CHECKING:
    from oomscope.sources.base import Parser

_BEGINS = re.compile(rb'(?:\xef\xbb\xbf)?\s{0,100}\{\s{0,100}"format"\s{0,10}:\s{0,10}"oomscope-vmcore/1"')
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
_PAGE_BYTES = (4096, 8192, 16384, 65536)
_MOST_COUNTERS = 1000
_LONGEST_FRAME = 1024  # KSYM_NAME_LEN and a module's name


class CrashFindings:
    """The format: recognised by its first key."""

    format = "crash kernel's findings"
    role = Role.STACK_COUNTS

    def recognises(self, head: bytes) -> bool:
        """Its first key, with its value."""
        return _BEGINS.match(head) is not None

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """Pages by stack, then what armed programs had kept; see Source."""
        told = _told(stream, options)
        try:
            notes, rows = _findings(told)
            kept = rows_of(_reports(told), _frames_of(told))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise CorruptInput(f"{stream.origin}: its findings are damaged", advice="copy the file again") from error
        readings = [_added(stream, options, _Prepared(notes, rows), self.role)]
        for number, (its_notes, batch) in enumerate(kept, 1):
            of_kill = not its_notes.log.panicked
            name = f"report of OOM kill {number}" if of_kill else "report of the OOM panic"
            added = _added(stream, options, _Prepared(its_notes, batch), Role.LOG, f"{stream.origin}: {name}")
            readings.append(added if of_kill else _as_witness(added, stream.origin))
        return readings


@dataclass(slots=True)
class _Prepared:
    """Rows that are there already, and their notes; see Parser."""

    notes: Notes
    rows: Batch | None

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:  # noqa: ARG002 - all of them were read before
        """The rows."""
        if self.rows is not None:
            yield self.rows


class _PreparedRows(RowSource):
    """Lets rows be added up that are there already."""

    format = CrashFindings.format
    role = CrashFindings.role

    def __init__(self, prepared: _Prepared) -> None:
        self._prepared = prepared

    def parser(self, *, ranking_only: bool) -> Parser:  # noqa: ARG002 - it has nothing to leave out
        """Of these rows."""
        return self._prepared


def _added(stream: Stream, options: Options, prepared: _Prepared, role: Role, origin: str | None = None) -> Reading:
    added = options.add_up(_PreparedRows(prepared), stream)
    of_log = role is Role.LOG
    name = KernelLog.format if of_log else CrashFindings.format
    return Reading(origin or stream.origin, name, role, added.notes, added.counts, stream.defect)


def _as_witness(reading: Reading, origin: str) -> Reading:
    return Reading(
        reading.origin, reading.format, reading.role, reading.notes, reading.counts, reading.defect, witness_of=origin
    )


def _told(stream: Stream, options: Options) -> dict[str, Any]:
    raw = bytearray()
    for chunk in options.chunks(stream):
        raw += chunk
        if len(raw) > bounds.CRASH_FINDINGS_BYTES:
            raise CorruptInput(f"{stream.origin}: larger than any findings are", advice="")
    try:
        told = json.loads(bytes(raw).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not UTF-8, among others
        raise CorruptInput(f"{stream.origin}: cut short, or damaged: it is no JSON", advice="copy it again") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise CorruptInput(f"{stream.origin}: its findings are damaged", advice="copy the file again")
    return told


def _findings(told: dict[str, Any]) -> tuple[Notes, Batch | None]:
    log = str(told.get("log") or "").encode("utf-8", "backslashreplace")
    parser = KernelLog().parser(ranking_only=True)
    for _ in parser.batches([log]):
        pass  # the lines of a report in it are of what is counted here
    of_log = parser.notes.log
    notes = Notes(ParseStats(), release=printable(str(told["release"]).encode()), at_ns=last_stamp_ns(log))
    notes.log.events, notes.log.events_left_out = of_log.events, of_log.events_left_out
    message = panic_message(log)
    notes.log.panicked = message is not None
    notes.system = _system(told, message)
    notes.absent = tuple(_absent(told))
    if told.get("way") == TRACKED:
        notes.tracked_since_ns = _count(told["since_ns"])
    notes.log.stopped = bool(told.get("is_stopped"))
    return notes, _rows(told, notes)


def _rows(told: dict[str, Any], notes: Notes) -> Batch | None:
    table, rows = StackTable(), []
    whole = sum(_count(consumer["pages"]) for consumer in told.get("consumers", ()))
    walked = told.get("walked_pages")  # page frames: a balloon takes pages out of RAM
    most = max(told.get("ram_pages") or 0, walked if isinstance(walked, int) else 0)
    if most and whole > most:
        reason = f"the counts are damaged: {whole:,} pages are more than the {most:,} of RAM"
        notes.absent = (*notes.absent, Unknown("who allocated the pages", reason))
        return None
    for consumer in told.get("consumers", ()):
        pages = _count(consumer["pages"])
        frames = [_frame(str(text)) for text in consumer["frames"][: bounds.STACK_FRAMES]]
        if frames and frames[0].offset is None:
            frames = []  # without names a stack is known by its handle: a bare address answers for nothing
        if pages > bounds.PAGES:
            notes.stats.corrupt_records += 1
        elif (index := table.index(frames, None if frames else _count(consumer["handle"]))) is not None:
            rows.append((index, pages))
        else:
            notes.stats.leave_out("stacks")
    notes.stats.records = len(rows)
    if not rows:
        return None
    stack, pages_of = np.array(rows, np.int64).T
    return Batch(table.tables, stack, pages=pages_of)


def _frame(text: str) -> Frame:
    text = printable(text[:_LONGEST_FRAME].encode())
    return parse_frame(text) or Frame(text, text)


def _system(told: dict[str, Any], message: str | None) -> System:
    page_bytes = _count(told["page_bytes"])
    if page_bytes not in _PAGE_BYTES:
        raise ValueError(f"pages of {page_bytes} bytes")
    counters = dict(list(told.get("vmstat", {}).items())[:_MOST_COUNTERS])
    ram_pages = told.get("ram_pages")
    return System(
        arch=_ARCHITECTURES.get(str(told["machine"])) or Unknown("architecture", "none that is known here"),
        page_size_bytes=page_bytes,
        ram_pages=None if ram_pages is None else _count(ram_pages),
        command_line=None,
        taint="",
        modules=(),
        last_unloaded_module=None,
        panic_message=message,
        vmstat={printable(str(name).encode()): int(value) for name, value in counters.items()},
        is_live=False,
        boot=str(told.get("boot", "")),
    )


def _absent(told: dict[str, Any]) -> Iterator[Unknown]:
    for each in told.get("missing", ())[: bounds.EVENT_NAMES]:
        what, _, why = printable(str(each).encode()).partition(": ")
        yield Unknown(what, why or "the crash kernel's reader could not tell it")
    if told.get("is_stopped"):
        yield Unknown("who holds the pages that were not counted", "time was over: what is counted is too small")
    reasons = {
        "early": "they were allocated before page_owner started",
        "nameless": "their stacks could not be taken",
        "unread": "their entries cannot be read",
        "left_out": "user memory and page cache are left out: armed with --kernel-only",
        "lost": "the table of stacks was full",
        "unnamed": "time was over, or there were too many stacks, before these were named",
    }
    for name, why in reasons.items():
        pages = told.get(f"{name}_pages") or 0
        if isinstance(pages, int) and 0 < pages <= bounds.PAGES:
            yield Unknown(f"who allocated {pages:,} pages", why)


def _reports(told: dict[str, Any]) -> list[PanicReport]:
    """What armed programs kept: as in a dump, the map is several values, one behind the other."""
    found = []
    for text in told.get("reports", ())[: bounds.EVENT_ROWS]:
        raw = bytes.fromhex(text)
        size = len(raw) // REPORTS
        found += [decode(raw[at : at + size]) for at in range(0, size * REPORTS, max(1, size))]
    return sorted((report for report in found if report is not None), key=lambda report: report.at_ns)


def _frames_of(told: dict[str, Any]) -> Callable[[Iterable[int]], tuple[Frame, ...]]:
    names = {str(address): str(name) for address, name in told.get("names", {}).items()}

    def frames_of(addresses: Iterable[int]) -> tuple[Frame, ...]:
        return tuple(_frame(names.get(f"{address:#x}", f"{address:#x}")) for address in addresses)

    return frames_of


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < bounds.AMOUNT:
        raise ValueError(f"{value!r} is no count")
    return value
