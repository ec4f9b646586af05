"""Boxes become lines in reading order, level or askew, and wide gaps become spaces."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.vision.layout import groups_of, lines_of, usual_height
from worker.vision.page import Box

BOXES = st.lists(
    st.builds(Box, st.integers(0, 900), st.integers(0, 900), st.integers(0, 200), st.integers(0, 200)),
    max_size=25,
)


def _row(count: int, y: int, x: int = 0, pitch: int = 50, slope: float = 0.0) -> list[Box]:
    return [Box(x + i * pitch, round(y + slope * (x + i * pitch)), 30, 60) for i in range(count)]


def test_nothing_has_no_lines_groups_or_height() -> None:
    assert lines_of([]) == []
    assert groups_of([]) == []
    assert usual_height([]) == 0.0


def test_one_mark_is_one_line_even_one_pixel_or_no_height() -> None:
    for box in (Box(5, 5, 1, 1), Box(5, 5, 9, 0), Box(0, 0, 0, 0)):
        assert lines_of([box]) == [[0]]
        assert groups_of([box]) == [0]


@given(BOXES)
@settings(max_examples=100, deadline=None)
def test_lines_are_a_partition_each_from_the_left(boxes: list[Box]) -> None:
    lines = lines_of(boxes)
    assert sorted(i for line in lines for i in line) == list(range(len(boxes)))
    for line in lines:
        assert line
        centres = [boxes[i].x + boxes[i].right for i in line]
        assert centres == sorted(centres)


@given(BOXES)
@settings(max_examples=100, deadline=None)
def test_groups_count_up_by_one(boxes: list[Box]) -> None:
    groups = groups_of(sorted(boxes, key=lambda box: box.x))
    assert len(groups) == len(boxes)
    assert groups[:1] in ([], [0])
    assert all(after - before in (0, 1) for before, after in itertools.pairwise(groups))


@pytest.mark.parametrize("degrees", [-5, -2, 0, 2, 5])
def test_ten_skewed_lines_stay_ten_in_order(degrees: int) -> None:
    slope = math.tan(math.radians(degrees))
    rows = [_row(12 if n % 3 else 4, 200 + 110 * n, slope=slope) for n in range(10)]
    boxes = [box for row in rows for box in row]
    shuffled = np.random.default_rng(2).permutation(len(boxes)).tolist()
    found = lines_of([boxes[i] for i in shuffled])
    assert [[shuffled[i] for i in line] for line in found] == [
        [boxes.index(box) for box in row] for row in rows
    ]


def test_two_columns_make_one_line_for_each_row() -> None:
    boxes = [box for n in range(4) for box in (*_row(3, 100 * n), *_row(3, 100 * n, x=800))]
    assert lines_of(boxes) == [list(range(6 * n, 6 * n + 6)) for n in range(4)]
    assert groups_of(boxes[:6]) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("gap_px", "lines"), [(90, 1), (270, 1), (400, 2), (700, 2)])
def test_the_farther_apart_the_more_level_signs_of_a_line_stand(gap_px: int, lines: int) -> None:
    """Wide apart, as in squares of a board, and half a height lower: one line, unless it is too far to say."""
    boxes = [Box(0, 0, 30, 60), Box(30 + gap_px, 30, 30, 60), Box(100 + gap_px, 30, 30, 60)]
    assert len(lines_of(boxes)) == lines


@pytest.mark.parametrize("off_px", [0, 10, 22, 28])
def test_between_two_rows_a_field_goes_to_the_nearer_one_or_stays_alone(off_px: int) -> None:
    """Two rows right below one another, and what is 22 px higher than the second belongs to the second."""
    upper = [Box(10, 100, 34, 60), Box(55, 100, 34, 60)]
    lower = [Box(10, 160, 34, 60), Box(55, 160, 34, 60)]
    field = [Box(334, 160 - off_px, 34, 60), Box(379, 160 - off_px, 34, 60)]
    lines = lines_of([*upper, *lower, *field])
    assert [0, 1] in lines
    assert ([2, 3, 4, 5] in lines) == (off_px < 24)


def test_near_chains_at_another_height_stay_lines_of_their_own() -> None:
    """Half a height lower and right of one another, but no chain: a sign of the first is taken already."""
    boxes = [Box(0, 0, 30, 60), Box(0, 62, 30, 60), Box(120, 26, 30, 60), Box(120, 88, 30, 60)]
    assert len(lines_of(boxes)) == 2


def test_signs_without_height_are_laid_out() -> None:
    assert lines_of([Box(0, 0, 5, 0), Box(9, 40, 5, 0)])


def test_a_low_mark_joins_the_line_it_stands_in() -> None:
    dot, dash = Box(85, 52, 6, 6), Box(185, 145, 20, 4)
    boxes = [*_row(2, 0), *_row(2, 0, x=110), *_row(3, 120), dot, dash]
    first, second = lines_of(boxes)
    assert 7 in first
    assert 8 in second


def test_overlapping_boxes_stay_in_one_line() -> None:
    assert lines_of([Box(0, 0, 60, 60), Box(40, 5, 60, 60), Box(85, 0, 60, 60)]) == [[0, 1, 2]]


def test_hundreds_of_marks_are_laid_out() -> None:
    rows = [_row(20, 90 * n) for n in range(10)]
    assert [len(line) for line in lines_of([box for row in rows for box in row])] == [20] * 10


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([10, 10, 10], [0, 0, 0, 0]),
        ([10, 90, 10], [0, 0, 1, 1]),
        ([90, 90, 90], [0, 0, 0, 0]),  # all so wide: no gap stands out
        ([90], [0, 1]),
        ([-5, -5, 70], [0, 0, 0, 1]),
        ([10, 50, 10], [0, 0, 0, 0]),  # too narrow for a space
    ],
)
def test_a_gap_that_is_wide_and_stands_out_is_a_space(gaps: list[int], expected: list[int]) -> None:
    boxes = [Box(0, 0, 30, 60)]
    for gap in gaps:
        boxes.append(Box(boxes[-1].right + gap, 0, 30, 60))
    assert groups_of(boxes) == expected


def test_dots_do_not_lower_the_usual_height() -> None:
    assert usual_height([60, 62, 5, 4, 3, 61]) == 61
    assert usual_height([0, 0]) == 0
    assert usual_height([300, 60, 61, 59]) == 60.5  # one giant does not decide alone


@pytest.mark.parametrize(
    ("y", "lines"), [(0, [[5, 6, 7], [0, 1, 2, 3, 4]]), (175, [[0, 1, 2, 3, 4], [5, 6, 7]])]
)
def test_low_signs_side_by_side_above_or_below_a_line_are_a_line(y: int, lines: list[list[int]]) -> None:
    small = [Box(20 + 30 * i, y, 16, 20) for i in range(3)]
    assert lines_of([*_row(5, 60), *small]) == lines


def test_fewer_low_signs_and_those_in_the_height_of_a_line_join_it() -> None:
    row = _row(5, 60)
    assert len(lines_of([*row, *(Box(20 + 30 * i, 175, 16, 20) for i in range(2))])) == 1
    assert len(lines_of([*row, *(Box(260 + 30 * i, 70, 16, 20) for i in range(3))])) == 1
    assert len(lines_of([*row, *(Box(50 + 90 * i, 130, 5, 8) for i in range(3))])) == 1  # commas, far apart
