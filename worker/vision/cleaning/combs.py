"""Teeth: the uprights between the fields of a form, which are left when the line that they stand on is taken away.

Each looks like a 1. But they are drawn with a ruler: alike, straight, in step, and between them something is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.cleaning.rulings import IN_STEP, IN_STEP_PX, LEAST_TEETH, in_step
from worker.vision.ink import InkMap, Mask
from worker.vision.pieces import Findings, Labels, Piece, link_of

LEAST_HEIGHT_PX = 8
MOST = 128  # slim pieces: no form has more, and each costs time
SLIM = 0.2  # of its height: how thick it is, on the average; the line that was taken away may have left it a foot
UPRIGHT = 0.1  # columns a row: how far a page may lie askew
STRAIGHT_PX, STRAIGHT = 0.8, 0.012  # and of its height: how far a tooth strays from a straight line
EVEN_PX, EVEN = 0.8, 0.2  # and of its thickness: how much that varies along it
ENDS_PX, ENDS = 4, 0.1  # and of its height: where the line that was taken away left a flare, or took a bite
ALIKE_PX, ALIKE = 1.5, 0.04  # and of their height: how far the ends of teeth lie off a straight line
THICK_PX, THICK = 1.2, 0.25  # and of their thickness: how much it differs
PARALLEL_PX, PARALLEL = 1.5, 0.02  # of its height, and columns a row: how much steeper one may be
ASKEW = 0.06  # rows a column: how steeply the line may rise that they stand on
STANDING = 0.5  # of the teeth: the line may have ended short of the outer ones
STANDS_PX = 4  # from the line: how near a tooth ends to it
ON_IT = 0.2  # of a tooth's width: at the end of the line half of it stands on it
ALL_ALONG = 0.95  # of its rows: where there is ink if a tooth is there
OFF_END = 0.06  # of the step: how far from a tooth the line ends; a ruling under 1s ends anywhere
CORNER = 1.2  # times the ink of a tooth and the line beside it
BETWEEN = 0.4  # of a tooth's height: what is lower is no writing between teeth


@dataclass(frozen=True, slots=True, eq=False)
class _Tooth:
    """A straight upright: its middle column at half its height, its slope in columns a row, its ends."""

    piece: Piece
    x: float
    slope: float
    thickness_px: float
    stands: bool  # on a line that was taken away, or hangs from it


def without_teeth(found: Findings, before: InkMap) -> Findings:
    """What is found without teeth; the same where there are none.

    `before` is the ink map as it was before lines were taken from it.
    """
    labels, pieces = found.labels, found.pieces
    slim = [piece for piece in pieces if _is_slim(piece)]
    if not 2 <= len(slim) <= MOST or len(slim) == len(pieces):
        return found
    taken = ((before.ink > link_of(before)) & (found.ink_map.ink == 0)).astype(np.uint8)
    if not taken.any():
        return found
    teeth = [tooth for piece in slim if (tooth := _tooth_of(piece, labels, taken)) is not None]
    combs = np.zeros(labels.shape, np.uint8)
    for comb in _combs_of(teeth, pieces, taken, labels):
        own = {tooth.piece.labels for tooth in comb}
        corners = [one for one in pieces if one.labels not in own and _is_corner(one, comb)]
        for piece in [*(tooth.piece for tooth in comb), *corners]:
            combs[piece.window] |= piece.own_of(labels).astype(np.uint8)
        _add_touched(combs, comb, labels)
    if not combs.any():
        return found
    # Its soft edges go with it, and nobody else's ink.
    edges = (cv2.dilate(combs, np.ones((5, 5), np.uint8)) > 0) & (labels == 0)
    return found.without((combs > 0) | edges)


def _is_slim(piece: Piece) -> bool:
    most_px = piece.height * max(3, SLIM * piece.height)
    return piece.height >= LEAST_HEIGHT_PX and piece.area_px <= most_px and piece.width < piece.height


def _stands(piece: Piece, taken: Mask) -> bool:
    """Whether a line that was taken away runs under a piece, or over it."""
    left, right = max(0, piece.x - 2), piece.right + 2  # what crosses a line stays where it does
    under = taken[max(0, piece.bottom - STANDS_PX) : piece.bottom + STANDS_PX, left:right]
    over = taken[max(0, piece.y - STANDS_PX) : piece.y + STANDS_PX, left:right]
    return any(bool(part.any(axis=0).mean() >= ON_IT) for part in (under, over) if part.size)


def _tooth_of(piece: Piece, labels: Labels, taken: Mask) -> _Tooth | None:
    """The piece as a tooth: straight, upright, and as thick at one end as at the other; or None."""
    own = piece.own_of(labels)
    cut = min(piece.height // 4, ENDS_PX + round(ENDS * piece.height))
    thickness = own.sum(axis=1).astype(np.float64)
    rows = np.arange(piece.height)[cut : piece.height - cut]
    widths = thickness[rows]
    if not widths.all():
        return None
    usual = float(np.median(widths))
    if float(np.std(widths)) > max(EVEN_PX, EVEN * usual):
        return None
    middles = (own[rows] * np.arange(piece.width)).sum(axis=1) / widths
    slope, start = np.polyfit(rows, middles, 1)
    off = np.abs(middles - start - slope * rows)
    if abs(slope) > UPRIGHT or float(off.max()) > STRAIGHT_PX + STRAIGHT * piece.height:
        return None
    x = piece.x + float(start + slope * piece.height / 2)
    return _Tooth(piece, x, float(slope), usual, _stands(piece, taken))


def _combs_of(
    teeth: Sequence[_Tooth], pieces: Sequence[Piece], taken: Mask, labels: Labels
) -> list[list[_Tooth]]:
    """The combs that teeth make, each from the left; empty without any."""
    found: list[list[_Tooth]] = []
    rest = sorted(teeth, key=lambda tooth: tooth.x)
    while len(rest) >= 2:
        first, *others = rest
        comb = _in_step([first, *(other for other in others if _are_alike(first, other))])
        chosen = {tooth.piece.labels for tooth in comb}
        if (
            comb
            and sum(tooth.stands for tooth in comb) >= max(2, STANDING * len(comb))
            and _ends(comb, taken, labels)
            and _holds_writing(comb, [one for one in pieces if one.labels not in chosen])
        ):
            found.append(comb)
            rest = [tooth for tooth in rest if tooth.piece.labels not in chosen]
        else:
            rest = others
    return found


def _add_touched(found: Mask, comb: Sequence[_Tooth], labels: Labels) -> None:
    """Add to `found`, in place, the teeth that a digit touches: ink all along where one is missing between others."""
    step = _step_of(comb)
    for before, after in pairwise(comb):
        missing = round((after.x - before.x) / step) - 1
        for place in range(1, missing + 1):
            share = place / (missing + 1)
            top = round(before.piece.y + share * (after.piece.y - before.piece.y))
            bottom = round(before.piece.bottom + share * (after.piece.bottom - before.piece.bottom))
            x = before.x + share * (after.x - before.x)
            half = max(before.thickness_px, after.thickness_px) / 2 + 1
            window = np.s_[top:bottom, max(0, round(x - half)) : round(x + half)]
            inked = labels[window] > 0
            if inked.size and inked.any(axis=1).mean() >= ALL_ALONG:
                found[window] |= inked.astype(np.uint8)


def _ends(comb: Sequence[_Tooth], taken: Mask, labels: Labels) -> bool:
    """Whether the line that was taken away ends where a tooth stands, or would: a digit may touch the outer one."""
    is_comb = len(comb) >= LEAST_TEETH
    step = _step_of(comb)
    first, last = round(comb[0].x), round(comb[-1].x)
    for ends in ([tooth.piece.y for tooth in comb], [tooth.piece.bottom for tooth in comb]):
        line = _along(taken, comb, ends)
        if line[first:last].mean() < 0.5:
            continue  # teeth have a line at one end only
        # What hangs together with a digit was left, and shows where the line goes on all the same.
        line = line | _along((labels > 0).astype(np.uint8), comb, ends)
        for start, way in ((first, -1), (last, 1)):
            length_px = _length(line, start, way)
            places = round(length_px / step) if is_comb else 0
            near = comb[0].thickness_px + OFF_END * step
            if places > 1 or abs(length_px - places * step) > near:
                return False
    return True


def _along(mask: Mask, comb: Sequence[_Tooth], ends: Sequence[int]) -> npt.NDArray[np.bool_]:
    """For each column, whether `mask` has something near the straight line through these ends of the teeth."""
    slope, start = np.polyfit([tooth.x for tooth in comb], ends, 1)
    columns = np.arange(mask.shape[1])
    rows = np.rint(start + slope * columns).astype(np.int64) + np.arange(-STANDS_PX, STANDS_PX + 1)[:, None]
    inside = (rows >= 0) & (rows < mask.shape[0])
    near = inside & (mask[np.minimum(np.maximum(rows, 0), mask.shape[0] - 1), columns] > 0)
    return np.asarray(near.any(axis=0))


def _is_corner(piece: Piece, comb: Sequence[_Tooth]) -> bool:
    """Whether a piece is the outer corner of a comb: a tooth in step with the others, and the end of the line."""
    step = _step_of(comb)
    near = ALIKE_PX + ALIKE * comb[0].piece.height
    for tooth, outer in (
        (comb[0], piece.x - (comb[0].x - step - comb[0].thickness_px / 2)),
        (comb[-1], piece.right - (comb[-1].x + step + comb[-1].thickness_px / 2)),
    ):
        most_px = tooth.piece.area_px + piece.width * tooth.thickness_px
        if (
            abs(outer) <= IN_STEP_PX + IN_STEP * step
            and abs(piece.y - tooth.piece.y) <= near + PARALLEL * step
            and -near <= piece.bottom - tooth.piece.bottom <= near + tooth.thickness_px + PARALLEL * step
            and piece.area_px <= CORNER * most_px
            and piece.width < step
        ):
            return True
    return False


def _step_of(comb: Sequence[_Tooth]) -> float:
    """From one tooth to the next, in columns."""
    return float(np.diff([tooth.x for tooth in comb]).min())


def _length(line: npt.NDArray[np.bool_], start: int, way: int) -> int:
    """How many columns a line runs on from `start`, to the left (-1) or right (1), over gaps of a few."""
    columns = np.flatnonzero(line[start:] if way > 0 else line[: start + 1][::-1])
    breaks = np.flatnonzero(np.diff(columns, prepend=0) > 2 * STANDS_PX)
    whole = columns[: breaks[0]] if breaks.size else columns
    return int(whole[-1]) if whole.size else 0


def _are_alike(one: _Tooth, other: _Tooth) -> bool:
    """Whether two teeth may have been drawn with one ruler: parallel, as thick, as high, at one height."""
    height = max(one.piece.height, other.piece.height)
    near = ALIKE_PX + ALIKE * height
    askew = PARALLEL + PARALLEL_PX / height
    apart = other.x - one.x
    return (
        abs(one.slope - other.slope) <= askew
        and abs(one.thickness_px - other.thickness_px) <= max(THICK_PX, THICK * one.thickness_px)
        and abs(other.piece.y - one.piece.y) <= near + ASKEW * abs(apart)
        and abs(other.piece.bottom - one.piece.bottom) <= near + ASKEW * abs(apart)
        and abs(one.piece.height - other.piece.height) <= near
    )


def _in_step(row: list[_Tooth]) -> list[_Tooth]:
    """The most of a row that stand in step and on one straight line, the first one among them; all of two."""
    if len(row) == 2:
        return row
    xs = [tooth.x for tooth in row]
    comb = [tooth for tooth, stands in zip(row, in_step(xs), strict=True) if stands]
    if not comb:
        return []
    at = np.array([tooth.x for tooth in comb])
    ends = np.array([tooth.piece.bottom for tooth in comb], np.float64)
    slope, start = np.polyfit(at, ends, 1)
    height = float(np.median([tooth.piece.height for tooth in comb]))
    return comb if np.abs(ends - start - slope * at).max() <= ALIKE_PX + ALIKE * height else []


def _holds_writing(comb: Sequence[_Tooth], others: Sequence[Piece]) -> bool:
    """Whether something is written between the teeth; two are the sides of one field, and nothing stands beside it."""
    first, last = comb[0], comb[-1]
    height = first.piece.height
    beside = [
        one
        for one in others
        if one.height >= BETWEEN * height
        and one.y < first.piece.bottom + height
        and one.bottom > first.piece.y - height
    ]
    between = [one for one in beside if first.x < (one.x + one.right) / 2 < last.x]
    if len(comb) >= LEAST_TEETH:
        return bool(between)
    return len(between) == len(beside) and any(not _is_slim(one) for one in between)  # 111 is a number
