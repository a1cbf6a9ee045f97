"""One scenario on one kernel, from boot to a folder with all that was captured and what is true of it.

console.log            the serial console, from the first line to the last
at-rest/, taken/, …    what the living guest told at each moment (page_owner, meminfo, slabinfo, …)
at-rest/held, …        who held which pages then, by the holders' own account: FUNCTION PFN PAGES
kallsyms, scenario.sh  the guest's symbols; what it ran
core, core.kdump-zlib  its memory after the end, from QEMU; or vmcore, made by makedumpfile -d 31
pstore/                what the next boot found
truth.json             who holds what, and how it ended
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import tempfile
import textwrap
from pathlib import Path

import zstandard

from lab import debian, initramfs
from lab.build import Built
from lab.cache import WORK_PREFIX
from lab.errors import GuestFailed
from lab.kernels import ARM64, HERE
from lab.qemu import Guest, Machine
from lab.scenarios import CORE_FILES, ELF, Holder, Scenario

_COMPRESS_FROM_BYTES = 64 << 10
_DISK_BYTES = 1 << 30
_PANIC = "Kernel panic - not syncing: "


def run(built: Built, scenario: Scenario, folder: Path) -> None:
    """Boot, provoke and capture; `folder` then holds the case. Raises GuestFailed where that went another way."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "scenario.sh").write_text(textwrap.dedent(scenario.script).lstrip())
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX) as work_name:
        work = Path(work_name)
        machine = _machine(built, scenario, folder, work)
        with Guest(machine) as guest:
            guest.wait_for_end(scenario.limit_s)
            console = guest.printed().decode(errors="replace")
            for form in _core_forms(built, scenario):
                guest.dump(folder / CORE_FILES[form], form)
        if built.kernel.flavour:
            _copy_disk(work / "disk", folder)
    for path in folder.glob("held.*"):
        path.unlink()
    truth = _truth(built, scenario, folder)
    _check(scenario, folder, console)
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    for path in folder.rglob("*"):
        if (
            path.is_file()
            and path.suffix != ".zst"
            and path.name.partition(".")[0] not in ("core", "vmcore")
            and path.stat().st_size >= _COMPRESS_FROM_BYTES
        ):
            _compress(path)


def text(path: Path) -> str:
    """A captured file, which may have been compressed and then has a name that ends in .zst."""
    if path.exists():
        return path.read_text()
    compressed = path.with_name(path.name + ".zst").read_bytes()
    return zstandard.ZstdDecompressor().stream_reader(compressed).read().decode()


def held_pages(path: Path) -> dict[str, set[int]]:
    """The PFNs of every page that a guest's holders told of, by who holds them."""
    pages: dict[str, set[int]] = {}
    for line in text(path).splitlines():
        way, first_pfn, count = line.split()
        pages.setdefault(way, set()).update(range(int(first_pfn), int(first_pfn) + int(count)))
    return pages


def _machine(built: Built, scenario: Scenario, folder: Path, work: Path) -> Machine:
    boot = work / "boot"
    boot.mkdir()
    shutil.copy(built.image, boot / "kernel")
    (boot / "arguments").write_text(f"console={built.kernel.architecture.console}\n")
    fatal = scenario.name in built.kernel.page_owner_is_fatal_in
    initramfs.write(
        built,
        folder / "scenario.sh",
        boot / "initramfs",
        makedumpfile=scenario.makedumpfile,
        page_owner_is_fatal=fatal,
    )
    disk = work / "disk"
    with disk.open("wb") as file:
        file.truncate(_DISK_BYTES)
    command = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal"]
    if built.kernel.flavour and scenario.makedumpfile:
        # Such a kernel has no 9p: what it boots the crash kernel from lies on the disk.
        shutil.copytree(boot, work / "on-disk" / "boot")
        command += ["-d", str(work / "on-disk")]
    subprocess.run([*command, disk], check=True)
    devices = scenario.devices
    if built.kernel.processor is not None:
        devices += ("-cpu", built.kernel.processor)
    if scenario.runs_oomscope and built.kernel.flavour:
        devices += ("-drive", f"file={_debian_disk(built, work)},format=raw,if=virtio")
    elif scenario.runs_oomscope:
        packaged = scenario.packaged_for
        root = debian.root(built.kernel.architecture) if packaged is None else debian.packaged_root(packaged)
        for tag, path in (("debian", root), ("checkout", HERE.parent)):
            devices += ("-fsdev", f"local,id={tag},path={path},security_model=none,readonly=on,multidevs=remap")
            devices += ("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}")
    return Machine(
        architecture=built.kernel.architecture,
        boot=boot,
        share=folder,
        memory_mib=scenario.memory_mib,
        arguments=" ".join(("panic=0", scenario.arguments, built.kernel.architecture.ramoops * scenario.ramoops)),
        devices=("-drive", f"file={disk},format=raw,if=virtio", *devices),
        may_reboot=scenario.may_reboot,
        processors=scenario.processors,
    )


