"""`oomscope collect`: the archive explains like the files themselves, keeps its bounds and says what is not in it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import oomscope
from oomscope.errors import NoAccess, OutputFailed
from oomscope.host.collect import MANIFEST, PAGE_OWNER, SHOW_STACKS, collect
from tests.support import captures
from tests.support.archives import kmsg, members, put

COMM = "init"  # a task of the capture: it called the OOM killer, and it is in page_owner's text
SECRET = "bank-payments"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with the files of a living 6.12, as captured."""
    root = tmp_path / "machine"
    shutil.copytree(captures.CASE_6_12, root / "captured")
    for name in ("meminfo", "version"):
        for packed in (root / "captured").glob(f"{name}*"):
            put(root, f"/proc/{name}", captures.text(packed) if packed.suffix == ".zst" else packed.read_bytes())
    put(root, SHOW_STACKS, captures.text(captures.SHOW_STACKS))
    put(root, PAGE_OWNER, captures.text(captures.AFTER_6_12))
    put(root, "/proc/cmdline", b"quiet token=" + SECRET.encode() + b"\n")
    put(root, "/sys/block/zram0/mm_stat", b"0 0 0 0 0 0 0 0 0\n")
    log = kmsg(captures.text(captures.CONSOLE_6_12))
    log += b"30,90000,900000,-;sshd[77]: password of bank-payments\n _PID=77\n"
    log += b"6,90001,900001,-;Kernel command line: token=" + SECRET.encode() + b"\n"
    log += b"6,90002,900002,-;network: " + socket.gethostname().encode() + b" is up\n"
    put(root, "/dev/kmsg", log)
    return root


def _reasons(archive: Path) -> dict[str, str]:
    return {each["path"]: each["reason"] for each in json.loads(members(archive)[MANIFEST])["unread"]}


def test_the_archive_explains_as_the_machine_would(machine: Path, tmp_path: Path) -> None:
    """The leak's pages, by the module's own account, and what was not collected."""
    archive = tmp_path / "case.tar.zst"
    manifest = collect(archive, version="1", root=machine, page_owner=True)
    verdict = oomscope.explain(archive)
    assert verdict.greatest is not None
    assert (verdict.greatest.pages, str(verdict.greatest.holding.culprit)) == (35_072, "leak_mb_write [leak]")
    assert len(manifest.files) == len(members(archive)) - 1
    assert "/proc/allocinfo" in {each.what for each in verdict.absent}


def test_every_byte_is_the_machines(machine: Path, tmp_path: Path) -> None:
    """Without redaction nothing is changed."""
    archive = tmp_path / "case.tar.zst"
    collect(archive, version="1", root=machine, page_owner=True)
    for name, text in members(archive).items():
        if name != MANIFEST:
            assert text == (machine / name).read_bytes(), name


def test_page_owner_is_left_where_show_stacks_has_it(machine: Path, tmp_path: Path) -> None:
    """The large text is taken where nothing smaller tells the same."""
    archive = tmp_path / "case.tar.zst"
    collect(archive, version="1", root=machine)
    assert "--page-owner" in _reasons(archive)[PAGE_OWNER]
    (machine / SHOW_STACKS.lstrip("/")).unlink()
    collect(archive, version="1", root=machine)
    assert PAGE_OWNER not in _reasons(archive)
    assert _reasons(archive)[SHOW_STACKS] == "no such file or directory"


@pytest.mark.slow
def test_redaction(machine: Path, tmp_path: Path) -> None:
    """Names of tasks, the host, command lines and messages of programs are gone; the account is the same."""
    plain, redacted = tmp_path / "plain.tar.zst", tmp_path / "redacted.tar.zst"
    collect(plain, version="1", root=machine, page_owner=True)
    collect(redacted, version="1", root=machine, page_owner=True, redact=True)
    before, after = b"".join(members(plain).values()), b"".join(members(redacted).values())
    host = socket.gethostname()
    for secret in (SECRET, f"({COMM})", f"omm: {COMM} ", f";{COMM} invoked", f"network: {host}"):
        assert secret.encode() in before, secret
        assert secret.encode() not in after, secret
    assert "proc/cmdline" not in members(redacted)
    of_plain, of_redacted = oomscope.explain(plain), oomscope.explain(redacted)
    assert (of_redacted.ram_pages, of_redacted.culprits) == (of_plain.ram_pages, of_plain.culprits)
    assert of_redacted.greatest is not None
    assert of_plain.greatest is not None
    assert of_redacted.greatest.pages == of_plain.greatest.pages


