"""`oomscope doctor` in guests: each check failing in one and passing in another, its own commands run in between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.kernels import KERNELS
from tests.support.lab_cases import CASES, Case, each

MENDED = [case for case in CASES if case.scenario == "doctor"]
SMALL = [case for case in CASES if case.scenario == "doctor-small-crash-kernel"]
AT_BOOT = [case for case in CASES if case.scenario == "doctor-at-boot"]
# What the printed commands mend while the machine runs.
BY_COMMANDS = ("kallsyms", "BPF", "armed", "trace", "panic", "pstore")


def told(case: Case) -> Any:
    return json.loads(case.text("doctor.json"))


@pytest.mark.parametrize("case", each(MENDED))
def test_the_printed_commands_mend_what_they_say(case: Case) -> None:
    """From "would not be explained" to "would be", by nothing but the commands that the doctor printed."""
    before, after = told(case)["before"], told(case)["after"]
    assert (before["explained"], after["explained"]) == (False, True)
    for name in BY_COMMANDS:
        assert before["checks"][name][0] != "ok", name
        assert after["checks"][name][0] == "ok", name
    assert "oomscope arm" in told(case)["commands"]


@pytest.mark.parametrize("case", each(AT_BOOT))
def test_what_takes_a_reboot_is_no_command(case: Case) -> None:
    """Page_owner itself takes a boot, tracking does not; a crash kernel and tp_printk are seen where they are."""
    before, after = told(case)["before"], told(case)["after"]
    assert (before["explained"], after["explained"]) == (False, True)
    assert "oomscope arm --track" in told(case)["commands"]
    assert before["checks"]["page_owner"][0] == "missing"
    assert after["checks"]["page_owner"] == ["could be better", "off; pages are tracked instead"]
    assert before["checks"]["page_owner"][1].startswith("off; it would take ")
    assert (before["checks"]["kdump"][0], before["checks"]["trace"][0]) == ("ok", "ok")
    assert (before["checks"]["console"][0], after["checks"]["console"][0]) == ("missing", "ok")
    assert (before["checks"]["armed"][0], after["checks"]["armed"][0]) == ("missing", "ok")


@pytest.mark.parametrize("case", each(SMALL))
def test_a_crash_kernel_without_room_and_a_depot_without_stacks_are_seen(case: Case) -> None:
    """Loaded is not enough: 64 MiB do not hold this kernel and its work; page_owner=on is not enough either."""
    checks = told(case)["before"]["checks"]
    assert checks["kdump"][0] == "could be better"
    assert checks["kdump"][1].startswith("a crash kernel is loaded, in 64.0 MiB; it needs about ")
    assert checks["page_owner"] == ["missing", "on, and no stack is kept (stack_depot_disable=on): its file is empty"]
    assert not any("crashkernel" in command for command in told(case)["commands"])


@pytest.mark.parametrize("case", each(MENDED))
def test_what_is_there_is_seen(case: Case) -> None:
    """The checks that fail in the other guest pass in this one, and the other way round."""
    checks = told(case)["before"]["checks"]
    assert (checks["page_owner"][0], checks["BTF"][0]) == ("ok", "ok")
    assert checks["kdump"][0] != "ok"
    (kernel,) = [kernel for kernel in KERNELS if kernel.name == case.kernel]
    assert checks["console"] == ["ok", kernel.architecture.console]
