"""Who reads for the driver: one thread of this process, and helpers for as long as there is much to do.

Every place reads one batch at a time. What is in work at a place of this process stands in the ledger; a helper may
die of its batch without harm, and its pictures are suspects from then on.
"""

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Protocol

from worker.intake.arrivals import Arrival
from worker.logs import get_log
from worker.reading import PART, Answer, NotYet, Reader
from worker.scale.helper import Helper, HelperLostError
from worker.service.batch import Batch, read_batch
from worker.service.dock import AnyReader
from worker.service.ledger import Ledger

# That wait before a helper is started: starting takes the time in which it reads so many tiles.
ENOUGH_FILES = 256
KEPT_S = 60.0  # without work; then the memory is worth more
REST_S, LONGEST_REST_S = 30.0, 3600.0  # after a helper was lost or could not be started; doubled each time


class Place(Protocol):
    """Where one batch at a time is read."""

    work: tuple[Batch, Future[list[Answer]]] | None

    def is_free(self, waiting: int) -> bool:
        """Whether it takes a batch now, while so many files are ready."""

    def begin(self, batch: Batch) -> Future[list[Answer]]:
        """Read a batch."""

    def close(self) -> None:
        """Let go of what it holds."""


class OwnPlace:
    """The thread of this process that reads."""

    def __init__(self, reader: AnyReader, thread: ThreadPoolExecutor) -> None:
        self.work: tuple[Batch, Future[list[Answer]]] | None = None
        self.reader = reader
        self.thread = thread

    def is_free(self, waiting: int) -> bool:
        """Whether it takes a batch now."""
        return self.work is None

    def begin(self, batch: Batch) -> Future[list[Answer]]:
        """Read a batch by the reader of this moment."""
        return self.thread.submit(read_batch, self.reader, batch)

    def close(self) -> None:
        """Let the thread go."""
        self.thread.shutdown()


class HelperPlace:
    """A helper while there is work for it, and none otherwise.

    `reader` gives the reader of the moment, `make` a helper, or raises OSError; it is given
    what says that the worker ends.
    """

    def __init__(
        self,
        reader: Callable[[], Reader],
        make: Callable[[Callable[[], bool]], Helper],
        ledger: Ledger,
        wake: Callable[[], None],
    ) -> None:
        self.work: tuple[Batch, Future[list[Answer]]] | None = None
        self._reader = reader
        self._make = make
        self._ledger = ledger
        self._wake = wake
        # The thread outlives every helper: with the thread that started it, a helper would end.
        self._thread = ThreadPoolExecutor(1, "helper")
        self._helper: Helper | None = None
        self._starting: Future[Helper] | None = None
        self._used_at_s = 0.0
        self._rests_until_s = 0.0
        self._rest_s = REST_S
        self._is_lost = False
        self._is_over = threading.Event()

    def is_free(self, waiting: int) -> bool:
        """Whether there is a helper without work, and enough of it to be worth the way."""
        return self._helper is not None and not self._is_lost and self.work is None and waiting >= PART

    def begin(self, batch: Batch) -> Future[list[Answer]]:
        """Have the helper read a batch."""
        if self._helper is None:
            raise AssertionError
        return self._thread.submit(read_batch, _ByHelper(self, self._helper, self._reader()), batch)

    def step(self, now_s: float, waiting: int) -> None:
        """Start a helper when much waits, and end it when it had nothing to do for long."""
        if self._starting is not None:
            if self._starting.done():
                self._take_over(self._starting, now_s)
        elif self._is_lost:
            self._helper, self._is_lost = None, False
            self._rest(now_s)
        elif self._helper is None:
            if waiting >= ENOUGH_FILES and now_s >= self._rests_until_s:
                self._start(now_s)
        elif self.work is not None:
            self._used_at_s = now_s
        elif now_s - self._used_at_s > KEPT_S:
            self._end()

    def close(self) -> None:
        """End the helper and let the thread go."""
        self._is_over.set()
        if self._starting is not None:
            starting, self._starting = self._starting, None
            if starting.exception() is None:
                self._helper = starting.result()
        if self._helper is not None and not self._is_lost:
            self._end()
        self._thread.shutdown()

    def read(self, helper: Helper, reader: Reader, arrivals: Sequence[Arrival]) -> list[Answer]:
        """One answer for each of `arrivals`; `suspect` for what has to be tried first."""
        free, accused = self._ledger.parted(arrivals)
        suspects: list[Answer] = [NotYet(arrival, "suspect") for arrival in accused]
        if not free:
            return suspects
        try:
            answers = helper.read(free, reader)
        except HelperLostError as lost:
            self._is_lost = True
            rest = free[len(lost.answers) :]
            get_log().warning("helper_lost", why=str(lost), unread=len(rest))
            if lost.is_suspicious:
                self._ledger.accuse(rest)
            # What a picture may have ended is tried; otherwise it is read again.
            why: Literal["suspect", "changed"] = "suspect" if lost.is_suspicious else "changed"
            answers = lost.answers + [NotYet(arrival, why) for arrival in rest]
            self._ledger.outlived(free[: len(lost.answers)])
        else:
            self._ledger.outlived(free)
        return answers + suspects

    def _start(self, now_s: float) -> None:
        try:
            starting = self._thread.submit(self._make, self._is_over.is_set)
        except RuntimeError as error:  # no thread to be had
            self._do_without(str(error), now_s)
        else:
            self._starting = starting
            starting.add_done_callback(lambda _: self._wake())

    def _do_without(self, why: str, now_s: float) -> None:
        get_log().warning("helper_not_started", why=why)
        self._rest(now_s)

    def _take_over(self, starting: Future[Helper], now_s: float) -> None:
        self._starting = None
        try:
            self._helper = starting.result()
        except Exception as error:  # a helper is a help: the worker reads on without it
            self._do_without(str(error) or type(error).__name__, now_s)
        else:
            self._used_at_s = now_s
            get_log().info("helper_started", pid=self._helper.pid)

    def _rest(self, now_s: float) -> None:
        self._rests_until_s = now_s + self._rest_s
        self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)

    def _end(self) -> None:
        if self._helper is not None:
            self._thread.submit(self._helper.end)
            get_log().info("helper_ended", pid=self._helper.pid)
        self._helper = None
        self._rest_s = REST_S


