"""The delivery under every system call: killed at it, refused it, or cut off from power before it.

Run as a program this file plays one campaign and prints its figures as JSON:

    python -m tests.integration.test_delivery_calls kills|faults|power|syncs [--all] [--folder DIR]
"""

from __future__ import annotations

import argparse
import errno
import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration import power, tracing
from tests.integration.desk import BATCHES, DROPS, MODEL, Desk, refuse_renames_out_of_the_inbox
from tests.integration.tracing import Call, watched
from worker.delivery.outbox import Fate, Outbox
from worker.errors import WorldError
from worker.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]
MANY = 100_000  # calls; no piece of work here makes so many
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)
REFUSED = (
    "open",
    "openat",
    "write",
    "fsync",
    "syncfs",
    "rename",
    "renameat2",
    "unlink",
    "mkdir",
    "utimensat",
)


def nothing(_step: str) -> None:
    """No hook."""


def at(number: int, what: int) -> Callable[[Call], int]:
    """Do `what` (see `tracing.Before`) at the call with this number."""
    numbers = itertools.count()
    return lambda _call: what if next(numbers) == number else 0


class Kept:
    """A consumer outside the child: it takes what it sees after every call that shows something."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def __call__(self, call: Call) -> None:
        if self.desk.consumes and call.name.startswith("rename") and call.target.endswith(".json"):
            self.desk.consume()


def kills(folder: Path, *, everything: bool) -> dict[str, int]:
    """Kill a commit at each of its calls, then the recovery at some or each of its own, then finish."""
    figures: Counter[str] = Counter()
    for consumes, again in (
        ((True, False), (False, True)) if not everything else itertools.product((True, False), (True, False))
    ):
        for number in range(MANY):
            seconds = [None] if number % 5 and not everything else [3 + number % 40, 55 + number % 60]
            ended = False
            for second in seconds:
                ended = _killed(folder, figures, number, second, consumes=consumes, again=again)
            if ended:
                break
    return dict(figures)


def _killed(
    folder: Path, figures: Counter[str], number: int, second: int | None, *, consumes: bool, again: bool
) -> bool:
    here = Path(tempfile.mkdtemp(dir=folder))
    desk = Desk(here, consumes=consumes, again=again, durability="full")
    base, kept = str(here), Kept(desk)
    ended = watched(lambda: desk.work(nothing), base, at(number, -1), kept)
    figures["kills"] += not ended
    if not ended and second is not None:
        figures["kills"] += not watched(lambda: desk.work(nothing), base, at(second, -1), kept)
    watched(lambda: desk.work(nothing), base, after=kept)
    figures["files"] += len(DROPS)
    if faults := desk.broken_laws():
        raise AssertionError(f"killed at call {number}, then {second}: {faults}")
    shutil.rmtree(here)
    return ended


def persists(desk: Desk, answers: dict[str, Outcome], tries: int) -> None:
    """What the driver does: try again after every fault of the world, with the same outcomes."""
    worker = Outbox(desk.inbox, desk.outbox, "full")
    for batch in BATCHES:
        outcomes = [answers[name] for name in batch]
        for _ in range(tries):
            try:
                fates = [delivery.fate for delivery in worker.commit(outcomes, *MODEL)]
            except WorldError:
                continue
            if set(fates) - {Fate.PUBLISHED, Fate.STUCK}:
                raise AssertionError(fates)
            break
        else:
            raise AssertionError("never committed")
    for _ in range(tries):
        try:
            worker.recover()
            worker.retire_again()
            worker.flush()
        except WorldError:
            continue
        if not worker.stuck:
            break
    else:
        raise AssertionError("never finished")
    worker.close()


class Refusing:
    """Refuses the call with a number, and as many of the same kind after it as `times` says."""

    def __init__(self, number: int, code: int, times: int) -> None:
        self.number, self.code, self.times = number, code, times
        self.count = 0
        self.refused = 0
        self.name = ""

    def __call__(self, call: Call) -> int:
        if call.name not in REFUSED or "/consumed" in call.path or self._is_answered_otherwise(call):
            return 0
        mine = self.count
        self.count += 1
        if mine == self.number:
            self.name = call.name
        if mine >= self.number and call.name == self.name and self.refused < self.times:
            self.refused += 1
            return self.code
        return 0

    def _is_answered_otherwise(self, call: Call) -> bool:
        """An earlier original that may not be read counts as other bytes: marked names, nothing replaced."""
        is_reading = call.name == "openat" and not call.flags & tracing.CREATE
        return self.code == errno.EACCES and is_reading and ("/done/" in call.path or "/failed/" in call.path)


def faults(folder: Path, *, everything: bool) -> dict[str, int]:
    """Refuse each call in turn with each error, once and three times in a row."""
    figures: Counter[str] = Counter()
    for again, times in (
        ((False, 1), (True, 3)) if not everything else itertools.product((False, True), (1, 3))
    ):
        for code in ERRORS:
            for number in range(MANY):
                here = Path(tempfile.mkdtemp(dir=folder))
                desk = Desk(here, consumes=not again, again=again, durability="full")
                refusing = Refusing(number, code, times)
                answers = {name: desk.read(name) for name in DROPS}
                try:
                    watched(lambda: persists(desk, answers, times + 3), str(here), refusing, Kept(desk))  # noqa: B023
                    broken = desk.broken_laws()
                except AssertionError as error:
                    broken = [str(error)]
                if broken:
                    raise AssertionError(
                        f"{errno.errorcode[code]} x{times} at call {number} ({refusing.name}): {broken}"
                    )
                shutil.rmtree(here)
                figures["files"] += len(DROPS)
                figures["faults"] += refusing.refused
                if not refusing.refused:
                    break
    return dict(figures)


def power_cuts(folder: Path, *, everything: bool) -> dict[str, int]:
    """Cut the power before each change, keep every kind of subset of what was not synced, recover, check."""
    figures: Counter[str] = Counter()
    choices = functools.partial(power.choices, many=12 if everything else 2)
    for consumes, again, mounts in ((True, False, 1), (False, True, 1), (True, False, 2)):
        _cut_everywhere(folder, figures, Night(consumes, again, mounts), choices)
    return dict(figures)


def failed_syncs(folder: Path, *, everything: bool) -> dict[str, int]:
    """Let each sync in turn fail, go on as the driver does, and cut the power at each change after that."""
    figures: Counter[str] = Counter()
    # Each of the 53 syncs is a night of its own: the two extremes, and names without bytes, have to do.
    choices = functools.partial(_unrandom, many=None if everything else 3)
    for consumes, again, mounts in ((True, False, 1), (False, True, 1), (True, False, 2)):
        for number in range(MANY):
            night = Night(consumes, again, mounts, failing=number)
            if not _cut_everywhere(folder, figures, night, choices):
                break
            figures["syncs that failed"] += 1
    return dict(figures)


def _unrandom(step: int, many: int | None) -> list[tuple[str, Callable[[power.Change], float]]]:
    return power.choices(step, 0)[:many]


@dataclass(slots=True)
class Night:
    """One run that the power goes out in: with a consumer or without; `failing` is the sync that fails."""

    consumes: bool
    again: bool
    mounts: int
    failing: int | None = None
    failed_at: int | None = None  # so many changes were made by then
    syncs: int = 0
    taken: list[tuple[int, bytes]] = field(default_factory=list)  # at which change, which record

    def before(self, call: Call, recorder: power.Recorder) -> int:
        """Refuse the sync whose turn it is."""
        if call.name not in ("fsync", "syncfs"):
            return 0
        self.syncs += 1
        if self.syncs - 1 != self.failing:
            return 0
        self.failed_at = len(recorder.changes)
        recorder.lose(call)
        return errno.EIO

    def after(self, call: Call, recorder: power.Recorder, desk: Desk) -> None:
        """Take a call down, and let the consumer have what it shows."""
        recorder.note(call)
        if self.consumes and call.name.startswith("rename") and call.target.endswith(".json"):
            data = Path(call.target).read_bytes()
            self.taken.append((len(recorder.changes) + 1, data))
            picture = json.loads(data)["annotated"]
            for path in [call.target] + ([f"{desk.outbox}/{picture}"] if picture else []):
                os.unlink(path)
                recorder.take(path)


def _cut_everywhere(folder: Path, figures: Counter[str], night: Night, choices: power.Choices) -> bool:
    """Cut one night's run everywhere; whether there was the sync that was to fail."""
    here = Path(tempfile.mkdtemp(dir=folder))
    desk = Desk(here, consumes=False, again=night.again, durability="full")
    recorder = power.Recorder(str(here))
    answers = {name: desk.read(name) for name in DROPS}

    def work() -> None:
        if night.mounts == 2:
            refuse_renames_out_of_the_inbox()
        if night.failing is None:
            desk.work(nothing)
        else:
            persists(desk, answers, 4)

    watched(
        work,
        str(here),
        lambda call: night.before(call, recorder),
        lambda call: night.after(call, recorder, desk),
    )
    if night.failing is None:
        first = next(i for i, change in enumerate(recorder.changes) if change.durable_at != 0)
    elif night.failed_at is None:
        return False
    else:
        first = night.failed_at
    for step in range(first, len(recorder.changes) + 1):
        known = [data for taken_at, data in night.taken if taken_at <= step]
        for name, choose in choices(step):
            left = power.surviving(recorder.changes, step, choose)
            problem = _after_the_cut(folder, desk, left, known, mounts=night.mounts, figures=figures)
            if problem:
                raise AssertionError(f"{night}: power cut before change {step}, {name} persists: {problem}")
    shutil.rmtree(here)
    return True


