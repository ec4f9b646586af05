"""The second network of a bundle: added, verified, served by both engines alike, and trained from nothing."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from worker.assembly import weights_of
from worker.errors import ModelError
from worker.recognition.bundle import Bundle, add_litert_form, add_transcriber, write_bundle
from worker.recognition.classifier import Classifier
from worker.recognition.decision import Thresholds
from worker.recognition.frames import FRAME_LABELS, FRAME_PX
from worker.recognition.knowledge import Knowledge
from worker.recognition.opinions import LineCalibration, LoneCalibration, TextRanking
from worker.training.calibration import outlier_weight
from worker.training.datasets import Examples
from worker.training.line_strips import WrittenLine
from worker.training.recipe import weigh
from worker.training.second_opinion import draw_pages, fit_opinion
from worker.training.transcription import exact_share, train_transcriber
from worker.training.written_lines import LineWriter
from worker.vision.normalization import NormalizerSettings
from worker.vision.strips import STRIP_PX

LABELS = (*"0123456789", "other", "fragment", "several")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of two networks that have learned nothing."""
    import keras

    from worker.training.architectures import digits, transcriber

    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("models") / "both"
    write_bundle(folder, digits(len(LABELS)), labels=LABELS, with_litert_form=True)
    return add_transcriber(folder, transcriber())


def _examples() -> Examples:
    tiles = np.zeros((60, 28, 28), np.uint8)
    labels = np.arange(60, dtype=np.int32) % 10
    for tile, label in zip(tiles, labels, strict=True):
        cv2.putText(tile, str(label), (6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    return Examples(tiles, labels)


def _lines(count: int) -> list[WrittenLine]:
    examples = _examples()
    writer = LineWriter(examples.pixels, examples.labels.astype(np.uint8))
    rng = np.random.default_rng(1)
    drawn = (writer.write(rng) for _ in range(2 * count))
    return [line for line in drawn if line is not None][:count]


def _strips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((STRIP_PX, width), np.float32) ** 3 for width in (32, 160, 176, 96, 640)]


@pytest.mark.parametrize("engine", ["tensorflow", "litert"])
def test_both_engines_serve_it_and_a_strip_does_not_depend_on_its_company(
    bundle: Bundle, engine: str
) -> None:
    model = Classifier.load(bundle, engine=engine)  # type: ignore[arg-type]
    model.self_test()
    assert model.transcriber is not None
    strips = _strips()
    together = model.transcriber.frames(strips)
    for strip, frames in zip(strips, together, strict=True):
        assert frames.shape == (strip.shape[1] // FRAME_PX, FRAME_LABELS)
        assert np.array_equal(model.transcriber.frames([strip])[0], frames)


def test_windows_see_all_that_a_frame_depends_on(bundle: Bundle) -> None:
    """A strip over several windows reads as the same network reads it in one piece."""
    from worker.training.architectures import transcriber

    assert bundle.transcriber is not None
    whole = transcriber(None)
    whole.set_weights(bundle.transcriber.load().get_weights())
    model = Classifier.load(bundle)
    assert model.transcriber is not None
    strip = np.pad(_strips()[4], ((0, 0), (0, 64)))  # paper at the end, as a last window is filled up with
    frames = model.transcriber.frames([strip])[0]
    logits = np.asarray(whole(strip[None, ..., None], training=False), np.float64).reshape(-1, FRAME_LABELS)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert np.allclose(frames[:-32], logits[:-32], atol=1e-4)


def test_engines_agree(bundle: Bundle) -> None:
    one, other = Classifier.load(bundle), Classifier.load(bundle, engine="litert")
    assert one.transcriber is not None
    assert other.transcriber is not None
    for first, second in zip(
        one.transcriber.frames(_strips()), other.transcriber.frames(_strips()), strict=True
    ):
        assert float(np.abs(np.exp(first) - np.exp(second)).max()) <= 1e-4


@pytest.mark.parametrize("file", ["transcriber.keras", "transcriber.tflite"])
def test_a_swapped_file_is_refused(bundle: Bundle, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "both"
    shutil.copytree(bundle.path, folder)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=f"{file} is not the file that card.json describes"):
        Classifier.load(Bundle.open(folder), engine="litert")


def test_another_network_in_its_place_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(bundle.path, folder)
    shutil.copy(folder / "model.keras", folder / "transcriber.keras")
    card = json.loads((folder / "card.json").read_bytes())
    card["transcriber"]["sha256"] = card["sha256"]
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="a transcriber takes"):
        Bundle.open(folder)


def test_other_answers_than_it_once_gave_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(bundle.path, folder)
    card = json.loads((folder / "card.json").read_bytes())
    card["transcriber"]["answers"][0][0] += 1
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="does not give the answers"):
        Classifier.load(Bundle.open(folder), engine="litert").self_test()


