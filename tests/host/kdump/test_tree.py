"""The reader with a Python of its own, in a folder that is the whole file system: what a crash kernel boots into."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oomscope.crash_reader.plan import FORMAT
from oomscope.errors import NotOffered
from oomscope.host.kdump import tree

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a folder the root: CI runs as root")
PLAN: dict[str, object] = {
    "format": FORMAT,
    "release": "6.12.1",
    "machine": "x86_64",
    "symbols": {},
    "layout": {},
    "constants": {},
}
PLAN |= {"build_id": "ab" * 20, "constants": {}, "handle": [], "counters": {}, "roles": []}


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The reader in its folder, with nothing else there."""
    reader = root / tree.READER.relative_to("/")
    (loader,) = (path for path in (reader / "lib").iterdir() if path.name.startswith("ld-"))
    python = Path("/python/bin") / Path(os.path.realpath(sys.executable)).name
    command = [f"/lib/{loader.name}", "--library-path", "/lib", str(python), "-S", "-s", "-B", "/start.py", *arguments]
    return subprocess.run(
        command,
        cwd="/",
        env={"PYTHONHOME": "/python"},
        preexec_fn=lambda: os.chroot(reader),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@as_root
def test_the_tree_runs_by_itself(tmp_path: Path) -> None:
    """A file that is no core ends in one sentence that names it, from the reader's own folder alone."""
    root = tmp_path / "root"
    tree.write(root, PLAN, seconds=60)
    (root / tree.READER.relative_to("/") / "core").write_bytes(b"no core" * 20)
    done = run(root, "/plan.json", "/core", "5")
    assert done.returncode == 1
    assert done.stderr == (
        "oomscope: nothing can be told of the dead kernel: /core is no ELF core of 64 bits, little endian\n"
    )
    assert tree.size_bytes(root) < 30 << 20
    assert not (tmp_path / "root.new").exists()
    assert root.stat().st_mode & 0o077 == 0


@as_root
def test_nothing_lies_where_an_initramfs_has_its_own(tmp_path: Path) -> None:
    """All files are in the reader's folder: a folder of ours would take the place of a link like /lib."""
    root = tmp_path / "root"
    tree.write(root, PLAN, seconds=60)
    folder = tree.READER.relative_to("/")
    outside = [path for path in root.rglob("*") if not path.relative_to(root).is_relative_to(folder)]
    assert [str(path.relative_to(root)) for path in outside] == ["usr", "usr/lib", "usr/lib/oomscope"]


@as_root
def test_a_tree_is_made_anew_as_a_whole(tmp_path: Path) -> None:
    """What an earlier one held is gone, and a plan that cannot be written leaves the earlier one."""
    root = tmp_path / "root"
    tree.write(root, PLAN, seconds=60)
    (root / "left").touch()
    tree.write(root, {**PLAN, "release": "6.12.2"}, seconds=60)
    assert not (root / "left").exists()
    with pytest.raises(TypeError):
        tree.write(root, {"release": object()}, seconds=60)
    assert '"6.12.2"' in (root / tree.PLAN.relative_to("/")).read_text()


@as_root
def test_a_python_that_cannot_be_taken_along_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a library is not taken, the tree does not run, and that is found out before the crash."""
    monkeypatch.setattr(tree, "_libraries", lambda _: [Path("/lib64/ld-linux-x86-64.so.2")])
    with pytest.raises((NotOffered, OSError)):
        tree.write(tmp_path / "root", PLAN, seconds=60)
    assert not (tmp_path / "root").exists()


def test_the_script_is_one_that_a_shell_takes(tmp_path: Path) -> None:
    """Without a dead kernel it says nothing, does nothing and succeeds: nothing of kdump may end with it."""
    script = tmp_path / "run"
    script.write_text(tree.script("ld.so", seconds=60))
    done = subprocess.run(["sh", str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
