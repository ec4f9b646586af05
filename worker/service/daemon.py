"""What `run` does, from the folders to the exit code: locks, recovery, model, watcher, and then the driver."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from worker import __version__
from worker.assembly import settle_rule
from worker.delivery.lock import FolderLock
from worker.delivery.outbox import Outbox
from worker.errors import ExitCode, FoldersError, WorldError
from worker.intake.arrivals import IgnoreRules, Inbox
from worker.intake.queue import Hints, Intake
from worker.intake.watcher import Watcher
from worker.logs import get_log
from worker.processes import program
from worker.scale.helper import Helper
from worker.service.changes import Changes, Serving, Sources
from worker.service.dock import CarefulReader, Dock
from worker.service.doctor import folder_problem
from worker.service.driver import Driver
from worker.service.figures import Figures
from worker.service.health import write_status
from worker.service.ledger import Ledger
from worker.service.liveness import Liveness
from worker.service.model_watch import signature_of
from worker.service.pause import Pause
from worker.service.readers import HelperPlace
from worker.service.requests import ChangeSignals
from worker.service.signals import StopSignals, Wake
from worker.service.status import Process, starting_status
from worker.service.systemd import Notifier
from worker.service.trials import Trials
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.reading import Reader
    from worker.recognition.classifier import Classifier


def run_worker(
    settings: Settings,
    *,
    once: bool,
    read_settings: Callable[[], Settings] | None = None,
    notifier: Notifier | None = None,
    on_heartbeat: Callable[[], None] = lambda: None,
) -> int:
    """Serve the inbox until a signal asks for the end, or until it is empty; returns the exit code.

    `read_settings` reads the configuration anew when SIGHUP asks for it; without it, it stays as it is.
    `notifier` hears how it goes; without one, the service manager that the environment names. `on_heartbeat`
    is called every few seconds, whenever the status is written.

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
        notifier = notifier or Notifier.from_environment(os.environ, os.getpid())
        stack.callback(notifier.close)
        liveness = Liveness(notifier)
        signals = stack.enter_context(ChangeSignals(wake, stop.hang_up))
        waiting = _Waiting(stop, wake, liveness)
        locks = [FolderLock(folder) for folder in (settings.inbox, settings.outbox)]
        for lock in locks:
            if not waiting.until_possible(lock.acquire):
                return _ended_by(stop)
            stack.callback(lock.release)
        log.info("starting", version=__version__, pid=os.getpid())
        with contextlib.suppress(OSError):
            write_status(settings.outbox, starting_status(Process(os.getpid(), time.time()), time.time()))
        # Recovery comes before the model: what an earlier run promised does not wait for TensorFlow.
        outbox = Outbox(settings.inbox, settings.outbox, settings.durability, liveness.delivered)
        stack.callback(outbox.close)
        if not waiting.until_possible(lambda: _recover(outbox)):
            return _ended_by(stop)
        ledger = Ledger(settings.outbox)
        if not waiting.until_possible(lambda: _take_over(ledger)):
            return _ended_by(stop)
        read_settings = read_settings or (lambda: settings)
        driver = _driver(
            settings, locks, outbox, ledger, wake, stop, stack, waiting, liveness, signals, read_settings
        )
        if driver is None:
            return _ended_by(stop)
        driver.bulletin.on_heartbeat = on_heartbeat
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
    liveness: Liveness,
    signals: ChangeSignals,
    read_settings: Callable[[], Settings],
) -> Driver | None:
    """A driver with everything it needs, all of which `stack` will close; None when asked to stop first."""
    liveness.notifier.status("loading the model")
    liveness.beat()
    from worker.assembly import load_model, load_other_model, reader_for  # TensorFlow, seconds

    loaded: list[Classifier] = []
    served = signature_of(settings.model)
    if not waiting.until_possible(lambda: loaded.append(load_model(settings))):
        return None
    model = loaded[0]
    # What is there now stays. Looking for garbage among it would stop all threads for 160 ms instead of 10.
    gc.freeze()
    crosses_mounts = outbox.crosses_mounts()

    def make_reader(settings: Settings, model: Classifier) -> Reader:
        return reader_for(
            settings,
            model,
            str(settings.inbox),
            crosses_mounts=crosses_mounts,
            on_step=liveness.reading.step,
        )

    reader = make_reader(settings, model)
    sources = Sources(read_settings, load_other_model, make_reader)
    changes = Changes(
        Serving(settings, model, reader),
        sources,
        signals,
        served,
        wake=wake.set,
        on_reloading=liveness.notifier.reloading,
        on_ready=liveness.notifier.ready,
    )
    stack.callback(lambda: changes.serving.reader.close())  # noqa: PLW0108 - the one that serves at the end
    stack.callback(changes.close)
    hints = Hints(arrived=_Ring(wake))
    watcher = Watcher(settings.inbox, hints, mode=settings.watch, poll_interval_s=settings.poll_interval_s)
    stack.callback(watcher.stop)
    if not waiting.until_possible(watcher.start):
        return None
    inbox = Inbox(settings.inbox, IgnoreRules(settings.ignore), liveness.beat)
    intake = Intake(inbox, settle_rule(settings))
    intake.expects_events = watcher.mode == "inotify"
    figures = Figures(settings)
    stack.callback(figures.close)
    figures.serve()
    labels = len(model.card.labels)
    trials = Trials(str(settings.inbox), reader.settings, labels, settings.trial_limit_s, wake.set)
    driver = Driver(
        settings, locks, intake, hints, watcher, reader, outbox, model.card, wake, stop,
        dock=Dock(intake, ledger, trials), careful=lambda reader: CarefulReader(reader, ledger),
        liveness=liveness, changes=changes, figures=figures, helpers=_helpers(settings, changes, ledger, wake),
    )  # fmt: skip
    stack.callback(driver.close)
    return driver


def _helpers(settings: Settings, changes: Changes, ledger: Ledger, wake: Wake) -> list[HelperPlace]:
    """The places of the helpers that the settings allow; none of them has started yet."""
    program()  # as it is now, while it is that of this process
    root = str(settings.inbox)

    def make(is_over: Callable[[], bool]) -> Helper:
        return Helper(root, threads=1, is_over=is_over)

    return [
        HelperPlace(lambda: changes.serving.reader, make, ledger, wake.set)
        for _ in range(settings.most_helpers)
    ]


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

    def __init__(self, stop: StopSignals, wake: Wake, liveness: Liveness) -> None:
        self._stop = stop
        self._wake = wake
        self._liveness = liveness
        self._pause = Pause()

    def until_possible(self, action: Callable[[], object]) -> bool:
        """Do `action`, again and again while the world does not let it; False when asked to stop first."""
        while not self._stop.stop_requested:
            self._liveness.beat()
            try:
                action()
            except WorldError as fault:
                self._pause.begin(fault, time.monotonic())
                self._liveness.notifier.status(f"waiting to start: {fault}")
                self._wake.wait(self._pause.retry_at_s - time.monotonic())
            else:
                self._pause.end()
                return True
        return False
