"""Reports with lines dropped, swapped, cut and mixed with others: never a crash, never certain of what is gone."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oomscope.attribution.oom.analysis import analyse
from oomscope.model.oom_event import OomEvent
from oomscope.verdict.oom import Cause, OomCase, causes
from tests.support import captures, corpus
from tests.support.corpus import REPORTS
from tests.support.draws import draws

NAMES = [report.name for report in REPORTS]
# Whole, stamped, one event: the class stands or falls with the lines that are damaged.
WHOLE = [
    "001-el6-sshd-java-swap-full.log",
    "009-ubuntu-order4-radeon-java.log",
    "021-el8-journald-cache-main.log",
    "036-riscv-pagefault-oom-free-ram.log",
    "060-ubuntu-manual-sysrq-f.log",
    "063-nfs-mount-order5-96GB.log",
    "085-kdump-kasan-slab-panic.log",
    "086-nfsd-page-leak-88pct.log",
    "087-afl-memcg-v2-8GB-kernel-slab.log",
    "092-ppc32-lowmem-693.log",
    "104-ppc32-vmalloc-swapon.log",
    "106-steamdeck-pstore-memchewer.log",
    "110-syz-order5-hidden-51pct.log",
]
FOREIGN = [
    b"[    1.000000] usb 1-1: new high-speed USB device number 2 using xhci_hcd",
    b'[    1.000000] audit: type=1400 audit(1.1:1): apparmor="ALLOWED" free:17 pages=3',
    b"Nov 19 21:02:11 host systemd[1]: Started Session 3 of user root.",
    b"BUG: KASAN: use-after-free in foo+0x10/0x20",
    b"> Thanks, applied.",
    b"",
    b"\x00\xff\xfe",
    b"[    1.000000] 512 pages of something else",
]


def last(text: bytes) -> tuple[OomEvent, list[Cause]] | None:
    """The event that is explained, and its causes."""
    events = corpus.events(text)
    best = max(
        enumerate(events),
        key=lambda pair: (bool(pair[1].counters or pair[1].memcg or pair[1].victims), pair[0]),
        default=None,
    )
    return None if best is None else (best[1], causes(OomCase(analyse(best[1]))))


@cache
def class_of(name: str) -> str:
    told = last(captures.text(corpus.path(name)))
    assert told is not None
    return told[1][0].oom_class


def _damaged(text: bytes, chance: random.Random, damage: str) -> bytes:
    lines = text.split(b"\n")
    count = max(1, int(len(lines) * chance.choice([0.02, 0.1, 0.4])))
    for _ in range(count):
        at = chance.randrange(len(lines))
        if damage == "drop":
            lines[at] = b""
        elif damage == "swap":
            to = chance.randrange(len(lines))
            lines[at], lines[to] = lines[to], lines[at]
        elif damage == "cut":
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        elif damage == "foreign":
            lines.insert(at, chance.choice(FOREIGN))
        elif damage == "glue":
            lines[at] += lines.pop(at + 1) if at + 1 < len(lines) else b""
        else:
            line = bytearray(lines[at])
            for _ in range(chance.randrange(4)):
                if line:
                    line[chance.randrange(len(line))] = chance.randrange(256)
            lines[at] = bytes(line)
    return b"\n".join(lines)


DAMAGES = ("drop", "swap", "cut", "foreign", "glue", "bytes")


@given(st.sampled_from(NAMES), st.sampled_from(DAMAGES), st.integers(0, 2**32))
@draws(700)
def test_no_damage_ends_in_a_traceback(name: str, damage: str, seed: int) -> None:
    """Whatever is done to a report, each of its events gets a class and a finding on lines that are there."""
    text = _damaged(captures.text(corpus.path(name)), random.Random(seed), damage)
    lines = text.split(b"\n")
    for event in corpus.events(text):
        found = causes(OomCase(analyse(event)))
        assert found
        for reason in (reason for cause in found for reason in cause.finding.because):
            match = re.match(r"line (\d+): ", reason)
            assert match is not None, reason
            assert 1 <= int(match[1]) <= len(lines)
            assert lines[int(match[1]) - 1].strip()


@given(st.sampled_from(NAMES), st.sampled_from(("drop", "cut")), st.integers(0, 2**32))
@draws(500)
def test_what_is_gone_makes_nothing_certain(name: str, damage: str, seed: int) -> None:
    """A certain holder rests on the RAM lines and the counters, a certain zone on its line: all of them still there."""
    text = _damaged(captures.text(corpus.path(name)), random.Random(seed), damage)
    for event in corpus.events(text):
        case = OomCase(analyse(event))
        first = causes(case)[0]
        if first.finding.certainty != "certain":
            continue
        if first.oom_class in ("user-anon", "shmem", "page-cache", "slab", "hugetlb", "hidden-kernel"):
            assert case.accounting.ram_pages is not None
            assert {"free", "active_anon", "slab_unreclaimable"} <= event.counters.keys()
        if first.oom_class in ("lowmem-zone", "fragmentation", "atomic-reserve"):
            assert any(check.passes is not None for check in case.allowed)
            assert "header" in event.lines


# What decides no class: call traces, registers, the task table, what other parts of the kernel print in between.
_DECIDES_NOTHING = re.compile(
    rb"\+0x[0-9a-f]+/0x|Call [Tt]race|Hardware name|Code:|R[0-9A-Z]{2}: [0-9a-f]|Modules linked|Swap cache stats"
    rb"|total pagecache pages|pages hwpoisoned|pages cma reserved|\[ *\d+\] +\d+ +\d+ |oom_reaper|pages in swap cache"
)


@pytest.mark.parametrize("name", WHOLE)
@given(seed=st.integers(0, 2**32))
@example(seed=0)
@draws(25)
def test_the_class_stays_while_the_deciding_lines_do(name: str, seed: int) -> None:
    """Traces and task rows dropped, foreign lines between any two: the class is the same."""
    chance = random.Random(seed)
    kept: list[bytes] = []
    for line in captures.text(corpus.path(name)).split(b"\n"):
        if not (_DECIDES_NOTHING.search(line) and chance.random() < 0.5):
            kept.append(line)
        if chance.random() < 0.1:
            kept.append(chance.choice(FOREIGN[:2]))
    told = last(b"\n".join(kept))
    assert told is not None
    assert told[1][0].oom_class == class_of(name)
