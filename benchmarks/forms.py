"""Pages of numbers in the lines of forms: boxes, tables, frames, underlines, sheets with a margin. Pure.

No line reaches the border of the page. Digits are MNIST's test digits; lines are thinner than their pens, or as thick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions
from benchmarks.rows import skew

STYLES = ("boxes", "table", "frame", "underlined", "sheet")
MOST_SKEW_DEGREES: Final = 2.0
_MARGIN_PX: Final = 50


@dataclass(frozen=True, slots=True)
class _Form:
    """The paper a form is drawn on: digits `size_px` high, lines `thick_px` thick and so dark."""

    page: Ink
    digits: TestDigits
    size_px: int
    thick_px: int
    strength: float
    rng: np.random.Generator

    def rule(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Draw a line, under what is written."""
        layer = np.zeros(self.page.shape, np.uint8)
        cv2.line(layer, start, end, 255, self.thick_px, cv2.LINE_AA)
        np.maximum(self.page, layer.astype(np.float32) * np.float32(self.strength / 255), out=self.page)

    def digit(self) -> tuple[str, Ink]:
        """Some digit, about as high as all."""
        which = int(self.rng.integers(len(self.digits.labels)))
        height_px = round(self.size_px * self.rng.uniform(0.92, 1.08))
        return str(self.digits.labels[which]), enlarge(cut_out(self.digits.pixels[which]), height_px, 1.3)

    def number(self, count: int, x: int, bottom: int) -> tuple[str, int]:
        """Write a number that stands on `bottom`; its digits, and where it ends."""
        read = ""
        for _ in range(count):
            digit, ink = self.digit()
            put(ink, self.page, x, bottom - ink.shape[0])
            read, x = read + digit, x + ink.shape[1] + int(self.rng.uniform(0.1, 0.3) * self.size_px)
        return read, x

    def between(self, low: float, high: float) -> int:
        """A length between so many sizes of a digit, in pixels."""
        return round(self.rng.uniform(low, high) * self.size_px)


def draw_form(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A page of numbers in the lines of a form; its label has a `/` between rows, a space between cells."""
    size_px = int(rng.integers(28, 52))
    page = np.zeros((14 * size_px + 2 * _MARGIN_PX, 16 * size_px + 2 * _MARGIN_PX), np.float32)
    thick_px = int(rng.integers(1, max(2, size_px // 12) + 1))
    form = _Form(page, digits, size_px, thick_px, rng.uniform(0.3, 0.95), rng)
    numbers = _DRAWERS[style](form)
    degrees = float(rng.uniform(-MOST_SKEW_DEGREES, MOST_SKEW_DEGREES))
    conditions = draw_office_conditions(rng)
    notes = {
        "rows": str(len(numbers)),
        "skew": f"{degrees:.2f}",
        "made_with": f"lines {thick_px} px {form.strength:.0%} digits {size_px} px {conditions}",
    }
    image = develop(skew(form.page, degrees), conditions, rng)
    return Picture("/".join(numbers), style, image, conditions.jpeg_quality, notes)


def _boxes(form: _Form) -> list[str]:
    """Rows of boxes side by side, a digit in each."""
    cell, numbers = form.between(1.5, 2.0), []
    top, bottom = _MARGIN_PX, form.page.shape[0] - _MARGIN_PX
    while top + cell < bottom:
        count = int(form.rng.integers(3, 8))
        read = ""
        for index in range(count + 1):
            x = _MARGIN_PX + index * cell
            form.rule((x, top), (x, top + cell))
        for y in (top, top + cell):
            form.rule((_MARGIN_PX, y), (_MARGIN_PX + count * cell, y))
        for index in range(count):
            digit, ink = form.digit()
            ink = ink[:, : cell - 2 * form.thick_px]
            x = _MARGIN_PX + index * cell + (cell - ink.shape[1]) // 2 + form.between(-0.06, 0.06)
            put(ink, form.page, x, top + (cell - ink.shape[0]) // 2 + form.between(-0.06, 0.06))
            read += digit
        numbers.append(read)
        top += cell + form.between(0.6, 1.4)
    return numbers


def _table(form: _Form) -> list[str]:
    """A table with a number in each cell."""
    columns, rows = int(form.rng.integers(1, 4)), int(form.rng.integers(3, 7))
    width, height = 15 * form.size_px // columns, form.between(1.7, 2.2)
    for index in range(columns + 1):
        x = _MARGIN_PX + index * width
        form.rule((x, _MARGIN_PX), (x, _MARGIN_PX + rows * height))
    for index in range(rows + 1):
        y = _MARGIN_PX + index * height
        form.rule((_MARGIN_PX, y), (_MARGIN_PX + columns * width, y))
    numbers = []
    for row in range(rows):
        bottom = _MARGIN_PX + row * height + (height + form.size_px) // 2
        cells = [
            form.number(
                int(form.rng.integers(1, 5 if columns == 3 else 6)),
                _MARGIN_PX + column * width + form.between(0.2, 0.4),
                bottom,
            )[0]
            for column in range(columns)
        ]
        numbers.append(" ".join(cells))
    return numbers


def _frame(form: _Form) -> list[str]:
    """One number in one frame."""
    room, x, bottom = form.between(0.25, 0.6), 3 * form.size_px, 7 * form.size_px
    read, end = form.number(int(form.rng.integers(2, 7)), x, bottom)
    corners = (x - room, bottom - form.between(1.1, 1.2) - room, end + room, bottom + room)
    left, top, right, low = corners
    for start, stop in (((left, top), (right, top)), ((left, low), (right, low))):
        form.rule(start, stop)
    for start, stop in (((left, top), (left, low)), ((right, top), (right, low))):
        form.rule(start, stop)
    return [read]


def _underlined(form: _Form) -> list[str]:
    """Numbers one below the other, each underlined by hand, close to it or through its feet."""
    bottom, numbers = _MARGIN_PX + 2 * form.size_px, []
    while bottom < form.page.shape[0] - _MARGIN_PX:
        x = _MARGIN_PX + form.between(0.5, 3)
        read, end = form.number(int(form.rng.integers(2, 7)), x, bottom)
        level = bottom + form.between(-0.03, 0.2)
        form.rule(
            (x - form.between(0.1, 0.5), level),
            (end + form.between(0.0, 0.5), level + form.between(-0.08, 0.08)),
        )
        numbers.append(read)
        bottom += form.between(2.0, 2.6)
    return numbers


def _sheet(form: _Form) -> list[str]:
    """A ruled sheet with a line down its margin; numbers stand on the rulings or hang a little through them."""
    height, width = form.page.shape
    pitch, margin = form.between(1.6, 2.2), _MARGIN_PX + form.between(1.5, 2.5)
    levels = range(_MARGIN_PX + pitch // 2, height - _MARGIN_PX, pitch)
    for level in levels:
        form.rule((_MARGIN_PX, level), (width - _MARGIN_PX, level))
    form.rule((margin, _MARGIN_PX // 2), (margin, height - _MARGIN_PX // 2))
    return [
        form.number(
            int(form.rng.integers(2, 7)), margin + form.between(0.4, 1.0), level + form.between(-0.2, 0.05)
        )[0]
        for level in levels[1:]
    ]


_DRAWERS: Final[dict[str, Callable[[_Form], list[str]]]] = {
    "boxes": _boxes,
    "table": _table,
    "frame": _frame,
    "underlined": _underlined,
    "sheet": _sheet,
}
