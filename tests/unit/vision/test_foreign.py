"""What nobody wrote is left out; what somebody wrote stays."""

from __future__ import annotations

from worker.vision.foreign import MANY, drop_foreign, drop_lines_of_the_paper, drop_specks
from worker.vision.pieces import Piece

WIDTH, HEIGHT = 600, 400


def _piece(label: int, x: int, y: int, width: int, height: int, share: float = 0.3) -> Piece:
    return Piece((label,), x, y, x + width, y + height, max(1, round(share * width * height)))


DIGITS = [_piece(1, 100, 100, 50, 80), _piece(2, 180, 100, 50, 80)]


def test_nothing_stays_nothing() -> None:
    assert drop_specks([], WIDTH, HEIGHT) == []
    assert drop_foreign([], WIDTH, HEIGHT) == []
    assert drop_lines_of_the_paper([], WIDTH, HEIGHT, 0.9) == []


def test_one_sign_alone_is_kept_however_small() -> None:
    for piece in (_piece(1, 300, 200, 40, 60), _piece(1, 300, 200, 3, 4, 1.0)):
        assert drop_specks(drop_foreign([piece], WIDTH, HEIGHT), WIDTH, HEIGHT) == [piece]


def test_digits_stay() -> None:
    assert drop_lines_of_the_paper(DIGITS, WIDTH, HEIGHT, 0.9) == DIGITS
    assert drop_specks(drop_foreign(DIGITS, WIDTH, HEIGHT), WIDTH, HEIGHT) == DIGITS


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
    assert drop_foreign([*DIGITS, sleeve], WIDTH, HEIGHT) == DIGITS


def test_among_many_signs_dust_goes_and_no_sign() -> None:
    signs = [_piece(i, 45 * i, 40 + 90 * (i % 2), 30, 60) for i in range(MANY)]
    dust = [_piece(100 + i, 10 * i, 300, 3, 3, 1.0) for i in range(40)]
    assert drop_specks(signs + dust, WIDTH, HEIGHT) == signs
