"""Which frame answers for a stack: as attribution/culprit.py decides, by the rows of frames.tsv in the plan."""

from __future__ import annotations

from oomscope.crash_reader.plan import CrashPlan

_WITHIN_ALLOCATOR = 4
_NOBODYS = ("user", "page-cache", "hugetlb")  # a process, a file or the administrator holds them
_KERNEL = "kernel"
_PROGRAM, _TAG_DIGITS = "bpf_prog_", 16  # kernel/bpf/core.c
_CLONES = ("constprop", "isra", "part", "cold", "llvm", "lto_priv", "localalias", "clone")


class Culprits:
    """Decides by names of functions."""

    def __init__(self, plan: CrashPlan) -> None:
        self._exact: dict[str, tuple[str, str | None, bool]] = {}
        self._prefixes: dict[str, tuple[str, str | None, bool]] = {}
        for role, kind, pattern, is_allocator in plan.roles:
            rows = self._prefixes if pattern.endswith("*") else self._exact
            rows[pattern.rstrip("*")] = (role, kind, is_allocator)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    def of(self, frames: list[str]) -> str | None:
        """`function [module]`, None where nobody in the kernel answers for it."""
        if not frames or "+" not in frames[0]:
            return None  # without names nobody answers: a bare address is no answer
        rows = [self._row(function_of(frame)) for frame in frames]
        if any(row is not None and row[0] == "label" for row in rows):
            return None
        index = _index(rows)
        if _kind(rows[: index + 1]) in _NOBODYS:
            return None
        if "+" not in frames[index]:
            return None
        _, _, module = frames[index].partition(" ")
        name = function_of(frames[index])
        return f"{name} {module}" if module else name

    def _row(self, function: str) -> tuple[str, str | None, bool] | None:
        tag = function[len(_PROGRAM) :][:_TAG_DIGITS]
        if function.startswith(_PROGRAM) and len(tag) == _TAG_DIGITS and not tag.strip("0123456789abcdef"):
            function = f"bpf_prog_TAG{function[len(_PROGRAM) + _TAG_DIGITS :]}"
        if function in self._exact:
            return self._exact[function]
        for length in self._lengths:
            if function[:length] in self._prefixes:
                return self._prefixes[function[:length]]
        return None


def function_of(frame: str) -> str:
    """The function of a frame without its compiler's suffixes and `_noprof`."""
    symbol = frame.split("+")[0].split(" ")[0]
    parts = (symbol.removeprefix(".")).split(".")
    kept = len(parts)
    for index in range(len(parts) - 1, 0, -1):
        if parts[index] in _CLONES:
            kept = index
        elif not parts[index].isalnum():
            break
    name = ".".join(parts[:kept])
    return name.removesuffix("_noprof")


def _index(rows: list[tuple[str, str | None, bool] | None]) -> int:
    last_plumbing = 0
    for index, row in enumerate(rows):
        if row is not None and row[0] == "encloses":
            return index
    for index, row in enumerate(rows):
        if row is None or row[0] == "answers":
            if index or not any(each is not None and each[2] for each in rows[1:_WITHIN_ALLOCATOR]):
                return index
        elif row[0] == "plumbing":
            last_plumbing = index
    return last_plumbing


def _kind(rows: list[tuple[str, str | None, bool] | None]) -> str:
    decided = None
    for row in rows:
        if row is not None and row[1] is not None and (decided is None or row[1] == _KERNEL):
            decided = row[1]
    return decided or _KERNEL
