"""The ways in which a guest runs out of memory, and what is true of each. To add one, add an entry to SCENARIOS.

A script runs in the guest's first process with the helpers of guest/init: `capture MOMENT`, `take WAY N`,
`exhaust WAY`, `hold WAY N`. Counts are primes, so that no number comes out right by accident.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace

from lab import leaks
from lab.kernels import ARM64, X86_64, Architecture, Kernel

PANIC_WITHOUT_VICTIMS = "System is deadlocked on memory"
PANIC_AT_ANY_OOM = "Out of memory: system-wide panic_on_oom is enabled"
KILLED = "Out of memory: Killed process"
KILLED_IN_CGROUP = "Memory cgroup out of memory: Killed process"
# Forms of a core, by QEMU's names, the file each is kept in, and why: an ELF core takes seven times the room on disk.
ELF, COMPRESSED = "elf", "kdump-zlib"  # Debian's QEMU is built without lzo and snappy
CORE_FILES = {ELF: "core", COMPRESSED: f"core.{COMPRESSED}"}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds memory at a moment: `pages` as asked for, or None where the guest alone can tell (whole slabs).

    `function` is what the guest's account calls it: the module's function, or the way of `eat` for user memory.
    """

    moment: str
    function: str
    pages: int | None
    module: str | None = "oomlab"
    kind: str = "kernel"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a guest does, how that ends ("panic", "kill" or "alive"), and what its console must say then."""

    name: str
    script: str
    end: str
    says: str = ""
    oom_class: str = ""  # why its last OOM happened (docs/rules); "a|b" where a report alone tells less than a dump
    holders: tuple[Holder, ...] = ()
    culprit: str | None = None  # who takes the last of memory, where that is kernel memory
    memory_mib: int = 512
    arguments: str = "page_owner=on"
    devices: tuple[str, ...] = ()
    architectures: tuple[Architecture, ...] = (X86_64, ARM64)
    default: bool = False
    cores: tuple[str, ...] = (COMPRESSED,)
    makedumpfile: bool = False
    ramoops: bool = False  # 2 MiB are kept for pstore
    runs_oomscope: bool = False  # the guest has a Debian with Python and this checkout, read only
    packaged_for: str | None = None  # that Debian is a clean one of this suite with the package of `make deb` in it
    may_reboot: bool = False
    limit_s: float = 240
    processors: int = 2
    arms: bool | None = None  # for kernels that can be armed, or for those that cannot

    def runs_on(self, kernel: Kernel) -> bool:
        """Whether a kernel is one for this scenario."""
        if self.arms is not None and self.arms != kernel.can_be_armed:
            return False
        return kernel.architecture in self.architectures and self.name in (kernel.scenarios or (self.name,))


def _crash_kernel(
    name: str,
    *steps: str,
    arguments: str = "page_owner=on crashkernel=256M",
    arms: bool | None = None,
    default: bool = False,
) -> Scenario:
    """A panic whose crash kernel has the reader of `arm --kdump`, and then saves the dump; `steps` go before it."""
    return Scenario(
        name,
        "\n".join(["boot_files", *steps, "capture taken", "exhaust page"]),
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        culprit="take_page",
        memory_mib=1024,
        arguments=arguments,
        cores=(),
        limit_s=480,
        makedumpfile=True,
        runs_oomscope=True,
        arms=arms,
        default=default,
    )


_PLAIN = (
    Scenario(
        "kmalloc-panic",
        # The experiment of the 2020 patch: 2 GiB, kmalloc(2048) from reading a file of /proc.
        """
        capture at-rest
        take kmalloc 300007
        capture taken
        exhaust kmalloc
        """,
        end="panic",
        oom_class="slab",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_kmalloc", None, kind="slab"),),
        culprit="take_kmalloc",
        memory_mib=2048,
        cores=(ELF,),
        default=True,
    ),
    Scenario(
        "page-panic",
        """
        capture at-rest
        take page 40009
        capture taken
        exhaust page
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_page", 40009),),
        culprit="take_page",
        cores=(ELF,),
        default=True,
    ),
    Scenario(
        "vmalloc-panic",
        """
        capture at-rest
        take vmalloc 127
        capture taken
        exhaust vmalloc
        """,
        end="panic",
        oom_class="vmalloc|hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_vmalloc", 127 * 256),),
        culprit="take_vmalloc",
        cores=(ELF,),
        default=True,
    ),
    Scenario(
        "many-paths",
        """
        capture at-rest
        take paths 30011
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_shared", 30011),),
        cores=(ELF, COMPRESSED),
        default=True,
    ),
    Scenario(
        "many-paths-panic",
        # No single stack shows how much one function holds; an armed kernel's console says it.
        """
        take paths 40009
        exhaust paths
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        culprit="take_shared",
    ),
    Scenario(
        "partly-freed",
        """
        capture at-rest
        take split 3001
        take exact 2003
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_split", 3001 * 5), Holder("taken", "take_exact", 2003 * 5)),
        default=True,
    ),
    Scenario(
        "slab-cache",
        """
        capture at-rest
        take object 50021
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_object", None, kind="slab"),),
        default=True,
    ),
    Scenario(
        "slab-owners",
        # Objects of one cache, each with its owner beside it (struct track).
        """
        capture at-rest
        take object 10007
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_object", None, kind="slab"),),
        arguments="page_owner=on slub_debug=U",
        default=True,
    ),
    Scenario(
        "set-aside",
        # Memory with a keeper of its own: a compressed disk, contiguous memory, huge pages in a process.
        """
        capture at-rest
        echo 64M > /sys/block/zram0/disksize
        dd if=/dev/urandom of=/dev/zram0 bs=64k count=401
        eat cma 1009
        echo 13 > /proc/sys/vm/nr_hugepages
        eat huge 13
        capture taken
        """,
        end="alive",
        arguments="page_owner=on cma=64M",
        architectures=(X86_64,),
        default=True,
    ),
    Scenario(
        "unloaded-module",
        # A leak whose module is gone: its frames have no names any more.
        """
        capture at-rest
        take page 10007
        capture taken
        rmmod oomlab
        """,
        end="alive",
        holders=(Holder("taken", "take_page", 10007),),
        default=True,
    ),
    Scenario(
        "page-owner-off",
        # Nobody records who takes pages; a census of the page frames still tells most.
        """
        capture at-rest
        take page 20011
        take vmalloc 61
        take object 10007
        capture taken
        """,
        end="alive",
        holders=(
            Holder("taken", "take_page", 20011),
            Holder("taken", "take_vmalloc", 61 * 256),
            Holder("taken", "take_object", None, kind="slab"),
        ),
        arguments="",
        default=True,
    ),
    Scenario(
        "live",
        # The command itself, in the guest: kernel memory through /proc/kcore.
        """
        oomscope --version
        capture at-rest
        take page 20011
        capture taken
        oomscope explain --live --format json > /case/taken/live.json
        """,
        end="alive",
        holders=(Holder("taken", "take_page", 20011),),
        memory_mib=768,
        architectures=(X86_64,),
        cores=(),
        runs_oomscope=True,
        limit_s=300,
        default=True,
    ),
    Scenario(
        "collect",
        # The command, which sees the case as /mnt, gathers one in the guest; elsewhere it is explained.
        """
        oomscope --version
        capture at-rest
        take page 20011
        capture taken
        oomscope collect -o /mnt/taken/case.tar.zst
        oomscope collect --redact -o /mnt/taken/redacted.tar.zst
        """,
        end="alive",
        holders=(Holder("taken", "take_page", 20011),),
        memory_mib=768,
        cores=(),
        runs_oomscope=True,
        limit_s=300,
        default=True,
    ),
    Scenario(
        "top",
        # A leak while the command watches.
        """
        oomscope --version
        capture at-rest
        oomscope top --interval 3 --format json > /case/top.json &
        until [ -s /case/top.json ]; do sleep 1; done
        take page 5003
        lines=$(wc -l < /case/top.json)
        until [ "$(wc -l < /case/top.json)" -ge $((lines + 2)) ]; do sleep 1; done
        kill $!
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_page", 5003),),
        memory_mib=768,
        architectures=(X86_64,),
        cores=(),
        runs_oomscope=True,
        limit_s=300,
        default=True,
    ),
    Scenario(
        "anon-kill",
        """
        capture at-rest
        hold anon 30011
        capture taken
        eat all || true
        """,
        end="kill",
        oom_class="user-anon",
        says=KILLED,
        holders=(Holder("taken", "anon", 30011, module=None, kind="user"),),
        default=True,
    ),
    Scenario(
        "memcg-kill",
        """
        echo +memory > /sys/fs/cgroup/cgroup.subtree_control
        mkdir /sys/fs/cgroup/small
        echo 96M > /sys/fs/cgroup/small/memory.max
        capture at-rest
        sh -ec '
            echo 0 > /sys/fs/cgroup/small/cgroup.procs
            eat anon 10007 /case/held.anon
        '
        capture taken
        sh -c '
            echo 0 > /sys/fs/cgroup/small/cgroup.procs
            eat all
        ' || true
        """,
        end="kill",
        oom_class="memcg-limit",
        says=KILLED_IN_CGROUP,
        holders=(Holder("taken", "anon", 10007, module=None, kind="user"),),
        default=True,
    ),
    Scenario(
        "high-orders",
        """
        capture at-rest
        take compound 307
        take high_order 211
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_compound", 307 * 16), Holder("taken", "take_high_order", 211 * 16)),
    ),
    Scenario(
        "two-leaks",
        """
        capture at-rest
        take page 20011
        take kmalloc 40009
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_page", 20011), Holder("taken", "take_kmalloc", None, kind="slab")),
    ),
    Scenario(
        "leak-stops-early",
        # One leak has stopped before the second capture, another goes on.
        """
        capture at-rest
        take page 20011
        take object 10007
        capture taken
        take object 10007
        capture later
        """,
        end="alive",
        holders=(
            Holder("taken", "take_page", 20011),
            Holder("taken", "take_object", None, kind="slab"),
            Holder("later", "take_page", 20011),
            Holder("later", "take_object", None, kind="slab"),
        ),
    ),
    Scenario(
        "balloon",
        # The host takes 200 MiB back: pages that stand on no list, belong to a driver, and are no RAM of this guest.
        """
        capture at-rest
        take page 20011
        balloon 312
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_page", 20011),),
        devices=("-device", "virtio-balloon-pci"),
        default=True,
    ),
    Scenario(
        "tasks",
        """
        capture at-rest
        eat tasks 997
        capture taken
        """,
        end="alive",
        default=True,
    ),
    Scenario(
        "tmpfs",
        """
        mkdir /shm
        mount -t tmpfs -o size=90% tmpfs /shm
        capture at-rest
        hold file 20011 /shm/file
        capture taken
        """,
        end="alive",
        default=True,
        holders=(Holder("taken", "file", 20011, module=None, kind="page-cache"),),
    ),
    Scenario(
        "mlock",
        """
        capture at-rest
        hold locked 20011
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "locked", 20011, module=None, kind="user"),),
    ),
    Scenario(
        "dirty-page-cache",
        """
        mkdir /disk
        mount -t ext4 /dev/vda /disk
        echo 90 > /proc/sys/vm/dirty_ratio
        echo 90 > /proc/sys/vm/dirty_background_ratio
        echo 0 > /proc/sys/vm/dirty_writeback_centisecs
        capture at-rest
        hold file 20011 /disk/file
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "file", 20011, module=None, kind="page-cache"),),
    ),
    Scenario(
        "hugetlb",
        """
        capture at-rest
        echo 101 > /proc/sys/vm/nr_hugepages
        capture taken
        """,
        end="alive",
        default=True,
    ),
    Scenario(
        "fragmentation-order-3",
        # Half of memory is free, in single pages: an order-3 request of GFP_KERNEL has to go the way of the OOM killer.
        """
        capture at-rest
        refused fragments 1000003
        capture taken
        exhaust order_3
        """,
        end="panic",
        oom_class="fragmentation",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_fragments", None),),
        arguments="page_owner=on msize=4096",  # up to 5.x the share's messages need a block as large as they are
    ),
    Scenario(
        "fragmentation-order-4",
        # The same for order 4, which may fail: a warning and no OOM.
        """
        capture at-rest
        refused fragments 1000003
        capture taken
        refused order_4 1009
        """,
        end="alive",
        oom_class="fragmentation",
        says="page allocation failure: order:4",
        holders=(Holder("taken", "take_fragments", None),),
        arguments="page_owner=on msize=4096",
    ),
    Scenario(
        "lowmem",
        # All but 192 MiB is for movable pages: kernel memory runs out while much is free.
        """
        capture at-rest
        take page 10007
        capture taken
        exhaust page
        """,
        end="panic",
        oom_class="lowmem-zone",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_page", 10007),),
        culprit="take_page",
        arguments="page_owner=on kernelcore=192M",
    ),
    Scenario(
        "shmem-panic",
        """
        echo 1 > /proc/sys/vm/panic_on_oom
        mkdir /shm
        mount -t tmpfs -o size=90% tmpfs /shm
        hold file 80021 /shm/file
        eat all
        """,
        end="panic",
        oom_class="shmem",
        says=PANIC_AT_ANY_OOM,
        default=True,
    ),
    Scenario(
        "hugetlb-panic",
        """
        echo 1 > /proc/sys/vm/panic_on_oom
        echo 157 > /proc/sys/vm/nr_hugepages
        eat all
        """,
        end="panic",
        oom_class="hugetlb",
        says=PANIC_AT_ANY_OOM,
        default=True,
    ),
    Scenario(
        "mlock-panic",
        """
        echo 1 > /proc/sys/vm/panic_on_oom
        hold locked 80021
        eat all
        """,
        end="panic",
        oom_class="user-anon",
        says=PANIC_AT_ANY_OOM,
        default=True,
    ),
    Scenario(
        "panic-on-oom-1",
        """
        echo 1 > /proc/sys/vm/panic_on_oom
        hold anon 30011
        capture taken
        eat all
        """,
        end="panic",
        oom_class="user-anon",
        says=PANIC_AT_ANY_OOM,
        holders=(Holder("taken", "anon", 30011, module=None, kind="user"),),
    ),
    Scenario(
        "panic-on-oom-2",
        """
        echo 2 > /proc/sys/vm/panic_on_oom
        echo +memory > /sys/fs/cgroup/cgroup.subtree_control
        mkdir /sys/fs/cgroup/small
        echo 64M > /sys/fs/cgroup/small/memory.max
        capture at-rest
        sh -c '
            echo 0 > /sys/fs/cgroup/small/cgroup.procs
            eat all
        '
        """,
        end="panic",
        oom_class="memcg-limit",
        says="Out of memory: compulsory panic_on_oom is enabled",
    ),
    Scenario(
        "sysrq-f",
        """
        hold anon 20011
        capture taken
        echo f > /proc/sysrq-trigger
        sleep 3
        """,
        end="kill",
        oom_class="no-shortage",
        says=KILLED,
        holders=(Holder("taken", "anon", 20011, module=None, kind="user"),),
    ),
    Scenario(
        "numa",
        """
        capture at-rest
        take on_node_1 20011
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_on_node_1", 20011),),
        devices=(
            *("-object", "memory-backend-ram,id=m0,size=256M", "-object", "memory-backend-ram,id=m1,size=256M"),
            *("-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1"),
        ),
    ),
    Scenario(
        "kdump",
        # The panic boots a second kernel, which saves the memory of the first with makedumpfile -d 31.
        """
        boot_files
        load-crash-kernel /boot/kernel /boot/initramfs "$(cat /boot/arguments) reset_devices maxcpus=1"
        capture at-rest
        take page 40009
        capture taken
        exhaust page
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_page", 40009),),
        culprit="take_page",
        memory_mib=768,
        arguments="page_owner=on crashkernel=256M",
        cores=(),
        makedumpfile=True,
    ),
    # The crash kernel tells who held the memory, before it saves the dump of the same crash.
    _crash_kernel("crash-kernel", "arm_crash_kernel", "take paths 30011", default=True),
    # Without page_owner: what `arm --track` kept is what the crash kernel tells.
    _crash_kernel(
        "crash-kernel-tracked",
        "oomscope arm --track >/case/track.txt",
        "arm_crash_kernel",
        "take paths 30011",
        arguments="crashkernel=256M",
        arms=True,
    ),
    # The plan is of another kernel: that is said, and the dump is saved.
    _crash_kernel("crash-kernel-other-plan", "arm_crash_kernel other", "take page 30011"),
    # The crash kernel has hardly room for itself.
    _crash_kernel(
        "crash-kernel-small", "arm_crash_kernel", "take page 30011", arguments="page_owner=on crashkernel=96M"
    ),
    Scenario(
        "pstore",
        # The panic reboots the machine; the next boot finds what the last one left in reserved memory.
        """
        capture at-rest
        take page 40009
        capture taken
        exhaust page
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_page", 40009),),
        culprit="take_page",
        arguments="page_owner=on panic=1 ramoops.record_size=0x40000 ramoops.console_size=0x80000",
        ramoops=True,
        cores=(),
        may_reboot=True,
    ),
)

