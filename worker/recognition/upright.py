"""How a page lies, and whether it is one of digits at all: read as it came, and turned where it then reads better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS, SEVERAL, Sign
from worker.recognition.knowledge import Floats, Knowledge, Spread, TileClassifier, probabilities_of
from worker.recognition.words import without_words
from worker.vision.normalization import NormalizerSettings, normalize
from worker.vision.sheet import Sheet

STORM_FROM = 24  # marks; where half of so many are no sure digits, the page is no page of digits
STORM_OF_DIGITS = 0.4  # of the marks: a page on which so many surely are digits holds them among other things
BAR_COUNTS = 0.3
TURN_GAIN = 0.2  # of legibility: a page is not turned for less
TURNED_STORM = 0.4  # of legibility: nor a page of many marks that then has less
PLAIN_STORM = 0.15  # of a sample of marks: where fewer surely are digits, the rest is not looked at
FEW = 5  # marks of which one that is a digit either way, or a letter, decides how they lie
SURE, EITHER_WAY = 0.9, 0.5  # a digit so likely, and the share of them at which the way up is in doubt
TURNED_FROM, POOR = 3, 0.7  # so many marks, and so little legibility: one sign alone is never turned
TURNS_TRIED = 3  # quarters
SAMPLE = 24  # marks of a page that say how it lies, and whether it is plainly no page of digits
CROWD = 96  # marks: of so many a sample is looked at first


def upright_of(
    sheets: Sequence[Sheet], classifier: TileClassifier, knowledge: Knowledge, spread: Spread
) -> tuple[list[Sheet], list[Floats], list[int]]:
    """The sheets as they read best, without small print; the probabilities of their tiles; which may lie either way.

    Most stay as they are. Of a sheet that is plainly a storm in its sample, the sample alone.
    """
    upright, probabilities = _at_first(sheets, classifier, knowledge)
    sheets = list(sheets)
    for i, sheet in enumerate(sheets):
        if upright[i] is sheet:  # and no sample of a storm
            sheets[i], probabilities[i] = without_words(sheet, probabilities[i])
            upright[i] = sheets[i]
    before = [legibility(rows) for rows in probabilities]
    poor = [i for i, rows in enumerate(probabilities) if is_poor(rows)]
    normalizer = knowledge.normalizer
    samples = list(spread(lambda i: _turned_samples(sheets[i], normalizer), poor))
    rows = probabilities_of([tile for tiles in samples for tile in tiles], classifier, knowledge)
    promising, start = [], 0
    for i, tiles in zip(poor, samples, strict=True):
        parts = np.split(rows[start : start + len(tiles)], TURNS_TRIED)
        start += len(tiles)
        best = int(np.argmax([legibility(part) for part in parts]))
        if reads_turned(before[i], parts[best]):
            promising.append((i, 1 + best))
    doubtful: list[int] = []
    turned = list(spread(lambda one: sheets[one[0]].turned(one[1], normalizer), promising))
    for (i, _), sheet, own in zip(promising, turned, _of_sheets(turned, classifier, knowledge), strict=True):
        if reads_turned(before[i], own) and not _falls_apart(sheets[i], sheet):
            if may_lie_either_way(probabilities[i]):
                doubtful.append(i)
            upright[i], probabilities[i] = sheet, own
    return upright, probabilities, doubtful


def _at_first(
    sheets: Sequence[Sheet], classifier: TileClassifier, knowledge: Knowledge
) -> tuple[list[Sheet], list[Floats]]:
    """The sheets as they came, and the probabilities of their tiles; of a plain storm only a sample's."""
    seen = [sheet.sample(SAMPLE) if len(sheet.tiles) >= CROWD else sheet for sheet in sheets]
    firsts = _of_sheets(seen, classifier, knowledge)
    doubtful = [
        i
        for i, (sheet, sample) in enumerate(zip(sheets, seen, strict=True))
        if sample is not sheet and not is_storm(firsts[i], PLAIN_STORM)
    ]
    whole = _of_sheets([sheets[i] for i in doubtful], classifier, knowledge)
    for i, rows in zip(doubtful, whole, strict=True):
        seen[i], firsts[i] = sheets[i], rows
    return seen, firsts


