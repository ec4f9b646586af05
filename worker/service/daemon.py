"""What `run` does, from the folders to the exit code: locks, recovery, model, watcher, and then the driver."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from worker import __version__
from worker.delivery.lock import FolderLock
from worker.delivery.outbox import Outbox
from worker.errors import ExitCode, FoldersError, WorldError
from worker.intake.arrivals import IgnoreRules, Inbox, SettleRule
from worker.intake.queue import Hints, Intake
from worker.intake.watcher import Watcher
from worker.logs import get_log
from worker.service.dock import CarefulReader, Dock
from worker.service.doctor import folder_problem
from worker.service.driver import Driver
from worker.service.health import starting_status, write_status
from worker.service.ledger import Ledger
from worker.service.pause import Pause
from worker.service.signals import StopSignals, Wake
from worker.service.trials import Trials
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.recognition.classifier import Classifier


def run_worker(settings: Settings, *, once: bool) -> int:
    """Serve the inbox until a signal asks for the end, or until it is empty; returns the exit code.

    Raises FoldersError, OwnedElsewhereError and ModelError at the start; a world that is merely full or
    busy is waited for.
    """
    log = get_log()
    for key in ("inbox", "outbox"):
        folder = getattr(settings, key)
        problem = folder_problem(folder)
        if problem is not None:
            raise FoldersError(f"{key} {folder} {problem[0]} {problem[1]}")
    with ExitStack() as stack:
        wake = Wake()
        stack.callback(wake.close)
        stop = stack.enter_context(StopSignals(wake))
        waiting = _Waiting(stop, wake)
        locks = [FolderLock(folder) for folder in (settings.inbox, settings.outbox)]
        for lock in locks:
            if not waiting.until_possible(lock.acquire):
                return _ended_by(stop)
            stack.callback(lock.release)
        log.info("starting", version=__version__, pid=os.getpid())
        with contextlib.suppress(OSError):
            write_status(settings.outbox, starting_status())
        # Recovery comes before the model: what an earlier run promised does not wait for TensorFlow.
        outbox = Outbox(settings.inbox, settings.outbox, settings.durability)
        stack.callback(outbox.close)
        if not waiting.until_possible(lambda: _recover(outbox)):
            return _ended_by(stop)
        ledger = Ledger(settings.outbox)
        if not waiting.until_possible(lambda: _take_over(ledger)):
            return _ended_by(stop)
        driver = _driver(settings, locks, outbox, ledger, wake, stop, stack, waiting)
        if driver is None:
            return _ended_by(stop)
        driver.run(once=once)
        log.info("stopped", **driver.tally.as_dict())
    if stop.received is not None:
        return _ended_by(stop)
    return ExitCode.FINDINGS if driver.tally.failed or driver.left_behind else ExitCode.FINE


def _driver(
    settings: Settings,
    locks: Sequence[FolderLock],
    outbox: Outbox,
    ledger: Ledger,
    wake: Wake,
    stop: StopSignals,
    stack: ExitStack,
    waiting: _Waiting,
) -> Driver | None:
    """A driver with everything it needs, all of which `stack` will close; None when asked to stop first."""
    from worker.assembly import load_model, reader_for  # TensorFlow, seconds

    loaded: list[Classifier] = []
    if not waiting.until_possible(lambda: loaded.append(load_model(settings))):
        return None
    model = loaded[0]
    reader = reader_for(settings, model, str(settings.inbox), crosses_mounts=outbox.crosses_mounts())
    stack.callback(reader.close)
    hints = Hints(arrived=_Ring(wake))
    watcher = Watcher(settings.inbox, hints, mode=settings.watch, poll_interval_s=settings.poll_interval_s)
    stack.callback(watcher.stop)
    if not waiting.until_possible(watcher.start):
        return None
    rule = SettleRule(settings.settle_s, max(settings.settle_s, settings.incomplete_after_s))
    intake = Intake(Inbox(settings.inbox, IgnoreRules(settings.ignore)), rule)
    labels = len(model.card.labels)
    trials = Trials(str(settings.inbox), reader.settings, labels, settings.trial_limit_s, wake.set)
    dock = Dock(intake, ledger, trials)
    careful = CarefulReader(reader, ledger)
    driver = Driver(settings, locks, intake, hints, watcher, careful, outbox, model.card, wake, stop, dock)
    stack.callback(driver.close)
    return driver


class _Ring:
    """What hints set: the driver's wake, which only the driver's own wait may clear."""

    def __init__(self, wake: Wake) -> None:
        self._wake = wake

    def set(self) -> None:
        self._wake.set()

    def clear(self) -> None:
        """Nothing: results and signals use the same wake, and theirs must not be lost."""


def _take_over(ledger: Ledger) -> None:
    suspects = ledger.take_over()
    if suspects:
        get_log().warning("suspects", files=suspects)


def _recover(outbox: Outbox) -> None:
    report = outbox.recover()
    if report.published or report.already_out or report.stuck or report.torn or report.swept_files:
        get_log().info(
            "recovered",
            published=len(report.published),
            already_out=len(report.already_out),
            stuck=len(report.stuck),
            torn=len(report.torn),
            swept_files=report.swept_files,
        )


def _ended_by(stop: StopSignals) -> ExitCode:
    return ExitCode.INTERRUPTED if stop.received is signal.SIGINT else ExitCode.FINE


class _Waiting:
    """Waits for the world at the start, as the driver does later."""

    def __init__(self, stop: StopSignals, wake: Wake) -> None:
        self._stop = stop
        self._wake = wake
        self._pause = Pause()

    def until_possible(self, action: Callable[[], object]) -> bool:
        """Do `action`, again and again while the world does not let it; False when asked to stop first."""
        while not self._stop.stop_requested:
            try:
                action()
            except WorldError as fault:
                self._pause.begin(fault, time.monotonic())
                self._wake.wait(self._pause.retry_at_s - time.monotonic())
            else:
                self._pause.end()
                return True
        return False
