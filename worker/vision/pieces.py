"""Connected ink: the pieces that a pen, a printer or a scanner left on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import MIN_CONTRAST, QUANTUM, Float, InkMap, Mask

Labels = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Sizes = npt.NDArray[np.int64]

PARTS_FROM_PX = 16_384  # a smaller page is labelled in less time than it takes to find a part of it
AROUND_PX = 12  # around what is dark: the soft ends of its strokes
RIM_PX = 3  # what ends so near to the rim of a part may go on beyond it, or have a neighbour there
MOST_PIECES = 800  # no page of digits has more; on one full of specks, what is written is larger than they
WIDEST_SIGN = 1.6  # heights: what is wider is hardly a single sign
COMPACT, SOLID = 0.4, 0.6  # of its extent and of its box: slimmer is a comma or a flag, fuller a dot


@dataclass(frozen=True, slots=True)
class Piece:
    """A connected component in working pixels; `labels` are the components it was joined from."""

    labels: tuple[int, ...]
    x: int
    y: int
    right: int
    bottom: int
    area_px: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Its box, as the rows and columns of an array of the page."""
        return slice(self.y, self.bottom), slice(self.x, self.right)

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.x

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.y

    @property
    def extent(self) -> int:
        """The longer side."""
        return max(self.width, self.height)

    @property
    def size(self) -> int:
        """The longer side of one sign of it: digits that hang together are as wide as there are many."""
        return min(self.extent, max(1, round(WIDEST_SIGN * self.height)))

    @property
    def is_drawn(self) -> bool:
        """Whether it is more than a dot or a short stroke."""
        is_compact = min(self.width, self.height) >= COMPACT * self.extent
        return is_compact and self.area_px < SOLID * self.width * self.height

    def touches_border(self, width: int, height: int) -> bool:
        """Whether it reaches the border of a page of this size."""
        return self.x <= 1 or self.y <= 1 or self.right >= width - 1 or self.bottom >= height - 1

    def own_of(self, labels: Labels) -> Flags:
        """Which pixels of its window are its own."""
        return np.isin(labels[self.window], self.labels)

    def is_within(self, other: Piece) -> bool:
        """Whether its box lies in that of `other`."""
        return (
            self.x >= other.x
            and self.y >= other.y
            and self.right <= other.right
            and self.bottom <= other.bottom
        )

    def gap_to(self, other: Piece) -> int:
        """How far apart the boxes are, along the axis where they are farther; negative where they overlap."""
        gap_x = max(self.x, other.x) - min(self.right, other.right)
        gap_y = max(self.y, other.y) - min(self.bottom, other.bottom)
        return max(gap_x, gap_y)

    def joined(self, other: Piece) -> Piece:
        """Both as one."""
        return Piece(
            self.labels + other.labels,
            min(self.x, other.x),
            min(self.y, other.y),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
            self.area_px + other.area_px,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """The ink of a page and the pieces it falls into; what is taken away or filled gives new ones.

    `mask` is what links strokes, `labels` and `pieces` are what `find_pieces` makes of it.
    """

    ink_map: InkMap
    mask: Mask
    labels: Labels
    pieces: list[Piece]

    @classmethod
    def of(cls, ink_map: InkMap, mask: Mask | None = None) -> Findings:
        """What is found in an ink map; `mask`, where it is known already, is what `linked` makes of it."""
        mask = linked(ink_map) if mask is None else mask
        return cls(ink_map, mask, *find_pieces(ink_map, mask))

    def with_ink(self, ink: Float) -> Findings:
        """What is found where the ink is this, and its core and noise are what they were."""
        return Findings.of(replace(self.ink_map, ink=ink))

    def without(self, taken: Mask | Flags) -> Findings:
        """What is found where these pixels are bare."""
        return Findings.of(self.ink_map.without(taken))


def usual_size(pieces: Sequence[Piece]) -> int:
    """How large the signs are that hold most of the ink; 0 without any.

    Half of all ink lies in pieces with signs at least so large: neither a storm of specks nor one frame decides.
    """
    half = sum(piece.area_px for piece in pieces) / 2
    for piece in sorted(pieces, key=lambda piece: piece.size, reverse=True):
        half -= piece.area_px
        if half <= 0:
            return piece.size
    return 0


def usual_of(areas_px: Sizes, sizes: Sizes) -> int:
    """`usual_size` of pieces of these areas and sizes: the same in less time, where it is asked again and again."""
    order = np.argsort(-sizes, kind="stable")
    held = np.cumsum(areas_px[order])
    return int(sizes[order[np.searchsorted(held, held[-1] / 2)]]) if held.size else 0


def usual_height_px(pieces: Sequence[Piece]) -> int:
    """The greatest height among the pieces that are of the usual size, or smaller; 0 without any."""
    usual = usual_size(pieces)
    return max((piece.height for piece in pieces if piece.size <= usual), default=0)


def floor_of(ink_map: InkMap) -> float:
    """The contrast below which ink is taken for noise: near zero on a clean page."""
    return min(max(2.5 * ink_map.noise + QUANTUM, QUANTUM), 0.35 * ink_map.core)


def link_of(ink_map: InkMap) -> float:
    """The contrast that links two parts of a stroke: what is fainter may border a stroke, never join two.

    On a clean page it is the floor; on printed or noisy paper it rises above the pattern of the paper.
    """
    return min(max(5.0 * ink_map.noise, floor_of(ink_map)), 0.35 * ink_map.core)


def linked(ink_map: InkMap) -> Mask:
    """The pixels (1) dark enough to be part of a stroke: what `find_pieces` looks for pieces in."""
    return (ink_map.ink > link_of(ink_map)).view(np.uint8)


def solid_of(ink_map: InkMap) -> Mask:
    """The pixels (1) in which strokes of neighbours do not meet: without their soft edges."""
    return (ink_map.ink > max(floor_of(ink_map), 0.25 * ink_map.core)).view(np.uint8)


def soft_edges(lines: Mask, faint: Mask) -> Mask:
    """What is `faint` beside `lines`: left on the page, it would hold together all that a frame holds."""
    return np.asarray(cv2.dilate(lines, np.ones((5, 5), np.uint8)), np.uint8) & faint


def find_pieces(ink_map: InkMap, mask: Mask) -> tuple[Labels, list[Piece]]:
    """Connected components that are dark enough somewhere to be ink.

    Only the part of the page around what is dark is looked at: labelling the grain of the rest costs the most. Of a
    page that falls into more than `MOST_PIECES` the largest are given.
    """
    strong = ink_map.ink > max(
        MIN_CONTRAST, 6 * ink_map.noise if ink_map.noise < 0.1 else 0.0, 0.35 * ink_map.core
    )
    labels, stats, strong_px, (left, top) = _labelled(mask, strong)
    chosen = np.flatnonzero(strong_px[1:] >= 2) + 1
    if len(chosen) > MOST_PIECES:
        areas = stats[chosen, cv2.CC_STAT_AREA]
        chosen = np.sort(chosen[np.argsort(-areas, kind="stable")[:MOST_PIECES]])
    rows: list[list[int]] = stats[chosen].tolist()
    pieces = [
        Piece((label,), x + left, y + top, x + left + w, y + top + h, area)
        for label, (x, y, w, h, area) in zip(chosen.tolist(), rows, strict=True)
    ]
    return labels, pieces


def _labelled(mask: Mask, strong: Flags) -> tuple[Labels, Labels, Counts, tuple[int, int]]:
    """Labels as large as the page, the statistics of each, how much of it is `strong`, and where these begin.

    What has nothing strong in it may go without a label.
    """
    height, width = mask.shape
    left, top, right, bottom = _part_around(strong) if mask.size >= PARTS_FROM_PX else (0, 0, 0, 0)
    is_part = 0 < 2 * (right - left) * (bottom - top) < width * height
    if is_part:
        part = np.s_[top:bottom, left:right]
        count, found, stats, _ = cv2.connectedComponentsWithStats(mask[part], connectivity=8)
        strong_px = np.bincount(found[strong[part]], minlength=count)
        sides = (
            found[:RIM_PX] if top else None, found[-RIM_PX:] if bottom < height else None,
            found[:, :RIM_PX] if left else None, found[:, -RIM_PX:] if right < width else None,
        )  # fmt: skip
        if not any(side is not None and strong_px[side[side > 0]].any() for side in sides):
            labels = np.zeros(mask.shape, np.int32)
            labels[part] = found
            return labels, np.asarray(stats, np.int32), strong_px, (left, top)
    count, found, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    strong_px = np.bincount(found[strong], minlength=count)
    return np.asarray(found, np.int32), np.asarray(stats, np.int32), strong_px, (0, 0)


def _part_around(strong: Flags) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a part of the page around all that is `strong`."""
    height, width = strong.shape
    left, top, across, along = cv2.boundingRect(strong.view(np.uint8))
    if across == 0:
        return 0, 0, 0, 0
    return (
        max(0, left - AROUND_PX),
        max(0, top - AROUND_PX),
        min(width, left + across + AROUND_PX),
        min(height, top + along + AROUND_PX),
    )
