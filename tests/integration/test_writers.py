"""Writers as they are: what copy tools and scanners do to a folder, and each file is given out once, whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_intake_watching import END, Doorway


@pytest.fixture
def doorway(tmp_path: Path) -> Iterator[Doorway]:
    (tmp_path / "inbox").mkdir()
    doorway = Doorway(tmp_path / "inbox", settle_s=0.2, incomplete_after_s=3.0)
    doorway.watcher.start()
    doorway.turn()
    yield doorway
    doorway.watcher.stop()


def sizes(doorway: Doorway) -> dict[str, int]:
    assert len(set(doorway.names)) == len(doorway.names), "given out twice"
    return {arrival.name: arrival.size_bytes for arrival in doorway.answered}


def test_rsync_writes_a_temporary_name_and_renames(doorway: Doorway, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for number in range(30):
        path = source / ("sub" if number % 3 else ".") / f"{number}.png"
        path.write_bytes(bytes(20_000) + END)
        os.utime(path, (1, 1))
    if rsync := shutil.which("rsync"):
        process = subprocess.Popen([rsync, "-a", "--bwlimit=800", f"{source}/", f"{doorway.root}/"])
        doorway.run_until(lambda: len(doorway.answered) >= 30, 20)
        assert process.wait(20) == 0
    else:  # the same calls by hand
        for path in source.rglob("*.png"):
            target = doorway.root / path.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            hidden = target.with_name(f".{target.name}.Xy12Zq")
            shutil.copy2(path, hidden)
            doorway.turn()
            hidden.rename(target)
        doorway.run_until(lambda: len(doorway.answered) >= 30)
    doorway.run_for(0.5)
    assert len(sizes(doorway)) == 30
    assert set(sizes(doorway).values()) == {20_003}


@pytest.mark.parametrize("holds_open", [True, False], ids=["one open file", "opened for each part"])
def test_writing_in_place_with_pauses_longer_than_the_settling_time(
    doorway: Doorway, holds_open: bool
) -> None:
    path = doorway.root / "slow.png"

    def write() -> None:
        file = path.open("ab", buffering=0)
        for part in (b"1" * 1000, b"2" * 1000, END):
            if not holds_open:
                file.close()
                file = path.open("ab", buffering=0)
            file.write(part)
            time.sleep(0.6)
        file.close()

    writer = threading.Thread(target=write)
    writer.start()
    doorway.run_until(lambda: bool(doorway.answered))
    writer.join()
    doorway.run_for(0.5)
    assert sizes(doorway) == {"slow.png": 2003}


def test_an_empty_placeholder_is_filled_later(doorway: Doorway) -> None:
    (doorway.root / "later.png").touch()
    doorway.run_for(1.0)
    assert doorway.names == []
    (doorway.root / "later.png").write_bytes(b"x" + END)
    doorway.run_until(lambda: bool(doorway.answered))
    doorway.run_for(0.5)
    assert sizes(doorway) == {"later.png": 4}


QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
MOVE_ALL = (
    "import os, sys; [os.rename(entry, sys.argv[2] + '/' + entry.name) for entry in os.scandir(sys.argv[1])]"
)


@contextmanager
def queue_of(events: int) -> Iterator[None]:
    """The kernel drops what comes after so many queued events, for whoever begins to watch meanwhile."""
    before = QUEUE.read_text()
    QUEUE.write_text(str(events))
    try:
        yield
    finally:
        QUEUE.write_text(before)


@pytest.mark.long
@pytest.mark.skipif(not os.access(QUEUE, os.W_OK), reason=f"needs root, and that {QUEUE} may be written")
def test_twenty_thousand_files_through_a_queue_of_64_events(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "source").mkdir()
    for number in range(20_000):
        (tmp_path / "source" / f"{number}.png").write_bytes(END)
    doorway = Doorway(tmp_path / "inbox")
    with queue_of(64):  # of the whole machine, so for a moment alone
        doorway.watcher.start()
    try:
        doorway.turn()
        mover = subprocess.Popen([sys.executable, "-c", MOVE_ALL, tmp_path / "source", doorway.root])
        doorway.run_until(lambda: len(doorway.answered) >= 20_000, 180)
        assert mover.wait(10) == 0
        doorway.run_for(0.5)
        assert len(sizes(doorway)) == 20_000
        assert doorway.watcher.overflows > 0
        assert doorway.watcher.is_alive()
    finally:
        doorway.watcher.stop()


@pytest.mark.long
def test_fifty_thousand_files_at_once(doorway: Doorway, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(50_000):
        (source / f"{number}.png").write_bytes(END)
    os.utime(source / "0.png", (1, 1))

    def move() -> None:
        for number in range(50_000):
            os.rename(source / f"{number}.png", doorway.root / f"{number}.png")

    mover = threading.Thread(target=move)
    mover.start()
    doorway.run_until(lambda: len(doorway.answered) >= 50_000, 180)
    mover.join()
    doorway.run_for(0.5)
    assert len(sizes(doorway)) == 50_000
    assert list(doorway.root.iterdir()) == []
