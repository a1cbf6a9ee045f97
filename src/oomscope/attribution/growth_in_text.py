"""What changed between the first and the last reading of an account, where one text holds several."""

from __future__ import annotations

from oomscope.attribution import timeline
from oomscope.attribution.diff import Scale, changes
from oomscope.attribution.facts import facts_of
from oomscope.model.diff import Change
from oomscope.model.evidence import Evidence
from oomscope.model.unknown import Unknown


def changes_in_text(evidence: Evidence) -> tuple[Change, ...]:
    """Everything that changed, the largest first; nothing where no text holds an account more than once."""
    later = tuple(reading for reading in evidence.readings if reading.earlier is not None)
    earlier = tuple(reading.earlier for reading in later if reading.earlier is not None)
    if not later:
        return ()
    known = evidence.kernel.page_size_bytes
    page_bytes = None if isinstance(known, Unknown) else known
    before, after = (timeline.build(readings, page_size_bytes=page_bytes) for readings in (earlier, later))
    return changes(facts_of(before), facts_of(after), Scale(page_bytes, None))
