"""From strips to frames: the second network of a bundle, which reads a line as a whole, wherever its digits part."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from worker.recognition.bundle import known_inputs, mean_logits
from worker.recognition.engine import Engine, plan_chunks
from worker.recognition.frames import FRAME_LABELS, FRAME_PX, FRAMES_OF_WINDOW, WINDOW_PX, WINDOW_SHAPE

Strip = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

CONTEXT_PX = 32  # at either side of a window: more than a frame depends on
_STRIDE_PX = WINDOW_PX - 2 * CONTEXT_PX


class LineTranscriber(Protocol):
    """Turns strips float32 (32, w) into log-probabilities float64 (w / 2, 11), each strip by itself."""

    def frames(self, strips: Sequence[Strip]) -> list[Floats]:
        """What each frame of each strip shows: the ten digits, or none."""
        ...


@dataclass(frozen=True, slots=True)
class Transcriber:
    """The network behind an engine, for any thread: one is served at a time."""

    engine: Engine
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def frames(self, strips: Sequence[Strip]) -> list[Floats]:
        """Log-probabilities float64 (w / 2, 11) for each strip float32 (32, w) in [0, 1], w even.

        A frame depends on its strip alone, to the last bit, whatever the others are and how many.
        """
        windows = [window for strip in strips for window in _windows(strip)]
        rows = np.empty((len(windows), FRAMES_OF_WINDOW * FRAME_LABELS), np.float32)
        start = 0
        for taken, size in plan_chunks(len(windows), self.engine.sizes):
            chunk = np.zeros((size, *WINDOW_SHAPE), np.float32)
            for place, window in enumerate(windows[start : start + taken]):
                chunk[place, :, : window.shape[1], 0] = window
            with self._turn:
                rows[start : start + taken] = self.engine.run(chunk)[:taken]
            start += taken
        logits = rows.reshape(len(windows), FRAMES_OF_WINDOW, FRAME_LABELS)
        found, first = [], 0
        for strip in strips:
            count = _count(strip.shape[1])
            found.append(_log_softmax(_joined(logits[first : first + count], strip.shape[1])))
            first += count
        return found

    def known_answers(self, count: int) -> npt.NDArray[np.float32]:
        """What the network says of so many known windows: the means of their frames' logits, (count, 11)."""
        size = self.engine.sizes[0]
        known = np.zeros((-(-count // size) * size, *WINDOW_SHAPE), np.float32)
        known[:count] = known_inputs(count, WINDOW_SHAPE)
        outputs = [self.engine.run(known[start : start + size]) for start in range(0, len(known), size)]
        return mean_logits(np.concatenate(outputs)[:count])


def _count(width_px: int) -> int:
    """How many windows a strip needs."""
    return 1 + max(0, -(-(width_px - WINDOW_PX) // _STRIDE_PX))


def _windows(strip: Strip) -> Iterator[Strip]:
    for index in range(_count(strip.shape[1])):
        yield strip[:, index * _STRIDE_PX : index * _STRIDE_PX + WINDOW_PX]


def _joined(logits: npt.NDArray[np.float32], width_px: int) -> npt.NDArray[np.float32]:
    """The frames of a strip out of those of its windows, each from the window in which it is not at the edge."""
    if len(logits) == 1:
        return logits[0, : width_px // FRAME_PX]
    edge, stride = CONTEXT_PX // FRAME_PX, _STRIDE_PX // FRAME_PX
    parts = [
        logits[0, : edge + stride],
        *(each[edge : edge + stride] for each in logits[1:-1]),
        logits[-1, edge:],
    ]
    return np.concatenate(parts)[: width_px // FRAME_PX]


def _log_softmax(logits: npt.NDArray[np.float32]) -> Floats:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
