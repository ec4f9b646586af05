"""A picture is answered alike, to the byte, whatever is read with it, in which order and by how many threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from worker.assembly import load_model, reader_for
from worker.delivery.records import record_of
from worker.intake.arrivals import Arrival, Kind
from worker.outcome import Outcome
from worker.recognition.bundle import add_litert_form
from worker.recognition.classifier import Classifier
from worker.settings import Settings
from worker.training.pen import draw_scan

ROOT = Path(__file__).resolve().parents[2]
NEVER = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles, scans, a page, numbers, a blank page, and what is no picture."""
    folder = tmp_path_factory.mktemp("inbox")
    rng = np.random.default_rng(11)
    for index in range(40):
        digits = [int(each) for each in rng.integers(0, 10, 1 if index % 3 else int(rng.integers(2, 6)))]
        height_px = float((20, 60, 150)[index % 3])
        page = draw_scan(digits, rng, height_px=height_px, noise=float(index % 4), ruled=index % 7 == 0)
        ending = ".jpg" if index % 5 == 0 else ".png"
        (folder / f"{index:02}{ending}").write_bytes(cv2.imencode(ending, page)[1].tobytes())
    (folder / "blank.png").write_bytes(cv2.imencode(".png", np.full((50, 50), 255, np.uint8))[1].tobytes())
    (folder / "letter.png").write_bytes(b"Dear Sir or Madam, this is no picture.")
    return folder


def arrivals_of(inbox: Path) -> list[Arrival]:
    found = []
    for path in sorted(inbox.iterdir()):
        status = path.stat()
        found.append(
            Arrival(
                path.name, Kind.FILE, status.st_dev, status.st_ino, status.st_size,
                status.st_mtime_ns, status.st_ctime_ns, received_at_s=0.0, is_final=True,
            )
        )  # fmt: skip
    return found


def answers(
    inbox: Path, model: Classifier, arrivals: Sequence[Arrival], batch_size: int, threads: int
) -> dict[str, tuple[bytes, bytes]]:
    """Record and picture by name, times apart."""
    settings = Settings.model_validate({"threads": threads})
    reader = reader_for(settings, model, str(inbox))
    found = {}
    try:
        for start in range(0, len(arrivals), batch_size):
            for answer in reader.read(arrivals[start : start + batch_size]):
                assert isinstance(answer, Outcome)
                record = record_of(replace(answer, finished_at=NEVER), None, "digits", "0" * 64)
                picture = b"" if answer.picture is None else answer.picture.data
                found[answer.arrival.name] = (record.to_json_bytes(), picture)
    finally:
        reader.close()
    return found


@pytest.fixture(scope="module", params=["tensorflow", "litert"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    settings = {"model": ROOT / "models" / "digits", "engine": request.param}
    if request.param == "litert":
        import shutil

        pytest.importorskip("ai_edge_litert")
        settings["model"] = tmp_path_factory.mktemp("models") / "digits"
        shutil.copytree(ROOT / "models" / "digits", settings["model"])
        add_litert_form(settings["model"])
    return load_model(Settings.model_validate(settings))


def test_a_picture_is_answered_alike_in_any_batch_order_and_number_of_threads(
    inbox: Path, model: Classifier
) -> None:
    arrivals = arrivals_of(inbox)
    expected = answers(inbox, model, arrivals, batch_size=len(arrivals), threads=2)
    assert len(expected) == 42
    assert {b'"status": "read"' in record for record, _ in expected.values()} == {True, False}
    for batch_size, threads, seed in ((1, 1, 1), (1, 4, 2), (5, 1, 3), (17, 4, 4), (len(arrivals), 3, 5)):
        order = [arrivals[i] for i in np.random.default_rng(seed).permutation(len(arrivals))]
        found = answers(inbox, model, order, batch_size, threads)
        assert found == expected, (batch_size, threads)
    order = [arrivals[i % len(arrivals)] for i in np.random.default_rng(6).permutation(5 * len(arrivals))]
    assert answers(inbox, model, order, len(order), threads=2) == expected  # recognised in parts that overlap
