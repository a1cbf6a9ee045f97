"""How an input is damaged: each way by itself, drawn by chance."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable
from random import Random

import zstandard

from fuzz.kinds import kinds
from fuzz.packed import bugreport_of, tar_of, zip_of

_MORE_OFTEN = ("kernel log", "reports") * 10 + (
    "console",
    "page_owner",
    "show_stacks",
) * 2  # those with the largest grammars
_NUMBER = re.compile(rb"\d+")
_HUGE = (
    b"9" * 400, b"9" * 5000, b"-1", b"--5", b"0x7f", b"1e9", b"18446744073709551615", b"9223372036854775807", b"4611686018427387904",
    b"-9223372036854775808", b"0", b"007", b"1.5", b"4294967296", b"\xd9\xa3", b"",
)  # fmt: skip
_FOREIGN = (
    b"\x00", b"\xff\xfe", b"\x1b[31m", b"\r", b"\t", b"\xe2\x80\x8b", b"\xc2\xa0", b"\xf0\x9f\x98\x80", b" " * 300, b"a" * 3000, b"\n\n\n", b"> ",
    b"[    1.0] ", b"<4>", b"(", b")", b"[", b"]", b"=", b":", b"*", b"+0x1/0x2", b".part.0", b"------ X (y) ------\n", b"kB", b"\\x0a", b"#012",
)  # fmt: skip
_PACKERS: tuple[Callable[[bytes], bytes], ...] = (gzip.compress, bz2.compress, lzma.compress, zstandard.compress)


def damaged(chance: Random) -> tuple[str, dict[str, bytes]]:
    """The kind that was begun with, and files by name: one, or a few of one machine."""
    kind = chance.choice((*sorted(kinds()), *_MORE_OFTEN))
    text = _text(chance, kind)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 5, 8))):
        text = chance.choice(_WAYS)(text, chance)
    how = chance.random()
    if how < 0.1:
        return f"{kind}, packed", {"input": _packed(text, chance)}
    if how < 0.2:
        return f"{kind}, in an archive", {"input": _in_an_archive(text, chance)}
    if how < 0.3:
        others = {chance.choice(sorted(kinds())): None for _ in range(chance.randint(1, 3))}
        files = {f"{n}-{name}": _text(chance, name) for n, name in enumerate(others)}
        return f"{kind}, beside others", {kind.replace(" ", "_"): text, **files}
    if how < 0.32:
        return f"{kind}, UTF-16", {"input": text.decode("latin-1").encode("utf-16")}
    return kind, {"input": text}


def _text(chance: Random, kind: str) -> bytes:
    return chance.choice(kinds()[kind])


def _flip(text: bytes, chance: Random) -> bytes:
    changed = bytearray(text)
    for _ in range(chance.choice((1, 1, 3, 20))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _drop_lines(text: bytes, chance: Random) -> bytes:
    lines = text.split(b"\n")
    start = chance.randrange(len(lines))
    del lines[start : start + chance.choice((1, 1, 2, 10, 100))]
    return b"\n".join(lines)


def _double_lines(text: bytes, chance: Random) -> bytes:
    lines = text.split(b"\n")
    start = chance.randrange(len(lines))
    some = lines[start : start + chance.choice((1, 1, 3, 20))]
    lines[start:start] = some * chance.choice((1, 1, 2, 30))
    return b"\n".join(lines)


def _move_lines(text: bytes, chance: Random) -> bytes:
    lines = text.split(b"\n")
    start = chance.randrange(len(lines))
    some = lines[start : start + chance.choice((1, 3, 20))]
    del lines[start : start + len(some)]
    at = chance.randrange(len(lines) + 1)
    return b"\n".join([*lines[:at], *some, *lines[at:]])


def _splice(text: bytes, chance: Random) -> bytes:
    other = _text(chance, chance.choice(sorted(kinds())))
    lines, others = text.split(b"\n"), other.split(b"\n")
    at, start = chance.randrange(len(lines) + 1), chance.randrange(len(others))
    return b"\n".join([*lines[:at], *others[start : start + chance.choice((1, 5, 50, 500))], *lines[at:]])


def _grow_numbers(text: bytes, chance: Random) -> bytes:
    found = list(_NUMBER.finditer(text))
    for match in sorted(chance.sample(found, min(len(found), chance.choice((1, 1, 3, 12)))), key=lambda m: -m.start()):
        text = text[: match.start()] + chance.choice(_HUGE) + text[match.end() :]
    return text


def _put_in(text: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(_FOREIGN) * chance.choice((1, 1, 1, 2, 40)) + text[at:]


def _cut(text: bytes, chance: Random) -> bytes:
    start = chance.choice((0, chance.randrange(len(text) + 1)))
    return text[start : chance.randrange(start, len(text) + 1)]


def _join(text: bytes, chance: Random) -> bytes:
    return text + chance.choice((b"", b"\n", b"\0")) + _text(chance, chance.choice(sorted(kinds())))


def _join_lines(text: bytes, chance: Random) -> bytes:
    lines = text.split(b"\n")
    at = chance.randrange(len(lines))
    return b"\n".join([*lines[:at], b"".join(lines[at : at + chance.choice((2, 5, 60))]), *lines[at + 2 :]])


def _repeat(text: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(text) + 1)
    return text[:at] + text[at : at + chance.choice((1, 3, 20))] * chance.choice((10, 100, 1000)) + text[at:]


_WAYS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip, _drop_lines, _double_lines, _move_lines, _splice, _grow_numbers, _grow_numbers, _put_in, _cut, _join, _join_lines, _repeat,
)  # fmt: skip


def _packed(text: bytes, chance: Random) -> bytes:
    packed = chance.choice(_PACKERS)(text)
    if chance.random() < 0.2:
        packed += chance.choice(_PACKERS)(text)
    return chance.choice((lambda p, _: p, _flip, _cut, _put_in))(packed, chance)


def _in_an_archive(text: bytes, chance: Random) -> bytes:
    names = ("proc/meminfo", "sys/kernel/debug/slab/kmalloc-64/alloc_traces", "zram0/mm_stat", "../x", "log", "a" * 200)
    files = {chance.choice(names): text}
    for _ in range(chance.randint(0, 3)):
        files[chance.choice(names) + str(chance.randrange(9))] = _text(chance, chance.choice(sorted(kinds())))
    packed = chance.choice((tar_of, zip_of, bugreport_of))(files)
    if chance.random() < 0.2:
        packed = chance.choice((tar_of, zip_of))({"inner": packed})
    if chance.random() < 0.3:
        packed = chance.choice(_PACKERS)(packed)
    return chance.choice((lambda p, _: p, _flip, _flip, _cut, _put_in))(packed, chance)
