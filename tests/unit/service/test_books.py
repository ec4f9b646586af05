"""The books of the status balance at every instant, whatever becomes of the files."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.service.folder import Folder
from worker.delivery.outbox import Delivery, Fate
from worker.intake.arrivals import Arrival, SettleRule
from worker.intake.queue import Intake
from worker.outcome import Outcome, Status
from worker.reading import NotYet
from worker.recognition.card import Card
from worker.service import bulletin as bulletin_module
from worker.service.batch import Batch
from worker.service.driver import Driver
from worker.service.health import describe
from worker.service.status import Process, starting_status
from worker.settings import Settings

NAMES = st.sampled_from([f"{letter}.png" for letter in "abcdef"])


class Dock:
    """Keeps everybody until the machine says."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.kept: list[Arrival] = []

    def take_in(self, arrival: Arrival) -> None:
        self.intake.set_aside(arrival)
        self.kept.append(arrival)

    def answered(self, name: str) -> None:
        pass


def outcome(arrival: Arrival, status: Status) -> Outcome:
    return Outcome(arrival, status, None, None, (), None, None, None, None, None, None, datetime.now(UTC))


CARD = Card(name="none", sha256="0" * 64, input_shape=(28, 28), outputs="softmax")


class Books(RuleBasedStateMachine):
    """A driver whose threads are the machine's rules."""

    @initialize()
    def begin(self) -> None:
        self.folder = Folder()
        self.intake = Intake(self.folder, SettleRule(0, 0), clock=lambda: 0.0)
        self.dock = Dock(self.intake)
        watcher = SimpleNamespace(overflows=0, mode="inotify", fallback=None, is_alive=lambda: True)
        rest: Any = SimpleNamespace(name="m", sha256="0" * 64, stop_requested=False, set=lambda: None)
        self.driver = Driver(
            Settings(outbox=Path("/nonexistent")), [], self.intake, rest, cast(Any, watcher), rest, rest,
            rest, rest, rest, cast(Any, self.dock),
        )  # fmt: skip
        self.taken: list[Arrival] = []
        self.read: list[Outcome] = []

    @rule(name=NAMES)
    def put(self, name: str) -> None:
        self.folder.put(name)

    @rule(name=NAMES)
    def take_away(self, name: str) -> None:
        self.folder.files.pop(name, None)

    @rule(name=NAMES, is_closed=st.booleans())
    def close_door(self, name: str, is_closed: bool) -> None:
        (self.folder.closed.add if is_closed else self.folder.closed.discard)(name)

    @rule(name=NAMES, closed=st.booleans())
    def event(self, name: str, closed: bool) -> None:
        self.intake.look_at(name, 1.0, closed=closed)

    @rule()
    def scan(self) -> None:
        self.intake.scan(1.0)

    @rule(count=st.integers(1, 4))
    def take(self, count: int) -> None:
        self.taken += self.intake.take(count, 1.0)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        answers: list[Any] = []
        for arrival in self.taken:
            what = data.draw(
                st.sampled_from([*Status, "unfinished", "changed", "vanished", "disk_error", "suspect"])
            )
            is_read = isinstance(what, Status)
            answers.append(outcome(arrival, what) if is_read else NotYet(arrival, cast(Any, str(what))))
        self.taken = []
        self.read += self.driver._sorted_out(answers, 1.0)

    @precondition(lambda self: self.read)
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        deliveries = []
        for one in self.read:
            fate = data.draw(st.sampled_from(Fate))
            before = fate is Fate.STUCK and data.draw(st.booleans())
            deliveries.append(Delivery(one.arrival.name, fate, None if before else "record"))
            if fate is Fate.PUBLISHED:
                self.folder.files.pop(one.arrival.name, None)
        batch = Batch(1, [one.arrival for one in self.read], 0.0, CARD, self.read)
        self.read = []
        self.driver._settle(batch, deliveries, 1.0)

    @precondition(lambda self: self.dock.kept)
    @rule(how=st.sampled_from(["bring back", "convict", "hold back"]))
    def judge(self, how: str) -> None:
        arrival = self.dock.kept.pop()
        if how == "bring back":
            self.intake.bring_back(arrival, 1.0)
        elif how == "hold back":
            self.intake.hold_back(arrival)
        elif self.intake.take_up(arrival):
            self.read.append(outcome(arrival, Status.FAILED))

    @rule()
    def free_the_stuck(self) -> None:
        for arrival in self.intake.stuck_arrivals:
            self.folder.files.pop(arrival.name, None)
            self.intake.finished(arrival)

    @invariant()
    def balance(self) -> None:
        if not hasattr(self, "driver"):
            return
        counts = status_of(self.driver)["counts"]
        total = sum(counts[way] for way in ("published", "answered_before", "vanished", "waiting", "in_work"))
        assert counts["seen"] == total
        assert counts["published"] == counts["read"] + counts["review"] + counts["failed"]
        assert min(value for value in counts.values() if value is not None) >= 0


def status_of(driver: Driver) -> dict[str, Any]:
    """What the driver would write down at this instant."""
    written: list[Any] = []
    with mock.patch.object(bulletin_module, "write_status", lambda _, status: written.append(status)):
        driver.bulletin.write("working", driver._books())
    return cast(dict[str, Any], written[0])


Books.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBooks = Books.TestCase


@pytest.mark.parametrize(("before", "unannounced"), [(0, 0), (3, 4)])
def test_the_books_are_shown_as_an_equation(before: int, unannounced: int) -> None:
    status = starting_status(Process(1, time.time()), time.time())
    status["counts"] |= {
        "seen": 20 + before, "published": 10, "vanished": 2, "waiting": 5, "in_work": 3,
        "answered_before": before, "unannounced": unannounced,
    }  # fmt: skip
    text = "\n".join(describe(status))
    middle = f" + answered before {before}" if before else ""
    assert f"seen {20 + before} = answered 10{middle} + vanished 2 + waiting 5 + in work 3" in text
    shown = [f"found by rescans alone: {unannounced} files; events were lost 0 times"] * bool(unannounced)
    assert [line for line in text.splitlines() if "rescan" in line] == shown
