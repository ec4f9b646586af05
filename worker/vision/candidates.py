"""From a line of marks to candidates: each mark whole, in parts, or together with the next one.

A line is a row of nodes; between two neighbouring nodes lies an atom of ink, and a candidate is what lies
between two nodes. Which candidates are digits is for recognition to say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from worker.vision.cuts import Seam, add_seams, between, find_seams
from worker.vision.ink import Float
from worker.vision.page import Box
from worker.vision.segmentation import Mark

MAX_ATOMS_IN_ONE = 6  # a digit that falls into more parts than this was cut along its strokes
MAX_CANDIDATES = 400  # of one line: a page of scribbles must not cost more than a page of digits
LOWEST_CUT_PX = 128  # parts are cut from a mark that is so high at least, where it was
CLOSE = 0.3  # heights: pieces farther apart than this are not parts of one digit


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What lies between two nodes of a line: `ink` float32 (h, w) in [0, 1], `box` in page pixels.

    `mark` is the place of the (first) mark in its line. `crossed` is the ink that the seams on its sides
    cross, in heights; `share` the part of its mark's ink that it holds; `is_joined` says that it is two
    marks in one.
    """

    first: int
    last: int
    mark: int
    ink: Float
    box: Box
    crossed: float = 0.0
    share: float = 1.0
    is_joined: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """A line with its nodes: mark `i` lies between `starts[i]` and `starts[i + 1]`.

    `columns` says for each node, as a column of the page, where it parts the line; they never fall.
    """

    starts: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    columns: tuple[float, ...] = ()


def climb(
    marks: Sequence[Mark],
    to_cut: Collection[int],
    to_join: Collection[int],
    hints: Mapping[int, Sequence[float]] | None = None,
) -> Ladder:
    """The line of `marks` with the candidates that lie within the marks `to_cut` and across those `to_join`.

    A place in `to_join` means: this mark and the next. `hints` names for marks to be cut the columns of the
    page near which digits may part, whatever ink is crossed there. Whole marks are candidates by themselves and not
    listed. Not more than `MAX_CANDIDATES` are: marks with the most seams stay whole first.
    """
    starts = [0]
    found: list[Candidate] = []
    to_join = list(to_join)[:MAX_CANDIDATES]
    columns = [float(marks[0].box.x)] if marks else [0.0]
    hints = hints or {}
    marks = [_coarse(mark) if i in to_cut else mark for i, mark in enumerate(marks)]
    all_seams = {i: _seams(marks[i], hints.get(i, ())) for i in to_cut}
    seams_of = _affordable(all_seams, MAX_CANDIDATES - len(to_join))
    for place, mark in enumerate(marks):
        seams = seams_of.get(place, [])
        found += _parts(mark, place, starts[-1], seams)
        starts.append(starts[-1] + len(seams) + 1)
        scale = mark.box.width / mark.ink.shape[1]
        columns += [mark.box.x + scale * float(seam.columns.mean()) for seam in seams]
        after = marks[place + 1].box.x if place + 1 < len(marks) else mark.box.right
        columns.append((mark.box.right + after) / 2)
    for place in to_join:
        joined = join(marks[place], marks[place + 1])
        found.append(
            Candidate(starts[place], starts[place + 2], place, joined.ink, joined.box, is_joined=True)
        )
    return Ladder(tuple(starts), tuple(found), tuple(np.maximum.accumulate(columns).tolist()))


def _coarse(mark: Mark) -> Mark:
    """The mark with no more pixels than its parts need: tiles are far smaller, and a scribble may fill the page."""
    step = mark.ink.shape[0] // LOWEST_CUT_PX
    if step < 2:
        return mark
    height, width = mark.ink.shape
    size = (max(1, round(width / step)), round(height / step))
    return replace(mark, ink=np.asarray(cv2.resize(mark.ink, size, interpolation=cv2.INTER_AREA), np.float32))


def _seams(mark: Mark, hints: Sequence[float]) -> list[Seam]:
    """The seams of a mark: those that its ink suggests, and those near the hinted columns of the page."""
    scale = mark.box.width / mark.ink.shape[1]
    return add_seams(mark.ink, find_seams(mark.ink), [(x - mark.box.x) / scale for x in hints])


def _affordable(seams_of: dict[int, list[Seam]], most: int) -> dict[int, list[Seam]]:
    """The marks with the fewest seams, as many as make at most `most` candidates: scribbles have many."""
    chosen: dict[int, list[Seam]] = {}
    for place, seams in sorted(seams_of.items(), key=lambda item: len(item[1])):
        atoms = len(seams) + 1
        most -= sum(min(MAX_ATOMS_IN_ONE, atoms - first) for first in range(atoms))
        if most < 0:
            break
        chosen[place] = seams
    return chosen


def _parts(mark: Mark, place: int, start: int, seams: Sequence[Seam]) -> list[Candidate]:
    """What lies between any two ends of a mark, but for the mark itself."""
    if not seams:
        return []
    ends = [None, *seams, None]
    scale = mark.box.height / mark.ink.shape[0]
    total = max(float(mark.ink.sum()), 1e-6)
    found = []
    for first in range(len(ends) - 1):
        for last in range(first + 1, min(first + MAX_ATOMS_IN_ONE, len(ends) - 1) + 1):
            if first == 0 and last == len(ends) - 1:
                continue
            piece = between(mark.ink, ends[first], ends[last])
            if piece is None:
                continue
            ink, x, y = piece
            box = Box(
                mark.box.x + round(x * scale),
                mark.box.y + round(y * scale),
                max(1, round(ink.shape[1] * scale)),
                max(1, round(ink.shape[0] * scale)),
            )
            crossed = sum(seam.crossed for seam in (ends[first], ends[last]) if seam is not None)
            share = float(ink.sum()) / total
            found.append(Candidate(start + first, start + last, place, ink, box, crossed, share))
    return found


def join(one: Mark, other: Mark) -> Mark:
    """Two marks as one, at the coarser of their scales."""
    x, y = min(one.box.x, other.box.x), min(one.box.y, other.box.y)
    right, bottom = max(one.box.right, other.box.right), max(one.box.bottom, other.box.bottom)
    scale = max(mark.box.height / mark.ink.shape[0] for mark in (one, other))
    canvas = np.zeros((max(1, round((bottom - y) / scale)), max(1, round((right - x) / scale))), np.float32)
    for mark in (one, other):
        size = (
            max(1, min(round(mark.box.width / scale), canvas.shape[1])),
            max(1, min(round(mark.box.height / scale), canvas.shape[0])),
        )
        ink = mark.ink
        if size != (ink.shape[1], ink.shape[0]):
            ink = np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), np.float32)
        left = min(round((mark.box.x - x) / scale), canvas.shape[1] - size[0])
        top = min(round((mark.box.y - y) / scale), canvas.shape[0] - size[1])
        window = canvas[top : top + size[1], left : left + size[0]]
        np.maximum(window, ink, out=window)
    return Mark(Box(x, y, right - x, bottom - y), canvas)


def are_close(one: Box, other: Box, height: float) -> bool:
    """Whether two marks of a line may be parts of one digit, in a line of so high digits."""
    gap_x = max(one.x, other.x) - min(one.right, other.right)
    gap_y = max(one.y, other.y) - min(one.bottom, other.bottom)
    wide = max(one.right, other.right) - min(one.x, other.x)
    return max(gap_x, gap_y) <= CLOSE * height and wide <= 1.3 * height
