"""The table of what the lab found: kernels by scenarios, from the captures' outcomes and the tests' report."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from lab import ways
from lab.kernels import KERNELS
from lab.matrix import Outcome
from lab.scenarios import SCENARIOS

_HEAD = """# What the lab found

`python -m lab results`, the last step of `make lab-all`, wrote this table at {commit} from the cases captured by
then. A cell says who was named and with how many pages where a test compared them with the holder's own account, page
by page, and how many tests of the case passed; what failed is listed below. An empty cell was not run.

"""


def save(outcomes: Iterable[Outcome], path: Path) -> None:
    """Add outcomes to those of earlier runs; a newer one of the same case takes its place."""
    known = {(o.kernel, o.scenario): o for o in load(path)} | {(o.kernel, o.scenario): o for o in outcomes}
    rows = [
        {"kernel": o.kernel, "scenario": o.scenario, "seconds": o.seconds, "error": o.error} for o in known.values()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


def load(path: Path) -> list[Outcome]:
    """The outcomes of all runs so far."""
    return [Outcome(**row) for row in json.loads(path.read_text())] if path.exists() else []


def table(cases: Path, tests_xml: Path) -> str:
    """Markdown: the table, what failed, and what each kernel was built from."""
    outcomes = {(outcome.kernel, outcome.scenario): outcome for outcome in load(cases / "outcomes.json")}
    tests = _tests(tests_xml)
    known = [kernel.name for kernel in KERNELS]
    captured = {name for name, _ in outcomes}
    kernels = [name for name in known if name in captured] + sorted(captured - set(known))
    lines = [f"| scenario | {' | '.join(kernels)} |", f"|---|{'---|' * len(kernels)}"]
    failed = []
    for scenario in SCENARIOS:
        cells = []
        for kernel in kernels:
            outcome = outcomes.get((kernel, scenario.name))
            passed, failures, explained = tests.get(f"{kernel}/{scenario.name}", (0, [], []))
            if outcome is None:
                cells.append("")
            elif outcome.error is not None:
                cells.append("not captured")
                failed.append(f"- {kernel}, {scenario.name}: {outcome.error.splitlines()[0]}")
            else:
                verdict = f"{passed} passed" if not failures else f"{passed} passed, {len(failures)} FAILED"
                cells.append("<br>".join([*explained, verdict]))
                failed += [f"- {kernel}, {scenario.name}: {failure}" for failure in failures]
        lines.append(f"| {scenario.name} | {' | '.join(cells)} |")
    of_failed = [(kernel, name) for kernel, name in outcomes if tests.get(f"{kernel}/{name}", (0, [], []))[1]]
    lines += [
        "",
        ways.table(outcomes.values(), of_failed),
        "## What failed",
        "",
        *(failed or ["Nothing."]),
        "",
        "## The kernels",
        "",
    ]
    lines += [f"- {name}: {facts}" for name, facts in _built_from(cases, kernels)]
    return _HEAD.format(commit=_commit()) + "\n".join(lines) + "\n"


def _tests(path: Path) -> dict[str, tuple[int, list[str], list[str]]]:
    """Per case: how many tests passed, which failed, and what they say was explained."""
    passed: dict[str, int] = defaultdict(int)
    failures: dict[str, list[str]] = defaultdict(list)
    explained: dict[str, list[str]] = defaultdict(list)
    for test in ElementTree.parse(path).iter("testcase"):
        properties = {p.get("name"): p.get("value") for p in test.iter("property")}
        case = properties.get("case")
        if case is None or test.find("skipped") is not None:
            continue
        if test.find("failure") is None and test.find("error") is None:
            passed[case] += 1
            explained[case] += [str(properties["explained"])] if "explained" in properties else []
        else:
            failures[case].append(str(test.get("name")))
    return {case: (passed[case], failures[case], explained[case]) for case in passed.keys() | failures.keys()}


def _built_from(cases: Path, kernels: list[str]) -> Iterable[tuple[str, str]]:
    for kernel in kernels:
        for path in sorted(cases.glob(f"{kernel}/*/truth.json"))[:1]:
            truth = json.loads(path.read_text())
            yield kernel, f"{truth['release']} ({truth['architecture']}), Debian's {truth['package_version']}"


def _commit() -> str:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return commit.stdout.strip() or "an unknown commit"
