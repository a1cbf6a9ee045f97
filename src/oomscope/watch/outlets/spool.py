"""Incidents as cases in a folder: what `explain` and `triage` read, no more than the folder may hold."""

from __future__ import annotations

import io
import re
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path

import zstandard

from oomscope.errors import OutputFailed, cause_of
from oomscope.io import whole_file
from oomscope.model.notice import OOM, Incident
from oomscope.redaction.text import Redactor
from oomscope.report import incident_json

_CASE = re.compile(r"oom-\d{8}T\d{6}Z-[0-9a-f]{12}(?:-\d+)?\.tar\.zst")
LOG = "kernel.log"


class Spool:
    """A folder of archives; see Outlet. The oldest make room for a new one: `removed` counts them.

    With `redact`, what names the machine, its tasks and its units is replaced before anything is written.
    """

    def __init__(self, folder: Path, *, most_bytes: int, redact: bool = False, host: tuple[str, ...] = ()) -> None:
        """Raises OutputFailed."""
        self.name = f"the spool {folder}"
        self.removed = 0
        self._folder, self._most_bytes, self._redact, self._host = folder, most_bytes, redact, host
        try:
            folder.mkdir(parents=True, exist_ok=True)
            whole_file.require(folder / "case")
        except OSError as error:
            raise OutputFailed(f"{folder}: {cause_of(error)}") from error

    def tell(self, incident: Incident) -> None:
        """See Outlet: an OOM is kept, anything else is not a case."""
        if incident.kind != OOM or incident.notice is None:
            return
        content = self._archive(incident)
        if len(content) > self._most_bytes:
            raise OSError("a case is larger than the whole spool may be")
        self._make_room(len(content))
        stamp = datetime.fromtimestamp(incident.at, UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"oom-{stamp}-{incident.notice.signature_id}"
        path, number = self._folder / f"{name}.tar.zst", 1
        while path.exists():
            number += 1
            path = self._folder / f"{name}-{number}.tar.zst"
        with whole_file.opened(path, mode=0o600) as file:
            file.write(content)

    def close(self) -> None:
        """See Outlet."""

    def _archive(self, incident: Incident) -> bytes:
        files = {} if incident.surroundings is None else dict(incident.surroundings.files)
        log = incident.log
        if self._redact:
            redactor = Redactor(self._host)
            redactor.learn(log)
            log = redactor.log(log)
            files = {_name(name, redactor): redactor.account(content) for name, content in files.items()}
        else:
            files["incident.json"] = incident_json.line(incident).encode("utf-8", "backslashreplace")
        packed = io.BytesIO()
        packer = zstandard.ZstdCompressor(level=3).stream_writer(packed, closefd=False)
        with packer as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            for name, content in {LOG: log, **files}.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
                tar.addfile(entry, io.BytesIO(content))
        return packed.getvalue()

    def _make_room(self, size: int) -> None:
        cases = sorted(path for path in self._folder.iterdir() if _CASE.fullmatch(path.name))
        total = sum(path.stat().st_size for path in cases)
        for path in cases:
            if total + size <= self._most_bytes:
                return
            total -= path.stat().st_size
            path.unlink(missing_ok=True)
            self.removed += 1


def _name(path: str, redactor: Redactor) -> str:
    """Files of a cgroup are called by their name alone: the path names units and pods."""
    return path if path.startswith("proc/") else redactor.log(path.rpartition("/")[2].encode()).decode()
