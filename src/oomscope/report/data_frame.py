"""Tables of a verdict as pandas data frames, for notebooks (extra `frame`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from oomscope.errors import BadQuestion, NotOffered
from oomscope.model.oom_event import Process
from oomscope.model.triage import ConsumerRow, fields
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import Verdict

if TYPE_CHECKING:
    import pandas


def to_frame(verdict: Verdict, table: str = "stacks") -> pandas.DataFrame:
    """One of a verdict's tables: `stacks`, `culprits`, `balance`, `processes`, `findings` or `events`.

    Sizes are in pages and bytes, times in nanoseconds since boot; what is not known is <NA>. Raises BadQuestion for
    another table, NotOffered where pandas is not installed.
    """
    if table not in _TABLES:
        raise BadQuestion(f"{table}: not one of {', '.join(_TABLES)}")
    try:
        import pandas
    except ImportError as error:
        raise NotOffered("a data frame needs pandas", advice="pip install pandas") from error
    columns, rows = _TABLES[table]
    return pandas.DataFrame(rows(verdict), columns=list(columns)).convert_dtypes()


def _page_bytes(verdict: Verdict) -> int | None:
    size = verdict.kernel.page_size_bytes
    return None if isinstance(size, Unknown) else size


def _bytes(verdict: Verdict, pages: int | None) -> int | None:
    page_bytes = _page_bytes(verdict)
    return None if pages is None or page_bytes is None else pages * page_bytes


def _stacks(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        fields(ConsumerRow.of(consumer)) | {"handle": consumer.holding.stack.handle} for consumer in verdict.consumers
    ]


def _culprits(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {
            "culprit": row.culprit.function,
            "module": row.culprit.module,
            "pages": row.pages,
            "bytes": _bytes(verdict, row.pages),
            "share_of_ram": row.share_of_ram,
            "stacks": row.stacks,
            "growth": row.growth,
        }
        for row in verdict.culprits
    ]


def _balance(verdict: Verdict) -> list[dict[str, Any]]:
    balance = verdict.balance
    if balance is None:
        return []
    rows = [(row.kind, row.pages, row.source) for row in balance.rows]
    return [
        {
            "kind": kind,
            "pages": pages,
            "bytes": _bytes(verdict, pages),
            "share_of_ram": pages / balance.ram_pages,
            "source": source,
        }
        for kind, pages, source in [*rows, ("unexplained", balance.unexplained_pages, "")]
    ]


def _processes(verdict: Verdict) -> list[dict[str, Any]]:
    if verdict.oom is None or verdict.oom.analysis is None:
        return []
    event = verdict.oom.analysis.event
    killed = {victim.pid for victim in event.victims}

    def row(process: Process) -> dict[str, Any]:
        told = process.values
        return {
            "comm": process.comm,
            "pid": process.pid,
            "rss_pages": process.pages("rss"),
            "swap_pages": told.get("swapents"),
            "pgtables_bytes": told.get("pgtables_bytes"),
            "oom_score_adj": told.get("oom_score_adj"),
            "killed": process.pid in killed,
        }

    return [row(process) for process in event.processes]


def _findings(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {
            "certainty": finding.certainty,
            "claim": finding.claim,
            "pages": finding.pages,
            "because": "\n".join(finding.because),
            "next": finding.next,
        }
        for finding in verdict.findings
    ]


def _events(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {
            "event": event.number,
            "line": event.line,
            "at_ns": event.at_ns,
            "stamp": event.stamp,
            "class": event.oom_class,
            "certainty": event.certainty,
            "text": event.text,
        }
        for event in verdict.events
    ]


_Rows = Callable[[Verdict], list[dict[str, Any]]]
# Each with its columns, which are there without a row, too.
_TABLES: dict[str, tuple[tuple[str, ...], _Rows]] = {
    "stacks": ((*(field.name for field in dataclasses.fields(ConsumerRow)), "handle"), _stacks),
    "culprits": (("culprit", "module", "pages", "bytes", "share_of_ram", "stacks", "growth"), _culprits),
    "balance": (("kind", "pages", "bytes", "share_of_ram", "source"), _balance),
    "processes": (
        ("comm", "pid", "rss_pages", "swap_pages", "pgtables_bytes", "oom_score_adj", "killed"),
        _processes,
    ),
    "findings": (("certainty", "claim", "pages", "because", "next"), _findings),
    "events": (("event", "line", "at_ns", "stamp", "class", "certainty", "text"), _events),
}
