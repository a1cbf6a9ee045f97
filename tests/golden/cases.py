"""Real cases whose answer is kept as people see it: `make golden` writes them anew, a review reads what changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import oomscope
from oomscope.pipeline.api import compare, explain_events
from oomscope.report import diff, terminal
from tests.support import captures, corpus

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WIDTH = 100
_LAB, _ACCOUNTS = captures.DATA / "lab", captures.DATA / "accounts"
# One case of each class and of each kind of evidence, and what lies beside what.
INPUTS: dict[str, tuple[Path, ...]] = {
    "leak-6.12": (ROOT / "examples" / "leak-6.12",),
    "armed-6.12-arm64": (ROOT / "examples" / "armed-6.12-arm64",),
    "user-anon": (corpus.path("021-el8-journald-cache-main.log"),),
    "memcg-limit": (corpus.path("087-afl-memcg-v2-8GB-kernel-slab.log"),),
    "memcg-limit-beside-a-dump": (corpus.path("025-stress-memcg-1MB-stat-before-after.log"), captures.AFTER_6_12),
    "fragmentation": (corpus.path("063-nfs-mount-order5-96GB.log"),),
    "lowmem-zone": (corpus.path("041-i386-mkfs-lowmem.log"),),
    "slab": (corpus.path("057-syz-io_uring-slab-panic.log"),),
    "hidden-kernel": (corpus.path("086-nfsd-page-leak-88pct.log"),),
    "atomic-reserve": (corpus.path("031-ceph-vm-gfp-atomic-below-min.log"),),
    "vmalloc-space": (corpus.path("064-ppc32-modules-vmalloc-space.log"),),
    "no-shortage": (corpus.path("036-riscv-pagefault-oom-free-ram.log"),),
    "shmem": (corpus.path("115-ltp-fallocate05-tmpfs-quoted.log"),),
    "undetermined": (corpus.path("023-syz-order0-atomic-hang.log"),),
    "android-lowmemorykiller": (corpus.path("136-android-lowmemorykiller.log"),),
    "page-owner-6.1": (captures.AFTER_6_1,),
    "show-stacks-6.12": (captures.SHOW_STACKS,),
    "console-6.12": (captures.CONSOLE_6_12,),
    "many-paths-6.12": (captures.DATA / "many-paths-6.12",),
    "accounts-alone": (_ACCOUNTS / "6.12-set-aside",),
    "slab-owners": (_ACCOUNTS / "6.1-slab-owners",),
}
EVERY_EVENT = {"every-event": corpus.path("033-ceph-vm-double-quoted-gfp-atomic.log")}
DIFFERENCES = {"diff-6.12": (captures.BEFORE_6_12, captures.AFTER_6_12)}


def texts() -> Iterator[tuple[str, str]]:
    """Each case's name and its text, paths told from the root of the project: lines wrap alike wherever that lies."""
    with chdir(ROOT):
        for name, paths in INPUTS.items():
            yield name, terminal.render(oomscope.explain(*map(_told, paths)), width=WIDTH)
        for name, path in EVERY_EVENT.items():
            rule = "\n" + "=" * WIDTH + "\n"
            yield name, rule.join(terminal.render(each, width=WIDTH) for each in explain_events(_told(path)))
        for name, (before, after) in DIFFERENCES.items():
            yield name, diff.text(compare(_told(before), _told(after)), width=WIDTH)


def _told(path: Path) -> Path:
    return path.relative_to(ROOT)


if __name__ == "__main__":
    for old in HERE.glob("*.txt"):
        old.unlink()
    for name, text in texts():
        (HERE / f"{name}.txt").write_text(text)
