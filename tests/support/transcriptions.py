"""page_owner text as each kernel prints it: transcriptions of print_page_owner() in mm/page_owner.c, by release.

Every function below follows the scnprintf() calls of the kernels it names; `%pGg`, `%pGp` and `%pS` are given as the
text that they print. Where a capture of a real kernel exists (6.1 and 6.12 in tests/data), a test holds the
transcription against it, record by record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Record:
    """What a kernel knows of one allocation; the defaults are an ordinary one."""

    order: int = 0
    gfp_mask: int = 0xCC0
    gfp_flags: str = "GFP_KERNEL"
    pid: int = 54
    tgid: int = 53
    comm: bytes = b"sh"
    ts_ns: int = 5_423_000_001
    free_ts_ns: int = 17
    pfn: int = 0x1000
    migratetype: str = "Unmovable"
    pageblock_type: str = "Unmovable"
    flags: int = 0x100000000000000
    flag_names: str = "node=0|zone=1"
    frames: tuple[str, ...] = (
        "post_alloc_hook+0x6f/0xc2",
        "get_page_from_freelist+0x839/0x97f",
        "leak_mb_write+0x7b/0xaf [leak]",
        "vfs_write+0xa4/0x19d",
    )
    migrate_reason: str | None = None
    memcg: bytes | None = None
    via_objcg: bool = False
    offline: bool = False
    slab_page: bool = False
    handle: int = 11


def _stack(r: Record) -> bytes:
    # stack_trace_snprint(): "%*c%pS\n" with 1 + spaces
    return b"".join(b" %s\n" % frame.encode() for frame in r.frames)


def _migrated(r: Record) -> bytes:
    if r.migrate_reason is None:
        return b""
    return b"Page has been migrated, last migrate reason: %s\n" % r.migrate_reason.encode()


def _memcg(r: Record) -> bytes:
    # print_page_owner_memcg()
    slab = b"Slab cache page\n" if r.slab_page else b""
    if r.memcg is None:
        return slab
    via = b"(via objcg) " if r.via_objcg else b""
    offline = b"offline " if r.offline else b""
    return slab + b"Charged %sto %smemcg %s\n" % (via, offline, r.memcg)


def _gfp(r: Record) -> bytes:
    return b"%#x(%s)" % (r.gfp_mask, r.gfp_flags.encode())


def _flags_without_place(r: Record) -> bytes:
    # before 5.16 %pGp prints neither node nor zone
    names = [name for name in r.flag_names.split("|") if not name.startswith(("node=", "zone=", "lastcpupid="))]
    return f"{r.flags:#x}({'|'.join(names)})".encode()


def linux_4_9(r: Record) -> bytes:
    """4.9 and 4.10: frames begin with the address in brackets; no pid, no time."""
    frames = b"".join(b" [<%016x>] %s\n" % (0xFFFFFFFF81100000 + 64 * i, f.encode()) for i, f in enumerate(r.frames))
    return (
        b"Page allocated via order %d, mask %s\n" % (r.order, _gfp(r))
        + b"PFN %d type %s Block %d type %s Flags %s\n"
        % (r.pfn, r.migratetype.encode(), r.pfn >> 9, r.pageblock_type.encode(), _flags_without_place(r))
        + frames
        + _migrated(r)
        + b"\n"
    )


def linux_4_14(r: Record) -> bytes:
    """4.11 to 5.10 (4.14, 4.19, 5.4, 5.10): as 4.9 without the address."""
    return (
        b"Page allocated via order %d, mask %s\n" % (r.order, _gfp(r))
        + b"PFN %d type %s Block %d type %s Flags %s\n"
        % (r.pfn, r.migratetype.encode(), r.pfn >> 9, r.pageblock_type.encode(), _flags_without_place(r))
        + _stack(r)
        + _migrated(r)
        + b"\n"
    )


def linux_5_11(r: Record) -> bytes:
    """5.11 and 5.12, and Android's 5.4: pid and ts."""
    return linux_4_14(r).replace(b")\nPFN", b"), pid %d, ts %d ns\nPFN" % (r.pid, r.ts_ns), 1)


def linux_5_15(r: Record) -> bytes:
    """5.13 to 5.15: free_ts besides."""
    times = b"), pid %d, ts %d ns, free_ts %d ns\nPFN" % (r.pid, r.ts_ns, r.free_ts_ns)
    return linux_4_14(r).replace(b")\nPFN", times, 1)


def linux_5_17(r: Record) -> bytes:
    """5.16 and 5.17: %pGp prints the number itself, and node and zone with it."""
    return (
        b"Page allocated via order %d, mask %s, pid %d, ts %d ns, free_ts %d ns\n"
        % (r.order, _gfp(r), r.pid, r.ts_ns, r.free_ts_ns)
        + _pfn_line(r, b"%d" % r.pfn)
        + _stack(r)
        + _migrated(r)
        + b"\n"
    )


def linux_5_18_rc(r: Record) -> bytes:
    """linux-next before 5.18: comm without tgid."""
    return (
        b"Page allocated via order %d, mask %s, pid %d (%s), ts %d ns, free_ts %d ns\n"
        % (r.order, _gfp(r), r.pid, r.comm, r.ts_ns, r.free_ts_ns)
        + _pfn_line(r, b"%d" % r.pfn)
        + _stack(r)
        + _migrated(r)
        + _memcg(r)
        + b"\n"
    )


