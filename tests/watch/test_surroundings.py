from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomscope.watch.surroundings import of_cgroup, of_machine
from tests.support import captures

UID, HEX = "12345678-1234-1234-1234-123456789abc", "0123456789abcdef" * 4
ACCOUNTS = captures.DATA / "accounts/6.12-slab-owners"


def test_what_a_machine_tells_is_read_at_once(tmp_path: Path) -> None:
    """The files whole, for a case; the greatest caches and what matters of meminfo, to be shown."""
    (tmp_path / "proc/pressure").mkdir(parents=True)
    for name in ("slabinfo", "meminfo"):
        (path,) = ACCOUNTS.glob(f"{name}*")
        (tmp_path / "proc" / name).write_bytes(captures.text(path))
    (tmp_path / "proc/pressure/memory").write_text("some avg10=1.00 avg60=0 avg300=0 total=7\n")
    beside = of_machine(tmp_path)
    assert next(iter(beside.slab_bytes)) == "oomlab_object"
    assert list(beside.slab_bytes.values()) == sorted(beside.slab_bytes.values(), reverse=True)
    assert beside.meminfo_kib["MemTotal"] > beside.meminfo_kib["MemFree"] > 0
    assert beside.pressure == {"memory": "some avg10=1.00 avg60=0 avg300=0 total=7"}
    assert set(beside.files) == {"proc/slabinfo", "proc/meminfo", "proc/pressure/memory"}


def test_a_cgroup_is_read_by_the_logs_word_and_no_further(tmp_path: Path) -> None:
    """What climbs out of the mount leads nowhere; one that is gone has its name alone."""
    folder = tmp_path / "sys/fs/cgroup/system.slice/db.service"
    folder.mkdir(parents=True)
    (folder / "memory.stat").write_text("anon 4096\nfile 8192\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/memory.stat").write_text("anon 1\n")
    stat, files = of_cgroup("/system.slice/db.service", tmp_path)
    assert stat == {"anon": 4096, "file": 8192}
    assert set(files) == {"sys/fs/cgroup/system.slice/db.service/memory.stat"}
    assert of_cgroup("/../../../etc", tmp_path) == ({}, {})
    assert of_cgroup("/gone.service", tmp_path) == ({}, {})


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory cgroup of 30 MiB, named as the kubelet names it; not everybody may make one."""
    own = dict(line.strip().split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    below = f"kubepods/burstable/pod{UID}/{HEX}"
    if "memory" in own:
        folder, limit = Path("/sys/fs/cgroup/memory" + own["memory"], below), "memory.limit_in_bytes"
    else:
        folder, limit = Path("/sys/fs/cgroup", below), "memory.max"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(str(30 << 20))
    except OSError:
        pytest.skip("no memory cgroup can be made here: run it as root; the lab's scenario `watch` does the same")
    yield folder
    for each in (folder, *list(folder.parents)[:3]):
        if each.exists() and not list(each.glob("*/")):
            each.rmdir()


def processor_s(pid: int) -> float:
    """What it took so far, in nanoseconds' resolution (/proc/PID/schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read /dev/kmsg and make cgroups")
def test_a_real_oom_names_its_pod(group: Path) -> None:
    """The kernel kills a process here and now: `watch` says why, who, and in which pod, within seconds."""
    command = [sys.executable, "-m", "oomscope", "watch", "--from-now", "--format", "json"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert watch.stdout is not None
    assert watch.stderr is not None
    never = threading.Timer(120, watch.kill)  # a test that fails does not hang
    never.start()
    while b"following" not in watch.stderr.readline():
        assert watch.poll() is None
    eat = f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid())); x = bytearray(100 << 20)"
    eaten = subprocess.run([sys.executable, "-c", eat], check=False)
    try:
        assert eaten.returncode == -signal.SIGKILL
        told = json.loads(watch.stdout.readline())
        time.sleep(7)  # the process that judges ends after 5
        before = processor_s(watch.pid)
        time.sleep(20)
        idle_share = (processor_s(watch.pid) - before) / 20
        status = Path(f"/proc/{watch.pid}/status").read_text()
    finally:
        never.cancel()
        watch.terminate()
        watch.wait(30)
        watch.stdout.close()
        watch.stderr.close()
    assert (told["kind"], told["oom_class"]) == ("oom", "memcg-limit")
    place = told["place"]
    assert (place["pod_uid"], place["container_id"]) == (UID, HEX)
    assert told["surroundings"]["meminfo_kib"]["MemTotal"] > 0
    assert idle_share < 0.001
    resident_kib = int(status.split("VmHWM:")[1].split()[0])
    assert resident_kib < 60 << 10
