"""The balance of a report against a second, slower reading of its text."""

from __future__ import annotations

import re

import pytest

import oomscope
from oomscope.attribution.oom.analysis import analyse
from oomscope.attribution.oom.balance import areas
from oomscope.model.oom_event import OomEvent
from tests.support import captures, corpus
from tests.support.corpus import REPORTS, Report

# Reports whose lines are whole, one message a line, none wrapped: those that a plain search reads rightly.
PLAIN = [
    "001-el6-sshd-java-swap-full.log",
    "009-ubuntu-order4-radeon-java.log",
    "028-oom-torture-hundreds-of-tasks.log",
    "063-nfs-mount-order5-96GB.log",
    "086-nfsd-page-leak-88pct.log",
    "092-ppc32-lowmem-693.log",
    "106-steamdeck-pstore-memchewer.log",
    "112-qubes-xen-uvc-order5-allocprof.log",
]
_COUNTED = [
    "free",
    "free_pcp",
    "active_anon",
    "inactive_anon",
    "isolated_anon",
    "active_file",
    "inactive_file",
    "isolated_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "kernel_misc_reclaimable",
    "pagetables",
    "sec_pagetables",
    "bounce",
]


def unexplained_by_hand(text: str) -> int:
    """RAM less what every counter says, in pages of 4 KiB, of the first report of a text."""
    end = re.search(r"(\d+) (?:pages reserved|reserved pages)", text)
    assert end is not None
    text = text[: end.end()]
    ram = re.search(r"(\d+) pages RAM", text)
    assert ram is not None
    counted = 0
    for name in _COUNTED:
        match = re.search(rf"(?<![\w]){name}:(\d+)(?![\dkK])", text)
        counted += int(match[1]) if match is not None else 0
    for name in ("kernel_stack", "shadow_call_stack", "zspages", "writeback_tmp"):
        of_nodes = re.findall(rf"(?m)^.*Node \d+ active_anon.* {name}:(\d+)kB", text)
        of_zones = re.findall(rf"(?m)^.* free:\d+kB.* {name}:(\d+)kB", text)
        counted += sum(map(int, of_nodes or of_zones)) // 4
    for total, size in re.findall(r"hugepages_total=(\d+) .*hugepages_size=(\d+)kB", text):
        counted += int(total) * int(size) // 4
    return int(ram[1]) - int(end[1]) - counted


@pytest.mark.parametrize("name", PLAIN)
def test_the_remainder_equals_a_slow_reading(name: str) -> None:
    """Every page of RAM is in one row, and what is in none is what a search of the text leaves, to the page."""
    verdict = oomscope.explain(corpus.path(name))
    assert verdict.balance is not None
    by_hand = unexplained_by_hand(captures.text(corpus.path(name)).decode(errors="replace"))
    assert verdict.balance.unexplained_pages == by_hand
    assert sum(row.pages for row in verdict.balance.rows) + by_hand == verdict.balance.ram_pages


def _first_event(report: Report) -> OomEvent | None:
    events = [event for event in corpus.events_of(report.name) if event.has_counters]
    return events[0] if events else None


@pytest.mark.parametrize("report", REPORTS, ids=str)
def test_every_row_names_its_line_and_holds_pages(report: Report) -> None:
    """A row stands on a line of the input that has its number, and no row is empty or negative."""
    event = _first_event(report)
    if event is None:
        assert b"slab_unreclaimable:" not in report.text or report.truncated
        return
    accounting = analyse(event).accounting
    lines = report.text.split(b"\n")
    for row in accounting.rows:
        assert row.pages > 0
        match = re.fullmatch(r"line (\d+)", row.source)
        assert match is not None, row
        assert re.search(rb"\d", lines[int(match[1]) - 1])
    if accounting.unexplained_pages is not None and accounting.ram_pages is not None:
        assert sum(row.pages for row in accounting.rows) + accounting.unexplained_pages == accounting.ram_pages


def test_shared_memory_is_split_from_the_lists_that_hold_it() -> None:
    """Shmem is a row of its own and lies inside the anonymous lists: the two rows together are those lists."""
    event = _first_event(next(r for r in REPORTS if r.name.startswith("052")))
    assert event is not None
    accounting = analyse(event).accounting
    counters = event.counters
    assert accounting.pages("anon", "shmem") == counters["active_anon"] + counters["inactive_anon"]
    assert accounting.pages("shmem") == counters["shmem"]
    assert [kind for kind, _ in accounting.bounds] == ["shmem"]  # some of it may be unevictable


def test_zones_above_the_request_are_not_ram_that_is_missing() -> None:
    """From 6.0 on a report leaves out zones: RAM comes from its own two lines, and what is hidden is told."""
    verdict = oomscope.explain(corpus.path("092-ppc32-lowmem-693.log"))
    event = corpus.events_of("092-ppc32-lowmem-693.log")[0]
    assert verdict.balance is not None
    assert verdict.balance.ram_pages == event.totals["pages RAM"] - event.totals["pages reserved"]
    shown = sum(zone.kib["managed"] for zone in event.zones) // 4
    assert analyse(event).accounting.hidden_zone_pages == verdict.balance.ram_pages - shown
    assert any("zones of" in absent.what for absent in verdict.absent)


def test_a_report_that_contradicts_itself_is_told() -> None:
    """RAM lines that are not of the zones' machine are left aside, and nothing is certain then."""
    verdict = oomscope.explain(corpus.path("056-debian-clamd-edited-ram-hugepages.log"))
    event = corpus.events_of("056-debian-clamd-edited-ram-hugepages.log")[0]
    assert verdict.balance is not None
    assert verdict.balance.ram_pages == sum(zone.kib["managed"] for zone in event.zones) // 4
    assert any("one of the two is not of this report" in note for note in verdict.balance.notes)
    assert verdict.oom is not None
    assert verdict.oom.certainty != "certain"


def test_each_zone_closes_by_itself() -> None:
    """A zone's rows and its rest are its managed pages; a node of several has its own."""
    event = _first_event(next(r for r in REPORTS if r.name.startswith("063")))
    assert event is not None
    found = {area.title: area for area in areas(event)}
    assert set(found) == {"Node 0 DMA", "Node 0 DMA32", "Node 0 Normal", "Node 1 Normal", "Node 0", "Node 1"}
    for area in found.values():
        assert area.managed_pages is not None
        assert sum(row.pages for row in area.rows) + (area.rest_pages or 0) == area.managed_pages
    nodes = sum(found[f"Node {n}"].managed_pages or 0 for n in (0, 1))
    assert nodes == sum(zone.kib["managed"] for zone in event.zones) // 4
