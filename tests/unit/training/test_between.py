"""Where the weights of a further round end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from worker.training.trainer import between


@dataclass
class Weighted:
    weights: list[np.ndarray]

    def get_weights(self) -> list[np.ndarray]:
        return self.weights


BEFORE, AFTER = Weighted([np.zeros(3), np.full((2, 2), 4.0)]), Weighted([np.ones(3), np.full((2, 2), 2.0)])


@pytest.mark.parametrize("kept", [0.0, 0.3, 1.0])
def test_so_many_parts_of_the_old_weights_are_kept(kept: float) -> None:
    first, second = between(BEFORE, AFTER, kept)
    assert first == pytest.approx(np.full(3, 1 - kept))
    assert second == pytest.approx(np.full((2, 2), 2 + 2 * kept))


def test_without_a_beginning_all_is_new() -> None:
    assert between(None, AFTER, 0.3) == AFTER.weights
