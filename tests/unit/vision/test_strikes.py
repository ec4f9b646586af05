"""A number with a line through it is told from one on a ruling, above a line, or in a field."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.normalization import NormalizerSettings
from worker.vision.page import Grey, Page
from worker.vision.sheet import sheet_of

X, TOP, BASE = 120, 78, 120  # where digits begin, and how high they reach


def _page(text: str, width: int = 500) -> tuple[Grey, int]:
    """A number in the middle of a page, and where it ends."""
    page = np.full((200, width), 235, np.uint8)
    x = X
    for character in text:
        cv2.putText(page, character, (x, BASE), cv2.FONT_HERSHEY_SIMPLEX, 2, 40, 4, cv2.LINE_AA)
        x += cv2.getTextSize(character, cv2.FONT_HERSHEY_SIMPLEX, 2, 4)[0][0] + 2
    return page, x


def _struck(page: Grey) -> list[tuple[tuple[int, int], ...]]:
    return [line.struck_out for line in sheet_of(Page(page), NormalizerSettings()).lines]


@pytest.mark.parametrize("text", ["3613", "25896", "700", "4637"])
@pytest.mark.parametrize(("first", "last"), [(100, 100), (106, 94), (92, 104), (124, 80)])
@pytest.mark.parametrize("pen_px", [2, 4])
def test_a_line_through_a_number_strikes_it_out(text: str, first: int, last: int, pen_px: int) -> None:
    page, end = _page(text)
    cv2.line(page, (X - 14, first), (end + 14, last), 40, pen_px, cv2.LINE_AA)
    ((span,),) = _struck(page)
    assert span[0] <= X + 12
    assert span[1] >= end - 14


def test_only_the_number_with_the_line_is_struck_out() -> None:
    page, _ = _page("361  285", 700)
    middle = X + 150  # between the numbers
    cv2.line(page, (X - 10, 100), (middle, 98), 40, 4, cv2.LINE_AA)
    ((span,),) = _struck(page)
    assert span[1] <= middle + 12


@pytest.mark.parametrize("text", ["3613", "25896", "44", "4444", "77"])
def test_a_number_without_a_line_is_none(text: str) -> None:
    assert _struck(_page(text)[0]) == [()]


@pytest.mark.parametrize("y", [84, 92, 100, 108])
def test_a_ruling_through_a_number_strikes_nothing_out(y: int) -> None:
    page, end = _page("36125")
    ruled = page.copy()
    cv2.line(ruled, (0, y), (ruled.shape[1], y), 90, 2)
    cropped = ruled[:, X - 8 : end + 8]
    for each in (ruled, cropped):
        assert not any(_struck(np.ascontiguousarray(each)))


@pytest.mark.parametrize("y", [BASE + 1, BASE + 6, TOP - 4])
def test_a_line_under_or_over_a_number_strikes_nothing_out(y: int) -> None:
    page, end = _page("36125")
    cv2.line(page, (X - 10, y), (end + 10, y), 40, 3)
    assert not any(_struck(page))


def test_a_box_around_a_number_strikes_nothing_out() -> None:
    page, end = _page("36125")
    cv2.rectangle(page, (X - 10, TOP - 8), (end + 8, BASE + 8), 60, 2)
    for x in range(X + 36, end, 42):
        cv2.line(page, (x, TOP - 8), (x, BASE + 8), 60, 2)
    assert not any(_struck(page))
