"""Trials: what a child process does with a picture is the only evidence against it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import hostile
from worker.intake.arrivals import Arrival, Kind
from worker.outcome import Outcome
from worker.reading import ReadingSettings
from worker.reasons import ReasonCode
from worker.recognition.decision import Thresholds
from worker.service import trials
from worker.service.trials import Finding, Trials, Verdict
from worker.vision.decoding import Limits
from worker.vision.normalization import NormalizerSettings

READING = ReadingSettings(
    Limits(1_000_000, 1_000_000), NormalizerSettings(), 1.0, Thresholds(0.9, 0.5), "all", 1000
)


class Court:
    """A folder of pictures and the trials of them."""

    def __init__(self, folder: Path, limit_s: float = 30.0, command: tuple[str, ...] | None = None) -> None:
        self.folder = folder
        self.ready = threading.Event()
        self.trials = Trials(
            str(folder), READING, 10, limit_s, self.ready.set, hostile.COMMAND if command is None else command
        )

    def submit(self, name: str, ending: bytes = b"") -> None:
        path = self.folder / name
        path.write_bytes(hostile.picture(ending))
        seen = path.lstat()
        self.trials.submit(
            Arrival(
                name,
                Kind.FILE,
                seen.st_dev,
                seen.st_ino,
                seen.st_size,
                seen.st_mtime_ns,
                seen.st_ctime_ns,
                0.0,
            )
        )

    def verdicts(self, count: int, timeout_s: float = 60.0) -> dict[str, Verdict]:
        found: dict[str, Verdict] = {}
        end_s = time.monotonic() + timeout_s
        while len(found) < count:
            assert time.monotonic() < end_s, found
            self.ready.wait(0.1)
            self.ready.clear()
            found |= {verdict.arrival.name: verdict for verdict in self.trials.verdicts()}
        return found

    def child(self) -> int:
        """The process of the child that is at work."""
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
            children = [pid for task in tasks for pid in (task / "children").read_text().split()]
            for pid in children:
                if b"hostile.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
            time.sleep(0.02)
        raise AssertionError("no child")


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    court = Court(tmp_path)
    yield court
    court.trials.close()


def message(verdict: Verdict) -> str:
    assert isinstance(verdict.answer, Outcome)
    assert verdict.answer.reason is not None
    assert verdict.answer.reason.code is ReasonCode.CRASHED_READER
    return verdict.answer.reason.message


def test_the_child_that_the_worker_starts_reads_what_is_good(tmp_path: Path) -> None:
    court = Court(tmp_path, command=trials.COMMAND)
    court.submit("good.png")
    verdict = court.verdicts(1)["good.png"]
    court.trials.close()
    assert verdict.finding is Finding.LIVED, verdict


def test_a_picture_that_a_child_survives_is_acquitted(court: Court) -> None:
    court.submit("good.png")
    assert court.verdicts(1)["good.png"].finding is Finding.LIVED


@pytest.mark.parametrize(
    ("ending", "sign"),
    [
        (hostile.SEGFAULT, "SIGSEGV"),
        (hostile.ABORT, "SIGABRT"),
        (hostile.EXIT, "exit status 1"),
        (hostile.MEMORY, "MiB of memory"),
    ],
)
def test_what_a_child_dies_of_is_convicted_and_the_message_names_the_signal(
    court: Court, ending: bytes, sign: str
) -> None:
    court.submit("bad.png", ending)
    court.submit("good.png")
    verdicts = court.verdicts(2)
    assert verdicts["bad.png"].finding is Finding.CONVICTED
    assert sign in message(verdicts["bad.png"])
    assert verdicts["good.png"].finding is Finding.LIVED


@pytest.mark.parametrize("ending", [hostile.HANG, hostile.SPIN])
def test_what_takes_too_long_is_convicted(tmp_path: Path, ending: bytes) -> None:
    court = Court(tmp_path, limit_s=1.0)
    court.submit("slow.png", ending)
    court.submit("good.png")
    verdicts = court.verdicts(2)
    court.trials.close()
    assert verdicts["slow.png"].finding is Finding.CONVICTED
    assert "more than 1 s" in message(verdicts["slow.png"])
    assert verdicts["good.png"].finding is Finding.LIVED


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGUSR1])
def test_a_child_that_is_killed_from_outside_convicts_nobody(court: Court, number: signal.Signals) -> None:
    court.submit("waits.png", hostile.HANG)
    child = court.child()
    time.sleep(1.0)  # it may still be starting; then its death proves as little
    os.kill(child, number)
    assert court.verdicts(1)["waits.png"].finding is Finding.VOID


def test_a_child_that_somebody_stops_convicts_nobody(tmp_path: Path) -> None:
    court = Court(tmp_path, limit_s=4.0)
    court.submit("waits.png", hostile.HANG)
    child = court.child()
    time.sleep(1.5)  # until it reads
    os.kill(child, signal.SIGSTOP)
    verdict = court.verdicts(1)["waits.png"]
    court.trials.close()
    assert verdict.finding is Finding.VOID


def test_a_trial_follows_the_settings_that_are_in_force(court: Court) -> None:
    court.trials.follow(READING, 10, 1.0)
    court.submit("slow.png", hostile.HANG)
    assert "more than 1 s" in message(court.verdicts(1)["slow.png"])
    # A child that was started under other settings serves no longer.
    for name in ("good.png", "also.png"):
        court.submit(name)
    court.trials.follow(READING, 10, 2.0)
    court.submit("later.png", hostile.HANG)
    assert "more than 2 s" in message(court.verdicts(3)["later.png"])


def test_a_trial_during_which_the_settings_changed_convicts_nobody(tmp_path: Path) -> None:
    court = Court(tmp_path, limit_s=3.0)
    court.submit("waits.png", hostile.HANG)
    court.child()
    court.trials.follow(READING, 10, 60.0)
    verdict = court.verdicts(1)["waits.png"]
    court.trials.close()
    assert verdict.finding is Finding.VOID
    assert "configuration" in verdict.detail


def test_a_child_that_cannot_be_started_convicts_nobody(tmp_path: Path) -> None:
    for command in ((str(tmp_path / "none"),), (sys.executable, "-c", "raise SystemExit(3)")):
        court = Court(tmp_path, command=command)
        court.submit("a.png")
        assert court.verdicts(1)["a.png"].finding is Finding.VOID
        court.trials.close()


def test_a_picture_that_is_gone_or_changed_meanwhile_gets_no_record(court: Court) -> None:
    court.submit("bad.png", hostile.SEGFAULT)
    (court.folder / "bad.png").write_bytes(hostile.picture() + b"another" + hostile.SEGFAULT)
    verdict = court.verdicts(1)["bad.png"]
    assert not isinstance(verdict.answer, Outcome)


def test_sixty_four_suspects_take_a_few_seconds_and_one_child(court: Court) -> None:
    started_s = time.monotonic()
    for number in range(64):
        court.submit(f"{number}.png")
    verdicts = court.verdicts(64)
    assert {verdict.finding for verdict in verdicts.values()} == {Finding.LIVED}
    assert time.monotonic() - started_s < 20  # about one on a quiet machine


def test_the_child_ends_with_the_worker_however_that_ends(tmp_path: Path) -> None:
    script = (
        "import sys, time, test_trials\n"
        "from pathlib import Path\n"
        "court = test_trials.Court(Path(sys.argv[1]))\n"
        "court.submit('waits.png', test_trials.hostile.HANG)\n"
        "print(court.child(), flush=True)\n"
        "time.sleep(60)\n"
    )
    paths = [str(Path(hostile.__file__).parent), str(Path(__file__).parents[2])]
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(1.0)
        parent.kill()
        parent.wait()
    end_s = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and not _is_zombie(child):
        assert time.monotonic() < end_s
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_child_of_another_version_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade under a running worker."""
    monkeypatch.setattr(trials, "program", lambda: "what it was at the start of the worker")
    court = Court(tmp_path, command=trials.COMMAND)
    try:
        court.submit("good.png")
        verdict = court.verdicts(1)["good.png"]
    finally:
        court.trials.close()
    assert verdict.finding is Finding.VOID
    assert "restart it" in verdict.detail
