"""A kill that somebody else tells of: who says it, of whom, in which line, and what to give instead.

The lines are those of systemd's src/core/unit.c and manager.c, the kubelet's oom_watcher, `docker inspect` and
`kubectl describe`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import oomscope
from tests.support import captures

SYSTEMD = (
    "Nov 28 10:00:01 db3 systemd[1]: mysql.service: A process of this unit has been killed by the OOM killer.\n"
    "Nov 28 10:00:01 db3 systemd[1]: mysql.service: Main process exited, code=killed, status=9/KILL\n"
    "Nov 28 10:00:02 db3 systemd[1]: mysql.service: Failed with result 'oom-kill'.\n"
)
TOLD = {
    SYSTEMD: "systemd tells that the kernel's OOM killer killed a process of mysql.service (line 1)",
    "mysql.service: Failed with result 'oom-kill'.\n": "by the kernel's OOM killer or by systemd-oomd (line 1)",
    "a@1.service: systemd-oomd killed 23 process(es) in this unit.\n": "systemd-oomd killed processes of a@1.service",
    "Events:\n  Warning  SystemOOM  2h (x4)  kubelet  System OOM encountered, victim process: java, pid: 12345\n": (
        "the kubelet tells that the kernel's OOM killer killed java, pid: 12345 (line 2)"
    ),
    "    Last State:     Terminated\n      Reason:       OOMKilled\n      Exit Code:    137\n": "(line 2)",
    '        "Status": "exited",\n        "OOMKilled": true,\n        "ExitCode": 137,\n': "Docker tells",
}


@pytest.mark.parametrize("text", TOLD, ids=["systemd", "result", "oomd", "kubelet", "kubectl", "docker"])
def test_who_tells_of_a_kill_is_said(text: str) -> None:
    """Instead of "no OOM" or "of no kind": nothing to explain, and where the kernel's own report is."""
    with pytest.raises(oomscope.NothingToExplain) as nothing:
        oomscope.explain(text.encode())
    assert TOLD[text] in str(nothing.value)
    sentence = f"{nothing.value}; {nothing.value.advice}"
    assert "journalctl -k" in sentence
    assert sentence.count("\n") == 0


def test_beside_the_kernels_own_report_it_is_nothing(tmp_path: Path) -> None:
    """The report is explained, and nothing is said to be missing."""
    log = tmp_path / "journal"
    log.write_bytes(captures.text(captures.CONSOLE_6_1) + SYSTEMD.encode())
    verdict = oomscope.explain(log)
    assert verdict.oom is not None
    assert not any("own report" in absent.what for absent in verdict.absent)
