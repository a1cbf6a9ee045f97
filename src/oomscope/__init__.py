"""oomscope: when Linux runs out of memory, say who ate it.

    import oomscope

    verdict = oomscope.explain("page_owner.txt", "meminfo")
    print(verdict.greatest.pages, verdict.greatest.holding.culprit)

`read` returns the Evidence, `explain` the Verdict; both take paths, bytes,
open files and lines of text. docs/guide/library.md shows
more. Names are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.attribution.selection import Selection
    from oomscope.errors import BadQuestion, NoAccess, NothingToExplain, OomscopeError, Unreadable
    from oomscope.model.evidence import Evidence
    from oomscope.model.unknown import Absent, Unknown
    from oomscope.model.verdict import Verdict
    from oomscope.pipeline.api import explain, read
    from oomscope.report.data_frame import to_frame
    from oomscope.verdict import Question

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs an older one is told what gives a newer
    from oomscope.old_python import told

    sys.exit(told())

_HOMES = {
    "Absent": "oomscope.model.unknown",
    "BadQuestion": "oomscope.errors",
    "Evidence": "oomscope.model.evidence",
    "NoAccess": "oomscope.errors",
    "NothingToExplain": "oomscope.errors",
    "OomscopeError": "oomscope.errors",
    "Question": "oomscope.verdict",
    "Selection": "oomscope.attribution.selection",
    "Unknown": "oomscope.model.unknown",
    "Unreadable": "oomscope.errors",
    "Verdict": "oomscope.model.verdict",
    "explain": "oomscope.pipeline.api",
    "read": "oomscope.pipeline.api",
    "to_frame": "oomscope.report.data_frame",
}

__all__ = [
    "Absent",
    "BadQuestion",
    "Evidence",
    "NoAccess",
    "NothingToExplain",
    "OomscopeError",
    "Question",
    "Selection",
    "Unknown",
    "Unreadable",
    "Verdict",
    "explain",
    "read",
    "to_frame",
]


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
