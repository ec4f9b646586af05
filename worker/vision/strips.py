"""From a page's ink to the strip of one line: level, of one height, ready for the reader of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import InkMap, quantile
from worker.vision.page import Box, Grey
from worker.vision.pieces import floor_of

Float = npt.NDArray[np.float32]

STRIP_PX = 32  # the height of a strip
DIGIT_PX = 18  # how high the digits of a line are in it: room for tails, and for lines that bend
WHOLE_PX = 30  # how high a digit may be to be whole in it
MARGIN = 0.8  # of their height: what is shown left and right of the first and last mark
WIDEST_PX = 2048  # a line of a hundred digits; what is beyond is not shown
WIDTH_STEP_PX = 16
SOLID = 0.9  # of the inked pixels of a line, by contrast: what counts as solid ink


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """The ink of a whole page, as little as a strip needs of it.

    `ink` is uint8 (h, w): 0 is paper, 200 and above solid ink; one of its pixels covers `step` page pixels a
    side. What is not above `floor` is noise.
    """

    ink: Grey
    floor: int
    step: int

    def turned(self, turns: int) -> Field:
        """The same after so many quarter turns anticlockwise."""
        return replace(self, ink=np.ascontiguousarray(np.rot90(self.ink, turns)))


NO_FIELD = Field(np.zeros((1, 1), np.uint8), 0, 1)
SOLID_LEVEL = 200


def field_of(ink_map: InkMap) -> Field:
    """The field of an ink map."""
    scale = SOLID_LEVEL / max(ink_map.core, 1e-6)
    ink = cv2.convertScaleAbs(ink_map.ink, alpha=scale)
    return Field(np.asarray(ink, np.uint8), int(floor_of(ink_map) * scale), ink_map.step)


@dataclass(frozen=True, slots=True)
class Band:
    """Where a line lies on the field of ink: its left end, level, height of digits, and slope.

    All in pixels of the field; `level` is the middle of the digits at x = 0, `slope` how far they sink for
    each pixel to the right, `width` reaches from the first mark to the end of the last.
    """

    left: float
    width: float
    level: float
    height: float
    slope: float

    @property
    def scale(self) -> float:
        """Strip pixels for one pixel of the field."""
        return DIGIT_PX / self.height

    @property
    def width_px(self) -> int:
        """How wide the strip is, in its own pixels: a multiple of `WIDTH_STEP_PX`."""
        wanted = (self.width + 2 * MARGIN * self.height) * self.scale
        return int(min(WIDEST_PX, -(-wanted // WIDTH_STEP_PX) * WIDTH_STEP_PX))

    def to_strip(self, x: float) -> float:
        """The column of the strip that shows column `x` of the field."""
        return (x - self.left + MARGIN * self.height) * self.scale

    def to_field(self, column: float) -> float:
        """The column of the field that column `column` of the strip shows."""
        return column / self.scale + self.left - MARGIN * self.height


def band_of(boxes: Sequence[Box], height: float, step: int = 1) -> Band:
    """The band in which marks with these `boxes` (page pixels) stand, digits being `height` high."""
    tall = [box for box in boxes if box.height >= 0.6 * height] or list(boxes)
    tall = sorted(tall, key=lambda box: box.x + box.right)
    x = np.array([(box.x + box.right) / 2 for box in tall], np.float64) / step
    y = np.array([(box.y + box.bottom) / 2 for box in tall], np.float64) / step
    high = height / step
    slope = _slope(x, y, high)
    left = min(box.x for box in boxes) / step
    right = max(box.right for box in boxes) / step
    return Band(left, right - left, float(np.median(y - slope * x)), max(high, 1.0), slope)


def _slope(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], height: float) -> float:
    """How far the line sinks for each pixel: the median over pairs (Theil-Sen), none where it is short."""
    if len(x) < 3 or x.max() - x.min() < 3 * height:
        return 0.0
    first, second = np.triu_indices(min(len(x), 60), 1)
    run = x[second] - x[first]
    far = run > 1.5 * height
    if not far.any():
        return 0.0
    return float(np.clip(np.median((y[second] - y[first])[far] / run[far]), -0.35, 0.35))


def strip_of(field: Field, band: Band) -> Float:
    """The strip float32 (`STRIP_PX`, w) in [0, 1] that shows `band` of the field; solid ink becomes 1."""
    back = 1 / band.scale
    x0 = band.to_field(0.5) - 0.5
    y0 = band.level + band.slope * (x0 + 0.5) - (STRIP_PX / 2 - 0.5) * back - 0.5
    if back > 1.5:  # averaging first: one sample of four pixels would miss thin strokes
        sigma = 0.4 * back
        top, bottom = _rows(band, field.ink.shape)
        window = np.asarray(cv2.GaussianBlur(field.ink[top:bottom], (0, 0), sigma), np.uint8)
        y0 -= top
    else:
        window = field.ink
    matrix = np.array([[back, 0, x0], [band.slope * back, back, y0]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    strip = np.asarray(cv2.warpAffine(window, matrix, (band.width_px, STRIP_PX), flags=flags), np.float32)
    inked = strip[strip > field.floor]
    if inked.size == 0:
        return np.zeros_like(strip)
    solid = quantile(inked, SOLID)
    strip -= field.floor
    strip *= 1 / max(solid - field.floor, 1.0)
    return np.clip(strip, 0, 1, out=strip)


def _rows(band: Band, shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows of the field that a strip can show, and some beside them."""
    ends = [band.level + band.slope * x for x in (band.to_field(0), band.to_field(band.width_px))]
    reach = (STRIP_PX / 2 + 2) / band.scale
    top = int(np.clip(min(ends) - reach, 0, shape[0] - 1))
    return top, int(np.clip(max(ends) + reach, top + 1, shape[0]))
