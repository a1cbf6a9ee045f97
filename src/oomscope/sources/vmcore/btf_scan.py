"""Where BTF lies in a kernel's image, by its structure: a kernel without CONFIG_KALLSYMS_ALL has no symbol for it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import drgn

from oomscope.sources.vmcore import kernel_image

# struct btf_header: magic, version, flags, the header's own length, and then offset and length of types and strings.
_BEGINNING = re.compile(rb"\x9f\xeb\x01[\0-\x03]\x18\0\0\0")
_SECTIONS = struct.Struct("<4I")
_HEADER_BYTES, _SECTIONS_AT = 24, 8
_OF_THE_KERNEL = b"\0task_struct\0"  # modules' and programs' own BTF builds upon this one


def find(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> bytes | None:
    """The greatest BTF in the image that tells of tasks; None where there is none, or not all of it is there."""
    found = kernel_image.read(prog, vmcoreinfo)
    return None if found is None else max(_candidates(found[1]), key=len, default=None)


def _candidates(image: bytes) -> Iterator[bytes]:
    for match in _BEGINNING.finditer(image):
        at = match.start()
        if at + _HEADER_BYTES > len(image):
            continue
        types_at, types_bytes, strings_at, strings_bytes = _SECTIONS.unpack_from(image, at + _SECTIONS_AT)
        size = _HEADER_BYTES + max(types_at + types_bytes, strings_at + strings_bytes)
        strings = image[at + _HEADER_BYTES + strings_at :][:strings_bytes]
        is_whole = at + size <= len(image) and types_bytes and strings[:1] == strings[-1:] == b"\0"
        if is_whole and not types_bytes % 4 and not types_at % 4 and _OF_THE_KERNEL in strings:
            yield image[at : at + size]
