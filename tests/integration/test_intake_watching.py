"""The intake on real folders, with the real watchdog."""

from __future__ import annotations

import errno
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyFD

from worker.errors import WorldError
from worker.intake.arrivals import (
    LEASES_ARE_HONEST_ON,
    Arrival,
    IgnoreRules,
    Inbox,
    SettleRule,
    file_system_of,
)
from worker.intake.queue import Hints, Intake
from worker.intake.watcher import Watcher

END = b"END"


class Doorway:
    """Watcher, hints and intake wired as a driver wires them; files that do not end in END are unfinished."""

    def __init__(self, root: Path, *, settle_s: float = 0.2, incomplete_after_s: float = 2.0) -> None:
        self.root = root
        self.arrived = threading.Event()
        self.hints = Hints(arrived=self.arrived)
        self.watcher = Watcher(root, self.hints)
        self.intake = Intake(Inbox(root, IgnoreRules()), SettleRule(settle_s, incomplete_after_s))
        self.answered: list[Arrival] = []

    def turn(self) -> None:
        now_s = time.monotonic()
        deadline_s = self.intake.next_deadline(now_s)
        self.arrived.wait(0.05 if deadline_s is None else min(0.05, max(0.0, deadline_s - now_s)))
        self.intake.look(self.hints.take(), time.monotonic())
        for arrival in self.intake.take(64, time.monotonic()):
            content = (self.root / arrival.name).read_bytes()
            if content.endswith(END) or arrival.is_final:
                self.answered.append(arrival)
                (self.root / arrival.name).unlink()
                self.intake.finished(arrival)
            else:
                self.intake.unfinished(arrival, time.monotonic())

    def run_until(self, is_done: Callable[[], bool], timeout_s: float = 8.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not is_done():
            assert time.monotonic() < end_s, f"answered only {self.names}"
            self.turn()

    def run_for(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.turn()

    @property
    def names(self) -> list[str]:
        return [arrival.name for arrival in self.answered]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


@pytest.fixture
def doorway(inbox: Path) -> Iterator[Doorway]:
    doorway = Doorway(inbox)
    doorway.watcher.start()
    doorway.turn()
    yield doorway
    doorway.watcher.stop()


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.fixture
def watcher(inbox: Path, hints: Hints) -> Iterator[Watcher]:
    watcher = Watcher(inbox, hints, mode="inotify")
    watcher.start()
    hints.take()
    yield watcher
    watcher.stop()


def wait_for(is_done: Callable[[], bool], timeout_s: float = 5.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < end_s
        time.sleep(0.005)


class Ear:
    """All hints that came, piled up."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self.files: dict[str, bool] = {}
        self.folders: set[str] = set()
        self.everything = False

    def listen(self) -> Ear:
        hinted = self._hints.take()
        self.files |= hinted.files
        self.folders |= set(hinted.folders)
        self.everything |= hinted.everything
        return self


def test_a_slow_writer_is_waited_for_though_it_pauses_longer_than_the_settling_time(
    doorway: Doorway, inbox: Path
) -> None:
    def write_slowly() -> None:
        for piece in (b"one", b"two", END):
            with (inbox / "a.png").open("ab") as file:  # closed after each piece: every close is an event
                file.write(piece)
            time.sleep(0.5)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    doorway.run_until(lambda: bool(doorway.answered))
    writer.join()
    doorway.run_for(0.3)
    assert [(arrival.name, arrival.size_bytes) for arrival in doorway.answered] == [("a.png", 9)]
    assert not doorway.answered[0].is_final


def test_a_file_that_never_ends_is_given_out_as_final(doorway: Doorway, inbox: Path) -> None:
    (inbox / "cut.png").write_bytes(b"no end")
    (inbox / "empty.png").touch()
    start_s = time.monotonic()
    doorway.run_until(lambda: len(doorway.answered) == 2)
    assert time.monotonic() - start_s >= 1.9
    assert all(arrival.is_final for arrival in doorway.answered)


def test_a_file_that_a_writer_holds_open_is_not_given_out(doorway: Doorway, inbox: Path) -> None:
    if file_system_of(str(inbox)) not in LEASES_ARE_HONEST_ON:
        pytest.skip("this file system gives no leases")
    with (inbox / "a.png").open("wb") as file:
        file.write(END)
        file.flush()
        doorway.run_for(0.6)
        assert doorway.answered == []
    doorway.run_until(lambda: doorway.names == ["a.png"], 1.0)


def test_every_way_of_dropping_a_file_is_noticed(doorway: Doorway, inbox: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("moved.png", "copied.png", "linked.png"):
        (outside / name).write_bytes(END)
    os.utime(outside / "copied.png", (1, 1))
    (outside / "folder.png").mkdir()
    (outside / "folder.png" / "inside.png").write_bytes(END)
    (inbox / "half.png.part").write_bytes(END)
    os.utime(inbox / "half.png.part", (1, 1))

    (outside / "moved.png").rename(inbox / "moved.png")
    shutil.copy2(outside / "copied.png", inbox / "copied.png")
    (inbox / "linked.png").hardlink_to(outside / "linked.png")
    (outside / "folder.png").rename(inbox / "folder.png")
    (inbox / "half.png.part").rename(inbox / "half.png")
    (inbox / "deep/er").mkdir(parents=True)
    (inbox / "deep/er/made.png").write_bytes(END)
    expected = {
        "moved.png",
        "copied.png",
        "linked.png",
        "folder.png/inside.png",
        "half.png",
        "deep/er/made.png",
    }
    doorway.run_until(lambda: len(doorway.answered) >= len(expected))
    doorway.run_for(0.3)
    assert sorted(doorway.names) == sorted(expected)
    assert doorway.intake.counts.unannounced == 0


def test_the_same_name_again_and_again_is_answered_each_time(doorway: Doorway, inbox: Path) -> None:
    for turn in range(1, 6):
        (inbox / "a.png").write_bytes(bytes([turn]) + END)
        doorway.run_until(lambda turn=turn: len(doorway.answered) == turn)  # type: ignore[misc]


def test_names_of_any_bytes_are_noticed(doorway: Doorway, inbox: Path) -> None:
    raw = b"\xff\xfe 1.png"
    with open(os.path.join(os.fsencode(inbox), raw), "wb") as file:
        file.write(END)
    folder = os.path.join(os.fsencode(inbox), b"\xe4")
    os.mkdir(folder)
    with open(os.path.join(folder, b"2\n.png"), "wb") as file:
        file.write(END)
    doorway.run_until(lambda: len(doorway.answered) == 2)
    assert {os.fsencode(name) for name in doorway.names} == {raw, b"\xe4/2\n.png"}


def test_nothing_is_lost_when_the_kernel_loses_events(
    doorway: Doorway, inbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = doorway.watcher._kernel
    assert kernel is not None
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip(f"the kernel's queue holds {limit} events: too many to fill in a test")
    with kernel._lock:  # the reader of the queue is held up, as on a busy machine
        for number in range(3000):
            (inbox / f"{number}.png").write_bytes(END)
        for number in range(limit // 2):
            (inbox / "noise").write_bytes(b"")
            (inbox / f"noise {number % 2}").write_bytes(b"")
        for number in range(3000, 3100):
            (inbox / f"{number}.png").write_bytes(END)
    doorway.run_until(lambda: len(doorway.answered) >= 3100, 15.0)
    assert sorted(doorway.names) == sorted(f"{number}.png" for number in range(3100))
    assert doorway.watcher.overflows == 1
    assert "overflow" not in caplog.text
    assert doorway.watcher.is_alive()
    (inbox / "after.png").write_bytes(END)
    doorway.run_until(lambda: "after.png" in doorway.names, 1.0)


def test_the_workers_own_renames_do_not_delay_events(
    watcher: Watcher, hints: Hints, inbox: Path, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    done.mkdir()
    delays_s = []
    for number in range(60):
        (inbox / f"old{number}.png").write_bytes(END)
    wait_for(lambda: f"old{number}.png" in hints.take().files)
    for number in range(60):
        (inbox / f"old{number}.png").rename(done / f"{number}.png")
        (inbox / f"{number}.png").write_bytes(END)
        start_s = time.perf_counter()
        while not hints.take().files.get(f"{number}.png"):
            assert time.perf_counter() - start_s < 5.0
            assert isinstance(hints.arrived, threading.Event)
            hints.arrived.wait(0.05)
        delays_s.append(time.perf_counter() - start_s)
        time.sleep(0.01)
    assert statistics.median(delays_s) < 0.010


def test_hidden_folders_give_no_hints(watcher: Watcher, hints: Hints, inbox: Path) -> None:
    own = inbox / ".digit-worker"
    own.mkdir()
    (own / "staged.png").write_bytes(END)
    (inbox / ".a.png").write_bytes(END)
    (inbox / "b.png").write_bytes(END)
    ear = Ear(hints)
    wait_for(lambda: ear.listen().files.get("b.png", False))
    assert set(ear.files) == {"b.png"}
    assert ear.folders == set()
    assert not ear.everything


def test_reading_a_file_gives_no_hints(watcher: Watcher, hints: Hints, inbox: Path) -> None:
    (inbox / "a.png").write_bytes(END)
    ear = Ear(hints)
    wait_for(lambda: ear.listen().files.get("a.png", False))
    for _ in range(50):
        (inbox / "a.png").read_bytes()
    (inbox / "b.png").write_bytes(END)
    later = Ear(hints)
    wait_for(lambda: later.listen().files.get("b.png", False))
    assert set(later.files) == {"b.png"}


def test_each_start_asks_for_a_scan(inbox: Path, hints: Hints) -> None:
    watcher = Watcher(inbox, hints)
    watcher.start()
    assert hints.take().everything
    watcher.restart()
    assert hints.take().everything
    assert watcher.is_alive()
    watcher.stop()
    assert not watcher.is_alive()
    watcher.stop()


def test_an_inbox_that_is_made_again_is_noticed_and_watched_after_a_restart(
    watcher: Watcher, hints: Hints, inbox: Path
) -> None:
    assert watcher.is_alive()
    inbox.rename(inbox.parent / "old")
    assert not watcher.is_alive()
    with pytest.raises(WorldError):
        watcher.restart()
    inbox.mkdir()
    assert not watcher.is_alive()
    watcher.restart()
    assert watcher.is_alive()
    (inbox / "a.png").write_bytes(END)
    ear = Ear(hints)
    wait_for(lambda: ear.listen().files.get("a.png", False))


def test_an_inbox_that_is_deleted_and_made_again_is_noticed(watcher: Watcher, inbox: Path) -> None:
    inbox.rmdir()
    inbox.mkdir()
    wait_for(lambda: not watcher.is_alive())


def test_an_inbox_behind_a_link_is_watched(inbox: Path, hints: Hints, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(inbox)
    watcher = Watcher(link, hints)
    watcher.start()
    (inbox / "a.png").write_bytes(END)
    ear = Ear(hints)
    wait_for(lambda: ear.listen().files.get("a.png", False))
    assert watcher.is_alive()
    watcher.stop()


def test_an_inbox_below_a_hidden_folder_is_watched(tmp_path: Path, hints: Hints) -> None:
    inbox = tmp_path / ".cache" / "inbox"
    (inbox / "sub").mkdir(parents=True)
    watcher = Watcher(inbox, hints)
    watcher.start()
    (inbox / "sub" / "a.png").write_bytes(END)
    ear = Ear(hints)
    wait_for(lambda: ear.listen().files.get("sub/a.png", False))
    watcher.stop()


@pytest.mark.parametrize(
    ("number", "limit"), [(errno.EMFILE, "max_user_instances"), (errno.ENOSPC, "max_user_watches")]
)
def test_a_refused_watch_falls_back_to_polling_and_says_why(
    inbox: Path, hints: Hints, monkeypatch: pytest.MonkeyPatch, number: int, limit: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, "limit reached")

    place = "_create_inotify_fd" if number == errno.EMFILE else "add_callback"
    monkeypatch.setattr(InotifyFD, place, refuse)
    watcher = Watcher(inbox, hints, poll_interval_s=0.05)
    watcher.start()
    assert watcher.mode == "polling"
    assert watcher.fallback is not None
    assert limit in watcher.fallback
    assert watcher.is_alive()
    hints.take()
    wait_for(lambda: hints.take().everything)
    watcher.stop()


def test_a_sub_folder_that_cannot_be_watched_is_not_passed_over(
    watcher: Watcher, hints: Hints, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "limit reached")

    monkeypatch.setattr(InotifyFD, "add_callback", refuse)
    (inbox / "sub").mkdir()
    wait_for(lambda: not watcher.is_alive())
    watcher.restart()
    assert watcher.mode == "polling"
    assert watcher.is_alive()


def test_polling_survives_an_inbox_that_is_away_for_a_moment(inbox: Path, hints: Hints) -> None:
    watcher = Watcher(inbox, hints, mode="polling", poll_interval_s=0.02)
    watcher.start()
    inbox.rename(inbox.parent / "away")
    assert not watcher.is_alive()
    time.sleep(0.1)
    (inbox.parent / "away").rename(inbox)
    assert watcher.is_alive()
    hints.take()
    wait_for(lambda: hints.take().everything)
    watcher.stop()


def test_a_surprise_while_handling_an_event_does_not_end_the_watch(
    watcher: Watcher, hints: Hints, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, *, closed: bool) -> None:
        raise RuntimeError(name)

    with monkeypatch.context() as broken:
        broken.setattr(hints, "file", fail)
        (inbox / "a.png").write_bytes(END)
        wait_for(lambda: watcher.surprises > 0)
    assert hints.take().everything
    assert watcher.is_alive()
    (inbox / "b.png").write_bytes(END)
    ear = Ear(hints)
    wait_for(lambda: ear.listen().files.get("b.png", False))


def test_stopping_gives_everything_back(inbox: Path, hints: Hints) -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        watcher = Watcher(inbox, hints, mode="inotify")
        watcher.start()
        watcher.stop()
    wait_for(lambda: (len(os.listdir("/proc/self/fd")), threading.active_count()) == before)
