"""What names a machine, its tasks, units and users is in no file of a redacted archive, and the answer is the same."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import oomscope
from fuzz.packed import tar_of
from oomscope.errors import OomscopeError, OutputFailed
from oomscope.host.collect import MANIFEST, PAGE_OWNER, SHOW_STACKS, collect
from oomscope.redaction.files import redact
from oomscope.redaction.text import Redactor
from tests.support import captures
from tests.support.archives import kmsg, members, put

# Lines of a kernel's log as it prints them (the function that does), each with what must not be left of it.
LOG_LINES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Linux version 6.12.9 (alice@buildhost7) (gcc 14) #1 SMP", ("alice", "buildhost7")),  # init/version.c
    ("Command line: BOOT_IMAGE=/vmlinuz token=Tok1", ("Tok1",)),  # arch/*/kernel/setup.c
    ("Kernel command line: token=Tok2 \\", ("Tok2",)),  # init/main.c print_kernel_cmdline()
    ("    and=Tok3", ("Tok3",)),
    ('Unknown kernel command line parameters "quiet pw=Tok4", will be passed to user space.', ("Tok4",)),  # init/main.c
    ("Run /opt/acme/bootinit as init process", ("acme", "bootinit")),  # init/main.c run_init_process()
    ("  with arguments:", ()),
    ("    --key=Tok5", ("Tok5",)),
    ("  with environment:", ()),
    ("    API_TOKEN=Tok6", ("Tok6",)),
    ("paybatch invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0", ("paybatch",)),
    ("paycpuset cpuset=payunit1.scope mems_allowed=0", ("paycpuset", "payunit1")),  # kernel/cgroup/cpuset.c
    ("CPU: 0 UID: 0 PID: 7 Comm: paycomm Not tainted 6.12.9 #1", ("paycomm",)),  # lib/dump_stack.c
    ("[    123]  1000   123     5555     2000    40960        0             0 payrow", ("payrow",)),  # dump_task()
    (
        (
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=payunit2,mems_allowed=0,oom_memcg=/kubepods/podpay3,"
            "task_memcg=/system.slice/payunit4.service,task=paytask,pid=9,uid=0"
        ),
        ("payunit2", "podpay3", "payunit4", "paytask"),
    ),
    ("Memory cgroup stats for /system.slice/payunit5.service:", ("payunit5",)),
    ("Task in /payunit6 killed as a result of limit of /payunit7", ("payunit6", "payunit7")),
    ("Tasks in /payunit8 are going to be killed due to memory.oom.group set", ("payunit8",)),
    ("Out of memory: Killed process 9 (payvictim) total-vm:1kB, anon-rss:1kB, file-rss:0kB", ("payvictim",)),
    ("Out of memory: Kill process 9 (payannounced) score 9 or sacrifice child", ("payannounced",)),
    ("oom_reaper: reaped process 9 (payreaped), now anon-rss:0kB", ("payreaped",)),
    ("paysegv[77]: segfault at 0 ip 00 sp 00 error 4 in libpay.so[7f00+1000]", ("paysegv", "libpay")),  # fault.c
    ("traps: paytrap[78] trap divide error ip:1 sp:2 error:0 in paybin[5000+1000]", ("paytrap", "paybin")),
    ("INFO: task payhung:99 blocked for more than 120 seconds.", ("payhung",)),  # kernel/hung_task.c
    ("task:paystate        state:D stack:0     pid:99", ("paystate",)),  # kernel/sched/core.c sched_show_task()
    ("process 'payargv' launched '/opt/acme/x' with NULL argv: empty string added", ("payargv", "acme")),  # fs/exec.c
    ("BUG: Bad page state in process paybad  pfn:12345", ("paybad",)),  # mm/page_alloc.c bad_page()
    ("BUG: Bad page map in process paymap  pte:00 pmd:00", ("paymap",)),  # mm/memory.c
    ("paystack used greatest stack depth: 12345 bytes left", ("paystack",)),  # kernel/exit.c
    ("paydrop (123): drop_caches: 3", ("paydrop",)),  # fs/drop_caches.c
    ("payvmem: vmemmap alloc failure: order:9, mode:0xcc0(GFP_KERNEL)", ("payvmem",)),  # mm/sparse-vmemmap.c
    ("payfail: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL)", ("payfail",)),
    ("payvmal: vmalloc error: size 4096, page order 0, failed to allocate pages", ("payvmal",)),
    ('audit: type=1400 audit(1.1:1): apparmor="DENIED" comm="payaudit" exe="/opt/acme/y"', ("payaudit", "acme")),
    ("BUG: KASAN: slab-use-after-free in foo+0x1/0x2 by task paykasan/77", ("paykasan",)),
    ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [paylock:123]", ("paylock",)),  # kernel/watchdog.c
    ("eth0: link up, 00:16:3e:aa:bb:01, 10.20.30.40, fe80::216:3eff:feaa:bb01", ("3e:aa", "10.20.30", "feaa")),
    ("NFS: server nas7.corp.acme-bank.com not responding, timed out", ("nas7", "acme-bank")),
    ("usb 1-1: SerialNumber: SN99XYZ", ("SN99XYZ",)),  # drivers/usb/core/hub.c
    ("usb 1-1: Product: Alice's phone", ("Alice",)),
    ("EXT4-fs (sda1): mounted filesystem 01234567-89ab-cdef-0123-456789abcdef r/w", ("89ab-cdef",)),
    ("wlan0: associate with 00:16:3e:aa:bb:02 (ssid PayWifi)", ("PayWifi", "bb:02")),
    ("scsi 3:0:0:0: iqn.2004-10.com.acme:disk.pay1", ("acme", "pay1")),
    ("Loaded X.509 cert 'Acme Bank: Secure Boot: 12345'", ("Acme",)),
    ("ata1.00: model X, serial number: WD-PAY123", ("WD-PAY123",)),
    ("EXT4-fs error (device dm-3): ext4_lookup:1234: inode #2: comm payext: deleted inode", ("payext",)),
    ("OOM victim 77 (payvictim2) is already exiting. Skip killing the task", ("payvictim2",)),  # mm/oom_kill.c
    ("CPU: 1 PID: 12 Comm: payold 2.6.18-8.el5 #1", ("payold",)),
    ("Task in /paya payb killed as a result of limit of /payc payd", ("payb", "payd")),
    ("nfs: server payfiler not responding, still trying", ("payfiler",)),  # net/sunrpc, fs/lockd
    ("overlayfs: upperdir=/home/payuser/x is in-use", ("payuser",)),
    ("x86/split lock detection: #AC: paysplit/1234 took a split_lock trap at address: 0x1", ("paysplit",)),
    ("paydep/1234 is trying to acquire lock:", ("paydep",)),  # kernel/locking/lockdep.c
    ("EXT4-fs (payvg-paylv): mounted filesystem r/w", ("payvg", "paylv")),
    ("XFS (payvg2-root): Mounting V5 Filesystem", ("payvg2",)),
    ("BTRFS: device label paylabel devid 1 transid 5 /dev/sda1", ("paylabel",)),
    ("random: payrandom: uninitialized urandom read (16 bytes read)", ("payrandom",)),
    ("CIFS: VFS: \\\\paynas\\payshare error -13", ("paynas", "payshare")),  # fs/smb/client
    ("ll header: 00000000: 50 41 59 4d 41 43 00 16 3e aa bb 03 08 00", ("4d 41 43", "aa bb 03")),  # net/ipv4/route.c
    ("eth0: PAYHOST.corp.acme-bank.com is here", ("PAYHOST",)),
)
HOST = "payhost"
# Files of /proc and debugfs, a line each.
ACCOUNTS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "/proc/version": (b"Linux version 6.12.9 (bob@buildhost8) (gcc 14) #1 SMP\n", ("bob@", "buildhost8")),
    "/proc/slabinfo": (
        b"slabinfo - version: 2.1\nkmalloc-64(77:payunit9.service) 1 2 64 64 1 : tunables 0 0 0 : slabdata 7 7 0 \n",
        ("payunit9",),
    ),
    "/sys/kernel/debug/dma_buf/bufinfo": (
        (
            b"\nDma-buf Objects:\nsize\tflags\tmode\tcount\texp_name\tino\tname\n"
            b"00004096\t00000002\t00080007\t00000002\texporter\t00000042\tpaybuffer\n\nTotal 1 objects, 4096 bytes\n"
        ),
        ("paybuffer",),
    ),
    "/sys/kernel/debug/kmemleak": (
        (
            b'unreferenced object 0xffff888100000000 (size 64):\n  comm "payleak", pid 77, jiffies 42 (age 1.000s)\n'
            b"  backtrace:\n    kmalloc_x+0x1/0x2\n"
        ),
        ("payleak",),
    ),
    "/proc/cmdline": (b"quiet token=Tok7\n", ("Tok7",)),
}
PAGE_OWNER_RECORD = (
    b"Page allocated via order 0, mask 0xcc0(GFP_KERNEL), pid 77, tgid 77 (payowner), ts 9000000 ns\n"
    b"PFN 0x1 type Unmovable Block 0 type Unmovable Flags 0x0(node=0|zone=1)\n take_page+0x1/0x2 [oomlab]\n"
    b"Charged to memcg payunit10.scope\n\n"
    b"Page allocated via order 0, mask 0xcc0(GFP_KERNEL), pid 77 (payoldowner), ts 9000000 ns, free_ts 8000000 ns\n"
    b"PFN 0x2 type Unmovable Block 0 type Unmovable Flags 0x0(node=0|zone=1)\n take_page+0x1/0x2 [oomlab]\n"
    b"Charged to offlined memcg libpod-payunit11.\n\n"
)
SECRETS = [
    *(secret for _, secrets in LOG_LINES for secret in secrets),
    *(secret for _, secrets in ACCOUNTS.values() for secret in secrets),
    "payowner",
    "payoldowner",
    "payunit10",
    "payunit11",
    "password of alice",
    "paysyslog",
]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a living 6.12, as captured, with secrets planted wherever a kernel prints names."""
    monkeypatch.setattr("socket.gethostname", lambda: HOST)
    monkeypatch.setattr("socket.getfqdn", lambda: f"{HOST}.corp.acme-bank.com")
    root = tmp_path / "machine"
    put(root, "/proc/meminfo", (captures.CASE_6_12 / "meminfo").read_bytes())
    put(root, SHOW_STACKS, captures.text(captures.SHOW_STACKS))
    put(root, PAGE_OWNER, captures.text(captures.AFTER_6_12) + PAGE_OWNER_RECORD)
    log = captures.text(captures.CONSOLE_6_12) + "".join(f"[   99.000000] {line}\n" for line, _ in LOG_LINES).encode()
    put(root, "/dev/kmsg", kmsg(log) + b"30,90000,900000,-;sshd[77]: password of alice\n _PID=77\n")
    for path, (text, _) in ACCOUNTS.items():
        put(root, path, text)
    return root


