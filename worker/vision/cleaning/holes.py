"""The holes that a punch left in the margin of a sheet: they are no writing."""

from __future__ import annotations

import numpy as np

from worker.vision.pieces import Findings, Flags, Piece

HOLE_PX, ROUND = 12, 1.15  # its least extent, and how much longer it is one way than the other
FULL = (0.68, 0.88)  # the share of its box that it fills
DISC = 0.9  # how much of it and of its circle are both
INNER = 0.6  # of its radius: so far from its middle nothing is bare; the eye of a nought, closed by a broad pen, is
DARK = 0.7  # of the contrast of what is dark: how dark it is there, everywhere
MARGIN = 0.15  # of the shorter side of the page: how far from its border its middle is at most
AS_HIGH = (0.6, 1.7)  # times its height: what stands beside a digit, and by a hole by chance
LEVEL = 0.35  # of its height: how far above or below its middle that of such a neighbour lies at most
NEAR = 1.5  # times its height: how far from it such a neighbour stands at most


def without_holes(pieces: list[Piece], found: Findings) -> list[Piece]:
    """The pieces without the holes among them; where all are such discs, all stay: they may be anything."""
    holes = [piece for piece in pieces if _is_hole(piece, found)]
    others = [piece for piece in pieces if piece not in holes]
    # In a row of signs as high as it, it is a nought that was filled: it stays, and is in doubt.
    in_rows = [hole for hole in holes if any(_stand_in_a_row(hole, other) for other in others)]
    return [piece for piece in pieces if piece not in holes or piece in in_rows] if others else pieces


def _is_hole(piece: Piece, found: Findings) -> bool:
    """Whether a piece is a disc in the margin, round and dark all through: a pen leaves neither."""
    if min(piece.width, piece.height) < HOLE_PX or piece.extent > ROUND * min(piece.width, piece.height):
        return False
    height, width = found.labels.shape
    x, y = (piece.x + piece.right) / 2, (piece.y + piece.bottom) / 2
    if min(x, width - x, y, height - y) > MARGIN * min(width, height):
        return False
    if not FULL[0] <= piece.area_px / (piece.width * piece.height) <= FULL[1]:
        return False
    own, circle, inner = piece.own_of(found.labels), _disc(piece, 1.0), _disc(piece, INNER)
    is_round = np.count_nonzero(own & circle) >= DISC * np.count_nonzero(own | circle)
    ink = found.ink_map.ink[piece.window]
    return bool(is_round and ink[inner].min() >= DARK * found.ink_map.core)


def _disc(piece: Piece, radius: float) -> Flags:
    """The ellipse in the middle of a piece's box; a `radius` of 1 fills it."""
    rows, columns = np.ogrid[: piece.height, : piece.width]
    off = ((2 * rows + 1) / piece.height - 1) ** 2 + ((2 * columns + 1) / piece.width - 1) ** 2
    return np.asarray(off <= radius**2, np.bool_)


def _stand_in_a_row(hole: Piece, other: Piece) -> bool:
    """Whether another piece is about as high as a hole, level with it and near."""
    off = abs((hole.y + hole.bottom) - (other.y + other.bottom)) / 2
    gap = max(other.x - hole.right, hole.x - other.right)
    is_as_high = AS_HIGH[0] * hole.height <= other.height <= AS_HIGH[1] * hole.height
    return is_as_high and off <= LEVEL * hole.height and gap <= NEAR * hole.height
