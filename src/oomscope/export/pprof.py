"""pprof's profile.proto, gzipped: samples of pages and bytes, with kind and culprit as labels.

The few messages are written by hand: protobuf's library would bring a compiler's output and a version of its own to
agree with, for forty lines (field numbers: github.com/google/pprof, proto/profile.proto).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable

from oomscope.export.frames import name_of
from oomscope.model.ranked import Consumer
from oomscope.model.verdict import Verdict

_BUILT_IN = "vmlinux"


def export(verdict: Verdict) -> bytes:
    """The profile; without a page size, samples have pages alone."""
    strings = _Strings()
    has_bytes = all(consumer.size_bytes is not None for consumer in verdict.consumers)
    types = [("pages", "count"), *([("space", "bytes")] if has_bytes else [])]
    profile = bytearray()
    for kind, unit in types:
        profile += _message(1, _number(1, strings[kind]) + _number(2, strings[unit]))
    functions: dict[str, int] = {}
    modules: dict[str, int] = {}
    module_of: list[str] = []
    for consumer in verdict.consumers:
        ids = []
        for name, module in _frames(consumer):
            if name not in functions:
                functions[name] = len(functions) + 1
                module_of.append(module)
                modules.setdefault(module, len(modules) + 1)
            ids.append(functions[name])
        values = [consumer.pages, *([consumer.size_bytes or 0] if has_bytes else [])]
        labels = {"kind": consumer.holding.kind, "culprit": str(consumer.holding.culprit or "")}
        told = b"".join(
            _message(3, _number(1, strings[key]) + _number(2, strings[value])) for key, value in labels.items() if value
        )
        profile += _message(2, _packed(1, ids) + _packed(2, values) + told)
    for module, number in modules.items():
        profile += _message(3, _number(1, number) + _number(5, strings[module]) + _number(7, 1))
    for (name, number), module in zip(functions.items(), module_of, strict=True):
        line = _message(4, _number(1, number))
        profile += _message(4, _number(1, number) + _number(2, modules[module]) + line)
        profile += _message(5, _number(1, number) + _number(2, strings[name]) + _number(3, strings[name]))
    profile += _number(14, strings[types[-1][0]])
    for text in strings.texts:
        profile += _message(6, text.encode("utf-8", "backslashreplace"))
    return gzip.compress(bytes(profile), mtime=0)


def _frames(consumer: Consumer) -> list[tuple[str, str]]:
    """Names and modules, innermost first, as pprof has them."""
    stack = consumer.holding.stack
    return [(name_of(f), f.module or _BUILT_IN) for f in stack.frames] or [(f"handle {stack.handle}", _BUILT_IN)]


class _Strings:
    """The string table: the first is empty, each text is in it once."""

    def __init__(self) -> None:
        self.texts = [""]
        self._ids = {"": 0}

    def __getitem__(self, text: str) -> int:
        if text not in self._ids:
            self._ids[text] = len(self.texts)
            self.texts.append(text)
        return self._ids[text]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _message(field, b"".join(map(_varint, values)))
