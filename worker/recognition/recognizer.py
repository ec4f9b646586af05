"""From sheets to verdicts: all marks classified at once, then what was in doubt once more, in parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from worker.expectation import Expectation
from worker.recognition.blots import with_blots
from worker.recognition.company import contradicted, doubted, slipped, stray_lines, unread_in_a_column
from worker.recognition.decision import (
    DIGITS,
    SEVERAL,
    Sign,
    Thresholds,
    Verdict,
    confidence_in,
    disbelieved,
    judge,
)
from worker.recognition.frames import Frames, shares_of
from worker.recognition.hypotheses import Hypothesis, held_at
from worker.recognition.knowledge import Floats, Knowledge, Spread, TileClassifier, probabilities_of
from worker.recognition.numbers import (
    MAYBE_SEVERAL,
    SURE,
    Doubt,
    doubt_of,
    everything,
    find_doubt,
    line_height,
    search,
)
from worker.recognition.opinions import LoneOpinion
from worker.recognition.overlooked import with_overlooked
from worker.recognition.punctuation import without_punctuation
from worker.recognition.transcriber import LineTranscriber
from worker.recognition.upright import is_storm, upright_of, weathered
from worker.vision.candidates import Ladder, climb
from worker.vision.normalization import NormalizerSettings, normalize
from worker.vision.sheet import Line, Sheet
from worker.vision.strips import DIGIT_PX, WHOLE_PX, Band, band_of, strip_of

WIDE = 1.2  # widths in heights: a lone mark so wide may be a number whose digits touch


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """A line that needs a second look: where it stands, and what is to be tried."""

    sheet: int
    line: int
    marks: Line
    rows: Floats
    doubt: Doubt
    hears: bool  # whether the transcriber is to be asked
    frames: Frames | None = None
    hints: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def hearing(self, frames: Frames) -> _Look:
        """The same look, with what the transcriber says of the line."""
        doubt, hints = doubt_of(self.doubt, [tile.box for tile in self.marks.tiles], frames)
        return replace(self, frames=frames, doubt=doubt, hints=hints)


@dataclass(frozen=True, slots=True, eq=False)
class _Eyes:
    """What looks at lines: both networks, what is known about them, and the threads they share."""

    classifier: TileClassifier
    transcriber: LineTranscriber | None
    knowledge: Knowledge
    spread: Spread


def recognize(
    sheets: Sequence[Sheet],
    classifier: TileClassifier,
    knowledge: Knowledge,
    spread: Spread = map,
    expected: Sequence[Expectation | None] | None = None,
    transcriber: LineTranscriber | None = None,
    listen: Callable[[int, Sequence[Hypothesis]], None] | None = None,
) -> list[Verdict]:
    """One verdict for each of `sheets`, in their order; `spread` maps a function over items, as `map` does.

    Signs that stand alone are the classifier's where it is sure; of others and of lines of several the
    `transcriber`, where there is one, gives a second opinion.

    `expected` says for each sheet what it shall hold, where that is known: among readings that are about
    as likely it prefers what fits. Whether the best one fits after all is not judged here.

    `listen` is told of each line that got a second look: the place of its sheet, and its readings, the best first.
    """
    if transcriber is None:  # how sure lone digits are was fitted where both may speak
        knowledge = replace(knowledge, weights=replace(knowledge.weights, lone=None))
    sheets, firsts, doubtful = upright_of(sheets, classifier, knowledge, spread)
    signs: list[list[list[Sign]]] = []
    looks: list[_Look] = []
    for s, (sheet, first) in enumerate(zip(sheets, firsts, strict=True)):
        rows = _by_lines(sheet, first)
        signs.append(
            [_plain(line, own, knowledge.thresholds) for line, own in zip(sheet.lines, rows, strict=True)]
        )
        if is_storm(first):
            signs[s] = weathered(signs[s])
            continue
        for n, (line, own) in enumerate(zip(sheet.lines, rows, strict=True)):
            doubt = find_doubt([tile.box for tile in line.tiles], own)
            hears = transcriber is not None and _is_for_transcriber(line, own, knowledge)
            if doubt or hears:
                looks.append(_Look(s, n, line, own, doubt, hears))
            elif len(own) == 1:
                signs[s][n] = [_alone(signs[s][n][0], own[0], None, knowledge)]
    eyes = _Eyes(classifier, transcriber, knowledge, spread)
    for look, readings in zip(looks, _second_look(looks, sheets, eyes), strict=True):
        if listen is not None:
            listen(look.sheet, readings)
        signs[look.sheet][look.line] = _settled(look, readings[0], knowledge)
    signs = [_looked_over(lines, sheet) for lines, sheet in zip(signs, sheets, strict=True)]
    if expected is not None:
        _fit(sheets, firsts, signs, expected, eyes)
    rules = expected or [None] * len(signs)
    signs = [_doubted(*each) for each in zip(signs, sheets, rules, strict=True)]
    _tell_overlooked(signs, sheets, rules, eyes)
    for s in doubtful:
        signs[s] = [
            [disbelieved(sign) if sign.chosen is not None else sign for sign in line] for line in signs[s]
        ]
    verdicts = [judge(lines, knowledge.thresholds) for lines in signs]
    return [_as_seen(verdict, sheet) for verdict, sheet in zip(verdicts, sheets, strict=True)]


def _second_look(looks: Sequence[_Look], sheets: Sequence[Sheet], eyes: _Eyes) -> list[list[Hypothesis]]:
    """The readings of each line, the best first."""
    looks = _heard(looks, sheets, eyes)
    normalizer = eyes.knowledge.normalizer
    ladders = list(eyes.spread(lambda look: _climbed(look, normalizer), looks))
    second = probabilities_of(
        [tile for _, tiles in ladders for tile in tiles], eyes.classifier, eyes.knowledge
    )
    found, start = [], 0
    for look, (ladder, tiles) in zip(looks, ladders, strict=True):
        own = second[start : start + len(tiles)]
        start += len(tiles)
        boxes = [tile.box for tile in look.marks.tiles]
        found.append(search(boxes, look.rows, ladder, own, look.frames, eyes.knowledge.weights))
    return found


def _heard(looks: Sequence[_Look], sheets: Sequence[Sheet], eyes: _Eyes) -> list[_Look]:
    """The looks with what the transcriber says of their lines, and what is to be tried because of it."""
    chosen = [look for look in looks if look.hears]
    if not chosen or eyes.transcriber is None:
        return list(looks)
    strips = list(eyes.spread(lambda look: _strip(look, sheets[look.sheet]), chosen))
    frames = eyes.transcriber.frames([strip for _, strip in strips])
    by_place = {
        (look.sheet, look.line): Frames(rows, band, sheets[look.sheet].field.step)
        for look, (band, _), rows in zip(chosen, strips, frames, strict=True)
    }
    return [
        look.hearing(by_place[look.sheet, look.line]) if (look.sheet, look.line) in by_place else look
        for look in looks
    ]


def _is_for_transcriber(line: Line, rows: Floats, knowledge: Knowledge) -> bool:
    """Whether a second opinion on a line is worth its cost: it has several signs, or one that leaves a doubt.

    A lone narrow sign that is hardly a digit stays what it is: among digits it might have passed for one.
    """
    if rows.shape[1] <= SEVERAL or len(rows) == 0:
        return False
    box = line.tiles[0].box
    if len(rows) > 1 or float(rows[0, SEVERAL]) > MAYBE_SEVERAL or box.width > WIDE * box.height:
        return True
    digits, thresholds, opinion = rows[0, :DIGITS], knowledge.thresholds, knowledge.weights.lone
    best = float(confidence_in(digits, thresholds.outlier_weight).max())
    sure_from = thresholds.accept if opinion is None else opinion.sure_from
    return float(digits.sum()) >= thresholds.digit and best < sure_from


def _settled(
    look: _Look, chosen: Hypothesis, knowledge: Knowledge, *, is_asked_for: bool = False
) -> list[Sign]:
    """The signs of a line as it is read after all; just this reading where it `is_asked_for`."""
    signs = chosen.signs
    if len(signs) == 1 and len(look.rows) == 1 and signs[0].box == look.marks.tiles[0].box:
        return [_alone(signs[0], look.rows[0], chosen.frames, knowledge, is_asked_for=is_asked_for)]
    own = chosen.calibrated(knowledge.weights.calibration)
    boxes = [tile.box for tile in look.marks.tiles]
    return doubted(own, contradicted(own, boxes, look.rows, knowledge.thresholds))


def _alone(
    sign: Sign, row: Floats, frames: Frames | None, knowledge: Knowledge, *, is_asked_for: bool = False
) -> Sign:
    """A lone sign of which the classifier says `row`, and the transcriber `frames`, where it looked at it, too.

    It is as likely no digit as the classifier says, however digit-like the transcriber finds it: that learned from
    lines, where nearly everything is a digit. Which digit it is, both may say, unless its own `is_asked_for`.
    """
    opinion, digit = knowledge.weights.lone, sign.chosen
    if frames is None:  # then its probabilities are the classifier's as they stand
        return sign if opinion is None or digit is None else _once_seen(sign, digit, opinion, knowledge)
    if opinion is None or digit is None:
        return replace(sign, probabilities=_as_likely_a_digit(row, sign.probabilities[:DIGITS]))
    own = confidence_in(row[:DIGITS], knowledge.thresholds.outlier_weight).tolist()
    shares = shares_of(frames.log_probabilities).tolist()
    chances = np.array([opinion.twice(*both) for both in zip(own, shares, strict=True)])
    digit = digit if is_asked_for else int(np.argmax(chances))
    lone = replace(sign, probabilities=_as_likely_a_digit(row, chances), chosen=digit, is_lone=True)
    return held_at(lone, digit, float(chances[digit]))


def _once_seen(sign: Sign, digit: int, opinion: LoneOpinion, knowledge: Knowledge) -> Sign:
    """A lone sign that the classifier alone looked at: calibrated where that is sure."""
    own = float(confidence_in(sign.probabilities[:DIGITS], knowledge.thresholds.outlier_weight)[digit])
    if own < opinion.sure_from:
        return sign
    return replace(held_at(sign, digit, opinion.once(own)), is_lone=True)


def _as_likely_a_digit(row: Floats, digits: Floats) -> Floats:
    """Probabilities of all labels: of being a digit as in `row`, and among the ten as `digits` are to each other."""
    among = digits / max(float(digits.sum()), 1e-12)
    return np.concatenate([float(row[:DIGITS].sum()) * among, row[DIGITS:]])


def _strip(look: _Look, sheet: Sheet) -> tuple[Band, npt.NDArray[np.float32]]:
    boxes = [tile.box for tile in look.marks.tiles]
    # A digit far higher than its line has to be whole, or what shows of a 4 is a 7.
    sure = [box.height for box, row in zip(boxes, look.rows, strict=True) if row[:DIGITS].max() >= SURE]
    height = max([line_height(boxes, look.rows), *(high * DIGIT_PX / WHOLE_PX for high in sure)])
    band = band_of(boxes, height, sheet.field.step)
    return band, strip_of(sheet.field, band)


def _looked_over(lines: Sequence[list[Sign]], sheet: Sheet) -> list[list[Sign]]:
    """The signs of each line without punctuation; beside digits, what somebody drew a line through is in doubt.

    Whatever that is: a person has to see that something was there.
    """
    own = [without_punctuation(signs, line.marks) for signs, line in zip(lines, sheet.lines, strict=True)]
    if len(own) > 1:
        inks = [[mark.ink for mark in line.marks] for line in sheet.lines]
        for place in stray_lines(own, inks, (sheet.width, sheet.height)):
            own[place] = [disbelieved(sign) for sign in own[place]]
    if not sheet.struck_out or all(sign.chosen is None for signs in own for sign in signs):
        return own
    return [
        [
            disbelieved(sign) if any(sign.box.is_centred_in(box) for box in sheet.struck_out) else sign
            for sign in signs
        ]
        for signs in own
    ]


def _doubted(lines: list[list[Sign]], sheet: Sheet, rule: Expectation | None) -> list[list[Sign]]:
    """The signs of each line, in doubt where it is which digits there are, and which line they belong to.

    Blots, and in a column of lone digits what nobody can tell; but not where only the digits without it are what was
    expected. A digit that slipped out of its line, but not where what was expected tells of lines, or of a check digit,
    and is what these say.
    """
    fits = rule is not None and rule.matches(_digits_of(lines))
    blotted = [with_blots(signs, line.marks) for signs, line in zip(lines, sheet.lines, strict=True)]
    marked = _in_doubt(blotted, unread_in_a_column(lines))
    if rule is None or not fits or rule.matches(_digits_of(marked)):
        lines = marked
    is_in_order = fits and rule is not None and not (rule.lines is None and rule.check is None)
    return lines if is_in_order else _in_doubt(lines, slipped(lines))


def _in_doubt(lines: list[list[Sign]], places: Collection[int]) -> list[list[Sign]]:
    return [[disbelieved(sign) for sign in signs] if n in places else signs for n, signs in enumerate(lines)]


def _tell_overlooked(
    signs: list[list[list[Sign]]],
    sheets: Sequence[Sheet],
    rules: Sequence[Expectation | None],
    eyes: _Eyes,
) -> None:
    """Add to `signs`, where they hold digits, those that were overlooked, in doubt.

    Not where only the digits without them are what was expected: then they are none.
    """
    knowledge = eyes.knowledge
    looked_at = [s for s, sheet in enumerate(sheets) if sheet.overlooked and _digits_of(signs[s])]
    tiles = [normalize(mark.ink, knowledge.normalizer) for s in looked_at for mark in sheets[s].overlooked]
    rows, start = probabilities_of(tiles, eyes.classifier, knowledge), 0
    for s in looked_at:
        boxes = [mark.box for mark in sheets[s].overlooked]
        own, start = rows[start : start + len(boxes)], start + len(boxes)
        told, rule = with_overlooked(signs[s], boxes, own, knowledge.thresholds), rules[s]
        if rule is None or rule.matches(_digits_of(told)) or not rule.matches(_digits_of(signs[s])):
            signs[s] = told


def _fit(
    sheets: Sequence[Sheet],
    firsts: Sequence[Floats],
    signs: list[list[list[Sign]]],
    expected: Sequence[Expectation | None],
    eyes: _Eyes,
) -> None:
    """Put the likeliest readings that fit what is expected in the place of those that do not, in `signs`."""
    looks: list[_Look] = []
    for s, (sheet, rule) in enumerate(zip(sheets, expected, strict=True)):
        knows_parts = firsts[s].shape[1] > SEVERAL
        if rule is None or not knows_parts or is_storm(firsts[s]) or rule.matches(_digits_of(signs[s])):
            continue
        for n, (line, own) in enumerate(zip(sheet.lines, _by_lines(sheet, firsts[s]), strict=True)):
            everywhere = everything([tile.box for tile in line.tiles], own)
            hears = eyes.transcriber is not None and _is_for_transcriber(line, own, eyes.knowledge)
            looks.append(_Look(s, n, line, own, everywhere, hears))
    readings = _second_look(looks, sheets, eyes)
    for s in sorted({look.sheet for look in looks}):
        own_readings = [found for look, found in zip(looks, readings, strict=True) if look.sheet == s]
        rule = expected[s]
        options = [[(_digits_of([one.signs]), one.share) for one in found] for found in own_readings]
        choice = rule.choose(options) if rule is not None else None
        if choice is not None:
            own_looks = [look for look in looks if look.sheet == s]
            fitting = [
                _settled(look, found[place], eyes.knowledge, is_asked_for=True)
                for look, found, place in zip(own_looks, own_readings, choice, strict=True)
            ]
            signs[s] = _looked_over(fitting, sheets[s])


def _digits_of(lines: Sequence[Sequence[Sign]]) -> str:
    """The best guesses, lines separated by a newline, those without digits left out."""
    texts = ["".join(str(sign.chosen) for sign in line if sign.chosen is not None) for line in lines]
    return "\n".join(text for text in texts if text)


def _by_lines(sheet: Sheet, rows: Floats) -> list[Floats]:
    found, start = [], 0
    for line in sheet.lines:
        found.append(rows[start : start + len(line.tiles)])
        start += len(line.tiles)
    return found


def _plain(line: Line, rows: Floats, thresholds: Thresholds) -> list[Sign]:
    """The marks of a line taken as they are: each a digit, or none."""
    signs = []
    for row, tile in zip(rows, line.tiles, strict=True):
        is_digit = float(row[:DIGITS].sum()) >= thresholds.digit
        signs.append(Sign(row, tile.box, int(np.argmax(row[:DIGITS])) if is_digit else None))
    return signs


def _as_seen(verdict: Verdict, sheet: Sheet) -> Verdict:
    if sheet.turns == 0:
        return verdict
    return replace(
        verdict,
        digits=tuple(replace(reading, box=sheet.as_seen(reading.box)) for reading in verdict.digits),
    )


def _climbed(look: _Look, normalizer: NormalizerSettings) -> tuple[Ladder, list[npt.NDArray[np.float32]]]:
    ladder = climb(look.marks.marks, look.doubt.to_cut, look.doubt.to_join, look.hints)
    return ladder, [normalize(candidate.ink, normalizer) for candidate in ladder.candidates]
