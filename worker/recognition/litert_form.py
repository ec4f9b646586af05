"""Making the LiteRT form of a Keras model, and proving that it answers alike. Needs TensorFlow."""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.errors import ModelError
from worker.recognition.card import LARGEST_DIFFERENCE, Logits, Tiles
from worker.recognition.quiet import quiet_tensorflow

PARITY_TILES = 64


def make_litert_form(model: Any, tiles: Tiles, softmax_over: int | None) -> tuple[bytes, float]:
    """The LiteRT form of this Keras model, and how far its probabilities are off at most.

    It is asked about `tiles`, float32 (n, *input shape), and about noise. Every `softmax_over` of its outputs
    are the logits of one question; None: they are probabilities already. ModelError where it
    cannot be made, or a probability is off by more than `LARGEST_DIFFERENCE`.
    """
    noise = np.random.default_rng(0).random((PARITY_TILES, *tiles.shape[1:])).astype(np.float32)
    asked = np.concatenate([tiles, noise])
    with quiet_tensorflow(hide_gpus=False):
        try:
            content = _converted(model)
            answers = _answers(content, asked)
        except Exception as error:  # TensorFlow raises whatever its parts raise
            raise ModelError(f"LiteRT cannot take over this model: {_first_line(error)}.") from error
        import keras

        expected = keras.ops.convert_to_numpy(model(asked, training=False))
    if softmax_over is not None:
        answers, expected = (_softmax(each.reshape(-1, softmax_over)) for each in (answers, expected))
    off = float(np.abs(answers - expected).max())
    if not off <= LARGEST_DIFFERENCE:  # NaN is off, too
        raise ModelError(
            f"The LiteRT form of this model answers differently: a probability is off by {off:.2g},"
            f" allowed are {LARGEST_DIFFERENCE:g}. Serve this model with `engine: tensorflow`."
        )
    return content, off


def _converted(model: Any) -> bytes:
    """The model as a flatbuffer that takes any number of tiles."""
    import tensorflow as tf

    # By way of a SavedModel: a conversion straight from the functions of a Keras 3 model loses its weights.
    with tempfile.TemporaryDirectory(prefix="digit-worker-") as folder:
        model.export(folder, verbose=False)
        content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content


def _answers(content: bytes, tiles: Tiles) -> Logits:
    """What the form answers, run by the LiteRT that TensorFlow brings along."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it moved to a package of its own
        interpreter = tf.lite.Interpreter(model_content=content)
    before = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(before, tiles.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(before, tiles)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), np.float32)


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
