"""Upkeep takes small steps, one at a time, and only where a limit is set."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from worker.delivery.retention import KeepRule
from worker.service.upkeep import EVERY_S, FIRST_S, STEP_ENTRIES, STEP_PAUSE_S, Upkeep, keep_rules
from worker.settings import Settings


class Hand:
    """An executor that works when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.steps = 0

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: work(*arguments)))
        return future

    def work(self) -> None:
        for future, work in self.waiting:
            self.steps += 1
            future.set_result(work())
        self.waiting.clear()


def later() -> float:
    return time.time() + 400 * 86_400


def filled(outbox: Path, count: int) -> None:
    (outbox / "done").mkdir(parents=True)
    for number in range(count):
        (outbox / "done" / f"{number}.png").write_bytes(b"x")


def test_rules_come_from_the_settings_and_are_off_by_default() -> None:
    assert keep_rules(Settings()) == {}
    rules = keep_rules(Settings(keep_done_days=2, keep_failed_mb=0.5))
    assert rules == {"done": KeepRule(max_age_s=172_800.0), "failed": KeepRule(max_bytes=500_000)}


def test_without_a_rule_nothing_is_ever_done(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    hand: Any = Hand()
    upkeep = Upkeep(Settings(outbox=tmp_path), 0.0, clock=later)
    assert upkeep.next_s() == float("inf")
    upkeep.go_on(2 * FIRST_S, hand)
    assert not hand.waiting
    assert len(list((tmp_path / "done").iterdir())) == 3


def test_a_sweep_goes_in_steps_with_pauses_and_comes_again_an_hour_later(tmp_path: Path) -> None:
    filled(tmp_path, 2 * STEP_ENTRIES + 50)
    hand: Any = Hand()
    upkeep = Upkeep(Settings(outbox=tmp_path, keep_done_days=30, keep_failed_days=30), 0.0, clock=later)
    upkeep.go_on(FIRST_S - 1, hand)
    assert not hand.waiting
    now_s, left = FIRST_S, []
    for _ in range(20):
        upkeep.go_on(now_s, hand)
        upkeep.go_on(now_s, hand)
        assert len(hand.waiting) <= 1
        hand.work()
        left.append(len(list((tmp_path / "done").iterdir())))
        now_s += STEP_PAUSE_S
    assert left[:3] == [STEP_ENTRIES + 50, 50, 0]
    assert hand.steps == 4  # three for done/, one for a failed/ that is not there
    assert upkeep.next_s() > now_s + EVERY_S / 2


def test_a_new_rule_is_followed_soon(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    hand: Any = Hand()
    upkeep = Upkeep(Settings(outbox=tmp_path), 0.0, clock=later)
    upkeep.go_on(FIRST_S, hand)
    upkeep.change(Settings(outbox=tmp_path, keep_done_days=1), 500.0)
    assert upkeep.next_s() == 500.0 + FIRST_S
    upkeep.go_on(500.0 + FIRST_S, hand)
    hand.work()
    assert list((tmp_path / "done").iterdir()) == []
