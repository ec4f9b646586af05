"""The driver wakes for hints and signals, and signals are given back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from worker.service.signals import StopSignals, Wake


@pytest.fixture
def wake() -> Iterator[Wake]:
    wake = Wake()
    yield wake
    wake.close()


def test_a_flag_set_before_the_wait_is_not_lost(wake: Wake) -> None:
    wake.set()
    started_s = time.monotonic()
    wake.wait(5)
    assert time.monotonic() - started_s < 1


def test_another_thread_ends_the_wait(wake: Wake) -> None:
    thread = threading.Thread(target=wake.set)
    thread.start()
    started_s = time.monotonic()
    wake.wait(5)
    thread.join()
    assert time.monotonic() - started_s < 1


def test_the_flag_is_forgotten_after_the_wait_and_by_clear(wake: Wake) -> None:
    wake.set()
    wake.set()
    wake.clear()
    started_s = time.monotonic()
    wake.wait(0.05)
    assert time.monotonic() - started_s >= 0.04


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_a_drain_and_ends_the_wait(wake: Wake, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignals(wake) as stop:
        os.kill(os.getpid(), number)
        wake.wait(5)
        assert stop.stop_requested
        assert stop.received is number
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait_for_the_drain(wake: Wake) -> None:
    with StopSignals(wake), pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the signals are the statement
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            wake.wait(1)
