"""Helpers are real processes: they answer as the reader itself does, and their end harms nobody."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.integration import hostile
from tests.integration.test_same_answers import NEVER, arrivals_of
from tests.integration.test_suspects import Shop, eventually
from worker.assembly import load_model, reader_for
from worker.delivery.records import record_of
from worker.errors import WorldError
from worker.outcome import Outcome
from worker.reading import PART, Answer, Reader
from worker.recognition.classifier import Classifier
from worker.scale import helper as helper_module
from worker.scale.helper import Helper, HelperLostError
from worker.service.ledger import Ledger
from worker.settings import Settings
from worker.training.pen import draw_scan

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than a part of numbers, tiles and scans, and what is no picture."""
    folder = tmp_path_factory.mktemp("inbox")
    rng = np.random.default_rng(12)
    for index in range(PART + 6):
        digits = [int(each) for each in rng.integers(0, 10, int(rng.integers(1, 5)))]
        page = draw_scan(digits, rng, height_px=float((20, 60, 150)[index % 3]), noise=float(index % 4))
        ending = ".jpg" if index % 5 == 0 else ".png"
        (folder / f"{index:02}{ending}").write_bytes(cv2.imencode(ending, page)[1].tobytes())
    (folder / "letter.png").write_bytes(b"Dear Sir or Madam, this is no picture.")
    return folder


@pytest.fixture(scope="module")
def model() -> Classifier:
    return load_model(Settings(model=ROOT / "models" / "digits"))


def reader_of(inbox: Path, model: Classifier, **settings: Any) -> Reader:
    return reader_for(Settings.model_validate(settings), model, str(inbox))


@pytest.fixture
def helper(inbox: Path) -> Iterator[Helper]:
    helper = Helper(str(inbox), threads=1)
    yield helper
    helper.end()


def told(answers: list[Answer]) -> list[tuple[bytes, bytes]]:
    """Record and picture of each, times apart."""
    found = []
    for answer in answers:
        assert isinstance(answer, Outcome)
        record = record_of(dataclasses.replace(answer, finished_at=NEVER), None, "digits", "0" * 64)
        found.append((record.to_json_bytes(), b"" if answer.picture is None else answer.picture.data))
    return found


def test_a_helper_answers_to_the_byte_as_the_reader_does(
    inbox: Path, model: Classifier, helper: Helper
) -> None:
    arrivals = arrivals_of(inbox)
    reader = reader_of(inbox, model)
    own = reader.read(arrivals)
    assert told(helper.read(arrivals, reader)) == told(own)
    # The next batch follows other settings: what is expected is no function of the helper's.
    other = reader_of(inbox, model, annotate="none", expect={"digits": 3})
    answers = helper.read(arrivals[:5], other)
    assert told(answers) == told(other.read(arrivals[:5]))
    assert told(answers) != told(own[:5])
    reader.close()
    other.close()


def test_a_helper_tells_of_a_faulty_world_and_reads_on(
    inbox: Path, model: Classifier, helper: Helper
) -> None:
    arrivals = arrivals_of(inbox)[:3]
    reader = reader_of(inbox, model)
    names = [
        dataclasses.replace(each, name="x" * 5000) for each in arrivals
    ]  # ENAMETOOLONG: no file's own fault
    with pytest.raises(WorldError, match="File name too long"):
        helper.read(names, reader)
    assert told(helper.read(arrivals, reader)) == told(reader.read(arrivals))
    reader.close()


