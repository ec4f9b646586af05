"""Numbers in the fields of a form, one digit in each, where little room is left. Pure.

======  ==========================================================================================
style   what is in the picture
======  ==========================================================================================
comb    a base line with uprights between the fields, 25 to 120 % as high as the digits; no roof
tight   boxes side by side that are hardly higher than the digits, some of which touch them
cell    one field that was cut out of a comb, its base and its two uprights at the border
======  ==========================================================================================

Or in boxes that stand apart, one for each digit, some of which touch them:

======  ==========================================================================================
style   what is in the picture
======  ==========================================================================================
box     a box for each digit
trough  a base and two sides for each digit, without a roof
======  ==========================================================================================
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions
from benchmarks.rows import skew

STYLES = ("comb", "tight", "cell")
BOX_STYLES = ("box", "trough")
MOST_SKEW_DEGREES: Final = 1.5
_MARGIN_PX: Final = 40


def draw_fields(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A number in such fields; its label is the number."""
    size_px = int(rng.integers(32, 64))
    thick_px = int(rng.integers(1, max(2, size_px // 16) + 1))
    strength = float(rng.uniform(0.4, 0.95))
    count = 1 if style == "cell" else int(rng.integers(3, 9))
    step = round(size_px * rng.uniform(1.15, 1.6))
    field_px = round(size_px * (rng.uniform(1.15, 1.45) if style == "tight" else rng.uniform(0.25, 1.2)))
    left = int(rng.integers(1, 5)) if style == "cell" else _MARGIN_PX + int(rng.integers(0, 2 * size_px))
    base = _MARGIN_PX + round(1.5 * size_px) + int(rng.integers(0, size_px))
    right = left + count * step
    below = int(rng.integers(1, 5)) if style == "cell" else _MARGIN_PX + int(rng.integers(0, size_px))
    beside = int(rng.integers(1, 5)) if style == "cell" else _MARGIN_PX + int(rng.integers(0, 4 * size_px))
    page = np.zeros((base + thick_px + below, right + thick_px + beside), np.float32)
    rule(page, (left, base), (right, base), thick_px, strength)
    if style == "tight":
        rule(page, (left, base - field_px), (right, base - field_px), thick_px, strength)
    for index in range(count + 1):
        x = left + index * step
        rule(page, (x, base), (x, base - field_px), thick_px, strength)
    number = ""
    for index in range(count):
        which = int(rng.integers(len(digits.labels)))
        height_px = round(size_px * rng.uniform(0.85, 1.0))
        ink = enlarge(cut_out(digits.pixels[which]), height_px, 1.3)[:, : step - 2 * thick_px]
        lift = (
            (field_px - height_px) // 2
            if style == "tight"
            else thick_px + round(size_px * rng.uniform(0.04, 0.15))
        )
        x = left + index * step + (step - ink.shape[1]) // 2 + round(size_px * rng.uniform(-0.05, 0.05))
        put(ink, page, x, base - max(1, lift) - height_px)
        number += str(digits.labels[which])
    degrees = 0.0 if style == "cell" else float(rng.uniform(-MOST_SKEW_DEGREES, MOST_SKEW_DEGREES))
    conditions = draw_office_conditions(rng)
    image = develop(skew(page, degrees), conditions, rng)
    notes = {
        "skew": f"{degrees:.2f}",
        "made_with": f"lines {thick_px} px {strength:.0%} fields {field_px} px digits {size_px} px {conditions}",
    }
    return Picture(number, style, image, conditions.jpeg_quality, notes)


def draw_boxes(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A number in boxes that stand apart; its label is the number."""
    height = int(rng.integers(36, 76))
    width = round(height * rng.uniform(0.75, 1.15))
    gap = round(height * rng.uniform(0.08, 0.45))
    thick_px = int(rng.integers(1, max(2, height // 18) + 1))
    strength = float(rng.uniform(0.4, 0.95))
    room = float(rng.uniform(0.6, 1.02))  # how high the digits are in their boxes
    count = int(rng.integers(2, 9))
    left, top = (_MARGIN_PX + int(rng.integers(0, height)) for _ in range(2))
    beyond = _MARGIN_PX + int(rng.integers(0, height))
    page = np.zeros((top + height + beyond, left + count * (width + gap) + beyond), np.float32)
    number = ""
    for index in range(count):
        x, right, base = left + index * (width + gap), left + index * (width + gap) + width, top + height
        rule(page, (x, base), (right, base), thick_px, strength)
        for side in (x, right):
            rule(page, (side, base), (side, top), thick_px, strength)
        if style == "box":
            rule(page, (x, top), (right, top), thick_px, strength)
        which = int(rng.integers(len(digits.labels)))
        height_px = round(height * room * rng.uniform(0.9, 1.0))
        ink = enlarge(cut_out(digits.pixels[which]), height_px, 1.3)[:, : width - thick_px]
        aside, down = (round(height * rng.uniform(-0.06, 0.06)) for _ in range(2))
        put(ink, page, x + (width - ink.shape[1]) // 2 + aside, top + (height - height_px) // 2 + down)
        number += str(digits.labels[which])
    degrees = float(rng.uniform(-MOST_SKEW_DEGREES, MOST_SKEW_DEGREES))
    conditions = draw_office_conditions(rng)
    notes = {
        "skew": f"{degrees:.2f}",
        "made_with": f"lines {thick_px} px {strength:.0%} boxes {width} x {height} px digits {room:.0%} {conditions}",
    }
    return Picture(
        number, style, develop(skew(page, degrees), conditions, rng), conditions.jpeg_quality, notes
    )


def rule(page: Ink, start: tuple[int, int], end: tuple[int, int], thick_px: int, strength: float) -> None:
    """Draw a line, under what is written."""
    layer = np.zeros(page.shape, np.uint8)
    cv2.line(layer, start, end, 255, thick_px, cv2.LINE_AA)
    np.maximum(page, layer.astype(np.float32) * np.float32(strength / 255), out=page)
