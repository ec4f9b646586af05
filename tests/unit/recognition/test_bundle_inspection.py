"""What is on the allow-list is counted right; everything else is refused before Keras sees it."""

from __future__ import annotations

import copy
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest

from worker.errors import ModelError
from worker.recognition.bundle import Bundle
from worker.recognition.inspection import inspect_archive, inspect_config

Change = Callable[[dict[str, Any]], None]


def layer(kind: str, **config: Any) -> dict[str, Any]:
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": kind.lower(), **config},
        "registered_name": None,
    }


def perceptron() -> dict[str, Any]:
    """784-8-10 as Keras 3 writes it."""
    return {
        "module": "keras",
        "class_name": "Sequential",
        "registered_name": None,
        "config": {
            "name": "sequential",
            "layers": [
                layer("InputLayer", batch_shape=[None, 28, 28], dtype="float32"),
                layer("Flatten"),
                layer("Dense", units=8, activation="relu"),
                layer("Dense", units=10, activation="softmax"),
            ],
            "build_input_shape": [None, 28, 28],
        },
    }


def weights() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as store:
        store["layers/dense/vars/0"] = np.zeros((784, 8), np.float32)
    return file.getvalue()


def archive(config: object, stored: bytes | None = None, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as store:
        store.writestr("metadata.json", "{}")
        store.writestr("config.json", json.dumps(config))
        store.writestr("model.weights.h5", weights() if stored is None else stored)
        for name, content in members.items():
            store.writestr(name, content)
    return file.getvalue()


def changed(change: Change) -> dict[str, Any]:
    model = copy.deepcopy(perceptron())
    change(model)
    return model


def test_a_perceptron_is_counted_to_the_last_parameter() -> None:
    found = inspect_archive(archive(perceptron()))
    assert found.input_shape == (28, 28)
    assert found.units == 10
    assert found.outputs == "softmax"
    assert found.parameters == 784 * 8 + 8 + 8 * 10 + 10
    assert found.multiply_adds == 784 * 8 + 8 * 10


def dense(model: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = model["config"]["layers"][2]
    return found


def set_dense(**config: Any) -> Change:
    return lambda model: dense(model)["config"].update(config)


def wrap_dense(**fields: Any) -> Change:
    return lambda model: dense(model).update(fields)


REFUSED: dict[str, Change] = {
    "a lambda": wrap_dense(class_name="Lambda"),
    "a layer of another module": wrap_dense(module="os"),
    "a layer of Keras' insides": wrap_dense(module="keras.src.layers.core.dense"),
    "a registered layer": wrap_dense(registered_name="mine>Dense"),
    "a nested model": wrap_dense(**perceptron()),
    "a TFSMLayer": wrap_dense(class_name="TFSMLayer"),
    "a function as activation": set_dense(activation={"class_name": "function", "config": "system"}),
    "an unknown activation": set_dense(activation="mine"),
    "an initializer from elsewhere": set_dense(
        kernel_initializer={"module": "os", "class_name": "Zeros", "config": {}}
    ),
    "an initializer with an object inside": set_dense(
        kernel_initializer={
            "module": "keras.initializers",
            "class_name": "Constant",
            "config": {"value": {"class_name": "__lambda__"}},
        }
    ),
    "a quantized layer": set_dense(quantization_config={"module": "keras"}),
    "a low-rank layer": set_dense(lora_rank=4),
    "half precision": set_dense(dtype="float16"),
    "a policy from elsewhere": set_dense(dtype={"module": "x", "class_name": "DTypePolicy", "config": {}}),
    "a million units": set_dense(units=1_000_000),
    "units beyond any bound": set_dense(units=10**30),
    "negative units": set_dense(units=-8),
    "no units": set_dense(units=None),
    "true for units": set_dense(units=True),
    "another shape to build with": wrap_dense(build_config={"input_shape": [None, 10**9]}),
    "another way to build": wrap_dense(build_config={"shapes_dict": {"kernel_shape": [None, 10**9]}}),
    "another model class": lambda model: model.update(class_name="Model"),
    "a model from elsewhere": lambda model: model.update(module="somewhere"),
    "another shape to build the model with": lambda model: model["config"].update(
        build_input_shape=[None, 10**9]
    ),
    "a fixed batch": lambda model: model["config"]["layers"][0]["config"].update(batch_shape=[10**6, 28, 28]),
    "no layers": lambda model: model["config"].update(layers=[]),
    "an input alone": lambda model: model["config"].update(layers=model["config"]["layers"][:1]),
    "a thousand layers": lambda model: model["config"].update(
        layers=model["config"]["layers"] + [layer("Dropout", rate=0.5)] * 1000
    ),
    "layers that are none": lambda model: model["config"].update(layers=[1, "two", None]),
    "an endless reshape": lambda model: model["config"]["layers"].insert(
        1, layer("Reshape", target_shape=[28, 28, 0])
    ),
    "a padding to a huge picture": lambda model: model["config"]["layers"].insert(
        1, layer("ZeroPadding2D", padding=[[10**6, 0], [0, 0]])
    ),
    "no single row of outputs": lambda model: model["config"]["layers"].pop(1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_on_the_list_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="outside what this worker loads"):
        inspect_config(changed(REFUSED[name]))


def test_every_refusal_above_is_due_to_its_one_change() -> None:
    inspect_config(changed(lambda model: None))


@pytest.mark.parametrize("value", [None, 3, [], "model", {"config": []}, {"config": {"layers": {}}}])
def test_a_config_that_is_no_model_is_refused(value: object) -> None:
    with pytest.raises(ModelError):
        inspect_config(value)


def test_sizes_that_are_harmless_alone_are_refused_where_their_product_is_not() -> None:
    def widen(model: dict[str, Any]) -> None:
        model["config"]["layers"][1:3] = [
            layer("Reshape", target_shape=[28, 28, 1]),
            *[
                layer("Conv2D", filters=1000, kernel_size=[5, 5], strides=[1, 1], padding="same")
                for _ in range(3)
            ],
            layer("Flatten"),
        ]

    with pytest.raises(ModelError, match="multiply-adds"):
        inspect_config(changed(widen))


def test_a_setting_of_another_version_is_welcome_while_it_is_off() -> None:
    inspect_config(changed(set_dense(something_new=None, another_new=False)))
    with pytest.raises(ModelError, match="something_new"):
        inspect_config(changed(set_dense(something_new=True)))


@pytest.mark.parametrize("extra", ["assets/vocabulary.txt", "../../outside", "config.json"])
def test_an_archive_with_more_than_keras_three_files_is_refused(extra: str) -> None:
    with warnings.catch_warnings(action="ignore"):  # zipfile minds a name that is there twice
        content = archive(perceptron(), **{extra: b"{}"})
    with pytest.raises(ModelError, match="it holds"):
        inspect_archive(content)


@pytest.mark.parametrize("cut", [0, 1, 100, 500, -1, -30])
def test_a_cut_archive_is_refused(cut: int) -> None:
    with pytest.raises(ModelError):
        inspect_archive(archive(perceptron())[:cut])


def test_a_flipped_byte_in_the_weights_is_found_by_the_archive_itself() -> None:
    content = bytearray(archive(perceptron()))
    content[content.index(b"model.weights.h5") + 40] ^= 0xFF
    with pytest.raises(ModelError):
        inspect_archive(bytes(content))


def test_a_config_that_unfolds_to_gigabytes_is_refused_by_its_size() -> None:
    with pytest.raises(ModelError, match="bytes"):
        inspect_archive(archive({"padding": " " * 5_000_000}))


def test_a_deeply_nested_config_is_refused() -> None:
    nested: Any = 0
    for _ in range(900):
        nested = [nested]
    with pytest.raises(ModelError):
        inspect_config(changed(set_dense(kernel_initializer=nested)))


def _external(store: h5py.File) -> None:
    store["link"] = h5py.ExternalLink("elsewhere.h5", "/x")


def _soft(store: h5py.File) -> None:
    store["link"] = h5py.SoftLink("/x")


def _outside(store: h5py.File) -> None:
    store.create_dataset("x", shape=(4,), dtype="u1", external=[("/etc/hostname", 0, 4)])


def _words(store: h5py.File) -> None:
    store["x"] = "words"


def _huge(store: h5py.File) -> None:
    store.create_dataset("x", shape=(10**10,), dtype="u1", chunks=(10**6,), compression="gzip")


@pytest.mark.parametrize("fill", [_external, _soft, _outside, _words, _huge])
def test_weights_that_point_elsewhere_or_unfold_are_refused(fill: Callable[[h5py.File], None]) -> None:
    file = io.BytesIO()
    with h5py.File(file, "w") as store:
        fill(store)
    with pytest.raises(ModelError, match="its weights"):
        inspect_archive(archive(perceptron(), file.getvalue()))


def test_weights_that_are_no_hdf5_are_refused() -> None:
    with pytest.raises(ModelError):
        inspect_archive(archive(perceptron(), b"nothing of the kind"))


def test_a_bare_file_gets_a_card_of_stated_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.keras"
    path.write_bytes(archive(perceptron()))
    card = Bundle.open(path).card
    assert (card.name, card.outputs, card.temperature) == ("mine", "softmax", 1.0)
    assert card.input_shape == (28, 28)
    assert card.self_test is None


def test_a_bare_file_with_sigmoid_outputs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.keras"
    path.write_bytes(
        archive(changed(lambda m: m["config"]["layers"][3]["config"].update(activation="sigmoid")))
    )
    with pytest.raises(ModelError, match="softmax"):
        Bundle.open(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda m: m["config"]["layers"][3]["config"].update(units=11), "11 outputs"),
        (
            lambda m: (
                m["config"]["layers"][0]["config"].update(batch_shape=[None, 32, 32]),
                m["config"].update(build_input_shape=None),
            ),
            "32, 32",
        ),
    ],
)
def test_a_bare_file_of_the_wrong_shape_is_refused(tmp_path: Path, change: Change, word: str) -> None:
    path = tmp_path / "mine.keras"
    path.write_bytes(archive(changed(change)))
    with pytest.raises(ModelError, match=word):
        Bundle.open(path)


def test_a_missing_file_a_fifo_and_an_old_format_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing"):
        Bundle.open(tmp_path / "nowhere.keras")
    os.mkfifo(tmp_path / "pipe.keras")
    with pytest.raises(ModelError, match="regular file"):
        Bundle.open(tmp_path / "pipe.keras")
    with pytest.raises(ModelError, match="convert"):
        Bundle.open(tmp_path / "old.h5")


def test_a_swapped_model_is_found_by_its_digest(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(archive(perceptron()))
    card = {
        "format_version": 1,
        "name": "x",
        "sha256": "0" * 64,
        "input_shape": [28, 28],
        "outputs": "softmax",
    }
    (tmp_path / "card.json").write_text(json.dumps(card))
    for path in (tmp_path, tmp_path / "model.keras"):
        with pytest.raises(ModelError, match="SHA-256"):
            Bundle.open(path)
