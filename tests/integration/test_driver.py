"""The driver with real folders, watcher, intake and outbox; only the model is replaced."""

from __future__ import annotations

import dataclasses
import errno
import gc
import os
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from worker.delivery.lock import FolderLock
from worker.delivery.outbox import Outbox
from worker.errors import WorldError
from worker.intake.arrivals import Arrival, IgnoreRules, Inbox, SettleRule
from worker.intake.queue import Hints, Intake
from worker.intake.watcher import Watcher
from worker.outcome import Outcome, Status
from worker.reading import Answer, NotYet
from worker.recognition.card import Card
from worker.service.daemon import _Ring
from worker.service.driver import Driver
from worker.service.signals import Wake
from worker.service.upkeep import Upkeep
from worker.settings import Settings

CARD = Card(name="none", sha256="0" * 64, input_shape=(28, 28), outputs="softmax")


class Stop:
    """Asks for a drain when a test says so."""

    stop_requested = False


class FakeReader:
    """Answers every arrival as read; tests put hindrances into `before`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.before: Callable[[Sequence[Arrival]], list[Answer] | None] = lambda _: None

    def read(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        answers = self.before(arrivals)
        return answers if answers is not None else [outcome(arrival) for arrival in arrivals]


def outcome(arrival: Arrival) -> Outcome:
    return Outcome(
        arrival, Status.READ, "1", 1.0, (), None, "0" * 64, arrival.size_bytes, 1, 1, None, datetime.now(UTC)
    )


@dataclasses.dataclass
class Bench:
    driver: Driver
    reader: FakeReader
    outbox: Outbox
    inbox: Path
    records: Path
    stop: Stop
    wake: Wake
    thread: threading.Thread | None = None

    def start(self) -> None:
        self.thread = threading.Thread(target=self.driver.run, kwargs={"once": False})
        self.thread.start()

    def drop(self, *names: str) -> None:
        for name in names:
            (self.inbox / name).write_bytes(name.encode())

    def wait_for(self, names: Sequence[str], timeout_s: float = 15.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not all((self.records / f"{name}.json").exists() for name in names):
            assert time.monotonic() < end_s, sorted(os.listdir(self.records))
            time.sleep(0.005)

    def end(self) -> None:
        self.stop.stop_requested = True
        self.wake.set()
        if self.thread is not None:
            self.thread.join(20)
            assert not self.thread.is_alive()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    inbox, records = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    records.mkdir()
    settings = Settings(inbox=inbox, outbox=records, batch_size=4, rescan_s=5)
    locks = [FolderLock(inbox), FolderLock(records)]
    for lock in locks:
        lock.acquire()
    outbox = Outbox(inbox, records)
    outbox.recover()
    wake, stop = Wake(), Stop()
    hints = Hints(arrived=_Ring(wake))
    watcher = Watcher(inbox, hints)
    watcher.start()
    intake = Intake(Inbox(inbox, IgnoreRules()), SettleRule(0.1, 1.0))
    reader: Any = FakeReader(inbox)
    any_stop: Any = stop
    driver = Driver(settings, locks, intake, hints, watcher, reader, outbox, CARD, wake, any_stop)
    bench = Bench(driver, reader, outbox, inbox, records, stop, wake)
    yield bench
    bench.end()
    driver.close()
    watcher.stop()
    for lock in locks:
        lock.release()
    wake.close()


def test_a_failed_commit_loses_no_batch_that_was_read_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = bench.outbox.commit
    fails = [True]

    def once_full(*arguments: Any) -> Any:
        if fails:
            time.sleep(0.3)  # long enough for the next batch to be read
            fails.clear()
            raise WorldError("writing", OSError(errno.ENOSPC, "No space left on device"))
        return commit(*arguments)

    monkeypatch.setattr(bench.outbox, "commit", once_full)
    names = [f"{i}.png" for i in range(12)]
    bench.drop(*names)
    bench.start()
    bench.wait_for(names)
    bench.end()
    assert bench.driver.tally.read == 12
    assert bench.driver.left_behind == 0


def test_a_file_that_arrives_during_the_flush_does_not_wait_for_the_next_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = bench.outbox.flush

    def slow_flush() -> None:
        time.sleep(0.15)
        flush()

    monkeypatch.setattr(bench.outbox, "flush", slow_flush)
    bench.start()
    slowest_s = 0.0
    for number in range(6):
        started_s = time.monotonic()
        bench.drop(f"{number}.png")
        bench.wait_for([f"{number}.png"])
        slowest_s = max(slowest_s, time.monotonic() - started_s)
        time.sleep(0.03)
    assert slowest_s < 0.8


def test_two_links_to_one_file_are_two_drops_and_each_is_answered_once(bench: Bench) -> None:
    bench.drop("a.png")
    os.link(bench.inbox / "a.png", bench.inbox / "b.png")
    bench.start()
    bench.wait_for(["a.png", "b.png"])
    time.sleep(1.0)
    bench.end()
    assert sorted(p.name for p in bench.records.glob("*.json")) == ["a.png.json", "b.png.json"]
    assert bench.driver.tally.read == 2


def test_a_bad_spot_on_the_disk_delays_no_other_file(bench: Bench) -> None:
    def bad_spot(arrivals: Sequence[Arrival]) -> list[Answer]:
        return [NotYet(a, "disk_error") if a.name == "bad.png" else outcome(a) for a in arrivals]

    bench.reader.before = bad_spot
    bench.drop("bad.png", "x.png", "y.png", "z.png", "late.png")
    bench.start()
    bench.wait_for(["x.png", "y.png", "z.png", "late.png"])
    bench.reader.before = lambda _: None
    bench.wait_for(["bad.png"])


def test_the_folder_that_was_made_again_is_owned_again(bench: Bench, tmp_path: Path) -> None:
    bench.start()
    bench.drop("a.png")
    bench.wait_for(["a.png"])
    bench.records.rename(tmp_path / "away")
    bench.records.mkdir()
    bench.drop("b.png")
    bench.wait_for(["b.png"], 30)
    from worker.errors import OwnedElsewhereError

    with pytest.raises(OwnedElsewhereError):
        FolderLock(bench.records).acquire()


def test_waiting_for_a_slow_disk_costs_no_processor_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = bench.outbox.commit
    calls = []

    def first_full_then_slow(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise WorldError("writing", OSError(errno.ENOSPC, "No space left on device"))
        time.sleep(1.5)
        return commit(*arguments)

    monkeypatch.setattr(bench.outbox, "commit", first_full_then_slow)
    bench.drop("a.png")
    before_s = time.process_time()
    bench.start()
    bench.wait_for(["a.png"])
    assert time.process_time() - before_s < 0.7


class Knot(FakeReader):
    """A reader that only the garbage collector finds, as a loaded model is."""

    settings = None

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.me = self

    def close(self) -> None:
        """Nothing is held."""


class FakeChanges:
    """Another reader, when the test says so."""

    def __init__(self, settings: Settings, reader: Knot) -> None:
        self.serving = types.SimpleNamespace(settings=settings, card=CARD, reader=reader)
        self.told = True

    def step(self, _now_s: float) -> Any:
        was_told, self.told = self.told, True
        return None if was_told else self.serving

    def report(self) -> dict[str, Any]:
        return {}


def test_a_reader_that_was_replaced_is_gone_at_once(bench: Bench) -> None:
    first: Any = Knot(bench.inbox)
    changes: Any = FakeChanges(bench.driver._settings, first)
    bench.driver._changes, bench.driver._changing_reader = changes, first
    bench.driver._readers._own.reader = first
    bench.start()
    bench.drop("a.png")
    bench.wait_for(["a.png"])
    was_there = weakref.ref(first)
    changes.serving = types.SimpleNamespace(
        settings=bench.driver._settings, card=CARD, reader=Knot(bench.inbox)
    )
    gc.disable()
    try:
        del first
        changes.told = False
        bench.wake.set()
        end_s = time.monotonic() + 5
        while was_there() is not None:
            assert time.monotonic() < end_s
            time.sleep(0.01)
    finally:
        gc.enable()
    bench.drop("b.png")
    bench.wait_for(["b.png"])


def test_old_originals_go_while_pictures_come_and_records_stay(bench: Bench) -> None:
    first = [f"{number}.png" for number in range(9)]
    bench.drop(*first)  # five bytes each
    bench.start()
    bench.wait_for(first)
    settings = Settings(inbox=bench.inbox, outbox=bench.records, keep_done_mb=0.00001)
    bench.driver._upkeep = Upkeep(settings, time.monotonic() - 100)
    late = [f"late-{number}.png" for number in range(9)]
    bench.drop(*late)
    bench.wait_for(late)
    done = bench.records / "done"
    end_s = time.monotonic() + 15
    while len([name for name in first if (done / name).exists()]) > 2:
        assert time.monotonic() < end_s, sorted(os.listdir(done))
        time.sleep(0.01)
    bench.end()
    assert all((bench.records / f"{name}.json").exists() for name in first + late)
    assert bench.driver.tally.read == 18


def test_a_drain_waits_without_a_busy_loop(bench: Bench) -> None:
    """A scan that is due is not made any more, so nothing has to be done for it."""
    bench.driver._next_scan_s = 0.0
    assert bench.driver._timeout_s(time.monotonic(), once=False) == 0
    bench.stop.stop_requested = True
    bench.driver.bulletin.next_s = time.monotonic() + 100
    assert bench.driver._timeout_s(time.monotonic(), once=False) > 0.5
