"""Numbers that somebody struck out, which nobody may take for valid. Pure.

=======  =========================================================================================
style    what is in the picture
=======  =========================================================================================
line     a straight line through a number, level or rising
double   two lines
cross    two diagonals
beside   a number struck out and another one beside it
above    a number struck out and another one above it
=======  =========================================================================================
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions

STYLES = ("line", "double", "cross", "beside", "above")
_SUBPIXEL_BITS: Final = 4


def draw_struck(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A number of three to six digits struck out; its label is `none`, whatever else is in the picture."""
    size_px = int(rng.integers(32, 80))
    count = int(rng.integers(3, 7))
    page = np.zeros((5 * size_px, (2 * count + 6) * round(1.3 * size_px)), np.float32)
    left, top = round(1.5 * size_px), round(2.4 * size_px)
    right = _number(page, digits, (left, top, size_px), count, rng)
    start, end = left - size_px * rng.uniform(0.05, 0.5), right + size_px * rng.uniform(0.05, 0.5)
    pen_px = max(2, round(size_px * rng.uniform(0.04, 0.1)))
    middle, rise = top + size_px * rng.uniform(0.38, 0.6), size_px * rng.uniform(-0.35, 0.35)
    apart = size_px * rng.uniform(0.08, 0.15) if style == "double" else 0.0
    if style == "cross":
        ends = [(top - 0.1 * size_px, top + 1.1 * size_px), (top + 1.1 * size_px, top - 0.1 * size_px)]
    else:
        ends = [(middle + rise + aside, middle - rise + aside) for aside in {apart, -apart}]
    for first, last in ends:
        bow = size_px * rng.uniform(-0.03, 0.03)
        _stroke(page, [(start, first), ((start + end) / 2, (first + last) / 2 + bow), (end, last)], pen_px)
    if style == "beside":
        right = _number(page, digits, (round(right + 1.2 * size_px), top, size_px), count, rng)
    if style == "above":
        right = max(right, _number(page, digits, (left, round(top - 1.5 * size_px), size_px), count, rng))
    conditions = draw_office_conditions(rng)
    image = develop(np.ascontiguousarray(page[:, : right + round(1.5 * size_px)]), conditions, rng)
    return Picture(
        "none", style, image, conditions.jpeg_quality, {"made_with": f"pen {pen_px} px {conditions}"}
    )


def _number(
    page: Ink, digits: TestDigits, where: tuple[int, int, int], count: int, rng: np.random.Generator
) -> int:
    """Write so many digits from a place on; gives where they end."""
    x, top, size_px = where
    gap_px = round(size_px * rng.uniform(0.1, 0.3))
    for _ in range(count):
        ink = enlarge(
            cut_out(digits.pixels[int(rng.integers(len(digits.labels)))]),
            round(size_px * rng.uniform(0.9, 1.0)),
            1.3,
            round(1.2 * size_px),
        )
        put(ink, page, x, top + size_px - ink.shape[0])
        x += ink.shape[1] + gap_px
    return x - gap_px


def _stroke(page: Ink, points: list[tuple[float, float]], pen_px: int) -> None:
    drawn = np.zeros(page.shape, np.uint8)
    fixed = np.round(np.array(points) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(drawn, [fixed], False, 255, pen_px, cv2.LINE_AA, _SUBPIXEL_BITS)  # noqa: FBT003
    np.maximum(page, drawn.astype(np.float32) / 255, out=page)
