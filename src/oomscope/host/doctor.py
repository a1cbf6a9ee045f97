"""Will you know who ate it, next time? One check, one function: what was found, why it matters, what mends it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from oomscope.errors import NotOffered
from oomscope.host.bpf import arm, requirements, trace_output
from oomscope.host.bpf.libbpf import LibBpf
from oomscope.host.crash_kernel import needed_bytes, reserved_bytes
from oomscope.host.distribution import boot_option, crash_kernel
from oomscope.host.facts import Machine, PageOwnerState
from oomscope.host.kdump import arming as kdump_arming
from oomscope.units import bytes_text

# A level below this one is what printk() uses by itself (include/linux/kern_levels.h).
_DEFAULT_MESSAGE_LEVEL = 4
# makedumpfile -d 31 -c leaves a tenth of RAM or less; kdump scripts differ.
_DUMP_SHARE = 10
_CRASH_FOLDER = "/var/crash"
_STEP_OF_CRASH_KERNEL_BYTES = 64 << 20
# Consoles that somebody else records: serial lines and hypervisors'.
_LINES = ("ttyS", "ttyAMA", "ttyO", "ttymxc", "ttyMSM", "hvc", "ttysclp")
TRACK = "oomscope arm --track"
_NETCONSOLE = "/sys/kernel/config/netconsole"


class State(Enum):
    """How a check ended."""

    OK = "ok"
    MISSING = "missing"
    BETTER = "could be better"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `mend` is the exact command, or the boot option; None where nothing is to do."""

    name: str
    state: State
    found: str
    why: str
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks, and whether an OOM panic of this machine would be explained: by whom, or why not."""

    checks: tuple[Check, ...]
    explained: bool
    because: str


def diagnose(machine: Machine) -> Diagnosis:
    """Examine a machine. What only root may see is unknown to others."""
    checks = tuple(check(machine) for check in _CHECKS)
    state = {check.name: check.state for check in checks}
    tracking = arm.status(machine)
    if state["page_owner"] is not State.OK and (tracking is None or tracking.tracking is None):
        return Diagnosis(checks, False, "nobody records who allocates pages (page_owner)")
    if state["kdump"] is State.OK:
        return Diagnosis(checks, True, "kdump keeps the memory: oomscope explain /var/crash/.../vmcore")
    if state["armed"] is not State.OK:
        return Diagnosis(checks, False, "nothing reports or keeps it: neither armed, nor kdump")
    if State.OK not in (state["console"], state["pstore"]):
        return Diagnosis(checks, False, "it is armed, and what it prints reaches neither a console nor pstore")
    return Diagnosis(checks, True, "it is armed: the console and what keeps it (pstore) name the greatest consumers")


def page_owner(machine: Machine) -> Check:
    """Whether stacks are recorded, and what that costs."""
    state = machine.page_owner
    why = "the kernel records the stack of every page only with page_owner=on"
    if state is PageOwnerState.ON and _keeps_no_stacks(machine):
        # lib/stackdepot.c: Android's GKI has it on its built-in command line; of two the later one counts.
        found = "on, and no stack is kept (stack_depot_disable=on): its file is empty"
        return Check("page_owner", State.MISSING, found, why, boot_option(machine, "stack_depot_disable=off"))
    if state is PageOwnerState.ON:
        return Check("page_owner", State.OK, "on", why)
    status = arm.status(machine)
    if status is not None and status.tracking is not None:
        return Check("page_owner", State.BETTER, f"{state.value}; pages are tracked instead", why)
    if state is PageOwnerState.NOT_BUILT:
        if arm.cannot_track(machine) is None:
            return Check("page_owner", State.MISSING, "not built in; pages can be tracked without it", why, TRACK)
        found = f"not built in; pages cannot be tracked either: {arm.cannot_track(machine)}"
        return Check("page_owner", State.MISSING, found, why, "a kernel with CONFIG_PAGE_OWNER=y")
    cost = machine.page_owner_cost_bytes
    told = "" if cost is None else f"; it would take {bytes_text(cost)} here"
    instead = "" if arm.cannot_track(machine) else f", or without a reboot: {TRACK}"
    return Check("page_owner", State.MISSING, f"off{told}{instead}", why, boot_option(machine, "page_owner=on"))


def _keeps_no_stacks(machine: Machine) -> bool:
    return machine.boot_option("stack_depot_disable") in ("on", "1", "y", "Y")


def types(machine: Machine) -> Check:
    """The kernel's own type information."""
    why = "arm, and reading dumps without debug info, take the kernel's types from it"
    if machine.has_types:
        return Check("BTF", State.OK, "/sys/kernel/btf/vmlinux is there", why)
    return Check("BTF", State.MISSING, "not there", why, "a kernel with CONFIG_DEBUG_INFO_BTF=y")


