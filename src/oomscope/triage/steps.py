"""A triage from places to cases: find, explain, put in order. Each step is a function; the command strings them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from oomscope.errors import NothingToExplain
from oomscope.model.triage import Case
from oomscope.triage import places
from oomscope.triage.cache import Cache
from oomscope.triage.executor import Executor, Failed
from oomscope.triage.grouping import (
    OWN,
    UNREADABLE,
    Recognised,
    Unit,
    counted_once,
    distinct,
    look,
    units,
    with_distinct_names,
)
from oomscope.triage.labels import SEEN, Labels
from oomscope.triage.lots import in_lots
from oomscope.triage.packing import packed
from oomscope.triage.timestamps import when
from oomscope.triage.worker import failed, packed_of
from oomscope.units import counted

Progress = Callable[[int, int], None]
# Small files that one process looks at, and small cases that it explains, in one go.
_LOOKED_AT_TOGETHER, _EXPLAINED_TOGETHER = 32, 16


@dataclass(frozen=True, slots=True)
class Found:
    """The cases of a triage in their order; `notes` are for its reader."""

    units: tuple[Unit, ...]
    notes: tuple[str, ...]


def find(
    named: Iterable[str],
    *,
    grouping: str,
    engine: Executor,
    by_content: bool,
    labelled: int = 0,
    limit_s: float | None = None,
    progress: Progress | None = None,
) -> Found:
    """Look at every file below the places and say which make a case; `by_content` names each by what it holds.

    The outermost `labelled` folders of a case's name have a label each.

    Raises BadQuestion for a place that is not there, NothingToExplain where no place has a file.
    """
    below = [(place, places.files(place)) for place in dict.fromkeys(named)]
    total = sum(len(files) for _, files in below)
    if not total:
        raise NothingToExplain(f"{', '.join(places.shown(place) for place, _ in below)}: no file in it", advice="")
    looked: dict[str, Recognised] = {}
    tasks = {file.url: file for _, files in below for file in files}
    looks = in_lots(
        engine,
        partial(look, whole=by_content),
        tasks.values(),
        attrgetter("is_small"),
        most=_LOOKED_AT_TOGETHER,
        limit_s=limit_s,
    )
    for done, (file, result) in enumerate(looks, 1):
        looked[file.url] = Recognised(UNREADABLE, "", result.reason) if isinstance(result, Failed) else result
        if progress is not None:
            progress(done, total)
    found: list[Unit] = []
    for place, files in below:
        prefix = places.named(place) if len(below) > 1 else ""
        found += units(((file, looked[file.url]) for file in files), grouping, prefix, labelled)
    kept, doubled = counted_once(found)
    unread = [told for unit in kept if not unit.problem for told in unit.unread]
    notes = []
    own = sum(each.kind == OWN for each in looked.values())
    if own:
        notes.append(f"{counted(own, 'file')} of oomscope's own output: left out")
    if doubled:
        notes.append(f"{counted(doubled, 'case')} more would be of the same files by another name: left out")
    if unread:
        notes.append(f"no part of their folders' cases: {counted(len(unread), 'file')}, the first {unread[0]}")
    together = [unit for unit in kept if unit.log_folders > 1]
    if together:
        of = f"the logs of {together[0].log_folders} folders in {together[0].name}"
        notes.append(f"{of} were taken for one machine's, as page owner data lie above them (--each tells otherwise)")
    if not kept:
        raise NothingToExplain(f"{', '.join(places.shown(place) for place, _ in below)}: {'; '.join(notes)}", advice="")
    return Found(tuple(with_distinct_names(kept)), tuple(notes))


def explain_all(
    found: Iterable[Unit],
    *,
    engine: Executor,
    results: Cache,
    limit_s: float | None = None,
    progress: Progress | None = None,
) -> int:
    """Explain what has no result yet, each within `limit_s`, and keep it; how many cases had one."""
    named = [(key(unit), unit) for unit in found]
    wanted = dict(named)
    finished = results.take_over(wanted)
    left = [unit for name, unit in wanted.items() if name not in finished]
    explained = in_lots(engine, packed_of, left, attrgetter("is_small"), most=_EXPLAINED_TOGETHER, limit_s=limit_s)
    for done, (unit, result) in enumerate(explained, 1):
        if isinstance(result, Failed):
            results.put(key(unit), packed(failed(result.reason).results), lasting=False)
        else:
            results.put(key(unit), result.results, lasting=result.is_lasting)
        if progress is not None:
            progress(done, len(left))
    return sum(name in finished for name, _ in named)


def cases(found: Iterable[Unit], results: Cache, labels: Labels) -> Iterator[Case]:
    """Every case with its result, in the order in which they were found."""
    seen_names: set[str] = set()
    for unit in found:
        of_unit = results.get(key(unit))
        place, link = places.shown(unit.place), places.link(unit.place)
        for number, result in enumerate(of_unit, 1):
            name = unit.name if len(of_unit) == 1 else f"{unit.name}#{number}"
            told = labels.of(unit.name, unit.folder, name)
            seen, seen_by = when(told.pop(SEEN, None), result.row.stamp, unit.modified_s)
            yield Case(distinct(name, seen_names), place, link, unit.folder, told, seen, seen_by, result)


def key(unit: Unit) -> str:
    """What a unit's results are kept under: its content, else its name, which is good for this triage alone."""
    return unit.digest or f"name {unit.name}"
