"""Model bundles: `models/NAME` with model.keras and card.json, verified before any of it is run.

Three parts, from the outside in: the card (what is known about a model), the inspection (is this file a
model of a kind that is safe and small enough to load?) and the bundle itself, read and written whole.

Reading a card needs neither TensorFlow nor Keras. A `.keras` file is a program in disguise: Keras runs
what its config names, and its own safe mode is a deny-list. Here nothing is loaded whose every layer,
setting and size was not on a list first.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import hashlib
import io
import json
import math
import os
import platform
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from worker import __version__
from worker.errors import ModelError, UsageError
from worker.vision.page import TILE_PX

MODEL_FILE = "model.keras"
CARD_FILE = "card.json"
FORMAT_VERSION = 1
DIGIT_LABELS = tuple("0123456789")

# Bounds on what is looked at and loaded. The model that ships is a hundredth of each; a stranger's MNIST
# model fits easily; a file made to exhaust the machine does not.
MAX_MODEL_BYTES = 128 << 20
MAX_CARD_BYTES = 4 << 20
MAX_CONFIG_BYTES = 4 << 20
MAX_METADATA_BYTES = 64 << 10
MAX_LAYERS = 500
MAX_PARAMETERS = 10_000_000
MAX_ACTIVATIONS = 1_000_000  # numbers that one layer may hand on for one tile
MAX_MULTIPLY_ADDS = 2_000_000_000  # for one tile
MAX_WEIGHT_NUMBERS = 4 * MAX_PARAMETERS  # a compiled model also stores its optimizer's state
MAX_WEIGHT_NODES = 20_000

SELF_TEST_TILES = 16
# Logits of one model differ by less than 1e-4 between processors and versions; another model's by units.
SELF_TEST_TOLERANCE = 0.01
SMALLEST_PROBABILITY = 1e-30  # softmax outputs are clipped here before their logarithm is taken

Tiles = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]


# --- The card ---------------------------------------------------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ChosenThresholds(_Part):
    """Above which a reading is accepted, and on which data and trade-off the two numbers were chosen.

    `accept` bounds the confidence in the digit, `digit` the probability that the mark is one at all.
    """

    accept: Annotated[float, Field(ge=0, le=1)] = 0.95
    digit: Annotated[float, Field(ge=0, le=1)] = 0.5
    chosen_on: str = "default, not chosen for this model"


class TrainingRun(_Part):
    """How a model came to be; `epochs` may be a fraction where time ran out."""

    command: str
    preset: str
    data: str
    epochs: float
    duration_s: float


class SelfTest(_Part):
    """Known answers: small drawn tiles with the logits that this very model gave for them.

    `tiles` is the base64 of uint8 (n, 28, 28); `logits` holds n rows, one number a label, before the
    temperature; an engine may differ from them by `tolerance`, relative where they are larger than 1.
    """

    tiles: str
    logits: list[list[float]]
    tolerance: Annotated[float, Field(gt=0)] = SELF_TEST_TOLERANCE

    @model_validator(mode="after")
    def _tiles_fit_logits(self) -> SelfTest:
        try:
            size_bytes = len(base64.b64decode(self.tiles, validate=True))
        except binascii.Error as error:
            raise ValueError("tiles are not base64") from error
        if not self.logits or size_bytes != len(self.logits) * TILE_PX**2:
            raise ValueError("tiles and logits differ in number")
        return self

    def questions(self) -> Tiles:
        """The tiles, float32 (n, 28, 28) in [0, 1]."""
        pixels = np.frombuffer(base64.b64decode(self.tiles), dtype=np.uint8)
        return pixels.reshape(-1, TILE_PX, TILE_PX).astype(np.float32) / np.float32(255)

    def answers(self) -> Logits:
        """The logits, float32 (n, labels)."""
        return np.asarray(self.logits, dtype=np.float32)


class Card(_Part):
    """All that is known about one model; card.json is this, as JSON.

    `labels` name the outputs: the ten digits, then classes of marks that are none. `metrics` are keyed
    by the data they were measured on. `self_test` is None for a bare file alone.
    """

    format_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    input_shape: tuple[int, ...]
    labels: tuple[str, ...] = DIGIT_LABELS
    outputs: Literal["logits", "softmax"]
    normaliser: dict[str, bool | int | float | str] = Field(default_factory=dict)
    temperature: Annotated[float, Field(gt=0)] = 1.0
    thresholds: ChosenThresholds = ChosenThresholds()
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)
    seed: int | None = None
    training: TrainingRun | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    self_test: SelfTest | None = None

    @field_validator("labels")
    @classmethod
    def _digits_first(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if labels[:10] != DIGIT_LABELS or len(set(labels)) != len(labels) or not all(labels):
            raise ValueError("labels must be the ten digits, then other names, each once")
        return labels

    @model_validator(mode="after")
    def _answers_fit_labels(self) -> Card:
        if self.self_test and any(len(row) != len(self.labels) for row in self.self_test.logits):
            raise ValueError("each self-test answer needs one logit a label")
        return self


def read_card(folder: Path) -> Card:
    """The card of a bundle's folder, without looking at the model; ModelError where it is unusable."""
    path = folder / CARD_FILE
    content = _read_bounded(path, MAX_CARD_BYTES)
    try:
        version = json.loads(content).get("format_version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a JSON object: {error}. Restore the bundle or train it anew."
        ) from error
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format_version {version!r}; this worker knows {FORMAT_VERSION}."
            " Update the worker, or make the bundle anew with it."
        )
    try:
        return Card.model_validate_json(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors())
        raise ModelError(f"{path} is wrong: {wrong}. Restore the bundle or train it anew.") from error


