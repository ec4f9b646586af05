"""What is far fainter or smaller than the other signs is not lost; paper, a stain, the line of a ring are none."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from worker.vision.normalization import NormalizerSettings
from worker.vision.overlooked import MOST, RINGS
from worker.vision.page import Box, Grey, Page
from worker.vision.segmentation import find_writing
from worker.vision.sheet import sheet_of

PAPER, INK = 235, 40


def _paper(width: int = 400, height: int = 220, noise: float = 0.0) -> Grey:
    rng = np.random.default_rng(5)
    return np.clip(PAPER + noise * rng.standard_normal((height, width)), 0, 255).astype(np.uint8)


def _write(page: Grey, text: str, x: int, size: float = 3.0, grey: int = INK, base: int = 150) -> Grey:
    cv2.putText(page, text, (x, base), cv2.FONT_HERSHEY_SIMPLEX, size, grey, round(2.5 * size), cv2.LINE_AA)
    return page


def _overlooked(page: Grey) -> list[Box]:
    return [mark.box for mark in find_writing(Page(page)).overlooked]


@pytest.mark.parametrize("grey", [PAPER - 20, PAPER - 35, PAPER - 60])
@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("size_px", [1, 4])
def test_a_faint_digit_beside_a_dark_one_is_overlooked(grey: int, noise: float, size_px: int) -> None:
    page = _write(_write(_paper(noise=noise), "4", 40), "3", 250, grey=grey)
    page = np.repeat(
        np.repeat(page, size_px, axis=0), size_px, axis=1
    )  # sought on a coarse picture in a large one
    writing = find_writing(Page(page))
    (faint,) = writing.overlooked
    assert len(writing.marks) == 1
    assert 245 * size_px < faint.box.x < 275 * size_px
    assert 50 * size_px < faint.box.height < 75 * size_px
    assert faint.ink.max() == 1  # as if it had been written with a dark pen


def test_a_small_picture_is_one_sign() -> None:
    page = np.full((40, 60), PAPER, np.uint8)
    _write(page, "4", 6, 1.1, base=34)
    assert len(_overlooked(_write(page, "3", 34, 1.1, PAPER - 40, base=34))) == 0


def test_a_small_digit_close_to_a_large_one_is_overlooked() -> None:
    page = _write(_write(_paper(), "4", 40, 6.0, base=180), "3", 170, 1.2)
    writing = find_writing(Page(page))
    (small,) = writing.overlooked
    assert len(writing.marks) == 1
    assert small.box.x > 165


@pytest.mark.parametrize("grain", [0.0, 3.0])
def test_clean_paper_and_grain_hold_nothing(grain: float) -> None:
    assert not _overlooked(_write(_paper(noise=grain), "40", 40))


def test_the_texture_of_paper_holds_nothing() -> None:
    grain = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, (600, 600)), (0, 0), 5)
    page = np.clip(PAPER - 12 + 90 * grain, 0, 255).astype(np.uint8)
    assert not _overlooked(_write(page, "4", 40))


def test_a_spot_is_no_sign() -> None:
    page = _paper()
    cv2.circle(page, (300, 110), 14, PAPER - 40, -1, cv2.LINE_AA)
    assert not _overlooked(_write(page, "4", 40))


def test_a_stain_is_no_sign() -> None:
    page = _paper()
    stain = cv2.GaussianBlur(
        cv2.circle(np.zeros(page.shape, np.float32), (300, 110), 45, 60.0, -1), (0, 0), 4
    )
    assert not _overlooked(_write((page - stain).astype(np.uint8), "4", 40))


def test_a_page_of_faint_specks_shows_only_some() -> None:
    page = _write(_paper(900, 900), "4", 40, base=880)
    for x in range(60, 860, 60):
        for y in range(60, 700, 60):
            cv2.circle(page, (x, y), 14, PAPER - 40, 3, cv2.LINE_AA)
    assert len(_overlooked(page)) == MOST


def test_what_hangs_on_a_ring_from_outside_is_overlooked() -> None:
    page = _write(_write(_paper(500, 240), "67", 200), "5", 108)
    cv2.circle(page, (262, 120), 100, 120, 3, cv2.LINE_AA)  # dropped with all that is one piece with it
    writing = find_writing(Page(page))
    assert len(writing.marks) == 2
    (hanging,) = writing.overlooked
    assert hanging.box.x == pytest.approx(111, abs=5)
    assert hanging.box.height == pytest.approx(63, abs=5)


def test_smaller_rings_and_holes_above_do_not_hide_what_hangs_on_the_largest() -> None:
    page = _write(_write(_paper(700, 1000), "67", 400, base=850), "5", 308, base=850)
    cv2.circle(page, (462, 820), 100, 120, 3, cv2.LINE_AA)
    for place in range(RINGS + 5):
        at = (85 + 90 * (place % 6), 60 + 90 * (place // 6))
        cv2.circle(page, at, 36, INK, 3, cv2.LINE_AA)
        _write(page, "3", at[0] - 10, 1, base=at[1] + 10)
        cv2.circle(page, (15, 40 + 30 * place), 8, INK, -1, cv2.LINE_AA)
    hanging = [mark.box for mark in find_writing(Page(page)).overlooked if mark.box.y > 700]
    assert len(hanging) == 1


def test_a_large_ring_costs_no_more_than_its_ink() -> None:
    page = _write(_paper(1800, 1800), "4", 600, 20.0, base=1100)
    for radius in (880, 840, 800):
        cv2.circle(page, (900, 900), radius, 60, 5, cv2.LINE_AA)
    start = time.process_time()
    assert find_writing(Page(page)).marks
    assert time.process_time() - start < 10  # one opening with a disc as large as half a page took a minute


def test_a_ring_alone_has_nothing_hanging_on_it() -> None:
    page = _write(_paper(600), "8", 330)
    cv2.circle(page, (358, 118), 90, 120, 3, cv2.LINE_AA)
    writing = find_writing(Page(page))
    assert (len(writing.marks), writing.overlooked) == (1, ())


def test_what_is_overlooked_turns_with_the_page() -> None:
    page = _write(_write(_paper(), "4", 40), "3", 250, grey=PAPER - 35)
    sheet = sheet_of(Page(page), NormalizerSettings())
    (upright,), (turned,) = sheet.overlooked, sheet.turned(2, NormalizerSettings()).overlooked
    assert (turned.box.x, turned.box.y) == (400 - upright.box.right, 220 - upright.box.bottom)
    np.testing.assert_array_equal(turned.ink, np.rot90(upright.ink, 2))
