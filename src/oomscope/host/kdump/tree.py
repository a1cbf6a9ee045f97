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
from collections.abc import Iterator
from pathlib import Path

from oomscope import crash_reader
from oomscope.errors import NotOffered
from oomscope.sources.vmcore import elf

READER = Path("/usr/lib/oomscope/crash-reader")
RUN = READER / "run"
PLAN = READER / "plan.json"
START = READER / "start.py"
_LANDMARKS = ("os", "encodings.ascii", "encodings.latin_1")  # what Python itself looks for
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
[ -s /proc/vmcore ] || exit 0
here=${{0%/*}}
console=/dev/console
[ -w $console ] || console=/dev/stderr
(
	echo 1000 > /proc/self/oom_score_adj
	exec {python} -I -S "$here/{start}" "$here/{plan}" /proc/vmcore {seconds:g} ${{1:+"$1"}}
) >$console 2>&1 || echo "oomscope: who held the memory was not told; the dump is saved all the same" >$console
exit 0
"""
_MARGIN_S = 10.0
_PT_INTERP, _LONGEST_PATH = 3, 4096
_LIBRARY = re.compile(r"^\t(?:\S+ => )?(?P<path>/\S+) \(0x", re.MULTILINE)


def write(root: Path, plan: dict[str, object], *, seconds: float) -> None:
    """Write the tree below `root`, which is made anew. Raises NotOffered where this Python cannot be taken along."""
    fresh = root.with_name(f"{root.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    reader = _below(fresh, READER)
    package = reader / "oomscope" / "crash_reader"
    package.mkdir(parents=True)
    for path in sorted(Path(crash_reader.__file__).parent.glob("*.py")):
        shutil.copyfile(path, package / path.name)
    (package.parent / "__init__.py").touch()
    _below(fresh, START).write_text(_START)
    for path in reader.rglob("*.py"):
        py_compile.compile(str(path), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    _below(fresh, PLAN).write_text(json.dumps(plan, separators=(",", ":")))
    run = _below(fresh, RUN)
    run.write_text(
        _RUN.format(python=_python(), start=START.name, plan=PLAN.name, seconds=seconds, most_s=seconds + _MARGIN_S)
    )
    run.chmod(0o755)
    _take_python(fresh, reader)
    _require_running(fresh)
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)


def size_bytes(root: Path) -> int:
    """What all files of a tree take."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _take_python(root: Path, reader: Path) -> None:
    program = _python()
    done = subprocess.run(
        [program, "-I", "-S", "-c", _LISTED, str(reader), *_LANDMARKS], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotOffered(f"{program}: {done.stderr.strip().splitlines()[-1:]}: the reader does not run on it")
    modules = sorted({Path(file) for file in json.loads(done.stdout).values()})
    binaries = [Path(program), *(path for path in modules if path.suffix == ".so")]
    for path in (path for path in modules if path.suffix == ".py"):
        compiled = _below(root, path.with_suffix(".pyc"))
        py_compile.compile(
            str(path), str(compiled), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
    _below(root, _library_folder() / "lib-dynload").mkdir(parents=True, exist_ok=True)
    for path in {*binaries, *_libraries(binaries)}:
        target = _below(root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def _libraries(binaries: list[Path]) -> Iterator[Path]:
    """The shared libraries of a program and of what it loads, by the names that they are looked up by."""
    found = elf.headers(binaries[0])
    extents = () if found is None else found.segments
    named = [elf.content(binaries[0], each, _LONGEST_PATH) for each in extents if each.kind == _PT_INTERP]
    for loader in (os.fsdecode(each.split(b"\0")[0]) for each in named):
        yield Path(loader)
        for binary in binaries:
            told = subprocess.run([loader, "--list", str(binary)], capture_output=True, text=True, check=False)
            yield from (Path(path) for path in _LIBRARY.findall(told.stdout))


def _require_running(root: Path) -> None:
    """Raises NotOffered where the tree does not run by itself."""
    command = [_python(), "-I", "-S", str(START), str(PLAN), "/no-core", "1"]
    done = subprocess.run(
        command, cwd="/", preexec_fn=lambda: os.chroot(root), capture_output=True, text=True, check=False
    )
    if "nothing can be told of the dead kernel" not in done.stderr:
        why = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise NotOffered(f"the reader does not run on its own files: {why}")


def _python() -> str:
    """This Python's program, the real one: a virtual environment is not there when the machine has died."""
    return os.path.realpath(sys.executable)


def _library_folder() -> Path:
    return Path(os.__file__).parent


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
