"""Pieces of one sign joined: the bar of a 5, the flag of a 1, a stroke that broke."""

from __future__ import annotations

from worker.vision.pieces import Piece, usual_extent, usual_height_px

LEAST_APART_PX = 10  # what is smaller and stands alone is a speck
MOST_PIECES = 256  # the largest: what is left out of a page of specks is specks


def join_pieces(pieces: list[Piece]) -> list[Piece]:
    """Pieces of one sign joined, from the largest down; repeated until nothing joins any more."""
    marks = sorted(pieces, key=lambda piece: piece.area_px, reverse=True)[:MOST_PIECES]
    if not marks:
        return []
    reference_px = usual_height_px(marks)
    joined = True
    while joined:
        joined = False
        for i in range(len(marks)):
            for j in range(len(marks) - 1, i, -1):
                if _belong_together(marks[i], marks[j], reference_px):
                    marks[i] = marks[i].joined(marks.pop(j))
                    joined = True
    # What stayed alone and is small beside a whole sign is a speck, a comma, a scrap of a frame.
    largest = usual_extent(marks)
    usual_area_px = sorted(mark.area_px for mark in marks if mark.extent >= 0.6 * largest)[-1]
    main = max(marks, key=lambda mark: mark.area_px)
    # Small signs that stand far from it and are no single speck were written, whatever is drawn beside them.
    apart = {
        mark.labels
        for mark in marks
        if mark.extent >= max(0.12 * largest, LEAST_APART_PX) and mark.gap_to(main) > 0.4 * main.extent
    }
    return [
        mark
        for mark in marks
        if (len(apart) >= 2 and mark.labels in apart)
        or (
            mark.extent >= 0.3 * largest
            and (mark.extent >= 0.6 * largest or mark.area_px >= 0.12 * usual_area_px)
        )
    ]


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
        return gap_y < 0.25 * reference_px and not (both_tall and gap_y > 0.02 * reference_px)
    if both_tall:
        return False  # side by side: two digits
    # A fragment beside the rest: the bar of a 5, the flag of a 1, the arm of a 4.
    if small.height >= 0.45 * large.height:
        return False
    is_top_bar = small.width > small.height and (small.y + small.bottom) / 2 < large.y + 0.35 * large.height
    if is_top_bar:
        return max(gap_x, gap_y) < 0.25 * reference_px
    return gap_x < 0.10 * reference_px and overlap_y > 0.5
