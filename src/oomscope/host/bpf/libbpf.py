"""libbpf, the distribution's own, through ctypes: open, set constants, load, attach, pin, look up.

Functions follow tools/lib/bpf/libbpf.h; from 1.0 on they return NULL or a negative errno.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oomscope.errors import NotOffered

_NAME = "libbpf.so.1"
_LONGEST_MESSAGE_BYTES = 1 << 18  # the verifier's log is one message
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_WARN = 0
_LIBC = ctypes.CDLL(None)
_TRACE = {"fentry": 24, "fexit": 25}  # enum bpf_attach_type: BPF_TRACE_FENTRY, BPF_TRACE_FEXIT
_POINTERS = (
    "bpf_object__open_file",
    "bpf_object__find_program_by_name",
    "bpf_object__find_map_by_name",
    "bpf_object__next_program",
    "bpf_program__attach_kprobe",
    "bpf_program__attach",
    "btf__load_vmlinux_btf",
    "btf__type_by_id",
    "bpf_object__next_map",
)
_RETVAL_AT = 56  # in struct bpf_test_run_opts
_BTF_KIND_FUNC = 12
_BTF_TYPE = struct.Struct("<III")  # struct btf_type: name_off, info, type
_MAP_INFO = struct.Struct("<IIIII")  # struct bpf_map_info: type, id, key_size, value_size, max_entries
_LINK_INFO = struct.Struct("<III")  # struct bpf_link_info: type, id, prog_id
_PROG_INFO_BYTES, _MISSES_AT = 232, 208  # struct bpf_prog_info up to recursion_misses and beyond


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the kernel says of a map."""

    value_bytes: int
    entries: int


class Refused(Exception):
    """libbpf or the kernel said no; `str()` has the last of what libbpf said."""


_messages: list[str] = []


def _take_message(level: int, form: bytes, arguments: int | None) -> int:
    if level == _WARN:
        text = ctypes.create_string_buffer(_LONGEST_MESSAGE_BYTES)
        _LIBC.vsnprintf(text, len(text), form, ctypes.c_void_p(arguments))
        _messages.extend(line.strip() for line in text.value.decode(errors="replace").splitlines() if line.strip())
    return 0


_PRINTER = _PRINT(_take_message)  # libbpf holds no reference: it lives as long as the process


