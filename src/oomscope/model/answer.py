"""Who ate it, in one value: what every output says first, and by which a case is known among others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.ranked import CulpritRow

NO_REPORT = "no-report"  # the class of a case in which no OOM is told of

# What a holder's name is the name of.
CULPRIT, CALL_SITE, SLAB_CACHE, PROCESS, MEMORY, NOBODY = (
    "culprit",
    "call site",
    "slab cache",
    "process",
    "kind of memory",
    "nobody",
)
# By what evidence the answer is given.
BY_REPORT, BY_STACKS, LACKING, UNDETERMINED = "report", "stacks", "lacking", "undetermined"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer; what is not known is None.

    `oom_class` is NO_REPORT where no OOM is told of. `holder` is who holds the memory, of the kind `holder_kind`;
    `pages` and `share_of_ram` (0..1) are the holder's, or the class's where the holder is not known by pages. `by` says
    what it took: `report` what the kernel's report says by itself, `stacks` page owner data; `lacking` that only such
    data could tell and there are none, `undetermined` that the deciding numbers are missing. `who` and `text` behind it
    are the headline, `second` is the line under it. `paragraph` is a sentence each. `row` is the culprit over all its
    stacks, where the holder is one.
    """

    oom_class: str
    holder: str | None
    holder_kind: str
    module: str | None
    pages: int | None
    share_of_ram: float | None
    certainty: str | None
    by: str
    who: str
    text: str
    second: str
    paragraph: tuple[str, ...]
    next: str
    row: CulpritRow | None = None

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        return f"{self.who}{self.text}"
