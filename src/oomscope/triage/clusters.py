"""Cases of one signature put together, one case at a time: nothing of a case stays but what its cluster shows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from oomscope.model.answer import BY_STACKS
from oomscope.model.triage import ANSWERS, SIGNATURE_VERSION, Case, CaseResult, CaseRow, Cluster, Signature, Triage
from oomscope.model.verdict import CERTAIN, LIKELY, POSSIBLE
from oomscope.units import counted

BY_CASES, BY_PAGES = "cases", "pages"
_RANK = {CERTAIN: 3, LIKELY: 2, POSSIBLE: 1, None: 0}
_VALUES_SHOWN = 10
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Previous:
    """As much of an earlier triage as a later one is compared with: its clusters by id, and when it was made.

    `signature_version` says how it names causes: with another version than ours nothing of it can be found again.
    """

    signatures: Mapping[str, str]
    made: str
    signature_version: int = SIGNATURE_VERSION


@dataclass
class _Growing:
    signature: Signature
    cases: int = 0
    inputs: int = 0
    last_input: str | None = None
    pages: int | None = None
    most_pages: int | None = None
    example: Case | None = None
    first_seen: str | None = None
    last_seen: str | None = None
    kernels: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    answered_by: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case) -> None:
        row = case.result.row
        self.cases += 1
        self.inputs += case.path != self.last_input  # the cases of an input come one after the other
        self.last_input = case.path
        if row.pages is not None:
            self.pages = (self.pages or 0) + row.pages
            self.most_pages = max(self.most_pages or 0, row.pages)
        if row.kernel_release is not None:
            self.kernels[row.kernel_release] += 1
        for name, value in case.labels.items():
            self.labels.setdefault(name, Counter())[value] += 1
        if row.answered_by is not None:
            self.answered_by[row.answered_by] += 1
        if case.seen is not None:
            self.first_seen = min(self.first_seen or case.seen, case.seen)
            self.last_seen = max(self.last_seen or case.seen, case.seen)
        if self.example is None or _clearness(case) > _clearness(self.example):
            self.example = dataclasses.replace(case, result=CaseResult(row))


def triage_of(
    cases: Iterable[Case], *, before: Previous | None = None, sort: str = BY_CASES, notes: Iterable[str] = ()
) -> Triage:
    """What cases say together; `before` is compared with."""
    clusters = Clusters(before)
    for case in cases:
        clusters.add(case)
    return clusters.triage(sort=sort, notes=notes)


class Clusters:
    """Takes cases, gives a Triage; `before` is an earlier one to compare with."""

    def __init__(self, before: Previous | None = None) -> None:
        is_comparable = before is None or before.signature_version == SIGNATURE_VERSION
        self._before: Previous | None = before if is_comparable else None
        self._incomparable: Previous | None = None if is_comparable else before
        self._exit_code = 0
        self._growing: dict[Signature, _Growing] = {}
        self._answers: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._certain: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._kernels: set[str] = set()
        self._cases = 0
        self._with_unused, self._first_unused = 0, ""

    def add(self, case: Case) -> None:
        """Count one case."""
        row = case.result.row
        self._cases += 1
        if row.failure is not None:
            self._failures[row.failure] += 1
            self._classes[FAILED] += 1
            self._exit_code = max(self._exit_code, row.exit_code)
            return
        if row.unused:
            self._first_unused = self._first_unused or f"{case.name}: {row.unused[0]}"
            self._with_unused += 1
        assert row.signature is not None
        assert row.answered_by is not None
        if row.kernel_release is not None:
            self._kernels.add(row.kernel_release)
        self._answers[row.answered_by] += 1
        self._classes[row.signature.oom_class] += 1
        self._certain[row.signature.oom_class] += row.certainty == CERTAIN
        self._growing.setdefault(row.signature, _Growing(row.signature)).add(case)

    def triage(self, *, sort: str = BY_CASES, notes: Iterable[str] = ()) -> Triage:
        """What they say together; clusters ranked by cases or by pages, equal ones by their names."""
        before = self._before
        clusters = [_cluster(growing, before) for growing in self._growing.values()]
        clusters.sort(key=lambda cluster: _order(cluster, sort))
        here = {cluster.id for cluster in clusters}
        return Triage(
            cases=self._cases,
            exit_code=self._exit_code if self._classes[FAILED] == self._cases else 0,
            failed=self._classes[FAILED],
            kernels=len(self._kernels),
            answers={answer: self._answers[answer] for answer in ANSWERS},
            classes=tuple((name, count, self._certain[name]) for name, count in _ranked(self._classes)),
            clusters=tuple(clusters),
            failures=_ranked(self._failures),
            since=None if before is None else before.made,
            gone=() if before is None else tuple(text for name, text in before.signatures.items() if name not in here),
            notes=(*notes, *self._notes()),
        )

    def _notes(self) -> list[str]:
        notes = []
        if self._incomparable is not None:
            version = self._incomparable.signature_version
            notes.append(
                f"not compared with the triage of {self._incomparable.made}: its signatures are of version {version}, "
                f"these of version {SIGNATURE_VERSION}; run the earlier one again to compare"
            )
        if self._with_unused:
            files = f"{counted(self._with_unused, 'case')} with files that took no part"
            notes.append(f"{files}, the first {self._first_unused}")
        return notes


def _order(cluster: Cluster, sort: str) -> tuple[int, int, str]:
    amounts = (-cluster.cases, -(cluster.pages or 0))
    first, second = reversed(amounts) if sort == BY_PAGES else amounts
    return first, second, str(cluster.signature)


def _cluster(growing: _Growing, before: Previous | None) -> Cluster:
    example = growing.example
    assert example is not None
    row: CaseRow = example.result.row
    name = growing.signature.id
    labels: Mapping[str, tuple[tuple[str, int], ...]] = {
        label: _ranked(values)[:_VALUES_SHOWN] for label, values in sorted(growing.labels.items())
    }
    return Cluster(
        id=name,
        signature=growing.signature,
        cases=growing.cases,
        inputs=growing.inputs,
        pages=growing.pages,
        most_pages=growing.most_pages,
        example=example.name,
        example_headline=row.headline or "",
        example_next=row.next or "",
        first_seen=growing.first_seen,
        last_seen=growing.last_seen,
        kernels=_ranked(growing.kernels)[:_VALUES_SHOWN],
        labels=labels,
        distinct_kernels=len(growing.kernels),
        distinct_labels={name: len(values) for name, values in growing.labels.items()},
        answered_by=_ranked(growing.answered_by),
        is_new=None if before is None else name not in before.signatures,
    )


def _clearness(case: Case) -> tuple[int, bool, bool, float, int]:
    """How well a case shows what its cluster is: sure, named, whole, large."""
    row = case.result.row
    return (
        _RANK[row.certainty],
        row.answered_by == BY_STACKS,
        not row.partial,
        row.share_of_ram or 0.0,
        row.pages or 0,
    )


def _ranked(counter: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0])))
