"""Digits with a ring drawn around them by hand, as marks and chosen answers have it. Pure.

========  ========================================================================================
style     what is in the picture
========  ========================================================================================
ring      one digit in a ring that stands free of it: closed, left open, or drawn past its beginning
touching  one digit that touches its ring, or reaches across it
number    two or three digits in one ring
answer    four to six digits in a row, one of them in a ring
========  ========================================================================================
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions

STYLES = ("ring", "touching", "number", "answer")
_POINTS: Final = 120
_SUBPIXEL_BITS: Final = 4


def draw_circled(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A digit or a number in a ring, or a row with one digit in a ring; its label is all of its digits."""
    size_px = int(rng.integers(32, 90))
    count = {"ring": 1, "touching": 1, "number": int(rng.integers(2, 4))}.get(style) or int(
        rng.integers(4, 7)
    )
    ringed = range(count) if style != "answer" else range(chosen := int(rng.integers(count)), chosen + 1)
    gap_px = round(size_px * (rng.uniform(0.7, 1.1) if style == "answer" else rng.uniform(0.1, 0.25)))
    page = np.zeros((4 * size_px, round((count + 1) * (1.2 * size_px + gap_px)) + 3 * size_px), np.float32)
    top, x = round(1.5 * size_px), round(1.6 * size_px)
    label, left, right = "", 0, 0
    for place in range(count):
        which = int(rng.integers(len(digits.labels)))
        height_px = round(size_px * rng.uniform(0.88, 1.0))
        ink = enlarge(cut_out(digits.pixels[which]), height_px, 1.3, round(1.2 * size_px))
        put(ink, page, x, top + (size_px - ink.shape[0]) // 2)
        left = x if place == ringed[0] else left
        right = x + ink.shape[1] if place == ringed[-1] else right
        x += ink.shape[1] + gap_px
        label += str(int(digits.labels[which]))
    how = _ring(page, (left, right, top + size_px / 2), size_px, style, rng)
    conditions = draw_office_conditions(rng)
    page = np.ascontiguousarray(page[:, : x - gap_px + round(1.6 * size_px)])
    image = develop(page, conditions, rng)
    return Picture(label, style, image, conditions.jpeg_quality, {"made_with": f"{how} {conditions}"})


def _ring(
    page: Ink, around: tuple[int, int, float], size_px: int, style: str, rng: np.random.Generator
) -> str:
    """Draw a ring around what stands from left to right about a middle line; says how it was drawn."""
    left, right, middle = around
    half_px = (right - left) / 2
    if style == "touching":
        across, along = max(half_px * rng.uniform(1.0, 1.3), 0.45 * size_px), size_px * rng.uniform(0.56, 0.7)
    elif style == "number":
        across, along = half_px + size_px * rng.uniform(0.3, 0.5), size_px * rng.uniform(0.8, 1.0)
    else:
        across, along = max(math.hypot(half_px, size_px / 2) * rng.uniform(1.1, 1.4), 0), 0.0
        along = across * rng.uniform(1.0, 1.15)
    turn = float(rng.choice([0.97, 1.0, 0.9, 1.08]))
    angles = rng.uniform(0, 2 * math.pi) + np.linspace(0, 2 * math.pi * turn, _POINTS)
    wobble = 1 + rng.uniform(0.0, 0.06) * np.sin(2 * angles + rng.uniform(0, 6))
    wobble += np.linspace(0, rng.uniform(0.0, 0.08), _POINTS)  # no hand ends where it began
    points = np.stack(
        [(left + right) / 2 + across * wobble * np.cos(angles), middle + along * wobble * np.sin(angles)],
        axis=1,
    )
    thick_px = max(2, round(size_px * rng.uniform(0.03, 0.09)))
    drawn = np.zeros(page.shape, np.uint8)
    fixed = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(drawn, [fixed], False, 255, thick_px, cv2.LINE_AA, _SUBPIXEL_BITS)  # noqa: FBT003
    np.maximum(page, drawn.astype(np.float32) / 255 * np.float32(rng.uniform(0.7, 1.0)), out=page)
    return f"ring {2 * across:.0f}x{2 * along:.0f} px, {turn} turns, pen {thick_px} px, digits {size_px} px"
