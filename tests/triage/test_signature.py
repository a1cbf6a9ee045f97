"""Equal causes have one signature, whatever the build, the addresses, the offsets, the compiler; others have others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.model.triage import Signature
from oomscope.pipeline.api import read
from oomscope.triage.signature import NOBODY, signature, without_address
from oomscope.verdict import judge_each
from tests.support import captures, corpus
from tests.support.draws import draws
from tests.support.fleets import log

FRAME = re.compile(rb"([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+")
SUFFIXES = st.sampled_from(["", ".constprop.0", ".isra.0", ".part.3", ".cold", ".llvm.1234", ".isra.0.cold", "_noprof"])
EVENTS = (
    "006-sles-order4-fincore-nss.log",
    "034-ceph-vm-dmesg-T-gfp-atomic.log",
    "064-ppc32-modules-vmalloc-space.log",
    "084-ath11k-order4-resume.log",
    "109-apparmor-order10.log",
    "112-qubes-xen-uvc-order5-allocprof.log",
)


def signatures(path: Path, text: bytes) -> list[Signature]:
    path.write_bytes(text)
    return [signature(verdict) for verdict in judge_each(read(path))]


def elsewhere(text: bytes, draw: st.DataObject) -> bytes:
    """The same on another build: every function with other offsets and suffixes, kept alike within the log."""
    suffixes: dict[bytes, bytes] = {}
    offset = draw.draw(st.integers(1, 0xFFF))

    def other(match: re.Match[bytes]) -> bytes:
        name = match[1]
        if b"." in name or name.endswith(b"_noprof"):
            return match[0]
        if name not in suffixes:
            suffixes[name] = draw.draw(SUFFIXES).encode()
        return name + suffixes[name] + b"+0x%x/0x%x" % (offset, offset + 0x40)

    return FRAME.sub(other, text)


@pytest.mark.parametrize("name", EVENTS)
@draws(15)
@given(data=st.data())
def test_a_report_of_another_build_and_host_has_the_same_signature(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    """Offsets, sizes, compiler suffixes and process ids change nothing."""
    text = log(name)
    changed = elsewhere(text, data)
    changed = re.sub(rb"\bPID: \d+", b"PID: %d" % data.draw(st.integers(2, 32000)), changed)
    assert signatures(tmp_path / "other.log", changed) == signatures(tmp_path / "one.log", text)


@draws(8)
@given(data=st.data())
def test_stacks_of_another_build_have_the_same_signature(tmp_path: Path, data: st.DataObject) -> None:
    """A page_owner dump whose functions were compiled otherwise: the culprit and its module are the same."""
    text = captures.text(captures.SHOW_STACKS)
    (one,) = signatures(tmp_path / "show_stacks", text)
    (other,) = signatures(tmp_path / "show_stacks", elsewhere(text, data))
    assert other == one
    assert (one.culprit, one.module) == ("leak_mb_write", "leak")


def test_what_is_different_is_told_apart() -> None:
    """Each part of a signature counts, and its id follows it."""
    one = Signature("slab", "dentry", "", "")
    others = (
        Signature("vmalloc", "dentry", "", ""),
        Signature("slab", "inode_cache", "", ""),
        Signature("slab", "dentry", "ext4", ""),
        Signature("slab", "", "dentry", ""),
        Signature("slab", "dentry", "", "order-3"),
    )
    assert len({each.id for each in (one, *others)}) == 6
    assert one.id == Signature("slab", "dentry", "", "").id
    assert re.fullmatch(r"[0-9a-f]{12}", one.id)


def test_whom_the_reports_own_profiling_names_stands_in_the_signature(tmp_path: Path) -> None:
    """The three OOMs of one leak meet: two whose report names the call site, the panic with its stack."""
    text = captures.text(captures.DATA / "lab" / "6.12-witness" / "console.log.zst")
    found = signatures(tmp_path / "console.log", text)
    assert {str(each) for each in found} == {"hidden-kernel | take_page [oomlab]"}
    assert len(found) == 3


def test_the_id_of_a_signature_never_changes() -> None:
    """Triages of different years are compared by it."""
    assert Signature("hidden-kernel", "leak_mb_write", "leak", "").id == "d471378455cc"


def test_code_without_a_name_has_no_address_in_a_signature() -> None:
    """A raw address says nothing on another machine."""
    assert without_address("0xffffffffc0364c49") == NOBODY
    assert without_address("ffffffffc0364c49") == NOBODY
    assert without_address("deadbeef_init") == "deadbeef_init"


def test_who_came_last_is_no_part_where_memory_was_used_up() -> None:
    """The request stands in the signature of the classes that it causes, and in no other."""
    for report in corpus.REPORTS:
        if report.name not in EVENTS:
            continue
        assert signature_of(report.name).trigger
    for name in ("001-el6-sshd-java-swap-full.log", "106-steamdeck-pstore-memchewer.log"):
        assert signature_of(name).trigger == ""


def signature_of(name: str) -> Signature:
    return signature(judge_each(read(corpus.path(name)))[-1])


def test_the_trigger_names_who_asked() -> None:
    """The frames that print the report stand outside; the first one that is no plumbing asked."""
    assert (
        signature_of("034-ceph-vm-dmesg-T-gfp-atomic.log").trigger == "order-0 GFP_ATOMIC by page_to_skb [virtio_net]"
    )
    assert signature_of("109-apparmor-order10.log").trigger.startswith("order-10 GFP_KERNEL by ")


def test_kernel_code_is_not_named_where_a_process_holds_most(tmp_path: Path) -> None:
    """A dump in which user memory holds most is of user memory, whoever is first in the kernel."""
    user = (
        "Page allocated via order 0, mask 0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), pid 7, tgid 7 (eat), ts 1 ns\n"
        "PFN 4096 type Movable Block 8 type Movable Flags 0x0()\n"
        " __alloc_pages+0x1/0x2\n vma_alloc_folio+0x1/0x2\n do_anonymous_page+0x1/0x2\n handle_mm_fault+0x1/0x2\n\n"
    )
    kernel = user.replace("GFP_HIGHUSER_MOVABLE|__GFP_COMP", "GFP_KERNEL").replace(
        " vma_alloc_folio+0x1/0x2\n do_anonymous_page+0x1/0x2\n handle_mm_fault+0x1/0x2\n", " take+0x1/0x2 [driver]\n"
    )
    (mostly_user,) = signatures(tmp_path / "page_owner", (user * 5 + kernel).encode())
    assert (mostly_user.culprit, mostly_user.module) == ("(user)", "")
    (mostly_kernel,) = signatures(tmp_path / "page_owner", (user + kernel * 5).encode())
    assert (mostly_kernel.culprit, mostly_kernel.module) == ("take", "driver")


def test_another_host_has_the_same_signature(tmp_path: Path) -> None:
    """Its name and its times stand in every line of a syslog, and in no signature."""
    text = log("001-el6-sshd-java-swap-full.log")
    host = text.split()[3]
    changed = text.replace(b" " + host + b" ", b" rack-7-node-12 ").replace(b"Feb  9", b"Mar 30")
    assert changed != text
    assert signatures(tmp_path / "other.log", changed) == signatures(tmp_path / "one.log", text)


def test_a_memory_cgroup_stands_in_the_signature_without_its_ids(tmp_path: Path) -> None:
    """Two containers of one pod template are one cause; another service is another."""
    text = log("027-leaker-memcg-caller-id.log")

    def of(path: str) -> list[Signature]:
        return signatures(tmp_path / "kern.log", text.replace(b"/leaker", path.encode()))

    pod = "/kubepods/burstable/pod0f5eb28f-6722-4cf5-ab0f-b62748c018d4"
    other = "/kubepods/burstable/pod9d1c77a2-1111-4cf5-ab0f-0123456789ab"
    assert of(pod) == of(other) != of("/system.slice/mysqld.service")
    assert of("/docker/" + "0123456789abcdef" * 4) == of("/docker/" + "fedcba9876543210" * 4)
    (one,) = of("/system.slice/mysqld.service")
    assert one.trigger == "in /system.slice/mysqld.service"