def symbols(machine: Machine) -> Check:
    """Names and addresses of kernel symbols, data too."""
    why = "arm finds page_owner's lists by their names"
    if not machine.symbols:
        return Check("kallsyms", State.MISSING, "no symbols", why, "a kernel with CONFIG_KALLSYMS=y")
    if machine.hides_addresses:
        hidden = machine.text("/proc/sys/kernel/kptr_restrict")
        if hidden != "2" and not machine.is_root:
            return Check("kallsyms", State.UNKNOWN, "addresses are hidden from this user", why, "run doctor as root")
        return Check("kallsyms", State.MISSING, "addresses are hidden", why, "sysctl kernel.kptr_restrict=1")
    if "max_pfn" not in machine.symbols:
        return Check("kallsyms", State.MISSING, "no data symbols", why, "a kernel with CONFIG_KALLSYMS_ALL=y")
    return Check("kallsyms", State.OK, f"{len(machine.symbols):,} symbols", why)


def programs(machine: Machine) -> Check:
    """Whether the kernel takes the program."""
    why = "the report is a BPF program; integrity, which Secure Boot sets, lets it be, confidentiality does not"
    if machine.lockdown == "confidentiality":
        return Check(
            "BPF", State.MISSING, "locked down: confidentiality", why, boot_option(machine, "lockdown=integrity")
        )
    lacking = {way: requirements.missing_for(machine, way) for way in requirements.WAYS}
    ways = [way for way, missing in lacking.items() if not missing]
    if arm.cannot_track(machine) is None:
        ways.append("tracking")
    if not ways:
        return Check("BPF", State.MISSING, "; ".join(lacking["pages"]), why, "kdump, and oomscope explain vmcore")
    if not requirements.has_bpffs(machine):
        return Check("BPF", State.MISSING, "no bpffs", why, f"mount -t bpf bpf {requirements.BPFFS}")
    try:
        requirements.object_path(machine)
        LibBpf()
    except NotOffered as error:
        return Check("BPF", State.MISSING, str(error), why, error.advice)
    lockdown = f", lockdown {machine.lockdown}" if machine.lockdown not in (None, "none") else ""
    return Check("BPF", State.OK, f"ways to count: {', '.join(ways)}{lockdown}", why)


def armed(machine: Machine) -> Check:
    """Whether the reporter is in place."""
    why = "at an OOM panic the console itself names the greatest memory consumers"
    state = arm.status(machine)
    if state is None and arm.is_half(machine):
        return Check("armed", State.MISSING, arm.HALF, why, "oomscope disarm")
    if state is None:
        return Check("armed", State.MISSING, "no", why, _command(machine))
    functions = ", ".join(f"{function}()" for function in state.functions)
    return Check("armed", State.OK, f"on {functions}", why)


def _command(machine: Machine) -> str:
    """What arms this machine, now or after its next boot."""
    if machine.page_owner is PageOwnerState.ON:
        return "oomscope arm"
    if arm.cannot_track(machine) is None:
        return TRACK
    if machine.page_owner is PageOwnerState.OFF:
        return f"{boot_option(machine, 'page_owner=on')}, then oomscope arm"
    return "a kernel with CONFIG_PAGE_OWNER=y, then oomscope arm"


