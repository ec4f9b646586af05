"""Dates whose day, month and year are parted by slashes. Pure.

======  ==========================================================================================
style   what is in the picture
======  ==========================================================================================
free    a date written in one line, its slashes about as high as its digits, or higher
boxed   a box for each digit, with slashes printed between the boxes
======  ==========================================================================================
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from benchmarks.fields import rule
from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions
from benchmarks.rows import skew

STYLES = ("free", "boxed")
MOST_SKEW_DEGREES: Final = 1.5
_MARGIN_PX: Final = 40


def draw_date(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A date of 1950 to 2049; its label is its digits, with a space where a slash is."""
    parts = _date(rng)
    size_px = int(rng.integers(28, 60))
    page = np.zeros((4 * size_px + 2 * _MARGIN_PX, 20 * size_px + 2 * _MARGIN_PX), np.float32)
    base = _MARGIN_PX + 2 * size_px + int(rng.integers(0, size_px))
    thick_px = int(rng.integers(1, max(2, size_px // 14) + 1))
    lean = math.tan(math.radians(rng.uniform(8, 35)))
    slash_px = round(size_px * rng.uniform(1.0, 1.4))
    pen_px = max(2, round(size_px * rng.uniform(0.05, 0.12)))
    box_px = (round(size_px * rng.uniform(1.05, 1.3)), round(size_px * rng.uniform(1.3, 1.6)))
    gap_px = round(size_px * (rng.uniform(0.15, 0.4) if style == "boxed" else rng.uniform(0.08, 0.3)))
    x = _MARGIN_PX + int(rng.integers(0, size_px))
    for place, part in enumerate(parts):
        if place:
            foot = base + round(size_px * rng.uniform(0.0, 0.15))
            rule(page, (x, foot), (x + round(lean * slash_px), foot - slash_px), pen_px, 1.0)
            x += round(lean * slash_px) + max(gap_px, pen_px)
        for digit in part:
            x = _write(
                page, digits, digit, (x, base, size_px), box_px if style == "boxed" else None, thick_px, rng
            )
            x += gap_px
    degrees = float(rng.uniform(-MOST_SKEW_DEGREES, MOST_SKEW_DEGREES))
    conditions = draw_office_conditions(rng)
    notes = {"skew": f"{degrees:.2f}", "made_with": f"slashes {slash_px} px digits {size_px} px {conditions}"}
    page = np.ascontiguousarray(page[:, : x + _MARGIN_PX])
    image = develop(skew(page, degrees), conditions, rng)
    return Picture(" ".join(parts), style, image, conditions.jpeg_quality, notes)


def _date(rng: np.random.Generator) -> list[str]:
    """Day, month and year, or month first, or year first; the two short ones with a nought before them, or without."""
    day, month, year = int(rng.integers(1, 29)), int(rng.integers(1, 13)), int(rng.integers(1950, 2050))
    form = "{:02d}" if rng.random() < 0.7 else "{}"
    short = [form.format(day), form.format(month)]
    order = rng.random()
    if order < 0.2:
        return [str(year), *reversed(short)]
    return [*(short if order < 0.7 else reversed(short)), str(year)]


def _write(
    page: Ink,
    digits: TestDigits,
    digit: str,
    where: tuple[int, int, int],
    box_px: tuple[int, int] | None,
    thick_px: int,
    rng: np.random.Generator,
) -> int:
    """Write a digit on a base line, in a box of this width and height if there is one; give where it ends."""
    x, base, size_px = where
    chosen = int(rng.choice(np.flatnonzero(np.asarray(digits.labels) == int(digit))))
    height_px = round(size_px * rng.uniform(0.9, 1.0))
    ink = enlarge(cut_out(digits.pixels[chosen]), height_px, 1.3)
    if box_px is None:
        put(ink, page, x, base - height_px)
        return x + int(ink.shape[1])
    width, height = box_px
    low = base + (height - size_px) // 2
    for start, end in (
        ((x, low), (x + width, low)),
        ((x, low - height), (x + width, low - height)),
        ((x, low), (x, low - height)),
        ((x + width, low), (x + width, low - height)),
    ):
        rule(page, start, end, thick_px, 0.8)
    ink = ink[:, : width - 2 * thick_px]
    put(ink, page, x + (width - ink.shape[1]) // 2, base - height_px)
    return x + width
