"""An allocation backtrace and its frames, in the kernel's `%pS` form."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# A symbol has 511 characters at most (KSYM_NAME_LEN), a module's name 55 (MODULE_NAME_LEN).
# lib/vsprintf.c symbol_string() -> kernel/kallsyms.c sprint_symbol(): `name+0xoffset/0xsize [module]`; without a
# symbol it prints the address. Up to 4.10 a stack line begins with the address in `[<...>]`.
_ADDRESS_BEFORE = re.compile(r"\[<(?:0x)?[0-9a-f]{4,16}>\] +(?=\S)")
_FRAME = re.compile(
    r"(?P<symbol>[^\s+\[\]]{1,511})\+0x(?P<offset>[0-9a-f]{1,16})/0x(?P<size>[0-9a-f]{1,16})"
    r"(?: \[(?P<module>[^\s\[\]]{1,63})(?: [0-9a-f.]+)?\])?"
)
_ADDRESS = re.compile(r"(?:\[<)?(?P<address>0x[0-9a-f]{1,16}|[0-9a-f]{8,16})(?:>\])?")
# What a compiler appends to a function it split or cloned, and what 6.10+ appends to allocation functions that
# allocation profiling wraps (include/linux/alloc_tag.h).
_CLONES = frozenset({"constprop", "isra", "part", "cold", "llvm", "lto_priv", "localalias", "clone"})
_NUMBER_OF_CLONE = re.compile(r"[0-9a-z]{1,64}")

UNLOADED = "unloaded"  # the module of a frame whose code is gone


@dataclass(frozen=True, slots=True)
class Frame:
    """One return address: where in which function of which module.

    `text` is exactly what the kernel printed (`leak_mb_write+0x7b/0xaf [leak]`), an older kernel's leading
    `[<address>]` left off. A raw address has no offset and no size. Debug info adds `source` (`mm/slub.c:2350`) and
    `inlined`, what the compiler put into the function there, innermost first; they are no part of its identity.
    """

    text: str
    symbol: str
    offset: int | None = None
    size: int | None = None
    module: str | None = None
    source: str | None = field(default=None, compare=False)
    inlined: tuple[str, ...] = field(default=(), compare=False)

    @property
    def function(self) -> str:
        """The symbol without compiler suffixes and `_noprof`: what two builds of one source share.

        Big-endian POWER puts a dot before the names of functions.
        """
        name = _without_clones(self.symbol.removeprefix(".")) if "." in self.symbol else self.symbol
        return name.removesuffix("_noprof")


def _without_clones(symbol: str) -> str:
    """The symbol up to the first of the compiler's suffixes that go on to its end: `.isra.0.part.1.cold`."""
    parts = symbol.split(".")
    kept = len(parts)
    for index in range(len(parts) - 1, 0, -1):
        if parts[index] in _CLONES:
            kept = index
        elif _NUMBER_OF_CLONE.fullmatch(parts[index]) is None:
            break
    return ".".join(parts[:kept])


def parse_frame(text: str) -> Frame | None:
    """The frame that `text` holds, without its leading space; None where it holds none."""
    if text.startswith("[<"):
        text = _ADDRESS_BEFORE.sub("", text, count=1)
    match = _FRAME.fullmatch(text)
    if match is not None:
        return Frame(text, match["symbol"], int(match["offset"], 16), int(match["size"], 16), match["module"])
    match = _ADDRESS.fullmatch(text)
    return None if match is None else Frame(match["address"], match["address"])


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """An allocation backtrace, innermost frame first.

    `handle` is the stack depot's name for it where the input gives it (unsigned, modulo 2^32). A stack with a handle
    and no frames is known by its handle alone (page_owner's mode=handle); with frames, the handle is no part of its
    identity.
    """

    frames: tuple[Frame, ...]
    handle: int | None = None
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        texts = tuple([frame.text for frame in self.frames])
        object.__setattr__(self, "_hash", hash(texts) if texts else hash(("handle", self.handle)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stack):
            return NotImplemented
        return self.frames == other.frames and (bool(self.frames) or self.handle == other.handle)

    def __hash__(self) -> int:
        return self._hash

    @property
    def texts(self) -> tuple[str, ...]:
        """The frames as the kernel prints them, innermost first."""
        return tuple([frame.text for frame in self.frames])

    def __reduce__(self) -> tuple[type[Stack], tuple[tuple[Frame, ...], int | None]]:
        # A hash of strings is that of one process: never send it.
        return Stack, (self.frames, self.handle)
