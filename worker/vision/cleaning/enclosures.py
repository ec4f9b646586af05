"""Frames and open fields: what is drawn around signs, and signs that touch it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.cleaning.rings import (
    ASTRAY,
    CROSSED,
    FULL,
    MOSTLY,
    goes_around,
    hull_of,
    is_blot,
    is_elliptic,
    may_be_ringed,
    may_be_slash,
    runs_along,
    signs_in_ring,
)
from worker.vision.ink import Mask
from worker.vision.pieces import Findings, Flags, Labels, Piece, find_pieces, solid_of

Boxes = npt.NDArray[np.int64]

MOST_PIECES = 12  # on a page that is looked at for signs that touch their frames
LEAST_FIELD_PX = 12
SIDE, BASE = 0.12, 0.2  # of its width, and of its height: how thick the side and the base of a field are
LEAST_SIDE = 0.25  # of the height of a digit and its field together
RULED = 0.95  # of its length: where a line shows that was drawn with a ruler
SIDES = 3  # of what a frame holds: the fourth may have gone with a ruling
HELD = 8  # of what lies within a frame, the largest: on a page of specks there is no end of it
LEAST_HELD = 0.15  # of its height: how high a sign is that it holds
THIN = 0.35  # of its box: what is ink of a frame at most, but for a ring
LOOSELY = 0.58  # of its height: how high it is at most, where a frame of any kind is told from a digit by what it holds
LEAST_ALONE, CLOSELY = 0.3, 0.85  # of the height of a ring: how high a digit is that is alone in it
TOUCHING = 0.6  # of the height of the signs in a frame: what else in it is one, and no scrap of the frame
CLOSED = 0.8  # of its hull: what a frame fills that has no gap
BODY = 0.5  # of the shorter side of a ring: what is narrower hangs on it from outside
NEARLY = 0.9  # of a frame with its soft edges: how large what is solid of it is


def without_frames(found: Findings) -> Findings:
    """What is found without frames and open fields on which a digit hangs; the same where there are none.

    Where the two stand free of each other, `drop_foreign` tells them apart. A digit that touches its frame keeps what
    does not run along with it: dropped with the frame, it would be missing from a number that looks whole.
    """
    height, width = found.mask.shape
    pieces = [piece for piece in found.pieces if not piece.touches_border(width, height)]
    if len(pieces) > MOST_PIECES:
        return found
    boxes = boxes_of(pieces) if len(pieces) > 1 else None
    frames = [piece for piece in pieces if boxes is not None and is_frame(piece, boxes, found.labels)]
    rings = [piece for piece in pieces if piece not in frames and may_be_ringed(piece, found.mask)]
    may_be_fields = any(_may_be_open_field(piece, found.mask) for piece in found.pieces)
    if not (frames or rings or may_be_fields):
        return found
    solid = solid_of(found.ink_map)
    taken = np.zeros_like(found.mask)
    if frames or may_be_fields:
        taken |= _frames_with_signs(found, frames, solid)
    for ring in rings:
        own = ring.own_of(found.labels) & (solid[ring.window] > 0)
        signs = signs_in_ring(own)
        if signs is not None:
            taken[ring.window] |= own & ~signs
    if not taken.any():
        return found
    others = solid & (1 - taken)
    around = cv2.dilate(taken, np.ones((5, 5), np.uint8)) > 0
    of_others = cv2.dilate(others, np.ones((3, 3), np.uint8)) > 0
    return found.without((taken > 0) | (around & ~of_others))


def _frames_with_signs(found: Findings, frames: list[Piece], solid: Mask) -> Mask:
    """The pixels (1) of open fields, and of those of the frames on which signs hang, but for these signs."""
    labels, parts = find_pieces(found.ink_map, solid)
    boxes = boxes_of(parts)
    taken = np.zeros_like(found.mask)
    for part in parts:
        own = part.own_of(labels)
        if is_open_field(part, boxes, labels):
            taken[part.window] |= own
        elif any(_is_most_of(frame, part) for frame in frames) and is_frame(part, boxes, labels):
            touching = _signs_on(own, _height_within(part, boxes))
            hangs = any(_hangs_on(frame, part, parts, found.labels, labels) for frame in frames)
            if hangs or touching.any():
                taken[part.window] |= own & ~touching
    return taken


def _is_most_of(frame: Piece, part: Piece) -> bool:
    """Whether what is solid is nearly as large as a frame with its soft edges."""
    return part.is_within(frame) and part.extent >= NEARLY * frame.extent


def _round_body_of(own: Flags) -> Flags | None:
    """Where a ring is, without what hangs on it from outside: strokes and loops smaller than what fits into it.

    None where it is no ring: of the corners of other frames, and of digits drawn as outlines, such a body leaves parts.
    """
    filled = np.zeros(own.shape, np.uint8)
    contours, _ = cv2.findContours(own.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    opened = _opened(filled, BODY * min(own.shape) / 2)
    body = np.asarray(cv2.dilate(opened, np.ones((3, 3), np.uint8)) > 0, np.bool_)
    if not (own & body).any():
        return None
    x, y, width, height = cv2.boundingRect(body.astype(np.uint8))
    window = np.s_[y : y + height, x : x + width]
    ring, hull = (own & body)[window], hull_of(body[window])
    is_ring = is_elliptic(hull) and goes_around(ring, hull) and runs_along(ring, hull, CROSSED)
    return body if is_ring else None


def _opened(mask: Mask, radius: float) -> Mask:
    """A mask opened by a disc, by distances: with a kernel as large as half a page it would take ten seconds."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    core = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > radius
    if not core.any():
        return np.zeros_like(mask)
    off = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(off <= radius, np.uint8)[1:-1, 1:-1]


