"""The inspection of a model file: whether it is of a kind that is safe and small enough to load.

Neither TensorFlow nor Keras is asked: config.json is walked against the allow-list of layers, the archive
and the weights are looked at as data.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from worker.errors import ModelError
from worker.recognition.card import MAX_MODEL_BYTES
from worker.recognition.layers import (
    Config,
    RefusedError,
    Shape,
    Step,
    apply_layer,
    as_shape,
    check_build,
    check_settings,
    layer_config,
    short,
)

# Bounds on what is looked at and loaded. The model that ships is a hundredth of each; a stranger's MNIST
# model fits easily; a file made to exhaust the machine does not.
MAX_CONFIG_BYTES = 4 << 20
MAX_METADATA_BYTES = 64 << 10
MAX_LAYERS = 500
MAX_PARAMETERS = 10_000_000
MAX_MULTIPLY_ADDS = 2_000_000_000  # for one tile
MAX_WEIGHT_NUMBERS = 4 * MAX_PARAMETERS  # a compiled model also stores its optimizer's state
MAX_WEIGHT_NODES = 20_000

_MODELS = {
    "Functional": {"keras", "keras.models", "keras.src.models.functional"},
    "Sequential": {"keras", "keras.models", "keras.src.models.sequential"},
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a model is, found out from its config alone.

    `outputs` is None where the last layer's activation is neither linear nor softmax.
    """

    input_shape: Shape
    units: int
    outputs: Literal["logits", "softmax"] | None
    parameters: int
    multiply_adds: int


def _input_shape(config: Config) -> Shape:
    return as_shape(config.get("batch_shape") or config.get("batch_input_shape"))


def _sequential(config: Config, layers: list[Any]) -> tuple[Shape, Iterator[tuple[Step, Any]]]:
    if layers and layer_config(layers[0])[0] == "InputLayer":
        first, layers = _input_shape(layer_config(layers[0])[1]), layers[1:]
    else:
        first = as_shape(config.get("build_input_shape"))
    if config.get("build_input_shape") is not None and as_shape(config["build_input_shape"]) != first:
        raise RefusedError("build_input_shape is not the shape of the input")

    def steps() -> Iterator[tuple[Step, Any]]:
        shape = first
        for layer in layers:
            step = apply_layer(layer, [shape])
            shape = step.shape
            yield step, layer

    return first, steps()


def _tensors(value: object) -> Iterator[str]:
    """The names of the layers whose outputs an argument list holds."""
    if isinstance(value, list):
        for each in value:
            yield from _tensors(each)
    elif (
        isinstance(value, dict)
        and value.get("class_name") == "__keras_tensor__"
        and set(value) <= {"class_name", "config"}
    ):
        history = value["config"].get("keras_history")
        if not isinstance(history, list) or history[1:] != [0, 0] or not isinstance(history[0], str):
            raise RefusedError(f"a connection is {short(value)}")
        yield history[0]
    else:
        raise RefusedError(f"an argument is {short(value)}")


def _functional(config: Config, layers: list[Any]) -> tuple[Shape, Iterator[tuple[Step, Any]]]:
    def end(key: str) -> str:
        ends = config.get(key)
        if isinstance(ends, list) and len(ends) == 1:
            ends = ends[0]
        if not isinstance(ends, list) or ends[1:] != [0, 0] or not isinstance(ends[0], str):
            raise RefusedError(f"{key} is {short(ends)}; one input and one output are needed")
        return ends[0]

    first, last = end("input_layers"), end("output_layers")
    inputs = {each.get("name"): each for each in layers if layer_config(each)[0] == "InputLayer"}
    if set(inputs) != {first} or not layers or layers[-1].get("name") != last:
        raise RefusedError("one input layer at the start and one output layer at the end are needed")
    input_shape = _input_shape(inputs[first]["config"])

    def steps() -> Iterator[tuple[Step, Any]]:
        shapes = {first: input_shape}
        for layer in layers:
            if layer is inputs[first]:
                continue
            name, nodes = layer.get("name"), layer.get("inbound_nodes")
            if not isinstance(nodes, list) or len(nodes) != 1 or not isinstance(nodes[0], dict):
                raise RefusedError(f"the layer {short(name)} is not used exactly once")
            if any(value not in (None, False) for value in (nodes[0].get("kwargs") or {}).values()):
                raise RefusedError(f"the layer {short(name)} is called with settings of its own")
            sources = list(_tensors(nodes[0].get("args")))
            if name in shapes or not set(sources) <= set(shapes):
                raise RefusedError(f"the layer {short(name)} is not in order")
            step = apply_layer(layer, [shapes[source] for source in sources])
            shapes[name] = step.shape
            yield step, layer

    return input_shape, steps()


