"""A process that reads what anybody may have written has no privileges: nobody, without capabilities, for good."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import stat
import sys
from pathlib import Path

_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_MOST_BYTES = 2 << 30


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop_privileges() -> None:
    """Become nobody, who may gain nothing and have 2 GiB; it ends when its input does, not by the watch's signals.

    Where this Python lies in a place that nobody may read, as below /root, it stays who it is, without capabilities.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")  # the watch survives, not this process
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        os.setgroups([])
        if all(map(_anybody_may_read, _places())):
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        elif libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref((_Sets * 2)())):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _places() -> list[Path]:
    """Where Python loads from, as far as it is there."""
    found = [Path(each) for each in (*sys.path, os.__file__, __file__) if each]
    return [each.resolve() for each in found if each.exists()]


def _anybody_may_read(path: Path) -> bool:
    try:
        may_read = path.stat().st_mode & stat.S_IROTH
        return bool(may_read) and all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    except OSError:
        return False
