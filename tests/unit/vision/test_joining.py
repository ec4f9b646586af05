"""Pieces of one sign come together, digits beside each other do not, and scraps go."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.vision.joining import MOST_PIECES, _belong_together, _join_all, join_pieces
from worker.vision.pieces import Piece, usual_height_px


def _pieces(*spans: tuple[int, int, int, int]) -> list[Piece]:
    """Pieces at (x, y, width, height), a third of each box inked."""
    return [Piece((i + 1,), x, y, x + w, y + h, max(1, w * h // 3)) for i, (x, y, w, h) in enumerate(spans)]


def _groups(pieces: Sequence[Piece]) -> set[frozenset[int]]:
    return {frozenset(piece.labels) for piece in join_pieces(list(pieces))}


def test_nothing_and_one_pixel_stay_what_they_are() -> None:
    assert join_pieces([]) == []
    dot = _pieces((3, 3, 1, 1))
    assert join_pieces(dot) == dot


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        (((0, 10, 50, 80), (25, 2, 40, 7)), {frozenset({1, 2})}),  # the bar of a 5
        (((0, 0, 60, 90), (20, 30, 20, 20)), {frozenset({1, 2})}),  # within
        (((0, 0, 40, 80), (45, 0, 40, 80)), {frozenset({1}), frozenset({2})}),  # two digits
        (((0, 0, 60, 42), (0, 46, 60, 42)), {frozenset({1, 2})}),  # the bows of a 3
        (((0, 0, 40, 80), (0, 100, 40, 80)), {frozenset({1}), frozenset({2})}),  # two lines
        (((0, 0, 40, 80), (0, 81, 40, 80)), {frozenset({1}), frozenset({2})}),  # two lines, all but touching
        (((0, 0, 40, 80), (50, 74, 4, 4)), {frozenset({1})}),  # a full stop
        (
            ((50, 0, 40, 80), (100, 0, 40, 80), (10, 92, 180, 9), (50, 112, 40, 80)),
            {frozenset({1}), frozenset({2}), frozenset({4})},
        ),  # the line below an addition
        (
            ((0, 0, 80, 40), (0, 52, 80, 9), (0, 75, 80, 40)),
            {frozenset({1}), frozenset({2}), frozenset({3})},
        ),  # a number that lies, with a 1 in it
        (
            ((40, 10, 16, 60), (70, 16, 50, 54), (0, 0, 130, 8)),
            {frozenset({1, 2, 3})},
        ),  # the roof of a 7 over the next digit
        (((0, 0, 110, 70), (5, 76, 105, 9)), {frozenset({1, 2})}),  # a bar as wide as its sign
    ],
)
def test_what_belongs_together(spans: tuple[tuple[int, int, int, int], ...], expected: object) -> None:
    assert _groups(_pieces(*spans)) == expected


@pytest.mark.parametrize("thin_px", [300, 924])
def test_beside_something_huge_no_digit_of_a_row_is_a_speck(thin_px: int) -> None:
    """As above a bar code: a 4 with less ink than its neighbours was dropped, and the rest accepted."""
    areas = (thin_px, 1055, 1412, 1088)
    row = [Piece((i,), 40 + 50 * i, 59, 76 + 50 * i, 111, area) for i, area in enumerate(areas)]
    code = Piece((9,), 38, 148, 299, 222, 18_582)
    speck = Piece((10,), 320, 140, 332, 150, 60)
    kept = {piece.labels[0] for piece in join_pieces([*row, code, speck])}
    assert kept == {0, 1, 2, 3, 9}


def test_scraps_beside_digits_of_their_own_size_stay_specks() -> None:
    """What is left of the uprights of a comb: those far from the largest digit must not speak for the rest."""
    digits = [Piece((i,), 40 + 110 * i, 50, 90 + 110 * i, 100, 1200 + 95 * (i == 0)) for i in range(3)]
    scraps = [Piece((10 + i,), x, 60, x + 4, 84, 122) for i, x in enumerate((98, 122, 232, 342))]
    kept = {piece.labels[0] for piece in join_pieces([*digits, *scraps])}
    assert {0, 1, 2} <= kept
    assert 10 not in kept


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(1, 90), st.integers(1, 90)),
        max_size=15,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_piece_is_in_two_marks_and_boxes_hold_their_pieces(spans: list[tuple[int, int, int, int]]) -> None:
    pieces = {piece.labels[0]: piece for piece in _pieces(*spans)}
    marks = join_pieces(list(pieces.values()))
    labels = [label for mark in marks for label in mark.labels]
    assert len(set(labels)) == len(labels)
    assert bool(marks) == bool(pieces)
    for mark in marks:
        own = [pieces[label] for label in mark.labels]
        assert (mark.x, mark.y) == (min(p.x for p in own), min(p.y for p in own))
        assert (mark.right, mark.bottom) == (max(p.right for p in own), max(p.bottom for p in own))
        assert mark.area_px == sum(p.area_px for p in own)


def test_of_thousands_of_pieces_the_largest_are_looked_at() -> None:
    pieces = _pieces(*((60 * (i % 60), 60 * (i // 60), 30, 40) for i in range(3000)))
    assert len(join_pieces(pieces)) == MOST_PIECES


def _join_by_asking_everybody(marks: list[Piece], reference_px: int) -> None:
    joined = True
    while joined:
        joined = False
        for i in range(len(marks)):
            for j in range(len(marks) - 1, i, -1):
                if _belong_together(marks[i], marks[j], reference_px):
                    marks[i] = marks[i].joined(marks.pop(j))
                    joined = True


SPANS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 120), st.integers(1, 60), st.integers(1, 90)), max_size=25
)


@given(SPANS)
@settings(max_examples=200, deadline=None)
def test_asking_only_who_is_near_joins_the_same(spans: list[tuple[int, int, int, int]]) -> None:
    pieces = sorted(_pieces(*spans), key=lambda piece: piece.area_px, reverse=True)
    slowly, quickly = list(pieces), list(pieces)
    _join_by_asking_everybody(slowly, usual_height_px(pieces))
    _join_all(quickly, usual_height_px(pieces))
    assert quickly == slowly


def test_cents_beside_a_large_digit_stay_digits_of_their_own() -> None:
    """As on a price tag: they were taken for pieces of the large one, or for specks, and it was accepted alone."""
    pieces = _pieces((60, 100, 60, 74), (127, 104, 20, 30), (153, 108, 21, 27))
    assert _groups(pieces) == {frozenset({1}), frozenset({2}), frozenset({3})}


def test_the_bar_of_a_5_in_two_pieces_is_no_row_of_cents() -> None:
    pieces = _pieces((0, 10, 50, 80), (40, 2, 18, 8), (60, 2, 18, 8))
    assert len(_groups(pieces)) == 1


def test_a_digit_far_from_something_large_is_no_speck() -> None:
    digit, large = Piece((1,), 300, 60, 360, 140, 1500), Piece((2,), 10, 5, 110, 395, 9000)
    speck = Piece((3,), 330, 200, 341, 212, 120)
    assert {piece.labels[0] for piece in join_pieces([large, digit])} == {1, 2}
    assert {piece.labels[0] for piece in join_pieces([large, speck])} == {2}
