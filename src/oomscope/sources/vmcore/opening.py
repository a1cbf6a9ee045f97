"""Opening a core dump or the live kernel: memory, types and symbols, with debug info or without.

Without a vmlinux, symbols come from the kernel's own kallsyms and types from its own BTF, both read out of its memory
(live: /proc/kallsyms). With one, drgn has types and lines from it; names still come from kallsyms, which is what the
kernel itself would print.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import drgn
import numpy as np
from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

from oomscope.errors import BadQuestion, CorruptInput, NoAccess, NothingToExplain, OomscopeError, Unreadable
from oomscope.sources.vmcore import LIVE, btf_scan, debug_info, elf, kallsyms_scan, kdump, log_buffer, vmcoreinfo
from oomscope.sources.vmcore.btf import Btf
from oomscope.sources.vmcore.dump import Dump
from oomscope.sources.vmcore.fixed_maps import map_by_tables, map_image, map_linear
from oomscope.sources.vmcore.kallsyms import Kallsyms

# drgn tells of its troubles by itself, on stderr; what matters of them stands in our errors.
logging.getLogger("drgn").addHandler(logging.NullHandler())
_FLATTENED_HEADER_BYTES = 4096 + 16  # makedumpfile's own header, then the first block's offset and size
_MACHINE_OFFSET = 12 + 4 * 65  # struct disk_dump_header: signature, version, then struct new_utsname
_MACHINES = {b"x86_64": drgn.Architecture.X86_64, b"aarch64": drgn.Architecture.AARCH64}
_PAGE_BYTES = 4096
_ELSEWHERE = "run it on the host, read page_owner's text, or take a core dump"
# What drgn raises where a file is not what it seems; libkdumpfile's own errors come as plain Exceptions.
_NO_ARCHITECTURE = "its header names no architecture, as QEMU leaves it for arm64: take the dump without -z, -l, -s"
_REFUSALS = (OSError, ValueError, LookupError, RuntimeError, drgn.BadDataError, drgn.FaultError, Exception)
_PAGE_SIZES = ("4096", "8192", "16384", "65536")
_SYMBOL = re.compile(r"^SYMBOL\((?P<name>\w+)\)=(?P<address>[0-9a-f]+)$", re.MULTILINE)
_KALLSYMS = (
    "kallsyms_names",
    "kallsyms_token_table",
    "kallsyms_token_index",
    "kallsyms_num_syms",
    "kallsyms_offsets",
    "kallsyms_relative_base",
)


def open_dump(
    path: Path,
    *,
    origin: str | None = None,
    vmlinux: Path | None = None,
    beside: tuple[Path, ...] = (),
    dumps: tuple[Path, ...] = (),
) -> Dump:
    """Open a core dump; `origin` names it for people.

    `vmlinux` is debug info that has to fit; `beside` are files that are used where their build-id fits, and `dumps` may
    be the other parts of a split dump: the first of them is read with all. Raises NothingToExplain for a process's core
    and for such another part, Unreadable, NoAccess or BadQuestion.
    """
    origin = origin or str(path)
    parts = kdump.parts(path, dumps) if kdump.is_kdump(path) else ()
    if parts and parts[0] != path:
        raise NothingToExplain(f"{origin}: a part of a split dump, read with {parts[0].name}", advice="")
    if len(parts) > 1:
        return _incomplete(path, origin, vmlinux, beside, others=parts[1:])
    try:
        prog = _opened(path)
    except PermissionError as error:
        raise NoAccess(f"{origin}: permission denied") from error
    except _REFUSALS as error:
        if kdump.is_kdump(path):
            return _incomplete(path, origin, vmlinux, beside)
        if missing_end(path) is not None:
            raise _without_kernel(origin) from error
        told = _one_line(error)
        advice = _NO_ARCHITECTURE if "KDUMP_ATTR_ARCH_NAME" in told else ""
        raise CorruptInput(f"{origin}: not a core dump that can be read ({told})", advice=advice) from error
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise _no_kernel(prog, path, origin)
    is_kdump = kdump.is_kdump(path)
    if is_kdump or missing_end(path) is None:
        try:
            dump = _equipped(prog, origin, vmlinux, beside)
            dump.lacks = kdump.missing_parts(path) if is_kdump else None
            return dump
        except NoAccess:  # its symbols may be in what is not there
            if not is_kdump or not kdump.lacks_something(path):
                raise
            return _incomplete(path, origin, vmlinux, beside)
        except CorruptInput:
            if is_kdump:
                return _incomplete(path, origin, vmlinux, beside)
            prog = _opened(path)
    return _equipped(prog, origin, vmlinux, beside, without_page_tables=True)


def _incomplete(
    path: Path, origin: str, vmlinux: Path | None, beside: tuple[Path, ...], others: tuple[Path, ...] = ()
) -> Dump:
    """A kdump file that drgn does not open, for what it lacks, or for it lies in several files."""
    try:
        pages = kdump.Kdump(path, others)
        prog = pages.program()
    except NoAccess:
        raise
    except _REFUSALS as error:
        told = f"{origin}: not a core dump that can be read: {_one_line(error)}"
        raise CorruptInput(told, advice="copy the file again") from error
    try:
        dump = _equipped(prog, origin, vmlinux, beside, without_page_tables=True)
    except CorruptInput as error:
        raise error if pages.lacks is None else CorruptInput(f"{error}; {pages.lacks}", advice="") from error
    except OomscopeError:
        raise
    except _REFUSALS as error:
        raise CorruptInput(
            f"{origin}: what it tells of its kernel is damaged ({_one_line(error)})", advice=""
        ) from error
    dump.lacks = pages.lacks
    return dump


def log_alone(path: Path) -> tuple[bytes, str | None]:
    """The kernel log and the release of a dump that cannot be opened; empty where it does not have the log either."""
    for open_it in (_opened, lambda each: kdump.Kdump(each).program()):
        try:
            prog = open_it(path)
            told = vmcoreinfo.of(prog)
        except (*_REFUSALS, CorruptInput):
            continue
        if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
            continue
        if log := log_buffer.kernel_log(prog, told):
            return log, told.get("OSRELEASE")
        map_image(prog, told)
        map_linear(prog, told, None)
        if log := log_buffer.kernel_log(prog, told):
            return log, told.get("OSRELEASE")
    return b"", None


def missing_end(path: Path) -> str | None:
    """One clause on how much a core lacks of what its headers announce, None where it is whole, or flattened."""
    if kdump.is_kdump(path):
        return kdump.missing_end(path)
    found = elf.headers(path)
    if found is None:
        return None
    announced, there = max((each.offset + each.size for each in found.segments), default=0), path.stat().st_size
    return f"cut short: {there:,} of {announced:,} bytes are there" if there < announced else None


def open_live(*, vmlinux: Path | None = None) -> Dump:
    """Open this machine's memory through /proc/kcore. Raises NoAccess where it may not be read."""
    if os.geteuid() != 0:
        raise NoAccess(f"{LIVE}: only root may read it")
    prog = drgn.Program()
    try:
        prog.set_kernel()
    except FileNotFoundError as error:
        raise NoAccess(
            f"{LIVE}: not there (a container, or a kernel without CONFIG_PROC_KCORE)", advice=_ELSEWHERE
        ) from error
    except PermissionError as error:
        why = "the kernel refuses to read it (a container, or lockdown)"
        raise NoAccess(f"{LIVE}: {why}", advice=_ELSEWHERE) from error
    except (OSError, ValueError, drgn.FaultError) as error:
        raise NoAccess(f"{LIVE}: {_one_line(error)}", advice="") from error
    return _equipped(prog, LIVE, vmlinux, ())


