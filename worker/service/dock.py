"""The dock: where suspects wait, apart from all others, until they are tried and answered.

A death of the process makes suspects of the files that were being read (`ledger`). Each is tried in a child
process (`trials`). A convict gets its `failed` record; what was acquitted is read like any other file, and
when the worker dies of it nevertheless, alone and after all others.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Protocol

from worker.intake.arrivals import Arrival
from worker.intake.queue import Intake
from worker.outcome import Outcome
from worker.reading import Answer, NotYet, ReadingSettings
from worker.service.ledger import Ledger
from worker.service.trials import Finding, Trials, Verdict, log_void

VOID_TRIES = 5  # then it waits for the next scan, as what cannot be moved does
LONGEST_DELAY_S = 900.0
OTHERS_FIRST = 4  # batches of other files between two that are read alone


class AnyReader(Protocol):
    """What turns arrivals into answers."""

    def read(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        """One answer for each arrival, in their order."""


class CarefulReader:
    """Notes a batch on disk before `reader` reads it, and hands suspects back unread."""

    def __init__(self, reader: AnyReader, ledger: Ledger) -> None:
        self._reader = reader
        self._ledger = ledger

    def read(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        """One answer for each arrival, in their order; `suspect` for what has to be tried first."""
        free, _ = self._ledger.parted(arrivals)
        if not free:
            return [NotYet(arrival, "suspect") for arrival in arrivals]
        with self._ledger.noted(free):
            answers = self._reader.read(free)
        if len(free) == len(arrivals):
            return answers
        by_name = {arrival.name: answer for arrival, answer in zip(free, answers, strict=True)}
        return [by_name.get(arrival.name) or NotYet(arrival, "suspect") for arrival in arrivals]


class Dock:
    """Keeps the suspects of one intake; for the driver's thread alone."""

    def __init__(self, intake: Intake, ledger: Ledger, trials: Trials) -> None:
        self._intake = intake
        self._ledger = ledger
        self._trials = trials
        self._voids: dict[str, int] = {}
        self._again: list[tuple[float, int, Arrival]] = []  # trials to repeat, by moment
        self._alone: list[tuple[int, float, int, Arrival]] = []  # by strikes, then by moment
        self._order = itertools.count()
        self._others = 0

    def close(self) -> None:
        """End the trials."""
        self._trials.close()

    def probe(self) -> None:
        """Raise WorldError while names cannot be noted."""
        self._ledger.probe()

    def follow(self, reading: ReadingSettings, labels: int, limit_s: float) -> None:
        """Try suspects as the worker reads from now on."""
        self._trials.follow(reading, labels, limit_s)

    def take_in(self, arrival: Arrival) -> None:
        """Keep a suspect apart and have it tried."""
        self._intake.set_aside(arrival)
        self._trials.submit(arrival)

    def convicts(self, now_s: float) -> list[Outcome]:
        """Follow the verdicts since the last time; returns the failed outcomes, which are in work now."""
        while self._again and self._again[0][0] <= now_s:
            self._trials.submit(heapq.heappop(self._again)[2])
        found = []
        for verdict in self._trials.verdicts():
            outcome = self._followed(verdict, now_s)
            if outcome is not None:
                found.append(outcome)
        return found

    def next_alone(self, now_s: float, *, is_idle: bool) -> list[Arrival]:
        """The next one that has to be read alone, if it is its turn: between others, or when there are none."""
        self._others += 1
        if not self._alone or not (is_idle or self._others > OTHERS_FIRST):
            return []
        waiting = []
        chosen: list[Arrival] = []
        while self._alone and not chosen:
            one = heapq.heappop(self._alone)
            if one[1] > now_s:
                waiting.append(one)
            elif self._intake.take_up(one[3]):
                chosen, self._others = [one[3]], 0
            else:
                self._ledger.clear(one[3].name)
        for one in waiting:
            heapq.heappush(self._alone, one)
        return chosen

    def answered(self, name: str) -> None:
        """Note that a suspect was answered."""
        self._ledger.clear(name)

    def next_deadline(self) -> float | None:
        """When something is to be done although nothing happens; None when never."""
        moments = [one[0] for one in self._again] + [one[1] for one in self._alone]
        return min(moments, default=None)

    def _followed(self, verdict: Verdict, now_s: float) -> Outcome | None:
        arrival = verdict.arrival
        if verdict.finding is Finding.VOID:
            self._void(verdict, now_s)
            return None
        self._voids.pop(arrival.name, None)
        if isinstance(verdict.answer, Outcome):
            if self._intake.take_up(arrival):
                return verdict.answer
            self._ledger.clear(arrival.name)  # gone, or another version by now
            return None
        suspect = self._ledger.suspicion_of(arrival)
        self._ledger.acquit(arrival.name)
        if suspect is not None and suspect.strikes > 0:
            # The worker died of a batch with it although a child had lived: read it where it harms nobody.
            delay_s = 0.0 if suspect.strikes == 1 else min(5.0 * 2 ** (suspect.strikes - 2), LONGEST_DELAY_S)
            heapq.heappush(self._alone, (suspect.strikes, now_s + delay_s, next(self._order), arrival))
        elif not self._intake.bring_back(arrival, now_s):
            self._ledger.clear(arrival.name)
        return None

    def _void(self, verdict: Verdict, now_s: float) -> None:
        log_void(verdict)
        name = verdict.arrival.name
        tries = self._voids[name] = self._voids.get(name, 0) + 1
        if tries % VOID_TRIES == 0:
            self._intake.hold_back(verdict.arrival)
        else:
            moment_s = now_s + 0.25 * 2 ** (tries % VOID_TRIES)
            heapq.heappush(self._again, (moment_s, next(self._order), verdict.arrival))
