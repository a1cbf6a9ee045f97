"""Readings of memory over days: a ring in an SQLite file, no larger than it may be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oomscope.attribution.trend import UNACCOUNTED
from oomscope.errors import CorruptInput, NothingToExplain, OutputFailed
from oomscope.model.usage_sample import UsageSample

PATH = Path("/var/lib/oomscope/history.sqlite")
MOST_READINGS = 2016  # a week of them, every five minutes
_MOST_NAMES = 200  # of one account, the greatest
_SCHEMA = """
CREATE TABLE IF NOT EXISTS reading (
    id INTEGER PRIMARY KEY, boot TEXT NOT NULL, at REAL NOT NULL, uptime_s REAL NOT NULL, ram_bytes INTEGER NOT NULL,
    available_bytes INTEGER, unaccounted_bytes INTEGER
);
CREATE TABLE IF NOT EXISTS name (id INTEGER PRIMARY KEY, account TEXT NOT NULL, holder TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_name ON name (account, holder);
CREATE TABLE IF NOT EXISTS amount (
    reading INTEGER NOT NULL REFERENCES reading (id) ON DELETE CASCADE, name INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (reading, name)
) WITHOUT ROWID;
"""
MEMINFO = "machine"


class History:
    """The file; `most_readings` is how many it keeps, the newest."""

    def __init__(self, path: Path = PATH, *, most_readings: int = MOST_READINGS) -> None:
        self.path, self._most = path, most_readings

    def add(self, sample: UsageSample) -> None:
        """Keep one more; the oldest makes room. Raises OutputFailed."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as base:
                base.executescript(_SCHEMA)
                row = (
                    *(sample.boot, sample.at, sample.uptime_s, sample.ram_bytes),
                    *(sample.available_bytes, sample.unaccounted_bytes),
                )
                with base:
                    into = base.execute(
                        "INSERT INTO reading (boot, at, uptime_s, ram_bytes, available_bytes, unaccounted_bytes) "
                        "VALUES (?, ?, ?, ?, ?, ?)",
                        row,
                    )
                    for account, amounts in sample.amounts.items():
                        greatest = sorted(amounts.items(), key=lambda item: -item[1])[:_MOST_NAMES]
                        for holder, size in greatest:
                            base.execute(
                                "INSERT OR IGNORE INTO name (account, holder) VALUES (?, ?)", (account, holder)
                            )
                            base.execute(
                                "INSERT INTO amount SELECT ?, id, ? FROM name WHERE account = ? AND holder = ?",
                                (into.lastrowid, size, account, holder),
                            )
                    base.execute(
                        "DELETE FROM reading WHERE id NOT IN (SELECT id FROM reading ORDER BY id DESC LIMIT ?)",
                        (self._most,),
                    )
                    base.execute("DELETE FROM name WHERE id NOT IN (SELECT DISTINCT name FROM amount)")
        except (sqlite3.Error, OSError) as error:
            raise OutputFailed(f"{self.path}: {error}") from error

    def series(self) -> dict[tuple[str, str], list[tuple[float, int]]]:
        """(seconds since the epoch, bytes) by account and holder, of the latest boot; unaccounted RAM is one of them.

        Raises NothingToExplain, CorruptInput.
        """
        found: dict[tuple[str, str], list[tuple[float, int]]] = {}
        with self._reading() as base:
            latest = base.execute("SELECT boot FROM reading ORDER BY id DESC LIMIT 1").fetchone()
            if latest is None:
                raise NothingToExplain(f"{self.path}: no reading in it", advice="oomscope watch --leaks takes them")
            # By the time since boot: whoever sets the clock makes no memory grow.
            (began,) = base.execute("SELECT at - uptime_s FROM reading ORDER BY id DESC LIMIT 1").fetchone()
            asked = (
                "SELECT account, holder, ? + uptime_s, bytes FROM amount JOIN reading ON reading.id = reading "
                "JOIN name ON name.id = name WHERE boot = ? ORDER BY reading.id"
            )
            for account, holder, at, size in base.execute(asked, (began, *latest)):
                found.setdefault((account, holder), []).append((at, size))
            whole = (
                "SELECT ? + uptime_s, unaccounted_bytes FROM reading "
                "WHERE boot = ? AND unaccounted_bytes NOT NULL ORDER BY id"
            )
            if rows := base.execute(whole, (began, *latest)).fetchall():
                found[(MEMINFO, UNACCOUNTED)] = rows
        return found

    def latest(self) -> UsageSample:
        """The last reading, without its amounts. Raises NothingToExplain, CorruptInput."""
        with self._reading() as base:
            row = base.execute(
                "SELECT boot, at, uptime_s, ram_bytes, available_bytes, unaccounted_bytes FROM reading "
                "ORDER BY id DESC LIMIT 1"
            ).fetchone()
        if row is None:
            raise NothingToExplain(f"{self.path}: no reading in it", advice="oomscope watch --leaks takes them")
        return UsageSample(*row)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if not self.path.exists():
            raise NothingToExplain(f"{self.path} is not there", advice="oomscope watch --leaks writes it")
        try:
            with self._opened(mode="ro") as base:
                yield base
        except sqlite3.Error as error:
            raise CorruptInput(f"{self.path}: no history of oomscope's ({error})", advice="") from error

    @contextmanager
    def _opened(self, mode: str = "rwc") -> Iterator[sqlite3.Connection]:
        base = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=10.0)
        try:
            base.execute("PRAGMA foreign_keys = ON")
            yield base
        finally:
            base.close()
