"""What grew between two readings of one machine, and whether it restarted in between."""

from __future__ import annotations

from dataclasses import replace

from oomscope.attribution.diff import Scale, both, changes
from oomscope.attribution.facts import facts_of
from oomscope.errors import NothingToExplain
from oomscope.model.diff import Difference
from oomscope.model.evidence import Evidence, Moment
from oomscope.model.unknown import Unknown


def difference(before: Evidence, after: Evidence) -> Difference:
    """The later reading minus the earlier one.

    Raises NothingToExplain where the two have nothing in common that could be subtracted.
    """
    restart = restarted(before, after)
    one_ns, other_ns = before.latest.at_ns, after.latest.at_ns
    apart_ns = None
    if restart is None and not isinstance(one_ns, Unknown) and not isinstance(other_ns, Unknown):
        apart_ns = other_ns - one_ns
    page_bytes = next(
        (e.kernel.page_size_bytes for e in (after, before) if not isinstance(e.kernel.page_size_bytes, Unknown)), None
    )
    one, other = facts_of(before), facts_of(after)
    found = changes(one, other, Scale(page_bytes, apart_ns))
    absent: list[Unknown] = []
    if apart_ns is None:
        reason = "the machine restarted" if restart is not None else "one of the readings carries no time"
        absent.append(Unknown("the time between the two, and rates", reason))
    if page_bytes is None:
        absent.append(Unknown("bytes", "no input tells the page size: --page-size does"))
    absent += [*before.unused, *after.unused]
    if not found and not _has_common_ground(before, after):
        raise NothingToExplain(
            f"{_name(before)} and {_name(after)} have no kind of evidence in common",
            advice="give two readings of the same kind: page_owner, slabinfo, allocinfo, logs with an OOM report",
        )
    return Difference(_name(before), _name(after), apart_ns, restart, found, tuple(absent), stacks=both(one, other))


def moments_apart(evidence: Evidence) -> tuple[Evidence, Evidence]:
    """The earliest and the latest moment of one case. Raises NothingToExplain where it has one only."""
    if len(evidence.moments) < 2:
        raise NothingToExplain(
            f"{_name(evidence)}: one reading only", advice="give a second one, or a folder with readings of two moments"
        )
    return replace(evidence, moments=evidence.moments[:1], meminfo=None, events=()), evidence


def restarted(before: Evidence, after: Evidence) -> str | None:
    """What shows that the machine restarted between the two, or that they are of two machines; None for one boot."""
    one, other = before.latest, after.latest
    boots = [moment.reading.notes.system.boot for moment in (one, other) if moment.reading.notes.system is not None]
    if len(set(boots)) > 1:
        return "the kernel lies at another address"
    releases = [e.kernel.release for e in (before, after)]
    if not any(isinstance(release, Unknown) for release in releases) and releases[0] != releases[1]:
        return f"the kernel is another one ({releases[0]}, then {releases[1]})"
    if not isinstance(one.at_ns, Unknown) and not isinstance(other.at_ns, Unknown) and other.at_ns < one.at_ns:
        return "the later reading has the lesser uptime"
    return _by_stacks(one, other)


def _by_stacks(one: Moment, other: Moment) -> str | None:
    ours, theirs = set(one.counts.stacks), set(other.counts.stacks)
    if ours and theirs and ours.isdisjoint(theirs) and not one.is_panic_report and not other.is_panic_report:
        return "they have no stack in common"
    return None


def _has_common_ground(before: Evidence, after: Evidence) -> bool:
    kinds = [{reading.format for reading in evidence.readings} for evidence in (before, after)]
    return not kinds[0].isdisjoint(kinds[1])


def _name(evidence: Evidence) -> str:
    return evidence.latest.reading.origin
