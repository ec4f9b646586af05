"""The LiteRT form of a model: made, proved, verified, and served without TensorFlow in the process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from worker.errors import ModelError, UsageError
from worker.recognition import litert, litert_form
from worker.recognition.bundle import Bundle, add_litert_form, draw_known_tiles, write_bundle
from worker.recognition.card import LARGEST_DIFFERENCE, Card, Logits, Tiles
from worker.recognition.classifier import Classifier
from worker.recognition.decision import calibrate
from worker.training.conversion import convert
from worker.training.pen import draw_scan

pytest.importorskip("ai_edge_litert")

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT.parent / "shared" / "data" / "mnist.npz"
SHIPPED = ROOT / "models" / "digits"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The model that ships, with a form that was just made of it."""
    folder = tmp_path_factory.mktemp("models") / "digits"
    shutil.copytree(SHIPPED, folder)
    return add_litert_form(folder)


@pytest.fixture(scope="module")
def by_tensorflow(bundle: Bundle) -> Classifier:
    return Classifier.load(bundle)


@pytest.fixture(scope="module")
def by_litert(bundle: Bundle) -> Classifier:
    return Classifier.load(bundle, engine="litert")


def drawn_tiles(count: int) -> Tiles:
    drawn = np.concatenate([draw_known_tiles(seed) for seed in range(1, count // 16 + 2)])[:count]
    noise = np.random.default_rng(0).integers(0, 256, (count // 8, 28, 28))
    return (np.concatenate([drawn, noise]) / 255).astype(np.float32)


def assert_alike(tiles: Tiles, one: Classifier, other: Classifier) -> None:
    temperature = one.card.temperature
    expected, found = (calibrate(each.logits(tiles), temperature) for each in (one, other))
    assert np.array_equal(expected.argmax(axis=1), found.argmax(axis=1))
    assert float(np.abs(expected - found).max()) <= LARGEST_DIFFERENCE


def test_both_engines_give_drawn_tiles_the_same_digit_and_probabilities(
    by_tensorflow: Classifier, by_litert: Classifier
) -> None:
    assert_alike(drawn_tiles(1500), by_tensorflow, by_litert)


@pytest.mark.skipif(not MNIST.exists(), reason=f"needs {MNIST.name} in ../shared/data")
def test_both_engines_give_all_mnist_test_tiles_the_same_digit_and_probabilities(
    by_tensorflow: Classifier, by_litert: Classifier
) -> None:
    with np.load(MNIST) as data:
        tiles = data["x_test"].astype(np.float32) / np.float32(255)
    assert len(tiles) == 10_000
    assert_alike(tiles, by_tensorflow, by_litert)


def test_a_tile_gets_the_same_bits_in_any_company(by_litert: Classifier) -> None:
    tiles = drawn_tiles(40)
    together = by_litert.logits(tiles)
    alone = np.concatenate([by_litert.logits(tile[None]) for tile in tiles])
    backwards = by_litert.logits(tiles[::-1])[::-1]
    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards)


def test_the_form_answers_the_questions_of_the_card(by_litert: Classifier) -> None:
    by_litert.self_test()


def test_a_form_made_for_other_weights_fails_the_self_test(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.path, tmp_path / "digits")
    card = tmp_path / "digits" / "card.json"
    content = json.loads(card.read_bytes())
    content["self_test"]["logits"][3][4] += 1.0
    card.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="answers"):
        Classifier.load(Bundle.open(tmp_path / "digits"), engine="litert").self_test()


def test_a_swapped_form_is_refused_before_it_is_run_and_tensorflow_serves_on(
    bundle: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(bundle.path, folder)
    content = bytearray((folder / "model.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=r"model.tflite is not the file that card.json describes"):
        Classifier.load(Bundle.open(folder), engine="litert")
    (folder / "model.tflite").unlink()
    with pytest.raises(ModelError, match="missing"):
        Classifier.load(Bundle.open(folder), engine="litert")
    Classifier.load(Bundle.open(folder)).self_test()


def test_a_bundle_without_the_form_says_how_to_make_it(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(bundle.path, folder)
    content = json.loads((folder / "card.json").read_bytes())
    del content["litert"]
    (folder / "card.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=f"digit-worker convert {folder}$"):
        Classifier.load(Bundle.open(folder), engine="litert")


def test_without_the_package_the_message_names_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ModelError, match="ai-edge-litert, which is not installed"):
        litert.LiteRtEngine(bundle.network, 1)


def test_a_form_that_answers_otherwise_is_not_written(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(bundle.path, folder)
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    true_answers = litert_form._answers

    def nearly(content: bytes, tiles: Tiles) -> Logits:
        answers = true_answers(content, tiles)
        answers[:, 0] += np.float32(0.01)
        return answers

    monkeypatch.setattr(litert_form, "_answers", nearly)
    with pytest.raises(ModelError, match="answers differently"):
        add_litert_form(folder)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    written = write_bundle(tmp_path / "new", bundle.load(), labels=bundle.card.labels, with_litert_form=True)
    assert written.card.litert is None
    assert not (tmp_path / "new" / "model.tflite").exists()


def _without_forms(card: Card) -> Card:
    part = card.transcriber
    bare = None if part is None else part.model_copy(update={"litert": None})
    return card.model_copy(update={"litert": None, "transcriber": bare})


def test_convert_adds_the_form_in_place_and_changes_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(SHIPPED, folder)
    (folder / "model.tflite").unlink(missing_ok=True)
    (folder / "notes.txt").write_text("kept")
    old = Bundle.open(folder)
    new = convert(folder, None)
    assert new.card.litert is not None
    # The bytes of a form are those of the machine that made it.
    assert _without_forms(new.card) == _without_forms(old.card)
    assert new.content == old.content
    assert (folder / "notes.txt").read_text() == "kept"


def test_convert_makes_a_bundle_of_a_bare_keras_file(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--output DIR"):
        convert(bundle.path / "model.keras", None)
    # Ten outputs are needed of a bare file: those of a small network.
    from worker.training.architectures import mlp

    mlp().save(tmp_path / "mine.keras")
    made = convert(tmp_path / "mine.keras", tmp_path / "mine")
    tiles = drawn_tiles(64)
    assert_alike(tiles, Classifier.load(made), Classifier.load(made, engine="litert"))


def test_a_worker_on_litert_reads_without_tensorflow_in_its_process(bundle: Bundle, tmp_path: Path) -> None:
    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()
    page = draw_scan(4, np.random.default_rng(1), height_px=64, paper=255, ink=10, noise=0.0)
    (tmp_path / "inbox" / "four.png").write_bytes(cv2.imencode(".png", page)[1].tobytes())
    (tmp_path / "config.yaml").write_text(
        f"inbox: inbox\noutbox: outbox\nmodel: {bundle.path}\nengine: litert\nsettle_s: 0\n"
    )
    program = (
        "import sys; from worker.cli import main\n"
        f"code = main(['run', '--once', '--config', {str(tmp_path / 'config.yaml')!r}])\n"
        "found = sorted({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'keras', 'matplotlib'})\n"
        "print(code, found)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "0 []", done.stderr
    assert "XNNPACK" not in done.stderr
    record = json.loads((tmp_path / "outbox" / "four.png.json").read_bytes())
    assert (record["status"], record["text"]) == ("read", "4")
