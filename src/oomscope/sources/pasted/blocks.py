"""Accounts within a text: where one begins, and which lines are its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from oomscope.sources.cgroupfs import memory
from oomscope.sources.debugfs.alloc_traces import ALLOC_TRACES
from oomscope.sources.debugfs.dma_buf import DMA_BUF
from oomscope.sources.pasted.cleaning import forms, unwrapped
from oomscope.sources.pasted.kinds import KINDS, Kind
from oomscope.sources.procfs.zoneinfo import ZONEINFO

_NAMED_IN_PROMPT = re.compile(rb"(?<![\w:,+-])(?P<cache>[\w:,+-]{2,60}+)/(?P<file>alloc_traces|free_traces)\b")
_WRAPPED_CALL_SITE = re.compile(rb"\s*(?:\d{1,18}|\d{1,4}(?:\.\d{1,2})?[KMGT]i?) +\d{1,19} \S{1,300}:\d{1,7}\s*$")
_REST_OF_CALL_SITE = re.compile(rb"\s*(?:\[[\w-]{1,64}\] )?func:\S")
_WRAPPED_ORDERS = re.compile(rb" *+Node \d{1,5}, zone ++\S{1,20} ++(?:\d{1,12} *+){1,11}+$")
_REST_OF_ORDERS = re.compile(rb" *+(?:\d{1,12} *+){1,10}+$")
_FIGURE_ASKED = re.compile(
    rb"(?:cat|head|more|less) \S{0,200}?(?P<name>memory\.(?:current|max|peak|limit_in_bytes|usage_in_bytes"
    rb"|max_usage_in_bytes))\b"
)
_HOST = re.compile(rb"\[?[\w.-]{1,40}@(?P<host>[\w-]{1,60})[\w.-]{0,60}[ :~][^@]{0,80}?[$#>%] ?")
# Whatever was asked for next is another reading, but for what several files tell together.
_PROMPT = re.compile(
    rb"[\w.@~:/ \[\]()-]{0,60}[$#>] ?(?:sudo )?(?:cat|sort|head|tail|e?grep|less|more|watch|ps|top|free|slabtop|vmstat"
    rb"|smem|dmesg|journalctl|ls|echo|date|sleep)\b"
)
_BARE = re.compile(rb"\s*(?:\d{1,20}|max)\s*$")
_CGROUP = next(kind for kind in KINDS if kind.source is memory.MEMORY_STAT)


@dataclass(slots=True)
class Block:
    """Lines of one kind, and the number in the text of the first."""

    kind: Kind
    line: int
    name: str = ""
    host: bytes = b""  # by the prompt above, where that tells it
    other_host: bytes = b""  # of another reading in the text
    rows: int = 0
    lines: list[bytes] = field(default_factory=list)
    passed: int = 0
    earlier: int = 0  # other blocks of the same account in the text
    first: Block | None = None  # the first of them
    first_name: bytes = b""  # of its rows, where they have names
    rows_of_series: list[int] = field(default_factory=lambda: [0])  # of all readings of one short list, taken in turn

    @property
    def is_whole(self) -> bool:
        """Whether it has enough rows to be believed, with those of its series."""
        return max(self.rows, *self.rows_of_series) >= self.kind.least

    def holds(self, form: re.Pattern[bytes]) -> bool:
        """Whether one of its lines is of this form."""
        return any(form.match(line) is not None for line in self.lines)

    @property
    def text(self) -> bytes:
        """What the kind's own source reads."""
        return b"\n".join(self.lines) + b"\n"


# Lines that the kernel's log has stamped: no account begins there, but for the one that the kernel prints there itself.
_STAMP = (
    rb"(?:<\d{1,3}>)?(?:\[ *\d{1,7}\.\d{6}\]|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S{1,64} kernel: "
    rb"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{1,20} \S{1,64} kernel: )"
)
_STAMPED = re.compile(_STAMP)
_STAMPED_LINES = re.compile(rb"(?m)^" + _STAMP + rb".*\n?")
_PRINTED = b"unreferenced object"


def blocks(text: bytes) -> tuple[list[Block], list[Block]]:
    """The blocks of a text in their order, and what looked like one and is too short to be believed."""
    # What stands between the stamped lines alone may begin a block; once it has, all lines count.
    passes_stamped = _PRINTED not in text
    between = _STAMPED_LINES.sub(b"", text) if passes_stamped else text
    kinds = tuple(kind for kind in KINDS if any(word in between for word in kind.words))
    if not kinds:
        return [], []
    finder = _Finder(kinds)
    for number, line in enumerate(text.split(b"\n"), 1):
        if not (passes_stamped and finder.is_idle and _STAMPED.match(line) is not None):
            finder.take(unwrapped(line), number)
    finder.close()
    return [each for each in finder.found if each.is_whole], [each for each in finder.found if not each.is_whole]


