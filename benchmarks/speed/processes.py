"""The processes that are measured: opponents that answer requests, and the worker with its folders."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 900.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Opponent:
    """One opponent's process, loaded once and asked many times."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.speed.opponents", name],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._answer()

    def read(self, source: Path, target: Path) -> dict[str, float]:
        """Let it read all of `source`; its figures."""
        if self._process.stdin is None:
            raise AssertionError
        self._process.stdin.write(json.dumps({"source": str(source), "target": str(target)}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)

    def _answer(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise AssertionError
        while line := self._process.stdout.readline():
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                if isinstance(answer, dict):
                    return answer
        raise RuntimeError(f"the opponent {self.name} ended; see its log")


def environment() -> dict[str, str]:
    """The environment of all that is measured: this checkout, and no talk of TensorFlow."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


class Worker:
    """The real `run` on folders of its own below `home`."""

    def __init__(self, home: Path, **settings: str | float) -> None:
        self.home = home
        self.inbox, self.outbox = home / "inbox", home / "outbox"
        for folder in (self.inbox, self.outbox):
            folder.mkdir(parents=True, exist_ok=True)
        lines = {"inbox": "inbox", "outbox": "outbox", "model": ROOT / "models" / "digits", **settings}
        config = home / "config.yaml"
        config.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
        self.log = home / "log"
        self.started_s = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run", "--config", str(config)],
                cwd=ROOT,
                env=environment(),
                stderr=log,
            )

    def until_ready(self) -> float:
        """Wait for its READY; seconds since it was started."""
        while b'"event": "ready"' not in self.log.read_bytes():
            self._check()
            time.sleep(0.005)
        return time.perf_counter() - self.started_s

    def _check(self) -> None:
        if self.process.poll() is not None or time.perf_counter() - self.started_s > LONGEST_S:
            raise RuntimeError(f"the worker ended or is too slow:\n{self.log.read_text()[-2000:]}")

    def cpu_s(self) -> float:
        """Processor time that it and its helpers have used, in seconds."""
        return sum(_cpu_s(pid) for pid in [self.process.pid, *self._helpers()])

    def memory_mib(self, what: str = "VmHWM") -> float:
        """Its memory and that of its helpers: the peaks (VmHWM) or what they hold now (VmRSS)."""
        return sum(_memory_mib(pid, what) for pid in [self.process.pid, *self._helpers()])

    def _helpers(self) -> list[int]:
        """The processes that it has started and that live."""
        found = []
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in (thread / "children").read_text().split()]
        return found

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # a helper that has just ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory_mib(pid: int, what: str) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
    return 0.0


_IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Records:
    """Records as they become visible in an outbox: the moment of each, told by inotify, without polling."""

    def __init__(self, outbox: Path) -> None:
        self.seen_s: dict[str, float] = {}
        self._is_ended = False
        self._fd = _libc.inotify_init1(os.O_CLOEXEC)
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(outbox), _IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify is not to be had")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._is_ended:
            if not select.select([self._fd], [], [], 0.2)[0]:
                continue
            data = os.read(self._fd, 1 << 18)
            now_s = time.perf_counter()
            at = 0
            while at < len(data):
                _, _, _, length = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                at += _EVENT.size + length
                if name.endswith(b".json"):
                    self.seen_s[name[:-5].decode()] = now_s

    def wait_for(self, count: int, worker: Worker, longest_s: float = LONGEST_S) -> None:
        """Wait until so many records were seen."""
        end_s = time.perf_counter() + longest_s
        while len(self.seen_s) < count:
            if worker.process.poll() is not None or time.perf_counter() > end_s:
                raise RuntimeError(f"{len(self.seen_s)} of {count} records; {worker.log.read_text()[-2000:]}")
            time.sleep(0.01)

    def close(self) -> None:
        """Stop listening."""
        self._is_ended = True
        self._thread.join()
        os.close(self._fd)


@contextlib.contextmanager
def watched(outbox: Path) -> Iterator[Records]:
    """Records of `outbox` while the block runs."""
    records = Records(outbox)
    try:
        yield records
    finally:
        records.close()
