from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import oomscope
from oomscope.pipeline.api import explain_events
from oomscope.report import json_report
from oomscope.verdict import Question
from tests.support import brute_force, captures, corpus

SCHEMA = json.loads(resources.files("oomscope.report").joinpath("oomscope-1.schema.json").read_text())
CASES: dict[str, dict[str, Any]] = {
    "example": {"paths": [captures.CASE_6_12]},
    "6.1": {"paths": [captures.LINUX_6_1]},
    "panic": {"paths": [captures.CONSOLE_6_12]},
    "OOM kill": {"paths": [corpus.path("056-debian-clamd-edited-ram-hugepages.log")]},
    "memcg": {"paths": [corpus.path("087-afl-memcg-v2-8GB-kernel-slab.log")]},
    "allocation profiling": {"paths": [corpus.path("095-xfs-generic531-alloc-profiling.log")]},
    "a header alone": {"paths": [corpus.path("069-bridge-fdb-atomic-panic.log")]},
    "show_stacks": {"paths": [captures.SHOW_STACKS]},
    "groups": {"paths": [captures.AFTER_6_12], "question": Question(by="comm")},
    "stack groups": {"paths": [captures.AFTER_6_12], "question": Question(by="stack")},
    "filtered": {"paths": [captures.CASE_6_12], "selection": oomscope.Selection(orders=frozenset({3}))},
    "ranking": {"paths": [captures.AFTER_6_12], "ranking_only": True},
}


def rendered(case: dict[str, Any]) -> dict[str, Any]:
    arguments = dict(case)
    verdict = oomscope.explain(*arguments.pop("paths"), **arguments)
    loaded: dict[str, Any] = json.loads(json_report.render(verdict))
    return loaded


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_report_keeps_the_schema(case: dict[str, Any]) -> None:
    """What is printed is valid under the JSON Schema in the repository, which allows no other key."""
    jsonschema.Draft202012Validator(SCHEMA).validate(rendered(case))


def test_all_events_are_wrapped_in_one_object() -> None:
    """With --all, `events` has one report each, every one of them valid by itself, in the order of their stamps."""
    verdicts = explain_events(corpus.path("047-mips-128MB-order4-then-panic.log"))
    report = json.loads(json_report.render_all(verdicts))
    assert report.keys() == {"schema", "events"}
    for event in report["events"]:
        jsonschema.Draft202012Validator(SCHEMA).validate(event)
    assert [event["at_ns"] for event in report["events"]] == [4_426_473_681_000, 4_694_290_791_000]


def test_allocations_without_pages_keep_the_schema(tmp_path: Path) -> None:
    """The report on stack_count, which has no pages, is valid too."""
    path = tmp_path / "show_stacks"
    path.write_text(" leak+0x1/0x2 [m]\nstack_count: 5\n\n")
    report = json.loads(json_report.render(oomscope.explain(path)))
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    assert report["greatest_consumer"] is None
    assert report["most_allocations"][0]["allocations"] == 5


def test_the_contract_on_a_real_capture() -> None:
    """The keys that others build on hold the known truth of the 6.12 capture."""
    report = rendered(CASES["example"])
    greatest = report["greatest_consumer"]
    text = captures.text(captures.AFTER_6_12)
    assert report["schema"] == "oomscope/1"
    assert report["partial"] is False
    assert report["kernel"] == {
        "release": "6.12.117",
        "arch": "x86_64",
        "page_size_bytes": 4096,
        "page_size_assumed_bytes": None,
    }
    assert report["oom"] is None
    assert greatest["pages"] == captures.LEAKED_PAGES
    assert greatest["bytes"] == captures.LEAKED_PAGES * 4096
    assert greatest["share_of_ram"] == pytest.approx(35_072 * 4 / 491_692)
    assert greatest["kind"] == "kernel"
    assert greatest["culprit"] == {"function": "leak_mb_write", "module": "leak", "subsystem": "leak"}
    assert tuple(greatest["stack"]) == brute_force.pages_per_stack(text).most_common(1)[0][0]
    assert report["consumers"][0] == greatest == report["greatest_kernel_consumer"]


def test_consumers_and_excepted_stacks_are_all_there_is() -> None:
    """No stack is dropped: consumers and excepted ones together are the dump, to the page."""
    report = rendered(CASES["example"])
    listed = {tuple(c["stack"]): c["pages"] for c in [*report["consumers"], *report["excepted"]]}
    assert listed == brute_force.pages_per_stack(captures.text(captures.AFTER_6_12))
    pages = [c["pages"] for c in report["consumers"]]
    assert pages == sorted(pages, reverse=True)
    assert {c["label"] for c in report["excepted"]} == {"early", "dummy"}


def test_the_parts_of_a_consumer_add_up() -> None:
    """Orders and gfp of every consumer sum to its pages and blocks."""
    for consumer in rendered(CASES["6.1"])["consumers"]:
        for parts in ("orders", "gfp"):
            if consumer[parts]:
                assert sum(part["pages"] for part in consumer[parts]) == consumer["pages"]
                assert sum(part["blocks"] for part in consumer[parts]) == consumer["blocks"]


def test_top_bounds_the_lists() -> None:
    """With a bound, the lists have that many entries; the greatest consumer stays."""
    verdict = oomscope.explain(captures.AFTER_6_12)
    report = json.loads(json_report.render(verdict, top=3))
    assert (len(report["consumers"]), len(report["culprits"])) == (3, 3)


def test_the_schema_describes_itself_as_valid() -> None:
    """The schema is a valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
