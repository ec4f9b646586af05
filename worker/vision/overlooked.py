"""What a page holds beside its marks that may be signs all the same: much fainter or smaller than those, or on a ring.

Every page is full of such things, and most are nothing. So they are no marks; but recognition looks whether one of them
is a digit, which nobody would miss otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from worker.vision.cleaning.enclosures import rest_of_ring
from worker.vision.ink import MIN_CONTRAST, Float, Mask, quantile, tight_box
from worker.vision.pieces import Findings, Flags, Labels, Piece, Sizes

MOST = 8  # of each kind, and on each ring, the largest: more are a pattern of the paper
RINGS = 24  # of what was left out, the largest: so much is looked at, whether it is a ring or not
LEAST_PX = 10  # of height: less tells no digit from another
SMALLEST = 0.1  # of the extent of the largest mark
COARSE_SIDE_PX = 200  # faint signs are sought on a picture of about this size
FROM_PX = 64  # a smaller picture is a sign by itself
GRAIN = 6.0  # times what lies between the middle and the third quarter of all ink: what is no stroke
LEAST_FAINT_PX, LEAST_COARSE_PX = 20, 5  # of height, in working pixels and in those of the coarse picture
SLIMMEST, FULLEST = 0.08, 0.75  # of its height squared, of its box: the area of a stroke, and of a stain
BAR = 0.5  # of its height: what is as narrow may fill its box
OUTSIDE = 0.3  # of what hangs on a ring: what lies within was told from the line before
WITHIN_A_RING = 0.75  # of the sides of a ring: what is larger is its own line
SOLID = 0.85  # of its pixels are fainter than the core of a faint sign
STROKE = 0.4  # of that core: what is as dark belongs to the sign
EVEN = 0.5  # of that core: how much the ground below a sign differs at most; else it is the rim of a stain

Overlooked = tuple[int, int, Float]
"""Left and top in working pixels, and the ink, float32 (h, w) in [0, 1], in its tight box."""

_ACROSS_A_LINE = np.ones((7, 7), np.uint8)
_AROUND = np.ones((5, 5), np.uint8)  # the soft edges of strokes, in coarse pixels


def small_pieces(own: Sequence[Piece], marks: Sequence[Piece]) -> list[Piece]:
    """The pieces of `own` that belong to none of the marks and are large enough to be signs; the largest first."""
    if not marks:
        return []
    held = {label for mark in marks for label in mark.labels}
    least_px = max(LEAST_PX, SMALLEST * max(mark.extent for mark in marks))
    left = [piece for piece in own if piece.extent >= least_px and held.isdisjoint(piece.labels)]
    return sorted(left, key=lambda piece: piece.area_px, reverse=True)[:MOST]


def signs_on(found: Findings, left_out: Sequence[Piece]) -> list[Overlooked]:
    """What hangs on the rings among what was left out, or crosses their line and goes on outside; at most `MOST`.

    Of the largest ring first, and of each the largest first.
    """
    signs: list[Overlooked] = []
    frames = [piece for piece in left_out if min(piece.width, piece.height) >= 2 * LEAST_FAINT_PX]
    for frame in sorted(frames, key=lambda piece: piece.extent, reverse=True)[:RINGS]:
        of_ring = rest_of_ring(frame.own_of(found.labels))
        if of_ring is None:
            continue
        rest, outside = of_ring
        near = cv2.dilate(rest.astype(np.uint8), _ACROSS_A_LINE)
        _, labels, found_stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
        stats = np.asarray(found_stats, np.int64)
        is_sign = (
            (stats[:, cv2.CC_STAT_HEIGHT] >= LEAST_FAINT_PX)
            & (stats[:, cv2.CC_STAT_WIDTH] <= WITHIN_A_RING * frame.width)
            & (stats[:, cv2.CC_STAT_HEIGHT] <= WITHIN_A_RING * frame.height)
        )
        for label in _largest(np.flatnonzero(is_sign), stats):
            own = rest & (labels == label)
            if np.count_nonzero(own & outside) >= OUTSIDE * np.count_nonzero(own) > 0:
                ink = np.where(own, found.ink_map.ink[frame.window], 0).astype(np.float32)
                signs.append(_tight(frame.x, frame.y, ink))
        if len(signs) >= MOST:
            break
    return signs[:MOST]


def faint_signs(found: Findings) -> list[Overlooked]:
    """What hangs together, is as large as a sign, and holds nothing of any piece; the largest first."""
    ink, ground = found.ink_map.ink, found.ink_map.ground
    if max(ink.shape) < FROM_PX or not found.pieces:
        return []
    step = -(-max(ink.shape) // COARSE_SIDE_PX)
    coarse = _means(ink, step)
    components = _faint_components(coarse, _in_pieces(found, step, coarse.shape), step)
    if components is None:
        return []
    chosen, labels, stats = components
    signs = []
    for label in chosen:
        x, y, w, h = stats[label, :4].tolist()
        own = (labels[y : y + h, x : x + w] == label).astype(np.uint8)
        is_own = np.asarray(cv2.resize(own, None, fx=step, fy=step, interpolation=cv2.INTER_NEAREST)) > 0
        within = ink[step * y : step * (y + h), step * x : step * (x + w)]
        core = max(quantile(within[is_own], SOLID), MIN_CONTRAST)
        if _unevenness(ground, (x, y, x + w, y + h), coarse.shape) <= EVEN * core:
            signs.append(_tight(step * x, step * y, _stretched(within, is_own, core)))
    return signs


def _means(ink: Float, step: int) -> Float:
    """The means of squares of so many pixels; what is left over at the right and at the bottom is not looked at."""
    if step == 1:
        return ink
    height, width = max(1, ink.shape[0] // step), max(1, ink.shape[1] // step)
    whole = ink[: height * step, : width * step]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _faint_components(coarse: Float, known: Mask, step: int) -> tuple[list[int], Labels, Sizes] | None:
    """Which components of a coarse picture may be signs, without what is `known`; the labels and statistics of all.

    None, quickly, on most pages.
    """
    mask = _above_the_grain(coarse)
    beside = mask & ~np.asarray(cv2.dilate(known, _AROUND), np.uint8)
    least_px = max(LEAST_COARSE_PX, LEAST_FAINT_PX / step)
    if np.count_nonzero(beside) < SLIMMEST * least_px**2:
        return None
    _, labels, found_stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    stats = np.asarray(found_stats, np.int64)
    is_sign = _may_be_signs(stats, least_px)
    is_sign[labels[known > 0]] = False
    return _largest(np.flatnonzero(is_sign), stats), np.asarray(labels, np.int32), stats


def _largest(places: Sizes, stats: Sizes) -> list[int]:
    """Of the components at these places the `MOST` with the most ink, the largest first."""
    by_area: list[int] = places[np.argsort(-stats[places, cv2.CC_STAT_AREA], kind="stable")][:MOST].tolist()
    return by_area


def _tight(x: int, y: int, ink: Float) -> Overlooked:
    left, top, width, height = tight_box(ink)
    return x + left, y + top, np.ascontiguousarray(ink[top : top + height, left : left + width])


def _above_the_grain(coarse: Float) -> Mask:
    """The pixels (1) that are darker than the grain of the paper."""
    grain = coarse[::2, ::2].ravel()
    half, three_quarters = grain.size // 2, 3 * grain.size // 4
    in_order = np.partition(grain, (half, three_quarters))
    spread = in_order[three_quarters] - in_order[half]
    return np.asarray(coarse > max(MIN_CONTRAST, in_order[half] + GRAIN * spread), np.uint8)


def _in_pieces(found: Findings, step: int, shape: tuple[int, ...]) -> Mask:
    """Which (1) of every so-manieth pixel belongs to a piece, whatever became of it."""
    labels = found.labels[::step, ::step][: shape[0], : shape[1]]
    is_piece = np.zeros(int(labels.max()) + 1, np.uint8)
    held = np.array([label for piece in found.pieces for label in piece.labels])
    is_piece[held[held < is_piece.size]] = 1
    return np.asarray(is_piece[labels], np.uint8)


def _may_be_signs(stats: Sizes, least_px: float) -> Flags:
    """Which components of a coarse picture, by their statistics, have the size of a sign and the ink of a stroke."""
    heights, widths, areas = (
        stats[:, column] for column in (cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH, cv2.CC_STAT_AREA)
    )
    is_sign: Flags = (
        (heights >= least_px)
        & (areas >= SLIMMEST * heights**2)
        & ((areas <= FULLEST * heights * widths) | (widths <= BAR * heights))
    )
    is_sign[0] = False  # the paper
    return is_sign


def _unevenness(ground: Float, box: tuple[int, int, int, int], shape: tuple[int, ...]) -> float:
    """How much the ground differs within a box (left, top, right, bottom) of a picture of this shape, in contrast."""
    scale = ground.shape[1] / shape[1], ground.shape[0] / shape[0]
    left, top = (int(box[axis] * scale[axis]) for axis in (0, 1))
    right, bottom = (math.ceil(box[axis + 2] * scale[axis]) for axis in (0, 1))
    own = ground[top:bottom, left:right]
    return float((own.max() - own.min()) / max(own.max(), 1.0))


def _stretched(ink: Float, is_own: Flags, core: float) -> Float:
    """The ink of a faint sign as if its pen had been as dark as can be."""
    return np.where(is_own & (ink > STROKE * core), np.minimum(ink / core, 1), 0).astype(np.float32)
