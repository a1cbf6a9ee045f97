"""`oomscope collect`: everything small that a living machine tells about its memory, in one archive.

Bounded in size and time. What could not be read stands in the manifest with its reason; nothing is changed on the
machine. With `redact`, host name, command lines and the names of tasks are replaced before anything is written.
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import zstandard

from oomscope.bpf import arm
from oomscope.errors import BadQuestion, NoAccess, NotOffered
from oomscope.kernel_files import must_be_read_whole, read_whole
from oomscope.machine import Machine
from oomscope.model.stack import parse_frame
from oomscope.sources.page_owners import OwnerRows
from oomscope.sources.tracked_text import text_of

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
# /dev/kmsg: what programs wrote to it has a facility, so a priority of 8 and more. Armed lines are kept.
_OF_PROGRAMS = re.compile(rb"(?m)^(?:[89]|\d{2,}),\d+,\d+,[^;\n]*;(?!OOM: ).*\n(?: .*\n)*")
_COMMAND_LINE = re.compile(rb"(?m)((?:Kernel )?[Cc]ommand line: ).*$")
_TASKS = tuple(
    re.compile(pattern)
    for pattern in (
        rb"(?P<before>tgid \d+ \()(?P<comm>.{1,15}?)(?P<after>\), ts )",
        rb"(?P<before>[Cc]omm: )(?P<comm>.{1,15}?)(?P<after> (?:Not tainted|Tainted:|Kdump:))",
        rb"(?P<before>;)(?P<comm>[^;\n]{1,15}?)(?P<after> invoked oom-killer:|: page allocation |: vmalloc error)",
        rb"(?P<before>[Kk]ill(?:ed)? process \d+ \()(?P<comm>.{1,15}?)(?P<after>\))",
        rb"(?P<before>reaped process \d+ \()(?P<comm>.{1,15}?)(?P<after>\))",
        rb"(?P<before>,task=)(?P<comm>.{1,15}?)(?P<after>,pid=)",
        rb"(?P<before>comm \")(?P<comm>.{1,15}?)(?P<after>\", pid \d+)",
        rb"(?P<before>;\[ *\d+\](?: +-?\d+){7,12} )(?P<comm>\S.{0,14})(?P<after>)(?=\n|$)",
    )
)


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


class _Redactor:
    """Replaces what names the machine and its tasks, each name by the same one everywhere."""

    def __init__(self, host: str) -> None:
        self._host = re.compile(rb"(?<![\w.-])" + re.escape(host.encode()) + rb"(?![\w-])") if host else None
        self._names: dict[bytes, bytes] = {}

    def __call__(self, text: bytes) -> bytes:
        text = _OF_PROGRAMS.sub(b"", text)
        text = _COMMAND_LINE.sub(rb"\1(redacted)", text)
        for pattern in _TASKS:
            text = pattern.sub(self._renamed, text)
        return text if self._host is None else self._host.sub(b"host", text)

    def _renamed(self, match: re.Match[bytes]) -> bytes:
        comm = match["comm"]
        if comm.startswith((b"kswapd", b"kworker", b"ksoftirqd", b"kcompactd", b"swapper")):
            return match[0]  # the kernel's own, which decide a class
        name = self._names.setdefault(comm, b"task-%d" % (len(self._names) + 1))
        return match["before"] + name + match["after"]


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

    `page_owner` takes page_owner's text whatever its size. Raises BadQuestion where `output` cannot be written,
    NoAccess where nothing but the kernel's version can be read.
    """
    machine = Machine(root)
    bounds = _Bounds(most_bytes, time.monotonic() + most_s)
    begun = time.monotonic()
    manifest = Manifest(datetime.now(UTC).isoformat(timespec="seconds"), os.uname().release, redact)
    redactor = _Redactor(socket.gethostname()) if redact else None
    with _written_at_once(output) as file, _tar_zst(file) as tar:
        try:
            tracked = _tracked(machine)
            reason = tracked and _take(tar, TRACKED, tracked, bounds, redactor, manifest, output.parent)
        except (OSError, NotOffered) as error:
            reason = str(error)
        if reason:
            manifest.unread.append({"path": TRACKED, "reason": reason})
        for path in _paths(machine):
            reason = _why_not(path, machine, page_owner=page_owner, redact=redact) or bounds.reached()
            if reason is None:
                try:
                    reason = _take(tar, path, _pieces(machine.path(path)), bounds, redactor, manifest, output.parent)
                except OSError as error:
                    reason = (error.strerror or str(error)).lower()
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
def _written_at_once(output: Path) -> Iterator[IO[bytes]]:
    """A file that appears when it is whole, readable by its owner alone."""
    try:
        partial = tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        raise BadQuestion(f"{output}: {(error.strerror or str(error)).lower()}") from error
    try:
        with partial:
            yield partial
        Path(partial.name).replace(output)
    finally:
        Path(partial.name).unlink(missing_ok=True)


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
    redactor: _Redactor | None,
    manifest: Manifest,
    beside: Path,
) -> str | None:
    """One file into the archive; why its end is missing, None where it is whole.

    A large one is held `beside` the archive meanwhile: /tmp may be this machine's scarce memory, or read only.
    """
    started = time.monotonic()
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES, dir=str(beside)) as held:
        cut = _copy(pieces, held, bounds, redactor)
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


def _copy(
    pieces: Iterable[bytes], held: tempfile.SpooledTemporaryFile[bytes], bounds: _Bounds, redactor: _Redactor | None
) -> str | None:
    """Copy a file as far as the bounds allow; the one that cut it, None where it is whole."""
    rest = b""
    for data in pieces:
        bounds.bytes_left -= len(data)
        if redactor is not None:
            whole, newline, rest = (rest + data).rpartition(b"\n")
            data = redactor(whole + newline)
        held.write(data)
        if (reached := bounds.reached()) is not None:
            return reached
    if redactor is not None:
        held.write(redactor(rest))
    return None


def _pieces(path: Path) -> Iterator[bytes]:
    if must_be_read_whole(path):
        yield read_whole(path)
        return
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # /dev/kmsg waits for the next message otherwise
    try:
        while data := _read(file):
            yield data
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
