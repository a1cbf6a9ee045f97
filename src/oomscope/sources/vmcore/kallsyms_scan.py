"""Where kallsyms lies in a kernel's image, by its structure: kernels before 6.0 do not tell (scripts/kallsyms.c).

In those the tables follow each other: addresses or offsets, relative_base, num_syms, names, markers, token_table,
token_index. What is found is proven by the symbols that VMCOREINFO does tell, and by every 256th name standing where
its marker says: a wrong table is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import drgn
import numpy as np
import numpy.typing as npt

from oomscope.sources.vmcore import kernel_image
from oomscope.sources.vmcore.vmcoreinfo import symbols

# The tokens of the ten digits are the digits themselves: 48 to 57 of 256.
_DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
_FIRST_DIGIT, _TOKENS = 48, 256
_NAMES_PER_MARKER, _LONGEST_NAME_BYTES, _FEWEST_MARKERS = 256, 128, 12
_WORD = 1 << 64


def places(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> dict[str, int] | None:
    """The addresses of the tables by their names; None where they are not found, or not all of it is there."""
    known = symbols(vmcoreinfo)
    found = kernel_image.read(prog, vmcoreinfo)
    if found is None:
        return None
    start, image = found
    for table_at, index_at, tokens in _token_tables(image):
        for markers_at, marks in _markers_before(image, table_at):
            for count_at, names_at, ends in _names_before(image, markers_at, marks):
                names = _decoded(image, ends, tokens)
                if (addresses := _addresses_before(image, count_at, names, known)) is not None:
                    tables = {"num_syms": count_at, "names": names_at, "token_table": table_at, "token_index": index_at}
                    return {name: start + at for name, at in (tables | addresses).items()}
    return None


def _token_tables(image: bytes) -> Iterator[tuple[int, int, list[bytes]]]:
    """token_table, token_index and the tokens: 256 strings, and then as many places of 16 bits that agree with them."""
    at = -1
    while (at := image.find(_DIGITS, at + 1)) >= 0:
        end = at
        for _ in range(_FIRST_DIGIT, _TOKENS):
            end = image.find(b"\0", end, end + _LONGEST_NAME_BYTES * 8) + 1
            if not end:
                break
        index_at = -(-end // 8) * 8
        if not end or index_at + 2 * _TOKENS > len(image) or any(image[end:index_at]):
            continue
        index = np.frombuffer(image, "<u2", _TOKENS, index_at).tolist()
        start = at - index[_FIRST_DIGIT]
        tokens = image[max(start, 0) : end].split(b"\0")[:_TOKENS]
        sizes = np.cumsum([0, *(len(token) + 1 for token in tokens)])
        if start >= 0 and len(tokens) == _TOKENS and sizes[:_TOKENS].tolist() == index:
            yield start, index_at, tokens


def _markers_before(image: bytes, end: int) -> Iterator[tuple[int, list[int]]]:
    """The run of rising places that begins with 0 and ends here, of 32 bits, or of 64 (before 4.20)."""
    for width in (4, 8):
        count = min(end // width, 1 << 16)
        words = np.frombuffer(image, f"<u{width}", count, end - count * width).tolist()
        last = len(words) - (1 if width == 4 and words and not words[-1] else 0)  # tables begin at multiples of 8
        words = words[:last]
        first = len(words) - 1
        while first > 0 and 512 <= words[first] - words[first - 1] <= _NAMES_PER_MARKER * _LONGEST_NAME_BYTES * 2:
            first -= 1
        if first >= 0 and words and words[first] == 0 and len(words) - first >= _FEWEST_MARKERS:
            yield end - width * (count - first), words[first:]


def _names_before(image: bytes, markers_at: int, marks: list[int]) -> Iterator[tuple[int, int, list[int]]]:
    """num_syms, names, and where each name begins and the last one ends, which is right before the markers."""
    latest = markers_at - marks[-1] - 8
    earliest = max(latest - _NAMES_PER_MARKER * _LONGEST_NAME_BYTES - 64, 0)
    for count_at in range(latest & ~7, earliest & ~7, -8):
        count = int.from_bytes(image[count_at : count_at + 8], "little")
        if not (len(marks) - 1) * _NAMES_PER_MARKER < count <= len(marks) * _NAMES_PER_MARKER:
            continue
        names_at = count_at + 8
        start = _walk(image, names_at, _NAMES_PER_MARKER, markers_at)
        if start is None or start[-1] - names_at != marks[1]:
            continue
        ends = _walk(image, names_at, count, markers_at)
        if (
            ends is not None
            and markers_at - ends[-1] < 8
            and [end - names_at for end in ends[:-1:_NAMES_PER_MARKER]] == marks
        ):
            yield count_at, names_at, ends


def _walk(image: bytes, at: int, count: int, end: int) -> list[int] | None:
    """Where each of some names begins, and where the last ends; None where they do not fit."""
    found = [at]
    for _ in range(count):
        if at >= end or not image[at]:
            return None
        at += 1 + image[at]
        found.append(at)
    return found if at <= end else None


def _decoded(image: bytes, ends: list[int], tokens: list[bytes]) -> list[bytes]:
    """The names; the first letter of each is its kind, and left out."""
    return [b"".join(tokens[token] for token in image[at + 1 : end])[1:] for at, end in itertools.pairwise(ends)]


def _addresses_before(image: bytes, count_at: int, names: list[bytes], known: dict[str, int]) -> dict[str, int] | None:
    """Offsets and relative_base, or addresses: the form by which every known symbol has the address that is told."""
    index = {name: at for at, name in reversed(list(enumerate(names)))}
    anchors = {index[name.encode()]: address for name, address in known.items() if name.encode() in index}
    if index.get(b"_stext") not in anchors:
        return None
    base_at = count_at - 8
    offsets_at = base_at - -(-4 * len(names) // 8) * 8
    if offsets_at >= 0:
        base = int.from_bytes(image[base_at:count_at], "little")
        offsets = np.frombuffer(image, "<i4", len(names), offsets_at)
        if any(_agrees(each, anchors) for each in _relative(offsets, base)):
            return {"offsets": offsets_at, "relative_base": base_at}
    addresses_at = count_at - 8 * len(names)
    if addresses_at >= 0 and _agrees(np.frombuffer(image, "<u8", len(names), addresses_at), anchors):
        return {"addresses": addresses_at}
    return None


def _relative(offsets: npt.NDArray[np.int32], base: int) -> Iterator[npt.NDArray[np.uint64]]:
    """kallsyms_sym_address(): with CONFIG_KALLSYMS_ABSOLUTE_PERCPU what is not per-cpu is negative; else unsigned."""
    wide = offsets.astype(np.int64)
    signed = base - _WORD if base >> 63 else base
    yield np.where(wide < 0, signed - 1 - wide, wide).astype(np.uint64)
    yield (signed + offsets.view(np.uint32).astype(np.int64)).astype(np.uint64)


def _agrees(addresses: npt.NDArray[np.uint64], anchors: dict[int, int]) -> bool:
    return all(int(addresses[at]) == address for at, address in anchors.items())
