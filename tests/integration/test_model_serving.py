"""A bundle is written, opened, loaded and asked; a tile's answer is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.errors import ModelError, UsageError
from worker.recognition import bundle as bundles
from worker.recognition.bundle import Bundle, draw_known_tiles, write_bundle
from worker.recognition.card import Logits, Tiles, read_card, write_card
from worker.recognition.classifier import CHUNK_SIZES, Classifier, classify_all
from worker.recognition.engine import plan_chunks
from worker.recognition.quiet import quiet_tensorflow
from worker.training.architectures import (
    MAX_DIGITS_BYTES,
    MAX_DIGITS_MULTIPLY_ADDS,
    MAX_DIGITS_PARAMETERS,
    cost,
    digits,
    mlp,
    mlp_dropout,
)

LABELS = (*"0123456789", "other", "fragment", "several")


def tiles_drawn(count: int) -> Tiles:
    drawn = np.concatenate([draw_known_tiles(seed) for seed in range(count // 16 + 1)])[:count]
    return (drawn / 255).astype(np.float32)


@pytest.fixture(scope="module")
def keras() -> Any:
    with quiet_tensorflow():
        import keras

        keras.utils.set_random_seed(3)
    return keras


@pytest.fixture(scope="module")
def model(keras: Any) -> Any:
    """The shipped network with weights that answer something: no layer is at its start."""
    made = digits(len(LABELS))
    rng = np.random.default_rng(0)
    made.set_weights(
        [each + rng.uniform(-0.05, 0.05, each.shape).astype(each.dtype) for each in made.get_weights()]
    )
    return made


@pytest.fixture(scope="module")
def shipped(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("models") / "digits", model, labels=LABELS, seed=3)


@pytest.fixture(scope="module")
def classifier(shipped: Bundle) -> Classifier:
    return Classifier.load(shipped)


def test_the_shipped_network_keeps_to_its_bounds(model: Any, shipped: Bundle) -> None:
    found = cost(model)
    assert found.parameters == model.count_params() <= MAX_DIGITS_PARAMETERS
    assert found.multiply_adds <= MAX_DIGITS_MULTIPLY_ADDS
    assert (shipped.path / "model.keras").stat().st_size <= MAX_DIGITS_BYTES


@pytest.mark.parametrize("build", [mlp, mlp_dropout])
def test_the_tutorials_networks_are_counted_as_keras_counts_them(keras: Any, build: Any) -> None:
    made = build()
    assert cost(made).parameters == made.count_params()
    assert cost(made).outputs == "softmax"


def test_every_layer_on_the_list_is_counted_as_keras_counts_it(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((28, 28, 1))
    x = layers.Rescaling(2.0)(layers.ZeroPadding2D(((1, 2), (3, 0)))(inputs))
    x = layers.Conv2D(12, (3, 5), strides=2, dilation_rate=1, kernel_regularizer="l2")(x)
    x = layers.LeakyReLU()(layers.BatchNormalization(scale=False)(x))
    x = layers.PReLU(shared_axes=[1, 2])(layers.SeparableConv2D(16, 3, depth_multiplier=2)(x))
    x = layers.ELU()(layers.GroupNormalization(4)(layers.DepthwiseConv2D(3, padding="same")(x)))
    y = layers.ReLU(6.0)(layers.Conv2D(16, 1, groups=2)(layers.LayerNormalization()(x)))
    x = layers.Maximum()([layers.Average()([x, y]), layers.Add()([x, y])])
    gate = layers.Dense(16, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.SpatialDropout2D(0.1)(layers.Multiply()([x, gate]))
    x = layers.GaussianNoise(0.1)(layers.Concatenate()([x, y]))
    x = layers.AveragePooling2D(2)(layers.MaxPooling2D(2, padding="same")(x))
    x = layers.Dense(7)(layers.Reshape((-1, 8))(x))
    x = layers.Activation("tanh")(layers.Dropout(0.1)(layers.Flatten()(x)))
    made = keras.Model(inputs, layers.Softmax()(layers.Dense(10)(x)))
    found = cost(made)
    assert found.parameters == made.count_params()
    assert (found.units, found.outputs) == (10, "softmax")


def test_a_bundle_answers_as_the_model_it_was_made_from(model: Any, classifier: Classifier) -> None:
    tiles = tiles_drawn(40)
    assert np.allclose(classifier.logits(tiles), np.asarray(model(tiles[..., None])), atol=1e-4)


def test_a_tile_gets_the_same_bits_alone_among_others_and_anywhere(classifier: Classifier) -> None:
    tiles = tiles_drawn(150)
    whole = classifier.logits(tiles)
    order = np.random.default_rng(0).permutation(len(tiles))
    assert np.array_equal(classifier.logits(tiles[order]), whole[order])
    for count in (1, 3, 5, 17, 33, 64, 65):
        assert np.array_equal(classifier.logits(tiles[-count:]), whole[-count:]), count
    assert np.array_equal(
        classifier.logits(np.repeat(tiles[7:8], 70, axis=0)), np.repeat(whole[7:8], 70, axis=0)
    )


def test_no_tiles_give_no_logits(classifier: Classifier) -> None:
    assert classifier.logits(np.zeros((0, 28, 28), np.float32)).shape == (0, len(LABELS))


def test_tiles_of_another_shape_are_a_bug_of_the_caller(classifier: Classifier) -> None:
    with pytest.raises(ValueError, match="shape"):
        classifier.logits(np.zeros((2, 28, 27), np.float32))


def test_large_arrays_come_in_parts_that_make_the_whole(classifier: Classifier) -> None:
    tiles = tiles_drawn(100)
    parts = list(classify_all(classifier, tiles, part_tiles=48))
    assert [len(part) for part in parts] == [48, 48, 4]
    assert np.array_equal(np.concatenate(parts), classifier.logits(tiles))


@pytest.mark.parametrize("sizes", [CHUNK_SIZES, (64,), (8, 2)])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 9, 17, 32, 33, 63, 64, 65, 1000])
def test_chunks_take_every_tile_once_and_never_more_than_they_hold(
    count: int, sizes: tuple[int, ...]
) -> None:
    chunks = list(plan_chunks(count, sizes))
    assert sum(taken for taken, _ in chunks) == count
    assert all(0 < taken <= size and size in sizes for taken, size in chunks)


def test_a_size_that_gives_other_bits_is_left_out(shipped: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.recognition import classifier as serving

    engine = serving._TensorFlowEngine
    true_run = engine.run

    def run(self: Any, tiles: Tiles) -> Logits:
        return true_run(self, tiles) * np.float32(1 + (len(tiles) == 4) * 1e-6)

    monkeypatch.setattr(engine, "run", run)
    assert Classifier.load(shipped).engine.sizes == (64, 16)


def test_the_self_test_passes_for_the_true_model_and_not_for_other_answers(
    shipped: Bundle, classifier: Classifier
) -> None:
    classifier.warm_up()
    classifier.self_test()
    known = shipped.card.self_test
    assert known is not None
    rows = [row[:] for row in known.logits]
    rows[5][2] += 0.5
    other = shipped.card.model_copy(update={"self_test": known.model_copy(update={"logits": rows})})
    with pytest.raises(ModelError, match="once gave"):
        Classifier(other, classifier.engine).self_test()


def test_a_model_that_answers_nan_is_found_before_it_serves(keras: Any, tmp_path: Path) -> None:
    made = mlp()
    made.set_weights([each * np.nan for each in made.get_weights()])
    made.save(tmp_path / "nan.keras")
    with pytest.raises(ModelError, match="no number"):
        Classifier.load(Bundle.open(tmp_path / "nan.keras")).self_test()


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (784,)])
def test_a_bare_file_of_every_welcome_shape_gives_logits_of_its_softmax(
    keras: Any, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    layers = [keras.layers.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    made = keras.Sequential(layers)
    made.compile("adam", "sparse_categorical_crossentropy")  # as people save them
    made.save(tmp_path / "bare.keras")
    bare = Classifier.load(Bundle.open(tmp_path / "bare.keras"))
    tiles = tiles_drawn(6)
    expected = np.asarray(made(tiles.reshape(-1, *shape)))
    assert np.allclose(np.exp(bare.logits(tiles)), expected, atol=1e-5)


def test_a_lambda_layer_is_refused_before_keras_sees_it(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    keras.Sequential(
        [layers.Input((28, 28)), layers.Lambda(lambda x: x * 2), layers.Flatten(), layers.Dense(10)]
    ).save(tmp_path / "evil.keras")
    with pytest.raises(ModelError, match="Lambda"):
        Bundle.open(tmp_path / "evil.keras")


def test_weights_that_do_not_fit_the_config_are_refused(shipped: Bundle, tmp_path: Path) -> None:
    with zipfile.ZipFile(shipped.path / "model.keras") as true:
        members = {name: true.read(name) for name in true.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = 10
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "edited.keras", "w") as edited:
        for name, content in members.items():
            edited.writestr(name, content)
    with pytest.raises(ModelError, match="Keras cannot load"):
        Bundle.open(tmp_path / "edited.keras").load()


def test_a_new_bundle_takes_the_place_of_the_old_one_whole(keras: Any, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    first = write_bundle(folder, mlp(), beside={"curves.png": b"old"})
    (folder / "notes.txt").write_text("a person's")
    second = write_bundle(folder, mlp(), temperature=2.0, beside={"curves.png": b"new"})
    assert first.card.sha256 != second.card.sha256
    assert read_card(folder).temperature == 2.0
    assert (folder / "curves.png").read_bytes() == b"new"
    assert (folder / "notes.txt").read_text() == "a person's"
    assert os.listdir(folder.parent) == ["mine"]


def test_a_bundle_that_cannot_be_completed_leaves_the_old_one_alone(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    first = write_bundle(folder, mlp())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles, "_publish", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(folder, mlp())
    assert Bundle.open(folder).card == first.card
    assert os.listdir(tmp_path) == ["mine"]


def test_a_file_system_without_exchange_gets_the_new_bundle_by_two_renames(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    write_bundle(folder, mlp())
    monkeypatch.setattr(bundles, "_exchange", lambda *_: False)
    assert write_bundle(folder, mlp(), temperature=3.0).card.temperature == 3.0
    assert os.listdir(tmp_path) == ["mine"]


def test_a_folder_with_something_else_in_it_is_not_replaced(keras: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="no model bundle"):
        write_bundle(tmp_path, mlp())
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_damaged_or_swapped_model_is_refused(keras: Any, tmp_path: Path) -> None:
    one, other = write_bundle(tmp_path / "one", mlp()), write_bundle(tmp_path / "other", mlp())
    (one.path / "model.keras").write_bytes((other.path / "model.keras").read_bytes())
    with pytest.raises(ModelError, match="damaged or swapped"):
        Bundle.open(one.path)


def test_a_model_swapped_after_it_was_opened_is_not_what_is_loaded(keras: Any, tmp_path: Path) -> None:
    opened = write_bundle(tmp_path / "one", mlp())
    (opened.path / "model.keras").write_bytes(b"something else")
    Classifier.load(opened).self_test()


def test_temperature_and_thresholds_can_be_put_into_a_finished_bundle(keras: Any, tmp_path: Path) -> None:
    made = write_bundle(tmp_path / "one", mlp())
    write_card(made.path, made.card.model_copy(update={"temperature": 1.25}))
    assert Bundle.open(made.path).card.temperature == 1.25


def test_loading_is_silent_but_for_what_is_not_tensorflows(shipped: Bundle) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from worker.recognition.bundle import Bundle\n"
        "from worker.recognition.classifier import Classifier\n"
        "from worker.recognition.quiet import quiet_tensorflow\n"
        f"Classifier.load(Bundle.open(pathlib.Path({str(shipped.path)!r}))).self_test()\n"
        "with quiet_tensorflow():\n"
        "    os.write(2, b'I0000 00:00:1.2 3 port.cc:1] chatter\\na true warning\\n')\n"
    )
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "CUDA_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=surroundings
    )
    assert (done.stdout, done.stderr) == ("", "a true warning\n")


def test_what_the_first_load_made_is_never_looked_through_again(shipped: Bundle) -> None:
    program = (
        "import gc, pathlib\n"
        "from worker.recognition.bundle import Bundle\n"
        "from worker.recognition.classifier import Classifier\n"
        f"bundle = Bundle.open(pathlib.Path({str(shipped.path)!r}))\n"
        "for _ in range(2):\n"
        "    Classifier.load(bundle)\n"
        "    print(gc.isenabled(), gc.get_freeze_count(), len(gc.get_objects()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (first_on, frozen, _), (second_on, still_frozen, free) = map(str.split, done.stdout.splitlines())
    assert first_on == second_on == "True"
    assert int(frozen) > 100_000
    # Objects leave where they die; what a second load made is watched by the collector.
    assert int(still_frozen) <= int(frozen)
    assert 0 < int(free) < int(frozen) // 4
