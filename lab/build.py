"""Kernels built from Debian's source packages, once, outside the checkout."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import stock
from lab.cache import CACHE, only_one
from lab.errors import BuildFailed
from lab.kernels import HERE, Kernel
from lab.packages import Archive

# What no kernel of the lab is made of: sources of other architectures, texts, the registers of graphics cards. A star
# stands for folders too.
_NOT_UNPACKED = (
    "arch/[!ax]*.[chS]",
    "arch/*.dts*",
    "Documentation/*.rst",
    "drivers/gpu/drm/amd/include",
    "tools/testing",
)
# What linking leaves behind, as large as the kernel with its debug info, several times.
_LEFT_BY_LINKING = ("vmlinux.o", ".tmp_vmlinux*")
# Nothing of the machine that builds it goes into a kernel.
_IDENTITY = {
    "KBUILD_BUILD_USER": "lab",
    "KBUILD_BUILD_HOST": "oomscope",
    "KBUILD_BUILD_TIMESTAMP": "2020-01-01 00:00:00 UTC",
}


@dataclass(frozen=True, slots=True)
class Built:
    """A kernel that can be booted.

    `tree`, where it is there, builds modules for it; `vmlinux` is the ELF file with DWARF and BTF, which Debian's own
    images come without; `modules` are to be loaded first.
    """

    kernel: Kernel
    tree: Path
    image: Path
    vmlinux: Path | None
    modules: tuple[Path, ...]
    release: str
    package_version: str


def archive(kernel: Kernel) -> Archive:
    """Where the kernel's packages come from."""
    architecture = kernel.architecture.debian
    return Archive(CACHE / "apt" / f"{kernel.suite}-{architecture}", kernel.suite, architecture)


def cached(kernel: Kernel) -> Built | None:
    """The kernel, where its configuration, patch and architecture have been built before."""
    markers = sorted((CACHE / "kernels").glob(f"{kernel.name}_*_{_recipe(kernel)}/built.json"))
    if not markers:
        return None
    folder, facts = markers[-1].parent, json.loads(markers[-1].read_text())
    if kernel.flavour:
        modules = tuple(path for name in kernel.modules if (path := folder / "modules" / f"{name}.ko").exists())
        return Built(kernel, folder / "headers", folder / "vmlinuz", None, modules, **facts)
    return Built(kernel, folder, folder / kernel.architecture.image, folder / "vmlinux", (), **facts)


def build(kernel: Kernel) -> Built:
    """The kernel, from the cache where it is there.

    A cached kernel is taken without asking whether Debian has a newer one; removing its folder does that. Those of the
    same name, of another version or configuration, are removed: each takes gigabytes.
    """
    kernels = CACHE / "kernels"
    with only_one(kernels / kernel.name):
        built = cached(kernel)
        for other in kernels.glob(f"{kernel.name}_*"):
            if not other.name.endswith(f"_{_recipe(kernel)}") or (built and not built.tree.is_relative_to(other)):
                shutil.rmtree(other)
        if built is None:
            image = stock.newest_image(kernel, archive(kernel)) if kernel.flavour else None
            version = image.version if image else _version(kernel)
            folder = kernels / f"{kernel.name}_{version}_{_recipe(kernel)}"
            release = _make_stock(kernel, folder, image) if image else _make_own(kernel, folder)
            (folder / "built.json").write_text(json.dumps({"release": release, "package_version": version}) + "\n")
            built = cached(kernel)
            assert built is not None
        return built


def build_modules(built: Built) -> list[Path]:
    """The lab's modules for a kernel, built once per text of them; none where nothing is there to build them with."""
    if not built.tree.exists():
        return []
    source = HERE / "module"
    texts = sorted(path for path in source.iterdir() if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in texts)).hexdigest()[:12]
    kernel = built.tree.relative_to(CACHE / "kernels").parts[0]
    folder = CACHE / "modules" / f"{kernel}_{digest}"
    built_modules = [folder / f"{path.stem}.ko" for path in texts if path.suffix == ".c"]
    with only_one(folder):
        if not all(module.exists() for module in built_modules):
            folder.mkdir(exist_ok=True)
            for path in texts:
                shutil.copy(path, folder)
            _make(built.kernel, built.tree, folder / "build.log", f"M={folder}", "modules")
    return built_modules


