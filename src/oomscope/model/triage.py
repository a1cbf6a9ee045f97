"""Many cases together: a row for each, what they hold in common, and what a triage says of all of them.

Rows are plain values, so that they can lie in a file and in a table of any tool; units stand in the names.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from oomscope.model.answer import BY_REPORT, BY_STACKS, LACKING, UNDETERMINED
from oomscope.model.ranked import Consumer
from oomscope.model.verdict import Finding

# Raised when equal causes get other names than before. 1 named nobody where a report cannot tell and stacks do, 2 put
# the limits of all memory cgroups together.
SIGNATURE_VERSION = 3
BY_SIDECAR, BY_LOG, BY_FILE = "sidecar", "log", "file"  # who says when a case happened
ANSWERS = (BY_REPORT, BY_STACKS, LACKING, UNDETERMINED)  # what it took to explain a case: see model.answer


@dataclass(frozen=True, slots=True)
class Signature:
    """What equal causes have in common, on whatever machine: names without addresses, offsets and compiler suffixes.

    `culprit` is who holds the memory (a function, a slab cache, a task's name) or empty; `module` is empty for built-in
    code. `trigger` is the request that failed, where that is the cause and not chance, else empty.
    """

    oom_class: str
    culprit: str
    module: str
    trigger: str

    @property
    def id(self) -> str:
        """Twelve hex digits, the same wherever and whenever they are worked out."""
        parts = (self.oom_class, self.culprit, self.module, self.trigger)
        return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()

    def __str__(self) -> str:
        who = f"{self.culprit} [{self.module}]" if self.module else self.culprit
        return " | ".join(part for part in (self.oom_class, who, self.trigger) if part)


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One OOM of one case, or one case without any: what `explain` says of it.

    Where it failed, `failure` is the reason and all that would come from a verdict is None. `stamp` is the time as the
    log writes it, `at_ns` since boot; `member` is the file that tells of it, where the case is an archive or a folder
    of several. `unused`, in the first row of a case, are files of it that took no part, each
    with its reason. `pages` are those of the culprit over all its stacks, or of the class's holder.
    """

    failure: str | None = None
    exit_code: int = 0
    event: int | None = None
    member: str | None = None
    stamp: str | None = None
    at_ns: int | None = None
    kernel_release: str | None = None
    arch: str | None = None
    page_size_bytes: int | None = None
    ram_pages: int | None = None
    oom_class: str | None = None
    also: tuple[str, ...] = ()
    certainty: str | None = None
    panic: bool | None = None
    kind: str | None = None
    trigger_comm: str | None = None
    trigger_order: int | None = None
    trigger_gfp: str | None = None
    culprit: str | None = None
    module: str | None = None
    subsystem: str | None = None
    pages: int | None = None
    share_of_ram: float | None = None
    growth: str | None = None
    answered_by: str | None = None
    headline: str | None = None
    next: str | None = None
    source: str | None = None
    partial: bool | None = None
    unused: tuple[str, ...] = ()
    stacks: int | None = None
    counted_pages: int | None = None
    unexplained_pages: int | None = None
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """One stack of a case as plain values; `stack` has the innermost frame first, as the kernel prints it."""

    pages: int
    bytes: int | None
    share_of_ram: float | None
    kind: str
    culprit: str | None
    module: str | None
    subsystem: str | None
    blocks: int | None
    first_allocated_ns: int | None
    last_allocated_ns: int | None
    growth: str | None
    stack: tuple[str, ...]

    @classmethod
    def of(cls, consumer: Consumer) -> Self:
        """The row of a verdict's consumer."""
        holding, culprit = consumer.holding, consumer.holding.culprit
        return cls(
            pages=consumer.pages,
            bytes=consumer.size_bytes,
            share_of_ram=consumer.share_of_ram,
            kind=holding.kind,
            culprit=None if culprit is None else culprit.function,
            module=None if culprit is None else culprit.module,
            subsystem=None if culprit is None else culprit.subsystem,
            blocks=holding.blocks,
            first_allocated_ns=holding.first_ns,
            last_allocated_ns=holding.last_ns,
            growth=consumer.growth,
            stack=holding.stack.texts,
        )


@dataclass(frozen=True, slots=True)
class CaseResult:
    """All that is kept of one verdict; consumers and findings in its order."""

    row: CaseRow
    consumers: tuple[ConsumerRow, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A result with the name of its case: `name` is unique in a triage, `#2` behind it is the second OOM of one.

    `link` leads to where it lies. `seen` is when it happened, ISO 8601 in UTC, `seen_by` who says so. `labels` come
    from folder names and a sidecar.
    """

    name: str
    path: str
    link: str
    folder: str
    labels: Mapping[str, str]
    seen: str | None
    seen_by: str | None
    result: CaseResult

    @property
    def cluster(self) -> str | None:
        """The id of its cluster, None where it failed."""
        signature = self.result.row.signature
        return None if signature is None else signature.id


@dataclass(frozen=True, slots=True)
class Cluster:
    """Cases of one signature. `example` is the clearest of them; pages are of the cases that tell them, None for none.

    `inputs` are the logs, archives and folders that the cases come from: many OOMs of one log are one incident.

    `kernels` and `labels` count cases by value, the ten most frequent; `distinct_...` is how many values there are.
    """

    id: str
    signature: Signature
    cases: int
    inputs: int
    pages: int | None
    most_pages: int | None
    example: str
    example_headline: str
    example_next: str
    first_seen: str | None
    last_seen: str | None
    kernels: tuple[tuple[str, int], ...]
    labels: Mapping[str, tuple[tuple[str, int], ...]]
    distinct_kernels: int
    distinct_labels: Mapping[str, int]
    answered_by: tuple[tuple[str, int], ...]
    is_new: bool | None  # None: there is no earlier triage to compare with


@dataclass(frozen=True, slots=True)
class Triage:
    """What all cases together say; the cases themselves are told one by one, not kept here.

    Every case stands once in `failed` or in `answers`, and once in `classes`. `exit_code` is the command's: 0 where any
    case was explained. `failures` are reasons and how often each
    was met. `gone` are the clusters of the earlier triage that have no case here.
    """

    cases: int
    failed: int
    exit_code: int
    kernels: int
    answers: Mapping[str, int]
    classes: tuple[tuple[str, int, int], ...]  # class, cases, cases whose class is certain
    clusters: tuple[Cluster, ...]
    failures: tuple[tuple[str, int], ...]
    since: str | None
    gone: tuple[str, ...]
    notes: tuple[str, ...]


def ranked(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Rows as plain values, each with its rank: the first has 1."""
    return [{"rank": rank, **fields(row)} for rank, row in enumerate(rows, 1)]


def fields(row: Any) -> dict[str, Any]:
    """The fields of a row by their names; what is in them stays as it is."""
    return {name: getattr(row, name) for name in _names(row.__class__)}


@cache
def _names(of: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(of))
