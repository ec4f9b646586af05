"""What the outbox shows after a commit: names, folders, replacing, links, stuck originals, mounts, locks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from worker.delivery import disk
from worker.delivery.journal import JournalTooNewError
from worker.delivery.lock import FolderLock
from worker.delivery.outbox import Delivery, Fate, Outbox
from worker.errors import FoldersError, OwnedElsewhereError, WorldError
from worker.intake.arrivals import Arrival, Kind
from worker.outcome import AnnotatedPicture, Outcome, Status
from worker.reasons import Reason, ReasonCode

MODEL = ("digits", "c" * 64)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Desk:
    """An inbox, an outbox, and hands that drop files and read what comes out."""

    def __init__(self, base: Path) -> None:
        self.inbox, self.outbox = base / "inbox", base / "outbox"
        self.inbox.mkdir(exist_ok=True)
        self.outbox.mkdir(exist_ok=True)
        self.worker = Outbox(self.inbox, self.outbox)

    def drop(self, name: str, content: bytes = b"content") -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def read(self, name: str, status: Status = Status.READ, *, picture: bytes | None = b"picture") -> Outcome:
        path = self.inbox / name
        seen = path.lstat()
        kinds = {stat.S_IFLNK: Kind.LINK, stat.S_IFIFO: Kind.FIFO, stat.S_IFSOCK: Kind.SOCKET}
        kind = kinds.get(stat.S_IFMT(seen.st_mode), Kind.FILE)
        is_failed = status is Status.FAILED
        return Outcome(
            arrival=Arrival(
                name,
                kind,
                seen.st_dev,
                seen.st_ino,
                seen.st_size,
                seen.st_mtime_ns,
                seen.st_ctime_ns,
                time.time(),
            ),
            status=status,
            text=None if is_failed else "",
            confidence=None if is_failed else 0.0,
            digits=(),
            reason=Reason.of(ReasonCode.UNDECODABLE) if is_failed else None,
            sha256=sha(path.read_bytes()) if kind is Kind.FILE else None,
            size_bytes=seen.st_size,
            width=None,
            height=None,
            picture=AnnotatedPicture(picture, ".png") if picture is not None and not is_failed else None,
            finished_at=datetime.now(UTC),
        )

    def commit(self, *outcomes: Outcome) -> list[Delivery]:
        made = self.worker.commit(outcomes, *MODEL)
        self.worker.flush()
        return made

    def answer(self, name: str, status: Status = Status.READ, **more: Any) -> Delivery:
        (made,) = self.commit(self.read(name, status, **more))
        return made

    def shown(self) -> set[str]:
        """Every file that the outbox shows."""
        found = set()
        for folder, folders, files in os.walk(self.outbox):
            if folder == str(self.outbox):
                folders.remove(".digit-worker")
            found |= {os.path.relpath(os.path.join(folder, file), self.outbox) for file in files}
        return found

    def record(self, name: str) -> dict[str, Any]:
        loaded = json.loads((self.outbox / name).read_bytes())
        assert isinstance(loaded, dict)
        return loaded

    def left_over(self) -> list[str]:
        hidden = self.outbox / ".digit-worker"
        return os.listdir(hidden / "staging") + os.listdir(hidden / "journal")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.worker.close()


def test_a_drop_leads_to_record_picture_and_original_at_the_names_of_the_contract(desk: Desk) -> None:
    desk.drop("a/b.png", b"bytes")
    made = desk.answer("a/b.png", picture=b"drawn")
    assert made == Delivery(
        "a/b.png", Fate.PUBLISHED, "a/b.png.json", "a/b.png.annotated.png", "done/a/b.png"
    )
    assert desk.shown() == {"a/b.png.json", "a/b.png.annotated.png", "done/a/b.png"}
    assert (desk.outbox / "done/a/b.png").read_bytes() == b"bytes"
    assert (desk.outbox / "a/b.png.annotated.png").read_bytes() == b"drawn"
    assert desk.record("a/b.png.json")["annotated"] == "a/b.png.annotated.png"
    assert not (desk.inbox / "a/b.png").exists()
    assert (desk.inbox / "a").is_dir()
    assert desk.left_over() == []


def test_a_failed_drop_has_no_picture_and_its_original_lies_in_failed(desk: Desk) -> None:
    desk.drop("b.png")
    desk.answer("b.png", Status.FAILED)
    assert desk.shown() == {"b.png.json", "failed/b.png"}


def test_published_files_have_the_mode_that_the_umask_gives(desk: Desk) -> None:
    old = os.umask(0o027)
    try:
        desk.drop("a/b.png")
        desk.answer("a/b.png")
    finally:
        os.umask(old)
    modes = [stat.S_IMODE((desk.outbox / name).stat().st_mode) for name in ("a/b.png.json", "a")]
    assert modes == [0o640, 0o750]


def test_published_files_have_the_group_of_a_setgid_outbox(desk: Desk) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give the outbox a group")
    os.chown(desk.outbox, -1, 12345)
    desk.outbox.chmod(0o2770)
    desk.drop("a/b.png")
    desk.answer("a/b.png")
    assert (desk.outbox / "a/b.png.json").stat().st_gid == 12345
    assert stat.S_IMODE((desk.outbox / "a").stat().st_mode) & stat.S_ISGID


def test_the_same_bytes_again_replace_the_outputs(desk: Desk) -> None:
    desk.drop("b.png", b"same")
    desk.answer("b.png", picture=b"first")
    again = desk.drop("b.png", b"same").lstat().st_ino
    desk.answer("b.png", Status.REVIEW, picture=b"second")
    assert desk.shown() == {"b.png.json", "b.png.annotated.png", "done/b.png"}
    assert desk.record("b.png.json")["status"] == "review"
    assert (desk.outbox / "b.png.annotated.png").read_bytes() == b"second"
    assert (desk.outbox / "done/b.png").lstat().st_ino == again


def test_the_same_bytes_with_the_other_outcome_change_the_folder(desk: Desk) -> None:
    desk.drop("b.png", b"same")
    desk.answer("b.png", Status.FAILED)
    desk.drop("b.png", b"same")
    desk.answer("b.png", Status.READ)
    assert desk.shown() == {"b.png.json", "b.png.annotated.png", "done/b.png"}
    desk.drop("b.png", b"same")
    desk.answer("b.png", Status.FAILED)
    assert desk.shown() == {"b.png.json", "failed/b.png"}


def test_the_same_bytes_as_a_hard_link_leave_the_inbox_too(desk: Desk) -> None:
    desk.drop("b.png", b"same")
    desk.answer("b.png", Status.FAILED)
    os.link(desk.outbox / "failed/b.png", desk.inbox / "b.png")
    desk.answer("b.png", Status.FAILED)
    assert not (desk.inbox / "b.png").exists()
    os.link(desk.outbox / "failed/b.png", desk.inbox / "b.png")
    desk.answer("b.png", Status.READ)
    assert not (desk.inbox / "b.png").exists()
    assert desk.shown() == {"b.png.json", "b.png.annotated.png", "done/b.png"}


def test_other_bytes_under_the_same_name_get_marked_names(desk: Desk) -> None:
    desk.drop("a/b.png", b"one")
    desk.answer("a/b.png")
    desk.drop("a/b.png", b"two")
    desk.answer("a/b.png")
    mark = sha(b"two")[:8]
    assert desk.shown() == {
        "a/b.png.json",
        "a/b.png.annotated.png",
        "done/a/b.png",
        f"a/b.png.{mark}.json",
        f"a/b.png.{mark}.annotated.png",
        f"done/a/b.png.{mark}.png",
    }
    assert desk.record(f"a/b.png.{mark}.json")["annotated"] == f"a/b.png.{mark}.annotated.png"
    assert desk.record(f"a/b.png.{mark}.json")["source"]["name"] == "a/b.png"


def test_a_marked_drop_again_replaces_its_own_outputs(desk: Desk) -> None:
    for content in (b"one", b"two", b"two"):
        desk.drop("b.png", content)
        desk.answer("b.png")
    assert len(desk.shown()) == 6


def test_an_original_in_the_other_folder_counts_as_other_bytes(desk: Desk) -> None:
    desk.drop("b.png", b"one")
    desk.answer("b.png", Status.FAILED)
    (desk.outbox / "b.png.json").unlink()
    desk.drop("b.png", b"two")
    desk.answer("b.png", Status.READ)
    assert f"done/b.png.{sha(b'two')[:8]}.png" in desk.shown()


@pytest.mark.parametrize("held", ["b.png.json", "b.png.annotated.png", "done/b.png", "failed/b.png"])
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_whatever_holds_a_path_stays_and_the_drop_gets_marked_names(desk: Desk, held: str, kind: str) -> None:
    path = desk.outbox / held
    path.parent.mkdir(exist_ok=True)
    if kind == "file":
        path.write_bytes(b"foreign")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    before = path.lstat()
    desk.drop("b.png", b"new")
    mark = sha(b"new")[:8]
    assert desk.answer("b.png").record == f"b.png.{mark}.json"
    assert (desk.outbox / f"done/b.png.{mark}.png").read_bytes() == b"new"
    assert os.path.samestat(path.lstat(), before)


def test_a_held_marked_name_gets_more_digits(desk: Desk) -> None:
    digest = sha(b"new")
    for held in ("b.png.json", f"b.png.{digest[:8]}.json", f"b.png.{digest[:16]}.json"):
        (desk.outbox / held).write_bytes(b"foreign")
    desk.drop("b.png", b"new")
    assert desk.answer("b.png").record == f"b.png.{digest[:32]}.json"


def test_an_inbox_folder_called_done_is_answered_like_any_other(desk: Desk) -> None:
    desk.drop("done/x.png", b"x")
    desk.answer("done/x.png")
    assert desk.shown() == {"done/x.png.json", "done/x.png.annotated.png", "done/done/x.png"}


def test_two_drops_of_one_batch_that_want_one_name_both_get_names(desk: Desk) -> None:
    # The picture of the first and the original of the second would both be done/x.png.annotated.png.
    desk.drop("done/x.png", b"one")
    desk.drop("x.png.annotated.png", b"two")
    desk.commit(desk.read("done/x.png"), desk.read("x.png.annotated.png"))
    mark = sha(b"two")[:8]
    assert (desk.outbox / "done/x.png.annotated.png").read_bytes() == b"picture"
    assert (desk.outbox / f"done/x.png.annotated.png.{mark}.png").read_bytes() == b"two"
    assert desk.record(f"x.png.annotated.png.{mark}.json")["source"]["name"] == "x.png.annotated.png"


def test_a_drop_again_never_replaces_another_drops_original(desk: Desk) -> None:
    desk.drop("done/x.png", b"one")
    desk.answer("done/x.png")
    for taken in ("done/x.png.annotated.png", "done/x.png.json"):
        (desk.outbox / taken).unlink()
    desk.drop("x.png.annotated.png", b"precious")
    desk.answer("x.png.annotated.png")
    desk.drop("done/x.png", b"one")
    desk.answer("done/x.png")
    assert (desk.outbox / "done/x.png.annotated.png").read_bytes() == b"precious"


def test_a_file_where_a_folder_is_needed_moves_the_folder_aside(desk: Desk) -> None:
    (desk.outbox / "a").write_bytes(b"foreign")
    desk.drop("a/b.png")
    desk.drop("a/c.png")
    desk.commit(desk.read("a/b.png"), desk.read("a/c.png"))
    aside = "a." + sha(b"a")[:8]
    assert desk.shown() == {
        "a",
        f"{aside}/b.png.json",
        f"{aside}/b.png.annotated.png",
        f"{aside}/c.png.json",
        f"{aside}/c.png.annotated.png",
        "done/a/b.png",
        "done/a/c.png",
    }


def test_a_folder_called_like_a_record_of_the_same_batch_moves_aside(desk: Desk) -> None:
    desk.drop("x.png", b"one")
    first = desk.read("x.png")
    desk.drop("x.png.json/y.png", b"two")
    made = desk.commit(first, desk.read("x.png.json/y.png"))
    assert made[0].record == "x.png.json"
    assert made[1].record == f"x.png.json.{sha(b'x.png.json')[:8]}/y.png.json"


def test_a_record_called_like_a_folder_of_the_same_batch_gets_a_mark(desk: Desk) -> None:
    desk.drop("x.png.json/y.png", b"two")
    first = desk.read("x.png.json/y.png")
    desk.drop("x.png", b"one")
    made = desk.commit(first, desk.read("x.png"))
    assert [delivery.record for delivery in made] == [
        "x.png.json/y.png.json",
        f"x.png.{sha(b'one')[:8]}.json",
    ]


@pytest.mark.parametrize("raw", ["é" * 125 + ".png", "x" * 251 + ".png"])
def test_a_longest_name_is_answered_under_cut_names(desk: Desk, raw: str) -> None:
    desk.drop(raw)
    made = desk.answer(raw)
    assert made.original == f"done/{raw}"
    assert made.record is not None
    assert desk.record(made.record)["source"]["name"] == raw
    desk.drop(raw, b"other")
    assert desk.answer(raw).fate is Fate.PUBLISHED
    assert len(desk.shown()) == 6


def test_a_deepest_path_is_answered(desk: Desk) -> None:
    room = 4095 - len(str(desk.inbox)) - 1 - len("/x.png")
    parts = [str(n % 10) * 199 for n in range(room // 200)]
    folder = desk.inbox
    before = os.getcwd()
    name = "/".join(parts) + "/x.png"
    try:
        os.chdir(folder)  # step by step, since the whole path is longer than what pathlib's mkdir may make
        for part in parts:
            os.mkdir(part)
            os.chdir(part)
    finally:
        os.chdir(before)
    desk.drop(name)
    made = desk.answer(name)
    assert made.fate is Fate.PUBLISHED
    assert made.original is not None
    assert (desk.outbox / made.original).read_bytes() == b"content"


def test_names_that_are_no_utf8_keep_their_bytes(desk: Desk) -> None:
    name = os.fsdecode(b"a/50%\xff.png")
    desk.drop(name)
    desk.answer(name)
    found = os.listdir(os.fsencode(desk.outbox / "a"))
    assert sorted(found) == [b"50%\xff.png.annotated.png", b"50%\xff.png.json"]
    record = desk.record(name + ".json")
    assert record["source"]["name_bytes_hex"] == b"a/50%\xff.png".hex()
    assert record["annotated"] == "a/50%25%FF.png.annotated.png"


def test_a_source_that_changed_since_it_was_read_is_not_published(desk: Desk) -> None:
    desk.drop("b.png", b"old")
    outcome = desk.read("b.png")
    desk.drop("b.png", b"newer")
    assert desk.commit(outcome) == [Delivery("b.png", Fate.CHANGED)]
    assert desk.shown() == set()
    assert (desk.inbox / "b.png").read_bytes() == b"newer"


def test_a_source_that_vanished_after_it_was_read_is_answered(desk: Desk) -> None:
    desk.drop("a/b.png")
    outcome = desk.read("a/b.png")
    (desk.inbox / "a/b.png").unlink()
    (desk.inbox / "a").rmdir()
    (made,) = desk.commit(outcome)
    assert (made.fate, made.original) == (Fate.PUBLISHED, None)
    assert desk.shown() == {"a/b.png.json", "a/b.png.annotated.png"}


def test_without_its_inbox_nothing_counts_as_vanished(desk: Desk, tmp_path: Path) -> None:
    desk.worker.recover()
    desk.drop("b.png")
    outcome = desk.read("b.png")
    desk.inbox.rename(tmp_path / "unmounted")
    with pytest.raises(WorldError):
        desk.commit(outcome)
    assert desk.shown() == set()
    (tmp_path / "unmounted").rename(desk.inbox)
    desk.commit(outcome)
    assert desk.shown() == {"b.png.json", "b.png.annotated.png", "done/b.png"}


def test_a_source_exchanged_just_before_it_is_moved_is_given_back(desk: Desk) -> None:
    desk.drop("b.png", b"old")
    outcome = desk.read("b.png")

    def exchange(step: str) -> None:
        if step == "retire original":
            (desk.inbox / "other").write_bytes(b"newer")
            (desk.inbox / "other").rename(desk.inbox / "b.png")

    desk.worker = Outbox(desk.inbox, desk.outbox, on_step=exchange)
    (made,) = desk.commit(outcome)
    assert made.fate is Fate.PUBLISHED
    assert (desk.inbox / "b.png").read_bytes() == b"newer"
    assert desk.shown() == {"b.png.json", "b.png.annotated.png"}


@pytest.mark.parametrize("step", ["publish picture", "publish record", "retire original"])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_name_taken_after_it_was_chosen_is_not_overwritten(desk: Desk, step: str, what: str) -> None:
    taken = {
        "publish picture": "b.png.annotated.png",
        "publish record": "b.png.json",
        "retire original": "done/b.png",
    }[step]

    def take(now: str) -> None:
        path = desk.outbox / taken
        if now == step and not path.exists():
            path.parent.mkdir(exist_ok=True)
            if what == "file":
                path.write_bytes(b"foreign")
            else:
                path.mkdir()

    desk.worker = Outbox(desk.inbox, desk.outbox, on_step=take)
    desk.drop("b.png", b"new")
    made = desk.answer("b.png")
    assert made.fate is Fate.PUBLISHED
    assert made.record is not None
    assert made.original is not None
    record = desk.record(made.record)
    assert record["annotated"] == made.picture
    assert (desk.outbox / record["annotated"]).read_bytes() == b"picture"
    assert (desk.outbox / made.original).read_bytes() == b"new"
    assert what == "folder" or (desk.outbox / taken).read_bytes() == b"foreign"
    assert desk.left_over() == []


def test_links_are_moved_as_links(desk: Desk) -> None:
    (desk.inbox / "l.png").symlink_to("/somewhere/else.png")
    desk.answer("l.png", Status.FAILED)
    assert os.readlink(desk.outbox / "failed/l.png") == "/somewhere/else.png"
    assert not (desk.inbox / "l.png").is_symlink()
    (desk.inbox / "l.png").symlink_to("/somewhere/else.png")
    desk.answer("l.png", Status.FAILED)
    assert desk.shown() == {"l.png.json", "failed/l.png"}
    (desk.inbox / "l.png").symlink_to("/another.png")
    desk.answer("l.png", Status.FAILED)
    mark = sha(b"/another.png")[:8]
    assert desk.shown() == {
        "l.png.json",
        "failed/l.png",
        f"l.png.{mark}.json",
        f"failed/l.png.{mark}.png",
    }


def test_what_is_no_file_is_moved_by_rename(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(desk.inbox / "f.png")
    monkeypatch.chdir(desk.inbox)  # a socket's path may have 107 bytes only
    with socket.socket(socket.AF_UNIX) as held:
        held.bind("s.png")
        desk.commit(desk.read("f.png", Status.FAILED), desk.read("s.png", Status.FAILED))
    assert stat.S_ISFIFO((desk.outbox / "failed/f.png").lstat().st_mode)
    assert stat.S_ISSOCK((desk.outbox / "failed/s.png").lstat().st_mode)
    os.mkfifo(desk.inbox / "f.png")
    desk.answer("f.png", Status.FAILED)
    assert len(desk.shown()) == 6


def test_an_unread_file_is_answered_and_keeps_its_bytes(desk: Desk) -> None:
    for content in (b"one", b"two"):
        desk.drop("b.png", content)
        outcome = desk.read("b.png", Status.FAILED)
        unread = {name: getattr(outcome, name) for name in Outcome.__slots__} | {"sha256": None}
        desk.commit(Outcome(**unread))
    kept = {(desk.outbox / name).read_bytes() for name in desk.shown() if name.startswith("failed/")}
    assert kept == {b"one", b"two"}


def test_a_consumer_may_remove_emptied_folders_at_any_time(desk: Desk) -> None:
    for content in (b"1", b"2", b"3"):
        desk.drop("a/b/c.png", content)
        desk.answer("a/b/c.png")
        for name in desk.shown():
            (desk.outbox / name).unlink()
        for name in ("a/b", "a", "done/a/b"):
            (desk.outbox / name).rmdir()
    assert desk.shown() == set()


def test_a_batch_of_many_is_answered_in_order_with_and_without_durability(tmp_path: Path) -> None:
    for durability in ("full", "none"):
        (tmp_path / durability).mkdir()
        desk = Desk(tmp_path / durability)
        desk.worker = Outbox(desk.inbox, desk.outbox, durability)
        for n in range(40):
            desk.drop(f"{n}.png", b"%d" % n)
        made = desk.commit(*(desk.read(f"{n}.png") for n in range(40)))
        assert [delivery.name for delivery in made] == [f"{n}.png" for n in range(40)]
        assert len(desk.shown()) == 120
        assert desk.left_over() == []


def test_the_log_is_cleared_only_after_a_sync(desk: Desk) -> None:
    desk.drop("b.png")
    desk.worker.commit([desk.read("b.png")], *MODEL)
    assert len(desk.left_over()) == 1
    desk.worker.flush()
    assert desk.left_over() == []


def test_no_entry_is_sealed_before_its_files_are_synced(desk: Desk) -> None:
    for count in (1, 10):
        steps: list[str] = []
        desk.worker = Outbox(desk.inbox, desk.outbox, on_step=steps.append)
        desk.worker.recover()
        steps.clear()
        for n in range(count):
            desk.drop(f"{count}-{n}.png", b"%d" % n)
        desk.commit(*(desk.read(f"{count}-{n}.png") for n in range(count)))
        staged = max(i for i, step in enumerate(steps) if step == "stage file")
        synced = next(i for i, step in enumerate(steps) if step in ("sync staging", "sync outbox"))
        assert staged < synced < steps.index("seal entry") < steps.index("sync journal")
        assert steps.index("sync journal") < steps.index("publish picture") < steps.index("publish record")
        assert steps.index("publish record") < steps.index("retire original") < steps.index("clear entry")


# Stuck originals


@pytest.fixture
def inbox_says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the inbox let nothing go, or let it go again: what a sticky or read-only folder does."""
    refusing = [False]
    real = disk.rename_fresh

    def rename(source: str, target: str) -> None:
        if refusing[0] and "/inbox/" in source and "/.digit-worker/" not in source:
            raise PermissionError(errno.EPERM, "refused", source)
        real(source, target)

    monkeypatch.setattr(disk, "rename_fresh", rename)

    def let(refused: str) -> None:
        refusing[0] = refused == "nothing goes"

    return let


