"""Does the work go on? The watchdog is told so only while every stage that has something to do gets on with it.

A loop that still turns proves little: the thread that reads may hang in a library, the one that publishes on
a disk that never answers. Each stage counts its steps (a picture decoded, a file staged, a rename made), and
a stage that took none for STEP_LIMIT_S silences the loop. A fault that is tried again is no silence: the stage
has returned, and is idle until the next try.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import ParamSpec, TypeVar

from worker.processes import STEP_LIMIT_S
from worker.service.systemd import Notifier

LONGEST_WAIT_S = 1.0  # between two beats

P = ParamSpec("P")
T = TypeVar("T")


class Stage:
    """One thread's work: idle, or getting on step by step.

    Work counts from when it is handed over: what waits behind work that hangs has no way to get on either.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._begun = 0  # written by the one thread that hands work over
        self._ended = 0  # written by the stage's own thread: two counters need no lock
        self._seen = 0
        self._seen_at_s = 0.0

    def thread(self, name: str) -> ThreadPoolExecutor:
        """A thread for this stage; all that is submitted to it, from one thread, is the stage's work."""
        return _StageThread(self, name)

    def step(self, what: str = "") -> None:
        """Note that the work got on; from any thread. A step that two threads note at once may count once."""
        self._steps += 1

    def begin(self) -> None:
        """Note that work was handed over."""
        self._steps += 1
        self._begun += 1

    def end(self) -> None:
        """Note that it is done, or has failed."""
        self._steps += 1
        self._ended += 1

    def is_moving(self, now_s: float) -> bool:
        """Whether it is idle or took a step within STEP_LIMIT_S; from the one thread that watches."""
        if self._begun == self._ended or self._steps != self._seen:
            self._seen, self._seen_at_s = self._steps, now_s
            return True
        return now_s - self._seen_at_s <= STEP_LIMIT_S


class _StageThread(ThreadPoolExecutor):
    """One thread, which tells its stage of all that it is given."""

    def __init__(self, stage: Stage, name: str) -> None:
        super().__init__(1, name)
        self._stage = stage

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self._stage.begin()
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: self._stage.end())
        return future


class Liveness:
    """The stages of the worker, and whom to tell that they move."""

    def __init__(self, notifier: Notifier, clock: Callable[[], float] = time.monotonic) -> None:
        self.notifier = notifier
        self.reading = Stage()
        self.delivery = Stage()
        self._clock = clock

    def beat(self) -> None:
        """Tell the manager that the work goes on, if it does; from the driver's thread, wherever it gets on."""
        now_s = self._clock()
        # Both are asked: each remembers when it was last seen to move.
        if all([self.reading.is_moving(now_s), self.delivery.is_moving(now_s)]):
            self.notifier.alive()

    def result_of(self, future: Future[T]) -> T:
        """What a stage's work gives, waited for by the driver's thread; meanwhile the manager hears that it gets on."""
        while not wait_for([future], LONGEST_WAIT_S).done:
            self.beat()
        return future.result()

    def delivered(self, what: str = "") -> None:
        """Note a step of delivery. Before the loop turns, each one also asks the manager for more time."""
        self.delivery.step()
        if self.notifier.is_starting:
            self.beat()
