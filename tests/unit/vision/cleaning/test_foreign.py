"""What nobody wrote is left out; what somebody wrote stays."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from worker.vision.cleaning.foreign import MANY, drop_foreign, drop_lines_of_the_paper, drop_specks
from worker.vision.joining import join_pieces
from worker.vision.pieces import Labels, Piece

WIDTH, HEIGHT = 600, 400


def _piece(label: int, x: int, y: int, width: int, height: int, share: float = 0.3) -> Piece:
    return Piece((label,), x, y, x + width, y + height, max(1, round(share * width * height)))


def _labels(pieces: list[Piece]) -> Labels:
    """The page on which these pieces are drawn as the outlines of their boxes."""
    page = np.zeros((HEIGHT, WIDTH), np.int32)
    for piece in pieces:
        page[piece.y : piece.bottom, piece.x : piece.right] = piece.labels[0]
        page[piece.y + 3 : piece.bottom - 3, piece.x + 3 : piece.right - 3] = 0
    return page


DIGITS = [_piece(1, 100, 100, 50, 80), _piece(2, 180, 100, 50, 80)]


def test_nothing_stays_nothing() -> None:
    assert drop_specks([], WIDTH, HEIGHT) == []
    assert drop_foreign([], _labels([])) == []
    assert drop_lines_of_the_paper([], WIDTH, HEIGHT, 0.9) == []


def test_one_sign_alone_is_kept_however_small() -> None:
    for piece in (_piece(1, 300, 200, 40, 60), _piece(1, 300, 200, 3, 4, 1.0)):
        assert drop_specks(drop_foreign([piece], _labels([piece])), WIDTH, HEIGHT) == [piece]


def test_digits_stay() -> None:
    assert drop_lines_of_the_paper(DIGITS, WIDTH, HEIGHT, 0.9) == DIGITS
    assert drop_specks(drop_foreign(DIGITS, _labels(DIGITS)), WIDTH, HEIGHT) == DIGITS


def test_a_speck_and_a_full_stop_go() -> None:
    speck, stop = _piece(3, 400, 300, 2, 2, 1.0), _piece(4, 152, 172, 8, 8, 1.0)
    main = _piece(1, 100, 100, 50, 80, 0.4)
    assert drop_specks([main, speck, stop], WIDTH, HEIGHT) == [main]


def test_a_fold_along_the_border_goes_where_it_is_alone() -> None:
    fold = _piece(1, 0, 0, 8, HEIGHT, 0.5)
    assert drop_lines_of_the_paper([fold], WIDTH, HEIGHT, 0.9) == []
    beside = [fold, _piece(2, 200, 100, 100, 200)]
    assert drop_lines_of_the_paper(beside, WIDTH, HEIGHT, 0.9) == beside


def test_what_dwarfs_the_writing_and_runs_out_of_the_page_goes() -> None:
    sleeve = _piece(3, 350, 0, 250, 400, 0.5)
    assert drop_foreign([*DIGITS, sleeve], _labels([*DIGITS, sleeve])) == DIGITS


def test_among_many_signs_dust_goes_and_no_sign() -> None:
    signs = [_piece(i, 45 * i, 40 + 90 * (i % 2), 30, 60) for i in range(MANY)]
    dust = [_piece(100 + i, 10 * i, 300, 3, 3, 1.0) for i in range(40)]
    assert drop_specks(signs + dust, WIDTH, HEIGHT) == signs


def test_a_box_around_a_digit_goes_even_when_a_side_is_gone() -> None:
    box, digit = _piece(3, 100, 100, 120, 140, 0.1), _piece(4, 140, 140, 30, 60)
    for missing in (None, np.s_[230:, :], np.s_[:, :110]):
        labels = _labels([box, digit])
        if missing is not None:
            labels[missing] = 0
        assert drop_foreign([box, digit], labels) == [digit]


@pytest.mark.parametrize("sides", [np.s_[100:115, 100:160], np.s_[100:190, 100:115]])
def test_a_full_stop_under_a_roof_or_beside_a_stem_makes_no_frame_of_a_digit(
    sides: tuple[slice, slice],
) -> None:
    digit, stop = _piece(3, 100, 100, 60, 90, 0.2), _piece(4, 140, 160, 14, 16, 1.0)
    labels = _labels([stop])
    labels[sides] = 3
    assert drop_foreign([digit, stop], labels) == [digit, stop]


def test_what_lies_around_a_sheet_goes_and_the_writing_on_it_stays() -> None:
    table = _piece(9, 0, 0, WIDTH, HEIGHT, 0.2)
    writing = [_piece(i, 100 * i, 150, 30, 60) for i in range(1, 6)]
    assert drop_foreign([table, *writing], _labels([table, *writing])) == writing
    scraps = writing[:2]
    assert drop_foreign([table, *scraps], _labels([table])) == [table, *scraps]


def test_a_digit_beside_a_number_that_hangs_together_is_no_speck() -> None:
    number, one = _piece(1, 200, 100, 300, 60, 0.2), _piece(2, 150, 110, 8, 44, 0.9)
    assert drop_specks([number, one], WIDTH, HEIGHT) == [number, one]
    assert len(join_pieces([number, one])) == 2


def _with_stroke(first: tuple[int, int], last: tuple[int, int], sign: Piece) -> tuple[list[Piece], Labels]:
    """A sign, and a straight stroke from one point to the other, which is piece 9."""
    page = _labels([sign])
    stroke = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.line(stroke, first, last, 1, 8)
    page[stroke > 0] = 9
    rows, columns = np.nonzero(stroke)
    left, top = int(columns.min()), int(rows.min())
    box = (left, top, int(columns.max()) + 1, int(rows.max()) + 1)
    return [sign, Piece((9,), *box, len(rows))], page


@pytest.mark.parametrize(
    ("first", "last"),
    [((200, 20), (420, 200)), ((60, 250), (420, 230)), ((310, 180), (520, 380)), ((190, 140), (590, 150))],
)
def test_a_pen_beside_a_digit_goes(first: tuple[int, int], last: tuple[int, int]) -> None:
    sign = _piece(1, 100, 100, 50, 80)
    assert drop_foreign(*_with_stroke(first, last, sign)) == [sign]


@pytest.mark.parametrize(
    ("sign", "last"),
    [
        (_piece(1, 100, 100, 50, 80), (250, 320)),  # upright: it may be a 1, and the rest its cents
        (_piece(1, 100, 100, 50, 80), (330, 320)),
        (_piece(1, 100, 100, 50, 80), (410, 130)),  # not so long
        (_piece(1, 270, 60, 50, 80), (600, 240)),  # the loop of a 9 on its stem
        (_piece(1, 100, 100, 8, 8, 1.0), (600, 240)),  # a dot
        (_piece(1, 100, 100, 12, 40, 0.8), (600, 240)),  # a dash
        (_piece(1, 100, 100, 6, 110, 0.8), (600, 240)),  # another stroke, a third as long
    ],
)
def test_a_stroke_goes_only_where_no_1_can_be(sign: Piece, last: tuple[int, int]) -> None:
    pieces, labels = _with_stroke((250, 20), last, sign)
    assert drop_foreign(pieces, labels) == pieces


def test_1s_beside_a_slanted_comma_stay() -> None:
    """The comma passed for a sign, and the other 1 for nothing: 11 was accepted as 1."""
    page = np.zeros((HEIGHT, WIDTH), np.uint8)
    for first, last in (((200, 100), (205, 250)), ((250, 102), (256, 250)), ((282, 240), (270, 262))):
        cv2.line(page, first, last, 1, 5)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(page, connectivity=8)
    pieces = [
        Piece((n,), *(int(v) for v in (x, y, x + w, y + h, area)))
        for n, (x, y, w, h, area) in enumerate(stats[1:count].tolist(), start=1)
    ]
    assert drop_foreign(pieces, np.asarray(labels, np.int32)) == pieces


@pytest.mark.parametrize("is_level", [False, True])
def test_a_cable_from_border_to_border_goes(is_level: bool) -> None:
    bends = np.array([(100, 0), (160, 130), (90, 260), (150, 399)], np.int32)
    if is_level:
        bends = np.array([(0, 330), (200, 290), (400, 350), (599, 300)], np.int32)
    sign = _piece(1, 300, 100, 50, 80)
    page, cable = _labels([sign]), np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.polylines(cable, [bends], isClosed=False, color=1, thickness=6)
    page[cable > 0] = 9
    rows, columns = np.nonzero(cable)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    assert drop_foreign([sign, Piece((9,), *box, len(rows))], page) == [sign]


def test_a_1_from_border_to_border_before_cents_stays() -> None:
    pieces, labels = _with_stroke((100, 0), (100, 399), _piece(1, 200, 20, 60, 100))
    assert drop_foreign(pieces, labels) == pieces


@pytest.mark.parametrize(("first", "last"), [(-20, WIDTH), (60, 480)])
@pytest.mark.parametrize("pen", [5, 14])
def test_digits_that_hang_together_stay(first: int, last: int, pen: int) -> None:
    """A number whose digits touch, beside one digit that does not: all of it was taken for a pen."""
    sign = _piece(1, 300, 10, 50, 60)
    page, chain = _labels([sign]), np.zeros((HEIGHT, WIDTH), np.uint8)
    for x in range(first, last, 44):
        cv2.ellipse(chain, (x + 30, 200), (24, 30), 0, 0, 360, 1, pen)
    page[chain > 0] = 9
    rows, columns = np.nonzero(chain)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    pieces = [sign, Piece((9,), *box, len(rows))]
    assert drop_foreign(pieces, page) == pieces


def test_a_digit_low_beside_a_long_stroke_is_no_full_stop_and_a_slanted_comma_is_one() -> None:
    stroke, digit = _piece(1, 200, 20, 20, 340, 0.9), _piece(2, 225, 270, 80, 100, 0.3)
    assert drop_specks([stroke, digit], WIDTH, HEIGHT, _labels([stroke, digit])) == [stroke, digit]
    page, comma = _labels([stroke]), np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.line(comma, (300, 300), (240, 370), 1, 9)
    page[comma > 0] = 2
    rows, columns = np.nonzero(comma)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    assert drop_specks([stroke, Piece((2,), *box, len(rows))], WIDTH, HEIGHT, page) == [stroke]


def _drawn(draw: Callable[[np.ndarray], object], label: int, page: np.ndarray) -> Piece:
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    draw(canvas)
    page[canvas > 0] = label
    rows, columns = np.nonzero(canvas)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return Piece((label,), *box, len(rows))


@pytest.mark.parametrize(
    ("x", "y", "radius", "stays"),
    [
        (200, 250, 6, True),  # the dot of an exclamation mark
        (214, 20, 6, True),  # of an i
        (200, 250, 2, False),  # dust: thinner than the pen
        (230, 250, 6, False),  # beside the line that the stroke would go on in
        (196, 320, 6, False),  # far below
    ],
)
def test_a_dot_as_thick_as_a_stroke_and_in_line_with_it_is_no_speck(
    x: int, y: int, radius: int, stays: bool
) -> None:
    page = _labels([])
    stroke = _drawn(lambda canvas: cv2.line(canvas, (212, 50), (202, 220), 255, 12), 1, page)
    dot = _drawn(lambda canvas: cv2.circle(canvas, (x, y), radius, 255, -1), 2, page)
    assert (drop_specks([stroke, dot], WIDTH, HEIGHT, page) == [stroke, dot]) is stays
