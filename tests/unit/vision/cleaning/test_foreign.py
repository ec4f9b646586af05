"""What nobody wrote is left out; what somebody wrote stays."""

from __future__ import annotations

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
