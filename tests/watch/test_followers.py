from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oomscope.errors import NoAccess, NotOffered, Unreadable
from oomscope.watch.followers import journal, kmsg, log_file
from oomscope.watch.followers.follower import Follower, Position


def texts(follower: Follower) -> list[bytes]:
    return [line.text for line in follower.lines()]


@pytest.fixture
def follow() -> Iterator[Callable[..., log_file.LogFile]]:
    opened: list[log_file.LogFile] = []

    def follow(path: Path, position: Position = ()) -> log_file.LogFile:
        opened.append(log_file.LogFile(path, position))
        return opened[-1]

    yield follow
    for each in opened:
        each.close()


Follow = Callable[..., log_file.LogFile]


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_file_is_read_and_then_followed(tmp_path: Path, follow: Follow) -> None:
    """What lies there first, then what is added; a line waits for its end."""
    path = tmp_path / "kern.log"
    add(path, "one\ntw")
    follower = follow(path)
    assert texts(follower) == [b"one"]
    add(path, "o\nthree\n")
    assert texts(follower) == [b"two", b"three"]
    assert texts(follower) == []


def test_a_last_line_whose_end_never_comes_is_a_line(tmp_path: Path, follow: Follow) -> None:
    """A log that was copied without it: taken once it stays as it is for a moment."""
    path = tmp_path / "kern.log"
    add(path, "one\nKilled process 7 (eat)")
    follower = follow(path)
    found, until = texts(follower), time.monotonic() + 5
    while len(found) < 2 and time.monotonic() < until:
        found += texts(follower)
    assert found == [b"one", b"Killed process 7 (eat)"]


@pytest.mark.parametrize("way", ["renamed", "copied and cut"])
def test_a_rotation_loses_and_repeats_nothing(tmp_path: Path, follow: Follow, way: str) -> None:
    """Logrotate's two ways: the file gets another name, or (copytruncate) becomes empty."""
    path = tmp_path / "kern.log"
    add(path, "one\n")
    follower = follow(path)
    assert texts(follower) == [b"one"]
    add(path, "two\n")
    if way == "renamed":
        path.rename(tmp_path / "kern.log.1")
        assert texts(follower) == [b"two"]  # the name is nobody's for a moment
        add(path, "three\n")
    else:
        assert texts(follower) == [b"two"]
        (tmp_path / "kern.log.1").write_text(path.read_text())
        os.truncate(path, 0)
        add(path, "3\n")
    assert texts(follower) == [b"three" if way == "renamed" else b"3"]


def test_after_a_restart_a_file_goes_on_where_it_was(tmp_path: Path, follow: Follow) -> None:
    """Also where it was rotated away meanwhile: the rest of it first, then the new one."""
    path = tmp_path / "kern.log"
    add(path, "one\ntwo\n")
    first = follow(path)
    (line, _) = first.lines()
    add(path, "three\n")
    assert texts(follow(path, line.position)) == [b"two", b"three"]
    path.rename(tmp_path / "kern.log.1")
    add(path, "four\n")
    assert texts(follow(path, line.position)) == [b"two", b"three", b"four"]
    (tmp_path / "kern.log.1").rename(tmp_path / "kern.log-20261128")  # as logrotate's dateext has it
    assert texts(follow(path, line.position)) == [b"two", b"three", b"four"]
    (tmp_path / "kern.log-20261128").unlink()
    assert texts(follow(path, line.position)) == [b"four"]


def test_after_a_restart_a_file_that_was_emptied_is_read_anew(tmp_path: Path, follow: Follow) -> None:
    """copytruncate: the rest lies in the copy, then the file begins anew, however long it has become."""
    path = tmp_path / "kern.log"
    add(path, "one\ntwo\n")
    (line, _) = follow(path).lines()
    add(path, "three\n")
    (tmp_path / "kern.log.1").write_text(path.read_text())
    path.write_text("another line, and a longer one\n")
    assert texts(follow(path, line.position)) == [b"two", b"three", b"another line, and a longer one"]


def test_a_file_that_begins_anew_between_two_looks_is_seen(tmp_path: Path, follow: Follow) -> None:
    """Emptied and filled with more than it had: other bytes stand where it was read to."""
    path = tmp_path / "kern.log"
    add(path, "one\n")
    follower = follow(path)
    assert texts(follower) == [b"one"]
    path.write_text("two, which is longer\n")
    assert texts(follower) == [b"two, which is longer"]


