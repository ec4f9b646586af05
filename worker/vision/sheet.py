"""A page as recognition takes it: lines of marks, each with its tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.vision.layout import lines_of
from worker.vision.normalization import NormalizerSettings, normalize
from worker.vision.page import Page, Tile
from worker.vision.segmentation import Mark, find_marks


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Marks that stand in one line of writing, from the left, and their tiles in the same order."""

    marks: tuple[Mark, ...]
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The lines of a page, from the top; none where there is no ink."""

    lines: tuple[Line, ...]


def sheet_of(page: Page, normalizer: NormalizerSettings) -> Sheet:
    """The lines of marks that `page` shows, every mark normalised for the model."""
    return arrange(find_marks(page), normalizer)


def arrange(marks: Sequence[Mark], normalizer: NormalizerSettings) -> Sheet:
    """Marks put into lines, and made into tiles."""
    lines = []
    for places in lines_of([mark.box for mark in marks]):
        chosen = tuple(marks[i] for i in places)
        lines.append(Line(chosen, tuple(Tile(normalize(mark.ink, normalizer), mark.box) for mark in chosen)))
    return Sheet(tuple(lines))