_ARMED = (
    Scenario(
        "armed-not-fooled",
        # OOMs that nobody dies of but a process: the one report is not wasted on them.
        """
        oomscope arm > /case/arm.txt
        refusal twice
        echo +memory > /sys/fs/cgroup/cgroup.subtree_control
        mkdir /sys/fs/cgroup/small
        echo 64M > /sys/fs/cgroup/small/memory.max
        sh -c '
            echo 0 > /sys/fs/cgroup/small/cgroup.procs
            eat all
        ' || true
        hold anon 10007
        echo f > /proc/sysrq-trigger
        sleep 3
        eat all || true
        oomscope arm --status > /case/status.txt
        exhaust page
        """,
        end="panic",
        says=PANIC_WITHOUT_VICTIMS,
        culprit="take_page",
        memory_mib=768,
        runs_oomscope=True,
        arms=True,
    ),
    Scenario(
        "armed-kill",
        # Two kills within a minute: one report. It stays in the map for whoever asks later.
        """
        oomscope arm --on kill --top 2 > /case/arm.txt
        take page 20011
        capture taken
        eat all || true
        eat all || true
        oomscope arm --status > /case/status.txt
        oomscope explain --live --format json > /case/live.json
        """,
        end="kill",
        says=KILLED,
        holders=(Holder("taken", "take_page", 20011),),
        memory_mib=768,
        runs_oomscope=True,
        arms=True,
    ),
    Scenario(
        "armed-both-ways",
        # The same panic counted in both ways, one after the other on one stopped machine.
        """
        if grep -q " stack_list$" /proc/kallsyms; then
            oomscope arm --way stacks --top 16 > /case/arm.txt
            lab_python arm_beside.py pages
        else
            oomscope arm --way pages --top 16 > /case/arm.txt
            ! oomscope arm --way stacks
        fi
        take paths 30011
        exhaust page
        """,
        end="panic",
        says=PANIC_WITHOUT_VICTIMS,
        culprit="take_page",
        memory_mib=1536,
        runs_oomscope=True,
        arms=True,
        default=True,
    ),
    Scenario(
        "armed-sampled",
        # As on a machine with terabytes: one page of 64 is looked at.
        """
        oomscope arm --way pages --stride 64 > /case/arm.txt
        take paths 40009
        exhaust paths
        """,
        end="panic",
        says=PANIC_WITHOUT_VICTIMS,
        culprit="take_shared",
        memory_mib=768,
        runs_oomscope=True,
        arms=True,
    ),
    Scenario(
        "armed-stopped",
        # A bound that no walk over all pages meets.
        """
        oomscope arm --way pages --limit 0.001 > /case/arm.txt
        exhaust page
        """,
        end="panic",
        says=PANIC_WITHOUT_VICTIMS,
        culprit="take_page",
        memory_mib=768,
        runs_oomscope=True,
        arms=True,
    ),
    Scenario(
        "armed-integrity",
        # What Secure Boot sets by itself forbids neither programs nor the trace.
        """
        mount -t securityfs securityfs /sys/kernel/security
        echo integrity > /sys/kernel/security/lockdown
        oomscope arm > /case/arm.txt
        exhaust page
        """,
        end="panic",
        says=PANIC_WITHOUT_VICTIMS,
        culprit="take_page",
        memory_mib=768,
        runs_oomscope=True,
        arms=True,
    ),
    Scenario(
        "armed-into-the-log",
        # With tp_printk the lines are in the log before the panic ends, and nothing of the trace has to be set.
        """
        oomscope arm > /case/arm.txt
        exhaust page
        """,
        end="panic",
        says=PANIC_WITHOUT_VICTIMS,
        culprit="take_page",
        memory_mib=768,
        arguments="page_owner=on tp_printk",
        runs_oomscope=True,
        arms=True,
    ),
    Scenario(
        "arm-and-disarm",
        # A hundred times, and nothing is left behind; what is armed, and what a page fault costs meanwhile.
        """
        mount -t securityfs securityfs /sys/kernel/security
        lab_python arm_rounds.py /case/rounds.json
        """,
        end="alive",
        memory_mib=768,
        runs_oomscope=True,
        arms=True,
        limit_s=900,
    ),
    Scenario(
        "arm-refused",
        # Whatever is missing is said in one sentence, with exit code 4, and nothing is changed.
        """
        mount -t securityfs securityfs /sys/kernel/security
        oomscope --version
        umount /debian/sys/fs/bpf
        refusal without-bpffs
        mount -t bpf bpf /debian/sys/fs/bpf
        mount -t tmpfs tmpfs /debian/sys/kernel/btf
        refusal without-btf
        refusal tracking-without-btf --track
        umount /debian/sys/kernel/btf
        echo 2 > /proc/sys/kernel/kptr_restrict
        refusal without-addresses
        refusal tracking-without-addresses --track
        echo 0 > /proc/sys/kernel/kptr_restrict
        refusal without-page-owner
        """,
        end="alive",
        memory_mib=768,
        arguments="",
        cores=(),
        runs_oomscope=True,
        arms=True,
        default=True,
    ),
    Scenario(
        "arm-locked-down",
        """
        mount -t securityfs securityfs /sys/kernel/security
        echo confidentiality > /sys/kernel/security/lockdown
        refusal confidentiality
        refusal tracking-confidentiality --track
        status=0
        oomscope explain --live > /case/live.txt 2> /case/live.err || status=$?
        echo "exit $status" >> /case/live.err
        """,
        end="alive",
        memory_mib=768,
        cores=(),
        runs_oomscope=True,
        arms=True,
        default=True,
    ),
    Scenario(
        "watch",
        # Kills in cgroups named as the kubelet names them, told to journald, Prometheus, node_exporter and a webhook;
        # the watch is killed and started again, stopped while the ring overflows, and the clock is set.
        """
        ifconfig lo up
        oomscope --version
        mount -t tmpfs tmpfs /debian/var/log
        lab_python watch.py
        """,
        end="kill",
        says=KILLED_IN_CGROUP,
        oom_class="memcg-limit",
        memory_mib=1024,
        arguments="log_buf_len=256K",
        architectures=(X86_64,),
        cores=(),
        runs_oomscope=True,
        limit_s=480,
        default=True,
    ),
    Scenario(
        "watch-leaks",
        # Fifty pages a second that nobody frees, among two thousand that come and go.
        """
        oomscope --version
        lab_python watch_leaks.py
        """,
        end="alive",
        memory_mib=1024,
        architectures=(X86_64,),
        cores=(),
        runs_oomscope=True,
        limit_s=900,
        default=True,
    ),
    Scenario(
        "doctor",
        # What can be mended while the machine runs, and the commands that the doctor prints for it.
        """
        oomscope --version
        umount /debian/sys/fs/bpf
        umount /debian/sys/fs/pstore
        echo 2 > /proc/sys/kernel/kptr_restrict
        lab_python mend.py
        """,
        end="alive",
        memory_mib=768,
        ramoops=True,
        cores=(),
        runs_oomscope=True,
        arms=True,
        default=True,
    ),
    Scenario(
        "doctor-at-boot",
        # What takes a reboot is the other way round here: no page_owner, but a crash kernel and tp_printk.
        """
        boot_files
        load-crash-kernel /boot/kernel /boot/initramfs "$(cat /boot/arguments) reset_devices maxcpus=1"
        oomscope --version
        lab_python mend.py
        """,
        end="alive",
        memory_mib=768,
        arguments="tp_printk loglevel=4 crashkernel=256M",
        cores=(),
        runs_oomscope=True,
        arms=True,
        default=True,
    ),
    Scenario(
        "doctor-small-crash-kernel",
        # A crash kernel that can be loaded and would find no room to work, and a stack depot that keeps no stacks.
        """
        boot_files
        load-crash-kernel /boot/kernel /boot/initramfs "$(cat /boot/arguments) reset_devices maxcpus=1"
        oomscope --version
        mount -t tmpfs tmpfs /debian/var/lib
        mkdir /debian/var/lib/kdump
        cp /boot/initramfs "/debian/var/lib/kdump/initrd.img-$(uname -r)"
        lab_python mend.py
        """,
        end="alive",
        memory_mib=768,
        arguments="page_owner=on stack_depot_disable=on crashkernel=64M",
        cores=(),
        runs_oomscope=True,
        arms=True,
    ),
    Scenario(
        "arm-too-old",
        """
        refusal too-old
        refusal tracking-too-old --track
        """,
        end="alive",
        memory_mib=768,
        cores=(),
        runs_oomscope=True,
        arms=False,
    ),
)


