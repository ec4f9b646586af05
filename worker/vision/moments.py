"""What the moments of ink say of its shape: whether it is a straight bar, how that leans; and if it is a blot. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from worker.vision.ink import Float
from worker.vision.pieces import Flags

STRAIGHT = 1.5  # times as thick as its ink would be if it were straight: a flag or a foot makes it more
DARK = 0.35  # of a mark's darkest: without the soft edges of a stroke
THICK = 0.7  # of its shorter side: the circle that fits into a blot
SLIM = 3.0  # thicknesses: how long a bar is at least


@dataclass(frozen=True, slots=True)
class Bar:
    """A straight stroke, in pixels of its ink: how far it leans to the right of upright, length, thickness, middle.

    `across` is how wide the bar would be that has its moments: as wide as it is thick, where it is solid.
    """

    lean_deg: float
    length: float
    thickness: float
    across: float
    x: float
    y: float

    def off(self, x: float, y: float) -> float:
        """How far to the right of the middle line a point lies; negative to its left."""
        lean = math.radians(self.lean_deg)
        return (x - self.x) * math.cos(lean) + (y - self.y) * math.sin(lean)

    def beyond(self, x: float, y: float) -> float:
        """How far above its upper end a point lies, along the bar; negative below."""
        lean = math.radians(self.lean_deg)
        return (x - self.x) * math.sin(lean) - (y - self.y) * math.cos(lean) - self.length / 2


def dark_of(ink: Float) -> Flags:
    """The pixels of a mark without the soft edges of its strokes."""
    return np.asarray(ink > DARK * ink.max(initial=0.0), np.bool_)


def is_solid(dark: Flags) -> bool:
    """Whether the largest circle that fits into a mark (rows, columns) is nearly as wide as the mark is one way.

    No letter and no digit has a stroke so thick.
    """
    depth = cv2.distanceTransform(np.pad(dark, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return bool(2 * depth.max() >= THICK * min(dark.shape))


def straight_bar(dark: Flags) -> Bar | None:
    """The bar that ink (rows, columns) is, by the moments of its area; None where it has a flag, a foot, a bow."""
    rows, columns = np.nonzero(dark)
    if len(rows) < 2:
        return None
    values, axes = np.linalg.eigh(np.cov(np.stack([rows, columns]), bias=True))
    # A bar's variance is a twelfth of its side squared.
    across, along = (math.sqrt(12 * max(float(value), 0.0)) for value in values)
    thickness = len(rows) / max(along, 1.0)
    if along < SLIM * thickness or across > STRAIGHT * thickness + 1:
        return None
    down, right = float(axes[0, 1]), float(axes[1, 1])
    lean_deg = math.degrees(math.atan2(-right if down > 0 else right, abs(down)))
    return Bar(lean_deg, along, thickness, across, float(columns.mean()), float(rows.mean()))
