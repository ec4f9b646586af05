"""Ink at its place on a line under way, digit or not, before any scanner sees it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.layout import usual_height

Float = npt.NDArray[np.float32]
Tiles = npt.NDArray[np.uint8]

AS_HIGH = 0.5  # of the digits of a line: from here on a sign might be one of them


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Ink at a place of the page under way: its left column, the row of its top, and the digit, if it is one.

    `middle` is the column of the ink at which the digit stands, where its drawer knows better than a look at it.
    """

    ink: Float
    x: int
    y: int
    digit: int | None
    middle: float | None = None

    @property
    def right(self) -> int:
        """The column after its last."""
        return self.x + int(self.ink.shape[1])

    @property
    def bottom(self) -> int:
        """The row after its last."""
        return self.y + int(self.ink.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class ComposedLine:
    """A line before any scanner sees it: coverage float32 (h, w), what lies where, digits' height, slope."""

    cover: Float
    placed: Sequence[Placed]
    height: int
    slope: float


def main_signs(placed: Sequence[Placed]) -> list[Placed]:
    """The digits of a line; all its signs where it has none."""
    return [one for one in placed if one.digit is not None] or list(placed)


def strangers_among(placed: Sequence[Placed]) -> int:
    """How many signs of a line are as high as its digits, and none; 0 where it has no digits."""
    heights = [one.ink.shape[0] for one in placed if one.digit is not None]
    least = AS_HIGH * usual_height(heights) if heights else math.inf
    return sum(one.digit is None and one.ink.shape[0] >= least for one in placed)


def tight(ink: Float) -> Float:
    """Cut `ink` to what is inked (above 0.1); as it is where nothing is."""
    rows, columns = np.flatnonzero((ink > 0.1).any(axis=1)), np.flatnonzero((ink > 0.1).any(axis=0))
    if rows.size == 0 or columns.size == 0:
        return ink
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def draw_polyline(canvas: Tiles, points: npt.NDArray[np.float64], pen: int) -> None:
    """Draw a line through `points` (n, 2), x and y in pixels, in place; a pen below one pixel counts as one."""
    fixed = np.rint(points * 16).astype(np.int32)
    cv2.polylines(
        canvas, [fixed], isClosed=False, color=255, thickness=max(1, pen), lineType=cv2.LINE_AA, shift=4
    )
