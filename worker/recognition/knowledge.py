"""What goes with a model, and what its classifier says of tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS, Thresholds, calibrate
from worker.recognition.opinions import UNFITTED, Weights
from worker.vision.normalization import NormalizerSettings
from worker.vision.page import TILE_PX

Floats = npt.NDArray[np.float64]
Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


class TileClassifier(Protocol):
    """Turns tiles float32 (n, 28, 28) into logits float32 (n, labels), each row by itself."""

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The logits of `tiles`."""
        ...


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What goes with a model: its normaliser, the temperature of its logits, what is accepted, whose word counts."""

    normalizer: NormalizerSettings
    temperature: float
    thresholds: Thresholds
    weights: Weights = UNFITTED


def probabilities_of(
    tiles: Sequence[npt.NDArray[np.float32]], classifier: TileClassifier, knowledge: Knowledge
) -> Floats:
    """The probabilities (n, labels) of tiles float32 (28, 28), all classified at once."""
    if not tiles:
        return np.zeros((0, DIGITS))
    stacked = np.stack(tiles).reshape(-1, TILE_PX, TILE_PX)
    return calibrate(classifier.logits(stacked), knowledge.temperature)
