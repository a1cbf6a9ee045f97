"""One HTML file with everything in it: the answer first, then pictures, tables, findings and what is not known.

Opens from a mail attachment: no request leaves it, which its own content policy forbids. Plotly draws, Jinja fills in
and escapes; both come with the extra `html`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources, util
from typing import TYPE_CHECKING, Any

from oomscope.errors import NotOffered
from oomscope.model.account import BYTES, KINDS
from oomscope.model.diff import BALANCE, CULPRIT, STACK
from oomscope.model.oom_event import NOT_IN_RAM, own_pages
from oomscope.report.cells import machine, page_bytes_of
from oomscope.report.fields import Field, pieces
from oomscope.report.page import charts
from oomscope.units import bytes_text, duration_text, pages_text, share_text, size_text, uptime_text

if TYPE_CHECKING:
    from oomscope.model.diff import Change, Difference
    from oomscope.model.frame_tree import FrameTree
    from oomscope.model.verdict import Verdict

MOST_ROWS = 1000
_MOST_PROCESSES = 15
# What stands first on the page, by the class.
_LEADS = {"user-anon": "processes", "memcg-limit": "processes", "fragmentation": "free", "cma": "free"}
_LINE = re.compile(r"\bline (\d+)\b(?:: (.*))?")


@dataclass(frozen=True, slots=True)
class Link:
    """A cell that leads to another part of the page."""

    target: str
    text: str


Cell = str | int | float | Link | None
Cells = list[Cell]


class Table:
    """A table that sorts and filters; numbers are shown with separators and sorted as numbers."""

    def __init__(self, title: str, columns: tuple[str, ...], rows: Iterable[Cells], *, note: str = "") -> None:
        self.title = title
        self.columns = columns
        self.rows = list(rows)
        self.note = note

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return any(isinstance(row[column], int | float) for row in self.rows)


def render(verdict: Verdict, trees: dict[str, FrameTree]) -> str:
    """The verdict as a page; `trees` are its stacks laid over each other (see charts.FLAME_VIEWS).

    Raises NotOffered where the extra is not installed.
    """
    lines = _evidence_lines(verdict)
    pictures = charts.of_verdict(verdict, trees)
    return filled(
        "page.html.j2",
        title=verdict.answer.headline,
        answer=verdict.answer,
        verdict=verdict,
        facts=_facts(verdict),
        pictures=pictures,
        tables=_tables(verdict),
        lines=lines,
        log=_log(verdict, lines),
        processes=_processes(verdict),
        composition=_composition(verdict),
        machine=machine(verdict),
        leads=_LEADS.get(verdict.answer.oom_class, ""),
        page_bytes=page_bytes_of(verdict),
        linked=lambda text: _linked(text, lines),
        difference=None,
    )


def render_difference(difference: Difference, trees: dict[str, FrameTree]) -> str:
    """What changed between two moments as a page of the same look; `trees` are what grew and what shrank."""
    grown = next((c for kind in (CULPRIT, STACK, BALANCE) for c in difference.of(kind) if _moved(c) > 0), None)
    title = "Nothing grew" if grown is None else f"{grown.name} grew by {_moved_text(grown)}"
    titles = {CULPRIT: "Culprits", STACK: "Stacks", **KINDS, BALANCE: "Balance of RAM"}
    tables = [
        Table(heading, ("name", "change", "before", "now"), [_change_row(c) for c in difference.of(kind)[:MOST_ROWS]])
        for kind, heading in titles.items()
        if difference.of(kind)
    ]
    apart = "" if difference.apart_ns is None else duration_text(difference.apart_ns)
    return filled(
        "page.html.j2",
        title=title,
        answer=None,
        verdict=None,
        facts=[("from", difference.before), ("to", difference.after), ("apart", apart)],
        pictures=charts.of_difference(trees),
        tables=tables,
        lines={},
        log=[],
        processes=[],
        composition=None,
        machine="",
        leads="",
        page_bytes=None,
        linked=str,
        difference=difference,
    )


def require() -> None:
    """That the extra is installed. Raises NotOffered."""
    if any(util.find_spec(name) is None for name in ("jinja2", "plotly")):
        raise NotOffered("an HTML page needs plotly and jinja2", advice="pip install plotly jinja2")


def filled(template: str, *, filters: Mapping[str, Callable[..., str]] | None = None, **values: Any) -> str:
    """A template of this folder with its values, as one page. Raises NotOffered where the extra is not installed."""
    require()
    import jinja2

    plotly = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    here = resources.files(__package__)
    loader = jinja2.FunctionLoader(lambda name: here.joinpath(name).read_text(encoding="utf-8"))
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=loader)
    page.filters["share"] = share_text
    page.filters["pages"] = pages_text
    page.filters["shown"] = _shown
    page.filters["bytes"] = bytes_text
    page.filters |= filters or {}
    return page.get_template(template).render(
        **values,
        data=_as_script(values["pictures"]),
        style=here.joinpath("page.css").read_text(encoding="utf-8"),
        script=here.joinpath("page.js").read_text(encoding="utf-8"),
        plotly=plotly,
    )


def _as_script(value: object) -> str:
    """JSON that may stand between script tags: nothing in it ends them, whatever a symbol is called."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _shown(value: Cell) -> Any:
    if value is None:
        return ""
    if isinstance(value, Link):
        from markupsafe import Markup

        return Markup('<a href="{}">{}</a>').format(value.target, value.text)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    oom = verdict.oom
    known = {
        "when": "" if verdict.at_ns is None else f"{uptime_text(verdict.at_ns)} after boot",
        "class": "" if oom is None else f"{oom.oom_class}" + (f" ({oom.certainty})" if oom.certainty else ""),
        "counted": ""
        if verdict.counted_pages is None or not verdict.counted_stacks
        else f"{pages_text(verdict.counted_pages)} over {verdict.counted_stacks:,} stacks",
    }
    return [(name, text) for name, text in known.items() if text]


