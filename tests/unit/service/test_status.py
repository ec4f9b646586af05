"""The status says what the books say, under the same keys at every moment."""

from __future__ import annotations

import json

from worker.intake.arrivals import Arrival, BlockedFolder, Kind
from worker.intake.queue import Counts
from worker.service.status import (
    MAX_NAMES,
    Books,
    Fault,
    Process,
    State,
    Tally,
    Watching,
    in_a_line,
    starting_status,
    status_of,
)

PROCESS = Process(42, 1000.0)
COUNTS = Counts(
    seen=30, finished=11, vanished=2, waiting=12, in_work=5, ready=6, held=3, aside=1, stuck=4, foreign=7,
    linked_folders=8, unannounced=9,
)  # fmt: skip


def arrival(name: str) -> Arrival:
    return Arrival(name, Kind.FILE, 1, 2, 3, 4, 5, 6.0)


def test_each_count_stands_under_its_own_name() -> None:
    books = Books(
        tally=Tally(read=5, review=4, failed=1, answered_before=10),
        counts=COUNTS,
        blocked={"a": BlockedFolder("closed", 2)},
        watching=Watching("inotify", alive=True, fallback=None, overflows=13),
    )
    assert status_of(PROCESS, State("working", 1100.0), books, 1200.0)["counts"] == {
        "seen": 30, "published": 10, "read": 5, "review": 4, "failed": 1, "answered_before": 10, "vanished": 2,
        "waiting": 12, "in_work": 5, "held": 3, "on_trial": 1, "stuck": 4, "foreign": 7, "linked_folders": 8,
        "blocked_folders": 1, "unannounced": 9, "overflows": 13,
    }  # fmt: skip


def test_moments_and_process_are_those_given() -> None:
    status = status_of(PROCESS, State("idle", 1100.0), Books(oldest_waiting_s=1050.0), 1200.0)
    assert (status["pid"], status["started_at_s"]) == (42, 1000.0)
    assert (status["state"], status["since_s"], status["written_at_s"]) == ("idle", 1100.0, 1200.0)
    assert status["oldest_waiting_s"] == 1050.0


def test_only_the_first_names_are_told_and_all_are_counted() -> None:
    blocked = {f"folder-{number}": BlockedFolder("closed", 1) for number in range(100)}
    stuck = [arrival(f"{number}.png") for number in range(100)]
    status = status_of(PROCESS, State("idle", 0.0), Books(blocked=blocked, stuck=stuck), 0.0)
    assert len(status["blocked"]) == len(status["stuck"]) == MAX_NAMES
    assert status["counts"]["blocked_folders"] == 100
    assert status["blocked"]["folder-0"] == "closed"


def test_names_that_are_no_utf_8_can_be_written_as_json() -> None:
    books = Books(blocked={"b\udcff": BlockedFolder("closed", 1)}, stuck=[arrival("a\udcff.png")])
    status = status_of(PROCESS, State("idle", 0.0), books, 0.0)
    assert json.dumps(status, ensure_ascii=False).encode("utf-8")
    assert status["stuck"] == ["a%FF.png"]


def test_a_fault_a_watcher_and_the_last_error_are_told() -> None:
    books = Books(
        watching=Watching("polling", alive=False, fallback="no watches left", overflows=0),
        fault=Fault("the disk is full", 5.0),
        last_error={"event": "paused"},
    )
    status = status_of(
        PROCESS, State("paused", 0.0), books, 9.0, model={"name": "m"}, config={"refused": None}
    )
    assert status["watcher"] == {"mode": "polling", "alive": False, "fallback": "no watches left"}
    assert status["fault"] == {"what": "the disk is full", "since_s": 5.0}
    assert status["last_error"] == {"event": "paused"}
    assert status["model"] == {"name": "m"}
    assert status["config"] == {"refused": None}


def test_a_worker_that_starts_says_the_same_keys_as_one_that_works() -> None:
    books = Books(counts=COUNTS, watching=Watching("inotify", alive=True, fallback=None, overflows=0))
    working = status_of(PROCESS, State("working", 0.0), books, 0.0)
    starting = starting_status(PROCESS, 5.0)
    assert starting.keys() == working.keys()
    assert starting["counts"].keys() == working["counts"].keys()
    assert set(starting["counts"].values()) == {0}
    assert (starting["state"], starting["watcher"], starting["model"]) == ("starting", None, None)


def test_the_line_for_the_service_manager_names_the_fault() -> None:
    tally = Tally(read=5, review=4, failed=1)
    line = "10 answered (5 read, 4 review, 1 failed), 12 waiting, 5 in work"
    assert in_a_line("working", None, tally, COUNTS) == f"working: {line}"
    assert in_a_line("paused", "the disk is full", tally, COUNTS) == f"paused (the disk is full): {line}"
