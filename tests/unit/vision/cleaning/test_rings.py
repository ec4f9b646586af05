"""What makes a ring, and what a ring with something in it is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.cleaning.rings import goes_around, hull_of, is_crossed, signs_in_ring
from worker.vision.pieces import Flags, Piece

SIDE = 120
Line = list[tuple[int, int]]


def _drawn(*lines: Line, ring: bool = True, pen_px: int = 4) -> Flags:
    page = np.zeros((SIDE, SIDE), np.uint8)
    if ring:
        cv2.ellipse(page, (60, 60), (50, 50), 0, 0, 360, 1, pen_px)
    for line in lines:
        cv2.polylines(page, [np.array(line, np.int32)], isClosed=False, color=1, thickness=pen_px)
    rows, columns = np.flatnonzero(page.any(axis=1)), np.flatnonzero(page.any(axis=0))
    return page[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] > 0


FOUR: Line = [(66, 20), (36, 72), (84, 72), (72, 72), (72, 40), (72, 112)]  # its stem ends on the ring
LADDER: list[Line] = [[(12, 38), (108, 38)], [(12, 82), (108, 82)], [(60, 38), (60, 82)]]


def test_a_sign_on_its_ring_is_found_without_it() -> None:
    signs = signs_in_ring(_drawn(FOUR))
    assert signs is not None
    rows, columns = np.nonzero(signs)
    assert 45 <= np.ptp(columns) <= 52
    assert np.ptp(rows) >= 75


@pytest.mark.parametrize(
    "lines",
    [
        [],  # a nought
        [[(40, 100), (80, 20)]],  # with a slash
        [[(12, 60), (108, 60)]],  # an 8
        LADDER,  # loops of whatever: no room from top to bottom
        [[(60, 52), (60, 68)]],  # a scrap
    ],
)
def test_what_is_no_ring_around_a_sign_has_none(lines: list[Line]) -> None:
    assert signs_in_ring(_drawn(*lines)) is None


def test_of_an_open_line_no_ring_is_made() -> None:
    own = _drawn(FOUR)
    own[:, :40] = False
    assert signs_in_ring(own) is None


def test_a_ring_that_digits_cross_is_told_from_one_that_stands_free() -> None:
    for lines, expected in (
        ([], False),
        ([[(0, 40), (70, 60)], [(119, 30), (50, 90)], [(20, 119), (60, 30)]], True),
    ):
        own = _drawn(*lines)
        piece = Piece((1,), 0, 0, own.shape[1], own.shape[0], int(own.sum()))
        assert is_crossed(piece, own.astype(np.int32)) is expected


def test_a_7_and_a_2_go_around_nothing() -> None:
    seven, two = (
        _drawn([(20, 20), (90, 20), (50, 110)], ring=False),
        _drawn([(30, 20), (90, 20), (20, 100), (100, 100)], ring=False),
    )
    for own, expected in ((seven, False), (two, False), (_drawn(), True)):
        assert goes_around(own, hull_of(own)) is expected