def _debian_disk(built: Built, work: Path) -> Path:
    """The Debian with the checkout's own programs in it, on a disk, for a kernel without 9p."""
    root, disk = work / "debian", work / "debian.disk"
    subprocess.run(["cp", "-a", debian.root(built.kernel.architecture), root], check=True)
    for folder in ("src", "lab"):
        ignore = shutil.ignore_patterns("out", "__pycache__")
        shutil.copytree(HERE.parent / folder, root / "opt" / "checkout" / folder, ignore=ignore)
    with disk.open("wb") as file:
        file.truncate(_DISK_BYTES)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, disk], check=True)
    shutil.rmtree(root)
    return disk


def _core_forms(built: Built, scenario: Scenario) -> tuple[str, ...]:
    """The forms that QEMU can write of this guest.

    For the compressed ones the guest must tell where its memory is, which Debian's kernels do not do, and QEMU must
    write the architecture into their header, which for arm64 it does not (`utsname.machine` is "Unknown").
    """
    only_elf = built.kernel.flavour or built.kernel.architecture is ARM64
    return (ELF,) if only_elf and scenario.cores else scenario.cores


def _copy_disk(disk: Path, folder: Path) -> None:
    """What a guest without 9p captured: the files of its disk."""
    subprocess.run(["debugfs", "-R", f"rdump / {folder}", disk], check=True, capture_output=True)
    for name in ("lost+found", "boot"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _check(scenario: Scenario, folder: Path, console: str) -> None:
    """That the guest came to the end its scenario asks for, and left what is captured there."""
    panicked = _PANIC in console
    if panicked != (scenario.end == "panic"):
        raise GuestFailed(f"the guest {'panicked' if panicked else 'did not panic'}, {scenario.end!r} was to come")
    if scenario.says not in console:
        raise GuestFailed(f"the console does not say {scenario.says!r}")
    wanted = {scenario.makedumpfile: "vmcore", scenario.may_reboot: "pstore"}
    moments = re.findall(r"^capture (\S+)$", (folder / "scenario.sh").read_text(), re.MULTILINE)
    for name in [*(name for asked, name in wanted.items() if asked), *(f"{moment}/version" for moment in moments)]:
        if not (folder / name).exists():
            raise GuestFailed(f"the guest left no {name}")


def _truth(built: Built, scenario: Scenario, folder: Path) -> dict[str, object]:
    moments: dict[str, list[dict[str, object]]] = {}
    for path in sorted(folder.glob("*/held")):
        moments[path.parent.name] = [
            _account(holder, path) for holder in scenario.holders if holder.moment == path.parent.name
        ]
    return {
        "kernel": built.kernel.name,
        "release": built.release,
        "package_version": built.package_version,
        "architecture": built.kernel.architecture.name,
        "scenario": scenario.name,
        "memory_mib": scenario.memory_mib,
        "end": scenario.end,
        "culprit_at_end": scenario.culprit,
        "moments": moments,
    }


def _account(holder: Holder, held: Path) -> dict[str, object]:
    """A holder with the pages the guest itself counts: those asked for, where that number is known beforehand."""
    pages = len(held_pages(held).get(holder.function, ()))
    if pages != holder.pages if holder.pages is not None else not pages:
        raise GuestFailed(
            f"{holder.function} holds {pages} pages by the guest's account, {holder.pages} were asked for"
        )
    return dataclasses.asdict(holder) | {"pages": pages}


def _compress(path: Path) -> None:
    path.with_name(path.name + ".zst").write_bytes(zstandard.ZstdCompressor(level=9).compress(path.read_bytes()))
    path.unlink()