def _outputs_of(layer: Config) -> Literal["logits", "softmax"] | None:
    kind, config = layer["class_name"], layer["config"]
    activation = "softmax" if kind == "Softmax" else config.get("activation", "linear") or "linear"
    if activation == "softmax":
        return "softmax"
    known_ends = ("Dense", "Activation", "GlobalAveragePooling2D")
    return "logits" if activation in ("linear", "log_softmax") and kind in known_ends else None


def inspect_config(model: object) -> Architecture:
    """What a serialised Keras model (config.json, parsed) is and costs, counted without loading it.

    Raises ModelError for any class, setting or size outside the allow-list. Parameters include the
    running means of batch normalisation; multiply-adds are those of Dense and convolution layers.
    """
    try:
        return _inspect(model)
    except (RefusedError, RecursionError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"The model is outside what this worker loads: {error}.") from error


def _inspect(model: object) -> Architecture:
    if not isinstance(model, dict) or not isinstance(model.get("config"), dict):
        raise RefusedError("config.json does not hold a model")
    kind, config = model.get("class_name"), model["config"]
    if model.get("module") not in _MODELS.get(str(kind), ()) or model.get("registered_name") not in (
        None,
        kind,
    ):
        raise RefusedError(
            f"{short(kind)} from {short(model.get('module'))} is neither Sequential nor Functional"
        )
    layers = config.get("layers")
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        raise RefusedError(f"it needs 1 to {MAX_LAYERS} layers")
    known = {"name", "trainable", "dtype", "layers", "build_input_shape", "input_layers", "output_layers"}
    check_settings({k: v for k, v in config.items() if k != "layers"}, frozenset(known))
    input_shape, steps = (_sequential if kind == "Sequential" else _functional)(config, layers)
    check_build(model, [input_shape])
    parameters = multiply_adds = 0
    last: tuple[Step, Any] | None = None
    for last in steps:
        parameters += last[0].parameters
        multiply_adds += last[0].multiply_adds
        if parameters > MAX_PARAMETERS or multiply_adds > MAX_MULTIPLY_ADDS:
            raise RefusedError(
                f"more than {MAX_PARAMETERS:,} parameters or {MAX_MULTIPLY_ADDS:,} multiply-adds a tile"
            )
    if last is None or len(last[0].shape) != 1:
        raise RefusedError("its output is not one row of numbers a tile")
    return Architecture(input_shape, last[0].shape[0], _outputs_of(last[1]), parameters, multiply_adds)


_MEMBERS = {
    "metadata.json": MAX_METADATA_BYTES,
    "config.json": MAX_CONFIG_BYTES,
    "model.weights.h5": MAX_MODEL_BYTES,
}


def inspect_archive(content: bytes) -> Architecture:
    """What the model in the bytes of a `.keras` file is; ModelError unless all of it may be loaded."""
    try:
        config, weights = _unpack(content)
        architecture = inspect_config(json.loads(config))
        _inspect_weights(weights)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
    ) as error:
        raise ModelError(f"It is no whole .keras file ({error}). Copy it again, or save it anew.") from error
    except (RefusedError, ValueError, RecursionError) as error:
        raise ModelError(f"The model is outside what this worker loads: {error}.") from error
    return architecture


def _unpack(content: bytes) -> tuple[bytes, bytes]:
    """Config and weights out of the zip, which must hold the three files that Keras writes and no other."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        names = [each.filename for each in members]
        if sorted(names) != sorted(_MEMBERS):
            raise RefusedError(f"it holds {short(names)}")
        for each in members:
            if each.file_size > _MEMBERS[each.filename] or each.flag_bits & 1:
                raise RefusedError(f"its {each.filename} has {each.file_size:,} bytes or is encrypted")
        return archive.read("config.json"), archive.read("model.weights.h5")


def _inspect_weights(content: bytes) -> None:
    """Refuse weights that point outside their file or unfold into more numbers than a model may have."""
    import h5py  # type: ignore[import-untyped]

    seen = numbers = 0
    with h5py.File(io.BytesIO(content), "r") as file:
        waiting: list[Any] = [file]
        while waiting:
            group = waiting.pop()
            for name in group:
                seen += 1
                if seen > MAX_WEIGHT_NODES or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise RefusedError(f"its weights hold too many entries or a link ({short(name)})")
                item = group[name]
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                    continue
                if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
                    raise RefusedError(f"its weights hold {short(name)}, which is no array of numbers")
                numbers += int(item.size or 0)
                if item.external or item.is_virtual or numbers > MAX_WEIGHT_NUMBERS:
                    raise RefusedError("its weights lie in other files or are too many")
