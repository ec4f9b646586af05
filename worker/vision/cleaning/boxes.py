"""Boxes of forms: rectangles that stand free, each around a digit, are taken from the page.

What looks for long lines takes the roofs and bases of a row of boxes and leaves their sides, each of which looks like
a 1; a digit nearly as high as its box, or one that touches it, becomes one sign with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import Float, InkMap, Mask
from worker.vision.pieces import Findings, Piece, find_pieces, soft_edges, solid_of

LEAST_PX = 16  # the shorter side of a box
MOST = 200  # pieces on a page that is looked at for boxes
SLIMMEST, WIDEST = 0.35, 12.0  # heights: how wide a box for digits is
RIM = 0.12  # of the box: how deep its side may lie in it, askew or in a bow
CLOSED = 0.9  # of its length: where a side shows, if a digit does not cross it
LIKELY = 0.75  # the same, for a row of boxes that hang together by soft edges, and askew
STRAIGHT = 0.7  # of its length: where its outer edge is straight
EDGE_PX, EDGE = 1.5, 0.005  # and of its length: how far a straight edge may stray
CORNER = 0.1  # of its length: how much of a side may be a round corner, at each end
STEEPEST = 0.12  # columns a row: how far a box may lean
LEAST_THICK_PX, THICKEST = 3.5, 0.15  # of its shorter side: how thick a line may be
WIDE = 1.05  # heights: what is no wider holds a single digit
ACROSS, UPRIGHT, LEAN = 0.95, 0.85, 0.1  # of a larger box: a line from side to side makes several of it
WRITTEN = 0.3  # of its height: how high what stands in it is at least
ALIKE = 0.12  # of its width and height


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """The side of a box on top: its outer edge, row by column, and how high the ink is that begins there."""

    edge: Float
    runs: Float


@dataclass(frozen=True, slots=True, eq=False)
class _Box:
    """A piece that is a box, and its lines in its window.

    Whether a sign is in it, whether that stands free, and whether the box is one alone and has a roof.
    """

    piece: Piece
    lines: Mask
    is_written: bool
    is_free: bool
    is_single: bool
    has_roof: bool


def without_boxes(found: Findings) -> Findings:
    """What is found without boxes around digits; the same where there are none."""
    if len(found.pieces) > MOST or not any(
        _is_closed(one, found.mask[one.window], LIKELY) for one in found.pieces
    ):
        return found
    lines = lines_of_boxes(found.ink_map, found.mask)
    return found if lines is None else found.without(lines)


def lines_of_boxes(ink_map: InkMap, mask: Mask) -> Mask | None:
    """The pixels of boxes around digits, with their soft edges in the `mask`; None where there are none.

    One box is enough if its digit stands free in it: alone, a nought drawn with a ruler may have a stroke through it.
    What falls into several is one only beside others of its size: then a 1 fills it.
    """
    solid = solid_of(ink_map)
    labels, pieces = find_pieces(ink_map, solid)
    if len(pieces) > MOST:
        return None
    boxes = [
        box
        for piece in pieces
        if SLIMMEST * piece.height <= piece.width <= WIDEST * piece.height
        and _is_closed(piece, own := piece.own_of(labels).astype(np.uint8))
        and (box := _box_of(piece, own, solid[piece.window])) is not None
    ]
    sure = [box for box in boxes if box.is_written and box.is_single]
    if not sure or (len(sure) == 1 and not (sure[0].is_free and sure[0].has_roof)):
        return None
    found = np.zeros_like(solid)
    for box in boxes:
        if any(_are_alike(box.piece, other.piece) for other in sure):
            found[box.piece.window] |= box.lines
    return found | soft_edges(found, mask & (1 - solid))


def _is_closed(piece: Piece, own: Mask, least: float = CLOSED) -> bool:
    """Whether ink runs along all sides but the roof, be it askew: that of a nought does not reach the corners."""
    if min(piece.width, piece.height) < LEAST_PX:
        return False
    across, along = max(2, round(RIM * piece.width)), max(2, round(RIM * piece.height))
    sides = (own[-along:], own[:, :across].T, own[:, -across:].T)
    return all(bool(side.any(axis=0).mean() >= least) for side in sides)


def _box_of(piece: Piece, own: Mask, shown: Mask) -> _Box | None:
    """The box that a piece is; None where a side of it is not straight, or thick."""
    turned = [np.ascontiguousarray(np.rot90(own, turns)) for turns in range(4)]
    sides = [_top_of(one) for one in turned]  # the roof, the right side, the base, the left side
    if any(side is None for side in sides[1:]):
        return None
    # Where a digit runs along a side, the others say how thick it is.
    thickness_px = float(np.median(np.concatenate([side.runs for side in sides if side is not None])))
    if thickness_px > max(LEAST_THICK_PX, THICKEST * min(own.shape)):
        return None
    if sides[0] is not None and not _is_on_top(sides[0], thickness_px, own):
        sides[0] = None
    lines = np.zeros_like(own)
    for turns, (side, one) in enumerate(zip(sides, turned, strict=True)):
        if side is not None:
            lines |= np.rot90(
                _pixels_of(side, min(float(np.median(side.runs)), thickness_px + 1), one), -turns
            )
    return _Box(
        piece,
        lines,
        is_written=_holds_a_sign(shown & (1 - lines)),
        is_free=_holds_a_sign(shown & (1 - own)),
        is_single=not _is_divided(own & (1 - lines), round(thickness_px) + 2),
        has_roof=sides[0] is not None,
    )


def _is_on_top(roof: _Side, thickness_px: float, own: Mask) -> bool:
    """Whether a roof lies where the sides end: the bar of a 7 may run from one to the other below that."""
    across = round(thickness_px) + 1
    ends = (int(own[:, :across].any(axis=1).argmax()), int(own[:, -across:].any(axis=1).argmax()))
    return max(float(roof.edge[0]) - ends[0], float(roof.edge[-1]) - ends[1]) <= thickness_px + 1


def _is_divided(inside: Mask, rim_px: int) -> bool:
    """Whether a line runs through a box from side to side, be it a little askew: then it is several.

    Not an upright in a box that is no wider than high: that may be a 1.
    """
    height, width = inside.shape
    inside = np.ascontiguousarray(inside[rim_px:-rim_px, rim_px:-rim_px])
    if inside.size == 0:
        return True
    lean_px = max(3, round(LEAN * inside.shape[0]))
    rows = cv2.dilate(inside, np.ones((3, 1), np.uint8)).mean(axis=1)
    columns = cv2.dilate(inside, np.ones((1, lean_px), np.uint8)).mean(axis=0)
    return bool(rows.max() >= ACROSS or (width > WIDE * height and columns.max() >= UPRIGHT))


def _top_of(own: Mask) -> _Side | None:
    """The upper side of a box; None where no straight line runs there. Corners may be round, a digit stick out."""
    height, width = own.shape
    corner = round(CORNER * width)
    columns = np.arange(corner, width - corner)
    first = own.argmax(axis=0).astype(np.float64)[corner : width - corner]
    half = len(columns) // 2
    slope = float(np.median((first[half:] - first[: len(columns) - half]) / half))
    edge = float(np.median(first - slope * columns)) + slope * columns
    most_px = EDGE_PX + EDGE * width
    near = np.abs(first - edge) <= most_px
    if near.mean() < STRAIGHT / 2:
        return None
    slope, start = np.polyfit(columns[near], first[near], 1)
    strays = first - (start + slope * columns)
    is_straight = np.abs(strays) <= most_px
    if abs(slope) > STEEPEST or is_straight.mean() < STRAIGHT or (strays <= most_px).mean() < CLOSED:
        return None
    edge = start + slope * np.arange(width)
    rows = np.clip(np.rint(edge[columns]).astype(np.int64) + np.arange(height // 2)[:, None], 0, height - 1)
    runs = own[rows, columns]
    runs[:2] = 1  # the edge strays by a pixel
    return _Side(edge.astype(np.float32), runs.argmin(axis=0)[is_straight].astype(np.float32))


def _pixels_of(side: _Side, thickness_px: float, own: Mask) -> Mask:
    """The pixels of an upper side, but for those of strokes that cross it."""
    height, width = own.shape
    rows = np.arange(height)[:, None]
    top, bottom = np.rint(side.edge - 1), np.rint(side.edge + thickness_px)
    band = (rows >= top) & (rows <= bottom)
    above = own[np.clip(top.astype(np.int64) - 1, 0, height - 1), np.arange(width)] * (top >= 1)
    below = own[np.clip(bottom.astype(np.int64) + 1, 0, height - 1), np.arange(width)]
    return np.asarray(band & ~((above > 0) & (below > 0)), np.uint8)


def _holds_a_sign(inside: npt.NDArray[np.uint8]) -> bool:
    """Whether what is in a box is as high as a sign."""
    rows = np.flatnonzero(inside.any(axis=1))
    return bool(rows.size) and bool(rows[-1] + 1 - rows[0] >= WRITTEN * inside.shape[0])


def _are_alike(one: Piece, other: Piece) -> bool:
    """Whether two boxes are about as large: then an empty one is a field, too."""
    return (
        abs(one.width - other.width) <= ALIKE * other.width
        and abs(one.height - other.height) <= ALIKE * other.height
    )
