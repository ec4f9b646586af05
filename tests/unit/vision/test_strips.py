"""A line on a page becomes a level strip of one height, wherever and however large it was written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.page import Box, Page
from worker.vision.segmentation import find_writing
from worker.vision.strips import (
    DIGIT_PX,
    SOLID_LEVEL,
    STRIP_PX,
    WIDEST_PX,
    WIDTH_STEP_PX,
    Band,
    Field,
    band_of,
    strip_of,
)


def _page(height: int, slope: float = 0.0, ink: int = 0, paper: int = 255) -> Page:
    """Six bars of this height, each lower than the one before by `slope`."""
    grey = np.full((400, 900), paper, np.uint8)
    for place in range(6):
        x = 60 + place * round(1.1 * height)
        y = 120 + round(slope * (x - 60))
        cv2.rectangle(grey, (x, y), (x + height // 4, y + height - 1), ink, -1)
    return Page(grey)


def _strip(page: Page) -> tuple[np.ndarray, Band]:
    writing = find_writing(page)
    boxes = [mark.box for mark in writing.marks]
    band = band_of(boxes, float(np.median([box.height for box in boxes])), writing.field.step)
    return strip_of(writing.field, band), band


@pytest.mark.parametrize("height", [16, 40, 90])
@pytest.mark.parametrize("slope", [0.0, 0.08, -0.08])
def test_digits_are_of_one_height_and_level_in_the_strip(height: int, slope: float) -> None:
    strip, _ = _strip(_page(height, slope))
    assert strip.shape[0] == STRIP_PX
    assert strip.shape[1] % WIDTH_STEP_PX == 0
    solid = strip > 0.5
    columns = np.flatnonzero(solid.any(axis=0))
    for part in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
        rows = np.flatnonzero(solid[:, part].any(axis=1))
        assert abs(len(rows) - DIGIT_PX) <= 2
        assert abs((rows[0] + rows[-1]) / 2 - (STRIP_PX - 1) / 2) <= 1.5


def test_faint_ink_is_as_dark_in_the_strip_as_black_ink() -> None:
    black, _ = _strip(_page(40))
    faint, _ = _strip(_page(40, ink=200, paper=235))
    assert np.abs(black - faint).max() < 0.1


def test_columns_of_strip_and_field_are_each_others_inverse() -> None:
    band = Band(37.0, 400.0, 50.0, 31.0, 0.05)
    assert band.to_field(band.to_strip(123.4)) == pytest.approx(123.4)
    assert band.to_strip(band.left) > 0
    assert band.to_strip(band.left + band.width) < band.width_px


def test_a_mark_stands_in_the_strip_where_the_band_says() -> None:
    page = _page(40)
    strip, band = _strip(page)
    columns = np.flatnonzero((strip > 0.5).any(axis=0))
    assert columns[0] == pytest.approx(band.to_strip(60), abs=1)


def test_a_line_without_end_makes_a_strip_of_the_widest() -> None:
    assert band_of([Box(0, 0, 9, 9), Box(100_000, 0, 9, 9)], 9).width_px == WIDEST_PX


def test_marks_without_height_make_a_band_all_the_same() -> None:
    band = band_of([Box(4, 4, 3, 0)], 0.0)
    assert band.height == 1
    assert strip_of(Field(np.zeros((20, 20), np.uint8), 0, 1), band).max() == 0


def test_an_empty_band_is_paper() -> None:
    field = Field(np.full((60, 200), 7, np.uint8), 8, 1)
    assert strip_of(field, Band(20, 100, 30, 20, 0)).max() == 0


def test_a_turned_field_shows_what_the_turned_page_shows() -> None:
    page = _page(40)
    turned = find_writing(Page(np.ascontiguousarray(np.rot90(page.grey)))).field
    assert np.array_equal(find_writing(page).field.turned(1).ink, turned.ink)


def test_solid_ink_has_the_level_it_is_said_to_have() -> None:
    field = find_writing(_page(40)).field
    assert field.ink.max() >= SOLID_LEVEL
    assert field.ink.min() == 0
