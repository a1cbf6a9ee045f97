"""Archives of a case: tar, zip, and Android's bugreport, one inside the other, searched for what is known.

Nothing is unpacked to disk by its name: each member is read as a stream, so that no name in an archive can lead
anywhere. What an archive may expand to is bounded; one that goes beyond is refused from there on, and what was read of
it and everything beside it stays.
"""

from __future__ import annotations

import io
import lzma
import re
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Protocol, Self

from oomscope import bounds
from oomscope.errors import CorruptInput, OomscopeError, OutputFailed, isolated
from oomscope.io.input import Stream
from oomscope.text import printable, stretches
from oomscope.units import bytes_text

TAR, ZIP, SECTIONS = "tar", "zip", "bugreport"
_SECTION = re.compile(rb"------ (?P<name>[^\n]{1,120}?) ------\r?\n")
# How often an archive may be asked for more behind its end: once for each way in which a whole one ends.
_READS_BEHIND_END = 8
# What the libraries raise where an archive is not what it seems; a seek or a size beyond 63 bits is among it.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    LookupError,
)
# Headers of a tar that are read into memory as they are: long names and what else is told of the next member.
_TAR_TEXTS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X")
_ZIP_END = struct.Struct("<4s4H2LH")  # end of central directory; Zip64's own, where that is larger than this can tell
_ZIP_END_64 = struct.Struct("<4sQ2H2L4Q")
_ZIP_END_REACH = 1 << 16


class BeyondBounds(OomscopeError):
    """An archive that expands beyond what is read."""

    exit_code = 3


@dataclass
class Budget:
    """What is left of the bounds for one archive and all inside it; `packed` tells how much of it has been read."""

    members_left: int = bounds.ARCHIVE_MEMBERS
    bytes_left: int = bounds.ARCHIVE_BYTES
    depth_left: int = bounds.ARCHIVE_DEPTH
    expanded: int = 0
    packed: list[Stream] = field(default_factory=list)

    def spend(self, size: int) -> None:
        """Count expanded bytes. Raises BeyondBounds."""
        self.expanded += size
        self.bytes_left -= size
        packed = max((stream.raw_bytes_done for stream in self.packed), default=0)
        if self.bytes_left < 0:
            raise BeyondBounds(f"it expands beyond {bytes_text(bounds.ARCHIVE_BYTES)}", advice="")
        if self.expanded > bounds.ARCHIVE_FREE_BYTES and self.expanded > bounds.ARCHIVE_EXPANSION * max(packed, 1):
            raise BeyondBounds(f"it expands more than {bounds.ARCHIVE_EXPANSION:,} times: a bomb", advice="")

    def member(self) -> None:
        """Count a member. Raises BeyondBounds."""
        self.members_left -= 1
        if self.members_left < 0:
            raise BeyondBounds(f"it has more than {bounds.ARCHIVE_MEMBERS:,} files", advice="")

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Within an archive inside. Raises CorruptInput where it lies too deep: that one alone is not read."""
        if self.depth_left < 1:
            raise CorruptInput(f"an archive more than {bounds.ARCHIVE_DEPTH} deep in another: not read", advice="")
        self.depth_left -= 1
        try:
            yield
        finally:
            self.depth_left += 1


def kind_of(head: bytes) -> str | None:
    """Which kind of archive begins so; None for anything else."""
    if head[257:262] == b"ustar" or _is_old_tar(head):
        return TAR
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZIP
    if b"== dumpstate: " in head[:2000] and b"\n------ " in head:
        return SECTIONS
    return None


def _kind_of_member(member: Stream) -> str | None:
    """Which kind of archive a member is; None for anything else. Raises CorruptInput where it cannot be unpacked."""
    if member.defect is not None and not member.head:
        raise CorruptInput(f"{member.origin}: {member.defect}", advice="unpack it with another tool and give its file")
    return kind_of(member.head)


def _is_old_tar(head: bytes) -> bool:
    """A tar from before ustar has no magic; its header's sum is right by no accident."""
    if len(head) < 512 or b"\0" not in head[:100]:
        return False
    digits = head[148:156].strip(b" \0")
    if not digits or any(digit not in b"01234567" for digit in digits):
        return False
    return int(digits, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:512])