def trace(machine: Machine) -> Check:
    """The way of the lines from the trace buffer to the log."""
    why = "what the program prints lands in the trace buffer; one of these two brings it into the kernel log"
    if trace_output.prints_at_once(machine):
        return Check("trace", State.OK, "tp_printk: lines go to the log at once", why)
    setting = machine.text(trace_output.DUMP)
    if setting in (None, "", "0"):
        return Check("trace", State.MISSING, "panic() does not print it", why, "oomscope arm")
    if events := trace_output.events_in_the_way(machine):
        tracefs = machine.tracefs
        found = f"{len(events)} trace events of others are on, and would stand between the lines"
        return Check("trace", State.BETTER, found, why, f"echo > {tracefs}/set_event")
    return Check("trace", State.OK, f"kernel.ftrace_dump_on_oops={setting}", why)


def console(machine: Machine) -> Check:
    """Whether somebody sees the kernel's last words, and all of them."""
    why = "a dying kernel has nothing but its consoles"
    consoles = [line.split()[0] for line in (machine.text("/proc/consoles") or "").splitlines() if line]
    real = [
        name for name in consoles if name.startswith(_LINES) or (name.startswith("netcon") and _has_target(machine))
    ]
    if not real:
        found = f"no serial or network console ({', '.join(consoles) or 'none at all'})"
        return Check("console", State.BETTER, found, why, boot_option(machine, "console=ttyS0"))
    levels = (machine.text("/proc/sys/kernel/printk") or "").split()
    if trace_output.prints_at_once(machine) and levels and int(levels[0]) <= _DEFAULT_MESSAGE_LEVEL:
        found = f"level {levels[0]} keeps the lines off {', '.join(real)}"
        return Check("console", State.MISSING, found, why, "sysctl kernel.printk=7")
    return Check("console", State.OK, ", ".join(real), why)


def _has_target(machine: Machine) -> bool:
    """Netconsole registers its console before it has anybody to send to."""
    targets = machine.path(_NETCONSOLE).glob("*/enabled")
    return machine.boot_option("netconsole") is not None or any(target.read_text().strip() == "1" for target in targets)


def panic(machine: Machine) -> Check:
    """What happens after the panic, and when there is one."""
    when = {"0": "when nobody is left to kill", "1": "at any system-wide OOM", "2": "at any OOM, cgroups too"}
    on_oom = machine.text("/proc/sys/vm/panic_on_oom") or "0"
    timeout = machine.text("/proc/sys/kernel/panic") or "0"
    why = "without a timeout the machine stays dead until somebody comes"
    found = f"{when.get(on_oom, on_oom)}; " + (f"reboots after {timeout} s" if timeout != "0" else "stays dead")
    if timeout == "0":
        return Check("panic", State.BETTER, found, why, "sysctl kernel.panic=10")
    return Check("panic", State.OK, found, why)


def pstore(machine: Machine) -> Check:
    """Whether the console outlives a reboot in a place of its own."""
    why = "pstore keeps the last kernel log over a reboot: oomscope explain --last-crash"
    backend = machine.text("/sys/module/pstore/parameters/backend")
    if backend in (None, "", "(null)"):
        return Check(
            "pstore", State.BETTER, "no backend", why, "boot options of ramoops (memmap=, ramoops.mem_address=)"
        )
    if not requirements.is_mounted(machine, "/sys/fs/pstore", "pstore"):
        return Check("pstore", State.MISSING, f"{backend}, not mounted", why, "mount -t pstore pstore /sys/fs/pstore")
    return Check("pstore", State.OK, str(backend), why)


def kdump(machine: Machine) -> Check:
    """Whether a crash kernel is loaded, and there is room for its dump."""
    why = "a dump answers everything: every page, every cache, growth"
    if machine.text("/sys/kernel/kexec_crash_loaded") != "1":
        return Check(
            "kdump",
            State.BETTER,
            "no crash kernel is loaded",
            why,
            crash_kernel(machine),
        )
    ram_bytes = machine.ram_bytes
    folder = machine.path(_CRASH_FOLDER)
    if ram_bytes is not None and folder.exists():
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < ram_bytes // _DUMP_SHARE:
            found = f"loaded; {_CRASH_FOLDER} has {bytes_text(free_bytes)} free"
            return Check("kdump", State.MISSING, found, why, f"make room in {_CRASH_FOLDER}")
    return _room_of_crash_kernel(machine, why)


