"""From a page to its marks: connected ink, cleaned of what is no writing, in reading order.

A mark is what a person would take for one sign: a digit in one piece, or in the pieces that a pen or a
scanner made of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import MIN_CONTRAST, QUANTUM, Float, InkMap, Mask, contrast, find_ink, quantile
from worker.vision.page import Box, Page
from worker.vision.rulings import ruled_lines

MAX_MARKS = 64  # a page of a thousand specks is no page of digits: the largest marks are enough to say so
FINE_MARK_PX = 40  # marks lower than this at working resolution are cut from the full page


FAINT = 0.5  # a stroke from edge to edge with less contrast than this is a fold, a rim, a ruling
EMPTY_RULING_SHARE = 0.25  # thin lines alone never cover more of a page
_EDGE = np.ones((5, 5), np.uint8)  # how far the soft edge of a stroke reaches, in working pixels


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """One sign on the page.

    `box` is tight, in page pixels. `ink` is float32 (h, w) in [0, 1], exactly 0 outside the sign.
    """

    box: Box
    ink: Float


@dataclass(frozen=True, slots=True)
class _Piece:
    """A connected component in working pixels; `labels` are the components it was joined from."""

    labels: tuple[int, ...]
    x: int
    y: int
    right: int
    bottom: int
    area_px: int

    @property
    def width(self) -> int:
        return self.right - self.x

    @property
    def height(self) -> int:
        return self.bottom - self.y

    @property
    def extent(self) -> int:
        return max(self.width, self.height)

    def is_within(self, other: _Piece) -> bool:
        return (
            self.x >= other.x
            and self.y >= other.y
            and self.right <= other.right
            and self.bottom <= other.bottom
        )

    def joined(self, other: _Piece) -> _Piece:
        return _Piece(
            self.labels + other.labels,
            min(self.x, other.x),
            min(self.y, other.y),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
            self.area_px + other.area_px,
        )


def find_marks(page: Page) -> list[Mark]:
    """The marks of `page` in reading order (lines from the top, each from the left); none where no ink is."""
    ink_map = find_ink(page)
    if ink_map.core < MIN_CONTRAST:
        return []
    ink_map, mask = _clean(ink_map)
    if ink_map.core < MIN_CONTRAST:
        return []
    labels, pieces = _pieces(ink_map, mask)
    pieces = _drop_lines_of_the_paper(pieces, labels.shape[1], labels.shape[0], ink_map.core)
    marks = _drop_border_lines(_join(_drop_specks(pieces, labels.shape[1], labels.shape[0])), labels, ink_map)
    marks = sorted(marks, key=lambda mark: mark.area_px, reverse=True)[:MAX_MARKS]
    return [_cut(page, ink_map, labels, piece) for piece in _in_reading_order(marks)]


def floor_of(ink_map: InkMap) -> float:
    """The contrast below which ink is taken for noise: near zero on a clean page."""
    return float(np.clip(2.5 * ink_map.noise + QUANTUM, QUANTUM, 0.35 * ink_map.core))


def link_of(ink_map: InkMap) -> float:
    """The contrast that links two parts of a stroke: what is fainter may border a stroke, never join two.

    On a clean page it is the floor; on printed or noisy paper it rises above the pattern of the paper.
    """
    return float(np.clip(5.0 * ink_map.noise, floor_of(ink_map), 0.35 * ink_map.core))


# --- what is no writing: scan edges, ruled lines, frames -------------------------------------------


def _clean(ink_map: InkMap) -> tuple[InkMap, Mask]:
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


# --- pieces and marks ---------------------------------------------------------------------------


def _pieces(ink_map: InkMap, mask: Mask) -> tuple[npt.NDArray[np.int32], list[_Piece]]:
    """Connected components that are dark enough somewhere to be ink."""
    count, found, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    labels = np.asarray(found, np.int32)
    strong = ink_map.ink > max(
        MIN_CONTRAST, 6 * ink_map.noise if ink_map.noise < 0.1 else 0.0, 0.35 * ink_map.core
    )
    strong_px = np.bincount(labels[strong], minlength=count)
    pieces = []
    for label in np.flatnonzero(strong_px >= 2):
        if label == 0:
            continue
        x, y, w, h, area = (int(v) for v in stats[label])
        pieces.append(_Piece((int(label),), x, y, x + w, y + h, area))
    return labels, pieces


def _drop_lines_of_the_paper(pieces: list[_Piece], width: int, height: int, core: float) -> list[_Piece]:
    """Without folds, rims and ruling where nothing of their size is beside them: beside writing, who knows."""
    lines = [piece for piece in pieces if _is_line_of_the_paper(piece, width, height, core)]
    if not lines:
        return pieces
    rest = [piece for piece in pieces if piece not in lines]
    largest = max(line.extent for line in lines)
    return pieces if any(piece.extent > 0.4 * largest for piece in rest) else rest


def _is_line_of_the_paper(piece: _Piece, width: int, height: int, core: float) -> bool:
    """Whether a piece is a fold, the rim of a stain, or what is left of a ruling.

    It is thin, on a page that is not cut to its shape, and follows a border closely, or it is fainter
    than pens write (`core`: the contrast of what is dark) and runs from one border to the opposite one.
    """
    if min(width, height) < 40 or piece.extent < 0.25 * min(width, height):
        return False
    upright = piece.height >= piece.width
    across, along = (piece.width, piece.height) if upright else (piece.height, piece.width)
    page_across = width if upright else height
    is_thin = across < 0.5 * along and piece.area_px < 0.3 * along * along
    if not is_thin or page_across < max(0.4 * along, 3 * across):
        return False
    if upright:
        from_edge_to_edge = piece.y <= 1 and piece.bottom >= height - 1
        from_border = min(piece.x, width - piece.right)
    else:
        from_edge_to_edge = piece.x <= 1 and piece.right >= width - 1
        from_border = min(piece.y, height - piece.bottom)
    hugs = from_border <= max(2, 0.01 * page_across) and across < 0.12 * along
    return hugs or (from_edge_to_edge and core < FAINT)


def _drop_specks(pieces: list[_Piece], width: int, height: int) -> list[_Piece]:
    """Without what is far smaller than the largest piece: dust, punctuation, what a neighbour left in the cut.

    A crumb within the largest piece changes no box and stays; one beside it would move the digit.
    """
    if not pieces:
        return []
    main = max(pieces, key=lambda piece: piece.area_px)
    largest = max(piece.extent for piece in pieces)

    def is_speck(piece: _Piece) -> bool:
        if piece.extent < max(0.12 * largest, 3) or piece.area_px < max(0.01 * main.area_px, 4):
            return True
        if piece.is_within(main):
            return False
        is_cut_off = piece.x == 0 or piece.y == 0 or piece.right == width or piece.bottom == height
        if is_cut_off:
            return piece.extent < 0.4 * main.extent and piece.area_px < 0.15 * main.area_px
        # A full stop or comma stands low and beside; a flag, a bar, an arm does not.
        is_low = piece.y > main.y + 0.6 * main.height
        is_beside = piece.x > main.right - 0.1 * main.width or piece.right < main.x + 0.1 * main.width
        return piece.extent < (0.35 if is_low and is_beside else 0.2) * main.extent

    return [piece for piece in pieces if not is_speck(piece)]


def _join(pieces: list[_Piece]) -> list[_Piece]:
    """Pieces of one sign joined, from the largest down; repeated until nothing joins any more."""
    marks = sorted(pieces, key=lambda piece: piece.area_px, reverse=True)[: 4 * MAX_MARKS]
    if not marks:
        return []
    reference_px = max(mark.height for mark in marks)
    joined = True
    while joined:
        joined = False
        for i in range(len(marks)):
            for j in range(len(marks) - 1, i, -1):
                if _belong_together(marks[i], marks[j], reference_px):
                    marks[i] = marks[i].joined(marks.pop(j))
                    joined = True
    # What stayed alone and is small beside a whole sign is a speck, a comma, a scrap of a frame.
    main = max(marks, key=lambda mark: mark.area_px)
    largest = max(mark.extent for mark in marks)
    return [
        mark
        for mark in marks
        if mark.extent >= 0.3 * largest
        and (mark.extent >= 0.6 * largest or mark.area_px >= 0.12 * main.area_px)
    ]


def _drop_border_lines(marks: list[_Piece], labels: npt.NDArray[np.int32], ink_map: InkMap) -> list[_Piece]:
    """Without bits of ruling: thin, straight, running out of the picture, and fainter than the writing."""
    if len(marks) < 2:
        return marks
    main = max(marks, key=lambda mark: mark.area_px)
    height, width = labels.shape
    depth = _depth(main, labels, ink_map)

    def is_ruling(mark: _Piece) -> bool:
        touches = mark.x <= 1 or mark.y <= 1 or mark.right >= width - 1 or mark.bottom >= height - 1
        thin = mark.area_px < 0.15 * mark.extent**2 and min(mark.width, mark.height) < 0.2 * mark.extent
        return touches and thin and _depth(mark, labels, ink_map) < 0.75 * depth

    return [mark for mark in marks if mark is main or not is_ruling(mark)]


def _depth(mark: _Piece, labels: npt.NDArray[np.int32], ink_map: InkMap) -> float:
    """How dark the solid part of a mark is."""
    window = np.s_[mark.y : mark.bottom, mark.x : mark.right]
    return quantile(ink_map.ink[window][np.isin(labels[window], mark.labels)], 0.75)


def _belong_together(large: _Piece, small: _Piece, reference_px: int) -> bool:
    gap_x = max(large.x, small.x) - min(large.right, small.right)
    gap_y = max(large.y, small.y) - min(large.bottom, small.bottom)
    overlap_x = -gap_x / max(1, min(large.width, small.width))
    overlap_y = -gap_y / max(1, min(large.height, small.height))
    if overlap_x > 0.5 and overlap_y > 0.5:
        return True  # one lies within the other
    both_tall = min(large.height, small.height) > 0.6 * reference_px
    if overlap_x > 0.4:  # one above the other: the bar of a 5, a stroke broken across
        both_wide = large.width > 0.9 * large.height and small.width > 0.9 * small.height
        if both_wide and overlap_x > 0.7 and gap_y < 0.2 * reference_px:
            return True  # the two bows of a 3: digits of two lines are taller than that
        return gap_y < 0.25 * reference_px and not (both_tall and gap_y > 0.02 * reference_px)
    if both_tall:
        return False  # side by side: two digits
    # A fragment beside the rest: the bar of a 5, the flag of a 1, the arm of a 4.
    if small.height >= 0.45 * large.height:
        return False
    is_top_bar = small.width > small.height and (small.y + small.bottom) / 2 < large.y + 0.35 * large.height
    if is_top_bar:
        return max(gap_x, gap_y) < 0.25 * reference_px
    return gap_x < 0.10 * reference_px and overlap_y > 0.5


def _in_reading_order(marks: list[_Piece]) -> list[_Piece]:
    """Lines from the top, each from the left; marks that overlap by half their height share a line."""
    lines: list[list[_Piece]] = []
    for mark in sorted(marks, key=lambda mark: mark.y + mark.bottom):
        for line in lines:
            top = min(other.y for other in line)
            bottom = max(other.bottom for other in line)
            overlap = min(mark.bottom, bottom) - max(mark.y, top)
            if overlap > 0.5 * min(mark.height, bottom - top):
                line.append(mark)
                break
        else:
            lines.append([mark])
    return [mark for line in lines for mark in sorted(line, key=lambda mark: mark.x)]


# --- cutting ------------------------------------------------------------------------------------


def _cut(page: Page, ink_map: InkMap, labels: npt.NDArray[np.int32], piece: _Piece) -> Mark:
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
    if not ink.any():
        ink = own.astype(np.float32)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    left_px, top_px = x * step + int(columns[0]) * scale, y * step + int(rows[0]) * scale
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
