"""The driver tells the service manager how it is, and falls silent when a stage hangs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import worker.service.liveness
from tests.integration.test_driver import Bench, bench  # noqa: F401 - a fixture
from worker.intake.arrivals import Arrival
from worker.service.liveness import Liveness
from worker.service.systemd import Notifier

WATCHDOG_S = 0.8


class Manager:
    """Listens, and remembers when it heard what."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.words: list[tuple[float, str]] = []
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self) -> None:
        while (word := self.socket.recv(4096).decode()) != "end":
            self.words.append((time.monotonic(), word))

    def said(self, start: str) -> list[float]:
        return [when_s for when_s, word in self.words if word.startswith(start)]

    def until(self, start: str, timeout_s: float = 15.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not self.said(start):
            assert time.monotonic() < end_s, self.words
            time.sleep(0.01)

    def close(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", str(path))
        self.thread.join(10)
        self.socket.close()


@pytest.fixture
def manager(tmp_path: Path, bench: Bench) -> Iterator[Manager]:  # noqa: F811
    path = tmp_path / "notify"
    manager = Manager(path)
    notifier = Notifier(str(path), WATCHDOG_S)
    liveness = Liveness(notifier)
    driver = bench.driver
    driver.close()
    driver._liveness, driver._notifier = liveness, notifier
    driver._readers._own.thread = liveness.reading.thread("reading")
    driver._delivery_thread = liveness.delivery.thread("delivery")
    yield manager
    manager.close(path)
    notifier.close()


def test_a_life_as_the_service_manager_hears_it(bench: Bench, manager: Manager) -> None:  # noqa: F811
    bench.start()
    bench.drop("a.png", "b.png")
    bench.wait_for(["a.png", "b.png"])
    manager.until("STATUS=idle: 2 answered (2 read, 0 review, 0 failed), 0 waiting, 0 in work")
    bench.end()
    words = [word for _, word in manager.words]
    assert words[0] == "READY=1"
    assert words.count("READY=1") == 1
    assert words.count("STOPPING=1") == 1
    assert words.index("STOPPING=1") > words.index("WATCHDOG=1")


def test_an_idle_driver_answers_the_watchdog_although_nothing_wakes_it(
    bench: Bench,  # noqa: F811
    manager: Manager,
) -> None:
    bench.start()
    manager.until("READY=1")
    time.sleep(3 * WATCHDOG_S)
    bench.end()
    # A busy machine may delay one or the other; a loop that slept until its own next look would give 2.
    assert len(manager.said("WATCHDOG=1")) >= 5


def test_a_batch_that_never_returns_silences_the_driver(
    bench: Bench,  # noqa: F811
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker.service.liveness, "STEP_LIMIT_S", 0.5)
    go = threading.Event()

    def hang(arrivals: Sequence[Arrival]) -> Any:
        go.wait(30)

    bench.reader.before = hang
    bench.start()
    bench.drop("a.png")
    manager.until("STATUS=working")
    end_s = time.monotonic() + 15
    while manager.said("WATCHDOG=1")[-1] > time.monotonic() - 3 * WATCHDOG_S:
        assert time.monotonic() < end_s, "the watchdog is answered although nothing gets on"
        time.sleep(0.05)
    silent_since_s = manager.said("WATCHDOG=1")[-1]
    assert bench.thread is not None
    assert bench.thread.is_alive()  # the loop itself turned all the time
    go.set()
    bench.wait_for(["a.png"])
    end_s = time.monotonic() + 15
    while manager.said("WATCHDOG=1")[-1] == silent_since_s:
        assert time.monotonic() < end_s
        time.sleep(0.05)
