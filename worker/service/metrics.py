"""Figures for Prometheus: a file for node_exporter's textfile collector, and a port where one is wanted.

What the status tells is told here under the names of Prometheus, so both always agree; only what a status
cannot hold (distributions, reasons) is counted here. No label has more values than a closed list.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.logs import get_log
from worker.reasons import ReasonCode

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

PREFIX = "digit_worker"
HOST = "127.0.0.1"
STATES = ("starting", "idle", "working", "paused", "draining", "stopping", "stopped")

# In the order of the counts of a status: what only grows, and what goes up and down.
COUNTERS = {
    "seen": "Files that were seen in the inbox.",
    "vanished": "Files that were gone before they could be answered.",
    "unannounced": "Files that only a rescan found: events are not to be trusted where this grows.",
    "overflows": "How often the kernel lost events of the inbox.",
}
GAUGES = {
    "waiting": "Files that wait in the inbox.",
    "in_work": "Files that are being read or published.",
    "held": "Files that may not be looked at.",
    "stuck": "Pictures that were answered but cannot be moved out of the inbox.",
    "blocked_folders": "Folders of the inbox that are closed to the worker.",
    "foreign": "Files in the inbox that are no pictures by name.",
    "linked_folders": "Links to folders in the inbox.",
}
LATENCY_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class Metrics:
    """The figures of one worker; `batch` and `status` feed them, from one thread."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        # With a name of its own: node_exporter tells of itself under the plain names, in the same page.
        ProcessCollector(namespace=PREFIX, registry=self.registry)
        self._status = _StatusCollector()
        self.registry.register(self._status)
        self._latency = Histogram(
            f"{PREFIX}_latency_seconds",
            "From the moment a file was first seen to its published record.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._batch_files = Histogram(
            f"{PREFIX}_batch_files", "Files in a batch.", buckets=BATCH_BUCKETS, registry=self.registry
        )
        self._batch_duration = Histogram(
            f"{PREFIX}_batch_duration_seconds",
            "From taking a batch to its published records.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._reasons = Counter(
            f"{PREFIX}_reasons", "Pictures that were not read, by reason.", ["reason"], registry=self.registry
        )
        for code in ReasonCode:
            self._reasons.labels(code.value)  # a figure that is not there yet cannot be graphed
        self._server: tuple[WSGIServer, threading.Thread] | None = None

    def batch(self, latencies_s: Iterable[float], reasons: Iterable[str], took_s: float) -> None:
        """Note a published batch: how long each file waited in all, and why some were not read."""
        files = 0
        for latency_s in latencies_s:
            files += 1
            self._latency.observe(max(0.0, latency_s))
        for reason in reasons:
            self._reasons.labels(reason).inc()
        if files:
            self._batch_files.observe(files)
            self._batch_duration.observe(took_s)

    def status(self, status: Mapping[str, Any]) -> None:
        """Take over what the status tells."""
        self._status.status = status

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)

    def write(self, path: Path) -> None:
        """Put the figures into a file, whole, readable for all. Raises OSError."""
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_bytes(self.text())
            part.chmod(0o644)  # node_exporter is another user; figures are no secret
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def serve(self, port: int) -> None:
        """Serve the figures at this port of 127.0.0.1 from now on; a port that is taken is only logged."""
        try:
            self._server = start_http_server(port, HOST, registry=self.registry)
        except OSError as error:
            get_log().warning("metrics_not_served", port=port, why=error.strerror or str(error))

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            server, thread = self._server
            self._server = None
            server.shutdown()
            server.server_close()
            thread.join(5)


class _StatusCollector(Collector):
    """The last status, in the words of Prometheus."""

    def __init__(self) -> None:
        self.status: Mapping[str, Any] | None = None

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        status = self.status
        if status is None:
            return
        counts = status["counts"]
        pictures = CounterMetricFamily(f"{PREFIX}_pictures", "Answers, by status.", labels=["status"])
        for name in ("read", "review", "failed"):
            pictures.add_metric([name], counts[name])
        yield pictures
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"{PREFIX}_{name}", text, value=counts[name])
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=counts[name])
        states = GaugeMetricFamily(f"{PREFIX}_state", "1 for the state it is in.", labels=["state"])
        for state in STATES:
            states.add_metric([state], float(status["state"] == state))
        yield states
        yield from _single_figures(status)


def _single_figures(status: Mapping[str, Any]) -> Iterator[Metric]:
    """What is one number, or information with the value 1."""
    oldest_s, model, config = status["oldest_waiting_s"], status["model"] or {}, status.get("config") or {}
    watcher = status["watcher"] or {}
    single = {
        "oldest_waiting_seconds": (
            "How long the oldest waiting file has waited; 0 when none waits.",
            0.0 if oldest_s is None else max(0.0, status["written_at_s"] - oldest_s),
        ),
        "start_timestamp_seconds": ("When the worker started.", status["started_at_s"]),
        "alive_timestamp_seconds": ("When the worker last gave a sign of life.", status["written_at_s"]),
        "model_timestamp_seconds": ("Since when this model serves.", model.get("since_s", 0.0)),
        "model_refused": ("1 while a new model is refused.", float(bool(model.get("refused")))),
        "config_refused": ("1 while a new configuration is refused.", float(bool(config.get("refused")))),
        "config_awaiting_restart": (
            "Keys that were changed and wait for a restart.",
            float(len(config.get("awaiting_restart", ()))),
        ),
        "watcher_alive": ("1 while the inbox is watched.", float(bool(watcher.get("alive")))),
    }
    for name, (text, value) in single.items():
        yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)
    info = GaugeMetricFamily(
        f"{PREFIX}_info",
        "Which worker and model this is.",
        labels=["version", "model", "model_sha256", "watching"],
    )
    info.add_metric(
        [status["version"], model.get("name", ""), model.get("sha256", ""), watcher.get("mode", "")], 1.0
    )
    yield info
