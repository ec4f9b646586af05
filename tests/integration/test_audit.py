"""`doctor --audit` finds what does not fit, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from worker.delivery.lock import FolderLock
from worker.delivery.outbox import Outbox
from worker.intake.arrivals import Kind, arrival_at
from worker.outcome import AnnotatedPicture, Outcome, Status
from worker.reasons import Reason, ReasonCode
from worker.service import audit as audit_module
from worker.service.audit import Audit, show_audit
from worker.service.health import write_status
from worker.service.status import Process, starting_status
from worker.settings import Settings


class Desk:
    """An outbox with answers in it, made by the code that makes them."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.inbox.mkdir()
        self.outbox.mkdir()
        self.settings = Settings(inbox=self.inbox, outbox=self.outbox)
        self.delivery = Outbox(self.inbox, self.outbox)

    def answer(self, name: str, data: bytes = b"", status: Status = Status.READ) -> None:
        data = data or os.fsencode(name)
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        seen = arrival_at(str(path), follow=False)
        failed = status is Status.FAILED
        arrival = type(seen)(
            name, Kind.FILE, seen.device, seen.inode, seen.size_bytes, seen.mtime_ns, seen.ctime_ns, 0.0
        )
        outcome = Outcome(
            arrival, status, None if failed else "", None if failed else 1.0, (),
            Reason.of(ReasonCode.UNDECODABLE) if failed else None, hashlib.sha256(data).hexdigest(),
            len(data), None, None, None if failed else AnnotatedPicture(b"drawn", ".png"), datetime.now(UTC),
        )  # fmt: skip
        self.delivery.commit([outcome], "m", "0" * 64)
        self.delivery.flush()

    def kinds(self) -> list[str]:
        return sorted(misfit.kind for misfit in Audit(self.settings).misfits())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "BLINK_S", 0.01)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    for name in ("a.png", "b/c.png", "done/d.png", "x" * 251 + ".png", os.fsdecode(b"\xff.png")):
        desk.answer(name)
    desk.answer("a.png", b"other bytes of this name")
    desk.answer("x" * 251 + ".png", b"other bytes of the long name")
    desk.answer("bad.png", status=Status.FAILED)
    return desk


def test_what_the_worker_leaves_fits(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.kinds() == []
    assert show_audit(desk.settings, as_json=False) == 0
    assert "records 8" in capsys.readouterr().out


def test_what_consumers_take_away_is_no_misfit(desk: Desk) -> None:
    desk.answer("bad.png", status=Status.FAILED)  # the same drop, answered anew
    (desk.outbox / "a.png.json").unlink()
    (desk.outbox / "a.png.annotated.png").unlink()
    (desk.outbox / "b/c.png.json").unlink()
    (desk.outbox / "bad.png.json").unlink()
    shutil.rmtree(desk.outbox / "done/b")
    (desk.outbox / "report.json").write_text("[1, 2]")
    assert desk.kinds() == []


def test_a_picture_that_is_gone_while_its_record_is_there(desk: Desk) -> None:
    (desk.outbox / "b/c.png.annotated.png").unlink()
    (desk.outbox / os.fsdecode(b"\xff.png.annotated.png")).unlink()
    assert desk.kinds() == ["missing_picture", "missing_picture"]


def test_an_original_in_the_wrong_folder(desk: Desk) -> None:
    (desk.outbox / "failed/bad.png").rename(desk.outbox / "done/bad.png")
    assert desk.kinds() == ["misplaced_original"]


def test_an_original_in_both_folders(desk: Desk) -> None:
    shutil.copy(desk.outbox / "failed/bad.png", desk.outbox / "done/bad.png")
    assert desk.kinds() == ["kept_twice"]


def test_a_drop_that_was_answered_twice(desk: Desk) -> None:
    digest = hashlib.sha256(b"bad.png").hexdigest()
    record = (desk.outbox / "bad.png.json").read_bytes()
    (desk.outbox / f"bad.png.{digest[:8]}.json").write_bytes(record)
    assert desk.kinds() == ["answered_twice"]


def test_a_record_that_is_none(desk: Desk) -> None:
    (desk.outbox / "bad.png.json").write_bytes(b'{"schema_version": 1,')
    assert desk.kinds() == ["unreadable_record"]


def test_damage_in_the_log_and_leftovers_in_staging(desk: Desk) -> None:
    hidden = desk.outbox / ".digit-worker"
    (hidden / "staging/left.png").write_bytes(b"x")
    (hidden / "journal/1.entry").write_bytes(b"garbage")
    (hidden / "journal/2.entry.torn").write_bytes(b"garbage")
    assert desk.kinds() == ["staged_leftover", "torn_log", "unreadable_log"]


def test_work_that_nobody_finishes(desk: Desk) -> None:
    class DiedError(Exception):
        pass

    def die(step: str) -> None:
        if step == "retire original":
            raise DiedError

    desk.delivery.close()
    desk.delivery = Outbox(desk.inbox, desk.outbox, on_step=die)
    with pytest.raises(DiedError):
        desk.answer("late.png")
    assert desk.kinds() == ["unfinished_work"]
    Outbox(desk.inbox, desk.outbox).recover()
    assert desk.kinds() == []


def test_what_a_busy_worker_has_in_its_hands_is_no_misfit(desk: Desk) -> None:
    (desk.outbox / ".digit-worker/staging/now.png").write_bytes(b"x")
    lock = FolderLock(desk.outbox)
    lock.acquire()
    try:
        write_status(desk.outbox, _status("working", desk))
        assert desk.kinds() == []
        write_status(desk.outbox, _status("idle", desk))
        assert desk.kinds() == ["staged_leftover"]
    finally:
        lock.release()


def test_an_idle_worker_that_does_not_know_its_inbox_and_books_that_do_not_balance(desk: Desk) -> None:
    (desk.inbox / "unknown.png").write_bytes(b"x")
    lock = FolderLock(desk.outbox)
    lock.acquire()
    try:
        write_status(desk.outbox, _status("idle", desk))
        assert desk.kinds() == ["unknown_to_the_worker"]
        write_status(desk.outbox, _status("idle", desk, waiting=1))
        assert desk.kinds() == ["books"]
        write_status(desk.outbox, _status("idle", desk, waiting=1, seen=1))
        assert desk.kinds() == []
    finally:
        lock.release()


def _status(state: str, desk: Desk, **counts: int) -> dict[str, Any]:
    status = starting_status(Process(1, time.time()), time.time())
    status |= {"state": state, "since_s": time.time() - 600, "model": {"name": "m", "sha256": "0"}}
    status["counts"] |= counts
    return status


def test_a_thousand_misfits_are_counted_and_twenty_shown(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk.outbox / ".digit-worker/staging").mkdir(exist_ok=True)
    for number in range(1000):
        (desk.outbox / f".digit-worker/staging/{number}").touch()
    assert show_audit(desk.settings, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["misfits"] == {"staged_leftover": 1000}
    assert len(found["shown"]) == 20
