"""Pieces that are no writing: folds and rims, slabs and sleeves at the border, frames, specks, bits of ruling."""

from __future__ import annotations

import math

import numpy as np

from worker.vision.cleaning.enclosures import Boxes, boxes_of, is_frame, is_open_field
from worker.vision.cleaning.rings import is_crossed
from worker.vision.ink import InkMap, quantile
from worker.vision.moments import Bar, straight_bar
from worker.vision.pieces import Flags, Labels, Piece, usual_size

LARGE_PX = 260  # a page whose shorter side is as long shows more than one digit's paper
MANY = 12  # pieces: more than one digit falls into
LEAST_OF_MANY_PX = 6  # among many, what is smaller is dust or the grain of the paper
DWARFS = 2.5  # times the size of writing: what is larger and runs out of the page is no digit
AROUND = 0.9  # of the page's width and height: what runs out of it and reaches so far lies around a sheet
ON_A_SHEET = 4  # pieces: a digit as large as the page has fewer scraps in it
PEN = 3.0  # times as long as all else: a pen
CABLE = 4.5  # the same, from border to border: a 1 before cents may be four times as long, in a tight cut
LEANING_DEG = 35.0  # hardly a 1 leans more
CLEAR = 0.15  # of a sign's extent: how far from it a pen lies at least; the stem of a 9 is nearer to its loop
LEAST_SIGN_PX, LEAST_SIGN = 10, 0.08  # and of the pen's length: how large what is beside it is at least
THIN = (
    0.25  # of the extent of the largest sign: how thick it is at most; digits that hang together are thicker
)
SOLID = 1.2  # times as thick as its ink would be if it were a bar; digits that hang together are more
ONE_LINE = 0.9  # of the rows from border to border: where a cable shows once
DOT = (0.7, 2.2)  # times as thick as a stroke: its dot, as an exclamation mark has one
DOT_REACH = 0.5  # of the stroke's length: how far from its end the middle of that dot is at most
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
    """Without what lies around or beside the writing: slabs, sleeves, pens, frames around digits."""
    if len(pieces) < 2:
        return pieces
    pieces = _without_pens(pieces, labels)
    height, width = labels.shape
    inner = [piece for piece in pieces if not piece.touches_border(width, height)]
    is_large = min(width, height) >= LARGE_PX
    boxes = boxes_of(inner)
    # What touches the border is no drawn frame: in a strip it is digits on a ruling.
    frames = [piece for piece in inner if is_frame(piece, boxes, labels)]
    dropped = {frame.labels for frame in frames if not is_crossed(frame, labels)}
    all_boxes = boxes_of(pieces)
    dropped |= {piece.labels for piece in pieces if is_open_field(piece, all_boxes, labels)}
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


def _without_pens(pieces: list[Piece], labels: Labels) -> list[Piece]:
    """Without the longest stroke, where it lies clear of a sign and no digit can be so long: a pen, a cable, a crease.

    It is several times as long as all else, and leans more than a 1 does or runs from border to border. What stands
    upright may be a 1: that is left to those who read.
    """
    longest = max(pieces, key=_length)
    others = [piece for piece in pieces if piece is not longest]
    size = max(piece.extent for piece in others)
    if _length(longest) < PEN * size:
        return pieces
    signs = [piece for piece in others if _may_be_sign(piece, longest, labels)]
    if not signs:
        return pieces
    own = longest.own_of(labels)
    height, width = labels.shape
    upright, level = longest.height >= height - 2, longest.width >= width - 2
    if upright or level:
        is_clear = (
            _length(longest) >= CABLE * size
            and _is_line(own if upright else own.T, THIN * size)
            and all(sign.gap_to(longest) >= CLEAR * sign.extent for sign in signs)
        )
    else:
        bar = straight_bar(own)
        is_clear = (
            bar is not None
            and abs(bar.lean_deg) >= LEANING_DEG
            and bar.thickness <= THIN * size
            and bar.across <= SOLID * bar.thickness + 1
            and all(_clearance(bar, longest, sign) >= CLEAR * sign.extent for sign in signs)
        )
    return others if is_clear else pieces


