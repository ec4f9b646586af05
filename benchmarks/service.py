"""The running worker measured from outside: files a second, latency, memory.

    python -m benchmarks.service [--files 2000] [--more 8000] [--folder DIR]

Starts `python -m worker run` on folders of its own below DIR (default: a temporary folder), drops pictures
that it draws itself, and looks at nothing but the outbox and /proc. Every loop is bounded.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LONGEST_S = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when everything was answered."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000, help="dropped at once (default: 2000)")
    parser.add_argument(
        "--more", type=int, default=8000, help="dropped afterwards, for memory (default: 8000)"
    )
    parser.add_argument("--lone", type=int, default=40, help="files that come alone (default: 40)")
    parser.add_argument("--folder", type=Path, help="where to work; a real disk, please")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="digit-worker-bench-") as folder:
        return _measure(Path(folder), options)


def _measure(folder: Path, options: argparse.Namespace) -> int:
    for name in ("inbox", "outbox", "ready"):
        (folder / name).mkdir()
    config = folder / "config.yaml"
    config.write_text(f"inbox: inbox\noutbox: outbox\nmodel: {ROOT / 'models' / 'digits'}\n")
    tiles = [_tile(index) for index in range(200)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "run", "--config", str(config)], cwd=ROOT, stderr=log
        )
    figures: dict[str, float] = {}
    try:
        started_s = time.monotonic()
        _wait_for(lambda: b'"ready"' in (folder / "log").read_bytes(), process)
        figures["start to ready, s"] = time.monotonic() - started_s
        _flood(folder, tiles, "warm", 200, process)  # threads, caches, allocator
        figures["files a second, dropped at once"] = _flood(folder, tiles, "flood", options.files, process)
        figures["peak memory, MiB"] = _memory_mib(process.pid, "VmHWM")
        figures["lone file, ms, median"] = _lone_ms(folder, tiles, "lone", options.lone)
        figures["among 20 a second, ms, median"] = _among_ms(folder, tiles, options.lone)
        before_mib = _memory_mib(process.pid, "VmRSS")
        if options.more:
            figures["files a second, the rest"] = _flood(folder, tiles, "more", options.more, process)
            figures["memory gained meanwhile, MiB"] = _memory_mib(process.pid, "VmRSS") - before_mib
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    for name, value in figures.items():
        print(f"{name:36}{value:10.1f}")
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))
    return code


def _tile(index: int) -> bytes:
    """A 28x28 PNG with a printed digit somewhat askew."""
    rng = np.random.default_rng(index)
    page = np.full((28, 28), 255, np.uint8)
    place = (int(rng.integers(3, 9)), int(rng.integers(20, 25)))
    font = int(rng.integers(0, 4))
    cv2.putText(
        page,
        str(index % 10),
        place,
        font,
        float(rng.uniform(0.6, 0.8)),
        0,
        int(rng.integers(1, 3)),
        cv2.LINE_AA,
    )
    return cv2.imencode(".png", page)[1].tobytes()


def _flood(
    folder: Path, tiles: Sequence[bytes], prefix: str, count: int, process: subprocess.Popen[bytes]
) -> float:
    """Drop `count` files at once by rename; files a second until the last record is there."""
    names = [f"{prefix}-{index:06}.png" for index in range(count)]
    for index, name in enumerate(names):
        (folder / "ready" / name).write_bytes(tiles[index % len(tiles)])
    os.sync()
    started_s = time.monotonic()
    for name in names:
        os.rename(folder / "ready" / name, folder / "inbox" / name)
    _wait_for(lambda: _records(folder, prefix) >= count, process)
    return count / (time.monotonic() - started_s)


def _records(folder: Path, prefix: str) -> int:
    with os.scandir(folder / "outbox") as entries:
        return sum(entry.name.startswith(prefix) and entry.name.endswith(".json") for entry in entries)


def _lone_ms(folder: Path, tiles: Sequence[bytes], prefix: str, count: int) -> float:
    """The median time from the writer's close to the visible record."""
    times_ms = []
    for index in range(count):
        name = f"{prefix}-{index:04}.png"
        (folder / "inbox" / name).write_bytes(tiles[index % len(tiles)])
        closed_s = time.monotonic()
        while not (folder / "outbox" / f"{name}.json").exists():
            if time.monotonic() > closed_s + 30:
                raise TimeoutError(name)
            time.sleep(0.0005)
        times_ms.append((time.monotonic() - closed_s) * 1000)
        time.sleep(0.05)
    return statistics.median(times_ms)


def _among_ms(folder: Path, tiles: Sequence[bytes], count: int) -> float:
    stop = threading.Event()

    def flow() -> None:
        for index in range(2400):
            (folder / "inbox" / f"flow-{index:05}.png").write_bytes(tiles[index % len(tiles)])
            if stop.wait(0.05):
                return

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        return _lone_ms(folder, tiles, "among", count)
    finally:
        stop.set()
        thread.join()


def _memory_mib(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + LONGEST_S
    while not condition():
        if process.poll() is not None or time.monotonic() > end_s:
            raise TimeoutError("the worker ended, or took too long")
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
