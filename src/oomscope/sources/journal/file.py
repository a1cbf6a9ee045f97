"""A binary journal (system.journal): read by journalctl as a child, whose text is a kernel log like any other.

The format is systemd's own and grows with it (compressed and compact objects), so that its own reader reads it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import IO

from oomscope import bounds
from oomscope.errors import CorruptInput, UnknownContent
from oomscope.io.input import Stream
from oomscope.model.reading import Reading, Role
from oomscope.sources.base import Options
from oomscope.sources.kernel_log.source import KernelLog

_SIGNATURE = b"LPKSHHRH"  # src/libsystemd/sd-journal/journal-def.h HEADER_SIGNATURE
_LONGEST_S = 300
_READER = "journalctl"
_HOW = "on a machine that has systemd: journalctl --file FILE > log"


class JournalFile:
    """The format: systemd's header at the very beginning."""

    format = "journal"
    role = Role.LOG

    def recognises(self, head: bytes) -> bool:
        """Whether it begins as every journal does."""
        return head.startswith(_SIGNATURE)

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """See Source: the readings of its lines.

        Raises UnknownContent where journalctl is not installed, CorruptInput where it reads nothing of the file.
        """
        if shutil.which(_READER) is None:
            raise UnknownContent(
                f"{stream.origin}: a binary journal, which {_READER} reads, and that is not here; {_HOW}"
            )
        with tempfile.NamedTemporaryFile(suffix=".journal") as copy, tempfile.TemporaryFile() as text:
            for chunk in options.chunks(stream):
                copy.write(chunk)
            copy.flush()
            told = _lines(copy.name, text)
            size_bytes = text.tell()
            if not size_bytes:
                raise CorruptInput(f"{stream.origin}: a journal of which {_READER} reads nothing ({told})", advice="")
            text.seek(0)
            return KernelLog().read(Stream(stream.origin, text, size_bytes=None), options)


def _lines(path: str, text: IO[bytes]) -> str:
    """Write the journal's lines to `text`, within the bounds of a log; what journalctl said."""
    command = [
        _READER,
        f"--file={path}",
        "--no-pager",
        "--quiet",
        "--output=short-precise",
        f"--lines={bounds.JOURNAL_LINES}",
    ]
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C", "SYSTEMD_COLORS": "0", "TZ": "UTC"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=text,
            stderr=subprocess.PIPE,
            timeout=_LONGEST_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return f"not done within {_LONGEST_S} s"
    return (
        done.stderr.decode(errors="backslashreplace").strip().splitlines()[-1][:200] if done.stderr else "it is empty"
    )
