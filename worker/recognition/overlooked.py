"""Digits that vision left out, as much fainter or smaller than the others or as parts of a ring: told, in doubt. Pure.

Left out, they would leave no trace. That such a thing is a digit has to be as sure as that what was found is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.recognition.decision import DIGITS, SEVERAL, Sign, Thresholds, confidence_in
from worker.recognition.knowledge import Floats
from worker.vision.layout import usual_height
from worker.vision.page import Box

ALIKE = (0.8, 1.25)  # of the height of digits: a 1, or several that touch; others are strokes and letters
REACH = 0.5  # times that height: how far from the next of them a 1 stands at most
LEVEL = 0.2  # of that height: how far its ends are from those of one of them
NUMBER = 2  # digits, at least, beside which a stroke is taken for a 1; beside one it is the edge of something
SHARED = 0.25  # of its box: what lies so far in a digit is a part of it
SLANTED = 0.5  # the same, where it is as high as that digit: the boxes of slanted neighbours share so much


def with_overlooked(
    lines: Sequence[Sequence[Sign]], boxes: Sequence[Box], rows: Floats, thresholds: Thresholds
) -> list[list[Sign]]:
    """The signs of each line, with what surely is a digit among the overlooked in its place, in doubt.

    `rows` are the probabilities of all labels of what lies in `boxes`. Nothing changes where no digits are.
    """
    own = [list(line) for line in lines]
    height = usual_height([sign.box.height for line in lines for sign in line if sign.chosen is not None])
    if height == 0:
        return own
    for box, row in zip(boxes, rows, strict=True):
        digit = int(np.argmax(row[:DIGITS]))
        # Of letters many look like several digits: of those only what is as high as the digits that were found.
        several = _confidence_in_several(row, thresholds) if _is_as_high(box, height) else 0.0
        is_sure = max(_confidence(row, digit, thresholds), several) >= thresholds.accept
        place = _line_of(box, own)
        beside = [] if place is None else [sign.box for sign in own[place] if sign.chosen is not None]
        if not is_sure or _is_part(box, own) or (digit == 1 and not _stands_beside(box, beside)):
            continue
        sign = Sign(row, box, digit, held=0.0)
        if place is None:
            y = box.y + box.height / 2
            below = (n for n, line in enumerate(own) if line and _middle(line) > y)
            own.insert(next(below, len(own)), [sign])
        else:
            own[place] = sorted([*own[place], sign], key=lambda each: each.box.x)
    return own


def _confidence(row: Floats, digit: int, thresholds: Thresholds) -> float:
    return float(confidence_in(row[:DIGITS], thresholds.outlier_weight)[digit])


def _confidence_in_several(row: Floats, thresholds: Thresholds) -> float:
    """That it is several digits that touch, or else one, whichever: a sign in doubt says which as little."""
    if len(row) <= SEVERAL or row[SEVERAL] < row[:DIGITS].max():
        return 0.0
    written = np.array([row[:DIGITS].sum() + row[SEVERAL]])
    return float(confidence_in(written, thresholds.outlier_weight)[0])


def _line_of(box: Box, lines: Sequence[Sequence[Sign]]) -> int | None:
    """The line at whose height the middle of a box lies, the nearest of several; None where there is none."""
    y = box.y + box.height / 2
    around = [
        place
        for place, line in enumerate(lines)
        if line and min(sign.box.y for sign in line) <= y <= max(sign.box.bottom for sign in line)
    ]
    return min(around, key=lambda place: abs(_middle(lines[place]) - y), default=None)


def _middle(line: Sequence[Sign]) -> float:
    return sum(sign.box.y + sign.box.height / 2 for sign in line) / len(line)


def _is_part(box: Box, lines: Sequence[Sequence[Sign]]) -> bool:
    """Whether a box lies in that of a digit, in good part: the end of a stroke, its shadow."""
    for other in (sign.box for line in lines for sign in line if sign.chosen is not None):
        across = min(box.right, other.right) - max(box.x, other.x)
        along = min(box.bottom, other.bottom) - max(box.y, other.y)
        most = SLANTED if box.height >= ALIKE[0] * other.height else SHARED
        if min(across, along) > 0 and across * along > most * box.width * box.height:
            return True
    return False


def _is_as_high(box: Box, height: float) -> bool:
    return ALIKE[0] * height <= box.height <= ALIKE[1] * height


def _stands_beside(box: Box, digits: Sequence[Box]) -> bool:
    """Whether a stroke is as high as the digits of its line, level with them and near: then it is a 1."""
    height = usual_height([each.height for each in digits])
    if len(digits) < NUMBER or not _is_as_high(box, height):
        return False
    gap = min(max(each.x - box.right, box.x - each.right) for each in digits)
    off = min(max(abs(each.y - box.y), abs(each.bottom - box.bottom)) for each in digits)
    return gap <= REACH * height and off <= LEVEL * height