def rest_of_ring(own: Flags) -> tuple[Flags, Flags] | None:
    """What of a ring is not its line, and what of that lies outside; None where it is no ring.

    Where a stroke crosses the line, the line is taken out of it: two parts are left, as far apart as the line is wide.
    """
    body = _round_body_of(own)
    return None if body is None else (own & ~(body & _rim_of(own & body)), own & ~body)


def _rim_of(own: Flags) -> Flags:
    """The outer line of a frame: as deep, from outside, as most of its way around is inked."""
    filled = np.zeros((own.shape[0] + 2, own.shape[1] + 2), np.uint8)
    contours, _ = cv2.findContours(own.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED, offset=(1, 1))
    hull = hull_of(own)
    is_open = np.count_nonzero(filled) < CLOSED * np.count_nonzero(hull)  # its inside is its outside
    if is_open and is_elliptic(hull):
        filled[1:-1, 1:-1] = hull
    depth = cv2.distanceTransform(filled, cv2.DIST_L2, 5)[1:-1, 1:-1]
    rings = depth.astype(np.int64)
    shells = np.bincount(rings[depth > 0], minlength=2)[1:]
    inked = np.bincount(rings[own], minlength=len(shells) + 1)[1:] / np.maximum(shells, 1)
    bare = np.flatnonzero(inked < MOSTLY)
    thickness = 1 + int(bare[0]) if bare.size else len(shells)
    return np.asarray(own & (depth <= thickness + 1), np.bool_)


