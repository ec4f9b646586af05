"""A line becomes nodes and candidates: parts of marks, and two marks as one; never too many."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.candidates import LOWEST_CUT_PX, MAX_ATOMS_IN_ONE, MAX_CANDIDATES, are_close, climb, join
from worker.vision.page import Box
from worker.vision.segmentation import Mark


def _rings(count: int, x: int = 0, scale: int = 1) -> Mark:
    """Noughts that touch, at `x` of the page; one pixel of ink covers `scale` of the page."""
    ink = np.zeros((50, 32 * count + 4), np.float32)
    for i in range(count):
        cv2.ellipse(ink, (18 + 32 * i, 25), (15, 21), 0, 0, 360, 1.0, 4)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Mark(Box(x, 10, ink.shape[1] * scale, ink.shape[0] * scale), ink)


def test_no_marks_make_a_ladder_of_one_node() -> None:
    ladder = climb([], (), ())
    assert (ladder.starts, ladder.candidates) == ((0,), ())


def test_whole_marks_are_no_candidates() -> None:
    ladder = climb([_rings(1), _rings(1, 60)], (), ())
    assert (ladder.starts, ladder.candidates) == ((0, 1, 2), ())


def test_a_mark_is_cut_between_its_own_nodes() -> None:
    ladder = climb([_rings(1), _rings(2, 60), _rings(1, 160)], {1}, ())
    start, end = ladder.starts[1], ladder.starts[2]
    assert ladder.starts[0] == 0
    assert start == 1
    assert end > 2
    assert ladder.starts[3] == end + 1
    for candidate in ladder.candidates:
        assert candidate.mark == 1
        assert not candidate.is_joined
        assert start <= candidate.first < candidate.last <= end
        assert 1 <= candidate.last - candidate.first <= MAX_ATOMS_IN_ONE
        assert (candidate.first, candidate.last) != (start, end)
        assert 0 < candidate.share < 1


@pytest.mark.parametrize("scale", [1, 3])
def test_boxes_of_parts_lie_in_the_box_of_their_mark(scale: int) -> None:
    mark = _rings(3, 40, scale)
    candidates = climb([mark], {0}, ()).candidates
    assert candidates
    for candidate in candidates:
        box = candidate.box
        assert box.x >= mark.box.x
        assert box.y >= mark.box.y
        assert box.right <= mark.box.right
        assert box.bottom <= mark.box.bottom
        assert (box.height, box.width) == (candidate.ink.shape[0] * scale, candidate.ink.shape[1] * scale)


def test_two_marks_together_span_the_nodes_of_both_cut_or_not() -> None:
    ladder = climb([_rings(2), _rings(1, 80)], {0}, (0,))
    joined = [candidate for candidate in ladder.candidates if candidate.is_joined]
    assert len(joined) == 1
    assert (joined[0].first, joined[0].last) == (ladder.starts[0], ladder.starts[2])


def test_joining_keeps_the_ink_of_both_at_its_place() -> None:
    one = Mark(Box(10, 20, 4, 6), np.full((6, 4), 0.5, np.float32))
    other = Mark(Box(16, 18, 3, 5), np.ones((5, 3), np.float32))
    both = join(one, other)
    assert both.box == Box(10, 18, 9, 8)
    expected = np.zeros((8, 9), np.float32)
    expected[2:8, 0:4], expected[0:5, 6:9] = 0.5, 1
    assert np.array_equal(both.ink, expected)
    assert np.array_equal(join(other, one).ink, expected)


def test_joining_takes_the_coarser_scale_and_the_darker_ink() -> None:
    fine = Mark(Box(0, 0, 8, 8), np.full((8, 8), 0.25, np.float32))
    coarse = Mark(Box(4, 4, 8, 8), np.ones((4, 4), np.float32))
    both = join(fine, coarse)
    assert both.box == Box(0, 0, 12, 12)
    assert both.ink.shape == (6, 6)
    assert (both.ink[2:, 2:] == 1).all()
    assert (both.ink[:2, :2] == np.float32(0.25)).all()


def test_joining_one_pixel_to_another() -> None:
    dot = np.ones((1, 1), np.float32)
    both = join(Mark(Box(0, 0, 1, 1), dot), Mark(Box(2, 0, 1, 1), dot))
    assert both.ink.tolist() == [[1, 0, 1]]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Box(12, 0, 10, 100), True),
        (Box(39, 0, 10, 100), True),
        (Box(42, 0, 10, 100), False),  # too far aside
        (Box(0, 131, 10, 20), False),  # too far below
        (Box(5, 20, 200, 60), False),  # together wider than a digit
        (Box(0, 0, 10, 0), True),
    ],
)
def test_only_what_is_near_may_be_one_digit(other: Box, expected: bool) -> None:
    box = Box(0, 0, 10, 100)
    assert are_close(box, other, 100) is expected
    assert are_close(other, box, 100) is expected


def test_a_long_line_of_doubtful_marks_keeps_within_bounds_and_cuts_what_it_can() -> None:
    marks = [_rings(2, 90 * i) for i in range(60)]
    ladder = climb(marks, range(60), range(59))
    assert len(ladder.candidates) <= MAX_CANDIDATES
    assert any(not candidate.is_joined for candidate in ladder.candidates)
    assert len(ladder.starts) == 61


def test_one_scribble_among_digits_is_left_whole_rather_than_they() -> None:
    comb = np.zeros((30, 470), np.float32)
    comb[:, ::8], comb[15] = 1, 1
    marks = [_rings(2), *(Mark(Box(90 + 480 * i, 10, 470, 30), comb) for i in range(4))]
    ladder = climb(marks, range(5), ())
    assert len(ladder.candidates) <= MAX_CANDIDATES
    assert any(candidate.mark == 0 for candidate in ladder.candidates)


def test_a_hint_makes_candidates_where_ink_suggests_none() -> None:
    ink = np.ones((40, 60), np.float32)
    mark = Mark(Box(100, 10, 60, 40), ink)
    assert climb([mark], {0}, ()).candidates == ()
    ladder = climb([mark], {0}, (), {0: [130.0]})
    assert [(one.box.x, one.box.right) for one in ladder.candidates] == [(100, 130), (130, 160)]


def test_a_hint_beside_a_seam_adds_nothing() -> None:
    mark = _rings(2, 60)
    plain = climb([mark], {0}, ())
    seam = plain.columns[1]
    assert len(climb([mark], {0}, (), {0: [seam + 1]}).candidates) == len(plain.candidates)


def test_every_node_has_its_column_and_they_never_fall() -> None:
    ladder = climb([_rings(2), _rings(1, 90), _rings(3, 140)], {0, 2}, {0}, {2: [170.0]})
    assert len(ladder.columns) == ladder.starts[-1] + 1
    assert list(ladder.columns) == sorted(ladder.columns)
    assert ladder.columns[ladder.starts[1]] == pytest.approx((_rings(2).box.right + 90) / 2)


def test_parts_of_a_mark_as_large_as_the_page_are_cut_coarsely_and_lie_where_they_did() -> None:
    fine = np.zeros((1200, 1400), np.float32)
    fine[:, 100:500] = fine[:, 900:1300] = 1
    fine[590:610, 500:900] = 1
    large = climb([Mark(Box(40, 60, 1400, 1200), fine)], [0], [])
    small = climb([Mark(Box(40, 60, 1400, 1200), fine[4::8, 4::8].copy())], [0], [])
    assert large.candidates
    assert max(candidate.ink.shape[0] for candidate in large.candidates) < 2 * LOWEST_CUT_PX
    for one, other in zip(large.candidates, small.candidates, strict=True):
        assert one.box.x == pytest.approx(other.box.x, abs=24)
        assert one.box.right == pytest.approx(other.box.right, abs=24)