def _tables(verdict: Verdict) -> list[Table]:
    found = [
        Table(
            "Culprits, all their stacks together",
            ("culprit", "pages", "% of RAM", "stacks", "kind", "growth"),
            [
                [str(r.culprit), r.pages, _percent(r.share_of_ram), r.stacks, ", ".join(r.kinds), r.growth or ""]
                for r in verdict.culprits[:MOST_ROWS]
            ],
            note=_cut(len(verdict.culprits)),
        ),
        Table(
            "Stacks",
            ("culprit", "pages", "% of RAM", "kind", "growth", "stack"),
            [
                [
                    c.holding.name,
                    c.pages,
                    _percent(c.share_of_ram),
                    c.holding.kind,
                    c.growth or "",
                    " < ".join(frame.function for frame in c.holding.stack.frames),
                ]
                for c in verdict.consumers[:MOST_ROWS]
            ],
            note=_cut(len(verdict.consumers)),
        ),
        Table(
            "Stacks that are not named",
            ("pages", "what they are"),
            [[c.pages, c.holding.label or c.holding.kind] for c in verdict.excepted],
        ),
        *(
            Table(
                KINDS[told.kind],
                (told.kind, told.unit, told.counted, "place"),
                [[str(entry), entry.amount, entry.count, entry.place] for entry in told.entries[:MOST_ROWS]],
                note=f"{bytes_text(told.total) if told.unit == BYTES else pages_text(told.total)} in all",
            )
            for told in verdict.accounts
        ),
        Table(
            "OOM events in the log",
            ("event", "line", "when", "class", "what"),
            [[e.number, e.line, _when(e.at_ns, e.stamp), e.oom_class, e.text] for e in verdict.events],
        ),
        *_witnesses(verdict),
    ]
    if verdict.oom is not None and verdict.oom.analysis is not None:
        analysis = verdict.oom.analysis
        page_mib = (analysis.page_bytes or 4096) / 2**20
        killed = {victim.pid for victim in analysis.event.victims}
        ranked = sorted(analysis.event.processes, key=lambda process: -own_pages(process))[:MOST_ROWS]
        found.append(
            Table(
                "Processes",
                ("name", "pid", "MiB", "pages", "oom_score_adj", "fate"),
                [
                    [
                        p.comm,
                        p.pid,
                        round(own_pages(p) * page_mib, 1),
                        own_pages(p),
                        p.values.get("oom_score_adj"),
                        "killed" if p.pid in killed else "",
                    ]
                    for p in ranked
                ],
            )
        )
    return [table for table in found if table.rows]


def _cut(rows: int) -> str:
    """What is said of a table that has more rows than are shown."""
    return "" if rows <= MOST_ROWS else f"the {MOST_ROWS:,} greatest of {rows:,}: --format json has all"


