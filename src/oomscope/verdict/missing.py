"""What is not known, said: nothing is left out silently."""

from __future__ import annotations

from oomscope.model.evidence import Evidence
from oomscope.model.reading import PanicTotals, Reading
from oomscope.model.unknown import Unknown
from oomscope.units import pages_text, share_text, uptime_text
from oomscope.verdict.oom.case import WANTS_A_NAME
from oomscope.verdict.rules.case import RuleCase


def missing(case: RuleCase, oom_class: str | None) -> tuple[Unknown, ...]:
    """Everything that the reader of this verdict should know is missing, the nearest to the answer first."""
    evidence, latest = case.evidence, case.evidence.latest
    absent = _of_panic_report(case) if latest.is_panic_report else []
    for reading in evidence.readings:
        absent += _of_reading(reading, len(evidence.events))
    absent += _of_records(case, oom_class)
    absent += _of_machine(evidence)
    if case.balance is None and not isinstance(evidence.ram_pages, Unknown):
        absent.append(Unknown("the balance of RAM", _why_no_balance(case)))
    if latest.totals is not None:
        absent += _uncounted(latest.totals)
    return (*absent, *evidence.absent, *evidence.unused)


def _of_panic_report(case: RuleCase) -> list[Unknown]:
    """What a dying kernel's lines leave out."""
    absent, totals = [], case.evidence.latest.totals
    if case.event is None:
        absent.append(Unknown("the class of the OOM", "the OOM report around the at-panic lines is not in this log"))
    if totals is None:
        absent.append(Unknown("the totals of the at-panic report", "no line of it holds them in a known form"))
    absent += _of_told_culprits(case)
    if totals is not None and totals.stacks > len(case.consumers):
        unnamed = totals.stacks - len(case.consumers)
        absent.append(Unknown(f"{unnamed:,} more stacks", "the dying kernel printed its greatest only"))
    return absent


def _of_told_culprits(case: RuleCase) -> list[Unknown]:
    """How far the numbers that a dying kernel added up can be trusted."""
    absent, log = [], case.evidence.latest.reading.notes.log
    if log.culprits and not case.selection.is_empty:
        reason = "filters leave a part out: what was printed of their stacks is all that is counted here"
        absent.append(Unknown("the sums over all stacks that the dying kernel added up", reason))
    if log.stopped:
        absent.append(Unknown("a part of all pages", "time was over before all were counted: numbers are too small"))
    if log.nameless_culprit_pages:
        reason = "there was no time or no room left to add them up"
        absent.append(Unknown(f"the culprits of {pages_text(log.nameless_culprit_pages)}", reason))
    if log.later_pages:
        reason = "helpers of a module that was loaded after it was armed are not known as such, and may be named"
        absent.append(Unknown(f"who answers for {pages_text(log.later_pages)} within their modules", reason))
    if (sampled := log.sampled) is not None:
        looked_at = "a part of them" if sampled.stride is None else f"1 of {sampled.stride} pages"
        within = "how far off they may be is not in this log"
        if sampled.bound_pages is not None:
            within = f"the greatest culprit's are right within {pages_text(sampled.bound_pages)} in 95 of 100"
        absent.append(Unknown("the exact pages", f"{looked_at} was looked at: {within}"))
    return absent


def _of_reading(reading: Reading, events: int) -> list[Unknown]:
    """What of one input could not be read, or was not kept."""
    notes, origin = reading.notes, reading.origin
    absent = []
    if notes.log.events_left_out:
        reason = f"of a log the last {events:,} are kept"
        absent.append(Unknown(f"{notes.log.events_left_out:,} earlier OOMs of {origin}", reason))
    if reading.defect is not None:
        absent.append(Unknown(f"the rest of {origin}", reading.defect))
    if notes.stats.cut_off and not notes.log.reports:
        absent.append(Unknown(f"the end of {origin}", "its last record is cut"))
    if notes.stats.unread_share:
        absent.append(
            Unknown(f"{share_text(notes.stats.unread_share)} of what was asked of {origin}", "it is not in the dump")
        )
    if notes.stats.corrupt_records:
        absent.append(Unknown(f"{notes.stats.corrupt_records:,} records of {origin}", "they are too damaged to count"))
    return absent


