"""A straight stroke is told by its moments: how it leans, how long and how thick it is, and what lies beside it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from worker.vision.moments import straight_bar


def _drawn(lean_deg: float, length: int = 100, thick: int = 6) -> np.ndarray:
    page = np.zeros((200, 200), np.uint8)
    half = np.array([math.sin(math.radians(lean_deg)), -math.cos(math.radians(lean_deg))]) * length / 2
    first, last = (np.rint(100 + sign * half).astype(int).tolist() for sign in (-1, 1))
    cv2.line(page, first, last, 255, thick)
    return page > 0


@pytest.mark.parametrize("lean_deg", [-60.0, -20.0, 0.0, 15.0, 45.0, 80.0])
def test_a_bar_is_measured(lean_deg: float) -> None:
    bar = straight_bar(_drawn(lean_deg))
    assert bar is not None
    assert bar.lean_deg == pytest.approx(lean_deg, abs=1.5)
    assert bar.length == pytest.approx(104, abs=6)
    assert bar.thickness == pytest.approx(6.5, abs=1.5)
    lean = math.radians(lean_deg)
    right = (100 + 30 * math.cos(lean), 100 + 30 * math.sin(lean))
    assert bar.off(*right) == pytest.approx(30, abs=1.5)
    above = (100 + 80 * math.sin(lean), 100 - 80 * math.cos(lean))
    assert bar.beyond(*above) == pytest.approx(80 - bar.length / 2, abs=1.5)
    assert abs(bar.off(*above)) < 2.5


def test_bows_blots_and_bends_are_no_bars() -> None:
    page = np.zeros((200, 200), np.uint8)
    cv2.ellipse(page, (60, 100), (60, 80), 0, -70, 70, 255, 5)
    assert straight_bar(page > 0) is None
    page[:] = 0
    cv2.circle(page, (100, 100), 30, 255, -1)
    assert straight_bar(page > 0) is None
    page[:] = 0
    cv2.polylines(
        page, [np.array([(60, 40), (140, 40), (100, 160)], np.int32)], isClosed=False, color=255, thickness=5
    )
    assert straight_bar(page > 0) is None
    assert straight_bar(np.zeros((5, 5), np.bool_)) is None
