"""Ink that nobody wrote, taken from the page before it falls into pieces: scan edges and ruled lines."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from worker.vision.cleaning.boxes import lines_of_boxes
from worker.vision.cleaning.rulings import LEAST_TEETH, LONGER, drawn_lines, may_be_ruled, ruled_lines
from worker.vision.ink import MIN_CONTRAST, InkMap, Mask, quantile
from worker.vision.pieces import (
    Findings,
    Labels,
    Piece,
    Sizes,
    find_pieces,
    linked,
    soft_edges,
    solid_of,
    usual_of,
    usual_size,
)

EMPTY_RULING_SHARE = 0.25  # thin lines alone never cover more of a page
LEAST_LINE_PX = 60  # what is shorter is told from a stroke by nothing
MOST_PIECES = 600  # on a page that is looked at for them: what falls into more is no form
MOST_LINES = 64  # pieces that are looked at for lines, the largest
SPARSE = 0.5  # of its box: what a piece that may hold lines is at most
FRAME = 2.0  # times the size of the signs: what may be a frame around some of them
FIELDS = 2.5  # times as wide as high is a row of fields
FIELD_SIGN = 0.7  # of the height of fields: the size of signs in them
ALONG_FIELDS = 0.4  # of its width: a row of pixels in which a line shows, if it is a little askew
LEAST_SHEET_PX = 100
SHEET = 4  # level lines from end to end make a sheet of what nothing stands free of: an 8 has three
SHEET_SIGNS = 16  # how many signs of the size of its writing would stand side by side on it
REMNANT_PX = 8
SLIVER = 0.15  # of the page: what a line that leaves it at an angle leaves at the border
FORM = 3  # lines of the page that are no longer than a digit's stroke may be: fewer are strokes
LEAST_SIGNS, LEAST_SIGN_PX, SIGNS_INK = 3, 8, 0.03  # of a line's own ink


def clean(ink_map: InkMap) -> tuple[InkMap, Mask]:
    """The ink map and its mask without scan edges and ruled lines, core and noise measured anew."""
    mask = linked(ink_map)
    alien = _scan_edges(ink_map)
    lines = _ruled_lines(ink_map, mask)
    if lines is not None and (boxes := lines_of_boxes(ink_map, mask)) is not None:
        # In a row of boxes that is cut out closely, their roofs and bases are no rulings.
        ink_map = ink_map.without(boxes)
        mask = linked(ink_map)
        lines = _ruled_lines(ink_map, mask)
    if lines is not None:
        lines |= _remnants(mask & (1 - lines), lines)
        alien = lines if alien is None else alien | lines
    if alien is None:
        return ink_map, mask
    rest = ink_map.without(alien).ink
    peak = float(rest.max())
    if peak < max(MIN_CONTRAST, 0.15 * ink_map.core):
        dark = ink_map.ink > 0.5 * ink_map.core  # without the soft edges that are taken away with them
        if lines is not None and float((dark & (lines > 0)).mean()) < EMPTY_RULING_SHARE:
            return replace(ink_map, ink=rest, core=0.0), np.zeros_like(mask)  # ruled paper, not written on
        return ink_map, mask  # nothing is left: then it was the writing itself
    solid = rest[rest > 0.3 * peak]
    cleaned = replace(ink_map, ink=rest, core=quantile(solid, 0.75))
    return cleaned, linked(cleaned)


def without_drawn_lines(found: Findings) -> Findings:
    """What is found without lines that end within the page; the same where there are none.

    Rulings with a margin, underlines, frames, tables: several times as long as the signs beside them. Left on the
    page, they join all that lies in their box to one mark.
    """
    ink_map, mask, pieces = found.ink_map, found.mask, found.pieces
    if len(pieces) > MOST_PIECES or not any(_may_hold_lines(piece, pieces, mask) for piece in pieces):
        return found
    part = _window_of(pieces, mask.shape)
    lines = np.zeros_like(mask)
    lines[part] = _drawn_lines(replace(ink_map, ink=ink_map.ink[part]), mask[part], pieces)
    return found.without(lines) if lines.any() else found


def _window_of(pieces: list[Piece], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of the page that holds all pieces: what is around them need not be looked at."""
    top, left = min(piece.y for piece in pieces), min(piece.x for piece in pieces)
    bottom, right = max(piece.bottom for piece in pieces), max(piece.right for piece in pieces)
    rows = slice(max(0, top - REMNANT_PX), min(shape[0], bottom + REMNANT_PX))
    return rows, slice(max(0, left - REMNANT_PX), min(shape[1], right + REMNANT_PX))


def _drawn_lines(ink_map: InkMap, mask: Mask, pieces: list[Piece]) -> Mask:
    """The pixels of lines that end within the page, with what is left of them beside them."""
    # In what is solid, the soft edges of lines and digits do not meet; faint lines show in the mask alone.
    solid = solid_of(ink_map)
    labels, signs = find_pieces(ink_map, solid)
    found = _lines_among(labels, signs, solid, None)
    if found.any():
        found |= soft_edges(found, mask & (1 - solid))
        _, signs = find_pieces(ink_map, solid & (1 - found))
    usual = usual_size(signs)
    if any(piece.extent >= LONGER * usual for piece in pieces):
        shown = mask & (1 - found)
        found |= _lines_among(*find_pieces(ink_map, shown), shown, usual)
    return found | _remnants(mask & (1 - found), found) if found.any() else found


