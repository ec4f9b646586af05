"""Digits that are much fainter or smaller than the others, which vision left out: told, and in doubt. Pure.

Left out, they would leave no trace. That such a thing is a digit has to be as sure as that what was found is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.recognition.decision import DIGITS, Sign, Thresholds, confidence_in
from worker.recognition.knowledge import Floats
from worker.vision.layout import usual_height
from worker.vision.page import Box

ALIKE = (0.8, 1.25)  # of the height of the digits of its line: a 1; any other stroke is no digit
REACH = 0.5  # times that height: how far from the next of them a 1 stands at most
LEVEL = 0.2  # of that height: how far its ends are from those of one of them
NUMBER = 2  # digits, at least, beside which a stroke is taken for a 1; beside one it is the edge of something
SHARED = 0.25  # of its box: what lies so far in a digit is a part of it


def with_overlooked(
    lines: Sequence[Sequence[Sign]], boxes: Sequence[Box], rows: Floats, thresholds: Thresholds
) -> list[list[Sign]]:
    """The signs of each line, with what surely is a digit among the overlooked in its place, in doubt.

    `rows` are the probabilities of all labels of what lies in `boxes`. Nothing changes where no digits are.
    """
    own = [list(line) for line in lines]
    if not any(sign.chosen is not None for line in lines for sign in line):
        return own
    for box, row in zip(boxes, rows, strict=True):
        digit = int(np.argmax(row[:DIGITS]))
        is_sure = float(confidence_in(row[:DIGITS], thresholds.outlier_weight)[digit]) >= thresholds.accept
        place = _line_of(box, own)
        beside = [] if place is None else [sign.box for sign in own[place] if sign.chosen is not None]
        if not is_sure or _is_part(box, own) or (digit == 1 and not _stands_beside(box, beside)):
            continue
        sign = Sign(row, box, digit, held=0.0)
        if place is None:
            own.insert(sum(_middle(line) < box.y + box.height / 2 for line in own), [sign])
        else:
            own[place] = sorted([*own[place], sign], key=lambda each: each.box.x)
    return own


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
    return sum(sign.box.y + sign.box.height / 2 for sign in line) / max(1, len(line))


def _is_part(box: Box, lines: Sequence[Sequence[Sign]]) -> bool:
    """Whether a box lies in that of a digit, in good part: the end of a stroke, its shadow."""
    for other in (sign.box for line in lines for sign in line if sign.chosen is not None):
        across = min(box.right, other.right) - max(box.x, other.x)
        along = min(box.bottom, other.bottom) - max(box.y, other.y)
        if min(across, along) > 0 and across * along > SHARED * box.width * box.height:
            return True
    return False


def _stands_beside(box: Box, digits: Sequence[Box]) -> bool:
    """Whether a stroke is as high as the digits of its line, level with them and near: then it is a 1."""
    height = usual_height([each.height for each in digits])
    if len(digits) < NUMBER or not ALIKE[0] * height <= box.height <= ALIKE[1] * height:
        return False
    gap = min(max(each.x - box.right, box.x - each.right) for each in digits)
    off = min(max(abs(each.y - box.y), abs(each.bottom - box.bottom)) for each in digits)
    return gap <= REACH * height and off <= LEVEL * height
