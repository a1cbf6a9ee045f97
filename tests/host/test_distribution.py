"""The commands for what takes a reboot, by /etc/os-release: as the distributions' own manuals have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from oomscope.host import doctor
from oomscope.host.distribution import boot_option, crash_kernel
from tests.host.bpf.test_arm import machine

GRUB = "in GRUB_CMDLINE_LINUX of /etc/default/grub, then"
# The lines of each distribution's own /etc/os-release that matter here.
DISTRIBUTIONS = {
    'ID=debian\nVERSION_ID="13"': f"{GRUB} update-grub",
    "ID=ubuntu\nID_LIKE=debian": f"{GRUB} update-grub",
    'ID="rhel"\nID_LIKE="fedora"': "grubby --update-kernel=ALL --args='page_owner=on a=b'",
    'ID="rocky"\nID_LIKE="rhel centos fedora"': "grubby --update-kernel=ALL --args='page_owner=on a=b'",
    'ID="ol"\nID_LIKE="fedora"': "grubby --update-kernel=ALL --args='page_owner=on a=b'",
    'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"': f"{GRUB} grub2-mkconfig -o /boot/grub2/grub.cfg",
    'ID="sles"\nID_LIKE="suse"': f"{GRUB} grub2-mkconfig -o /boot/grub2/grub.cfg",
    "ID=arch": f"{GRUB} grub-mkconfig -o /boot/grub/grub.cfg",
}


@pytest.mark.parametrize("told", DISTRIBUTIONS)
def test_each_has_its_own_command(tmp_path: Path, told: str) -> None:
    """And who derives from one has that one's."""
    this = machine(tmp_path, **{"etc__os-release": told + "\n"})
    assert boot_option(this, "page_owner=on", "a=b") == f"boot option page_owner=on a=b: {DISTRIBUTIONS[told]}; reboot"


def test_images_that_are_not_written_to_have_theirs(tmp_path: Path) -> None:
    """rpm-ostree on Fedora's, transactional-update on SUSE's."""
    ostree = machine(tmp_path / "a", **{"etc__os-release": "ID=fedora\n", "run__ostree-booted": ""})
    assert boot_option(ostree, "page_owner=on").endswith("rpm-ostree kargs --append-if-missing=page_owner=on; reboot")
    files = {"etc__os-release": "ID=sle-micro\n", "usr__sbin__transactional-update": ""}
    assert "transactional-update grub.cfg" in boot_option(machine(tmp_path / "b", **files), "page_owner=on")


def test_what_is_not_known_is_the_option_alone(tmp_path: Path) -> None:
    """No command of somebody else's system."""
    assert boot_option(machine(tmp_path / "a", **{"etc__os-release": "ID=plan9\n"}), "page_owner=on") == (
        "boot option page_owner=on"
    )
    assert boot_option(machine(tmp_path / "b"), "page_owner=on") == "boot option page_owner=on"


def test_kdump_is_set_up_by_whose_tools_there_are(tmp_path: Path) -> None:
    """By the package that each has it in; where that is not known, no command of somebody else's system."""
    for number, (told, says) in enumerate(
        [
            ("ID=fedora", "dnf install kdump-utils; kdumpctl reset-crashkernel"),
            ('ID="rhel"\nID_LIKE="fedora"', "dnf install kexec-tools; kdumpctl reset-crashkernel"),
            ("ID=sles", "zypper install kdump"),
            ("ID=debian", "apt install kdump-tools"),
            ("ID=ubuntu\nID_LIKE=debian", "apt install linux-crashdump"),
            ("ID=arch", "a crash kernel, set up as this distribution has it"),
            ("ID=alpine", "a crash kernel, set up as this distribution has it"),
        ]
    ):
        assert says in crash_kernel(machine(tmp_path / str(number), **{"etc__os-release": told}))
    ostree = machine(tmp_path / "ostree", **{"etc__os-release": "ID=fedora\n", "run__ostree-booted": ""})
    assert "rpm-ostree kargs --append-if-missing=crashkernel=256M" in crash_kernel(ostree)
    assert "dnf" not in crash_kernel(ostree)


def test_page_owner_without_stacks_is_missing(tmp_path: Path) -> None:
    """As Android's GKI is built: switched on, its file there and empty; the later of two settings counts."""
    for number, (options, state) in enumerate(
        [
            ("stack_depot_disable=on page_owner=on", doctor.State.MISSING),
            ("stack_depot_disable=on page_owner=on stack_depot_disable=off", doctor.State.OK),
        ]
    ):
        files = {"proc__cmdline": options, "sys__kernel__debug__page_owner": ""}
        check = doctor.page_owner(machine(tmp_path / str(number), **files))
        assert check.state is state
        assert state is doctor.State.OK or check.mend == "boot option stack_depot_disable=off"