_TRACKED = (
    Scenario(
        "tracked-many-paths-panic",
        # The same without page_owner, by a module that was loaded after arming.
        """
        rmmod oomlab
        oomscope arm --track > /case/arm.txt
        oomscope arm --status > /case/status.txt
        insmod /oomlab.ko
        take paths 40009
        capture taken
        exhaust paths
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_shared", 40009),),
        culprit="take_shared",
        memory_mib=768,
        arguments="",
        runs_oomscope=True,
        arms=True,
        limit_s=400,
        default=True,
    ),
    Scenario(
        "tracked-page-panic",
        # Without page_owner: the programs on the allocation path know who took the pages.
        """
        oomscope doctor > /case/doctor.txt || true
        oomscope arm --track --top 8 > /case/arm.txt
        oomscope arm --status > /case/status.txt
        capture at-rest
        take page 40009
        take vmalloc 3
        capture taken
        oomscope explain --live --format json > /case/taken/live.json
        sync
        exhaust page
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_page", 40009), Holder("taken", "take_vmalloc", 3 * 256)),
        culprit="take_page",
        memory_mib=768,
        arguments="",
        runs_oomscope=True,
        arms=True,
        limit_s=400,
        default=True,
    ),
    Scenario(
        "pipe-panic",
        # Without a module and without a record of owners: what a dump alone tells.
        """
        capture at-rest
        leaks pipe 20011
        capture taken
        leak_until_panic pipe
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_AT_ANY_OOM,
        arguments="",
        cores=(ELF,),
        default=True,
    ),
    Scenario(
        "tracked-pipe-panic",
        # The same where no module can be built: what programs leak through pipes takes the last of memory.
        """
        oomscope doctor > /case/doctor.txt || true
        oomscope arm --track --top 8 > /case/arm.txt
        oomscope arm --status > /case/status.txt
        capture at-rest
        leaks pipe 20011
        capture taken
        oomscope explain --live --format json > /case/taken/live.json
        leak_until_panic pipe
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_AT_ANY_OOM,
        culprit="pipe_write|anon_pipe_write",
        memory_mib=768,
        arguments="",
        runs_oomscope=True,
        arms=True,
        limit_s=400,
        default=True,
    ),
    Scenario(
        "tracked-balloon-panic",
        # The same to the end, where the programs here keep the owners.
        """
        oomscope arm --track > /case/arm.txt
        oomscope arm --status > /case/status.txt
        take page 20011
        balloon 512
        capture taken
        exhaust page
        """,
        end="panic",
        oom_class="hidden-kernel",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_page", 20011),),
        culprit="take_page",
        memory_mib=768,
        arguments="",
        devices=("-device", "virtio-balloon-pci"),
        runs_oomscope=True,
        arms=True,
        limit_s=400,
    ),
    Scenario(
        "tracked-kernel-only",
        # Only the kernel's: what a file of tmpfs holds is counted, and not by stack.
        """
        oomscope arm --track --kernel-only > /case/arm.txt
        mkdir /shm
        mount -t tmpfs -o size=90% tmpfs /shm
        hold file 20011 /shm/file
        take page 30011
        capture taken
        oomscope arm --status > /case/status.txt
        exhaust page
        """,
        end="panic",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(Holder("taken", "take_page", 30011),),
        culprit="take_page",
        memory_mib=768,
        arguments="",
        runs_oomscope=True,
        arms=True,
    ),
    Scenario(
        "tracked-beside-page-owner",
        # Both record on four processors under load (ten million events), with interrupts that allocate, compaction and
        # vmalloc; the dump of the stopped machine has both, and they are compared page by page.
        """
        oomscope arm --track > /case/arm.txt
        echo 2000000 > /proc/oomlab/interrupts
        hold anon 10007
        for round in 1 2 3; do
            for each in 1 2 3 4; do echo 420001 > /proc/oomlab/churn & done
            echo 1 > /proc/sys/vm/compact_memory
            take vmalloc 3
            take paths 2003
            take fragments 1009
            wait
        done
        take split 307
        take exact 211
        take high_order 101
        echo 1 > /proc/sys/vm/compact_memory
        echo 0 > /proc/oomlab/interrupts
        oomscope arm --status > /case/status.txt
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_shared", 3 * 2003), Holder("taken", "take_split", 307 * 5)),
        memory_mib=1024,
        processors=4,
        runs_oomscope=True,
        arms=True,
        limit_s=500,
        default=True,
    ),
    Scenario(
        "tracked-by-kprobes",
        # As on kernels without function entries: migration by a kprobe, the ends of functions not at all.
        """
        oomscope arm --track --kprobes > /case/arm.txt
        hold anon 10007
        for round in 1 2 3; do
            for each in 1 2 3 4; do echo 42001 > /proc/oomlab/churn & done
            echo 1 > /proc/sys/vm/compact_memory
            take paths 2003
            take fragments 1009
            wait
        done
        echo 1 > /proc/sys/vm/compact_memory
        take vmalloc 3
        oomscope arm --status > /case/status.txt
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_shared", 3 * 2003), Holder("taken", "take_vmalloc", 3 * 256)),
        memory_mib=1024,
        processors=4,
        architectures=(X86_64,),
        runs_oomscope=True,
        arms=True,
        limit_s=500,
        default=True,
    ),
    Scenario(
        "tracked-plugged-in",
        # Memory that came later than the table, which a process gets first; and contiguous memory.
        """
        oomscope arm --track > /case/arm.txt
        eat cma 1009
        take page 20011
        echo 0x30000000 > /sys/devices/system/memory/probe
        echo online_movable > /sys/devices/system/memory/memory6/state
        hold anon 10007
        oomscope arm --status > /case/status.txt
        capture taken
        """,
        end="alive",
        holders=(Holder("taken", "take_page", 20011),),
        memory_mib=1024,
        arguments="page_owner=on cma=64M mem=768M",
        architectures=(X86_64,),
        runs_oomscope=True,
        arms=True,
        default=True,
    ),
    Scenario(
        "tracked-spoilt-stacks",
        # Equal hashes, a slot being written, no stack, and in the end no slot for what takes the last of memory.
        """
        set -- $(grep ' callchain_recursion$' /proc/kallsyms)
        echo 0x$1 > /sys/module/oomlab/parameters/callchain_recursion
        lab_python damaged_stacks.py /case/spoilt.json
        oomscope arm --status > /case/status.txt
        capture taken
        exhaust compound
        """,
        end="panic",
        says=PANIC_WITHOUT_VICTIMS,
        holders=(
            Holder("taken", "take_split", (101 + 1) * 5),
            Holder("taken", "take_order_3", (103 + 1) * 8),
            Holder("taken", "take_unseen", 109),
            Holder("taken", "take_order_4", 7 * 16),
        ),
        memory_mib=768,
        arguments="",
        architectures=(X86_64,),
        runs_oomscope=True,
        arms=True,
        default=True,
    ),
    Scenario(
        "tracked-kill",
        # An OOM kill with tracking: the same lines, and the map for whoever asks later.
        """
        oomscope arm --track --on kill --top 2 > /case/arm.txt
        take page 20011
        capture taken
        eat all || true
        oomscope arm --status > /case/status.txt
        oomscope explain --live --format json > /case/live.json
        """,
        end="kill",
        says=KILLED,
        holders=(Holder("taken", "take_page", 20011),),
        memory_mib=768,
        arguments="",
        architectures=(X86_64,),
        runs_oomscope=True,
        arms=True,
        default=True,
    ),
    Scenario(
        "tracked-live",
        # A slow leak beside churn while the machine lives: top, explain, collect, diff; then all of it is taken away.
        """
        oomscope --version
        ls /sys/fs/bpf > /case/before.pins
        oomscope arm --track > /case/arm.txt
        refusal twice
        while echo 20011 > /proc/oomlab/churn; do :; done &
        churn=$!
        oomscope collect -o /mnt/early.tar.zst
        oomscope top --interval 5 --sort change --format json > /case/top.json &
        top=$!
        until [ -s /case/top.json ]; do sleep 1; done
        for second in $(seq 60); do take page 53; sleep 1; done
        lines=$(wc -l < /case/top.json)
        until [ "$(wc -l < /case/top.json)" -ge $((lines + 1)) ]; do sleep 1; done
        kill $top
        kill $churn
        capture taken
        oomscope arm --status > /case/status.txt
        oomscope collect -o /mnt/taken/case.tar.zst
        oomscope explain --live --format json > /case/taken/live.json
        oomscope disarm > /case/disarm.txt
        ls /sys/fs/bpf > /case/after.pins
        """,
        end="alive",
        holders=(Holder("taken", "take_page", 60 * 53),),
        memory_mib=768,
        arguments="",
        architectures=(X86_64,),
        cores=(),
        runs_oomscope=True,
        arms=True,
        limit_s=500,
        default=True,
    ),
)


