"""A bundle whose networks learn on: from where they stopped, as a whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from worker.cli import main
from worker.errors import UsageError
from worker.recognition.bundle import Bundle, add_transcriber, replace_bundle, write_bundle
from worker.recognition.card import TrainingRun, write_card
from worker.recognition.classifier import Classifier
from worker.training import further, trainer, transcription
from worker.training.corpus import LABELS
from worker.training.datasets import load_mnist
from worker.training.further import train_further
from worker.training.recipe import Round
from worker.training.trainer import KEPT

# So low that nothing moves: what comes of it shows where it began.
HARDLY = 1e-9


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Printed digits in MNIST's layout, just enough to hold 5,000 out."""
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    tiles = np.zeros((10, 28, 28), np.uint8)
    for digit, tile in enumerate(tiles):
        cv2.putText(tile, str(digit), (6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    labels = np.arange(5_100) % 10
    np.savez(
        path, x_train=tiles[labels], y_train=labels.astype(np.uint8),
        x_test=tiles, y_test=np.arange(10, dtype=np.uint8),
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two networks, said to have been trained on `data`."""
    import keras

    from worker.training.architectures import digits, transcriber

    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("models") / "both"
    run = TrainingRun(
        command="train --preset digits --seed 5", preset="digits", data=load_mnist(data).source, epochs=9,
        duration_s=1,
    )  # fmt: skip
    write_bundle(folder, digits(len(LABELS)), labels=LABELS, seed=5, training=run, with_litert_form=True)
    add_transcriber(folder, transcriber(), run)
    return folder


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "both"))


def test_networks_learn_on_from_where_they_stopped(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(further, "PAGES_OF_NUMBERS", 2)
    monkeypatch.setattr(further, "LONE_PAGES", 12)
    for room in (trainer, transcription):  # what is compared are the weights
        monkeypatch.setattr(room, "STATISTICS_BATCHES", 3)
    (bundle / "notes.txt").write_text("mine")
    before = Bundle.open(bundle)
    after = train_further(
        data, bundle, seed=2, tiles=Round(2_000, 0.2, HARDLY), lines=Round(250, 0.2, HARDLY), processes=1
    )
    assert after == Bundle.open(bundle)
    assert after.transcriber is not None
    assert before.transcriber is not None
    for old, new in ((before.load(), after.load()), (before.transcriber.load(), after.transcriber.load())):
        for was, now in zip(old.trainable_variables, new.trainable_variables, strict=True):
            assert np.allclose(was, now, atol=1e-5)
    Classifier.load(after, engine="litert").self_test()
    card = after.card
    assert (card.name, card.seed) == ("both", 5)
    assert card.training is not None
    assert card.training.command == "train --preset digits --seed 5; train --further --seed 2"
    assert card.thresholds.chosen_on.startswith("2,000 held-out tiles")
    assert card.transcriber is not None
    assert card.transcriber.training is not None
    assert card.transcriber.training.command.endswith("; train --further --seed 2")
    assert card.transcriber.chosen_on.startswith("2 held-out pages")
    assert (bundle / "notes.txt").read_text() == "mine"
    assert [path.name for path in bundle.parent.iterdir() if path.name != "mnist.npz"] == ["both"]


def _copied(before: Bundle, folder: Path, *_rest: object) -> Bundle:
    return Bundle.open(Path(shutil.copytree(before.path, folder)))


def test_a_round_that_fails_leaves_the_bundle_as_it_was(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(further, "_learn_tiles", _copied)
    monkeypatch.setattr(further, "_learn_lines", lambda _before, made, *_: made)
    monkeypatch.setattr(further, "weigh", full)  # the last before the bundle is replaced
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    with pytest.raises(OSError, match="No space"):
        train_further(data, bundle)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["both"]


def test_what_was_held_out_stays_held_out(bundle: Path, data: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(data))
    np.savez(tmp_path / "other.npz", **{**arrays, "x_train": arrays["x_train"][::-1]})
    with pytest.raises(UsageError, match="what was held out then would be learned now"):
        train_further(tmp_path / "other.npz", bundle)


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_bundle_that_was_changed_meanwhile_is_not_overwritten(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch, *, is_gone: bool
) -> None:
    def meanwhile(made: Bundle, *_rest: object) -> Bundle:
        if is_gone:
            shutil.rmtree(bundle)
        else:
            _edited(bundle, '"digit": 0.5', '"digit": 0.75')
        return made

    monkeypatch.setattr(further, "_learn_tiles", _copied)
    monkeypatch.setattr(further, "_learn_lines", lambda _before, made, *_: made)
    monkeypatch.setattr(further, "weigh", meanwhile)
    with pytest.raises(
        UsageError, match=r"both was changed while .* what they learned is in .*both\.further-"
    ):
        train_further(data, bundle)
    names = [path.name for path in sorted(bundle.parent.iterdir())]
    assert [name.partition("-")[0] for name in names] == ["both"] * (not is_gone) + ["both.further"]
    assert Bundle.open(bundle.parent / names[-1]).card.thresholds.digit == 0.5
    if not is_gone:
        assert Bundle.open(bundle).card.thresholds.digit == 0.75


def _edited(bundle: Path, old: str, new: str) -> None:
    card = bundle / "card.json"
    assert old in card.read_text()
    card.write_text(card.read_text().replace(old, new))


def test_data_whose_origin_is_not_known_may_have_been_learned(bundle: Path, data: Path) -> None:
    _edited(bundle, load_mnist(data).source, "keras.datasets.mnist")
    with pytest.raises(
        UsageError, match=r"does not say which images digits was trained with .*datasets\.mnist"
    ):
        train_further(data, bundle)


def test_a_digest_of_the_file_says_nothing_of_the_images(bundle: Path, data: Path) -> None:
    _edited(bundle, "(images sha256 ", "(sha256 ")
    with pytest.raises(UsageError, match="does not say which images"):
        train_further(data, bundle)


def test_the_same_data_packed_otherwise_are_the_same(data: Path, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "packed.npz", **dict(np.load(data)))
    digests = [load_mnist(path).source.split("sha256")[1] for path in (data, tmp_path / "packed.npz")]
    assert digests[0] == digests[1]


def test_a_transcriber_of_another_seed_has_learned_other_digits(bundle: Path, data: Path) -> None:
    part = Bundle.open(bundle).card.transcriber
    assert part is not None
    card = Bundle.open(bundle).card
    run = TrainingRun(
        command="train --preset transcriber --seed 6", preset="transcriber", data=load_mnist(data).source,
        epochs=9, duration_s=1,
    )  # fmt: skip
    changed = card.model_copy(update={"transcriber": part.model_copy(update={"training": run})})
    write_card(bundle, changed)
    with pytest.raises(UsageError, match="the seed 5, transcriber was trained with 6"):
        train_further(data, bundle)


def test_networks_that_were_built_otherwise_cannot_learn_on(data: Path, tmp_path: Path) -> None:
    import keras

    layers = [keras.layers.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(len(LABELS))]
    run = TrainingRun(
        command="train --preset digits --seed 5", preset="digits", data=load_mnist(data).source, epochs=9,
        duration_s=1,
    )  # fmt: skip
    write_bundle(tmp_path / "old", keras.Sequential(layers), labels=LABELS, seed=5, training=run)
    with pytest.raises(UsageError, match="is built otherwise by now"):
        train_further(data, tmp_path / "old")


def test_a_link_to_a_bundle_stays_one_and_its_file_names_it_as_well(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = bundle.with_name("current")
    link.symlink_to(bundle.name)
    asked = []
    monkeypatch.setattr(further, "_learn_tiles", lambda *_: Bundle.open(bundle))
    monkeypatch.setattr(further, "_learn_lines", lambda *_: Bundle.open(bundle))
    monkeypatch.setattr(further, "weigh", lambda made, *_: made)

    def replaced(folder: Path, made: Bundle) -> Bundle:
        asked.append(folder)
        return replace_bundle(folder, made)

    monkeypatch.setattr(further, "replace_bundle", replaced)
    for path in (link, link / "model.keras"):
        assert train_further(data, path).path == bundle
    assert asked == [bundle, bundle]
    assert link.is_symlink()
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["both", "current"]


def test_a_seed_below_nought_is_refused(bundle: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="-1 is negative"):
        train_further(data, bundle, seed=-1)


def test_a_bundle_of_another_kind_cannot_learn_on(data: Path, tmp_path: Path) -> None:
    from worker.training.architectures import mlp

    write_bundle(tmp_path / "mlp", mlp(), seed=1)
    with pytest.raises(UsageError, match="was not made by train --preset digits"):
        train_further(data, tmp_path / "mlp")


def test_further_goes_with_both_networks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "--further", "--preset", "transcriber", "--output", str(tmp_path)]) == 2
    assert "trains both networks" in capsys.readouterr().err


def test_the_transcriber_ends_between_what_it_was_and_what_it_learned(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def learned(*_arguments: object, start: object, kept: float) -> tuple[object, float]:
        asked.append(kept)
        return start, 1.0

    monkeypatch.setattr(further, "_learn_tiles", _copied)
    monkeypatch.setattr(further, "learn_lines", learned)
    monkeypatch.setattr(further, "weigh", lambda made, *_: made)
    train_further(data, bundle)
    assert asked == [KEPT]
