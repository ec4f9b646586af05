"""Another model is taken between two batches while pictures keep coming; each record names the one that read it."""

from __future__ import annotations

import itertools
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import ROOT, Worker, eventually, png, run_cli, write_config
from worker.recognition.card import read_card

Start = Callable[..., Worker]
SWAP_S = 60.0  # a model is loaded beside a working one, on a busy machine
MOST_DROPS = 4000

# Two small networks of the shipped kind of tile, with weights that nobody trained: all that matters is
# that they answer differently.
MAKE = """
import sys
from pathlib import Path
import keras
from worker.recognition.bundle import write_bundle
for name, seed in (("one", 1), ("two", 2)):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([
        keras.layers.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(32, "relu"),
        keras.layers.Dense(10, kernel_initializer=keras.initializers.RandomNormal(0, 1.5)),
    ])
    write_bundle(Path(sys.argv[1]) / name, model, seed=seed)
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles `one` and `two`."""
    folder = tmp_path_factory.mktemp("pair")
    subprocess.run(
        [sys.executable, "-c", MAKE, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=170,
    )
    return folder


class Feeder:
    """Drops a picture every few hundredths of a second until it is told to stop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._stop = threading.Event()
        self._pictures = [png(digit, height_px=24) for digit in range(10)]
        self.names: list[str] = []
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        for number in itertools.islice(itertools.count(), MOST_DROPS):
            name = f"{number:05}.png"
            self._worker.drop(name, self._pictures[number % 10])
            self.names.append(name)
            if self._stop.wait(0.03):
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


@pytest.fixture
def feeding() -> Iterator[Callable[[Worker], Feeder]]:
    feeders: list[Feeder] = []

    def begin(worker: Worker) -> Feeder:
        feeders.append(Feeder(worker))
        return feeders[-1]

    yield begin
    for feeder in feeders:
        feeder.stop()


def status(worker: Worker) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((worker.outbox / ".digit-worker" / "status.json").read_text())
    return content


def taken(worker: Worker, digest: str) -> None:
    """Wait until the model of this digest serves."""
    eventually(lambda: status(worker)["model"]["sha256"] == digest, SWAP_S)


def used(worker: Worker, digest: str) -> None:
    """Wait until the model of this digest has read the newest batch."""

    def newest() -> str | None:
        batches = [event["model"] for event in worker.events() if event["event"] == "batch"]
        return batches[-1] if batches else None

    eventually(lambda: newest() == digest[:12], SWAP_S)


def swap_link(link: Path, target: Path) -> None:
    new = link.with_name("link.new")
    new.symlink_to(target)
    new.replace(link)


def by_model(paths: list[Path], model: Path) -> dict[str, Any]:
    """What this model says of these pictures, by a program of its own: probabilities by name."""
    done = run_cli("predict", "--json", "--model", model, *paths)
    found = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found[Path(record["source"]["name"]).name] = [digit["probabilities"] for digit in record["digits"]]
    return found


def waited_s(record: dict[str, Any]) -> float:
    moments = [datetime.fromisoformat(record[key]) for key in ("received_at", "finished_at")]
    return (moments[1] - moments[0]).total_seconds()


def test_a_new_model_in_every_way_under_load_and_no_picture_by_half_a_model(
    start: Start, folders: Path, pair: Path, feeding: Callable[[Worker], Feeder]
) -> None:
    one, two = (read_card(pair / name).sha256 for name in ("one", "two"))
    models = folders / "models"
    models.mkdir()
    for name in ("one", "two"):
        shutil.copytree(pair / name, models / name)
    link = models / "current"
    link.symlink_to(models / "one")
    worker = start(f"model: {link}", "annotate: none", "batch_size: 8")
    feeder = feeding(worker)
    used(worker, one)
    # A swapped link.
    swap_link(link, models / "two")
    used(worker, two)
    # Exchanged folders: what the link leads to is moved away, and another one takes its place.
    (models / "two").rename(models / "aside")
    shutil.copytree(pair / "one", models / "coming")
    (models / "coming").rename(models / "two")
    used(worker, one)
    # File by file, in small pieces, with pauses in between: never a word about a refusal.
    for name in ("model.keras", "card.json"):
        content = (pair / "two" / name).read_bytes()
        with (models / "two" / name).open("wb") as file:
            for piece in (content[: len(content) // 2], content[len(content) // 2 :]):
                file.write(piece)
                file.flush()
                time.sleep(1.5)
    used(worker, two)
    assert not worker.has_event("model_refused")
    # A damaged one is refused, and the good one goes on.
    (models / "two" / "model.keras").write_bytes(b"PK\x03\x04 this is no model")
    refused = eventually(lambda: status(worker)["model"]["refused"], SWAP_S)
    assert "model.keras" in refused["why"]
    assert status(worker)["model"]["sha256"] == two
    before = len(feeder.names)
    eventually(lambda: len(feeder.names) > before + 30)
    assert len([event for event in worker.events() if event["event"] == "model_refused"]) == 1
    # Restored, it is no news; another one is.
    shutil.copy(pair / "one" / "card.json", models / "two" / "card.json")
    shutil.copy(pair / "one" / "model.keras", models / "two" / "model.keras")
    used(worker, one)
    eventually(lambda: status(worker)["model"]["refused"] is None)
    feeder.stop()
    names = feeder.names
    records = {name: worker.record(name, 60) for name in names}
    assert worker.stop() == 0

    # Each record was made by exactly the model that it names.
    by_digest = {one: by_model([folders / "outbox" / "done"], pair / "one")}
    by_digest[two] = by_model([folders / "outbox" / "done"], pair / "two")
    assert by_digest[one] != by_digest[two]
    assert {record["model"]["sha256"] for record in records.values()} == {one, two}
    for name, record in records.items():
        said = [digit["probabilities"] for digit in record["digits"]]
        assert said == by_digest[record["model"]["sha256"]][name], name
    # Taken between two batches: all files of a batch name the same model, and each batch says which.
    batches = [event for event in worker.events() if event["event"] == "batch"]
    assert sum(event["files"] for event in batches) == len(names)
    assert {event["model"] for event in batches} == {one[:12], two[:12]}
    changes = sum(
        before != after for before, after in itertools.pairwise(event["model"] for event in batches)
    )
    assert changes == 4
    swaps = [event for event in worker.events() if event["event"] == "model_swapped"]
    assert len(swaps) == 4
    longest_s = max(waited_s(record) for record in records.values())
    assert longest_s < 10, "a picture waited for a model that was being loaded"
    print(f"{len(names)} pictures, longest wait {longest_s:.2f} s, loads {[s['took_ms'] for s in swaps]} ms")


def test_sighup_takes_what_can_take_effect_and_names_what_cannot(
    start: Start, folders: Path, pair: Path
) -> None:
    worker = start(f"model: {pair / 'one'}", "annotate: all")
    worker.drop("a.png", png(4))
    assert worker.record("a.png")["annotated"]

    def reload(*lines: str) -> dict[str, Any]:
        write_config(folders, *lines)
        seen = len(worker.events())
        worker.process.send_signal(signal.SIGHUP)
        event: dict[str, Any] = eventually(
            lambda: next((e for e in worker.events()[seen:] if e["event"].startswith("config_re")), None)
        )
        return event

    # A bad file changes nothing at all.
    refused = reload(f"model: {pair / 'two'}", "annotate: none", "batch_size: none")
    assert refused["event"] == "config_refused"
    assert "batch_size" in refused["why"]
    worker.drop("b.png", png(4, seed=1))
    assert worker.record("b.png")["annotated"]
    eventually(lambda: status(worker)["config"]["refused"])
    # A good one does: another model, no pictures, other names to leave alone, another level of the log.
    (folders / "elsewhere").mkdir()
    done = reload(
        f"model: {pair / 'two'}", "annotate: none", "ignore: ['draft-*']", "log_level: debug",
        "threads: 1", "durability: none",
    )  # fmt: skip
    assert set(done["changed"]) == {"model", "annotate", "ignore", "log_level"}
    assert done["awaiting_restart"] == ["threads", "durability"]
    taken(worker, read_card(pair / "two").sha256)
    worker.drop("draft-1.png", png(5))
    worker.drop("c.png", png(4, seed=2))
    assert worker.record("c.png")["annotated"] is None
    assert (folders / "inbox" / "draft-1.png").exists()
    assert status(worker)["config"]["refused"] is None
    told = run_cli("status", "--config", worker.config).stdout
    assert "waiting for a restart: threads, durability" in told
    # The log leads to the record.
    line = eventually(lambda: next((e for e in worker.events() if e["event"] == "picture_answered"), None))
    assert json.loads((worker.outbox / line["record"]).read_text())["source"]["name"] == line["name"]
    assert any(e["event"] == "batch" and e["batch"] == line["batch"] for e in worker.events())
    # No limit is set, so every original is kept.
    assert len(list((worker.outbox / "done").iterdir())) == 3
    # Back again.
    assert reload(f"model: {pair / 'two'}")["awaiting_restart"] == []
    eventually((worker.outbox / "draft-1.png.json").exists)
    assert worker.stop() == 0


def test_sigusr1_switches_the_debug_log(start: Start, pair: Path) -> None:
    worker = start(f"model: {pair / 'one'}")
    for level in ("debug", "info"):
        worker.process.send_signal(signal.SIGUSR1)
        eventually(partial(was_switched, worker, level))
    assert worker.stop() == 0


def was_switched(worker: Worker, level: str) -> bool:
    return any(e["event"] == "log_level_changed" and e["to"] == level for e in worker.events())


def test_a_closed_terminal_drains_and_ends(folders: Path, pair: Path) -> None:
    config = write_config(folders, f"model: {pair / 'one'}")
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", AT_TERMINAL, "run", "--config", str(config)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    path = folders / "outbox" / ".digit-worker" / "status.json"
    try:
        eventually(lambda: path.exists() and json.loads(path.read_text())["state"] == "idle", SWAP_S)
        os.close(master)
        assert process.wait(30) == 0
        assert json.loads(path.read_text())["state"] == "stopped"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


# The terminal becomes the controlling one of the new session, as that of a shell is.
AT_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from worker.cli import main
sys.exit(main())
"""