def _length(piece: Piece) -> float:
    """How long a stroke is that reaches from corner to corner of the box of a piece."""
    return math.hypot(piece.width, piece.height)


def _may_be_sign(piece: Piece, longest: Piece, labels: Labels) -> bool:
    """Whether a piece beside a long stroke may be a digit: no dot, no comma, no flag."""
    is_large = piece.extent >= max(LEAST_SIGN_PX, LEAST_SIGN * longest.extent)
    return is_large and _is_written(piece, labels)


def _is_written(piece: Piece, labels: Labels) -> bool:
    """Whether a piece is more than a dot or a straight stroke, whichever way it leans."""
    return piece.is_drawn and straight_bar(piece.own_of(labels)) is None


def _is_dot_of(bar: Bar, stroke: Piece, piece: Piece) -> bool:
    """Whether a piece is a dot as thick as the stroke that `bar` is, near one of its ends and in line with it."""
    if not DOT[0] * bar.thickness <= min(piece.width, piece.height) <= piece.extent <= DOT[1] * bar.thickness:
        return False
    x, y = (piece.x + piece.right) / 2 - stroke.x, (piece.y + piece.bottom) / 2 - stroke.y
    beyond = bar.beyond(x, y)
    past_an_end = max(beyond, -beyond - bar.length)
    return 0 < past_an_end <= DOT_REACH * bar.length and abs(bar.off(x, y)) <= bar.thickness


def _is_line(own: Flags, thickest_px: float) -> bool:
    """Whether what runs from the first to the last row is one thin line: digits that hang together are more."""
    begins = own[:, 0] + (own[:, 1:] & ~own[:, :-1]).sum(axis=1)
    return float(np.mean((begins == 1) & (own.sum(axis=1) <= thickest_px))) >= ONE_LINE


def _clearance(bar: Bar, long: Piece, sign: Piece) -> float:
    """How far the box of a sign lies from a bar, in pixels, beside it or beyond its ends; 0 where they may touch."""
    corners = [(x - long.x, y - long.y) for x in (sign.x, sign.right) for y in (sign.y, sign.bottom)]
    off = [bar.off(*corner) for corner in corners]
    above = [bar.beyond(*corner) for corner in corners]
    aside = 0.0 if min(off) < 0 < max(off) else min(map(abs, off)) - bar.thickness / 2
    return max(aside, min(above), -max(above) - bar.length, 0.0)


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


def drop_specks(pieces: list[Piece], width: int, height: int, labels: Labels | None = None) -> list[Piece]:
    """Without what is far smaller than the largest piece: dust, punctuation, what a neighbour left in the cut.

    Where their `labels` are given, what is low beside it is a stop only if it is a dot or a stroke, and the dot of an
    exclamation mark stays.

    A crumb within the largest piece changes no box and stays; one beside it would move the digit.
    """
    if len(pieces) < 2:
        return [piece for piece in pieces if piece.extent >= 3 and piece.area_px >= 4]
    main = max(pieces, key=lambda piece: piece.area_px)
    largest = usual_size(pieces)
    if len(pieces) >= MANY:  # a page of signs: nothing is said by how a piece lies to the largest of them
        return [piece for piece in pieces if piece.extent >= max(0.15 * largest, LEAST_OF_MANY_PX)]
    bar = None if labels is None or main.height < 2 * main.width else straight_bar(main.own_of(labels))

    def is_speck(piece: Piece) -> bool:
        if bar is not None and _is_dot_of(bar, main, piece):
            return False
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
        is_stop = is_low and is_beside and not (labels is not None and _is_written(piece, labels))
        return piece.extent < (0.35 if is_stop else 0.2) * main.size

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