def test_a_fault_of_the_worker_itself_ends_the_helper_that_waits_for_it(
    inbox: Path, model: Classifier, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def logits(self, tiles: Any) -> Any:
            raise ZeroDivisionError

    reader = reader_of(inbox, model)
    monkeypatch.setattr(reader, "classifier", Broken())
    with pytest.raises(ZeroDivisionError):
        helper.read(arrivals_of(inbox)[:3], reader)
    eventually(lambda: not Path(f"/proc/{helper.pid}").exists(), 10)
    reader.close()


class Bad:
    """A folder of pictures, some of them deadly, and a helper that reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reader = reader_for(Settings(threads=1), hostile.QuickModel(), str(folder))  # type: ignore[arg-type]
        self.helper = Helper(str(folder), 1, hostile.HELPER)

    def read(self, *endings: bytes) -> list[Answer]:
        for number, ending in enumerate(endings):
            (self.folder / f"{number:03}.png").write_bytes(hostile.picture(ending))
        return self.helper.read(arrivals_of(self.folder), self.reader)


@pytest.fixture
def bad(tmp_path: Path) -> Iterator[Bad]:
    bad = Bad(tmp_path)
    yield bad
    bad.helper.end()
    bad.reader.close()


@pytest.mark.parametrize(
    ("ending", "is_suspicious", "why"),
    [
        (hostile.SEGFAULT, True, "SIGSEGV"),
        (hostile.EXIT, True, "exit status 1"),
        (hostile.MEMORY, False, "SIGKILL"),
    ],
)
def test_a_helper_that_dies_is_lost_with_its_part_of_the_batch(
    bad: Bad, ending: bytes, is_suspicious: bool, why: str
) -> None:
    with pytest.raises(HelperLostError, match=why) as lost:
        bad.read(*[b""] * 2 * PART, ending)
    assert lost.value.is_suspicious == is_suspicious
    assert len(lost.value.answers) % PART == 0
    assert len(lost.value.answers) >= PART
    assert all(isinstance(answer, Outcome) for answer in lost.value.answers)
    with pytest.raises(HelperLostError, match="ended before"):
        bad.read(b"")


def test_a_helper_that_takes_no_step_is_ended(bad: Bad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_module, "STEP_LIMIT_S", 2.0)
    with pytest.raises(HelperLostError, match="no step") as lost:
        bad.read(hostile.HANG)
    assert lost.value.is_suspicious


def test_slow_pictures_are_steps(bad: Bad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_module, "STEP_LIMIT_S", 4.0)
    assert len(bad.read(*[hostile.SLOW] * 12)) == 12  # six seconds without an answer


def test_a_helper_ends_with_whoever_started_it(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom worker.scale.helper import Helper\n"
        f"print(Helper({str(tmp_path)!r}, 1).pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    os.kill(pid, signal.SIGTERM)  # as a service manager that ends all processes of the service
    os.kill(pid, signal.SIGINT)
    time.sleep(0.3)
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: _is_gone(pid), 10)


def _is_gone(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def test_a_helper_that_cannot_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="did not start: it ended with the exit status 3"):
        Helper(str(tmp_path), 1, (sys.executable, "-c", "import sys; sys.exit(3)"))


def test_a_helper_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade under a running worker: what it is sent would mean something else to it."""
    monkeypatch.setattr(helper_module, "program", lambda: "what it was at the start of the worker")
    with pytest.raises(OSError, match="the program was changed since the worker was started; restart it"):
        Helper(str(tmp_path), 1)


def test_failed_starts_leave_no_descriptor_and_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="No such file"):
            Helper(str(tmp_path), 1, (str(tmp_path / "missing"),))
        with pytest.raises(OSError, match="the worker ends"):
            Helper(str(tmp_path), 1, (sys.executable, "-c", "import time; time.sleep(60)"), lambda: True)
    assert len(os.listdir("/proc/self/fd")) == before
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    assert "sleep(60)" not in "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in children.split())


def test_pictures_that_end_a_helper_do_not_end_the_worker(tmp_path: Path) -> None:
    shop = Shop(tmp_path, trial_limit_s=20, max_megapixels=1, helpers=1)
    good = {f"{number:04}.png" for number in range(1500)}
    bad = {f"{number:04}-bad.png" for number in range(0, 1500, 60)}  # some in whatever the helper gets
    for name in good | bad:
        shop.drop(name, hostile.NO_WORKER if name in bad else b"")
    try:
        assert shop.start("--once").wait(120) == 1  # some failed
    finally:
        shop.end()
    log = [json.loads(line) for line in shop.log.read_text().splitlines() if line.startswith("{")]
    lost = [line for line in log if line["event"] == "helper_lost"]
    assert len(lost) == 1  # it rests before the next one
    assert "SIGSEGV" in lost[0]["why"]
    assert lost[0]["batch"] > 0
    records = {name: shop.record(name) for name in good | bad}
    assert all(record is not None for record in records.values())
    failed = {name for name, record in records.items() if record and record["status"] == "failed"}
    assert failed
    assert failed <= bad
    assert all((records[name] or {})["reason"]["code"] == "crashed_reader" for name in failed)
    # It is over: nobody is suspected any more.
    assert Ledger(shop.outbox).take_over() == 0


class Flooded:
    """A worker with a helper in the middle of a flood."""

    def __init__(self, folder: Path) -> None:
        self.shop = Shop(folder, max_megapixels=1, helpers=1)
        self.names = {f"{number:04}.png" for number in range(3000)}
        for name in self.names:
            self.shop.drop(name)

    def start(self, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
        """The worker and the process of its helper, once that has begun to read."""
        worker = self.shop.start(*arguments)
        eventually(lambda: '"helper_started"' in self.shop.log.read_text())
        started = next(line for line in self.events() if line["event"] == "helper_started")
        time.sleep(0.2)
        return worker, started["pid"]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.shop.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[Flooded]:
    flooded = Flooded(tmp_path)
    yield flooded
    flooded.shop.end()


def test_what_a_killed_helper_had_in_hand_is_read_by_the_worker(flooded: Flooded) -> None:
    worker, helper = flooded.start("--once")
    os.kill(helper, signal.SIGKILL)  # as a kernel short of memory does
    assert worker.wait(120) == 0
    assert [line["why"] for line in flooded.events() if line["event"] == "helper_lost"] == [
        "it ended with the signal SIGKILL"
    ]
    records = [flooded.shop.record(name) for name in flooded.names]
    assert all(record is not None and record["status"] in ("read", "review") for record in records)


def test_a_stop_drains_what_the_helper_has_in_hand(flooded: Flooded) -> None:
    worker, helper = flooded.start()
    for pid in (helper, worker.pid):  # a service manager tells all processes of a service
        os.kill(pid, signal.SIGTERM)
    assert worker.wait(60) == 0
    assert _is_gone(helper)
    assert not [line for line in flooded.events() if line["event"] == "helper_lost"]
    left = set(os.listdir(flooded.shop.inbox))
    answered = {name for name in flooded.names if flooded.shop.has(name)}
    assert answered
    assert left - {".digit-worker"} == flooded.names - answered