def _of_records(case: RuleCase, oom_class: str | None) -> list[Unknown]:
    """What the records that were counted do not tell."""
    latest = case.evidence.latest
    counts, absent = latest.counts, []
    if counts.untold_rows_left_out:
        reason = f"they do not tell what {', '.join(case.selection.asks_of_records)} ask of"
        absent.append(Unknown(f"{counts.untold_rows_left_out:,} records", reason))
    if counts.tasks.pruned or counts.memcgs.pruned:
        absent.append(Unknown("the smaller tasks and memcgs of each stack", "there are too many; the sums are exact"))
    if counts.pages is None and counts.stacks:
        absent.append(Unknown("pages", "stack_count counts allocations, of whatever order"))
    untold = _untold(case, oom_class)
    return absent if untold is None else [*absent, untold]


def _untold(case: RuleCase, oom_class: str | None) -> Unknown | None:
    """The first of these that is so: nothing ranked, nobody named, no requests, no tasks, no time."""
    latest = case.evidence.latest
    notes, counts = latest.reading.notes, latest.counts
    if notes.stats.ranked_only:
        return Unknown("tasks, orders and times", "only the ranking was asked for")
    if notes.absent and not notes.stats.records:
        return None  # who allocated is not known at all, which stands among what is absent
    if not counts.stacks:
        if case.facts.told_culprits:
            return Unknown("the stacks of the culprits", "the frames of the at-panic lines are not in this log")
        if oom_class is not None and oom_class not in WANTS_A_NAME:
            return None  # the report itself says who holds it, or that nobody does
        teller = "an OOM report does" if case.event is not None else "such files do"
        return Unknown("who allocated the pages", f"{teller} not tell: page_owner, a core dump or `oomscope arm` do")
    if not counts.requests.values:
        what = (
            "orders, gfp, tasks, places"
            if counts.stacks and counts.timed_pages.any()
            else "orders, gfp, tasks, places and times"
        )
        return Unknown(what, f"{latest.reading.format} does not tell them")
    if not counts.tasks.values:
        return Unknown("tasks and times", "page_owner of this kernel does not keep them")
    return latest.at_ns if isinstance(latest.at_ns, Unknown) else None


def _of_machine(evidence: Evidence) -> list[Unknown]:
    """RAM, release, architecture and page size, where they are not known."""
    kernel = evidence.kernel
    arch = (kernel.arch,) if evidence.latest.counts.stacks else ()
    facts = (evidence.ram_pages, kernel.release, *arch, kernel.page_size_bytes)
    return [fact for fact in facts if isinstance(fact, Unknown)]


def _uncounted(totals: PanicTotals) -> list[Unknown]:
    """Pages that stand in no stack of a dying kernel's report."""
    older, since_ns = totals.older_pages or 0, totals.tracked_since_ns
    others = (totals.uncounted_pages or 0) - older
    told = [Unknown(pages_text(others), "the dying kernel could not count them")] if others else []
    if since_ns is not None and older:
        reason = f"allocated before tracking began, {uptime_text(since_ns)} after boot"
        if totals.plugged_pages:
            reason += f", or in {pages_text(totals.plugged_pages)} of RAM that were plugged in since"
        told.insert(0, Unknown(f"who allocated {pages_text(older)}", reason))
    return told


def _why_no_balance(case: RuleCase) -> str:
    if not case.selection.is_empty:
        return "filters leave a part out"
    if case.evidence.latest.is_panic_report:
        return "at panic only the greatest consumers are printed"
    if case.event is not None:
        return "the report's counters or its RAM lines are missing"
    if case.evidence.latest.counts.stacks and case.evidence.latest.counts.pages is None:
        return "pages are not counted"
    return "no input tells the free pages"
