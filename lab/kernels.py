"""The kernels of the lab. To add one, add a line to KERNELS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Architecture:
    """How the kernel, Debian and QEMU each call one processor, and what a guest on it needs."""

    name: str
    debian: str
    cross_compile: str
    image: str
    console: str
    qemu: tuple[str, ...]
    ramoops: str  # how 2 MiB are kept for pstore, over a reboot too
    arguments: str = ""  # of every guest


X86_64 = Architecture(
    name="x86_64",
    debian="amd64",
    cross_compile="x86_64-linux-gnu-",
    image="arch/x86/boot/bzImage",
    console="ttyS0",
    qemu=("qemu-system-x86_64", "-cpu", "max"),
    ramoops="memmap=2M$0x1e000000 ramoops.mem_address=0x1e000000 ramoops.mem_size=0x200000",
    # Emulated on a busy host, a timer may not tick in the time that the kernel gives it to show that it does.
    arguments="no_timer_check",
)
ARM64 = Architecture(
    name="arm64",
    debian="arm64",
    cross_compile="aarch64-linux-gnu-",
    image="arch/arm64/boot/Image",
    console="ttyAMA0",
    qemu=("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72"),
    ramoops="nokaslr reserve_mem=2M:4096:oops ramoops.mem_name=oops",
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of the lab, made from a Debian package of a suite.

    Usually `package` is the source, configured by the lab, and for a witness changed by `patch`. With a `flavour`, the
    newest image that Debian itself built of a series ("linux-image-6.12") is taken as it is; `modules` are those it
    needs to find its disk; without headers no module of the lab's can be built for it. With a `source`, that folder is
    copied and built instead of a package.
    """

    name: str
    package: str
    suite: str
    architecture: Architecture = X86_64
    patch: str | None = None
    source: Path | None = None
    flavour: str | None = None
    modules: tuple[str, ...] = ()
    scenarios: tuple[str, ...] | None = None  # these only
    page_owner_is_fatal_in: tuple[str, ...] = ()
    can_be_armed: bool = True  # has bpf_for_each_map_elem(), 5.13 and later
    has_headers: bool = True
    processor: str | None = None  # another one than the architecture's
    default: bool = False
    default_scenarios: tuple[str, ...] | None = None  # of the default ones, these only

    @property
    def fragments(self) -> tuple[Path, ...]:
        """The configuration files merged over `make tinyconfig`, in their order."""
        return (HERE / "config" / "common.config", HERE / "config" / f"{self.architecture.name}.config")


_FIRST_TO_BE_ARMED = (5, 13)
_PANICS = ("kmalloc-panic", "page-panic", "vmalloc-panic")
_ARMED = tuple(f"armed-{name}" for name in _PANICS)

# 6.12.117 takes the memcg of a user page for an object cgroup in print_page_owner_memcg() (mm/page_owner.c): reading
# page_owner ends in an oops as soon as a page is charged to any cgroup but the root.
_CHARGED_TO_A_CGROUP = ("memcg-kill", "panic-on-oom-2")

# In the order in which they depend on each other: Debian's general image has even these as modules, others some.
_DISK_OF_DEBIAN = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"),
    *("crc16", "mbcache", "jbd2", "crc32c_generic", "ext4"),
)

# What an older kernel does in another way: forms of page_owner and of the report, slab and its owners, the dump's
# structures, what the BPF programs hook. The rest is the same code on both sides: `make lab-all` runs it.
_DIFFER_BY_KERNEL = (
    *("kmalloc-panic", "page-panic", "vmalloc-panic", "slab-owners", "set-aside", "live", "memcg-kill", "tasks"),
    *("asks", "armed-both-ways", "doctor", "tracked-page-panic", "tracked-beside-page-owner", "crash-kernel"),
)

# What needs no module of the lab's.
_WITHOUT_MODULES = ("pipe-panic", "tracked-pipe-panic", "leaks-by-calls-tracked", "leaks-by-files-tracked")
_LEAKS = ("leaks-of-modules-tracked", "leaks-by-calls-tracked", "leaks-by-files-tracked")


