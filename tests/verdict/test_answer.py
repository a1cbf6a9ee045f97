"""One answer: whatever the evidence, every output says the same thing."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

import oomscope
from oomscope.cli.explain import page_of
from oomscope.model.answer import CALL_SITE, CULPRIT, NO_REPORT
from oomscope.report import json_report, terminal
from oomscope.triage.grouping import Unit
from oomscope.triage.signature import signature, without_address
from oomscope.triage.worker import explained
from tests.support import captures, corpus

DUMP = captures.AFTER_6_12
EXAMPLES = Path(__file__).parents[2] / "examples"
MIXED = {
    "a memory cgroup's log beside a dump": ("025-stress-memcg-1MB-stat-before-after.log", DUMP),
    "processes beside a dump": ("001-el6-sshd-java-swap-full.log", DUMP),
    "memory without a name beside a dump": ("086-nfsd-page-leak-88pct.log", DUMP),
    "a report that cannot tell beside a dump": ("023-syz-order0-atomic-hang.log", DUMP),
    "a report beside slabinfo": (
        "057-syz-io_uring-slab-panic.log",
        captures.DATA / "accounts" / "6.12-set-aside" / "slabinfo.zst",
    ),
    "a fragmented zone beside a dump": ("063-nfs-mount-order5-96GB.log", DUMP),
}
INPUTS: dict[str, tuple[Path, ...]] = {
    **{report.name: (corpus.path(report.name),) for report in corpus.REPORTS},
    **{str(path.relative_to(captures.DATA)): (path,) for path in (*captures.DUMPS, captures.SHOW_STACKS)},
    "console 6.1": (captures.CONSOLE_6_1,),
    "console 6.12": (captures.CONSOLE_6_12,),
    "a whole case": (captures.CASE_6_12,),
    "leak-6.12": (EXAMPLES / "leak-6.12",),
    "armed-6.12-arm64": (EXAMPLES / "armed-6.12-arm64",),
    **{name: (corpus.path(log), beside) for name, (log, beside) in MIXED.items()},
}


@cache
def verdict_of(name: str) -> oomscope.Verdict:
    return oomscope.explain(*INPUTS[name])


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", INPUTS)
def test_every_output_says_the_same(name: str) -> None:
    """Headline, class, holder, certainty and next step are one in text, page, JSON and signature."""
    verdict = verdict_of(name)
    answer = verdict.answer
    told = json.loads(json_report.render(verdict, top=1))
    assert told["answer"]["headline"] == answer.headline
    assert told["answer"]["class"] == (NO_REPORT if told["oom"] is None else told["oom"]["class"])
    if told["oom"] is not None and told["oom"]["story"]:
        assert (answer.certainty, answer.next) == (told["oom"]["certainty"], told["oom"]["next"])
    assert flat(terminal.render(verdict, top=1)).startswith(flat(answer.headline))
    called = signature(verdict)
    assert called.oom_class == answer.oom_class
    if answer.holder_kind in (CULPRIT, CALL_SITE):
        assert answer.holder is not None
        assert answer.headline.startswith(answer.holder)
        assert (called.culprit, called.module) == (without_address(answer.holder), answer.module or "")
    assert answer.share_of_ram is None or 0 <= answer.share_of_ram <= 1


@pytest.mark.parametrize("name", [*MIXED, "leak-6.12", "001-el6-sshd-java-swap-full.log"])
def test_a_page_is_called_by_the_headline(name: str) -> None:
    """The title of the page and its first line are the headline."""
    from markupsafe import escape

    verdict = verdict_of(name)
    page = page_of([verdict])
    title = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    first = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert title is not None
    assert first is not None
    assert flat(title[1]).startswith(flat(str(escape(verdict.answer.headline))))
    assert re.sub(r"<[^>]+>", "", first[1]).strip() == str(escape(verdict.answer.headline)).strip()


@pytest.mark.parametrize("name", ["leak-6.12", "001-el6-sshd-java-swap-full.log", "020-xfs_db-ppc64le-64k-pages.log"])
def test_a_triage_says_what_explain_says(name: str) -> None:
    """The row of a case is the answer of its verdict."""
    (path,) = INPUTS[name]
    files = tuple((str(each), str(each.relative_to(path))) for each in path.rglob("*")) if path.is_dir() else None
    unit = Unit("case", "", files or ((str(path), ""),), None, "")
    row, answer = explained(unit).results[-1].row, verdict_of(name).answer
    assert (row.headline, row.oom_class, row.certainty) == (answer.headline, answer.oom_class, answer.certainty)
    assert (row.pages, row.share_of_ram, row.answered_by) == (answer.pages, answer.share_of_ram, answer.by)


def test_a_class_is_not_overruled_by_stacks_beside_it() -> None:
    """A cgroup that reached its limit did so, whoever holds the machine's pages in a dump that lies beside."""
    answer = verdict_of("a memory cgroup's log beside a dump").answer
    assert answer.oom_class == "memcg-limit"
    assert answer.headline.startswith("the memory cgroup")
    assert answer.holder_kind != CULPRIT


def test_stacks_answer_where_a_report_cannot_tell() -> None:
    """A log whose counters are lost leaves the answer to the dump beside it."""
    answer = verdict_of("a report that cannot tell beside a dump").answer
    assert (answer.oom_class, answer.holder, answer.by) == ("undetermined", "leak_mb_write", "stacks")
