"""Training from a handful of drawn tiles to a bundle that serves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.errors import UsageError
from worker.recognition.bundle import Bundle
from worker.recognition.card import DIGIT_LABELS
from worker.recognition.classifier import Classifier
from worker.training import trainer
from worker.training.architectures import digits
from worker.training.datasets import Examples, load_mnist, split_validation
from worker.training.trainer import (
    OUTLIER_LABELS,
    PlainTiles,
    learning_rate,
    train,
)

MNIST = Path(__file__).parents[2].parent / "shared" / "data" / "mnist.npz"


def drawn_examples(count: int, seed: int) -> Examples:
    """Bars at ten heights, one for each digit, in noise: as easy as a task can be."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % 10
    pixels = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
    for each, label in zip(pixels, labels, strict=True):
        each[2 * label + 4 : 2 * label + 6, 4:24] = 255
    return Examples(pixels, labels)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    train_part, test_part = drawn_examples(600, 0), drawn_examples(100, 1)
    np.savez(
        tmp_path / "mnist.npz",
        x_train=train_part.pixels,
        y_train=train_part.labels.astype(np.uint8),
        x_test=test_part.pixels,
        y_test=test_part.labels.astype(np.uint8),
    )
    return tmp_path / "mnist.npz"


def test_mlp_becomes_a_bundle_with_curves_and_a_measured_card(data: Path, tmp_path: Path) -> None:
    progress = io.StringIO()
    summary = train("mlp", data, tmp_path / "out" / "mlp", seed=1, epochs=5, progress=progress)
    assert summary.test_accuracy > 0.9
    assert [line.split(":")[0] for line in progress.getvalue().splitlines()] == [
        f"epoch {number}.00 of 5.00" for number in range(1, 6)
    ]
    card = Bundle.open(tmp_path / "out" / "mlp").card
    assert card.metrics["MNIST test (100 tiles)"]["accuracy"] == summary.test_accuracy
    assert (card.seed, card.labels, card.outputs) == (1, DIGIT_LABELS, "softmax")
    assert card.training is not None
    assert (card.training.preset, card.training.epochs) == ("mlp", 5)
    assert "mnist.npz" in card.training.data
    assert (tmp_path / "out" / "mlp" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_dropout_training_stops_early_and_keeps_its_best_weights(data: Path, tmp_path: Path) -> None:
    summary = train("mlp-dropout", data, tmp_path / "out", epochs=2, progress=io.StringIO())
    assert summary.epochs == 2
    assert summary.parameters == 784 * 128 + 128 + 2 * (128 * 128 + 128) + 1290


def test_digits_learns_from_a_source_and_serves(data: Path, tmp_path: Path) -> None:
    examples = load_mnist(data).train
    summary = train(
        "digits", data, tmp_path / "digits", epochs=14, batches=PlainTiles(examples, 0, batch_tiles=50),
        labels=DIGIT_LABELS + OUTLIER_LABELS, normaliser={"name": "mnist"}, progress=io.StringIO(),
    )  # fmt: skip
    assert summary.test_accuracy > 0.9
    card = summary.bundle.card
    assert (card.labels[10:], card.outputs, card.normaliser) == (OUTLIER_LABELS, "logits", {"name": "mnist"})
    classifier = Classifier.load(summary.bundle)
    classifier.self_test()
    tests = load_mnist(data).test
    assert (classifier.logits(tests.tiles()).argmax(axis=1) == tests.labels).mean() > 0.9


@pytest.mark.parametrize(("kept", "moved"), [(1.0, False), (0.5, True)])
def test_a_further_round_keeps_a_part_of_the_weights_that_it_began_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: float, moved: bool
) -> None:
    source = PlainTiles(load_mnist(data).train, 0, batch_tiles=50)
    labels = DIGIT_LABELS + OUTLIER_LABELS
    start = digits(len(labels))
    monkeypatch.setattr(trainer, "KEPT", kept)
    further = train(
        "digits", data, tmp_path / "further", epochs=2, batches=source, labels=labels, start=start,
        progress=io.StringIO(),
    )  # fmt: skip
    pairs = zip(start.trainable_variables, further.bundle.load().trainable_variables, strict=True)
    assert any(float(np.abs(before - after).max()) > 1e-3 for before, after in pairs) is moved


def test_an_unknown_preset_and_a_foreign_folder_are_usage_errors(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mlp-dropout"):
        train("resnet", data, tmp_path / "out")
    with pytest.raises(UsageError, match="no model bundle"):
        train("mlp", data, data.parent, epochs=1, progress=io.StringIO())


def test_the_learning_rate_warms_up_falls_and_ends_small() -> None:
    rates = [learning_rate(share) for share in np.linspace(0, 1, 101)]
    top = rates.index(max(rates))
    assert 0 < rates[0] < rates[top] / 5
    assert rates[top] == pytest.approx(1)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1 / 50


def test_validation_is_drawn_by_seed_and_shares_nothing_with_training() -> None:
    examples = drawn_examples(100, 0)
    kept, held = split_validation(examples, 7, 30)
    again, _ = split_validation(examples, 7, 30)
    assert (len(kept), len(held)) == (70, 30)
    assert np.array_equal(kept.pixels, again.pixels)
    assert not {each.tobytes() for each in kept.pixels} & {each.tobytes() for each in held.pixels}
    assert not np.array_equal(kept.pixels, split_validation(examples, 8, 30)[0].pixels)


@pytest.mark.parametrize(
    "changes",
    [
        {"x_train": np.zeros((600, 28, 28), np.float32)},
        {"x_test": np.zeros((100, 32, 32), np.uint8)},
        {"y_test": np.zeros(99, np.uint8)},
        {"y_train": np.full(600, 10, np.uint8)},
        {"x_test": np.array([{"an": "object"}], dtype=object)},
        {"x_test": None},
    ],
)
def test_data_that_is_not_mnist_is_a_usage_error(data: Path, changes: dict[str, Any]) -> None:
    with np.load(data) as arrays:
        values = {name: arrays[name] for name in arrays.files} | changes
    np.savez(data, **{name: value for name, value in values.items() if value is not None})
    with pytest.raises(UsageError, match="Keras' layout"):
        load_mnist(data)


def test_missing_data_and_broken_data_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_mnist(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UsageError, match="Keras' layout"):
        load_mnist(tmp_path / "broken.npz")


def test_a_failed_download_says_how_to_go_on_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    def offline() -> None:
        raise Exception("URL fetch failure")  # noqa: TRY002 - what Keras raises

    monkeypatch.setattr(keras.datasets.mnist, "load_data", offline)
    with pytest.raises(UsageError, match="--data FILE"):
        load_mnist()


@pytest.mark.skipif(not MNIST.exists(), reason=f"needs {MNIST.name} in ../shared/data")
def test_real_mnist_is_read_whole() -> None:
    mnist = load_mnist(MNIST)
    assert (len(mnist.train), len(mnist.test)) == (60_000, 10_000)
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
