"""Rings that a hand drew around digits, told from the noughts that they are like."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import Mask
from worker.vision.pieces import Flags, Labels, Piece

LEAST_RING_PX = 32  # its shorter side
SLIMMEST, WIDEST = 0.5, 3.0  # heights: how wide a ring is around a digit, and around three
LEAST_INSIDE = 0.1  # of its middle: what is ink where a sign touches it
FULL = 0.5  # of its box: what is ink of it at most, with what touches it
ELLIPSE = 0.6, 0.84  # of its box: what its hull fills, an upright ellipse 0.79
RIM, ASTRAY = 0.16, 0.1  # of its width, and of its ink: how far it strays from its hull
CROSSED = 0.25  # of its ink: what is more astray is not its own
AROUND = 0.7  # of the rim of its hull: how much of a frame is drawn
MOSTLY = 0.6  # of its way around: where its line shows
SECTORS, GAP = 64, 0.08  # of a turn: a ring may be open so far where something touches it
LEAST_SIGN = 0.15  # of its height: how high signs that touch it are
LEAST_TOUCHING = 0.5  # of its height: how high the highest of them is
LONGEST_STROKE = 1.4  # times its own extent: what is longer turns back
ROOM = 0.7  # of its height: how high one of the rooms is that its sign leaves in it
MERGED = 1.0  # times its width: how many pixels of a sign end at the rim; the foot of a 2 may lie in it
BLOT = 0.65  # of its box: what a dot fills
ROUND, OVAL = 0.85, 0.9  # of the height of a nought, and of its box: how wide it is, and what it fills
LEANS, LEANS_MORE = 0.4, 0.55  # of its height: how far a slash leans in an upright oval, and in a round one
STROKE = 0.35  # of its length: how thick a slash is


def may_be_ringed(piece: Piece, mask: Mask) -> bool:
    """Whether a piece reaches all four sides of its box in their middles, no corner, and its middle: a ring, an 8."""
    width, height = piece.width, piece.height
    if min(width, height) < LEAST_RING_PX or not SLIMMEST * height <= width <= WIDEST * height:
        return False
    own = mask[piece.window]
    across, along = width // 4, height // 4
    rim_x, rim_y = max(2, round(0.06 * width)), max(2, round(0.06 * height))
    middles = (
        own[:rim_y, across:-across], own[-rim_y:, across:-across],
        own[along:-along, :rim_x], own[along:-along, -rim_x:],
    )  # fmt: skip
    corners = own[:rim_y, :rim_x], own[:rim_y, -rim_x:], own[-rim_y:, :rim_x], own[-rim_y:, -rim_x:]
    if not all(middle.any() for middle in middles) or any(corner.any() for corner in corners):
        return False
    return float(own[along:-along, across:-across].mean()) >= LEAST_INSIDE


def signs_in_ring(own: Flags) -> Flags | None:
    """The signs that touch the ring around them, in one piece with it; None where no ring is told from a digit.

    All of its hull's rim is drawn but a gap; what it holds is as high as a digit, is no slash, and leaves a room within
    the ring from its top to its bottom, which the loops of an 8 do not.
    """
    height = len(own)
    hull = hull_of(own)
    if not is_elliptic(hull) or np.count_nonzero(own) > FULL * own.size:
        return None
    depth = cv2.distanceTransform(np.pad(hull, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    shells = np.bincount(depth.astype(np.int64)[hull > 0])[1:]
    inked = np.bincount(depth.astype(np.int64)[own], minlength=len(shells) + 1)[1:] / np.maximum(shells, 1)
    dense = np.flatnonzero(inked >= MOSTLY)
    if not dense.size or dense[0] > max(3, RIM * min(own.shape) / 2):
        return None
    thin = np.flatnonzero(inked[dense[0] :] < MOSTLY)
    reach = int(dense[0]) + (int(thin[0]) if thin.size else len(inked)) + 1
    if reach > max(4, RIM * min(own.shape)):
        return None
    if not _is_closed_within(_largest(own & (depth <= reach + 1)), hull):
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(((depth > reach + 1) & own).astype(np.uint8))
    heights = stats[:, cv2.CC_STAT_HEIGHT] / height
    is_sign = heights >= LEAST_SIGN
    is_sign[0] = False
    if heights[is_sign].max(initial=0.0) < LEAST_TOUCHING:
        return None
    bare = ((hull > 0) & (depth > reach) & ~own).astype(np.uint8)
    rooms = cv2.connectedComponentsWithStats(bare, connectivity=4)[2][1:, cv2.CC_STAT_HEIGHT]
    if rooms.max(initial=0) < ROOM * (height - 2 * reach):
        return None
    if all(_is_stroke(labels == label) for label in np.flatnonzero(is_sign)):
        return None
    signs = np.asarray(is_sign[labels], np.bool_)
    at_rim = np.count_nonzero(signs & (depth <= reach + 2.5))
    across = np.count_nonzero(signs.any(axis=0))
    return None if at_rim > MERGED * across else signs


def is_crossed(piece: Piece, labels: Labels) -> bool:
    """Whether so much of a ring strays from it that it is crossed by digits, which would be dropped with it."""
    own = piece.own_of(labels)
    hull = hull_of(own)
    return is_elliptic(hull) and not runs_along(own, hull, CROSSED)


def hull_of(own: Flags) -> Mask:
    """The convex hull (1) of the pixels that are set."""
    points = cv2.findNonZero(own.astype(np.uint8))
    return np.asarray(cv2.fillConvexPoly(np.zeros(own.shape, np.uint8), cv2.convexHull(points), 1), np.uint8)


def is_elliptic(hull: Mask) -> bool:
    """Whether a hull fills as much of its box as ellipses do, upright or lying askew."""
    return bool(ELLIPSE[0] <= np.count_nonzero(hull) / hull.size <= ELLIPSE[1])


def runs_along(own: Flags, hull: Mask, astray: float) -> bool:
    """Whether what is drawn, but for a part, keeps to its own hull: a ring does, closed or open, and a nought."""
    depth = cv2.distanceTransform(np.pad(hull, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    deep = depth[own] > max(3.0, RIM * min(own.shape))
    return float(deep.mean()) <= astray


def goes_around(own: Flags, hull: Mask) -> bool:
    """Whether most of a hull's rim is drawn: of that of a 7 or a 2 much is bare."""
    padded = np.pad(hull, 1)
    rim = (padded - cv2.erode(padded, np.ones((3, 3), np.uint8)))[1:-1, 1:-1] > 0
    near = max(3, 2 * round(RIM * min(own.shape) / 4) + 1)
    drawn = cv2.dilate(own.astype(np.uint8), np.ones((near, near), np.uint8)) > 0
    return float(drawn[rim].mean()) >= AROUND


