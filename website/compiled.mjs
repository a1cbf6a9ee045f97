// An archive of Python sources as the browser's own Python compiles them: `node compiled.mjs IN.zip OUT.zip`.
// Without it each visit compiles them anew, which takes longer than all else until the first answer.
import { readFileSync, writeFileSync } from "node:fs";
import { loadPyodide } from "pyodide";

const COMPILE = `
import pathlib, py_compile, zipfile

UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH  # the same bytes for the same sources; no source to look at
with zipfile.ZipFile("/in.zip") as sources, zipfile.ZipFile("/out.zip", "w", zipfile.ZIP_DEFLATED) as compiled:
    for each in sources.infolist():
        name, content = each.filename, sources.read(each)
        if name.endswith(".py"):
            pathlib.Path("/source").write_bytes(content)
            py_compile.compile("/source", "/compiled", dfile=name, doraise=True, invalidation_mode=UNCHECKED)
            name, content = name + "c", pathlib.Path("/compiled").read_bytes()
        compiled.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
`;

const [from, to] = process.argv.slice(2);
const python = await loadPyodide();
python.FS.writeFile("/in.zip", new Uint8Array(readFileSync(from)));
python.runPython(COMPILE);
writeFileSync(to, python.FS.readFile("/out.zip"));
