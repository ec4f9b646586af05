"""Numbers that somebody struck out: a straight line runs through all of a run of digits, and ends beside them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import cv2
import numpy as np

from worker.vision.ink import Float, InkMap
from worker.vision.page import Box
from worker.vision.pieces import Flags, solid_of

LEAST_WIDTH = 2.0  # heights: what is struck out is more than one digit; a bar through one may be that of a 7
SLOPES, STEEPEST = 17, 0.5  # how many directions are tried, and how far a line sinks for each pixel
RISE = 1.2  # heights: how far it sinks from end to end at most
MIDDLE = 0.2, 0.7  # of the height: where it passes the middle of the run
COVERED = 0.97  # of its length: where it shows
FREE = 1.5  # heights: how far beyond the digits it ends at most; a ruling goes on
BARE = 0.12  # heights: how much of the paper shows where it ended
THICKEST = 0.38  # of the height: how thick it is with its double; a dash is thicker
LOW = 0.5  # of the height of what stands beside a run: a run so low is a dash, or a wavy line
THICK = 0.03  # heights: how far it may stray


def struck_out(boxes: Sequence[Box], ink_map: InkMap) -> tuple[Box, ...]:
    """Where signs of a line are struck out: the box, in page pixels, around each run of them.

    `boxes` are those of the line's marks, from the left; `ink_map` is the ink of the page before lines were taken away.
    """
    if not boxes:
        return ()
    step = ink_map.step
    height = median([box.height for box in boxes]) / step
    if _around(boxes).width / step < LEAST_WIDTH * height:
        return ()
    dark: Flags | None = None
    found = []
    for run in _runs(boxes, ink_map, height):
        around = _around(run)
        beside = [box.height for box in boxes if box not in run]
        if around.width / step < LEAST_WIDTH * height or (beside and around.height < LOW * median(beside)):
            continue
        if dark is None:
            dark = solid_of(ink_map) > 0
        top = median([box.y for box in run]) / step
        bottom = median([box.bottom for box in run]) / step
        if _is_struck(dark, around.x / step, around.right / step, top, bottom, height):
            found.append(around)
    return tuple(found)


def _around(boxes: Sequence[Box]) -> Box:
    """The box around several."""
    x, y = min(box.x for box in boxes), min(box.y for box in boxes)
    return Box(x, y, max(box.right for box in boxes) - x, max(box.bottom for box in boxes) - y)


def _runs(boxes: Sequence[Box], ink_map: InkMap, height: float) -> list[list[Box]]:
    """The marks of a line parted where bare paper is between two of them: a line through both would show there."""
    least = 0.25 * ink_map.core
    runs = [[boxes[0]]]
    for box in boxes[1:]:
        before = max(runs[-1], key=lambda box: box.right)
        start, end = before.right // ink_map.step, box.x // ink_map.step
        column = (start + end) // 2
        top = max(0, round(min(before.y, box.y) / ink_map.step - height / 4))
        bottom = round(max(before.bottom, box.bottom) / ink_map.step + height / 4)
        is_bare = end - start >= 3 and not bool((ink_map.ink[top:bottom, column] > least).any())
        if is_bare:
            runs.append([box])
        else:
            runs[-1].append(box)
    return runs


def _is_struck(dark: Flags, left: float, right: float, top: float, bottom: float, height: float) -> bool:
    """Whether a straight line covers the columns from left to right, and ends on bare paper on both sides."""
    first, last = max(0, round(left - FREE * height)), min(dark.shape[1], round(right + FREE * height))
    upper, lower = max(0, round(top - RISE * height)), min(dark.shape[0], round(bottom + RISE * height))
    stray = 2 * max(1, round(THICK * height)) + 1
    window = cv2.dilate(dark[upper:lower, first:last].astype(np.uint8), np.ones((stray, 1), np.uint8))
    centre = (left + right) / 2 - first
    low, high = (round(top - upper + part * (bottom - top)) for part in MIDDLE)
    rows = np.s_[max(0, low) : high + 1]
    inset = 0.05 * height
    columns = np.s_[round(left - first + inset) : max(1, round(right - first - inset))]
    most = min(STEEPEST, RISE * height / max(1.0, right - left))
    is_struck = False
    for slope in np.linspace(-most, most, SLOPES):
        turn = np.array([[1, 0, 0], [slope, 1, -slope * centre]], np.float64)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        level = np.asarray(cv2.warpAffine(window, turn, window.shape[::-1], flags=flags), np.uint8)
        covered = np.asarray(level[rows, columns], np.float32).mean(axis=1)
        places = np.flatnonzero(covered >= COVERED)
        if len(places) > THICKEST * height:
            return False  # a bar, and nothing behind it
        for place in places:
            line = np.asarray(level[rows][place], np.float32)
            if not (_ends(line[: columns.start][::-1], height) and _ends(line[columns.stop :], height)):
                return False  # a ruling, which other lines through the same digits cross at a flat angle
            is_struck = True
    return is_struck


def _ends(beyond: Float, height: float) -> bool:
    """Whether bare paper shows on the way on from the last digit."""
    bare = max(3, round(BARE * height))
    return beyond.size >= bare and bool((np.convolve(beyond, np.ones(bare), "valid") == 0).any())