def is_blot(inked: Flags, box: npt.NDArray[np.int64]) -> bool:
    """Whether what stands in a box fills it: the dot in a nought."""
    x, y, right, bottom = box.tolist()
    return bool(inked[y:bottom, x:right].mean() >= BLOT)


def may_be_slash(inked: Flags, box: npt.NDArray[np.int64], hull: Mask) -> bool:
    """Whether what stands in an oval may be the slash in a nought: a stroke that leans, the less the narrower it is."""
    height, width = hull.shape
    x, y, right, bottom = box.tolist()
    points = cv2.findNonZero(inked[y:bottom, x:right].astype(np.uint8))
    if points is None or not _is_oval(hull):
        return False
    thick, along = sorted(cv2.minAreaRect(points)[1])
    leans = (right - x - thick) / (bottom - y)
    return bool(thick < STROKE * along and leans > (LEANS if width < ROUND * height else LEANS_MORE))


def _largest(flags: Flags) -> Flags:
    """The largest of the parts that hang together: digits in a chain have their share of its hull, but apart."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(flags.astype(np.uint8))
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.bool_)


def _is_closed_within(line: Flags, hull: Mask) -> bool:
    """Whether a line goes around the middle of a hull but for a gap."""
    rows, columns = np.nonzero(line)
    height, width = hull.shape
    angles = np.arctan2((rows - height / 2) / height, (columns - width / 2) / width)
    sectors = np.unique(((angles + np.pi) * SECTORS / (2 * np.pi)).astype(np.int64) % SECTORS)
    return len(sectors) >= (1 - GAP) * SECTORS


def _is_stroke(sign: Flags) -> bool:
    """Whether a sign is one stroke, straight or bent: a 1, a slash, the curl of a 6."""
    depth = cv2.distanceTransform(np.pad(sign.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1][sign]
    thickness = max(1.0, 4.0 * float(depth.mean()) - 1.0)  # across a stroke depths rise evenly to its middle
    extent = max(int(np.ptp(np.flatnonzero(sign.any(axis=axis)))) + 1 for axis in (0, 1))
    return depth.size / thickness < LONGEST_STROKE * extent


def _is_oval(hull: Mask) -> bool:
    """Whether a hull leaves the corners of its box bare, as those of noughts do."""
    return bool(np.count_nonzero(hull) < OVAL * hull.size)
