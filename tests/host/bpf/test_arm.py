"""The questions of machine.py over files in a folder. What a kernel really answers is tested in the lab."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from oomscope.cli.arm import arm as command
from oomscope.errors import NoAccess, NothingToExplain, NotOffered
from oomscope.host import doctor
from oomscope.host.bpf import arm, fault_benchmark, requirements, systemd_unit, trace_output
from oomscope.host.facts import Machine, PageOwnerState
from oomscope.host.last_crash import last_crash

KALLSYMS = """\
ffffffff81000000 T _stext
ffffffff81000100 t dump_header
ffffffff81000200 t dump_header.constprop.0
ffffffff81000300 t dump_header.part.0
ffffffff81000380 t dump_header.cold
ffffffff81000400 T __set_page_owner
ffffffff81000500 T bpf_for_each_map_elem
ffffffff81000510 T bpf_snprintf
ffffffff82000000 d stack_list
ffffffffc0000000 t take_page\t[oomlab]
ffffffffc0000040 t _end\t[oomlab]
"""


TRACKABLE = (
    "bpf_for_each_map_elem", "bpf_snprintf", "__traceiter_mm_page_alloc", "__traceiter_mm_page_free", "mem_section",
    "vm_zone_stat", "_totalram_pages",
)  # fmt: skip


def machine(root: Path, **files: str) -> Machine:
    """A folder with these files, slashes written as double underscores."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root)


def test_every_form_of_a_function_is_found(tmp_path: Path) -> None:
    """What a compiler made of a function for some of its callers counts, pieces of it do not."""
    this = machine(tmp_path, proc__kallsyms=KALLSYMS)
    assert this.functions_like("dump_header") == ["dump_header", "dump_header.constprop.0"]
    assert requirements.attach_points(this)[1] == ("dump_header", "dump_header.constprop.0")
    assert requirements.attach_points(machine(tmp_path / "other", proc__kallsyms="ffffffff81000000 T panic\n"))[1] == (
        "panic",
    )


def test_addresses_get_names_as_the_kernel_prints_them(tmp_path: Path) -> None:
    """Offset, size up to the next symbol, module; an address beyond all symbols stays one."""
    this = machine(tmp_path, proc__kallsyms=KALLSYMS)
    named = this.frames([0xFFFFFFFF81000110, 0xFFFFFFFFC0000027, 0x10])
    assert named == ["dump_header+0x10/0x100", "take_page+0x27/0x40 [oomlab]", "0x0000000000000010"]


MODULES = "oomlab 4096 0 - Live 0xffffffffc0000000 (O)\n"


def test_modules_that_come_later_are_named(tmp_path: Path) -> None:
    """Whoever watches a living machine meets modules that were not there when it began, and gaps that others left."""
    this = machine(tmp_path, proc__kallsyms=KALLSYMS, proc__modules=MODULES)
    later = 0xFFFFFFFFC0100010
    assert this.frames([later]) == ["0xffffffffc0100010"]
    symbols = KALLSYMS + "ffffffffc0100000 t leak\t[late]\nffffffffc0100040 t other\t[late]\n"
    (tmp_path / "proc" / "kallsyms").write_text(symbols)
    (tmp_path / "proc" / "modules").write_text(MODULES + "late 4096 0 - Live 0xffffffffc0100000 (O)\n")
    assert this.frames([later]) == ["leak+0x10/0x40 [late]"]
    between = 0xFFFFFFFFC0080000
    assert this.frames([between]) == ["0xffffffffc0080000"]


def armed_by_hand(this: Machine, *, pins: tuple[str, ...] = ()) -> None:
    """What an `arm` of this boot writes down, and some of its pins."""
    told = arm.Armed(1.0, "", ("dump_header",), "stacks", 3, False, ())
    arm._write_state(this, told)
    for pin in pins:
        path = this.path(arm.PINS / pin)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_what_is_armed_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of arming without the pins that hold the programs, or the other way round, is said to be half."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    this = machine(tmp_path, proc__sys__kernel__random__boot_id="")
    assert (arm.status(this), arm.is_half(this)) == (None, False)
    armed_by_hand(this)
    assert (arm.status(this), arm.is_half(this)) == (None, True)
    check = doctor.armed(this)
    assert (check.state, check.mend) == (doctor.State.MISSING, "oomscope disarm")
    armed_by_hand(this, pins=("link-0",))
    assert arm.status(this) is not None
    assert not arm.is_half(this)


