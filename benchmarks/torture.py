"""Kill the real worker at random, again and again, while files come in; each must be answered once.

    python -m benchmarks.torture [--files 20000] [--kills 500] [--seed 1] [--engine litert] [--folder DIR] [--json FILE]

Starts `python -m worker run` on folders of its own, drops pictures in bursts, and sends SIGKILL at random
moments (while it starts, reads, commits and recovers). Two thirds of the records are taken away with their
pictures as soon as they are seen, as a fast consumer does. At the end the disk is held to the law: each drop has
exactly one record, its original lies in done/ with the same bytes, nothing is staged, nothing is torn.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
_SHAPES = 50
_HIDDEN = ".digit-worker"


@dataclass
class Campaign:
    """One campaign: its folders, what was dropped, what the consumer took."""

    base: Path
    files: int
    kills: int
    seed: int
    longest_s: float
    engine: str = "tensorflow"
    dropped: dict[str, str] = field(default_factory=dict)  # name → SHA-256
    answers: Counter[str] = field(default_factory=Counter)
    torn: list[str] = field(default_factory=list)
    killed: int = 0
    killed_at_work: int = 0
    starts: int = 0

    def __post_init__(self) -> None:
        self.inbox, self.outbox = self.base / "inbox", self.base / "outbox"
        self.ready = self.base / "ready"
        for folder in (self.inbox, self.outbox, self.ready):
            folder.mkdir()
        self.config = self.base / "config.yaml"
        self.config.write_text(
            f"inbox: inbox\noutbox: outbox\nmodel: {ROOT / 'models' / 'digits'}\nbatch_size: 16\n"
            f"engine: {self.engine}\n"
        )
        self.random = random.Random(self.seed)

    def run(self) -> dict[str, float]:
        """Drop, kill, consume until all is answered; returns the figures."""
        begun_s = time.monotonic()
        burst = max(1, self.files // (self.kills + 1))
        while self.killed < self.kills:
            self._within(begun_s)
            process = self._start()
            self._drop(burst)
            # Half of the kills fall while the worker has work, the rest anywhere from its first moment on.
            if self.random.random() < 0.5:
                self._wait_for_work(process)
                time.sleep(self.random.uniform(0.0, 0.03))
            else:
                self._consume_for(self.random.uniform(0.1, 5.0))
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.killed_at_work += self._is_half_done()
            self.killed += 1
            if self.killed % 10 == 0:
                print(f"{self.killed} kills, {sum(self.answers.values())} taken", file=sys.stderr, flush=True)
        process = self._start()
        self._drop(self.files - len(self.dropped))
        while any(path.suffix == ".png" for path in self.inbox.iterdir()):
            self._within(begun_s)
            self._consume_for(0.5)
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        return {**self._judged(), "exit code": code, "seconds": round(time.monotonic() - begun_s, 1)}

    def _within(self, begun_s: float) -> None:
        if time.monotonic() - begun_s > self.longest_s:
            raise TimeoutError(f"not done in {self.longest_s:g} s; after {self.killed} kills")

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        with (self.base / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "worker", "run", "--config", str(self.config)], cwd=ROOT, stderr=log
            )

    def _drop(self, many: int) -> None:
        for number in range(len(self.dropped), min(len(self.dropped) + many, self.files)):
            name = f"{number:06}.png"
            # Bytes that no other file has: an original that took another's place would be seen.
            data = some_picture(number)
            (self.ready / name).write_bytes(data)
            os.rename(self.ready / name, self.inbox / name)
            self.dropped[name] = hashlib.sha256(data).hexdigest()

    def _wait_for_work(self, process: subprocess.Popen[bytes]) -> None:
        journal = self.outbox / _HIDDEN / "journal"
        # What the worker before has left is finished first: its recovery is as good a moment as a commit.
        before = set(journal.glob("*")) if journal.is_dir() and self.random.random() < 0.8 else set()
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s and process.poll() is None:
            if journal.is_dir() and set(journal.glob("*")) - before:
                return
            time.sleep(0.001)

    def _is_half_done(self) -> bool:
        hidden = self.outbox / _HIDDEN
        return any(any((hidden / part).glob("*")) for part in ("staging", "journal"))

    def _consume_for(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while True:
            self._consume(keep_a_third=True)
            if time.monotonic() >= end_s:
                return
            time.sleep(0.01)

    def _consume(self, *, keep_a_third: bool) -> None:
        for entry in list(os.scandir(self.outbox)):
            if not entry.name.endswith(".json"):
                continue
            name = entry.name.removesuffix(".json")
            if keep_a_third and int(name[:6]) % 3 == 0:
                continue
            self._take(Path(entry.path))

    def _take(self, path: Path) -> None:
        """Read a record with its picture, note it, remove both."""
        try:
            record = json.loads(path.read_bytes())
            name, annotated = record["source"]["name"], record["annotated"]
            if record["source"]["sha256"] != self.dropped[name] or record["status"] == "failed":
                self.torn.append(path.name)
            if annotated is not None:
                picture = self.outbox / annotated
                if cv2.imdecode(np.frombuffer(picture.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE) is None:
                    self.torn.append(annotated)
                picture.unlink()
        except (ValueError, KeyError, FileNotFoundError):
            self.torn.append(path.name)
            name = path.name.removesuffix(".json")
        self.answers[name] += 1
        path.unlink()

    def _judged(self) -> dict[str, float]:
        self._consume(keep_a_third=False)
        done = self.outbox / "done"
        misplaced = [
            name
            for name, digest in self.dropped.items()
            if not (done / name).is_file() or hashlib.sha256((done / name).read_bytes()).hexdigest() != digest
        ]
        staged = [
            path for part in ("staging", "journal") for path in (self.outbox / _HIDDEN / part).iterdir()
        ]
        shown = {path.name for path in self.outbox.iterdir()} - {"done", _HIDDEN}
        return {
            "files": len(self.dropped),
            "kills": self.killed,
            "kills with work half done": self.killed_at_work,
            "starts": self.starts,
            "lost": sum(self.answers[name] == 0 for name in self.dropped),
            "double": sum(self.answers[name] > 1 for name in self.dropped),
            "torn": len(self.torn),
            "originals not in done": len(misplaced),
            "left over": len(staged) + len(shown) + len(set(os.listdir(done)) - set(self.dropped)),
        }


def some_picture(number: int) -> bytes:
    """A small PNG with a digit; no two numbers have the same bytes."""
    return _SHAPE[number % _SHAPES] + f"{number:06}.png".encode()


def _shape(index: int) -> bytes:
    page = np.full((28, 28), 255, np.uint8)
    cv2.putText(page, str(index % 10), (4 + index % 5, 22), index % 4, 0.7, 0, 1, cv2.LINE_AA)
    return cv2.imencode(".png", page)[1].tobytes()


_SHAPE = [_shape(index) for index in range(_SHAPES)]
BROKEN = ("lost", "double", "torn", "originals not in done", "left over", "exit code")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a campaign and print its figures; 0 when the law held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=main.__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="default: 20000")
    parser.add_argument("--kills", type=int, default=500, help="default: 500")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=7200.0, help="seconds; default: 7200")
    parser.add_argument(
        "--engine",
        choices=("tensorflow", "litert"),
        default="tensorflow",
        help="litert starts in a tenth of the time, so that more of a campaign is work and less is starting",
    )
    parser.add_argument("--folder", type=Path, help="where to work; a real disk, please")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="digit-worker-torture-") as folder:
        campaign = Campaign(
            Path(folder), options.files, options.kills, options.seed, options.longest, options.engine
        )
        figures = campaign.run()
    for name, value in figures.items():
        print(f"{name:28}{value:>10}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
    return int(any(figures[name] for name in BROKEN))


if __name__ == "__main__":
    sys.exit(main())
