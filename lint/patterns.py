"""`python -m lint.patterns`: no regular expression of src/ takes more than in line with the text it is asked of.

Every pattern is asked of texts made for it: what leads up to a repeat, the repeat's own text many times over, and an
end that fits nothing, so that all ways to divide the text are tried. What grows faster than the text, or is slow at
once, is told. Patterns are found by importing every module (what is compiled then), and in the source (what is compiled
later); how one is used, and so where a search may begin, is read from the source, too.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as tokens  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any

import oomscope

_LENGTHS = (4096, 16384)  # a line of a log is 16 KiB at most
_MOST_S = 0.012  # of the longer one
_NOTICEABLE_S = 0.001
_MOST_GROWTH = 7.0  # where the text has grown four times; quadratic is 16
_CLEARLY_SLOW_S = 0.1  # no other process takes that from it
_HUNG_S = 0.5  # of processor time
_HUNG = "not done within"
_TRIES = 5  # what is slow is slow each time; what other processes take is not
_LEAST_REPEATS = 12
# Patterns that are asked of shorter texts, by their beginning: how long those are, and why.
_ASKED_OF = {
    rb"(?:^|[ :])(?P<frame>": 700,  # consumer_lines.py: the end of a line, as far as a frame reaches
    rb"(?P<before>": 4096,  # redaction/text.py: a message that is longer is left out whole
    rb"(?<![\w./=+<])/(?:": 4096,  # the same
    r"(?:^|/)((?:proc": 300,  # the end of a name in an archive
    r"(?<!\()\(": 300,  # the name of a slab cache
}
_METHODS = ("match", "fullmatch", "search", "finditer", "sub", "split", "findall")
_CHARACTERS = " 0a-._:=x[](/+\"'>,;A\t\n"


@dataclass(frozen=True)
class Slow:
    """A pattern, the text it was slow on (its beginning), how it was asked, and how slow it was."""

    pattern: str
    method: str
    text: str
    told: str


class _HungError(Exception):
    pass


def check(
    pattern: str | bytes, flags: int = 0, methods: Iterable[str] = ("match", "fullmatch", "search")
) -> Slow | None:
    """The first text on which a pattern is slow, None where there is none."""
    compiled = re.compile(pattern, flags)
    is_text = isinstance(pattern, str)
    longest = next((most for begins, most in _ASKED_OF.items() if pattern[: len(begins)] == begins), _LENGTHS[1])
    lengths = (longest // 4, longest)
    for pieces in _attacks(compiled):
        for method in methods:
            for _ in range(_TRIES):
                told = _measured(compiled, method, pieces, lengths, is_text=is_text)
                if told is None or told.startswith(_HUNG):
                    break
            if told is not None:
                shown = pieces[0] + pieces[1] * 3 + "..." + pieces[2]
                return Slow(repr(pattern)[:200], method, repr(shown)[:120], told)
    return None


def _measured(
    compiled: re.Pattern[Any], method: str, pieces: tuple[str, str, str], lengths: tuple[int, int], *, is_text: bool
) -> str | None:
    took = []
    for length in lengths:
        prefix, pump, suffix = pieces
        text: Any = prefix + pump * max((length - len(prefix) - len(suffix)) // len(pump), 1) + suffix
        text = text if is_text else text.encode("latin-1")
        best = 9.0
        for _ in range(3):
            try:
                started = time.thread_time()
                _ask(compiled, method, text)
                best = min(best, time.thread_time() - started)
            except _HungError:
                return f"{_HUNG} {_HUNG_S} s on {length:,} characters"
            if best < _NOTICEABLE_S or best > _CLEARLY_SLOW_S:
                break
        took.append(best)
    if took[1] > _MOST_S and took[1] > took[0]:
        return f"{took[1] * 1000:.1f} ms on {lengths[1]:,} characters"
    if took[1] > 3 * _NOTICEABLE_S and took[1] / took[0] > _MOST_GROWTH:
        return f"{took[1] / took[0]:.1f} times as long on four times the text ({took[1] * 1000:.1f} ms)"
    return None


def _ask(compiled: re.Pattern[Any], method: str, text: Any) -> None:
    signal.setitimer(signal.ITIMER_VIRTUAL, _HUNG_S)
    try:
        if method == "sub":
            compiled.sub(text[:0], text)
        elif method == "finditer":
            for _ in compiled.finditer(text):
                pass
        else:
            getattr(compiled, method)(text)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


# --- texts made for a pattern


def _attacks(compiled: re.Pattern[Any]) -> Iterator[tuple[str, str, str]]:
    """(what leads up to it, what is repeated, an end that fits nothing) for every repeat that may be long."""
    tree = parser.parse(compiled.pattern, compiled.flags & ~re.DEBUG)
    seen: set[tuple[str, str, str]] = set()
    for prefix, body in _repeats(list(tree), ""):
        for pump in _samples(body):
            for lead, end in itertools.product(dict.fromkeys((prefix, "")), ("\x01", "", "!\n")):
                if pump and (lead, pump, end) not in seen:
                    seen.add((lead, pump, end))
                    yield lead, pump, end
            whole = prefix + pump
            if whole and ("", whole, "\x01") not in seen:
                seen.add(("", whole, "\x01"))
                yield "", whole, "\x01"


def _repeats(items: list[Any], prefix: str) -> Iterator[tuple[str, list[Any]]]:
    for operation, value in items:
        if operation in (tokens.MAX_REPEAT, tokens.MIN_REPEAT, tokens.POSSESSIVE_REPEAT):
            least, most, body = value
            if most >= _LEAST_REPEATS:
                yield prefix, list(body)
            yield from _repeats(list(body), prefix)
            prefix += _sample(list(body)) * (least or (1 if most >= _LEAST_REPEATS else 0))
            continue
        for inner in _inner(operation, value):
            yield from _repeats(inner, prefix)
        prefix += _sample([(operation, value)])


def _inner(operation: Any, value: Any) -> Iterator[list[Any]]:
    if operation is tokens.SUBPATTERN:
        yield list(value[3])
    elif operation is tokens.ATOMIC_GROUP:
        yield list(value)
    elif operation is tokens.BRANCH:
        yield from (list(branch) for branch in value[1])
    elif operation in (tokens.ASSERT, tokens.ASSERT_NOT):
        yield list(value[1])


def _samples(body: list[Any]) -> list[str]:
    """Texts that a repeat's body fits: with its first choice, and with each character of many that it takes."""
    found = [_sample(body)]
    if len(body) == 1 and body[0][0] in (tokens.IN, tokens.ANY, tokens.NOT_LITERAL):
        found += [c for c in _CHARACTERS if _fits(body[0], c)]
    else:
        found += [_sample(body, choice) for choice in range(1, 4)]
    return list(dict.fromkeys(text for text in found if text))[:14]