def test_one_arms_or_disarms_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told, and what the first does stays untouched."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    this = machine(tmp_path, proc__sys__kernel__random__boot_id="")
    armed_by_hand(this, pins=("link-0",))
    with arm._alone(this), pytest.raises(NotOffered, match="another `oomscope arm` or `disarm` is at work"):
        arm.disarm(this)
    assert arm.status(this) is not None
    assert arm.disarm(this) == []
    assert arm.status(this) is None


def test_who_is_not_root_sees_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the pins is closed to others: nothing is said of what cannot be seen."""
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    this = machine(tmp_path, proc__sys__kernel__random__boot_id="")
    armed_by_hand(this)
    assert not arm.is_half(this)


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the folder should be; and the lock is nobody else's to hold."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    this = machine(tmp_path / "a", run__oomscope="a file")
    with pytest.raises(NotOffered, match="/run/oomscope/lock: file exists"):
        arm.disarm(this)
    other = machine(tmp_path / "b", proc__sys__kernel__random__boot_id="")
    armed_by_hand(other)
    arm.disarm(other)
    assert other.path(arm.LOCK).stat().st_mode & 0o777 == 0o600


def test_others_are_told_what_only_root_may_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`arm --status` of any user while it is armed."""
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    armed_by_hand(machine(tmp_path, proc__sys__kernel__random__boot_id=""))
    monkeypatch.setattr(sys.modules[command.callback.__module__], "Machine", lambda: Machine(tmp_path))
    done = CliRunner().invoke(command, ["--status"])
    assert done.exit_code == 0, done.output
    assert "what it has reported only root may see" in done.output


def test_the_doctor_proposes_what_can_be_done(tmp_path: Path) -> None:
    """Tracking only where this kernel could do it."""
    symbols = "".join(f"ffffffff81000000 T {name}\n" for name in TRACKABLE)
    able = machine(tmp_path / "able", proc__kallsyms=symbols, sys__kernel__btf__vmlinux="")
    assert doctor.armed(able).mend == doctor.TRACK
    without_types = machine(tmp_path / "without", proc__kallsyms=symbols)
    assert doctor.armed(without_types).mend == "a kernel with CONFIG_PAGE_OWNER=y, then oomscope arm"
    old = machine(
        tmp_path / "old", proc__kallsyms=KALLSYMS.replace("bpf_for_each_map_elem", "x"), sys__kernel__btf__vmlinux=""
    )
    assert doctor.armed(old).mend == "boot option page_owner=on, then oomscope arm"


def test_a_kernel_without_huge_pages_has_page_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no such advice; what a fault takes is measured all the same."""
    monkeypatch.setattr("mmap.MADV_NOHUGEPAGE", 9999)
    assert fault_benchmark.page_fault_ns() > 0


def test_the_way_is_chosen_by_what_is_there(tmp_path: Path) -> None:
    """page_owner's own list where it is whole, else the pages; else the reason in one sentence."""
    assert requirements.choose_way(machine(tmp_path, proc__kallsyms=KALLSYMS)) == "stacks"
    starts = (
        "bpf_for_each_map_elem",
        "bpf_snprintf",
        "mem_section",
        "page_ext_size",
        "page_owner_ops",
        "max_pfn",
        "stack_slabs",
    )
    older = "".join(f"ffffffff81000000 d {name}\n" for name in starts)
    assert requirements.choose_way(machine(tmp_path / "older", proc__kallsyms=older)) == "pages"
    gaps = "ffffffff81000000 T alloc_pages_nolock_noprof\n"
    assert requirements.choose_way(machine(tmp_path / "newer", proc__kallsyms=KALLSYMS + older + gaps)) == "pages"
    assert requirements.choose_way(machine(tmp_path / "stripped", proc__kallsyms=KALLSYMS + gaps)) == "stacks"
    with pytest.raises(NotOffered, match=r"no bpf_for_each_map_elem\(\)"):
        requirements.choose_way(machine(tmp_path / "oldest", proc__kallsyms="ffffffff81000000 T _stext\n"))