def _opened(path: Path) -> drgn.Program:
    """Open it as drgn does, and what drgn alone does not open.

    QEMU's kdump files do not say which architecture they are of, but their header does. A dump of QEMU that was not
    told of VMCOREINFO has it all the same: the kernel keeps it in its memory.
    """
    if kdump.is_kdump(path):
        kdump.require_headers(path)
    prog = drgn.Program()
    try:
        prog.set_core_dump(path)
    except _REFUSALS as error:
        if isinstance(error, PermissionError):
            raise
        if (architecture := _architecture(path)) is not None:
            prog = drgn.Program(drgn.Platform(architecture))
            prog.set_core_dump(path)
            return prog
        for text in vmcoreinfo.in_memory(path):
            if (prog := _opened_with(path, text)) is not None:
                return prog
        raise
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:  # of arm64 drgn takes such a file without a word
        found = (_opened_with(path, text) for text in vmcoreinfo.in_memory(path))
        return next((each for each in found if each is not None), prog)
    return prog


def _opened_with(path: Path, text: bytes) -> drgn.Program | None:
    """The dump opened with a text of VMCOREINFO, None where that is not of the kernel in it."""
    try:
        prog = drgn.Program(vmcoreinfo=text)
        prog.set_core_dump(path)
        return prog if vmcoreinfo.is_of(prog) else None
    except _REFUSALS:
        return None