def left(archive: Path) -> dict[str, list[str]]:
    """Secrets that are in an archive still, by file; names of files count, too."""
    texts = members(archive)
    whole = {name: name.encode() + b"\n" + text for name, text in texts.items() if name != MANIFEST}
    return {name: found for name, text in whole.items() if (found := [s for s in SECRETS if s.encode() in text])}


def answer(archive: Path) -> tuple[object, ...]:
    verdict = oomscope.explain(archive)
    assert verdict.greatest is not None
    assert verdict.oom is not None
    return verdict.greatest.pages, verdict.culprits, verdict.ram_pages, verdict.oom.oom_class, len(verdict.events)


@pytest.mark.slow
def test_forty_kinds_of_names_are_in_no_file(machine: Path, tmp_path: Path) -> None:
    """`collect --redact`: each is in the plain archive, none in the redacted one, and both explain alike."""
    plain, redacted = tmp_path / "plain.tar.zst", tmp_path / "redacted.tar.zst"
    collect(plain, version="1", root=machine, page_owner=True)
    collect(redacted, version="1", root=machine, page_owner=True, redact=True)
    assert len(LOG_LINES) + len(ACCOUNTS) > 40
    assert {secret for found in left(plain).values() for secret in found} == set(SECRETS) - {"paysyslog"}
    assert left(redacted) == {}
    assert answer(redacted) == answer(plain)


