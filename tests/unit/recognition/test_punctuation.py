"""Slashes and brackets are no 1s, a dollar is no 5; where it is not plain, what may be one is in doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from worker.recognition.decision import DIGITS, OTHER, Sign, Thresholds, judge
from worker.recognition.punctuation import without_punctuation
from worker.training.pen import ink_of, sample_style
from worker.training.shapes import MARKS, SHAPES
from worker.vision.page import Box
from worker.vision.segmentation import Mark

HEIGHT, STEP = 40, 30
THRESHOLDS = Thresholds(accept=0.95, digit=0.5, line=0.9)


def _bar(height: int, lean_deg: float, pen: int = 4) -> np.ndarray:
    lean = math.tan(math.radians(lean_deg)) * height
    page = np.zeros((height + 12, int(abs(lean)) + 12), np.uint8)
    foot, head = (6 + max(0.0, -lean), 6 + height), (6 + max(0.0, lean), 6)
    cv2.line(page, (round(foot[0]), foot[1]), (round(head[0]), head[1]), 255, pen, cv2.LINE_AA)
    rows, columns = np.flatnonzero(page.any(axis=1)), np.flatnonzero(page.any(axis=0))
    return page[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32) / 255


def _flagged() -> np.ndarray:
    page = np.zeros((HEIGHT, 22), np.uint8)
    cv2.polylines(
        page, [np.array([(2, 14), (16, 2), (12, 38)], np.int32)], isClosed=False, color=255, thickness=4
    )
    return page.astype(np.float32) / 255


def _line(text: str, slash: np.ndarray, one: np.ndarray | None = None) -> tuple[list[Sign], list[Mark]]:
    """The signs of a line as two networks read them, every `/` as a 1, and its marks."""
    signs, marks, x = [], [], 10
    for character in text:
        ink = slash if character == "/" else (one if character == "1" and one is not None else _flagged())
        box = Box(x, 100 - ink.shape[0], ink.shape[1], ink.shape[0])
        digit = 1 if character == "/" else int(character)
        row = np.full(DIGITS + 3, 0.0001)
        row[digit] = 1 - row.sum() + row[digit]
        signs.append(Sign(row, box, digit, is_of_line=True))
        marks.append(Mark(box, ink))
        x += max(STEP, ink.shape[1] + 4)
    return signs, marks


def _read(text: str, slash: np.ndarray, one: np.ndarray | None = None) -> str:
    return judge([without_punctuation(*_line(text, slash, one))], THRESHOLDS).text.replace(" ", "")


@pytest.mark.parametrize(
    "date", ["12/05/2026", "3/4/1999", "04/11/2003", "2026/05/12", "31/12/26", "11/11/2011"]
)
@pytest.mark.parametrize("lean_deg", [8.0, 20.0, 38.0])
@pytest.mark.parametrize("pen", [1, 5])
def test_the_slashes_of_a_date_are_left_out(date: str, lean_deg: float, pen: int) -> None:
    assert _read(date, _bar(46, lean_deg, pen)) == date.replace("/", "")


def test_slanted_1s_of_the_day_and_the_year_stay_beside_slashes() -> None:
    assert _read("08/04/1973", _bar(46, 25), one=_bar(40, 24)) == "08041973"


@pytest.mark.parametrize("text", ["72/51/1551", "54/72/8143", "46/22/91"])
def test_what_is_parted_like_a_date_and_is_none_goes_to_a_person(text: str) -> None:
    assert "?" in _read(text, _bar(46, 25))


def test_a_long_slash_of_a_fraction_goes_to_a_person() -> None:
    assert "?" in _read("3/4", _bar(58, 25))
    assert "?" in _read("05/2026", _bar(58, 25))


@pytest.mark.parametrize("text", ["314", "1210512026", "7171", "11111111", "2110311"])
@pytest.mark.parametrize("lean_deg", [-20.0, 0.0, 5.0])
def test_upright_1s_are_1s(text: str, lean_deg: float) -> None:
    assert _read(text, _bar(40, 20), one=_bar(40, lean_deg)) == text


@pytest.mark.parametrize("text", ["314", "12105", "71710", "9111", "2110311"])
def test_slanted_1s_as_high_as_the_digits_beside_them_are_1s(text: str) -> None:
    assert _read(text, _bar(40, 20), one=_bar(42, 20)) == text


def test_flagged_1s_are_1s_where_a_date_would_have_slashes() -> None:
    assert _read("1210512026", _bar(40, 20)) == "1210512026"


def _bow(opens: bool, height: int = 50) -> np.ndarray:
    """A round bracket."""
    page = np.zeros((height, 20), np.uint8)
    middle, angles = ((24, height // 2), (110, 250)) if opens else ((-5, height // 2), (-70, 70))
    cv2.ellipse(page, middle, (20, height // 2), 0, *angles, 255, 4, cv2.LINE_AA)
    return page.astype(np.float32) / 255


def _drawn(shape: str, height: int = 46) -> np.ndarray:
    """What `shapes` hold, by the project's own pen."""
    shapes = {one.name: one for one in MARKS} | {one.name: one for one in SHAPES[5]}
    rng = np.random.default_rng(1)
    ink = ink_of(shapes[shape], sample_style(rng), rng, float(height))
    rows, columns = np.flatnonzero((ink > 0.1).any(axis=1)), np.flatnonzero((ink > 0.1).any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _line_of(signs: Sequence[tuple[int, np.ndarray]]) -> str:
    read, marks = [], []
    for place, (digit, ink) in enumerate(signs):
        box = Box(10 + 60 * place, 100 - ink.shape[0], ink.shape[1], ink.shape[0])
        row = np.full(DIGITS + 3, 0.0001)
        row[digit] = 1 - row.sum() + row[digit]
        read.append(Sign(row, box, digit, is_of_line=True))
        marks.append(Mark(box, ink))
    return judge([without_punctuation(read, marks)], THRESHOLDS).text.replace(" ", "")


def test_brackets_around_a_number_are_left_out() -> None:
    digits = [(digit, _flagged()) for digit in (3, 0, 1)]
    assert _line_of([(1, _bow(opens=True)), *digits, (1, _bow(opens=False))]) == "301"
    assert _line_of([(1, _bow(opens=True)), *digits, (1, _bow(opens=False)), *digits]) == "301301"


@pytest.mark.parametrize("count", [1, 3])
def test_a_bracket_alone_goes_to_a_person(count: int) -> None:
    digits = [(digit, _flagged()) for digit in (3, 0, 7)[:count]]
    assert "?" in _line_of([(1, _bow(opens=True)), *digits])
    assert "?" in _line_of([*digits, (1, _bow(opens=False))])
    assert _line_of([*digits, (1, _bow(opens=False, height=42))]).endswith("1")  # a bent 1 is no higher


def test_brackets_around_a_single_digit_are_left_out() -> None:
    assert _line_of([(1, _bow(opens=True)), (3, _flagged()), (1, _bow(opens=False))]) == "3"


def test_a_bar_goes_to_a_person_however_few_digits_are_beside_it() -> None:
    assert "?" in _line_of([(3, _flagged()), (1, _bar(60, 0))])
    assert "?" in _line_of([(3, _flagged()), (1, _bar(60, 0)), (7, _flagged())])
    assert _line_of([(3, _flagged()), (1, _bar(46, 0)), (7, _flagged())]) == "317"


def test_a_bracket_around_noughts_is_none_of_them() -> None:
    nought = _drawn("$", 40)
    signs = [(1, _bow(opens=True)), (0, nought), (0, nought), (1, _bow(opens=False))]
    assert _line_of(signs) == "00"
    assert _line_of([(1, _bar(58, 0)), (0, nought)]) == "10"


def test_noughts_that_are_written_small_do_not_make_a_bar_of_a_1() -> None:
    small = cv2.resize(_flagged(), None, fx=0.6, fy=0.6)
    signs = [(1, _bar(44, 0)), (3, _flagged()), *[(0, small)] * 3]
    assert _line_of(signs) == "13000"


def test_a_comma_is_left_out_and_a_short_1_goes_to_a_person() -> None:
    signs, marks = _line("37/", _bar(14, 10, pen=2))
    assert judge([without_punctuation(signs, marks)], THRESHOLDS).text == "37?"
    low = Box(signs[2].box.x, 96, signs[2].box.width, 14)
    comma = [*signs[:2], replace(signs[2], box=low)]
    assert judge([without_punctuation(comma, [*marks[:2], Mark(low, marks[2].ink)])], THRESHOLDS).text == "37"


def test_a_dollar_in_front_is_left_out_and_elsewhere_goes_to_a_person() -> None:
    digits = [(digit, _flagged()) for digit in (3, 0, 1)]
    assert _line_of([(5, _drawn("$", 48)), *digits]) == "301"
    assert "?" in _line_of([*digits, (5, _drawn("$", 48)), *digits])


@pytest.mark.parametrize("shape", [one.name for one in SHAPES[5]])
def test_a_5_in_front_is_a_5(shape: str) -> None:
    digits = [(digit, _drawn(shape)) for digit in (3, 0, 1)]  # by the same pen
    assert _line_of([(5, _drawn(shape)), *digits]) == "5301"


def _word(nought_px: int, gap_px: int, letter: int | None = None) -> str:
    """A letter, or what is read as this digit, then a nought so high, then a number."""
    row = np.full(DIGITS + 3, 0.0001)
    row[OTHER if letter is None else letter] = 0.998
    signs = [Sign(row, Box(10, 60, 30, 40), letter)]
    x = 40 + gap_px
    for digit, height in ((0, nought_px), (3, 40), (7, 40)):
        row = np.full(DIGITS + 3, 0.0001)
        row[digit] = 0.998
        signs.append(Sign(row, Box(x, 100 - height, 24, height), digit, is_of_line=True))
        x += 30
    return judge([without_punctuation(signs, [])], THRESHOLDS).text.replace(" ", "")


def test_a_low_nought_beside_a_letter_may_be_an_o() -> None:
    assert _word(28, 4) == "?37"


@pytest.mark.parametrize(("nought_px", "gap_px", "letter"), [(40, 4, None), (28, 40, None), (28, 4, 2)])
def test_a_nought_among_digits_or_as_high_as_they_are_or_apart_is_a_nought(
    nought_px: int, gap_px: int, letter: int | None
) -> None:
    assert _word(nought_px, gap_px, letter).endswith("037")


def _with_a_blot(text: str, place: int, size: tuple[int, int]) -> list[Sign]:
    """The signs of a line, with something of this width and height before the sign at a place that is no digit."""
    signs, marks = _line(text, _bar(HEIGHT, 15))
    right = signs[place].box.x if place < len(signs) else signs[-1].box.right + STEP
    row = np.full(DIGITS + 3, 0.0001)
    row[OTHER] = 1 - row.sum() + row[OTHER]
    ring = Sign(row, Box(right - 2, 100 - (HEIGHT + size[1]) // 2, *size), None, is_of_line=True)
    return without_punctuation([*signs[:place], ring, *signs[place:]], marks)


@pytest.mark.parametrize(("place", "size"), [(2, (60, 64)), (1, (30, 50)), (0, (60, 64)), (4, (60, 64))])
def test_a_digit_beside_something_large_that_is_none_goes_to_a_person(
    place: int, size: tuple[int, int]
) -> None:
    assert "?" in judge([_with_a_blot("4193", place, size)], THRESHOLDS).text


@pytest.mark.parametrize(("place", "size"), [(0, (30, 50)), (4, (200, 64)), (2, (12, 64)), (2, (30, 20))])
def test_currency_words_and_dashes_beside_digits_leave_them_be(place: int, size: tuple[int, int]) -> None:
    assert judge([_with_a_blot("4193", place, size)], THRESHOLDS).text.replace(" ", "") == "4193"


def test_without_a_label_for_what_is_no_digit_nothing_is_left_out() -> None:
    signs, marks = _line("12/05/2026", _bar(46, 20))
    short = [Sign(sign.probabilities[:OTHER], sign.box, sign.chosen) for sign in signs]
    after = without_punctuation(short, marks)
    assert [sign.chosen for sign in after] == [sign.chosen for sign in signs]
    assert min(sign.confidence for sign in after) < THRESHOLDS.accept


def test_a_sign_that_was_cut_from_a_mark_is_no_slash() -> None:
    signs, marks = _line("12/05/2026", _bar(46, 20))
    assert without_punctuation(signs, marks[:2] + marks[3:5] + marks[6:]) == signs


def _with_a_letter(place: int, height: int, width: int) -> str:
    """What is read of 4097 with a sign that is no digit at a place of it."""
    signs, marks = _line("40977", _bar(46, 25))
    box = signs[place].box
    row = np.full(DIGITS + 3, 0.0001)
    row[OTHER] = 1 - row.sum() + row[OTHER]
    signs[place] = Sign(row, Box(box.x, 100 - height, width, height), None, is_of_line=True)
    return judge([without_punctuation(signs, marks)], THRESHOLDS).text.replace(" ", "")


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_digit_beyond_a_letter_goes_to_a_person(place: int) -> None:
    assert "?" in _with_a_letter(place, HEIGHT, 20)  # as the g of a unit that is a 9 by its looks


@pytest.mark.parametrize(
    ("place", "height", "width"),
    [(2, 20, 24), (2, HEIGHT, 8), (4, HEIGHT, 30), (0, HEIGHT, 30)],
    ids=["a plus", "a bar", "a unit", "a sign of money"],
)
def test_signs_between_numbers_and_beside_them_are_left_out(place: int, height: int, width: int) -> None:
    text = _with_a_letter(place, height, width)
    assert len(text) == 4
    assert "?" not in text
