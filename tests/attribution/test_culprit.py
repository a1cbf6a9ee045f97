from __future__ import annotations

import csv

import pytest

import oomscope
from oomscope.attribution.culprit import attribute
from oomscope.attribution.frame_rules import frame_row, frame_rows, subsystem_of
from oomscope.model.holding import KINDS
from oomscope.model.stack import Frame, Stack, parse_frame
from tests.support import captures

JUDGED = captures.DATA / "culprits.tsv"


def stack_of(*functions: str) -> Stack:
    frames = [parse_frame(f if "+" in f else f"{f}+0x1/0x2") for f in functions]
    return Stack(tuple(frame for frame in frames if frame is not None))


ALLOCATOR = ("post_alloc_hook", "prep_new_page", "get_page_from_freelist", "__alloc_pages_noprof")
SLAB = (*ALLOCATOR, "alloc_slab_page", "new_slab", "___slab_alloc", "kmem_cache_alloc_noprof")


def test_every_stack_of_the_captures_gets_the_judged_culprit() -> None:
    """Kind and culprit of all stacks of four real dumps are as read by a person; wrong ones are marked as such."""
    with JUDGED.open(newline="") as file:
        judged = {row["stack"]: (row["kind"], row["culprit"]) for row in csv.DictReader(file, delimiter="\t")}
    seen = {}
    for path in captures.DUMPS:
        for stack in oomscope.read(path).latest.counts.stacks:
            attributed = attribute(stack)
            seen["<".join(f.function for f in stack.frames)] = (attributed.kind, str(attributed.culprit or "-"))
    assert seen == judged


def test_wrong_culprits_are_few_and_listed() -> None:
    """A tenth of the judged stacks at most have helpers only, so that a helper is named; nothing else is wrong."""
    with JUDGED.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["judgement"] for row in rows} == {"right", "wrong: helpers only"}
    wrong = [row for row in rows if row["judgement"] != "right"]
    assert len(wrong) * 10 <= len(rows)
    for row in wrong:
        assert frame_row(row["culprit"].split(" ")[0]) is not None, row


@pytest.mark.parametrize(
    ("functions", "kind", "culprit"),
    [
        ((*ALLOCATOR, "leak_mb_write+0x7b/0xaf [leak]", "vfs_write"), "kernel", "leak_mb_write [leak]"),
        ((*SLAB, "leak_kmalloc_show+0x35/0xee5 [leak]", "seq_read_iter"), "slab", "leak_kmalloc_show [leak]"),
        ((*ALLOCATOR, "__vmalloc_node_range", "vzalloc", "snd_dma_alloc"), "kernel", "snd_dma_alloc"),
        ((*SLAB, "xas_alloc", "xas_create", "xa_store", "nvme_init_ns"), "slab", "nvme_init_ns"),
        ((*ALLOCATOR, "vma_alloc_folio_noprof", "do_anonymous_page", "handle_mm_fault"), "user", None),
        ((*ALLOCATOR, "alloc_charge_hpage", "hpage_collapse_scan_pmd", "khugepaged", "kthread"), "user", None),
        ((*ALLOCATOR, "alloc_pages_vma", "do_huge_pmd_anonymous_page", "__handle_mm_fault"), "user", None),
        ((*ALLOCATOR, "folio_alloc_noprof", "page_cache_ra_unbounded", "ext4_readahead"), "page-cache", None),
        ((*ALLOCATOR, "__page_cache_alloc", "pagecache_get_page", "ext4_da_write_begin"), "page-cache", None),
        ((*ALLOCATOR, "shmem_alloc_folio", "shmem_get_folio_gfp", "shmem_fault"), "page-cache", None),
        (
            (
                *ALLOCATOR,
                "shmem_alloc_folio",
                "shmem_get_folio_gfp",
                "shmem_read_folio_gfp",
                "drm_gem_get_pages",
                "v3d_get",
            ),
            "kernel",
            "v3d_get",
        ),
        (
            (*ALLOCATOR, "pte_alloc_one", "__pte_alloc", "do_anonymous_page", "handle_mm_fault"),
            "page-tables",
            "pte_alloc_one",
        ),
        ((*ALLOCATOR, "___kmalloc_large_node", "__kmalloc_large_noprof", "leak"), "large-kmalloc", "leak"),
        (
            (*ALLOCATOR, "__vmalloc_node_range_noprof", "dup_task_struct", "copy_process"),
            "kernel-stacks",
            "dup_task_struct",
        ),
        ((*SLAB, "dup_task_struct", "copy_process"), "slab", "dup_task_struct"),
        (
            (*SLAB, "__refill_objects_node", "refill_sheaf", "kmem_cache_prefill_sheaf", "mas_preallocate"),
            "slab",
            "mas_preallocate",
        ),
        (("bpf_prog_6deef7357e7b4530_on_alloc", "bpf_trampoline_6442", *ALLOCATOR, "leak"), "kernel", "leak"),
        ((*ALLOCATOR, "bpf_prog_load", "__sys_bpf"), "kernel", "bpf_prog_load"),
        ((*SLAB, "anon_vma_alloc", "__anon_vma_prepare", "do_anonymous_page"), "slab", "anon_vma_alloc"),
        (("__alloc_pages_nodemask", "new_slab", "kmem_cache_alloc.part.0", "foo.constprop.0.isra.3"), "slab", "foo"),
        (("register_early_stack", "init_page_owner"), "early", None),
        (("register_dummy_stack", "init_page_owner"), "untracked", None),
        (("register_failure_stack", "init_page_owner"), "untracked", None),
        ((*ALLOCATOR, "ksys_write", "do_syscall_64"), "kernel", "__alloc_pages"),
        (("0xffffffffc0a81234", "vfs_write"), "kernel", "0xffffffffc0a81234"),
    ],
)
def test_kinds_and_culprits(functions: tuple[str, ...], kind: str, culprit: str | None) -> None:
    """The innermost telling frame decides the kind; the first frame beyond plumbing and entry code answers."""
    attributed = attribute(stack_of(*functions))
    assert (attributed.kind, None if attributed.culprit is None else str(attributed.culprit)) == (kind, culprit)


