"""Kernel memory through the pipeline: a dump or the live kernel opened, read and added up.

One dump gives several readings: its page frames, and what else in it counts the same pages (the kernel's own count per
stack, the lines that the dying kernel printed into its log).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from oomscope.attribution.census import CensusTally
from oomscope.attribution.selection import Selection
from oomscope.attribution.tally import Tally
from oomscope.errors import CorruptInput, NoAccess, OomscopeError
from oomscope.host.facts import Machine
from oomscope.model.batch import Batch
from oomscope.model.counts import Counts
from oomscope.model.reading import Notes, ParseStats, Reading, Role
from oomscope.model.stack import Frame, parse_frame
from oomscope.model.unknown import Unknown
from oomscope.sources.kernel_log.source import KernelLog
from oomscope.sources.page_owner.stacks import PageOwnerStacks
from oomscope.sources.tracker.reports import rows_of
from oomscope.sources.tracker.table import FORMAT, OwnerRows
from oomscope.sources.vmcore import LIVE, Vmcore, require_drgn
from oomscope.units import bytes_text

if TYPE_CHECKING:
    from oomscope.io.input import Input, Stream
    from oomscope.sources.vmcore.dump import Dump

ARMED, TRACKED = "oomscope arm", "oomscope arm --track"
PagesDone = Callable[[int, int], None]


def read_dump(
    each: Input,
    stream: Stream,
    selection: Selection,
    *,
    vmlinux: Path | None,
    images: tuple[Path, ...],
    dumps: tuple[Path, ...],
    ranking_only: bool,
    progress: PagesDone | None,
) -> list[Reading]:
    """The readings of one core dump; errors as those of pipeline.read."""
    require_drgn()
    from oomscope.sources.vmcore.opening import missing_end, open_dump

    with _as_file(each, stream) as path:
        defect = stream.defect or missing_end(path)
        try:
            dump = open_dump(path, origin=each.origin, vmlinux=vmlinux, beside=images, dumps=dumps)
            defect = defect or dump.lacks
            readings = _read(dump, each.origin, selection, ranking_only=ranking_only, progress=progress)
        except (CorruptInput, NoAccess) as error:
            if readings := _log_alone(path, each.origin, error, defect):
                return readings
            if defect is None or defect in str(error) or not isinstance(error, CorruptInput):
                raise
            raise CorruptInput(f"{error}; {defect}", advice="copy the file again") from error
        return [replace(readings[0], defect=defect), *readings[1:]]


def _log_alone(path: Path, origin: str, error: OomscopeError, defect: str | None) -> list[Reading]:
    """The kernel log of a dump that is not to be read otherwise; none where it is not there either."""
    from oomscope.sources.vmcore.opening import log_alone

    log, release = log_alone(path)
    if not log:
        return []
    notes, counts = _from_log(log)
    notes.release = notes.release or release
    advice = f"; {error.advice}" if error.advice else ""
    reason = f"{str(error).removeprefix(f'{origin}: ')}{advice}"
    notes.absent = (*notes.absent, Unknown("what the memory itself tells", reason))
    return [Reading(f"{origin}: kernel log", KernelLog.format, Role.LOG, notes, counts, defect=defect)]


def read_live(
    selection: Selection, *, vmlinux: Path | None, ranking_only: bool, progress: PagesDone | None
) -> list[Reading]:
    """The readings of the running kernel's memory. Raises NoAccess where it may not be read."""
    if Machine().lockdown == "confidentiality":
        raise NoAccess(
            f"{LIVE}: the kernel is locked down (confidentiality): its memory may not be read",
            advice="read page_owner's text, or boot with lockdown=integrity",
        )
    require_drgn()
    from oomscope.sources.vmcore.opening import open_live

    return _read(open_live(vmlinux=vmlinux), LIVE, selection, ranking_only=ranking_only, progress=progress)


def read_tracked(machine: Machine | None = None) -> list[Reading]:
    """Who owns the pages by the table of `oomscope arm --track`; none where it keeps none. Raises OomscopeError."""
    from oomscope.host.bpf import arm

    machine = machine or Machine()
    try:
        table = arm.tracked(machine) if machine.is_root else None
    except OSError as error:
        raise NoAccess(
            f"{TRACKED}: {(error.strerror or str(error)).lower()}", advice="oomscope arm --status"
        ) from error
    if table is None:
        return []
    rows, tally = OwnerRows(table, lambda addresses: map(parse_frame, machine.frames(addresses))), Tally()
    for batch in rows.batches():
        tally.add(batch)
    return [Reading(TRACKED, FORMAT, Role.TRACKED, rows.notes, tally.counts())]


