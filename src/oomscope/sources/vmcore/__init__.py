"""Core dumps and the live kernel, through drgn and NumPy. Nothing outside this folder imports drgn.

`Vmcore` recognises a dump by its beginning. The rest is imported when a dump is read, so that text can be
explained where drgn is not installed.
"""

from __future__ import annotations

from oomscope.errors import NoAccess
from oomscope.io.input import Stream
from oomscope.model.reading import Reading, Role
from oomscope.sources.base import Options

LIVE = "/proc/kcore"
_MAGICS = (b"KDUMP   ", b"DISKDUMP", b"makedumpfile\0")
_ELF, _ET_CORE, _IMAGE_TYPES = b"\x7fELF", b"\x04\x00", (b"\x02\x00", b"\x03\x00")


class Vmcore:
    """The format: an ELF core, or one of makedumpfile's forms (compressed, flattened)."""

    format = "kernel memory"
    role = Role.MEMORY

    def recognises(self, head: bytes) -> bool:
        """Whether a file begins as a core dump does; of a process or of a kernel is told when it is opened."""
        return head.startswith(_MAGICS) or (head.startswith(_ELF) and head[16:18] == _ET_CORE)

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """Its page frames, and what else in it counts the same pages; see Source and reader.Reader."""
        return options.kernel_memory(stream)


def is_kernel_image(head: bytes) -> bool:
    """Whether a file may be a vmlinux: an ELF executable or shared object."""
    return head.startswith(_ELF) and head[16:18] in _IMAGE_TYPES


def require_drgn() -> None:
    """Raises NoAccess where the library that reads kernel memory is not installed."""
    try:
        import drgn  # noqa: F401
    except ImportError as error:
        raise NoAccess("reading kernel memory needs the library drgn", advice="pip install drgn") from error
