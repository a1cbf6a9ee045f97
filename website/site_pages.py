"""The documentation as a site: the repository's pages, tutorials, and reference made from code and tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

from oomscope.report.fields import fields

HERE = Path(__file__).parent
ROOT = HERE.parent
_BESIDE = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_SCHEMAS = {"oomscope-1": "`--format json` of one machine", "oomscope-triage-1": "`oomscope triage --format json`"}
_TITLES = {
    "Mem-Info": "Global counters of Mem-Info, in pages",
    "zone": "Zones, in kB",
    "node": "Nodes, in kB",
    "totals": "Totals at the end of Mem-Info",
    "task table": "The task table, in pages",
    "kill line": "The lines of the kill",
    "header": "The first line",
    "memory cgroup": "A memory cgroup's own lines, in kB",
    "memory.stat": "memory.stat of a memory cgroup",
    "meminfo": "/proc/meminfo, in kB",
}


def build_site(out: Path) -> None:
    """The site in `out`. Raises CalledProcessError where a page is missing or a link leads nowhere."""
    source = out.parent / f"{out.name}-source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(HERE / "pages", source)
    shutil.copytree(ROOT / "docs", source / "docs")
    for name in _BESIDE:
        shutil.copy(ROOT / name, source / name)
    (source / "reference/fields.md").write_text(fields_page())
    (source / "reference/schemas.md").write_text(schemas_page())
    (source / "extra/schemas").mkdir(parents=True)
    for name in _SCHEMAS:
        shutil.copy(ROOT / f"src/oomscope/report/{name}.schema.json", source / "extra/schemas")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(HERE), "-b", "html"]
    command += ["-d", str(source / ".doctrees"), "-D", f"html_extra_path={source / 'extra'}"]
    subprocess.run([*command, str(source), str(out)], check=True)
    shutil.rmtree(source)


def fields_page() -> str:
    """The glossary of every field, from the table that the page of a case uses, too."""
    parts = ["# Every field of an OOM report and of /proc/meminfo\n"]
    for where, rows in groupby(sorted(fields(), key=lambda field: list(_TITLES).index(field.where)), lambda f: f.where):
        parts.append(f"## {_TITLES[where]}\n\n| field | what it is | since | normal |\n|---|---|---|---|")
        parts += [f"| `{f.name}` | {f.meaning} | {f.since} | {f.normal} |" for f in rows]
        parts.append("")
    return "\n".join(parts)


def schemas_page() -> str:
    """Where the contracts of the JSON outputs are."""
    rows = [f"| [{name}.schema.json](../schemas/{name}.schema.json) | {what} |" for name, what in _SCHEMAS.items()]
    return "\n".join(["# JSON Schemas\n", "| schema | of |", "|---|---|", *rows, ""])
