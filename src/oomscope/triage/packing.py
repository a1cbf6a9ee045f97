"""A case's results as bytes: packed where they are made, so that they travel and lie as what they are."""

from __future__ import annotations

import re

import msgspec
import zstandard

from oomscope.model.triage import CaseResult
from oomscope.text import is_printable

_NEVER_WRITTEN = re.compile(rb"\\u00|\\[bf]")  # control characters, as JSON has them
_DECODER = msgspec.json.Decoder(list[CaseResult])


def packed(results: list[CaseResult]) -> bytes:
    """The results, compressed."""
    return zstandard.compress(msgspec.json.encode(results), 1)


def unpacked(results: bytes) -> list[CaseResult]:
    """What `packed` made in this triage."""
    return _DECODER.decode(zstandard.decompress(results))


def require_ours(results: bytes) -> None:
    """That bytes of another day are what oomscope writes. Raises msgspec.MsgspecError, zstandard.ZstdError."""
    text = zstandard.decompress(results)
    if _NEVER_WRITTEN.search(text) is not None or not is_printable(text.decode("utf-8", "replace")):
        raise msgspec.ValidationError("it holds characters that are never kept")
    _DECODER.decode(text)