def _architecture(path: Path) -> drgn.Architecture | None:
    with path.open("rb") as file:
        head = file.read(2 * _PAGE_BYTES)
    at = _FLATTENED_HEADER_BYTES if head.startswith(b"makedumpfile\0") else 0
    machine = head[at + _MACHINE_OFFSET :][:65].split(b"\0")[0]
    return _MACHINES.get(machine)


def _no_kernel(prog: drgn.Program, path: Path, origin: str) -> Exception:
    if b"VMCOREINFO" in _tail_of_notes(path):
        return Unreadable(f"{origin}: its VMCOREINFO cannot be read", advice="")
    threads = False
    try:
        threads = next(iter(prog.threads()), None) is not None
    except (drgn.FaultError, ValueError, OSError, LookupError):
        threads = False
    if threads and not _is_of_qemu(path) and not elf.tells_physical_addresses(path):
        return NothingToExplain(f"{origin}: the core dump of a process, not of a kernel", advice="give a vmcore")
    if missing_end(path) is not None:
        return _without_kernel(origin)
    return Unreadable(
        f"{origin}: a memory dump without VMCOREINFO: nothing in it tells where the kernel lies",
        advice="dump with QEMU's -device vmcoreinfo, or with makedumpfile from the crash kernel",
    )


def _without_kernel(origin: str) -> CorruptInput:
    return CorruptInput(f"{origin}: the part that tells where the kernel lies is not in it", advice="")


def _tail_of_notes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1 << 16)


def _is_of_qemu(path: Path) -> bool:
    return b"QEMU\0" in _tail_of_notes(path)


def _equipped(
    prog: drgn.Program,
    origin: str,
    vmlinux: Path | None,
    beside: tuple[Path, ...],
    *,
    without_page_tables: bool = False,
) -> Dump:
    told = vmcoreinfo.of(prog)
    if told.get("PAGESIZE") not in _PAGE_SIZES:
        raise CorruptInput(f"{origin}: no kernel has pages of {told.get('PAGESIZE')} bytes, as it says", advice="")
    if without_page_tables:
        map_by_tables(prog, told)
        map_image(prog, told)
    found = debug_info.find(origin, vmlinux, beside, told.get("BUILD-ID"), told.get("OSRELEASE"))
    if found is not None:
        try:
            prog.load_debug_info([found])
        except _REFUSALS as error:
            raise BadQuestion(f"{found}: not the debug info of {origin} ({_one_line(error)})") from error
        _add_kallsyms_to_vmcoreinfo(prog, told)
    elif "SYMBOL(kallsyms_names)" not in told and not prog.flags & drgn.ProgramFlags.IS_LIVE:
        places = kallsyms_scan.places(prog, told)
        _tell_kallsyms(prog, {} if places is None else {f"kallsyms_{name}": at for name, at in places.items()})
    try:
        index = load_vmlinux_kallsyms(prog)
    except _REFUSALS as error:
        if found is None:
            raise _no_symbols(origin, error, is_whole=not without_page_tables) from error
        index = None
    if index is not None:
        prog.register_symbol_finder("oomscope kallsyms", index, enable_index=-1 if found else 0)
        table = _all_symbols(prog)
    else:
        table = [(s.address, s.name) for s in prog.symbols()]
    if all(name != "init_uts_ns" for _, name in table):  # functions only: without CONFIG_KALLSYMS_ALL
        table += [(address, name) for name, address in vmcoreinfo.symbols(told).items() if name != "_stext"]
    symbols = Kallsyms(np.array([address for address, _ in table], np.uint64), [name for _, name in table])
    if without_page_tables:
        map_linear(prog, told, symbols.address_of("page_offset_base"))
    if found is None:
        _register_btf(prog, origin, symbols, told)
    return Dump(prog, symbols, told, found)