class _ByHelper:
    """A helper, as a reader."""

    def __init__(self, place: HelperPlace, helper: Helper, reader: Reader) -> None:
        self._place, self._helper, self._reader = place, helper, reader

    def read(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        """One answer for each of `arrivals`, in their order."""
        return self._place.read(self._helper, self._reader, arrivals)


class Readers:
    """All places, for the driver's thread alone; `wake` is called when one of them is done."""

    def __init__(self, own: OwnPlace, helpers: Sequence[HelperPlace], wake: Callable[[], None]) -> None:
        self._own = own
        self._helpers = helpers
        self._places: list[Place] = [own, *helpers]
        self._wake = wake

    @property
    def in_work(self) -> int:
        """How many batches are being read."""
        return sum(place.work is not None for place in self._places)

    @property
    def own_is_free(self) -> bool:
        """Whether a batch can be read in this process."""
        return self._own.work is None

    def room(self, waiting: int, read_already: int, batch_size: int) -> int:
        """How many files to take for the next batch, of so many that are ready; 0: nobody is free.

        What was read and waits for delivery counts as being read: reading must not run away from delivery.
        """
        free = sum(place.is_free(waiting) for place in self._places)
        # Two who read are not to wait, both, for a disk that is slow for a moment.
        ahead = 1 if free + self.in_work > 1 else 0
        if not free or read_already >= free + ahead:
            return 0
        share = math.ceil(waiting / free)
        # Of none that is known to be ready some may be by now: the intake finds out when it is asked.
        return min(batch_size, share if share >= PART else waiting or batch_size)

    def begin(self, batch: Batch, waiting: int) -> None:
        """Have a batch read at the first place that is free."""
        place = next(place for place in self._places if place.is_free(waiting))
        future = place.begin(batch)
        future.add_done_callback(lambda _: self._wake())
        place.work = (batch, future)

    def done(self) -> list[tuple[Batch, Future[list[Answer]]]]:
        """The batches that were read since the last time."""
        found = []
        for place in self._places:
            if place.work is not None and place.work[1].done():
                found.append(place.work)
                place.work = None
        return found

    def step(self, now_s: float, waiting: int) -> None:
        """Start and end helpers, as there is work for them."""
        for helper in self._helpers:
            helper.step(now_s, waiting)

    def change(self, reader: AnyReader, close_old: Callable[[], None] | None) -> None:
        """Read by another reader from the next batch on, and let go of the old one after what is in work."""
        self._own.reader = reader
        if close_old is not None:
            self._own.thread.submit(close_old)
        # A model is a knot of references: without this, a dozen old ones lie about before Python looks.
        self._own.thread.submit(gc.collect)

    def close(self) -> None:
        """Let all go."""
        for place in self._places:
            place.close()