def _room_of_crash_kernel(machine: Machine, why: str) -> Check:
    """A crash kernel that runs out of memory itself leaves no dump."""
    reserved, needed = reserved_bytes(machine), needed_bytes(machine)
    if reserved is None:
        return Check("kdump", State.OK, "a crash kernel is loaded", why)
    found = f"a crash kernel is loaded, in {bytes_text(reserved)}"
    if needed is None or needed <= reserved:
        return Check("kdump", State.OK, found, why)
    wanted_mib = -(-needed // _STEP_OF_CRASH_KERNEL_BYTES) * (_STEP_OF_CRASH_KERNEL_BYTES >> 20)
    mend = boot_option(machine, f"crashkernel={wanted_mib}M")
    return Check("kdump", State.BETTER, f"{found}; it needs about {bytes_text(needed)}", why, mend)


def crash_reader(machine: Machine) -> Check:
    """Whether the crash kernel itself says who held the memory, and its plan is of this kernel."""
    why = "the crash kernel can say who held the memory before it saves the dump, or where it cannot"
    try:
        armed = kdump_arming.status(machine)
    except NotOffered as damaged:
        return Check("crash reader", State.MISSING, str(damaged), why, damaged.advice)
    if armed is not None and not kdump_arming.fits(machine, armed):
        found = f"its plan is of {armed.release}, or of another build of it"
        return Check("crash reader", State.MISSING, found, why, "oomscope arm --kdump=plan")
    if armed is not None:
        return Check("crash reader", State.OK, f"{armed.system}, {armed.release}", why)
    if machine.text("/sys/kernel/kexec_crash_loaded") != "1":
        return Check("crash reader", State.BETTER, "no crash kernel is loaded", why)
    tracking = arm.status(machine)
    if machine.page_owner is PageOwnerState.ON or (tracking is not None and tracking.tracking is not None):
        return Check("crash reader", State.BETTER, "not armed", why, "oomscope arm --kdump")
    return Check("crash reader", State.BETTER, "not armed, and nobody records who allocates pages", why)


def profiling(machine: Machine) -> Check:
    """Allocation profiling, which also knows who holds slab objects."""
    why = "with it slab objects have owners, too (6.10 and later)"
    if machine.text("/proc/sys/vm/mem_profiling") == "1":
        return Check("allocation profiling", State.OK, "on", why)
    if "alloc_tag_init" not in machine.symbols and machine.text("/proc/sys/vm/mem_profiling") is None:
        return Check(
            "allocation profiling", State.BETTER, "not built in", why, "a kernel with CONFIG_MEM_ALLOC_PROFILING=y"
        )
    return Check("allocation profiling", State.BETTER, "off", why, "sysctl vm.mem_profiling=1")


def kills(machine: Machine) -> Check:
    """Whether the kernel has killed for memory since boot: what is left to know where a process ended with 137."""
    why = "exit code 137 is a kill by anybody; this counter tells whether the kernel killed for memory (4.13 and later)"
    counters = dict(line.split(None, 1) for line in (machine.text("/proc/vmstat") or "").splitlines() if " " in line)
    if "oom_kill" not in counters:
        return Check("OOM kills", State.UNKNOWN, "this kernel does not count them", why)
    count = int(counters["oom_kill"])
    if not count:
        return Check("OOM kills", State.OK, "none since boot", why)
    return Check("OOM kills", State.BETTER, f"{count:,} since boot", why, "dmesg | oomscope explain - --all")


def journal(machine: Machine) -> Check:
    """Whether the kernel's log of a kill outlives the ring buffer and the boot."""
    why = "a kill is told in the kernel log alone, which is a ring: what nobody keeps is written over"
    if machine.path("/var/log/journal").is_dir():
        return Check("log", State.OK, "the journal is kept on disk", why)
    if any(machine.path(path).exists() for path in ("/var/log/kern.log", "/var/log/messages", "/var/log/syslog")):
        return Check("log", State.OK, "a syslog keeps it", why)
    return Check(
        "log", State.BETTER, "nobody keeps it", why, "mkdir /var/log/journal; systemctl restart systemd-journald"
    )


_CHECKS: tuple[Callable[[Machine], Check], ...] = (
    page_owner,
    types,
    symbols,
    programs,
    armed,
    trace,
    console,
    panic,
    pstore,
    kdump,
    crash_reader,
    profiling,
    kills,
    journal,
)
