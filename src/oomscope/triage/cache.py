"""Finished cases, kept by their content: a triage that was interrupted goes on, and none is explained twice.

One SQLite file in the user's cache. What another version of oomscope has left is dropped; where the file cannot be
used (a full disk, no home), the triage goes on without it and says so.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import zstandard

from oomscope.errors import OomscopeError, cause_of
from oomscope.model.triage import CaseResult
from oomscope.triage.packing import require_ours, unpacked

_ASKED_AT_ONCE = 500


def default_path() -> Path | None:
    """Where finished cases are kept, as the XDG base directories have it; None for a user without a home."""
    try:
        named = Path(os.environ.get("XDG_CACHE_HOME", ""))
        home = named if named.is_absolute() else Path.home() / ".cache"  # a relative one is to be passed over
    except RuntimeError:
        return None
    return home / "oomscope" / "fleet.sqlite"


class Cache:
    """The results of one triage, in a file that goes away with it, and those of earlier ones by content.

    `path` is where finished cases are kept beyond this triage; None keeps none. `trouble` says why nothing is kept
    (any more), and is None where all is well: the triage itself loses nothing by it.
    """

    def __init__(self, path: Path | None) -> None:
        self.trouble: str | None = None
        self._path = path
        self._own = sqlite3.connect("", isolation_level=None)
        self._own.execute("CREATE TABLE results (key TEXT PRIMARY KEY, results BLOB) WITHOUT ROWID")
        self._kept: sqlite3.Connection | None = None
        if path is not None:
            try:
                self._kept = _opened(path)
            except (OSError, sqlite3.Error) as error:
                self.trouble = f"{path}: {cause_of(error) if isinstance(error, OSError) else error}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own.close()
        if self._kept is not None:
            self._kept.close()

    def take_over(self, keys: Iterable[str]) -> set[str]:
        """Those that are finished, which are this triage's from now on."""
        found: set[str] = set()
        if self._kept is None:
            return found
        asked = list(keys)
        try:
            for start in range(0, len(asked), _ASKED_AT_ONCE):
                part = [f"{version()} {key}" for key in asked[start : start + _ASKED_AT_ONCE]]
                marks = ",".join("?" * len(part))
                for name, packed in self._kept.execute(f"SELECT * FROM results WHERE key IN ({marks})", part):
                    require_ours(packed)
                    key = name.partition(" ")[2]
                    self._put_own(key, packed)
                    found.add(key)
        except (sqlite3.Error, msgspec.MsgspecError, zstandard.ZstdError) as error:
            self._keep_no_more(error)
        return found

    def put(self, key: str, packed: bytes, *, lasting: bool) -> None:
        """Take a case's packed results; beyond this triage only if they are `lasting`, and on disk at once then."""
        self._put_own(key, packed)
        if lasting and self._kept is not None:
            try:
                self._kept.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (f"{version()} {key}", packed))
            except sqlite3.Error as error:
                self._keep_no_more(error)

    def get(self, key: str) -> list[CaseResult]:
        """The results of a case of this triage."""
        (packed,) = self._own.execute("SELECT results FROM results WHERE key = ?", (key,)).fetchone()
        return unpacked(packed)

    def _put_own(self, key: str, packed: bytes) -> None:
        try:
            self._own.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (key, packed))
        except sqlite3.Error as error:
            advice = "TMPDIR names a folder with more room; what is finished is kept"
            raise OomscopeError(f"there is no room for results: {error}", advice=advice) from error

    def _keep_no_more(self, error: Exception) -> None:
        self.trouble = f"{self._path}: {error}"
        if self._kept is not None:
            self._kept.close()
            self._kept = None


@cache
def version() -> str:
    """A name for this very oomscope: results of another one are not to be taken over."""
    found = hashlib.blake2b(digest_size=8)
    package = Path(str(resources.files("oomscope")))
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.tsv")]):
        found.update(path.read_bytes())
    return found.hexdigest()


def _opened(path: Path) -> sqlite3.Connection:
    """A base ready for use, of this version's results alone. Raises OSError, sqlite3.Error."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)  # it tells of machines; SQLite gives its other files the same mode
    path.chmod(0o600)
    base = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("CREATE TABLE IF NOT EXISTS made_by (version TEXT)")
        base.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, results BLOB) WITHOUT ROWID")
        if base.execute("SELECT version FROM made_by").fetchall() != [(version(),)]:
            with base:
                base.execute("BEGIN IMMEDIATE")
                base.execute("DELETE FROM made_by")
                base.execute("DELETE FROM results")
                base.execute("INSERT INTO made_by VALUES (?)", (version(),))
    except sqlite3.Error:
        base.close()
        raise
    return base
