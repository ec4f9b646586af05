"""Seams run from top to bottom where little ink is, and what lies between them is the mark, but for crumbs."""

from __future__ import annotations

import itertools
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.vision.cuts import CRUMB_SHARE, LEAST_SHARE, MAX_SEAMS, between, find_seams
from worker.vision.ink import Float


def _two_rings(gap: int = 0, height: int = 60) -> tuple[Float, int]:
    """Two noughts that overlap by -`gap` columns, and the column between them."""
    width = round(0.7 * height)
    ink = np.zeros((height, 2 * width + gap), np.float32)
    for x in (0, width + gap):
        centre = (x + width // 2, height // 2)
        cv2.ellipse(ink, centre, (width // 2 - 3, height // 2 - 3), 0, 0, 360, 1.0, 5)
    return ink, width + gap // 2


def _scribble(seed: int, height: int, width: int) -> Float:
    rng = np.random.default_rng(seed)
    ink = np.zeros((height, width), np.float32)
    points = rng.uniform((0, 0), (width, height), (12, 2)).astype(np.int32)
    cv2.polylines(ink, [points], isClosed=False, color=1.0, thickness=2)
    return ink


SCRIBBLES = st.builds(_scribble, st.integers(0, 2**16), st.integers(6, 90), st.integers(6, 120))


def test_two_touching_noughts_are_parted_where_they_touch() -> None:
    ink, middle = _two_rings()
    nearest = min(find_seams(ink), key=lambda seam: abs(float(seam.columns.mean()) - middle))
    assert abs(float(nearest.columns.mean()) - middle) <= 0.1 * ink.shape[0]
    assert nearest.crossed < 0.4


def test_digits_that_are_apart_have_a_seam_that_crosses_no_ink() -> None:
    ink, _ = _two_rings(gap=8)
    assert min(seam.crossed for seam in find_seams(ink)) < 0.05


def test_a_seam_follows_the_slant() -> None:
    ink = np.zeros((60, 90), np.float32)
    for x in (5, 29):
        cv2.line(ink, (x + 30, 2), (x, 57), 1.0, 6)
    seam = min(find_seams(ink), key=lambda seam: seam.crossed)
    assert seam.crossed < 0.05
    assert seam.columns[5] > seam.columns[-5]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 3), (3, 40), (40, 3)])
def test_what_is_too_small_to_be_two_signs_is_not_cut(shape: tuple[int, int]) -> None:
    assert find_seams(np.ones(shape, np.float32)) == []


def test_a_solid_block_is_not_cut() -> None:
    assert find_seams(np.ones((60, 80), np.float32)) == []


@given(SCRIBBLES)
@settings(max_examples=40, deadline=None)
def test_seams_stand_from_left_to_right_and_never_cross(ink: Float) -> None:
    height, width = ink.shape
    seams = find_seams(ink)
    for seam in seams:
        assert seam.columns.shape == (height,)
        assert 0 <= seam.columns.min() <= seam.columns.max() <= width
        left = float(ink[np.arange(width) < seam.columns[:, None]].sum())
        assert LEAST_SHARE <= left / float(ink.sum()) <= 1 - LEAST_SHARE
    for one, other in itertools.pairwise(seams):
        assert (one.columns <= other.columns).all()


@given(SCRIBBLES)
@settings(max_examples=40, deadline=None)
def test_the_pieces_between_neighbouring_seams_are_the_ink_but_for_crumbs(ink: Float) -> None:
    ends = [None, *find_seams(ink), None]
    put_together = np.zeros_like(ink)
    for left, right in itertools.pairwise(ends):
        found = between(ink, left, right)
        if found is not None:
            piece, x, y = found
            put_together[y : y + piece.shape[0], x : x + piece.shape[1]] += piece
    assert (put_together <= ink).all()  # nothing twice, nothing invented
    lost = float((ink - put_together).sum()) / float(ink.sum())
    # Of each piece parts under the share of a crumb are left out; a dozen crumbs in one are already rare.
    assert lost <= 12 * CRUMB_SHARE
    everything = between(ink, None, None)
    assert everything is not None


def test_a_piece_is_tight_and_knows_its_corner() -> None:
    ink = np.zeros((20, 30), np.float32)
    ink[5:12, 7:16] = 0.5
    found = between(ink, None, None)
    assert found is not None
    piece, x, y = found
    assert (x, y, piece.shape) == (7, 5, (7, 9))
    assert (piece == np.float32(0.5)).all()


def test_a_crumb_of_the_neighbour_is_left_out() -> None:
    ink = np.zeros((30, 30), np.float32)
    ink[2:28, 2:12] = 1
    ink[10:12, 25:28] = 1
    found = between(ink, None, None)
    assert found is not None
    assert found[0].shape == (26, 10)


def test_nothing_lies_between_a_seam_and_itself() -> None:
    seam = find_seams(_two_rings()[0])[0]
    assert between(_two_rings()[0], seam, seam) is None


def test_no_ink_gives_no_piece() -> None:
    assert between(np.zeros((5, 5), np.float32), None, None) is None


@pytest.mark.parametrize("shape", [(5, 1000), (60, 900), (600, 1000)])
def test_a_mark_as_wide_as_a_page_has_a_bounded_number_of_seams(shape: tuple[int, int]) -> None:
    ink = np.zeros(shape, np.float32)
    ink[:, ::9] = 1
    ink[shape[0] // 2] = 1
    started = time.process_time()
    assert len(find_seams(ink)) <= MAX_SEAMS
    assert time.process_time() - started < 5
