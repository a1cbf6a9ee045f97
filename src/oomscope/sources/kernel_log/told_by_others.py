"""Who else tells of a kill by the kernel, where its own report is not in a text: systemd, the kubelet, runtimes."""

from __future__ import annotations

import re

from oomscope.text import printable

WHERE = "journalctl -k (or dmesg) of that time and machine has the kernel's own report: give that"
# Each with how it is told: `{unit}` is the word before, `{what}` the group of the pattern.
_FORMS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    (
        "systemd tells that the kernel's OOM killer killed a process of {unit}",
        re.compile(rb": A process of this unit has been killed by the OOM killer"),
    ),
    (
        "systemd tells that systemd-oomd killed processes of {unit}",
        re.compile(rb": systemd-oomd killed \d{1,9} process"),
    ),
    (
        "systemd tells that {unit} ended for want of memory, by the kernel's OOM killer or by systemd-oomd",
        re.compile(rb": Failed with result 'oom-kill'"),
    ),
    (
        "the kubelet tells that the kernel's OOM killer killed {what}",
        re.compile(rb"System OOM encountered, victim process: (?P<what>[^,\n]{1,80}, pid: \d{1,9})"),
    ),
    (
        "Kubernetes tells that a container was OOMKilled: a process in it was killed, by its own limit or the node's",
        re.compile(rb"\b[Rr]eason\"?: {0,20}\"?OOMKilled"),
    ),
    (
        "Docker tells that a container was OOMKilled: a process in it was killed, by its own limit or the machine's",
        re.compile(rb"\"OOMKilled\": ?true"),
    ),
    ("containerd tells of an OOM in a container", re.compile(rb"TaskOOM event|/tasks/oom\b")),
)
_LONGEST_UNIT_BYTES = 256  # UNIT_NAME_MAX


def told_by_others(text: bytes) -> str | None:
    """One sentence with the line that it rests on; None where nobody tells of such a kill."""
    for told, form in _FORMS:
        if (match := form.search(text)) is not None:
            line = text.count(b"\n", 0, match.start()) + 1
            before = text[max(match.start() - _LONGEST_UNIT_BYTES, 0) : match.start()].split()
            unit = printable(before[-1]) if before else "a unit"
            what = printable(match["what"]) if "what" in form.groupindex else ""
            return f"{told.format(unit=unit, what=what)} (line {line:,}), and the kernel's own report is not in it"
    return None
