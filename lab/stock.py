"""Debian's own kernel images, unmodified, with the headers that build a module for them. Nothing is installed."""

from __future__ import annotations

import lzma
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.errors import Missing, Vanished
from lab.kernels import Kernel
from lab.packages import Archive, unpack

_IS_GONE = " 404 "  # HTTP's own number, as apt tells it


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a flavour: its release ("6.12.117+deb12-cloud-amd64") and the version of its packages."""

    release: str
    version: str


def newest_image(kernel: Kernel, archive: Archive) -> Image:
    """The newest image of a series and flavour that is to be had: an archive may list what it does not hold any more.

    Raises Vanished where the suite has none, or has none any more.
    """
    pattern = re.compile(rf"{re.escape(kernel.package)}\.[\w.+]+(-\d+)?-{kernel.flavour}")
    names = [name for name in archive.names(f"{kernel.package}.") if pattern.fullmatch(name)]
    if not names:
        raise Vanished(f"Debian's {kernel.suite} has no {kernel.package}.*-{kernel.flavour} (any more)")
    images = [Image(name.removeprefix("linux-image-"), archive.version(name)) for name in names]
    for image in sorted(images, key=lambda image: [int(number) for number in re.findall(r"\d+", image.version)])[::-1]:
        try:
            archive.fetch(f"linux-image-{image.release}")
            return image
        except Missing as error:
            if _IS_GONE not in str(error):
                raise
    raise Vanished(f"Debian's {kernel.suite} lists {kernel.package}.*-{kernel.flavour}, and has none of them any more")


def unpack_image(kernel: Kernel, archive: Archive, tree: Path, image: Image) -> str:
    """The image as tree/vmlinuz and kernel modules below tree/modules; the tree that builds modules as tree/headers.

    Where headers are not to be had: Debian keeps those of the newest images only, and they take the compiler and libc
    of their own suite. Returns the release.
    """
    release = image.release
    abi = release.removesuffix(f"-{kernel.flavour}")
    files = tree / "files"
    there = set(archive.names("linux-"))
    # Since 6.19 the image is a package of its own, since 7.2 its modules, too.
    for package in (f"linux-image-{release}", f"linux-binary-{release}", f"linux-modules-{release}"):
        if package in there:
            unpack(archive.fetch(package), files)
    folders = [path / release for path in (files / "lib/modules", files / "usr/lib/modules") if path.exists()]
    if not folders:
        raise Vanished(f"Debian's {kernel.suite} still has linux-image-{release}, and no more its modules")
    modules = folders[0]
    image_files = (files / "boot" / f"vmlinuz-{release}", modules / "vmlinuz")
    shutil.copy(next(path for path in image_files if path.exists()), tree / "vmlinuz")
    (tree / "modules").mkdir()
    for name in kernel.modules:
        for found in modules.rglob(f"{name}.ko*"):  # one that this image has built in, or no more, is no file
            content = found.read_bytes()
            (tree / "modules" / f"{name}.ko").write_bytes(
                lzma.decompress(content) if found.suffix == ".xz" else content
            )
    if kernel.has_headers:
        _unpack_headers(kernel, archive, files, abi, release)
        (tree / "headers").symlink_to(files / "usr" / "src" / f"linux-headers-{release}")
    return release


def _unpack_headers(kernel: Kernel, archive: Archive, files: Path, abi: str, release: str) -> None:
    series = kernel.package.removeprefix("linux-image-")
    (kbuild,) = {f"linux-kbuild-{abi}", f"linux-kbuild-{series}"} & set(archive.names("linux-kbuild-"))
    for package in (f"linux-headers-{release}", f"linux-headers-{abi}-common", kbuild):
        unpack(archive.fetch(package), files)
    headers = files / "usr" / "src" / f"linux-headers-{release}"
    for makefile in (headers / "Makefile", headers / ".kernelvariables"):
        # The headers expect to be installed.
        makefile.write_text(re.sub(r"(?<![\w/])/usr/(?=src|lib)", f"{files}/usr/", makefile.read_text()))
