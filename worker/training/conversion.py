"""Model files into bundles, and bundles into bundles that every engine can serve.

`.h5` files and SavedModel folders are rebuilt from layers that may be loaded safely. Converting these runs
what the old file says, with no allow-list before it: convert only files that one trusts. What comes out is
an ordinary bundle, inspected like any other. A `.keras` file or a bundle is inspected before it is loaded.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.errors import ModelError, UsageError
from worker.recognition.bundle import Bundle, add_litert_form, draw_known_tiles, write_bundle
from worker.recognition.card import CARD_FILE, TrainingRun
from worker.recognition.quiet import quiet_tensorflow
from worker.training.datasets import Examples, load_mnist
from worker.vision.page import TILE_PX

PARITY = 1e-5  # by how much an output of the rebuilt model may differ, relative to outputs above 1
PARITY_TILES = 64
HIDDEN_ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "selu", "linear")
LAST_ACTIVATIONS = ("softmax", "linear")

Floats = npt.NDArray[np.float32]


def convert(old: Path, output: Path | None, data: Path | None = None) -> Bundle:
    """Make a bundle of a model file, with a LiteRT form where it can take one; ModelError where it cannot be.

    `old` is a `.keras` file, an `.h5` file or a SavedModel folder that one trusts; or a bundle, which is
    given its LiteRT form where it lies (`output` None) or as a copy of the same name. With `data` (an
    mnist.npz) the new card holds its accuracy on MNIST's test tiles. A SavedModel counts as rebuilt only
    when the outputs agree to 1e-5 on random and drawn tiles.
    """
    if not old.exists():
        raise ModelError(f"{old} is missing. Name an .h5 file or a SavedModel folder.")
    if (old / CARD_FILE).is_file():
        return _complete_bundle(old, output)
    if output is None:
        raise UsageError("Name the new bundle's folder: --output DIR.")
    with quiet_tensorflow():
        import keras  # noqa: F401 - its noise, too
        import tensorflow as tf

        tf.constant(0)
    if (old / "saved_model.pb").is_file():
        model = _rebuild(old)
    elif old.is_file() and old.read_bytes()[:8] == b"\x89HDF\r\n\x1a\n":
        model = _load_h5(old)
    elif old.is_file() and old.suffix == ".keras":
        model = Bundle.open(old).load()
    else:
        raise ModelError(f"{old} is neither a bundle, a .keras or HDF5 file nor a SavedModel folder.")
    metrics = {}
    if data is not None:
        test = load_mnist(data).test
        metrics[f"MNIST test ({len(test):,} tiles)"] = _accuracy(model, test)
    made = TrainingRun(
        command=f"convert {old.name}", preset="converted", data="unknown", epochs=0, duration_s=0
    )
    return write_bundle(output, model, metrics=metrics, training=made, with_litert_form=True)


def _complete_bundle(old: Path, output: Path | None) -> Bundle:
    """The bundle with its LiteRT form; a copy in `output` has the same card and whatever lies beside."""
    if output is None or output.absolute() == old.absolute():
        return add_litert_form(old)
    if output.exists():
        raise UsageError(f"{output} is there already. Name a new folder for the copy of {old}.")
    shutil.copytree(old, output)
    return add_litert_form(output)


def _accuracy(model: Any, test: Examples) -> dict[str, float]:
    inputs = test.tiles().reshape(-1, *model.input_shape[1:])
    found = np.asarray(model.predict(inputs, batch_size=500, verbose=0))[:, :10].argmax(axis=1)
    errors = int((found != test.labels).sum())
    return {"accuracy": 1 - errors / len(test), "errors": float(errors)}


def _load_h5(old: Path) -> Any:
    import keras

    try:
        return keras.saving.load_model(old, compile=False)
    except Exception as error:  # Keras raises whatever its parts raise
        raise ModelError(
            f"Keras cannot load {old}: {error}. Save it as .keras with the version of Keras that made it."
        ) from error


# --- SavedModel -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Original:
    """A loaded SavedModel: what it answers, and the variables that its answer uses, in order of use."""

    input_shape: tuple[int, ...]
    inputs: Floats
    outputs: Floats
    variables: tuple[tuple[str, Floats], ...]


def _rebuild(folder: Path) -> Any:
    """A Keras model that answers as the SavedModel does."""
    original = _read_original(folder)
    closest = np.inf
    for model in _candidates(folder, original):
        answers = np.asarray(model(original.inputs, training=False))
        if answers.shape != original.outputs.shape:
            continue
        off = float((np.abs(answers - original.outputs) / np.maximum(1, np.abs(original.outputs))).max())
        if off <= PARITY:
            return model
        closest = min(closest, off)
    shapes = ", ".join(f"{name} {value.shape}" for name, value in original.variables) or "none"
    raise ModelError(
        f"{folder} could not be rebuilt: "
        + (
            "no known chain of layers fits its variables"
            if np.isinf(closest)
            else f"the outputs differ by {closest:.2g}"
        )
        + f" (variables: {shapes}). Load it where it was made and save it as .keras."
    )


def _read_original(folder: Path) -> _Original:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
        signatures = dict(loaded.signatures)
        function = signatures.get("serving_default") or next(iter(signatures.values()))
        ((name, spec),) = function.structured_input_signature[1].items()
        shape = tuple(int(side) for side in spec.shape[1:])
        inputs = _parity_tiles(shape)
        (outputs,) = function(**{name: tf.constant(inputs)}).values()
    except Exception as error:  # TensorFlow raises whatever its parts raise
        raise ModelError(
            f"{folder} cannot be used: {str(error) or type(error).__name__}. It must be whole, with one"
            " signature that takes tiles of a fixed shape and gives one row of outputs for each."
        ) from error
    variables = tuple((str(each.name).split(":")[0], np.asarray(each)) for each in function.variables)
    return _Original(shape, inputs, np.asarray(outputs), variables)


def _parity_tiles(shape: tuple[int, ...]) -> Floats:
    """Noise and strokes, float32 (n, *shape): both small and saturated answers."""
    if int(np.prod(shape)) != TILE_PX**2:
        raise ValueError(f"it takes inputs of shape {shape}, not tiles of 28 by 28")
    noise = np.random.default_rng(0).random((PARITY_TILES, TILE_PX, TILE_PX))
    tiles = np.concatenate([noise, draw_known_tiles() / 255])
    return tiles.astype(np.float32).reshape(-1, *shape)


def _candidates(folder: Path, original: _Original) -> Iterator[Any]:
    """Models that may be the original: first as Keras noted it, then dense chains that fit."""
    for noted in _noted_configs(folder):
        model = _from_note(noted)
        if model is not None and _fill(model, original.variables):
            yield model
    yield from _dense_chains(original)


def _from_note(noted: Mapping[str, Any]) -> Any | None:
    import keras

    kind = keras.Sequential if noted["class_name"] == "Sequential" else keras.Model
    try:
        return kind.from_config(noted["config"])
    except Exception:  # a note in a dialect that this Keras does not read: the chains may fit
        return None


def _fill(model: Any, variables: tuple[tuple[str, Floats], ...]) -> bool:
    """Give each layer the next variables in order of use; by name where all names of a layer are there."""
    waiting = list(variables)
    for layer in model.layers:
        names = [weight.name for weight in layer.weights]
        group, waiting = waiting[: len(names)], waiting[len(names) :]
        leaves = {name.rsplit("/", 1)[-1]: value for name, value in group}
        values = (
            [leaves[name] for name in names] if set(leaves) == set(names) else [value for _, value in group]
        )
        if [value.shape for value in values] != [tuple(weight.shape) for weight in layer.weights]:
            return False
        layer.set_weights(values)
    return not waiting


def _dense_chains(original: _Original) -> Iterator[Any]:
    """Flatten and dense layers, one for each kernel with its bias, with every likely activation."""
    import keras

    values = [value for _, value in original.variables]
    kernels, biases = values[0::2], values[1::2]
    wanted = TILE_PX**2
    for kernel, bias in itertools.zip_longest(kernels, biases):
        if bias is None or kernel.ndim != 2 or kernel.shape[0] != wanted or bias.shape != kernel.shape[1:]:
            return
        wanted = kernel.shape[1]
    for hidden, last in itertools.product(HIDDEN_ACTIVATIONS, LAST_ACTIVATIONS):
        layers: list[Any] = [keras.layers.Input(original.input_shape)]
        if len(original.input_shape) > 1:
            layers.append(keras.layers.Flatten())
        for place, bias in enumerate(biases, start=1):
            layers.append(keras.layers.Dense(len(bias), activation=last if place == len(biases) else hidden))
        model = keras.Sequential(layers)
        model.set_weights(values)
        yield model


def _noted_configs(folder: Path) -> Iterator[Mapping[str, Any]]:
    """What Keras 2 noted about the model: in keras_metadata.pb, in older files in saved_model.pb."""
    notes = folder / "keras_metadata.pb"
    texts = _notes(notes.read_bytes()) if notes.is_file() else _notes_in_graph(folder / "saved_model.pb")
    for text in texts:
        try:
            noted = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(noted, dict) and noted.get("class_name") in ("Sequential", "Functional", "Model"):
            yield noted


def _notes_in_graph(path: Path) -> list[str]:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    return [
        node.user_object.metadata
        for graph in saved.meta_graphs
        for node in graph.object_graph_def.nodes
        if node.user_object.metadata
    ]


# Protocol-buffer field numbers of Keras 2's SavedMetadata and, inside it, of SavedObject.
_NODES, _METADATA = 1, 5


def _notes(content: bytes) -> list[str]:
    """The metadata strings of keras_metadata.pb; Keras 3 no longer brings the class that reads it."""
    return [
        text.decode("utf-8", "replace")
        for number, node in _fields(content)
        if number == _NODES
        for inner, text in _fields(node)
        if inner == _METADATA
    ]


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of a message's length-delimited fields; whatever is cut off is left out."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        match key & 7:
            case 0:
                _, at = _varint(content, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(content, at)
                yield key >> 3, content[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                return


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content):
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at
