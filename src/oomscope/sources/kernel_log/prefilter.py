"""Which stretches of a log are worth reading line by line: those that hold one of these words.

Each word stands for a function of the kernel that reports on memory. The list is short, because each word costs a look
at gigabytes of log that hold none of them. A stretch is first looked through for four letters of each word, four bytes
at a time in one go; only where these stand is the word itself looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oomscope.numeric import is_worth_loading, np
from oomscope.text import stretches

# The word, and the four letters of it that are rarest in logs.
_WORDS: dict[bytes, bytes] = {
    b"oom-kill": b"om-k",  # mm/oom_kill.c dump_header() "invoked oom-killer:", dump_oom_summary() "oom-kill:"
    b"Mem-Info:": b"-Inf",  # mm/show_mem.c __show_free_areas() and its forerunners
    b"lowmem_reserve": b"wmem",  # the same, in every zone: where its beginning is lost
    b"kB min:": b"kB m",  # a zone's line, of any age
    b"Tasks state": b"ks s",  # mm/oom_kill.c dump_tasks()
    b"Out of Memory: ": b"of M",  # mm/oom_kill.c up to 2.6.17
    b" of memory": b"f me",  # mm/oom_kill.c "Out of memory", "Memory cgroup out of memory"
    b"VM: killing process": b"VM: ",  # mm/oom_kill.c of 2.4
    b"total-vm:": b"l-vm",  # mm/oom_kill.c __oom_kill_process() "Killed process"
    b"page allocation ": b"ge a",  # mm/page_alloc.c warn_alloc(): failures and stalls
    b"-order allocation failed": b"-ord",  # the same in 2.4
    b"vmalloc error": b"oc e",  # mm/vmalloc.c __vmalloc_node_range(), __vmalloc_area_node()
    b"vmalloc: allocation": b"oc: ",  # the same up to 5.12
    b"vmap allocation for": b"ap a",  # mm/vmalloc.c alloc_vmap_area()
    b"vmemmap alloc": b"vmem",  # mm/sparse-vmemmap.c vmemmap_alloc_block()
    b" limit of ": b" lim",  # mm/memcontrol.c mem_cgroup_print_oom_context() "killed as a result of limit of"
    b"oom_memcg=": b"emcg",  # mm/oom_kill.c dump_oom_summary(), its left end cut off
    b"kB, limit ": b" lim",  # the same, "memory: usage"
    b"emory cgroup stats": b"p st",  # the same
    b"oom_reaper: reaped": b"reap",  # mm/oom_kill.c oom_reap_task_mm()
    b"SLUB: Unable": b"SLUB",  # mm/slub.c slab_out_of_memory()
    b"cma_alloc: ": b"cma_",  # mm/cma.c cma_alloc()
    b"allocate from CMA": b" CMA",  # drivers that say so themselves
    b"pages RAM": b"s RA",  # mm/show_mem.c show_mem(), all that is left of a report
    b"pages of RAM": b"f RA",  # the same up to 2.6.27
    b"Unreclaimable slab": b"Unre",  # mm/slab_common.c dump_unreclaimable_slab()
    b"warn_alloc": b"rn_a",  # mm/page_alloc.c, in the trace of a report whose header is lost
    b"out_of_memory": b"_of_",  # mm/oom_kill.c, the same
    b"Linux version ": b"ux v",  # init/version.c linux_banner: a boot
    b"memory consumer": b"y co",  # the 2020 patch's line, and that of `oomscope arm`
    b" culprit: ": b"culp",  # the latter, where its stacks were left out
    b"earlyoom": b"rlyo",  # killers in user space, which stand in the journal beside the kernel
    b"ow memory! ": b"ry! ",  # earlyoom on a terminal of its own
    b"systemd-oomd": b"-oom",
    b"nohang": b"ohan",
    b"Found the victim": b"vict",  # nohang on a terminal of its own
    b" to free ": b"o fr",
    b"lowmemorykill": b"ryki",  # drivers/staging/android/lowmemorykiller.c, which is not the OOM killer
}
TRIGGERS: tuple[bytes, ...] = tuple(_WORDS)
_WORDS_WITH = {letters: tuple(w for w in _WORDS if _WORDS[w] == letters) for letters in dict.fromkeys(_WORDS.values())}
_LEAST_BYTES = 4096  # below that, looking for the words themselves is as fast


def is_worth_reading(stretch: bytes) -> bool:
    """Whether a stretch of whole lines holds a trigger."""
    if len(stretch) < _LEAST_BYTES or not is_worth_loading(len(stretch)):
        return any(word in stretch for word in TRIGGERS)
    # Four views of the bytes as words of four, each begun a byte later.
    views = [np.frombuffer(stretch, np.uint32, (len(stretch) - start) // 4, start) for start in range(4)]
    return any(
        any(bool((view == np.frombuffer(letters, np.uint32)[0]).any()) for view in views)
        and any(word in stretch for word in words)
        for letters, words in _WORDS_WITH.items()
    )


def numbered_stretches(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The log in stretches of whole lines, each with the number of line ends before it; endless lines are left out."""
    lines_before = 0
    for stretch in stretches(chunks):
        yield lines_before, stretch
        lines_before += stretch.count(b"\n")