def walk(
    stream: Stream,
    kind: str,
    budget: Budget,
    *,
    take: Callable[[Stream, Stream], None],
    refuse: Callable[[str, OomscopeError], None],
) -> None:
    """Give each file in an archive, and in those within, to `take`, with the archive that it lies in.

    What goes wrong with one costs that one alone: `refuse` gets its origin and the error. Raises OutputFailed, which is
    no fault of a file.
    """
    try:
        for member in members(stream, kind, budget):
            try:
                with isolated(member.origin):
                    inner = _kind_of_member(member)
                    if inner is None:
                        take(member, stream)
                    else:
                        with budget.deeper():
                            walk(member, inner, budget, take=take, refuse=refuse)
            except (BeyondBounds, OutputFailed):
                raise
            except OomscopeError as error:
                refuse(member.origin, error)
    except (BeyondBounds, CorruptInput) as error:
        refuse(stream.origin, error)


def members(stream: Stream, kind: str, budget: Budget) -> Iterator[Stream]:
    """The files in an archive, one after the other; each is to be read before the next is asked for.

    Raises CorruptInput where the archive breaks, BeyondBounds where it goes beyond its bounds.
    """
    budget.packed.append(stream)
    try:
        if kind == TAR:
            yield from _of_tar(stream, budget)
        elif kind == ZIP:
            yield from _of_zip(stream, budget)
        else:
            yield from _of_sections(stream, budget)
    except BeyondBounds as error:
        raise BeyondBounds(f"{stream.origin}: {error}; the rest of it is not read", advice="") from error
    except _BROKEN as error:
        why = stream.defect or str(error) or "it ends within a member"
        raise CorruptInput(f"{stream.origin}: the archive breaks off ({why})", advice="copy it again") from error
    finally:
        budget.packed.pop()
    if stream.defect is not None:
        raise CorruptInput(f"{stream.origin}: {stream.defect}", advice="copy it again")


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Member:
    """A member's bytes; each piece is taken off the budget, where unpacking the archive itself does not do that."""

    def __init__(self, raw: _Readable, budget: Budget | None) -> None:
        self._raw = raw
        self._budget = budget

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._raw.read(size)
        except _BROKEN as error:
            raise EOFError from error  # the member ends where its archive does
        if self._budget is not None:
            self._budget.spend(len(data))
        return data


class _Chunks:
    """An iterable of pieces as something to read from, each piece taken off the budget.

    Whoever goes on reading behind the end, as a skip over what is not there does, is told with EOFError.
    """

    def __init__(self, chunks: Iterable[bytes], budget: Budget) -> None:
        self._chunks = iter(chunks)
        self._budget = budget
        self._rest = memoryview(b"")
        self._reads_behind_end = 0

    def read(self, size: int = -1, /) -> bytes:
        pieces: list[bytes] = []
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                self._budget.spend(len(self._rest))
                if not self._rest:
                    self._reads_behind_end += 1
                    if self._reads_behind_end > _READS_BEHIND_END:
                        raise EOFError
                    break
            taken = self._rest if size < 0 else self._rest[:size]
            self._rest = self._rest[len(taken) :]
            pieces.append(taken.tobytes())
            size -= len(taken) if size > 0 else 0
        return b"".join(pieces)


def _member(stream: Stream, name: str, raw: _Readable, budget: Budget, *, is_counted: bool = False) -> Stream:
    budget.member()
    origin = f"{stream.origin}: {printable(name.encode('utf-8', 'surrogateescape'))}"
    return Stream(origin, _Member(raw, None if is_counted else budget), size_bytes=None)


def _unreadable(stream: Stream, name: str, reason: str, budget: Budget) -> Stream:
    """A member that cannot be unpacked: it is empty, and its defect says why."""
    member = _member(stream, name, io.BytesIO(), budget)
    member.defect = reason
    return member


class _TarEntry(tarfile.TarInfo):
    """A header of a tar that announces no more than is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The header in a block. Raises BeyondBounds, and tarfile's errors."""
        entry = super().frombuf(buf, encoding, errors)
        if entry.size < 0:
            raise tarfile.ReadError("a member of negative size")
        if entry.size > bounds.ARCHIVE_BYTES:
            raise BeyondBounds(f"a member of {bytes_text(entry.size)} is announced", advice="")
        if entry.type in _TAR_TEXTS and entry.size > bounds.ARCHIVE_HEADER_BYTES:
            raise BeyondBounds(f"a member's name takes {bytes_text(entry.size)}", advice="")
        return entry


