"""A systemd unit that arms at every boot: written, enabled, and taken away again."""

from __future__ import annotations

import sys
from pathlib import Path

from oomscope.errors import NothingToExplain, NotOffered
from oomscope.host.facts import Machine

UNITS = Path("/etc/systemd/system")
UNIT = UNITS / "oomscope-arm.service"
# What `systemctl enable` would make of [Install].
_WANTED = UNITS / "multi-user.target.wants" / UNIT.name
_TEXT = """\
[Unit]
Description=Report the greatest memory consumers at an OOM panic
After=sys-fs-bpf.mount sys-kernel-tracing.mount sys-kernel-debug.mount systemd-sysctl.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={python} -m oomscope arm --top {top} --on {events}{more}
ExecStop={python} -m oomscope disarm

[Install]
WantedBy=multi-user.target
"""


def enable(machine: Machine, *, top: int, events: str, options: tuple[str, ...] = ()) -> None:
    """Arm at every boot from the next one on, with more `options` of `arm`. Raises NotOffered without systemd."""
    if not machine.path(UNITS).is_dir():
        raise NotOffered(f"there is no {UNITS}: this machine does not run systemd")
    machine.path(UNIT).write_text(
        _TEXT.format(
            python=quoted(sys.executable), top=top, events=events, more="".join(f" {each}" for each in options)
        )
    )
    wanted = machine.path(_WANTED)
    wanted.parent.mkdir(exist_ok=True)
    if not wanted.is_symlink():
        wanted.symlink_to(UNIT)


def quoted(path: str) -> str:
    """A path as systemd.syntax has it: in quotes, with its specifiers and escapes taken literally."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def disable(machine: Machine) -> None:
    """Take the unit away. Raises NothingToExplain where there is none."""
    if not machine.path(UNIT).exists() and not machine.path(_WANTED).is_symlink():
        raise NothingToExplain("nothing arms at boot", advice="")
    machine.path(_WANTED).unlink(missing_ok=True)
    machine.path(UNIT).unlink(missing_ok=True)