def test_the_size_bound(machine: Path, tmp_path: Path) -> None:
    """What does not fit is cut or left out, and named; the rest stays readable."""
    archive = tmp_path / "case.tar.zst"
    most = 200_000
    collect(archive, version="1", root=machine, page_owner=True, most_bytes=most)
    kept = members(archive)
    assert sum(map(len, kept.values())) <= most + len(kept[MANIFEST])
    assert "the size bound was reached" in _reasons(archive)[PAGE_OWNER]
    assert any("its end is missing" in reason for reason in _reasons(archive).values())


def test_the_time_bound(machine: Path, tmp_path: Path) -> None:
    """Time that is over leaves one file, whose end is missing: not a case."""
    with pytest.raises(NoAccess, match="hardly anything"):
        collect(tmp_path / "case.tar.zst", version="1", root=machine, most_s=0)
    assert [path.name for path in tmp_path.iterdir()] == ["machine"]


def test_an_unreadable_machine_leaves_nothing(tmp_path: Path) -> None:
    """A sentence, and no half-written archive."""
    (tmp_path / "machine").mkdir()
    with pytest.raises(NoAccess, match="no such file"):
        collect(tmp_path / "case.tar.zst", version="1", root=tmp_path / "machine")
    assert [path.name for path in tmp_path.iterdir()] == ["machine"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """Exit code 5, before anything is read."""
    with pytest.raises(OutputFailed, match="no such file"):
        collect(tmp_path / "nowhere" / "case.tar.zst", version="1")
    command = [sys.executable, "-m", "oomscope", "collect", "-o", str(tmp_path / "nowhere" / "case.tar.zst")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (5, "")
    assert "no such file" in result.stderr


def test_only_its_owner_may_read_it(machine: Path, tmp_path: Path) -> None:
    """A case tells of the machine: mode 0600, as the kernel's own files."""
    archive = tmp_path / "case.tar.zst"
    collect(archive, version="1", root=machine)
    assert os.stat(archive).st_mode & 0o777 == 0o600


def test_a_spoilt_manifest_is_named_and_the_case_explained(tmp_path: Path) -> None:
    """The manifest adds what is absent; without it the files still tell."""
    case = tmp_path / "case"
    case.mkdir()
    (case / "show_stacks").write_bytes(captures.text(captures.SHOW_STACKS))
    for text in (
        b'{\n "oomscope-case": 1, "unread": 7}',
        b'{\n "oomscope-case": [[[',
        b'{\n "oomscope-case": \x00\xff',
    ):
        (case / MANIFEST).write_bytes(text)
        verdict = oomscope.explain(case)
        assert verdict.greatest is not None
        assert verdict.greatest.pages == 35_072


def test_the_size_bound_holds_for_every_file(machine: Path, tmp_path: Path) -> None:
    """What must be read to its end is kept to the bound, too; what is beyond is named."""
    put(machine, SHOW_STACKS, b" a+0x1/0x2\nnr_base_pages: 1\n\n" * 200_000)
    archive = tmp_path / "case.tar.zst"
    collect(archive, version="1", root=machine, most_bytes=1 << 20)
    kept = {name: len(text) for name, text in members(archive).items() if name != MANIFEST}
    assert sum(kept.values()) <= 1 << 20
    assert kept[SHOW_STACKS.lstrip("/")] > 1 << 19
    assert "the size bound was reached" in _reasons(archive)[SHOW_STACKS]


def test_a_pipe_and_a_link_to_a_device_are_streams(machine: Path, tmp_path: Path) -> None:
    """They stay what they are, and get the whole archive."""
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE)
    collect(fifo, version="1", root=machine)
    got, _ = reader.communicate(timeout=60)
    (tmp_path / "got").write_bytes(got)
    assert SHOW_STACKS.lstrip("/") in members(tmp_path / "got")
    assert fifo.is_fifo()
    link.symlink_to("/dev/null")
    collect(link, version="1", root=machine)
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_is_one_sentence(machine: Path, tmp_path: Path) -> None:
    """Exit code 5; an archive of an earlier day is there still."""
    with pytest.raises(OutputFailed, match="no space left"):
        collect(Path("/dev/full"), version="1", root=machine)
    archive = tmp_path / "case.tar.zst"
    archive.write_bytes(b"of yesterday")
    # A module compiled into a file that may not grow would be cut off, for everybody.
    script = f"ulimit -f 1; export PYTHONDONTWRITEBYTECODE=1; exec {sys.executable} -m oomscope collect -o {archive}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done
    assert done.stderr.count("\n") == 1
    assert archive.read_bytes() == b"of yesterday"
    assert list(tmp_path.glob(".oomscope*")) == []
