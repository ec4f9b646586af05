"""Numbers and digits cut out of a form along its lines, so that these are the border of the picture. Pure.

========  ========================================================================================
style     what the border is; the label is what is written
========  ========================================================================================
between   a line above and a line below
frame     a line on all four sides
rim       the same, with a rim of paper around it
open      none: the same cut without lines
========  ========================================================================================
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions

STYLES = ("between", "frame", "rim", "open")
_SIZE_PX: Final = (26, 100)  # how high digits are
_LINE: Final = (0.02, 0.08)  # of that: how thick the lines are
_ROOM: Final = (0.08, 0.4)  # the same: from the digits to the line above and to the one below


def draw_cropped(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A picture of this style; its label is the one to six digits in it."""
    size_px = int(rng.integers(*_SIZE_PX))
    page, label = laid_out(digits, style, size_px, rng)
    conditions = draw_office_conditions(rng)
    image = develop(page, conditions, rng)
    return Picture(label, style, image, conditions.jpeg_quality, {"made_with": f"{size_px} px {conditions}"})


def laid_out(digits: TestDigits, style: str, size_px: int, rng: np.random.Generator) -> tuple[Ink, str]:
    """The ink of a cut of this style, digits being about `size_px` high, and its label."""
    label, inks = "", []
    for place in rng.integers(len(digits.labels), size=int(rng.integers(1, 7))):
        high = round(size_px * rng.uniform(0.85, 1.0))
        inks.append(enlarge(cut_out(digits.pixels[place]), high, 1.3, round(1.2 * size_px)))
        label += str(digits.labels[place])
    gaps = [round(size_px * rng.uniform(0.1, 0.3)) for _ in inks]
    line = 0 if style == "open" else max(1, round(size_px * rng.uniform(*_LINE)))
    above, below, left, right = (line + max(2, round(size_px * rng.uniform(*_ROOM))) for _ in range(4))
    wide = left + sum(ink.shape[1] for ink in inks) + sum(gaps[1:]) + right
    page = np.zeros((above + size_px + below, wide), np.float32)
    x = left
    for ink, gap in zip(inks, [*gaps[1:], 0], strict=True):
        put(ink, page, x, above + size_px - ink.shape[0])
        x += ink.shape[1] + gap
    if line:
        page[:line] = page[-line:] = 1
    if line and style != "between":
        page[:, :line] = page[:, -line:] = 1
    if style == "rim":
        rim = int(rng.integers(1, 4))
        page = np.asarray(
            cv2.copyMakeBorder(page, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=0.0), np.float32
        )
    return page, label
