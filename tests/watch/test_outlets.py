from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import oomscope
from oomscope.errors import BadQuestion, NotOffered, OutputFailed, Unreadable
from oomscope.model.notice import LOST, OOM, STORM, CgroupPlace, Incident, Surroundings
from oomscope.model.usage_sample import UsageSample
from oomscope.watch.judge import answered
from oomscope.watch.outlets.journal import FIELDS, JournalOutlet, fields_of
from oomscope.watch.outlets.kubernetes_events import KubernetesEvents
from oomscope.watch.outlets.metrics import Metrics
from oomscope.watch.outlets.spool import Spool
from oomscope.watch.outlets.stream import StreamOutlet
from oomscope.watch.outlets.webhook import Webhook
from tests.watch.support import KILL

NOTICE = answered(KILL.read_bytes()).notices[0]
PLACE = CgroupPlace("/a", pod_uid="u-1", namespace="shop", pod="cart", container="java", container_id="c" * 64)
BESIDE = Surroundings({"MemAvailable": 2048}, {"memory": "some avg10=1.00"}, {"dentry": 4096}, {"anon": 8192})
INCIDENT = Incident(
    OOM, 1_700_000_000.0, NOTICE.short, "/dev/kmsg", NOTICE, BESIDE, PLACE, "db-3", log=KILL.read_bytes()
)
MANY = replace(INCIDENT, kind=STORM, text="9 more", count=9, first_at=1_699_999_000.0)


def fields(datagram: bytes) -> dict[str, str]:
    """The native protocol of journald, taken apart."""
    found = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, is_short, value = line.partition(b"=")
        if is_short:
            found[name.decode()], datagram = value.decode(), rest
        else:
            size = int.from_bytes(rest[:8], "little")
            found[name.decode()] = rest[8 : 8 + size].decode()
            datagram = rest[8 + size + 1 :]
    return found


def test_text_is_the_answer_and_what_the_machine_had() -> None:
    """The headline first; where it was under it; a storm is one line."""
    out = BytesIO()
    outlet = StreamOutlet(out, as_json=False)
    outlet.tell(INCIDENT)
    outlet.tell(MANY)
    lines = out.getvalue().decode().splitlines()
    assert lines[0].endswith(NOTICE.headline)
    assert "In: pod shop/cart, container java" in lines
    assert "memory.stat: anon 8.0 KiB" in lines
    assert lines[-1].endswith("  9 more")


def test_json_is_a_line_each_with_the_whole_report() -> None:
    """The same report as `explain --format json` gives."""
    out = BytesIO()
    outlet = StreamOutlet(out, as_json=True)
    outlet.tell(INCIDENT)
    outlet.tell(MANY)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["report"]["answer"]["headline"] == NOTICE.headline == first["headline"]
    assert first["place"]["pod"] == "cart"
    assert (second["kind"], second["count"]) == (STORM, 9)
    assert "report" not in second