def write_card(folder: Path, card: Card) -> None:
    """Put a new card into a bundle, whole or not at all: temperature, thresholds and metrics come late."""
    if card.sha256 != hashlib.sha256(_read_bounded(folder / MODEL_FILE, MAX_MODEL_BYTES)).hexdigest():
        raise ModelError(f"The new card is not about {folder / MODEL_FILE}: its digest is another one.")
    staged = folder / f".{CARD_FILE}.{os.getpid()}"
    try:
        _write_synced(staged, _card_bytes(card))
        staged.replace(folder / CARD_FILE)
    finally:
        staged.unlink(missing_ok=True)


# --- The inspection ---------------------------------------------------------------------------------


class _RefusedError(Exception):
    """Something in a model file is outside the allow-list; the message names it."""


Shape = tuple[int, ...]  # of one tile, without the batch axis


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


@dataclass(frozen=True, slots=True)
class _Step:
    """What a layer does to shapes, and what it costs."""

    shape: Shape
    parameters: int = 0
    multiply_adds: int = 0


Config = Mapping[str, Any]
_Rule = Callable[[Config, list[Shape]], _Step]


def _size(config: Config, key: str, smallest: int = 1, largest: int = 1 << 20) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
        raise _RefusedError(f"{key} is {_short(value)}")
    return value


def _pair(config: Config, key: str, largest: int = TILE_PX) -> tuple[int, int]:
    value = config.get(key)
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2:
        raise _RefusedError(f"{key} is {_short(value)}")
    first, second = (_size({key: each}, key, largest=largest) for each in values)
    return first, second


def _only(shapes: list[Shape], rank: int | None = None) -> Shape:
    if len(shapes) != 1 or (rank is not None and len(shapes[0]) != rank):
        raise _RefusedError(f"its input is {_short(shapes)}")
    return shapes[0]


def _channels_last(config: Config) -> None:
    if config.get("data_format") not in (None, "channels_last"):
        raise _RefusedError("data_format is not channels_last")


def _slide(
    config: Config, shape: Shape, window: tuple[int, int], strides: tuple[int, int]
) -> tuple[int, int]:
    """Height and width after a window has slid over both."""
    dilation = _pair(config, "dilation_rate") if "dilation_rate" in config else (1, 1)
    if config.get("padding") == "same":
        return math.ceil(shape[0] / strides[0]), math.ceil(shape[1] / strides[1])
    if config.get("padding") != "valid":
        raise _RefusedError(f"padding is {_short(config.get('padding'))}")
    height, width = (
        (side - (each - 1) * wide - 1) // step + 1
        for side, each, wide, step in zip(shape, window, dilation, strides, strict=False)
    )
    return height, width


def _bias(config: Config, units: int) -> int:
    return units if config.get("use_bias", True) else 0


def _dense(config: Config, shapes: list[Shape]) -> _Step:
    *outer, inner = _only(shapes)
    units = _size(config, "units")
    return _Step((*outer, units), inner * units + _bias(config, units), math.prod(outer) * inner * units)


