"""Reading a model's card needs no TensorFlow and says what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.errors import ModelError
from worker.recognition import bundle
from worker.recognition.bundle import draw_known_tiles, to_logits
from worker.recognition.card import Card, ChosenThresholds, read_card, write_card

MODEL = b"not a model, but bytes with a digest"


def card_values(**changes: Any) -> dict[str, Any]:
    values = {
        "format_version": 1,
        "name": "digits",
        "sha256": hashlib.sha256(MODEL).hexdigest(),
        "input_shape": [28, 28, 1],
        "labels": [*"0123456789", "other"],
        "outputs": "logits",
    }
    return values | changes


def write(folder: Path, values: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "card.json").write_text(json.dumps(values))
    (folder / "model.keras").write_bytes(MODEL)
    return folder


def test_a_card_is_read_with_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, card_values()))
    assert card.labels[10:] == ("other",)
    assert card.temperature == 1.0
    assert card.thresholds == ChosenThresholds()
    assert "default" in card.thresholds.chosen_on


def test_reading_a_card_imports_neither_tensorflow_nor_keras(tmp_path: Path) -> None:
    write(tmp_path, card_values())
    program = (
        "import sys, pathlib; from worker.recognition.card import read_card;"
        f"read_card(pathlib.Path({str(tmp_path)!r}));"
        "print(sorted({'tensorflow', 'keras', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"format_version": 2}, "format_version"),
        ({"labels": list("1234567890")}, "labels"),
        ({"labels": [*"0123456789", "other", "other"]}, "labels"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": "NaN"}, "temperature"),
        ({"thresholds": {"accept": 1.5}}, "accept"),
        ({"sha256": "abc"}, "sha256"),
        ({"colour": "red"}, "colour"),
        ({"self_test": {"tiles": "AAAA", "logits": [[0.0] * 11]}}, "self_test"),
    ],
)
def test_a_wrong_card_is_refused_by_the_name_of_what_is_wrong(
    tmp_path: Path, changes: dict[str, Any], word: str
) -> None:
    with pytest.raises(ModelError, match=word):
        read_card(write(tmp_path, card_values(**changes)))


def test_a_card_of_a_newer_version_is_told_from_one_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"\(litert_2\): a newer version made it.*update the worker"):
        read_card(write(tmp_path, card_values(litert_2={"sha256": "0"})))
    with pytest.raises(ModelError, match="Restore the bundle"):
        read_card(write(tmp_path, card_values(litert_2={"sha256": "0"}, temperature=0)))


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000])
def test_a_card_that_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(ModelError, match="JSON object"):
        read_card(tmp_path)


def test_a_missing_card_is_a_model_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing"):
        read_card(tmp_path)


def test_a_card_survives_being_written_and_read(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, card_values()))
    warmer = card.model_copy(update={"temperature": 1.7, "metrics": {"somewhere": {"accuracy": 0.5}}})
    write_card(tmp_path, warmer)
    assert read_card(tmp_path) == warmer
    assert sorted(each.name for each in tmp_path.iterdir()) == ["card.json", "model.keras"]


def test_a_card_of_another_model_is_not_put_into_a_bundle(tmp_path: Path) -> None:
    write(tmp_path, card_values())
    with pytest.raises(ModelError, match="digest"):
        write_card(tmp_path, Card.model_validate(card_values(sha256="0" * 64)))


def test_known_tiles_are_the_same_every_time_and_differ_from_each_other() -> None:
    tiles = draw_known_tiles()
    assert tiles.shape == (16, 28, 28)
    assert tiles.dtype == np.uint8
    assert np.array_equal(tiles, draw_known_tiles())
    assert len({tile.tobytes() for tile in tiles}) == 16
    assert all(tile.max() > 200 and tile.min() == 0 for tile in tiles)


def test_softmax_outputs_become_finite_logits_of_the_same_probabilities() -> None:
    outputs = np.array([[0.75, 0.25, 0.0]], np.float32)
    logits = to_logits(outputs, "softmax")
    assert np.isfinite(logits).all()
    assert np.allclose(np.exp(logits), outputs)
    assert to_logits(outputs, "logits") is outputs


@pytest.fixture
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes folders with a model, hours old, where copies of models are kept while they are loaded."""
    there = tmp_path / "tmp"
    there.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(there))

    def make(name: str) -> Path:
        folder = there / name
        folder.mkdir()
        (folder / "model.keras").touch()
        long_ago_s = time.time() - 2 * bundle.FORGOTTEN_AFTER_S
        os.utime(folder, (long_ago_s, long_ago_s))
        return folder

    return make


def test_copies_of_models_that_a_killed_process_left_are_removed(forgotten: Callable[[str], Path]) -> None:
    folder = forgotten(f"{bundle.COPY_PREFIX}a")
    bundle._remove_forgotten_copies()
    assert not folder.exists()


def test_what_is_young_or_held_or_holds_more_or_is_called_otherwise_stays(
    forgotten: Callable[[str], Path],
) -> None:
    young, held, more, other = (
        forgotten(name) for name in (*(f"{bundle.COPY_PREFIX}{each}" for each in "ybm"), "digit-worker-mine")
    )
    os.utime(young)
    (more / "mine.txt").touch()
    os.utime(more, (0, 0))
    link = young.parent / f"{bundle.COPY_PREFIX}link"
    link.symlink_to(other)
    os.utime(link, (0, 0), follow_symlinks=False)
    last = forgotten(f"{bundle.COPY_PREFIX}z")
    with bundle._held(held):
        bundle._remove_forgotten_copies()
    for folder in (young, held, more, other):
        assert (folder / "model.keras").exists()
    assert link.is_symlink()
    assert not last.exists()


def test_what_another_user_left_stays(
    forgotten: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = forgotten(f"{bundle.COPY_PREFIX}a")
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    bundle._remove_forgotten_copies()
    assert folder.exists()