def _falls_apart(sheet: Sheet, turned: Sheet) -> bool:
    """Whether signs that stand in one line stand below one another once the sheet is turned.

    People write along lines: noughts that hang together may look like an 8 from the side, but what is one
    row as it came is that row.
    """
    return turned.turns % 2 == 1 and len(sheet.lines) == 1 < len(turned.lines)


def _turned_samples(sheet: Sheet, normalizer: NormalizerSettings) -> list[npt.NDArray[np.float32]]:
    """Tiles of marks from all over the sheet after one, two and three quarter turns anticlockwise.

    So many tell how a page lies; on a page of two hundred scraps all of them would cost ten pages' time.
    """
    marks = sheet.sample(SAMPLE).marks
    return [
        normalize(np.ascontiguousarray(np.rot90(mark.ink, turns)), normalizer)
        for turns in range(1, TURNS_TRIED + 1)
        for mark in marks
    ]


def _of_sheets(sheets: Sequence[Sheet], classifier: TileClassifier, knowledge: Knowledge) -> list[Floats]:
    """The probabilities of each sheet's tiles, all classified at once."""
    tiles = [sheet.tiles for sheet in sheets]
    together = probabilities_of([tile.pixels for own in tiles for tile in own], classifier, knowledge)
    return np.split(together, np.cumsum([len(own) for own in tiles])[:-1]) if tiles else []


def legibility(probabilities: Floats) -> float:
    """How surely the marks of a page are digits, in [0, 1]: the mean over its marks; 0 without any.

    Marks that may be several digits count half: turned or not, they are not legible as they are.
    """
    if len(probabilities) == 0:
        return 0.0
    # A bar is a bar however a page lies: it hardly tells which way is up.
    best = np.maximum(probabilities[:, :DIGITS].max(axis=1) - (1 - BAR_COUNTS) * probabilities[:, 1], 0.0)
    if probabilities.shape[1] > SEVERAL:
        best = best + 0.5 * probabilities[:, SEVERAL]
    return float(best.mean())


def is_poor(probabilities: Floats) -> bool:
    """Whether a page of several marks reads so badly that it may lie on its side or upside down."""
    return len(probabilities) >= TURNED_FROM and legibility(probabilities) < POOR


def may_lie_either_way(before: Floats) -> bool:
    """Whether a page that reads better after a turn had, as it came, so many sure digits that it may lie right.

    Beside a few digits, a letter or a sign of money that is a digit when upside down is enough to turn them: among
    so few one sure digit is enough for a doubt.
    """
    sure = np.delete(before[:, :DIGITS], 1, axis=1).max(axis=1) >= SURE
    return bool(sure.any()) if len(sure) < FEW else float(sure.mean()) >= EITHER_WAY


def reads_turned(before: float, after: Floats) -> bool:
    """Whether a page whose legibility was `before` lies right after a turn, by the probabilities of its marks then.

    Print on its side has a digit here and there: of a great many marks a good part must be digits.
    """
    found = legibility(after)
    return found - before > TURN_GAIN and (len(after) < STORM_FROM or found >= TURNED_STORM)


def is_storm(probabilities: Floats, most_digits: float = STORM_OF_DIGITS) -> bool:
    """Whether a page holds a great many marks of which few are digits: specks, print, a pattern, a crowd.

    `most_digits` is the share of its marks, in [0, 1], that may surely be digits all the same.
    """
    if len(probabilities) < STORM_FROM:
        return False
    likely = probabilities[:, :DIGITS].max(axis=1)
    if probabilities.shape[1] > SEVERAL:
        likely = np.maximum(likely, probabilities[:, SEVERAL])
    return bool(np.median(likely) < 0.5) and float((likely >= SURE).mean()) < most_digits


def weathered(lines: Sequence[Sequence[Sign]]) -> list[list[Sign]]:
    """The signs of a storm: nothing in it is taken for a digit."""
    return [[replace(sign, chosen=None) for sign in line] for line in lines]