class _Finder:
    """One pass over the lines; at most one block is open."""

    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        self.found: list[Block] = []
        self._kinds = kinds
        self._open: Block | None = None
        self._held: tuple[bytes, int] | None = None  # a row that a mailer has wrapped
        self._name = ""
        self._number = 0
        self._host = b""
        self._figure = b""  # a file of one number that was asked for: the next line is it

    @property
    def is_idle(self) -> bool:
        """Whether nothing is open that the next line could go on with."""
        return self._open is None and self._held is None and not self._figure

    def take(self, line: bytes, number: int) -> None:
        """The next line."""
        if self._held is not None:
            held, held_number = self._held
            self._held = None
            is_site = _WRAPPED_CALL_SITE.match(held) is not None
            if (_REST_OF_CALL_SITE.match(line) if is_site else _REST_OF_ORDERS.match(line)) is not None:
                self._take(held.rstrip() + b" " + line.strip(), held_number)
                return
            self._take(held, held_number)
        if _WRAPPED_CALL_SITE.match(line) is not None or _WRAPPED_ORDERS.match(line) is not None:
            self._held = (line, number)
            return
        self._take(line, number)

    def close(self) -> None:
        """No more lines."""
        if self._held is not None:
            self._take(*self._held)
            self._held = None
        self._close()

    def _close(self) -> None:
        if self._open is not None:
            self.found.append(self._open)
        self._open = None

    def _take(self, line: bytes, number: int) -> None:
        self._number = number
        if b"@" in line and (prompt := _HOST.match(line)) is not None:
            self._host = prompt["host"]
        if (asked := _FIGURE_ASKED.search(line)) is not None:
            self._figure = asked["name"]
        elif self._figure and _BARE.match(line) is not None:
            line, self._figure = self._figure + b" " + line.strip(), b""
            if self._open is None or self._open.kind.source is not memory.MEMORY_STAT:
                self._close()
                self._open = Block(_CGROUP, number, host=self._host)
            self._open.rows = max(self._open.rows, _CGROUP.least)  # the prompt says what it is
        if self._open is None and not line.strip():
            return
        if (named := _NAMED_IN_PROMPT.search(line)) is not None:
            self._name = f"slab/{named['cache'].decode(errors='replace')}/{named['file'].decode()}"
        block = self._open
        if block is not None and self._belongs(block, line):
            return
        ways = list(forms(line))
        for kind in self._kinds:
            for form in ways:
                if (kind.begins or kind.row).match(form) is not None:
                    self._close()
                    self._open = Block(kind, number, self._name if kind.source is ALLOC_TRACES else "", host=self._host)
                    self._is_another_reading(self._open, form)  # which takes note of its name
                    self._add(self._open, form)
                    return

    def _belongs(self, block: Block, line: bytes) -> bool:
        kind = block.kind
        if not line.strip():
            block.passed += 1
            if block.passed <= kind.patience:
                block.lines.append(b"")
                return True
            self._close()
            return False
        if kind.is_generic:
            others = [other for other in self._kinds if not other.is_generic]
            if any((other.begins or other.row).match(form) for form in forms(line) for other in others):
                self._close()
                return False
        for form in forms(line):
            is_row = kind.row.match(form) is not None
            if is_row and self._is_another_reading(block, form):
                return True
            if kind.again is not None and kind.again.match(form) is not None and block.holds(kind.again):
                return False
            if kind.begins is not None and not is_row and kind.begins.match(form) is not None and block.rows:
                return kind.source in (ZONEINFO, DMA_BUF) and self._add(block, form)
            if is_row or (kind.inner is not None and kind.inner.match(form) is not None):
                return self._add(block, form)
        block.passed += 1
        if block.passed > kind.patience or (kind.patience == 1 and _PROMPT.match(line) is not None):
            self._close()
        return False

    def _is_another_reading(self, block: Block, row: bytes) -> bool:
        """Whether a row begins its list anew: then it is the first of another block of the same series."""
        named = None if block.kind.named is None else block.kind.named.match(row)
        if named is None:
            return False
        if not block.first_name:
            block.first_name = named["name"]
            return False
        if named["name"] != block.first_name:
            return False
        self._close()
        self._open = Block(block.kind, self._number, block.name, host=self._host, rows_of_series=block.rows_of_series)
        self._open.first_name = named["name"]
        return self._add(self._open, row)

    def _add(self, block: Block, line: bytes) -> bool:
        block.passed = 0
        is_row = block.kind.row.match(line) is not None
        block.rows += is_row
        block.rows_of_series[0] += is_row
        block.lines.append(line if block.kind.indented is None else block.kind.indented(line))
        return True
