"""Frames of a stack from its return addresses, as %pS prints them, with what debug info adds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import drgn

from oomscope.model.stack import UNLOADED, Frame, Stack, parse_frame
from oomscope.sources.vmcore import vmalloc

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump
    from oomscope.sources.vmcore.stack_depot import StackDepot

# `#0  function at file:line:column`, innermost first.
_PLACE = re.compile(r"^(?:#\d+ +)?(?P<function>\S+) at (?P<place>\S+?:\d+)(?::\d+)?$", re.MULTILINE)


class Symbolizer:
    """Names addresses of one dump, each once."""

    def __init__(self, dump: Dump) -> None:
        self._dump = dump
        self._frames: dict[int, Frame] = {}
        self._code: list[tuple[int, int]] | None = None

    def stack(self, depot: StackDepot, handle: int) -> Stack:
        """The stack of a handle; one that the depot does not know is known by its handle alone."""
        addresses = depot.return_addresses(handle)
        return Stack(() if addresses is None else tuple(self.frame(a) for a in addresses), handle)

    def frame(self, address: int) -> Frame:
        """The frame of one return address."""
        if address not in self._frames:
            self._frames[address] = self._named(address)
        return self._frames[address]

    def _named(self, address: int) -> Frame:
        text = self._dump.symbols.name(address)
        frame = parse_frame(text) or Frame(text, text)
        if frame.offset is None and self._is_gone(address):
            return replace(frame, module=UNLOADED)
        return frame if self._dump.vmlinux is None else self._with_lines(frame, address)

    def _with_lines(self, frame: Frame, address: int) -> Frame:
        """The line of the call, which ends before the return address; functions that were inlined there beside it."""
        try:
            places = _PLACE.findall(str(self._dump.prog.source_location(address - 1)))
        except (LookupError, drgn.FaultError, ValueError):
            return frame
        if not places:
            return frame
        inlined = tuple(f"{function} at {place}" for function, place in places[:-1])
        return replace(frame, source=places[-1][1], inlined=inlined)

    def _is_gone(self, address: int) -> bool:
        """Whether no code lies there any more: then a module was unloaded (else it is code without a symbol: BPF)."""
        if self._code is None:
            self._code = [(area.start, area.end) for area in vmalloc.areas(self._dump)]
        return not any(start <= address < end for start, end in self._code)