def test_the_journal_gets_fields_of_its_own(tmp_path: Path) -> None:
    """As journald reads them, those of several lines, too."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(path))
        outlet = JournalOutlet(str(path))
        outlet.tell(INCIDENT)
        told = fields(journald.recv(1 << 20))
        outlet.close()
    assert told["MESSAGE"] == NOTICE.short
    assert len(told["MESSAGE_ID"]) == 32
    assert (told["OOMSCOPE_CLASS"], told["OOMSCOPE_HOLDER"]) == (NOTICE.oom_class, NOTICE.holder)
    assert (told["OOMSCOPE_POD"], told["OOMSCOPE_NAMESPACE"], told["OOMSCOPE_CONTAINER"]) == ("cart", "shop", "java")
    assert told["OOMSCOPE_REPORT"] == NOTICE.text
    assert "\n" in told["OOMSCOPE_REPORT"]


def test_without_journald_that_is_said(tmp_path: Path) -> None:
    """Before anything is followed."""
    with pytest.raises(NotOffered, match="no journald"):
        JournalOutlet(str(tmp_path / "none"))


def test_the_spool_is_read_by_explain_and_triage(tmp_path: Path) -> None:
    """Each OOM a case of its own, with the same answer; what is no OOM is no case."""
    spool = Spool(tmp_path / "spool", most_bytes=1 << 20)
    spool.tell(INCIDENT)
    spool.tell(INCIDENT)
    spool.tell(MANY)
    cases = sorted((tmp_path / "spool").iterdir())
    assert len(cases) == 2
    for case in cases:
        assert oomscope.explain(case).answer.headline == NOTICE.headline
        assert case.stat().st_mode & 0o077 == 0


def test_a_spool_is_bounded(tmp_path: Path) -> None:
    """The oldest cases make room; one that is larger than all of it is refused."""
    first = Spool(tmp_path, most_bytes=1 << 20)
    first.tell(INCIDENT)
    (case,) = tmp_path.iterdir()
    size = case.stat().st_size
    spool = Spool(tmp_path, most_bytes=3 * size + 100)
    for second in range(1, 10):
        spool.tell(replace(INCIDENT, at=INCIDENT.at + second))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == 3
    assert spool.removed == 7
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * size + 100
    with pytest.raises(OSError, match="larger than the whole spool"):
        Spool(tmp_path, most_bytes=100).tell(INCIDENT)


def test_a_redacted_spool_names_nobody(tmp_path: Path) -> None:
    """Neither in the log nor in names of files; it is explained all the same."""
    beside = replace(BESIDE, files={"sys/fs/cgroup/secret.slice/memory.stat": b"anon 4096\n"})
    spool = Spool(tmp_path, most_bytes=1 << 20, redact=True, host=("hnsin-varnish",))
    spool.tell(replace(INCIDENT, surroundings=beside))
    (case,) = tmp_path.iterdir()
    import tarfile

    import zstandard

    with zstandard.open(case, "rb") as unpacked, tarfile.open(fileobj=BytesIO(unpacked.read())) as tar:
        names = tar.getnames()
        content = b"".join(tar.extractfile(name).read() for name in names)  # type: ignore[union-attr]
    for word in (b"hnsin-varnish", b"cache-main", b"secret"):
        assert word not in content + " ".join(names).encode()
    assert oomscope.explain(case).answer.oom_class == NOTICE.oom_class


def test_a_spool_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Before anything is followed."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputFailed):
        Spool(tmp_path / "file" / "spool", most_bytes=1 << 20)


class Receiver(http.server.BaseHTTPRequestHandler):
    taken: list[tuple[str, dict[str, str], Any]]
    status = 200

    def do_POST(self) -> None:
        """Keep what was posted."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).taken.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    handler = type("Handler", (Receiver,), {"taken": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_a_webhook_gets_json_or_what_its_template_makes(receiver: tuple[str, type[Receiver]], tmp_path: Path) -> None:
    """Quotes and line ends of a name break no template; what is not known of an incident is nothing."""
    url, handler = receiver
    Webhook(f"{url}/plain").tell(INCIDENT)
    template = tmp_path / "template.json"
    template.write_text('{"text": "$message in $pod: $report", "unit": "$unit", "price": "$$5"}')
    Webhook(f"{url}/chat", template).tell(replace(INCIDENT, text='a "quoted"\nname'))
    (plain, _, first), (chat, _, second) = handler.taken
    assert (plain, first["headline"]) == ("/plain", NOTICE.headline)
    assert (chat, second["unit"], second["price"]) == ("/chat", "", "$5")
    assert second["text"] == f'a "quoted"\nname in cart: {NOTICE.text}'


def test_a_webhook_that_refuses_is_not_asked_again(receiver: tuple[str, type[Receiver]]) -> None:
    """What is wrong with a request stays wrong: lost at once, with the status."""
    url, handler = receiver
    handler.status = 403
    with pytest.raises(OSError, match="403"):
        Webhook(url).tell(INCIDENT)
    assert len(handler.taken) == 1