def test_a_stack_known_by_handle_alone_has_no_culprit() -> None:
    """Without frames nobody is named."""
    assert attribute(Stack((), 7)).culprit is None


def test_the_table_is_well_formed() -> None:
    """Every row has a known role and kind, a reason, and a pattern of its own."""
    rows = frame_rows()
    assert len({row.pattern for row in rows}) == len(rows)
    for row in rows:
        assert len(row.pattern) <= 64, row
        assert row.role in ("plumbing", "entry", "answers", "encloses", "label"), row
        assert row.kind is None or row.kind in KINDS, row
        assert row.reason, row
        assert "*" not in row.pattern[:-1], row
        assert row.pattern == row.pattern.removesuffix("_noprof"), row


def test_the_longest_pattern_wins() -> None:
    """kernfs_fop_read_iter dispatches although kernfs_* allocates."""
    dispatch, helper = frame_row("kernfs_fop_read_iter"), frame_row("kernfs_new_node")
    assert dispatch is not None
    assert helper is not None
    assert (dispatch.role, helper.role) == ("entry", "plumbing")


def test_subsystems() -> None:
    """A built-in function belongs to the subsystem of its prefix, leading underscores left off; a module to itself."""
    assert subsystem_of("__tcp_send") == "TCP"
    assert subsystem_of("no_such_thing") is None
    culprit = attribute(stack_of(*ALLOCATOR, "tcp_send+0x1/0x2 [my_tcp]")).culprit
    assert culprit is not None
    assert culprit.subsystem == "my_tcp"


@pytest.mark.parametrize(
    ("text", "function", "module"),
    [
        ("do_it+0x1/0x2", "do_it", None),
        ("do_it.constprop.0+0x1/0x2", "do_it", None),
        ("do_it.isra.0.part.1+0x1/0x2", "do_it", None),
        ("do_it.cold+0x1/0x2", "do_it", None),
        ("do_it.llvm.1234567890+0x1/0x2 [a]", "do_it", "a"),
        ("kmalloc_noprof.constprop.0+0x1/0x2", "kmalloc", None),
        ("_RNvNtCs1_6kernel3mem+0x1/0x2 [rust]", "_RNvNtCs1_6kernel3mem", "rust"),
        ("[<ffffffff81000000>] do_it+0x1/0x2", "do_it", None),
        ("0xffffffff81000000", "0xffffffff81000000", None),
    ],
)
def test_frames(text: str, function: str, module: str | None) -> None:
    """Compiler suffixes, _noprof and old kernels' addresses are no part of a function's name."""
    frame = parse_frame(text)
    assert frame is not None
    assert (frame.function, frame.module) == (function, module)


@pytest.mark.parametrize(
    "text",
    ["f" * 512 + "+0x1/0x2", "", "do_it", "do_it+0x1", "+0x1/0x2", "do it+0x1/0x2", "a+0x1/0x2 [", "a+0x1/0x2 b"],
)
def test_no_frames(text: str) -> None:
    """What the kernel does not print as a frame is none."""
    assert parse_frame(text) is None


def test_a_frame_keeps_the_kernels_words() -> None:
    """The text of a frame is the %pS form, to the character."""
    assert parse_frame("leak_mb_write+0x7b/0xaf [leak]") == Frame(
        "leak_mb_write+0x7b/0xaf [leak]", "leak_mb_write", 0x7B, 0xAF, "leak"
    )


def test_a_long_name_is_looked_up_in_no_time() -> None:
    """A symbol of the greatest length, or beyond, costs no more than a short one."""
    assert frame_row("f" * 1_000_000) is None
    assert subsystem_of("f" * 1_000_000) is None