def linux_6_1(r: Record) -> bytes:
    """5.18 to 6.1: tgid, comm, free_ts and memcg; the PFN is decimal."""
    return (
        b"Page allocated via order %d, mask %s, pid %d, tgid %d (%s), ts %d ns, free_ts %d ns\n"
        % (r.order, _gfp(r), r.pid, r.tgid, r.comm, r.ts_ns, r.free_ts_ns)
        + _pfn_line(r, b"%d" % r.pfn)
        + _stack(r)
        + _migrated(r)
        + _memcg(r)
        + b"\n"
    )


def linux_6_6(r: Record) -> bytes:
    """6.2 to 6.6: the PFN is hexadecimal."""
    return linux_6_1(r).replace(b"PFN %d " % r.pfn, b"PFN 0x%x " % r.pfn, 1)


def linux_6_12(r: Record) -> bytes:
    """6.7 and later: free_ts is gone."""
    return (
        b"Page allocated via order %d, mask %s, pid %d, tgid %d (%s), ts %d ns\n"
        % (r.order, _gfp(r), r.pid, r.tgid, r.comm, r.ts_ns)
        + _pfn_line(r, b"0x%x" % r.pfn)
        + _stack(r)
        + _migrated(r)
        + _memcg(r)
        + b"\n"
    )


def linux_7_stack_handle(r: Record) -> bytes:
    """7.x with mode=stack_handle: the handle follows the stack."""
    whole = linux_6_12(r)
    return whole.replace(_stack(r), _stack(r) + b"handle: %d\n" % r.handle, 1)


def linux_7_handle(r: Record) -> bytes:
    """7.x with mode=handle: the handle stands for the stack."""
    return linux_6_12(r).replace(_stack(r), b"handle: %d\n" % r.handle, 1)


def _pfn_line(r: Record, pfn: bytes) -> bytes:
    flags = f"{r.flags:#x}({r.flag_names})".encode()
    return b"PFN %s type %s Block %d type %s Flags %s\n" % (
        pfn, r.migratetype.encode(), r.pfn >> 9, r.pageblock_type.encode(), flags,
    )  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A kernel's form, and what it tells."""

    name: str
    text: Callable[[Record], bytes]
    has_pid: bool = True
    has_comm: bool = True
    has_time: bool = True
    has_place: bool = True
    has_memcg: bool = True
    has_frames: bool = True


FORMS = (
    Form("4.9", linux_4_9, has_pid=False, has_comm=False, has_time=False, has_place=False, has_memcg=False),
    Form("4.14", linux_4_14, has_pid=False, has_comm=False, has_time=False, has_place=False, has_memcg=False),
    Form("5.11", linux_5_11, has_comm=False, has_place=False, has_memcg=False),
    Form("5.15", linux_5_15, has_comm=False, has_place=False, has_memcg=False),
    Form("5.17", linux_5_17, has_comm=False, has_memcg=False),
    Form("5.18-rc", linux_5_18_rc),
    Form("6.1", linux_6_1),
    Form("6.6", linux_6_6),
    Form("6.12", linux_6_12),
    Form("7.x stack_handle", linux_7_stack_handle),
    Form("7.x handle", linux_7_handle, has_frames=False),
)

ORDINARY = Record()
EARLY = Record(
    gfp_mask=0,
    gfp_flags="",
    pid=0,
    tgid=0,
    comm=b"swapper",
    frames=("register_early_stack+0x36/0x66", "init_page_owner+0x33/0x29a"),
)


def awkward_records() -> tuple[Record, ...]:
    """Records with everything that a kernel may print and a parser may trip over."""
    return (
        ORDINARY,
        replace(EARLY, pfn=0x1001),
        replace(ORDINARY, order=3, pfn=0x1008, comm=b"(sd-pam)"),
        replace(ORDINARY, pfn=0x1010, comm=b"a, ts 5 ns (b)", tgid=7),
        replace(ORDINARY, pfn=0x1011, comm=b"Web Content"),
        replace(ORDINARY, pfn=0x1012, comm=b"tmux: server"),
        replace(ORDINARY, pfn=0x1013, comm=b""),
        replace(ORDINARY, pfn=0x1014, comm=b"\xff\x1b[31m"),
        replace(ORDINARY, pfn=0x1015, comm=b"one\ntwo"),
        replace(ORDINARY, pfn=0x1016, migrate_reason="compaction"),
        replace(ORDINARY, pfn=0x1017, memcg=b"user.slice", via_objcg=True),
        replace(ORDINARY, pfn=0x1018, memcg=b"dead one", offline=True, slab_page=True),
        replace(ORDINARY, pfn=0x1019, memcg=b"a b c", migrate_reason="contig_range"),
        replace(ORDINARY, pfn=0x101A, slab_page=True),
        replace(ORDINARY, pfn=0x101B, frames=("0xffffffffc0a81234", "vfs_write+0xa4/0x19d"), handle=12),
        replace(ORDINARY, pfn=0x101C, flag_names="uptodate|lru|node=1|zone=2|lastcpupid=0x1fffff"),
        replace(ORDINARY, pfn=0x101D, pid=0, tgid=0, comm=b"swapper/0"),
    )