_ASKS = (
    Scenario(
        "asks",
        # The page allocator, asked at the edge of its watermarks: its answers beside what show_mem() says.
        """
        at() { grep -E " [Tt] ($1)$" /proc/kallsyms | head -n 1 | cut -d " " -f 1; }
        insmod /asks.ko show_mem=0x$(at "__show_mem|show_mem") drain=0x$(at drain_local_pages) ||
            fail "asks.ko does not load"
        dmesg -n 1
        echo 2000 > /proc/asks
        dmesg > /case/asks
        dmesg -n 7
        """,
        end="alive",
        memory_mib=4352,
        arguments="cma=64M log_buf_len=16M sysctl.vm.mem_profiling=never",
        architectures=(X86_64,),
        cores=(),
        processors=1,
        default=True,
    ),
)


_COSTS = (
    Scenario(
        "tracked-cost",
        # What the allocation path costs with and without, and with bcc's memleak, in turn in one guest.
        """
        lab_python track_cost.py /case/cost.json off idle kernel-only all memleak
        """,
        end="alive",
        memory_mib=768,
        arguments="",
        cores=(),
        runs_oomscope=True,
        arms=True,
        limit_s=600,
    ),
    Scenario(
        "page-owner-cost",
        # The same loads where page_owner records.
        """
        lab_python track_cost.py /case/cost.json page_owner
        """,
        end="alive",
        memory_mib=768,
        cores=(),
        runs_oomscope=True,
        arms=True,
        limit_s=600,
    ),
)


