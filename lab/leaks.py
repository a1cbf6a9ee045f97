"""Memory that the kernel keeps for programs, in the ways that they leak it, and whom an expert would name.

A scenario's script makes all of a group; `guest/leak.c` does them. Counts are primes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leak:
    """`count` units of a way of `leak`: `pages`, or at least so many where the units are objects.

    `culprits` are the functions that an expert would name, by whatever name a release has for them; with a `row` it is
    that one of the balance instead, because the memory has a counter or a keeper of its own.
    """

    way: str
    count: int
    pages: int
    culprits: tuple[str, ...] = ()
    row: str | None = None
    are_objects: bool = False


BY_CALLS = (
    Leak("pipe", 1009, 1009, ("pipe_write", "anon_pipe_write")),
    Leak("unix", 1201, 1201, ("unix_stream_sendmsg",)),
    Leak("udp", 1407, 1407, ("udp_sendmsg",)),
    Leak("perf", 1301, 1280, ("perf_mmap",)),
    Leak("bpf", 1511, 1511, ("array_map_alloc",)),
    Leak("memfd", 2003, 2003, row="shmem"),
    Leak("sysv", 2503, 2503, row="shmem"),
    Leak("mqueue", 1801, 1801 - 8, ("load_msg", "alloc_msg"), are_objects=True),  # a slab may have had room
    Leak("vma", 40009, 40009 // 28, ("vm_area_dup", "__split_vma"), are_objects=True),
    Leak("table", 1103, 1103, row="page tables"),
)
BY_FILES = (
    Leak("packet", 907, 907, ("packet_set_ring",)),
    Leak("uring", 53, 53 * 24, ("io_uring_setup", "io_uring_create", "io_allocate_scq_urings"), are_objects=True),
    Leak("secret", 811, 811, ("secretmem_fault",)),
    Leak("thread", 307, 307 * 4, row="kernel stacks"),
    Leak("netns", 97, 97 * 8, ("copy_net_ns",), are_objects=True),
    Leak("xattr", 199, 199 * 15, ("simple_xattr_alloc", "simple_xattr_set"), are_objects=True),
    Leak("inode", 20011, 20011 // 7, ("shmem_alloc_inode",), are_objects=True),
    Leak("udmabuf", 701, 701, row="shmem"),
    Leak("thp", 7, 7 * 512, row="anon"),
    Leak("hugetlb", 5, 5 * 512, row="hugetlb"),
)
GROUPS = {"leaks-by-calls": BY_CALLS, "leaks-by-files": BY_FILES}


def script(group: str) -> str:
    """The lines of a scenario that make them."""
    return "\n".join(f"leaks {leak.way} {leak.count}" for leak in GROUPS[group])
