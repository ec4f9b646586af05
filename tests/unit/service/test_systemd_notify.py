"""The service manager hears what sd_notify(3) says, when it should, and a missing manager disturbs nothing."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.service.systemd import EXTEND_EVERY_S, Notifier


class Clock:
    """A clock that stands until it is moved."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Manager:
    """The listening end of a notify socket."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notifier(manager: Manager, tmp_path: Path, clock: Clock) -> Iterator[Notifier]:
    notifier = Notifier(str(tmp_path / "notify"), watchdog_s=20.0, clock=clock)
    yield notifier
    notifier.close()


def test_ready_reload_and_stop_are_said_in_the_words_of_the_protocol(
    notifier: Notifier, manager: Manager
) -> None:
    notifier.ready()
    before_us = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    notifier.stopping()
    ready, reloading, again, stopping = manager.heard()
    assert (ready, again, stopping) == ("READY=1", "READY=1", "STOPPING=1")
    first, second = reloading.split("\n")
    assert first == "RELOADING=1"
    assert before_us <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_the_watchdog_is_answered_at_least_twice_as_often_as_it_asks(
    notifier: Notifier, manager: Manager, clock: Clock
) -> None:
    notifier.ready()
    manager.heard()
    pings_s = []
    for _ in range(60):
        notifier.alive()
        if manager.heard() == ["WATCHDOG=1"]:
            pings_s.append(clock.now_s)
        clock.now_s += 1.0
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(pings_s)]
    assert pings_s[0] == 1000.0
    assert max(gaps_s) <= 10.0
    assert min(gaps_s) >= 2.0  # and it is not flooded
    assert notifier.next_word_s <= pings_s[-1] + 10.0


def test_while_it_starts_and_stops_more_time_is_asked_for(
    notifier: Notifier, manager: Manager, clock: Clock
) -> None:
    for end in (notifier.ready, notifier.stopping):
        notifier.alive()
        notifier.alive()
        clock.now_s += EXTEND_EVERY_S
        notifier.alive()
        extensions = [word for word in manager.heard() if word.startswith("EXTEND_TIMEOUT_USEC=")]
        assert len(extensions) == (2 if end == notifier.ready else 0)
        assert all(int(word.split("=")[1]) >= 2 * EXTEND_EVERY_S * 1e6 for word in extensions)
        end()
    notifier.alive()
    assert any(word.startswith("EXTEND_TIMEOUT_USEC=") for word in manager.heard())


def test_the_status_is_one_line_and_comes_once_a_second_at_most(
    notifier: Notifier, manager: Manager, clock: Clock
) -> None:
    notifier.status("one\nREADY=1")
    notifier.status("two")
    clock.now_s += 1.0
    notifier.status("three")
    notifier.status("three")
    clock.now_s += 1.0
    notifier.status("three")
    assert manager.heard() == ["STATUS=one READY=1", "STATUS=three"]


def test_an_abstract_socket_is_spoken_to() -> None:
    name = f"digit-worker-test-{os.getpid()}"
    manager = Manager(b"\0" + name.encode())
    Notifier("@" + name).ready()
    assert manager.heard() == ["READY=1"]
    manager.socket.close()


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "/nowhere/notify"])
def test_without_a_manager_nothing_fails(address: str | None) -> None:
    notifier = Notifier(address, watchdog_s=1.0)
    for say in (notifier.ready, notifier.alive, notifier.reloading, notifier.stopping, notifier.close):
        say()
    notifier.status("alone")


def test_a_manager_that_does_not_read_holds_nothing_up(
    notifier: Notifier, manager: Manager, clock: Clock
) -> None:
    notifier.ready()
    started_s = time.monotonic()
    for number in range(2000):  # far more than a socket's queue holds
        clock.now_s += 30.0
        notifier.status(str(number))
        notifier.alive()
    assert time.monotonic() - started_s < 5
    assert len(manager.heard()) < 2000


@pytest.mark.parametrize(
    ("environment", "is_asked"),
    [
        ({"WATCHDOG_USEC": "8000000"}, True),
        ({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "77"}, True),
        ({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "78"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
def test_the_watchdog_is_answered_by_the_process_it_asks(
    environment: dict[str, str], is_asked: bool, manager: Manager, tmp_path: Path
) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environment}, pid=77)
    notifier.ready()
    notifier.alive()
    assert ("WATCHDOG=1" in manager.heard()) == is_asked
    notifier.close()
