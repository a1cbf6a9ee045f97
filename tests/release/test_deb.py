"""What a package is made of; `make deb` makes them, and they were installed in clean roots of both suites."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from oomscope.cli.watch import watch
from oomscope.host.bpf.systemd_unit import UNIT
from release.deb import HERE, PYTHONS, _command_files, _with_examples

COMMANDS = (
    *("arm", "collect", "diff", "disarm", "doctor", "explain", "export", "help", "history", "redact", "top", "triage"),
    "watch",
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of click, by the maker of man pages
def test_every_command_has_a_page_and_three_shells_complete(tmp_path: Path) -> None:
    """Made from the command itself; examples stand a line each."""
    import gzip

    _command_files(tmp_path)
    pages = {path.name for path in (tmp_path / "usr/share/man/man1").iterdir()}
    assert pages == {"oomscope.1.gz", *(f"oomscope-{name}.1.gz" for name in COMMANDS)}
    text = gzip.decompress((tmp_path / "usr/share/man/man1/oomscope-explain.1.gz").read_bytes())
    assert b".nf\noomscope explain console.log\n" in text
    assert b"\x08" not in text
    for place in ("usr/share/bash-completion/completions/oomscope", "usr/share/zsh/vendor-completions/_oomscope"):
        assert "_OOMSCOPE_COMPLETE" in (tmp_path / place).read_text()
    assert "oomscope" in (tmp_path / "usr/share/fish/vendor_completions.d/oomscope.fish").read_text()


def test_examples_keep_their_lines() -> None:
    """Up to the next request of troff."""
    assert _with_examples(b".PP\n\x08\na b\nc\n.SH X\n") == b".PP\n.nf\na b\nc\n.fi\n.SH X\n"


@pytest.mark.parametrize("action", ["remove", "upgrade"])
def test_removal_disarms_and_an_upgrade_does_not(tmp_path: Path, action: str) -> None:
    """What was armed by the package is taken back with it; an upgrade leaves it as it is."""
    calls, fake = tmp_path / "calls", tmp_path / "oomscope"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    fake.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", str(HERE / "prerm"), action], env=env, check=True)
    assert (calls.read_text().splitlines() if calls.exists() else []) == (
        ["arm --status", "disarm"] if action == "remove" else []
    )


def test_the_unit_is_that_of_arm() -> None:
    """Named as the one that `arm --at-boot` writes: the administrator's stands before the package's."""
    text = (HERE / "oomscope-arm.service").read_text()
    assert UNIT.name == "oomscope-arm.service"
    assert re.search(r"^After=sys-fs-bpf\.mount", text, re.MULTILINE)
    assert set(PYTHONS) == {"bookworm", "trixie"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt-get install systemd")
def test_the_watchs_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    """Systemd knows every line of it, and rates its exposure OK or better; each option is one of the command."""
    text = (HERE / "oomscope-watch.service").read_text()
    unit = tmp_path / "oomscope-watch.service"
    unit.write_text(text.replace("/usr/bin/oomscope", "/bin/true").replace("Documentation=man:oomscope-watch(1)\n", ""))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=40", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout.splitlines()[-1:]
    words = re.search(r"^ExecStart=/usr/bin/oomscope watch (.*)$", text, re.MULTILINE)
    assert words is not None
    known = {option for each in watch.params for option in each.opts}
    assert {word for word in words[1].split() if word.startswith("--")} <= known
