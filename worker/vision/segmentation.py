"""From a page to its marks: connected ink, cleaned of what is no writing, joined to signs.

A mark is what a person would take for one sign: a digit in one piece, or in the pieces that a pen or a
scanner made of it; digits that touch are one mark until recognition cuts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from worker.vision.cleaning.foreign import drop_border_lines, drop_specks
from worker.vision.cleaning.steps import clean_findings, own_pieces
from worker.vision.cleaning.surround import without_surround
from worker.vision.ink import MIN_CONTRAST, QUANTUM, Float, InkMap, contrast, find_ink, tight_box
from worker.vision.joining import join_pieces
from worker.vision.overlooked import faint_signs, signs_on, small_pieces
from worker.vision.page import Box, Page
from worker.vision.pieces import Findings, Labels, Piece, floor_of
from worker.vision.strips import NO_FIELD, Field, field_of

MAX_MARKS = 200  # a page of a thousand specks is no page of digits: the largest marks are enough to say so
FINE_MARK_PX = 40  # marks lower than this at working resolution are cut from the full page
_EDGE = np.ones((5, 5), np.uint8)  # how far the soft edge of a stroke reaches, in working pixels


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """One sign on the page.

    `box` is tight, in page pixels. `ink` is float32 (h, w) in [0, 1], exactly 0 outside the sign.
    """

    box: Box
    ink: Float


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """All that is written on a page: its marks, and the field of ink they were found on.

    `before` is the ink from which lines were not yet taken away; None where there is no writing, or it was turned.
    `overlooked` are no marks, as they are much fainter or smaller than those, or hang on a ring; but they may be signs.
    """

    marks: list[Mark]
    field: Field
    before: InkMap | None = None
    overlooked: tuple[Mark, ...] = ()


def find_marks(page: Page) -> list[Mark]:
    """The marks of `page`, from the top left; none where no ink is. `vision.layout` puts them into lines."""
    return find_writing(page).marks


def find_writing(page: Page) -> Writing:
    """The marks of `page`, from the top left, and its field of ink; no marks where no ink is."""
    page = without_surround(page)
    before = find_ink(page)
    if before.core < MIN_CONTRAST:
        return Writing([], NO_FIELD)
    found = clean_findings(before)
    if found is None:
        return Writing([], NO_FIELD)
    ink_map, labels = found.ink_map, found.labels
    height, width = labels.shape
    own, left_out = own_pieces(found)
    field = field_of(_without(ink_map, labels, left_out))
    pieces = drop_specks(own, width, height, labels)
    marks = drop_border_lines(join_pieces(pieces), labels, ink_map)
    marks = sorted(marks, key=lambda mark: mark.area_px, reverse=True)[:MAX_MARKS]
    in_order = sorted(marks, key=lambda mark: (mark.y, mark.x))
    cut = [_cut(page, ink_map, labels, piece) for piece in in_order]
    return Writing(cut, field, before, _overlooked(page, found, own, left_out, marks))


def _overlooked(
    page: Page, found: Findings, own: list[Piece], left_out: list[Piece], marks: list[Piece]
) -> tuple[Mark, ...]:
    """What may be signs: among pieces that are no marks, on rings that were left out, in what is too faint for one."""
    small = [_cut(page, found.ink_map, found.labels, piece) for piece in small_pieces(own, marks)]
    step = found.ink_map.step
    others = [
        Mark(Box(step * x, step * y, step * ink.shape[1], step * ink.shape[0]), ink)
        for x, y, ink in (*signs_on(found, left_out), *faint_signs(found))
    ]
    return (*small, *others)


def _without(ink_map: InkMap, labels: Labels, dropped: list[Piece]) -> InkMap:
    """The ink without that of these pieces: a frame that crosses a line would be read as strokes of it."""
    if not dropped:
        return ink_map
    return ink_map.without(np.isin(labels, [label for piece in dropped for label in piece.labels]))


def _cut(page: Page, ink_map: InkMap, labels: Labels, piece: Piece) -> Mark:
    """The mark with its ink, from the full page where the working resolution is too coarse for it."""
    margin = 2
    height, width = labels.shape
    x, y = max(0, piece.x - margin), max(0, piece.y - margin)
    right, bottom = min(width, piece.right + margin), min(height, piece.bottom + margin)
    window = labels[y:bottom, x:right]
    core = np.isin(window, piece.labels) if len(piece.labels) > 1 else window == piece.labels[0]
    # The soft edge of a stroke lies below the level that links: what borders the own core belongs to it.
    own = (cv2.dilate(core.astype(np.uint8), _EDGE) > 0) & (core | (window == 0))
    floor = floor_of(ink_map)
    step = ink_map.step
    if step > 1 and piece.extent < FINE_MARK_PX:
        ink = _full_ink(page, ink_map, (x * step, y * step, right * step, bottom * step))
        own = (
            cv2.resize(own.astype(np.uint8), (ink.shape[1], ink.shape[0]), interpolation=cv2.INTER_NEAREST)
            > 0
        )
        scale = 1
    else:
        ink = ink_map.ink[y:bottom, x:right].copy()
        scale = step
    ink[~own | (ink <= floor)] = 0.0
    # From the floor up, so that the edge of the mask is no step; on a clean page this changes nothing.
    if floor > 2 * QUANTUM:
        ink = np.clip((ink - floor) * np.float32(1 / (1 - floor)), 0, 1)
    within_x, within_y, across, along = tight_box(ink)
    if across == 0:
        ink = own.astype(np.float32)
        within_x, within_y, across, along = tight_box(ink)
    tight = ink[within_y : within_y + along, within_x : within_x + across]
    left_px, top_px = x * step + within_x * scale, y * step + within_y * scale
    box = Box(
        left_px,
        top_px,
        min(tight.shape[1] * scale, page.width - left_px),
        min(tight.shape[0] * scale, page.height - top_px),
    )
    return Mark(box, np.ascontiguousarray(tight, np.float32))


def _full_ink(page: Page, ink_map: InkMap, window: tuple[int, int, int, int]) -> Float:
    """The ink of a window of the page at full resolution, over the same ground."""
    x, y, right, bottom = window
    grey = page.grey[y:bottom, x:right]
    if not ink_map.is_dark:
        grey = 255 - grey
    ground = ink_map.ground
    if ground.size == 1:
        return contrast(grey, ground)
    scale_x, scale_y = ground.shape[1] / page.width, ground.shape[0] / page.height
    to_ground = np.array(
        [[scale_x, 0, (x + 0.5) * scale_x - 0.5], [0, scale_y, (y + 0.5) * scale_y - 0.5]], np.float32
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    local = cv2.warpAffine(
        ground, to_ground, (grey.shape[1], grey.shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return contrast(grey, np.asarray(local, np.float32))