def test_what_does_not_grow_is_not_followed(tmp_path: Path) -> None:
    """A pipe would hold the watch up for ever; what is compressed is for `explain`."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="a device or a pipe"):
        log_file.LogFile(tmp_path / "pipe")
    (tmp_path / "log.gz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0")
    with pytest.raises(Unreadable, match="compressed"):
        log_file.LogFile(tmp_path / "log.gz")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """One sentence; a folder is no log either."""
    with pytest.raises(Unreadable, match="no such file"):
        log_file.LogFile(tmp_path / "none")
    with pytest.raises(Unreadable, match="is a directory"):
        log_file.LogFile(tmp_path)


def test_a_record_of_the_ring_is_the_line_that_dmesg_prints(tmp_path: Path) -> None:
    """Its stamp, its caller where the kernel tells it; what the kernel escaped is itself again."""
    fifo = tmp_path / "kmsg"
    os.mkfifo(fifo)
    follower = kmsg.Kmsg(path=fifo)
    writer = os.open(fifo, os.O_WRONLY)
    records = (b"6,7,12000345,-;one\\x0atwo\n SUBSYSTEM=pci\n", b"4,8,12000400,-,caller=T42;three\n")
    found = []
    for record in records:
        os.write(writer, record)
        found += [(line.text, line.caller, line.position) for line in follower.lines()]
    os.close(writer)
    assert found == [
        (b"[   12.000345] one", None, [7]),
        (b"[   12.000345] two", None, [7]),
        (b"[   12.000400][   T42] three", b"T42", [8]),
    ]
    follower.close()


def test_what_the_ring_lost_is_counted(tmp_path: Path) -> None:
    """Numbers that are left out were overwritten; what came before the position is told no more, and not lost."""
    fifo = tmp_path / "kmsg"
    os.mkfifo(fifo)
    follower = kmsg.Kmsg([10], path=fifo)
    writer = os.open(fifo, os.O_WRONLY)
    found = []
    for number in (9, 10, 11, 15):
        os.write(writer, b"6,%d,1,-;line %d\n" % (number, number))
        found += texts(follower)
    os.close(writer)
    assert found == [b"[    0.000001] line 11", b"[    0.000001] line 15"]
    assert follower.lost_records == 3
    follower.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read /dev/kmsg here")
def test_the_machines_own_ring_is_read_from_its_beginning() -> None:
    """The real one: its first records, in the order of their numbers."""
    follower = kmsg.Kmsg()
    positions = [line.position[0] for line in follower.lines()]
    assert positions == sorted(positions)
    assert len(positions) > 10
    follower.close()


def test_a_ring_that_may_not_be_read_is_said() -> None:
    """With what helps."""
    with pytest.raises(NoAccess, match="not a directory") as error:
        kmsg.Kmsg(path="/dev/kmsg/none")
    assert "--file LOG" in error.value.advice


def journalctl(folder: Path, records: list[dict[str, object]]) -> None:
    """A journalctl that gives these records, notes how it was called, and waits as `--follow` does."""
    lines = "\n".join(json.dumps(record) for record in records)
    (folder / "records").write_text(lines + "\n")
    script = folder / "journalctl"
    script.write_text(f'#!/bin/sh\necho "$@" > {folder}/called\ncat {folder}/records\nexec sleep 60\n')
    script.chmod(0o755)


def test_the_journal_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's lines with seconds since boot, a killer's with its name; bytes that are no text are a line, too."""
    kernel: dict[str, object] = {
        "_TRANSPORT": "kernel",
        "_SOURCE_MONOTONIC_TIMESTAMP": "12000345",
        "MESSAGE": "x",
        "__CURSOR": "s=1",
    }
    killer: dict[str, object] = {
        "SYSLOG_IDENTIFIER": "earlyoom",
        "_PID": "7",
        "_UID": "0",
        "MESSAGE": [255, 65],
        "__CURSOR": "s=2",
    }
    journalctl(tmp_path, [kernel, {**killer, "__MONOTONIC_TIMESTAMP": "13000000"}])
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    follower = journal.Journal(["s=0"], kernel=True)
    found, until = list(follower.lines()), time.monotonic() + 10
    while len(found) < 2 and time.monotonic() < until:
        found += follower.lines()
    assert [line.text.decode() for line in found] == [
        "[   12.000345] x",
        "[   13.000000] earlyoom[7]: \N{REPLACEMENT CHARACTER}A",
    ]
    assert [line.position for line in found] == [["s=1"], ["s=2"]]
    called = (tmp_path / "called").read_text()
    assert "--after-cursor=s=0" in called
    assert "_TRANSPORT=kernel + SYSLOG_IDENTIFIER=earlyoom" in called
    follower.close()


def test_who_only_calls_himself_a_killer_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user may write to the journal under any name: root, or the killer's own unit, is asked for.

    A field that stands there twice, and a record that is none, end nothing.
    """
    forged: dict[str, object] = {"SYSLOG_IDENTIFIER": "earlyoom", "_UID": "1000", "MESSAGE": "forged", "__CURSOR": "1"}
    unit = {**forged, "_UID": "998", "_SYSTEMD_UNIT": "earlyoom.service", "MESSAGE": ["one", "two"], "__CURSOR": "2"}
    lines = {**forged, "_UID": "0", "MESSAGE": "first\nx invoked oom-killer: y", "__CURSOR": "3"}
    journalctl(tmp_path, [forged, {"__CURSOR": []}, unit, lines])
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    follower = journal.Journal()
    found, until = list(follower.lines()), time.monotonic() + 10
    while len(found) < 2 and time.monotonic() < until:
        found += follower.lines()
    assert [line.text.rpartition(b": ")[2] for line in found] == [b"one", b"first"]
    follower.close()


def test_without_a_journal_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that ends is a log that can no more be followed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotOffered, match="no journalctl"):
        journal.Journal()
    script = tmp_path / "journalctl"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    follower = journal.Journal()
    with pytest.raises(NotOffered, match="has ended"):  # noqa: PT012 - it ends when it ends
        until = time.monotonic() + 10
        while time.monotonic() < until:
            list(follower.lines())
    follower.close()
