"""Pieces of one sign joined: the bar of a 5, the flag of a 1, a stroke that broke."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

import numpy as np
import numpy.typing as npt

from worker.vision.pieces import Piece, usual_height_px, usual_size

LEAST_APART_PX = 10  # what is smaller and stands alone is a speck
NEAR = 0.25  # of the usual height: what belongs together is never farther apart, whichever rule says so
HIGHEST = 1.5  # times the usual height: what would be higher is two signs, one under the other
HUGE = 3.0  # times the extent of the signs beside it
ALIKE = 0.6  # of the extent of the signs that stay: what is as large is no speck
CENTS = 0.25, 0.65  # of the height of what they stand beside: how high signs are that are written small
WIDEST_CENT = 1.3  # of their own height
ASIDE = 0.15  # of its width: how far one may reach into the columns of another
RULE = 1.5  # of the usual height: how long a level stroke is that is no bar of a digit
FLAT, LOWEST = 0.15, 0.3  # of its length, and of the usual height: how high it is at most
ALONG = 0.7  # of the width of a sign: how much of it a line runs along
MOST_PIECES = 256  # the largest: what is left out of a page of specks is specks


def join_pieces(pieces: list[Piece]) -> list[Piece]:
    """Pieces of one sign joined, from the largest down; repeated until nothing joins any more."""
    if len(pieces) < 2:
        return list(pieces)
    marks = _without_rules(sorted(pieces, key=lambda piece: piece.area_px, reverse=True)[:MOST_PIECES])
    cents = _cents(marks)
    if cents:
        main = [mark for mark in marks if mark not in cents]
        _join_all(main, usual_height_px(main))
        return [*main, *cents]
    _join_all(marks, usual_height_px(marks))
    return _without_specks(marks)


def _without_rules(marks: list[Piece]) -> list[Piece]:
    """Without a line below a row of signs, as of an addition: it would join all that stands above and below it."""
    height_px = usual_height_px(marks)
    return [mark for mark in marks if not (_is_level(mark, height_px) and _has_row(mark, marks, height_px))]


def _is_level(mark: Piece, height_px: int) -> bool:
    return mark.width > RULE * height_px and mark.height <= min(FLAT * mark.width, LOWEST * height_px)


def _has_row(rule: Piece, marks: list[Piece], height_px: int) -> bool:
    """Whether two signs stand side by side on a line: along a 1 that lies there is but one.

    A line with signs only below it may be the roof of a 7 that runs on over them.
    """
    along = [
        mark
        for mark in marks
        if mark is not rule
        and mark.height > LOWEST * height_px
        and min(mark.right, rule.right) - max(mark.x, rule.x) > ALONG * mark.width
    ]
    return sum(0 <= rule.bottom - mark.bottom <= height_px for mark in along) >= 2


def _cents(marks: list[Piece]) -> list[Piece]:
    """Small signs in a row to the right of a large one, as cents are written; none where they may be pieces of it.

    `marks` are all there is, the one with the most ink first. No two pieces of a digit stand upright beside it, as high
    as each other, and side by side.
    """
    main, *others = marks
    row = [
        mark
        for mark in others
        if mark.x >= main.right - ASIDE * main.width
        and CENTS[0] * main.height <= mark.height <= CENTS[1] * main.height
        and mark.width <= WIDEST_CENT * mark.height
        and mark.height >= LEAST_APART_PX
    ]
    if len(row) < 2 or any(mark not in row and not mark.is_within(main) for mark in others):
        return []
    in_order = sorted(row, key=lambda mark: mark.x)
    heights = sorted(mark.height for mark in row)
    are_alike = heights[0] >= ALIKE * heights[-1]
    are_beside = all(
        after.x >= before.right - ASIDE * before.width
        and min(before.bottom, after.bottom) - max(before.y, after.y) >= ALIKE * heights[0]
        for before, after in pairwise(in_order)
    )
    return row if are_alike and are_beside else []


def _without_specks(marks: list[Piece]) -> list[Piece]:
    """What stayed alone and is small beside a whole sign is a speck, a comma, a scrap of a frame."""
    largest = usual_size(marks)
    # Of one sign, where several hang together.
    usual_area_px = max(
        mark.area_px * mark.size / mark.extent for mark in marks if mark.extent >= 0.6 * largest
    )
    main = max(marks, key=lambda mark: mark.area_px)
    # Small signs that stand far from it were written, whatever is drawn beside them: several, or one that is no speck.
    apart = {
        mark.labels
        for mark in marks
        if mark.extent >= max(0.12 * largest, LEAST_APART_PX) and mark.gap_to(main) > 0.4 * main.size
    }
    kept = [
        mark
        for mark in marks
        if (mark.labels in apart and (len(apart) >= 2 or mark.is_drawn))
        or (
            mark.extent >= 0.3 * largest
            and (mark.extent >= 0.6 * largest or mark.area_px >= 0.12 * usual_area_px)
        )
    ]
    # Beside something huge a 1 has too little ink for a sign, and the digits beside it have not: they are alike.
    beside = [mark.extent for mark in kept if mark is not main]
    if len(beside) < 2 or main.extent < HUGE * median(beside):
        return kept
    return [mark for mark in marks if mark in kept or mark.extent >= ALIKE * median(beside)]


def _join_all(marks: list[Piece], reference_px: int) -> None:
    """Join in place what belongs together, the larger of two with the smaller, until nothing does any more."""
    boxes = np.array([(mark.x, mark.y, mark.right, mark.bottom) for mark in marks], np.int64)
    joined = True
    while joined:
        joined = False
        i = 0
        while i < len(marks):
            near = _near(boxes, i, len(marks), reference_px)
            while near:
                j = near.pop()
                if _belong_together(marks[i], marks[j], reference_px):
                    marks[i] = one = marks[i].joined(marks.pop(j))
                    boxes = np.delete(boxes, j, axis=0)
                    boxes[i] = one.x, one.y, one.right, one.bottom
                    near = _near(boxes, i, j, reference_px)
                    joined = True
            i += 1


def _near(boxes: npt.NDArray[np.int64], i: int, end: int, reference_px: int) -> list[int]:
    """The places after `i` and before `end` of what lies near enough to be asked; on a page of specks few do."""
    x, y, right, bottom = boxes[i]
    others = boxes[i + 1 : end]
    gaps_x = np.maximum(others[:, 0], x) - np.minimum(others[:, 2], right)
    gaps_y = np.maximum(others[:, 1], y) - np.minimum(others[:, 3], bottom)
    near = np.maximum(gaps_x, gaps_y) < max(1.0, NEAR * reference_px)
    places: list[int] = (np.flatnonzero(near) + i + 1).tolist()
    return places


def _belong_together(large: Piece, small: Piece, reference_px: int) -> bool:
    gap_x = max(large.x, small.x) - min(large.right, small.right)
    gap_y = max(large.y, small.y) - min(large.bottom, small.bottom)
    overlap_x = -gap_x / max(1, min(large.width, small.width))
    overlap_y = -gap_y / max(1, min(large.height, small.height))
    if overlap_x > 0.5 and overlap_y > 0.5:
        return True  # one lies within the other
    both_tall = min(large.height, small.height) > 0.6 * reference_px
    if overlap_x > 0.4:  # one above the other: the bar of a 5, a stroke broken across
        both_wide = large.width > 0.9 * large.height and small.width > 0.9 * small.height
        if both_wide and overlap_x > 0.7 and gap_y < 0.2 * reference_px:
            return True  # the two bows of a 3: digits of two lines are taller than that
        if both_tall:  # a digit that broke, or two of neighbouring lines, which are together as high as two
            height = max(large.bottom, small.bottom) - min(large.y, small.y)
            return gap_y <= 0.02 * reference_px and height < HIGHEST * reference_px
        return gap_y < NEAR * reference_px
    if both_tall:
        return False  # side by side: two digits
    # A fragment beside the rest: the bar of a 5, the flag of a 1, the arm of a 4.
    if small.height >= 0.45 * large.height:
        return False
    is_top_bar = small.width > small.height and (small.y + small.bottom) / 2 < large.y + 0.35 * large.height
    if is_top_bar:
        return max(gap_x, gap_y) < NEAR * reference_px
    return gap_x < 0.10 * reference_px and overlap_y > 0.5
