"""Incidents in the journal, with fields of their own (systemd.journal-fields(7), the native protocol of journald)."""

from __future__ import annotations

import socket
from pathlib import Path

from oomscope.errors import NotOffered
from oomscope.model.notice import OOM, STORM, Incident

SOCKET = "/run/systemd/journal/socket"
# One for each kind, so that `journalctl MESSAGE_ID=` finds them.
MESSAGE_IDS = {
    OOM: "b0d1f2a7c5e94d4f8a3e6c1b7f209d51",
    STORM: "b0d1f2a7c5e94d4f8a3e6c1b7f209d52",
}
_OTHER_ID = "b0d1f2a7c5e94d4f8a3e6c1b7f209d53"
_LONGEST_BYTES = 12 << 10  # of a field: together they fit into a datagram
_WARNING, _ERROR = 4, 3


class JournalOutlet:
    """journald's socket; see Outlet."""

    name = "the journal"

    def __init__(self, path: str = SOCKET) -> None:
        """Raises NotOffered where there is no journald."""
        if not Path(path).exists():
            raise NotOffered(f"there is no {path}: this machine has no journald", advice="")
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(5.0)

    def tell(self, incident: Incident) -> None:
        """See Outlet."""
        self._socket.sendto(b"".join(_field(name, value) for name, value in fields_of(incident)), self._path)

    def close(self) -> None:
        """See Outlet."""
        self._socket.close()


def fields_of(incident: Incident) -> list[tuple[str, str]]:
    """The fields of an entry; what is not known is left out."""
    notice, place = incident.notice, incident.place
    found: list[tuple[str, str | int | None]] = [
        ("MESSAGE", incident.text),
        ("MESSAGE_ID", MESSAGE_IDS.get(incident.kind, _OTHER_ID)),
        ("PRIORITY", _ERROR if incident.kind == OOM else _WARNING),
        ("SYSLOG_IDENTIFIER", "oomscope"),
        ("OOMSCOPE_KIND", incident.kind),
        ("OOMSCOPE_COUNT", incident.count),
        ("OOMSCOPE_HOST", incident.host),
    ]
    if notice is not None:
        found += [
            ("OOMSCOPE_CLASS", notice.oom_class),
            ("OOMSCOPE_CERTAINTY", notice.certainty),
            ("OOMSCOPE_HOLDER", notice.holder),
            ("OOMSCOPE_HOLDER_KIND", notice.holder_kind),
            ("OOMSCOPE_MODULE", notice.module),
            ("OOMSCOPE_BYTES", notice.size_bytes),
            ("OOMSCOPE_SIGNATURE", notice.signature),
            ("OOMSCOPE_SIGNATURE_ID", notice.signature_id),
            ("OOMSCOPE_NEXT", notice.next),
            ("OOMSCOPE_CGROUP", notice.group or notice.task_group),
            ("OOMSCOPE_VICTIM_PID", notice.victims[0][0] if notice.victims else None),
            ("OOMSCOPE_VICTIM", notice.victims[0][1] if notice.victims else None),
            ("OOMSCOPE_REPORT", notice.text),
        ]
    if place is not None:
        found += [
            ("OOMSCOPE_UNIT", place.unit),
            ("OOMSCOPE_POD", place.pod),
            ("OOMSCOPE_NAMESPACE", place.namespace),
            ("OOMSCOPE_CONTAINER", place.container),
            ("OOMSCOPE_POD_UID", place.pod_uid),
            ("OOMSCOPE_CONTAINER_ID", place.container_id),
        ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]


FIELDS = (
    *("MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER"),
    *("OOMSCOPE_KIND", "OOMSCOPE_COUNT", "OOMSCOPE_HOST", "OOMSCOPE_CLASS", "OOMSCOPE_CERTAINTY", "OOMSCOPE_HOLDER"),
    *("OOMSCOPE_HOLDER_KIND", "OOMSCOPE_MODULE", "OOMSCOPE_BYTES", "OOMSCOPE_SIGNATURE", "OOMSCOPE_SIGNATURE_ID"),
    *("OOMSCOPE_NEXT", "OOMSCOPE_CGROUP", "OOMSCOPE_VICTIM_PID", "OOMSCOPE_VICTIM", "OOMSCOPE_REPORT"),
    *("OOMSCOPE_UNIT", "OOMSCOPE_POD", "OOMSCOPE_NAMESPACE", "OOMSCOPE_CONTAINER", "OOMSCOPE_POD_UID"),
    "OOMSCOPE_CONTAINER_ID",
)


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")[:_LONGEST_BYTES]
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
