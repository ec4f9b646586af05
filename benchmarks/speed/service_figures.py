"""The worker from outside: throughput, latency, backlogs, start and idleness."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.speed.material import KINDS, TILES, Kind, fill
from benchmarks.speed.processes import Opponent, Worker, watched

Figures = dict[str, float]


class Contest:
    """All opponents and two workers, each loaded once, that read the same pictures in turn."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._opponents = {
            name: Opponent(name, home / f"{name}.log") for name in ("naive", "offline", "lean")
        }
        self._workers = {
            "worker": Worker(home / "worker"),
            "worker, not durable": Worker(home / "fleeting", durability="none"),
        }
        for worker in self._workers.values():
            worker.until_ready()
        self._turn = 0

    def close(self) -> None:
        """End all of them."""
        for opponent in self._opponents.values():
            opponent.close()
        for worker in self._workers.values():
            worker.stop()

    def round(self, kind: Kind, count: int, naive_count: int) -> dict[str, Figures]:
        """Every opponent once on `count` pictures of a kind (naive on fewer): its figures by name."""
        self._turn += 1
        source = self.home / f"source-{self._turn}"
        fill(source, kind, count)
        few = self.home / f"few-{self._turn}"
        fill(few, kind, min(count, naive_count))
        found: dict[str, Figures] = {}
        names = [*self._opponents, *self._workers]
        start = self._turn % len(names)  # so that nobody always comes after the same one
        for name in names[start:] + names[:start]:
            os.sync()
            if name in self._workers:
                found[name] = self._drop(name, kind, count)
            else:
                target = self.home / f"target-{self._turn}-{name}"
                figures = self._opponents[name].read(few if name == "naive" else source, target)
                found[name] = _rates(figures)
        return found

    def _drop(self, name: str, kind: Kind, count: int) -> Figures:
        """The worker on pictures that appear in its inbox by rename, as fast as they can."""
        worker = self._workers[name]
        ready = worker.home / "ready"
        names = fill(ready, kind, count, prefix=f"{self._turn}-")
        os.sync()
        before_s = worker.cpu_s()
        with watched(worker.outbox) as records:
            started_s = time.perf_counter()
            for each in names:
                os.rename(ready / each, worker.inbox / each)
            records.wait_for(count, worker)
            seconds = max(records.seen_s.values()) - started_s
        time.sleep(0.3)  # the last group is made durable
        figures = {
            "files": float(count),
            "seconds": seconds,
            "cpu_s": worker.cpu_s() - before_s,
            "peak_mib": worker.memory_mib(),
        }
        _take_away(worker.outbox, worker.home / f"taken-{self._turn}")
        return _rates(figures)


def _rates(figures: Figures) -> Figures:
    files = figures["files"]
    return {
        "files a second": files / figures["seconds"],
        "CPU ms a file": figures["cpu_s"] / files * 1000,
        "peak MiB": figures["peak_mib"],
    }


def _take_away(outbox: Path, target: Path) -> None:
    """Move the records away, as a consumer would; the hidden folder stays.

    Nothing is deleted between two rounds, by anybody: for minutes ext4 looks at every inode that was freed
    lately before it gives out a new one, and the cost of that (24 µs for a new file become 450 after three
    thousand deletions) falls on whoever writes next.
    """
    target.mkdir()
    for entry in list(outbox.iterdir()):
        if not entry.name.startswith("."):
            entry.rename(target / entry.name)


@contextmanager
def running(home: Path, **settings: str | float) -> Iterator[Worker]:
    """A worker that is ready, on folders that are thrown away afterwards."""
    shutil.rmtree(home, ignore_errors=True)
    with Worker(home, **settings) as worker:
        worker.until_ready()
        yield worker
    shutil.rmtree(home, ignore_errors=True)


def latency(home: Path, engine: str, per_s: float, count: int) -> Figures:
    """Milliseconds from the writer's close to the visible record, tiles arriving at an even pace."""
    with running(home, engine=engine) as worker:
        fill(home / "warm", TILES, 100, prefix="warm-")
        with watched(worker.outbox) as records:
            for path in sorted((home / "warm").iterdir()):
                path.rename(worker.inbox / path.name)
            records.wait_for(100, worker)
        time.sleep(1.0)
        drawn = [path.read_bytes() for path in _drawn(home)]
        closed_s: dict[str, float] = {}
        with watched(worker.outbox) as records:
            next_s = time.perf_counter()
            for index in range(count):
                time.sleep(max(0.0, next_s - time.perf_counter()))
                next_s += 1 / per_s
                name = f"lone-{index:05}.png"
                with open(worker.inbox / name, "wb", buffering=0) as file:
                    file.write(drawn[index % len(drawn)])
                closed_s[name] = time.perf_counter()
            records.wait_for(count, worker, longest_s=120)
            times_ms = np.array([records.seen_s[name] - closed_s[name] for name in closed_s]) * 1000
    return {"p50 ms": float(np.percentile(times_ms, 50)), "p99 ms": float(np.percentile(times_ms, 99))}


def _drawn(home: Path) -> list[Path]:
    folder = home / "drawn"
    fill(folder, TILES, 50)
    return sorted(folder.iterdir())


def backlog(home: Path, count: int) -> Figures:
    """A worker that starts before a full inbox: the time a file from the first record to the last."""
    shutil.rmtree(home, ignore_errors=True)
    fill(home / "inbox", TILES, count)
    (home / "outbox").mkdir()
    os.sync()
    with watched(home / "outbox") as records, Worker(home) as worker:
        worker.until_ready()
        records.wait_for(count, worker)
        moments = sorted(records.seen_s.values())
        figures = {
            "ms a file": (moments[-1] - moments[0]) / max(1, count - 1) * 1000,
            "peak MiB": worker.memory_mib(),
            "CPU ms a file": worker.cpu_s() / count * 1000,
        }
    shutil.rmtree(home, ignore_errors=True)
    return figures


def start_and_idle(home: Path, engine: str, idle_s: float) -> Figures:
    """Seconds from the start to READY, memory then, and the share of a processor that idling takes."""
    with running(home, engine=engine):
        pass  # once, so that the files are in the page cache
    shutil.rmtree(home, ignore_errors=True)
    with Worker(home, engine=engine) as worker:
        ready_s = worker.until_ready()
        memory_mib = worker.memory_mib("VmRSS")
        fill(home / "some", KINDS["tiles"], 200)
        with watched(worker.outbox) as records:
            for path in sorted((home / "some").iterdir()):
                path.rename(worker.inbox / path.name)
            records.wait_for(200, worker)
        time.sleep(3.0)
        before_s, started_s = worker.cpu_s(), time.perf_counter()
        time.sleep(idle_s)
        share = (worker.cpu_s() - before_s) / (time.perf_counter() - started_s)
        peak_mib = worker.memory_mib()
    shutil.rmtree(home, ignore_errors=True)
    return {
        "start to READY s": ready_s,
        "MiB when ready": memory_mib,
        "MiB at most": peak_mib,
        "idle % of a core": share * 100,
    }
