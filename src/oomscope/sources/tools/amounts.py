"""Sizes as tools print them: `3862616`, `15Gi`, `6,1g` (a comma is a point in many languages), `12,345K` (grouped)."""

from __future__ import annotations

import re

_SIZE = re.compile(rb"(?P<number>\d{1,3}(?:,\d{3}){1,4}|\d{1,15}(?:[.,]\d{1,3})?)(?P<unit>[KkMmGgTtPp]?)[Bb]?i?[Bb]?$")
_GROUPED = re.compile(rb"\d{1,3}(?:,\d{3}){1,4}")
_DIGITS = 17
_KIB = {b"k": 1, b"m": 1 << 10, b"g": 1 << 20, b"t": 1 << 30, b"p": 1 << 40}


def kib(word: bytes, bare_kib: float = 1) -> float | None:
    """The size in kB, a number without a unit in units of `bare_kib` kB; None where the word is no size."""
    if word.endswith((b"B", b"b")) and word[:-1].isdigit() and len(word) <= _DIGITS:
        return int(word[:-1]) / 1024
    match = _SIZE.match(word)
    if match is None:
        return None
    number, unit = match["number"], match["unit"].lower()
    # A comma groups where several do, and before kB; else it is a point.
    is_grouped = _GROUPED.fullmatch(number) is not None and (number.count(b",") > 1 or unit == b"k")
    value = float(number.replace(b",", b"" if is_grouped else b"."))
    return value * (_KIB[unit] if unit else bare_kib)


def bytes_of(kib_told: int | None) -> int | None:
    """KB as bytes; what is not told stays so."""
    return None if kib_told is None else kib_told * 1024
