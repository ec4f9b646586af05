"""Numbers in which not all digits are alike, and none may be missing from what is accepted. Pure.

=======  =========================================================================================
style    what is in the picture
=======  =========================================================================================
pen      a number one of whose digits has a seventh to a half of the contrast of the others
apart    a digit, and far from it a fainter one
rows     a number, and below it a fainter one, as on the second sheet of a carbon copy
small    a large digit, and a small one beside it
stamp    a number, and a round stamp whose line crosses it
punched  a digit on a sheet with two punched holes that show a dark ground
=======  =========================================================================================
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions

STYLES = ("pen", "apart", "rows", "small", "stamp", "punched")
_FAINT: Final = (0.15, 0.5)  # of the contrast of the others
_SUBPIXEL_BITS: Final = 4


def draw_uneven(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A picture of this style; its label is all of its digits, rows parted by `/`."""
    size_px = int(rng.integers(36, 90))
    if style in ("small", "punched"):
        page, label = _beside(digits, style, 2 * size_px, rng)
    elif style == "rows":
        page, label = _page(4.6, 6, size_px), ""
        for row, strength in enumerate((1.0, rng.uniform(*_FAINT))):
            top = round((0.9 + 1.7 * row) * size_px)
            written = _number(
                page, digits, (size_px, top), [strength] * int(rng.integers(2, 4)), size_px, rng
            )
            label += "/" * row + written
    else:
        count = 2 if style == "apart" else int(rng.integers(2, 5))
        strengths = [1.0] * count
        if style != "stamp":
            strengths[-1 if style == "apart" else int(rng.integers(count))] = rng.uniform(*_FAINT)
        page = _page(3.0, 8, size_px)
        gap_px = round(size_px * rng.uniform(1.5, 3)) if style == "apart" else None
        label = _number(page, digits, (size_px, size_px), strengths, size_px, rng, gap_px)
        if style == "stamp":
            _stamp(page, size_px, rng)
    conditions = draw_office_conditions(rng)
    image = develop(page, conditions, rng)
    return Picture(label, style, image, conditions.jpeg_quality, {"made_with": f"{size_px} px {conditions}"})


def _page(high: float, wide: float, size_px: int) -> Ink:
    return np.zeros((round(high * size_px), round(wide * size_px)), np.float32)


def _digit(digits: TestDigits, size_px: int, rng: np.random.Generator) -> tuple[Ink, str]:
    place = int(rng.integers(len(digits.labels)))
    ink = enlarge(cut_out(digits.pixels[place]), size_px, 1.3, round(1.2 * size_px))
    return ink, str(digits.labels[place])


def _number(
    page: Ink,
    digits: TestDigits,
    where: tuple[int, int],
    strengths: list[float],
    size_px: int,
    rng: np.random.Generator,
    gap_px: int | None = None,
) -> str:
    """Write digits of these strengths from a place on; gives what they say."""
    x, top = where
    label = ""
    for strength in strengths:
        ink, digit = _digit(digits, round(size_px * rng.uniform(0.9, 1.0)), rng)
        put(ink * np.float32(strength), page, x, top + size_px - ink.shape[0])
        x += ink.shape[1] + (round(size_px * rng.uniform(0.1, 0.3)) if gap_px is None else gap_px)
        label += digit
    return label


def _beside(digits: TestDigits, style: str, size_px: int, rng: np.random.Generator) -> tuple[Ink, str]:
    """A large digit, and a small one to its right, or two holes to its left."""
    page = _page(2.0, 2.6, size_px)
    ink, label = _digit(digits, size_px, rng)
    left, top = round(0.8 * size_px), round(0.5 * size_px)
    put(ink, page, left, top)
    if style == "small":
        little, digit = _digit(digits, round(size_px * rng.uniform(0.2, 0.3)), rng)
        x = left + ink.shape[1] + round(size_px * rng.uniform(0.1, 0.3))
        put(little, page, x, top + round((size_px - little.shape[0]) * rng.uniform(0, 1)))
        return page, label + digit
    radius = size_px * rng.uniform(0.12, 0.2)
    x, y, apart = (
        radius * rng.uniform(1.5, 2.0),
        size_px * rng.uniform(0.6, 1.0),
        size_px * rng.uniform(0.4, 0.5),
    )
    for middle in (y - apart, y + apart):
        _circle(page, (x, middle), radius, -1, 1.0)
    return page, label


def _stamp(page: Ink, size_px: int, rng: np.random.Generator) -> None:
    """A ring around a part of the number, darker or fainter."""
    middle = size_px * rng.uniform(1.5, 4.0), size_px * rng.uniform(1.1, 1.9)
    pen_px = max(2, round(size_px * rng.uniform(0.03, 0.06)))
    _circle(page, middle, size_px * rng.uniform(0.9, 1.4), pen_px, rng.uniform(0.2, 0.7))


def _circle(page: Ink, middle: tuple[float, float], radius: float, pen_px: int, strength: float) -> None:
    drawn = np.zeros(page.shape, np.uint8)
    scale = 1 << _SUBPIXEL_BITS
    at = round(middle[0] * scale), round(middle[1] * scale)
    cv2.circle(drawn, at, round(radius * scale), 255, pen_px, cv2.LINE_AA, _SUBPIXEL_BITS)
    np.maximum(page, drawn.astype(np.float32) * np.float32(strength / 255), out=page)
