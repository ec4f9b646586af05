"""The status in words, the last error, and what doctor finds without a model."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from worker.delivery.lock import FolderLock
from worker.logs import _Stderr, configure_logs, get_log, last_error
from worker.service import doctor
from worker.service.doctor import Finding, newest_record, show_findings
from worker.service.health import describe, write_status
from worker.service.status import Process, starting_status
from worker.settings import Settings


def status(**more: Any) -> dict[str, Any]:
    now_s = time.time()
    found = starting_status(Process(1, time.time()), time.time())
    found["model"] = {
        "name": "digits", "sha256": "abcdef012345" * 5, "since_s": now_s - 7200, "is_loading": False, "refused": None
    }  # fmt: skip
    found["watcher"] = {"mode": "inotify", "alive": True, "fallback": None}
    found["config"] = {"since_s": now_s, "refused": None, "awaiting_restart": [], "log_level": "info"}
    return found | more


def told(**more: Any) -> str:
    return "\n".join(describe(status(**more)))


def test_all_is_well_in_a_few_lines() -> None:
    text = told(rates={"per_s_1min": 12.345, "per_s_15min": 0.5})
    assert "answered a second: 12.35 over 1 min, 0.50 over 15 min" in text
    assert "model digits (abcdef012345), for 2 h" in text
    assert "watching by inotify" in text
    for word in ("REFUSED", "NOT ALIVE", "restart", "last error", "rescans"):
        assert word not in text


def test_what_is_refused_is_shown_with_reason_and_since_when() -> None:
    refused = {"why": "it is broken", "since_s": time.time() - 300}
    text = told(
        model=status()["model"] | {"refused": refused},
        config=status()["config"]
        | {"refused": refused | {"why": "1 mistake:\n - x"}, "awaiting_restart": ["inbox"]},
    )
    assert "A NEW ONE IS REFUSED since 5 min: it is broken" in text
    assert "THE NEW CONFIGURATION IS REFUSED since 5 min: 1 mistake: - x" in text
    assert "waiting for a restart: inbox" in text


def test_a_deaf_watcher_and_files_that_nobody_announced_show() -> None:
    counts = starting_status(Process(1, time.time()), time.time())["counts"] | {
        "unannounced": 7,
        "overflows": 2,
    }
    text = told(
        counts=counts, watcher={"mode": "polling", "alive": False, "fallback": "the limit is reached"}
    )
    assert "watching by polling - NOT ALIVE" in text
    assert "the limit is reached" in text
    assert "found by rescans alone: 7 files; events were lost 2 times" in text


def test_the_status_of_the_version_before_is_understood() -> None:
    old = status(model={"name": "digits", "sha256": "a" * 64})
    for key in ("rates", "config", "last_error"):
        del old[key]
    assert "model digits (aaaaaaaaaaaa)" in describe(old)


def test_a_worker_that_is_starting_is_described_as_well() -> None:
    assert describe(starting_status(Process(1, time.time()), time.time()))[0].startswith("starting since")


def test_the_last_error_is_remembered_with_its_time_and_warnings_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("error", "json")
    before_s = time.time()
    get_log().error("paused", what="disk full")
    get_log().warning("picture_failed", name="a.png")
    error = last_error()
    assert error is not None
    assert (error["event"], error["text"]) == ("paused", "what: disk full")
    at_s = error["at_s"]
    assert isinstance(at_s, float)
    assert at_s >= before_s
    assert "last error 0 s ago: paused: what: disk full" in told(last_error=error)
    assert json.loads(capsys.readouterr().err)["event"] == "paused"


# --- doctor ---------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(doctor, "_model", lambda _: iter(()))  # needs TensorFlow
    return Settings(inbox=tmp_path / "in", outbox=tmp_path / "out")


def findings(settings: Settings, level: str) -> list[str]:
    return [finding.what for finding in doctor.examine(settings) if finding.level == level]


@pytest.mark.parametrize(
    ("levels", "code"), [(["ok", "note"], 0), (["ok", "warning"], 1), (["error", "ok"], 1), ([], 0)]
)
def test_the_exit_code_follows_the_worst_finding(
    settings: Settings,
    levels: list[Any],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _: iter([Finding(level, "x", "do y") for level in levels]))
    assert show_findings(settings, as_json=False) == code
    assert capsys.readouterr().out.count("-> do y") == len(levels)
    assert show_findings(settings, as_json=True) == code
    assert [found["level"] for found in json.loads(capsys.readouterr().out)] == levels


def test_a_record_from_tomorrow_means_that_the_clock_went_back(settings: Settings) -> None:
    record = settings.outbox / "a.png.json"
    record.write_text("{}")
    assert not any("clock went back" in what for what in findings(settings, "warning"))
    os.utime(record, (time.time() + 86_400,) * 2)
    assert any("a.png.json" in what and "clock went back" in what for what in findings(settings, "warning"))


def test_the_newest_record_is_looked_for_among_records_alone(settings: Settings) -> None:
    for number, name in enumerate(["old.png.json", "new.png.json", "newest.txt"]):
        (settings.outbox / name).write_text("{}")
        os.utime(settings.outbox / name, (1000 + number,) * 2)
    assert newest_record(settings.outbox) == ("new.png.json", 1001.0)
    assert newest_record(settings.outbox / "gone") is None


def test_an_inbox_that_another_outbox_s_worker_owns_is_an_error(settings: Settings) -> None:
    with FolderLock(settings.inbox):
        assert any("another outbox" in what for what in findings(settings, "error"))
        with FolderLock(settings.outbox):
            assert not findings(settings, "error")
    assert not findings(settings, "error")


def test_what_the_running_worker_complains_of_is_found(settings: Settings) -> None:
    refused = {"why": "it is broken", "since_s": 1.0}
    with FolderLock(settings.inbox), FolderLock(settings.outbox):
        write_status(
            settings.outbox,
            status(
                model={"name": "digits", "sha256": "a" * 64, "refused": refused},
                config={"refused": refused, "awaiting_restart": ["threads"], "log_level": "info"},
                fault={"what": "No space left", "since_s": 1.0},
            ),
        )
        assert [what for what in findings(settings, "warning") if "refused" in what] == [
            "a new model is refused: it is broken",
            "the configuration was changed and is refused: it is broken",
        ]
        assert findings(settings, "error") == ["the worker is paused: No space left"]
        assert any("threads" in what for what in findings(settings, "note"))


@pytest.mark.parametrize(
    ("states", "level", "words"),
    [
        ({"--system": "enabled", "--user": ""}, "ok", "installed and enabled"),
        ({"--system": "not-found", "--user": "enabled"}, "ok", "installed and enabled"),
        ({"--system": "disabled", "--user": "not-found"}, "warning", "not enabled"),
        ({"--system": "not-found", "--user": ""}, "note", "not installed"),
    ],
)
def test_the_unit_is_looked_for(
    settings: Settings, states: dict[str, str], level: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/bin/systemctl")
    monkeypatch.setattr("os.path.isdir", lambda _: True)
    monkeypatch.setattr(doctor, "_unit_state", states.__getitem__)
    (found,) = doctor._unit(settings)
    assert found.level == level
    assert words in found.what


@pytest.mark.parametrize(
    ("kind", "level", "word"),
    [
        ("ext4", "ok", "ext4"),
        ("tmpfs", "note", "in memory"),
        ("nfs4", "note", "behind it"),
        ("fuse.sshfs", "note", "behind it"),
        ("overlay", "note", "container"),
    ],
)
def test_doctor_says_whose_disk_the_outbox_is_on(
    kind: str, level: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "file_system_of", lambda _: kind)
    (found,) = doctor._durability(Settings(inbox=tmp_path / "in", outbox=tmp_path / "out"))
    assert found.level == level
    assert word in found.what


def test_a_line_of_the_log_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two threads log at the same moment, each line stays one."""
    written: list[str] = []

    class Terminal:
        def write(self, text: str) -> None:
            written.append(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr("sys.stderr", Terminal())
    _Stderr().msg("one line")
    assert written == ["one line\n"]