def _conv(config: Config, shapes: list[Shape]) -> _Step:
    _channels_last(config)
    shape = _only(shapes, 3)
    kernel, filters = _pair(config, "kernel_size"), _size(config, "filters")
    groups = _size({"groups": config.get("groups", 1)}, "groups")
    if shape[2] % groups or filters % groups:
        raise _RefusedError(f"groups is {groups}")
    height, width = _slide(config, shape, kernel, _pair(config, "strides"))
    weights = math.prod(kernel) * (shape[2] // groups) * filters
    return _Step((height, width, filters), weights + _bias(config, filters), height * width * weights)


def _depthwise(config: Config, shapes: list[Shape]) -> _Step:
    _channels_last(config)
    shape = _only(shapes, 3)
    kernel = _pair(config, "kernel_size")
    channels = shape[2] * _size(config, "depth_multiplier", largest=64)
    height, width = _slide(config, shape, kernel, _pair(config, "strides"))
    weights = math.prod(kernel) * channels
    return _Step((height, width, channels), weights + _bias(config, channels), height * width * weights)


def _separable(config: Config, shapes: list[Shape]) -> _Step:
    depthwise = _depthwise({**config, "use_bias": False}, shapes)
    filters = _size(config, "filters")
    height, width, channels = depthwise.shape
    if height * width * channels > MAX_ACTIVATIONS:
        raise _RefusedError(f"it goes through {_short(depthwise.shape)}")
    weights = channels * filters
    return _Step(
        (height, width, filters),
        depthwise.parameters + weights + _bias(config, filters),
        depthwise.multiply_adds + height * width * weights,
    )


def _last_axis(config: Config, shape: Shape) -> None:
    axis = config.get("axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    if axes not in ([-1], [len(shape)]):
        raise _RefusedError(f"axis is {_short(axis)}, not the last one")


def _norm(vectors_always: int) -> _Rule:
    """Normalisation over channels: so many stored vectors, besides one each for scale and centre."""

    def rule(config: Config, shapes: list[Shape]) -> _Step:
        shape = _only(shapes)
        _last_axis(config, shape)
        if "groups" in config and config["groups"] != -1 and shape[-1] % _size(config, "groups"):
            raise _RefusedError(f"groups is {config['groups']}")
        vectors = vectors_always + bool(config.get("scale", True)) + bool(config.get("center", True))
        return _Step(shape, vectors * shape[-1])

    return rule


def _prelu(config: Config, shapes: list[Shape]) -> _Step:
    shape = _only(shapes)
    shared = config.get("shared_axes") or []
    if any(axis not in range(1, len(shape) + 1) for axis in shared):
        raise _RefusedError(f"shared_axes is {_short(shared)}")
    return _Step(shape, math.prod(1 if axis in shared else n for axis, n in enumerate(shape, start=1)))


def _same(config: Config, shapes: list[Shape]) -> _Step:
    return _Step(_only(shapes))


def _softmax(config: Config, shapes: list[Shape]) -> _Step:
    shape = _only(shapes)
    _last_axis(config, shape)
    return _Step(shape)


def _merge(config: Config, shapes: list[Shape]) -> _Step:
    if len({len(shape) for shape in shapes}) != 1 or len(shapes) < 2:
        raise _RefusedError(f"its inputs are {_short(shapes)}")
    try:
        return _Step(np.broadcast_shapes(*shapes))
    except ValueError as error:
        raise _RefusedError(f"its inputs are {_short(shapes)}") from error


def _concatenate(config: Config, shapes: list[Shape]) -> _Step:
    rank = len(shapes[0]) if shapes else 0
    axis = _size(config, "axis", smallest=-rank, largest=rank)
    at = axis - 1 if axis > 0 else axis + rank
    around = {(*shape[:at], *shape[at + 1 :]) for shape in shapes if len(shape) == rank}
    if axis == 0 or len(shapes) < 2 or len(around) != 1 or any(len(shape) != rank for shape in shapes):
        raise _RefusedError(f"its inputs are {_short(shapes)}")
    return _Step((*shapes[0][:at], sum(shape[at] for shape in shapes), *shapes[0][at + 1 :]))


def _flatten(config: Config, shapes: list[Shape]) -> _Step:
    _channels_last(config)
    return _Step((math.prod(_only(shapes)),))


def _reshape(config: Config, shapes: list[Shape]) -> _Step:
    total, target = math.prod(_only(shapes)), config.get("target_shape")
    if not isinstance(target, list) or not 1 <= len(target) <= 4 or target.count(-1) > 1:
        raise _RefusedError(f"target_shape is {_short(target)}")
    known = math.prod(_size({"target_shape": n}, "target_shape") for n in target if n != -1)
    shape = tuple(total // known if n == -1 else int(n) for n in target)
    if math.prod(shape) != total:
        raise _RefusedError(f"target_shape is {_short(target)} for {total} numbers")
    return _Step(shape)


def _pool(config: Config, shapes: list[Shape]) -> _Step:
    _channels_last(config)
    shape, window = _only(shapes, 3), _pair(config, "pool_size")
    strides = _pair(config, "strides") if config.get("strides") is not None else window
    return _Step((*_slide(config, shape, window, strides), shape[2]))


def _pool_whole(config: Config, shapes: list[Shape]) -> _Step:
    _channels_last(config)
    channels = _only(shapes, 3)[2]
    return _Step((1, 1, channels) if config.get("keepdims") else (channels,))


def _pad(config: Config, shapes: list[Shape]) -> _Step:
    _channels_last(config)
    shape, padding = _only(shapes, 3), config.get("padding")
    sides = padding if isinstance(padding, list) else [padding, padding]
    pairs = [side if isinstance(side, list) else [side, side] for side in sides]
    if [len(pair) for pair in pairs] != [2, 2]:
        raise _RefusedError(f"padding is {_short(padding)}")
    extra = [sum(_size({"padding": n}, "padding", 0, TILE_PX) for n in pair) for pair in pairs]
    return _Step((shape[0] + extra[0], shape[1] + extra[1], shape[2]))


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ANY = _names("name trainable dtype")
_WEIGHTS = _names(
    "activation use_bias bias_initializer bias_regularizer bias_constraint activity_regularizer"
)
_KERNEL = _names("kernel_initializer kernel_regularizer kernel_constraint")
_DEPTHWISE = _names("depthwise_initializer depthwise_regularizer depthwise_constraint depth_multiplier")
_POINTWISE = _names("pointwise_initializer pointwise_regularizer pointwise_constraint")
_WINDOW = _names("kernel_size strides padding data_format dilation_rate")
_BETA_GAMMA = _names(
    "axis epsilon scale center beta_initializer beta_regularizer beta_constraint"
    " gamma_initializer gamma_regularizer gamma_constraint"
)
_MOVING = _names("momentum moving_mean_initializer moving_variance_initializer renorm_momentum")
_PRELU = _names("alpha_initializer alpha_regularizer alpha_constraint shared_axes")
_POOL = _names("pool_size strides padding data_format")
_POOL_WHOLE = _names("data_format keepdims")

# Every layer that may be loaded: the settings it may carry and what they do to shapes. A setting that is
# not named here is welcome only where it is off (None or False), so that other versions' files load.
_LAYERS: dict[str, tuple[frozenset[str], _Rule]] = {
    "Dense": (_WEIGHTS | _KERNEL | {"units"}, _dense),
    "Conv2D": (_WEIGHTS | _KERNEL | _WINDOW | {"filters", "groups"}, _conv),
    "DepthwiseConv2D": (_WEIGHTS | _DEPTHWISE | _WINDOW, _depthwise),
    "SeparableConv2D": (_WEIGHTS | _DEPTHWISE | _POINTWISE | _WINDOW | {"filters"}, _separable),
    "BatchNormalization": (_BETA_GAMMA | _MOVING, _norm(2)),
    "LayerNormalization": (_BETA_GAMMA, _norm(0)),
    "GroupNormalization": (_BETA_GAMMA | {"groups"}, _norm(0)),
    "ReLU": (_names("max_value negative_slope threshold"), _same),
    "LeakyReLU": (_names("negative_slope"), _same),
    "PReLU": (_PRELU, _prelu),
    "ELU": (_names("alpha"), _same),
    "Activation": (_names("activation"), _same),
    "Softmax": (_names("axis"), _softmax),
    "Rescaling": (_names("scale offset"), _same),
    "Dropout": (_names("rate seed noise_shape"), _same),
    "SpatialDropout2D": (_names("rate seed data_format"), _same),
    "GaussianNoise": (_names("stddev seed"), _same),
    "Add": (_names(""), _merge),
    "Multiply": (_names(""), _merge),
    "Average": (_names(""), _merge),
    "Maximum": (_names(""), _merge),
    "Concatenate": (_names("axis"), _concatenate),
    "Flatten": (_names("data_format"), _flatten),
    "Reshape": (_names("target_shape"), _reshape),
    "MaxPooling2D": (_POOL, _pool),
    "AveragePooling2D": (_POOL, _pool),
    "GlobalAveragePooling2D": (_POOL_WHOLE, _pool_whole),
    "GlobalMaxPooling2D": (_POOL_WHOLE, _pool_whole),
    "ZeroPadding2D": (_names("padding data_format"), _pad),
}
_MODELS = {
    "Functional": {"keras", "keras.models", "keras.src.models.functional"},
    "Sequential": {"keras", "keras.models", "keras.src.models.sequential"},
}
_ACTIVATIONS = _names(
    "celu elu exponential gelu hard_sigmoid hard_silu hard_swish leaky_relu linear log_softmax mish relu"
    " relu6 selu sigmoid silu softmax softplus softsign swish tanh"
)
_INITIALIZERS = _names(
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones Orthogonal"
    " OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros"
)
_PARTS = {
    "_initializer": ("keras.initializers", _INITIALIZERS),
    "_regularizer": ("keras.regularizers", _names("L1 L2 L1L2")),
    "_constraint": ("keras.constraints", _names("MaxNorm MinMaxNorm NonNeg UnitNorm")),
}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= 8 and all(_is_plain(each) and not isinstance(each, dict) for each in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _check_part(value: object, module: str, names: frozenset[str]) -> None:
    """An initializer, regularizer, constraint or dtype policy: built in, with plain settings alone."""
    if value is None:
        return
    config = value.get("config") if isinstance(value, dict) else None
    if (
        not isinstance(value, dict)
        or value.get("module") != module
        or value.get("class_name") not in names
        or value.get("registered_name") not in (None, value.get("class_name"))
        or not isinstance(config, dict)
        or not all(_is_plain(each) for each in config.values())
    ):
        raise _RefusedError(f"{_short(value)} is not built in")


def _check_dtype(value: object) -> None:
    if isinstance(value, dict):
        _check_part(value, "keras", frozenset({"DTypePolicy"}))
        value = value["config"].get("name")
    if value not in (None, "float32"):
        raise _RefusedError(f"its dtype is {_short(value)}, not float32")


def _check_settings(config: Config, allowed: frozenset[str]) -> None:
    """Refuse a setting that is not listed and not off, and any value that is more than a plain one."""
    for key, value in config.items():
        suffix = next((each for each in _PARTS if key.endswith(each)), None)
        if key == "dtype":
            _check_dtype(value)
        elif key not in allowed | _ANY:
            if value is not None and value is not False:
                raise _RefusedError(f"it has a setting {_short(key)}")
        elif suffix:
            _check_part(value, *_PARTS[suffix])
        elif key == "activation" and value is not None and value not in _ACTIVATIONS:
            raise _RefusedError(f"its activation is {_short(value)}")
        elif not _is_plain(value):
            raise _RefusedError(f"{key} is {_short(value)}")


def _as_shape(value: object) -> Shape:
    """A stored shape (batch first) without its batch axis; the batch axis must be open."""
    if not isinstance(value, list) or not 2 <= len(value) <= 5 or value[0] is not None:
        raise _RefusedError(f"a shape is {_short(value)}; the batch axis must be open")
    return tuple(_size({"shape": n}, "shape") for n in value[1:])


def _check_build(layer: Config, shapes: list[Shape]) -> None:
    # Keras makes a layer's weights by this shape before any tensor reaches it: it must be the true one.
    build = layer.get("build_config") or {}
    stored = build.get("input_shape")
    if not set(build) <= {"input_shape"}:
        raise _RefusedError(f"its build_config is {_short(build)}")
    if stored is not None:
        several = isinstance(stored, list) and bool(stored) and isinstance(stored[0], list)
        if [_as_shape(each) for each in (stored if several else [stored])] != shapes:
            raise _RefusedError(f"its build_config is {_short(build)}, its input {_short(shapes)}")


def _layer_config(layer: object) -> tuple[str, Config]:
    """Class and settings of one entry of `layers`, when both are what a built-in layer has."""
    if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
        raise _RefusedError(f"{_short(layer)} is not a layer")
    kind, config = layer.get("class_name"), layer["config"]
    if kind == "InputLayer":
        allowed = frozenset({"batch_shape", "batch_input_shape", "sparse", "ragged", "optional"})
    elif isinstance(kind, str) and kind in _LAYERS:
        allowed = _LAYERS[kind][0]
    else:
        raise _RefusedError(f"the layer {_short(kind)} is not on the list")
    if layer.get("module") != "keras.layers" or layer.get("registered_name") not in (None, kind):
        raise _RefusedError(f"the layer {kind} is not Keras' own")
    try:
        _check_settings(config, allowed)
    except _RefusedError as refused:
        raise _RefusedError(f"in {kind} {_short(config.get('name'))} {refused}") from refused
    return kind, config


def _apply(layer: Config, shapes: list[Shape]) -> _Step:
    kind, config = _layer_config(layer)
    try:
        step = _LAYERS[kind][1](config, shapes)
        _check_build(layer, shapes)
    except _RefusedError as refused:
        raise _RefusedError(f"in {kind} {_short(config.get('name'))} {refused}") from refused
    if not all(side >= 1 for side in step.shape) or math.prod(step.shape) > MAX_ACTIVATIONS:
        raise _RefusedError(f"{kind} {_short(config.get('name'))} hands on {_short(step.shape)}")
    return step


def _input_shape(config: Config) -> Shape:
    return _as_shape(config.get("batch_shape") or config.get("batch_input_shape"))


def _sequential(config: Config, layers: list[Any]) -> tuple[Shape, Iterator[tuple[_Step, Any]]]:
    if layers and _layer_config(layers[0])[0] == "InputLayer":
        first, layers = _input_shape(_layer_config(layers[0])[1]), layers[1:]
    else:
        first = _as_shape(config.get("build_input_shape"))
    if config.get("build_input_shape") is not None and _as_shape(config["build_input_shape"]) != first:
        raise _RefusedError("build_input_shape is not the shape of the input")

    def steps() -> Iterator[tuple[_Step, Any]]:
        shape = first
        for layer in layers:
            step = _apply(layer, [shape])
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
            raise _RefusedError(f"a connection is {_short(value)}")
        yield history[0]
    else:
        raise _RefusedError(f"an argument is {_short(value)}")


def _functional(config: Config, layers: list[Any]) -> tuple[Shape, Iterator[tuple[_Step, Any]]]:
    def end(key: str) -> str:
        ends = config.get(key)
        if isinstance(ends, list) and len(ends) == 1:
            ends = ends[0]
        if not isinstance(ends, list) or ends[1:] != [0, 0] or not isinstance(ends[0], str):
            raise _RefusedError(f"{key} is {_short(ends)}; one input and one output are needed")
        return ends[0]

    first, last = end("input_layers"), end("output_layers")
    inputs = {each.get("name"): each for each in layers if _layer_config(each)[0] == "InputLayer"}
    if set(inputs) != {first} or not layers or layers[-1].get("name") != last:
        raise _RefusedError("one input layer at the start and one output layer at the end are needed")
    input_shape = _input_shape(inputs[first]["config"])

    def steps() -> Iterator[tuple[_Step, Any]]:
        shapes = {first: input_shape}
        for layer in layers:
            if layer is inputs[first]:
                continue
            name, nodes = layer.get("name"), layer.get("inbound_nodes")
            if not isinstance(nodes, list) or len(nodes) != 1 or not isinstance(nodes[0], dict):
                raise _RefusedError(f"the layer {_short(name)} is not used exactly once")
            if any(value not in (None, False) for value in (nodes[0].get("kwargs") or {}).values()):
                raise _RefusedError(f"the layer {_short(name)} is called with settings of its own")
            sources = list(_tensors(nodes[0].get("args")))
            if name in shapes or not set(sources) <= set(shapes):
                raise _RefusedError(f"the layer {_short(name)} is not in order")
            step = _apply(layer, [shapes[source] for source in sources])
            shapes[name] = step.shape
            yield step, layer

    return input_shape, steps()


def _outputs_of(layer: Config) -> Literal["logits", "softmax"] | None:
    kind, config = layer["class_name"], layer["config"]
    activation = "softmax" if kind == "Softmax" else config.get("activation", "linear") or "linear"
    if activation == "softmax":
        return "softmax"
    known_ends = _names("Dense Activation GlobalAveragePooling2D")
    return "logits" if activation in ("linear", "log_softmax") and kind in known_ends else None


def inspect_config(model: object) -> Architecture:
    """What a serialised Keras model (config.json, parsed) is and costs, counted without loading it.

    Raises ModelError for any class, setting or size outside the allow-list. Parameters include the
    running means of batch normalisation; multiply-adds are those of Dense and convolution layers.
    """
    try:
        return _inspect(model)
    except (_RefusedError, RecursionError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"The model is outside what this worker loads: {error}.") from error


def _inspect(model: object) -> Architecture:
    if not isinstance(model, dict) or not isinstance(model.get("config"), dict):
        raise _RefusedError("config.json does not hold a model")
    kind, config = model.get("class_name"), model["config"]
    if model.get("module") not in _MODELS.get(str(kind), ()) or model.get("registered_name") not in (
        None,
        kind,
    ):
        raise _RefusedError(
            f"{_short(kind)} from {_short(model.get('module'))} is neither Sequential nor Functional"
        )
    layers = config.get("layers")
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        raise _RefusedError(f"it needs 1 to {MAX_LAYERS} layers")
    known = {"name", "trainable", "dtype", "layers", "build_input_shape", "input_layers", "output_layers"}
    _check_settings({k: v for k, v in config.items() if k != "layers"}, frozenset(known))
    input_shape, steps = (_sequential if kind == "Sequential" else _functional)(config, layers)
    _check_build(model, [input_shape])
    parameters = multiply_adds = 0
    last: tuple[_Step, Any] | None = None
    for last in steps:
        parameters += last[0].parameters
        multiply_adds += last[0].multiply_adds
        if parameters > MAX_PARAMETERS or multiply_adds > MAX_MULTIPLY_ADDS:
            raise _RefusedError(
                f"more than {MAX_PARAMETERS:,} parameters or {MAX_MULTIPLY_ADDS:,} multiply-adds a tile"
            )
    if last is None or len(last[0].shape) != 1:
        raise _RefusedError("its output is not one row of numbers a tile")
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
    except (_RefusedError, ValueError, RecursionError) as error:
        raise ModelError(f"The model is outside what this worker loads: {error}.") from error
    return architecture


def _unpack(content: bytes) -> tuple[bytes, bytes]:
    """Config and weights out of the zip, which must hold the three files that Keras writes and no other."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        names = [each.filename for each in members]
        if sorted(names) != sorted(_MEMBERS):
            raise _RefusedError(f"it holds {_short(names)}")
        for each in members:
            if each.file_size > _MEMBERS[each.filename] or each.flag_bits & 1:
                raise _RefusedError(f"its {each.filename} has {each.file_size:,} bytes or is encrypted")
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
                    raise _RefusedError(f"its weights hold too many entries or a link ({_short(name)})")
                item = group[name]
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                    continue
                if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
                    raise _RefusedError(f"its weights hold {_short(name)}, which is no array of numbers")
                numbers += int(item.size or 0)
                if item.external or item.is_virtual or numbers > MAX_WEIGHT_NUMBERS:
                    raise _RefusedError("its weights lie in other files or are too many")


# --- The bundle -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model that was read whole, verified and not yet loaded: its card and the bytes that were checked."""

    path: Path
    card: Card
    architecture: Architecture
    content: bytes = field(repr=False)

    @staticmethod
    def open(path: Path) -> Bundle:
        """Read and verify a bundle's folder or a bare `.keras` file; needs no TensorFlow.

        Raises ModelError, with what to do, where it is missing, damaged, swapped, too large, of a shape
        that does not fit tiles, or holds anything outside the allow-list. A bare file gets a card of
        defaults: temperature 1, thresholds and normaliser as they come, outputs by its last layer.
        """
        if path.name == MODEL_FILE and (path.parent / CARD_FILE).is_file():
            path = path.parent  # somebody pointed at the model inside a bundle: its card counts
        if path.suffix in {".h5", ".hdf5"} or (path / "saved_model.pb").exists():
            raise ModelError(
                f"{path} has an old format that cannot be loaded safely."
                f" If you trust it: digit-worker convert {path} --output DIR"
            )
        if path.is_dir():
            card = read_card(path)
            content = _read_bounded(path / MODEL_FILE, MAX_MODEL_BYTES)
            if hashlib.sha256(content).hexdigest() != card.sha256:
                raise ModelError(
                    f"{path / MODEL_FILE} is not the file that {CARD_FILE} describes (its SHA-256 differs):"
                    " it was damaged or swapped. Restore the bundle or train it anew."
                )
            architecture = _inspect_file(path / MODEL_FILE, content)
            _check_fit(path, card, architecture)
            return Bundle(path, card, architecture, content)
        content = _read_bounded(path, MAX_MODEL_BYTES)
        architecture = _inspect_file(path, content)
        if architecture.outputs is None:
            raise ModelError(f"{path} ends in neither softmax nor plain logits. End it in one of them.")
        card = Card(
            name=path.stem,
            sha256=hashlib.sha256(content).hexdigest(),
            input_shape=architecture.input_shape,
            outputs=architecture.outputs,
        )
        _check_fit(path, card, architecture)
        return Bundle(path, card, architecture, content)

    def load(self) -> Any:
        """The Keras model, made from the very bytes that were verified; imports Keras."""
        import keras

        # Keras loads from a path alone. The file of the bundle may be another one by now; this copy, in a
        # folder that only this user may enter, is not.
        with tempfile.TemporaryDirectory(prefix="digit-worker-") as folder:
            copy = Path(folder, MODEL_FILE)
            copy.write_bytes(self.content)
            try:
                model = keras.saving.load_model(copy, compile=False, safe_mode=True)
            except (
                Exception
            ) as error:  # Keras raises whatever its parts raise; all of it means: not this model
                raise ModelError(
                    f"Keras cannot load {self.path}: {_first_line(error)}. Save it anew."
                ) from error
        if model.count_params() != self.architecture.parameters:
            raise ModelError(f"{self.path} became another model when Keras loaded it. Save it anew.")
        return model


def _check_fit(path: Path, card: Card, found: Architecture) -> None:
    """Refuse a model that disagrees with its card or with what a tile is."""
    if found.input_shape not in ((TILE_PX, TILE_PX), (TILE_PX, TILE_PX, 1), (TILE_PX**2,)):
        raise ModelError(
            f"{path} takes inputs of shape {found.input_shape}; a tile is (28, 28), (28, 28, 1) or (784,)."
            " Train a model on such tiles."
        )
    if found.units != len(card.labels):
        raise ModelError(
            f"{path} has {found.units} outputs for {len(card.labels)} labels. A bare file needs the ten"
            " digits; other classes need a bundle whose card names them."
        )
    if card.input_shape != found.input_shape or found.outputs not in (None, card.outputs):
        raise ModelError(f"{path}: {CARD_FILE} describes another model. Restore the bundle.")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _inspect_file(path: Path, content: bytes) -> Architecture:
    try:
        return inspect_archive(content)
    except ModelError as error:
        raise ModelError(f"{path} was not loaded. {error}") from error


def _read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The content of a regular file of at most so many bytes; ModelError otherwise."""
    try:
        # Non-blocking, so that a FIFO in the model's place is refused and not waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"{path} is not a regular file. Name a bundle's folder or a .keras file.")
            content = file.read(limit_bytes + 1)
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing. Check `model` in the configuration, or train one.") from error
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror}. Mend its permissions or its disk."
        ) from error
    if len(content) > limit_bytes:
        raise ModelError(f"{path} is larger than {limit_bytes >> 20} MiB; no digit model needs that.")
    return content


def draw_known_tiles(seed: int = 0) -> npt.NDArray[np.uint8]:
    """Sixteen tiles of curved strokes, uint8 (16, 28, 28): questions whose answers only the model knows."""
    rng = np.random.default_rng(seed)
    along = np.linspace(0, 1, 40)[:, None]
    rows, columns = np.mgrid[0:TILE_PX, 0:TILE_PX]
    tiles = np.zeros((SELF_TEST_TILES, TILE_PX, TILE_PX))
    for tile in tiles:
        for a, b, c in rng.uniform(4, TILE_PX - 4, size=(rng.integers(1, 4), 3, 2)):
            stroke = (
                (1 - along) ** 2 * a + 2 * along * (1 - along) * b + along**2 * c
            )  # quadratic Bézier, (40, 2)
            away = np.hypot(rows[..., None] - stroke[:, 0], columns[..., None] - stroke[:, 1]).min(axis=-1)
            np.maximum(tile, np.clip(2.2 - away, 0, 1), out=tile)
    return np.round(tiles * 255).astype(np.uint8)


def to_logits(outputs: npt.NDArray[np.float32], kind: Literal["logits", "softmax"]) -> Logits:
    """What a model put out, as logits; a softmax gives logits that sum to 1 as exponentials."""
    if kind == "logits":
        return outputs
    return np.log(np.maximum(outputs, np.float32(SMALLEST_PROBABILITY)))


def versions() -> dict[str, str]:
    """The versions a model depends on, for its card; imports Keras."""
    import keras

    backend = keras.backend.backend()
    found = {"worker": __version__, "python": platform.python_version(), "numpy": np.__version__}
    found["keras"] = keras.__version__
    found[backend] = __import__(backend).__version__
    return found


def write_bundle(
    folder: Path,
    model: Any,
    *,
    labels: tuple[str, ...] = DIGIT_LABELS,
    normaliser: Mapping[str, bool | int | float | str] | None = None,
    temperature: float = 1.0,
    thresholds: ChosenThresholds | None = None,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    seed: int | None = None,
    training: TrainingRun | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Make `folder` a bundle of this Keras model, whole or not at all, and return it as it reads back.

    `beside` holds further small files (curves.png). A bundle that was there stays until the new one is
    complete; files in it that no bundle owns are kept. UsageError where `folder` holds something else.
    """
    folder = folder.absolute()
    _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        digest, found = _save(model, staged / MODEL_FILE)
        if found.outputs is None:
            raise ModelError("The model ends in neither softmax nor plain logits. End it in one of them.")
        card = Card(
            name=folder.name,
            sha256=digest,
            input_shape=found.input_shape,
            labels=labels,
            outputs=found.outputs,
            normaliser=dict(normaliser or {}),
            temperature=temperature,
            thresholds=thresholds or ChosenThresholds(),
            metrics={data: dict(figures) for data, figures in (metrics or {}).items()},
            seed=seed,
            training=training,
            versions=versions(),
            self_test=_ask(model, found.input_shape, found.outputs),
        )
        _write_synced(staged / CARD_FILE, _card_bytes(card))
        for name, content in (beside or {}).items():
            _write_synced(staged / name, content)
        Bundle.open(staged)  # what cannot be opened is not published
        staged.chmod(0o755)  # mkdtemp makes folders that only their maker can enter
        _publish(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Bundle.open(folder)


def _card_bytes(card: Card) -> bytes:
    return card.model_dump_json(indent=1).encode() + b"\n"


def _save(model: Any, path: Path) -> tuple[str, Architecture]:
    """Write the model without its optimizer; the file's SHA-256 and what it reads back as."""
    bare = type(model).from_config(
        model.get_config()
    )  # a clone would be compiled again, and cannot always be
    bare.set_weights(model.get_weights())
    bare.save(path)
    content = path.read_bytes()
    _write_synced(path, content)
    return hashlib.sha256(content).hexdigest(), _inspect_file(path, content)


def _ask(model: Any, input_shape: Shape, outputs: Literal["logits", "softmax"]) -> SelfTest:
    """The self-test: what the model answers to known tiles."""
    import keras

    tiles = draw_known_tiles()
    shaped = (tiles.astype(np.float32) / np.float32(255)).reshape(-1, *input_shape)
    answers = keras.ops.convert_to_numpy(model(shaped, training=False)).astype(np.float32)
    return SelfTest(
        tiles=base64.b64encode(tiles.tobytes()).decode(),
        logits=[[round(float(each), 5) for each in row] for row in to_logits(answers, outputs)],
    )


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _refuse_foreign(folder: Path) -> None:
    if (
        folder.exists()
        and not (folder / CARD_FILE).is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise UsageError(f"{folder} holds something that is no model bundle. Name a new or an empty folder.")


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step (renameat2(2)); False where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    swap = getattr(libc, "renameat2", None)
    return swap is not None and not swap(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )


def _publish(staged: Path, folder: Path) -> None:
    """Put the staged folder in the place of `folder`; `staged` then holds what is to be thrown away."""
    if not folder.exists():
        staged.rename(folder)
    else:
        new = {each.name for each in staged.iterdir()}
        if not _exchange(staged, folder):
            aside = staged.with_name(staged.name + ".old")
            folder.rename(aside)
            staged.rename(folder)
            aside.rename(staged)
        for each in list(staged.iterdir()):
            if each.name not in new | {MODEL_FILE, CARD_FILE}:
                each.rename(folder / each.name)
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
