"""Debian's own kernel images, unmodified, with the headers that build a module for them. Nothing is installed."""

from __future__ import annotations

import lzma
import re
import shutil
from pathlib import Path

from lab.errors import Missing
from lab.kernels import Kernel
from lab.packages import Archive, unpack


def unpack_image(kernel: Kernel, archive: Archive, tree: Path, version: str) -> str:
    """The image as tree/vmlinuz, the tree that builds modules as tree/headers, and kernel modules below tree/modules.

    Returns the release ("6.12.117+deb12-cloud-amd64"). The names of the packages contain it, so they are looked up.
    """
    image = _image(kernel, archive, version)
    release = image.removeprefix("linux-image-")
    abi = release.removesuffix(f"-{kernel.flavour}")
    files = tree / "files"
    series = kernel.package.removeprefix("linux-source-")
    (kbuild,) = {f"linux-kbuild-{abi}", f"linux-kbuild-{series}"} & set(archive.names("linux-kbuild-"))
    for package in (image, f"linux-headers-{release}", f"linux-headers-{abi}-common", kbuild):
        unpack(archive.fetch(package), files)
    headers = files / "usr" / "src" / f"linux-headers-{release}"
    for makefile in (headers / "Makefile", headers / ".kernelvariables"):
        # The headers expect to be installed.
        makefile.write_text(re.sub(r"(?<![\w/])/usr/(?=src|lib)", f"{files}/usr/", makefile.read_text()))
    (tree / "headers").symlink_to(headers)
    shutil.copy(files / "boot" / f"vmlinuz-{release}", tree / "vmlinuz")
    (tree / "modules").mkdir()
    for name in kernel.modules:
        (found,) = (files / "lib" / "modules" / release).rglob(f"{name}.ko*")
        content = found.read_bytes()
        (tree / "modules" / f"{name}.ko").write_bytes(lzma.decompress(content) if found.suffix == ".xz" else content)
    return release


def _image(kernel: Kernel, archive: Archive, version: str) -> str:
    """The package of the flavour's image of this version, "linux-image-6.1.0-56-amd64" and the like."""
    series = kernel.package.removeprefix("linux-source-")
    pattern = re.compile(rf"linux-image-{re.escape(series)}\.[\w.+]+(-\d+)?-{kernel.flavour}")
    names = [name for name in archive.names(f"linux-image-{series}.") if pattern.fullmatch(name)]
    for name in names:
        if archive.version(name) == version:
            return name
    raise Missing(f"no image of {kernel.flavour} is of the version {version}; there are: {' '.join(names) or 'none'}")
