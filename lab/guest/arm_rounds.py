"""Arm and disarm a hundred times: what the machine shows before, meanwhile and after; what page faults cost."""

import json
import mmap
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from oomscope.host.bpf import arm, trace_output, tracker
from oomscope.host.facts import Machine

ROUNDS, TRACKED_ROUNDS = 100, 3
SETTLING_S = 30
FAULTS = 4001
MEASURED = 15


def seen(machine: Machine) -> dict[str, object]:
    """What arming could leave behind."""
    tracefs, symbols = str(machine.tracefs), Path("/proc/kallsyms").read_text()
    files = ["tracing_on", "buffer_size_kb", "events/bpf_trace/bpf_trace_printk/enable", "set_event"]
    return {
        "settings": {name: machine.text(f"{tracefs}/{name}") for name in files}
        | {name: machine.text(f"/proc/sys/kernel/{name}") for name in ("ftrace_dump_on_oops", "tracepoint_printk")},
        "pins": sorted(str(path) for path in Path("/sys/fs/bpf").rglob("*")),
        "state": sorted(str(path) for path in Path("/run/oomscope").glob("*")),
        "kprobes": machine.text("/sys/kernel/debug/kprobes/list"),
        "programs": symbols.count(" bpf_prog_"),
        "trampolines": symbols.count(" bpf_trampoline_"),
    }


def in_a_process(act: Callable[[], object]) -> None:
    """As the command does it: what is to stay must stay without the process that did it."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def armed() -> None:
    """One `oomscope arm`."""
    in_a_process(lambda: arm.arm(Machine(), top=3, on_kill=False))


def tracked() -> None:
    """One `oomscope arm --track`."""
    plan = tracker.plan(Machine(), kernel_only=False)
    in_a_process(lambda: arm.arm(Machine(), top=3, on_kill=False, track=plan))


def disarmed() -> None:
    """One `oomscope disarm`."""
    in_a_process(lambda: arm.disarm(Machine()))


def seconds_of_faults() -> float:
    """The time of so many page faults of this process, the second time: the first one finds the caches cold."""
    _faults()
    return _faults()


def _faults() -> float:
    memory = mmap.mmap(-1, FAULTS * mmap.PAGESIZE)
    started = time.perf_counter()
    for at in range(0, len(memory), mmap.PAGESIZE):
        memory[at] = 1
    took = time.perf_counter() - started
    memory.close()
    return took


def main() -> None:
    """Write what was seen."""
    machine = Machine()
    Path("/proc/sys/net/core/bpf_jit_kallsyms").write_text("1")
    armed()
    disarmed()
    before = seen(machine)
    idle, meanwhile = [], []
    for _ in range(MEASURED):
        idle.append(seconds_of_faults())
        armed()
        meanwhile.append(seconds_of_faults())
        while_armed = seen(machine)
        disarmed()
    for _ in range(ROUNDS):
        armed()
        disarmed()
    after = seen(machine)
    for _ in range(TRACKED_ROUNDS):
        tracked()
        while_tracked = seen(machine)
        disarmed()
    for _ in range(SETTLING_S):  # the kernel frees a trampoline when no task can be in it any more
        if (after_tracking := seen(machine)) == before:
            break
        time.sleep(1)
    Path(sys.argv[1].replace("/case", "/mnt")).write_text(
        json.dumps(
            {
                "rounds": ROUNDS,
                "before": before,
                "armed": while_armed,
                "after": after,
                "tracked": while_tracked,
                "after_tracking": after_tracking,
                "needed": [setting.path for setting in trace_output.needed(machine)],
                "fault_ns_idle": statistics.median(idle) / FAULTS * 1e9,
                "fault_ns_armed": statistics.median(meanwhile) / FAULTS * 1e9,
            },
            indent=1,
        )
    )


main()
