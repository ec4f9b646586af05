"""A slip of paper on dark ground that fills most of the picture: a note on a table, a receipt under a scanner's lid."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import Mask, shrink
from worker.vision.page import Grey

LEAST_STEP = 60  # grey levels between the paper and the ground
DARK = 0.7  # of the paper's tone: what the ground has at most
LEAST_SIDE_PX = 20  # its shorter side, at the size it is sought at
LEAST_PART = 0.01  # of the picture: how large it is
CONVEX, RECTANGULAR = 0.95, 0.86  # of its hull, and of the rectangle around it: what a slip fills
WRITTEN_ON = 0.25  # of a slip: what is dark of it at most; of a light digit with an eye more is
MARGIN = 0.12  # of its side: how wide a part of it is bare at least; the strokes of a digit are thinner
SHARP = 0.6  # of the step, within a few pixels: light that falls on a table fades
EDGES = 0.8  # of the way around: where the edge is sharp
FINE_PX = 700  # what is written beside a slip is sought at this size at least
LEAST_STROKE = 20  # grey levels: how much a stroke stands out
GRAIN = 0.97  # of the ground: it stands out twice as much as that
BROADEST, LEAST_SIGN = 0.04, 0.02  # of the picture's longer side: how broad a stroke is, and how long a sign
BESIDE = 0.03  # of it: how far the shadow of a slip reaches
AROUND = 5  # pixels: the soft edge of a slip


def ground_around_slip(small: Grey, calm: Grey) -> Mask | None:
    """The pixels (1) around the one slip of paper that is seen; None where none is, or it may be a light digit.

    `small` is the picture at some 200 pixels, `calm` the same without its grain.
    """
    # A slip may lie in a corner, and cover two borders by half.
    tone = sorted(float(np.median(border)) for border in (small[0], small[-1], small[:, 0], small[:, -1]))[1]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (calm > tone + LEAST_STEP / 2).astype(np.uint8)
    )
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    contours, _ = cv2.findContours(
        (labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    outline = np.asarray(max(contours, key=cv2.contourArea), np.int32)
    slip = np.zeros(small.shape, np.uint8)
    cv2.drawContours(slip, [outline], -1, 1, cv2.FILLED)
    level = float(np.percentile(small[slip > 0], 75))
    if level - tone < LEAST_STEP or tone > DARK * level:
        return None
    if not _is_sheet(outline, slip, small.size) or not _is_bare_enough(slip, calm, tone, level):
        return None
    return np.asarray(1 - cv2.erode(slip, np.ones((AROUND, AROUND), np.uint8)), np.uint8)


def is_written_beside(grey: Grey, ground: Mask) -> bool:
    """Whether a stroke shows on the ground beside a slip: whatever it is, it must not be painted over.

    `grey` is the picture itself; thin strokes do not show at the size at which slips are sought.
    """
    fine = shrink(grey, max(1, max(grey.shape) // FINE_PX))
    side = max(fine.shape)
    near = np.asarray(cv2.resize(1 - ground, fine.shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    reach = 2 * max(8, round(BESIDE * side)) + 1  # the shadow of the slip is no stroke
    clear = cv2.dilate(near, np.ones((reach, reach), np.uint8)) == 0
    if not clear.any():
        return False
    alone = np.where(clear, fine, np.uint8(np.median(fine[clear])))
    broad = 2 * max(2, round(BROADEST * side / 2)) + 1
    kernel = np.ones((broad, broad), np.uint8)
    stands_out = np.maximum(
        cv2.morphologyEx(alone, cv2.MORPH_BLACKHAT, kernel), cv2.morphologyEx(alone, cv2.MORPH_TOPHAT, kernel)
    )
    # Little of the ground is written on, and all of it has its grain.
    grain = float(np.quantile(stands_out[clear], GRAIN))
    rim = cv2.erode(clear.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    strokes = ((stands_out > max(LEAST_STROKE, 2 * grain)) & rim).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(strokes)
    return bool((stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(initial=0)) >= LEAST_SIGN * side)


def _is_sheet(outline: npt.NDArray[np.int32], slip: Mask, page_px: int) -> bool:
    """Whether an outline is that of a sheet seen from above, or nearly so: four straight sides."""
    area = float(np.count_nonzero(slip))
    sides = cv2.minAreaRect(outline)[1]
    hull = max(1.0, cv2.contourArea(cv2.convexHull(outline)))
    return (
        min(sides) >= LEAST_SIDE_PX
        and area >= LEAST_PART * page_px
        and area >= RECTANGULAR * (sides[0] + 1) * (sides[1] + 1)
        and cv2.contourArea(outline) >= CONVEX * hull
    )


def _is_bare_enough(slip: Mask, calm: Grey, tone: float, level: float) -> bool:
    """Whether a slip is paper: its edge is sharp, a part of it is bare, and little of it is dark."""
    half = (tone + level) / 2
    paper = ((slip > 0) & (calm > half)).astype(np.uint8)
    if np.count_nonzero(paper) < (1 - WRITTEN_ON) * np.count_nonzero(slip):
        return False
    rim = (slip - cv2.erode(slip, np.ones((3, 3), np.uint8))) > 0
    rim[[0, 1, -2, -1]] = rim[:, [0, 1, -2, -1]] = False  # there the picture ends, and not the slip
    lightest = cv2.dilate(calm, np.ones((5, 5), np.uint8))[rim].astype(np.int16)
    darkest = cv2.erode(calm, np.ones((5, 5), np.uint8))[rim].astype(np.int16)
    if not rim.any() or float(np.mean(lightest - darkest >= SHARP * (level - tone))) < EDGES:
        return False
    side = float(np.sqrt(np.count_nonzero(slip)))
    depth = cv2.distanceTransform(np.pad(paper, 1), cv2.DIST_L2, 3)
    return float(depth.max()) >= MARGIN * side
