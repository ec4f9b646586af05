"""Signals that ask a running worker to change: SIGHUP (configuration and model anew) and SIGUSR1 (debug log)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from worker.service.signals import Handlers, Wake


class ChangeSignals(Handlers):
    """A context in which SIGHUP and SIGUSR1 are noted and wake the driver; the old handlers return when it ends.

    A SIGHUP that comes because the terminal was closed is no wish for a change: `hang_up` is called.
    """

    NUMBERS = (signal.SIGHUP, signal.SIGUSR1)

    def __init__(
        self,
        wake: Wake,
        hang_up: Callable[[], None],
        *,
        is_at_terminal: Callable[[], bool] = lambda: sys.stderr.isatty(),  # noqa: PLW0108 - what it is then
    ) -> None:
        super().__init__()
        self._wake = wake
        self._hang_up = hang_up
        self._is_at_terminal = is_at_terminal
        self._began_at_terminal = is_at_terminal()
        self._reload = False
        self._debug = False

    def take_reload(self) -> bool:
        """Whether a reload was asked for since the last time."""
        asked, self._reload = self._reload, False
        return asked

    def take_debug(self) -> bool:
        """Whether the debug log was asked for, or asked to end, since the last time."""
        asked, self._debug = self._debug, False
        return asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self._debug = not self._debug
        elif self._began_at_terminal and not self._is_at_terminal():
            self._hang_up()
        else:
            self._reload = True
        self._wake.set()