def test_an_original_that_cannot_be_moved_is_answered_once_and_moved_later(
    desk: Desk, inbox_says: Callable[[str], None]
) -> None:
    desk.drop("b.png")
    desk.drop("c.png", b"c")
    outcome = desk.read("b.png")
    inbox_says("nothing goes")
    (made,) = desk.commit(outcome)
    assert (made.fate, made.original) == (Fate.STUCK, None)
    assert desk.worker.stuck == ("b.png",)
    assert desk.worker.is_stuck(outcome.arrival)
    (desk.outbox / "b.png.json").unlink()  # the consumer has it
    assert desk.commit(outcome)[0].fate is Fate.STUCK
    assert desk.worker.retire_again() == ()
    # After a restart, too.
    desk.worker = Outbox(desk.inbox, desk.outbox)
    assert desk.worker.recover().stuck == ("b.png",)
    assert desk.commit(outcome)[0].fate is Fate.STUCK
    assert desk.shown() == {"b.png.annotated.png"}
    inbox_says("anything goes")
    (desk.inbox / "b.png").chmod(0o600)  # mending it may change the ctime
    assert desk.worker.is_stuck(desk.read("b.png").arrival)
    assert desk.worker.retire_again() == ("b.png",)
    desk.worker.flush()
    assert desk.shown() == {"b.png.annotated.png", "done/b.png"}
    assert desk.left_over() == []
    assert not desk.worker.is_stuck(outcome.arrival)


