"""Batches go to whoever is free, and helpers come and go with the work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from worker.intake.arrivals import Arrival, Kind
from worker.reading import PART, Answer, NotYet, Reader
from worker.scale.helper import Helper, HelperLostError
from worker.service.batch import Batch
from worker.service.ledger import Ledger
from worker.service.readers import ENOUGH_FILES, KEPT_S, REST_S, HelperPlace, OwnPlace, Readers

A_LOT = ENOUGH_FILES


def arrivals(*names: str) -> list[Arrival]:
    return [Arrival(name, Kind.FILE, 1, 1, 10, 5, 6, 0.0) for name in names]


def batch(*names: str) -> Batch:
    return Batch(1, arrivals(*names), 0.0, cast(Any, None), [])


class FakeHelper:
    """Answers `vanished`, or is lost after so many answers."""

    pid = 4711

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.lost: HelperLostError | None = None
        self.go = threading.Event()
        self.go.set()
        self.has_ended = False

    def read(self, arrivals: Sequence[Arrival], reader: Reader) -> list[Answer]:
        self.go.wait(10)
        self.batches.append([arrival.name for arrival in arrivals])
        if self.lost is not None:
            raise self.lost
        return [NotYet(arrival, "vanished") for arrival in arrivals]

    def end(self) -> None:
        self.has_ended = True


class Echo:
    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()

    def read(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        self.go.wait(10)
        return [NotYet(arrival, "vanished") for arrival in arrivals]


class Scene:
    def __init__(self, outbox: Path) -> None:
        (outbox / ".digit-worker").mkdir()
        self.ledger = Ledger(outbox)
        self.ledger.take_over()
        self.made: list[FakeHelper] = []
        self.refusal: Exception | None = None
        self.was_over: Callable[[], bool] = lambda: False
        self.echo = Echo()
        self.woken = threading.Event()
        self.place = HelperPlace(lambda: cast(Reader, None), self.make, self.ledger, self.woken.set)
        own = OwnPlace(self.echo, ThreadPoolExecutor(1))
        self.readers = Readers(own, [self.place], self.woken.set)

    def make(self, is_over: Callable[[], bool]) -> Helper:
        self.was_over = is_over
        if self.refusal is not None:
            raise self.refusal
        self.made.append(FakeHelper())
        return cast(Helper, self.made[-1])

    def until_woken(self) -> None:
        assert self.woken.wait(10)
        self.woken.clear()

    def with_helper(self, now_s: float = 0.0) -> FakeHelper:
        self.readers.step(now_s, A_LOT)
        self.until_woken()
        self.readers.step(now_s, A_LOT)
        return self.made[-1]

    def read(self, one: Batch) -> list[Answer]:
        """The answers of a helper to a batch, while the own place is busy."""
        self.readers.begin(one, A_LOT)
        self.until_woken()
        (done,) = self.readers.done()
        assert done[0] is one
        return done[1].result()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.echo.go.set()
    for helper in scene.made:
        helper.go.set()
    scene.readers.close()


@pytest.fixture
def helped(scene: Scene) -> Scene:
    """With a helper, and the own place busy."""
    scene.with_helper()
    scene.echo.go.clear()
    scene.readers.begin(batch("own.png"), A_LOT)
    return scene


def test_nobody_helps_while_little_waits(scene: Scene) -> None:
    for now_s in range(5):
        scene.readers.step(float(now_s), ENOUGH_FILES - 1)
    assert not scene.made
    assert scene.readers.room(1000, 0, 256) == 256
    scene.echo.go.clear()
    scene.readers.begin(batch("a.png"), 1)
    assert scene.readers.room(1000, 0, 256) == 0


def test_a_helper_reads_beside_the_own_place(helped: Scene) -> None:
    assert helped.readers.in_work == 1
    assert not helped.readers.own_is_free
    assert helped.readers.room(A_LOT, 0, 256) > 0
    answers = helped.read(batch("a.png", "b.png"))
    assert [answer.arrival.name for answer in answers] == ["a.png", "b.png"]
    assert helped.made[0].batches == [["a.png", "b.png"]]


@pytest.mark.parametrize(
    ("waiting", "size", "room"),
    [
        (40, 256, 40),
        (2 * PART - 2, 256, 2 * PART - 2),
        (2 * PART, 256, PART),
        (300, 256, 150),
        (10_000, 256, 256),
        (300, 100, 100),
        (0, 256, 256),
    ],
)
def test_what_waits_is_shared_where_each_gets_enough(
    scene: Scene, waiting: int, size: int, room: int
) -> None:
    scene.with_helper()
    assert scene.readers.room(waiting, 0, size) == room


def test_reading_does_not_run_away_from_delivery(scene: Scene) -> None:
    scene.with_helper()
    assert scene.readers.room(A_LOT, 2, 256) > 0
    assert scene.readers.room(A_LOT, 3, 256) == 0
    scene.echo.go.clear()
    scene.readers.begin(batch("own.png"), A_LOT)
    assert scene.readers.room(A_LOT, 1, 256) > 0
    assert scene.readers.room(A_LOT, 2, 256) == 0


def test_a_worker_without_helpers_waits_for_delivery_with_one_batch(scene: Scene) -> None:
    assert scene.readers.room(A_LOT, 0, 256) > 0
    assert scene.readers.room(A_LOT, 1, 256) == 0


def test_a_few_files_are_not_sent_to_a_helper(helped: Scene) -> None:
    assert helped.readers.room(PART - 1, 0, 256) == 0
    assert helped.readers.room(PART, 0, 256) > 0


def test_a_helper_without_work_is_ended_after_a_while_and_comes_back(helped: Scene) -> None:
    helped.read(batch("a.png"))
    helped.readers.step(KEPT_S - 1, 0)
    assert helped.readers.room(A_LOT, 0, 256) > 0
    helped.readers.step(KEPT_S + 1, 0)
    assert helped.readers.room(A_LOT, 0, 256) == 0
    helped.with_helper(KEPT_S + 2)
    assert helped.made[0].has_ended
    assert len(helped.made) == 2


def test_pictures_are_tried_that_a_helper_died_of(helped: Scene) -> None:
    done = arrivals("a.png")[0]
    helped.made[0].lost = HelperLostError("it ended", [NotYet(done, "vanished")], is_suspicious=True)
    answers = helped.read(batch("a.png", "b.png", "c.png"))
    whys = [(answer.arrival.name, cast(NotYet, answer).why) for answer in answers]
    assert whys == [("a.png", "vanished"), ("b.png", "suspect"), ("c.png", "suspect")]
    suspects = [helped.ledger.suspicion_of(each) for each in arrivals("a.png", "b.png", "c.png")]
    assert [suspect is not None for suspect in suspects] == [False, True, True]


def test_a_lost_helper_gets_no_other_batch(helped: Scene) -> None:
    helped.made[0].lost = HelperLostError("it was killed", is_suspicious=False)
    helped.read(batch("a.png"))
    assert helped.readers.room(A_LOT, 0, 256) == 0  # also before the next step


def test_nobody_is_blamed_where_somebody_else_ended_the_helper(helped: Scene) -> None:
    helped.made[0].lost = HelperLostError("it was killed", is_suspicious=False)
    answers = helped.read(batch("a.png", "b.png"))
    assert [cast(NotYet, answer).why for answer in answers] == ["changed", "changed"]
    assert helped.ledger.suspicion_of(arrivals("a.png")[0]) is None


def test_after_a_loss_there_is_no_helper_for_a_while_each_time_longer(helped: Scene) -> None:
    now_s = 0.0
    for rest_s in (REST_S, 2 * REST_S, 4 * REST_S):
        helped.made[-1].lost = HelperLostError("it was killed", is_suspicious=False)
        helped.read(batch("a.png"))
        count = len(helped.made)
        helped.readers.step(now_s, A_LOT)
        helped.readers.step(now_s + rest_s - 1, A_LOT)
        assert helped.readers.room(A_LOT, 0, 256) == 0
        assert len(helped.made) == count
        now_s += rest_s
        helped.with_helper(now_s)
        assert len(helped.made) == count + 1


@pytest.mark.parametrize("refusal", [OSError("no memory for another process"), MemoryError()])
def test_a_helper_that_cannot_be_started_is_tried_again_later(scene: Scene, refusal: Exception) -> None:
    scene.refusal = refusal
    scene.readers.step(0.0, A_LOT)
    scene.until_woken()
    scene.readers.step(0.0, A_LOT)
    scene.refusal = None
    scene.readers.step(REST_S - 1, A_LOT)
    assert not scene.made
    scene.with_helper(REST_S)
    assert len(scene.made) == 1


def test_a_helper_hands_suspects_back_and_clears_those_that_it_read(helped: Scene) -> None:
    suspect, acquitted = arrivals("suspect.png", "acquitted.png")
    helped.ledger.accuse([suspect, acquitted])
    helped.ledger.acquit("acquitted.png")
    answers = helped.read(batch("suspect.png", "acquitted.png", "a.png"))
    assert {answer.arrival.name: cast(NotYet, answer).why for answer in answers} == {
        "suspect.png": "suspect",
        "acquitted.png": "vanished",
        "a.png": "vanished",
    }
    assert helped.made[0].batches == [["acquitted.png", "a.png"]]
    # One who dies of it now is the first: what it was once suspected of is forgotten.
    helped.ledger.accuse([acquitted])
    found = helped.ledger.suspicion_of(acquitted)
    assert found is not None
    assert found.strikes == 0


def test_a_batch_of_suspects_alone_does_not_trouble_the_helper(helped: Scene) -> None:
    helped.ledger.accuse(arrivals("a.png"))
    assert [cast(NotYet, answer).why for answer in helped.read(batch("a.png"))] == ["suspect"]
    assert not helped.made[0].batches


def test_without_a_thread_for_it_there_is_no_helper(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(scene.place._thread, "submit", refuse)
    scene.readers.step(0.0, A_LOT)
    monkeypatch.undo()
    scene.readers.step(REST_S - 1, A_LOT)
    assert not scene.made
    scene.with_helper(REST_S)
    assert len(scene.made) == 1


def test_a_suspect_is_acquitted_while_a_helper_asks_and_gets_its_answer(
    helped: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    helped.ledger.accuse(arrivals("a.png"))
    ask = helped.ledger.suspicion_of

    def asked(arrival: Arrival) -> Any:
        found = ask(arrival)
        helped.ledger.clear(arrival.name)  # as when its verdict comes at that moment
        return found

    monkeypatch.setattr(helped.ledger, "suspicion_of", asked)
    assert [answer.arrival.name for answer in helped.read(batch("a.png"))] == ["a.png"]


def test_closing_ends_a_helper_that_is_just_being_started(scene: Scene) -> None:
    scene.readers.step(0.0, A_LOT)
    scene.readers.close()
    assert scene.was_over()
    assert [helper.has_ended for helper in scene.made] == [True]
