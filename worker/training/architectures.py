"""The shapes of models that can be trained here, and what each costs."""

from __future__ import annotations

import json
from typing import Any

from worker.recognition.frames import WINDOW_PX
from worker.recognition.inspection import Architecture, inspect_config
from worker.vision.page import TILE_PX
from worker.vision.strips import STRIP_PX

# What the model that ships may cost; tests hold `digits` to it.
MAX_DIGITS_PARAMETERS = 300_000
MAX_DIGITS_MULTIPLY_ADDS = 10_000_000
MAX_DIGITS_BYTES = 2_000_000


def cost(model: Any) -> Architecture:
    """What a Keras model costs: parameters and multiply-adds for one tile, counted from its config."""
    import keras

    return inspect_config(json.loads(json.dumps(keras.saving.serialize_keras_object(model))))


def mlp(labels: int = 10) -> Any:
    """The tutorials' network, 784-128-128-10 with softmax; for (28, 28), not compiled."""
    import keras

    return keras.Sequential(
        [
            keras.layers.Input((TILE_PX, TILE_PX)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(labels, activation="softmax"),
        ],
        name="mlp",
    )


def mlp_dropout(labels: int = 10) -> Any:
    """Three layers of 128, each followed by dropout 0.5, with softmax; for (28, 28), not compiled."""
    import keras

    layers = [keras.layers.Input((TILE_PX, TILE_PX)), keras.layers.Flatten()]
    for _ in range(3):
        layers += [keras.layers.Dense(128, activation="relu"), keras.layers.Dropout(0.5)]
    return keras.Sequential([*layers, keras.layers.Dense(labels, activation="softmax")], name="mlp_dropout")


def digits(labels: int = 13) -> Any:
    """The network that ships: a small residual CNN that gives logits; for (28, 28, 1), not compiled.

    Full resolution is dear, so it gets sixteen channels and two layers; most of the work is done at
    14 by 14 and 7 by 7 in multiples of sixteen channels, which oneDNN's kernels fill. The last maps
    are flattened, not averaged: where a stroke lies tells digits apart.
    """
    import keras

    inputs = keras.layers.Input((TILE_PX, TILE_PX, 1))
    x = _block(inputs, 16)  # (28, 28, 16)
    x = _block(x, 16)
    x = _block(x, 32, strides=2)  # (14, 14, 32)
    x = _residual(x, 32)
    x = _block(x, 64, strides=2)  # (7, 7, 64)
    x = _block(x, 64)
    x = _block(x, 64, strides=2)  # (4, 4, 64)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    logits = keras.layers.Dense(labels, dtype="float32")(x)  # whatever the layers before compute in
    return keras.Model(inputs, logits, name="digits")


def transcriber(width_px: int | None = WINDOW_PX) -> Any:
    """The network that reads lines: logits of ten digits and of none for each two columns of a strip.

    For (32, `width_px`, 1), not compiled; any width where it is None. Fully convolutional (as Long et al.,
    arXiv 1411.4038): height is folded away in steps, width only once, and three layers along the line see
    about a digit to either side. The outputs are flat: width / 2 rows of 11.
    """
    import keras

    inputs = keras.layers.Input((STRIP_PX, width_px, 1))
    x = _block(inputs, 16)  # (32, w, 16)
    x = _block(x, 32, strides=2)  # (16, w / 2, 32)
    x = _residual(x, 32)
    x = _block(x, 64, strides=(2, 1))  # (8, w / 2, 64)
    x = keras.layers.ReLU()(keras.layers.Add()([x, _convolve(x, 64)]))
    x = _block(x, 80, strides=(2, 1))  # (4, w / 2, 80)
    x = keras.layers.Conv2D(112, (4, 1), use_bias=False)(x)  # (1, w / 2, 112)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    for dilation in (1, 2, 4):
        y = keras.layers.Conv2D(112, (1, 3), dilation_rate=(1, dilation), padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.Add()([x, keras.layers.BatchNormalization()(y)]))
    x = keras.layers.Dropout(0.1)(x)
    logits = keras.layers.Conv2D(11, 1, dtype="float32")(x)
    return keras.Model(inputs, keras.layers.Reshape((-1,), dtype="float32")(logits), name="transcriber")


def _convolve(x: Any, channels: int, strides: int | tuple[int, int] = 1) -> Any:
    import keras

    x = keras.layers.Conv2D(channels, 3, strides=strides, padding="same", use_bias=False)(x)
    return keras.layers.BatchNormalization()(x)


def _block(x: Any, channels: int, strides: int | tuple[int, int] = 1) -> Any:
    import keras

    return keras.layers.ReLU()(_convolve(x, channels, strides))


def _residual(x: Any, channels: int) -> Any:
    """Two convolutions whose result is added to what went in (He et al., arXiv 1512.03385)."""
    import keras

    y = _convolve(_block(x, channels), channels)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))
