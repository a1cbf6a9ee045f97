"""`arm --kdump` per distribution: what it writes, that `disarm --kdump` takes all of it away, and what it refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from oomscope.cli.arm import _tell_crash_kernel
from oomscope.errors import BadQuestion, NothingToExplain, NotOffered
from oomscope.host.doctor import State, crash_reader
from oomscope.host.facts import Machine
from oomscope.host.kdump import arming
from tests.host.test_crash_kernel import INITRAMFS_BYTES, IOMEM

KDUMP_TOOLS = {"usr/sbin/kdump-config": "#!/bin/sh\n", "etc/default/kdump-tools": "USE_KDUMP=1\n"}
DRACUT = {"etc/kdump.conf": "path /var/crash\n"}
SUSE = {
    "etc/sysconfig/kdump": '# before\nKDUMP_PRESCRIPT="" # none\nKDUMP_SAVEDIR="/var/crash"',
    "usr/lib/kdump/kdump-read-config.sh": "",
}
OWN: dict[str, str] = {}
MACHINES = {"kdump-tools": KDUMP_TOOLS, "dracut": DRACUT, "SUSE": SUSE, "own": OWN}


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The release that the next plan is of; plans and trees have tests of their own."""
    releases = ["6.12.1"]

    def write_tree(machine: Machine) -> dict[str, object]:
        root = machine.path(arming.ROOT)
        root.mkdir(parents=True, exist_ok=True)
        (root / "plan").write_text(releases[0])
        return {"release": releases[0], "build_id": None}

    monkeypatch.setattr(arming, "_write_tree", write_tree)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return releases


def machine(root: Path, files: dict[str, str]) -> Machine:
    for name, text in {**files, "proc/sys/kernel/osrelease": "6.12.1\n"}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root)


