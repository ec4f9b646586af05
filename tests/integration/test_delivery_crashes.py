"""Whatever stops a commit between any two of its steps: nothing is lost, nothing is published twice.

Run as a program, this file plays the scenarios: it forks a worker for each step, has it die just before that
step (and its successors die inside recovery), and prints what broke the law. It is a program of its own so
that it can fork: the process of the tests may have threads.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.desk import BATCHES, MODEL, Desk, refuse_renames_out_of_the_inbox
from worker.delivery.outbox import Durability, Fate, Outbox
from worker.errors import WorldError

KILLED = 9
RECOVERIES_DIE_AT = (0, 2, 5, 9)  # one after the other, each in what the one before has left


def step_killer(at: int, desk: Desk) -> Callable[[str], None]:
    """A hook that lets the consumer have its way at each step, and ends the process before step `at`."""
    count = 0

    def hook(_step: str) -> None:
        nonlocal count
        if desk.consumes:
            desk.consume()
        if count == at:
            os._exit(KILLED)
        count += 1

    return hook


def dies_at(step: int, desk: Desk) -> bool:
    """Work in a child that dies before the given step; whether it came that far."""
    child = os.fork()
    if child == 0:
        try:
            desk.work(step_killer(step, desk))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, KILLED):
        raise AssertionError(f"the worker failed with {code} before step {step}")
    return code == KILLED


def play(*, consumes: bool, again: bool, mounts: int, durability: Durability, base: Path) -> int:
    """Crash at each step in turn, recover, hold the outbox to the law; returns how many steps there are."""
    if mounts == 2:
        refuse_renames_out_of_the_inbox()
    for step in range(10_000):
        here = Path(tempfile.mkdtemp(dir=base))
        desk = Desk(here, consumes=consumes, again=again, durability=durability)
        if not dies_at(step, desk):
            return step
        for later in RECOVERIES_DIE_AT:
            dies_at(later, desk)
        desk.work(step_killer(-1, desk))
        if desk.consumes:
            desk.consume()
        if faults := desk.broken_laws():
            raise AssertionError(f"killed before step {step}: {faults}")
        shutil.rmtree(here)
    raise AssertionError("the work never ends")


SCENARIOS: dict[str, dict[str, Any]] = {
    "one mount": {"consumes": False, "again": False, "mounts": 1, "durability": "full"},
    "one mount and a greedy consumer": {"consumes": True, "again": False, "mounts": 1, "durability": "full"},
    "answered anew": {"consumes": False, "again": True, "mounts": 1, "durability": "full"},
    "two mounts": {"consumes": False, "again": False, "mounts": 2, "durability": "full"},
    "two mounts and a greedy consumer": {"consumes": True, "again": False, "mounts": 2, "durability": "full"},
    "two mounts, answered anew": {"consumes": False, "again": True, "mounts": 2, "durability": "full"},
    "no syncs and a greedy consumer": {"consumes": True, "again": False, "mounts": 1, "durability": "none"},
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_before_any_step_loses_nothing_and_publishes_nothing_twice(
    scenario: str, quick_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, __file__, scenario, str(quick_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 20  # steps; fewer would mean that the hook is not called any more


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_of_the_world_before_any_step_loses_nothing_and_publishes_nothing_twice(
    quick_path: Path, code: int
) -> None:
    step, came_so_far = 0, True
    while came_so_far:
        here = quick_path / str(step)
        here.mkdir()
        desk = Desk(here, consumes=True, again=False, durability="full")
        came_so_far = hit_by(desk, code, step)
        if desk.consumes:
            desk.consume()
        assert desk.broken_laws() == [], f"{errno.errorcode[code]} before step {step}"
        shutil.rmtree(here)
        step += 1
    assert step > 20


def hit_by(desk: Desk, code: int, at: int) -> bool:
    """Commit while the world fails before step `at` and the one after; then commit the very same outcomes."""
    count = 0

    def hook(_step: str) -> None:
        nonlocal count
        desk.consume()
        count += 1
        if count in (at + 1, at + 2):
            raise OSError(code, os.strerror(code))

    worker = Outbox(desk.inbox, desk.outbox, "full", on_step=hook)
    for batch in BATCHES:
        outcomes = [desk.read(name) for name in batch]
        for _ in range(5):
            try:
                fates = [delivery.fate for delivery in worker.commit(outcomes, *MODEL)]
            except WorldError as error:
                if error.cause.errno != code or not worker.needs_recovery:
                    raise
            else:
                assert fates == [Fate.PUBLISHED] * len(outcomes)
                break
        else:
            raise AssertionError("never committed")
    for _ in range(5):
        try:
            worker.recover()
            worker.flush()
        except WorldError:
            continue
        break
    worker.close()
    return count > at


def test_a_sync_that_fails_is_not_trusted_when_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the kernel may say yes to the next one: everything has to be written anew."""
    desk = Desk(tmp_path, consumes=False, again=False, durability="full")
    worker = Outbox(desk.inbox, desk.outbox)
    worker.recover()
    outcomes = [desk.read("late.png")]
    staged: list[set[str]] = []

    def failing(_fd: int) -> None:
        staged.append(set(os.listdir(desk.outbox / ".digit-worker/staging")))
        raise OSError(errno.EIO, "lost write")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(WorldError):
            worker.commit(outcomes, *MODEL)
    worker.commit(outcomes, *MODEL)
    published = {(desk.outbox / name).stat().st_ino for name in ("late.png.json", "late.png.annotated.png")}
    assert len(staged) == 1
    assert len(published) == 2
    worker.flush()
    assert not (desk.inbox / "late.png").exists()


def test_an_entry_whose_sync_failed_is_written_anew_before_it_is_acted_upon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may exist in memory alone: a power cut would take it, after its record was published and read."""
    desk = Desk(tmp_path, consumes=False, again=False, durability="full")
    journal = desk.outbox / ".digit-worker/journal"
    real = os.fsync
    synced: list[int] = []
    seen: list[tuple[str, int, bool]] = []

    def entry() -> int:
        return next((path.stat().st_ino for path in journal.glob("*.entry")), 0)

    def fsync(fd: int) -> None:
        if os.path.samestat(os.fstat(fd), journal.stat()):
            synced.append(entry())
            if len(synced) == 1:
                raise OSError(errno.EIO, "lost name")
        real(fd)

    worker = Outbox(
        desk.inbox, desk.outbox, on_step=lambda step: seen.append((step, entry(), entry() in synced[1:]))
    )
    worker.recover()
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WorldError):
        worker.commit([desk.read("late.png")], *MODEL)
    before = entry()
    seen.clear()
    worker.recover()
    published = [(inode, is_durable) for step, inode, is_durable in seen if step.startswith("publish")]
    assert published
    assert all(is_durable and inode != before for inode, is_durable in published)
    worker.close()


if __name__ == "__main__":
    print(play(**SCENARIOS[sys.argv[1]], base=Path(sys.argv[2])))
