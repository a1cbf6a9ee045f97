"""What the crash kernel's reader has to know of a kernel build (crash_reader/plan.py), by types and symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from oomscope.crash_reader.plan import FORMAT
from oomscope.errors import NoAccess
from oomscope.sources.vmcore import kallsyms_scan
from oomscope.sources.vmcore.stack_depot import handle_parts

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump

_SYMBOLS = (
    *("_stext", "_etext", "_sinittext", "_einittext", "_totalram_pages", "modules", "bpf_kallsyms", "map_idr"),
    *("mem_section", "page_ext_size", "page_owner_ops", "page_owner_inited", "stack_list"),
    *("early_handle", "dummy_handle", "failure_handle"),
    *("stack_pools", "stack_slabs", "stack_max_pools", "stack_depot_disabled", "stack_depot_disable"),
    *("vm_zone_stat", "vm_node_stat"),
)
# Structure, and the members that are read of it; a kernel may have the one or the other.
_MEMBERS = {
    "mem_section": ("section_mem_map", "page_ext"),
    "page_ext_operations": ("offset",),
    "page_owner": ("handle",),
    "stack_record": ("size", "handle", "entries", "count"),
    "stack": ("stack_record", "next"),
    "module": ("list", "name", "kallsyms", "mem", "core_layout", "init_layout"),
    "module_memory": ("base", "size"),
    "module_layout": ("base", "text_size"),
    "mod_kallsyms": ("symtab", "num_symtab", "strtab"),
    "bpf_ksym": ("start", "end", "name", "lnode"),
    "bpf_map": ("name", "max_entries"),
    "bpf_array": ("value", "elem_size"),
    "xa_node": ("slots",),
}
_ALLOCATED, _EVERY_PAGE_SINCE = "PAGE_EXT_OWNER_ALLOCATED", "5.4"
_MACHINES = {drgn.Architecture.X86_64: "x86_64", drgn.Architecture.AARCH64: "aarch64"}
_COUNTERS = {
    "vm_zone_stat": ("enum zone_stat_item", "NR_VM_ZONE_STAT_ITEMS"),
    "vm_node_stat": ("enum node_stat_item", "NR_VM_NODE_STAT_ITEMS"),
}


def plan_of(dump: Dump) -> dict[str, object]:
    """The plan without the rows of frames.tsv. Raises NoAccess where the reader cannot read such a kernel."""
    platform = dump.prog.platform
    machine = None if platform is None else _MACHINES.get(platform.arch)
    if machine is None:
        raise NoAccess("the crash kernel's reader knows the page tables of x86-64 and arm64 alone")
    stext = dump.symbols.address_of("_stext")
    if stext is None:
        raise NoAccess("this kernel does not tell where its text begins (_stext)")
    found = {name: at - stext for name in _SYMBOLS if (at := dump.symbols.address_of(name)) is not None}
    if "SYMBOL(kallsyms_names)" not in dump.vmcoreinfo:  # before 6.0
        places = kallsyms_scan.places(dump.prog, dump.vmcoreinfo) or {}
        found |= {f"kallsyms_{name}": at - stext for name, at in places.items()}
    return {
        "format": FORMAT,
        "release": dump.vmcoreinfo["OSRELEASE"],
        "build_id": dump.vmcoreinfo.get("BUILD-ID"),
        "machine": machine,
        "symbols": found,
        "layout": _layout(dump),
        "constants": _constants(dump),
        "handle": list(handle_parts(dump.prog)) if dump.size("union handle_parts") else [],
        "counters": {symbol: _names(dump, *of) for symbol, of in _COUNTERS.items() if symbol in found},
    }


def _layout(dump: Dump) -> dict[str, int]:
    found: dict[str, int] = {}
    for structure, members in _MEMBERS.items():
        type_name = f"struct {structure}"
        size = dump.size(type_name)
        if size is not None:
            found[structure] = size
        for member in members:
            at = dump.offset(type_name, member)
            if at is not None:
                found[f"{structure}.{member}"] = at
    head = dump.offset("struct idr", "idr_rt.xa_head")
    if head is not None:
        found["idr.head"] = head
    return found


def _constants(dump: Dump) -> dict[str, int]:
    names = (_ALLOCATED, "MOD_TEXT", "MOD_INIT_TEXT")
    found = {name: value for name in names if (value := dump.constant(name)) is not None}
    if dump.symbols.address_of("page_owner_inited") is not None and _ALLOCATED not in found:
        raise NoAccess(f"kernels before {_EVERY_PAGE_SINCE} keep one entry for many pages: their dump has to be read")
    try:
        kind = dump.prog["mem_section"].type_
        is_static = kind.kind != drgn.TypeKind.ARRAY or kind.type.kind != drgn.TypeKind.POINTER
    except LookupError:
        is_static = False
    if dump.size("struct xa_node"):
        found["XA_CHUNK_SIZE"] = int(dump.prog.type("struct xa_node").member("slots").type.length)
    return {**found, "mem_section_is_static": int(is_static)}


def _names(dump: Dump, enum: str, end: str) -> list[str]:
    """The enumerators below `end` by their values, "" for a value that has none."""
    try:
        count = int(dump.prog.constant(end))
        by_value = {each.value: each.name for each in dump.prog.type(enum).enumerators or ()}
    except LookupError:
        return []
    return [by_value.get(value, "") for value in range(count)]
