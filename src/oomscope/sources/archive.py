"""Archives of a case: tar, zip, and Android's bugreport, one inside the other, searched for what is known.

Nothing is unpacked to disk by its name: each member is read as a stream, so that no name in an archive can lead
anywhere. What an archive may expand to is bounded; one that goes beyond is refused from there on, and what was read of
it and everything beside it stays.
"""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol

from oomscope.errors import CorruptInput, OomscopeError
from oomscope.sources.base import printable
from oomscope.sources.input import Stream
from oomscope.units import bytes_text

TAR, ZIP, SECTIONS = "tar", "zip", "bugreport"
MOST_MEMBERS = 20_000
MOST_DEPTH = 3
MOST_BYTES = 64 << 30
# Text packs to a twentieth, a log of like lines to a few hundredth; nothing honest expands some hundred times.
_MOST_EXPANSION = 300
_FREE_BYTES = 256 << 20
_SECTION = re.compile(rb"------ (?P<name>[^\n]{1,120}?) ------\r?\n")
_LONGEST_SECTION_BYTES = 64 << 20
_SPOOL_BYTES = 16 << 20


class BeyondBounds(OomscopeError):
    """An archive that expands beyond what is read."""

    exit_code = 3


@dataclass
class Budget:
    """What is left of the bounds for one archive and all inside it; `packed` tells how much of it has been read."""

    members_left: int = MOST_MEMBERS
    bytes_left: int = MOST_BYTES
    depth_left: int = MOST_DEPTH
    expanded: int = 0
    packed: list[Stream] = field(default_factory=list)

    def spend(self, size: int) -> None:
        """Count expanded bytes. Raises BeyondBounds."""
        self.expanded += size
        self.bytes_left -= size
        packed = max((stream.raw_bytes_done for stream in self.packed), default=0)
        if self.bytes_left < 0:
            raise BeyondBounds(f"it expands beyond {bytes_text(MOST_BYTES)}", advice="")
        if self.expanded > _FREE_BYTES and self.expanded > _MOST_EXPANSION * max(packed, 1):
            raise BeyondBounds(f"it expands more than {_MOST_EXPANSION:,} times: a bomb", advice="")

    def member(self) -> None:
        """Count a member. Raises BeyondBounds."""
        self.members_left -= 1
        if self.members_left < 0:
            raise BeyondBounds(f"it has more than {MOST_MEMBERS:,} files", advice="")

    def deeper(self) -> None:
        """Go into an archive inside. Raises BeyondBounds."""
        self.depth_left -= 1
        if self.depth_left < 0:
            raise BeyondBounds(f"archives lie more than {MOST_DEPTH} deep in it", advice="")


def kind_of(head: bytes) -> str | None:
    """Which kind of archive begins so; None for anything else."""
    if head[257:262] == b"ustar" or _is_old_tar(head):
        return TAR
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZIP
    if b"== dumpstate: " in head[:2000] and _SECTION.search(head) is not None:
        return SECTIONS
    return None


def _is_old_tar(head: bytes) -> bool:
    """A tar from before ustar has no magic; its header's sum is right by no accident."""
    if len(head) < 512 or b"\0" not in head[:100]:
        return False
    digits = head[148:156].strip(b" \0")
    if not digits or any(digit not in b"01234567" for digit in digits):
        return False
    return int(digits, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:512])


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
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise CorruptInput(f"{stream.origin}: the archive breaks off ({error})", advice="copy it again") from error
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
        except (tarfile.TarError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise EOFError from error  # the member ends where its archive does
        if self._budget is not None:
            self._budget.spend(len(data))
        return data


class _Chunks:
    """An iterable of pieces as something to read from, each piece taken off the budget."""

    def __init__(self, chunks: Iterable[bytes], budget: Budget) -> None:
        self._chunks = iter(chunks)
        self._budget = budget
        self._rest = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        pieces: list[bytes] = []
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                self._budget.spend(len(self._rest))
                if not self._rest:
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


def _of_tar(stream: Stream, budget: Budget) -> Iterator[Stream]:
    with tarfile.open(fileobj=_Chunks(stream.chunks(is_bounded=False), budget), mode="r|") as tar:  # type: ignore[call-overload]
        for entry in tar:
            if not entry.isfile():
                continue  # links and devices hold nothing of their own
            file = tar.extractfile(entry)
            if file is not None:
                yield _member(stream, entry.name, file, budget, is_counted=True)


def _of_zip(stream: Stream, budget: Budget) -> Iterator[Stream]:
    # A zip's directory stands at its end: the archive itself is kept where it can be searched.
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as packed:
        for chunk in stream.chunks(is_bounded=False):
            packed.write(chunk)
        with zipfile.ZipFile(packed) as archive:
            for entry in archive.infolist():
                if entry.is_dir():
                    continue
                with archive.open(entry) as file:
                    yield _member(stream, entry.filename, file, budget)


def _of_sections(stream: Stream, budget: Budget) -> Iterator[Stream]:
    """Android's bugreport is one text whose sections are files: `------ SLAB INFO (/proc/slabinfo) ------`."""
    name = ""
    held = io.BytesIO()
    for line in _lines(stream.chunks()):
        match = _SECTION.fullmatch(line) if line.startswith(b"------ ") else None
        if match is None:
            if held.tell() < _LONGEST_SECTION_BYTES:
                held.write(line)
            continue
        if name and held.tell():
            yield _member(stream, name, _rewound(held), budget)
        text = printable(match["name"])
        name = "" if "was the duration of" in text else text
        held = io.BytesIO()
    if name and held.tell():
        yield _member(stream, name, _rewound(held), budget)


def _rewound(held: io.BytesIO) -> IO[bytes]:
    held.seek(0)
    return held


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > _LONGEST_SECTION_BYTES:
            rest = b""
    if rest:
        yield rest