def test_a_stuck_original_that_was_exchanged_is_a_new_drop(
    desk: Desk, inbox_says: Callable[[str], None]
) -> None:
    desk.drop("b.png", b"old")
    inbox_says("nothing goes")
    desk.answer("b.png")
    inbox_says("anything goes")
    (desk.inbox / "b.png").unlink()
    desk.drop("b.png", b"newer")
    assert not desk.worker.is_stuck(desk.read("b.png").arrival)
    assert desk.worker.retire_again() == ("b.png",)
    assert (desk.inbox / "b.png").read_bytes() == b"newer"
    assert desk.answer("b.png").fate is Fate.PUBLISHED


def test_an_outbox_that_refuses_is_the_worlds_fault(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.drop("b.png")
    outcome = desk.read("b.png")
    real = disk.rename_fresh
    refused = [True]

    def rename(source: str, target: str) -> None:
        if refused[0] and "/done/" in target:
            raise PermissionError(errno.EACCES, "refused", target)
        real(source, target)

    monkeypatch.setattr(disk, "rename_fresh", rename)
    monkeypatch.setattr(os, "access", lambda *_: not refused[0])
    with pytest.raises(WorldError):
        desk.commit(outcome)
    assert desk.worker.needs_recovery
    refused[0] = False
    assert desk.commit(outcome)[0].fate is Fate.PUBLISHED
    assert desk.shown() == {"b.png.json", "b.png.annotated.png", "done/b.png"}


# Two mounts


@pytest.fixture
def two_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse renames from inbox to outbox, as two mounts do."""
    real_fresh, real_rename = disk.rename_fresh, os.rename

    def crosses(source: str, target: str) -> None:
        if "/inbox/" in str(source) and "/outbox/" in str(target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)

    def rename_fresh(source: str, target: str) -> None:
        crosses(source, target)
        real_fresh(source, target)

    def rename(source: Any, target: Any) -> None:
        crosses(source, target)
        real_rename(source, target)

    monkeypatch.setattr(disk, "rename_fresh", rename_fresh)
    monkeypatch.setattr(os, "rename", rename)


@pytest.mark.usefixtures("two_mounts")
def test_across_mounts_originals_are_copied_and_then_removed(desk: Desk) -> None:
    assert desk.worker.crosses_mounts()
    made_at = desk.drop("a/b.png", b"bytes").stat().st_mtime_ns
    (desk.inbox / "l.png").symlink_to("target")
    os.mkfifo(desk.inbox / "f.png")
    desk.commit(desk.read("a/b.png"), desk.read("l.png", Status.FAILED), desk.read("f.png", Status.FAILED))
    assert desk.shown() == {
        "a/b.png.json",
        "a/b.png.annotated.png",
        "done/a/b.png",
        "l.png.json",
        "failed/l.png",
        "f.png.json",
    }
    assert (desk.outbox / "done/a/b.png").read_bytes() == b"bytes"
    assert (desk.outbox / "done/a/b.png").stat().st_mtime_ns == made_at
    assert os.readlink(desk.outbox / "failed/l.png") == "target"
    assert [file for _, _, files in os.walk(desk.inbox) for file in files] == []
    assert desk.left_over() == []


@pytest.mark.usefixtures("two_mounts")
def test_across_mounts_the_same_name_follows_the_same_rules(desk: Desk) -> None:
    for content, status in ((b"1", Status.READ), (b"1", Status.FAILED), (b"2", Status.READ)):
        desk.drop("b.png", content)
        desk.answer("b.png", status)
    mark = sha(b"2")[:8]
    assert desk.shown() == {
        "b.png.json",
        "failed/b.png",
        f"b.png.{mark}.json",
        f"b.png.{mark}.annotated.png",
        f"done/b.png.{mark}.png",
    }


@pytest.mark.usefixtures("two_mounts")
def test_across_mounts_a_source_that_cannot_be_removed_is_stuck(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.drop("b.png")
    real = os.unlink

    def unlink(path: Any) -> None:
        if str(path).endswith("/inbox/b.png"):
            raise PermissionError(errno.EACCES, "refused", path)
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        assert desk.answer("b.png").fate is Fate.STUCK
    assert desk.worker.retire_again() == ("b.png",)
    assert desk.shown() == {"b.png.json", "b.png.annotated.png", "done/b.png"}
    assert not (desk.inbox / "b.png").exists()


def test_one_mount_is_recognised(desk: Desk) -> None:
    assert not desk.worker.crosses_mounts()


@pytest.mark.parametrize("mount", ["bind", "tmpfs"])
def test_real_mounts_are_crossed(tmp_path: Path, mount: str) -> None:
    possible = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if os.geteuid() != 0 or possible.returncode:
        pytest.skip("needs root and mount namespaces")
    Desk(tmp_path)
    script = textwrap.dedent(f"""
        set -e
        cd {tmp_path}
        if [ {mount} = bind ]; then mount --bind inbox inbox; else mount -t tmpfs tmpfs inbox; fi
        {sys.executable} - <<'END'
        import sys
        sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]
        from pathlib import Path
        from test_delivery_rules import Desk, Status
        desk = Desk(Path({str(tmp_path)!r}))
        assert desk.worker.crosses_mounts()
        for n in range(12):
            desk.drop(f"a/{{n}}.png", b"%d" % n)
        desk.commit(*(desk.read(f"a/{{n}}.png") for n in range(12)))
        desk.drop("b.png")
        desk.answer("b.png", Status.FAILED)
        assert not list(desk.inbox.rglob("*.png")), list(desk.inbox.rglob("*.png"))
        END
    """)
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = Desk(tmp_path).shown()
    assert {f"done/a/{n}.png" for n in range(12)} | {"failed/b.png", "b.png.json"} <= shown
    assert len(shown) == 12 * 3 + 2


def test_a_file_system_without_noreplace_is_served_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class OldFileSystem:
        @staticmethod
        def renameat2(*_: object) -> int:
            import ctypes

            ctypes.set_errno(errno.EINVAL)
            return -1

        syncfs = staticmethod(lambda _fd: 0)

    monkeypatch.setattr(disk, "_libc", OldFileSystem)
    for content in (b"1", b"2"):
        desk.drop("b.png", content)
        desk.answer("b.png")
    assert len(desk.shown()) == 6
    with pytest.raises(FileExistsError):
        disk.rename_fresh(str(desk.outbox / "b.png.json"), str(desk.outbox / "done/b.png"))


# Locks


def test_a_folder_has_one_owner_whatever_path_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "alias").symlink_to("box")
    with FolderLock(tmp_path / "box") as lock:
        assert lock.still_holds()
        with pytest.raises(OwnedElsewhereError, match=f"process {os.getpid()}"):
            FolderLock(tmp_path / "alias").acquire()
    with FolderLock(tmp_path / "alias"):
        pass


def test_a_lock_knows_when_its_folder_was_exchanged(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    with FolderLock(tmp_path / "box") as lock:
        (tmp_path / "box").rename(tmp_path / "gone")
        assert not lock.still_holds()
        (tmp_path / "box/.digit-worker").mkdir(parents=True)
        (tmp_path / "box/.digit-worker/lock").touch()
        assert not lock.still_holds()
    assert not lock.still_holds()


def test_a_missing_folder_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(FoldersError, match="missing"):
        FolderLock(tmp_path / "nowhere").acquire()


def test_a_torn_entry_is_put_aside_and_its_drops_are_answered_anew(desk: Desk) -> None:
    desk.worker.recover()
    journal = desk.outbox / ".digit-worker/journal"
    (journal / "00000000000000000007.entry").write_bytes(b"digit-worker-journal 1 00")
    desk.drop("b.png")
    desk.worker = Outbox(desk.inbox, desk.outbox)
    assert desk.worker.recover().torn == ("00000000000000000007.entry",)
    assert desk.worker.recover().torn == ()
    assert desk.answer("b.png").fate is Fate.PUBLISHED


def test_an_original_that_people_move_back_is_a_new_drop_even_after_a_crash(desk: Desk) -> None:
    # The log entry is still there (nothing was flushed), and the inode, size, time and bytes are the same.
    desk.drop("b.png")
    desk.worker.commit([desk.read("b.png")], *MODEL)
    (desk.outbox / "b.png.json").unlink()
    (desk.outbox / "b.png.annotated.png").unlink()
    os.rename(desk.outbox / "done/b.png", desk.inbox / "b.png")
    desk.worker = Outbox(desk.inbox, desk.outbox)
    assert desk.worker.recover().already_out == ("b.png",)
    assert (desk.inbox / "b.png").exists()
    assert desk.answer("b.png").record == "b.png.json"


def test_work_of_a_newer_program_is_not_touched(desk: Desk) -> None:
    desk.worker.recover()
    hidden = desk.outbox / ".digit-worker"
    body = b"{}"
    newer = b"digit-worker-journal 2 " + sha(b"2\n" + body).encode() + b"\n" + body
    (hidden / "journal/00000000000000000007.entry").write_bytes(newer)
    (hidden / "staging/7-0.json").write_bytes(b"theirs")
    desk.worker = Outbox(desk.inbox, desk.outbox)
    with pytest.raises(JournalTooNewError):
        desk.worker.recover()
    assert (hidden / "staging/7-0.json").read_bytes() == b"theirs"


def test_an_immutable_original_is_stuck_until_it_is_set_free(desk: Desk) -> None:
    path = desk.drop("b.png")
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
        pytest.skip("needs root and a file system with attributes")
    try:
        assert desk.answer("b.png").fate is Fate.STUCK
        assert desk.worker.retire_again() == ()
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert desk.worker.retire_again() == ("b.png",)
    assert desk.shown() == {"b.png.json", "b.png.annotated.png", "done/b.png"}
