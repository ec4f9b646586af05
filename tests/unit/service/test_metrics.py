"""The figures for Prometheus agree with the status, and the dashboard and the alerts ask for figures that exist."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from worker.reasons import ReasonCode
from worker.service.figures import Figures
from worker.service.metrics import COUNTERS, GAUGES, STATES, Metrics
from worker.service.status import Process, starting_status
from worker.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
SUFFIXES = ("_bucket", "_sum", "_count")


def status(**more: Any) -> dict[str, Any]:
    found = starting_status(Process(1, time.time()), time.time())
    found["counts"] |= {name: number for number, name in enumerate([*COUNTERS, *GAUGES], 1)}
    found["counts"] |= {"read": 70, "review": 20, "failed": 10}
    found["model"] = {"name": "digits", "sha256": "a" * 64, "since_s": 5.0, "refused": None}
    found["watcher"] = {"mode": "inotify", "alive": True, "fallback": None}
    return found | more


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def names() -> set[str]:
    metrics = Metrics()
    metrics.status(status())
    return {name for name, _ in samples(metrics.text())}


def test_what_the_status_tells_is_told_under_the_names_of_prometheus() -> None:
    metrics = Metrics()
    told = status(state="paused", oldest_waiting_s=100.0, written_at_s=130.0)
    metrics.status(told)
    found = samples(metrics.text())
    for name in COUNTERS:
        assert found[f"digit_worker_{name}_total", ()] == told["counts"][name]
    for name in GAUGES:
        assert found[f"digit_worker_{name}", ()] == told["counts"][name]
    assert found["digit_worker_pictures_total", (("status", "review"),)] == 20
    states = {state: found["digit_worker_state", (("state", state),)] for state in STATES}
    assert states == {state: float(state == "paused") for state in STATES}
    assert found["digit_worker_oldest_waiting_seconds", ()] == 30.0
    assert found["digit_worker_model_refused", ()] == 0.0


def test_a_refused_model_and_configuration_show() -> None:
    metrics = Metrics()
    refused = {"why": "broken", "since_s": 1.0}
    model = status()["model"] | {"refused": refused}
    metrics.status(status(model=model, config={"refused": refused, "awaiting_restart": ["inbox", "threads"]}))
    found = samples(metrics.text())
    assert found["digit_worker_model_refused", ()] == 1.0
    assert found["digit_worker_config_refused", ()] == 1.0
    assert found["digit_worker_config_awaiting_restart", ()] == 2.0


def test_batches_are_counted_by_size_time_and_reason() -> None:
    metrics = Metrics()
    metrics.batch([0.02, 0.3, 3.0], ["no_ink", "no_ink"], 0.2)
    metrics.batch([], [], 0.1)  # of which nothing was published
    found = samples(metrics.text())
    assert found["digit_worker_latency_seconds_count", ()] == 3
    assert found["digit_worker_latency_seconds_bucket", (("le", "0.5"),)] == 2
    assert found["digit_worker_batch_files_sum", ()] == 3
    assert found["digit_worker_batch_duration_seconds_count", ()] == 1
    assert found["digit_worker_reasons_total", (("reason", "no_ink"),)] == 2


def test_each_reason_is_there_from_the_start_and_no_label_is_without_bounds() -> None:
    metrics = Metrics()
    metrics.status(status())
    found = samples(metrics.text())
    assert {dict(labels)["reason"] for name, labels in found if name == "digit_worker_reasons_total"} == {
        code.value for code in ReasonCode
    }
    assert {key for _, labels in found for key, _ in labels} == {
        "status", "state", "reason", "le", "version", "model", "model_sha256", "watching"
    }  # fmt: skip


def test_no_name_is_one_of_node_exporters_own() -> None:
    assert all(name.startswith("digit_worker_") for name in names())


def _asked() -> Iterator[tuple[str, str]]:
    for rule in yaml.safe_load((ROOT / "packaging" / "alerts.yml").read_text())["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]
    dashboard = json.loads((ROOT / "packaging" / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable["name"], variable["query"]


@pytest.mark.parametrize(("place", "query"), list(_asked()))
def test_every_figure_that_dashboard_and_alerts_ask_for_exists(place: str, query: str) -> None:
    asked = set(re.findall(r"\bdigit_worker_\w+", query))
    assert asked or place == "datasource"
    assert asked <= names()


def test_every_alert_tells_what_to_do_and_every_jump_has_one() -> None:
    rules = yaml.safe_load((ROOT / "packaging" / "alerts.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert len(rule["annotations"]["description"]) > 60
        assert rule["expr"].count("(") == rule["expr"].count(")")
    jumps = " ".join(rule["expr"] for rule in rules if "offset" in rule["expr"])
    assert 'status="review"' in jumps
    assert 'status="failed"' in jumps


def test_the_reference_names_every_figure_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(digit_worker_\w+)`", page, flags=re.MULTILINE))
    families = {re.sub(rf"({'|'.join(SUFFIXES)})$", "", name) for name in names()}
    assert documented == families


# --- where they are written -----------------------------------------------------------------------


def test_the_file_is_whole_and_readable_for_all_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / ".digit-worker").mkdir()
    figures = Figures(Settings(outbox=tmp_path))
    figures.publish(status(), is_last=False)
    path = tmp_path / ".digit-worker" / "metrics.prom"
    assert path.stat().st_mode & 0o777 == 0o644
    assert samples(path.read_bytes())["digit_worker_pictures_total", (("status", "read"),)] == 70
    assert list(path.parent.iterdir()) == [path]
    figures.publish(status(state="idle"), is_last=False)  # too soon for another one
    assert b'state="idle"} 0' in path.read_bytes()
    figures.publish(status(state="stopped"), is_last=True)
    assert b'state="stopped"} 1' in path.read_bytes()


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    figures = Figures(Settings(outbox=tmp_path, metrics_file=str(tmp_path / "gone" / "x.prom")))
    figures.publish(status(), is_last=True)
    figures.change(Settings(outbox=tmp_path, metrics_file=str(tmp_path / "x.prom")))
    figures.publish(status(), is_last=True)
    assert (tmp_path / "x.prom").exists()


def test_none_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".digit-worker").mkdir()
    figures = Figures(Settings(outbox=tmp_path, metrics_file="none"))
    figures.publish(status(), is_last=True)
    assert list((tmp_path / ".digit-worker").iterdir()) == []


def test_a_port_serves_the_same_on_the_loopback_alone(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    figures = Figures(Settings(outbox=tmp_path, metrics_file="none", metrics_port=port))
    figures.serve()
    try:
        figures.publish(status(), is_last=False)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b"digit_worker_pictures_total" in answer.read()
        listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        assert f"0100007F:{port:04X}" in listening
        assert f"00000000:{port:04X}" not in listening
    finally:
        figures.close()


def test_a_port_that_is_taken_stops_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        figures = Figures(Settings(outbox=tmp_path, metrics_file="none", metrics_port=taken.getsockname()[1]))
        figures.serve()
        figures.publish(status(), is_last=False)
        figures.close()
