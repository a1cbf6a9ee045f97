"""What a dump tells of its machine: release, command line, modules, taint, RAM, and the kernel log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn
from drgn.helpers.linux.printk import get_dmesg

from oomscope.model.reading import System
from oomscope.model.unknown import Unknown
from oomscope.sources.log_facts import panic_message
from oomscope.sources.vmcore.counters import vmstat, zones
from oomscope.sources.vmcore.modules import last_unloaded
from oomscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oomscope.sources.vmcore.dump import Dump
    from oomscope.sources.vmcore.kallsyms import ModuleSymbols

_ARCHITECTURES = {
    drgn.Architecture.X86_64: "x86_64",
    drgn.Architecture.AARCH64: "arm64",
    drgn.Architecture.PPC64: "ppc64",
    drgn.Architecture.S390X: "s390x",
    drgn.Architecture.RISCV64: "riscv64",
}
# kernel/panic.c taint_flags[]: the letter of each bit that is set.
_TAINTS = "PFSRMBUDAWCIOELKXTNJ"


def system(dump: Dump, modules: Iterable[ModuleSymbols], log: bytes) -> System:
    """The machine; what cannot be read of it is Unknown."""
    platform = dump.prog.platform
    architecture = None if platform is None else _ARCHITECTURES.get(platform.arch)
    return System(
        arch=architecture or Unknown("architecture", "none that is known here"),
        page_size_bytes=dump.page_size_bytes,
        ram_pages=_ram_pages(dump),
        command_line=_command_line(dump),
        taint=_taint(dump.number("tainted_mask") or 0),
        modules=tuple(module.name for module in modules),
        last_unloaded_module=last_unloaded(dump),
        panic_message=panic_message(log),
        vmstat=vmstat(dump),
        is_live=dump.is_live,
        boot=" ".join(
            [dump.vmcoreinfo.get(name, "") for name in ("KERNELOFFSET", "NUMBER(phys_base)", "NUMBER(kimage_voffset)")]
            + [dump.vmcoreinfo.get(name, "") for name in ("SYMBOL(mem_section)", "OSRELEASE")]
        ),
    )


def kernel_log(dump: Dump) -> bytes:
    """The kernel log as dmesg prints it, empty where it cannot be read."""
    try:
        return bytes(get_dmesg(dump.prog))
    except (drgn.FaultError, LookupError, AttributeError, ValueError, OverflowError, TypeError) as error:
        dump.damage.append(Unknown("the kernel log", f"it cannot be read: {error}"))
        return b""


def _ram_pages(dump: Dump) -> int | None:
    """Managed pages of all zones: what MemTotal shows."""
    try:
        return sum(int(zone.managed_pages.counter) for _, _, zone in zones(dump)) or dump.number("_totalram_pages")
    except (drgn.FaultError, LookupError, AttributeError):
        return dump.number("_totalram_pages")


def _command_line(dump: Dump) -> str | None:
    try:
        return printable(dump.prog["saved_command_line"].string_()[:4096])
    except (drgn.FaultError, LookupError, TypeError, ValueError):
        return None


def _taint(mask: int) -> str:
    return "".join(letter for bit, letter in enumerate(_TAINTS) if mask >> bit & 1)
