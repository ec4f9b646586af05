"""Digits with something else beside them: signs that look like digits, and things that were left on the sheet. Pure.

=======  ========================================================================================
style    what is in the picture
=======  ========================================================================================
bracket  a digit or a number with a round bracket behind it, before it, or both
bar      two of them with an upright bar between, or a bar before, or bars on both sides
slash    one with a stroke before or behind it that leans to the right
comma    one with a comma behind it
degrees  one with a small ring behind it, high up
cents    a digit with two small ones behind it, as prices have them
pen      a pen, any way round, clear of the digits, whole or running out of the picture
cable    a bent stroke from border to border
band     a rubber band, a little larger than the digits
clip     a paper clip of about their size
=======  ========================================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions

STYLES = ("bracket", "bar", "slash", "comma", "degrees", "cents", "pen", "cable", "band", "clip")
_SUBPIXEL_BITS: Final = 4
_TRIES: Final = 200  # places for a pen; on a page of this size one is clear of the digits

_Points = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Sheet:
    """A page that is being drawn: where the next sign begins, and what was written."""

    digits: TestDigits
    rng: np.random.Generator
    size_px: int
    page: Ink
    x: float
    baseline: float
    label: str = ""
    right: float = 0.0

    def write(self, count: int, share: float = 1.0, raised: float = 0.0) -> None:
        """So many digits, `share` of the usual size, `raised` by so many sizes."""
        for _ in range(count):
            which = int(self.rng.integers(len(self.digits.labels)))
            height_px = max(8, round(self.size_px * share * self.rng.uniform(0.9, 1.05)))
            ink = enlarge(
                cut_out(self.digits.pixels[which]), height_px, 1.3, round(1.2 * self.size_px * share)
            )
            put(ink, self.page, round(self.x), round(self.baseline - raised * self.size_px) - ink.shape[0])
            self.right = self.x + ink.shape[1]
            self.x = self.right + self.size_px * share * self.rng.uniform(0.12, 0.28)
            self.label += str(int(self.digits.labels[which]))

    def stroke(self, points: _Points, thick_px: float) -> None:
        drawn = np.zeros(self.page.shape, np.uint8)
        fixed = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        thick = max(1, round(thick_px))
        cv2.polylines(drawn, [fixed], False, 255, thick, cv2.LINE_AA, _SUBPIXEL_BITS)  # noqa: FBT003
        np.maximum(self.page, drawn.astype(np.float32) / 255, out=self.page)

    def sign(self, points: _Points, share: float) -> None:
        """A stroke of the pen that wrote the digits, in sizes from the next place on the baseline up; then go on."""
        at = np.stack([self.x + points[:, 0] * self.size_px, self.baseline - points[:, 1] * self.size_px], 1)
        self.stroke(at, self.size_px * self.rng.uniform(0.06, 0.11))
        self.x += (share + self.rng.uniform(0.1, 0.25)) * self.size_px


def draw_beside(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """One to three digits and what the style has beside them; its label is the digits alone."""
    size_px = int(rng.integers(45, 100))
    page = np.zeros((6 * size_px, 9 * size_px), np.float32)
    sheet = _Sheet(digits, rng, size_px, page, 2.2 * size_px, 3.6 * size_px)
    count = int(rng.choice([1, 1, 2, 3]))
    how = _SIGNS[style](sheet, count) if style in _SIGNS else _with_thing(sheet, style, count)
    conditions = draw_office_conditions(rng)
    image = develop(
        np.ascontiguousarray(page[:, : round(max(sheet.x, sheet.right) + size_px)]), conditions, rng
    )
    made = f"{how}, digits {size_px} px; {conditions}"
    return Picture(sheet.label, style, image, conditions.jpeg_quality, {"made_with": made})


def _bow(sheet: _Sheet, bulge: float) -> None:
    """A round bracket; a negative bulge bends to the right."""
    high = sheet.rng.uniform(1.15, 1.45)
    t = np.linspace(-1, 1, 24)
    depth = abs(bulge) * high
    across = depth * (t**2 if bulge > 0 else 1 - t**2)
    sheet.sign(np.stack([across, (t + 1) / 2 * high - 0.15], 1), depth)


def _bracket(sheet: _Sheet, count: int) -> str:
    which, bulge = int(sheet.rng.integers(3)), sheet.rng.uniform(0.11, 0.2)
    if which != 0:
        _bow(sheet, bulge)
    sheet.write(count)
    if which != 1:
        _bow(sheet, -bulge)
    return ("closing", "opening", "both")[which]


def _upright(sheet: _Sheet, high: float, lean: float) -> None:
    sheet.sign(np.array([(0.0, -0.1), (lean, high - 0.1)]), lean)


def _bar(sheet: _Sheet, count: int) -> str:
    which, high = int(sheet.rng.integers(3)), sheet.rng.uniform(1.3, 1.8)
    if which == 0:
        sheet.write(count)
    _upright(sheet, high, 0.0)
    sheet.write(count)
    if which == 1:
        _upright(sheet, high, 0.0)
    return ("between", "both", "before")[which]


def _slash(sheet: _Sheet, count: int) -> str:
    is_before, high = bool(sheet.rng.integers(2)), sheet.rng.uniform(1.3, 1.7)
    lean = high * sheet.rng.uniform(0.2, 0.4)
    if is_before:
        _upright(sheet, high, lean)
    sheet.write(count)
    if not is_before:
        _upright(sheet, high, lean)
    return "before" if is_before else "behind"


def _comma(sheet: _Sheet, count: int) -> str:
    sheet.write(count)
    sheet.sign(np.array([(0.1, 0.06), (0.0, -sheet.rng.uniform(0.12, 0.25))]), 0.1)
    return "comma"


def _degrees(sheet: _Sheet, count: int) -> str:
    sheet.write(count)
    radius, t = sheet.rng.uniform(0.1, 0.18), np.linspace(0, 2 * math.pi, 24)
    sheet.sign(np.stack([radius + radius * np.cos(t), 0.9 + radius * np.sin(t)], 1), 2 * radius)
    return "degrees"


def _cents(sheet: _Sheet, count: int) -> str:
    del count
    share = sheet.rng.uniform(0.36, 0.5)
    sheet.write(1)
    sheet.write(2, share, 1 - share)
    return f"cents of {share:.2f}"


_SIGNS: Final = {
    "bracket": _bracket, "bar": _bar, "slash": _slash, "comma": _comma, "degrees": _degrees, "cents": _cents,
}  # fmt: skip


def _with_thing(sheet: _Sheet, style: str, count: int) -> str:
    """The digits, and to their left, or anywhere clear of them, a thing."""
    rng, size = sheet.rng, sheet.size_px
    start = sheet.x = 3.6 * size
    sheet.write(count)
    if style == "pen":
        return _lay_pen(sheet, start)
    middle = np.array([1.4 * size, 3.1 * size])
    t = np.linspace(0, 2 * math.pi, 80)
    if style == "cable":
        y = np.linspace(-5, sheet.page.shape[0] + 5, 80)
        bend = 0.5 * size * np.sin(y / size * rng.uniform(0.4, 0.9) + rng.uniform(0, 6))
        sheet.stroke(np.stack([middle[0] + bend, y], 1), size * rng.uniform(0.05, 0.12))
        return "cable"
    if style == "band":
        radius = rng.uniform(0.6, 1.0) * (1 + 0.15 * np.sin(2 * t + rng.uniform(0, 6)))
        points = np.stack([0.9 * radius * np.cos(t), radius * np.sin(t)], 1) * size
        sheet.stroke(points + middle, size * rng.uniform(0.03, 0.07))
        return "band"
    long, wide = rng.uniform(0.8, 1.3) * size, rng.uniform(0.14, 0.2) * size
    bends = [(-1, 0.2), (-1, 0.9), (-0.6, 1.0), (1, 1.0), (1, 0.05), (0.6, 0), (-0.4, 0), (-0.5, 0.1)]
    bends += [(-0.5, 0.8), (0, 0.88), (0.5, 0.8), (0.5, 0.3)]
    points = np.array([(x * wide, (y - 0.5) * long) for x, y in bends])
    turn = rng.uniform(0, 2 * math.pi)
    points = points @ np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    sheet.stroke(points + middle, max(1.5, size * rng.uniform(0.025, 0.05)))
    return "clip"


def _lay_pen(sheet: _Sheet, start: float) -> str:
    """A pen where it is clear of the digits."""
    rng, size = sheet.rng, sheet.size_px
    height, width = sheet.page.shape[0], min(sheet.page.shape[1], round(sheet.right + size))
    long, thick = size * rng.uniform(2.2, 4.5), size * rng.uniform(0.07, 0.2)
    taken = np.s_[
        round(sheet.baseline - 1.4 * size) : round(sheet.baseline + 0.4 * size),
        max(0, round(start - 0.4 * size)) : round(sheet.right + 0.4 * size),
    ]
    for _ in range(_TRIES):
        turn = rng.uniform(0, math.pi)
        middle, half = (
            rng.uniform((0, 0), (width, height)),
            np.array([math.cos(turn), math.sin(turn)]) * long / 2,
        )
        probe = np.zeros(sheet.page.shape, np.uint8)
        first, last = (tuple(int(v) for v in middle + sign * half) for sign in (-1, 1))
        cv2.line(probe, first, last, 255, round(thick) + 2)
        if probe.any() and not probe[taken].any():
            sheet.stroke(np.stack([middle - half, middle + half]), thick)
            return f"pen at {math.degrees(turn):.0f} degrees, {long / size:.1f} sizes long"
    return "no pen"
