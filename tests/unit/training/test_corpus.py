"""What the corpus is drawn from: the same seed, the same tiles, each labelled by what it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from worker.training import corpus
from worker.training.corpus import FRAGMENT, OTHER, SEVERAL, Corpus, Recipe

NOTHING = Recipe(0, 0, 0, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "BLOCK", 40)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Ten tiles, a bar each, at another height for every digit."""
    tiles = np.zeros((10, 28, 28), np.uint8)
    for label in range(10):
        tiles[label, 4 + 2 * label : 6 + 2 * label, 4:24] = 255
    return tiles, np.arange(10, dtype=np.uint8)


def test_a_seed_gives_the_same_tiles() -> None:
    tiles, labels = Corpus(*digits()).block(3)
    again, labels_again = Corpus(*digits()).block(3)
    other, _ = Corpus(*digits()).block(4)
    assert np.array_equal(tiles, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(tiles, other)
    assert set(labels) <= set(range(13))


@pytest.mark.parametrize(
    ("source", "expected"), [("other", OTHER), ("fragment", FRAGMENT), ("several", SEVERAL)]
)
def test_outliers_are_labelled_by_their_kind(source: str, expected: int) -> None:
    _, labels = Corpus(*digits(), replace(NOTHING, **{source: 1.0})).block(1)
    assert set(labels) == {expected}


def test_digits_keep_their_labels() -> None:
    _, labels = Corpus(*digits(), replace(NOTHING, mnist_warped=0.5, pen_on_page=0.5)).block(1)
    assert set(labels) <= set(range(10))
    assert len(set(labels)) > 5
