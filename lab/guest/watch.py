"""`oomscope watch` among journald, Prometheus, node_exporter and a webhook; /mnt is the case.

Memory cgroups are named as the kubelet names them. What each of the others has heard is kept in a file.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

CASE, CHECKOUT = Path("/mnt"), Path("/opt/checkout")
UID, CONTAINER = "12345678-1234-1234-1234-123456789abc", "0123456789abcdef" * 4
POD = (
    f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice/"
    f"cri-containerd-{CONTAINER}.scope"
)
SERVICE = "system.slice/db.service"
CGROUPS = Path("/sys/fs/cgroup")
EARLYOOM = 'sending SIGTERM to process 3213 uid 1000 "firefox": badness 301, VmRSS 1667 MiB'
STORM = 12
_PROMETHEUS = """\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [/opt/checkout/examples/watch/alerts.yml]
scrape_configs: [{job_name: oomscope, static_configs: [{targets: ["127.0.0.1:9733"]}]}]
"""


def started(name: str, *command: str) -> subprocess.Popen[bytes]:
    """A program in the background; what it says is kept."""
    with (CASE / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def watch() -> subprocess.Popen[bytes]:
    """The watch with every outlet that there is here."""
    command = ["oomscope", "watch", "--format", "json", "--state", "/mnt/state.json", "--journal", "--metrics", "9733"]
    command += ["--textfile", "/tmp/textfile/oomscope.prom", "--spool", "/mnt/spool", "--near", f"{POD}"]
    command += ["--webhook", "http://127.0.0.1:9999/", "--every", "20s"]
    with (CASE / "watch.jsonl").open("ab") as out, (CASE / "watch.log").open("ab") as log:
        return subprocess.Popen(command, stdout=out, stderr=log)


def incidents() -> list[dict[str, object]]:
    """What the watch has told so far."""
    path = CASE / "watch.jsonl"
    text = path.read_text() if path.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()  # the last one may be half written
    return [json.loads(line) for line in lines]


def wait_for(what: str, condition: Callable[[], object], seconds: float = 180.0) -> None:
    """Until it holds; the guest's own failure where it never does."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"waited in vain: {what}")
        time.sleep(0.2)


def told(count: int, kind: str = "oom") -> None:
    """Until so many have been told."""

    def texts() -> set[str]:
        return {str(each["text"]) for each in incidents() if each["kind"] == kind}

    wait_for(f"{count} of {kind}", lambda: len(texts()) >= count)


def group(name: str) -> None:
    """A memory cgroup of 24 MiB."""
    folder = CGROUPS
    for part in name.split("/"):
        (folder / "cgroup.subtree_control").write_text("+memory")
        folder = folder / part
        folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(str(24 << 20))


def eat(name: str) -> None:
    """A process that takes more than its cgroup may have: the kernel kills it."""
    procs = CGROUPS / name / "cgroup.procs"
    eater = f"open({str(procs)!r}, 'w').write('0'); x = bytearray(64 << 20)"
    ended = subprocess.run(["python3", "-S", "-c", eater], check=False).returncode
    if ended != -signal.SIGKILL:
        raise SystemExit(f"the kernel did not kill it: {ended}")


def asked(url: str) -> str:
    """What a web server answers; empty where none is there yet."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what the webhook is posted."""

    def do_POST(self) -> None:
        """Keep what is posted."""
        with (CASE / "webhook.jsonl").open("ab") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Every step waits for what it is to bring about."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 9999), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for folder in ("/tmp/textfile", f"/var/log/pods/shop_cart-6f7d_{UID}", "/var/log/containers"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    Path(f"/var/log/containers/cart-6f7d_shop_java-{CONTAINER}.log").symlink_to("/none")
    group(POD)
    group(SERVICE)
    started("journald", "/usr/lib/systemd/systemd-journald")
    wait_for("journald", Path("/run/systemd/journal/socket").exists)
    Path("/tmp/prometheus.yml").write_text(_PROMETHEUS)
    storing = ("--config.file=/tmp/prometheus.yml", "--storage.tsdb.path=/tmp/prometheus")
    started("prometheus", "prometheus", "--web.listen-address=127.0.0.1:9090", *storing)
    watching = watch()
    wait_for("its metrics", lambda: asked("http://127.0.0.1:9733/metrics"))
    eat(POD)
    told(1)
    status = Path(f"/proc/{watching.pid}/status").read_text()
    (CASE / "status").write_text(status + Path(f"/proc/{watching.pid}/oom_score_adj").read_text())
    subprocess.run(["systemd-cat", "-t", "earlyoom"], input=EARLYOOM.encode(), check=True)
    told(2)
    wait_for("its notes", lambda: "s=" in Path("/mnt/state.json").read_text())
    time.sleep(2)  # killed between telling and noting, it would tell that one again
    watching.kill()
    watching.wait()
    eat(SERVICE)  # nobody looks
    watching = watch()
    told(3)
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 86400)  # somebody sets the clock
    Path("/proc/sys/kernel/printk_devkmsg").write_text("on\n")
    watching.send_signal(signal.SIGSTOP)
    with Path("/dev/kmsg").open("wb", buffering=0) as kmsg:
        kmsg.writelines(b"<7>a line of a chatty driver, number %d\n" % number for number in range(30_000))
    watching.send_signal(signal.SIGCONT)
    told(1, "lost")
    group("system.slice/storm.service")
    for _ in range(STORM):
        eat("system.slice/storm.service")
    told(4)
    collecting = (
        "--collector.disable-defaults",
        "--collector.textfile",
        "--collector.textfile.directory=/tmp/textfile",
    )
    started("node_exporter", "prometheus-node-exporter", "--web.listen-address=127.0.0.1:9100", *collecting)
    wait_for("node_exporter", lambda: "storm.service" in asked("http://127.0.0.1:9100/metrics"))
    (CASE / "node_exporter.metrics").write_text(asked("http://127.0.0.1:9100/metrics"))
    query = "http://127.0.0.1:9090/api/v1/query?query=" + urllib.parse.quote("oomscope_ooms_total")
    wait_for("Prometheus", lambda: "storm.service" in asked(query))
    (CASE / "prometheus.json").write_text(asked(query))
    alerts = "http://127.0.0.1:9090/api/v1/alerts"
    wait_for("an alert", lambda: "OutOfMemory" in asked(alerts))
    (CASE / "alerts.json").write_text(asked(alerts))
    watching.terminate()
    (CASE / "exit").write_text(str(watching.wait(60)))
    journal = subprocess.run(["journalctl", "-o", "json", "-t", "oomscope"], capture_output=True, check=True).stdout
    (CASE / "journal.jsonl").write_bytes(journal)
    os.sync()


if __name__ == "__main__":
    main()
