"""Ruled lines are found, level or askew, and what is written is not taken for one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.cleaning.rulings import LEAST_SIDE_PX, ruled_lines
from worker.vision.ink import Mask


def _written(height: int = 400, width: int = 600) -> Mask:
    solid = np.zeros((height, width), np.uint8)
    for i, digit in enumerate("2743"):
        cv2.putText(solid, digit, (80 + 110 * i, 240), cv2.FONT_HERSHEY_SIMPLEX, 3, 1, 7)
    return solid


def _ruled(slope: float, height: int = 400, width: int = 600) -> Mask:
    lines = np.zeros((height, width), np.uint8)
    for y in (60, 210, 340):
        cv2.line(lines, (0, y), (width - 1, round(y + slope * (width - 1))), 1, 2)
    return lines


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (LEAST_SIDE_PX - 1, 900), (40, 40), (400, 600)])
def test_an_empty_or_tiny_page_has_none(shape: tuple[int, int]) -> None:
    assert ruled_lines(np.zeros(shape, np.uint8)) is None


def test_digits_alone_have_none() -> None:
    assert ruled_lines(_written()) is None


@pytest.mark.parametrize("slope", [-0.05, -0.02, 0.0, 0.02, 0.05])
def test_rulings_go_and_digits_stay(slope: float) -> None:
    written, lines = _written(), _ruled(slope)
    found = ruled_lines(written | lines)
    assert found is not None
    ruling_alone = (lines > 0) & (written == 0)
    assert found[ruling_alone].mean() > 0.85
    writing_alone = (written > 0) & (lines == 0)
    assert found[writing_alone].mean() < 0.05


def test_upright_rulings_are_found_as_level_ones_are() -> None:
    solid = _written() | _ruled(0.0)
    level, upright = ruled_lines(solid), ruled_lines(np.ascontiguousarray(_ruled(0.0).T))
    assert level is not None
    assert upright is not None
    assert upright[_ruled(0.0).T > 0].mean() > 0.85


def test_a_dash_that_does_not_cross_the_page_is_no_ruling() -> None:
    solid = _written()
    cv2.line(solid, (200, 300), (400, 300), 1, 3)
    assert ruled_lines(solid) is None


def test_the_page_is_left_as_it_was() -> None:
    solid = _written() | _ruled(0.02)
    before = solid.copy()
    ruled_lines(solid)
    assert np.array_equal(solid, before)
