"""Can the worker be left alone? Processor time while idle; memory and descriptors over hours and many files.

    python -m benchmarks.soak [--idle-cpu-s 300] [--idle-s 3600] [--files 50000] [--swaps 20] [--folder DIR]

Starts `python -m worker run` on folders of its own below DIR (default: a temporary folder) and looks at nothing
but /proc, the outbox and the log. One phase after the other: warm up, idle (with rescans every second, so that an
hour shows what days would), files in waves, idle again, and the shipped model put in place again and again. Every
loop is bounded. Ends with 1 where something grew, or idling cost more than it may; the limits are options.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
START_S = 300.0
WAVE = 2000
WAVE_LONGEST_S = 600.0
SAMPLE_S = 10.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Soak:
    """A running worker, and what was measured of it so far."""

    folder: Path
    process: subprocess.Popen[bytes]
    figures: dict[str, float] = field(default_factory=dict)

    def memory_mib(self) -> float:
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise KeyError("VmRSS")

    def descriptors(self) -> int:
        """How many descriptors are open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def processor_s(self) -> float:
        """Processor time since the start, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    def log_has(self, event: str) -> int:
        """How often an event stands in the log."""
        return (self.folder / "log").read_bytes().count(f'"event": "{event}"'.encode())

    def wait_for(self, condition: Callable[[], bool], longest_s: float) -> None:
        """Wait; TimeoutError when it takes too long, or the worker has ended."""
        end_s = time.monotonic() + longest_s
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end_s:
                raise TimeoutError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--idle-cpu-s", type=float, default=300, help="idle with the defaults (default: 300)")
    parser.add_argument("--idle-s", type=float, default=3600, help="idle with many rescans (default: 3600)")
    parser.add_argument("--files", type=int, default=50_000, help="files to read (default: 50000)")
    parser.add_argument("--swaps", type=int, default=20, help="models to put in place (default: 20)")
    parser.add_argument("--most-cpu-percent", type=float, default=0.5, help="while idle (default: 0.5)")
    parser.add_argument(
        "--most-growth-mib",
        type=float,
        default=20,
        help="while idle, and over the second half of the files (default: 20)",
    )
    parser.add_argument("--folder", type=Path, help="where to work; a real disk, please")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="digit-worker-soak-") as name:
        soak = _started(Path(name))
        try:
            soak.wait_for(lambda: soak.log_has("ready") > 0, START_S)
            _waves(soak, "warm", 4 * WAVE)  # threads, caches, arenas of the allocator
            _idle_cpu(soak, options.idle_cpu_s)
            _rescan_every(soak, 1.0)
            _idle(soak, options.idle_s)
            _rescan_every(soak, 30.0)
            _files(soak, options.files)
            _swaps(soak, options.swaps)
        finally:
            soak.process.send_signal(signal.SIGTERM)
            code = soak.process.wait(60)
    return _judged(soak.figures, options) or code


def _started(folder: Path) -> Soak:
    for name in ("inbox", "outbox", "ready"):
        (folder / name).mkdir()
    shutil.copytree(ROOT / "models" / "digits", folder / "models" / "a")
    shutil.copytree(ROOT / "models" / "digits", folder / "models" / "b")
    # A card that differs in nothing but a remark makes it another model to the worker.
    card = folder / "models" / "b" / "card.json"
    content = json.loads(card.read_text())
    content["seed"] = (content.get("seed") or 0) + 1
    card.write_text(json.dumps(content))
    (folder / "models" / "current").symlink_to("a")
    _configure(folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "run", "--config", str(folder / "config.yaml")],
            cwd=ROOT,
            stderr=log,
        )
    return Soak(folder, process)


def _configure(folder: Path, *lines: str) -> None:
    shipped = ("inbox: inbox", "outbox: outbox", "model: models/current")
    (folder / "config.yaml").write_text("\n".join([*shipped, *lines]) + "\n")


def _rescan_every(soak: Soak, seconds: float) -> None:
    before = soak.log_has("config_reloaded")
    _configure(soak.folder, f"rescan_s: {seconds}")
    soak.process.send_signal(signal.SIGHUP)
    soak.wait_for(partial(_has_more, soak, "config_reloaded", before), 60)


def _has_more(soak: Soak, event: str, before: int) -> bool:
    return soak.log_has(event) > before


def _idle_cpu(soak: Soak, seconds: float) -> None:
    """Processor time while nothing happens, with the configuration as it ships."""
    time.sleep(min(5.0, seconds))  # the last batch's flush and status
    before_s, began_s = soak.processor_s(), time.monotonic()
    time.sleep(seconds)
    used = (soak.processor_s() - before_s) / (time.monotonic() - began_s)
    soak.figures["idle, percent of one core"] = used * 100


def _idle(soak: Soak, seconds: float) -> None:
    """Memory and descriptors while nothing is dropped and the inbox is looked through again and again."""
    for number in range(200):  # something to walk over: what is no picture stays where it is
        (soak.folder / "inbox" / f"note-{number}.txt").write_text("left alone")
    memory_mib, descriptors = soak.memory_mib(), soak.descriptors()
    for _ in _samples(seconds):
        if soak.process.poll() is not None:
            raise TimeoutError("the worker ended")
    soak.figures["idle for, s"] = seconds
    soak.figures["growth while idle, MiB"] = soak.memory_mib() - memory_mib
    soak.figures["growth while idle, descriptors"] = soak.descriptors() - descriptors


def _samples(seconds: float) -> Iterator[None]:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(max(0.0, min(SAMPLE_S, end_s - time.monotonic())))
        yield


def _files(soak: Soak, count: int) -> None:
    """Memory and descriptors over many files; records are taken away as a consumer would.

    Arenas of the allocator fill up for a while; what grows in the second half as well would never end.
    """
    memory_mib, descriptors = soak.memory_mib(), soak.descriptors()
    began_s = time.monotonic()
    _waves(soak, "first", count // 2)
    half_mib = soak.memory_mib()
    _waves(soak, "second", count - count // 2)
    soak.figures["files"] = count
    soak.figures["files a second, with dropping and clearing"] = count / (time.monotonic() - began_s)
    time.sleep(3)
    soak.figures["growth over the first half, MiB"] = half_mib - memory_mib
    soak.figures["growth over the second half, MiB"] = soak.memory_mib() - half_mib
    soak.figures["growth over the files, descriptors"] = soak.descriptors() - descriptors


def _waves(soak: Soak, prefix: str, count: int) -> None:
    """Drop so many files, a wave at a time, and clear the outbox after each."""
    tiles = [_tile(index) for index in range(200)]
    for first in range(0, count, WAVE):
        names = [f"{prefix}-{number:06}.png" for number in range(first, min(first + WAVE, count))]
        for index, name in enumerate(names):
            part = soak.folder / "ready" / name
            part.write_bytes(tiles[index % len(tiles)])
            part.rename(soak.folder / "inbox" / name)
        soak.wait_for(partial(_are_answered, soak.folder, names), WAVE_LONGEST_S)
        outbox = soak.folder / "outbox"
        for folder in (outbox, outbox / "done"):
            for entry in list(os.scandir(folder)):
                if entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)


def _are_answered(folder: Path, names: Sequence[str]) -> bool:
    """Whether the inbox is empty and as many records lie there as files were dropped."""
    if any((folder / "inbox").glob("*.png")):
        return False
    return len(list((folder / "outbox").glob("*.json"))) >= len(names)


def _swaps(soak: Soak, count: int) -> None:
    """Memory and descriptors over many models put in place; the first two pay for what is loaded once."""
    if count < 3:
        return
    memory_mib, descriptors = 0.0, 0
    for number in range(count):
        if number == 2:
            memory_mib, descriptors = soak.memory_mib(), soak.descriptors()
        before = soak.log_has("model_swapped")
        new = soak.folder / "models" / "new"
        new.symlink_to("ba"[number % 2])
        new.replace(soak.folder / "models" / "current")
        soak.wait_for(partial(_has_more, soak, "model_swapped", before), 120)
    soak.figures["models put in place"] = count
    soak.figures["growth for each model, MiB"] = (soak.memory_mib() - memory_mib) / (count - 2)
    soak.figures["growth over the models, descriptors"] = soak.descriptors() - descriptors


def _tile(index: int) -> bytes:
    """A 28x28 PNG with a printed digit somewhat askew."""
    rng = np.random.default_rng(index)
    page = np.full((28, 28), 255, np.uint8)
    place = (int(rng.integers(3, 9)), int(rng.integers(20, 25)))
    cv2.putText(page, str(index % 10), place, 0, float(rng.uniform(0.6, 0.8)), 0, 1, cv2.LINE_AA)
    return cv2.imencode(".png", page)[1].tobytes()


def _judged(figures: dict[str, float], options: argparse.Namespace) -> int:
    """Print the figures; 1 where one is over its limit."""
    for name, value in figures.items():
        print(f"{name:44}{value:10.2f}")
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    limits = {
        "idle, percent of one core": options.most_cpu_percent,
        "growth while idle, MiB": options.most_growth_mib,
        "growth while idle, descriptors": 0,
        "growth over the first half, MiB": 4 * options.most_growth_mib,
        "growth over the second half, MiB": options.most_growth_mib,
        "growth over the files, descriptors": 0,
        "growth for each model, MiB": 1,
        "growth over the models, descriptors": 0,
    }
    over = [name for name, limit in limits.items() if figures.get(name, 0) > limit]
    for name in over:
        print(f"OVER ITS LIMIT: {name}")
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