def everything(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.usefixtures("released")
def test_disarm_restores_what_arm_changed(tmp_path: Path, kind: str) -> None:
    """Armed twice and disarmed once, every file is as it was, and none is left."""
    this = machine(tmp_path, MACHINES[kind])
    before = everything(tmp_path)
    arming.arm(this, only=False)
    armed = arming.arm(this, only=False)
    assert everything(tmp_path) != before
    assert arming.status(this) == armed
    arming.disarm(this)
    assert everything(tmp_path) == before
    assert arming.status(this) is None
    with pytest.raises(NothingToExplain):
        arming.disarm(this)


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.usefixtures("released")
def test_every_script_is_one_that_its_shell_takes(tmp_path: Path, kind: str) -> None:
    """No kdump is broken by a script of ours that does not parse; hooks are executable."""
    armed = arming.arm(machine(tmp_path, MACHINES[kind]), only=False)
    for name in armed.files:
        path = tmp_path / name.lstrip("/")
        text = path.read_text()
        if text.startswith("#!"):
            shell = text.splitlines()[0].removeprefix("#!")
            done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
            assert path.stat().st_mode & 0o111


@pytest.mark.usefixtures("released")
def test_suse_keeps_a_script_of_its_own(tmp_path: Path) -> None:
    """Where something is called already, it is not replaced: the sentence says what to call from there."""
    own = {**SUSE, "etc/sysconfig/kdump": 'KDUMP_PRESCRIPT="/usr/local/sbin/mine"\n'}
    with pytest.raises(NotOffered, match="call /usr/lib/oomscope/crash-reader/run from there"):
        arming.arm(machine(tmp_path, own), only=False)


@pytest.mark.usefixtures("released")
def test_only_skips_the_dump_where_that_can_be(tmp_path: Path) -> None:
    """kdump-tools' own command is replaced; dracut's kdump cannot go without."""
    armed = arming.arm(machine(tmp_path / "debian", KDUMP_TOOLS), only=True)
    (dump,) = (name for name in armed.files if "dump.service.d" in name)
    text = (tmp_path / "debian" / dump.lstrip("/")).read_text()
    assert "ExecStart=\nExecStart=" in text
    assert text.endswith("reboot -f; }; exec /etc/init.d/kdump-tools start'\n")  # what is not told is dumped
    with pytest.raises(BadQuestion, match="cannot go without a dump"):
        arming.arm(machine(tmp_path / "fedora", DRACUT), only=True)


def test_a_plan_is_made_anew_for_another_kernel_alone(tmp_path: Path, released: list[str]) -> None:
    """At each boot: nothing is done where the plan fits, all of it where the kernel is another."""
    this = machine(tmp_path, KDUMP_TOOLS)
    with pytest.raises(NothingToExplain):
        arming.renew(this)
    armed = arming.arm(this, only=False)
    assert arming.renew(this) is None
    released[0] = "6.12.2"
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.12.2\n")
    assert not arming.fits(Machine(tmp_path), armed)
    renewed = arming.renew(Machine(tmp_path))
    assert renewed is not None
    assert renewed.release == "6.12.2"
    assert (tmp_path / arming.ROOT.lstrip("/") / "plan").read_text() == "6.12.2"
    arming.disarm(Machine(tmp_path))


@pytest.mark.usefixtures("released")
def test_status_tells_of_the_crash_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `arm --status` says of it, and that its plan is of a kernel that does not run."""
    this = machine(tmp_path, KDUMP_TOOLS)
    _tell_crash_kernel(this)
    assert capsys.readouterr().out == ""
    arming.arm(this, only=False)
    _tell_crash_kernel(this)
    assert capsys.readouterr().out == "the crash kernel is armed, by kdump-tools: its plan is of 6.12.1\n"
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.12.2\n")
    _tell_crash_kernel(Machine(tmp_path))
    assert "does not run: oomscope arm --kdump=plan" in capsys.readouterr().out


@pytest.mark.usefixtures("released")
def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    """Half a file ends in one sentence that says what to remove."""
    this = machine(tmp_path, OWN)
    arming.arm(this, only=False)
    state = tmp_path / "var/lib/oomscope/crash-reader/state.json"
    state.write_text(state.read_text()[:40])
    with pytest.raises(NotOffered, match="is damaged"):
        arming.status(this)


def test_doctor_says_whether_the_crash_kernel_answers(tmp_path: Path, released: list[str]) -> None:
    """It proposes what can be had: to arm where page_owner runs and a crash kernel is loaded, then a plan that fits."""
    files = {**KDUMP_TOOLS, "sys/kernel/kexec_crash_loaded": "1\n", "sys/kernel/debug/page_owner": ""}
    this = machine(tmp_path, files)
    assert (crash_reader(this).state, crash_reader(this).mend) == (State.BETTER, "oomscope arm --kdump")
    arming.arm(this, only=False)
    assert crash_reader(this).state is State.OK
    released[0] = "6.12.2"
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.12.2\n")
    newer = Machine(tmp_path)
    assert (crash_reader(newer).state, crash_reader(newer).mend) == (State.MISSING, "oomscope arm --kdump=plan")
    arming.renew(newer)
    assert crash_reader(newer).state is State.OK
    (tmp_path / "var/lib/oomscope/crash-reader/state.json").write_text("{")
    assert crash_reader(newer).state is State.MISSING
    bare = machine(tmp_path / "bare", {})
    assert (crash_reader(bare).state, crash_reader(bare).mend) == (State.BETTER, None)


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize(
    ("kind", "reserved_mib", "wanted_mib"),
    [
        ("own", 160, 176),
        ("own", 192, None),
        ("own", 0, None),
        ("kdump-tools", 160, 176),
        ("kdump-tools", 176, None),
    ],
)
def test_too_small_a_crash_kernel_is_said(tmp_path: Path, kind: str, reserved_mib: int, wanted_mib: int | None) -> None:
    """What it needs by itself, 160 MiB in tests/host/test_crash_kernel.py, and 16 MiB for the reader's work."""
    files = {**MACHINES[kind], "proc/iomem": IOMEM, "sys/kernel/kexec_crash_size": f"{reserved_mib << 20}\n"}
    this = machine(tmp_path, files)
    (tmp_path / "boot").mkdir()
    with (tmp_path / "boot/initrd.img-6.12.1").open("wb") as file:
        file.truncate(INITRAMFS_BYTES)
    armed = arming.arm(this, only=False)
    wanted = arming.wanted_bytes(this, armed)
    assert (None if wanted is None else wanted >> 20) == wanted_mib


@pytest.mark.usefixtures("released")
def test_a_setting_that_was_not_there_goes_again(tmp_path: Path) -> None:
    """Where a file has no such key, and no end of its last line, both are as before after disarming."""
    files = {**SUSE, "etc/sysconfig/kdump": 'KDUMP_SAVEDIR="/var/crash"\n'}
    this = machine(tmp_path, files)
    before = everything(tmp_path)
    arming.arm(this, only=False)
    assert "\nKDUMP_PRESCRIPT=" in (tmp_path / "etc/sysconfig/kdump").read_text()
    arming.disarm(this)
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("released")
def test_what_the_user_set_meanwhile_stays(tmp_path: Path) -> None:
    """A value that is not ours any more is nobody's but theirs."""
    this = machine(tmp_path, SUSE)
    arming.arm(this, only=False)
    (tmp_path / "etc/sysconfig/kdump").write_text('KDUMP_PRESCRIPT="/usr/local/sbin/mine"\n')
    arming.disarm(this)
    assert (tmp_path / "etc/sysconfig/kdump").read_text() == 'KDUMP_PRESCRIPT="/usr/local/sbin/mine"\n'


@pytest.mark.usefixtures("released")
def test_what_cannot_be_armed_leaves_nothing(tmp_path: Path) -> None:
    """A refusal in the middle takes back what was done before it."""
    own = {**SUSE, "etc/sysconfig/kdump": "KDUMP_PRESCRIPT='/usr/local/sbin/mine'\n"}
    this = machine(tmp_path, own)
    before = everything(tmp_path)
    with pytest.raises(NotOffered):
        arming.arm(this, only=False)
    assert everything(tmp_path) == before
    assert not (tmp_path / arming.HOME.lstrip("/")).exists()


@pytest.mark.usefixtures("released")
def test_another_kdump_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """Hooks of the one that is not used any more do not stay behind."""
    this = machine(tmp_path, DRACUT)
    before = everything(tmp_path)
    arming.arm(this, only=False)
    machine(tmp_path, KDUMP_TOOLS)
    assert arming.arm(this, only=False).system == "kdump-tools"
    assert not (tmp_path / "etc/kdump/pre.d/50-oomscope").exists()
    arming.disarm(this)
    assert everything(tmp_path) == {**before, **KDUMP_TOOLS}


@pytest.mark.parametrize("text", ["null", "5", "[]", '{"line": null}'])
@pytest.mark.usefixtures("released")
def test_a_state_of_another_kind_is_damaged(tmp_path: Path, text: str) -> None:
    """What is JSON and no state is one sentence, too."""
    state = tmp_path / "var/lib/oomscope/crash-reader/state.json"
    state.parent.mkdir(parents=True)
    state.write_text(text)
    with pytest.raises(NotOffered, match="is damaged"):
        arming.status(machine(tmp_path, OWN))
