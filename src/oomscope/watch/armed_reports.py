"""What a program of `oomscope arm --on kill` reported of a kill: asked in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from oomscope.watch import child

_PIN = "sys/fs/bpf/oomscope"
_NEAR_NS = 10 * 10**9
_MOST_S = 20.0
_TOP = 3


def armed_lines(root: Path, at_ns: int | None) -> tuple[str, ...]:
    """The lines of the report at that time since boot; none where nothing is armed, or it reported nothing then."""
    if at_ns is None or not (root / _PIN).exists():
        return ()
    try:
        done = subprocess.run(
            child.command(__name__, str(at_ns)),
            capture_output=True,
            timeout=_MOST_S,
            check=False,
            env=child.environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.decode(errors="replace").splitlines())


def main(at_ns: int) -> None:
    """Write the lines to the standard output."""
    import os

    from oomscope.errors import OomscopeError
    from oomscope.host.bpf import arm
    from oomscope.host.bpf.text import lines
    from oomscope.host.facts import Machine

    machine = Machine()
    try:
        near = [report for report in arm.reports(machine) if abs(report.at_ns - at_ns) < _NEAR_NS]
        if near:
            found = lines(min(near, key=lambda report: abs(report.at_ns - at_ns)), machine.frames, top=_TOP)
            os.write(1, "".join(f"{line}\n" for line in found).encode())
    except (OomscopeError, OSError):
        return


if __name__ == "__main__":
    main(int(sys.argv[1]))