def _of_tar(stream: Stream, budget: Budget) -> Iterator[Stream]:
    packed = _Chunks(stream.chunks(is_bounded=False), budget)
    with tarfile.open(fileobj=packed, mode="r|", tarinfo=_TarEntry) as tar:  # type: ignore[call-overload]
        for entry in tar:
            if not entry.isfile():
                budget.member()
                tar.members = []
                continue  # links and devices hold nothing of their own
            if len(tar.pax_headers) > bounds.ARCHIVE_GLOBAL_HEADERS:
                raise BeyondBounds(f"it has more than {bounds.ARCHIVE_GLOBAL_HEADERS:,} global headers", advice="")
            file = tar.extractfile(entry)
            if entry.sparse is not None and len(entry.sparse) > bounds.SPARSE_PIECES:
                yield _unreadable(stream, entry.name, f"it is in {len(entry.sparse):,} pieces", budget)
            elif file is not None:
                # Holes of a sparse member are in no block of the archive: they are taken off the budget as they come.
                yield _member(stream, entry.name, file, budget, is_counted=not entry.issparse())
            tar.members = []  # tarfile keeps every header it has seen


def _of_zip(stream: Stream, budget: Budget) -> Iterator[Stream]:
    # A zip's directory stands at its end: the archive itself is kept where it can be searched.
    with tempfile.SpooledTemporaryFile(max_size=bounds.SPOOL_BYTES) as packed:
        for chunk in stream.chunks():
            budget.spend(len(chunk) if stream.compression else 0)
            _require_room(len(chunk), packed.tell())
            packed.write(chunk)
        _require_small_directory(packed)
        with zipfile.ZipFile(packed) as archive:
            for entry in archive.infolist():
                if entry.is_dir():
                    continue
                try:
                    file = archive.open(entry)
                except (*_BROKEN, OSError) as error:  # encrypted, an unknown method, a header that belongs to another
                    yield _unreadable(stream, entry.filename, _sentence(error), budget)
                    continue
                with file:
                    yield _member(stream, entry.filename, file, budget)


def _sentence(error: Exception) -> str:
    """Why a member of a zip cannot be opened."""
    if isinstance(error, NotImplementedError):
        return "its compression is not known here"
    return "it is encrypted" if "password" in str(error) else "its header is damaged"


def _require_room(size: int, there: int) -> None:
    """Raises BeyondBounds before the last of the disk is taken."""
    if there + size > bounds.SPOOL_BYTES and shutil.disk_usage(tempfile.gettempdir()).free < 2 * size:
        raise BeyondBounds(f"no room in {tempfile.gettempdir()} to search it", advice="set TMPDIR")


def _require_small_directory(packed: IO[bytes]) -> None:
    """Raises BeyondBounds where the directory at a zip's end is larger than is read: it is held in memory whole."""
    end = packed.seek(0, io.SEEK_END)
    packed.seek(max(end - _ZIP_END_REACH - _ZIP_END.size, 0))
    tail = packed.read()
    sizes = []
    for form, mark, field_at in ((_ZIP_END, b"PK\x05\x06", 5), (_ZIP_END_64, b"PK\x06\x06", 8)):
        at = tail.rfind(mark)
        if 0 <= at <= len(tail) - form.size:
            sizes.append(form.unpack_from(tail, at)[field_at])
    size = max((size for size in sizes if size != 0xFFFFFFFF), default=0)
    if size > bounds.ZIP_DIRECTORY_BYTES:
        raise BeyondBounds(f"its directory takes {bytes_text(size)}", advice="")


def _of_sections(stream: Stream, budget: Budget) -> Iterator[Stream]:
    """Android's bugreport is one text whose sections are files: `------ SLAB INFO (/proc/slabinfo) ------`."""
    name = ""
    held = io.BytesIO()
    lines = (line for stretch in stretches(stream.chunks(), None) for line in stretch.splitlines(keepends=True))
    for line in lines:
        match = _SECTION.fullmatch(line) if line.startswith(b"------ ") else None
        if match is None:
            held.write(line[: bounds.SECTION_BYTES + 1 - held.tell()])
            continue
        if name and held.tell():
            yield _member(stream, name, _Section(held), budget)
        text = printable(match["name"])
        name = "" if "was the duration of" in text else text
        held = io.BytesIO()
    if name and held.tell():
        yield _member(stream, name, _Section(held), budget)


class _Section:
    """A section from its beginning; behind what is read of a longer one BeyondBounds is raised."""

    def __init__(self, held: io.BytesIO) -> None:
        held.seek(0)
        self._held = held

    def read(self, size: int = -1, /) -> bytes:
        data = self._held.read(size)
        if not data and size and self._held.tell() > bounds.SECTION_BYTES:
            raise BeyondBounds(f"the section has more than {bytes_text(bounds.SECTION_BYTES)}", advice="")
        return data
