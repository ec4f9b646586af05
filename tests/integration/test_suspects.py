"""A picture that ends the worker: its neighbours are answered after one restart, and it alone is blamed.

The worker is the real one but for two things (`hostile.py`): a decoder in which some pictures are deadly, and
a model that needs no TensorFlow.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import hostile

ROOT = Path(__file__).parents[2]
GOOD = [f"good-{number}.png" for number in range(10)]


class Shop:
    """One inbox, one outbox, and worker after worker that serves them."""

    def __init__(self, folder: Path, **config: float) -> None:
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.inbox.mkdir()
        self.outbox.mkdir()
        self.config = folder / "config.yaml"
        lines = {"inbox": "inbox", "outbox": "outbox", "settle_s": 0.1, "rescan_s": 2, "heartbeat_s": 0.2}
        lines |= config
        self.config.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *hostile.WORKER, "run", "--config", str(self.config), *arguments],
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        return self.process

    def drop(self, name: str, ending: bytes = b"") -> None:
        (self.inbox / name).write_bytes(hostile.picture(ending))

    def record(self, name: str) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads((self.outbox / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        return content

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.outbox / ".digit-worker/status.json").read_bytes())
        return content

    def has(self, *names: str) -> bool:
        return all((self.outbox / f"{name}.json").exists() for name in names)

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def eventually(condition: Callable[[], Any], timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, trial_limit_s=4, max_megapixels=1)
    yield shop
    shop.end()


@pytest.fixture
def patient_shop(tmp_path: Path) -> Iterator[Shop]:
    """One whose trials outlast a pause of a busy machine."""
    shop = Shop(tmp_path, trial_limit_s=8, max_megapixels=1)
    yield shop
    shop.end()


@pytest.mark.parametrize(
    ("ending", "number", "sign"),
    [(hostile.SEGFAULT, signal.SIGSEGV, "SIGSEGV"), (hostile.MEMORY, signal.SIGKILL, "MiB of memory")],
)
def test_one_restart_answers_the_neighbours_and_convicts_the_picture_alone(
    shop: Shop, ending: bytes, number: int, sign: str
) -> None:
    shop.drop("bad.png", ending)
    for name in GOOD:
        shop.drop(name)
    assert shop.start().wait(60) == -number
    assert not shop.has("bad.png")
    worker = shop.start()
    eventually(lambda: shop.has("bad.png", *GOOD))
    bad = shop.record("bad.png")
    assert bad is not None
    assert (bad["status"], bad["reason"]["code"]) == ("failed", "crashed_reader")
    assert sign in bad["reason"]["message"]
    assert bad["source"]["sha256"]
    assert {(shop.record(name) or {})["status"] for name in GOOD} <= {"read", "review"}
    assert (shop.outbox / "failed" / "bad.png").exists()
    worker.terminate()
    assert worker.wait(30) == 0
    counts = shop.status()["counts"]
    assert (counts["failed"], counts["on_trial"], counts["waiting"]) == (1, 0, 0)
    # It is over: the next start suspects nobody.
    shop.start("--once").wait(60)
    suspicions = [line for line in shop.log.read_text().splitlines() if '"suspects"' in line]
    assert len(suspicions) == 1


def test_others_do_not_wait_for_a_trial(patient_shop: Shop) -> None:
    shop = patient_shop
    shop.drop("hangs.png", hostile.HANG)
    for name in GOOD:
        shop.drop(name)
    worker = shop.start()
    eventually(lambda: shop.inbox.is_dir() and _is_in_work(shop, "hangs.png"))
    worker.send_signal(signal.SIGABRT)  # as systemd's watchdog does
    worker.wait(30)
    shop.start()
    shop.drop("new.png")
    eventually(lambda: shop.has("new.png"))
    assert not shop.has("hangs.png")
    eventually(lambda: shop.has("hangs.png", *GOOD))
    bad = shop.record("hangs.png")
    assert bad is not None
    assert "more than 8 s" in bad["reason"]["message"]
    assert {(shop.record(name) or {})["status"] for name in GOOD} <= {"read", "review"}


def test_a_worker_that_is_killed_again_and_again_blames_nobody(shop: Shop) -> None:
    names = [f"slow-{number}.png" for number in range(4)]
    for name in names:
        shop.drop(name, hostile.SLOW)
    for _ in range(3):
        worker = shop.start()
        eventually(lambda: _is_in_work(shop, names[0]) or _is_in_work(shop, names[3]) or shop.has(*names))
        worker.kill()
        worker.wait()
    shop.start()
    eventually(lambda: shop.has(*names))
    for name in names:
        record = shop.record(name)
        assert record is not None
        assert record["status"] != "failed", record


def test_what_kills_the_worker_but_no_child_is_never_blamed_and_holds_up_nobody(shop: Shop) -> None:
    shop.drop("odd.png", hostile.WORKER_ONLY)
    for name in GOOD:
        shop.drop(name)
    for _ in range(4):
        shop.start()
        eventually(lambda: shop.has_ended() or shop.has(*GOOD))
        if shop.has(*GOOD):
            break
    eventually(lambda: shop.has(*GOOD), 5)
    assert shop.record("odd.png") is None
    assert (shop.inbox / "odd.png").exists()


def test_a_reload_reaches_the_trials(tmp_path: Path) -> None:
    shop = Shop(tmp_path, trial_limit_s=300)
    (shop.outbox / ".digit-worker").mkdir()
    aside = tmp_path / "hangs.png"
    aside.write_bytes(hostile.picture() + hostile.HANG)
    seen = aside.lstat()
    entry = f"{seen.st_ino} {seen.st_size} {seen.st_mtime_ns} 0 hangs.png".encode()
    (shop.outbox / ".digit-worker/in-work").write_bytes(b"\0\0B\x001\0" + entry + b"\0\0")
    try:
        worker = shop.start()
        eventually(lambda: '"ready"' in shop.log.read_text())
        shop.config.write_text(shop.config.read_text().replace("trial_limit_s: 300", "trial_limit_s: 1"))
        worker.send_signal(signal.SIGHUP)
        eventually(lambda: '"config_reloaded"' in shop.log.read_text())
        aside.rename(shop.inbox / "hangs.png")
        eventually(lambda: shop.has("hangs.png"), 40)
    finally:
        shop.end()
    bad = shop.record("hangs.png")
    assert bad is not None
    assert "more than 1 s" in bad["reason"]["message"]


def test_a_child_that_somebody_kills_leaves_the_picture_waiting(shop: Shop) -> None:
    (shop.outbox / ".digit-worker").mkdir()
    shop.drop("waits.png", hostile.CHILD_KILLED)
    seen = (shop.inbox / "waits.png").lstat()
    entry = f"{seen.st_ino} {seen.st_size} {seen.st_mtime_ns} 0 waits.png".encode()
    (shop.outbox / ".digit-worker/in-work").write_bytes(b"\0\0B\x001\0" + entry + b"\0\0")
    shop.start()
    shop.drop("other.png")
    eventually(lambda: shop.has("other.png"))
    eventually(lambda: shop.log.read_text().count('"trial_void"') >= 2)
    assert shop.record("waits.png") is None
    assert shop.status()["counts"]["failed"] == 0


def _is_in_work(shop: Shop, name: str) -> bool:
    """Whether the last that the ledger noted is the begin of a batch with that file."""
    try:
        content = (shop.outbox / ".digit-worker/in-work").read_bytes()
    except FileNotFoundError:
        return False
    # The file is made first and written to then: in between there is no record in it.
    last = content.split(b"\0\0")[-2:-1]
    return any(record.startswith(b"B\0") and name.encode() in record for record in last)
