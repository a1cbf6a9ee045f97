"""Build the site: `python -m website [--out FOLDER]`; npm fetches Python for the browser (Pyodide).

The documentation is at its top. `explain/` explains a log in the browser, for a web server; `oomscope.html` beside it
is one file with everything inside, for a plain folder: a browser loads no WebAssembly from file: otherwise.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from website.site_pages import build_site

HERE = Path(__file__).parent
ENGINE = HERE.parent / "src/oomscope"
_PYTHON = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
_LIBRARY = "python_stdlib.zip"
_PARTS = ("index.html", "page.css", "page.js", "worker.js")
# What a log and a file of /proc need nothing of.
_LEFT_OUT = ("cli", "triage", "export", "redaction", "host/bpf", "report/page", "sources/vmcore")
_KEPT = ("sources/vmcore/__init__.py", "host/bpf/__init__.py")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_INLINE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src blob:; connect-src blob:; "
    "style-src 'unsafe-inline'"
)


def main() -> int:
    """Build it; 1 where npm cannot."""
    asked = argparse.ArgumentParser(prog="python -m website")
    asked.add_argument("--out", type=Path, default=HERE / "out")
    out: Path = asked.parse_args().out
    try:
        fetch()
        build_site(out)
        made = build(out)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"website: the page for the browser could not be made with npm and Node: {error}", file=sys.stderr)
        return 1
    for path in made:
        print(f"{path.stat().st_size:>12,}  {path.relative_to(out)}")
    return 0


def fetch() -> None:
    """Have npm lay out what the page is made of. Raises OSError, CalledProcessError."""
    quiet = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
    subprocess.run(["npm", "install", "--prefix", str(HERE), *quiet], capture_output=True, check=True)


def build(out: Path) -> list[Path]:
    """The files of the page below `out`, once npm has fetched what it is made of.

    Raises OSError, CalledProcessError.
    """
    python = HERE / "node_modules/pyodide"
    folder = out / "explain"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pyodide").mkdir(parents=True)
    for name in _PARTS:
        shutil.copy(HERE / "browser" / name, folder / name)
    for name in _PYTHON:
        shutil.copy(python / name, folder / "pyodide" / name)
    lock = json.loads((python / "pyodide-lock.json").read_text())
    lock["packages"] = {}  # none is loaded: what the engine needs is Python itself
    (folder / "pyodide/pyodide-lock.json").write_text(json.dumps(lock))
    (out / "engine.zip").write_bytes(engine())
    compile_into(folder / "oomscope.zip", out / "engine.zip")
    (out / "engine.zip").unlink()
    compile_into(folder / "pyodide" / _LIBRARY, python / _LIBRARY)
    alone = out / "oomscope.html"
    alone.write_text(inlined(folder))
    return [*sorted(path for path in folder.rglob("*") if path.is_file()), alone]


def compile_into(compiled: Path, sources: Path) -> None:
    """An archive of sources as the browser's own Python compiles them. Raises OSError, CalledProcessError."""
    command = ["node", str(HERE / "compiled.mjs"), str(sources.resolve()), str(compiled.resolve())]
    subprocess.run(command, capture_output=True, check=True)


def engine() -> bytes:
    """The package as the browser needs it, the same bytes for the same sources."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(ENGINE.rglob("*")):
            name = path.relative_to(ENGINE).as_posix()
            is_left_out = name.startswith(tuple(f"{each}/" for each in _LEFT_OUT)) and name not in _KEPT
            if path.suffix not in (".py", ".tsv") or is_left_out:
                continue
            archive.writestr(zipfile.ZipInfo(f"oomscope/{name}", _ZIP_TIME), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def inlined(folder: Path) -> str:
    """The page as one file: what the worker would fetch lies in it, and is handed to it."""
    inside = ("pyodide.asm.wasm", _LIBRARY, "pyodide-lock.json")
    files = {name: _packed(folder / "pyodide" / name) for name in inside}
    files["oomscope.zip"] = _packed(folder / "oomscope.zip")
    loader = (folder / "pyodide/pyodide.mjs").read_text()
    module = "`${e.indexURL}pyodide.asm.mjs`"
    if loader.count(module) != 1:
        raise RuntimeError("pyodide.mjs loads its module in another way than this build knows")
    worker = _LOADER + (folder / "worker.js").read_text()
    given = {
        "files": files,
        "loader": loader.replace(module, "globalThis.OOMSCOPE_MODULE"),
        "module": (folder / "pyodide/pyodide.asm.mjs").read_text(),
        "worker": worker,
    }
    page = (folder / "index.html").read_text()
    before, _, rest = page.partition('content="default-src')
    _, _, after = rest.partition('">')
    page = f'{before}content="{_INLINE_POLICY}">{after}'
    style, script = (folder / "page.css").read_text(), (folder / "page.js").read_text()
    page = page.replace('<link rel="stylesheet" href="page.css">', f"<style>{style}</style>")
    data = json.dumps(given).replace("<", "\\u003c")
    return page.replace(
        '<script type="module" src="page.js"></script>',
        f'<script type="application/json" id="inside">{data}</script>\n<script>{_STARTER}</script>\n'
        f"<script>{script}</script>",
    )


# Before the worker's own lines: what it fetches is what it was given.
_LOADER = """
self.OOMSCOPE_HOME = "https://inside.invalid/";
self.importScripts = undefined; // a page from file: may not have a module for a worker; Pyodide asks which it is
self.OOMSCOPE_GIVEN = new Promise((resolve) => {
  addEventListener("message", ({ data: inside }) => {
    const bytes = (text) => {
      const letters = atob(text), made = new Uint8Array(letters.length);
      for (let at = 0; at < made.length; at += 1) made[at] = letters.charCodeAt(at);
      return made;
    };
    const urlOf = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    self.OOMSCOPE_MODULE = urlOf(inside.module);
    self.OOMSCOPE_LOADER = urlOf(inside.loader);
    self.fetch = async (url) => {
      const name = String(url).split("/").pop();
      if (!(name in inside.files)) throw new Error(`${name} is not in this page`);
      const type = name.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
      const packed = new Blob([bytes(inside.files[name])]).stream();
      const content = packed.pipeThrough(new DecompressionStream("gzip"));
      return new Response(content, { headers: { "Content-Type": type } });
    };
    resolve();
  }, { once: true });
});
"""
# Before the page's own lines: the worker is made of what lies in the page, and is given the rest first.
_STARTER = """
globalThis.OOMSCOPE_INSIDE = JSON.parse(document.getElementById("inside").textContent);
globalThis.OOMSCOPE_WORKER = URL.createObjectURL(new Blob([OOMSCOPE_INSIDE.worker], { type: "text/javascript" }));
"""


def _packed(path: Path) -> str:
    return base64.b64encode(gzip.compress(path.read_bytes(), mtime=0)).decode()


if __name__ == "__main__":
    sys.exit(main())