def _armed(scenario: Scenario) -> Scenario:
    """The same with the reporter on the OOM path, put there by the command itself."""
    return replace(
        scenario,
        name=f"armed-{scenario.name}",
        script="oomscope arm > /case/arm.txt\n" + textwrap.dedent(scenario.script),
        memory_mib=max(scenario.memory_mib, 768),
        cores=(COMPRESSED,) if scenario.cores else (),
        runs_oomscope=True,
        arms=True,
        limit_s=400,
    )


_TO_BE_ARMED = (
    "kmalloc-panic",
    "many-paths-panic",
    "page-panic",
    "vmalloc-panic",
    "panic-on-oom-1",
    "panic-on-oom-2",
    "lowmem",
    "pstore",
)


def _packaged(suite: str) -> Scenario:
    """The package in a clean root of its suite, on a kernel: it explains, arms with tracking, and disarms."""
    return Scenario(
        f"packaged-{suite}",
        """
        oomscope explain /opt/checkout/examples/leak-6.12 > /case/explain.txt
        oomscope doctor > /case/doctor.txt || true
        oomscope arm --track > /case/arm.txt
        oomscope arm --status > /case/status.txt
        take page 40009
        oomscope explain --live --format json > /case/live.json
        oomscope disarm > /case/disarm.txt
        oomscope arm --status > /case/after.txt
        """,
        end="alive",
        memory_mib=768,
        arguments="",
        architectures=(X86_64,),
        runs_oomscope=True,
        packaged_for=suite,
        arms=True,
        limit_s=480,
    )


