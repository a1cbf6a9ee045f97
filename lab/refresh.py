"""examples/ and the tests' data, anew from captured cases."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import zstandard

from lab import case
from lab.errors import LabError
from lab.kernels import HERE

CHECKOUT = HERE.parent
_COMPRESS_FROM_BYTES = 8 << 10
_TEXTS = ("page_owner", "show_stacks", "meminfo", "version")
# Folder to write -> the case's kernel, scenario and moment. The other folders of tests/data stay as they are: their
# stacks were judged one by one (tests/data/culprits.tsv).
_COPIES: dict[str, tuple[str, ...]] = {
    "examples/leak-6.12": ("6.12", "page-panic", "taken"),
    **{
        f"tests/data/lab/{kernel}": (kernel, "high-orders", "taken")
        for kernel in ("5.10", "6.1", "6.12", "6.12-arm64", "7.2")
    },
}
# 23 paths to one culprit, as the kernel's own list has them.
_COPIES_OF_LISTS: dict[str, tuple[str, ...]] = {"tests/data/many-paths-6.12": ("6.12", "many-paths", "taken")}
_LISTS = ("show_stacks", "meminfo", "version")
_ACCOUNTS = (
    *("meminfo", "slabinfo", "vmallocinfo", "zoneinfo", "vmstat", "buddyinfo", "pagetypeinfo", "modules"),
    *("bufinfo", "zram0.mm_stat", "alloc_traces", "free_traces"),
)
_COPIES_OF_ACCOUNTS: dict[str, tuple[str, ...]] = {
    f"tests/data/accounts/{kernel}-{scenario}": (kernel, scenario, "taken")
    for kernel in ("6.1", "6.12")
    for scenario in ("set-aside", "slab-owners")
}
_CONSOLES: dict[str, tuple[str, ...]] = {
    "examples/armed-6.12-arm64": ("6.12-arm64", "armed-kmalloc-panic"),
    **{f"tests/data/lab/{kernel}": (kernel, "page-panic") for kernel in ("6.1-witness", "6.12-witness")},
}
_README_ANSWER = re.compile(r"(```console\n\$ oomscope explain examples/leak-6\.12\n).*?(```)", re.DOTALL)


def refresh(cases: Path) -> tuple[list[Path], list[str]]:
    """The files written, and a sentence for each folder that stays as it is because its case was not captured.

    Raises LabError where a file would name this machine.
    """
    written, left = [], []
    for target, (kernel, scenario, *moments) in (_COPIES | _COPIES_OF_LISTS | _COPIES_OF_ACCOUNTS | _CONSOLES).items():
        source = cases / kernel / scenario
        if not (source / "truth.json").exists():
            left.append(f"{target} stays as it is: no case, python -m lab run -k {kernel} -s {scenario}")
            continue
        texts = _ACCOUNTS if target in _COPIES_OF_ACCOUNTS else _LISTS if target in _COPIES_OF_LISTS else _TEXTS
        names = [f"{moment}/{name}" for moment in moments for name in texts] or ["console.log"]
        if target.startswith("tests/"):
            names.append("truth.json")
        folder = _emptied(target)
        there = [name for name in names if any(source.glob(f"{name}*"))]
        written += [_copy(case.text(source / name), folder / Path(name).name) for name in there]
    readme = CHECKOUT / "README.md"
    readme.write_text(_README_ANSWER.sub(lambda match: match[1] + _answer() + match[2], readme.read_text()))
    return [*written, readme], left


def _emptied(target: str) -> Path:
    folder = CHECKOUT / target
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _copy(text: str, path: Path) -> Path:
    for private in (str(Path.home()), str(CHECKOUT)):
        if private in text:
            raise LabError(f"{path} would name {private}, a folder of this machine")
    if len(text) < _COMPRESS_FROM_BYTES:
        path.write_text(text)
        return path
    compressed = path.with_name(path.name + ".zst")
    compressed.write_bytes(zstandard.ZstdCompressor(level=19).compress(text.encode()))
    return compressed


def _answer() -> str:
    """The first part of the answer; the tables below it are left out of the README."""
    command = [sys.executable, "-m", "oomscope", "explain", "examples/leak-6.12"]
    printed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    return printed.partition("\n\nStacks")[0] + "\n"
