"""Connected ink is found alike whether all of a page is labelled or the part of it that matters."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision import pieces
from worker.vision.cleaning import clean
from worker.vision.ink import find_ink
from worker.vision.page import Page


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