def _remnants(rest: Mask, lines: Mask) -> Mask:
    """What is left of `lines` in the `rest`: dots where they cross, and slivers where they leave the page."""
    height, width = rest.shape
    beside = cv2.dilate(lines, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    x, y, across, along, area = stats.T
    near = np.bincount(labels[beside > 0], minlength=count)
    is_dot = (np.maximum(across, along) <= REMNANT_PX) & (near >= 0.7 * area)
    at_side = ((x == 0) | (x + across == width)) & (across <= REMNANT_PX) & (along > across)
    at_end = ((y == 0) | (y + along == height)) & (along <= REMNANT_PX) & (across > along)
    longest = max(3 * REMNANT_PX, SLIVER * max(width, height))
    is_sliver = (at_side | at_end) & (near > 0) & (np.maximum(across, along) <= longest)
    left = (is_dot | is_sliver).astype(np.uint8)
    left[0] = 0
    return np.asarray(left[labels], np.uint8)


def _lines_among(labels: Labels, pieces: list[Piece], shown: Mask, known_size: int | None) -> Mask:
    """The pixels of drawn lines in what is `shown`; where it is known how large signs are, of surely long ones alone.

    How large signs are is what most of the ink says; where lines hold most of it, so do the pieces beside them, but
    then a single line may be a digit's stroke, and only several make a form.
    """
    usual = known_size or usual_size(pieces)
    found, doubtful, many = np.zeros_like(shown), np.zeros_like(shown), 0
    sizes = np.array([(piece.extent, piece.area_px, piece.size) for piece in pieces], np.int64).reshape(-1, 3)
    for piece in sorted(pieces, key=lambda piece: piece.extent, reverse=True)[:MOST_LINES]:
        if piece.extent < LEAST_LINE_PX:
            break
        is_long = piece.extent >= LONGER * usual
        if known_size is not None and not is_long:
            continue
        size = usual if is_long else _size_beside(piece, sizes)
        # Where nothing stands free of the lines, they say how large the signs are.
        is_row = size == 0 and _may_be_fields(piece, shown)
        is_sheet = size == 0 and not is_row and min(piece.width, piece.height) >= LEAST_SHEET_PX
        if is_row:
            size = max(LEAST_SIGN_PX, round(FIELD_SIGN * piece.height))
        elif is_sheet:
            size = max(LEAST_SIGN_PX, min(piece.width, piece.height) // SHEET_SIGNS)
        if size == 0 or piece.extent < FRAME * size:
            continue
        window = piece.window
        own = piece.own_of(labels).astype(np.uint8)
        if is_sheet and _most_runs(own) < SHEET:
            continue
        lines = drawn_lines(own, shown[window], size, is_sure=is_long)
        if lines is None or (is_sheet and lines.level_count < SHEET):
            continue
        if is_row and (lines.level_count < 2 or lines.upright_count < LEAST_TEETH):
            continue
        if is_long or lines.level_count:  # uprights alone are 1s, however many there are
            (found if is_long else doubtful)[window] |= lines.pixels
            many += 0 if is_long else lines.count
    return found | doubtful if many >= FORM else found


def _most_runs(own: Mask) -> int:
    """How many runs of ink a column holds at most: no fewer than there are level lines from end to end."""
    return int((np.count_nonzero(own[1:] > own[:-1], axis=0) + own[0]).max())


def _may_hold_lines(piece: Piece, pieces: list[Piece], mask: Mask) -> bool:
    """Whether a piece is long, and others are beside it or there is little ink in its box for its size."""
    if piece.extent < LEAST_LINE_PX:
        return False
    if len(pieces) > LEAST_SIGNS or piece.area_px < SPARSE * piece.width * piece.height:
        return True
    return _may_be_fields(piece, mask)


def _may_be_fields(piece: Piece, mask: Mask) -> bool:
    """Whether a piece may be a row of fields that hang together: wide, with a line along its top and its bottom."""
    if piece.width < FIELDS * piece.height:
        return False
    rows = mask[piece.window].mean(axis=1)
    third = max(1, piece.height // 3)
    return bool(min(rows[:third].max(), rows[-third:].max()) >= ALONG_FIELDS)


def _size_beside(line: Piece, sizes: Sizes) -> int:
    """How large the signs are beside, in or on what may be lines; 0 where too little is there to say.

    `sizes` holds the extent, the area and the size of each piece of the page, as rows.
    """
    extents, areas = sizes[:, 0], sizes[:, 1]
    is_small = (extents >= LEAST_SIGN_PX) & (extents <= line.extent / FRAME) & (areas >= LEAST_SIGN_PX)
    small = sizes[is_small, 1:]
    if len(small) < LEAST_SIGNS or small[:, 0].sum() < SIGNS_INK * line.area_px:
        return 0
    return usual_of(small[:, 0], small[:, 1])


def _scan_edges(ink_map: InkMap) -> Mask | None:
    """Dark bands along the border, as scanners and shadows leave them; None where there are none.

    A component counts as one when it follows a border over most of its length and most of its own
    ink lies close to that border. A digit that touches the border does neither.
    """
    ink, level = ink_map.ink, 0.5 * ink_map.core
    height, width = ink.shape
    if min(height, width) < 40:
        return None
    margin = max(2, round(0.03 * min(height, width)))
    if max(float((side > level).mean()) for side in (ink[0], ink[-1], ink[:, 0], ink[:, -1])) < 0.5:
        return None
    solid = (ink > level).view(np.uint8)
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


def _ruled_lines(ink_map: InkMap, mask: Mask) -> Mask | None:
    """Ruled lines and frames, with their soft edges, without the strokes that cross them.

    In what is solid first; then in the `mask`, where the streaks of a scanner show that are fainter.
    """
    solid = ruled_lines(solid_of(ink_map))
    rest = mask if solid is None else mask & (1 - solid)
    faint = ruled_lines(rest) if may_be_ruled(rest) else None
    if solid is None or faint is None:
        return faint if solid is None else solid
    return solid | faint
