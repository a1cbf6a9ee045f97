"""The report at an OOM panic, switched on and off: load, attach, pin, leave no process behind; undo all of it."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from oomscope.errors import NothingToExplain, NotOffered
from oomscope.host.bpf import trace_output, tracker
from oomscope.host.bpf.beginnings import Beginnings, beginnings, provoke_allocations
from oomscope.host.bpf.fault_benchmark import page_fault_ns
from oomscope.host.bpf.libbpf import LibBpf, Object, Refused
from oomscope.host.bpf.plumbing import MAP_NAME as PLUMBING
from oomscope.host.bpf.plumbing import plumbing
from oomscope.host.bpf.requirements import (
    PANIC,
    WAYS,
    attach_points,
    choose_way,
    missing_for,
    object_path,
    require_access,
    require_layout,
    require_page_owner,
    require_root,
)
from oomscope.host.bpf.walk import TRY_WALK, ram_pages, set_up, stride_for, walk_ns
from oomscope.host.facts import Machine
from oomscope.sources.tracker import panic_report
from oomscope.sources.tracker.layout import PageOwners
from oomscope.sources.tracker.panic_report import PanicReport

PINS = Path("/sys/fs/bpf/oomscope")
STATE = Path("/run/oomscope/armed.json")
LOCK = STATE.with_name("lock")
HALF = "only a part of what `oomscope arm` puts in place is there: it was killed meanwhile, or somebody took it away"
LIMIT_S = 5.0
_REPORT_IT = "set up kdump, and tell us: `oomscope doctor` and this line"
TRACKED = "owners"  # and of counting what the programs here recorded
_REPORTS = PINS / panic_report.MAP_NAME
_OPTIONS = struct.Struct("<IIIIIIQ")  # `options` in panic_report.bpf.c


# The kernel symbols that each way starts from; lib/stackdepot.c calls its table by one of two names.
# Kernels with these (6.15, 6.16) leave a stack out of stack_list when its first allocation could not wait, which is how
# slab caches grow (mm/page_owner.c add_stack_record_to_list()): the greatest consumer may not be in it.
@dataclass(frozen=True, slots=True)
class Tracking:
    """How the owners of pages are kept: `size_bytes` is what their maps take, by the kernel's own account.

    Pages that come by the ways in `uncovered` have no owner. A page fault took `fault_before_ns`, and takes `fault_ns`.
    """

    kernel_only: bool
    uncovered: tuple[str, ...]
    size_bytes: int
    fault_before_ns: float
    fault_ns: float


@dataclass(frozen=True, slots=True)
class Armed:
    """What is armed: `since` in seconds of the epoch; `settings` are what disarm puts back.

    Of `stride` pages one is looked at.
    """

    since: float
    boot_id: str
    functions: tuple[str, ...]
    way: str
    top: int
    on_kill: bool
    settings: tuple[trace_output.Setting, ...]
    tracking: Tracking | None = None
    stride: int = 1


def arm(
    machine: Machine,
    *,
    top: int,
    on_kill: bool,
    way: str | None = None,
    limit_s: float = LIMIT_S,
    track: tracker.Plan | None = None,
    kprobes: bool = False,
    stride: int | None = None,
) -> Armed:
    """Arm this machine. Raises NotOffered, with what to do, where that cannot be; then nothing has been changed.

    With `track`, the programs here keep the owners of pages themselves, by `kprobes` where there is a choice. The
    calling process holds the programs, too, until it ends. Where counting page by page would take longer than
    `limit_s`, one page of `stride` is looked at; it is chosen where None is given.
    """
    require_access(machine)
    with _alone(machine):
        return _arm(machine, top, on_kill, way, limit_s, track, kprobes=kprobes, stride=stride)


def _arm(
    machine: Machine,
    top: int,
    on_kill: bool,
    way: str | None,
    limit_s: float,
    track: tracker.Plan | None,
    *,
    kprobes: bool,
    stride: int | None,
) -> Armed:
    if status(machine) is not None:
        raise NotOffered("it is armed already", advice="oomscope arm --status; oomscope disarm first")
    if is_half(machine):
        raise NotOffered(HALF, advice="oomscope disarm")
    if track is not None:
        tracker.require(machine)
        way = TRACKED
    else:
        require_page_owner(machine)
        if way is not None and (missing := missing_for(machine, way)):
            raise NotOffered(f"this kernel cannot count by {way}: {'; '.join(missing)}")
        way = way or choose_way(machine)
    program, functions = attach_points(machine)
    if on_kill and program == PANIC[0]:
        raise NotOffered("--on kill needs dump_header(), which is no function of its own in this kernel")
    section_bits = _section_bits(machine) if way == "pages" else 0
    page_shift = os.sysconf("SC_PAGE_SIZE").bit_length() - 1
    number = panic_report.OWNERS if way == TRACKED else WAYS[way]

    def options(stride: int) -> bytes:
        return _OPTIONS.pack(number, top, on_kill, page_shift, section_bits, stride, int(limit_s * 1e9))

    if way != "pages":
        stride = 1
    elif stride is None:
        stride = stride_for(walk_ns(machine, options(1), program), ram_pages(machine), limit_s)
    boot_id = machine.text("/proc/sys/kernel/random/boot_id") or ""
    armed = Armed(
        time.time(), boot_id, functions, way, top, on_kill, tuple(trace_output.needed(machine)), stride=stride
    )
    try:
        _write_state(machine, armed)
        if track is None:
            _load(machine, options(stride), program, functions, way)
        else:
            fault_before_ns = page_fault_ns()
            uncovered, size_bytes = _load_tracking(machine, options(1), program, functions, track, kprobes=kprobes)
            tracking = Tracking(track.kernel_only, uncovered, size_bytes, fault_before_ns, page_fault_ns())
            armed = replace(armed, tracking=tracking)
            _write_state(machine, armed)
        # Loading switches the event of bpf_printk() on; what is set comes after it.
        armed = replace(armed, settings=trace_output.change(machine, list(armed.settings)))
        _write_state(machine, armed)
    except (Refused, OSError) as error:
        _undo(machine, armed)
        raise NotOffered(f"the kernel does not take the program: {error}") from error
    except BaseException:
        _undo(machine, armed)
        raise
    return armed


def disarm(machine: Machine) -> list[str]:
    """Take everything away and put the settings back. The sentences tell what could not be put back."""
    require_root(machine)
    with _alone(machine):
        armed = _recorded(machine)
        if armed is None and not machine.path(PINS).exists():
            raise NothingToExplain("nothing is armed")
        return _undo(machine, armed)


def status(machine: Machine) -> Armed | None:
    """What is armed; None where nothing is, or not all of it (is_half()). Only root sees whether it really is there."""
    armed = _recorded(machine)
    if armed is None or not machine.is_root:
        return armed
    held = {link.name for link in _links(machine)}
    wanted = {f"link-{number}" for number in range(len(armed.functions))}
    if armed.way == TRACKED:
        wanted |= {tracker.link_name(program) for program in tracker.TRACEPOINTS}
    return armed if wanted <= held else None


def is_half(machine: Machine) -> bool:
    """Whether something is left of an `arm` that was killed, or was taken away by others; only root sees it."""
    return (
        machine.is_root and status(machine) is None and (_recorded(machine) is not None or machine.path(PINS).exists())
    )


@contextmanager
def _alone(machine: Machine) -> Iterator[None]:
    """No other arm or disarm meanwhile. Raises NotOffered."""
    path = machine.path(LOCK)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NotOffered(f"{LOCK}: {(error.strerror or str(error)).lower()}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            told = "another `oomscope arm` or `disarm` is at work"
            raise NotOffered(told, advice="try again when it is done") from error
        yield
    finally:
        os.close(fd)


def _recorded(machine: Machine) -> Armed | None:
    """What an `arm` of this boot has written down, of whatever version: what this one does not know is passed over."""
    try:
        found = _known(Armed, json.loads(machine.path(STATE).read_text()))
        found["settings"] = tuple(trace_output.Setting(**_known(trace_output.Setting, s)) for s in found["settings"])
        found["functions"] = tuple(found["functions"])
        if tracking := found.get("tracking"):
            tracking = _known(Tracking, tracking)
            found["tracking"] = Tracking(**tracking | {"uncovered": tuple(tracking["uncovered"])})
        armed = Armed(**found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return armed if armed.boot_id == machine.text("/proc/sys/kernel/random/boot_id") else None


def _known(kind: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """As much of some values as are fields of a dataclass."""
    return {each.name: values[each.name] for each in fields(kind) if each.name in values}


def reports(machine: Machine) -> list[PanicReport]:
    """What the armed program has reported since, the oldest first; after a panic nobody asks any more."""
    pin = machine.path(_REPORTS)
    if not pin.exists():
        return []
    library = LibBpf()
    fd = library.map_fd(pin)
    try:
        require_layout(library.map_info(fd).value_bytes, panic_report.REPORT_BYTES)
        values = [library.look_up(fd, slot, panic_report.REPORT_BYTES) for slot in range(panic_report.REPORTS)]
    finally:
        os.close(fd)
    found = [report for value in values if value is not None and (report := panic_report.decode(value)) is not None]
    return sorted(found, key=lambda report: report.at_ns)


def tracked(machine: Machine) -> PageOwners | None:
    """The table of owners as it is now; None where nothing tracks. Raises NotOffered or OSError."""
    if not is_tracking(machine):
        return None
    try:
        return tracker.read(LibBpf(), machine.path(PINS))
    except Refused as error:
        raise NotOffered(f"the kernel does not tell of its maps: {error}") from error


def is_tracking(machine: Machine) -> bool:
    """Whether a table of owners is kept."""
    return machine.path(PINS / tracker.MAPS[tracker.STATE_MAP]).exists()


def audit(machine: Machine) -> tracker.Audit | None:
    """The table of owners held against its own counters; None where nothing tracks. Raises NotOffered."""
    if not is_tracking(machine):
        return None
    try:
        return tracker.audit(LibBpf(), machine.path(PINS))
    except (Refused, OSError) as error:
        raise NotOffered(f"the kernel does not tell of its programs: {error}") from error


def tracked_beginnings(machine: Machine) -> Beginnings | None:
    """Where the kept stacks begin; None where nothing tracks. Raises NotOffered or OSError."""
    table = tracked(machine)
    return None if table is None else beginnings(machine, table)


def cannot_track(machine: Machine) -> str | None:
    """Why this kernel can never track pages, one clause; None where it can, or root alone could tell."""
    if machine.architecture is None:
        return "there is no program for this architecture"
    if machine.lockdown == "confidentiality":
        return "the kernel is locked down (confidentiality)"
    if not machine.has_types:
        return "the kernel has no type information (CONFIG_DEBUG_INFO_BTF)"
    return "; ".join(tracker.missing_for(machine)) or None


def _load(machine: Machine, options: bytes, program: str, functions: tuple[str, ...], way: str) -> None:
    with LibBpf().open(object_path(machine)) as program_object:
        for each in (*tracker.PROGRAMS, TRY_WALK):
            program_object.leave_out(each)
        if way != "pages":
            program_object.set_entries("oom_counts", 1)
        _load_reporter(machine, program_object, options, program)
        _attach_reporter(machine, program_object, program, functions)


def _load_tracking(
    machine: Machine, options: bytes, program: str, functions: tuple[str, ...], plan: tracker.Plan, *, kprobes: bool
) -> tuple[tuple[str, ...], int]:
    """Load and start tracking; what tracker.start() tells, and what all maps take."""
    library = LibBpf()
    bits = machine.vmcoreinfo.get("NUMBER(SECTION_SIZE_BITS)", "")
    with library.open(object_path(machine)) as program_object:
        section_bits = int(bits) if bits.isdigit() else None
        program_object.leave_out(TRY_WALK)
        tracker.prepare(machine, library, program_object, plan, section_bits, kprobes=kprobes)
        program_object.set_entries("oom_counts", 1)
        _load_reporter(machine, program_object, options, program)
        uncovered = tracker.start(machine, library, program_object, plan, PINS, kprobes=kprobes)
        provoke_allocations(machine)
        if wrong := beginnings(machine, tracker.read(library, machine.path(PINS))).told():
            raise NotOffered(f"tracking does not work on this kernel: {wrong}", advice=_REPORT_IT)
        _attach_reporter(machine, program_object, program, functions)
        return uncovered, program_object.memory_bytes()


def _load_reporter(machine: Machine, program_object: Object, options: bytes, program: str) -> None:
    known = plumbing(machine)
    set_up(program_object, options, program)
    program_object.set_constants(".rodata.culprits", known.options)
    program_object.set_entries(PLUMBING, max(1, len(known.ranges)))
    program_object.load()
    machine.path(PINS).mkdir(mode=0o700)
    program_object.pin_map(panic_report.MAP_NAME, machine.path(_REPORTS))
    program_object.pin_map(PLUMBING, machine.path(PINS / PLUMBING))
    ranges = tracker.map_array(LibBpf(), machine.path(PINS / PLUMBING), "<u8", known.ranges.size, write=True)
    ranges[:] = known.ranges.ravel()


def _attach_reporter(machine: Machine, program_object: Object, program: str, functions: tuple[str, ...]) -> None:
    for number, function in enumerate(functions):
        program_object.attach(program, function, machine.path(PINS / f"link-{number}"))


def _section_bits(machine: Machine) -> int:
    bits = machine.vmcoreinfo.get("NUMBER(SECTION_SIZE_BITS)", "")
    if not bits.isdigit():
        raise NotOffered("the size of a memory section is not told: /proc/kcore has no VMCOREINFO (CONFIG_PROC_KCORE)")
    return int(bits)


def _write_state(machine: Machine, armed: Armed) -> None:
    path = machine.path(STATE)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(armed), indent=1) + "\n")


def _undo(machine: Machine, armed: Armed | None) -> list[str]:
    if is_tracking(machine):
        tracker.stop(machine.path(PINS))
    _unpin(machine)
    told = trace_output.restore(machine, list(armed.settings)) if armed is not None else []
    machine.path(STATE).unlink(missing_ok=True)
    return told


def _links(machine: Machine) -> list[Path]:
    """The pins that hold the programs to where they run."""
    return sorted(machine.path(PINS).glob("link-*"))


def _unpin(machine: Machine) -> None:
    """The links first: without them the programs run no more."""
    pins = machine.path(PINS)
    for pin in [*_links(machine), *(sorted(pins.iterdir()) if pins.exists() else ())]:
        pin.unlink(missing_ok=True)
    if pins.exists():
        pins.rmdir()
