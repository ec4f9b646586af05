"""Pieces that are no writing: folds and rims, slabs and sleeves at the border, frames, specks, bits of ruling."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import InkMap, Mask, quantile
from worker.vision.pieces import Findings, Flags, Labels, Piece, find_pieces, solid_of, usual_size

Boxes = npt.NDArray[np.int64]

LARGE_PX = 260  # a page whose shorter side is as long shows more than one digit's paper
MANY = 12  # pieces: more than one digit falls into
LEAST_OF_MANY_PX = 6  # among many, what is smaller is dust or the grain of the paper
DWARFS = 2.5  # times the size of writing: what is larger and runs out of the page is no digit
AROUND = 0.9  # of the page's width and height: what runs out of it and reaches so far lies around a sheet
SIDES = 3  # of what a frame holds: the fourth may have gone with a ruling
LEAST_FIELD_PX = 12
SIDE, BASE = (
    0.12,
    0.2,
)  # of its width, and of its height: how thick the side and the base of a field are at most
LEAST_SIDE = 0.25  # of the height of a digit and its field together
RULED = 0.95  # of its length: where a line shows that was drawn with a ruler
LEAST_HELD = 0.15  # of its height: how high a sign is that it holds
TOUCHING = 0.6  # of the height of the signs in a frame: what else in it is one, and no scrap of the frame
MOSTLY = 0.6  # of its way around: where the line of a frame shows
HELD = 8  # of what lies within a frame, the largest: on a page of specks there is no end of it
ON_A_SHEET = 4  # pieces: a digit as large as the page has fewer scraps in it
FAINT = 0.5  # a stroke from edge to edge with less contrast than this is a fold, a rim, a ruling


def drop_lines_of_the_paper(pieces: list[Piece], width: int, height: int, core: float) -> list[Piece]:
    """Without folds, rims and ruling where nothing of their size is beside them: beside writing, who knows."""
    lines = [piece for piece in pieces if _is_line_of_the_paper(piece, width, height, core)]
    if not lines:
        return pieces
    rest = [piece for piece in pieces if piece not in lines]
    largest = max(line.extent for line in lines)
    return pieces if any(piece.extent > 0.4 * largest for piece in rest) else rest


def _is_line_of_the_paper(piece: Piece, width: int, height: int, core: float) -> bool:
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


def drop_foreign(pieces: list[Piece], labels: Labels) -> list[Piece]:
    """Without what lies around or beside the writing: slabs and sleeves at the border, frames around digits."""
    if len(pieces) < 2:
        return pieces
    height, width = labels.shape
    inner = [piece for piece in pieces if not piece.touches_border(width, height)]
    is_large = min(width, height) >= LARGE_PX
    boxes = _boxes(inner)
    # What touches the border is no drawn frame: in a strip it is digits on a ruling.
    dropped = {piece.labels for piece in inner if _is_frame(piece, boxes, labels)}
    all_boxes = _boxes(pieces)
    dropped |= {piece.labels for piece in pieces if _is_open_field(piece, all_boxes, labels)}
    for piece in pieces:
        if not piece.touches_border(width, height):
            continue
        is_around = is_large and piece.width >= AROUND * width and piece.height >= AROUND * height
        beside = _on_a_sheet(boxes) if is_around else _beside(piece, boxes)
        # Two signs of a size beside it are writing; what dwarfs them and runs out of the page is none.
        is_writing = len(beside) >= 2 and beside[1] > 0.02 * max(width, height)
        is_thin = min(piece.width, piece.height) < 0.3 * piece.extent
        if (is_large and is_writing and (is_thin or piece.extent > DWARFS * beside[1])) or (
            beside and _is_slab(piece, width, height)
        ):
            dropped.add(piece.labels)
    return [piece for piece in pieces if piece.labels not in dropped]


def _beside(piece: Piece, boxes: Boxes) -> list[int]:
    """The extents, the largest first, of the two largest of these boxes that do not lie within the piece."""
    within = (
        (boxes[:, 0] >= piece.x)
        & (boxes[:, 1] >= piece.y)
        & (boxes[:, 2] <= piece.right)
        & (boxes[:, 3] <= piece.bottom)
    )
    return _two_largest(boxes[~within, 4])


def _on_a_sheet(boxes: Boxes) -> list[int]:
    """The extents of the two largest of all boxes, where there are enough to be writing on a sheet."""
    return _two_largest(boxes[:, 4]) if len(boxes) >= ON_A_SHEET else []


def _two_largest(extents: Boxes) -> list[int]:
    largest: list[int] = np.sort(extents if len(extents) <= 2 else np.partition(extents, -2)[-2:]).tolist()
    return largest[::-1]


def _is_slab(piece: Piece, width: int, height: int) -> bool:
    """Whether a piece fills its box and follows a border over half its length: a table, a shadow, a lid."""
    if piece.area_px < 0.75 * piece.width * piece.height:
        return False
    level = piece.width >= 0.5 * width and (piece.y <= 1 or piece.bottom >= height - 1)
    upright = piece.height >= 0.5 * height and (piece.x <= 1 or piece.right >= width - 1)
    return level or upright


def _is_frame(piece: Piece, boxes: Boxes, labels: Labels) -> bool:
    """Whether a piece is drawn or printed around something: a box, a circle, a triangle, a table.

    What it holds stands free in it, and is neither a dot nor as high as the slash in a nought; there is ink on
    three sides of it at least, or it only lies under the roof of a 7 or beside the tail of an 8.
    """
    if piece.area_px > 0.35 * piece.width * piece.height or min(piece.width, piece.height) < 12:
        return False
    rim_x, rim_y = max(1.0, 0.06 * piece.width), max(1.0, 0.06 * piece.height)
    heights = boxes[:, 3] - boxes[:, 1]
    free = (
        (heights > max(8, LEAST_HELD * piece.height))
        & (heights < 0.58 * piece.height)
        & (boxes[:, 0] > piece.x + rim_x)
        & (boxes[:, 2] < piece.right - rim_x)
        & (boxes[:, 1] > piece.y + rim_y)
        & (boxes[:, 3] < piece.bottom - rim_y)
    )
    if not free.any():
        return False
    own = piece.own_of(labels)
    held = boxes[free]
    held = held[np.argsort(-held[:, 4], kind="stable")[:HELD], :4]
    return any(_sides(own, box - (piece.x, piece.y, piece.x, piece.y)) >= SIDES for box in held)


def without_frames(found: Findings) -> Findings:
    """What is found without frames and open fields on which a digit hangs; the same where there are none.

    Where the two stand free of each other, `drop_foreign` tells them apart. A digit that touches its frame keeps what
    does not run along with it: dropped with the frame, it would be missing from a number that looks whole.
    """
    height, width = found.mask.shape
    pieces = [piece for piece in found.pieces if not piece.touches_border(width, height)]
    if len(pieces) > MANY:
        return found
    boxes = _boxes(pieces)
    frames = [piece for piece in pieces if _is_frame(piece, boxes, found.labels)]
    if not frames and not any(_may_be_open_field(piece, found.mask) for piece in found.pieces):
        return found
    labels, solid = find_pieces(found.ink_map, solid_of(found.ink_map))
    boxes = _boxes(solid)
    taken = np.zeros_like(found.mask)
    for piece in solid:
        own = piece.own_of(labels)
        if _is_open_field(piece, boxes, labels):
            taken[piece.window] |= own
        elif any(_is_most_of(frame, piece) for frame in frames) and _is_frame(piece, boxes, labels):
            touching = _signs_on(own, _height_within(piece, boxes))
            hangs = any(_hangs_on(frame, piece, solid, found.labels, labels) for frame in frames)
            if hangs or touching.any():
                taken[piece.window] |= own & ~touching
    if not taken.any():
        return found
    others = ((labels > 0) & (taken == 0)).astype(np.uint8)
    around = cv2.dilate(taken, np.ones((5, 5), np.uint8)) > 0
    of_others = cv2.dilate(others, np.ones((3, 3), np.uint8)) > 0
    return found.without((taken > 0) | (around & ~of_others))


def _is_most_of(frame: Piece, part: Piece) -> bool:
    """Whether what is solid is nearly as large as a frame with its soft edges."""
    return part.is_within(frame) and part.extent >= AROUND * frame.extent


def _rim_of(own: Flags) -> Flags:
    """The outer line of a frame: as deep, from outside, as most of its way around is inked."""
    filled = np.zeros((own.shape[0] + 2, own.shape[1] + 2), np.uint8)
    contours, _ = cv2.findContours(own.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED, offset=(1, 1))
    depth = cv2.distanceTransform(filled, cv2.DIST_L2, 5)[1:-1, 1:-1]
    rings = depth.astype(np.int64)
    shells = np.bincount(rings[depth > 0], minlength=2)[1:]
    inked = np.bincount(rings[own], minlength=len(shells) + 1)[1:] / np.maximum(shells, 1)
    bare = np.flatnonzero(inked < MOSTLY)
    thickness = 1 + int(bare[0]) if bare.size else len(shells)
    return np.asarray(own & (depth <= thickness + 1), np.bool_)


def _signs_on(own: Flags, height_px: int) -> Flags:
    """What of a frame is writing that touches it: it is about as high as what stands free in it."""
    rest = (own & ~_rim_of(own)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    is_sign = stats[:, cv2.CC_STAT_HEIGHT] >= TOUCHING * height_px
    is_sign[0] = False
    return np.asarray(is_sign[labels], np.bool_) if count > 1 else np.zeros_like(own)


def _height_within(piece: Piece, boxes: Boxes) -> int:
    """How high the highest piece is whose box lies within that of `piece`."""
    within = (
        (boxes[:, 0] > piece.x)
        & (boxes[:, 1] > piece.y)
        & (boxes[:, 2] < piece.right)
        & (boxes[:, 3] < piece.bottom)
    )
    return int((boxes[within, 3] - boxes[within, 1]).max(initial=LEAST_FIELD_PX))


def _hangs_on(frame: Piece, part: Piece, solid: list[Piece], labels: Labels, solid_labels: Labels) -> bool:
    """Whether a sign hangs on a frame by soft edges: one piece with them, two in what is `solid`."""
    return any(
        other is not part
        and other.is_within(frame)
        and other.height > LEAST_HELD * frame.height
        and bool(np.isin(labels[other.window][other.own_of(solid_labels)], frame.labels).any())
        for other in solid
    )


def _may_be_open_field(piece: Piece, mask: Mask) -> bool:
    """Whether a piece has ink all along its bottom, and some at both ends: a 2 has, too."""
    if min(piece.width, piece.height) < 2 * LEAST_FIELD_PX:
        return False
    own = mask[piece.window]
    side_px, base_px = max(3, round(SIDE * piece.width)), max(3, round(BASE * piece.height))
    if own[-base_px:].any(axis=0).mean() < RULED:
        return False
    sides = (own[:, :side_px].any(axis=1), own[:, -side_px:].any(axis=1))
    return all(bool(side.mean() >= LEAST_SIDE) for side in sides)


def _is_open_field(piece: Piece, boxes: Boxes, labels: Labels) -> bool:
    """Whether a piece is a base with a side at each end, and something stands free between the sides."""
    width, height = piece.width, piece.height
    if min(width, height) < LEAST_FIELD_PX or piece.area_px > 0.5 * width * height:
        return False
    side_px, base_px = max(3, round(SIDE * width)), max(3, round(BASE * height))
    held = (
        (boxes[:, 0] >= piece.x + side_px)
        & (boxes[:, 2] <= piece.right - side_px)
        & (boxes[:, 3] <= piece.bottom)
        & (boxes[:, 3] > piece.y + height / 2)
        & (boxes[:, 3] - boxes[:, 1] > height / 2)
    )
    if not held.any():
        return False
    own = piece.own_of(labels)
    drawn = (own[-base_px:].any(axis=0), own[:, :side_px].any(axis=1), own[:, -side_px:].any(axis=1))
    return all(bool(line.mean() >= RULED) for line in drawn) and not own[:-base_px, side_px:-side_px].any()


def _sides(own: npt.NDArray[np.bool_], box: npt.NDArray[np.int64]) -> int:
    """On how many sides of a box there is ink all along; `own` is the mask of what may lie around it."""
    x, y, right, bottom = box.tolist()
    beside = (own[y:bottom, :x].any(axis=1), own[y:bottom, right:].any(axis=1))
    over_and_under = (own[:y, x:right].any(axis=0), own[bottom:, x:right].any(axis=0))
    return sum(bool(side.mean() > 0.5) for side in (*beside, *over_and_under))


def _boxes(pieces: list[Piece]) -> Boxes:
    """Left, top, right, bottom and extent of each piece: a page of specks holds thousands."""
    rows = [(one.x, one.y, one.right, one.bottom, one.extent) for one in pieces]
    return np.array(rows, np.int64).reshape(-1, 5)


def drop_specks(pieces: list[Piece], width: int, height: int) -> list[Piece]:
    """Without what is far smaller than the largest piece: dust, punctuation, what a neighbour left in the cut.

    A crumb within the largest piece changes no box and stays; one beside it would move the digit.
    """
    if len(pieces) < 2:
        return [piece for piece in pieces if piece.extent >= 3 and piece.area_px >= 4]
    main = max(pieces, key=lambda piece: piece.area_px)
    largest = usual_size(pieces)
    if len(pieces) >= MANY:  # a page of signs: nothing is said by how a piece lies to the largest of them
        return [piece for piece in pieces if piece.extent >= max(0.15 * largest, LEAST_OF_MANY_PX)]

    def is_speck(piece: Piece) -> bool:
        if piece.extent < max(0.12 * largest, 3) or piece.area_px < max(0.01 * main.area_px, 4):
            return True
        if piece.is_within(main) or piece.gap_to(main) > 0.4 * main.size:
            return False
        is_cut_off = piece.x == 0 or piece.y == 0 or piece.right == width or piece.bottom == height
        if is_cut_off:
            return piece.extent < 0.4 * main.size and piece.area_px < 0.15 * main.area_px
        # A full stop or comma stands low and beside; a flag, a bar, an arm does not.
        is_low = piece.y > main.y + 0.6 * main.height
        is_beside = piece.x > main.right - 0.1 * main.width or piece.right < main.x + 0.1 * main.width
        return piece.extent < (0.35 if is_low and is_beside else 0.2) * main.size

    return [piece for piece in pieces if not is_speck(piece)]


def drop_border_lines(marks: list[Piece], labels: Labels, ink_map: InkMap) -> list[Piece]:
    """Without bits of ruling: thin, straight, running out of the picture, and fainter than the writing."""
    if len(marks) < 2:
        return marks
    main = max(marks, key=lambda mark: mark.area_px)
    height, width = labels.shape
    depth = _depth(main, labels, ink_map)

    def is_ruling(mark: Piece) -> bool:
        touches = mark.x <= 1 or mark.y <= 1 or mark.right >= width - 1 or mark.bottom >= height - 1
        thin = mark.area_px < 0.15 * mark.extent**2 and min(mark.width, mark.height) < 0.2 * mark.extent
        return touches and thin and _depth(mark, labels, ink_map) < 0.75 * depth

    return [mark for mark in marks if mark is main or not is_ruling(mark)]


def _depth(mark: Piece, labels: Labels, ink_map: InkMap) -> float:
    """How dark the solid part of a mark is."""
    return quantile(ink_map.ink[mark.window][mark.own_of(labels)], 0.75)
