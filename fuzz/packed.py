"""Files in one file: tar, zip, Android's bugreport."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping


def tar_of(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """The files in a tar; `mode` says how it is compressed, as tarfile has it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as made:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """The files in a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def bugreport_of(files: Mapping[str, bytes]) -> bytes:
    """Dumpstate's text: a file is a section (frameworks/native/cmds/dumpstate, RunCommand and DumpFile)."""
    text = b"========\n== dumpstate: 2026-11-24 21:00:00\n========\n\n"
    for name, content in files.items():
        section = name.rpartition("/")[2].encode()
        text += b"------ %s (%s) ------\n" % (section.upper(), name.encode()) + content
        text += b"------ 0.010s was the duration of '%s' ------\n\n" % section.upper()
    return text
