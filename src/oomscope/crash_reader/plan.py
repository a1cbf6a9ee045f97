"""The plan: what a kernel build says of itself, worked out beforehand where there are types and symbols.

It is of a build, not of a boot: addresses are distances from `_stext`, whose place VMCOREINFO tells.
"""

from __future__ import annotations

import json

from oomscope.crash_reader.errors import OtherKernel, Unread

FORMAT = "oomscope-crash-plan/1"
_ALL = (1 << 64) - 1


class CrashPlan:
    """One plan, and where KASLR has put the kernel that it is used on.

    `layout` has the size of each structure by its name and the place of each member by `structure.member`; `roles` are
    the rows of frames.tsv: role, kind, pattern, whether it is an allocator.
    """

    def __init__(self, told: dict[str, object]) -> None:
        if told.get("format") != FORMAT:
            raise OtherKernel(f"the plan is none of {FORMAT}")
        self.release = str(told["release"])
        self.build_id = told.get("build_id")
        self.machine = str(told["machine"])
        self.stext = 0
        self._symbols: dict[str, int] = told["symbols"]  # type: ignore[assignment]
        self.layout: dict[str, int] = told["layout"]  # type: ignore[assignment]
        self.constants: dict[str, int] = told["constants"]  # type: ignore[assignment]
        self.handle: list[int] = told["handle"]  # type: ignore[assignment]
        self.counters: dict[str, list[str]] = told["counters"]  # type: ignore[assignment]
        self.roles: list[tuple[str, str | None, str, bool]] = told["roles"]  # type: ignore[assignment]
        tables = (self._symbols, self.layout, self.constants, self.counters)
        if not all(isinstance(each, dict) for each in tables) or not isinstance(self.roles, list):
            raise ValueError("a table is none")

    def fit(self, vmcoreinfo: dict[str, str]) -> None:
        """Take where the kernel lies. Raises OtherKernel where the dump is of another build."""
        release, build_id = vmcoreinfo.get("OSRELEASE"), vmcoreinfo.get("BUILD-ID")
        if release != self.release:
            raise OtherKernel(f"the plan is of {self.release}, the dead kernel is {release}")
        if build_id is not None and self.build_id is not None and build_id != self.build_id:
            raise OtherKernel(f"the plan is of another build of {self.release}")
        try:
            self.stext = int(vmcoreinfo["SYMBOL(_stext)"], 16)
        except (KeyError, ValueError) as error:
            raise Unread("VMCOREINFO does not tell where the kernel lies") from error

    def has(self, symbol: str) -> bool:
        """Whether this build has a symbol."""
        return symbol in self._symbols

    def at(self, symbol: str) -> int:
        """Its address in the dead kernel. Raises Unread where this build does not have it."""
        try:
            return self.stext + self._symbols[symbol] & _ALL
        except KeyError as error:
            raise Unread(f"this kernel has no symbol {symbol}") from error


def load(path: str) -> CrashPlan:
    """Read a plan. Raises OSError, OtherKernel."""
    with open(path, encoding="utf-8") as file:
        try:
            return CrashPlan(json.load(file))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise OtherKernel(f"{path} is no plan: {error}") from error
