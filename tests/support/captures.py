"""The real captures that tests rest on, and what is known of them.

Two guests of 512 MiB, kernels 6.1 and 6.12 with page_owner=on. A module took 137 MiB (35,072 pages) with
alloc_pages(GFP_KERNEL, 0) and `page_owner.after` was read; then it leaked without end until the kernel panicked, and
the dying kernel itself printed the greatest consumer.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import zstandard

_HERE = Path(__file__).parents[1]
DATA = _HERE / "data"
LINUX_6_1 = DATA / "linux-6.1-alloc_pages-panic"
LINUX_6_12 = DATA / "linux-6.12-kmalloc-panic"
CASE_6_12 = LINUX_6_12 / "after"
LEAKED_PAGES = 35_072  # by the module's own account
AFTER_6_1 = LINUX_6_1 / "page_owner.after.zst"
AFTER_6_12 = CASE_6_12 / "page_owner.zst"
BEFORE_6_1 = LINUX_6_1 / "page_owner.before.zst"
BEFORE_6_12 = LINUX_6_12 / "page_owner.before.zst"
DUMPS = (BEFORE_6_1, AFTER_6_1, BEFORE_6_12, AFTER_6_12)
SHOW_STACKS = CASE_6_12 / "show_stacks.zst"
CONSOLE_6_1 = LINUX_6_1 / "console.log.zst"
CONSOLE_6_12 = LINUX_6_12 / "console.log.zst"


@cache
def text(path: Path) -> bytes:
    """The bytes of a capture, decompressed where it is compressed."""
    raw = path.read_bytes()
    return zstandard.ZstdDecompressor().stream_reader(raw).read() if path.suffix == ".zst" else raw
