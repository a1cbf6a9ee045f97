"""One case: made, given to everything that reads, and looked at.

A case fails where anything but one of oomscope's own errors comes out, where a bug is told as one, where it takes more
than 5 s, or where an answer breaks what every answer keeps: JSON that loads, no share above 1, no negative pages of a
consumer, nothing that a terminal would obey.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import os
import random
import re
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import oomscope
from fuzz.damage import damaged
from oomscope.attribution.culprit import attribute
from oomscope.export import EXPORTS
from oomscope.pipeline.api import compare, explain_events
from oomscope.redaction.files import redact
from oomscope.report import diff, json_report, kernel_log, terminal

_MOST_S = 5.0
_HUNG_S = 60
_EVERY_FORMAT = 20  # one case in so many
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class _Bugs(logging.Handler):
    """Keeps what was told as a bug."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with its traceback."""
        self.met.append("".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else record.msg)


def try_case(number: int, folder: Path, bugs: _Bugs) -> tuple[str, str | None, float]:
    """The kind of a case, what is wrong with its answer (None: nothing), and how long it took."""
    chance = random.Random(number)
    kind, files = damaged(chance)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    path = folder if len(files) > 1 else folder / "input"
    bugs.met.clear()
    started = time.process_time()  # of this process: how busy the machine is does not matter
    try:
        problem = _answer(path, chance, every_format=number % _EVERY_FORMAT == 0)
    except oomscope.OomscopeError as error:
        problem = None if "\n" not in str(error) else f"an error of several lines: {error}"
    except _Hung:
        problem = f"not done within {_HUNG_S} s:\n{traceback.format_exc()}"
    except BaseException:  # noqa: BLE001 - that is what is looked for
        problem = traceback.format_exc()
    took_s = time.process_time() - started
    if bugs.met:
        problem = f"told as a bug: {bugs.met[0]}"
    if problem is None and took_s > _MOST_S:
        problem = f"took {took_s:.1f} s"
    attribute.cache_clear()
    return kind, problem, took_s


def _answer(path: Path, chance: random.Random, *, every_format: bool) -> str | None:
    page_size = chance.choice((None, None, 4096))
    verdict = oomscope.explain(path, page_size_bytes=page_size)
    told = json.loads(json_report.render(verdict))
    if (problem := _broken(told)) is not None:
        return problem
    if not every_format:
        return None
    texts = [terminal.render(verdict), kernel_log.render(verdict), json_report.render_all([verdict])]
    for form, export in EXPORTS.items():
        if verdict.consumers and form != "parquet":
            texts.append(export(verdict).decode("latin-1") if form == "pprof" else "")
    texts = [text for text in texts if text]
    if any(_OBEYED.search(text) for text in texts[:3]):
        return "the answer holds what a terminal obeys"
    with contextlib.suppress(oomscope.OomscopeError):
        texts.append(diff.text(compare(path, path)))
    if path.is_file():
        redact(path, io.BytesIO())
    if verdict.events:
        explain_events(path)
    return None


def _broken(told: Any) -> str | None:
    for consumer in told["consumers"]:
        if consumer["pages"] < 0 or (consumer["share_of_ram"] or 0) > 1:
            return f"a consumer cannot be: {consumer}"
    for row in told["culprits"]:
        if (row["share_of_ram"] or 0) > 1 or row["pages"] < 0:
            return f"a culprit cannot be: {row}"
    return None


class _Hung(BaseException):
    pass


def _hang(*_: object) -> None:
    raise _Hung


def try_cases(numbers: range) -> list[tuple[int, str, str | None, float]]:
    """Some cases, one after the other, in a process of their own: number, kind, problem, seconds."""
    gc.freeze()
    bugs = _Bugs()
    log = logging.getLogger("oomscope")
    log.handlers = [bugs]
    log.setLevel(logging.DEBUG)
    signal.signal(signal.SIGALRM, _hang)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    folder = base / f"oomscope-fuzz-{os.getpid()}" / "case"
    done = []
    try:
        for number in numbers:
            signal.alarm(_HUNG_S)
            done.append((number, *try_case(number, folder, bugs)))
            signal.alarm(0)
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    return done
