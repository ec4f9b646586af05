"""What the worker writes of itself while it works: the status file, and the metrics."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from worker.logs import get_log
from worker.service.figures import Figures
from worker.service.health import write_status
from worker.service.status import Books, Process, State, status_of
from worker.settings import Settings

LEAST_BETWEEN_S = 0.1  # two states that are both worth writing down


class Bulletin:
    """Says which state the worker is in, and writes it down at every heartbeat and change of state; in one thread."""

    def __init__(self, settings: Settings, figures: Figures, report: Callable[[], Mapping[str, Any]]) -> None:
        """`report` gives `model` and, where it can change, `config`, as the status shows them."""
        self._settings = settings
        self._figures = figures
        self._report = report
        self._process = Process(os.getpid(), time.time())
        self._state = State("starting", time.time())
        self.next_s = 0.0  # when it is to be written next
        self.on_heartbeat: Callable[[], None] = lambda: None  # called whenever it was

    def follow(self, settings: Settings, now_s: float) -> None:
        """Tell by other settings, and at once."""
        self._settings = settings
        self._figures.change(settings)
        self.next_s = now_s

    def tell(self, state: str, books: Callable[[], Books], now_s: float) -> None:
        """The worker is in this state now; `books` is asked for when its time has come to be written down."""
        self.enter(state, now_s)
        if now_s >= self.next_s:
            self.next_s = now_s + self._settings.heartbeat_s
            self.write(state, books())
            self.on_heartbeat()

    def enter(self, state: str, now_s: float) -> None:
        """Note the state, and write it down soon where it is another one."""
        if state != self._state.name:
            self._state = State(state, time.time())
            self.next_s = min(self.next_s, now_s + LEAST_BETWEEN_S)

    def write(self, state: str, books: Books) -> None:
        """Leave a sign of life. Where even that fails (a full disk), the log has said why already."""
        said = self._report()
        status = status_of(
            self._process,
            State(state, self._state.since_s),
            books,
            time.time(),
            model=said["model"],
            config=said.get("config"),
        )
        self._figures.publish(status, is_last=state == "stopped")
        try:
            write_status(self._settings.outbox, status)
        except OSError as error:
            get_log().debug("status_not_written", why=str(error))
