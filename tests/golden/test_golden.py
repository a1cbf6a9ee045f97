"""What people see of real cases is what was last reviewed: `make golden` after a change that is meant."""

from __future__ import annotations

from tests.golden.cases import HERE, texts


def test_the_texts_are_those_that_were_reviewed() -> None:
    """Every word and number of twenty cases; no text is kept of a case that is not there any more."""
    kept = {path.stem: path.read_text() for path in HERE.glob("*.txt")}
    assert len(kept) >= 20
    made = dict(texts())
    assert made.keys() == kept.keys()
    assert {name: made[name].splitlines() for name in made} == {name: kept[name].splitlines() for name in kept}
