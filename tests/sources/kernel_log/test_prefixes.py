"""Which prefixes a line may begin with is decided by its first byte: never differently than by trying them all."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from oomscope.sources.kernel_log import prefixes
from tests.support import corpus

FORMS = [form for _, form in prefixes._PREFIXES]


def by_trying_all(text: bytes) -> int | None:
    return next((match.end() for form in FORMS if (match := form.match(text)) is not None), None)


def by_first_byte(text: bytes) -> int | None:
    match = prefixes._prefix(text)
    return None if match is None else match.end()


@given(st.one_of([st.from_regex(form) for form in FORMS]))
@example(b"<6>2024-05-30T21:05:00.1+00:00 host kernel: x")
@example(b"<4>.(1)[12:kswapd0] x")
def test_a_prefix_of_any_form_is_found_by_its_first_byte(text: bytes) -> None:
    """Text that some form matches is met by the form that stands first among all."""
    assert by_first_byte(text) == by_trying_all(text)


def test_every_line_of_the_corpus_loses_the_same_prefix() -> None:
    """Lines of all collectors that the corpus knows, and what is left of them behind each prefix."""
    for report in corpus.REPORTS:
        for text in report.text.split(b"\n"):
            for _ in range(8):
                end = by_first_byte(text)
                assert end == by_trying_all(text), text
                if end is None:
                    break
                text = text[end:].lstrip()
