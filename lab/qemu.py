"""A guest under QEMU: started, watched, dumped, and always ended by its own handle.

Processors are emulated (TCG) on every machine: a virtual machine inside a virtual machine fails in too many ways.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.cache import WORK_PREFIX
from lab.errors import GuestFailed
from lab.kernels import Architecture

_ENDED = b"lab: end"
_PANIC_IS_OVER = b"---[ end Kernel panic"
_BALLOON = re.compile(rb"lab: balloon (\d+)\b")  # so many MiB are to be left to the guest
_TAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class Machine:
    """What a guest is made of.

    `boot` is a folder with the files kernel and initramfs, `share` the one that the guest writes to; the guest reaches
    both as 9p file systems named "boot" and "case".
    """

    architecture: Architecture
    boot: Path
    share: Path
    memory_mib: int
    arguments: str
    devices: tuple[str, ...] = ()
    may_reboot: bool = False
    processors: int = 2


class Guest:
    """A running machine; leaving the `with` block ends it. Its console goes to `console.log` in the shared folder."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._work = tempfile.TemporaryDirectory(prefix=WORK_PREFIX)
        self._socket = Path(self._work.name) / "qmp"
        self._complaints = Path(self._work.name) / "stderr"
        self.console = machine.share / "console.log"

    def __enter__(self) -> Self:
        machine = self._machine
        command = [
            *machine.architecture.qemu,
            *("-accel", "tcg", "-smp", str(machine.processors), "-m", f"{machine.memory_mib}M"),
            *("-nodefaults", "-display", "none", "-serial", f"file:{self.console}"),
            *("-qmp", f"unix:{self._socket},server=on,wait=off"),
            *("-kernel", str(machine.boot / "kernel"), "-initrd", str(machine.boot / "initramfs")),
            *(
                "-append",
                f"console={machine.architecture.console} {machine.architecture.arguments} {machine.arguments}",
            ),
            *("-fsdev", f"local,id=case,path={machine.share},security_model=none"),
            *("-device", "virtio-9p-pci,fsdev=case,mount_tag=case"),
            *("-fsdev", f"local,id=boot,path={machine.boot},security_model=none,readonly=on"),
            *("-device", "virtio-9p-pci,fsdev=boot,mount_tag=boot"),
            *("-device", "vmcoreinfo"),
            *(() if machine.may_reboot else ("-no-reboot",)),
            *machine.devices,
        ]
        with self._complaints.open("wb") as complaints:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._work.cleanup()

    def wait_for_end(self, limit_s: float) -> None:
        """Returns when the guest says so or has panicked; meanwhile a balloon is as large as it asks.

        Raises GuestFailed when it stops or takes too long.
        """
        deadline = time.monotonic() + limit_s
        left_mib = None
        while time.monotonic() < deadline:
            printed = self.printed()
            if (asked := _BALLOON.findall(printed)) and asked[-1] != left_mib:
                left_mib = asked[-1]
                self._ask("balloon", value=int(left_mib) << 20)
            if _ENDED in printed or (not self._machine.may_reboot and _PANIC_IS_OVER in printed):
                return
            if self._process.poll() is not None:
                said = self._complaints.read_text().strip()
                raise GuestFailed(f"the guest stopped by itself; {said or 'its console ends:'}\n{self._tail()}")
            time.sleep(0.2)
        raise GuestFailed(f"the guest did not end within {limit_s:.0f} s; its console ends:\n{self._tail()}")

    def printed(self) -> bytes:
        """The console so far."""
        return self.console.read_bytes() if self.console.exists() else b""

    def dump(self, core: Path, form: str = "elf") -> None:
        """The guest's memory as an ELF core, or in one of QEMU's kdump forms; runs of zeros take no room on disk."""
        self._ask("dump-guest-memory", paging=False, protocol=f"file:{core}", format=form)
        # A file system without holes keeps it whole, which costs room and nothing else.
        subprocess.run(["fallocate", "--dig-holes", core], check=False, stderr=subprocess.DEVNULL)

    def _ask(self, command: str, **arguments: object) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            with connection.makefile("rw") as lines:
                lines.readline()  # QEMU greets
                _ask(lines, "qmp_capabilities")
                _ask(lines, command, **arguments)

    def _tail(self) -> str:
        return "\n".join(self.printed().decode(errors="replace").splitlines()[-_TAIL_LINES:])


def _ask(lines: Any, command: str, **arguments: object) -> None:
    """One command of QEMU's machine protocol, and its answer awaited; events in between are passed over."""
    lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    lines.flush()
    while True:
        answer = json.loads(lines.readline())
        if "error" in answer:
            raise GuestFailed(f"QEMU refuses {command}: {answer['error'].get('desc')}")
        if "return" in answer:
            return
