"""Connected ink is found alike whether all of a page is labelled or the part of it that matters."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.vision import pieces
from worker.vision.cleaning.paper import clean
from worker.vision.ink import InkMap, find_ink
from worker.vision.page import Page
from worker.vision.pieces import MOST_PIECES, Piece, find_pieces, usual_of, usual_size


@pytest.mark.parametrize("seed", range(6))
def test_labelling_a_part_of_the_page_gives_the_pieces_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grey = np.clip(rng.normal(225, 6, (240, 260)), 0, 255).astype(np.uint8)
    x, y = (int(v) for v in rng.integers(20, 120, 2))
    cv2.putText(grey, "47", (x, y + 60), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 40, 4, cv2.LINE_AA)
    # From the digits out to the border, ever fainter: a part around what is dark would cut it off.
    if seed % 2:
        for step in range(240 - y):
            grey[y + step, x] = min(220, 60 + step)
    ink_map, mask = clean(find_ink(Page(grey)))
    part_labels, part = pieces.find_pieces(ink_map, mask)
    monkeypatch.setattr(pieces, "PARTS_FROM_PX", grey.size + 1)
    labels, whole = pieces.find_pieces(ink_map, mask)
    assert [(p.x, p.y, p.right, p.bottom, p.area_px) for p in part] == [
        (p.x, p.y, p.right, p.bottom, p.area_px) for p in whole
    ]
    for one, other in zip(part, whole, strict=True):
        assert np.array_equal(np.isin(part_labels, one.labels), np.isin(labels, other.labels))


def test_a_page_with_nothing_dark_has_no_pieces() -> None:
    ink_map, mask = clean(find_ink(Page(np.full((300, 300), 240, np.uint8))))
    assert pieces.find_pieces(ink_map, mask)[1] == []


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 900)), max_size=12))
def test_the_usual_size_is_the_same_from_arrays(rows: list[tuple[int, int, int]]) -> None:
    found = [Piece((1,), 0, 0, width, height, area) for width, height, area in rows]
    areas = np.array([piece.area_px for piece in found], np.int64)
    sizes = np.array([piece.size for piece in found], np.int64)
    assert usual_of(areas, sizes) == usual_size(found)


def test_of_a_page_full_of_specks_the_largest_pieces_are_given() -> None:
    ink = np.zeros((400, 400), np.float32)
    ink[::4, ::4] = ink[1::4, ::4] = 1.0  # ten thousand specks
    ink[100:140, 200:230] = 1.0
    ink_map = InkMap(ink, np.full((1, 1), 255, np.float32), 1, is_dark=True, noise=0.0, core=1.0)
    _, found = find_pieces(ink_map, (ink > 0).astype(np.uint8))
    assert len(found) == MOST_PIECES
    assert max(found, key=lambda piece: piece.area_px).height >= 40
