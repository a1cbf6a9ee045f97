"""`oomscope collect`: everything small that a living machine tells about its memory, in one archive.

Bounded in size and time. What could not be read stands in the manifest with its reason; nothing is changed on the
machine. With `redact`, what names the machine, its tasks and its units is replaced before anything is written.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import zstandard

from oomscope.errors import NoAccess, NotOffered, OutputFailed, cause_of
from oomscope.host.bpf import arm
from oomscope.host.facts import Machine
from oomscope.io import whole_file
from oomscope.io.kernel_files import must_be_read_whole, read_whole
from oomscope.model.stack import parse_frame
from oomscope.redaction.patterns import LEFT_OUT
from oomscope.redaction.text import Redactor
from oomscope.sources.tracker.table import OwnerRows
from oomscope.sources.tracker.text import text_of
from oomscope.text import stretches

MANIFEST = "manifest.json"
MOST_BYTES = 1 << 30
MOST_S = 120.0
PAGE_OWNER = "/sys/kernel/debug/page_owner"
TRACKED = "oomscope/tracked-pages"
SHOW_STACKS = "/sys/kernel/debug/page_owner_stacks/show_stacks"
# page_owner's text has about 700 bytes a block: beyond this much RAM it takes minutes and gigabytes.
_MOST_RAM_FOR_PAGE_OWNER_KIB = 8 << 20
_CHUNK_BYTES = 1 << 18
_SPOOL_BYTES = 16 << 20
_LOG = "/dev/kmsg"
# In the order of their worth, should a bound be reached.
_FILES = (
    "/proc/version",
    "/proc/meminfo",
    _LOG,
    SHOW_STACKS,
    "/proc/slabinfo",
    "/proc/vmallocinfo",
    "/proc/allocinfo",
    "/proc/zoneinfo",
    "/proc/buddyinfo",
    "/proc/pagetypeinfo",
    "/proc/vmstat",
    "/proc/modules",
    "/proc/cmdline",
    "/sys/kernel/debug/percpu_stats",
    "/sys/kernel/debug/dma_buf/bufinfo",
    "/sys/kernel/debug/kmemleak",
    PAGE_OWNER,
)
_FOLDERS = (("/sys/kernel/debug/slab", "*/*_traces"), ("/sys/block", "zram*/mm_stat"))


@dataclass
class Manifest:
    """What an archive holds: files with their sizes, and what could not be read, with the reason."""

    started: str
    kernel: str
    redacted: bool
    files: list[dict[str, str | int | float]] = field(default_factory=list)
    unread: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self, version: str) -> bytes:
        """As it stands in the archive."""
        whole = {"oomscope-case": 1, "version": version, **self.__dict__}
        return json.dumps(whole, indent=1).encode() + b"\n"


def collect(
    output: Path,
    *,
    version: str,
    root: Path = Path("/"),
    redact: bool = False,
    page_owner: bool = False,
    most_bytes: int = MOST_BYTES,
    most_s: float = MOST_S,
) -> Manifest:
    """Write the archive and return its manifest.

    A device or a pipe is written to as a stream. `page_owner` takes page_owner's text whatever its size. Raises
    OutputFailed where `output` cannot be written, NoAccess where nothing but the kernel's version can be read.
    """
    try:
        with whole_file.opened(output, mode=0o600) as file:
            beside = None if whole_file.is_stream(output) else output.resolve().parent
            return _collect(
                file, beside, version, root, redact, page_owner, _Bounds(most_bytes, time.monotonic() + most_s)
            )
    except OSError as error:
        raise OutputFailed(f"{output}: {cause_of(error)}") from error


def _collect(
    file: IO[bytes], beside: Path | None, version: str, root: Path, redact: bool, page_owner: bool, bounds: _Bounds
) -> Manifest:
    machine = Machine(root)
    begun = time.monotonic()
    manifest = Manifest(datetime.now(UTC).isoformat(timespec="seconds"), os.uname().release, redact)
    redactor = Redactor((socket.gethostname(), socket.getfqdn())) if redact else None
    with _tar_zst(file) as tar:
        try:
            tracked = _tracked(machine)
            reason = tracked and _take(tar, TRACKED, tracked, bounds, redactor, manifest, beside)
        except (OSError, NotOffered) as error:
            reason = str(error)
        if reason:
            manifest.unread.append({"path": TRACKED, "reason": reason})
        for path in _paths(machine):
            reason = _why_not(path, machine, page_owner=page_owner, redact=redact) or bounds.reached()
            if reason is None:
                try:
                    pieces = _pieces(machine.path(path), bounds.bytes_left)
                    reason = _take(tar, path, pieces, bounds, redactor, manifest, beside)
                except _UnreadableError as error:
                    reason = str(error)
            if reason is not None:
                manifest.unread.append({"path": path, "reason": reason})
        if len(manifest.files) < 2:
            first = manifest.unread[0]
            raise NoAccess(f"hardly anything can be read here: {first['path']}: {first['reason']}")
        manifest.seconds = round(time.monotonic() - begun, 3)
        text = manifest.to_json(version)
        _add(tar, MANIFEST, io.BytesIO(text), len(text))
    return manifest


@dataclass
class _Bounds:
    """What is left of size and time."""

    bytes_left: int
    until: float

    def reached(self) -> str | None:
        """Which bound was reached, None where there is room."""
        if self.bytes_left <= 0:
            return "the size bound was reached"
        return "the time bound was reached" if time.monotonic() > self.until else None


@contextmanager
def _tar_zst(file: IO[bytes]) -> Iterator[tarfile.TarFile]:
    packer = zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False)
    with packer as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        yield tar


def _take(
    tar: tarfile.TarFile,
    path: str,
    pieces: Iterable[bytes],
    bounds: _Bounds,
    redactor: Redactor | None,
    manifest: Manifest,
    beside: Path | None,
) -> str | None:
    """One file into the archive; why its end is missing, None where it is whole.

    A large one is held `beside` the archive meanwhile: /tmp may be this machine's scarce memory, or read only.
    """
    started = time.monotonic()
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES, dir=None if beside is None else str(beside)) as held:
        if redactor is not None and path == _LOG:
            pieces = [b"".join(pieces)]
            redactor.learn(pieces[0])
        cut = _copy(pieces, held, bounds, None if redactor is None else _redaction(path, redactor))
        size = held.tell()
        held.seek(0)
        _add(tar, path.lstrip("/"), held, size)
    seconds = round(time.monotonic() - started, 3)
    manifest.files.append({"name": path.lstrip("/"), "bytes": size, "seconds": seconds})
    return f"its end is missing: {cut}" if cut else None


def _tracked(machine: Machine) -> Iterator[bytes] | None:
    """What `oomscope arm --track` knows, as text; None where nothing tracks. Raises NotOffered or OSError."""
    table = arm.tracked(machine)
    if table is None:
        return None
    rows = OwnerRows(table, lambda addresses: map(parse_frame, machine.frames(addresses)))
    return (piece.encode() for piece in text_of(rows, table.at_ns))


def _paths(machine: Machine) -> Iterator[str]:
    yield from _FILES
    for folder, pattern in _FOLDERS:
        try:
            found = sorted(machine.path(folder).glob(pattern))
        except OSError:
            continue
        for path in found:
            yield "/" + str(path.relative_to(machine.root))


def _why_not(path: str, machine: Machine, *, page_owner: bool, redact: bool) -> str | None:
    """Why a file is left alone though it may be there."""
    if redact and path == "/proc/cmdline":
        return "left out by --redact"
    if path != PAGE_OWNER or page_owner:
        return None
    if machine.path(SHOW_STACKS).exists():
        return "show_stacks has the same pages per stack; --page-owner takes it too"
    ram = re.search(r"MemTotal: +(\d+) kB", machine.text("/proc/meminfo") or "")
    if ram is not None and int(ram[1]) > _MOST_RAM_FOR_PAGE_OWNER_KIB:
        return "too large on this machine: `oomscope explain --live` reads it from memory; --page-owner takes it"
    return None


def _redaction(path: str, redactor: Redactor) -> Callable[[bytes], bytes]:
    return redactor.log if path == _LOG else redactor.account


def _copy(
    pieces: Iterable[bytes],
    held: tempfile.SpooledTemporaryFile[bytes],
    bounds: _Bounds,
    redacted: Callable[[bytes], bytes] | None,
) -> str | None:
    """Copy a file as far as the bounds allow, to the end of a line; the one that cut it, None where it is whole."""
    reached: str | None = None

    def within_bounds() -> Iterator[bytes]:
        nonlocal reached
        for data in pieces:
            if len(data) > bounds.bytes_left:
                reached = "the size bound was reached"
            yield data[: bounds.bytes_left]
            bounds.bytes_left -= min(len(data), bounds.bytes_left)
            reached = reached or bounds.reached()
            if reached is not None:
                return

    if redacted is None:
        for data in within_bounds():
            held.write(data)
        return reached
    for stretch in stretches(within_bounds(), LEFT_OUT):
        if reached is None or stretch.endswith(b"\n"):  # what is cut within a name may no longer be known as one
            held.write(redacted(stretch))
    return reached


class _UnreadableError(Exception):
    """Why a file of this machine could not be read, in the system's words: not to be mixed up with a full disk."""


def _pieces(path: Path, most_bytes: int) -> Iterator[bytes]:
    """A file's bytes; `most_bytes` of one that has to be read to its end. Raises _UnreadableError."""
    try:
        if must_be_read_whole(path):
            yield read_whole(path, most_bytes + 1)
            return
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # /dev/kmsg waits for the next message otherwise
    except OSError as error:
        raise _UnreadableError(cause_of(error)) from error
    try:
        while data := _read(file):
            yield data
    except OSError as error:
        raise _UnreadableError(cause_of(error)) from error
    finally:
        os.close(file)


def _read(file: int) -> bytes:
    """The next bytes, or the next message of /dev/kmsg; none at the end."""
    while True:
        try:
            return os.read(file, _CHUNK_BYTES)
        except BrokenPipeError:
            continue  # messages were overwritten before they could be read; the next read goes on behind them
        except BlockingIOError:
            return b""  # /dev/kmsg has no more


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(time.time())
    tar.addfile(entry, file)
