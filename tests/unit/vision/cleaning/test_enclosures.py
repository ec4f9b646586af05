"""A ring around a digit is told from the digit, and from the nought that a ring may be."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from worker.training.pen import draw_strokes, render, sample_style
from worker.vision.cleaning.rings import signs_in_ring
from worker.vision.page import Grey, Page
from worker.vision.segmentation import find_marks, find_writing

HEIGHT = 60


def _paper() -> Grey:
    return np.full((200, 200), 235, np.uint8)


def _ring(
    page: Grey, radii: tuple[float, float], *, pen_px: int = 3, gap_deg: float = 0.0, lower_px: int = 0
) -> Grey:
    axes = (round(radii[0]), round(radii[1]))
    cv2.ellipse(page, (100, 100 + lower_px), axes, 0, 30 + gap_deg, 390, 40, pen_px, cv2.LINE_AA)
    return page


def _digit(page: Grey, digit: int, rng: np.random.Generator) -> Grey:
    """One of the pen's own digits in the middle of the page."""
    cover = render(draw_strokes(digit, rng, style=sample_style(rng)), float(HEIGHT), 4.0)
    height, width = cover.shape
    top, left = 100 - height // 2, 100 - width // 2
    window = page[top : top + height, left : left + width]
    window[:] = np.minimum(window, 235 - 195 * cover)
    return page


def _stroke(page: Grey, height_px: float, lean: float, pen_px: int = 3) -> Grey:
    """A straight stroke in the middle of the page; `lean` is its width by its height."""
    dx, dy = round(lean * height_px / 2), round(height_px / 2)
    cv2.line(page, (100 - dx, 100 + dy), (100 + dx, 100 - dy), 40, pen_px, cv2.LINE_AA)
    return page


@pytest.mark.parametrize("digit", [2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize(("pen_px", "gap_deg"), [(2, 0.0), (3, 45.0), (7, 0.0)])
def test_a_ring_that_is_drawn_closely_around_a_digit_goes(digit: int, pen_px: int, gap_deg: float) -> None:
    rng = np.random.default_rng(digit)
    for _ in range(4):
        page = _digit(_paper(), digit, rng)
        own = [mark.box for mark in find_marks(Page(page.copy()))]
        reach = max(math.hypot(box.width, box.height) / 2 for box in own)
        ringed = _ring(page, (reach + 12, reach + 12), pen_px=pen_px, gap_deg=gap_deg)
        assert [mark.box for mark in find_marks(Page(ringed))] == own


@pytest.mark.parametrize("height_px", [30, 44])
@pytest.mark.parametrize(("radii", "lean"), [((24, 36), 0.6), ((22, 36), 0.8), ((35, 36), 0.9)])
def test_the_slash_in_a_nought_leaves_it_a_nought(
    radii: tuple[float, float], lean: float, height_px: int
) -> None:
    page = _stroke(_ring(_paper(), radii), height_px, lean)
    (mark,) = find_marks(Page(page))
    assert mark.box.height >= 2 * radii[1]


@pytest.mark.parametrize("height_px", [30, 44])
@pytest.mark.parametrize("lean", [0.0, 0.25])
def test_a_one_in_a_ring_is_no_slash(lean: float, height_px: int) -> None:
    page = _stroke(_ring(_paper(), (36, 36)), height_px, lean, 4)
    (mark,) = find_marks(Page(page))
    assert mark.box.height <= height_px + 6


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_alone_is_no_ring_however_it_is_written(digit: int) -> None:
    rng = np.random.default_rng(100 + digit)
    for _ in range(20):
        page = _digit(_paper(), digit, rng)
        cv2.circle(page, (100, 100), 5, 40, -1)  # a blot, which may lie in its eye
        boxes = [mark.box for mark in find_marks(Page(page))]
        assert max(box.height for box in boxes) >= 0.85 * HEIGHT


def _covers(page: Grey, digit: int, rng: np.random.Generator, left: int) -> tuple[int, int]:
    """Draw one of the pen's digits from a column on, as high as the others; its columns."""
    cover = render(draw_strokes(digit, rng, style=sample_style(rng)), float(HEIGHT), 4.0)
    height, width = cover.shape
    top = 100 - height // 2
    window = page[top : top + height, left : left + width]
    window[:] = np.minimum(window, 235 - 195 * cover)
    return left, left + width


@pytest.mark.parametrize("digit", [2, 3, 4, 5])
@pytest.mark.parametrize("gap_deg", [0.0, 20.0])
def test_a_digit_that_touches_its_ring_stays_without_it(digit: int, gap_deg: float) -> None:
    rng = np.random.default_rng(digit)
    found = 0
    for _ in range(6):
        page = _digit(_paper(), digit, rng)
        (own,) = (mark.box for mark in find_marks(Page(page.copy())))
        along = own.height / 2 + 10
        across = max(own.width / 2 + 9, 0.75 * along)
        ringed = _ring(page, (across, along), gap_deg=gap_deg, lower_px=9)
        boxes = [mark.box for mark in find_marks(Page(ringed))]
        assert len(boxes) == 1
        found += boxes[0].height <= own.height + 2
    assert found >= 4  # where it has too much in common with its ring, both stay


@pytest.mark.parametrize("gap_deg", [0.0, 30.0])
def test_a_number_that_touches_its_ring_keeps_its_digits(gap_deg: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        page = np.full((200, 400), 235, np.uint8)
        x = 110
        for digit in (3, 9, 2):
            x = _covers(page, digit, rng, x)[1] + 2
        plain = [mark.box for mark in find_marks(Page(page.copy()))]
        left, right = min(box.x for box in plain), max(box.right for box in plain)
        axes = ((right - left) // 2 + 8, 60)
        cv2.ellipse(page, ((left + right) // 2, 100), axes, 0, 30 + gap_deg, 390, 40, 3, cv2.LINE_AA)
        boxes = [mark.box for mark in find_marks(Page(page))]
        assert min(box.x for box in boxes) <= left + 8
        assert max(box.right for box in boxes) >= right - 8


def test_a_ring_around_one_of_several_digits_is_not_in_their_line() -> None:
    rng = np.random.default_rng(1)
    page = np.full((200, 600), 235, np.uint8)
    columns = [_covers(page, digit, rng, 80 + 110 * place) for place, digit in enumerate((4, 1, 9, 3))]
    plain = find_writing(Page(page.copy()))
    left, right = columns[2]
    cv2.ellipse(
        page, ((left + right) // 2, 100), ((right - left) // 2 + 14, 46), 0, 0, 360, 40, 3, cv2.LINE_AA
    )
    ringed = find_writing(Page(page))
    assert [mark.box for mark in ringed.marks] == [mark.box for mark in plain.marks]
    rows = np.r_[0 : ringed.field.ink.shape[0] // 2 - 40]
    assert float(ringed.field.ink[rows].max()) < 0.3  # where nothing but the ring was


@pytest.mark.parametrize("digit", range(10))
def test_no_digit_is_taken_for_a_ring_with_another_in_it(digit: int) -> None:
    rng = np.random.default_rng(200 + digit)
    for _ in range(60):
        cover = render(draw_strokes(digit, rng, style=sample_style(rng)), float(HEIGHT), 4.0)
        assert signs_in_ring(cover > 0.3) is None
