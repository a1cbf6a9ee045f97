"""What is not known, said: nothing is left out silently."""

from __future__ import annotations

from oomscope.model.reading import PanicTotals
from oomscope.model.unknown import Unknown
from oomscope.units import pages_text, share_text, uptime_text
from oomscope.verdict.rules.case import RuleCase


def missing(case: RuleCase) -> tuple[Unknown, ...]:
    """Everything that the reader of this verdict should know is missing, the nearest to the answer first."""
    evidence, latest = case.evidence, case.evidence.latest
    notes = latest.reading.notes
    absent: list[Unknown] = []
    if latest.is_panic_report:
        if case.event is None:
            absent.append(
                Unknown("the class of the OOM", "the OOM report around the at-panic lines is not in this log")
            )
        if latest.totals is None:
            absent.append(Unknown("the totals of the at-panic report", "no line of it holds them in a known form"))
        else:
            unnamed = latest.totals.stacks - len(case.consumers)
            if unnamed > 0:
                absent.append(Unknown(f"{unnamed:,} more stacks", "the dying kernel printed its greatest only"))
    for reading in evidence.readings:
        if reading.notes.events_left_out:
            reason = f"of a log the last {len(evidence.events):,} are kept"
            absent.append(Unknown(f"{reading.notes.events_left_out:,} earlier OOMs of {reading.origin}", reason))
        if reading.defect is not None:
            absent.append(Unknown(f"the rest of {reading.origin}", reading.defect))
        if reading.notes.cut_off and not reading.notes.reports:
            absent.append(Unknown(f"the end of {reading.origin}", "its last record is cut"))
        if reading.notes.unread_share:
            share = share_text(reading.notes.unread_share)
            absent.append(Unknown(f"{share} of what was asked of {reading.origin}", "it is not in the dump"))
        if reading.notes.corrupt_records:
            absent.append(
                Unknown(
                    f"{reading.notes.corrupt_records:,} records of {reading.origin}", "they are too damaged to count"
                )
            )
    if latest.counts.untold_rows_left_out:
        rows = f"{latest.counts.untold_rows_left_out:,} records"
        absent.append(Unknown(rows, f"they do not tell what {', '.join(case.selection.asks_of_records)} ask of"))
    if latest.counts.tasks.pruned or latest.counts.memcgs.pruned:
        absent.append(Unknown("the smaller tasks and memcgs of each stack", "there are too many; the sums are exact"))
    if latest.counts.pages is None and latest.counts.stacks:
        absent.append(Unknown("pages", "stack_count counts allocations, of whatever order"))
    if notes.ranked_only:
        absent.append(Unknown("tasks, orders and times", "only the ranking was asked for"))
    elif notes.absent and not notes.records:
        pass  # who allocated is not known at all, which stands among what is absent
    elif not latest.counts.stacks:
        teller = "an OOM report does" if case.event is not None else "such files do"
        reason = f"{teller} not tell: page_owner, a core dump or `oomscope arm` do"
        absent.append(Unknown("who allocated the pages", reason))
    elif not latest.counts.requests.values:
        what = (
            "orders, gfp, tasks, places" if latest.counts.timed_pages.any() else "orders, gfp, tasks, places and times"
        )
        absent.append(Unknown(what, f"{latest.reading.format} does not tell them"))
    elif not latest.counts.tasks.values:
        absent.append(Unknown("tasks and times", "page_owner of this kernel does not keep them"))
    elif isinstance(latest.at_ns, Unknown):
        absent.append(latest.at_ns)
    absent += [
        value
        for value in (
            evidence.ram_pages,
            evidence.kernel.release,
            *(() if not latest.counts.stacks else (evidence.kernel.arch,)),
            evidence.kernel.page_size_bytes,
        )
        if isinstance(value, Unknown)
    ]
    if case.balance is None and not isinstance(evidence.ram_pages, Unknown):
        absent.append(Unknown("the balance of RAM", _why_no_balance(case)))
    if latest.totals is not None:
        absent += _uncounted(latest.totals)
    absent += evidence.absent
    absent += evidence.unused
    return tuple(absent)


def _uncounted(totals: PanicTotals) -> list[Unknown]:
    """Pages that stand in no stack of a dying kernel's report."""
    older, since_ns = totals.older_pages or 0, totals.tracked_since_ns
    others = (totals.uncounted_pages or 0) - older
    told = [Unknown(pages_text(others), "the dying kernel could not count them")] if others else []
    if since_ns is not None and older:
        reason = f"allocated before tracking began, {uptime_text(since_ns)} after boot"
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
