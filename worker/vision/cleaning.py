"""Ink that nobody wrote, taken from the page before it falls into pieces: scan edges and ruled lines."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from worker.vision.ink import MIN_CONTRAST, InkMap, Mask, quantile
from worker.vision.pieces import Labels, Piece, floor_of, link_of, usual_size
from worker.vision.rulings import drawn_lines, ruled_lines

EMPTY_RULING_SHARE = 0.25  # thin lines alone never cover more of a page
LONGER = 4.0  # times the usual size of a sign: no stroke of one is so long
LEAST_LINE_PX = 60  # what is shorter is told from a stroke by nothing


def clean(ink_map: InkMap) -> tuple[InkMap, Mask]:
    """The ink map and its mask without scan edges and ruled lines, core and noise measured anew."""
    mask = (ink_map.ink > link_of(ink_map)).astype(np.uint8)
    alien = _scan_edges(ink_map)
    lines = _ruled_lines(ink_map)
    if lines is not None:
        alien = lines if alien is None else alien | lines
    if alien is None:
        return ink_map, mask
    rest = np.where(alien > 0, np.float32(0), ink_map.ink)
    peak = float(rest.max())
    if peak < max(MIN_CONTRAST, 0.15 * ink_map.core):
        if lines is not None and float(lines.mean()) < EMPTY_RULING_SHARE:
            return replace(ink_map, ink=rest, core=0.0), np.zeros_like(mask)  # ruled paper, not written on
        return ink_map, mask  # nothing is left: then it was the writing itself
    solid = rest[rest > 0.3 * peak]
    cleaned = replace(ink_map, ink=rest, core=quantile(solid, 0.75))
    return cleaned, (rest > link_of(cleaned)).astype(np.uint8)


def without_drawn_lines(ink_map: InkMap, labels: Labels, pieces: list[Piece]) -> tuple[InkMap, Mask] | None:
    """The ink map and its mask without lines that end within the page; None where no piece shows one.

    Rulings with a margin, underlines, the rule of a column: several times as long as the signs that hold most
    of the ink. Left on the page, they join all that lies in their box to one mark.
    """
    usual = usual_size(pieces)
    found = np.zeros(labels.shape, np.uint8)
    for piece in pieces:
        if piece.extent < max(LONGER * usual, LEAST_LINE_PX):
            continue
        window = np.s_[piece.y : piece.bottom, piece.x : piece.right]
        lines = drawn_lines(np.isin(labels[window], piece.labels).astype(np.uint8), usual)
        if lines is not None:
            found[window] |= lines
    if not found.any():
        return None
    rest = np.where(found > 0, np.float32(0), ink_map.ink)
    cleaned = replace(ink_map, ink=rest)
    return cleaned, (rest > link_of(cleaned)).astype(np.uint8)


def _scan_edges(ink_map: InkMap) -> Mask | None:
    """Dark bands along the border, as scanners and shadows leave them; None where there are none.

    A component counts as one when it follows a border over most of its length and most of its own
    ink lies close to that border. A digit that touches the border does neither.
    """
    solid = (ink_map.ink > 0.5 * ink_map.core).astype(np.uint8)
    height, width = solid.shape
    if min(height, width) < 40:
        return None
    margin = max(2, round(0.03 * min(height, width)))
    along = (
        float(solid[0].mean()),
        float(solid[-1].mean()),
        float(solid[:, 0].mean()),
        float(solid[:, -1].mean()),
    )
    if max(along) < 0.5:
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    inner = np.zeros_like(solid)
    inner[margin:-margin, margin:-margin] = 1
    inside = np.bincount(labels[inner > 0], minlength=count)
    found = np.zeros(count, np.uint8)
    for border, length in (
        (labels[0], width),
        (labels[-1], width),
        (labels[:, 0], height),
        (labels[:, -1], height),
    ):
        touched = np.bincount(border, minlength=count)
        touched[0] = 0
        for label in np.flatnonzero(touched >= 0.5 * length):
            if inside[label] < 0.5 * stats[label, cv2.CC_STAT_AREA]:
                found[label] = 1
    if not found.any():
        return None
    return np.asarray(cv2.dilate(found[labels], np.ones((5, 5), np.uint8)), np.uint8)


def _ruled_lines(ink_map: InkMap) -> Mask | None:
    """Ruled lines and frames, with their soft edges, without the strokes that cross them."""
    solid = (ink_map.ink > max(floor_of(ink_map), 0.25 * ink_map.core)).astype(np.uint8)
    return ruled_lines(solid)