_PACKAGED = (_packaged("bookworm"), _packaged("trixie"))


def _leaks(group: str, *, tracked: bool) -> Scenario:
    """Many leaks of one guest: by page_owner, or tracked where the kernel is as its distribution built it."""
    arm = "oomscope arm --track > /case/arm.txt\n" if tracked else "oomscope --version\n"
    prepare = "mkdir /shm\nmount -t tmpfs -o size=90% tmpfs /shm\nip link set lo up\ncapture at-rest\n"
    taken = "capture taken\noomscope explain --live --format json > /case/taken/live.json\n"
    return Scenario(
        f"{group}-tracked" if tracked else group,
        f"{arm}{prepare}{leaks.script(group)}\n{taken}",
        end="alive",
        memory_mib=1024,
        arguments="" if tracked else "page_owner=on secretmem.enable=1",
        architectures=(X86_64,),
        cores=(ELF,),
        runs_oomscope=True,
        arms=True if tracked else None,
        limit_s=480,
    )


def _leaks_of_modules(*, tracked: bool) -> Scenario:
    """Kernel code that asks for memory from places that have no task of their own, or in ways of its own."""
    taken = "take work 307\ntake thread 211\ntake timer 401\ntake large 101\ntake bulk 251\ntake percpu 61\n"
    arm = "oomscope arm --track > /case/arm.txt\n" if tracked else ""
    return Scenario(
        "leaks-of-modules-tracked" if tracked else "leaks-of-modules",
        f"{arm}capture at-rest\n{taken}capture taken\n",
        end="alive",
        holders=(
            Holder("taken", "take_in_work", 307),
            Holder("taken", "take_in_thread", 211),
            Holder("taken", "take_in_timer", 401),
            Holder("taken", "take_large", 101 * 16),
            Holder("taken", "take_bulk", 251 * 8),
        ),
        memory_mib=768 if tracked else 512,
        arguments="" if tracked else "page_owner=on",
        architectures=(X86_64,),
        cores=(ELF,),
        runs_oomscope=tracked,
        arms=True if tracked else None,
    )


_LEAKS = (
    *(_leaks_of_modules(tracked=tracked) for tracked in (False, True)),
    *(_leaks(group, tracked=tracked) for group in leaks.GROUPS for tracked in (False, True)),
)

SCENARIOS = (
    *_PLAIN,
    *(_armed(scenario) for scenario in _PLAIN if scenario.name in _TO_BE_ARMED),
    *_ARMED,
    *_TRACKED,
    *_ASKS,
    *_COSTS,
    *_LEAKS,
    *_PACKAGED,
)
