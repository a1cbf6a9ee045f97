"""Everything oomscope refuses, as one tree.

    OomscopeError
    ├── NothingToExplain   1  the input was read and holds no evidence of who took memory
    ├── BadQuestion        2  what was asked cannot be asked
    ├── Unreadable         3  nothing could be read
    │   ├── UnknownContent    no format that oomscope knows
    │   ├── CorruptInput      known, but too damaged to hold a single record
    │   └── InternalError     a bug in oomscope, met while one input was read or judged
    ├── NoAccess           4  a privilege or a kernel feature is missing
    │   └── NotOffered        this kernel, or this installation, does not have it
    └── OutputFailed       5  the answer was there and could not be written

The number is the exit code of the command. A message holds the facts (which input, which place, what was found);
`advice` says what to do about it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_log = logging.getLogger("oomscope")


class OomscopeError(Exception):
    """Base of every error that a user can meet; `str()` is one sentence for people."""

    exit_code = 3
    advice = ""

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        if advice is not None:
            self.advice = advice


class NothingToExplain(OomscopeError):
    """The input was read and understood, and says nothing about who holds memory."""

    exit_code = 1
    advice = "give a kernel log with an OOM report, a page_owner dump, show_stacks, or a core dump"


class BadQuestion(OomscopeError):
    """A filter, grouping or option that makes no sense."""

    exit_code = 2


class Unreadable(OomscopeError):
    """Nothing could be read from the input."""

    exit_code = 3


class UnknownContent(Unreadable):
    """The content is of no format that oomscope knows."""

    advice = "`oomscope help` lists the formats that are recognised"


class CorruptInput(Unreadable):
    """A known format, damaged beyond the first record."""

    advice = "copy the file again, reading with at least 4096 bytes at a time"


class InternalError(Unreadable):
    """A bug in oomscope: it costs the input that it was met in, and no other."""

    advice = "this is a bug in oomscope; --debug shows the traceback, please report it"


class NoAccess(OomscopeError):
    """The file exists and may not be read."""

    exit_code = 4
    advice = "run as root, or copy the file with sudo first"


class NotOffered(NoAccess):
    """What is asked for needs something that this kernel or this installation does not have."""

    advice = ""


class OutputFailed(OomscopeError):
    """The answer could not be written: a full disk, a closed stream, a folder that is not there."""

    exit_code = 5


def cause_of(error: OSError) -> str:
    """The system's own words for what went wrong, in lower case."""
    return (error.strerror or str(error) or type(error).__name__).lower()


@contextmanager
def isolated(what: str) -> Iterator[None]:
    """Whatever goes wrong within costs `what` alone: it is raised as our own error, see `foreseen`."""
    try:
        yield
    except OomscopeError:
        raise
    except Exception as error:
        raise foreseen(error, what) from error


def foreseen(error: Exception, what: str = "") -> OomscopeError:
    """Any error as one of ours: InternalError for what nobody foresaw, Unreadable where memory or the system gives out.

    The traceback of a bug goes to the log `oomscope` (logging), which --debug shows.
    """
    of = f"{what}: " if what else ""
    if isinstance(error, OomscopeError):
        return error
    if isinstance(error, MemoryError):
        return Unreadable(f"{of}out of memory while reading", advice="explain a part of it")
    if isinstance(error, OSError):
        return Unreadable(f"{of}{cause_of(error)}", advice="")
    _log.debug("%s", what or "oomscope", exc_info=error)
    told = str(error).partition("\n")[0][:200]
    return InternalError(f"{of}{type(error).__name__}" + (f": {told}" if told else ""))
