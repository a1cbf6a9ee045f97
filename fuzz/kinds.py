"""What is damaged: small real inputs of every kind that oomscope reads, by name."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import zstandard

_DATA = Path(__file__).parents[1] / "tests" / "data"
_MOST_BYTES = 12_000
_TRACKED = (
    b"oomscope tracked pages 1\nsince_ns: 6779570000\nat_ns: 12094760000\nabsent: 1,234 pages: no stack\n\n"
    b" take_page+0x27/0x50 [oomlab]\n write_way+0x4e/0xa0 [oomlab]\nallocated_ns: 7000000000 100, 8000000000 39909\n"
    b"nr_base_pages: 40009\n\n vfs_read+0x1/0x2\nallocated_ns: 7000000000 9\nnr_base_pages: 9\n"
)
_KMEMLEAK = (
    b'unreferenced object 0xffff888100000000 (size 64):\n  comm "init", pid 1, jiffies 42 (age 1.000s)\n'
    b"  hex dump (first 32 bytes):\n    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................\n"
    b"  backtrace (crc 0):\n    [<00000000a5a5a5a5>] kmalloc_trace+0x26/0x90\n    leak_one+0x1/0x20 [leak]\n"
)
_PERCPU = (
    b"Percpu Memory Statistics\nAllocation Info:\n----------------------------------------\n  unit_size           :       32768\n"
    b"  static_size         :       20480\n\nGlobal Stats:\n----------------------------------------\n  nr_alloc            :         100\n"
    b"\nPer Chunk Stats:\n----------------------------------------\nChunk: <- First Chunk\n  nr_alloc            :          10\n"
    b"  free_bytes          :         100\nChunk:\n  free_bytes          :       32000\n"
)
_ALLOCINFO = (
    b"allocinfo - version: 2.0\n#     <size>  <calls> <tag info>\n        4096        1 mm/slub.c:2349 func:alloc_slab_page\n"
    b"     1048576      256 drivers/x.c:7 [leak] func:take accurate:no\n"
)
_AT_PANIC = (
    b"[   12.000000] OOM: greatest memory consumer: 40009 pages are allocated from:\n[   12.000001]  take_page+0x27/0x50 [oomlab]\n"
    b"[   12.000002]  write_way+0x4e/0xa0 [oomlab]\n[   12.000003] OOM: memory consumer #2: 7 pages are allocated from:\n"
    b"[   12.000004]  vfs_read+0x1/0x2\n[   12.000005] OOM: 2 stacks hold 40016 of 60000 pages; 9 pages not counted\n"
    b"[   12.000006] OOM: tracked since 1.500000 s; 100 pages were allocated before that\n"
    b"[   12.000007] Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled\n"
)
_CMA = (
    b"/sys/kernel/debug/cma/cma-reserved/count:65536\n/sys/kernel/debug/cma/cma-reserved/used:60321\n"
    b"/sys/kernel/debug/cma/cma-reserved/maxchunk:512\n"
)
_SERIES = b"".join(b"2024-03-01 10:0%d:00 SUnreclaim:       %d03456 kB\n" % (n, n) for n in range(2, 9))
_DUMPSYS = (
    b"** MEMINFO in pid 1234 [com.example.app] **\n                   Pss  Private\n                 Total    Dirty\n"
    b"  Native Heap   500000   500000\n  Dalvik Heap    23456    23400\n        TOTAL   600123   860000\n"
)
_MANIFEST = b'{\n "oomscope-case": 1,\n "unread": [\n  {"path": "/proc/x", "reason": "no such file"}\n ]\n}\n'


@cache
def kinds() -> dict[str, tuple[bytes, ...]]:
    """Texts by kind; several of a kind where releases differ."""
    found: dict[str, list[bytes]] = {}
    for path in sorted((_DATA / "corpus").glob("*.zst")):
        found.setdefault("kernel log", []).append(_text(path))
    for path in sorted(p for p in (_DATA / "accounts").rglob("*") if p.is_file() and p.suffix != ".json"):
        found.setdefault(path.name.removesuffix(".zst").partition(".")[0], []).append(_text(path))
    for path in sorted(p for p in _DATA.rglob("*.zst") if "corpus" not in p.parts and "accounts" not in p.parts):
        named = ("reports", "show_stacks", "page_owner_sort", "page_owner", "console")
        kind = next((k for k in named if k in str(path)), "other")
        found.setdefault(kind, []).append(_text(path))
    found |= {
        "tracked pages": [_TRACKED],
        "kmemleak": [_KMEMLEAK],
        "percpu_stats": [_PERCPU],
        "allocinfo": [_ALLOCINFO],
        "CMA pools": [_CMA],
        "series": [_SERIES],
        "dumpsys": [_DUMPSYS],
        "at-panic lines": [_AT_PANIC],
        "manifest": [_MANIFEST],
        "version": [b"Linux version 6.12.1 (a@b) (gcc) #1 SMP\n"],
        "core dump": [_core(phnum) for phnum in (0, 1, 3)],
    }
    return {kind: tuple(texts) for kind, texts in found.items()}


def _text(path: Path) -> bytes:
    """The end of a console, the beginning of anything else."""
    raw = path.read_bytes()
    text = zstandard.ZstdDecompressor().decompressobj().decompress(raw) if path.suffix == ".zst" else raw
    return text[-_MOST_BYTES:] if "console" in path.name else text[:_MOST_BYTES]


def _core(phnum: int) -> bytes:
    """An ELF core's headers, with a note where a segment says so."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, phnum, 64, 0, 0)
    segments = b"".join(struct.pack("<IIQQQQQQ", 4 if i == 0 else 1, 4, 300, 0, 0, 64, 64, 4) for i in range(phnum))
    return (
        (head + segments).ljust(300, b"\0")
        + struct.pack("<III", 11, 20, 0)
        + b"VMCOREINFO\0\0"
        + b"OSRELEASE=6.1\n".ljust(20, b"\0")
    )