@pytest.mark.parametrize(
    ("url", "template"),
    [
        ("ftp://x", None),
        ("http://x", "$"),
        ("http://x", None),
        ("http://x", "no $message"),
        ("http://x", '{"a": "$nobody"}'),
    ],
)
def test_a_webhook_that_cannot_work_is_said(url: str, template: str | None, tmp_path: Path) -> None:
    """An address of another kind, a template that is none, or is not there."""
    path = tmp_path / "template"
    if template is not None:
        path.write_text(template)
    with pytest.raises((BadQuestion, Unreadable)):
        Webhook(url, path)


def scraped(port: int | None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


def test_metrics_count_by_class_holder_and_cgroup(tmp_path: Path) -> None:
    """On loopback and as a textfile alike; a storm counts all of its events."""
    textfile = tmp_path / "oomscope.prom"
    metrics = Metrics(port=0, textfile=textfile)
    assert "unaccounted" not in scraped(metrics.port), "what is not known yet is no zero"
    metrics.tell(INCIDENT)
    metrics.tell(MANY)
    metrics.tell(Incident(LOST, 1.0, "", "", count=3, figures={"what": "/dev/kmsg"}))
    metrics.show(UsageSample("b", 1.0, 1.0, 100, 50, 7, {"slab caches": {"dentry": 4096}}))
    told = scraped(metrics.port)
    label = f'class="{NOTICE.oom_class}",holder="{NOTICE.holder}"'
    assert f'oomscope_ooms_total{{cgroup="{NOTICE.group or NOTICE.task_group or ""}",{label}}} 10.0' in told
    assert 'oomscope_lost_total{what="/dev/kmsg"} 3.0' in told
    assert "oomscope_unaccounted_bytes 7.0" in told
    assert 'oomscope_held_bytes{account="slab caches",holder="dentry"} 4096.0' in told
    assert set(told.splitlines()) - {line for line in told.splitlines() if "_created" in line} <= set(
        textfile.read_text().splitlines()
    ) | {line for line in told.splitlines() if "_created" in line}
    with pytest.raises(OutputFailed, match="port"):
        Metrics(port=metrics.port)
    metrics.close()


def test_metrics_are_bounded_however_many_cgroups_there_are() -> None:
    """Beyond two hundred they count as `other`; none is forgotten."""
    metrics = Metrics(port=0)
    for number in range(1000):
        metrics.tell(replace(INCIDENT, notice=replace(NOTICE, group=f"/pod{number}")))
    rows = [line for line in scraped(metrics.port).splitlines() if line.startswith("oomscope_ooms_total{")]
    assert len(rows) == 201
    assert sum(float(row.rpartition(" ")[2]) for row in rows) == 1000
    metrics.close()


def test_an_event_stands_on_the_pod(receiver: tuple[str, type[Receiver]], tmp_path: Path) -> None:
    """As the API takes it, with the account's token; an OOM of no pod writes none."""
    url, handler = receiver
    (tmp_path / "token").write_text("secret\n")
    events = KubernetesEvents(tmp_path, url)
    events.tell(INCIDENT)
    events.tell(replace(INCIDENT, place=None))
    ((path, headers, event),) = handler.taken
    assert path == "/api/v1/namespaces/shop/events"
    assert headers["Authorization"] == "Bearer secret"
    assert (event["involvedObject"]["name"], event["involvedObject"]["uid"]) == ("cart", "u-1")
    assert event["involvedObject"]["fieldPath"] == "spec.containers{java}"
    assert event["message"] == NOTICE.short


def test_outside_of_a_cluster_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is followed."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(NotOffered, match="not run in a cluster"):
        KubernetesEvents(tmp_path)


def test_what_is_not_known_is_no_field() -> None:
    """Neither empty ones nor None."""
    values = [value for _, value in fields_of(Incident(LOST, 1.0, "x", "y"))]
    assert {name for name, _ in fields_of(INCIDENT)} <= set(FIELDS)
    assert "None" not in values
    assert os.linesep not in values
