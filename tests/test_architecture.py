from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import oomscope

PACKAGE = Path(oomscope.__file__).parent
# What each part may import of the package, besides itself: ARCHITECTURE.md draws it.
ALLOWED = {
    "errors": set(),
    "units": set(),
    "bounds": set(),
    "whole_file": set(),
    "kernel_files": set(),
    "stores": {"errors"},
    "model": {"errors", "units"},
    "sources": {"bounds", "kernel_files", "model", "errors", "units"},
    "attribution": {"bounds", "model", "errors", "units"},
    "verdict": {"attribution", "model", "errors", "units"},
    "report": {"model", "errors", "units"},
    "dumps": {"bounds", "bpf", "machine", "sources", "attribution", "model", "errors", "units"},
    "workers": {"bounds", "sources", "attribution", "model", "errors", "units"},
    "pipeline": {
        "bounds",
        "kernel_files",
        "dumps",
        "workers",
        "sources",
        "verdict",
        "attribution",
        "model",
        "errors",
        "units",
    },
    "export": {"stores", "model", "errors", "units", "__init__"},
    "fleet": {
        "bounds",
        "pipeline",
        "stores",
        "verdict",
        "report",
        "sources",
        "attribution",
        "model",
        "errors",
        "units",
    },
    "top": {"dumps", "pipeline", "attribution", "bpf", "machine", "model", "errors", "units"},
    "redact": {"sources"},
    "redact_files": {"bounds", "errors", "redact", "sources"},
    "machine": set(),
    "bpf": {"machine", "model", "errors", "units"},
    "doctor": {"bpf", "machine", "errors", "units"},
    "collect": {
        "bounds",
        "redact",
        "whole_file",
        "bpf",
        "kernel_files",
        "machine",
        "sources",
        "model",
        "errors",
        "units",
    },
    "cli": {
        "redact_files",
        "whole_file",
        "bounds",
        "top",
        "fleet",
        "export",
        "collect",
        "doctor",
        "bpf",
        "machine",
        "pipeline",
        "report",
        "verdict",
        "attribution",
        "sources",
        "model",
        "errors",
        "units",
        "__init__",
    },
    "__init__": {"pipeline", "verdict", "attribution", "model", "errors"},
    "__main__": {"cli"},
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        yield part, path


def imported(path: Path) -> Iterator[str]:
    """Parts of the package that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
            if node.module == "oomscope":
                names = [f"oomscope.{alias.name}" for alias in node.names]
        for name in names:
            if name == "oomscope" or name.startswith("oomscope."):
                part = name.partition(".")[2].partition(".")[0]
                yield part if (PACKAGE / part).exists() or (PACKAGE / f"{part}.py").exists() else "__init__"


def test_every_part_is_drawn() -> None:
    """Each folder and file of the package has its place in the picture."""
    assert {part for part, _ in modules()} == set(ALLOWED)


@pytest.mark.parametrize(("part", "path"), list(modules()), ids=lambda v: v if isinstance(v, str) else str(v.name))
def test_imports_point_one_way(part: str, path: Path) -> None:
    """A module imports only what stands below it: sources never attribution, reports never a source."""
    beyond = set(imported(path)) - ALLOWED[part] - {part}
    assert beyond == set()


def test_only_the_command_line_prints() -> None:
    """No module outside cli/ calls print or writes to the standard streams."""
    for part, path in modules():
        if part == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
                assert node.attr not in ("stdout", "stderr"), path


def test_every_test_states_its_requirement() -> None:
    """Each test's docstring is one present-tense sentence."""
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                docstring = ast.get_docstring(node)
                assert docstring, f"{path.name}: {node.name}"
                assert docstring.splitlines()[0].endswith("."), f"{path.name}: {node.name}"


def test_the_package_knows_nothing_of_the_lab() -> None:
    """The lab and the tests use the package, never the other way round."""
    for _, path in modules():
        text = path.read_text()
        assert re.search(r"\b(?:import|from) lab\b", text) is None, path
        assert "from tests" not in text, path
