from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.intake.queue import FairQueue


def filled(count: int) -> FairQueue:
    queue = FairQueue()
    for number in range(count):
        queue.add(number, f"{number}.png")
    return queue


def test_a_newcomer_is_in_the_next_batch_however_long_the_backlog() -> None:
    queue = filled(100_000)
    queue.take(64)
    queue.add(1_000_000, "newcomer.png")
    assert "newcomer.png" in queue.take(64)


@pytest.mark.parametrize(("count", "newest"), [(2, 1), (4, 1), (8, 2), (64, 16)])
def test_a_quarter_of_a_batch_and_at_least_one_place_goes_to_the_newest(count: int, newest: int) -> None:
    batch = [int(name.removesuffix(".png")) for name in filled(1000).take(count)]
    assert batch[: count - newest] == list(range(count - newest))
    assert sorted(batch[count - newest :]) == list(range(1000 - newest, 1000))


def test_batches_of_one_take_the_oldest_and_the_newest_in_turn() -> None:
    queue = filled(10)
    assert [queue.take(1) for _ in range(4)] == [["0.png"], ["9.png"], ["1.png"], ["8.png"]]


@pytest.mark.parametrize("count", [1, 2, 16])
def test_the_oldest_are_not_starved_by_a_constant_stream_of_newcomers(count: int) -> None:
    queue = filled(100)
    taken: set[str] = set()
    for turn in range(200):
        for extra in range(count):
            queue.add(1000 + turn * count + extra, f"new {turn} {extra}.png")
        taken.update(queue.take(count))
    assert {f"{number}.png" for number in range(100)} <= taken


def test_the_last_ones_are_all_taken() -> None:
    queue = filled(3)
    assert queue.take(64) == ["0.png", "1.png", "2.png"]
    assert len(queue) == 0
    assert queue.take(64) == []


def test_what_is_not_in_the_queue_cannot_be_removed() -> None:
    queue = filled(3)
    with pytest.raises(KeyError):
        queue.remove(1, "other.png")
    with pytest.raises(KeyError):
        FairQueue().remove(1, "other.png")


@given(st.lists(st.tuples(st.integers(0, 50), st.text(max_size=2)), unique=True), st.randoms())
def test_whatever_the_order_of_adding_and_removing_the_oldest_come_first(
    keys: list[tuple[int, str]], order: random.Random
) -> None:
    queue = FairQueue()
    for key in keys:
        queue.add(*key)
    removed = [key for key in keys if order.random() < 0.3]
    for key in removed:
        queue.remove(*key)
    left = sorted(set(keys) - set(removed))
    assert len(queue) == len(left)
    assert queue.take(len(keys)) == [name for _, name in left]


def test_order_holds_over_many_blocks() -> None:
    queue = FairQueue()
    numbers = list(range(20_000))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        queue.add(number, str(number))
    for number in range(0, 20_000, 2):
        queue.remove(number, str(number))
    assert queue.take(20_000) == [str(number) for number in range(1, 20_000, 2)]


def test_a_take_does_not_become_slow_with_the_backlog() -> None:
    def seconds(count: int) -> float:
        queue = filled(count)
        start = time.perf_counter()
        for _ in range(200):
            queue.take(4)
        return time.perf_counter() - start

    many, few = (min(seconds(count) for _ in range(3)) for count in (100_000, 2_000))
    assert many < 10 * few + 0.01
