"""Grow a real page_owner capture into a dump of any size.

The records are the capture's own, in their own order, over and over. What a larger machine has more of is drawn from
a fixed seed: call paths (one frame's offset differs), tasks, memory cgroups, PFNs and allocation times. As on a real
machine, neighbouring pages come from one CPU's list in one go: a draw holds for a run of records that have one stack in
the capture, 63 at most (the page allocator's batch). The text is what the capture's kernel would print, so the same
file feeds oomscope and the peers.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

SEED = 2020
STACKS = 3_000
TASKS = 1_500
MEMCGS = 300
CHARGED_SHARE = 1 / 3
MIGRATED_SHARE = 1 / 20
LONGEST_RUN = 63
UPTIME_NS = 30 * 24 * 3600 * 10**9

_HEADER = re.compile(rb"(Page allocated via order \d+, mask [^,]*), pid -?\d+, tgid -?\d+ \(.*\), ts \d+ ns(.*)\n")
_OFFSET = re.compile(rb"\+0x([0-9a-f]+)/0x([0-9a-f]+)")


@dataclass(frozen=True)
class _Record:
    """A record of the capture cut at what varies: header up to pid, header after ts, PFN line after `type`, stack."""

    header: bytes
    times: bytes
    place: bytes
    stack: bytes


def grow(capture: Path, target: Path, size_bytes: int, *, seed: int = SEED, longest_run: int = LONGEST_RUN) -> int:
    """Write at least `size_bytes` bytes of page_owner text to `target`; return the number of records."""
    rng = random.Random(seed)
    text = zstandard.ZstdDecompressor().stream_reader(capture.read_bytes()).read()
    runs = list(_runs(text, longest_run))
    variants = _variants([run[0].stack for run in runs], rng)
    tasks = [(pid, b"task-%d (w)" % (pid % 97)) for pid in rng.sample(range(2, 4_000_000), TASKS)]
    memcgs = [b"pod-%08x.slice" % rng.getrandbits(32) for _ in range(MEMCGS)]
    pfn_form = b"0x%x" if b"PFN 0x" in text else b"%d"
    written = records = 0
    pfn = 0x1000
    with target.open("wb", buffering=1 << 22) as out:
        while written < size_bytes:
            for run in runs:
                stack = rng.choice(variants[run[0].stack])
                pid, comm = rng.choice(tasks)
                ts = rng.randrange(UPTIME_NS)
                tail = b""
                if rng.random() < MIGRATED_SHARE:
                    tail += b"Page has been migrated, last migrate reason: compaction\n"
                if rng.random() < CHARGED_SHARE:
                    tail += b"Charged to memcg %s\n" % rng.choice(memcgs)
                for record in run:
                    ts += rng.randrange(300, 3000)
                    header = b"%s, pid %d, tgid %d (%s), ts %d ns%s\nPFN " % (
                        record.header, pid, pid, comm, ts, record.times,
                    )  # fmt: skip
                    written += out.write(header + pfn_form % pfn + b" type " + record.place + stack + tail + b"\n")
                    pfn += 1
                records += len(run)
    return records


def _runs(text: bytes, longest_run: int) -> Iterator[list[_Record]]:
    """The capture's order-0 records in order, in runs of one stack."""
    run: list[_Record] = []
    for block in text.split(b"\n\n"):
        match = _HEADER.match(block)
        if match is None or b"order 0" not in match[1]:
            continue
        pfn_line, _, rest = block[match.end() :].partition(b"\n")
        frames = b"".join(line + b"\n" for line in rest.split(b"\n") if line.startswith(b" "))
        record = _Record(match[1], match[2], pfn_line.partition(b" type ")[2] + b"\n", frames)
        if run and (record.stack != run[0].stack or len(run) == longest_run):
            yield run
            run = []
        run.append(record)
    if run:
        yield run


def _variants(stacks: list[bytes], rng: random.Random) -> dict[bytes, list[bytes]]:
    """Call paths like each of the capture's, STACKS in all: the offset in one frame of the outer half differs."""
    originals = list(dict.fromkeys(stacks))
    variants = {stack: [stack] for stack in originals}
    for _ in range(STACKS - len(originals)):
        stack = rng.choice(originals)
        offsets = list(_OFFSET.finditer(stack))
        at = rng.choice(offsets[len(offsets) // 2 :])
        offset = rng.randrange(max(int(at[2], 16), 1))
        variants[stack].append(stack[: at.start(1)] + b"%x" % offset + stack[at.end(1) :])
    return variants


def main() -> None:
    """Grow one dump from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--longest-run", type=int, default=LONGEST_RUN, help="records that share one draw")
    arguments = parser.parse_args()
    records = grow(arguments.capture, arguments.target, arguments.mib << 20, longest_run=arguments.longest_run)
    print(f"{arguments.target}: {records} records, {arguments.target.stat().st_size} bytes, seed {SEED}")


if __name__ == "__main__":
    main()
