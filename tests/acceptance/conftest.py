"""The real program, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from worker.training.pen import draw_scan

ROOT = Path(__file__).resolve().parents[2]
START_S = 90.0  # TensorFlow on a busy machine


def png(digit: int, seed: int = 0, height_px: int = 64) -> bytes:
    """A drawn digit as a PNG file."""
    page = draw_scan(digit, np.random.default_rng(seed), height_px=height_px, paper=255, ink=10, noise=0.0)
    return cv2.imencode(".png", page)[1].tobytes()


def run_cli(*arguments: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """The program run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "worker", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def eventually(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """The first true value of `condition`; fails when there is none in time."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout_s:g} s")


@dataclass
class Worker:
    """A running `worker run`, its folders and its log."""

    process: subprocess.Popen[bytes]
    inbox: Path
    outbox: Path
    config: Path
    log: Path

    def drop(self, name: str, data: bytes) -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def record(self, name: str, timeout_s: float = 20.0) -> dict[str, Any]:
        path = self.outbox / f"{name}.json"
        eventually(path.exists, timeout_s)
        content: dict[str, Any] = json.loads(path.read_bytes())
        return content

    def events(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines(keepends=True)  # the last may be half written
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def has_event(self, name: str) -> bool:
        return any(event["event"] == name for event in self.events())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder with inbox, outbox and a configuration of three lines and quick times."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "outbox").mkdir()
    write_config(tmp_path)
    return tmp_path


def write_config(folder: Path, *lines: str) -> Path:
    """The configuration of a test: three lines and what else is given; a `model` among it goes first."""
    config = folder / "config.yaml"
    shipped = (
        [] if any(line.startswith("model:") for line in lines) else [f"model: {ROOT / 'models' / 'digits'}"]
    )
    config.write_text("\n".join(["inbox: inbox", "outbox: outbox", *shipped, *lines]) + "\n")
    return config


@pytest.fixture
def start(folders: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*lines: str, wait_for: str = "ready", arguments: Sequence[str] = ()) -> Worker:
        config = write_config(folders, *lines)
        log = folders / f"log-{len(started)}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run", "--config", str(config), *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=file,
            )
        started.append(process)
        worker = Worker(process, folders / "inbox", folders / "outbox", config, log)
        if wait_for:
            eventually(lambda: worker.has_event(wait_for) or process.poll() is not None, START_S)
            assert worker.has_event(wait_for), log.read_text()
        return worker

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait(10)
