from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import oomscope

PACKAGE = Path(oomscope.__file__).parent
# What each room may import of the package besides itself: ARCHITECTURE.md draws it. A room is a folder or file at the
# top, or one named here below it.
BASE = {"bounds", "errors", "numeric", "text", "units"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "units": set(),
    "numeric": {"errors"},
    "bounds": set(),
    "text": {"bounds"},
    "io": BASE,
    "model": {"errors", "numeric", "units"},
    "crash_reader": set(),
    "sources": BASE | {"crash_reader", "io", "model"},
    "attribution": {"bounds", "errors", "model", "numeric", "units"},
    "verdict": {"attribution", "errors", "model", "numeric", "units"},
    "report": {"errors", "model", "units"},
    "export": {"__init__", "errors", "io", "model", "units"},
    "redaction": BASE | {"io", "model", "sources"},
    "host": BASE | {"attribution", "crash_reader", "io", "model", "redaction", "sources"},
    "pipeline": BASE | {"attribution", "host", "io", "model", "sources", "verdict"},
    "host/top": BASE | {"attribution", "host", "model", "pipeline"},
    "triage": BASE | {"attribution", "io", "model", "pipeline", "report", "sources", "verdict"},
    "watch": BASE
    | {
        "attribution",
        "host",
        "host/top",
        "io",
        "model",
        "pipeline",
        "redaction",
        "report",
        "sources",
        "triage",
        "verdict",
    },
    "cli": BASE
    | {"__init__", "attribution", "export", "host", "host/top", "io", "model", "pipeline", "redaction", "report"}
    | {"sources", "triage", "verdict", "watch"},
    "old_python": set(),
    "__init__": {"attribution", "errors", "model", "old_python", "pipeline", "report", "verdict"},
    "__main__": {"cli"},
}


def name_of(path: Path) -> str:
    """`verdict.oom.slab` for its file, `verdict.oom` for that folder, empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The longest room that a module lies in."""
    parts = module.split(".") if module else ["__init__"]
    return next("/".join(parts[:n]) for n in range(len(parts), 0, -1) if "/".join(parts[:n]) in ALLOWED or n == 1)


def imported(path: Path) -> Iterator[str]:
    """Modules of the package that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name == "oomscope" or name.startswith("oomscope."):
                inner = name.partition(".")[2]
                yield inner if inner in MODULES else inner.rpartition(".")[0]


def test_every_room_is_drawn() -> None:
    """Each folder and file of the package has its place in the picture."""
    assert {room_of(module) for module in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    """A module imports only what stands below it: sources never attribution, reports never a source."""
    room = room_of(module)
    beyond = {room_of(other) for other in imported(MODULES[module])} - ALLOWED[room] - {room}
    assert beyond == set()


def test_no_room_and_no_module_imports_itself() -> None:
    """Neither rooms nor modules form a circle, imports for types among them."""
    rooms = {room: allowed - {room} for room, allowed in ALLOWED.items()}
    TopologicalSorter(rooms).prepare()
    TopologicalSorter({name: set(imported(path)) - {name} for name, path in MODULES.items()}).prepare()


def test_no_two_public_classes_share_a_name() -> None:
    """A class is known by its name alone."""
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_one_place_imports_drgn() -> None:
    """Whatever knows drgn stands in sources/vmcore."""
    importing = {
        name for name, path in MODULES.items() if re.search(r"^\s*(?:import|from) drgn", path.read_text(), re.MULTILINE)
    }
    assert importing
    assert all(name.startswith("sources.vmcore") for name in importing)


def test_only_the_command_line_prints() -> None:
    """No module outside cli/ calls print or writes to the standard streams, but for the crash kernel's own program."""
    for module, path in MODULES.items():
        if room_of(module) == "cli" or module == "crash_reader.__main__":
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
    for path in MODULES.values():
        text = path.read_text()
        assert re.search(r"\b(?:import|from) lab\b", text) is None, path
        assert "from tests" not in text, path