def _version(kernel: Kernel) -> str:
    if kernel.source is None:
        return archive(kernel).version(kernel.package)
    command = ["make", "-s", "-C", str(kernel.source), "kernelversion"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _recipe(kernel: Kernel) -> str:
    """A hash of everything but the package that makes the kernel what it is."""
    digest = hashlib.sha256(kernel.architecture.name.encode())
    if kernel.flavour:
        digest.update(f"{kernel.flavour} {kernel.modules}".encode())
        return digest.hexdigest()[:12]
    for path in kernel.fragments:
        digest.update(path.read_bytes())
    if kernel.patch is not None:
        digest.update((HERE / kernel.patch).read_bytes())
    if kernel.source is not None:
        digest.update(f"{kernel.source}\n".encode() + (kernel.source / "Makefile").read_bytes())
    return digest.hexdigest()[:12]


def _make_stock(kernel: Kernel, folder: Path, image: stock.Image) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    return stock.unpack_image(kernel, archive(kernel), folder, image)


def _make_own(kernel: Kernel, tree: Path) -> str:
    """Build a kernel in its source tree; one with a patch starts from the tree of the same kernel without it."""
    if not (tree / "Makefile").exists():
        unfinished = tree.with_name(tree.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        if kernel.source is not None:
            subprocess.run(["cp", "-a", kernel.source, unfinished], check=True)
            _make(kernel, unfinished, unfinished / "build.log", "mrproper")
        elif kernel.patch is None:
            _unpack(kernel, unfinished)
        else:
            plain = build(dataclasses.replace(kernel, name=kernel.name.removesuffix("-witness"), patch=None))
            subprocess.run(["cp", "-a", plain.tree, unfinished], check=True)
            (unfinished / "built.json").unlink()
            _say_moved(plain.tree, tree, unfinished / "tools")
            subprocess.run(["patch", "-p1", "-s", "-d", str(unfinished), "-i", str(HERE / kernel.patch)], check=True)
        unfinished.rename(tree)
    _configure(kernel, tree)
    image = Path(kernel.architecture.image).name
    _make(kernel, tree, tree / "build.log", f"-j{os.cpu_count()}", image, "modules")
    for pattern in _LEFT_BY_LINKING:
        for path in tree.glob(pattern):
            path.unlink()
    return (tree / "include" / "config" / "kernel.release").read_text().strip()


def _say_moved(old: Path, new: Path, tools: Path) -> None:
    """What make remembers of the tools names their folder; remembering the new one, it does not build all again."""
    for command in tools.rglob(".*.cmd"):
        text = command.read_text()
        if str(old) in text:
            command.write_text(text.replace(str(old), str(new)))


def _unpack(kernel: Kernel, tree: Path) -> None:
    package = archive(kernel).fetch(kernel.package)
    tree.mkdir()
    files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    inner = f"./usr/src/{kernel.package}.tar.xz"
    source = subprocess.Popen(["tar", "-xO", inner], stdin=files.stdout, stdout=subprocess.PIPE)
    left_out = [f"--exclude={kernel.package}/{pattern}" for pattern in _NOT_UNPACKED]
    command = ["tar", "-xJ", "-C", str(tree), "--strip-components=1", "--anchored", *left_out]
    subprocess.run(command, stdin=source.stdout, check=True)
    if source.wait() or files.wait():
        raise BuildFailed(f"{package.name} could not be unpacked")


def _configure(kernel: Kernel, tree: Path) -> None:
    log = tree / "build.log"
    _make(kernel, tree, log, "tinyconfig")
    with (tree / ".config").open("a") as config:
        config.writelines(path.read_text() for path in kernel.fragments)
    _make(kernel, tree, log, "olddefconfig")
    settled = set((tree / ".config").read_text().splitlines())
    known = _known_options(kernel, tree)
    wanted = [line for path in kernel.fragments for line in path.read_text().splitlines() if line.startswith("CONFIG_")]
    for line in wanted:
        name, _, value = line.partition("=")
        if value == "n":
            met = settled.isdisjoint({f"{name}=y", f"{name}=m"})
        else:
            met = line in settled or name.removeprefix("CONFIG_") not in known
        if not met:
            raise BuildFailed(f"{kernel.name} does not take {line}")


def _known_options(kernel: Kernel, tree: Path) -> set[str]:
    """The options that a source tree has for an architecture."""
    folder = {"x86_64": "x86"}.get(kernel.architecture.name, kernel.architecture.name)
    names: set[str] = set()
    for path in tree.rglob("Kconfig*"):
        parts = path.relative_to(tree).parts
        if parts[0] not in ("arch", "scripts", "tools") or parts[:2] in (("arch", folder), ("arch", "Kconfig")):
            names.update(re.findall(r"^(?:menu)?config (\w+)", path.read_text(), re.MULTILINE))
    return names


def _make(kernel: Kernel, tree: Path, log: Path, *arguments: str) -> None:
    architecture = kernel.architecture
    command = [
        "make",
        "-C",
        str(tree),
        f"ARCH={architecture.name}",
        f"CROSS_COMPILE={architecture.cross_compile}",
        *arguments,
    ]
    with log.open("ab") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=os.environ | _IDENTITY
        )
    if done.returncode:
        raise BuildFailed(f"{kernel.name}: make {arguments[-1]} failed; {log} ends:\n{_tail(log)}")


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
