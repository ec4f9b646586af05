"""What wakes the driver: hints, finished work, and the signals that ask it to stop."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType
from typing import ClassVar, Self


class Wake:
    """A flag that one thread waits for and anybody may set: other threads, and signal handlers too.

    A `threading.Event` must not be set by a signal handler: the handler may interrupt the very wait
    that holds its lock. Writing to an eventfd is safe anywhere.
    """

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        """Let `wait` return."""
        os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Forget what was set."""
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            return

    def wait(self, timeout_s: float) -> None:
        """Sleep until somebody sets the flag, at most `timeout_s`; then forget it."""
        select.select([self._descriptor], [], [], max(0.0, timeout_s))
        self.clear()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class Handlers:
    """A context in which `_handle` gets the signals of `NUMBERS`; the old handlers return when it ends."""

    NUMBERS: ClassVar[tuple[signal.Signals, ...]]

    def __init__(self) -> None:
        self._old: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        for number in self.NUMBERS:
            self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._old:
            signal.signal(*self._old.popitem())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; it may interrupt any line of the main thread."""
        raise NotImplementedError


class StopSignals(Handlers):
    """A context in which SIGTERM and SIGINT ask for a drain; the old handlers return when it ends.

    A second SIGINT ends the program at once, as people at a terminal expect.
    """

    NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, wake: Wake) -> None:
        super().__init__()
        self._wake = wake
        self.received: signal.Signals | None = None

    @property
    def stop_requested(self) -> bool:
        """Whether one of the two has come."""
        return self.received is not None

    def hang_up(self) -> None:
        """Ask for a drain as SIGTERM does, because the terminal is gone."""
        self.received = signal.SIGHUP
        self._wake.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received is signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        self._wake.set()