def read_armed() -> list[Reading]:
    """What the armed program has reported since it was armed, asked of its pinned map. Raises OomscopeError."""
    from oomscope.host.bpf import arm

    machine = Machine()
    try:
        reports = arm.reports(machine) if machine.is_root else []
    except OSError as error:
        raise NoAccess(f"{ARMED}: {(error.strerror or str(error)).lower()}", advice="oomscope arm --status") from error
    return _by_program(rows_of(reports, lambda addresses: _frames(machine, addresses)), ARMED, ARMED)


def _frames(machine: Machine, addresses: Iterable[int]) -> tuple[Frame, ...]:
    return tuple(frame for text in machine.frames(addresses) if (frame := parse_frame(text)) is not None)


def _read(
    dump: Dump, origin: str, selection: Selection, *, ranking_only: bool, progress: PagesDone | None
) -> list[Reading]:
    from oomscope.sources.vmcore.reader import Reader

    reader = Reader(dump, origin)
    tally, census = Tally(selection), CensusTally()
    for batch in reader.batches(ranking_only=ranking_only, progress=progress):
        if isinstance(batch, Batch):
            tally.add(batch)
        else:
            census.add(batch)
    notes = reader.notes
    assert notes.system is not None
    counts = tally.counts()
    whole = Reading(origin, Vmcore.format, Role.MEMORY, notes, counts, census=census.census(notes.system.vmstat))
    readings = [whole]
    # Of a dump without its page frames, what else counts the pages is no second count of them.
    counted_origin = origin if counts.stacks or whole.census is not None else None
    for name, counted in (("stack depot", reader.counted_by_depot()), ("stack_list", reader.counted_by_list())):
        if counted is not None and selection.is_empty:
            witness = Tally(selection)
            witness.add(counted)
            its_notes = Notes(ParseStats(records=len(counted.stack)))
            readings.append(
                Reading(
                    f"{origin}: {name}",
                    PageOwnerStacks.format,
                    Role.STACK_COUNTS,
                    its_notes,
                    witness.counts(),
                    witness_of=counted_origin,
                )
            )
    if selection.is_empty:
        readings += _by_program(reader.counted_by_program(), origin, counted_origin)
    reader.finish()
    log_notes, printed = _from_log(reader.log)
    notes.log.events, notes.log.events_left_out = log_notes.log.events, log_notes.log.events_left_out
    if selection.is_empty and log_notes.log.reports:
        log_notes.log.events = ()
        readings.append(
            Reading(f"{origin}: kernel log", KernelLog.format, Role.LOG, log_notes, printed, witness_of=counted_origin)
        )
    return readings


def _by_program(kept: list[tuple[Notes, Batch]], origin: str, witness_of: str | None) -> list[Reading]:
    """What the program on the OOM path kept: at a panic a witness of the dump, at a kill an earlier moment."""
    readings = []
    for number, (notes, batch) in enumerate(kept, 1):
        tally = Tally()
        tally.add(batch)
        of_kill = not notes.log.panicked
        name = f"{origin}: report of OOM kill {number}" if of_kill else f"{origin}: report of the OOM panic"
        readings.append(
            Reading(name, KernelLog.format, Role.LOG, notes, tally.counts(), witness_of=None if of_kill else witness_of)
        )
    return readings


def _from_log(log: bytes) -> tuple[Notes, Counts]:
    """What the kernel's own log tells: OOM events, and what a dying kernel printed about its greatest consumers."""
    parser = KernelLog().parser(ranking_only=True)
    tally = Tally()
    for batch in parser.batches([log]):
        tally.add(batch)
    return parser.notes, tally.counts()


@contextmanager
def _as_file(each: Input, stream: Stream) -> Iterator[Path]:
    """The dump as a file that can be read anywhere: what is compressed, or piped in, is written to a temporary one."""
    if stream.is_plain_file and each.path is not None:
        yield each.path
        return
    with tempfile.NamedTemporaryFile(prefix="oomscope-", suffix=".vmcore") as file:
        for chunk in stream.chunks(is_bounded=False):
            if shutil.disk_usage(file.name).free < len(chunk):
                written = bytes_text(file.tell())
                raise NoAccess(
                    f"{each.origin}: no room in {tempfile.gettempdir()} to unpack it ({written} were written)",
                    advice="unpack it yourself, or set TMPDIR to a larger file system",
                )
            file.write(chunk)
        file.flush()
        yield Path(file.name)
