"""Digits drawn as outlines, as in a headline or a colouring book: filled, so that what is read is the digit.

Read as they are, most are nothing that the model knows, and an outlined 6 is a nought with a dot in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import Mask
from worker.vision.pieces import Findings, Labels, Piece

LEAST_PX = 40  # in a smaller sign outline and hollow are not told apart
MOST_PIECES = 200  # on a page that is looked at for them
WIDEST = 1.4  # heights: what is wider is no single digit
DENSEST = 0.6  # of its box: an outline leaves most of it white
HOLLOW = 0.4  # times the ink: what an outline encloses at least
ONE, ONE_EYE = 0.95, 0.7  # of what an outline, and an eye, enclose hangs together: an 8 encloses two parts
AROUND = 0.85  # of the ink lies around what is enclosed: no tail, no bar
CONCAVE = 0.82, 0.9  # of its hull, without and with an eye: what noughts and loops enclose fills more
FRAME = 0.92  # of its hull: what the outer edge holds fills less, or it is a frame, which a digit may touch
LOOSEST = 0.96  # of its hull: what fills more has no bays at all; an 8 with its two eyes has hardly any
WAIST = 0.06  # of the width: how far bays reach in from both sides of what is an 8 in one loop
ANGULAR = 0.73  # of its hull: the outlines of 2, 3, 5 and 7 fill less, and may have a waist
BLOT, SOLID = (
    6.0,
    0.75,
)  # times the line's thickness, and of its hull: how large an eye is that is nearly closed
EYE, STACKED = 0.01, 0.2  # of what is enclosed, and of the height: how large its rings are, and how far apart

Contour = npt.NDArray[np.int32]  # points along an edge, as OpenCV has them


@dataclass(frozen=True, slots=True, eq=False)
class _Outline:
    """Where an outlined digit lies, which of its pixels are within its strokes, and which in its eyes (0 or 1)."""

    window: tuple[slice, slice]
    body: Mask
    eyes: Mask


def with_filled_outlines(found: Findings) -> Findings:
    """What is found where outlined digits are filled; the same where there are none."""
    labels, pieces = found.labels, found.pieces
    if len(pieces) > MOST_PIECES:
        return found
    outlines = [outline for piece in pieces if (outline := _outline(piece, labels, pieces)) is not None]
    if not outlines:
        return found
    ink = found.ink_map.ink.copy()
    for outline in outlines:
        window = ink[outline.window]
        np.maximum(window, outline.body * np.float32(found.ink_map.core), out=window)
        window[outline.eyes > 0] = 0.0
    return found.with_ink(ink)


def _outline(piece: Piece, labels: Labels, pieces: list[Piece]) -> _Outline | None:
    """The outline that a piece is; None where it is none.

    It is one closed line around one hollow that has bays, as digits do; the hollow of a 6 or a 0 has none. In it there
    are no more than two rings: the eyes of 4, 6, 8 and 9, whose outlines are lines of their own.
    """
    if (
        piece.extent < LEAST_PX
        or piece.width > WIDEST * piece.height
        or piece.area_px > DENSEST * piece.width * piece.height
    ):
        return None
    window = piece.window
    line = _room(labels[window] == piece.labels[0])
    edges = _edges(line)
    if edges is None:
        return None
    outer, inner = edges
    hollow = _filled(line, [inner])
    if not _surrounds(line, hollow):
        return None
    whole = _filled(line, [outer])
    rings = [other for other in pieces if other is not piece and other.is_within(piece)]
    if len(rings) > 2:
        return None
    eyes = np.zeros_like(whole)
    for ring in rings:
        own = _room(labels[window] == ring.labels[0])
        within = _eye(own)
        if np.count_nonzero(within) < EYE * np.count_nonzero(hollow) or not _surrounds(own, within):
            within = _closed_eye(own, _thickness(line))
        if not within.any():
            return None
        eyes |= within
    if len(rings) == 2 and abs(rings[0].y - rings[1].y) <= STACKED * piece.height:
        return None
    # Two eyes, one above the other, are those of an 8. Else it may be a frame with a digit in it, or touched by one.
    if len(rings) < 2 and not (_has_bays(inner, CONCAVE[len(rings)]) and _has_bays(outer, FRAME)):
        return None
    if not rings and not _has_bays(outer, ANGULAR) and _has_waist(hollow):
        return None
    core = np.s_[1:-1, 1:-1]
    return _Outline(window, (whole & (1 - eyes))[core], eyes[core])


def _room(own: npt.NDArray[np.bool_]) -> Mask:
    return np.pad(own.astype(np.uint8), 1)


def _edges(line: Mask) -> tuple[Contour, Contour] | None:
    """The outer edge of a line and the edge of what it encloses; None where that is little, in parts, or without bays.

    A frame that a digit in it touches encloses bays, too, but has none outside.
    """
    outers, holes = _contours(line)
    inner = _main(holes, ONE)
    if inner is None or cv2.contourArea(inner) < HOLLOW * cv2.countNonZero(line):  # most digits
        return None
    outer = max(outers, key=cv2.contourArea)
    return (outer, inner) if _has_bays(inner, LOOSEST) and _has_bays(outer, LOOSEST) else None


def _contours(line: Mask) -> tuple[list[Contour], list[Contour]]:
    """The outer edges of a line, and those of its holes."""
    found, tree = cv2.findContours(line, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    edges: tuple[list[Contour], list[Contour]] = ([], [])
    for edge, links in zip(found, tree[0], strict=True):
        edges[int(links[3] >= 0)].append(np.asarray(edge, np.int32))
    return edges


def _main(holes: list[Contour], least_share: float) -> Contour | None:
    """The edge of the largest hole; None where it has less than so much of what all enclose."""
    if not holes:
        return None
    areas = [cv2.contourArea(hole) for hole in holes]
    largest = max(areas)
    return holes[areas.index(largest)] if largest >= least_share * sum(areas) else None


def _has_waist(hollow: Mask) -> bool:
    """Whether it is narrower in its middle than above and below, from both sides: an 8 in one loop."""
    rows = np.flatnonzero(hollow.any(axis=1))
    left = hollow[rows].argmax(axis=1)
    right = hollow.shape[1] - 1 - hollow[rows][:, ::-1].argmax(axis=1)
    third = len(rows) // 3
    if third == 0:
        return False
    middle = slice(third, len(rows) - third)
    waist = third + int((right - left)[middle].argmin())
    bay = WAIST * hollow.shape[1]
    return bool(
        left[waist] - max(left[:waist].min(), left[waist:].min()) > bay
        and min(right[:waist].max(), right[waist:].max()) - right[waist] > bay
    )


def _surrounds(line: Mask, hollow: Mask) -> bool:
    """Whether nearly all of a line runs around what it encloses: a 6 has a tail."""
    reach = np.ones((2 * round(_thickness(line)) + 3,) * 2, np.uint8)
    around = np.asarray(cv2.dilate(hollow, reach), np.uint8)
    return cv2.countNonZero(line & around) >= AROUND * cv2.countNonZero(line)


def _has_bays(edge: Contour, most: float) -> bool:
    """Whether what lies within an edge fills at most so much of its convex hull."""
    return cv2.contourArea(edge) <= most * cv2.contourArea(cv2.convexHull(edge))


def _eye(ring: Mask) -> Mask:
    """What a ring encloses; nothing where that is in two parts, as in an 8."""
    hole = _main(_contours(ring)[1], ONE_EYE)
    return np.zeros_like(ring) if hole is None else _filled(ring, [hole]) & (1 - ring)


def _closed_eye(blot: Mask, thickness_px: float) -> Mask:
    """Where the eye is whose outline has run together, as far in as half its line; nothing where it is no such blot."""
    outer = max(_contours(blot)[0], key=cv2.contourArea)
    if max(cv2.boundingRect(outer)[2:]) > BLOT * thickness_px or _has_bays(outer, SOLID):
        return np.zeros_like(blot)
    reach = np.ones((2 * round(thickness_px / 4) + 1,) * 2, np.uint8)
    return np.asarray(cv2.erode(_filled(blot, [outer]), reach), np.uint8)


def _filled(like: Mask, contours: list[Contour]) -> Mask:
    filled = np.zeros_like(like)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    return filled


def _thickness(line: Mask) -> float:
    """How thick a line is, in pixels: its area by its length, which is half of all its edges."""
    contours, _ = cv2.findContours(line, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(contour, closed=True) for contour in contours) / 2
    return float(cv2.countNonZero(line)) / max(length, 1.0)
