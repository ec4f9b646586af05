"""SIGHUP and SIGUSR1 are noted once each; a closed terminal is no wish for a change."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from worker.service.requests import ChangeSignals
from worker.service.signals import StopSignals, Wake


@pytest.fixture
def wake() -> Iterator[Wake]:
    wake = Wake()
    yield wake
    wake.close()


def raised(number: signal.Signals, wake: Wake) -> None:
    os.kill(os.getpid(), number)
    wake.wait(5)


def test_each_signal_is_taken_once_and_the_handlers_are_given_back(wake: Wake) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGUSR1)]
    with ChangeSignals(wake, lambda: None, is_at_terminal=lambda: False) as signals:
        assert not signals.take_reload()
        raised(signal.SIGHUP, wake)
        raised(signal.SIGHUP, wake)
        assert signals.take_reload()
        assert not signals.take_reload()
        assert not signals.take_debug()
        raised(signal.SIGUSR1, wake)
        assert signals.take_debug()
        assert not signals.take_debug()
    assert [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGUSR1)] == before


def test_a_closed_terminal_asks_for_a_drain(wake: Wake) -> None:
    at_terminal = [True]
    with (
        StopSignals(wake) as stop,
        ChangeSignals(wake, stop.hang_up, is_at_terminal=lambda: at_terminal[0]) as signals,
    ):
        raised(signal.SIGHUP, wake)
        assert signals.take_reload()  # the terminal is there: somebody asked
        received = [stop.received]
        at_terminal[0] = False
        raised(signal.SIGHUP, wake)
        received.append(stop.received)
        assert received == [None, signal.SIGHUP]
        assert not signals.take_reload()
