"""What was overlooked is told where it surely is a digit, in its place and in doubt; else nothing changes."""

from __future__ import annotations

import numpy as np

from worker.recognition.decision import DIGITS, OTHER, SEVERAL, Sign, Thresholds
from worker.recognition.knowledge import Floats
from worker.recognition.overlooked import with_overlooked
from worker.vision.page import Box

THRESHOLDS = Thresholds(accept=0.95, digit=0.5)


def _row(digit: int | None, sure: float = 0.99) -> Floats:
    row = np.full(DIGITS + 3, (1 - sure) / (DIGITS + 2))
    row[OTHER if digit is None else digit] = sure
    return row


def _sign(digit: int | None, x: int, y: int = 100, height: int = 60) -> Sign:
    return Sign(_row(digit), Box(x, y, 40, height), digit)


def _told(lines: list[list[Sign]], box: Box, row: Floats) -> list[list[int | None]]:
    found = with_overlooked(lines, [box], row[None], THRESHOLDS)
    assert [sign for line in found for sign in line if sign.box == box and sign.held > 0] == []
    return [[sign.chosen for sign in line] for line in found]


NUMBER = [_sign(4, 100), _sign(7, 200)]


def test_a_digit_is_told_in_its_place_and_in_doubt() -> None:
    assert _told([NUMBER], Box(150, 105, 40, 50), _row(3)) == [[4, 3, 7]]
    assert _told([NUMBER], Box(20, 105, 40, 50), _row(3)) == [[3, 4, 7]]
    assert _told([NUMBER], Box(300, 150, 8, 12), _row(3)) == [[4, 7, 3]]  # however small


def test_what_is_at_no_lines_height_is_a_line() -> None:
    lines = [NUMBER, [_sign(5, 100, 400)]]
    assert _told(lines, Box(100, 10, 40, 60), _row(3)) == [[3], [4, 7], [5]]
    assert _told(lines, Box(100, 240, 40, 60), _row(3)) == [[4, 7], [3], [5]]
    assert _told(lines, Box(100, 600, 40, 60), _row(3)) == [[4, 7], [5], [3]]


def test_it_has_to_be_as_sure_as_what_is_accepted() -> None:
    assert _told([NUMBER], Box(150, 105, 40, 50), _row(3, 0.94)) == [[4, 7]]
    assert _told([NUMBER], Box(150, 105, 40, 50), _row(None)) == [[4, 7]]


def test_digits_that_touch_each_other_are_one_sign_in_doubt() -> None:
    several = _row(SEVERAL)
    several[3], several[SEVERAL] = 0.01, 0.98
    assert _told([NUMBER], Box(150, 105, 40, 50), several) == [[4, 3, 7]]
    assert _told([NUMBER], Box(150, 125, 40, 30), several) == [[4, 7]]  # letters
    several[OTHER], several[SEVERAL] = 0.1, 0.88
    assert _told([NUMBER], Box(150, 105, 40, 50), several) == [[4, 7]]
    assert _told([NUMBER], Box(150, 105, 40, 50), _row(3)[:DIGITS]) == [
        [4, 3, 7]
    ]  # a model that knows ten labels


def test_what_stands_above_an_empty_line_and_all_others_comes_first() -> None:
    assert _told([NUMBER, [], [_sign(5, 100, 400)]], Box(100, 10, 40, 60), _row(3)) == [[3], [4, 7], [], [5]]
    assert _told([[], NUMBER], Box(100, 240, 40, 60), _row(3)) == [[], [4, 7], [3]]


def test_where_no_digit_was_found_nothing_was_overlooked() -> None:
    assert _told([[_sign(None, 100)]], Box(150, 105, 40, 50), _row(3)) == [[None]]
    assert _told([], Box(150, 105, 40, 50), _row(3)) == []


def test_a_part_of_a_digit_is_not_told_beside_it() -> None:
    assert _told([NUMBER], Box(130, 115, 20, 40), _row(3)) == [[4, 7]]  # half of it lies in the 4
    assert _told([NUMBER], Box(124, 100, 40, 58), _row(3)) == [
        [4, 3, 7]
    ]  # as high as the 4: a slanted neighbour
    assert _told([NUMBER], Box(115, 100, 40, 58), _row(3)) == [[4, 7]]  # most of it lies in the 4
    assert _told([NUMBER], Box(137, 105, 40, 50), _row(3)) == [[4, 3, 7]]
    assert _told([[*NUMBER, _sign(None, 130)]], Box(142, 105, 20, 50), _row(3)) == [[4, None, 3, 7]]


def test_a_stroke_is_a_one_only_level_with_the_digits_of_a_number_and_next_to_one() -> None:
    assert _told([NUMBER], Box(255, 102, 8, 58), _row(1)) == [[4, 7, 1]]
    assert _told([NUMBER], Box(255, 120, 8, 40), _row(1)) == [[4, 7]]  # too low
    assert _told([NUMBER], Box(255, 80, 8, 80), _row(1)) == [[4, 7]]  # too high
    assert _told([NUMBER], Box(255, 80, 8, 58), _row(1)) == [[4, 7]]  # not level
    assert _told([NUMBER], Box(280, 102, 8, 58), _row(1)) == [[4, 7]]  # apart
    assert _told([NUMBER[:1]], Box(155, 102, 8, 58), _row(1)) == [[4]]  # the edge of something
    assert _told([NUMBER], Box(100, 400, 8, 58), _row(1)) == [[4, 7]]  # no line there
