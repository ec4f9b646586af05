"""What the transcriber is shown of a composed line: its page, scanned, and the strip that service cuts of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.training.augmentation import Damage, scan
from worker.training.placed import ComposedLine, Float, Placed, main_signs
from worker.vision.cleaning.paper import clean
from worker.vision.ink import MIN_CONTRAST, find_ink
from worker.vision.layout import usual_height
from worker.vision.page import Page
from worker.vision.strips import SOLID_LEVEL, Band, Field, field_of, strip_of

Tiles = npt.NDArray[np.uint8]
Rng = np.random.Generator

DAMAGE = Damage(margin=(0.1, 1.0), clean=0.3, printed=0.22, ruled=0.12, inverted=0.12)


@dataclass(frozen=True, slots=True, eq=False)
class WrittenLine:
    """A strip uint8 (32, w), its digits from the left, and the columns at which their middles stand."""

    pixels: Tiles
    digits: tuple[int, ...]
    middles: tuple[float, ...]


def strip_seen(composed: ComposedLine, rng: Rng) -> WrittenLine | None:
    """The strip of the page that a scanner made of it; None where the ink was not found."""
    cover, placed, slope = composed.cover, composed.placed, composed.slope
    field = _drawn(cover) if rng.random() < 0.25 else _scanned(cover, composed.height, rng)
    if field is None:
        return None
    digits = main_signs(placed)
    heights = [one.ink.shape[0] for one in digits]
    usual = usual_height(heights) * math.exp(rng.normal(0, 0.11))
    width = cover.shape[1]
    reach = math.ceil(abs(slope) * width / 2)
    tall = [one for one in digits if one.ink.shape[0] >= 0.6 * max(heights)]
    middle = float(np.median([(one.y + one.bottom) / 2 for one in tall]))
    level = middle + (reach - slope * width / 2) + rng.normal(0, 0.05) * usual
    seen_slope = slope + (rng.normal(0, 0.015) if len(digits) > 2 else -slope)
    if len(digits) <= 2:
        level += slope * (digits[0].x + digits[-1].right) / 2
    left = min(one.x for one in digits) + rng.normal(0, 0.1) * usual
    right = max(one.right for one in digits) + rng.normal(0, 0.1) * usual
    if rng.random() < 0.7:  # signs are marks, too
        left, right = min([left, *(one.x for one in placed)]), max([right, *(one.right for one in placed)])
    if rng.random() < 0.15:
        left, right = left - rng.uniform(0, 2) * usual, right + rng.uniform(0, 2) * usual
    left, right = min(left, digits[0].x + 0.3 * usual), max(right, digits[-1].right - 0.3 * usual)
    pivot = (left + right) / 2
    band = Band(left, right - left, level + (slope - seen_slope) * pivot, usual, seen_slope)
    strip = strip_of(field, band)
    true = [(one.digit, band.to_strip(one.x + middle_of(one))) for one in digits if one.digit is not None]
    true.sort(key=lambda each: each[1])
    return WrittenLine(
        np.round(strip * 255).astype(np.uint8), tuple(digit for digit, _ in true), tuple(x for _, x in true)
    )


def middle_of(one: Placed) -> float:
    """The middle column of a digit in its ink: half-way between its box's and its ink's, or as its drawer said."""
    if one.middle is not None:
        return one.middle
    mass = one.ink.sum(axis=0)
    return float(0.5 * (mass @ np.arange(len(mass))) / max(float(mass.sum()), 1e-6) + 0.25 * len(mass))


def _drawn(cover: Float) -> Field:
    return Field(np.round(cover * SOLID_LEVEL).astype(np.uint8), 2, 1)


def _scanned(cover: Float, height: int, rng: Rng) -> Field | None:
    """The field of ink that service finds on the page; None where it took something else for ink."""
    ink_map = find_ink(Page(scan(cover, rng, DAMAGE, height)))
    if ink_map.core < MIN_CONTRAST or ink_map.step != 1:
        return None
    ink_map, _ = clean(ink_map)
    written = cover > 0.6
    if (
        ink_map.core < MIN_CONTRAST
        or not written.any()
        or float(ink_map.ink[written].mean()) < 0.45 * ink_map.core
    ):
        return None
    return field_of(ink_map)
