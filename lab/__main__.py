"""The lab's commands: `python -m lab COMMAND`."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import click

from lab import build, host, matrix, refresh, results, witnesses
from lab.cache import CACHE, make_room
from lab.errors import LabError, Vanished
from lab.kernels import KERNELS, Kernel, from_source
from lab.scenarios import SCENARIOS, Scenario
from oomscope.units import bytes_text

CASES = Path("lab/out")
_CASE_BYTES = 300 << 20  # a dump with its zeros left out, and what the guest told


@click.group()
def main() -> None:
    """Real kernels that really run out of memory."""


def _kernels(names: tuple[str, ...], everything: bool) -> list[Kernel]:
    chosen = [kernel for kernel in KERNELS if (kernel.name in names if names else everything or kernel.default)]
    if unknown := set(names) - {kernel.name for kernel in chosen}:
        raise LabError(
            f"no kernel {', '.join(sorted(unknown))}; there are {', '.join(kernel.name for kernel in KERNELS)}"
        )
    return chosen


def _scenarios(names: tuple[str, ...], everything: bool) -> list[Scenario]:
    chosen = [
        scenario for scenario in SCENARIOS if (scenario.name in names if names else everything or scenario.default)
    ]
    if unknown := set(names) - {scenario.name for scenario in chosen}:
        raise LabError(f"no scenario {', '.join(sorted(unknown))}; `python -m lab list` shows them")
    return chosen


_all = click.option("--all", "everything", is_flag=True, help="All there are, not the default ones.")
_kernel = click.option("--kernel", "-k", "kernel_names", multiple=True, metavar="NAME", help="This kernel only.")
_scenario = click.option(
    "--scenario", "-s", "scenario_names", multiple=True, metavar="NAME", help="This scenario only."
)


@main.command()
@_all
def setup(everything: bool) -> None:
    """Install what building and booting need (as root), or say what is missing."""
    installed = host.install({kernel.architecture for kernel in _kernels((), everything)})
    click.echo(f"installed: {' '.join(installed)}" if installed else "this machine has all that the lab needs")


@main.command("list")
def list_() -> None:
    """The kernels and the scenarios; a star marks the default ones."""
    for kernel in KERNELS:
        click.echo(f"kernel    {'*' if kernel.default else ' '} {kernel.name}")
    for scenario in SCENARIOS:
        click.echo(f"scenario  {'*' if scenario.default else ' '} {scenario.name:24} {scenario.end}")


@main.command("build")
@_all
@_kernel
def build_(everything: bool, kernel_names: tuple[str, ...]) -> None:
    """Build kernels, those of the cache excepted."""
    kernels = _kernels(kernel_names, everything)
    host.require({kernel.architecture for kernel in kernels})
    for kernel in kernels:
        _built(kernel)


@main.command()
@_all
@click.option("--stock", is_flag=True, help="Debian's own images, and all their scenarios.")
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A source tree of Linux: it is copied, configured as the lab's kernels are, built and run.",
)
@_kernel
@_scenario
def run(
    everything: bool, stock: bool, source: Path | None, kernel_names: tuple[str, ...], scenario_names: tuple[str, ...]
) -> None:
    """Boot, provoke and capture: a folder below lab/out for each kernel and scenario."""
    if stock:
        kernel_names += tuple(kernel.name for kernel in KERNELS if kernel.flavour)
    kernels = _kernels(kernel_names, everything) if kernel_names or source is None else []
    if source is not None:
        kernels.append(from_source(source))
    scenarios = _scenarios(scenario_names, everything or stock)
    host.require({kernel.architecture for kernel in kernels})
    pairs, outcomes = [], []
    for kernel in kernels:
        chosen = [scenario for scenario in scenarios if scenario.runs_on(kernel)]
        if not (everything or stock or scenario_names) and kernel.default_scenarios is not None:
            chosen = [scenario for scenario in chosen if scenario.name in kernel.default_scenarios]
        try:
            built = _built(kernel)
            pairs += [(built, scenario) for scenario in chosen]
        except Vanished as vanished:
            click.echo(f"kernel {kernel.name}: skipped: {vanished}")
        except LabError as error:
            click.echo(f"kernel {kernel.name}: {error}")
            outcomes += [matrix.Outcome(kernel.name, scenario.name, 0, str(error)) for scenario in chosen]
    wanted_bytes = len(pairs) * _CASE_BYTES
    for path in make_room(wanted_bytes, (built.image for built, _ in pairs)):
        click.echo(f"removed, to make room: {path}")
    if (free := shutil.disk_usage(CACHE).free) < wanted_bytes:
        click.echo(f"{len(pairs)} cases may take {bytes_text(wanted_bytes)}; {bytes_text(free)} are free")
    started = time.monotonic()
    outcomes += matrix.run(pairs, CASES.resolve(), _tell)
    results.save(outcomes, CASES / "outcomes.json")
    failed = [outcome for outcome in outcomes if outcome.error]
    click.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} cases captured in {time.monotonic() - started:.0f} s")
    if failed:
        sys.exit(1)


@main.command("refresh")
def refresh_() -> None:
    """Write examples/, the tests' data and the README's answer anew from captured cases."""
    written, left = refresh.refresh(CASES)
    for path in written:
        click.echo(f"{path.relative_to(refresh.CHECKOUT)}  {path.stat().st_size:,} bytes")
    for sentence in left:
        click.echo(sentence)


@main.command("results")
@click.argument("tests_xml", type=click.Path(exists=True, path_type=Path))
def results_(tests_xml: Path) -> None:
    """Print the table of results, from the captures and pytest's --junitxml."""
    click.echo(results.table(CASES, tests_xml), nl=False)


@main.command("witnesses")
def witnesses_() -> None:
    """Print the table of docs/witnesses.md, from the captures."""
    click.echo(witnesses.table(CASES), nl=False)


def _built(kernel: Kernel) -> build.Built:
    started = time.monotonic()
    built = build.build(kernel)
    click.echo(f"kernel {kernel.name}: {built.release}, ready in {time.monotonic() - started:.0f} s")
    return built


def _tell(outcome: matrix.Outcome) -> None:
    click.echo(f"{outcome.kernel:12} {outcome.scenario:24} {outcome.seconds:4.0f} s  {outcome.error or 'captured'}")


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        click.echo(f"lab: {error}", err=True)
        sys.exit(1)
