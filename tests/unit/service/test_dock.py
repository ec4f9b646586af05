"""Suspects wait apart from the others, convicts are answered, and nobody is blamed without evidence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from tests.unit.service.folder import Folder
from worker.intake.arrivals import Arrival, Kind, SettleRule, Sight
from worker.intake.queue import Intake
from worker.outcome import Outcome, Status
from worker.reading import Answer, NotYet
from worker.reasons import Reason, ReasonCode
from worker.service.dock import OTHERS_FIRST, VOID_TRIES, CarefulReader, Dock
from worker.service.ledger import Ledger
from worker.service.trials import Finding, Trials, Verdict


class FakeTrials:
    """Verdicts that the test gives."""

    def __init__(self) -> None:
        self.submitted: list[Arrival] = []
        self.given: list[Verdict] = []

    def submit(self, arrival: Arrival) -> None:
        self.submitted.append(arrival)

    def verdicts(self) -> list[Verdict]:
        given, self.given = self.given, []
        return given

    def close(self) -> None:
        pass


class Echo:
    """A reader that notes what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def read(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        self.batches.append([arrival.name for arrival in arrivals])
        return [convicted(arrival) for arrival in arrivals]


def convicted(arrival: Arrival) -> Outcome:
    reason = Reason.of(ReasonCode.CRASHED_READER)
    return Outcome(
        arrival, Status.FAILED, None, None, (), reason, "0" * 64, 10, None, None, None, datetime.now(UTC)
    )


class Scene:
    def __init__(self, outbox: Path) -> None:
        (outbox / ".digit-worker").mkdir(exist_ok=True)
        self.folder = Folder()
        self.intake = Intake(self.folder, SettleRule(0, 0))
        self.ledger = Ledger(outbox)
        self.ledger.take_over()
        self.trials = FakeTrials()
        self.dock = Dock(self.intake, self.ledger, cast("Trials", self.trials))
        self.echo = Echo()
        self.reader = CarefulReader(self.echo, self.ledger)

    def with_suspects(self, *names: str, deaths: int = 1) -> list[Arrival]:
        for name in names:
            self.folder.put(name)
        self.intake.scan(0.0)
        arrivals = self.intake.take(100, 0.0)
        for _ in range(deaths):
            for name in names:
                self.ledger.acquit(name)
            self.ledger._begin(arrivals)
            self.ledger = Ledger(Path(self.ledger._path).parents[1])
            self.ledger.take_over()
        self.dock = Dock(self.intake, self.ledger, cast("Trials", self.trials))
        self.reader = CarefulReader(self.echo, self.ledger)
        return arrivals

    def balance(self) -> None:
        counts = self.intake.counts
        assert counts.seen == counts.finished + counts.vanished + counts.waiting + counts.in_work


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_suspect_is_handed_back_unread_and_its_neighbours_are_read(scene: Scene) -> None:
    (suspect,) = scene.with_suspects("bad.png")
    scene.folder.put("good.png")
    scene.intake.scan(1.0)
    (good,) = scene.intake.take(10, 1.0)
    answers = scene.reader.read([good, suspect])
    assert isinstance(answers[0], Outcome)
    assert answers[1] == NotYet(suspect, "suspect")
    assert scene.echo.batches == [["good.png"]]


def test_a_convict_is_in_work_until_it_is_answered(scene: Scene) -> None:
    (bad,) = scene.with_suspects("bad.png")
    scene.dock.take_in(bad)
    assert scene.intake.counts.aside == 1
    scene.balance()
    scene.trials.given = [Verdict(bad, Finding.CONVICTED, "x", convicted(bad))]
    (outcome,) = scene.dock.convicts(1.0)
    assert outcome.arrival == bad
    assert (scene.intake.counts.aside, scene.intake.counts.in_work) == (0, 1)
    scene.balance()
    scene.intake.finished(bad)
    scene.dock.answered("bad.png")
    assert Ledger(Path(scene.ledger._path).parents[1]).take_over() == 0


def test_who_is_acquitted_for_the_first_time_is_given_out_again(scene: Scene) -> None:
    (one,) = scene.with_suspects("one.png")
    scene.dock.take_in(one)
    scene.trials.given = [Verdict(one, Finding.LIVED)]
    assert scene.dock.convicts(1.0) == []
    assert scene.intake.take(10, 1.0) == [one]
    assert isinstance(scene.reader.read([one])[0], Outcome)
    scene.balance()


def test_a_suspect_whose_file_is_gone_when_it_is_acquitted_is_forgotten(scene: Scene) -> None:
    (one,) = scene.with_suspects("one.png")
    scene.dock.take_in(one)
    scene.folder.files.pop("one.png")
    scene.intake.scan(0.5)
    scene.trials.given = [Verdict(one, Finding.LIVED)]
    assert scene.dock.convicts(1.0) == []
    assert Ledger(Path(scene.ledger._path).parents[1]).take_over() == 0
    scene.balance()


def test_who_is_acquitted_again_is_read_alone_after_others_and_ever_later(scene: Scene) -> None:
    (one,) = scene.with_suspects("one.png", deaths=4)
    scene.dock.take_in(one)
    scene.trials.given = [Verdict(one, Finding.LIVED)]
    assert scene.dock.convicts(1.0) == []
    assert scene.intake.take(10, 1.0) == []
    deadline_s = scene.dock.next_deadline()
    assert deadline_s is not None
    assert deadline_s == pytest.approx(11.0)
    assert scene.dock.next_alone(2.0, is_idle=True) == []
    given = [scene.dock.next_alone(deadline_s, is_idle=False) for _ in range(OTHERS_FIRST)]
    assert given.index([one]) == OTHERS_FIRST - 1  # one look was in vain before
    assert scene.intake.counts.in_work == 1
    assert scene.dock.next_deadline() is None
    scene.balance()


def test_a_trial_that_proves_nothing_is_repeated_and_then_waits_for_the_next_scan(scene: Scene) -> None:
    (one,) = scene.with_suspects("one.png")
    scene.dock.take_in(one)
    now_s = 1.0
    for _ in range(VOID_TRIES):
        scene.trials.given = [Verdict(one, Finding.VOID, "killed")]
        assert scene.dock.convicts(now_s) == []
        now_s += 30
        assert scene.dock.convicts(now_s) == []
    assert len(scene.trials.submitted) == VOID_TRIES
    counts = scene.intake.counts
    assert (counts.aside, counts.held, counts.waiting) == (0, 1, 1)
    scene.balance()
    scene.intake.scan(now_s)
    (again,) = scene.intake.take(10, now_s)
    assert scene.reader.read([again]) == [NotYet(again, "suspect")]


@pytest.mark.parametrize("finding", [Finding.CONVICTED, Finding.LIVED])
def test_a_file_that_is_replaced_during_its_trial_is_read_as_a_new_one(
    scene: Scene, finding: Finding
) -> None:
    (old,) = scene.with_suspects("one.png")
    scene.dock.take_in(old)
    scene.folder.files["one.png"] = Sight(Kind.FILE, 1, 77, 10, 5, 77)
    scene.intake.look_at("one.png", 1.0, closed=True)
    scene.trials.given = [Verdict(old, finding, "", convicted(old) if finding is Finding.CONVICTED else None)]
    assert scene.dock.convicts(1.0) == []
    (new,) = scene.intake.take(10, 1.0)
    assert new.inode == 77
    assert isinstance(scene.reader.read([new])[0], Outcome)
    scene.balance()


def test_a_suspect_that_is_taken_away_during_its_trial_has_vanished(scene: Scene) -> None:
    (one,) = scene.with_suspects("one.png")
    scene.dock.take_in(one)
    del scene.folder.files["one.png"]
    scene.intake.scan(1.0)
    scene.trials.given = [Verdict(one, Finding.CONVICTED, "", NotYet(one, "vanished"))]
    assert scene.dock.convicts(1.0) == []
    assert (scene.intake.counts.vanished, scene.intake.counts.aside) == (1, 0)
    scene.balance()
