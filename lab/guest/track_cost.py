"""What tracking costs: five loads, each timed in turn without it, in each of its ways, and with bcc's memleak."""

import json
import mmap
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from oomscope.host.bpf import arm, tracker
from oomscope.host.bpf.libbpf import LibBpf
from oomscope.host.facts import Machine
from oomscope.sources.tracker.layout import state_dtype

ROUNDS = 5
PAGES = 4001


def page_faults() -> None:
    """Fresh anonymous memory, touched a page at a time."""
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1


def file_pages() -> None:
    """A new file of tmpfs, written and taken away: pages asked for as those of a disk's files, without a disk."""
    path = Path("/tmp/written")
    with path.open("wb", buffering=0) as file:
        for _ in range(PAGES // 16):
            file.write(bytes(16 * mmap.PAGESIZE))
    path.unlink()


def forks() -> None:
    """Processes that end at once."""
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def sockets() -> None:
    """Objects of many slab caches, taken and given back."""
    pairs = [socket.socketpair() for _ in range(400)]
    for pair in pairs:
        for end in pair:
            end.close()


def messages() -> None:
    """Bytes through a socket: buffers of the network."""
    one, other = socket.socketpair()
    for _ in range(300):
        one.send(bytes(32768))
        left = 32768
        while left:
            left -= len(other.recv(left))
    one.close()
    other.close()


LOADS = (page_faults, file_pages, forks, sockets, messages)


def seconds(load: Callable[[], None]) -> float:
    """One run behind one that warms up."""
    load()
    started = time.perf_counter()
    load()
    return time.perf_counter() - started


def in_a_process(act: Callable[[], object]) -> None:
    """As the command does it."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@contextmanager
def tracked(*, kernel_only: bool = False, idle: bool = False) -> Iterator[None]:
    """One `oomscope arm --track`; when idle, its programs run and return at once: what attaching alone costs."""
    plan = tracker.plan(Machine(), kernel_only=kernel_only)
    in_a_process(lambda: arm.arm(Machine(), top=3, on_kill=False, track=plan))
    if idle:
        state = tracker.map_array(LibBpf(), arm.PINS / "owner_state", state_dtype(), 1, write=True)
        state[0]["ready"] = 0
    yield
    in_a_process(lambda: arm.disarm(Machine()))


@contextmanager
def memleak() -> Iterator[None]:
    """The memleak of bcc over the kernel's allocations, which prints nothing meanwhile."""
    loader = "/opt/peers/ld-linux-x86-64.so.2"
    command = [loader, "--library-path", "/opt/peers", "/opt/peers/memleak-libbpf", "3600"]
    Path("/proc/sys/net/core/bpf_jit_kallsyms").write_text("1")
    before = programs()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        # It says that it is ready into a buffer; its programs have settled when their number does.
        seen = [before]
        while len(seen) < 4 or not before < seen[-1] == seen[-4]:
            assert process.poll() is None
            time.sleep(1)
            seen.append(programs())
        yield
        process.kill()


def programs() -> int:
    """How many programs the kernel has."""
    return Path("/proc/kallsyms").read_text().count(" bpf_prog_")


MODES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "off": nullcontext,
    "page_owner": nullcontext,
    "idle": lambda: tracked(idle=True),
    "kernel-only": lambda: tracked(kernel_only=True),
    "all": tracked,
    "memleak": memleak,
}


def main() -> None:
    """Write the median of each load in each mode, in seconds."""
    modes = sys.argv[2:]
    times: dict[str, dict[str, list[float]]] = {mode: {load.__name__: [] for load in LOADS} for mode in modes}
    for _ in range(ROUNDS):
        for mode in modes:
            with MODES[mode]():
                for load in LOADS:
                    times[mode][load.__name__].append(seconds(load))
    medians = {
        mode: {name: statistics.median(each) for name, each in of_loads.items()} for mode, of_loads in times.items()
    }
    Path(sys.argv[1].replace("/case", "/mnt")).write_text(json.dumps(medians, indent=1))


main()
