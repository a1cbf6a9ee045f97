"""What each field of an OOM report and of /proc/meminfo is: one table (fields.tsv) for the page and the docs."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

MEMINFO = "meminfo"


@dataclass(frozen=True, slots=True)
class Field:
    """A printed name, where it is printed, what it means, since which kernel, and what is normal (may be empty)."""

    name: str
    where: str
    meaning: str
    since: str
    normal: str

    @property
    def text(self) -> str:
        """All of it in a line."""
        normal = f" Normal: {self.normal}." if self.normal else ""
        return f"{self.name}: {self.meaning}. Since {self.since}.{normal}"


@cache
def fields() -> tuple[Field, ...]:
    """Every row of the table, in its order."""
    text = resources.files("oomscope.report").joinpath("fields.tsv").read_text(encoding="utf-8")
    rows = csv.reader(text.splitlines()[1:], delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(Field(*row) for row in rows)


@cache
def _of_reports() -> tuple[re.Pattern[str], dict[str, Field]]:
    by_name = {field.name: field for field in reversed(fields()) if field.where != MEMINFO}
    longest_first = sorted(by_name, key=len, reverse=True)
    # A field has a number or a value behind it, or a number before it (`1453596 pages RAM`), or heads a column.
    names = "|".join(re.escape(name) for name in longest_first)
    return re.compile(rf"(?<![\w-])(?:{names})(?=[:=]|\s|$)"), by_name


def pieces(line: str) -> Iterator[tuple[str, Field | None]]:
    """A line of a report in pieces: each with the field that it names, None for what is none."""
    pattern, by_name = _of_reports()
    at = 0
    is_of_report = ":" in line or "=" in line or "pages" in line or "total_vm" in line
    for match in pattern.finditer(line) if is_of_report else ():
        if match.start() > at:
            yield line[at : match.start()], None
        yield match[0], by_name[match[0]]
        at = match.end()
    if at < len(line):
        yield line[at:], None
