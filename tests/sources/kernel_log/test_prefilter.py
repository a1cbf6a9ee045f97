from __future__ import annotations

import random

import pytest

from oomscope.sources.kernel_log import prefilter
from oomscope.sources.kernel_log.prefilter import TRIGGERS, is_worth_reading, numbered_stretches


@pytest.mark.parametrize("word", TRIGGERS)
def test_a_word_is_found_wherever_it_stands(word: bytes) -> None:
    """At every alignment, at both ends, in small numbered_stretches and in large ones."""
    for size in (0, 100, 5000, 5001, 5002, 5003, 300_000):
        for at in {0, size // 2, size // 2 + 1, size // 2 + 2, size // 2 + 3, size}:
            assert is_worth_reading(b"x" * at + word + b"x" * (size - at)), (size, at)


def test_a_stretch_without_a_word_is_passed_over() -> None:
    """The letters alone, and bytes of chance, are no word."""
    assert not is_worth_reading(b" ".join(prefilter._WORDS.values()) * 2000)
    assert not is_worth_reading(random.Random(2020).randbytes(1 << 20))


@pytest.mark.parametrize("word", TRIGGERS)
def test_the_letters_are_of_the_word(word: bytes) -> None:
    """A word is only found by letters that it has."""
    assert prefilter._WORDS[word] in word
    assert len(prefilter._WORDS[word]) == 4


def test_stretches_are_the_log_and_know_their_lines() -> None:
    """Put together, numbered_stretches are the log; each tells how many line ends came before."""
    text = b"".join(b"%d\n" % n * (n % 3) for n in range(5000)) + b"no end"
    for size in (7, 4096, 1 << 20):
        found = list(numbered_stretches(text[i : i + size] for i in range(0, len(text), size)))
        assert b"".join(stretch for _, stretch in found) == text
        before = b""
        for lines_before, stretch in found:
            assert lines_before == before.count(b"\n")
            before += stretch
