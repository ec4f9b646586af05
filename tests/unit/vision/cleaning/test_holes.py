"""The holes of a punch are no writing; a nought whose eye all but closed is, wherever on the page it stands."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.cleaning.holes import without_holes
from worker.vision.cleaning.steps import clean_findings
from worker.vision.ink import find_ink
from worker.vision.page import Grey, Page
from worker.vision.pieces import Piece

PAPER, INK = 235, 40


def _number(size: float = 3.0) -> Grey:
    """A page of 600 by 400 pixels with a 47 in its middle, 66 pixels high."""
    page = np.full((400, 600), PAPER, np.uint8)
    cv2.putText(page, "47", (200, 240), cv2.FONT_HERSHEY_SIMPLEX, size, INK, round(2.5 * size), cv2.LINE_AA)
    return page


def _dropped(page: Grey) -> list[Piece]:
    found = clean_findings(find_ink(Page(page)))
    assert found is not None
    kept = without_holes(found.pieces, found)
    assert [piece for piece in found.pieces if piece in kept] == kept  # in their order
    return [piece for piece in found.pieces if piece not in kept]


@pytest.mark.parametrize(("x", "y"), [(30, 100), (570, 100), (300, 30), (300, 375)])
@pytest.mark.parametrize("radius", [9, 14, 20])
@pytest.mark.parametrize("grey", [INK, 10, 90])
def test_the_hole_of_a_punch_is_no_writing(x: int, y: int, radius: int, grey: int) -> None:
    page = _number()
    cv2.circle(page, (x, y), radius, grey, -1, cv2.LINE_AA)
    (hole,) = _dropped(page)
    assert abs(hole.x + hole.right - 2 * x) <= 2
    assert abs(hole.y + hole.bottom - 2 * y) <= 2


@pytest.mark.parametrize("eye", [0.15, 0.25, 0.35, 0.5])
@pytest.mark.parametrize("height_px", [30, 50, 80])
def test_the_eye_of_a_nought_from_a_broad_pen_tells_it_from_a_hole(eye: float, height_px: int) -> None:
    page = _number()
    cv2.circle(page, (50, 50), height_px // 2, INK, -1, cv2.LINE_AA)
    cv2.circle(page, (50, 50), round(eye * height_px / 2), PAPER, -1, cv2.LINE_AA)
    blurred = np.asarray(cv2.GaussianBlur(page, (0, 0), 1.2), np.uint8)
    assert _dropped(blurred) == []  # its soft edges hang together over the eye


@pytest.mark.parametrize(
    ("centre", "axes"),
    [
        ((30, 100), (20, 14)),  # no circle
        ((110, 200), (20, 20)),  # among the writing
    ],
)
def test_what_is_oval_or_not_in_the_margin_is_no_hole(centre: tuple[int, int], axes: tuple[int, int]) -> None:
    page = _number()
    cv2.ellipse(page, centre, axes, 0, 0, 360, INK, -1, cv2.LINE_AA)
    assert _dropped(page) == []


def test_a_dot_is_no_hole() -> None:
    page = _number()
    cv2.circle(page, (30 << 4, 100 << 4), 66, INK, -1, cv2.LINE_AA, shift=4)  # 8 pixels across, and as round
    assert _dropped(page) == []


@pytest.mark.parametrize(("x", "dropped"), [(75, 0), (160, 1)])
def test_a_disc_in_a_row_of_signs_as_high_as_it_is_no_hole(x: int, dropped: int) -> None:
    page = np.full((400, 600), PAPER, np.uint8)
    cv2.putText(page, "47", (x, 65), cv2.FONT_HERSHEY_SIMPLEX, 2, INK, 5, cv2.LINE_AA)
    cv2.circle(page, (40, 43), 18, INK, -1, cv2.LINE_AA)
    assert len(_dropped(page)) == dropped


def test_holes_alone_stay() -> None:
    page = np.full((400, 600), PAPER, np.uint8)
    for y in (100, 300):
        cv2.circle(page, (30, y), 20, INK, -1, cv2.LINE_AA)
    assert _dropped(page) == []
