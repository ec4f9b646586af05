"""Teeth of combs and fields without a roof are no 1s; 1s that stand on a line stay."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.training.pen import draw_strokes, render, sample_style
from worker.vision.cleaning.rulings import in_step
from worker.vision.page import Grey, Page
from worker.vision.segmentation import find_marks

STEP, BASE, SIZE = 60, 120, 44


def _paper(width: int = 520, height: int = 200) -> Grey:
    return np.full((height, width), 235, np.uint8)


def _write(page: Grey, number: str, left: int = 60, base: int = BASE - 8) -> None:
    """The digits of `number`, each in the middle of its field."""
    for index, digit in enumerate(number):
        cv2.putText(
            page, digit, (left + STEP * index + 14, base), cv2.FONT_HERSHEY_SIMPLEX, 1.9, 40, 5, cv2.LINE_AA
        )


def _rule_comb(page: Grey, count: int, tooth_px: int, tone: int = 60, left: int = 60, thick: int = 2) -> None:
    cv2.line(page, (left, BASE), (left + STEP * count, BASE), tone, thick)
    for index in range(count + 1):
        x = left + STEP * index
        cv2.line(page, (x, BASE), (x, BASE - tooth_px), tone, thick)


def _turned(page: Grey, degrees: float) -> Grey:
    height, width = page.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(page, turn, (width, height), borderValue=235), np.uint8)


def _count(page: Grey) -> int:
    return len(find_marks(Page(page)))


@pytest.mark.parametrize("tooth_px", [18, 26, 50])
@pytest.mark.parametrize("tone", [60, 150])
@pytest.mark.parametrize("degrees", [0.0, 1.5, -1.5])
def test_between_the_teeth_of_a_comb_only_digits_are_marks(tooth_px: int, tone: int, degrees: float) -> None:
    page = _paper()
    _rule_comb(page, 6, tooth_px, tone)
    _write(page, "825346")
    assert _count(_turned(page, degrees)) == 6


def test_a_1_in_a_comb_stays_where_the_teeth_go() -> None:
    page = _paper()
    _rule_comb(page, 6, 46)
    _write(page, "815146")
    assert _count(page) == 6


def test_a_tooth_that_a_digit_touches_goes_with_the_others() -> None:
    page = _paper()
    _rule_comb(page, 6, 26)
    _write(page, "825346")
    cv2.line(
        page, (60 + 2 * STEP, BASE - 14), (60 + 2 * STEP + 16, BASE - 14), 40, 3
    )  # the 5's belly reaches it
    boxes = [mark.box for mark in find_marks(Page(page))]
    assert len(boxes) == 6
    assert all(abs(box.x - (60 + STEP * (index + 0.5))) < STEP / 2 for index, box in enumerate(boxes))


@pytest.mark.parametrize("goes_on_px", [14, 26])
def test_1s_on_a_ruling_stay(goes_on_px: int) -> None:
    """As straight and as much alike as a pen could make them: the line that they stand on goes on."""
    page = _paper()
    for index in (0, 2, 4):
        cv2.line(page, (90 + STEP * index, BASE - 8), (90 + STEP * index, BASE - 8 - SIZE), 40, 5)
    _write(page, " 2 3", left=60)
    cv2.line(page, (90 - goes_on_px, BASE), (90 + 4 * STEP + goes_on_px, BASE), 60, 2)
    assert _count(page) == 5


@pytest.mark.parametrize("number", ["825346", "817117"])
def test_digits_in_tight_boxes_are_marks_and_a_1_is_no_side(number: str) -> None:
    page = _paper()
    _rule_comb(page, 6, 58)
    cv2.line(page, (60, BASE - 58), (60 + 6 * STEP, BASE - 58), 60, 2)
    _write(page, number)
    assert _count(page) == 6


def _fields_in_pen(
    seed: int, number: str, step: int, side_px: int, pen_px: float, *, roof: bool, thick: int = 2
) -> Grey:
    """A strip with a digit from a pen, 45 px high, in each field."""
    rng = np.random.default_rng(seed)
    page, base, left = _paper(620), 140, 60
    for y in (base, base - side_px) if roof else (base,):
        cv2.line(page, (left, y), (left + step * len(number), y), 60, thick)
    for index in range(len(number) + 1):
        cv2.line(page, (left + index * step, base), (left + index * step, base - side_px), 60, thick)
    for index, digit in enumerate(number):
        cover = render(draw_strokes(int(digit), rng, style=sample_style(rng)), 45.0, pen_px)[:, : step - 6]
        height, width = cover.shape
        y = base - side_px // 2 - height // 2 if roof else base - 4 - height
        x = left + index * step + (step - width) // 2
        part = page[y : y + height, x : x + width]
        np.minimum(part, (235 - 190 * cover).astype(np.uint8), out=part)
    return np.asarray(cv2.GaussianBlur(page, (0, 0), 0.6), np.uint8)


@pytest.mark.parametrize(("number", "thick"), [("825", 2), ("82534", 4)])
def test_a_comb_that_holds_most_of_the_ink_is_taken_away(number: str, thick: int) -> None:
    counts = [
        _count(_fields_in_pen(seed, number, 50, 52, 2.5, roof=False, thick=thick)) for seed in range(1, 21)
    ]
    assert max(counts) == len(number)
    assert sum(counts) >= 0.9 * len(number) * len(counts)  # some digits touch a tooth, and are lost with it


def test_digits_that_hang_on_their_boxes_are_told_from_them() -> None:
    for seed in (0, 1, 2, 3):
        assert _count(_fields_in_pen(seed, "825346", 56, 52, 3.0, roof=True)) == 6


def test_1s_that_fill_their_fields_are_no_sides() -> None:
    for seed in range(20):
        assert _count(_fields_in_pen(seed, "817117", 52, 48, 4.0, roof=True)) == 6


@pytest.mark.parametrize("tooth_px", [22, 40, 60])
def test_a_digit_in_one_open_field_is_one_mark_without_the_field(tooth_px: int) -> None:
    page = _paper(width=STEP + 8, height=BASE + 6)
    _rule_comb(page, 1, tooth_px, left=3, thick=1)
    _write(page, "5", left=3)
    (mark,) = find_marks(Page(page))
    assert mark.box.width < 0.75 * STEP
    assert mark.box.bottom < BASE


@pytest.mark.parametrize("digit", "35680")
def test_a_digit_that_hangs_on_its_open_field_by_soft_edges_is_freed(digit: str) -> None:
    page = _paper(width=STEP + 8, height=BASE + 6)
    _rule_comb(page, 1, 40, tone=110, left=4, thick=3)
    cv2.putText(page, digit, (17, BASE - 7), cv2.FONT_HERSHEY_SIMPLEX, 1.7, 40, 5, cv2.LINE_AA)
    page = np.asarray(cv2.GaussianBlur(page, (0, 0), 1.4), np.uint8)
    (mark,) = find_marks(Page(page))
    assert mark.box.width < 0.75 * STEP
    assert mark.box.bottom < BASE


@pytest.mark.parametrize("digit", "0123456789")
@pytest.mark.parametrize("thickness", [3, 8])
def test_no_digit_is_an_open_field(digit: str, thickness: int) -> None:
    page = _paper(width=200, height=240)
    cv2.putText(page, digit, (50, 180), cv2.FONT_HERSHEY_SIMPLEX, 5, 40, thickness, cv2.LINE_AA)
    (mark,) = find_marks(Page(page))
    dark = np.argwhere(page < 128)
    assert mark.box.height == pytest.approx(dark[:, 0].max() - dark[:, 0].min() + 1, abs=6)
    assert mark.box.width == pytest.approx(dark[:, 1].max() - dark[:, 1].min() + 1, abs=6)


def test_an_open_field_with_nothing_in_it_stays() -> None:
    page = _paper(width=140, height=160)
    cv2.polylines(
        page,
        [np.array([(30, 40), (30, 120), (100, 120), (100, 40)], np.int32)],
        isClosed=False,
        color=40,
        thickness=5,
    )
    assert _count(page) >= 1


def test_what_stands_in_step() -> None:
    assert in_step([10, 50, 90, 130]) == [True, True, True, True]
    assert in_step([10, 50, 71, 90, 130]) == [True, True, False, True, True]  # a 1 in a field
    assert in_step([10, 50, 130, 170]) == [True, True, True, True]  # a digit covers one
    assert in_step([10, 50]) == [False, False]
    assert in_step([10, 50, 105, 190]) == [False, False, False, False]
    assert in_step([]) == []
