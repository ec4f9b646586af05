"""Whatever stops a commit between any two of its steps: nothing is lost, nothing is published twice.

Run as a program, this file plays the scenarios: it forks a worker for each step, has it die just before that
step (and its successors die inside recovery), and prints what broke the law. It is a program of its own so
that it can fork: the process of the tests may have threads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from worker.delivery import disk
from worker.delivery.outbox import Durability, Fate, Outbox
from worker.errors import WorldError
from worker.intake.arrivals import Arrival, Kind
from worker.outcome import AnnotatedPicture, Outcome, Status
from worker.reasons import Reason, ReasonCode

MODEL = ("digits", "c" * 64)
KILLED = 9
RECOVERIES_DIE_AT = (0, 2, 5, 9)  # one after the other, each in what the one before has left
DROPS = {  # two batches: the second one begins while the log of the first is not yet cleared
    "a/one.png": b"one",
    "two.png": b"two",
    "bad.png": b"bad",
    "late.png": b"late",
}
BATCHES = (("a/one.png", "two.png", "bad.png"), ("late.png",))


class Desk:
    """One drop folder and one consumer, with a law to hold them to."""

    def __init__(self, base: Path, *, consumes: bool, again: bool, durability: Durability) -> None:
        self.base = base
        self.inbox, self.outbox = base / "inbox", base / "outbox"
        self.consumes = consumes
        self.again = again
        self.durability = durability
        self.inbox.mkdir()
        self.outbox.mkdir()
        (base / "consumed").mkdir()
        if again:  # every drop was answered before, with the other outcome for one of them
            self._drop_all()
            first = Outbox(self.inbox, self.outbox)
            first.commit([self.read(name, Status.FAILED) for name in ("bad.png", "two.png")], *MODEL)
            first.commit([self.read(name) for name in ("a/one.png", "late.png")], *MODEL)
            first.flush()
            first.close()
        self._drop_all()

    def _drop_all(self) -> None:
        for name, content in DROPS.items():
            (self.inbox / name).parent.mkdir(exist_ok=True)
            (self.inbox / name).write_bytes(content)

    def read(self, name: str, status: Status | None = None) -> Outcome:
        if status is None:
            status = Status.FAILED if name == "bad.png" else Status.READ
        seen = (self.inbox / name).lstat()
        is_failed = status is Status.FAILED
        picture = None if is_failed else AnnotatedPicture(b"picture of " + name.encode(), ".png")
        numbers = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        return Outcome(
            arrival=Arrival(name, Kind.FILE, *numbers, received_at_s=time.time()),
            status=status,
            text=None if is_failed else "",
            confidence=None if is_failed else 0.0,
            digits=(),
            reason=Reason.of(ReasonCode.UNDECODABLE) if is_failed else None,
            sha256=hashlib.sha256((self.inbox / name).read_bytes()).hexdigest(),
            size_bytes=seen.st_size,
            width=None,
            height=None,
            picture=picture,
            finished_at=datetime.now(UTC),
        )

    def waiting(self) -> list[str]:
        return [name for name in DROPS if (self.inbox / name).exists()]

    def work(self, on_step: Callable[[str], None]) -> None:
        """What a worker does: finish earlier work, then answer what the inbox holds."""
        worker = Outbox(self.inbox, self.outbox, self.durability, on_step=on_step)
        worker.recover()
        for batch in BATCHES:
            worker.commit([self.read(name) for name in batch if name in self.waiting()], *MODEL)
        worker.flush()
        worker.close()

    def shown(self) -> set[str]:
        found = set()
        for folder, folders, files in os.walk(self.outbox):
            if folder == str(self.outbox):
                folders[:] = [name for name in folders if name != ".digit-worker"]
            found |= {os.path.relpath(os.path.join(folder, file), self.outbox) for file in files}
        return found

    def consume(self) -> None:
        """Take every record with its picture away at once, as the fastest consumer would."""
        for name in sorted(self.shown()):
            if name.endswith(".json"):
                record = json.loads((self.outbox / name).read_bytes())
                kept = self.base / "consumed" / f"{time.time_ns()}-{os.getpid()}.json"
                if record["annotated"] is not None:
                    (self.outbox / record["annotated"]).unlink()  # raises where the promise is broken
                os.rename(self.outbox / name, kept)

    def broken_laws(self) -> list[str]:
        """What is not as it should be when all is done."""
        kept = [path.read_bytes() for path in (self.base / "consumed").iterdir()]
        kept += [(self.outbox / name).read_bytes() for name in self.shown() if name.endswith(".json")]
        answers = Counter(json.loads(data)["source"]["name"] for data in kept)
        faults = [f"{name} has {answers[name]} records" for name in DROPS if answers[name] != 1]
        for name, content in DROPS.items():
            folder = "failed" if name == "bad.png" else "done"
            original = self.outbox / folder / name
            if not original.exists() or original.read_bytes() != content:
                faults.append(f"the original of {name} is not in {folder}")
        expected = {f"{'failed' if name == 'bad.png' else 'done'}/{name}" for name in DROPS}
        if not self.consumes:
            expected |= {f"{name}.json" for name in DROPS}
            expected |= {f"{name}.annotated.png" for name in DROPS if name != "bad.png"}
        if self.shown() != expected:
            faults.append(f"the outbox shows {sorted(self.shown() ^ expected)} wrongly")
        faults += [f"{name} is still in the inbox" for name in self.waiting()]
        for folder in ("staging", "journal"):
            faults += [
                f"{folder} holds {name}" for name in os.listdir(self.outbox / ".digit-worker" / folder)
            ]
        return faults


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


def refuse_renames_out_of_the_inbox() -> None:
    """Make inbox and outbox two mounts."""
    real_fresh, real_rename = disk.rename_fresh, os.rename

    def across(real: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def rename(source: Any, target: Any) -> None:
            if "/inbox/" in str(source) and "/outbox/" in str(target):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)
            real(source, target)

        return rename

    disk.rename_fresh = across(real_fresh)  # type: ignore[assignment]
    os.rename = across(real_rename)  # type: ignore[assignment]


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


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of commits, and no power cut among what is tried."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


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


if __name__ == "__main__":
    print(play(**SCENARIOS[sys.argv[1]], base=Path(sys.argv[2])))
