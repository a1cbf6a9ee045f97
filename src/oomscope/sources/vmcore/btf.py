"""The kernel's own BTF as drgn types: what makes a dump readable without debug info (Documentation/bpf/btf.rst).

BTF describes every type, no inline frames, no lines, and of global variables none but per-CPU ones. The types of the
globals that oomscope reads are therefore declared in GLOBALS.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import drgn

from oomscope.errors import CorruptInput

if TYPE_CHECKING:
    from oomscope.sources.vmcore.kallsyms import Kallsyms

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")
_ARRAY = struct.Struct("<III")
_ENUM64 = struct.Struct("<III")
_PAIR = struct.Struct("<II")

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC = range(
    1, 16
)
FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(16, 20)
# Bytes that follow a type's 12, as (fixed, per vlen).
_EXTRA = {
    INT: (4, 0),
    ARRAY: (12, 0),
    STRUCT: (0, 12),
    UNION: (0, 12),
    ENUM: (0, 8),
    FUNC_PROTO: (0, 8),
    VAR: (4, 0),
    DATASEC: (0, 12),
    DECL_TAG: (4, 0),
    ENUM64: (0, 12),
}
_WRAPPERS = {VOLATILE: drgn.Qualifiers.VOLATILE, CONST: drgn.Qualifiers.CONST, RESTRICT: drgn.Qualifiers.RESTRICT}
_SIGNED, _CHAR, _BOOL = 1, 2, 4
_KINDS = {
    drgn.TypeKind.INT: (INT,),
    drgn.TypeKind.BOOL: (INT,),
    drgn.TypeKind.FLOAT: (FLOAT,),
    drgn.TypeKind.STRUCT: (STRUCT,),
    drgn.TypeKind.UNION: (UNION,),
    drgn.TypeKind.ENUM: (ENUM, ENUM64),
    drgn.TypeKind.TYPEDEF: (TYPEDEF,),
}

# Globals that oomscope (and the drgn helpers it uses) reads, as they are declared in the kernel. An array's length is
# the symbol's, 0 here.
GLOBALS = {
    "__per_cpu_offset": "unsigned long [0]",  # mm/percpu.c, arch/*/kernel/setup_percpu.c
    "__cpu_online_mask": "struct cpumask",  # kernel/cpu.c
    "__cpu_possible_mask": "struct cpumask",
    "_totalram_pages": "atomic_long_t",  # mm/page_alloc.c
    "bpf_kallsyms": "struct list_head",  # kernel/bpf/core.c
    "cma_area_count": "unsigned int",  # mm/cma.c
    "cma_areas": "struct cma [0]",
    "contig_page_data": "struct pglist_data",  # mm/memblock.c, without NUMA
    "gfpflag_names": "struct trace_print_flags [0]",  # mm/debug.c
    "hstates": "struct hstate [0]",  # mm/hugetlb.c
    "hugetlb_max_hstate": "int",
    "init_mm": "struct mm_struct",  # mm/init-mm.c
    "init_pid_ns": "struct pid_namespace",  # kernel/pid.c
    "init_task": "struct task_struct",  # init/init_task.c
    "map_idr": "struct idr",  # kernel/bpf/syscall.c
    "prog_idr": "struct idr",
    "max_pfn": "unsigned long",  # mm/memblock.c
    "mem_section": "struct mem_section **",  # mm/sparse.c, SPARSEMEM_EXTREME
    "modules": "struct list_head",  # kernel/module/main.c
    "node_data": "struct pglist_data *[0]",  # arch/*/mm/numa.c, mm/numa.c
    "nr_cpu_ids": "unsigned int",  # kernel/smp.c
    "nr_node_ids": "unsigned int",  # mm/page_alloc.c
    "nr_vmalloc_pages": "atomic_long_t",  # mm/vmalloc.c
    "page_ext_size": "unsigned long",  # mm/page_ext.c
    "page_owner_inited": "struct static_key_false",  # mm/page_owner.c
    "page_owner_ops": "struct page_ext_operations",
    "pcpu_chunk_lists": "struct list_head *",  # mm/percpu.c
    "pcpu_slot": "struct list_head *",
    "pcpu_nr_slots": "int",
    "pcpu_unit_offsets": "const unsigned long *",
    "prb": "struct printk_ringbuffer *",  # kernel/printk/printk.c
    "saved_command_line": "char *",  # init/main.c
    "runqueues": "struct rq",  # kernel/sched/core.c; some builds of 5.10 have no per-cpu variables in their types
    "slab_caches": "struct list_head",  # mm/slab_common.c
    "stack_list": "struct stack *",  # mm/page_owner.c
    "stack_pools": "void *[0]",  # lib/stackdepot.c; a pointer from 6.17 on
    "stack_slabs": "void *[0]",
    "tainted_mask": "unsigned long",  # kernel/panic.c
    "vm_node_stat": "atomic_long_t [0]",
    "vm_zone_stat": "atomic_long_t [0]",
    "vmap_area_list": "struct list_head",  # mm/vmalloc.c, up to 6.8
    "vmap_area_root": "struct rb_root",
    "vmap_nodes": "struct vmap_node *",  # 6.9 and later
    "nr_vmap_nodes": "int",
}
_DECLARATION = re.compile(r"(?P<base>[^*\[]*+)(?P<pointers>\**+) ?(?P<array>\[0\])?")


class Btf:
    """The types of one kernel, built when they are asked for.

    `types(prog, …)`, `objects(prog, …)` are finders for drgn's register_type_finder() and register_object_finder().
    Raises CorruptInput where `data` is no BTF.
    """

    def __init__(self, prog: drgn.Program, data: bytes, symbols: Kallsyms) -> None:
        self._prog = prog
        self._symbols = symbols
        try:
            magic, _, _, header_len, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
        except struct.error:
            raise CorruptInput("the kernel's BTF is cut short", advice="") from None
        if magic != _MAGIC or header_len + max(type_off + type_len, str_off + str_len) > len(data):
            raise CorruptInput("the kernel's BTF is damaged", advice="give the kernel's debug info with --vmlinux")
        self._strings = data[header_len + str_off : header_len + str_off + str_len]
        self._types = data[header_len + type_off : header_len + type_off + type_len]
        self._at: list[int] = [0]
        self._named: dict[tuple[int, int], int] = {}
        self._built: dict[int, drgn.Type] = {}
        self._enumerators: dict[str, tuple[int, int]] | None = None
        self._index()

    def types(
        self,
        prog: drgn.Program,  # noqa: ARG002 - drgn's signature
        kinds: drgn.TypeKindSet,
        name: str,
        filename: str | None,
    ) -> drgn.Type | None:
        """A type by name; BTF knows no files."""
        if filename:
            return None
        string = self._string_offset(name)
        for kind in kinds:
            for btf_kind in _KINDS.get(kind, ()):
                index = self._named.get((btf_kind, string))
                if index is not None:
                    found = self._type(index)
                    if found.kind == kind:
                        return found
        return None

    def objects(
        self,
        prog: drgn.Program,
        name: str,
        flags: drgn.FindObjectFlags,
        filename: str | None,  # noqa: ARG002 - BTF knows no files
    ) -> drgn.Object | None:
        """An enumerator, a per-CPU variable, or a global that GLOBALS declares."""
        if flags & drgn.FindObjectFlags.CONSTANT:
            found = self._constant(name)
            if found is not None:
                return drgn.Object(prog, self._type(found[0]), found[1])
        if flags & drgn.FindObjectFlags.VARIABLE:
            address = self._symbols.address_of(name)
            if address is None:
                return None
            declared = self._declared(name)
            if declared is not None:
                return drgn.Object(prog, declared, address=address)
            index = self._named.get((VAR, self._string_offset(name)))
            if index is not None:
                _, _, type_id = _TYPE.unpack_from(self._types, self._at[index])
                return drgn.Object(prog, self._type(type_id), address=address)
        return None

    def _index(self) -> None:
        at, end, types = 0, len(self._types), self._types
        unpack, named, places = _TYPE.unpack_from, self._named, self._at
        while at + 12 <= end:
            name, info, _ = unpack(types, at)
            kind = info >> 24 & 0x1F
            if name and kind in (INT, FLOAT, STRUCT, UNION, ENUM, ENUM64, TYPEDEF, VAR):
                named.setdefault((kind, name), len(places))
            places.append(at)
            fixed, each = _EXTRA.get(kind, (0, 0))
            at += 12 + fixed + each * (info & 0xFFFF)

    def _string(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _string_offset(self, name: str) -> int:
        """Where the name stands among the strings: each stands there once."""
        found = self._strings.find(b"\0" + name.encode() + b"\0")
        return -1 if found < 0 else found + 1

    def _constant(self, name: str) -> tuple[int, int] | None:
        if self._enumerators is None:
            self._enumerators = {}
            for index in range(1, len(self._at)):
                _, info, _ = _TYPE.unpack_from(self._types, self._at[index])
                if info >> 24 & 0x1F in (ENUM, ENUM64):
                    for enumerator, value in self._values(index):
                        self._enumerators.setdefault(enumerator, (index, value))
        return self._enumerators.get(name)

    def _values(self, index: int) -> list[tuple[str, int]]:
        at = self._at[index]
        _, info, _ = _TYPE.unpack_from(self._types, at)
        count, is_signed = info & 0xFFFF, info >> 31
        if info >> 24 & 0x1F == ENUM64:
            rows = [_ENUM64.unpack_from(self._types, at + 12 + 12 * i) for i in range(count)]
            raw = [(name, low | high << 32, 64) for name, low, high in rows]
        else:
            raw = [(*_PAIR.unpack_from(self._types, at + 12 + 8 * i), 32) for i in range(count)]
        return [
            (self._string(name), value - (1 << bits) if is_signed and value >> (bits - 1) else value)
            for name, value, bits in raw
        ]

    def _declared(self, name: str) -> drgn.Type | None:
        declaration = GLOBALS.get(name)
        if declaration is None:
            return None
        match = _DECLARATION.fullmatch(declaration)
        assert match is not None, declaration
        try:
            found = self._prog.type(match["base"].strip())
        except LookupError:
            return None
        for _ in match["pointers"]:
            found = self._prog.pointer_type(found)
        return found if match["array"] is None else self._prog.array_type(found)

    def _type(self, index: int) -> drgn.Type:
        """The type of an id: 0 is void."""
        built = self._built.get(index)
        if built is None:
            built = self._built[index] = self._build(index)
        return built

    def _lazily(self, index: int) -> Callable[[], drgn.Type]:
        return lambda: self._type(index)

    def _build(self, index: int) -> drgn.Type:
        prog = self._prog
        if index == 0:
            return prog.void_type()
        at = self._at[index]
        name_at, info, size_or_type = _TYPE.unpack_from(self._types, at)
        kind = info >> 24 & 0x1F
        name = self._string(name_at) if name_at else None
        if kind == INT:
            return self._int(at, name or "", size_or_type)
        if kind == FLOAT:
            return prog.float_type(name or "", size_or_type)
        if kind == PTR:
            return prog.pointer_type(self._type(size_or_type))
        if kind == ARRAY:
            element, _, length = _ARRAY.unpack_from(self._types, at + 12)
            return prog.array_type(self._type(element), length) if length else prog.array_type(self._type(element))
        if kind in (STRUCT, UNION):
            make = prog.struct_type if kind == STRUCT else prog.union_type
            return make(name, size_or_type, self._members(at, info))
        if kind in (ENUM, ENUM64):
            return self._enum(index, name, size_or_type, is_signed=bool(info >> 31))
        if kind == FWD:
            return prog.union_type(name) if info >> 31 else prog.struct_type(name)
        if kind == TYPEDEF:
            return prog.typedef_type(name or "", self._type(size_or_type))
        if kind in _WRAPPERS:
            inner = self._type(size_or_type)
            return inner.qualified(inner.qualifiers | _WRAPPERS[kind])
        if kind == FUNC_PROTO:
            return prog.function_type(self._type(size_or_type), ())
        return self._type(size_or_type)  # FUNC, TYPE_TAG, DECL_TAG: what they stand for

    def _int(self, at: int, name: str, size: int) -> drgn.Type:
        (encoding,) = struct.unpack_from("<I", self._types, at + 12)
        if encoding >> 24 & _BOOL:
            return self._prog.bool_type(name, size)
        return self._prog.int_type(name, size, bool(encoding >> 24 & _SIGNED))

    def _enum(self, index: int, name: str | None, size: int, *, is_signed: bool) -> drgn.Type:
        values = self._values(index)
        base = self._prog.int_type("int" if is_signed else "unsigned int", size, is_signed)
        if not values:
            return self._prog.enum_type(name)
        return self._prog.enum_type(name, base, [drgn.TypeEnumerator(n, v) for n, v in values])

    def _members(self, at: int, info: int) -> list[drgn.TypeMember]:
        has_bit_fields = info >> 31
        members = []
        for i in range(info & 0xFFFF):
            name_at, type_id, offset = _MEMBER.unpack_from(self._types, at + 12 + 12 * i)
            bits = offset >> 24 if has_bit_fields else 0
            bit_offset = offset & 0xFFFFFF if has_bit_fields else offset
            thing: Callable[[], drgn.Type | drgn.Object] = self._lazily(type_id)
            if bits:
                thing = self._bit_field(type_id, bits)
            members.append(drgn.TypeMember(thing, self._string(name_at) if name_at else None, bit_offset))
        return members

    def _bit_field(self, type_id: int, bits: int) -> Callable[[], drgn.Object]:
        return lambda: drgn.Object(self._prog, self._type(type_id), bit_field_size=bits)
