"""What is found in real folders: kinds, links, rights, leases."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.errors import WorldError
from worker.intake.arrivals import (
    LEASES_ARE_HONEST_ON,
    IgnoreRules,
    Inbox,
    Kind,
    SettleRule,
    Walk,
    file_system_of,
    has_writer,
)
from worker.intake.queue import Intake

RULE = SettleRule(settle_s=0.0, incomplete_after_s=0.0)
NOBODY = 65534


def intake_of(root: Path, *patterns: str) -> Intake:
    return Intake(Inbox(root, IgnoreRules(patterns)), RULE)


def found(intake: Intake) -> dict[str, Kind]:
    intake.scan(0.0)
    return {arrival.name: arrival.kind for arrival in intake.take(1000, 1.0)}


def test_every_kind_of_entry_is_put_where_it_belongs(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    (inbox / "folder.png" / "sub").mkdir(parents=True)
    (inbox / ".hidden").mkdir()
    (inbox / "skipped").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for name in (
        "a.png",
        "B.JPEG",
        "folder.png/c.jpg",
        "folder.png/sub/d.Png",
        ".hidden/no.png",
        "skipped/no.png",
        ".no.png",
        "~no.png",
        "no.png.part",
        "notes.txt",
        "folder.png/notes.txt",
        "../elsewhere/no.png",
    ):
        (inbox / name).write_bytes(b"x")
    os.mkfifo(inbox / "fifo.png")
    (inbox / "link.png").symlink_to("a.png")
    (inbox / "dangling.png").symlink_to("nowhere.png")
    (inbox / "loop.png").symlink_to("loop.png")
    (inbox / "to a folder.png").symlink_to(tmp_path / "elsewhere")
    (inbox / "also").symlink_to(tmp_path / "elsewhere")
    (inbox / "folder.png" / "up").symlink_to("..")
    with socket.socket(socket.AF_UNIX) as door:
        here = os.open(inbox, os.O_RDONLY)  # the address of a socket may not be long
        door.bind(f"/proc/self/fd/{here}/socket.png")
        os.close(here)
        intake = intake_of(inbox, "skip*")
        assert found(intake) == {
            "a.png": Kind.FILE,
            "B.JPEG": Kind.FILE,
            "folder.png/c.jpg": Kind.FILE,
            "folder.png/sub/d.Png": Kind.FILE,
            "fifo.png": Kind.FIFO,
            "link.png": Kind.LINK,
            "dangling.png": Kind.LINK,
            "loop.png": Kind.LINK,
            "socket.png": Kind.SOCKET,
        }
    assert intake.counts.foreign == 2
    assert intake.counts.linked_folders == 3
    assert intake.blocked == {}


def test_a_hint_cannot_bring_in_what_a_scan_would_not(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.png").write_bytes(b"x")
    (tmp_path / "folder link.png").symlink_to("old")
    (tmp_path / "notes.txt").write_bytes(b"x")
    intake = intake_of(tmp_path, "old")
    for name in ("folder.png", "old/a.png", "folder link.png", "notes.txt", "missing.png", "a.png/b.png"):
        intake.look_at(name, 0.0, closed=True)
    intake.scan_below("old", 0.0)
    intake.scan_below("missing", 0.0)
    assert intake.take(8, 1.0) == []
    assert intake.counts.seen == 0


def test_a_missing_inbox_is_the_worlds_fault_and_no_file_has_vanished(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.png").write_bytes(b"x")
    intake = intake_of(inbox)
    intake.scan(0.0)
    inbox.rename(tmp_path / "away")
    assert intake.take(8, 1.0) == []
    with pytest.raises(WorldError):
        intake.scan(2.0)
    assert intake.counts.vanished == 0
    (tmp_path / "away").rename(inbox)
    assert found(intake) == {"a.png": Kind.FILE}


def test_a_folder_that_vanishes_during_the_walk_is_no_error(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(b"x")
    walk = Walk(str(tmp_path), IgnoreRules(), must_move=True)
    pictures = walk.pictures()
    first, _ = next(pictures)
    shutil.rmtree(tmp_path / ("b" if first.startswith("a") else "a"))
    assert list(pictures) == []
    assert walk.blocked == {}


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder in which this process is an ordinary user, whoever runs the tests."""
    root = Path(tempfile.mkdtemp())
    am_root = os.geteuid() == 0
    if am_root:
        os.chown(root, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    yield root
    if am_root:
        os.seteuid(0)
        os.setegid(0)
    subprocess.run(["chmod", "-R", "u+rwx", root], check=True)
    shutil.rmtree(root)


def test_pictures_in_a_folder_without_rights_wait_until_it_is_opened(as_nobody: Path) -> None:
    for folder in ("unreadable", "unwritable/sub", "free"):
        (as_nobody / folder).mkdir(parents=True)
        (as_nobody / folder / "a.png").write_bytes(b"x")
    (as_nobody / "unwritable" / "b.png").write_bytes(b"x")
    (as_nobody / "unreadable").chmod(0o000)
    (as_nobody / "unwritable").chmod(0o555)
    intake = intake_of(as_nobody)
    assert set(found(intake)) == {"free/a.png", "unwritable/sub/a.png"}
    assert set(intake.blocked) == {"unreadable", "unwritable"}
    assert intake.blocked["unwritable"].pictures == 1
    assert "Permission" in intake.blocked["unreadable"].reason
    intake.look_at("unwritable/b.png", 1.0, closed=True)
    intake.look_at("unreadable/a.png", 1.0, closed=True)
    assert intake.take(8, 1.0) == []
    (as_nobody / "unreadable").chmod(0o755)
    (as_nobody / "unwritable").chmod(0o755)
    assert set(found(intake)) == {"unreadable/a.png", "unwritable/b.png"}
    assert intake.blocked == {}


def test_files_of_others_in_a_sticky_folder_of_others_wait(as_nobody: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make files of two users")
    (as_nobody / "mine.png").write_bytes(b"x")
    os.seteuid(0)
    (as_nobody / "theirs.png").write_bytes(b"x")
    os.chown(as_nobody, 0, 0)
    as_nobody.chmod(0o1777)
    os.seteuid(NOBODY)
    intake = intake_of(as_nobody)
    assert set(found(intake)) == {"mine.png"}
    assert intake.blocked["."].pictures == 1
    intake.look_at("theirs.png", 1.0, closed=True)
    assert intake.take(8, 1.0) == []


def test_a_lease_tells_whether_a_writer_is_left(tmp_path: Path) -> None:
    if file_system_of(str(tmp_path)) not in LEASES_ARE_HONEST_ON:
        pytest.skip("this file system gives no leases")
    path = tmp_path / "a.png"
    with path.open("wb"):
        assert has_writer(str(path)) is True
    assert has_writer(str(path)) is False
    with path.open("rb"):
        assert has_writer(str(path)) is False
    assert has_writer(str(tmp_path / "missing.png")) is None
    os.mkfifo(tmp_path / "fifo.png")
    assert has_writer(str(tmp_path / "fifo.png")) is None
    (tmp_path / "link.png").symlink_to("a.png")
    assert has_writer(str(tmp_path / "link.png")) is None


def test_asking_for_a_writer_neither_kills_us_nor_stops_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    script = (
        "import sys, time\n"
        "end = time.monotonic() + 0.5\n"
        "while time.monotonic() < end:\n"
        "    open(sys.argv[1], 'r+b').close()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)]) as writer:
        answers = set()
        while writer.poll() is None:
            answers.add(has_writer(str(path)))
        assert writer.returncode == 0
    assert answers <= {True, False, None}


def test_the_file_system_of_a_path_is_the_one_mounted_last_above_it() -> None:
    assert file_system_of("/proc/self") == "proc"
    assert file_system_of("/") != ""


def test_twenty_thousand_known_files_are_rescanned_in_no_time(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x")
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
    for number in range(20_000):
        os.link(tmp_path / "one", tmp_path / str(number % 10) / f"{number}.png")
    intake = intake_of(tmp_path)
    intake.scan(0.0)
    start_s = time.perf_counter()
    intake.scan(0.0)
    assert time.perf_counter() - start_s < 0.2
    assert intake.counts.waiting == 20_000


def test_a_path_that_is_too_long_for_the_system_is_counted_and_named(tmp_path: Path) -> None:
    part = "d" * 200
    room = 4095 - len(os.fsencode(tmp_path))
    depth = room // (len(part) + 1)
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir(part, dir_fd=handle)
            below = os.open(part, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        for name in ("a.png", "x" * 250 + ".png"):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        intake = intake_of(tmp_path)
        assert [os.path.basename(name) for name in found(intake)] == ["a.png"]
        ((folder, blocked),) = intake.blocked.items()
        assert folder.count("/") == depth - 1
        assert blocked.pictures == 1
        assert "4,095" in blocked.reason
        os.mkdir("e" * 255, dir_fd=handle)  # a folder that cannot be named as a whole
        intake.scan(2.0)
        assert len(intake.blocked) == 2
    finally:
        os.close(handle)
        subprocess.run(["rm", "-rf", str(tmp_path / part)], check=True)
