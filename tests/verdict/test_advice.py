"""Next steps fit the kernel that they are given for, and what was given of it."""

from __future__ import annotations

import pytest

from oomscope.verdict import advice

DEBIAN, DEBIAN_11, UBUNTU = "7.3.4+deb13-cloud-amd64", "5.10.0-46-cloud-amd64", "6.8.0-49-generic"
RED_HAT, FEDORA, SUSE, OLD = "5.14.0-503.el9.x86_64", "6.12.5-200.fc41.x86_64", "6.4.0-150600.23-default", "3.10.0-1160"


@pytest.mark.parametrize("release", [DEBIAN, DEBIAN_11, UBUNTU, "6.12.34+rpt-rpi-v8", "6.1.0-28-amd64"])
def test_kernels_without_page_owner_are_told_other_ways(release: str) -> None:
    """By the name of the release: Debian's, Ubuntu's and Raspberry Pi's are built without it."""
    assert advice.has_no_page_owner(release)
    for told in (advice.name_next_time(release), advice.page_takers(release)):
        assert "boot with page_owner=on" not in told


@pytest.mark.parametrize("release", [RED_HAT, FEDORA, SUSE, "6.12.117", None])
def test_others_are_told_to_boot_with_it(release: str | None) -> None:
    """Those that have it built in, and those of whom nothing is known."""
    assert not advice.has_no_page_owner(release)
    assert "page_owner=on" in advice.name_next_time(release)


@pytest.mark.parametrize("release", [DEBIAN, DEBIAN_11, UBUNTU, RED_HAT, FEDORA, OLD])
def test_who_gave_a_dump_is_not_told_to_keep_one(release: str) -> None:
    """What makes the next one tell more is another thing."""
    told = advice.name_next_time(release, has_dump=True)
    assert "keep a core dump" not in told or release == OLD
    assert "page_owner" in told


def test_tracking_is_offered_where_the_kernel_takes_it() -> None:
    """bpf_for_each_map_elem() came with 5.13."""
    assert "arm --track" in advice.name_next_time(DEBIAN)
    assert "arm --track" not in advice.name_next_time(DEBIAN_11)
    assert "arm --track" in advice.dump_with_owners(DEBIAN)
    assert "CONFIG_PAGE_OWNER" in advice.dump_with_owners(DEBIAN_11)


def test_android_and_arch_are_told_what_works_there() -> None:
    """GKI keeps no stacks unless it is told to; Arch has no page_owner."""
    gki, arch = "5.15.94-android13-8-00002-gf80fe0fb5e8c", "6.17.3-arch2-1"
    assert "stack_depot_disable=off" in advice.name_next_time(gki)
    assert "stack_depot_disable=off" in advice.dump_with_owners(gki)
    assert "oomscope arm" not in advice.name_next_time(gki)
    assert "arm --track" in advice.name_next_time(arch)
    assert "page_owner=on" not in advice.name_next_time(arch)
