"""Old originals go by age and size; nothing else goes, and no step takes long."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from worker.delivery.retention import KeepRule, Sweep

NOW_S = time.time()
DAY_S = 86_400.0


@pytest.fixture
def done(tmp_path: Path) -> Path:
    folder = tmp_path / "done"
    folder.mkdir()
    return folder


def put(folder: Path, *names: str, size_bytes: int = 100) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size_bytes)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def swept(folder: Path, rule: KeepRule, now_s: float, step: int = 3) -> Sweep:
    sweep = Sweep(folder, rule, now_s)
    steps = 0
    while sweep.go_on(step):
        steps += 1
        assert steps < 1000
    sweep.close()
    return sweep


def with_ages(monkeypatch: pytest.MonkeyPatch, ages_days: dict[str, float]) -> None:
    """Files of these names were put there so many days ago; nobody can set a ctime, so the stat is told to."""
    stat = os.stat

    def told(path: str, **more: Any) -> os.stat_result:
        found = stat(path, **more)
        if path not in ages_days:
            return found
        placed_s = NOW_S - ages_days[path] * DAY_S
        return os.stat_result((*found[:9], int(placed_s)), {"st_ctime": placed_s})

    monkeypatch.setattr("worker.delivery.retention.os.stat", told)


def test_what_is_older_goes_and_the_rest_stays(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(done, "old.png", "a/older.jpg", "a/new.png", "edge.png")
    with_ages(monkeypatch, {"old.png": 31, "older.jpg": 400, "new.png": 1, "edge.png": 29.9})
    removed = swept(done, KeepRule(max_age_s=30 * DAY_S), NOW_S).removed
    assert names(done) == {"a/new.png", "edge.png"}
    assert (removed.files, removed.size_bytes, removed.hindered) == (2, 200, 0)


def test_the_age_is_that_of_the_answer_not_of_the_scan(done: Path) -> None:
    put(done, "scan.png")
    os.utime(done / "scan.png", (0, 0))  # a scan of 1970, answered just now
    swept(done, KeepRule(max_age_s=DAY_S), NOW_S)
    assert names(done) == {"scan.png"}


def test_above_the_size_the_oldest_go_first_and_no_more_than_needed(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(done, *(f"{day}.png" for day in range(10)))
    with_ages(monkeypatch, {f"{day}.png": day for day in range(10)})
    swept(done, KeepRule(max_bytes=650), NOW_S)
    assert names(done) == {f"{day}.png" for day in range(6)}


def test_of_one_minute_only_so_much_goes_as_is_over(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(done, *(f"{number}.png" for number in range(10)))
    with_ages(monkeypatch, {f"{number}.png": 1 for number in range(10)})
    swept(done, KeepRule(max_bytes=500), NOW_S)
    assert len(names(done)) == 5


def test_below_the_limit_nothing_goes(done: Path) -> None:
    put(done, "a.png", "b/c.png")
    removed = swept(done, KeepRule(max_age_s=DAY_S, max_bytes=10_000), NOW_S).removed
    assert removed.files == 0
    assert names(done) == {"a.png", "b/c.png"}


def test_outputs_and_hidden_files_are_never_touched(done: Path) -> None:
    # An inbox folder named `done` has its records and pictures here.
    put(done, "x.png.json", "x.png.annotated.png", "y.jpg.1a2b3c4d.annotated.jpg", ".keep.png", "gone.png")
    swept(done, KeepRule(max_age_s=1), NOW_S + 10 * DAY_S)
    assert names(done) == {"x.png.json", "x.png.annotated.png", "y.jpg.1a2b3c4d.annotated.jpg", ".keep.png"}


def test_links_go_and_what_they_lead_to_stays(done: Path, tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/precious.png")
    (done / "link.png").symlink_to(tmp_path / "elsewhere" / "precious.png")
    (done / "folder").symlink_to(tmp_path / "elsewhere")
    swept(done, KeepRule(max_age_s=1), NOW_S + DAY_S)
    assert not os.path.lexists(done / "link.png")
    assert (tmp_path / "elsewhere" / "precious.png").exists()


def test_the_folder_itself_may_be_no_link(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/precious.png")
    (tmp_path / "done").symlink_to(tmp_path / "elsewhere")
    swept(tmp_path / "done", KeepRule(max_age_s=1), NOW_S + DAY_S)
    assert (tmp_path / "elsewhere" / "precious.png").exists()


def test_folders_that_became_empty_go_and_those_that_were_stay(done: Path) -> None:
    put(done, "a/b/c/x.png", "a/d/y.png.json")
    (done / "always-empty").mkdir()
    swept(done, KeepRule(max_age_s=1), NOW_S + DAY_S)
    assert not (done / "a" / "b").exists()
    assert (done / "a" / "d" / "y.png.json").exists()
    assert done.exists()


def test_a_step_looks_at_no_more_than_it_is_told(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(done, *(f"{number}.png" for number in range(50)))
    unlink, gone = os.unlink, []

    def counted(name: str, dir_fd: int) -> None:
        gone.append(name)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", counted)
    sweep = Sweep(done, KeepRule(max_age_s=1), NOW_S + DAY_S)
    assert sweep.go_on(7)
    assert len(gone) == 7
    sweep.close()
    assert len(names(done)) == 43


def test_very_deep_folders_are_no_trouble(done: Path) -> None:
    before = os.getcwd()
    try:
        os.chdir(done)
        for _ in range(1500):  # deeper than a path may be long, and than Python may recurse
            os.mkdir("abcd")
            os.chdir("abcd")
        Path("deep.png").write_bytes(b"x")
    finally:
        os.chdir(before)
    assert swept(done, KeepRule(max_age_s=1), NOW_S + DAY_S, step=500).removed.files == 1
    assert os.listdir(done) == []


def test_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    assert swept(tmp_path / "done", KeepRule(max_age_s=1), NOW_S).removed.files == 0
