"""Whether what is reserved for the crash kernel is enough for what has been loaded into it."""

from __future__ import annotations

import re

from oomscope.host.facts import Machine

# Where distributions keep what the crash kernel starts from: kdump-tools, Red Hat's kexec-tools, SUSE's kdump; the
# machine's own is what kdump-tools falls back to.
_INITRAMFS = (
    "/var/lib/kdump/initrd.img-{}",
    "/boot/initramfs-{}kdump.img",
    "/boot/initrd-{}-kdump",
    "/boot/initrd.img-{}",
)
_UNPACKED = 3  # times its size: modules and programs, packed by gzip or zstd, of Debian and Fedora
_AT_WORK_BYTES = 48 << 20  # makedumpfile, a shell, buffers, and what the kernel itself allocates at boot
_KERNEL = re.compile(r"^ *([0-9a-f]+)-([0-9a-f]+) : Kernel (?:code|rodata|data|bss)$", re.MULTILINE)


def reserved_bytes(machine: Machine) -> int | None:
    """What `crashkernel=` has set aside; None where the kernel does not tell."""
    told = machine.text("/sys/kernel/kexec_crash_size") or ""
    return int(told) if told.isdigit() else None


def needed_bytes(machine: Machine) -> int | None:
    """About how much it takes: kernel, initramfs packed and unpacked, work. None where no initramfs can be seen.

    The crash kernel is taken to be as large as the running one; its parts only root sees.
    """
    kernel_bytes = sum(
        int(last, 16) - int(first, 16) + 1 for first, last in _KERNEL.findall(machine.text("/proc/iomem") or "")
    )
    for place in _INITRAMFS:
        try:
            initramfs_bytes = machine.path(place.format(machine.release)).stat().st_size
        except OSError:
            continue
        return kernel_bytes + (1 + _UNPACKED) * initramfs_bytes + _AT_WORK_BYTES
    return None
