"""A watch that is killed or paged out at an OOM explains nothing: what it asks of the kernel for itself."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_ADJUST = Path("/proc/self/oom_score_adj")
_SCORE = "-900"  # before what may never be killed, behind everything else


def stay_alive() -> None:
    """Keep what is in memory there, and come late among those who are killed; what is not allowed is left."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            _ADJUST.write_text(_SCORE)
