"""What stands out among the digits of a line goes to a person; what people write in one number stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.recognition.company import (
    CROWD,
    contradicted,
    low_strokes,
    out_of_place,
    slipped,
    stray_lines,
    unread_in_a_column,
)
from worker.recognition.decision import DIGITS, OTHER, Sign, Thresholds
from worker.vision.page import Box

THRESHOLDS = Thresholds(accept=0.95, digit=0.5, line=0.9)


def _row(digit: int | None, sure: float = 0.99) -> np.ndarray:
    row = np.full(DIGITS + 3, (1 - sure) / (DIGITS + 2))
    row[OTHER if digit is None else digit] = sure
    return row


def _line(*signs: tuple[int | None, int, int]) -> list[Sign]:
    """Signs from the left, each a digit or none, its top and its height; bottoms at 100 unless the top is given."""
    found = []
    for place, (digit, top, height) in enumerate(signs):
        found.append(Sign(_row(digit), Box(10 + 40 * place, top, 24, height), digit))
    return found


def _pen(thick: int) -> np.ndarray:
    page = np.zeros((60, 40), np.uint8)
    cv2.ellipse(page, (20, 30), (12, 22), 0, 0, 300, 255, thick, cv2.LINE_AA)
    return page.astype(np.float32) / 255


def test_a_digit_twice_as_high_as_the_others_is_in_doubt() -> None:
    assert out_of_place(_line((2, 20, 80), (4, 20, 38), (7, 20, 38)), {}) == {0}
    assert out_of_place(_line((2, 20, 80), (4, 50, 50), (7, 50, 50)), {}) == set()


def test_small_noughts_say_nothing_of_how_high_digits_are() -> None:
    assert out_of_place(_line((5, 20, 80), (0, 62, 38), (0, 62, 38)), {}) == set()
    assert out_of_place(_line((9, 20, 80), (3, 20, 80), (0, 62, 38), (0, 62, 38)), {}) == set()


def test_a_crowd_of_scraps_is_not_compared() -> None:
    """Each with each of two hundred would cost more than reading them."""
    signs = _line(*[(2, 20, 80 if place % 2 else 30) for place in range(CROWD + 1)])
    assert out_of_place(signs, {}) == set()
    assert out_of_place(signs[:CROWD], {}) != set()


def test_a_digit_far_away_is_no_company() -> None:
    small = Sign(_row(4), Box(400, 60, 20, 40), 4)
    assert out_of_place([*_line((2, 20, 80)), small], {}) == set()


def test_a_ring_higher_than_the_digits_is_in_doubt() -> None:
    assert out_of_place(_line((0, 40, 60), (4, 60, 40)), {}) == {0}
    assert out_of_place(_line((0, 50, 50), (4, 60, 40)), {}) == set()


def test_a_small_ring_high_up_may_mean_degrees() -> None:
    assert out_of_place(_line((2, 20, 80), (5, 20, 80), (0, 20, 26)), {}) == {2}
    assert out_of_place(_line((2, 20, 80), (5, 20, 80), (0, 74, 26)), {}) == set()


def test_what_another_pen_drew_is_in_doubt() -> None:
    signs = _line((0, 40, 60), (4, 40, 60), (7, 40, 60))
    assert out_of_place(signs, {0: _pen(2), 1: _pen(8), 2: _pen(8)}) == {0}
    assert out_of_place(signs, {0: _pen(20), 1: _pen(5), 2: _pen(5)}) == {0}
    assert out_of_place(signs, {0: _pen(5), 1: _pen(8), 2: _pen(8)}) == set()
    assert out_of_place(signs, {0: _pen(2)}) == set()
    blank = np.zeros((60, 40), np.float32)
    assert out_of_place(signs, {0: blank, 1: np.zeros((0, 4), np.float32), 2: _pen(8)}) == set()
    apart = Sign(_row(7), Box(300, 40, 24, 60), 7)
    assert out_of_place([signs[0], apart], {0: _pen(2), 1: _pen(8)}) == set()


def test_of_two_digits_none_is_of_another_pen_unless_they_differ_much() -> None:
    signs = _line((0, 40, 60), (4, 40, 60))
    assert out_of_place(signs, {0: _pen(3), 1: _pen(8)}) == set()
    assert out_of_place(signs, {0: _pen(1), 1: _pen(20)}) == {0, 1}


@pytest.mark.parametrize(
    ("digit", "top", "height", "expected"),
    [
        (1, 84, 30, ({1}, set())),
        (1, 70, 34, (set(), {1})),  # it ends where the digit does: it may be a 1
        (1, 20, 30, (set(), set())),  # an apostrophe is none
        (1, 50, 50, (set(), set())),
        (7, 84, 30, (set(), set())),
    ],
)
def test_a_short_1_that_hangs_from_the_foot_of_a_digit_is_a_comma(
    digit: int, top: int, height: int, expected: tuple[set[int], set[int]]
) -> None:
    bar = np.ones((30, 5), np.float32)
    signs = _line((3, 20, 80), (digit, top, height))
    assert low_strokes(signs, {1: bar}) == expected
    assert low_strokes(signs, {1: _pen(5)})[0] == set()  # no straight stroke


@pytest.mark.parametrize("sure", [0.6, 0.99])
def test_a_digit_that_was_left_out_puts_its_neighbours_in_doubt(sure: float) -> None:
    read = _line((3, 20, 80), (None, 10, 100), (4, 20, 80))
    boxes = [sign.box for sign in read]
    rows = np.stack([_row(3), _row(1, sure), _row(4)])
    assert contradicted(read, boxes, rows, THRESHOLDS) == {0, 2}


def test_scraps_and_what_the_classifier_calls_none_may_be_left_out() -> None:
    read = _line((3, 20, 80), (None, 60, 40), (4, 20, 80), (None, 20, 80))
    boxes = [sign.box for sign in read]
    rows = np.stack([_row(3), _row(1), _row(4), _row(None)])
    assert contradicted(read, boxes, rows, THRESHOLDS) == set()


def test_two_digits_read_as_one_are_in_doubt_and_the_pieces_of_one_are_not() -> None:
    one = Sign(_row(3), Box(10, 20, 64, 80), 3)
    boxes = [Box(10, 20, 24, 80), Box(50, 20, 24, 80)]
    assert contradicted([one], boxes, np.stack([_row(3), _row(1)]), THRESHOLDS) == {0}
    assert contradicted([one], boxes, np.stack([_row(3), _row(None)]), THRESHOLDS) == set()


def test_a_larger_digit_that_is_read_as_another_is_in_doubt() -> None:
    read = _line((7, 20, 80), (4, 20, 50), (0, 20, 50))
    boxes = [sign.box for sign in read]
    assert contradicted(read, boxes, np.stack([_row(2), _row(4), _row(0)]), THRESHOLDS) == {0}
    assert contradicted(read, boxes, np.stack([_row(7), _row(4), _row(0)]), THRESHOLDS) == set()
    assert contradicted(read, boxes, np.stack([_row(7), _row(9), _row(0)]), THRESHOLDS) == set()


def test_a_stroke_in_a_line_of_its_own_is_stray_at_the_border_or_where_it_is_short() -> None:
    def stray(x: int, y: int, height: int, *others: Sign) -> set[int]:
        stroke = Sign(_row(1), Box(x, y, 6, height), 1)
        ink = np.ones((height, 6), np.float32)
        lines, inks = [[stroke]], [[ink]]
        if others:
            lines, inks = [list(others), [stroke]], [[_pen(5) for _ in others], [ink]]
        return stray_lines(lines, inks, (600, 400))

    digits = _line((3, 20, 80), (4, 20, 80))
    assert stray(300, 300, 100, *digits) == {1}
    assert (
        stray_lines(
            [digits, [Sign(_row(1), Box(300, 300, 6, 100), 1)]], [[_pen(5)] * 2, [_pen(5)]], (600, 400)
        )
        == set()
    )
    assert stray(300, 280, 80, *digits) == set()
    assert stray(300, 280, 30, *digits) == {1}
    assert stray(300, 280, 60, *digits) == set()
    assert stray(300, 300, 100) == set()  # nothing else is there: it is a 1


def _column(*signs: tuple[int | None, int, int, int]) -> list[list[Sign]]:
    """Lone signs below one another, each a digit or none, its left end, its width and its height."""
    return [
        [Sign(_row(digit), Box(x, 20 + 100 * place, width, height), digit)]
        for place, (digit, x, width, height) in enumerate(signs)
    ]


def test_what_nobody_can_tell_in_a_column_of_digits_is_no_scrap() -> None:
    seven, four, six = (7, 50, 40, 60), (4, 52, 38, 62), (6, 48, 40, 58)
    assert unread_in_a_column(_column(seven, four, (None, 50, 44, 60), six)) == {2}
    assert unread_in_a_column(_column((None, 50, 44, 40), seven, four)) == {0}
    assert unread_in_a_column(_column(seven, four, six)) == set()


def test_a_level_bar_between_noughts_may_be_a_one_that_lies() -> None:
    bar = (None, 48, 44, 8)
    assert unread_in_a_column(_column((0, 50, 44, 36), (8, 50, 44, 36), bar)) == {2}
    assert unread_in_a_column(_column((0, 50, 44, 36), (4, 50, 44, 60), bar)) == set()  # the 4 stands
    assert unread_in_a_column(_column((0, 50, 44, 36), (8, 50, 44, 36), (None, 60, 20, 6))) == set()  # a dash
    assert (
        unread_in_a_column(_column((0, 50, 44, 36), (8, 50, 44, 36), (None, 50, 44, 18))) == set()
    )  # no bar
    assert (
        unread_in_a_column(_column((0, 50, 44, 36), (8, 50, 44, 36), (None, 10, 124, 8))) == set()
    )  # a rule


@pytest.mark.parametrize(
    "beside",
    [
        (None, 250, 44, 60),  # elsewhere: a tick, a drawing
        (None, 50, 44, 34),  # small
        (None, 50, 80, 104),  # large
        (None, 50, 20, 60),  # a bar
    ],
)
def test_what_is_no_part_of_a_column_is_left_out(beside: tuple[int | None, int, int, int]) -> None:
    assert unread_in_a_column(_column((7, 50, 40, 60), beside, (6, 48, 40, 60))) == set()


def test_one_digit_is_no_column_and_neither_are_numbers() -> None:
    assert unread_in_a_column(_column((7, 50, 40, 60), (None, 50, 44, 60))) == set()
    numbers = [_line((3, 20, 80), (4, 20, 80)), _line((5, 20, 80), (8, 20, 80))]
    assert unread_in_a_column([*numbers, _line((None, 20, 80))]) == set()


def _at(x: int, y: int, height: int = 60, digit: int | None = 4) -> Sign:
    return Sign(_row(digit), Box(x, y, 40, height), digit)


ROW = [_at(100, 100), _at(150, 100), _at(260, 100)]  # with a gap in which one more digit has room


@pytest.mark.parametrize(
    ("sign", "has_slipped"),
    [
        (_at(205, 160), True),  # in the gap, right below
        (_at(205, 40), True),  # right above
        (_at(205, 185), True),
        (_at(205, 195), False),  # a line apart
        (_at(310, 165), True),  # next to the last one
        (_at(350, 165), False),  # apart from it
        (_at(60, 165), True),
        (_at(194, 165), True),  # all but in the columns of another
        (_at(180, 165), False),  # below another: a row of one digit
        (_at(305, 60, 30), True),  # raised, and small
        (_at(205, 160, 110), False),  # too high to be one of them
        (_at(205, 160, digit=None), False),
    ],
)
def test_a_digit_slipped_where_it_could_stand_in_another_line(sign: Sign, *, has_slipped: bool) -> None:
    assert slipped([ROW, [sign]]) == ({1} if has_slipped else set())
    assert slipped([[sign], ROW]) == ({0} if has_slipped else set())


def test_digits_below_one_another_did_not_slip() -> None:
    assert slipped([[_at(100, 100)], [_at(102, 170)], [_at(98, 240)]]) == set()
    assert slipped([ROW, [_at(205, 160), _at(260, 160)]]) == set()  # a number of its own
    assert slipped([ROW, []]) == slipped([]) == set()


def test_of_two_lone_digits_the_smaller_one_slipped() -> None:
    large, small = _at(100, 100, 90), _at(145, 70, 40)
    assert slipped([[small], [large]]) == {0}
    assert slipped([[large], [small]]) == {1}
    assert slipped([[_at(100, 100)], [_at(145, 165)]]) == {1}