def test_new_litert_forms_leave_the_transcriber_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(bundle.path, folder)
    again = add_litert_form(folder)
    assert again.card.transcriber is not None
    assert bundle.card.transcriber is not None
    assert again.card.transcriber.sha256 == bundle.card.transcriber.sha256
    Classifier.load(again, engine="litert").self_test()


def test_a_bundle_without_one_reads_sign_by_sign(tmp_path: Path) -> None:
    from worker.training.architectures import digits

    model = Classifier.load(write_bundle(tmp_path / "one", digits(len(LABELS)), labels=LABELS))
    assert model.transcriber is None
    model.self_test()


def test_training_lowers_the_loss_and_gives_a_network_for_windows() -> None:
    lines = _lines(120)
    log = io.StringIO()
    model = train_transcriber(lines, lines[:20], seed=1, epochs=3, progress=log)
    assert model.input_shape == (None, STRIP_PX, 160, 1)
    assert "held-out lines exact" in log.getvalue()


def test_a_network_that_spells_nothing_has_no_line_right_but_the_empty_ones() -> None:
    from worker.training.architectures import transcriber

    lines = _lines(40)
    silent = transcriber(None)
    weights = silent.get_weights()
    weights[-1][:] = np.where(np.arange(FRAME_LABELS) == FRAME_LABELS - 1, 50.0, 0.0)
    silent.set_weights(weights)
    assert exact_share(silent, lines) == sum(not line.digits for line in lines) / len(lines)


def test_weights_are_fitted_on_pages_and_say_so(bundle: Bundle) -> None:
    model = Classifier.load(bundle)
    assert model.transcriber is not None
    pages = draw_pages(_examples(), 1, 4)
    known = Knowledge(NormalizerSettings(), 1.0, Thresholds(0.9, 0.5))
    found = fit_opinion(pages, model, model.transcriber, known)
    assert 0 < found.weights.classifier <= 1
    assert 0 < found.weights.transcriber <= 1
    assert 0.5 <= found.accept <= 1
    assert found.why.startswith("4 held-out pages")
    assert found.ranking == found.weights.rank
    strangers = sum(page.strangers for page in pages)
    share = strangers / (strangers + sum(len(page.text) for page in pages))
    assert found.weights.stranger == found.stranger == outlier_weight(share)
    assert min(found.ranking.looked, found.ranking.heard) >= 0
    assert "lines calibrated on" in found.why


def test_weighing_puts_what_lone_digits_are_worth_into_the_card(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "weighed"
    shutil.copytree(bundle.path, folder)
    weighed = weigh(Bundle.open(folder), _examples(), 1, 2, 12)
    part = weighed.card.transcriber
    assert part is not None
    assert part.lone is not None
    assert part.lone.sure_from == weighed.card.thresholds.accept
    assert part.lone.chosen_on.startswith("12 held-out pages")
    assert Bundle.open(folder).card == weighed.card
    known = weights_of(weighed.card)
    assert part.ranking is not None
    assert known.rank == TextRanking(*part.ranking)
    assert known.stranger == part.stranger_weight
    assert known.calibration == LineCalibration(*part.calibration)
    assert known.lone == LoneCalibration(part.lone.by_one, part.lone.by_both, part.lone.sure_from)
