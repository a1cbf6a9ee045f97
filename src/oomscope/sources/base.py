"""What a source is: one input format, and the parser that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from oomscope.model.batch import Batch
from oomscope.model.reading import Notes
from oomscope.text import Lines, lines


class Parser(Protocol):
    """Reads one input, once. `batches` yields its rows; `notes` is complete when that is exhausted."""

    notes: Notes

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """Rows of the input whose bytes come in `chunks`, cut anywhere."""


class Source(Protocol):
    """One input format.

    `format` names it for people. `separator` is the bytes before which the input may be cut to read its parts
    separately, None where it must be read in one go.
    """

    @property
    def format(self) -> str:
        """The name."""

    @property
    def separator(self) -> bytes | None:
        """Where it may be cut."""

    def recognises(self, head: bytes) -> bool:
        """Whether an input that begins with `head` (up to 1 MiB) is of this format."""

    def parser(self, *, ranking_only: bool) -> Parser:
        """A fresh parser; with `ranking_only`, columns other than stack, pages and blocks may be left out."""


@dataclass(frozen=True, slots=True)
class AccountSource:
    """The source of a small file that is read line by line and has no rows: `read` turns its lines into notes."""

    format: str
    begins: Callable[[bytes], bool]
    read: Callable[[Lines], Notes]
    separator: bytes | None = None

    def recognises(self, head: bytes) -> bool:
        """Whether a file begins as this one does."""
        return self.begins(head)

    def parser(self, *, ranking_only: bool) -> AccountSourceParser:  # noqa: ARG002 - it has nothing to leave out
        """A parser for one file."""
        return AccountSourceParser(self.read)


class AccountSourceParser:
    """Yields no rows; see Parser."""

    def __init__(self, read: Callable[[Lines], Notes]) -> None:
        self.notes = Notes()
        self._read = read

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """No rows."""
        self.notes = self._read(lines(chunks))
        yield from ()
