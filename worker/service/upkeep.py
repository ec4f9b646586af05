"""Upkeep: what is done now and then beside the work, in small steps on the thread that owns the outbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future

from worker.delivery.names import DONE, FAILED
from worker.delivery.retention import KeepRule, Sweep
from worker.logs import get_log
from worker.settings import Settings

FIRST_S = 60.0  # after the start
EVERY_S = 3600.0
STEP_ENTRIES = 200  # about 2 ms of a warm disk: no batch waits for longer than that
STEP_PAUSE_S = 0.05
_DAY_S = 86_400


def keep_rules(settings: Settings) -> dict[str, KeepRule]:
    """What the settings say of each folder of originals; folders without a limit are left out."""
    rules = {
        DONE: _rule(settings.keep_done_days, settings.keep_done_mb),
        FAILED: _rule(settings.keep_failed_days, settings.keep_failed_mb),
    }
    return {folder: rule for folder, rule in rules.items() if not rule.is_endless}


def _rule(days: float | None, megabytes: float | None) -> KeepRule:
    return KeepRule(
        max_age_s=None if days is None else days * _DAY_S,
        max_bytes=None if megabytes is None else round(megabytes * 1_000_000),
    )


class Upkeep:
    """Sweeps the folders of originals every `EVERY_S`; does nothing at all where everything is kept."""

    def __init__(
        self,
        settings: Settings,
        now_s: float,
        *,
        first_s: float = FIRST_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._next_s = now_s + first_s
        self._to_do: list[tuple[str, KeepRule]] = []
        self._sweep: tuple[str, Sweep] | None = None
        self._step: Future[bool] | None = None

    def change(self, settings: Settings, now_s: float) -> None:
        """Follow other settings; new rules are followed soon."""
        if keep_rules(settings) != keep_rules(self._settings):
            self._next_s = min(self._next_s, now_s + FIRST_S)
        self._settings = settings

    def go_on(self, now_s: float, executor: Executor) -> None:
        """Take the next step where one is due; it returns at once, the executor does the work."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + STEP_PAUSE_S
        if self._step is not None:
            if not self._step.done():
                return
            ended, self._step = self._step, None
            self._note(ended)
            if not self._sweep and not self._to_do:
                self._next_s = now_s + EVERY_S
                return
        if self._sweep is None:
            self._begin()
        if self._sweep is None:
            self._next_s = now_s + EVERY_S
            return
        self._step = executor.submit(self._sweep[1].go_on, STEP_ENTRIES)

    def next_s(self) -> float:
        """When there is something to do, by the monotonic clock; infinity while everything is kept."""
        return self._next_s if self._sweep or self._to_do or keep_rules(self._settings) else float("inf")

    def _begin(self) -> None:
        """The next folder of this round, or the first of a new one."""
        if not self._to_do:
            self._to_do = list(keep_rules(self._settings).items())
        if self._to_do:
            folder, rule = self._to_do.pop(0)
            self._sweep = folder, Sweep(self._settings.outbox / folder, rule, self._clock())

    def _note(self, ended: Future[bool]) -> None:
        """Close a sweep that is over, and tell what it came to."""
        if self._sweep is None:
            return
        folder, sweep = self._sweep
        try:
            if ended.result():
                return
        except OSError as error:
            get_log().warning("originals_not_swept", folder=folder, why=error.strerror or str(error))
        self._sweep = None
        sweep.close()
        removed = sweep.removed
        if removed.files or removed.hindered:
            get_log().info(
                "originals_removed",
                folder=folder,
                files=removed.files,
                bytes=removed.size_bytes,
                hindered=removed.hindered,
            )
