"""What the worker writes of itself: at every heartbeat, soon after a change of state, and never at its own cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from worker.service import bulletin as bulletin_module
from worker.service.bulletin import LEAST_BETWEEN_S, Bulletin
from worker.service.figures import Figures
from worker.service.status import Books
from worker.settings import Settings

HEARTBEAT_S = 5.0


class Desk:
    """A bulletin whose status is kept, not written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.written: list[dict[str, Any]] = []
        self.asked = 0
        self.beats = 0
        self.is_full = False
        monkeypatch.setattr(bulletin_module, "write_status", self._write)
        settings = Settings(outbox=folder, heartbeat_s=HEARTBEAT_S)
        self.bulletin = Bulletin(settings, Figures(settings), lambda: {"model": {"name": "digits"}})
        self.bulletin.on_heartbeat = self._beat

    def _write(self, _folder: Path, status: dict[str, Any]) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.written.append(status)

    def _beat(self) -> None:
        self.beats += 1

    def tell(self, state: str, now_s: float) -> list[str]:
        """Tell, and give the states written so far."""
        self.bulletin.tell(state, self._books, now_s)
        return [one["state"] for one in self.written]

    def _books(self) -> Books:
        self.asked += 1
        return Books()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    return Desk(monkeypatch, tmp_path)


def test_it_is_written_at_every_heartbeat_and_the_books_are_not_asked_between(desk: Desk) -> None:
    assert desk.tell("idle", 100.0) == ["idle"]
    assert desk.tell("idle", 100.0 + HEARTBEAT_S - 0.01) == ["idle"]
    assert desk.tell("idle", 100.0 + HEARTBEAT_S) == ["idle", "idle"]
    assert desk.asked == desk.beats == 2
    assert desk.written[0]["model"] == {"name": "digits"}
    assert desk.written[0]["config"] is None


def test_a_change_of_state_is_written_soon_and_not_at_every_one(desk: Desk) -> None:
    desk.tell("idle", 100.0)
    since_s = desk.written[0]["since_s"]
    assert desk.tell("working", 100.5) == ["idle"]
    assert desk.bulletin.next_s == 100.5 + LEAST_BETWEEN_S
    assert desk.tell("idle", 100.55) == ["idle"]
    assert desk.tell("working", 100.5 + LEAST_BETWEEN_S) == ["idle", "working"]
    assert desk.written[1]["since_s"] > since_s


def test_a_disk_that_is_full_ends_nothing(desk: Desk) -> None:
    desk.is_full = True
    assert desk.tell("paused", 100.0) == []
    desk.is_full = False
    assert desk.tell("paused", 100.0 + HEARTBEAT_S) == ["paused"]


def test_other_settings_are_told_at_once(desk: Desk, tmp_path: Path) -> None:
    desk.tell("idle", 100.0)
    desk.bulletin.follow(Settings(outbox=tmp_path, heartbeat_s=60.0), 101.0)
    assert desk.tell("idle", 101.0) == ["idle", "idle"]
    assert desk.tell("idle", 160.9) == ["idle", "idle"]
    assert desk.tell("idle", 161.0) == ["idle", "idle", "idle"]
