"""What a source is: one input format. A new one is one file in this folder and one line in its `SOURCES`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from oomscope.io.input import Stream
from oomscope.model.batch import Batch
from oomscope.model.counts import Counts
from oomscope.model.reading import Notes, Reading, Role
from oomscope.text import Lines, lines


class Source(Protocol):
    """One input format: `format` names it for people, `role` says what it is good for."""

    @property
    def format(self) -> str:
        """The name."""

    @property
    def role(self) -> Role:
        """What it is good for."""

    def recognises(self, head: bytes) -> bool:
        """Whether an input that begins with `head` (up to 1 MiB) is of this format."""

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """What the input says. Raises OomscopeError where it is not what its beginning promised."""


@dataclass(frozen=True, slots=True)
class Added:
    """The sums over an input's rows, what its parser noted, and one clause on what could not be read."""

    counts: Counts
    notes: Notes
    defect: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How inputs are read. Sources parse and add nothing up: who does that is given with the question.

    `chunks` gives a stream's bytes, `add_up` the sums over a source's rows, `kernel_memory` the readings of a dump.
    """

    chunks: Callable[[Stream], Iterator[bytes]]
    add_up: Callable[[RowSource, Stream], Added]
    kernel_memory: Callable[[Stream], list[Reading]]


class Parser(Protocol):
    """Reads one input, once. `batches` yields its rows; `notes` is complete when that is exhausted."""

    notes: Notes

    def batches(self, chunks: Iterable[bytes]) -> Iterator[Batch]:
        """Rows of the input whose bytes come in `chunks`, cut anywhere."""


class RowSource:
    """The base of formats that have rows to add up.

    `separator` is the bytes before which the input may be cut to read its parts separately, None where it must be read
    in one go.
    """

    format: ClassVar[str]
    role: ClassVar[Role]
    separator: ClassVar[bytes | None] = None

    def recognises(self, head: bytes) -> bool:
        """See Source."""
        raise NotImplementedError

    def parser(self, *, ranking_only: bool) -> Parser:
        """A fresh parser; with `ranking_only`, columns other than stack, pages and blocks may be left out."""
        raise NotImplementedError

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """One reading; see Source."""
        added = options.add_up(self, stream)
        defect = stream.defect or added.defect
        return [Reading(stream.origin, self.format, self.role, added.notes, added.counts, defect)]


@dataclass(frozen=True, slots=True)
class AccountSource:
    """A small file that is read line by line and has no rows: `notes_of` turns its lines into notes.

    `located` takes from the file's path what the file does not say of itself.
    """

    format: str
    begins: Callable[[bytes], bool]
    notes_of: Callable[[Lines], Notes]
    located: Callable[[Reading], Reading] | None = None
    role: Role = Role.ACCOUNT

    def recognises(self, head: bytes) -> bool:
        """Whether a file begins as this one does."""
        return self.begins(head)

    def read(self, stream: Stream, options: Options) -> list[Reading]:
        """One reading; see Source."""
        notes = self.notes_of(lines(options.chunks(stream)))
        reading = Reading(stream.origin, self.format, self.role, notes, None, stream.defect)
        return [reading if self.located is None else self.located(reading)]
