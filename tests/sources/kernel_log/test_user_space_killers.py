from __future__ import annotations

import oomscope

# As earlyoom 1.8 writes it (kill.c): three words that older ones have otherwise.
STAYED = b"""\
Nov 12 17:08:27 earlyoom[1295]: low memory! at or below SIGTERM limits: mem  1.66%, swap 10.00%
Nov 12 17:08:27 earlyoom[1295]: sending SIGTERM to process 906175 uid 1000 "java": oom_score 1170, VmRSS 43912 MiB
Nov 12 17:08:37 earlyoom[1295]: process 906175 did not exit
Nov 12 17:08:37 earlyoom[1295]: kill failed: Timer expired
"""
# nohang's words for whom it chose (src/nohang of its repository).
NOHANG = b"""\
Aug 10 16:53:26 db nohang[900]: Process with highest badness (found in 6 ms):
Aug 10 16:53:26 db nohang[900]:   PID: 903309, name: mysqld, badness: 849
Aug 10 16:53:26 db nohang[900]: Victim status (found in 2ms):
Aug 10 16:53:26 db nohang[900]:   PID:       903309, PPID: 1
Aug 10 16:53:26 db nohang[900]:   Name:      mysqld
Aug 10 16:53:26 db nohang[900]:   badness:   849, oom_score: 849, oom_score_adj: 0
Aug 10 16:53:26 db nohang[900]:   VmRSS:     5800 MiB
"""


def test_who_did_not_end_was_not_ended() -> None:
    """Earlyoom asks, waits, and says that it did not work: the same process, with the size of the newer form."""
    answer = oomscope.explain(STAYED).answer
    assert answer.headline.startswith("earlyoom asked java (pid 906175), which held 42.9 GiB, to end, and it did not")
    assert not any("ended java" in sentence for sentence in answer.paragraph)
    ended = oomscope.explain(STAYED[: STAYED.index(b"Nov 12 17:08:37")]).answer.headline
    assert ended.startswith("earlyoom, not the kernel's OOM killer, ended java (pid 906175), which held 42.9 GiB")


def test_the_victim_of_nohang_is_one_in_all_its_forms() -> None:
    """Its number, its name and its size stand on lines of several kinds."""
    headline = oomscope.explain(NOHANG).answer.headline
    assert headline == "nohang, not the kernel's OOM killer, ended mysqld (pid 903309), which held 5.7 GiB"
