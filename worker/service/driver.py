"""The driver: one loop that looks, hands batches to the reader and outcomes to delivery, and keeps going.

Three threads work at three stages: the driver finds files and decides, one reader thread turns a batch into
outcomes, one delivery thread publishes. Where much waits, helpers read other batches beside the reader (`readers`).
While one batch is published the next is read and a third gathers in the inbox; nothing lingers when there is nothing
else to do. Only the driver touches the intake, only the delivery thread the outbox.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from worker.assembly import settle_rule
from worker.delivery.lock import FolderLock
from worker.delivery.names import printable
from worker.delivery.outbox import Delivery, Fate, Outbox
from worker.errors import WorldError
from worker.intake.arrivals import Arrival, IgnoreRules
from worker.intake.queue import Hints, Intake
from worker.intake.watcher import Watcher
from worker.logs import get_log, last_error
from worker.outcome import Outcome, Status
from worker.reading import Answer
from worker.reasons import ReasonCode
from worker.recognition.card import Card
from worker.service.batch import Batch, tell_of_batch, tell_of_picture
from worker.service.bulletin import Bulletin
from worker.service.changes import Changes
from worker.service.dock import AnyReader, Dock
from worker.service.figures import Figures
from worker.service.liveness import Liveness
from worker.service.pause import Pause
from worker.service.readers import HelperPlace, OwnPlace, Readers
from worker.service.signals import StopSignals, Wake
from worker.service.status import Books, Fault, Tally, Watching, in_a_line
from worker.service.systemd import Notifier
from worker.service.upkeep import Upkeep
from worker.settings import Settings

LONGEST_WAIT_S = 1.0  # between two looks at whether the watcher still lives
STUCK_RETRY_S = 30.0


class Driver:
    """Serves one inbox until asked to stop. `run` is called once, from the main thread."""

    def __init__(
        self,
        settings: Settings,
        locks: Sequence[FolderLock],
        intake: Intake,
        hints: Hints,
        watcher: Watcher,
        reader: AnyReader,
        outbox: Outbox,
        card: Card,
        wake: Wake,
        stop: StopSignals,
        dock: Dock | None = None,
        *,
        helpers: Sequence[HelperPlace] = (),
        careful: Callable[[AnyReader], AnyReader] = lambda reader: reader,
        liveness: Liveness | None = None,
        changes: Changes | None = None,
        figures: Figures | None = None,
    ) -> None:
        self._settings = settings
        self._locks = locks
        self._intake = intake
        self._hints = hints
        self._watcher = watcher
        self._careful = careful
        self._changing_reader = changes.serving.reader if changes is not None else None
        self._outbox = outbox
        self._card = card
        self._wake = wake
        self._stop = stop
        self._liveness = liveness or Liveness(Notifier(None))
        self._notifier = self._liveness.notifier
        self._changes = changes
        self._figures = figures or Figures(settings)
        self.bulletin = Bulletin(settings, self._figures, self._report)
        self._upkeep = Upkeep(settings, time.monotonic())
        self._batches = 0
        self._dock = dock
        self._log = get_log()
        self._pause = Pause()
        self.tally = Tally()
        self._read: deque[Batch] = deque()  # read, and waiting for delivery to be free
        self._delivering: tuple[Batch, Future[list[Delivery]]] | None = None
        self._flushing: Future[None] | None = None
        self._is_flushed = True
        own = OwnPlace(careful(reader), self._liveness.reading.thread("driver-reading"))
        self._readers = Readers(own, helpers, wake.set)
        self._delivery_thread = self._liveness.delivery.thread("driver-delivery")
        now_s = time.monotonic()
        self._next_scan_s = now_s
        self._next_stuck_s = now_s + STUCK_RETRY_S
        self._next_watch_s = now_s
        self._blocked_said: set[str] = set()

    @property
    def left_behind(self) -> int:
        """How many files of the inbox could not be answered because they may not be read or moved."""
        counts = self._intake.counts
        blocked = sum(max(1, folder.pictures) for folder in self._intake.blocked.values())
        return counts.waiting + counts.stuck + blocked

    def close(self) -> None:
        """Let the threads go."""
        if self._dock is not None:
            self._dock.close()
        self._readers.close()
        self._delivery_thread.shutdown()

    def run(self, *, once: bool) -> None:
        """Look, read and publish until asked to stop, or (`once`) until nothing is left to answer.

        Stopping drains: what is in work is finished and published, what waits stays in the inbox.
        """
        self._scan(time.monotonic())
        self._log.info(
            "ready",
            model=self._card.name,
            watching=self._watcher.mode,
            waiting=self._intake.counts.waiting,
            foreign=self._intake.counts.foreign,
        )
        self._notifier.ready()
        while True:
            now_s = time.monotonic()
            self._collect(now_s)
            self._change(now_s)
            self._follow_trials(now_s)
            if self._stop.stop_requested:
                if self._is_drained():
                    break
            elif self._pause.what is None:
                self._look(now_s)
                self._start_reading(now_s)
            self._start_delivery(now_s)
            if once and self._is_empty():
                break
            self._flush_when_idle()
            if self._pause.what is None and self._delivering is None:
                self._upkeep.go_on(now_s, self._delivery_thread)
            self._beat(now_s)
            self._wake.wait(self._timeout_s(now_s, once=once))
        self._end()

    # --- looking ------------------------------------------------------------------------------------

    def _look(self, now_s: float) -> None:
        """Follow hints and clocks. A fault of the world starts a pause."""
        try:
            # First of all: in a folder that is not ours (any more) nothing has vanished, and nothing is new.
            self._own_the_folders()
            self._intake.look(self._hints.take(), now_s)
            if now_s >= self._next_watch_s:
                self._next_watch_s = now_s + LONGEST_WAIT_S
                if not self._watcher.is_alive():
                    self._watch_again()
            if now_s >= self._next_scan_s:
                self._scan(now_s)
        except WorldError as fault:
            self._pause.begin(fault, now_s)

    def _scan(self, now_s: float) -> None:
        self._next_scan_s = now_s + self._settings.rescan_s
        try:
            self._intake.scan(now_s)
        except WorldError as fault:
            self._pause.begin(fault, now_s)
            return
        blocked = self._intake.blocked
        for folder in set(blocked) - self._blocked_said:
            self._log.warning("folder_blocked", folder=printable(folder), why=blocked[folder].reason)
        self._blocked_said = set(blocked)

    # --- changing -----------------------------------------------------------------------------------

    def _change(self, now_s: float) -> None:
        """Take over another model or other settings; the batch in work is read to its end by what took it."""
        serving = self._changes.step(now_s) if self._changes is not None else None
        if serving is None:
            return
        if serving.reader is not self._changing_reader:
            old, self._changing_reader = self._changing_reader, serving.reader
            self._readers.change(self._careful(serving.reader), None if old is None else old.close)
            del old
        self._card = serving.card
        if self._dock is not None:
            limit_s = serving.settings.trial_limit_s
            self._dock.follow(serving.reader.settings, len(serving.card.labels), limit_s)
        if serving.settings is not self._settings:
            self._follow(serving.settings, now_s)

    def _follow(self, settings: Settings, now_s: float) -> None:
        """Follow other settings; which keys may differ is said in `changes.LIVE_KEYS`."""
        before, self._settings = self._settings, settings
        self._intake.change_rule(settle_rule(settings))
        if settings.ignore != before.ignore:
            self._intake.change_ignore(IgnoreRules(settings.ignore))
            self._next_scan_s = now_s
        self._next_scan_s = min(self._next_scan_s, now_s + settings.rescan_s)
        self._upkeep.change(settings, now_s)
        self.bulletin.follow(settings, now_s)

    # --- reading ------------------------------------------------------------------------------------

    def _start_reading(self, now_s: float) -> None:
        """Hand the next batches to those who are free to read, if delivery is not far behind."""
        while self._pause.what is None and self._read_next(now_s):
            pass
        self._readers.step(now_s, self._intake.counts.ready)

    def _read_next(self, now_s: float) -> bool:
        """Hand out one batch; False when there is none, or nobody to read it."""
        waiting = self._intake.counts.ready
        room = self._readers.room(waiting, len(self._read), self._settings.batch_size)
        if not room:
            return False
        arrivals: list[Arrival] = []
        if self._dock is not None and self._readers.own_is_free:
            arrivals = self._dock.next_alone(now_s, is_idle=not waiting)
        arrivals = arrivals or self._intake.take(room, now_s)
        if arrivals:
            self._batches += 1
            self._readers.begin(Batch(self._batches, arrivals, now_s, self._card, []), waiting)
        return bool(arrivals)

    def _follow_trials(self, now_s: float) -> None:
        """Have the convicts of the trials answered."""
        outcomes = self._dock.convicts(now_s) if self._dock is not None else []
        if outcomes:
            self._batches += 1
            arrivals = [outcome.arrival for outcome in outcomes]
            self._read.append(Batch(self._batches, arrivals, now_s, self._card, outcomes))

    def _collect(self, now_s: float) -> None:
        """Take what readers and delivery have finished."""
        for batch, future in self._readers.done():
            try:
                answers = future.result()
            except WorldError as fault:
                self._pause.begin(fault, now_s)
                for arrival in batch.arrivals:
                    self._intake.changed(arrival, now_s)
            else:
                batch.outcomes = self._sorted_out(answers, now_s)
                if batch.outcomes:
                    self._read.append(batch)
        if self._delivering is not None and self._delivering[1].done():
            (batch, delivered), self._delivering = self._delivering, None
            try:
                deliveries = delivered.result()
            except WorldError as fault:
                # The same outcomes are committed again when the world is well: nothing is published twice.
                self._pause.begin(fault, now_s)
                self._read.appendleft(batch)
            else:
                self._pause.end()
                self._settle(batch, deliveries, now_s)
        if self._flushing is not None and self._flushing.done():
            flushed, self._flushing = self._flushing, None
            try:
                flushed.result()
                self._is_flushed = True
            except WorldError as fault:
                self._pause.begin(fault, now_s)
        if self._pause.what is not None and now_s >= self._pause.retry_at_s:
            self._try_again(now_s)

    def _sorted_out(self, answers: Sequence[Answer], now_s: float) -> list[Outcome]:
        """The outcomes among the answers; arrivals without an answer go back to the intake."""
        outcomes = []
        for answer in answers:
            if isinstance(answer, Outcome):
                outcomes.append(answer)
            elif answer.why in ("unfinished", "disk_error"):
                self._intake.unfinished(answer.arrival, now_s)
            elif answer.why == "suspect" and self._dock is not None:
                self._dock.take_in(answer.arrival)
            elif answer.why == "changed":
                self._intake.changed(answer.arrival, now_s)
            else:
                self._intake.vanished(answer.arrival)
        return outcomes

    # --- delivery -----------------------------------------------------------------------------------

    def _start_delivery(self, now_s: float) -> None:
        """Hand what was read to delivery, if it is free and the world well (or due to be tried again)."""
        if not self._read or self._delivering is not None or self._flushing is not None:
            return
        if self._pause.what is not None:
            if now_s < self._pause.retry_at_s:
                return
            try:
                self._own_the_folders()
            except WorldError as fault:
                self._pause.begin(fault, now_s)
                return
        batch = self._read.popleft()
        future = self._delivery_thread.submit(
            self._outbox.commit, batch.outcomes, batch.card.name, batch.card.sha256
        )
        future.add_done_callback(lambda _: self._wake.set())
        self._delivering = (batch, future)
        self._is_flushed = False

    def _settle(self, batch: Batch, deliveries: Sequence[Delivery], now_s: float) -> None:
        """Tell intake and log what became of a batch."""
        counts = {status.value: 0 for status in Status}
        answered: list[Outcome] = []
        for outcome, delivery in zip(batch.outcomes, deliveries, strict=True):
            if delivery.fate is Fate.CHANGED:
                self._intake.changed(outcome.arrival, now_s)
                continue
            if delivery.fate is Fate.STUCK and delivery.record is None:
                self._intake.stuck(outcome.arrival, now_s)  # answered by an earlier run
                self.tally.answered_before += 1
                continue
            counts[outcome.status.value] += 1
            answered.append(outcome)
            if delivery.fate is Fate.STUCK:
                self._intake.stuck(outcome.arrival, now_s)
                self._log.warning("original_stuck", name=printable(outcome.arrival.name))
            else:
                self._intake.finished(outcome.arrival)
            tell_of_picture(batch, outcome, delivery)
            if self._dock is not None and outcome.reason and outcome.reason.code is ReasonCode.CRASHED_READER:
                self._dock.answered(outcome.arrival.name)
        self.tally.add(counts)
        took_s = time.monotonic() - batch.taken_at_s
        self._figures.batch(answered, took_s, now_s)
        tell_of_batch(batch, counts, took_s, self._intake.counts.waiting)

    def _try_again(self, now_s: float) -> None:
        """See whether the world is well again; delivery's own try is the next commit."""
        if self._read or self._delivering is not None:
            return
        self._next_scan_s = now_s
        try:
            self._outbox_is_well()
            if not self._watcher.is_alive():
                self._watch_again()
            self._intake.scan(now_s)
        except WorldError as fault:
            self._pause.begin(fault, now_s)
        else:
            self._pause.lift()

    def _watch_again(self) -> None:
        """Watch the folder that is the inbox now, and own it: it may have been removed and made again."""
        self._own_the_folders()
        self._watcher.restart()
        self._intake.expects_events = self._watcher.mode == "inotify"
        self._log.warning("watcher_restarted", mode=self._watcher.mode)

    def _own_the_folders(self) -> None:
        """Hold the locks of the folders that are there now, which may not be those of the start."""
        try:
            for lock in self._locks:
                lock.ensure()
        except WorldError:
            # Nothing of a folder that is gone stays open: its file system may have to be repaired.
            self._liveness.result_of(self._delivery_thread.submit(self._outbox.close))
            raise

    def _outbox_is_well(self) -> None:
        self._own_the_folders()
        if self._outbox.needs_recovery:
            self._liveness.result_of(self._delivery_thread.submit(self._outbox.recover))
        if self._dock is not None:
            self._dock.probe()

    def _flush_when_idle(self) -> None:
        """Make what was published durable and clear the log as soon as there is nothing else to do."""
        is_busy = self._readers.in_work or self._read or self._delivering or self._flushing
        if not (self._is_flushed or is_busy or self._pause.what) and not self._intake.counts.ready:
            self._flushing = self._delivery_thread.submit(self._outbox.flush)
            self._flushing.add_done_callback(lambda _: self._wake.set())

    # --- ending -------------------------------------------------------------------------------------

    def _is_drained(self) -> bool:
        """Whether nothing is in work any more, or the world does not let it be finished now."""
        if self._readers.in_work or self._delivering is not None:
            return False
        return not self._read or self._pause.what is not None

    def _is_empty(self) -> bool:
        counts = self._intake.counts
        return counts.in_work == 0 and counts.waiting == counts.held and self._pause.what is None

    def _end(self) -> None:
        self.bulletin.enter("stopping", time.monotonic())
        self._notifier.stopping()
        if self._read:
            unpublished = sum(len(batch.outcomes) for batch in self._read)
            self._log.warning("not_published", files=unpublished, why=self._pause.what)
        try:
            if not self._outbox.needs_recovery:
                self._liveness.result_of(self._delivery_thread.submit(self._outbox.flush))
        except WorldError as fault:
            self._log.warning("not_flushed", why=str(fault))
        self.bulletin.write("stopped", self._books())
        self._liveness.beat()  # the last one: what follows is the end of threads and of the interpreter

    # --- saying what happens ------------------------------------------------------------------------

    def _timeout_s(self, now_s: float, *, once: bool) -> float:
        """How long nothing needs to be done unless something happens."""
        moments = [self.bulletin.next_s, now_s + LONGEST_WAIT_S]
        if not self._stop.stop_requested:  # nothing is looked for any more
            moments.append(self._next_scan_s)
        if self._delivering is None:
            moments.append(self._upkeep.next_s())
        if self._pause.what is not None:
            moments = [self.bulletin.next_s]
            if self._delivering is None and self._flushing is None and not self._readers.in_work:
                moments.append(self._pause.retry_at_s)
        elif not self._readers.in_work and not self._read and not self._stop.stop_requested:
            deadline_s = self._intake.next_deadline(now_s)
            if deadline_s is not None:
                moments.append(deadline_s)
            trial_s = self._dock.next_deadline() if self._dock is not None else None
            if trial_s is not None:
                moments.append(trial_s)
        moments.append(self._notifier.next_word_s)
        return max(0.0, min(moments) - time.monotonic())

    def _beat(self, now_s: float) -> None:
        """Say what is being done to all who want to know, and try stuck originals now and then."""
        if now_s >= self._next_stuck_s and self._intake.stuck_arrivals and self._delivering is None:
            self._next_stuck_s = now_s + STUCK_RETRY_S
            self._retire_stuck()
        self._liveness.beat()
        if self._stop.stop_requested:
            self._notifier.stopping()
            state = "draining"
        elif self._pause.what is not None:
            state = "paused"
        else:
            state = "working" if self._intake.counts.in_work else "idle"
        self._notifier.status(in_a_line(state, self._pause.what, self.tally, self._intake.counts))
        self.bulletin.tell(state, self._books, now_s)

    def _retire_stuck(self) -> None:
        try:
            freed = set(self._liveness.result_of(self._delivery_thread.submit(self._outbox.retire_again)))
        except WorldError as fault:
            self._pause.begin(fault, time.monotonic())
            return
        for arrival in self._intake.stuck_arrivals:
            if arrival.name in freed:
                self._intake.finished(arrival)

    def _books(self) -> Books:
        """What is known at this moment."""
        watcher = self._watcher
        return Books(
            tally=self.tally,
            counts=self._intake.counts,
            oldest_waiting_s=self._intake.oldest_waiting_since_s(),
            blocked=self._intake.blocked,
            stuck=self._intake.stuck_arrivals,
            rates=self._figures.rates(time.monotonic()),
            watching=Watching(watcher.mode, watcher.is_alive(), watcher.fallback, watcher.overflows),
            fault=None if self._pause.what is None else Fault(self._pause.what, self._pause.since_s),
            last_error=last_error(),
        )

    def _report(self) -> Mapping[str, Any]:
        """Which model and configuration the worker serves by, for the status."""
        own = {"model": {"name": self._card.name, "sha256": self._card.sha256}}
        return own | (self._changes.report() if self._changes is not None else {})