def _sample(items: list[Any], choice: int = 0) -> str:
    text = ""
    for operation, value in items:
        if operation is tokens.LITERAL:
            text += chr(value)
        elif operation in (tokens.IN, tokens.ANY, tokens.NOT_LITERAL):
            text += next((c for c in _CHARACTERS[choice:] + _CHARACTERS + "bB1%" if _fits((operation, value), c)), "")
        elif operation in (tokens.MAX_REPEAT, tokens.MIN_REPEAT, tokens.POSSESSIVE_REPEAT):
            text += _sample(list(value[2]), choice) * max(value[0], min(value[1], choice % 2))
        elif operation is tokens.BRANCH:
            text += _sample(list(value[1][choice % len(value[1])]), choice)
        elif operation in (tokens.SUBPATTERN, tokens.ATOMIC_GROUP):
            text += _sample(list(value[3] if operation is tokens.SUBPATTERN else value), choice)
    return text


def _fits(item: Any, character: str) -> bool:
    operation, value = item
    if operation is tokens.ANY:
        return character != "\n"
    if operation is tokens.NOT_LITERAL:
        return bool(ord(character) != value)
    fits: bool = False
    negated: bool = False
    for kind, what in value:
        if kind is tokens.NEGATE:
            negated = True
        elif kind is tokens.LITERAL:
            fits = fits or bool(ord(character) == what)
        elif kind is tokens.RANGE:
            fits = fits or bool(what[0] <= ord(character) <= what[1])
        elif kind is tokens.CATEGORY:
            fits = fits or re.match(_CATEGORIES[str(what)], character) is not None
    return fits is not negated


_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}

# --- the patterns of src/


def patterns() -> dict[tuple[str | bytes, int], set[str]]:
    """Every pattern of the package, with the ways in which it is asked."""
    found: dict[tuple[str | bytes, int], set[str]] = {}
    where_none_asks: dict[tuple[str | bytes, int], set[str]] = {}
    for module in _modules():
        source = Path(module.__file__ or "").read_text()
        uses, inline = _uses(ast.parse(source))
        everywhere = {method for name, methods in uses.items() if not hasattr(module, name) for method in methods}
        here: dict[tuple[str | bytes, int], set[str]] = {}
        for name, compiled in _compiled(module):
            here.setdefault((compiled.pattern, compiled.flags), set()).update(uses.get(name, ()))
        for key, methods in here.items():
            found.setdefault(key, set()).update(methods)
            where_none_asks.setdefault(key, set()).update(everywhere or {"search"})
        for pattern, method in inline:
            if method != "compile":
                found.setdefault((pattern, re.compile(pattern).flags), set()).add(method)
    return {key: methods or where_none_asks[key] for key, methods in found.items()}


def _modules() -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(oomscope.__path__, "oomscope."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


def _compiled(module: ModuleType) -> Iterator[tuple[str, re.Pattern[Any]]]:
    for name, value in vars(module).items():
        yield from ((name, each) for each in _within(value, 0))


def _within(value: object, depth: int) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list | dict) and depth < 4:
        for each in (*value, *(value.values() if isinstance(value, dict) else ())):
            yield from _within(each, depth + 1)


def _uses(tree: ast.AST) -> tuple[dict[str, set[str]], list[tuple[str | bytes, str]]]:
    """How each name is asked, and the patterns that are written where they are asked."""
    uses: dict[str, set[str]] = {}
    inline: list[tuple[str | bytes, str]] = []
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            continue
        owner, method = node.func.value.id, node.func.attr
        first = node.args[0] if node.args else None
        if owner == "re" and isinstance(first, ast.Constant) and isinstance(first.value, str | bytes):
            inline.append((first.value, method))
        elif method in _METHODS and owner != "re":
            uses.setdefault(owner, set()).add(method)
    for name, targets in _loops(tree):
        for target in targets:
            uses.setdefault(name, set()).update(uses.get(target, ()))
    return uses, inline


def _loops(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """Each table that is gone through, and the names that its entries have then."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension):
            tables = [each.id for each in ast.walk(node.iter) if isinstance(each, ast.Name)]
            targets = {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
            yield from ((table, targets) for table in tables)


def main() -> int:
    """Check every pattern; 1 where one is slow."""

    def hung(*_: object) -> None:
        raise _HungError

    signal.signal(signal.SIGVTALRM, hung)
    found = patterns()
    slow = [
        s for (pattern, flags), methods in found.items() if (s := check(pattern, flags, sorted(methods))) is not None
    ]
    for each in slow:
        print(f"{each.pattern}\n  {each.method} of {each.text}: {each.told}")
    print(f"{len(found)} patterns, {len(slow)} slow")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
