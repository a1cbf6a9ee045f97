"""Which stretches of a log are worth reading line by line: those that hold one of these words.

Each word stands for a function of the kernel that reports on memory. The list is short, and its words are chosen for
how fast they are looked for, because each costs one pass over gigabytes of log that hold none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oomscope.sources.base import LONGEST_LINE_BYTES

TRIGGERS: tuple[bytes, ...] = (
    b"oom-kill",  # mm/oom_kill.c dump_header() "invoked oom-killer:", dump_oom_summary() "oom-kill:constraint="
    b"lowmem_reserve",  # mm/show_mem.c show_free_areas(): in every zone of Mem-Info, its header lost or not
    b" of memory",  # mm/oom_kill.c "Out of memory", "Memory cgroup out of memory"
    b"page allocation failure",  # mm/page_alloc.c warn_alloc()
    b"vmalloc error",  # mm/vmalloc.c __vmalloc_node_range(), __vmalloc_area_node()
    b"vmap allocation for",  # mm/vmalloc.c alloc_vmap_area()
    b"memory consumer",  # the 2020 patch's line, and that of `oomscope arm`
    b"lowmemorykill",  # drivers/staging/android/lowmemorykiller.c, which is not the OOM killer
)


def is_worth_reading(stretch: bytes) -> bool:
    """Whether a stretch of whole lines holds a trigger."""
    return any(word in stretch for word in TRIGGERS)


def stretches(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The log in stretches of whole lines, each with the number of line ends before it; endless lines are left out."""
    rest = b""
    lines_before = 0
    for chunk in chunks:
        text = rest + chunk
        cut = text.rfind(b"\n") + 1
        if cut == 0 and len(text) > LONGEST_LINE_BYTES:
            rest = b""  # no line of a kernel log is that long
            continue
        stretch, rest = text[:cut], text[cut:]
        yield lines_before, stretch
        lines_before += stretch.count(b"\n")
    yield lines_before, rest
