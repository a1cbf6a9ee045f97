"""Finished cases, kept by their content: a triage that was interrupted goes on, and none is explained twice.

One SQLite file in the user's cache. What another version of oomscope has left is dropped; where the file cannot be
used (a full disk, no home), the triage goes on without it and says so.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import zstandard

from oomscope.model.fleet import CaseResult

_COMMIT_EVERY_S = 1.0
_ASKED_AT_ONCE = 500
_DECODER = msgspec.json.Decoder(list[CaseResult])


def default_path() -> Path:
    """Where finished cases are kept, as the XDG base directories have it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "oomscope", "triage.sqlite")


class Results:
    """Results by key; `trouble` says why nothing is kept beyond this triage, and is None where all is well.

    `path` None keeps them for this triage alone.
    """

    def __init__(self, path: Path | None) -> None:
        self.trouble: str | None = None
        self._committed = time.monotonic()
        try:
            self._base = _opened(path)
        except (OSError, sqlite3.Error) as error:
            self.trouble = f"{path}: {error}"
            self._base = _opened(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._base.commit()
        except sqlite3.Error as problem:
            self.trouble = str(problem)
        self._base.close()

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those that are finished."""
        found: set[str] = set()
        asked = list(keys)
        for start in range(0, len(asked), _ASKED_AT_ONCE):
            part = asked[start : start + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(part))
            found |= {key for (key,) in self._base.execute(f"SELECT key FROM results WHERE key IN ({marks})", part)}
        return found

    def put(self, key: str, results: list[CaseResult], *, lasting: bool) -> None:
        """Keep a case: beyond this triage, on disk within a second, or for this triage alone."""
        packed = zstandard.compress(msgspec.json.encode(results), 1)
        if not lasting:
            self._base.execute("INSERT OR REPLACE INTO passing VALUES (?, ?)", (key, packed))
            return
        try:
            self._base.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (key, packed))
            if time.monotonic() - self._committed > _COMMIT_EVERY_S:
                self._base.commit()
                self._committed = time.monotonic()
        except sqlite3.Error as error:
            self._go_on_without(str(error))
            self._base.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (key, packed))

    def get(self, key: str) -> list[CaseResult]:
        """A finished case."""
        for table in ("results", "passing"):
            if found := self._base.execute(f"SELECT results FROM {table} WHERE key = ?", (key,)).fetchone():
                break
        (packed,) = found
        return _DECODER.decode(zstandard.decompress(packed))

    def _go_on_without(self, reason: str) -> None:
        """Move to memory what this triage has so far."""
        self.trouble = reason
        memory = sqlite3.connect(":memory:")
        _prepare(memory)
        try:
            self._base.rollback()
            for table in ("results", "passing"):
                rows = self._base.execute(f"SELECT * FROM {table}")
                memory.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)
        finally:
            self._base.close()
            self._base = memory


@cache
def version() -> str:
    """A name for this very oomscope: results of another one are not to be taken over."""
    found = hashlib.blake2b(digest_size=8)
    package = Path(str(resources.files("oomscope")))
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.tsv")]):
        found.update(path.read_bytes())
    return found.hexdigest()


def _opened(path: Path | None) -> sqlite3.Connection:
    """A base ready for use; with no path, a file that goes away with it."""
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    base = sqlite3.connect("" if path is None else path, timeout=30)
    try:
        _prepare(base)
    except sqlite3.Error:
        base.close()
        raise
    return base


def _prepare(base: sqlite3.Connection) -> None:
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = NORMAL")
    with base:
        base.execute("CREATE TABLE IF NOT EXISTS made_by (version TEXT)")
        base.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, results BLOB) WITHOUT ROWID")
        base.execute("CREATE TEMP TABLE passing (key TEXT PRIMARY KEY, results BLOB) WITHOUT ROWID")
        if base.execute("SELECT version FROM made_by").fetchall() != [(version(),)]:
            base.execute("DELETE FROM made_by")
            base.execute("DELETE FROM results")
            base.execute("INSERT INTO made_by VALUES (?)", (version(),))
