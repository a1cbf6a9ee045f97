"""`oomscope help`: the documentation that comes with the package, by topic."""

from __future__ import annotations

from pathlib import Path

import click

from oomscope.errors import BadQuestion

_HERE = Path(__file__).parents[1]
# A wheel has it within the package, a checkout at its root.
_HOMES = (_HERE / "docs", _HERE.parents[1] / "docs")
_FOLDERS = ("guide", "formats", "rules", ".")
_NOT_FOR_USERS = ("README", "lab", "lab-results", "witnesses", "corpus", "experiment-2020", "peers")


def topics() -> dict[str, Path]:
    """Pages by their name, those of a class of OOM by the class; empty where the documentation is not there."""
    home = next((each for each in _HOMES if (each / "guide").is_dir()), None)
    found: dict[str, Path] = {}
    for folder in _FOLDERS if home is not None else ():
        assert home is not None
        for path in sorted((home / folder).glob("*.md")):
            name = path.stem.replace("_", "-") if folder == "rules" else path.stem
            if path.stem not in _NOT_FOR_USERS:
                found.setdefault(name, path)
    return found


@click.command("help")
@click.argument("topic", required=False)
def help_(topic: str | None) -> None:
    """Show the documentation of a topic: a command, a format, a class of OOM; without one, what there is.

    \b
    oomscope help explain
    oomscope help page_owner
    oomscope help hidden-kernel
    """  # noqa: D301 - a help text; click knows the backspace
    from oomscope.cli.output import to_stdout

    known = topics()
    if topic is None:
        of_folder: dict[str, list[str]] = {}
        for name, path in known.items():
            of_folder.setdefault(path.parent.name, []).append(name)
        to_stdout(f"{folder}: {', '.join(names)}\n" for folder, names in of_folder.items())
        return
    page = known.get(topic) or known.get(topic.replace("_", "-")) or known.get(topic.replace("-", "_"))
    if page is None:
        near = ", ".join(name for name in known if topic.lower() in name) or "`oomscope help` lists them"
        raise BadQuestion(f"no such topic: {topic}", advice=near)
    to_stdout([page.read_text(encoding="utf-8")])
