"""Spoilt input: real captures damaged at random must cost the damaged records only, and never end in a traceback."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

import oomscope
from oomscope.attribution.tally import Tally
from oomscope.report import json_report, kernel_log, terminal
from oomscope.sources.page_owner.dump import PageOwnerParser
from tests.support import brute_force, captures
from tests.support.draws import draws

RECORDS = 30
_TITLE = b"Page allocated via order "
# The flags end a PFN line; what stands before them is not read (docs/formats/page_owner.md).
_WHOLE_PFN_LINE = re.compile(rb"\nPFN [^\n]* Flags 0x[0-9a-f]+(?:\([^()\n]*\))?(?=\n)")


@dataclass(frozen=True)
class Damage:
    """At `at` (a share of the text), `length` bytes go and `piece`, `times` over, comes in their place."""

    at: float
    length: int
    piece: bytes
    times: int = 1

    @property
    def inserted(self) -> bytes:
        """What comes in."""
        return self.piece * self.times


DAMAGES = st.lists(
    st.builds(
        Damage,
        at=st.floats(0, 1, exclude_max=True),
        length=st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 3000)),
        piece=st.one_of(
            st.just(b""),
            st.binary(max_size=30),
            st.sampled_from(
                [
                    b"\n",
                    b"\n\n",
                    b"\r\n",
                    b" ",
                    b"\n ",
                    b", ts ",
                    b"9",
                    b")",
                    b"\n [junk",
                    b"PFN ",
                    b"\x1b[31m",
                    b"\xff",
                ]
            ),
        ),
        times=st.sampled_from([*[1] * 8, 2, 3, 70_000]),
    ),
    min_size=1,
    max_size=4,
)


@cache
def _blocks(path: Path) -> list[bytes]:
    return [block + b"\n\n" for block in captures.text(path).split(b"\n\n") if block]


def spoil(blocks: list[bytes], damages: list[Damage]) -> tuple[bytes, list[bytes]]:
    """The damaged text, and the records of which every byte is left."""
    starts = [0]
    for block in blocks:
        starts.append(starts[-1] + len(block))
    text = b"".join(blocks)
    pieces: list[bytes] = []
    hit: set[int] = set()
    done = 0
    for damage in sorted(damages, key=lambda d: d.at):
        at = max(int(damage.at * len(text)), done)
        end = min(at + damage.length, len(text))
        pieces += [text[done:at], damage.inserted]
        done = end
        for index, (start, stop) in enumerate(pairwise(starts)):
            loses = max(at, start) < min(end, stop)
            # What comes in between two records stands behind the first of them.
            gains = bool(damage.inserted) and start < at <= stop
            if loses or gains:
                hit.add(index)
    pieces.append(text[done:])
    return b"".join(pieces), [block for index, block in enumerate(blocks) if index not in hit]


@pytest.mark.parametrize("ranking_only", [False, True], ids=["every field", "ranking"])
@given(st.sampled_from(captures.DUMPS), st.floats(0, 1, exclude_max=True), DAMAGES, st.sampled_from([1 << 20, 977]))
@example(captures.AFTER_6_12, 0.9, [Damage(0.5, 0, b"x", 70_000)], 977)
@example(captures.BEFORE_6_1, 0.0, [Damage(0.0, 0, b"\x00"), Damage(0.03125, 0, b"\x00", 70_000)], 977)
@example(captures.BEFORE_6_1, 0.4296875, [Damage(0.0, 0, b"\x00"), Damage(0.03125, 0, b"\x00", 70_000)], 977)
@example(captures.AFTER_6_12, 0.5901154410229679, [Damage(0.7423966958208972, 0, _TITLE)], 1 << 20)
@draws(1200)
def test_a_spoilt_record_costs_only_itself(
    ranking_only: bool, path: Path, start: float, damages: list[Damage], piece: int
) -> None:
    """Every record of which all bytes are left is counted under its stack; the others are counted as spoilt at most."""
    blocks = _blocks(path)
    first = int(start * (len(blocks) - RECORDS))
    text, whole = spoil(blocks[first : first + RECORDS], damages)
    expected = Counter(record.frames for record in brute_force.records(b"".join(whole)))

    parser = PageOwnerParser(ranking_only=ranking_only)
    tally = Tally()
    for batch in parser.batches(text[i : i + piece] for i in range(0, len(text), piece)):
        tally.add(batch)
    counts = tally.counts()

    assert counts.blocks is not None
    counted = Counter({s.texts: n for s, n in zip(counts.stacks, counts.blocks.tolist(), strict=True)})
    assert {s: (n, counted[s]) for s, n in expected.items() if counted[s] < n} == {}
    titles = text.count(_TITLE)
    assert parser.notes.stats.records <= titles
    # For the ranking the PFN's line is not read at all.
    if ranking_only:
        seen = sum(line.startswith(_TITLE) for line in text.split(b"\n"))
    else:
        seen = _WHOLE_PFN_LINE.sub(b"", text).count(_TITLE)
    assert parser.notes.stats.records + parser.notes.stats.corrupt_records >= seen - _skipped(text)


def _skipped(text: bytes) -> int:
    """Titles inside a stretch that is read past as one endless record: it counts as one."""
    return sum(piece.count(_TITLE) for piece in text.split(b"\n") if len(piece) > 1 << 16)


KINDS: dict[str, Path] = {
    "page_owner": captures.BEFORE_6_12,
    "show_stacks": captures.SHOW_STACKS,
    "console": captures.CONSOLE_6_12,
    "meminfo": captures.CASE_6_12 / "meminfo",
}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstandard.compress,
}


@cache
def _small(kind: str) -> bytes:
    path = KINDS[kind]
    text = path.read_bytes() if path.suffix != ".zst" else captures.text(path)
    return text[-12_000:] if kind == "console" else text[:12_000]


@given(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(sorted(COMPRESSORS)),
    st.booleans(),
    DAMAGES,
)
@draws(1000)
def test_nothing_ends_in_a_traceback(
    tmp_path: Path, kind: str, compression: str, after_compression: bool, damages: list[Damage]
) -> None:
    """Whatever is done to any input, plain or compressed, there is a verdict that can be shown, or one sentence."""
    text = _small(kind)
    if not after_compression:
        text = spoil([text], damages)[0]
    packed = COMPRESSORS[compression](text)
    if after_compression:
        packed = spoil([packed], damages)[0]
    path = tmp_path / "spoilt"
    path.write_bytes(packed)
    try:
        verdict = oomscope.explain(path, page_size_bytes=4096)
    except oomscope.OomscopeError as error:
        assert "\n" not in str(error)
        assert error.exit_code in (1, 3)
        return
    for report in (terminal.render(verdict), json_report.render(verdict), kernel_log.render(verdict)):
        assert "\x1b" not in report