def _after_the_cut(
    folder: Path, desk: Desk, left: Any, known: list[bytes], *, mounts: int, figures: Counter[str]
) -> str:
    here = Path(tempfile.mkdtemp(dir=folder))
    remains = power.Remains()
    remains.make(left, str(desk.base), str(here))
    after = Desk.__new__(Desk)
    after.__dict__.update(desk.__dict__, base=here, inbox=here / "inbox", outbox=here / "outbox")
    (here / "consumed").mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        try:
            if mounts == 2:
                refuse_renames_out_of_the_inbox()
            with remains.believed():
                after.work(nothing)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        return "the recovery failed"
    shown = {name: (after.outbox / name).read_bytes() for name in after.shown() if name.endswith(".json")}
    records: dict[str, set[bytes]] = {name: set() for name in DROPS}
    for data in [*shown.values(), *known]:
        records[json.loads(data)["source"]["name"]].add(data)
    figures["files"] += len(DROPS)
    figures["cuts"] += 1
    figures["shown again, byte for byte the same"] += len(set(shown.values()) & set(known))
    problems = [f"{name}: {len(found)} answers" for name, found in records.items() if len(found) != 1]
    for number, data in enumerate(known):  # what the consumer has, it has; the rest it takes now
        (here / "consumed" / f"{number}.json").write_bytes(data)
    for name, data in shown.items():
        picture = json.loads(data)["annotated"]
        is_gone = data in known and not (after.outbox / str(picture)).exists()  # the consumer's own doing
        if picture and not is_gone and (after.outbox / picture).read_bytes() != _picture_of(name):
            problems.append(f"{picture} is torn")
        if data in known:
            (after.outbox / name).unlink()
            if picture:
                (after.outbox / picture).unlink(missing_ok=True)
    stray = [name for name in after.shown() if name.endswith(".annotated.png")]
    lone = [name for name in stray if f"{name.removesuffix('.annotated.png')}.json" not in after.shown()]
    for name in lone:
        (after.outbox / name).unlink()  # a consumer's removal that the cut undid
    after.consumes = True
    after.consume()
    problems += after.broken_laws()
    shutil.rmtree(here)
    return "; ".join(problems)


