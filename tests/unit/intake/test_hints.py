from __future__ import annotations

import threading

from worker.intake.queue import Hinted, Hints


def test_hints_are_taken_once() -> None:
    arrived = threading.Event()
    hints = Hints(arrived=arrived)
    hints.file("a.png", closed=True)
    hints.folder("b")
    assert arrived.is_set()
    assert hints.take() == Hinted({"a.png": True}, ("b",), everything=False)
    assert not arrived.is_set()
    assert hints.take() == Hinted({}, (), everything=False)


def test_the_last_word_about_a_name_counts() -> None:
    hints = Hints()
    hints.file("a.png", closed=False)
    hints.file("a.png", closed=True)
    hints.file("b.png", closed=True)
    hints.file("b.png", closed=False)
    assert hints.take().files == {"a.png": True, "b.png": False}


def test_too_many_names_become_one_wish_for_a_scan() -> None:
    hints = Hints(limit=3)
    for number in range(4):
        hints.file(f"{number}.png", closed=True)
    assert hints.take() == Hinted({}, (), everything=True)


def test_the_same_name_again_and_again_needs_no_scan() -> None:
    hints = Hints(limit=3)
    for _ in range(100):
        hints.file("a.png", closed=False)
    assert not hints.take().everything


def test_the_event_of_the_driver_is_set_by_a_hint() -> None:
    arrived = threading.Event()
    Hints(arrived=arrived).everything()
    assert arrived.is_set()


def test_no_hint_is_lost_between_threads() -> None:
    hints = Hints(limit=100_000)
    names: set[str] = set()

    def tell(thread: int) -> None:
        for number in range(2000):
            hints.file(f"{thread} {number}", closed=True)

    threads = [threading.Thread(target=tell, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        names.update(hints.take().files)
    names.update(hints.take().files)
    assert len(names) == 8000
