"""What the program on the OOM path has to know of frames to name culprits: frames.tsv as ranges of addresses."""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oomscope.attribution.frame_rules import Row, frame_row, frame_rows
from oomscope.host.facts import Machine
from oomscope.model.holding import BALLOON, HUGETLB, KERNEL, PAGE_CACHE, USER
from oomscope.model.stack import Frame
from oomscope.numeric import np

if TYPE_CHECKING:
    import numpy.typing as npt

MAP_NAME = "plumbing"
# bpf/culprits.h: enum frame_role and frame_kind.
_ANSWERS = 0
_ROLES = {"answers": _ANSWERS, "plumbing": 1, "entry": 2, "label": 3}
_KIND_KERNEL, _KIND_OF_NOBODY, _KIND_OTHER = 4, 8, 12
_NOBODYS = (USER, PAGE_CACHE, HUGETLB, BALLOON)  # a process, a file, the administrator or the host holds them
_MOST_ENCLOSING = 4
_OPTIONS = struct.Struct(f"<{2 + 2 * _MOST_ENCLOSING}QII")  # `culprit_options`
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Plumbing:
    """Ranges of addresses, sorted, shape (ranges, 3): where each starts, where it ends, and what a frame there says.

    `image` is where the kernel itself lies, in which all other code answers; `enclosing` are the functions that answer
    for all that is asked for below them.
    """

    image: tuple[int, int]
    enclosing: tuple[tuple[int, int], ...]
    ranges: npt.NDArray[np.uint64]

    @property
    def options(self) -> bytes:
        """As the program's constants."""
        ends = [end for extent in self.enclosing[:_MOST_ENCLOSING] for end in extent]
        ends += [0] * (2 * _MOST_ENCLOSING - len(ends))
        return _OPTIONS.pack(*self.image, *ends, len(self.ranges), 0)


def plumbing(machine: Machine) -> Plumbing:
    """The ranges of this kernel and of the modules loaded now, of which functions without a row are in it, too."""
    code = machine.code
    says: dict[int, int] = {start: _ANSWERS for start, _, module in code if machine.is_module(module)}
    enclosing = []
    for at in _with_a_row([name for _, name, _ in code]):
        start, name, _ = code[at]
        row = frame_row(Frame(name, name).function)
        if row is None:
            continue
        if row.role == "encloses":
            enclosing.append((start, machine.next_start(start)))
        elif not says.get(start):  # of several names of one place, one that is in the table
            says[start] = _packed(row)
    merged = list[tuple[int, int, int]]()
    for start in sorted(says):
        end, said = machine.next_start(start), says[start]
        if merged and merged[-1][1:] == (start, said):
            merged[-1] = (merged[-1][0], end, said)
        else:
            merged.append((start, end, said))
    image = machine.symbols.get("_stext", 0), machine.symbols.get("_end", 0)
    return Plumbing(image, tuple(enclosing), np.array(merged, np.uint64).reshape(-1, 3))


def _with_a_row(names: list[str]) -> list[int]:
    """Places of the names that may have a row: those that begin as one does."""
    by_name = sorted(range(len(names)), key=names.__getitem__)
    in_order = [names[at] for at in by_name]
    found = set[int]()
    for beginning in {row.pattern.removesuffix("*") for row in frame_rows()}:
        first, last = bisect.bisect_left(in_order, beginning), bisect.bisect_left(in_order, beginning + _LAST)
        found.update(by_name[first:last])
    return sorted(found)


def _packed(row: Row) -> int:
    if row.kind is None:
        return _ROLES[row.role]
    kind = _KIND_KERNEL if row.kind == KERNEL else _KIND_OF_NOBODY if row.kind in _NOBODYS else _KIND_OTHER
    return _ROLES[row.role] | kind
