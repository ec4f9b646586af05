"""The steps by which a page is freed of what nobody wrote as a sign, in their order."""

from __future__ import annotations

from worker.vision.cleaning.boxes import without_boxes
from worker.vision.cleaning.combs import without_teeth
from worker.vision.cleaning.enclosures import without_frames
from worker.vision.cleaning.foreign import drop_foreign, drop_lines_of_the_paper
from worker.vision.cleaning.holes import without_holes
from worker.vision.cleaning.outlines import with_filled_outlines
from worker.vision.cleaning.paper import clean, without_drawn_lines
from worker.vision.ink import MIN_CONTRAST, InkMap
from worker.vision.pieces import Findings, Piece


def clean_findings(before: InkMap) -> Findings | None:
    """The ink of a page in pieces, without lines, boxes and frames; None where no ink is left.

    What is left may still hold whole pieces that are no writing: see `own_pieces`.
    """
    ink_map, mask = clean(before)
    if ink_map.core < MIN_CONTRAST:
        return None
    found = without_boxes(Findings.of(ink_map, mask))
    found = without_drawn_lines(found)
    found = without_teeth(found, before)
    found = without_frames(found)
    return with_filled_outlines(found)


def own_pieces(found: Findings) -> tuple[list[Piece], list[Piece]]:
    """The pieces that may be written, specks among them, and what was left out: frames, holes, pens, folds.

    A frame that crosses a line of writing would be read as strokes of it: its ink is to be taken away, too.
    """
    height, width = found.labels.shape
    pieces = drop_lines_of_the_paper(found.pieces, width, height, found.ink_map.core)
    own = drop_foreign(without_holes(pieces, found), found.labels)
    left_out = [piece for piece in pieces if piece not in own and not piece.touches_border(width, height)]
    return own, left_out
