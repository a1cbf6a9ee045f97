"""hidden-kernel: the memory is in no counter of the report (the case (c) of the 2020 patch)."""

from __future__ import annotations

from oomscope.model import oom_analysis as rows
from oomscope.model.verdict import POSSIBLE, Finding
from oomscope.units import bytes_text
from oomscope.verdict import advice
from oomscope.verdict.oom.case import HIDDEN_KERNEL, OomCase

OOM_CLASS = HIDDEN_KERNEL
_OF_SLAB = (rows.SLAB, rows.SLAB_RECLAIMABLE, rows.SLAB_UNRECLAIMABLE)
_PART_OF_IT = 0.02  # of RAM: a call site worth naming beside the remainder
# Call sites that stand for pages which a counter of the report has already.
COUNTED = ("slab", "folio", "filemap", "readahead", "ractl", "shmem", "anon", "pte_alloc", "dup_task", "thread_stack")


# By what the log shows of the machine: who keeps pages that no counter has. It may be none of them.
_KEEPERS = {
    "VMware": "a VMware guest: its balloon (vmw_balloon) takes pages for the host (vmware-toolbox-cmd stat balloon)",
    "Hyper-V": "a Hyper-V guest: its balloon (hv_balloon) takes pages for the host",
    "virtio balloon": "virtio_balloon is loaded: a balloon takes pages for the host",
    "Xen balloon": "a Xen guest: its balloon takes pages for the host",
    "ZFS": "ZFS is loaded: the kernel does not count its cache, the ARC (arc_summary)",
    "GPU driver": "a GPU driver is loaded: the kernel does not count its buffers",
}


def pages(case: OomCase) -> int:
    """The remainder, where a balance can be drawn, and what a driver could give back (kernel_misc_reclaimable)."""
    return max(case.accounting.unexplained_pages or 0, 0) + case.accounting.pages(rows.MISC)


def finding(case: OomCase, held_pages: int, certainty: str) -> Finding:
    """How much, what the report can say of who it may be, and what gives it a name next time."""
    hints = _hints(case)
    if case.accounting.is_of_zones and not case.accounting.pages(*_OF_SLAB):
        hints.insert(0, "slab is not in these lines and may be most of it")
        certainty = POSSIBLE
    return Finding(
        claim=f"{case.size(held_pages)}, {case.share_words(held_pages)}, is unaccounted for: the kernel or a driver "
        "took it from the page allocator" + (f"; {'; '.join(hints)}" if hints else ""),
        pages=held_pages,
        certainty=certainty,
        because=case.evidence("free", "active_anon", "slab_reclaimable", "pages RAM", "pages reserved"),
        refuted_by="a keeper that the report does not count: zram, a balloon, per-cpu memory, GPU and dma-buf pools",
        next=advice.name_next_time(case.release, has_dump=case.has_dump),
    )


def _hints(case: OomCase) -> list[str]:
    event = case.event
    page_bytes = case.analysis.page_bytes or 4096
    misc = case.accounting.pages(rows.MISC)
    hints = [f"{case.size(misc)} of it is kernel_misc_reclaimable, as ION and dma-buf pools are"] if misc else []
    least_bytes = _PART_OF_IT * case.base_pages * page_bytes
    large = [site for site in event.call_sites if site.size_bytes > least_bytes]
    sites = [site for site in large if not any(word in site.function for word in COUNTED)]
    if sites:
        named = ", ".join(f"{s.function} ({s.module or s.place}) {bytes_text(s.size_bytes)}" for s in sites[:3])
        hints.append(f"allocation profiling names {named}")
    balloon = sum(node.kib.get("Balloon", 0) for node in event.nodes)
    if balloon:
        hints.append(f"a balloon holds {bytes_text(balloon * 1024)}")
    hints += [
        hint for remark, hint in _KEEPERS.items() if remark in event.remarks and not (balloon and "balloon" in hint)
    ]
    if case.accounting.pages("zspages"):
        hints.append(f"zram or zswap hold {case.size(case.accounting.pages('zspages'))} that is counted")
    if any("asan" in frame or "kcov" in frame for frame in event.asked.stack):
        hints.append("a debugging kernel (KASAN, kcov) keeps shadow memory")
    return hints
