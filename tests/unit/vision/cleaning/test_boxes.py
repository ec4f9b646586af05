"""A box around each digit is no part of it, and what is dropped with a frame is never a digit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.training.pen import draw_strokes, render, sample_style
from worker.vision.cleaning.boxes import lines_of_boxes
from worker.vision.ink import Mask, find_ink
from worker.vision.page import Grey, Page
from worker.vision.pieces import linked
from worker.vision.segmentation import find_marks

SIDE, GAP, TOP = 60, 10, 50


def _paper(boxes: int, beside: int = 60) -> Grey:
    return np.full((TOP + SIDE + beside, 2 * beside + boxes * (SIDE + GAP)), 235, np.uint8)


def _draw_boxes(
    page: Grey, count: int, *, thick: int = 2, tone: int = 60, roof: bool = True, left: int = 60
) -> None:
    for index in range(count):
        x = left + index * (SIDE + GAP)
        corners = [(x, TOP), (x, TOP + SIDE), (x + SIDE, TOP + SIDE), (x + SIDE, TOP)]
        cv2.polylines(page, [np.array(corners, np.int32)], roof, tone, thick, cv2.LINE_AA)


def _write(page: Grey, number: str, height_px: int, seed: int = 0, left: int = 60) -> None:
    """The digits of `number`, as a pen writes them, each in the middle of its box."""
    rng = np.random.default_rng(seed)
    for index, digit in enumerate(number):
        cover = render(draw_strokes(int(digit), rng, style=sample_style(rng)), float(height_px), 3.0)[
            :, : SIDE - 8
        ]
        height, width = cover.shape
        y, x = TOP + (SIDE - height) // 2, left + index * (SIDE + GAP) + (SIDE - width) // 2
        part = page[y : y + height, x : x + width]
        np.minimum(part, (235 - 190 * cover).astype(np.uint8), out=part)


def _turned(page: Grey, degrees: float) -> Grey:
    height, width = page.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    turned = cv2.warpAffine(page, turn, (width, height), borderValue=235)
    return np.asarray(cv2.GaussianBlur(turned, (0, 0), 0.7), np.uint8)


def _lines(page: Grey) -> Mask | None:
    ink_map = find_ink(Page(page))
    return lines_of_boxes(ink_map, linked(ink_map))


@pytest.mark.parametrize("height_px", [30, 44, 52])
@pytest.mark.parametrize("thick", [1, 3])
@pytest.mark.parametrize("roof", [True, False])
@pytest.mark.parametrize("degrees", [0.0, 1.5, -1.5])
def test_a_digit_in_each_box_is_one_mark(height_px: int, thick: int, roof: bool, degrees: float) -> None:
    page = _paper(5)
    _draw_boxes(page, 5, thick=thick, roof=roof)
    _write(page, "82536", height_px)
    marks = find_marks(Page(_turned(page, degrees)))
    assert len(marks) == 5
    assert max(mark.box.width for mark in marks) < SIDE


def test_a_digit_that_touches_its_box_on_two_sides_is_one_mark() -> None:
    for seed in range(5):
        page = _paper(4)
        _draw_boxes(page, 4)
        _write(page, "8256", SIDE, seed)
        assert len(find_marks(Page(_turned(page, 0.5)))) == 4


def test_the_roofs_and_bases_of_boxes_that_are_cut_out_closely_are_no_rulings() -> None:
    page = _paper(6, beside=60)
    _draw_boxes(page, 6)
    _write(page, "314159", 40)
    closely = np.ascontiguousarray(page[TOP - 4 : TOP + SIDE + 4, 57 : 60 + 6 * (SIDE + GAP)])
    assert len(find_marks(Page(closely))) == 6


def test_the_bar_of_a_7_from_side_to_side_is_no_roof() -> None:
    page = _paper(3)
    _draw_boxes(page, 3, roof=False)
    _write(page, "85", 40)
    left = 60 + 2 * (SIDE + GAP)
    cv2.polylines(
        page,
        [np.array([(left + 1, TOP + 12), (left + SIDE - 1, TOP + 12), (left + 25, TOP + 54)], np.int32)],
        isClosed=False, color=40, thickness=4, lineType=cv2.LINE_AA,
    )  # fmt: skip
    marks = find_marks(Page(_turned(page, 0.0)))
    assert [mark.box.y <= TOP + 12 for mark in marks].count(True) == 3


def test_a_box_in_a_row_without_a_digit_goes_with_the_others() -> None:
    page = _paper(5)
    _draw_boxes(page, 5)
    _write(page, "825", 40)
    assert len(find_marks(Page(_turned(page, 0.0)))) == 3


def test_a_nought_drawn_with_a_ruler_and_slashed_is_no_box() -> None:
    page = _paper(1)
    _draw_boxes(page, 1, thick=4)
    cv2.line(page, (62, TOP + SIDE - 2), (58 + SIDE, TOP + 2), 60, 4, cv2.LINE_AA)
    (mark,) = find_marks(Page(page))
    assert mark.box.width >= SIDE


@pytest.mark.parametrize("digit", "0689")
def test_digits_have_no_sides_of_boxes(digit: str) -> None:
    rng = np.random.default_rng(int(digit))
    for _ in range(30):
        cover = np.pad(render(draw_strokes(int(digit), rng, style=sample_style(rng)), 60.0, 4.0), 20)
        twice = np.hstack([cover, cover])  # one box alone is none if what is in it touches it
        assert _lines((235 - 190 * twice).astype(np.uint8)) is None


def test_the_frame_of_a_table_is_no_box() -> None:
    page = _paper(5)
    cv2.rectangle(page, (60, 30), (360, 130), 60, 2)
    for y in (55, 80, 105):
        cv2.line(page, (60, y), (360, y), 60, 2)
    cv2.putText(page, "7", (80, 52), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 40, 2, cv2.LINE_AA)
    assert _lines(page) is None


@pytest.mark.parametrize("gap_px", [-2, 0, 1, 6])
def test_a_digit_that_touches_the_ring_around_a_number_stays(gap_px: int) -> None:
    page = np.full((200, 420), 235, np.uint8)
    cv2.ellipse(page, (210, 100), (170, 60), 0, 0, 360, 50, 3, cv2.LINE_AA)
    for index, digit in enumerate("5236"):
        cv2.putText(page, digit, (100 + 50 * index, 115), cv2.FONT_HERSHEY_SIMPLEX, 1.4, 40, 4, cv2.LINE_AA)
    right = int(np.flatnonzero(page[100, 300:] < 128)[0]) + 300
    cv2.putText(page, "7", (right - gap_px - 27, 115), cv2.FONT_HERSHEY_SIMPLEX, 1.4, 40, 4, cv2.LINE_AA)
    assert len(find_marks(Page(page))) == 5
