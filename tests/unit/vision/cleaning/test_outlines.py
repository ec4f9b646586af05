"""Digits drawn as outlines are filled; digits, frames and shapes drawn with one stroke stay as they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.training.pen import draw_strokes, render, sample_style
from worker.vision.cleaning.outlines import with_filled_outlines
from worker.vision.ink import Float, find_ink
from worker.vision.normalization import NormalizerSettings
from worker.vision.page import Grey, Page
from worker.vision.pieces import Findings
from worker.vision.segmentation import find_marks
from worker.vision.sheet import sheet_of


def _solid(digit: str) -> Grey:
    grey = np.full((240, 200), 235, np.uint8)
    cv2.putText(grey, digit, (50, 180), cv2.FONT_HERSHEY_SIMPLEX, 5, 40, 17, cv2.LINE_AA)
    return grey


def _outlined(digit: str) -> Grey:
    dark = (_solid(digit) < 128).astype(np.uint8)
    line = cv2.dilate(dark, np.ones((3, 3), np.uint8)) - cv2.erode(dark, np.ones((3, 3), np.uint8))
    return np.where(line > 0, 40, 235).astype(np.uint8)


def _filled_ink(grey: Grey) -> Float | None:
    found = Findings.of(find_ink(Page(grey)))
    filled = with_filled_outlines(found)
    return None if filled is found else filled.ink_map.ink


@pytest.mark.parametrize("digit", "23456789")
def test_an_outlined_digit_is_seen_as_the_digit_that_it_outlines(digit: str) -> None:
    settings = NormalizerSettings()
    (solid,) = sheet_of(Page(_solid(digit)), settings).tiles
    (outlined,) = sheet_of(Page(_outlined(digit)), settings).tiles
    assert np.abs(solid.pixels - outlined.pixels).mean() < 0.1


def _with_eye(digit: str, radius_px: int) -> tuple[Grey, tuple[int, int]]:
    """An outlined 6 or 9 whose eye is a blot so large, and where its middle is."""
    grey = _outlined(digit)
    _, labels, stats, middles = cv2.connectedComponentsWithStats((grey < 128).astype(np.uint8))
    eye = 1 + int(np.argmin(stats[1:, cv2.CC_STAT_HEIGHT]))
    grey[labels == eye] = 235
    x, y = (round(place) for place in middles[eye])
    cv2.circle(grey, (x, y), radius_px, 40, -1, cv2.LINE_AA)
    return grey, (x, y)


@pytest.mark.parametrize("digit", "69")
@pytest.mark.parametrize("radius_px", [3, 5])
def test_an_eye_whose_outline_ran_together_is_an_eye_still(digit: str, radius_px: int) -> None:
    grey, (x, y) = _with_eye(digit, radius_px)
    ink = _filled_ink(grey)
    assert ink is not None
    assert ink[y, x] == 0
    body = (_solid(digit) < 128) & ~(cv2.dilate((grey < 128).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0)
    assert ink[body].min() > 0
    assert len(sheet_of(Page(grey), NormalizerSettings()).tiles) == 1


@pytest.mark.parametrize("sign", ["1", "x"])
def test_what_is_long_or_has_bays_is_no_eye(sign: str) -> None:
    grey, (x, y) = _with_eye("6", 1)
    if sign == "1":
        cv2.line(grey, (x, y - 17), (x, y + 17), 40, 4, cv2.LINE_AA)
    else:
        for way in (-1, 1):
            cv2.line(grey, (x - 4, y - 4 * way), (x + 4, y + 4 * way), 40, 1, cv2.LINE_AA)
    assert _filled_ink(grey) is None


@pytest.mark.parametrize("digit", "0123456789")
def test_a_digit_in_one_stroke_stays_as_it_is(digit: str) -> None:
    assert _filled_ink(_solid(digit)) is None


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("pen_px", [2.5, 6.0, 12.0])
def test_written_digits_stay_as_they_are(digit: int, pen_px: float) -> None:
    rng = np.random.default_rng([digit, round(10 * pen_px)])
    for _ in range(12):
        cover = np.pad(render(draw_strokes(digit, rng, style=sample_style(rng)), 110.0, pen_px), 12)
        assert _filled_ink(np.asarray(235 - 190 * cover, np.uint8)) is None


@pytest.mark.parametrize("thickness", [2, 4])
def test_a_frame_that_its_digit_touches_is_no_outline(thickness: int) -> None:
    grey = np.full((240, 220), 235, np.uint8)
    cv2.rectangle(grey, (30, 30), (190, 210), 40, thickness, cv2.LINE_AA)
    cv2.putText(grey, "5", (70, 208), cv2.FONT_HERSHEY_SIMPLEX, 5, 40, 8, cv2.LINE_AA)
    assert _filled_ink(grey) is None


def test_a_nought_with_a_dot_in_it_and_one_nought_in_another_stay() -> None:
    grey = np.full((240, 200), 235, np.uint8)
    cv2.ellipse(grey, (100, 120), (50, 80), 0, 0, 360, 40, 5, cv2.LINE_AA)
    cv2.circle(grey, (100, 120), 8, 40, -1)
    assert _filled_ink(grey) is None
    cv2.ellipse(grey, (100, 120), (25, 45), 0, 0, 360, 40, 5, cv2.LINE_AA)
    assert _filled_ink(grey) is None


def test_a_digit_in_a_drawn_shape_stays() -> None:
    grey = np.full((400, 400), 235, np.uint8)
    sides = np.array([[200, 20], [250, 200], [380, 370], [200, 340], [20, 370], [150, 200]])
    cv2.polylines(grey, [sides], isClosed=True, color=40, thickness=4, lineType=cv2.LINE_AA)
    cv2.putText(grey, "6", (170, 300), cv2.FONT_HERSHEY_SIMPLEX, 3, 40, 5, cv2.LINE_AA)
    assert _filled_ink(grey) is None


def test_noughts_side_by_side_are_two_marks_still() -> None:
    grey = np.full((200, 300), 235, np.uint8)
    for x in (90, 200):
        cv2.ellipse(grey, (x, 100), (40, 60), 0, 0, 360, 40, 5, cv2.LINE_AA)
    assert _filled_ink(grey) is None
    assert len(find_marks(Page(grey))) == 2


def test_an_8_in_one_loop_that_never_crosses_stays() -> None:
    grey = np.full((150, 100), 240, np.uint8)
    t = np.linspace(0, 2 * np.pi, 200)
    x = 50 + 22 * np.cos(t) * (1 - 0.6 * np.exp(-((np.sin(t) / 0.5) ** 2)))
    loop = np.stack([x, 75 + 50 * np.sin(t)], 1).astype(np.int32)
    cv2.polylines(grey, [loop], isClosed=True, color=30, thickness=3, lineType=cv2.LINE_AA)
    assert _filled_ink(grey) is None


def test_an_8_in_a_star_is_not_its_eye() -> None:
    grey = np.full((400, 400), 235, np.uint8)
    turns = np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, 90, 185)
    star = np.stack([200 + radii * np.sin(turns), 200 - radii * np.cos(turns)], 1).astype(np.int32)
    cv2.polylines(grey, [star], isClosed=True, color=40, thickness=4, lineType=cv2.LINE_AA)
    for y in (180, 222):
        cv2.ellipse(grey, (200, y), (18, 21), 0, 0, 360, 40, 4, cv2.LINE_AA)
    assert _filled_ink(grey) is None
