"""Whether a loaded crash kernel has room: the arithmetic, over files in a folder; guests are asked in the lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from oomscope.host.crash_kernel import needed_bytes
from oomscope.host.doctor import State, kdump
from tests.host.bpf.test_arm import machine

IOMEM = """\
00100000-1fffffff : System RAM
  01000000-01ffffff : Kernel code
  02000000-027fffff : Kernel rodata
  02800000-02bfffff : Kernel data
  02e00000-031fffff : Kernel bss
  10000000-17ffffff : Crash kernel
"""
INITRAMFS_BYTES = 20 << 20


@pytest.mark.parametrize("place", ["var/lib/kdump/initrd.img-6.12.1", "boot/initramfs-6.12.1kdump.img"])
@pytest.mark.parametrize(("reserved_mib", "state"), [(192, State.OK), (128, State.BETTER)])
def test_what_is_reserved_is_held_against_what_is_loaded(
    tmp_path: Path, place: str, reserved_mib: int, state: State
) -> None:
    """32 MiB of kernel, 20 MiB of initramfs packed and 60 unpacked, 48 MiB to work: 160 MiB, and the option for it."""
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(INITRAMFS_BYTES)
    this = machine(
        tmp_path,
        proc__iomem=IOMEM,
        proc__sys__kernel__osrelease="6.12.1\n",
        sys__kernel__kexec_crash_loaded="1\n",
        sys__kernel__kexec_crash_size=f"{reserved_mib << 20}\n",
    )
    check = kdump(this)
    assert check.state is state
    assert check.found.startswith(f"a crash kernel is loaded, in {reserved_mib}.0 MiB")
    if state is State.BETTER:
        assert check.found.endswith("it needs about 160.0 MiB")
        assert check.mend is not None
        assert "crashkernel=192M" in check.mend


def test_a_folder_that_is_closed_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many machines keep /boot for root alone; a crash kernel is loaded all the same."""
    this = machine(tmp_path, sys__kernel__kexec_crash_loaded="1\n", sys__kernel__kexec_crash_size="1\n")

    def refused(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    assert needed_bytes(this) is None


def test_what_cannot_be_told_is_no_fault(tmp_path: Path) -> None:
    """Without the initramfs at a known place, or an old kernel's missing file, a loaded crash kernel is one."""
    this = machine(tmp_path, sys__kernel__kexec_crash_loaded="1\n")
    assert kdump(this).state is State.OK
