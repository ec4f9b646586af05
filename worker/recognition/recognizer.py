"""From sheets to verdicts: all marks classified at once, then what was in doubt once more, in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS, Sign, Thresholds, Verdict, calibrate, judge
from worker.recognition.numbers import Doubt, find_doubt, is_poor, is_storm, legibility, search, weathered
from worker.vision.candidates import Ladder, climb
from worker.vision.normalization import NormalizerSettings, normalize
from worker.vision.page import TILE_PX
from worker.vision.sheet import Line, Sheet

Floats = npt.NDArray[np.float64]
Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
TURN_GAIN = 0.2  # of legibility: a page is not turned for less
MAX_CANDIDATES = 400  # of one line: a page of scribbles must not cost more than a page of digits


class TileClassifier(Protocol):
    """Turns tiles float32 (n, 28, 28) into logits float32 (n, labels), each row by itself."""

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The logits of `tiles`."""
        ...


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What goes with a model: its normaliser, the temperature of its logits, and what is accepted."""

    normalizer: NormalizerSettings
    temperature: float
    thresholds: Thresholds


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """A line that needs a second look: where it stands, and what is to be tried."""

    sheet: int
    line: int
    marks: Line
    doubt: Doubt


def recognize(
    sheets: Sequence[Sheet], classifier: TileClassifier, knowledge: Knowledge, spread: Spread = map
) -> list[Verdict]:
    """One verdict for each of `sheets`, in their order; `spread` maps a function over items, as `map` does."""
    sheets, firsts = _upright(sheets, classifier, knowledge, spread)
    signs: list[list[list[Sign]]] = []
    looks: list[_Look] = []
    rows: dict[tuple[int, int], Floats] = {}
    for s, (sheet, first) in enumerate(zip(sheets, firsts, strict=True)):
        signs.append([])
        start = 0
        for n, line in enumerate(sheet.lines):
            own = first[start : start + len(line.tiles)]
            start += len(line.tiles)
            boxes = [tile.box for tile in line.tiles]
            signs[s].append(
                [_plain(row, box, knowledge.thresholds) for row, box in zip(own, boxes, strict=True)]
            )
            doubt = find_doubt(boxes, own)
            if doubt and not is_storm(first):
                looks.append(_Look(s, n, line, doubt))
                rows[s, n] = own
    ladders = list(spread(lambda look: _climbed(look, knowledge.normalizer), looks))
    second = _probabilities([tile for _, tiles in ladders for tile in tiles], classifier, knowledge)
    start = 0
    for look, (ladder, tiles) in zip(looks, ladders, strict=True):
        own = second[start : start + len(tiles)]
        start += len(tiles)
        boxes = [tile.box for tile in look.marks.tiles]
        found = search(boxes, rows[look.sheet, look.line], ladder, own)
        if found and ladder.candidates:
            signs[look.sheet][look.line] = found[0][0]
    verdicts = [
        judge(weathered(lines) if is_storm(first) else lines, knowledge.thresholds)
        for lines, first in zip(signs, firsts, strict=True)
    ]
    return [_as_seen(verdict, sheet) for verdict, sheet in zip(verdicts, sheets, strict=True)]


def _upright(
    sheets: Sequence[Sheet], classifier: TileClassifier, knowledge: Knowledge, spread: Spread
) -> tuple[list[Sheet], list[Floats]]:
    """The sheets as they read best, and the probabilities of their tiles; most stay as they are."""
    firsts = _of_sheets(sheets, classifier, knowledge)
    upright, probabilities = list(sheets), list(firsts)
    poor = [i for i, rows in enumerate(firsts) if is_poor(rows)]
    tried = [(i, turns) for i in poor for turns in (1, 2, 3)]
    turned = list(spread(lambda one: sheets[one[0]].turned(one[1], knowledge.normalizer), tried))
    for (i, _), sheet, rows in zip(tried, turned, _of_sheets(turned, classifier, knowledge), strict=True):
        gain = legibility(rows) - legibility(firsts[i])
        if gain > TURN_GAIN and legibility(rows) > legibility(probabilities[i]):
            upright[i], probabilities[i] = sheet, rows
    return upright, probabilities


def _of_sheets(sheets: Sequence[Sheet], classifier: TileClassifier, knowledge: Knowledge) -> list[Floats]:
    """The probabilities of each sheet's tiles, all classified at once."""
    tiles = [sheet.tiles for sheet in sheets]
    together = _probabilities([tile.pixels for own in tiles for tile in own], classifier, knowledge)
    return np.split(together, np.cumsum([len(own) for own in tiles])[:-1]) if tiles else []


def _as_seen(verdict: Verdict, sheet: Sheet) -> Verdict:
    if sheet.turns == 0:
        return verdict
    return replace(
        verdict,
        digits=tuple(replace(reading, box=sheet.as_seen(reading.box)) for reading in verdict.digits),
    )


def _plain(row: Floats, box: Any, thresholds: Thresholds) -> Sign:
    """A mark taken as it is: a digit, or none."""
    is_digit = float(row[:DIGITS].sum()) >= thresholds.digit
    return Sign(row, box, int(np.argmax(row[:DIGITS])) if is_digit else None)


def _climbed(look: _Look, normalizer: NormalizerSettings) -> tuple[Ladder, list[npt.NDArray[np.float32]]]:
    ladder = climb(look.marks.marks, look.doubt.to_cut, look.doubt.to_join)
    if len(ladder.candidates) > MAX_CANDIDATES:
        ladder = climb(look.marks.marks, (), ())
    return ladder, [normalize(candidate.ink, normalizer) for candidate in ladder.candidates]


def _probabilities(
    tiles: Sequence[npt.NDArray[np.float32]], classifier: TileClassifier, knowledge: Knowledge
) -> Floats:
    if not tiles:
        return np.zeros((0, DIGITS))
    stacked = np.stack(tiles).reshape(-1, TILE_PX, TILE_PX)
    return calibrate(classifier.logits(stacked), knowledge.temperature)
