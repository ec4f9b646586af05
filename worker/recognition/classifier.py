"""From tiles to logits: the model behind an engine, warm, tested, and the same for a tile in any company.

Its library is imported by `load` alone.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from worker.errors import ModelError
from worker.recognition.bundle import Bundle, Network, to_logits
from worker.recognition.card import Card, Logits, Tiles
from worker.recognition.engine import Engine, agreeing_sizes, plan_chunks
from worker.recognition.quiet import quiet_tensorflow
from worker.recognition.transcriber import Transcriber
from worker.vision.page import TILE_PX

# Tiles go through the engine in chunks of just these sizes, the last one filled up with empty tiles: one
# trace a size and never another. On two cores the CNN that ships takes 2 ms for 4 tiles and 9 ms for 64.
# A tile gets the same bits in every size from 2 up on the machines seen (a lone row takes another path
# through the matrix product); loading makes sure of it and leaves out the sizes that differ.
CHUNK_SIZES = (64, 16, 4)
# Windows of lines are ten times as dear as tiles. On two cores two take 5 ms and eight 11: most pictures hold one line,
# and of a batch of numbers each fills a window.
WINDOWS, LITERT_WINDOWS = (8, 2), (4, 1)

_has_loaded: list[bool] = []  # one entry for each model that was loaded in this process


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model that is loaded and ready, for any thread: one is served at a time."""

    card: Card
    engine: Engine
    transcriber: Transcriber | None = None  # where the bundle has one
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @staticmethod
    def load(
        bundle: Bundle, threads: int = 2, engine: Literal["tensorflow", "litert"] = "tensorflow"
    ) -> Classifier:
        """Load the model of a verified bundle into an engine, with so many threads for its arithmetic.

        `tensorflow` takes seconds: it is imported here. Call it after every fork. Its number of threads is
        fixed by the first load in a process. `litert` needs a bundle with that form. Raises ModelError.
        """
        if engine == "litert":
            from worker.recognition.litert import LiteRtEngine

            small = LiteRtEngine(bundle.network, threads)
            lines = bundle.transcriber and LiteRtEngine(bundle.transcriber, threads, LITERT_WINDOWS)
            return Classifier(bundle.card, small, Transcriber(lines) if lines else None)
        with contextlib.nullcontext() if _has_loaded else _first_load():
            large = _TensorFlowEngine(bundle.network, threads, CHUNK_SIZES)
            whole = bundle.transcriber and _TensorFlowEngine(bundle.transcriber, threads, WINDOWS)
        _has_loaded.append(True)
        return Classifier(bundle.card, large, Transcriber(whole) if whole else None)

    def logits(self, tiles: Tiles) -> Logits:
        """The logits, float32 (n, labels), of tiles, float32 (n, 28, 28) in [0, 1]; n may be 0.

        A row depends on its tile alone, to the last bit, whatever the other tiles are and how many.
        """
        if tiles.ndim != 3 or tiles.shape[1:] != (TILE_PX, TILE_PX):
            raise ValueError(f"tiles have shape {tiles.shape}, not (n, {TILE_PX}, {TILE_PX})")
        found = np.empty((len(tiles), len(self.card.labels)), np.float32)
        start = 0
        for taken, size in plan_chunks(len(tiles), self.engine.sizes):
            chunk = np.zeros((size, *self.card.input_shape), np.float32)
            chunk[:taken] = tiles[start : start + taken].reshape(-1, *self.card.input_shape)
            with self._turn:
                found[start : start + taken] = self.engine.run(chunk)[:taken]
            start += taken
        return to_logits(found, self.card.outputs)

    def warm_up(self) -> None:
        """Run once, so that the first picture does not wait for the trace; ModelError where it gives NaN."""
        answer = self.logits(np.zeros((1, TILE_PX, TILE_PX), np.float32))
        if not np.isfinite(answer).all():
            raise ModelError(f"The model {self.card.name} answers with what is no number. Train it anew.")

    def self_test(self) -> None:
        """Ask what the card knows the answers to (or just warm up); ModelError where one is off."""
        known = self.card.self_test
        if known is None:
            self.warm_up()
        else:
            self._compare(self.logits(known.questions()), known.answers(), known.tolerance)
        part = self.card.transcriber
        if self.transcriber is not None and part is not None:
            answers = np.asarray(part.answers, np.float32)
            self._compare(self.transcriber.known_answers(len(answers)), answers, part.tolerance)

    def _compare(self, found: Logits, answers: Logits, tolerance: float) -> None:
        off = (np.abs(found - answers) / np.maximum(1, np.abs(answers))).max()
        if not off <= tolerance:  # NaN is off, too
            raise ModelError(
                f"The model {self.card.name} does not give the answers it once gave: logits differ"
                f" by {off:.3g}, allowed are {tolerance:g}. Reinstall (make install), or train it anew."
            )


@contextlib.contextmanager
def _first_load() -> Iterator[None]:
    """What holds while TensorFlow is imported: its talk is kept off stderr, and no garbage is collected.

    The import makes half a million objects that stay, and the collector would look through them all again and
    again: a fifth of the start. They are frozen after it, so that no later collection stops the reading to look
    through them once more. A later load is not talkative, and other threads' garbage is not to stay with it.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with quiet_tensorflow():
            yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


class _TensorFlowEngine:
    """A Keras model as TensorFlow functions, each of one shape."""

    def __init__(self, network: Network, threads: int, sizes: Sequence[int]) -> None:
        import keras
        import tensorflow as tf

        if keras.backend.backend() != "tensorflow":
            raise ModelError("Reading needs Keras on TensorFlow. Take KERAS_BACKEND out of the environment.")
        # Refused once TensorFlow has computed something in this process: then the first choice stays.
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        # The model owns the variables that the functions below use, so it is held, too.
        self._model = model = network.load()
        input_shape = network.architecture.input_shape
        function = tf.function(lambda tiles: model(tiles, training=False))
        self._functions = {
            size: function.get_concrete_function(tf.TensorSpec((size, *input_shape), tf.float32))
            for size in sizes
        }
        self._constant = tf.constant
        self.sizes = agreeing_sizes(self.run, sizes, input_shape)

    def run(self, tiles: Tiles) -> Logits:
        outputs: Logits = self._functions[len(tiles)](self._constant(tiles)).numpy()
        return outputs


def classify_all(classifier: Classifier, tiles: Tiles, part_tiles: int = 4096) -> Iterator[Logits]:
    """The logits of a large array of tiles, part by part, so that progress can be shown."""
    for start in range(0, len(tiles), part_tiles):
        yield classifier.logits(tiles[start : start + part_tiles])
