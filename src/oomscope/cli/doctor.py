"""`oomscope doctor`."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import click

from oomscope.cli.output import say
from oomscope.cli.terminal import columns

if TYPE_CHECKING:
    from oomscope.host.doctor import Diagnosis

_NOT_EXPLAINED = 4
_NAME_WIDTH = 20
_MARKS = {"ok": "ok", "missing": "NO", "could be better": "--", "unknown": "??"}


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def doctor(context: click.Context, form: str) -> None:
    """Will you know who ate it, next time? Checks this machine; says what is missing, why it matters, what fixes it.

    Exit code 0 when an OOM panic would be explained, 4 when not.
    """
    from oomscope.host.doctor import diagnose
    from oomscope.host.facts import Machine

    diagnosis = diagnose(Machine())
    say(_json(diagnosis) if form == "json" else _text(diagnosis))
    if not diagnosis.explained:
        context.exit(_NOT_EXPLAINED)


def _json(diagnosis: Diagnosis) -> str:
    checks = [
        {"name": c.name, "state": c.state.value, "found": c.found, "why": c.why, "mend": c.mend}
        for c in diagnosis.checks
    ]
    told = {"schema": "oomscope-doctor/1", "explained": diagnosis.explained, "because": diagnosis.because}
    return json.dumps(told | {"checks": checks}, indent=1)


def _text(diagnosis: Diagnosis) -> str:
    verdict = "would be explained" if diagnosis.explained else "would NOT be explained"
    lines = [_folded("", f"An OOM panic of this machine {verdict}: {diagnosis.because}"), ""]
    for check in diagnosis.checks:
        lines.append(_folded(f"  {_MARKS[check.state.value]}  {check.name:{_NAME_WIDTH}} ", check.found))
        if check.mend is not None:
            lines.append(_folded(" " * (_NAME_WIDTH + 7) + "why:  ", check.why))
            lines.append(" " * (_NAME_WIDTH + 7) + f"fix: {check.mend}")  # a command is copied whole
    return "\n".join(lines)


def _folded(label: str, text: str) -> str:
    return textwrap.fill(text, columns(), initial_indent=label, subsequent_indent=" " * len(label))