def test_page_owner_is_on_off_or_not_there(tmp_path: Path) -> None:
    """Debugfs has its file only where it runs; without debugfs the command line tells."""
    assert machine(tmp_path / "a", sys__kernel__debug__page_owner="").page_owner is PageOwnerState.ON
    assert machine(tmp_path / "b", proc__kallsyms="ffffffff81000000 T _stext\n").page_owner is PageOwnerState.NOT_BUILT
    assert machine(tmp_path / "c", proc__kallsyms=KALLSYMS, proc__cmdline="ro").page_owner is PageOwnerState.OFF
    assert (
        machine(tmp_path / "d", proc__kallsyms=KALLSYMS, proc__cmdline="page_owner=on").page_owner is PageOwnerState.ON
    )


def test_settings_are_put_back_unless_somebody_else_changed_them(tmp_path: Path) -> None:
    """What arm wrote goes back to what was there; what says something else by now stays and is told."""
    trace = "sys__kernel__tracing__"
    this = machine(
        tmp_path,
        **{f"{trace}tracing_on": "0", f"{trace}buffer_size_kb": "7 (expanded: 1408)"},
        proc__sys__kernel__ftrace_dump_on_oops="0",
    )
    settings = trace_output.needed(this)
    trace_output.change(this, settings)
    assert trace_output.needed(this) == []
    this.path("/proc/sys/kernel/ftrace_dump_on_oops").write_text("2")
    (told,) = trace_output.restore(this, settings)
    assert "ftrace_dump_on_oops says 2" in told
    assert this.text("/sys/kernel/tracing/buffer_size_kb") == "7"
    assert this.text("/sys/kernel/tracing/tracing_on") == "0"


def test_events_of_others_are_named(tmp_path: Path) -> None:
    """Trace events that are on would stand between the lines."""
    this = machine(
        tmp_path,
        sys__kernel__tracing__tracing_on="1",
        sys__kernel__tracing__set_event="bpf_trace:bpf_trace_printk\nsched:sched_switch\n",
    )
    assert trace_output.events_in_the_way(this) == ["sched:sched_switch"]


def test_arming_takes_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody else gets one sentence and exit code 4."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NoAccess, match="need root") as refused:
        arm.arm(Machine(tmp_path), top=3, on_kill=False)
    assert refused.value.exit_code == 4


def test_the_unit_comes_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arm --at-boot leaves a unit that multi-user.target wants; disarm --at-boot leaves neither."""
    this = Machine(tmp_path)
    with pytest.raises(NotOffered, match="systemd"):
        systemd_unit.enable(this, top=3, events="panic")
    this.path(systemd_unit.UNITS).mkdir(parents=True)
    systemd_unit.enable(this, top=5, events="kill")
    assert "-m oomscope arm --top 5 --on kill\n" in this.path(systemd_unit.UNIT).read_text()
    assert [path.name for path in this.path(systemd_unit.UNITS).rglob("*.service")] == [systemd_unit.UNIT.name] * 2
    systemd_unit.enable(this, top=3, events="panic", options=("--track", "--kernel-only"))
    assert "arm --top 3 --on panic --track --kernel-only\n" in this.path(systemd_unit.UNIT).read_text()
    monkeypatch.setattr("sys.executable", "/opt/50% of it/bin/python")
    systemd_unit.enable(this, top=3, events="panic")
    assert '="/opt/50%% of it/bin/python" -m oomscope arm' in this.path(systemd_unit.UNIT).read_text()
    systemd_unit.disable(this)
    assert list(this.path(systemd_unit.UNITS).rglob("*.service")) == []
    with pytest.raises(NothingToExplain):
        systemd_unit.disable(this)


def test_no_unit_is_left_that_could_not_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What refuses to arm now refuses to arm at boot: nobody sees a unit fail."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    this = Machine(tmp_path)
    this.path(systemd_unit.UNITS).mkdir(parents=True)
    monkeypatch.setattr(sys.modules["oomscope.cli.arm"], "Machine", lambda: this)
    refused = CliRunner().invoke(command, ["--at-boot"], standalone_mode=False)
    assert isinstance(refused.exception, NotOffered)
    assert list(this.path(systemd_unit.UNITS).rglob("*.service")) == []


def test_a_crash_that_only_root_may_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that there is none: systemd keeps pstore's files for root alone."""
    kept = tmp_path / "var/lib/systemd/pstore"
    kept.mkdir(parents=True)
    iterdir = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path == kept:
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(NoAccess, match="only root may read"), last_crash(tmp_path):
        pass