def _stock(
    name: str,
    series: str,
    suite: str,
    flavour: str = "cloud-amd64",
    *,
    can_be_armed: bool = True,
    default: bool = False,
) -> Kernel:
    return Kernel(
        name,
        f"linux-image-{series}",
        suite,
        ARM64 if "arm64" in flavour else X86_64,
        flavour=flavour,
        modules=_DISK_OF_DEBIAN,
        scenarios=_WITHOUT_MODULES,
        has_headers=False,
        can_be_armed=can_be_armed,
        processor="max" if flavour.endswith("16k") else None,  # for 16 KiB pages QEMU's Cortex-A72 is too old
        default=default,
        default_scenarios=("tracked-pipe-panic",) if can_be_armed else ("pipe-panic",),
    )


def from_source(folder: Path) -> Kernel:
    """Whatever kernel lies in a folder. Raises LabError where none does."""
    try:
        told = dict(re.findall(r"^(VERSION|PATCHLEVEL) = (\d+)$", (folder / "Makefile").read_text(), re.MULTILINE))
        series = int(told["VERSION"]), int(told["PATCHLEVEL"])
    except (OSError, KeyError) as error:
        raise LabError(f"{folder} is no source tree of Linux: its Makefile tells no version") from error
    return Kernel(
        f"{series[0]}.{series[1]}-source", "", "", source=folder.resolve(), can_be_armed=series >= _FIRST_TO_BE_ARMED
    )


KERNELS = (
    Kernel("6.1", "linux-source-6.1", "bookworm", default=True, default_scenarios=_DIFFER_BY_KERNEL),
    Kernel("6.12", "linux-source-6.12", "bookworm", default=True, page_owner_is_fatal_in=_CHARGED_TO_A_CGROUP),
    Kernel("5.10", "linux-source-5.10", "bullseye", can_be_armed=False),
    Kernel("7.2", "linux-source-7.2", "sid"),
    Kernel(
        "6.12-arm64",
        "linux-source-6.12",
        "bookworm",
        ARM64,
        page_owner_is_fatal_in=_CHARGED_TO_A_CGROUP,
        default=True,
        default_scenarios=("page-panic", "armed-kmalloc-panic", "armed-both-ways", "doctor", "tracked-page-panic"),
    ),
    Kernel(
        "6.12-debian",
        "linux-image-6.12",
        "bookworm",
        flavour="cloud-amd64",
        modules=("virtio_blk",),
        scenarios=(*_PANICS, "many-paths", "anon-kill", "kdump", "tracked-page-panic", *_LEAKS),
        default=True,
        default_scenarios=("tracked-page-panic",),
    ),
    Kernel(
        "6.1-debian",
        "linux-image-6.1",
        "bookworm",
        flavour="amd64",
        modules=_DISK_OF_DEBIAN,
        scenarios=("page-panic", "tracked-page-panic"),
        default=True,
        default_scenarios=("tracked-page-panic",),
    ),
    Kernel("6.1-witness", "linux-source-6.1", "bookworm", patch="witness.patch", scenarios=(*_PANICS, *_ARMED)),
    Kernel("6.12-witness", "linux-source-6.12", "bookworm", patch="witness.patch", scenarios=(*_PANICS, *_ARMED)),
    _stock("5.10-bullseye", "5.10", "bullseye", can_be_armed=False, default=True),
    _stock("5.10-bullseye-arm64", "5.10", "bullseye", "cloud-arm64", can_be_armed=False),
    _stock("6.12-trixie", "6.12", "trixie", default=True),
    _stock("6.16-trixie", "6.16", "trixie-backports"),
    _stock("6.17-trixie", "6.17", "trixie-backports"),
    _stock("6.18-trixie", "6.18", "trixie-backports"),
    _stock("6.19-trixie", "6.19", "trixie-backports"),
    _stock("7.2-trixie", "7.2", "trixie-backports"),
    _stock("7.3-trixie", "7.3", "trixie-backports"),
    _stock("7.2-sid", "7.2", "sid", "amd64"),
    _stock("7.2-sid-arm64-16k", "7.2", "sid", "arm64-16k"),
)
