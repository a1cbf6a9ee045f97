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
from oomscope.model.oom_event import own_pages
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
    assert answer.headline.startswith("memory cgroup")
    assert answer.holder_kind != CULPRIT


def test_stacks_answer_where_a_report_cannot_tell() -> None:
    """A log whose counters are lost leaves the answer to the dump beside it."""
    answer = verdict_of("a report that cannot tell beside a dump").answer
    assert (answer.oom_class, answer.holder, answer.by) == ("undetermined", "leak_mb_write", "stacks")


REPORT = """\
[   12.345600] init invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[   12.345601] Mem-Info:
[   12.345602] active_anon:10 inactive_anon:20 isolated_anon:0
 active_file:10 inactive_file:20 isolated_file:0
 unevictable:0 dirty:0 writeback:0
 slab_reclaimable:100 slab_unreclaimable:200
 mapped:0 shmem:0 pagetables:10
 sec_pagetables:0 bounce:0
 kernel_misc_reclaimable:0
 free:1000 free_pcp:0 free_cma:0
[   12.345606] Node 0 Normal free:4000kB boost:0kB min:4400kB low:5500kB high:6600kB present:500000kB managed:490000kB
[   12.345607] Node 0 Normal: 1000*4kB (U) = 4000kB
[   12.345610] 125000 pages RAM
[   12.345611] 0 pages HighMem/MovableOnly
[   12.345612] 2500 pages reserved
[   12.345613] Memory allocations:
[   12.345614]     {size} MiB     6400 drivers/foo/foo.c:12 [foo] func:foo_ring_alloc
[   12.345615]     2.0 MiB     512 mm/bar.c:1 func:bar
"""


@pytest.mark.parametrize(("size", "holder", "by"), [("25.0", None, "lacking"), ("300.0", "foo_ring_alloc", "report")])
def test_a_call_site_answers_for_most_of_the_memory_or_not(tmp_path: Path, size: str, holder: str, by: str) -> None:
    """25 of 473 MiB that are in no counter name nobody; 300 of them do."""
    path = tmp_path / "log"
    path.write_text(REPORT.format(size=size))
    answer = oomscope.explain(path).answer
    assert (answer.oom_class, answer.holder, answer.by) == ("hidden-kernel", holder, by)
    assert answer.pages == (121_130 if holder is None else 76_800)


@pytest.mark.parametrize("name", [report.name for report in corpus.REPORTS])
def test_pages_are_the_holders(name: str) -> None:
    """Of a cache or a process that the report tells, never those of the whole class; a kind of memory is nobody's."""
    verdict = verdict_of(name)
    answer, oom = verdict.answer, verdict.oom
    event = None if oom is None or oom.analysis is None else oom.analysis.event
    if event is None or answer.holder is None:
        return
    if answer.holder_kind == "slab cache":
        assert answer.pages == max(cache.total_kib for cache in event.slab_caches) // (event.page_kib or 4)
    if answer.holder_kind == "process":
        assert answer.oom_class in ("user-anon", "memcg-limit")
        assert answer.pages in {None, *map(own_pages, event.processes)} or not event.processes


def test_the_next_step_is_of_the_holder() -> None:
    """Filters that leave nothing of slab over: what to do about the cache, not about whoever else holds pages."""
    evidence = (captures.CONSOLE_6_12, captures.AFTER_6_12)
    verdict = oomscope.explain(*evidence, selection=oomscope.Selection(comms=frozenset({"sh"})))
    if verdict.answer.holder_kind != CULPRIT:
        assert "faddr2line" not in verdict.answer.next