def test_the_last_crash_is_the_latest(tmp_path: Path) -> None:
    """Of several crashes in several places the one written last, with all that was written about it."""
    old, new = tmp_path / "var/crash/2026-01-01", tmp_path / "var/crash/2026-02-02"
    pstore = tmp_path / "sys/fs/pstore"
    for at, path in ((1000, old / "vmcore"), (9000, new / "vmcore"), (9100, pstore / "dmesg-ramoops-0")):
        path.parent.mkdir(parents=True)
        path.write_text("x")
        os.utime(path, (at, at))
    with last_crash(tmp_path) as found:
        assert set(found) == {new, pstore}


def test_nothing_left_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no place has anything and there is no journal, one sentence says where was looked."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(NothingToExplain, match="the previous boot left nothing"), last_crash(tmp_path):
        pass


@pytest.mark.parametrize(
    ("vmstat", "state", "found"),
    [
        ("nr_free_pages 7\noom_kill 0\n", "OK", "none since boot"),
        ("oom_kill 1204\n", "BETTER", "1,204 since boot"),
        ("", "UNKNOWN", ""),
    ],
)
def test_the_doctor_counts_kills(tmp_path: Path, vmstat: str, state: str, found: str) -> None:
    """By the kernel's own counter, where it has one."""
    check = doctor.kills(machine(tmp_path, proc__vmstat=vmstat))
    assert check.state is doctor.State[state]
    assert found in check.found


def test_the_doctor_knows_who_keeps_the_log(tmp_path: Path) -> None:
    """The journal on disk or a syslog; else what makes one."""
    this = machine(tmp_path)
    assert doctor.journal(this).mend is not None
    this.path("/var/log/journal").mkdir(parents=True)
    assert doctor.journal(this).state is doctor.State.OK


ARMED = {
    "since": 1.5,
    "boot_id": "b",
    "functions": ["dump_header"],
    "way": "pages",
    "top": 5,
    "on_kill": False,
    "settings": [{"path": "/proc/sys/kernel/ftrace_dump_on_oops", "before": "0", "wanted": "1"}],
}
TRACKING = {"kernel_only": True, "uncovered": ["x"], "size_bytes": 1, "fault_before_ns": 1.0, "fault_ns": 2.0}


@pytest.mark.parametrize(
    "told",
    [
        ARMED,  # before tracking was there
        {**ARMED, "tracking": None},
        {**ARMED, "tracking": {**TRACKING, "since_next": 7}, "of_next": [1]},  # of a later version
    ],
)
def test_what_another_version_armed_is_read_and_undone(tmp_path: Path, told: dict[str, object]) -> None:
    """Over an upgrade while armed: what this version does not know is passed over, what it lacks is not there."""
    this = machine(
        tmp_path,
        run__oomscope__armed_json=json.dumps(told),
        proc__sys__kernel__random__boot_id="b",
    )
    (tmp_path / "run/oomscope/armed_json").rename(tmp_path / "run/oomscope/armed.json")
    armed = arm._recorded(this)
    assert armed is not None
    assert (armed.functions, armed.top, armed.settings[0].before) == (("dump_header",), 5, "0")
    assert (armed.tracking is not None) == bool(told.get("tracking"))


def test_a_map_of_another_layout_is_refused() -> None:
    """Nothing is read past the end of a value, and what to do is said."""
    requirements.require_layout(64, 64)
    requirements.require_layout(128, 64, exact=False)
    for found, exact in ((72, True), (56, True), (56, False)):
        with pytest.raises(NotOffered, match="another version") as refused:
            requirements.require_layout(found, 64, exact=exact)
        assert "oomscope disarm" in refused.value.advice
