"""The reader's files as they lie in a crash kernel's initramfs: the reader, its plan, and a Python of its own.

The Python is this one: its program, the libraries it is linked with, and those modules that the reader imports.
"""

from __future__ import annotations

import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
from pathlib import Path

from oomscope import crash_reader
from oomscope.errors import NotOffered
from oomscope.sources.vmcore import elf

READER = Path("/usr/lib/oomscope/crash-reader")
RUN = READER / "run"
PLAN = READER / "plan.json"
_LANDMARKS = ("os", "encodings.ascii", "encodings.latin_1")  # what Python itself looks for
_MOST_VIRTUAL_KIB = 400_000  # address space: a damaged number is refused before it takes the crash kernel's memory
_LISTED = """\
import json, sys
sys.path.insert(0, sys.argv[1])
import oomscope.crash_reader.__main__
for name in sys.argv[2:]:
    __import__(name)
told = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps({name: file for name, file in told.items() if file and not file.startswith(sys.argv[1])}))
"""
_START = """\
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from oomscope.crash_reader.__main__ import main

sys.exit(main(sys.argv[1:]))
"""
_RUN = """\
#!/bin/sh
# Print who held the memory of the kernel that died, and write it into the folder $1 where one is given. Nothing that
# goes wrong here keeps the dump from being saved: it takes {most_s:.0f} s at most, and is the first to go for memory.
# With $2 the exit status tells whether it was written.
[ -s /proc/vmcore ] || exit 0
here=${{0%/*}}
umask 077
console=/dev/null
for each in /dev/console /dev/stderr; do
	if (: >$each) 2>/dev/null; then
		console=$each
		break
	fi
done
(
	echo 1000 >/proc/self/oom_score_adj
	echo 0 >/proc/sys/vm/panic_on_oom
	ulimit -v {most_kib}
	PYTHONHOME=$here/python
	export PYTHONHOME
	unset PYTHONPATH
	exec "$here/lib/{loader}" --library-path "$here/lib" "$here/python/bin/{python}" -S -s -B "$here/start.py" \\
		"$here/plan.json" /proc/vmcore {seconds:g} ${{1:+"$1"}}
) >$console 2>&1
told=$?
[ $told = 0 ] || echo "oomscope: not all of who held the memory was told or written" >$console
[ -z "$2" ] || exit $told
exit 0
"""
_MARGIN_S = 10.0
_PT_INTERP, _LONGEST_PATH = 3, 4096
_LIBRARY = re.compile(r"^\t(?:\S+ => )?(?P<path>/\S+) \(0x", re.MULTILINE)


def write(root: Path, plan: dict[str, object], *, seconds: float) -> None:
    """Write the tree below `root`, which is made anew. Raises NotOffered where this Python cannot be taken along.

    All of it lies in READER, where no initramfs has anything of its own.
    """
    fresh = root.with_name(f"{root.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh.mkdir(mode=0o700)
    reader = _below(fresh, READER)
    package = reader / "oomscope" / "crash_reader"
    package.mkdir(parents=True)
    for path in sorted(Path(crash_reader.__file__).parent.glob("*.py")):
        shutil.copyfile(path, package / path.name)
    (package.parent / "__init__.py").touch()
    (reader / "start.py").write_text(_START)
    for path in reader.rglob("*.py"):
        _compile(path, None)
    _below(fresh, PLAN).write_text(json.dumps(plan, separators=(",", ":")))
    loader = _take_python(reader)
    run = _below(fresh, RUN)
    run.write_text(script(loader, seconds=seconds))
    run.chmod(0o700)
    _require_running(reader, loader)
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)


def script(loader: str, *, seconds: float) -> str:
    """What kdump calls; `loader` is the file name of this Python's dynamic loader."""
    return _RUN.format(
        python=Path(_python()).name,
        loader=loader,
        seconds=seconds,
        most_s=seconds + _MARGIN_S,
        most_kib=_MOST_VIRTUAL_KIB,
    )


def size_bytes(root: Path) -> int:
    """What all files of a tree take."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _take_python(reader: Path) -> str:
    """This Python, its modules that the reader imports, and their libraries; the file name of its loader."""
    program = _python()
    done = subprocess.run(
        [program, "-I", "-S", "-c", _LISTED, str(reader), *_LANDMARKS], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotOffered(f"{program}: {done.stderr.strip().splitlines()[-1:]}: the reader does not run on it")
    modules = sorted({Path(file) for file in json.loads(done.stdout).values()})
    standard, home = Path(os.__file__).parent, reader / "python"
    library = home / sys.platlibdir / standard.name
    (library / "lib-dynload").mkdir(parents=True)
    for path in modules:
        if path.suffix == ".py":
            _compile(path, library / path.relative_to(standard).with_suffix(".pyc"))
        else:
            shutil.copy(path, library / "lib-dynload")
    (home / "bin").mkdir()
    shutil.copy(program, home / "bin")
    (reader / "lib").mkdir()
    loader, *libraries = _libraries([Path(program), *(path for path in modules if path.suffix == ".so")])
    for path in {loader, *libraries}:
        shutil.copy(path, reader / "lib" / path.name)
    # The loader alone is run, and loads the others: what may be run dracut strips, and takes its libraries once more.
    for folder in (home / "bin", library / "lib-dynload", reader / "lib"):
        for path in folder.iterdir():
            path.chmod(0o700 if path.name == loader.name else 0o600)
    return loader.name


def _compile(path: Path, target: Path | None) -> None:
    """Compiled once and for all: nothing looks at the source's time in a crash kernel."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(path), None if target is None else str(target), doraise=True, invalidation_mode=mode)


def _libraries(binaries: list[Path]) -> list[Path]:
    """The dynamic loader of a program, then the shared libraries of it and of what it loads. Raises NotOffered."""
    headers = elf.headers(binaries[0])
    extents = () if headers is None else headers.segments
    named = [elf.content(binaries[0], each, _LONGEST_PATH) for each in extents if each.kind == _PT_INTERP]
    if not named:
        raise NotOffered(f"{binaries[0]} is linked in a way that is not known here")
    loader = os.fsdecode(named[0].split(b"\0")[0])
    found = [Path(loader)]
    for binary in binaries:
        told = subprocess.run([loader, "--list", str(binary)], capture_output=True, text=True, check=False)
        found += [Path(path) for path in _LIBRARY.findall(told.stdout)]
    return found


def _require_running(reader: Path, loader: str) -> None:
    """Raises NotOffered where the tree does not run by itself."""
    inside = Path("/")
    command = [str(inside / "lib" / loader), "--library-path", str(inside / "lib")]
    command += [str(inside / "python" / "bin" / Path(_python()).name), "-S", "-s", "-B"]
    command += [str(inside / "start.py"), str(inside / PLAN.name), "/no-core", "1"]
    done = subprocess.run(
        command,
        cwd="/",
        env={"PYTHONHOME": str(inside / "python")},
        preexec_fn=lambda: os.chroot(reader),
        capture_output=True,
        text=True,
        check=False,
    )
    if "nothing can be told of the dead kernel" not in done.stderr:
        why = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise NotOffered(f"the reader does not run on its own files: {why}")


def _python() -> str:
    """This Python's program, the real one: a virtual environment is not there when the machine has died."""
    return os.path.realpath(sys.executable)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