class LibBpf:
    """The library. Raises NotOffered where it is not installed."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_NAME, use_errno=True)
        except OSError:
            raise NotOffered(f"{_NAME} is not installed", advice="apt install libbpf1 (Fedora: libbpf)") from None
        for name in _POINTERS:
            getattr(self._library, name).restype = ctypes.c_void_p
        self._btf: ctypes.c_void_p | None = None  # as long as the process lives
        _messages.clear()
        self._library.libbpf_set_print(_PRINTER)

    def open(self, path: Path) -> Object:
        """An object file, not loaded yet."""
        return Object(self, self.pointer("bpf_object__open_file", os.fsencode(path), None))

    def map_fd(self, path: Path) -> int:
        """The file descriptor of a pinned map. Raises OSError."""
        fd = int(self._library.bpf_obj_get(os.fsencode(path)))
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd), str(path))
        return fd

    def look_up(self, fd: int, key: int, value_bytes: int) -> bytes | None:
        """The value of a u32 key in a map."""
        value = ctypes.create_string_buffer(value_bytes)
        return None if self._library.bpf_map_lookup_elem(fd, ctypes.byref(ctypes.c_uint32(key)), value) else value.raw

    def map_info(self, fd: int) -> MapInfo:
        """A map's size. Raises Refused."""
        _, _, _, value_bytes, entries = _MAP_INFO.unpack_from(self._info(fd, 128))
        return MapInfo(value_bytes, entries)

    @staticmethod
    def map_memory_bytes(fd: int) -> int:
        """What the kernel says that a map takes, kernel/bpf/syscall.c bpf_map_show_fdinfo(). Raises OSError."""
        told = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
        return int(told["memlock"])

    def next_map(self, object_pointer: ctypes.c_void_p, before: ctypes.c_void_p | None) -> ctypes.c_void_p | None:
        """The map of an object behind another one, the first behind None; None behind the last."""
        found = self._library.bpf_object__next_map(object_pointer, before)
        return ctypes.c_void_p(found) if found else None

    def fd_of(self, found: ctypes.c_void_p) -> int:
        """The descriptor of a loaded map."""
        return int(self._library.bpf_map__fd(found))

    def recursion_misses(self, link: Path) -> int:
        """How often the program behind a pinned link was passed over as it was running. Raises OSError, Refused."""
        link_fd = self.map_fd(link)
        try:
            _, _, program_id = _LINK_INFO.unpack_from(self._info(link_fd, 128))
        finally:
            os.close(link_fd)
        program_fd = int(self._library.bpf_prog_get_fd_by_id(program_id))
        if program_fd < 0:
            raise OSError(-program_fd, os.strerror(-program_fd), str(link))
        try:
            return int.from_bytes(self._info(program_fd, _PROG_INFO_BYTES)[_MISSES_AT : _MISSES_AT + 8], "little")
        finally:
            os.close(program_fd)

    def has_function(self, name: str, kind: str) -> bool:
        """Whether the kernel's types have a function that programs of a kind, fentry or fexit, may go to."""
        return int(self._library.libbpf_find_vmlinux_btf_id(name.encode(), _TRACE[kind])) > 0

    def arguments_of(self, name: str) -> int:
        """How many arguments a kernel function has by the kernel's types; 0 where they do not have it."""
        if self._btf is None:
            self._btf = self.pointer("btf__load_vmlinux_btf")
        number = int(self._library.btf__find_by_name_kind(self._btf, name.encode(), _BTF_KIND_FUNC))
        for _ in range(2):  # a function is of a prototype, which has as many members as arguments
            if number <= 0:
                return 0
            at = self.pointer("btf__type_by_id", self._btf, ctypes.c_uint32(number)).value
            _, information, number = _BTF_TYPE.unpack(ctypes.string_at(at or 0, _BTF_TYPE.size))
        return int(information) & 0xFFFF

    def possible_cpus(self) -> int:
        """How many values an entry of a map per processor has."""
        return int(self._library.libbpf_num_possible_cpus())

    def _info(self, fd: int, size: int) -> bytes:
        value, length = ctypes.create_string_buffer(size), ctypes.c_uint32(size)
        self.call("bpf_obj_get_info_by_fd", fd, value, ctypes.byref(length))
        return value.raw

    def pointer(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """What a function that returns a pointer returned. Raises Refused."""
        found = getattr(self._library, name)(*arguments)
        if not found:
            raise Refused(self._why(name, ctypes.get_errno()))
        return ctypes.c_void_p(found)

    def call(self, name: str, *arguments: Any) -> None:
        """A function that returns 0 or a negative errno. Raises Refused."""
        done = getattr(self._library, name)(*arguments)
        if done:
            raise Refused(self._why(name, -done))

    def _why(self, name: str, number: int) -> str:
        # The verifier's reason is the last line of its log before the count of what it has looked at.
        log = [line for line in _messages if not line.startswith(("libbpf:", "--", "processed ", ";"))]
        said = log[-1:] or _messages[-1:]
        return f"{name}: {os.strerror(number)}" + (f" ({said[0]})" if said else "")


class Object:
    """An opened object; leaving the `with` block lets go of it, not of what was pinned."""

    def __init__(self, library: LibBpf, pointer: ctypes.c_void_p) -> None:
        self._library = library
        self._pointer = pointer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library._library.bpf_object__close(self._pointer)

    def set_constants(self, map_name: str, values: bytes) -> None:
        """What the program sees as its constants; before loading."""
        self._library.call("bpf_map__set_initial_value", self._map(map_name), values, ctypes.c_size_t(len(values)))

    def set_entries(self, map_name: str, entries: int) -> None:
        """How many entries a map has room for; before loading."""
        self._library.call("bpf_map__set_max_entries", self._map(map_name), ctypes.c_uint32(entries))

    def leave_out(self, program: str) -> None:
        """Do not load this program."""
        self._library.call("bpf_program__set_autoload", self._program(program), ctypes.c_bool(False))

    def load(self) -> None:
        """Into the kernel."""
        self._library.call("bpf_object__load", self._pointer)

    def attach(self, program: str, function: str, pin: Path) -> None:
        """A program to the entry of a kernel function, held by a pin."""
        link = self._library.pointer(
            "bpf_program__attach_kprobe", self._program(program), ctypes.c_bool(False), function.encode()
        )
        self._library.call("bpf_link__pin", link, os.fsencode(pin))

    def set_target(self, program: str, function: str) -> None:
        """The kernel function that a program for entries or ends of functions goes to; before loading."""
        self._library.call("bpf_program__set_attach_target", self._program(program), 0, function.encode())

    def attach_by_section(self, program: str, pin: Path) -> None:
        """A program to what the name of its section says, held by a pin."""
        link = self._library.pointer("bpf_program__attach", self._program(program))
        self._library.call("bpf_link__pin", link, os.fsencode(pin))

    def run(self, program: str) -> int:
        """Run a program once, by hand; what it returns."""
        fd = self._library._library.bpf_program__fd(self._program(program))
        options = (ctypes.c_size_t * 16)(
            ctypes.sizeof(ctypes.c_size_t) * 16
        )  # struct bpf_test_run_opts: sz, then zeros
        self._library.call("bpf_prog_test_run_opts", fd, options)
        return ctypes.c_uint32.from_buffer(options, _RETVAL_AT).value

    def memory_bytes(self) -> int:
        """What the kernel says that its maps take, once it is loaded. Raises OSError."""
        taken, found = 0, self._library.next_map(self._pointer, None)
        while found:
            taken += self._library.map_memory_bytes(self._library.fd_of(found))
            found = self._library.next_map(self._pointer, found)
        return taken

    def pin_map(self, map_name: str, pin: Path) -> None:
        """Keep a map by a name in bpffs."""
        self._library.call("bpf_map__pin", self._map(map_name), os.fsencode(pin))

    def _map(self, name: str) -> ctypes.c_void_p:
        return self._library.pointer("bpf_object__find_map_by_name", self._pointer, name.encode())

    def _program(self, name: str) -> ctypes.c_void_p:
        return self._library.pointer("bpf_object__find_program_by_name", self._pointer, name.encode())
