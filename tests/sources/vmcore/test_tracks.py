"""Who allocated each slab object, by layouts of struct track that no kernel of the lab has (mm/slub.c)."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("drgn")

from oomscope.model.slab_objects import CacheObjects
from oomscope.model.stack import Frame
from oomscope.sources.vmcore import slab_objects
from oomscope.sources.vmcore.slab_objects import SlabOwners, Slabs

PAGE, OBJECT_BYTES, OBJECTS = 4096, 64, 4
# Where members lie: 4.18 to 5.18 with CONFIG_STACKTRACE, the same without, and 5.19 and later.
LAYOUTS = {
    "4.18": {"addr": 0, "addrs": 8},
    "5.14": {"addr": 0, "addrs": 8},
    "5.15 without stacks": {"addr": 0},
    "6.1": {"addr": 0, "handle": 8},
}
TRACK_BYTES = {"4.18": 152, "5.14": 152, "5.15 without stacks": 24, "6.1": 24}
KMALLOC, CALLER, OTHER = 0x1000, 0x2000, 0x3000


class Memory:
    """A slab of four objects with their tracks behind them, as the dump's reader asks for it."""

    page_size_bytes = PAGE

    def __init__(self, release: str, tracks: list[bytes]) -> None:
        self.members, self.prog = LAYOUTS[release], SimpleNamespace(type=lambda _: None)
        each = OBJECT_BYTES + 2 * TRACK_BYTES[release]  # who allocated, who freed
        self.raw = b"".join((bytes(OBJECT_BYTES) + track).ljust(each, b"\0") for track in tracks)
        self.cache = SimpleNamespace(size=each, red_left_pad=0, offset=0, inuse=OBJECT_BYTES, type_=SimpleNamespace())
        self.cache.type_.has_member = lambda name: name == "red_left_pad"

    def offset(self, _: str, member: str) -> int | None:
        """Of struct track."""
        return self.members.get(member)

    def bytes_at(self, address: int, size: int) -> Any:
        """Of the one slab."""
        assert (address, size) == (7 * PAGE, len(self.raw))
        return np.frombuffer(self.raw, np.uint8)


def owners(release: str, tracks: list[bytes], monkeypatch: pytest.MonkeyPatch) -> CacheObjects:
    monkeypatch.setattr(slab_objects, "linear_offset", lambda _: 0)
    memory = Memory(release, tracks)
    names = SimpleNamespace(frame=lambda address: Frame(f"f_{address:x}+0x0/0x1", f"f_{address:x}", 0, 1))
    column = np.array([7], np.int64)
    word = np.zeros(1, np.uint64)
    slabs = Slabs(column, word, np.array([OBJECTS]), np.array([OBJECTS]), word, word)
    reader = SlabOwners(memory, names, None)  # type: ignore[arg-type]
    return reader._with_tracks(memory.cache, "kmalloc-64", OBJECTS, slabs, np.array([0]))


@pytest.mark.parametrize("release", ["4.18", "5.14"])
def test_the_stack_beside_an_object_is_read_where_there_is_no_depot(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to 5.18 each track has its own addresses: who called the helper is known, not the helper alone."""
    one = struct.pack("<17Q", KMALLOC, KMALLOC, CALLER, *[0] * 14)
    two = struct.pack("<17Q", KMALLOC, KMALLOC, OTHER, *[0] * 14)
    found = owners(release, [one, one, two, one], monkeypatch)
    assert [(tuple(f.symbol for f in stack.frames), held) for stack, held in found.owners] == [
        (("f_1000", "f_2000"), 3),
        (("f_1000", "f_3000"), 1),
    ]


@pytest.mark.parametrize("release", ["5.15 without stacks", "6.1"])
def test_without_a_stack_the_caller_is_all_that_is_known(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No CONFIG_STACKTRACE, or a depot that cannot be read; an object that was never tracked has nobody."""
    track, none = struct.pack("<Q", CALLER).ljust(24, b"\0"), bytes(24)
    found = owners(release, [track, none, track, track], monkeypatch)
    assert [(tuple(f.symbol for f in stack.frames), held) for stack, held in found.owners] == [(("f_2000",), 3)]
