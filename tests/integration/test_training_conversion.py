"""Old files become bundles that answer as the old files did, or an error says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.errors import ModelError
from worker.recognition.bundle import Bundle, draw_known_tiles
from worker.recognition.classifier import Classifier
from worker.recognition.quiet import quiet_tensorflow
from worker.training.conversion import convert

TILES = (draw_known_tiles(7) / 255).astype(np.float32)


@pytest.fixture(scope="module")
def keras() -> Any:
    with quiet_tensorflow():
        import keras

        keras.utils.set_random_seed(5)
    return keras


def network(
    keras: Any, hidden: str = "relu", last: str = "softmax", shape: tuple[int, ...] = (28, 28)
) -> Any:
    layers = [keras.layers.Input(shape), keras.layers.Flatten()]
    layers += [keras.layers.Dense(16, activation=hidden), keras.layers.Dense(16, activation=hidden)]
    made = keras.Sequential([*layers, keras.layers.Dense(10, activation=last)])
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(0, 0.2, each.shape).astype(np.float32) for each in made.get_weights()])
    return made


def answers(bundle: Bundle) -> Any:
    logits = Classifier.load(bundle).logits(TILES)
    return np.exp(logits) if bundle.card.outputs == "softmax" else logits


def expected(model: Any) -> Any:
    return np.asarray(model(TILES.reshape(-1, *model.input_shape[1:])))


def test_an_h5_file_becomes_a_bundle_that_answers_the_same(keras: Any, tmp_path: Path) -> None:
    old = network(keras)
    old.save(tmp_path / "old.h5")
    made = convert(tmp_path / "old.h5", tmp_path / "new")
    assert np.allclose(answers(made), expected(old), atol=1e-5)
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == [
        "card.json",
        "model.keras",
        "model.tflite",
    ]


@pytest.mark.parametrize(
    ("hidden", "last", "shape"),
    [("relu", "softmax", (28, 28)), ("tanh", "linear", (784,)), ("sigmoid", "softmax", (28, 28, 1))],
)
def test_a_saved_model_of_dense_layers_is_rebuilt_without_any_notes(
    keras: Any, tmp_path: Path, hidden: str, last: str, shape: tuple[int, ...]
) -> None:
    old = network(keras, hidden, last, shape)
    old.export(tmp_path / "handwritten_digits.model", verbose=False)
    made = convert(tmp_path / "handwritten_digits.model", tmp_path / "new")
    assert made.card.outputs == ("softmax" if last == "softmax" else "logits")
    assert np.allclose(answers(made), expected(old), atol=1e-4)


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def keras_2_note(layers: list[dict[str, Any]]) -> bytes:
    """keras_metadata.pb as TensorFlow 2.5 to 2.15 wrote it, with the fields that matter."""
    noted = {
        "class_name": "Sequential",
        "config": {"name": "sequential", "layers": layers},
        "keras_version": "2.9.0",
    }
    node = varint(2 << 3) + varint(0) + field(3, b"root") + field(4, b"_tf_keras_sequential")
    node += field(5, json.dumps(noted).encode())
    return field(1, node) + field(1, varint(2 << 3) + varint(1) + field(3, b"root.layer-0") + field(5, b"{}"))


def keras_2_layer(kind: str, **config: Any) -> dict[str, Any]:
    return {
        "class_name": kind,
        "config": {"name": kind.lower() + str(len(config)), "dtype": "float32"} | config,
    }


CONVOLUTIONS = [
    keras_2_layer("InputLayer", batch_input_shape=[None, 28, 28, 1], sparse=False, ragged=False),
    keras_2_layer("Conv2D", filters=4, kernel_size=[3, 3], strides=[2, 2], padding="same", activation="relu"),
    keras_2_layer("BatchNormalization", axis=[3], momentum=0.99, epsilon=0.001),
    keras_2_layer("MaxPooling2D", pool_size=[2, 2], padding="valid", strides=[2, 2]),
    keras_2_layer("Flatten"),
    keras_2_layer("Dropout", rate=0.5),
    keras_2_layer("Dense", units=10, activation="softmax"),
]


def convolutional(keras: Any) -> Any:
    layers = keras.layers
    made = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(1)
    made.set_weights([rng.uniform(0.05, 0.4, each.shape).astype(np.float32) for each in made.get_weights()])
    return made


def test_a_saved_model_with_keras_notes_is_rebuilt_from_them(keras: Any, tmp_path: Path) -> None:
    old = convolutional(keras)
    old.export(tmp_path / "old", verbose=False)
    (tmp_path / "old" / "keras_metadata.pb").write_bytes(keras_2_note(CONVOLUTIONS))
    made = convert(tmp_path / "old", tmp_path / "new")
    assert np.allclose(answers(made), expected(old), atol=1e-4)


def test_convolutions_without_notes_are_refused_with_what_to_do(keras: Any, tmp_path: Path) -> None:
    convolutional(keras).export(tmp_path / "old", verbose=False)
    with pytest.raises(ModelError, match=r"save it as \.keras"):
        convert(tmp_path / "old", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_notes_that_tell_of_another_model_are_found_by_its_answers(keras: Any, tmp_path: Path) -> None:
    old = network(keras, "swish", shape=(784,))
    old.export(tmp_path / "old", verbose=False)
    layers = [keras_2_layer("InputLayer", batch_input_shape=[None, 784])]
    layers += [
        keras_2_layer("Dense", units=units, activation=activation, name=f"dense_{place}")
        for place, (units, activation) in enumerate([(16, "relu"), (16, "relu"), (10, "softmax")])
    ]
    (tmp_path / "old" / "keras_metadata.pb").write_bytes(keras_2_note(layers))
    with pytest.raises(ModelError, match="outputs differ"):
        convert(tmp_path / "old", tmp_path / "new")


@pytest.mark.parametrize("note", [b"", b"\x0a", b"\xff" * 50, field(1, field(5, b"{not json")), b"\x0b\x00"])
def test_damaged_notes_do_no_harm(keras: Any, tmp_path: Path, note: bytes) -> None:
    old = network(keras)
    old.export(tmp_path / "old", verbose=False)
    (tmp_path / "old" / "keras_metadata.pb").write_bytes(note)
    assert np.allclose(answers(convert(tmp_path / "old", tmp_path / "new")), expected(old), atol=1e-4)


def not_there(path: Path) -> None:
    """Leave the path as it is: missing."""


def some_text(path: Path) -> None:
    path.write_text("words")


def an_empty_saved_model(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"nothing")


def a_broken_h5(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n and no more")


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (not_there, "missing"),
        (some_text, "neither a bundle, a .keras or HDF5 file"),
        (an_empty_saved_model, "cannot be used"),
        (a_broken_h5, "Keras cannot load"),
    ],
)
def test_what_is_no_old_model_is_refused(tmp_path: Path, make: Callable[[Path], None], word: str) -> None:
    make(tmp_path / "old")
    with pytest.raises(ModelError, match=word):
        convert(tmp_path / "old", tmp_path / "new")


def test_a_model_of_other_inputs_is_refused(keras: Any, tmp_path: Path) -> None:
    network(keras, shape=(20, 20)).export(tmp_path / "old", verbose=False)
    with pytest.raises(ModelError, match="20, 20"):
        convert(tmp_path / "old", tmp_path / "new")


def test_accuracy_is_measured_where_there_is_data(keras: Any, tmp_path: Path) -> None:
    network(keras).save(tmp_path / "old.h5")
    pixels, labels = draw_known_tiles(), np.arange(16, dtype=np.uint8) % 10
    np.savez(tmp_path / "mnist.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    made = convert(tmp_path / "old.h5", tmp_path / "new", tmp_path / "mnist.npz")
    assert 0 <= made.card.metrics["MNIST test (16 tiles)"]["accuracy"] <= 1
