"""The table of ways: which kernel or distribution has been tried in which way, by the lab's results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.kernels import KERNELS, Kernel
from lab.matrix import Outcome

_HEAD = """## Which way was tried where

"Tried": cases of that way were captured on this kernel, and every test of them passed; how many cases in brackets.
"Expected" follows from the kernel's source and configuration, and nobody has tried it here. What a kernel cannot do is
said.

"""
WAYS = ("OOM report", "page_owner", "dump alone", "arm", "track", "kdump", "arm --kdump")
# The beginnings of the names of scenarios that try a way; the first that fits.
_SCENARIOS = (
    ("tracked-", "track"),
    ("packaged-", "track"),
    ("leaks-by-calls-tracked", "track"),
    ("leaks-by-files-tracked", "track"),
    ("leaks-of-modules-tracked", "track"),
    ("armed-", "arm"),
    ("arm-and-disarm", "arm"),
    ("kdump", "kdump"),
    ("crash-kernel", "arm --kdump"),
    ("page-owner-off", "dump alone"),
    ("pipe-panic", "dump alone"),
)
_ENDS_IN_A_REPORT = ("-panic", "-kill", "lowmem", "fragmentation-", "panic-on-oom")
_TOO_OLD, _NOT_BUILT_IN = "no: before 5.13", "no: page_owner is not built in"
_NO_KDUMP = "no: kexec is not built in"
_FIRST_READ_IN_THE_CRASH_KERNEL = (5, 4)
_FIRST_ARMED, _FIRST_WITHOUT_DEBUG_INFO = (5, 13), (5, 10)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution's kernel, by its release and whether page_owner and kexec are built in."""

    name: str
    series: tuple[int, int]
    has_page_owner: bool
    has_kdump: bool = True


# Kernels that Debian's archive does not have. Of RHEL and its rebuilds, whose kernels have much of newer ones, the
# release says the least that is to be expected.
DISTRIBUTIONS = (
    Distribution("RHEL 8 and rebuilds (4.18)", (4, 18), has_page_owner=True),
    Distribution("RHEL 9 and rebuilds (5.14)", (5, 14), has_page_owner=True),
    Distribution("RHEL 10 and rebuilds (6.12)", (6, 12), has_page_owner=True),
    Distribution("Fedora (6.12 and later)", (6, 12), has_page_owner=True),
    Distribution("SLES 15 (6.4)", (6, 4), has_page_owner=True),
    Distribution("Oracle UEK 7 (5.15)", (5, 15), has_page_owner=True),
    Distribution("Ubuntu 22.04 (5.15)", (5, 15), has_page_owner=False),
    Distribution("Ubuntu 24.04 (6.8)", (6, 8), has_page_owner=False),
    Distribution("Android GKI (5.10)", (5, 10), has_page_owner=True, has_kdump=False),
    Distribution("Android GKI (5.15)", (5, 15), has_page_owner=True, has_kdump=False),
)


def table(outcomes: Iterable[Outcome], failed: Iterable[tuple[str, str]]) -> str:
    """Markdown; `failed` are the cases (kernel, scenario) with a test that did not pass."""
    tried: dict[tuple[str, str], list[bool]] = {}
    failed = set(failed)
    for outcome in outcomes:
        good = outcome.error is None and (outcome.kernel, outcome.scenario) not in failed
        for way in _ways_of(outcome.scenario):
            tried.setdefault((outcome.kernel, way), []).append(good)
    captured = {kernel for kernel, _ in tried}
    known = {kernel.name: kernel for kernel in KERNELS}
    rows = [(name, _of_kernel(known.get(name), name, tried)) for name in [*known, *sorted(captured - known.keys())]]
    rows = [(name, cells) for name, cells in rows if name in captured]
    rows += [(each.name, [_expected(each, way) for way in WAYS]) for each in DISTRIBUTIONS]
    head = [f"| kernel | {' | '.join(WAYS)} |", f"|---|{'---|' * len(WAYS)}"]
    return _HEAD + "\n".join([*head, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)]) + "\n"


def _of_kernel(kernel: Kernel | None, name: str, tried: dict[tuple[str, str], list[bool]]) -> list[str]:
    cells = []
    for way in WAYS:
        cases = tried.get((name, way), [])
        if cases:
            cells.append(f"tried ({len(cases)})" if all(cases) else f"{cases.count(False)} of {len(cases)} FAIL")
        elif kernel is not None and way in ("arm", "track") and not kernel.can_be_armed:
            cells.append(_TOO_OLD)
        elif kernel is not None and way in ("arm", "page_owner") and kernel.flavour is not None:
            cells.append(_NOT_BUILT_IN)
        else:
            cells.append("untried")
    return cells


def _ways_of(scenario: str) -> tuple[str, ...]:
    way = next((way for beginning, way in _SCENARIOS if scenario.startswith(beginning)), None)
    if way is None and scenario.startswith(("doctor", "arm-")):
        return ()
    if way in ("arm", "track") or not any(part in scenario for part in _ENDS_IN_A_REPORT):
        return (way or "page_owner",)
    return ("OOM report", way or "page_owner")


def _expected(distribution: Distribution, way: str) -> str:
    if way in ("kdump", "arm --kdump") and not distribution.has_kdump:
        return _NO_KDUMP
    if way == "arm --kdump" and distribution.series < _FIRST_READ_IN_THE_CRASH_KERNEL:
        return "no: before 5.4"
    if way == "arm --kdump" and not distribution.has_page_owner:
        return "expected, tracked" if distribution.series >= _FIRST_ARMED else _NOT_BUILT_IN
    if way == "page_owner":
        return "expected" if distribution.has_page_owner else _NOT_BUILT_IN
    if way == "dump alone" and distribution.series < _FIRST_WITHOUT_DEBUG_INFO:
        return "expected with --vmlinux"
    if way in ("arm", "track") and distribution.series < _FIRST_ARMED:
        return _TOO_OLD
    if way == "arm" and not distribution.has_page_owner:
        return _NOT_BUILT_IN
    return "expected"