def _picture_of(record: str) -> bytes:
    return b"picture of " + record.removesuffix(".json").encode()


CAMPAIGNS: dict[str, Callable[..., dict[str, int]]] = {
    "kills": kills,
    "faults": faults,
    "power": power_cuts,
    "syncs": failed_syncs,
}


def main() -> None:
    """Play one campaign; an AssertionError says which law was broken, and how."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--all", action="store_true", help="every combination; minutes instead of seconds")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        warm = Path(folder, "warm")  # so that no import is left to be done, and refused, later
        warm.mkdir()
        for name in ("ascii", "unicode_escape"):
            "".encode(name)
        desk = Desk(warm, consumes=False, again=True, durability="full")
        desk.work(nothing)
        print(json.dumps(CAMPAIGNS[options.campaign](Path(folder), everything=options.all)))


def played(campaign: str, folder: Path, *more: str) -> dict[str, int]:
    """The figures of a campaign, run as a program."""
    command = [sys.executable, "-m", "tests.integration.test_delivery_calls", campaign]
    done = subprocess.run(
        [*command, "--folder", str(folder), *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return figures


@pytest.mark.skipif(bool(tracing.why_not()), reason=tracing.why_not() or "children can be watched")
@pytest.mark.long
def test_a_kill_at_any_call_loses_nothing_and_publishes_nothing_twice(quick_path: Path) -> None:
    assert played("kills", quick_path)["kills"] >= 250


@pytest.mark.skipif(bool(tracing.why_not()), reason=tracing.why_not() or "children can be watched")
@pytest.mark.long
def test_any_call_may_be_refused_and_the_work_is_done_afterwards(quick_path: Path) -> None:
    assert played("faults", quick_path)["faults"] >= 300


@pytest.mark.skipif(bool(tracing.why_not()), reason=tracing.why_not() or "children can be watched")
@pytest.mark.long
def test_a_power_cut_anywhere_loses_nothing_and_shows_nothing_else(quick_path: Path) -> None:
    assert played("power", quick_path)["cuts"] >= 300


@pytest.mark.skipif(bool(tracing.why_not()), reason=tracing.why_not() or "children can be watched")
@pytest.mark.long
def test_any_sync_may_fail_before_a_power_cut(quick_path: Path) -> None:
    figures = played("syncs", quick_path)
    assert figures["syncs that failed"] >= 40
    assert figures["cuts"] >= 3000


if __name__ == "__main__":
    main()