def _witnesses(verdict: Verdict) -> list[Table]:
    return [
        Table(
            f"Witness: {w.origin}",
            (w.unit, "why", "stacks"),
            [[part.amount, part.name, part.stacks] for part in w.parts] or [[0, "no difference, stack by stack", ""]],
            note=f"{w.theirs:,} {w.unit} there, {w.ours:,} in {w.witness_of}",
        )
        for w in verdict.witnesses
    ]


def _evidence_lines(verdict: Verdict) -> dict[int, str]:
    """The lines of the log that findings and rows rest on, with their text where it is quoted."""
    told: dict[int, str] = {}
    texts = [reason for finding in verdict.findings for reason in finding.because]
    texts += [row.source for row in verdict.balance.rows] if verdict.balance is not None else []
    for text in texts:
        for match in _LINE.finditer(text):
            told[int(match[1])] = match[2] or told.get(int(match[1]), "")
    return dict(sorted(told.items()))


def _log(verdict: Verdict, cited: dict[int, str]) -> list[tuple[int, list[tuple[str, Field | None]], bool]]:
    """The lines of the report that were kept, in their order, each in pieces; whether the answer rests on it."""
    if verdict.oom is None or verdict.oom.analysis is None:
        return []
    texts = {**{number: text for number, text in cited.items() if text}, **verdict.oom.analysis.event.texts}
    return [(number, list(pieces(text)), number in cited) for number, text in sorted(texts.items())[:MOST_ROWS]]


@dataclass(frozen=True, slots=True)
class Bar:
    """What has memory, how many of it, its size as text, and its share of the longest bar (0..1)."""

    name: str
    count: int
    size: str
    share: float
    killed: bool


def _processes(verdict: Verdict) -> list[Bar]:
    """Processes by name, the largest first; shared pages count in each process."""
    analysis = None if verdict.oom is None else verdict.oom.analysis
    groups = () if analysis is None else analysis.process_groups[:_MOST_PROCESSES]
    if analysis is None or not groups:
        return []
    killed = {victim.comm for victim in analysis.event.victims}
    most = max(groups[0].pages, 1)
    return [
        Bar(
            group.comm,
            group.count,
            size_text(group.pages, analysis.page_bytes).partition(" (")[0],
            group.pages / most,
            group.comm in killed,
        )
        for group in groups
        if group.pages
    ]


def _composition(verdict: Verdict) -> tuple[str, list[Bar]] | None:
    """What fills the memory cgroup that reached its limit: a title, and a bar for each kind of memory.

    Counters of memory.stat that are parts of others stand beside them, as the kernel prints them.
    """
    analysis = None if verdict.oom is None else verdict.oom.analysis
    memcg = None if analysis is None else analysis.event.memcg
    if memcg is None or not memcg.stat:
        return None
    in_ram = [(name, size) for name, size in memcg.stat.items() if name not in NOT_IN_RAM and size > 0]
    ranked = sorted(in_ram, key=lambda pair: -pair[1])[:_MOST_PROCESSES]
    if not ranked:
        return None
    limit_kib = memcg.bound_kib
    whole = max((limit_kib or 0) * 1024, ranked[0][1], 1)
    of = "" if limit_kib is None else f", against its limit of {bytes_text(limit_kib * 1024)}"
    title = f"In {memcg.path or 'the memory cgroup'}{of}"
    return title, [Bar(name, 1, bytes_text(size), size / whole, killed=False) for name, size in ranked]


def _linked(text: str, lines: dict[int, str]) -> Any:
    """Text in which each line of evidence is a link to it."""
    from markupsafe import Markup, escape

    parts, at = [], 0
    for match in _LINE.finditer(text):
        number = int(match[1])
        end = match.start() + len(f"line {number}")
        if number in lines and text[match.start() : end] == f"line {number}":
            parts += [escape(text[at : match.start()]), Markup('<a href="#line-{0}">line {0}</a>').format(number)]
            at = end
    return Markup("").join([*parts, escape(text[at:])])


def _change_row(change: Change) -> Cells:
    in_pages = change.change_pages is not None
    if in_pages:
        return [change.name, change.change_pages, change.before_pages, change.after_pages]
    return [change.name, change.change_bytes, change.before_bytes, change.after_bytes]


def _moved(change: Change) -> int:
    return change.change_pages or change.change_bytes or 0


def _moved_text(change: Change) -> str:
    return pages_text(change.change_pages) if change.change_pages is not None else bytes_text(change.change_bytes or 0)


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)


def _when(at_ns: int | None, stamp: str | None) -> str:
    return uptime_text(at_ns) if at_ns is not None else stamp or ""
