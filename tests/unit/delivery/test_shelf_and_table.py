"""Published records are found again, put into a table, and put back for another try."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from worker.delivery.names import file_names
from worker.delivery.retrial import WITHDRAWN, retry
from worker.delivery.shelf import shelved_records
from worker.delivery.table import export, parse_time
from worker.errors import UsageError


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "outbox").mkdir()
    return tmp_path / "outbox"


def _shelve(
    outbox: Path, name: str, status: str = "failed", *, path: str = "", **more: Any
) -> dict[str, Any]:
    data = f"bytes of {name}".encode()
    record: dict[str, Any] = {
        "schema_version": 1,
        "status": status,
        "text": "4" if status == "read" else None,
        "confidence": None,
        "digits": [],
        "reason": {"code": "undecodable", "message": "Copy it again."},
        "source": {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)},
        "annotated": None,
        "model": {"name": "m", "sha256": "0"},
        "finished_at": "2026-11-20T09:00:00.000Z",
        **more,
    }
    target = outbox / f"{path or name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(record))
    kept = (
        outbox / ("failed" if status == "failed" else "done") / (path + Path(name).suffix if path else name)
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    return record


def _retry(outbox: Path, *names: str, dry_run: bool = False) -> int:
    return retry(outbox.parent / "inbox", outbox, names, dry_run=dry_run)


def test_only_records_are_found_and_hidden_folders_are_passed_over(outbox: Path) -> None:
    _shelve(outbox, "a/b.png")
    (outbox / "other.json").write_text('{"name": "not ours"}')
    (outbox / "torn.json").write_text("{")
    (outbox / ".digit-worker").mkdir()
    (outbox / ".digit-worker" / "status.json").write_text(json.dumps(_shelve(outbox, "c.png")))
    assert [shelved.path for shelved in shelved_records(outbox)] == ["c.png.json", "a/b.png.json"]


def test_the_table_is_sorted_by_time_and_no_cell_is_a_formula(
    outbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _shelve(outbox, "late.png", finished_at="2026-11-20T10:00:00.000Z")
    _shelve(outbox, "=cmd().png", finished_at="2026-11-20T09:30:00.000Z")
    assert export(outbox, "csv", since=None, output=None) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows] == ["'=cmd().png", "late.png"]
    assert rows[0]["reason"] == "undecodable"
    export(outbox, "jsonl", since="2026-11-20T09:45Z", output=None)
    assert [json.loads(line)["source"]["name"] for line in capsys.readouterr().out.splitlines()] == [
        "late.png"
    ]


def test_a_csv_file_begins_with_the_mark_that_spreadsheets_want(outbox: Path, tmp_path: Path) -> None:
    _shelve(outbox, "ä.png")
    export(outbox, "csv", since=None, output=tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes().startswith(b"\xef\xbb\xbfname,")


def test_a_time_that_is_none_is_a_usage_error() -> None:
    assert parse_time("2026-11-20T08:00Z").isoformat() == "2026-11-20T08:00:00+00:00"
    with pytest.raises(UsageError):
        parse_time("yesterday")


def test_retry_moves_the_original_back_and_withdraws_the_old_answer(outbox: Path) -> None:
    _shelve(outbox, "a/b.png")
    _shelve(outbox, "good.png", "read")
    assert _retry(outbox, dry_run=True) == 0
    assert (outbox / "a/b.png.json").exists()
    assert _retry(outbox) == 0
    assert (outbox.parent / "inbox/a/b.png").read_text() == "bytes of a/b.png"
    assert not (outbox / "a/b.png.json").exists()
    assert not (outbox / "failed/a/b.png").exists()
    assert (outbox / "good.png.json").exists()


def test_retry_finds_the_original_that_carries_a_mark(outbox: Path) -> None:
    _shelve(outbox, "b.png", path="b.png.1a2b3c4d")
    (outbox / "failed/b.png").write_text("another drop of this name")
    assert _retry(outbox, "b.png") == 0
    assert (outbox.parent / "inbox/b.png").read_text() == "bytes of b.png"
    assert (outbox / "failed/b.png").exists()


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "ä" * 125 + ".jpeg", "x" * 246 + ".png"])
def test_retry_finds_the_original_of_a_long_name_with_and_without_a_mark(outbox: Path, name: str) -> None:
    data = f"bytes of {name}".encode()
    mark = hashlib.sha256(data).hexdigest()[:8]
    for number, names in enumerate((file_names(name, None, mark), file_names(name, None))):
        record = _shelve(outbox, "short.png")
        (outbox / "short.png.json").unlink()
        (outbox / "failed/short.png").unlink()
        record["source"] = {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (outbox / names.record).write_text(json.dumps(record))
        (outbox / "failed" / names.original).write_bytes(data)
        assert _retry(outbox, name) == 0, number
        assert (outbox.parent / "inbox" / name).read_bytes() == data
        (outbox.parent / "inbox" / name).unlink()


def test_retry_overwrites_nothing_and_names_what_it_cannot_do(
    outbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _shelve(outbox, "b.png")
    (outbox.parent / "inbox/b.png").write_text("waiting")
    assert _retry(outbox) == 1
    assert _retry(outbox, "nowhere.png") == 1
    said = capsys.readouterr().err
    assert "waits in the inbox already" in said
    assert "nowhere.png" in said
    assert (outbox.parent / "inbox/b.png").read_text() == "waiting"
    assert (outbox / "b.png.json").exists()


def test_an_original_that_cannot_be_moved_gets_its_record_back(
    outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shelve(outbox, "b.png")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("worker.delivery.retrial._move", refuse)
    assert _retry(outbox) == 1
    assert (outbox / "b.png.json").exists()
    assert not (outbox / WITHDRAWN).exists()


def test_a_retry_that_died_in_between_is_undone_by_the_next(
    outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shelve(outbox, "b.png")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("worker.delivery.retrial._move", die)
    with pytest.raises(KeyboardInterrupt):
        _retry(outbox)
    assert not (outbox / "b.png.json").exists()
    monkeypatch.undo()
    assert _retry(outbox) == 0
    assert (outbox.parent / "inbox/b.png").exists()
    assert not (outbox / "b.png.json").exists()
