// The engine: Python in WebAssembly, in a thread of its own, so that the page stays alive while a large log is read.
"use strict";

const ENGINE = `
import json, os, pathlib, shutil, sys
sys.path.insert(0, "/engine")
import oomscope
from oomscope.report import cells, json_report, markdown

def explained(names):
    folder = pathlib.Path("/given")
    os.chdir(folder)  # so that each is called by its own name
    try:
        verdict = oomscope.explain(*(pathlib.Path(name) for name in names))
        said = {"report": json_report.to_json(verdict), "machine": cells.machine(verdict), "markdown": markdown.render(verdict)}
    except oomscope.OomscopeError as error:
        needs_more = isinstance(error, oomscope.NoAccess) or "vmcore" in str(error)  # a library that is not here
        said = {"error": str(error), "advice": "this page does not read it: use the command" if needs_more else error.advice}
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
    return json.dumps(said)
`;

const started = (async () => {
  await self.OOMSCOPE_GIVEN; // the page that is one file hands in what would be fetched
  const home = new URL("./", self.OOMSCOPE_HOME ?? self.location.href);
  const { loadPyodide } = await import(self.OOMSCOPE_LOADER ?? new URL("./pyodide/pyodide.mjs", home).href);
  const python = await loadPyodide({ indexURL: new URL("./pyodide/", home).href });
  const engine = await (await fetch(new URL("./oomscope.zip", home))).arrayBuffer();
  python.unpackArchive(engine, "zip", { extractDir: "/engine" });
  python.runPython(ENGINE);
  return { python, explained: python.globals.get("explained") };
})();

started.then(() => postMessage({ ready: true }), (error) => postMessage({ failed: String(error) }));

addEventListener("message", async ({ data: { id, files } }) => {
  if (id === undefined) return;
  try {
    const { python, explained } = await started;
    python.FS.mkdirTree("/given");
    for (const { name, bytes } of files) python.FS.writeFile(`/given/${name}`, new Uint8Array(bytes));
    const names = python.toPy(files.map(({ name }) => name));
    postMessage({ id, said: explained(names) });
    names.destroy();
  } catch (error) {
    postMessage({ id, failed: String(error) });
  }
});
