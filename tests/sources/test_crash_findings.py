"""vmcore-oom.json as evidence: a real one, and what becomes of it where it is damaged or forged."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import zstandard

import oomscope
from oomscope.errors import CorruptInput, OomscopeError
from tests.support.captures import DATA

PACKED = DATA / "crash-kernel-6.12" / "vmcore-oom.json.zst"
WHOLE: dict[str, Any] = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(PACKED.read_bytes()))


def explained(told: object) -> oomscope.Verdict:
    return oomscope.explain(json.dumps(told, separators=(",", ":")).encode())


def changed(**keys: object) -> dict[str, Any]:
    return {**copy.deepcopy(WHOLE), **keys}


def test_the_findings_are_an_answer_by_themselves() -> None:
    """Who, how much, of how much RAM, when, the class of the OOM, without the dump."""
    verdict = oomscope.explain(PACKED)
    assert verdict.answer.headline.startswith("take_page [oomlab] holds 542.1 MiB (138,789 pages), 74.8 % of RAM")
    assert verdict.ram_pages == 185_573
    assert verdict.oom is not None
    assert (verdict.oom.oom_class, verdict.oom.certainty) == ("hidden-kernel", "certain")
    assert verdict.system is not None
    assert verdict.system.panic_message == "System is deadlocked on memory"


def test_the_printed_lines_say_the_same() -> None:
    """vmcore-oom.txt has the culprit with the same pages over the same stacks."""
    verdict = oomscope.explain(DATA / "crash-kernel-6.12" / "vmcore-oom.txt")
    first = verdict.culprits[0]
    assert (str(first.culprit), first.pages, first.stacks) == ("take_page [oomlab]", 138_789, 4)


def test_the_files_of_one_crash_are_one_answer() -> None:
    """The folder as the crash kernel left it: the findings are explained, and the printed lines are their witness."""
    verdict = oomscope.explain(PACKED.parent)
    assert verdict.answer == oomscope.explain(PACKED).answer
    assert verdict.counted_stacks == 587
    assert any(each.origin.endswith("vmcore-oom.txt") for each in verdict.witnesses)


@pytest.mark.parametrize("indent", [1, None])
def test_it_is_recognised_however_it_was_written(indent: int | None) -> None:
    """Written anew by another program, with a mark of its encoding before it."""
    text = "\ufeff" + json.dumps(WHOLE, indent=indent)
    assert oomscope.explain(text.encode()).answer == oomscope.explain(PACKED).answer


def test_more_pages_than_ram_names_nobody() -> None:
    """Stacks that stand there twice hold more than there is: that is said, and no one of them is blamed."""
    verdict = explained(changed(consumers=WHOLE["consumers"] * 2))
    assert not verdict.consumers
    assert any("more than the 262,144 of RAM" in each.reason for each in verdict.absent)


def test_without_names_no_address_is_blamed() -> None:
    """Stacks of bare addresses are known by their handles alone."""
    bare = [{**each, "frames": [f"0xffffffff8{n:07x}"] * 3} for n, each in enumerate(WHOLE["consumers"])]
    verdict = explained(changed(consumers=bare))
    assert not verdict.culprits
    assert "0xffffffff8" not in verdict.answer.headline


def test_control_characters_are_shown_as_such() -> None:
    """A name from damaged memory moves no cursor."""
    frames = [{**WHOLE["consumers"][0], "frames": ["post_alloc_hook+0x1/0x2", "evil\x1b[2J\n+0x1/0x2 [m]"]}]
    verdict = explained(changed(consumers=frames, release="6.1\x1b[31m"))
    assert "\x1b" not in str(verdict.consumers)
    assert "\x1b" not in str(verdict.kernel)


def test_what_is_not_named_is_told() -> None:
    """Pages of stacks that time was over for, or that there was no room for."""
    verdict = explained(changed(unnamed_pages=17_000, consumers=WHOLE["consumers"][:10]))
    assert any("17,000 pages" in each.what for each in verdict.absent)


def test_a_count_that_was_stopped_is_told() -> None:
    """What time was over for makes the answer a partial one, and that is said."""
    verdict = explained(changed(is_stopped=True))
    assert verdict.partial
    assert any("time was over" in each.reason for each in verdict.absent)


def test_a_wrong_number_beside_the_counts_costs_the_number_alone() -> None:
    """The answer stands though how much could not be read is damaged."""
    verdict = explained(changed(unread_pages=-2_584_576, early_pages="many"))
    assert verdict.answer == oomscope.explain(PACKED).answer


@pytest.mark.parametrize(
    "told",
    [
        changed(consumers=[{"pages": -1, "handle": 1, "frames": []}]),
        changed(consumers=[{"pages": 1.5, "handle": 1, "frames": []}]),
        changed(consumers=[{"pages": 1, "handle": 1}]),
        changed(consumers=7),
        changed(page_bytes=4097),
        changed(ram_pages=1 << 80),
        changed(reports=["zz"]),
        changed(names=[]),
        changed(vmstat=3),
        {key: value for key, value in WHOLE.items() if key != "release"},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_a_sentence(told: dict[str, Any]) -> None:
    """Another type, or a number that no kernel has."""
    with pytest.raises(CorruptInput, match="damaged"):
        explained(told)


def test_a_part_of_the_file_is_no_answer() -> None:
    """Cut anywhere: one sentence that says so."""
    text = json.dumps(WHOLE, separators=(",", ":")).encode()
    for size in (40, 1000, len(text) // 2, len(text) - 2):
        with pytest.raises(OomscopeError):
            oomscope.explain(text[:size])
