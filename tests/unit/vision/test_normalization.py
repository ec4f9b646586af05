"""A tile is what MNIST would have held."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from worker.vision.normalization import NormalizerSettings, normalize

Float = npt.NDArray[np.float32]


def _mnist_like() -> Float:
    """A drawn digit in the form of an MNIST tile: 20 px high, centre of mass at 14, maximum 1."""
    large = np.zeros((200, 200), np.uint8)
    cv2.ellipse(large, (110, 70), (50, 55), 0, 0, 360, 255, 18)
    cv2.line(large, (155, 80), (120, 195), 255, 18)
    rows, columns = np.flatnonzero(large.any(axis=1)), np.flatnonzero(large.any(axis=0))
    tight = large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32) / np.float32(255)
    return normalize(tight)


def test_an_mnist_tile_comes_back_unchanged() -> None:
    tile = _mnist_like()
    np.testing.assert_allclose(normalize(tile), tile, atol=1e-6)


@pytest.mark.parametrize("shift", [(0, 0), (3, 7), (40, 1)])
def test_moving_the_ink_by_whole_pixels_changes_nothing(shift: tuple[int, int]) -> None:
    page = np.zeros((80, 80), np.float32)
    page[shift[0] : shift[0] + 28, shift[1] : shift[1] + 28] = _mnist_like()
    np.testing.assert_allclose(normalize(page), _mnist_like(), atol=1e-6)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 60), st.integers(1, 60)), elements=st.floats(0, 1, width=16))
)
@settings(max_examples=60, deadline=None)
def test_any_ink_gives_a_tile_within_its_bounds(ink: Float) -> None:
    tile = normalize(ink)
    assert tile.shape == (28, 28)
    assert tile.dtype == np.float32
    assert 0 <= tile.min() <= tile.max() <= 1.0 + 1e-6
    assert bool(tile.any()) == bool(ink.any())


@given(st.integers(8, 90), st.integers(8, 90))
@settings(max_examples=40, deadline=None)
def test_the_digit_field_is_twenty_pixels_and_its_mass_in_the_middle(height: int, width: int) -> None:
    ink = np.ones((height, width), np.float32)
    tile = normalize(ink)
    rows, columns = np.flatnonzero(tile.any(axis=1)), np.flatnonzero(tile.any(axis=0))
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 == 20
    for axis in (0, 1):
        centre = float(tile.sum(axis=1 - axis) @ np.arange(28)) / float(tile.sum())
        assert abs(centre - 14) <= 0.5 + 1e-4


def test_no_ink_is_an_empty_tile() -> None:
    assert not normalize(np.zeros((5, 9), np.float32)).any()


def test_another_field_size_is_a_setting_of_the_model() -> None:
    tile = normalize(np.ones((50, 50), np.float32), NormalizerSettings(digit_px=24))
    assert int(tile.any(axis=0).sum()) == 24
