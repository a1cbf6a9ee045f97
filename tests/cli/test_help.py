"""The documentation is a command away, in a checkout and in a wheel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from oomscope.cli import cli
from oomscope.cli.help import topics
from oomscope.errors import BadQuestion

SRC = Path(__file__).parents[2] / "src"


def shown(*words: str) -> str:
    result = CliRunner().invoke(cli, ["help", *words], catch_exceptions=False, standalone_mode=False)
    return result.output


def test_every_topic_is_listed_and_shown() -> None:
    """Commands, formats, classes; the list names all of them."""
    known = topics()
    assert {"explain", "triage", "page_owner", "hidden-kernel", "reliability", "page-size"} <= known.keys()
    listed = re.split(r"[:,\s]+", shown())
    for name, path in known.items():
        assert name in listed
        assert shown(name) == path.read_text()
    assert shown("hidden_kernel") == shown("hidden-kernel")


def test_a_topic_that_is_none_is_told() -> None:
    """With those that are near."""
    result = CliRunner().invoke(cli, ["help", "page"], standalone_mode=False)
    assert isinstance(result.exception, BadQuestion)
    assert "page_owner" in result.exception.advice


def test_what_messages_name_is_there() -> None:
    """Every `oomscope help TOPIC` in a message is a topic, and no message names a file of the documentation."""
    texts = [path.read_text() for path in SRC.rglob("*.py")]
    named = {topic for text in texts for topic in re.findall(r"oomscope help ([a-z][\w-]+)", text)}
    assert named
    assert named - {"topic"} <= topics().keys()


@pytest.mark.parametrize("library", ["oomscope["])
def test_no_message_names_a_package_that_no_index_has(library: str) -> None:
    """Libraries are named by their own names."""
    for path in SRC.rglob("*.py"):
        assert f"pip install '{library}" not in path.read_text(), path
