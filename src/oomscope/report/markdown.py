"""The verdict for a ticket or a mail: Markdown, in which tables are tables and what a log says stands as code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from oomscope.model.account import BYTES, GRAPHICS, KINDS
from oomscope.model.answer import NO_REPORT
from oomscope.model.balance import Balance, BalanceRow
from oomscope.model.verdict import Finding, Verdict
from oomscope.report.cells import kind_with_parts, machine, page_bytes_of, share_of_ram
from oomscope.units import bytes_text, pages_text, size_text

_LINES_CITED = 60
# An underscore within a word is no mark.
_SPECIAL = re.compile(r"([\\`*\[\]<>|~]|(?<![^\W_])_|_(?![^\W_]))")
_CITED = re.compile(r"\bline (\d{1,9})\b")


def render(verdict: Verdict, *, top: int = 10) -> str:
    """The answer first, then where RAM is, who holds it, the lines it rests on, and what is not known."""
    return "\n".join(_blocks(verdict, top)).rstrip() + "\n"


def _blocks(verdict: Verdict, top: int) -> Iterator[str]:
    answer, oom = verdict.answer, verdict.oom
    yield f"**{_plain(answer.headline)}**\n"
    if answer.second:
        yield f"{_plain(answer.second)}\n"
    if answer.oom_class != NO_REPORT:
        also = f", also {', '.join(oom.also)}" if oom is not None and oom.also else ""
        yield f"OOM class: {answer.oom_class}" + (f" ({answer.certainty})" if answer.certainty else "") + also + "\n"
    if facts := machine(verdict):
        yield f"{_plain(facts)}\n"
    if answer.paragraph:
        yield f"{_plain(' '.join(answer.paragraph))}\n"
    yield f"Next: {_plain(answer.next)}\n"
    if verdict.greatest is not None:
        frames = verdict.greatest.holding.stack.texts
        yield from _section(f"The greatest stack: {size_text(verdict.greatest.pages, page_bytes_of(verdict))}")
        yield _code(frames)
    yield from _holders(verdict, top)
    if verdict.balance is not None:
        yield from _balance(verdict.balance, page_bytes_of(verdict))
    yield from _accounts(verdict, top)
    cited = _cited(verdict)
    if cited:
        yield from _section("Lines of the log")
        yield _code([f"{number}: {text}" for number, text in cited.items()])
    if verdict.findings:
        yield from _section("Findings")
        yield "".join(_finding(finding, cited) for finding in verdict.findings)
    if verdict.absent:
        yield from _section("Not known")
        yield "".join(f"- {_plain(absent.what)}: {_plain(absent.reason)}\n" for absent in verdict.absent)


def _finding(finding: Finding, cited: dict[int, str]) -> str:
    """A claim; a line that stands above is named by its number alone."""
    reasons = [match[0] if (match := _CITED.match(why)) and int(match[1]) in cited else why for why in finding.because]
    because = f" Because {_plain('; '.join(reasons))}." if reasons else ""
    return f"- {finding.certainty}: {_plain(finding.claim)}.{because}\n"


def _holders(verdict: Verdict, top: int) -> Iterator[str]:
    if verdict.culprits:
        yield from _section("Culprits, all their stacks together")
        rows = (
            (f"{row.pages:,}", share_of_ram(row.share_of_ram), f"{row.stacks:,}", str(row.culprit))
            for row in verdict.culprits[:top]
        )
        yield _table(("pages:", "of RAM:", "stacks:", "culprit"), rows)


def _balance(balance: Balance, page_bytes: int | None) -> Iterator[str]:
    yield from _section(f"Where RAM is: {size_text(balance.ram_pages, page_bytes)}")
    rest = "unexplained" if balance.is_consistent else "counted twice or moved"
    rows = [*balance.rows, BalanceRow(rest, balance.unexplained_pages, balance.unexplained_parts)]
    yield _table(
        ("size:", "pages:", "of RAM:", "kind", "from"),
        (
            (
                "" if page_bytes is None else bytes_text(row.pages * page_bytes),
                f"{row.pages:,}",
                share_of_ram(row.pages / balance.ram_pages),
                kind_with_parts(row),
                row.source,
            )
            for row in rows
        ),
    )
    if balance.notes:
        yield "".join(f"- {_plain(note)}\n" for note in balance.notes)


def _accounts(verdict: Verdict, top: int) -> Iterator[str]:
    for told in verdict.accounts:
        in_all = bytes_text(told.total) if told.unit == BYTES else pages_text(told.total)
        yield from _section(KINDS[told.kind] + ("" if told.kind == GRAPHICS else f" ({in_all} in all)"))
        rows = (
            (bytes_text(each.amount) if told.unit == BYTES else f"{each.amount:,}", f"{each.count:,}", str(each))
            for each in told.entries[:top]
        )
        yield _table((f"{told.unit}:", f"{told.counted}:", told.kind), rows)


def _cited(verdict: Verdict) -> dict[int, str]:
    """The lines of the log that the answer names, as they stand there."""
    analysis = None if verdict.oom is None else verdict.oom.analysis
    if analysis is None:
        return {}
    texts = analysis.event.texts
    told = [reason for finding in verdict.findings for reason in finding.because]
    told += [] if verdict.balance is None else [row.source for row in verdict.balance.rows]
    named = sorted({int(number) for text in told for number in _CITED.findall(text)} & texts.keys())
    return {number: texts[number] for number in named[:_LINES_CITED]}


def _section(name: str) -> Iterator[str]:
    yield f"### {_plain(name)}\n"


def _code(lines: Sequence[str]) -> str:
    """A fence that is longer than any within."""
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join((fence, *lines, fence)) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a column whose name ends in `:` is of numbers."""
    rule = "|".join("---:" if name.endswith(":") else "---" for name in columns)
    head = " | ".join(_plain(name.removesuffix(":")) for name in columns)
    body = (f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows)
    return "\n".join((f"| {head} |", f"|{rule}|", *body)) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
