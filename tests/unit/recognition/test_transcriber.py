"""Strips of any width become frames: windows leave no seam, and a strip's company leaves no trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from worker.recognition.frames import FRAME_LABELS, FRAME_PX, WINDOW_PX
from worker.recognition.transcriber import CONTEXT_PX, Transcriber
from worker.vision.strips import STRIP_PX

Floats = npt.NDArray[np.float32]


class LooksAround:
    """A network whose every frame depends on all columns nearer than the context, and on nothing else."""

    sizes: Sequence[int] = (4, 1)

    def __init__(self) -> None:
        self.runs: list[int] = []

    def run(self, tiles: Floats) -> Floats:
        """Sums over a neighbourhood, another one for each label."""
        self.runs.append(len(tiles))
        columns = tiles[..., 0].astype(np.float64).sum(axis=1)
        reach = CONTEXT_PX - FRAME_PX
        padded = np.pad(columns, ((0, 0), (reach, reach)))
        sums = np.stack([padded[:, i : i + columns.shape[1]] for i in range(2 * reach + 1)], axis=2)
        weights = np.cos(np.arange(2 * reach + 1)[:, None] * np.arange(1, FRAME_LABELS + 1) / 9)
        return (sums @ weights)[:, ::FRAME_PX].reshape(len(tiles), -1).astype(np.float32)


def _strip(width: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).random((STRIP_PX, width), np.float32)


def _whole(strip: Floats) -> npt.NDArray[np.float64]:
    logits = np.asarray(LooksAround().run(strip[None, ..., None]).reshape(-1, FRAME_LABELS), np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


@pytest.mark.parametrize("width", [16, WINDOW_PX - 16, WINDOW_PX, WINDOW_PX + 16, 352, 368, 1024])
def test_windows_of_a_strip_join_without_a_seam(width: int) -> None:
    strip = _strip(width)
    (frames,) = Transcriber(LooksAround()).frames([strip])
    assert frames.shape == (width // FRAME_PX, FRAME_LABELS)
    assert np.allclose(frames, _whole(strip), atol=1e-3)


def test_frames_of_a_strip_do_not_depend_on_its_company() -> None:
    strips = [_strip(width, width) for width in (64, 352, 160, 176)]
    together = Transcriber(LooksAround()).frames(strips)
    for strip, frames in zip(strips, together, strict=True):
        assert np.array_equal(Transcriber(LooksAround()).frames([strip])[0], frames)


def test_frames_are_log_probabilities() -> None:
    (frames,) = Transcriber(LooksAround()).frames([_strip(96)])
    assert np.allclose(np.exp(frames).sum(axis=1), 1)


def test_no_strips_run_nothing() -> None:
    engine = LooksAround()
    assert Transcriber(engine).frames([]) == []
    assert engine.runs == []
