"""What grew between two moments, and what an earlier one knew that the latest does not tell."""

from __future__ import annotations

from oomscope.model.verdict import CERTAIN, POSSIBLE, Finding
from oomscope.units import pages_text
from oomscope.verdict.rules.case import RuleCase

_WORTH_SAYING_PAGES = 256


def rule(case: RuleCase) -> tuple[Finding, ...]:
    """Claims the greatest growth; behind an at-panic report, also who held most in the dump before it."""
    earlier, before = case.facts.earlier, case.facts.earlier_by_culprit
    if earlier is None or before is None:
        return ()
    grown = [(row.pages - before.get(row.culprit, 0), row) for row in case.culprits]
    grown = [(more, row) for more, row in grown if more >= _WORTH_SAYING_PAGES]
    findings = []
    if grown:
        more, row = max(grown, key=lambda item: item[0])
        findings.append(
            Finding(
                claim=f"{row.culprit} grew by {case.size(more)} between two readings",
                pages=more,
                certainty=CERTAIN,
                because=(
                    f"{earlier.reading.origin}: {pages_text(before.get(row.culprit, 0))}",
                    f"{case.evidence.latest.reading.origin}: {pages_text(row.pages)}",
                ),
                refuted_by="a restart of the machine between the two",
                next="a third reading tells whether it goes on",
            )
        )
    if case.evidence.latest.is_panic_report:
        named = {row.culprit for row in case.culprits}
        unnamed = {culprit: pages for culprit, pages in before.items() if culprit not in named}
        if unnamed:
            culprit, pages = max(unnamed.items(), key=lambda item: item[1])
            findings.append(
                Finding(
                    claim=f"{culprit} held {case.size(pages)} before the panic; the at-panic lines do not list it",
                    pages=pages,
                    certainty=POSSIBLE,
                    because=(f"{earlier.reading.origin}: its stacks hold {pages_text(pages)}",),
                    refuted_by="a core dump of the panic",
                    next="explain the earlier dump by itself for its full ranking",
                )
            )
    return tuple(findings)
