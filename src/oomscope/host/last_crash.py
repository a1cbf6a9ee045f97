"""What the previous boot left: pstore, what systemd-pstore moved from there, kdump's folder, else the journal."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oomscope.errors import NoAccess, NothingToExplain

# Where each thing lies in a folder, or a file, of its own; pstore's own folder is one crash.
_PSTORE = Path("/sys/fs/pstore")
_KEPT = (Path("/var/lib/systemd/pstore"), Path("/var/crash"))
# What is written down about one crash is written within this time.
_ONE_CRASH_S = 600
_JOURNAL = ("journalctl", "--dmesg", "--boot=-1", "--output=short-monotonic", "--no-pager", "--quiet")


@contextmanager
def last_crash(root: Path = Path("/")) -> Iterator[tuple[Path, ...]]:
    """The files and folders of the latest crash. Raises NothingToExplain where the previous boot left nothing."""
    found = _found(root)
    if found:
        latest = max(found.values())
        yield tuple(path for path, at in found.items() if latest - at <= _ONE_CRASH_S)
        return
    with tempfile.TemporaryDirectory(prefix="oomscope-") as folder:
        journal = Path(folder) / "journal-of-the-previous-boot"
        if not _write_journal(journal):
            looked = ", ".join(str(place) for place in (_PSTORE, *_KEPT))
            raise NothingToExplain(
                f"the previous boot left nothing in {looked}, and no journal",
                advice="oomscope doctor says what would keep it next time",
            )
        yield (journal,)


def _found(root: Path) -> dict[Path, float]:
    """Each candidate with the time it was last written. Raises NoAccess where all that may be there may not be read."""
    refused: list[Path] = []
    places = [root / str(_PSTORE).lstrip("/")]
    for kept in _KEPT:
        folder = root / str(kept).lstrip("/")
        try:
            places += sorted(folder.iterdir()) if folder.is_dir() else []
        except PermissionError:
            refused.append(folder)
    found = {}
    for place in places:
        try:
            files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
            if place.is_dir():
                next(place.iterdir(), None)  # rglob() passes over what it may not read
            if files:
                found[place] = max(path.stat().st_mtime for path in files)
        except PermissionError:
            refused.append(place)
        except OSError:
            continue  # it was there a moment ago
    if refused and not found:
        raise NoAccess(f"{refused[0]}: permission denied: only root may read what the previous boot left")
    return found


def _write_journal(path: Path) -> bool:
    if shutil.which(_JOURNAL[0]) is None:
        return False
    with path.open("wb") as output:
        done = subprocess.run(_JOURNAL, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0 and path.stat().st_size > 0
