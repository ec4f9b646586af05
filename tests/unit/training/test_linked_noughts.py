"""Noughts in one line: how many, where, and that they hang together."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from worker.training.linked_noughts import Link, draw_linked_noughts

HEIGHT_PX = 40.0


def _on_one_field(links: list[Link]) -> np.ndarray:
    left, top = min(link.x for link in links), min(link.y for link in links)
    right = max(link.x + link.ink.shape[1] for link in links)
    bottom = max(link.y + link.ink.shape[0] for link in links)
    field = np.zeros((bottom - top, right - left), np.float32)
    for link in links:
        y, x = link.y - top, link.x - left
        window = field[y : y + link.ink.shape[0], x : x + link.ink.shape[1]]
        np.maximum(window, link.ink, out=window)
    return field


@pytest.mark.parametrize("after_one", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_digit_has_its_own_ink_and_they_come_from_the_left(count: int, after_one: bool) -> None:
    for seed in range(20):
        links = draw_linked_noughts(count, HEIGHT_PX, 3.0, np.random.default_rng(seed), after_one=after_one)
        assert len(links) == count + after_one
        middles = [link.x + link.middle for link in links]
        assert all(one < after for one, after in pairwise(middles))
        for link in links:
            assert link.ink.dtype == np.float32
            assert 0.9 < link.ink.max() <= 1.0
            assert 0 <= link.middle <= link.ink.shape[1]


def test_the_pen_is_not_lifted() -> None:
    for seed in range(20):
        links = draw_linked_noughts(4, HEIGHT_PX, 3.0, np.random.default_rng(seed), after_one=seed % 2 == 1)
        field = (_on_one_field(links) > 0.2).astype(np.uint8)
        assert cv2.connectedComponents(field, connectivity=8)[0] == 2


def test_noughts_stand_on_the_line_and_are_no_higher_than_digits() -> None:
    for seed in range(30):
        for link in draw_linked_noughts(3, HEIGHT_PX, 2.0, np.random.default_rng(seed)):
            assert link.y > -1.4 * HEIGHT_PX
            assert link.y + link.ink.shape[0] < 0.4 * HEIGHT_PX


def test_a_broad_pen_leaves_the_loops_open() -> None:
    open_loops = 0
    for seed in range(40):
        field = _on_one_field(draw_linked_noughts(2, HEIGHT_PX, 30.0, np.random.default_rng(seed)))
        paper = (np.pad(field, 1) < 0.5).astype(np.uint8)
        open_loops += cv2.connectedComponents(paper, connectivity=4)[0] > 2
    assert open_loops > 25
