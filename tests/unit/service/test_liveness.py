"""The watchdog hears of life only while every stage that has work gets on with it."""

from __future__ import annotations

import threading

import pytest

from worker.errors import WorldError
from worker.processes import STEP_LIMIT_S
from worker.service.liveness import Liveness
from worker.service.systemd import Notifier


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Counting(Notifier):
    """Counts the signs of life instead of sending them."""

    def __init__(self) -> None:
        super().__init__(None)
        self.signs = 0

    def alive(self) -> None:
        self.signs += 1


class Held:
    """Work of a stage on a thread of its own, until it is let go."""

    def __init__(self, liveness: Liveness, stage: str) -> None:
        self.go = threading.Event()
        began = threading.Event()

        def work() -> None:
            began.set()
            self.go.wait(30)

        self.thread = getattr(liveness, stage).thread("held")
        self.thread.submit(work)
        assert began.wait(30)

    def end(self) -> None:
        self.go.set()
        self.thread.shutdown()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def liveness(clock: Clock) -> Liveness:
    return Liveness(Counting(), clock)


def beats(liveness: Liveness) -> bool:
    notifier = liveness.notifier
    assert isinstance(notifier, Counting)
    before = notifier.signs
    liveness.beat()
    return notifier.signs > before


@pytest.mark.parametrize("stage", ["reading", "delivery"])
def test_a_stage_that_never_returns_silences_the_loop_and_its_return_ends_the_silence(
    liveness: Liveness, clock: Clock, stage: str
) -> None:
    held = Held(liveness, stage)
    assert beats(liveness)
    clock.now_s += STEP_LIMIT_S - 1
    assert beats(liveness)
    clock.now_s += 2
    assert not beats(liveness)
    clock.now_s += 1000
    assert not beats(liveness)
    held.end()
    assert beats(liveness)


def test_a_long_batch_that_gets_on_is_alive_for_as_long_as_it_takes(liveness: Liveness, clock: Clock) -> None:
    held = Held(liveness, "reading")
    for _ in range(20):
        clock.now_s += STEP_LIMIT_S - 1
        liveness.reading.step()
        assert beats(liveness)
    held.end()


def test_steps_of_one_stage_do_not_speak_for_the_other(liveness: Liveness, clock: Clock) -> None:
    held = Held(liveness, "reading")
    assert beats(liveness)
    for _ in range(3):
        clock.now_s += STEP_LIMIT_S / 2
        liveness.delivery.step("sync outbox")
        alive = beats(liveness)
    assert not alive
    held.end()


def test_an_idle_worker_is_alive_and_old_silence_does_not_count_against_new_work(
    liveness: Liveness, clock: Clock
) -> None:
    for _ in range(3):
        clock.now_s += 10 * STEP_LIMIT_S
        assert beats(liveness)
    clock.now_s += 10 * STEP_LIMIT_S
    held = Held(liveness, "delivery")
    assert beats(liveness)
    held.end()


def test_work_that_waits_behind_a_hang_does_not_hide_it(liveness: Liveness, clock: Clock) -> None:
    held = Held(liveness, "delivery")
    held.thread.submit(print)
    assert beats(liveness)
    clock.now_s += STEP_LIMIT_S + 1
    assert not beats(liveness)
    held.end()
    assert beats(liveness)


def test_tries_that_fail_and_return_are_signs_of_life(liveness: Liveness, clock: Clock) -> None:
    def full() -> None:
        raise WorldError("writing", OSError(28, "No space left on device"))

    thread = liveness.delivery.thread("tries")
    for _ in range(20):
        clock.now_s += 15.0
        with pytest.raises(WorldError):
            thread.submit(full).result()
        assert beats(liveness)
    thread.shutdown()


def test_recovery_asks_for_time_before_the_loop_turns_and_leaves_it_to_the_loop_afterwards(
    liveness: Liveness,
) -> None:
    notifier = liveness.notifier
    assert isinstance(notifier, Counting)
    liveness.delivered("publish record")
    assert notifier.signs == 1
    notifier.ready()
    liveness.delivered("publish record")
    assert notifier.signs == 1
