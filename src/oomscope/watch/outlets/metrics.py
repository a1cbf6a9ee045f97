"""What happened and how memory stands, as OpenMetrics: on a port of this machine, and as node_exporter's textfile."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIServer

from oomscope.errors import NotOffered, OutputFailed, cause_of
from oomscope.model.notice import LOST, OOM, STORM, Incident
from oomscope.model.usage_sample import UsageSample

if TYPE_CHECKING:
    from prometheus_client import Gauge

_MOST_SERIES = 200  # of one metric; whatever else comes counts as `other`
_OTHER = "other"
_RAM = ("oomscope_ram_bytes", "RAM of this machine")
_UNACCOUNTED = ("oomscope_unaccounted_bytes", "RAM that no counter of the kernel has")
_LABELS = ("class", "holder", "cgroup")
_ROWS = 20  # caches, callers and culprits that are shown


def require() -> None:
    """That the library is there. Raises NotOffered."""
    if importlib.util.find_spec("prometheus_client") is None:
        raise NotOffered("metrics need prometheus-client", advice="pip install prometheus-client")


class Metrics:
    """Counters of incidents, gauges of the last sample; see Outlet. `port` and `textfile` are where they are shown."""

    def __init__(self, *, port: int | None = None, address: str = "127.0.0.1", textfile: Path | None = None) -> None:
        """Raises NotOffered, OutputFailed."""
        require()
        from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

        self.name = "the metrics"
        self._registry, self._textfile = CollectorRegistry(), textfile
        self._gauges: dict[str, Gauge] = {}
        self._series: set[tuple[str, str, str]] = set()
        self._ooms = Counter(
            "oomscope_ooms",
            "OOMs and failed allocations, by what explains them",
            _LABELS,
            registry=self._registry,
        )
        self._lost = Counter("oomscope_lost", "What could not be read or passed on", ["what"], registry=self._registry)
        self._last = Gauge(
            "oomscope_last_oom_timestamp_seconds", "When the last of them was", _LABELS, registry=self._registry
        )
        self._amounts = Gauge(
            "oomscope_held_bytes",
            "Memory by account and holder, the greatest of each",
            ["account", "holder"],
            registry=self._registry,
        )
        self._server: WSGIServer | None = None
        if port is not None:
            try:
                self._server, _ = start_http_server(port, addr=address, registry=self._registry)
            except OSError as error:
                raise OutputFailed(f"port {port} of {address}: {cause_of(error)}") from error
        if textfile is not None:
            self._write()

    @property
    def port(self) -> int | None:
        """The port that is listened on."""
        return None if self._server is None else self._server.server_port

    def tell(self, incident: Incident) -> None:
        """See Outlet. Raises OutputFailed."""
        notice = incident.notice
        if incident.kind in (OOM, STORM) and notice is not None:
            labels = (notice.oom_class, notice.holder or "", notice.group or notice.task_group or "")
            if labels not in self._series and len(self._series) >= _MOST_SERIES:
                labels = (notice.oom_class, _OTHER, _OTHER)
            self._series.add(labels)
            self._ooms.labels(*labels).inc(incident.count)
            self._last.labels(*labels).set(incident.at)
        elif incident.kind == LOST:
            self._lost.labels(str(incident.figures.get("what", ""))).inc(incident.count)
        self._write()

    def show(self, sample: UsageSample) -> None:
        """The last sample. Raises OutputFailed."""
        self._amounts.clear()
        for account, amounts in sample.amounts.items():
            greatest = sorted(amounts.items(), key=lambda item: -item[1])[:_ROWS]
            for holder, size in greatest:
                self._amounts.labels(account, holder).set(size)
        self._show_known(_RAM, sample.ram_bytes)
        if sample.unaccounted_bytes is not None:
            self._show_known(_UNACCOUNTED, sample.unaccounted_bytes)
        self._write()

    def _show_known(self, what: tuple[str, str], value: int) -> None:
        """A gauge begins when its value is known: zero would be a claim."""
        from prometheus_client import Gauge

        if what[0] not in self._gauges:
            self._gauges[what[0]] = Gauge(*what, registry=self._registry)
        self._gauges[what[0]].set(value)

    def close(self) -> None:
        """See Outlet."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _write(self) -> None:
        if self._textfile is None:
            return
        from prometheus_client import write_to_textfile

        try:
            write_to_textfile(str(self._textfile), self._registry)
        except OSError as error:
            raise OutputFailed(f"{self._textfile}: {cause_of(error)}") from error
