"""A page as recognition takes it: lines of marks, each with its tile."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from worker.vision.ink import InkMap, tight_box
from worker.vision.layout import lines_of
from worker.vision.normalization import NormalizerSettings, normalize
from worker.vision.page import TILE_PX, Box, Page, Tile
from worker.vision.segmentation import Mark, Writing, find_writing
from worker.vision.strikes import struck_out
from worker.vision.strips import NO_FIELD, Field, field_of


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Marks that stand in one line of writing, from the left, and their tiles in the same order."""

    marks: tuple[Mark, ...]
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The lines of a page, from the top; none where there is no ink. `field` is the ink they stand on.

    `struck_out` are the boxes around what somebody drew a line through, `overlooked` are signs that were left out since
    they are much fainter or smaller than the others, or hang on a ring.

    `width` and `height` are the page's, in pixels, as it is read: after `turns` quarter turns
    anticlockwise of the page as a person sees it.
    """

    lines: tuple[Line, ...]
    width: int
    height: int
    field: Field
    turns: int = 0
    struck_out: tuple[Box, ...] = ()
    overlooked: tuple[Mark, ...] = ()

    @property
    def tiles(self) -> list[Tile]:
        """The tiles of all lines, in reading order."""
        return [tile for line in self.lines for tile in line.tiles]

    @property
    def marks(self) -> list[Mark]:
        """The marks of all lines, in reading order."""
        return [mark for line in self.lines for mark in line.marks]

    def with_marks(self, places: Collection[int], outside: Sequence[Box] = ()) -> Sheet:
        """The page with those of its marks that are at these places in reading order, in the lines they stand in.

        What was overlooked goes with what lies in the boxes `outside`: it is as little a sign.
        """
        chosen, lines, start = set(places), [], 0
        for line in self.lines:
            own = [i - start for i in range(start, start + len(line.marks)) if i in chosen]
            start += len(line.marks)
            if own:
                lines.append(Line(tuple(line.marks[i] for i in own), tuple(line.tiles[i] for i in own)))
        overlooked = tuple(
            mark for mark in self.overlooked if not any(mark.box.is_centred_in(box) for box in outside)
        )
        return replace(self, lines=tuple(lines), overlooked=overlooked)

    def sample(self, count: int) -> Sheet:
        """The page with `count` of its marks, from all over it; as it is where it has no more.

        Always the same ones, but not every so-manieth: that might be one column of a table.
        """
        total = sum(len(line.marks) for line in self.lines)
        if total <= count:
            return self
        return self.with_marks(np.random.default_rng(total).choice(total, count, replace=False).tolist())

    def turned(self, turns: int, normalizer: NormalizerSettings) -> Sheet:
        """The same page after so many more quarter turns anticlockwise."""
        marks, overlooked = (
            [self._turned(mark, turns) for mark in group] for group in (self.marks, self.overlooked)
        )
        width, height = (self.height, self.width) if turns % 2 else (self.width, self.height)
        field = self.field.turned(turns)
        sheet = arrange(Writing(marks, field), normalizer, width, height, (self.turns + turns) % 4)
        struck = tuple(turn_box(box, turns, self.width, self.height) for box in self.struck_out)
        return replace(sheet, struck_out=struck, overlooked=tuple(overlooked))

    def _turned(self, mark: Mark, turns: int) -> Mark:
        box = turn_box(mark.box, turns, self.width, self.height)
        return Mark(box, np.ascontiguousarray(np.rot90(mark.ink, turns)))

    def as_seen(self, box: Box) -> Box:
        """A box of this sheet in pixels of the page as a person sees it."""
        return turn_box(box, -self.turns % 4, self.width, self.height)


def sheet_of(page: Page, normalizer: NormalizerSettings) -> Sheet:
    """The lines of marks that `page` shows, every mark normalised for the model."""
    return arrange(find_writing(page), normalizer, page.width, page.height)


def sheet_of_tile(pixels: npt.NDArray[np.float32]) -> Sheet:
    """The sheet whose only mark is a tile that somebody else made, float32 (28, 28) in [0, 1], ink bright on 0.

    Nothing is cut or normalised. No mark where there is no ink.
    """
    x, y, width, height = tight_box(pixels)
    if width == 0:
        return Sheet((), TILE_PX, TILE_PX, NO_FIELD)
    box = Box(x, y, width, height)
    mark = Mark(box, np.ascontiguousarray(pixels[y : y + height, x : x + width]))
    ink_map = InkMap(
        pixels, np.zeros((1, 1), np.float32), step=1, is_dark=False, noise=0.0, core=float(pixels.max())
    )
    return Sheet((Line((mark,), (Tile(pixels, box),)),), TILE_PX, TILE_PX, field_of(ink_map))


def arrange(
    writing: Writing, normalizer: NormalizerSettings, width: int, height: int, turns: int = 0
) -> Sheet:
    """The marks of a page put into lines, and made into tiles."""
    lines = []
    struck: list[Box] = []
    marks = writing.marks
    for places in lines_of([mark.box for mark in marks]):
        chosen = tuple(marks[i] for i in places)
        lines.append(Line(chosen, tuple(Tile(normalize(mark.ink, normalizer), mark.box) for mark in chosen)))
        if writing.before is not None:
            struck += struck_out([mark.box for mark in chosen], writing.before)
    return Sheet(tuple(lines), width, height, writing.field, turns, tuple(struck), writing.overlooked)


def turn_box(box: Box, turns: int, width: int, height: int) -> Box:
    """Where a box of a page of this size lies after so many quarter turns anticlockwise (0 to 3)."""
    for _ in range(turns):
        box = Box(box.y, width - box.right, box.height, box.width)
        width, height = height, width
    return box
