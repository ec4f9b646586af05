"""The LiteRT form of a model, run without TensorFlow: starts in a tenth of a second, in a tenth of the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from worker.errors import ModelError
from worker.recognition.bundle import Network
from worker.recognition.card import Logits, Tiles
from worker.recognition.engine import agreeing_sizes
from worker.recognition.quiet import quiet_stderr

# LiteRT runs one tile as quickly as a sixty-fourth of 64, so that a lone one is not filled up. Two threads
# share a chunk of 16 well; larger chunks only leave the cache.
CHUNK_SIZES = (16, 4, 1)


class LiteRtEngine:
    """The LiteRT form of a network: one interpreter for each number of inputs, never resized again."""

    def __init__(self, network: Network, threads: int, sizes: Sequence[int] = CHUNK_SIZES) -> None:
        content = network.read_litert_form()
        input_shape = network.architecture.input_shape
        interpreter_class = _interpreter_class()
        with quiet_stderr():
            try:
                self._interpreters = {
                    size: _interpreter(interpreter_class, content, (size, *input_shape), threads)
                    for size in sizes
                }
            except (ValueError, RuntimeError) as error:  # what LiteRT raises, whatever is wrong
                raise ModelError(
                    f"LiteRT cannot load the form in {network.path}: {error}."
                    f" Make it anew: digit-worker convert {network.path}"
                ) from error
            self._ends = {
                size: (each.get_input_details()[0]["index"], each.get_output_details()[0]["index"])
                for size, each in self._interpreters.items()
            }
            self.sizes = agreeing_sizes(self.run, sizes, input_shape)

    def run(self, tiles: Tiles) -> Logits:
        """The model's outputs, float32 (size, labels), for float32 (size, *input shape)."""
        interpreter = self._interpreters[len(tiles)]
        before, after = self._ends[len(tiles)]
        interpreter.set_tensor(before, tiles)
        interpreter.invoke()
        outputs: Logits = interpreter.get_tensor(after)
        return outputs


def _interpreter(interpreter_class: Any, content: bytes, shape: tuple[int, ...], threads: int) -> Any:
    interpreter = interpreter_class(model_content=content, num_threads=threads)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], shape, strict=True)
    interpreter.allocate_tensors()
    return interpreter


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ModelError(
            "`engine: litert` needs the package ai-edge-litert, which is not installed."
            " Install it (pip install 'digit-worker[litert]'), or set `engine: tensorflow`."
        ) from error
    return Interpreter
