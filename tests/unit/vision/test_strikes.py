"""A number with a line through it is told from one on a ruling, above a line, or in a field."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.ink import find_ink
from worker.vision.normalization import NormalizerSettings
from worker.vision.page import Box, Grey, Page
from worker.vision.sheet import sheet_of
from worker.vision.strikes import struck_out

X, TOP, BASE = 120, 78, 120  # where digits begin, and how high they reach


def _page(text: str, width: int = 500) -> tuple[Grey, int]:
    """A number in the middle of a page, and where it ends."""
    page = np.full((200, width), 235, np.uint8)
    x = X
    for character in text:
        cv2.putText(page, character, (x, BASE), cv2.FONT_HERSHEY_SIMPLEX, 2, 40, 4, cv2.LINE_AA)
        x += cv2.getTextSize(character, cv2.FONT_HERSHEY_SIMPLEX, 2, 4)[0][0] + 2
    return page, x


def _struck(page: Grey) -> tuple[Box, ...]:
    return sheet_of(Page(page), NormalizerSettings()).struck_out


@pytest.mark.parametrize("text", ["3613", "25896", "700", "4637"])
@pytest.mark.parametrize(("first", "last"), [(100, 100), (106, 94), (92, 104), (124, 80)])
@pytest.mark.parametrize("pen_px", [2, 4])
def test_a_line_through_a_number_strikes_it_out(text: str, first: int, last: int, pen_px: int) -> None:
    page, end = _page(text)
    cv2.line(page, (X - 14, first), (end + 14, last), 40, pen_px, cv2.LINE_AA)
    (box,) = _struck(page)
    assert box.x <= X + 12
    assert box.right >= end - 14


def test_only_the_number_with_the_line_is_struck_out() -> None:
    page, _ = _page("361  285", 700)
    middle = X + 150  # between the numbers
    cv2.line(page, (X - 10, 100), (middle, 98), 40, 4, cv2.LINE_AA)
    (box,) = _struck(page)
    assert box.right <= middle + 12


@pytest.mark.parametrize("text", ["3613", "25896", "44", "4444", "77"])
def test_a_number_without_a_line_is_none(text: str) -> None:
    assert not _struck(_page(text)[0])


@pytest.mark.parametrize("y", [84, 92, 100, 108])
def test_a_ruling_through_a_number_strikes_nothing_out(y: int) -> None:
    page, end = _page("36125")
    ruled = page.copy()
    cv2.line(ruled, (0, y), (ruled.shape[1], y), 90, 2)
    cropped = ruled[:, X - 8 : end + 8]
    for each in (ruled, cropped):
        assert not _struck(np.ascontiguousarray(each))


@pytest.mark.parametrize("y", [BASE + 1, BASE + 6, TOP - 4])
def test_a_line_under_or_over_a_number_strikes_nothing_out(y: int) -> None:
    page, end = _page("36125")
    cv2.line(page, (X - 10, y), (end + 10, y), 40, 3)
    assert not _struck(page)


def test_a_box_around_a_number_strikes_nothing_out() -> None:
    page, end = _page("36125")
    cv2.rectangle(page, (X - 10, TOP - 8), (end + 8, BASE + 8), 60, 2)
    for x in range(X + 36, end, 42):
        cv2.line(page, (x, TOP - 8), (x, BASE + 8), 60, 2)
    assert not _struck(page)


def test_what_is_struck_out_stays_so_when_the_page_is_turned() -> None:
    page, end = _page("3613")
    cv2.line(page, (X - 14, 100), (end + 14, 98), 40, 4, cv2.LINE_AA)
    sheet = sheet_of(Page(page), NormalizerSettings())
    (box,) = sheet.turned(2, NormalizerSettings()).struck_out
    assert (box.x, box.right) == (
        page.shape[1] - sheet.struck_out[0].right,
        page.shape[1] - sheet.struck_out[0].x,
    )


@pytest.mark.parametrize(("pen_px", "sinks_px"), [(12, 4), (9, 2), (6, 0)])
def test_a_dash_is_no_number_that_is_struck_out(pen_px: int, sinks_px: int) -> None:
    page = np.full((200, 400), 235, np.uint8)
    cv2.line(page, (100, 60), (220, 60 + sinks_px), 40, pen_px, cv2.LINE_AA)
    rows = np.flatnonzero((page < 200).any(axis=1))
    box = Box(94, int(rows[0]), 132, int(rows[-1] - rows[0]) + 1)
    assert not struck_out([box], find_ink(Page(page)))


@pytest.mark.parametrize("is_wavy", [False, True])
@pytest.mark.parametrize("is_before", [False, True])
def test_a_dash_or_a_wavy_line_beside_a_number_strikes_nothing_out(is_wavy: bool, is_before: bool) -> None:
    page, end = _page("3613", 700)
    start = 20 if is_before else end + 30
    along = np.arange(start, start + 90)
    wave = 100 + (6 * np.sin((along - start) * 0.4) if is_wavy else 0.03 * (along - start))
    cv2.polylines(
        page, [np.stack([along, wave], axis=1).astype(np.int32)], isClosed=False, color=40, thickness=5
    )
    assert not _struck(page)