@pytest.mark.slow
def test_an_archive_that_exists_is_redacted_as_a_new_one_is(machine: Path, tmp_path: Path) -> None:
    """`oomscope redact ARCHIVE`; files of no known kind are left out and named."""
    plain = tmp_path / "plain.tar.zst"
    (machine / "etc").mkdir()
    collect(plain, version="1", root=machine, page_owner=True)
    redacted = tmp_path / "redacted.tar.zst"
    done = subprocess.run(
        [sys.executable, "-m", "oomscope", "redact", str(plain), "-o", str(redacted)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "left out: " in done.stderr
    assert left(redacted) == {}
    assert redacted.stat().st_mode & 0o777 == 0o600
    assert answer(redacted) == answer(plain)


@pytest.mark.parametrize("collector", ["dmesg", "syslog", "quoted", "kmsg"])
def test_a_log_of_any_collector_is_redacted(collector: str, tmp_path: Path) -> None:
    """Prefixes stay, names go; the events are the same ones."""
    lines = captures.text(captures.CONSOLE_6_12).decode(errors="replace").splitlines()
    lines += [f"[   99.000000] {line}" for line, _ in LOG_LINES]
    text = {
        "dmesg": "\n".join(lines),
        "syslog": "\n".join(f"Nov 16 18:04:31 paysyslog kernel: {line}" for line in lines)
        + "\nNov 16 18:04:32 paysyslog sshd[7]: password of alice",
        "quoted": "\n".join(f"> {line}" for line in lines),
        "kmsg": kmsg("\n".join(lines).encode()).decode(),
    }[collector]
    path = tmp_path / "log"
    path.write_text(text + "\n")
    out = io.BytesIO()
    redact(path, out)
    assert [secret for secret in SECRETS if secret.encode() in out.getvalue()] == []
    (tmp_path / "redacted").write_bytes(out.getvalue())
    before, after = oomscope.explain(path), oomscope.explain(tmp_path / "redacted")
    assert [e.oom_class for e in after.events] == [e.oom_class for e in before.events]
    assert after.balance == before.balance


def test_every_report_of_the_corpus_keeps_its_class(tmp_path: Path) -> None:
    """Redaction takes names only: what the kernel printed of memory is there still."""
    for path in sorted((captures.DATA / "corpus").glob("*.zst"))[::4]:
        out = io.BytesIO()
        redact(path, out)
        (tmp_path / "log").write_bytes(out.getvalue())
        try:
            before = oomscope.explain(path)
        except OomscopeError:
            continue
        after = oomscope.explain(tmp_path / "log")
        assert before.oom is not None
        assert after.oom is not None
        assert after.oom.oom_class == before.oom.oom_class, path.name
        assert after.oom.certainty == before.oom.certainty, path.name


def test_one_name_is_one_word() -> None:
    """A task that asks, is killed and is reaped is the same task after redaction; a kernel thread keeps its name."""
    text = Redactor().log(
        b"[1.000000] a b invoked oom-killer: gfp_mask=0x0, order=0\n"
        b"[1.000000] Out of memory: Killed process 7 (a b) total-vm:1kB\n"
        b"[1.000000] kworker/u8:3 invoked oom-killer: gfp_mask=0x0, order=0\n"
    )
    assert text.count(b"task-1") == 2
    assert b"kworker/u8:3 invoked" in text


@pytest.mark.parametrize("path", ["core", "folder"])
def test_what_cannot_be_looked_through_is_refused(path: str, tmp_path: Path) -> None:
    """A core dump and a folder, each in a sentence."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "core").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\x00" + bytes(300))
    with pytest.raises(OomscopeError):
        redact(tmp_path / path, io.BytesIO())


def test_nothing_is_left_behind_by_a_signal(machine: Path, tmp_path: Path) -> None:
    """SIGTERM and SIGHUP while `collect` writes: neither the archive nor a part of it is there."""
    shutil.rmtree(machine / "proc")
    script = (
        "import os, signal, sys, threading\n"
        "from pathlib import Path\n"
        "import oomscope.host.collect as c\n"
        "from oomscope.cli.signals import unwinding\n"
        "n = int(sys.argv[3])\n"
        "real = c._add\n"
        "def add(*args):\n"
        "    real(*args)\n"
        "    os.kill(os.getpid(), n)\n"
        "c._add = add\n"
        "with unwinding():\n"
        "    c.collect(Path(sys.argv[1]), version='1', root=Path(sys.argv[2]))\n"
    )
    folder = tmp_path / "out"
    folder.mkdir()
    for number in (1, 15):
        command = [sys.executable, "-c", script, str(folder / "case.tar.zst"), str(machine), str(number)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 128 + number
        assert list(folder.iterdir()) == []


def test_a_host_before_a_line_without_a_stamp_is_learnt() -> None:
    """As collectors cut it; logread's facility is no host."""
    text = Redactor().log(
        b"PAYHOST kernel: a invoked oom-killer: gfp_mask=0x0\nPAYHOST kernel: of payhost\n"
        b"Mon Jan  1 10:00:00 2018 kern.err kernel: [ 1.0] out of memory\n"
    )
    assert b"PAYHOST" not in text
    assert b"of host" in text
    assert b"kern.err kernel: [ 1.0] out of memory" in text


def test_a_member_keeps_no_name_but_the_kernels() -> None:
    """No folder of anybody's, no way out of where it is unpacked."""
    names = [
        ("x/sys/../../../../etc/cron.d/zz", "kernel log"),
        ("payuser/home/proc/paycustomer/payhost.log", "kernel log"),
        ("case/proc/slabinfo", "slabinfo"),
    ]
    redactor = Redactor()
    made = [redactor.member_name(name, form, n) for n, (name, form) in enumerate(names)]
    assert made == ["000-kernel-log", "001-kernel-log", "proc/slabinfo"]


def test_many_hosts_and_hosts_of_no_name_cost_no_more() -> None:
    """A host for every line; an address in a host's place; half a character."""
    lines = b"".join(b"Nov 16 18:04:31 h%06x kernel: hello h%06x 10 times\n" % (n, n) for n in range(3000))
    started = time.process_time()
    text = Redactor().log(lines + b"Nov 16 18:04:31 10.1.2.3 kernel: 10 pages\n")
    assert time.process_time() - started < 5
    assert text.count(b"host kernel: hello host 10 times") == 3000
    assert text.endswith(b"kernel: 10 pages\n")
    assert Redactor().log(b'{"MESSAGE":"a","_HOSTNAME":"\\ud800x"}\n') == b'{"MESSAGE": "a"}\n'


def test_a_member_that_breaks_off_is_told(tmp_path: Path) -> None:
    """Of a cut archive its beginning is redacted, and that the rest is missing is no secret."""
    row = b"c%d 1 2 64 64 1 : tunables 0 0 0 : slabdata 7 7 0 \n"
    whole = tar_of({"slabinfo": b"slabinfo - version: 2.1\n" + b"".join(row % n for n in range(60_000))})
    path = tmp_path / "cut.tar"
    path.write_bytes(whole[: len(whole) // 2])
    told = redact(path, io.BytesIO())
    assert told.members == 1
    assert any("slabinfo" in name and "its end" in reason for name, reason in told.left_out)


class FullOnce(io.BytesIO):
    """A disk that is full for a moment."""

    was_full = False

    def write(self, data: Any) -> int:
        """Refuses the first piece."""
        if not self.was_full:
            self.was_full = True
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_full_disk_is_no_fault_of_a_member(tmp_path: Path) -> None:
    """Nothing is left out for it: the archive is not written."""
    rows = b"".join(b"c%d 1 2 64 64 1 : tunables 0 0 0 : slabdata %d 7 0 \n" % (n * n, n) for n in range(60_000))
    path = tmp_path / "case.tar"
    path.write_bytes(tar_of({f"{n}/slabinfo": b"slabinfo - version: 2.1\n" + rows for n in range(2)}))
    with pytest.raises(OutputFailed, match="no space left"):
        redact(path, FullOnce())
