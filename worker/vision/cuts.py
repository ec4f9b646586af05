"""Where a mark may be cut into digits: seams from top to bottom that cross little ink, and what lies between.

A seam is the path of least ink through the mark (as in seam carving, Avidan and Shamir, 2007), so it
follows slanted and overhanging strokes. Which seams are right is not decided here: recognition scores what
lies between any two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import Float

WORKING_PX = 48  # seams are sought at this height at most: finer ones cut no better
LATERAL = 0.2  # what a step aside costs, in pixels of ink: each valley keeps a seam of its own
MAX_CROSSED = 0.5  # of the height: a seam through more ink than this cuts along a stroke
APART = 0.06  # of the height: seams closer together than this are one
SEAMS_PER_SQUARE = 4.5  # so many seams at most for each height of width
MAX_SEAMS = 64  # the cheapest of a mark: no digits that touch need as many
WIDEST = 16  # heights: what is wider is a ruling or a flourish, no digits that touch
LEAST_SHARE = 0.04  # of the mark's ink on either side of a seam
NEAR_HINT = 0.12  # heights: how far from where it was hinted a seam may lie
CRUMB_SHARE = 0.05  # of a piece's ink: smaller parts, cut off from the rest, are the neighbour's


@dataclass(frozen=True, slots=True, eq=False)
class Seam:
    """A cut from top to bottom: `columns` int (h,), the first column right of it in each row.

    `crossed` is the ink it crosses, in heights of the mark.
    """

    columns: npt.NDArray[np.int64]
    crossed: float


def find_seams(ink: Float) -> list[Seam]:
    """The seams along which `ink` (h, w) may be two signs, from left to right and never crossing.

    None for a mark that is too narrow, or far wider than digits that touch; at most `MAX_SEAMS`.
    """
    height, width = ink.shape
    scale = min(1.0, WORKING_PX / height)
    small = ink
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), np.float32)
    h, w = small.shape
    if w < 4 or h < 4 or w > WIDEST * h:
        return []
    (down, up), (back, forth) = _cheapest(np.stack([small, small[::-1]]))
    apart = max(1, round(APART * h))
    paths: list[tuple[float, npt.NDArray[np.int64]]] = []
    for row in (h // 2, h // 4, h - 1 - h // 4):
        through = down[row] + up[h - 1 - row] - small[row]
        for column in _minima(through, apart, MAX_CROSSED * h):
            # The steps of both halves lead to their first row: the upper one is read backwards.
            path = np.concatenate([_walk(back, row, column)[::-1], _walk(forth, h - 1 - row, column)[1:]])
            if all(float(np.abs(path - other).mean()) > apart for _, other in paths):
                paths.append((float(small[np.arange(h), path].sum()) / h, path))
    most = min(MAX_SEAMS, max(1, round(SEAMS_PER_SQUARE * w / h)))
    seams = sorted(paths, key=lambda seam: seam[0])[:most]
    seams.sort(key=lambda seam: float(seam[1].mean()))
    rows = np.minimum(((np.arange(height) + 0.5) * h / height).astype(np.int64), h - 1)
    mass = ink.sum(axis=1)
    total = float(mass.sum())
    found: list[Seam] = []
    cumulative = np.concatenate([np.zeros((height, 1)), np.cumsum(ink, axis=1)], axis=1)
    # Where two seams cross they change places: else what lies there would belong to two pieces, or to none.
    apart_paths = np.sort(np.array([path for _, path in seams]).reshape(-1, h), axis=0)
    for (crossed, _), path in zip(seams, apart_paths, strict=True):
        columns = np.round((path[rows] + 0.5) * width / w).astype(np.int64).clip(0, width)
        left = float(cumulative[np.arange(height), columns].sum())
        if LEAST_SHARE * total <= left <= (1 - LEAST_SHARE) * total:
            found.append(Seam(columns, crossed))
    return found


def add_seams(ink: Float, seams: list[Seam], hints: Sequence[float]) -> list[Seam]:
    """`seams`, and an upright one where least ink is near each of the columns `hints` of `ink` that has none near."""
    height, width = ink.shape
    found = list(seams)
    mass = np.asarray(ink.sum(axis=0))
    for hint in hints:
        if not 1 <= hint <= width - 1:
            continue
        if any(abs(float(seam.columns.mean()) - hint) <= NEAR_HINT * height for seam in found):
            continue
        reach = max(1, round(NEAR_HINT * height))
        first = max(1, round(hint) - reach)
        window = mass[first : min(width - 1, round(hint) + reach) + 1]
        if window.size == 0:
            continue
        off = np.abs(np.arange(first, first + len(window)) - hint)
        column = first + int((window + 1e-3 * off).argmin())  # of equal ones the nearest
        crossed = float(mass[column]) / height
        found.append(Seam(np.full(height, column, np.int64), crossed))
    if len(found) == len(seams):
        return seams
    found.sort(key=lambda seam: float(seam.columns.mean()))
    ordered = np.sort(np.array([seam.columns for seam in found]), axis=0)
    return [Seam(columns, seam.crossed) for columns, seam in zip(ordered, found, strict=True)]


def between(ink: Float, left: Seam | None, right: Seam | None) -> tuple[Float, int, int] | None:
    """The ink between two seams (None: the mark's own end), tight, with the x and y of its corner in `ink`.

    None where nothing is left. Small parts that lost their connection are left out.
    """
    # A scribble as large as the page has a hundred pieces: only what lies between the seams is looked at.
    first = 0 if left is None else int(left.columns.min())
    end = ink.shape[1] if right is None else int(right.columns.max())
    if first >= end:
        return None
    piece = ink[:, first:end].copy()
    columns = np.arange(first, end)
    if left is not None:
        piece[columns < left.columns[:, None]] = 0
    if right is not None:
        piece[columns >= right.columns[:, None]] = 0
    piece = _without_crumbs(piece)
    rows, cols = np.flatnonzero(piece.any(axis=1)), np.flatnonzero(piece.any(axis=0))
    if rows.size == 0:
        return None
    x, y = int(cols[0]), int(rows[0])
    return np.ascontiguousarray(piece[y : rows[-1] + 1, x : cols[-1] + 1]), first + x, y


def _without_crumbs(piece: Float) -> Float:
    count, labels, stats, _ = cv2.connectedComponentsWithStats((piece > 0).astype(np.uint8), connectivity=8)
    if count <= 2:
        return piece
    areas = stats[:, cv2.CC_STAT_AREA]
    is_crumb = areas < CRUMB_SHARE * areas[1:].sum()
    is_crumb[0] = False
    return np.where(is_crumb[labels], np.float32(0), piece) if is_crumb.any() else piece


def _cheapest(inks: Float) -> tuple[Float, npt.NDArray[np.int8]]:
    """For each pixel of each of `inks` (n, h, w) the ink on the cheapest way to it from the first row, and its step.

    The step is the one by which it came: 0 from straight above, -1 from the left, 1 from the right.
    """
    count, h, w = inks.shape
    cost = np.empty((count, h, w), np.float32)
    came = np.zeros((count, h, w), np.int8)
    cost[:, 0] = inks[:, 0]
    ways = np.full((3, count, w), np.float32(np.inf))
    for row in range(1, h):
        before = cost[:, row - 1]
        ways[0] = before
        ways[1, :, 1:] = before[:, :-1] + LATERAL
        ways[2, :, :-1] = before[:, 1:] + LATERAL
        came[:, row] = np.array([0, -1, 1], np.int8)[ways.argmin(axis=0)]
        cost[:, row] = inks[:, row] + ways.min(axis=0)
    return cost, came


def _walk(came: npt.NDArray[np.int8], row: int, column: int) -> npt.NDArray[np.int64]:
    """The columns of the way back from a pixel to the first row, the pixel first."""
    path = [column]
    for at in range(row, 0, -1):
        column += int(came[at, column])
        path.append(column)
    return np.asarray(path, np.int64)


def _minima(values: Float, apart: int, most: float) -> list[int]:
    """The columns of local minima, the middles of flat ones, the cheapest first and each `apart` of the others."""
    w = len(values)
    padded = np.pad(values, apart, constant_values=np.inf)
    lowest = np.lib.stride_tricks.sliding_window_view(padded, 2 * apart + 1).min(axis=1)
    is_low = (values <= lowest + 1e-4) & (values < most)
    starts = np.flatnonzero(is_low & ~np.concatenate([[False], is_low[:-1]]))
    ends = np.flatnonzero(is_low & ~np.concatenate([is_low[1:], [False]]))
    middles = [(int(a) + int(b)) // 2 for a, b in zip(starts, ends, strict=True) if a > 0 and b < w - 1]
    chosen: list[int] = []
    for column in sorted(middles, key=lambda i: float(values[i])):
        if all(abs(column - other) > apart for other in chosen):
            chosen.append(column)
    return chosen
