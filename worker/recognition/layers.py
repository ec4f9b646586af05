"""The allow-list of layers: what may be loaded, with which settings, and what it does to shapes.

A `.keras` file is a program in disguise: Keras runs what its config names, and its own safe mode is a
deny-list. Here nothing is loaded whose every layer, setting and size was not on a list first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worker.vision.page import TILE_PX

MAX_ACTIVATIONS = 1_000_000  # numbers that one layer may hand on for one tile

Shape = tuple[int, ...]  # of one tile, without the batch axis
Config = Mapping[str, Any]


class RefusedError(Exception):
    """Something in a model file is outside the allow-list; the message names it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a layer does to shapes, and what it costs."""

    shape: Shape
    parameters: int = 0
    multiply_adds: int = 0


_Rule = Callable[[Config, list[Shape]], Step]


def _size(config: Config, key: str, smallest: int = 1, largest: int = 1 << 20) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
        raise RefusedError(f"{key} is {short(value)}")
    return value


def _pair(config: Config, key: str, largest: int = TILE_PX) -> tuple[int, int]:
    value = config.get(key)
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2:
        raise RefusedError(f"{key} is {short(value)}")
    first, second = (_size({key: each}, key, largest=largest) for each in values)
    return first, second


def _only(shapes: list[Shape], rank: int | None = None) -> Shape:
    if len(shapes) != 1 or (rank is not None and len(shapes[0]) != rank):
        raise RefusedError(f"its input is {short(shapes)}")
    return shapes[0]


def _channels_last(config: Config) -> None:
    if config.get("data_format") not in (None, "channels_last"):
        raise RefusedError("data_format is not channels_last")


def _slide(
    config: Config, shape: Shape, window: tuple[int, int], strides: tuple[int, int]
) -> tuple[int, int]:
    """Height and width after a window has slid over both."""
    dilation = _pair(config, "dilation_rate") if "dilation_rate" in config else (1, 1)
    if config.get("padding") == "same":
        return math.ceil(shape[0] / strides[0]), math.ceil(shape[1] / strides[1])
    if config.get("padding") != "valid":
        raise RefusedError(f"padding is {short(config.get('padding'))}")
    height, width = (
        (side - (each - 1) * wide - 1) // step + 1
        for side, each, wide, step in zip(shape, window, dilation, strides, strict=False)
    )
    return height, width


def _bias(config: Config, units: int) -> int:
    return units if config.get("use_bias", True) else 0


def _dense(config: Config, shapes: list[Shape]) -> Step:
    *outer, inner = _only(shapes)
    units = _size(config, "units")
    return Step((*outer, units), inner * units + _bias(config, units), math.prod(outer) * inner * units)


def _conv(config: Config, shapes: list[Shape]) -> Step:
    _channels_last(config)
    shape = _only(shapes, 3)
    kernel, filters = _pair(config, "kernel_size"), _size(config, "filters")
    groups = _size({"groups": config.get("groups", 1)}, "groups")
    if shape[2] % groups or filters % groups:
        raise RefusedError(f"groups is {groups}")
    height, width = _slide(config, shape, kernel, _pair(config, "strides"))
    weights = math.prod(kernel) * (shape[2] // groups) * filters
    return Step((height, width, filters), weights + _bias(config, filters), height * width * weights)


def _depthwise(config: Config, shapes: list[Shape]) -> Step:
    _channels_last(config)
    shape = _only(shapes, 3)
    kernel = _pair(config, "kernel_size")
    channels = shape[2] * _size(config, "depth_multiplier", largest=64)
    height, width = _slide(config, shape, kernel, _pair(config, "strides"))
    weights = math.prod(kernel) * channels
    return Step((height, width, channels), weights + _bias(config, channels), height * width * weights)


def _separable(config: Config, shapes: list[Shape]) -> Step:
    depthwise = _depthwise({**config, "use_bias": False}, shapes)
    filters = _size(config, "filters")
    height, width, channels = depthwise.shape
    if height * width * channels > MAX_ACTIVATIONS:
        raise RefusedError(f"it goes through {short(depthwise.shape)}")
    weights = channels * filters
    return Step(
        (height, width, filters),
        depthwise.parameters + weights + _bias(config, filters),
        depthwise.multiply_adds + height * width * weights,
    )


def _last_axis(config: Config, shape: Shape) -> None:
    axis = config.get("axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    if axes not in ([-1], [len(shape)]):
        raise RefusedError(f"axis is {short(axis)}, not the last one")


def _norm(vectors_always: int) -> _Rule:
    """Normalisation over channels: so many stored vectors, besides one each for scale and centre."""

    def rule(config: Config, shapes: list[Shape]) -> Step:
        shape = _only(shapes)
        _last_axis(config, shape)
        if "groups" in config and config["groups"] != -1 and shape[-1] % _size(config, "groups"):
            raise RefusedError(f"groups is {config['groups']}")
        vectors = vectors_always + bool(config.get("scale", True)) + bool(config.get("center", True))
        return Step(shape, vectors * shape[-1])

    return rule


def _prelu(config: Config, shapes: list[Shape]) -> Step:
    shape = _only(shapes)
    shared = config.get("shared_axes") or []
    if any(axis not in range(1, len(shape) + 1) for axis in shared):
        raise RefusedError(f"shared_axes is {short(shared)}")
    return Step(shape, math.prod(1 if axis in shared else n for axis, n in enumerate(shape, start=1)))


def _same(config: Config, shapes: list[Shape]) -> Step:
    return Step(_only(shapes))


def _softmax(config: Config, shapes: list[Shape]) -> Step:
    shape = _only(shapes)
    _last_axis(config, shape)
    return Step(shape)


def _merge(config: Config, shapes: list[Shape]) -> Step:
    if len({len(shape) for shape in shapes}) != 1 or len(shapes) < 2:
        raise RefusedError(f"its inputs are {short(shapes)}")
    try:
        return Step(np.broadcast_shapes(*shapes))
    except ValueError as error:
        raise RefusedError(f"its inputs are {short(shapes)}") from error


def _concatenate(config: Config, shapes: list[Shape]) -> Step:
    rank = len(shapes[0]) if shapes else 0
    axis = _size(config, "axis", smallest=-rank, largest=rank)
    at = axis - 1 if axis > 0 else axis + rank
    around = {(*shape[:at], *shape[at + 1 :]) for shape in shapes if len(shape) == rank}
    if axis == 0 or len(shapes) < 2 or len(around) != 1 or any(len(shape) != rank for shape in shapes):
        raise RefusedError(f"its inputs are {short(shapes)}")
    return Step((*shapes[0][:at], sum(shape[at] for shape in shapes), *shapes[0][at + 1 :]))


def _flatten(config: Config, shapes: list[Shape]) -> Step:
    _channels_last(config)
    return Step((math.prod(_only(shapes)),))


def _reshape(config: Config, shapes: list[Shape]) -> Step:
    total, target = math.prod(_only(shapes)), config.get("target_shape")
    if not isinstance(target, list) or not 1 <= len(target) <= 4 or target.count(-1) > 1:
        raise RefusedError(f"target_shape is {short(target)}")
    known = math.prod(_size({"target_shape": n}, "target_shape") for n in target if n != -1)
    shape = tuple(total // known if n == -1 else int(n) for n in target)
    if math.prod(shape) != total:
        raise RefusedError(f"target_shape is {short(target)} for {total} numbers")
    return Step(shape)


def _pool(config: Config, shapes: list[Shape]) -> Step:
    _channels_last(config)
    shape, window = _only(shapes, 3), _pair(config, "pool_size")
    strides = _pair(config, "strides") if config.get("strides") is not None else window
    return Step((*_slide(config, shape, window, strides), shape[2]))


def _pool_whole(config: Config, shapes: list[Shape]) -> Step:
    _channels_last(config)
    channels = _only(shapes, 3)[2]
    return Step((1, 1, channels) if config.get("keepdims") else (channels,))


def _pad(config: Config, shapes: list[Shape]) -> Step:
    _channels_last(config)
    shape, padding = _only(shapes, 3), config.get("padding")
    sides = padding if isinstance(padding, list) else [padding, padding]
    pairs = [side if isinstance(side, list) else [side, side] for side in sides]
    if [len(pair) for pair in pairs] != [2, 2]:
        raise RefusedError(f"padding is {short(padding)}")
    extra = [sum(_size({"padding": n}, "padding", 0, TILE_PX) for n in pair) for pair in pairs]
    return Step((shape[0] + extra[0], shape[1] + extra[1], shape[2]))


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


def short(value: object) -> str:
    """A value as a message shows it, 60 characters at most."""
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
        raise RefusedError(f"{short(value)} is not built in")


def _check_dtype(value: object) -> None:
    if isinstance(value, dict):
        _check_part(value, "keras", frozenset({"DTypePolicy"}))
        value = value["config"].get("name")
    if value not in (None, "float32"):
        raise RefusedError(f"its dtype is {short(value)}, not float32")


def check_settings(config: Config, allowed: frozenset[str]) -> None:
    """Refuse a setting that is not listed and not off, and any value that is more than a plain one."""
    for key, value in config.items():
        suffix = next((each for each in _PARTS if key.endswith(each)), None)
        if key == "dtype":
            _check_dtype(value)
        elif key not in allowed | _ANY:
            if value is not None and value is not False:
                raise RefusedError(f"it has a setting {short(key)}")
        elif suffix:
            _check_part(value, *_PARTS[suffix])
        elif key == "activation" and value is not None and value not in _ACTIVATIONS:
            raise RefusedError(f"its activation is {short(value)}")
        elif not _is_plain(value):
            raise RefusedError(f"{key} is {short(value)}")


def as_shape(value: object) -> Shape:
    """A stored shape (batch first) without its batch axis; the batch axis must be open."""
    if not isinstance(value, list) or not 2 <= len(value) <= 5 or value[0] is not None:
        raise RefusedError(f"a shape is {short(value)}; the batch axis must be open")
    return tuple(_size({"shape": n}, "shape") for n in value[1:])


def check_build(layer: Config, shapes: list[Shape]) -> None:
    """Refuse a build_config that says anything but the true shapes of the inputs."""
    # Keras makes a layer's weights by this shape before any tensor reaches it: it must be the true one.
    build = layer.get("build_config") or {}
    stored = build.get("input_shape")
    if not set(build) <= {"input_shape"}:
        raise RefusedError(f"its build_config is {short(build)}")
    if stored is not None:
        several = isinstance(stored, list) and bool(stored) and isinstance(stored[0], list)
        if [as_shape(each) for each in (stored if several else [stored])] != shapes:
            raise RefusedError(f"its build_config is {short(build)}, its input {short(shapes)}")


def layer_config(layer: object) -> tuple[str, Config]:
    """Class and settings of one entry of `layers`, when both are what a built-in layer has."""
    if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
        raise RefusedError(f"{short(layer)} is not a layer")
    kind, config = layer.get("class_name"), layer["config"]
    if kind == "InputLayer":
        allowed = frozenset({"batch_shape", "batch_input_shape", "sparse", "ragged", "optional"})
    elif isinstance(kind, str) and kind in _LAYERS:
        allowed = _LAYERS[kind][0]
    else:
        raise RefusedError(f"the layer {short(kind)} is not on the list")
    if layer.get("module") != "keras.layers" or layer.get("registered_name") not in (None, kind):
        raise RefusedError(f"the layer {kind} is not Keras' own")
    try:
        check_settings(config, allowed)
    except RefusedError as refused:
        raise RefusedError(f"in {kind} {short(config.get('name'))} {refused}") from refused
    return kind, config


def apply_layer(layer: Config, shapes: list[Shape]) -> Step:
    """What a layer makes of inputs of these shapes; RefusedError where it is outside the list."""
    kind, config = layer_config(layer)
    try:
        step = _LAYERS[kind][1](config, shapes)
        check_build(layer, shapes)
    except RefusedError as refused:
        raise RefusedError(f"in {kind} {short(config.get('name'))} {refused}") from refused
    if not all(side >= 1 for side in step.shape) or math.prod(step.shape) > MAX_ACTIVATIONS:
        raise RefusedError(f"{kind} {short(config.get('name'))} hands on {short(step.shape)}")
    return step
