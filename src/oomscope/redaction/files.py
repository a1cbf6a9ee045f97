"""`oomscope redact`: what already exists, without the names in it: a log or an account as text, an archive as one.

Of an archive what is of a known kind is kept; the rest, and core dumps, cannot be looked through, and are left out and
named.
"""

from __future__ import annotations

import io
import os
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import zstandard

from oomscope import bounds
from oomscope.errors import BadQuestion, OutputFailed, UnknownContent, cause_of
from oomscope.io import archive
from oomscope.io.input import Input, Stream, inputs
from oomscope.model.reading import Role
from oomscope.redaction.patterns import LEFT_OUT
from oomscope.redaction.text import Redactor
from oomscope.sources import Source, recognise
from oomscope.sources.kernel_log.source import KernelLog
from oomscope.text import stretches


@dataclass
class Redacted:
    """What was written: `members` of an archive, 0 for a single text; `left_out` with the reasons."""

    members: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether the answer will be an archive. Raises OomscopeError."""
    stream = _opened(path)
    try:
        return archive.kind_of(stream.head) is not None
    finally:
        stream.close()


def redact(path: str | os.PathLike[str], out: IO[bytes]) -> Redacted:
    """Write `path` to `out` without the names in it. Raises OomscopeError; OSError where `out` cannot be written."""
    stream, redactor, told = _opened(path), Redactor((socket.gethostname(),)), Redacted()
    try:
        kind = archive.kind_of(stream.head)
        if kind is None:
            for text in _texts(stream, _source_of(stream), redactor):
                out.write(text)
            if stream.defect is not None:
                told.left_out.append((stream.origin, f"its end: {stream.defect}"))
            return told
        packer = zstandard.ZstdCompressor(level=3).stream_writer(out, closefd=False)
        with packer as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
            archive.walk(
                stream,
                kind,
                archive.Budget(),
                take=lambda member, _: _member(member, redactor, tar, told),
                refuse=lambda origin, error: told.left_out.append((origin, str(error).removeprefix(f"{origin}: "))),
            )
        return told
    finally:
        stream.close()


def _opened(path: str | os.PathLike[str]) -> Stream:
    found: list[Input] = inputs((path,))
    if len(found) != 1 or Path(path).is_dir():
        raise BadQuestion(f"{path}: a folder; give a log, a file of /proc, or an archive", advice="tar it first")
    return found[0].open()


def _source_of(stream: Stream) -> Source:
    source = recognise(stream.head)
    if source is not None and source.role is Role.MEMORY:
        raise BadQuestion(f"{stream.origin}: a core dump holds all of memory: it cannot be redacted")
    if source is None:
        if b"\0" in stream.head[:4096] or not stream.head:
            raise UnknownContent(f"{stream.origin}: neither a log nor a file of the kernel's accounts")
        source = KernelLog()
    return source


def _member(member: Stream, redactor: Redactor, tar: tarfile.TarFile, told: Redacted) -> None:
    source = recognise(member.head)
    if source is None or source.role in (Role.MEMORY, Role.MANIFEST):
        raise UnknownContent("of no kind that can be looked through")
    with tempfile.SpooledTemporaryFile(max_size=bounds.SPOOL_BYTES) as held:
        for text in _texts(member, source, redactor):
            held.write(text)
        told.members += 1
        entry = tarfile.TarInfo(redactor.member_name(member.origin.rpartition(": ")[2], source.format, told.members))
        entry.size, entry.mode = held.tell(), 0o600
        held.seek(0)
        try:
            tar.addfile(entry, held)
        except OSError as error:
            raise OutputFailed(f"the archive cannot be written: {cause_of(error)}") from error
    if member.defect is not None:
        told.left_out.append((member.origin, f"its end: {member.defect}"))


def _texts(stream: Stream, source: Source, redactor: Redactor) -> Iterator[bytes]:
    """The text in pieces of whole lines. A log is read twice where that is possible, for names told late in it."""
    is_log = source.role is Role.LOG
    redacted = redactor.log if is_log else redactor.account
    chunks = stream.chunks()
    if is_log:
        held = io.BytesIO()
        for chunk in chunks:
            held.write(chunk)
            if held.tell() > bounds.REORDERED_LOG_BYTES:
                break
        redactor.learn(held.getvalue())
        chunks = _chained(held.getvalue(), chunks)
    yield from map(redacted, stretches(chunks, LEFT_OUT))


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
