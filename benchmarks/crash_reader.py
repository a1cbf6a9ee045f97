"""The crash kernel's count of page_owner entries beside a loop in C over the same bytes, in one run, in turn.

`python -m benchmarks.crash_reader` prints nanoseconds of an entry for each, and their ratio. The bytes are those of one
section, read again and again from a file: 32,768 entries of 80 bytes, of 600 stacks that are drawn by a law of powers.
"""

from __future__ import annotations

import os
import random
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from unittest import mock

from oomscope.crash_reader import page_owner
from oomscope.crash_reader.memory import Memory
from oomscope.crash_reader.plan import FORMAT, CrashPlan

_ENTRY_BYTES, _SECTION_PAGES, _STACKS, _SECTIONS, _RUNS = 80, 32_768, 600, 64, 5
_HANDLE_AT, _ALLOCATED_BIT = 24, 1
_C = r"""
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **arguments)
{
	static uint64_t pages[1 << 20];
	size_t bytes = ENTRY_BYTES * (size_t)SECTION_PAGES;
	char *buffer = malloc(bytes);
	int file = open(arguments[1], O_RDONLY);
	uint64_t sum = 0;
	for (int section = 0; section < atoi(arguments[2]); section++) {
		if (pread(file, buffer, bytes, 0) != (ssize_t)bytes)
			return 1;
		for (size_t at = 0; at < bytes; at += ENTRY_BYTES) {
			uint64_t flags = *(uint64_t *)(buffer + at);
			uint32_t handle = *(uint32_t *)(buffer + at + HANDLE_AT);
			if (flags >> ALLOCATED_BIT & 1)
				pages[handle & 0xfffff]++;
		}
	}
	for (int i = 0; i < 1 << 20; i++)
		sum += pages[i] * i;
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}
"""


class _Section(Memory):
    """Memory of which every section is the same bytes of a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self.page_bytes = 4096
        told = {"SECTION_SIZE_BITS": 27, "mem_section": 0, "LENGTH": 0}
        self.vmcoreinfo = {f"NUMBER({name})": str(value) for name, value in told.items()}

    def into(self, address: int, view: memoryview) -> None:  # noqa: ARG002 - all are the same
        """See Memory."""
        os.preadv(self._file, [view], 0)

    def int_at(self, address: int) -> int:  # noqa: ARG002 - page_owner_inited
        """See Memory."""
        return 1

    def word_at(self, address: int) -> int:
        """See Memory."""
        return {1: _ENTRY_BYTES, 2: 16}[address]


def main() -> None:
    """Both, in turn."""
    plan = CrashPlan(
        {
            "format": FORMAT,
            "release": "6.12",
            "machine": "x86_64",
            "symbols": {"page_owner_inited": 0, "page_ext_size": 1, "page_owner_ops": 2},
            "layout": {"page_ext_operations.offset": 0, "page_owner": 64, "page_owner.handle": _HANDLE_AT - 16},
            "constants": {"PAGE_EXT_OWNER_ALLOCATED": _ALLOCATED_BIT},
            "handle": [],
            "counters": {},
            "roles": [],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        section, program = Path(folder) / "section", Path(folder) / "count"
        section.write_bytes(_bytes())
        _compile(program)
        ours, theirs, sums = list[float](), list[float](), set[int]()
        for _ in range(_RUNS):
            began = time.perf_counter()
            with mock.patch.object(page_owner, "_sections", return_value=[(_SECTION_PAGES, 0)] * _SECTIONS):
                found = page_owner.count(_Section(section), plan, time.monotonic() + 600)
            ours.append(time.perf_counter() - began)
            sums.add(sum(handle * pages for handle, pages in found.pages.items()))
            began = time.perf_counter()
            told = subprocess.run([program, section, str(_SECTIONS)], capture_output=True, text=True, check=True)
            theirs.append(time.perf_counter() - began)
            sums.add(int(told.stdout))
    if len(sums) != 1:
        raise SystemExit(f"they do not agree: {sums}")
    entries = _SECTIONS * _SECTION_PAGES
    python_ns, c_ns = (statistics.median(runs) / entries * 1e9 for runs in (ours, theirs))
    print(f"{entries:,} entries: {python_ns:.1f} ns an entry in Python, {c_ns:.1f} in C, {python_ns / c_ns:.1f} times")


def _bytes() -> bytes:
    drawn = random.Random(1)
    handles = drawn.choices(range(1, _STACKS + 1), [1 / rank for rank in range(1, _STACKS + 1)], k=_SECTION_PAGES)
    rows = bytearray(_ENTRY_BYTES * _SECTION_PAGES)
    for row, handle in enumerate(handles):
        struct.pack_into("<Q", rows, row * _ENTRY_BYTES, drawn.choice((0, 2, 2, 2)))
        struct.pack_into("<I", rows, row * _ENTRY_BYTES + _HANDLE_AT, handle)
    return bytes(rows)


def _compile(program: Path) -> None:
    numbers = {"ENTRY_BYTES": _ENTRY_BYTES, "SECTION_PAGES": _SECTION_PAGES}
    numbers |= {"HANDLE_AT": _HANDLE_AT, "ALLOCATED_BIT": _ALLOCATED_BIT}
    defined = [f"-D{name}={value}" for name, value in numbers.items()]
    subprocess.run(["gcc", "-O2", *defined, "-x", "c", "-o", program, "-"], input=_C, text=True, check=True)


if __name__ == "__main__":
    main()
