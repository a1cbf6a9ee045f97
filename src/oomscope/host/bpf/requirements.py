"""What arming needs of a kernel and its settings, and which way of counting it offers."""

from __future__ import annotations

import os
from pathlib import Path

from oomscope.errors import NoAccess, NotOffered
from oomscope.host.facts import Machine, PageOwnerState
from oomscope.sources.tracker import panic_report

WAYS = {"stacks": panic_report.STACK_LIST, "pages": panic_report.PAGES}  # of counting what page_owner recorded
DUMP_HEADER, PANIC = ("at_dump_header", "dump_header"), ("at_panic", "panic")
_STARTS_FROM = {
    "stacks": ("stack_list",),
    "pages": ("mem_section", "page_ext_size", "page_owner_ops", "max_pfn"),
}
TOO_OLD = "no bpf_for_each_map_elem() (it came with 5.13)"
_POOLS = ("stack_pools", "stack_slabs")
_LIST_HAS_GAPS = ("try_alloc_pages_noprof", "alloc_pages_nolock_noprof")
BPFFS = Path("/sys/fs/bpf")
# The wheel of a release has them; a checkout builds them.
GET_OBJECTS = "install the wheel of a release, or run `make bpf` in a checkout (needs clang, llvm, libbpf-dev)"


def choose_way(machine: Machine) -> str:
    """The quickest way to a whole count on this kernel. Raises NotOffered with the reason where it offers none."""
    lacking = {way: missing_for(machine, way) for way in WAYS}
    has_gaps = any(name in machine.symbols for name in _LIST_HAS_GAPS)
    for way in ("pages", "stacks") if has_gaps else ("stacks", "pages"):
        if not lacking[way]:
            return way
    raise NotOffered(
        f"this kernel has no way to count pages per stack from BPF: {'; '.join(lacking['pages'])}",
        advice="set up kdump, and read its dump with `oomscope explain vmcore`",
    )


def missing_for(machine: Machine, way: str) -> list[str]:
    """What a way needs and this kernel does not have."""
    missing = [] if has_programs(machine) else [TOO_OLD]
    lacking = [name for name in _STARTS_FROM[way] if name not in machine.symbols]
    if way == "pages" and not any(name in machine.symbols for name in _POOLS):
        lacking.append(_POOLS[0])
    if lacking:
        missing.append(f"no symbol {', '.join(lacking)} (CONFIG_KALLSYMS_ALL)")
    return missing


def has_programs(machine: Machine) -> bool:
    """Whether the kernel has what the programs call: to go round in a map, and to print into memory."""
    return {"bpf_for_each_map_elem", "bpf_snprintf"} <= machine.symbols.keys()


def attach_points(machine: Machine) -> tuple[str, tuple[str, ...]]:
    """The program and the kernel functions it goes to: dump_header() in all its forms, else panic().

    A compiler may make a form of its own for the calls of the panics (dump_header.constprop.0 beside dump_header).
    """
    forms = machine.functions_like(DUMP_HEADER[1])
    return (DUMP_HEADER[0], tuple(forms)) if forms else (PANIC[0], (PANIC[1],))


def object_path(machine: Machine) -> Path:
    """The program's object file. Raises NotOffered where there is none for this machine."""
    if machine.architecture is None:
        raise NotOffered(f"there is no program for this architecture ({os.uname().machine}); x86_64 and arm64 have one")
    path = Path(__file__).parent / f"panic_report.{machine.architecture}.o"
    if not path.exists():
        raise NotOffered("this installation has no BPF programs", advice=GET_OBJECTS)
    return path


def require_layout(value_bytes: int, ours_bytes: int, *, exact: bool = True) -> None:
    """That a map's values are as large as this version's. Raises NotOffered: another version has armed then."""
    if value_bytes != ours_bytes if exact else value_bytes < ours_bytes:
        raise NotOffered(
            "it was armed by another version of oomscope, which keeps what it counts in another layout",
            advice="oomscope disarm, then arm again: what was kept so far cannot be read",
        )


def require_root(machine: Machine) -> None:
    """Raises NoAccess for anybody else."""
    if not machine.is_root:
        raise NoAccess("arming and disarming need root", advice="run it with sudo")


def require_access(machine: Machine) -> None:
    """That this kernel lets root load a program that reads kernel memory. Raises NotOffered."""
    require_root(machine)
    if machine.lockdown == "confidentiality":
        raise NotOffered(
            "the kernel is locked down (confidentiality): no program may read its memory",
            advice="boot with lockdown=integrity, which is enough for Secure Boot",
        )
    if not machine.has_types:
        raise NotOffered("the kernel has no type information, /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)")
    if not has_bpffs(machine):
        raise NotOffered(f"no bpffs is mounted at {BPFFS}", advice=f"mount -t bpf bpf {BPFFS}")
    if not machine.symbols:
        raise NotOffered("/proc/kallsyms is empty (CONFIG_KALLSYMS)")
    if machine.hides_addresses:
        raise NotOffered("/proc/kallsyms shows no addresses", advice="sysctl kernel.kptr_restrict=1")


def require_page_owner(machine: Machine) -> None:
    """That the kernel records who allocates pages. Raises NotOffered."""
    state = machine.page_owner
    if state is PageOwnerState.NOT_BUILT:
        raise NotOffered("this kernel is built without page_owner (CONFIG_PAGE_OWNER)")
    if state is PageOwnerState.OFF:
        raise NotOffered("page_owner is off", advice="boot with page_owner=on")


def has_bpffs(machine: Machine) -> bool:
    """Whether pins have a place."""
    return is_mounted(machine, str(BPFFS), "bpf")


def is_mounted(machine: Machine, path: str, kind: str) -> bool:
    """Whether a file system of a kind is mounted at a path."""
    mounts = (line.split() for line in (machine.text("/proc/self/mounts") or "").splitlines())
    return any(words[1] == path and words[2] == kind for words in mounts)
