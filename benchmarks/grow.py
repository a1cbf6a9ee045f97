"""Grow a real page_owner capture into a dump of any size.

The records are the capture's own; what a larger machine has more of is drawn from a fixed seed: call paths (one
frame's offset differs), tasks, memory cgroups, PFNs and allocation times. The text is what the capture's kernel
would print, so the same file feeds oomscope and the peers.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path

import zstandard

SEED = 2020
STACKS = 3_000
TASKS = 1_500
MEMCGS = 300
CHARGED_SHARE = 1 / 3
MIGRATED_SHARE = 1 / 20
UPTIME_NS = 30 * 24 * 3600 * 10**9

_HEADER = re.compile(rb"(Page allocated via order \d+, mask [^,]*), pid -?\d+, tgid -?\d+ \(.*\), ts \d+ ns(.*)\n")
_OFFSET = re.compile(rb"\+0x([0-9a-f]+)/0x([0-9a-f]+)")


def grow(capture: Path, target: Path, size_bytes: int, *, seed: int = SEED) -> int:
    """Write at least `size_bytes` bytes of page_owner text to `target`; return the number of records."""
    rng = random.Random(seed)
    text = zstandard.ZstdDecompressor().stream_reader(capture.read_bytes()).read()
    templates = _templates(text, rng)
    tasks = [(pid, b"task-%d (w)" % (pid % 97)) for pid in rng.sample(range(2, 4_000_000), TASKS)]
    memcgs = [b"pod-%08x.slice" % rng.getrandbits(32) for _ in range(MEMCGS)]
    hex_pfn = b"PFN 0x" in text
    written = records = 0
    pfn = 0x1000
    with target.open("wb", buffering=1 << 22) as out:
        while written < size_bytes:
            header, tail, place, stack = rng.choice(templates)
            pid, comm = rng.choice(tasks)
            ts = rng.randrange(UPTIME_NS)
            extra = b""
            if rng.random() < MIGRATED_SHARE:
                extra += b"Page has been migrated, last migrate reason: compaction\n"
            if rng.random() < CHARGED_SHARE:
                extra += b"Charged to memcg %s\n" % rng.choice(memcgs)
            record = b"%s, pid %d, tgid %d (%s), ts %d ns%s\nPFN %s type %s%s%s\n" % (
                header, pid, pid, comm, ts, tail,
                b"0x%x" % pfn if hex_pfn else b"%d" % pfn, place, stack, extra,
            )  # fmt: skip
            written += out.write(record)
            records += 1
            pfn += 1
    return records


def _templates(text: bytes, rng: random.Random) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """Records of the capture cut at what varies: header, rest of the header, PFN line after `type`, stack."""
    originals = []
    for record in dict.fromkeys(text.split(b"\n\n")):
        match = _HEADER.match(record)
        if match is None or b"order 0" not in match[1]:
            continue
        pfn_line, _, rest = record[match.end() :].partition(b"\n")
        frames = [line for line in rest.split(b"\n") if line.startswith(b" ")]
        place = pfn_line.partition(b" type ")[2] + b"\n"
        originals.append((match[1], match[2], place, b"".join(f + b"\n" for f in frames)))
    by_stack = list({original[3]: original for original in originals}.values())
    templates = list(by_stack)
    while len(templates) < STACKS:
        header, tail, place, stack = rng.choice(by_stack)
        offsets = list(_OFFSET.finditer(stack))
        at = rng.choice(offsets[len(offsets) // 2 :])
        offset = rng.randrange(int(at[2], 16)) if int(at[2], 16) else 0
        varied = stack[: at.start(1)] + b"%x" % offset + stack[at.end(1) :]
        templates.append((header, tail, place, varied))
    return templates


def main() -> None:
    """Grow one dump from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--mib", type=int, default=512)
    arguments = parser.parse_args()
    records = grow(arguments.capture, arguments.target, arguments.mib << 20)
    print(f"{arguments.target}: {records} records, {arguments.target.stat().st_size} bytes, seed {SEED}")


if __name__ == "__main__":
    main()