def _all_symbols(prog: drgn.Program) -> list[tuple[int, str]]:
    """Every symbol of kallsyms, in its order."""
    enabled = prog.enabled_symbol_finders()
    prog.set_enabled_symbol_finders(["oomscope kallsyms"])
    try:
        return [(symbol.address, symbol.name) for symbol in prog.symbols()]
    finally:
        prog.set_enabled_symbol_finders(enabled)


def _register_btf(prog: drgn.Program, origin: str, symbols: Kallsyms, told: dict[str, str]) -> None:
    start, stop = symbols.address_of("__start_BTF"), symbols.address_of("__stop_BTF")
    try:
        found = btf_scan.find(prog, told) if start is None or stop is None else prog.read(start, stop - start)
    except drgn.FaultError as error:
        raise CorruptInput(
            f"{origin}: the kernel's BTF is not in it", advice="give the kernel's debug info: --vmlinux PATH"
        ) from error
    if found is None:
        raise NoAccess(
            f"{origin}: this kernel carries no BTF (CONFIG_DEBUG_INFO_BTF)",
            advice="give its debug info: --vmlinux PATH",
        )
    btf = Btf(prog, found, symbols)
    prog.register_type_finder("oomscope BTF", btf.types, enable_index=-1)
    prog.register_object_finder("oomscope BTF", btf.objects, enable_index=-1)


def _no_symbols(origin: str, error: Exception, *, is_whole: bool) -> Exception:
    if isinstance(error, drgn.FaultError):
        return CorruptInput(f"{origin}: the kernel's symbols are not in it ({_one_line(error)})", advice="")
    if not is_whole:
        return CorruptInput(f"{origin}: the kernel's symbols are not in it, or not all of them", advice="")
    return NoAccess(
        f"{origin}: this kernel does not say where its symbols are (kernels before 6.0 do not)",
        advice="give its debug info: --vmlinux PATH",
    )


def _add_kallsyms_to_vmcoreinfo(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> None:
    """Where VMCOREINFO does not tell the place of kallsyms, the symbols of vmlinux do."""
    if "SYMBOL(kallsyms_names)" in vmcoreinfo:
        return
    try:
        _tell_kallsyms(prog, {name: prog.symbol(name).address for name in _KALLSYMS})
    except LookupError:
        return


def _tell_kallsyms(prog: drgn.Program, places: dict[str, int]) -> None:
    """Let drgn find the places of kallsyms in VMCOREINFO."""
    lines = "".join(f"SYMBOL({name})={address:x}\n" for name, address in places.items())
    text = prog["VMCOREINFO"].string_() + b"\n" + lines.encode()
    whole = drgn.Object(prog, prog.array_type(prog.int_type("char", 1, True), len(text)), list(text))

    def find(_: drgn.Program, name: str, __: drgn.FindObjectFlags, ___: str | None) -> drgn.Object | None:
        return whole if name == "VMCOREINFO" else None

    prog.register_object_finder("oomscope VMCOREINFO", find, enable_index=0)


def _one_line(error: Exception) -> str:
    return str(error).split("\n")[0] or type(error).__name__
