"""One page of how many has to be looked at, so that the dying machine waits no longer than promised."""

from __future__ import annotations

from pathlib import Path

import pytest

from oomscope.errors import NotOffered
from oomscope.host.bpf import walk
from oomscope.host.bpf.libbpf import Refused
from oomscope.host.bpf.walk import stride_for
from tests.host.bpf.test_arm import machine

PAGES_OF_GIB = (1 << 30) // 4096


@pytest.mark.parametrize(
    ("gib", "walk_ns", "stride"),
    [(1, 200, 1), (64, 10, 1), (64, 100, 16), (1024, 10, 16), (1024, 100, 256), (4096, 10, 64), (1 << 20, 100, 256)],
)
def test_the_stride_grows_with_ram_and_with_the_time_for_a_page(gib: int, walk_ns: float, stride: int) -> None:
    """As the guide's table has it; a walk over all pages is three times as slow when the machine dies."""
    assert stride_for(walk_ns, gib * PAGES_OF_GIB, 5.0) == stride


def test_a_kernel_that_refuses_the_trial_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback: the reason, as where it refuses the program itself."""

    class Refusing:
        def open(self, _: Path) -> None:
            raise Refused("bpf_object__open_file: Invalid argument")

    monkeypatch.setattr(walk, "LibBpf", Refusing)
    monkeypatch.setattr(walk, "object_path", lambda _: Path("x.o"))
    with pytest.raises(NotOffered, match="the kernel does not take the program: bpf_object__open_file"):
        walk.walk_ns(machine(tmp_path), b"", "at_panic")
    assert walk.stride_for(100, None, 5.0) == 1


def test_what_a_stride_takes_is_within_the_limit() -> None:
    """A page alone takes eight times as long as among neighbours; beyond 256 the walk stops when time is over."""
    for gib in (1, 16, 64, 256, 1024, 4096):
        for walk_ns in (5, 20, 80):
            stride = stride_for(walk_ns, gib * PAGES_OF_GIB, 5.0)
            expected_s = 3 * walk_ns * gib * PAGES_OF_GIB / 1e9
            assert stride == 256 or (expected_s if stride == 1 else 8 * expected_s / stride) <= 5.0