def _signs_on(own: Flags, height_px: int) -> Flags:
    """What of a frame is writing that touches it: it is about as high as what stands free in it."""
    rest = (own & ~_rim_of(own)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    is_sign = stats[:, cv2.CC_STAT_HEIGHT] >= TOUCHING * height_px
    is_sign[0] = False
    return np.asarray(is_sign[labels], np.bool_) if count > 1 else np.zeros_like(own)


def _height_within(piece: Piece, boxes: Boxes) -> int:
    """How high the highest piece is whose box lies within that of `piece`."""
    within = (
        (boxes[:, 0] > piece.x)
        & (boxes[:, 1] > piece.y)
        & (boxes[:, 2] < piece.right)
        & (boxes[:, 3] < piece.bottom)
    )
    return int((boxes[within, 3] - boxes[within, 1]).max(initial=LEAST_FIELD_PX))


def _hangs_on(frame: Piece, part: Piece, solid: list[Piece], labels: Labels, solid_labels: Labels) -> bool:
    """Whether a sign hangs on a frame by soft edges: one piece with them, two in what is `solid`."""
    return any(
        other is not part
        and other.is_within(frame)
        and other.height > LEAST_HELD * frame.height
        and bool(np.isin(labels[other.window][other.own_of(solid_labels)], frame.labels).any())
        for other in solid
    )


def is_frame(piece: Piece, boxes: Boxes, labels: Labels) -> bool:
    """Whether a piece is drawn or printed around something: a box, a circle, a triangle, a table.

    What it holds stands free in it, and is neither a dot nor as high as the slash in a nought; there is ink on
    three sides of it at least, or it only lies under the roof of a 7 or beside the tail of an 8.
    """
    if piece.area_px > FULL * piece.width * piece.height or min(piece.width, piece.height) < 12:
        return False
    rim_x, rim_y = max(1.0, 0.06 * piece.width), max(1.0, 0.06 * piece.height)
    within = (
        (boxes[:, 0] > piece.x)
        & (boxes[:, 2] < piece.right)
        & (boxes[:, 1] > piece.y)
        & (boxes[:, 3] < piece.bottom)
        & (boxes[:, 3] - boxes[:, 1] > max(8, LEAST_HELD * piece.height))
    )
    if not within.any():
        return False
    held = boxes[within]
    held = held[np.argsort(-held[:, 4], kind="stable")[:HELD], :4] - (piece.x, piece.y, piece.x, piece.y)
    own = piece.own_of(labels)
    hull = hull_of(own)
    inked = (labels[piece.window] > 0) & ~own
    held = np.array(
        [box for box in held if _sides(own, box) >= SIDES and not may_be_slash(inked, box, hull)]
    ).reshape(-1, 4)
    heights = held[:, 3] - held[:, 1]
    if not heights.size or not goes_around(own, hull):
        return False
    if len(heights) == 1 and heights[0] < LEAST_ALONE * piece.height and is_blot(inked, held[0]):
        return False
    free = (
        (held[:, 0] > rim_x)
        & (held[:, 2] < piece.width - rim_x)
        & (held[:, 1] > rim_y)
        & (held[:, 3] < piece.height - rim_y)
        & (heights < LOOSELY * piece.height)
    )
    if piece.area_px <= THIN * piece.width * piece.height and free.any():
        return True
    is_ringed = (heights > LEAST_ALONE * piece.height) & (heights < CLOSELY * piece.height)
    return bool(is_ringed.any()) and runs_along(own, hull, ASTRAY)


def _may_be_open_field(piece: Piece, mask: Mask) -> bool:
    """Whether a piece has ink all along its bottom, and some at both ends: a 2 has, too."""
    if min(piece.width, piece.height) < 2 * LEAST_FIELD_PX:
        return False
    own = mask[piece.window]
    side_px, base_px = max(3, round(SIDE * piece.width)), max(3, round(BASE * piece.height))
    if own[-base_px:].any(axis=0).mean() < RULED:
        return False
    sides = (own[:, :side_px].any(axis=1), own[:, -side_px:].any(axis=1))
    return all(bool(side.mean() >= LEAST_SIDE) for side in sides)


def is_open_field(piece: Piece, boxes: Boxes, labels: Labels) -> bool:
    """Whether a piece is a base with a side at each end, and something stands free between the sides."""
    width, height = piece.width, piece.height
    if min(width, height) < LEAST_FIELD_PX or piece.area_px > 0.5 * width * height:
        return False
    side_px, base_px = max(3, round(SIDE * width)), max(3, round(BASE * height))
    held = (
        (boxes[:, 0] >= piece.x + side_px)
        & (boxes[:, 2] <= piece.right - side_px)
        & (boxes[:, 3] <= piece.bottom)
        & (boxes[:, 3] > piece.y + height / 2)
        & (boxes[:, 3] - boxes[:, 1] > height / 2)
    )
    if not held.any():
        return False
    own = piece.own_of(labels)
    drawn = (own[-base_px:].any(axis=0), own[:, :side_px].any(axis=1), own[:, -side_px:].any(axis=1))
    return all(bool(line.mean() >= RULED) for line in drawn) and not own[:-base_px, side_px:-side_px].any()


def _sides(own: npt.NDArray[np.bool_], box: npt.NDArray[np.int64]) -> int:
    """On how many sides of a box there is ink all along; `own` is the mask of what may lie around it."""
    x, y, right, bottom = box.tolist()
    beside = (own[y:bottom, :x].any(axis=1), own[y:bottom, right:].any(axis=1))
    over_and_under = (own[:y, x:right].any(axis=0), own[bottom:, x:right].any(axis=0))
    return sum(bool(side.mean() > 0.5) for side in (*beside, *over_and_under))


def boxes_of(pieces: list[Piece]) -> Boxes:
    """Left, top, right, bottom and extent of each piece: a page of specks holds thousands."""
    rows = [(one.x, one.y, one.right, one.bottom, one.extent) for one in pieces]
    return np.array(rows, np.int64).reshape(-1, 5)
