"""Sheets become verdicts: cut, joined, turned, each for itself. The classifier here knows its tiles by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from worker.expectation import Expectation, Span
from worker.pattern import Pattern
from worker.recognition.decision import FRAGMENT, OTHER, SEVERAL, Thresholds, Verdict
from worker.recognition.frames import BLANK, FRAME_LABELS, FRAME_PX, shares_of
from worker.recognition.knowledge import Knowledge
from worker.recognition.opinions import LoneCalibration, Weights
from worker.recognition.recognizer import recognize
from worker.recognition.upright import CROWD, SAMPLE, STORM_FROM
from worker.vision.candidates import MAX_CANDIDATES
from worker.vision.ink import Float
from worker.vision.normalization import NormalizerSettings, normalize
from worker.vision.page import Box
from worker.vision.segmentation import Mark, Writing
from worker.vision.sheet import Sheet, arrange, turn_box
from worker.vision.strips import NO_FIELD, Field

SETTINGS = NormalizerSettings()
KNOWLEDGE = Knowledge(SETTINGS, 1.0, Thresholds(accept=0.6, digit=0.5))


def _glyph(digit: int) -> Float:
    grey = np.zeros((100, 100), np.uint8)
    cv2.putText(grey, str(digit), (15, 85), cv2.FONT_HERSHEY_SIMPLEX, 3, 255, 7)
    canvas = grey.astype(np.float32) / np.float32(255)
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    return canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


GLYPHS = [_glyph(digit) for digit in range(10)]


class KnowsItsTiles:
    """Says a digit where a tile looks like one of `GLYPHS`; else several where it is wide, else a part."""

    def __init__(self) -> None:
        tiles = np.stack([normalize(glyph, SETTINGS).ravel() for glyph in GLYPHS])
        self._known = tiles / np.linalg.norm(tiles, axis=1, keepdims=True)
        self.seen = 0

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.seen += len(tiles)
        flat = tiles.reshape(len(tiles), -1)
        alike = flat @ self._known.T / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
        logits = np.full((len(tiles), 13), -4.0, np.float32)
        logits[:, :10] = 60 * (alike - 0.85)
        is_wide = (tiles > 0).any(axis=1).sum(axis=1) > 1.15 * (tiles > 0).any(axis=2).sum(axis=1)
        logits[:, OTHER] = -2
        logits[:, FRAGMENT] = np.where(is_wide, -2, 1)
        logits[:, SEVERAL] = np.where(is_wide, 4, -4)
        return logits


def _number(text: str, x: int, y: int, gap: int = 25) -> list[Mark]:
    """Digits in a row, each a mark."""
    marks = []
    for digit in text:
        ink = GLYPHS[int(digit)]
        marks.append(Mark(Box(x, y, ink.shape[1], ink.shape[0]), ink))
        x += ink.shape[1] + gap
    return marks


def _touching(text: str, x: int, y: int) -> Mark:
    """Digits in a row as one mark, as they touch."""
    glyphs = [GLYPHS[int(digit)] for digit in text]
    high = max(glyph.shape[0] for glyph in glyphs)
    ink = np.concatenate([np.pad(glyph, ((high - glyph.shape[0], 0), (0, 0))) for glyph in glyphs], axis=1)
    return Mark(Box(x, y, ink.shape[1], ink.shape[0]), ink)


def _sheet(marks: list[Mark], width: int = 900, height: int = 400) -> Sheet:
    return arrange(Writing(marks, NO_FIELD), SETTINGS, width, height)


def _read(*sheets: Sheet) -> list[Verdict]:
    return recognize(sheets, KnowsItsTiles(), KNOWLEDGE)


def test_no_sheets_no_verdicts_and_a_blank_sheet_has_no_ink() -> None:
    assert _read() == []
    (verdict,) = _read(_sheet([]))
    assert (verdict.text, verdict.digits, verdict.confidence) == ("", (), 0.0)
    assert verdict.reason is not None


@pytest.mark.parametrize("digit", range(10))
def test_a_single_digit_is_read(digit: int) -> None:
    (verdict,) = _read(_sheet(_number(str(digit), 10, 20)))
    assert (verdict.text, verdict.reason) == (str(digit), None)


def test_lines_and_their_boxes_come_in_reading_order() -> None:
    marks = [*_number("274", 20, 30), *_number("35", 40, 200)]
    (verdict,) = _read(_sheet(marks[::-1]))
    assert verdict.text == "274\n35"
    assert [reading.box for reading in verdict.digits] == [mark.box for mark in marks]


@pytest.mark.parametrize("text", ["24", "75", "352"])
def test_touching_digits_are_cut(text: str) -> None:
    mark = _touching(text, 30, 40)
    (verdict,) = _read(_sheet([mark]))
    assert verdict.text == text
    for digit, reading in zip(text, verdict.digits, strict=True):
        assert reading.box.width == pytest.approx(GLYPHS[int(digit)].shape[1], abs=6)
    edges = [reading.box for reading in verdict.digits]
    assert edges[0].x == pytest.approx(mark.box.x, abs=3)
    assert edges[-1].right == pytest.approx(mark.box.right, abs=3)


def _broken(digit: int, x: int, y: int) -> list[Mark]:
    """A digit that fell into a left and a right half."""
    ink = GLYPHS[digit]
    middle = ink.shape[1] // 2
    halves = []
    for start, stop in ((0, middle - 2), (middle + 2, ink.shape[1])):
        half = ink[:, start:stop]
        rows = np.flatnonzero(half.any(axis=1))
        half = half[rows[0] : rows[-1] + 1]
        halves.append(Mark(Box(x + start, y + int(rows[0]), half.shape[1], half.shape[0]), half))
    return halves


def test_a_broken_digit_is_joined() -> None:
    (verdict,) = _read(_sheet([*_number("27", 20, 40), *_broken(0, 200, 40)]))
    assert verdict.text == "270"
    ink = GLYPHS[0]
    assert verdict.digits[-1].box == Box(200, 40, ink.shape[1], ink.shape[0])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_page_that_lies_is_turned_and_its_boxes_are_in_page_pixels(turns: int) -> None:
    upright = _sheet(_number("25437", 60, 100))
    lying = upright.turned(turns, SETTINGS)
    marks = [mark for line in lying.lines for mark in line.marks]
    asis = arrange(Writing(marks, NO_FIELD), SETTINGS, lying.width, lying.height)
    (verdict,) = _read(asis)
    assert verdict.text == "25437"
    expected = [turn_box(tile.box, turns, upright.width, upright.height) for tile in upright.tiles]
    assert [reading.box for reading in verdict.digits] == expected


@pytest.mark.parametrize(("text", "upright"), [("007", 2), ("077", 1)])
def test_a_few_digits_and_a_sign_that_is_one_upside_down_go_to_a_person(text: str, upright: int) -> None:
    """As `98` and a sign of money behind it, or 0 and two letters: sure digits as it came, more after half a turn."""
    numbers = _number(text, 60, 100)
    turned = [Mark(mark.box, np.ascontiguousarray(np.rot90(mark.ink, 2))) for mark in numbers[upright:]]
    (verdict,) = _read(_sheet([*numbers[:upright], *turned]))
    assert verdict.reason is not None
    assert set(verdict.text) == {"?"}
    assert [reading.digit for reading in verdict.digits] == [int(digit) for digit in text[::-1]]


@pytest.mark.parametrize("turns", [1, 3])
def test_a_row_is_not_turned_into_a_column(turns: int) -> None:
    lying = [np.ascontiguousarray(np.rot90(GLYPHS[int(digit)], turns)) for digit in "25437"]
    marks = [Mark(Box(60 + 70 * i, 100, ink.shape[1], ink.shape[0]), ink) for i, ink in enumerate(lying)]
    (verdict,) = _read(_sheet(marks))
    assert verdict.text != "\n".join("25437"[:: 1 if turns == 3 else -1])
    assert "\n" not in verdict.text


@pytest.mark.parametrize("turns", [1, 3])
def test_a_lying_sheet_of_more_rows_than_digits_is_turned(turns: int) -> None:
    rows = [_number(text, 60, 60 + 90 * i) for i, text in enumerate(("25", "43", "75", "34"))]
    lying = _sheet([mark for row in rows for mark in row], 600, 500).turned(turns, SETTINGS)
    marks = [mark for line in lying.lines for mark in line.marks]
    (verdict,) = _read(arrange(Writing(marks, NO_FIELD), SETTINGS, lying.width, lying.height))
    assert verdict.text == "25\n43\n75\n34"


def test_an_upright_page_is_looked_at_once() -> None:
    classifier = KnowsItsTiles()
    recognize([_sheet(_number("25437", 60, 100))], classifier, KNOWLEDGE)
    assert classifier.seen == 5


def test_no_answer_depends_on_its_neighbours() -> None:
    sheets = [
        _sheet(_number("25437", 60, 100)),
        _sheet([]),
        _sheet([_touching("24", 30, 40)]),
        _sheet(_number("25437", 60, 100)).turned(1, SETTINGS),
        _sheet([*_number("27", 20, 40), *_broken(0, 200, 40)]),
        _sheet(_number("9", 3, 3)),
    ]
    alone = [_read(sheet)[0] for sheet in sheets]
    for order in (range(6), range(5, -1, -1), (2, 2, 0, 1, 5, 3)):
        for place, verdict in zip(order, _read(*(sheets[i] for i in order)), strict=True):
            assert verdict.text == alone[place].text
            assert [r.box for r in verdict.digits] == [r.box for r in alone[place].digits]
            assert verdict.confidence == pytest.approx(alone[place].confidence, rel=1e-4)


def test_spread_only_spreads() -> None:
    sheets = [_sheet([_touching("24", 30, 40)]), _sheet(_number("7", 3, 3))]
    spread = recognize(sheets, KnowsItsTiles(), KNOWLEDGE, spread=lambda do, items: [do(i) for i in items])
    assert [verdict.text for verdict in spread] == [verdict.text for verdict in _read(*sheets)]


def _scraps(count: int) -> list[Mark]:
    scrap = np.ones((9, 9), np.float32)
    scrap[3:6, 3:6] = 0
    return [Mark(Box(20 * (i % 20), 20 * (i // 20), 9, 9), scrap) for i in range(count)]


def test_a_storm_of_scraps_reads_as_nothing_and_costs_little() -> None:
    marks = _scraps(8 * STORM_FROM)
    classifier = KnowsItsTiles()
    (verdict,) = recognize([_sheet(marks)], classifier, KNOWLEDGE)
    assert not verdict.is_read
    assert len(verdict.digits) <= 1  # the best guess alone, not accepted
    assert not any(reading.accepted for reading in verdict.digits)
    assert classifier.seen <= 4 * SAMPLE  # as it came, and after each quarter turn


def test_a_page_crowded_with_digits_is_no_storm() -> None:
    rows = [_number("2743520948", 20, 20 + 120 * row) for row in range(12)]
    marks = [mark for row in rows for mark in row]
    assert len(marks) >= CROWD
    (verdict,) = _read(_sheet(marks, 1200, 1500))
    assert verdict.text == "\n".join(["2743520948"] * 12)


def test_a_few_digits_among_a_great_many_scraps_are_not_taken_for_a_page() -> None:
    marks = [*_scraps(100), *_number("274", 20, 700)]
    (verdict,) = _read(_sheet(marks, 900, 900))
    assert not verdict.is_read


@pytest.mark.parametrize("columns", [5, 6, 8, 12, 16])
def test_a_table_whose_first_column_holds_no_digits_is_no_storm(columns: int) -> None:
    scrap = np.ones((70, 9), np.float32)
    scrap[20:50, 3:6] = 0
    rows = 24
    marks = []
    for row in range(rows):
        marks.append(Mark(Box(10, 20 + 120 * row, 9, 70), scrap))
        marks += _number(("27435209487435209" * 2)[: columns - 1], 60, 20 + 120 * row)
    classifier = KnowsItsTiles()
    (verdict,) = recognize([_sheet(marks, 1800, 3000)], classifier, KNOWLEDGE)
    assert len(verdict.digits) >= rows * (columns - 1)


def test_a_crowded_page_that_lies_is_turned_as_a_whole() -> None:
    rows = [_number("2743520948", 20, 20 + 120 * row) for row in range(12)]
    upright = _sheet([mark for row in rows for mark in row], 1200, 1500)
    (verdict,) = _read(upright.turned(1, SETTINGS))
    assert verdict.text == "\n".join(["2743520948"] * 12)


def test_a_long_line_with_thirty_touching_pairs_is_read_within_bounds() -> None:
    marks = []
    for i in range(30):
        marks += [_touching("24", 220 * i, 40), *_number("7", 220 * i + 140, 40)]
    marks += _number("7", 220 * 30, 40)  # most are sure digits: no storm
    classifier = KnowsItsTiles()
    (verdict,) = recognize([_sheet(marks, 7000)], classifier, KNOWLEDGE)
    assert verdict.text.replace(" ", "") == "247" * 30 + "7"
    assert classifier.seen <= len(marks) + MAX_CANDIDATES


def test_digits_that_touch_and_could_not_be_cut_are_never_missing_silently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.vision.candidates.MAX_CANDIDATES", 0)
    (verdict,) = _read(_sheet([*_number("7", 20, 40), _touching("24", 120, 40), *_number("5", 320, 40)]))
    assert not verdict.is_read
    assert verdict.confidence < 0.5


class Hears:
    """Hears the same frames in every strip: so many of each label, as a share of the strip."""

    def __init__(self, labels: str) -> None:
        self._labels = labels
        self.strips = 0

    def frames(self, strips: Sequence[Float]) -> list[npt.NDArray[np.float64]]:
        self.strips += len(strips)
        found = []
        for strip in strips:
            count = strip.shape[1] // FRAME_PX
            rows = np.full((count, FRAME_LABELS), np.log(0.001))
            for frame in range(count):
                label = self._labels[frame * len(self._labels) // count]
                rows[frame, BLANK if label == "-" else int(label)] = np.log(0.99)
            found.append(rows)
        return found


def _hear(labels: str, *sheets: Sheet) -> tuple[list[Verdict], Hears]:
    transcriber = Hears(labels)
    return recognize(sheets, KnowsItsTiles(), KNOWLEDGE, transcriber=transcriber), transcriber


def test_a_lone_sign_is_the_classifiers_alone() -> None:
    (verdict,), transcriber = _hear("-7-", _sheet(_number("3", 60, 100)))
    assert (verdict.text, transcriber.strips) == ("3", 0)


class Hesitates(KnowsItsTiles):
    """Takes every tile for a 1 or a 7, and one in ten for no digit."""

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = np.full((len(tiles), 13), -9.0, np.float32)
        logits[:, [1, 7, OTHER]] = np.log([0.46, 0.44, 0.1])
        return logits


def test_a_lone_sign_in_doubt_gets_a_second_opinion_on_which_digit_it_is() -> None:
    (verdict,) = recognize([_sheet(_number("7", 60, 100))], Hesitates(), KNOWLEDGE, transcriber=Hears("-7-"))
    (reading,) = verdict.digits
    assert reading.digit == 7
    assert 0.8 < reading.confidence <= 0.9  # that it may be no digit at all is still said


LONE = LoneCalibration(by_one=(0.0, 2.0), by_both=(0.0, 0.5, 0.15), sure_from=0.6)
ALONE = Knowledge(SETTINGS, 1.0, Thresholds(accept=0.98, digit=0.5, lone=0.7), Weights(lone=LONE))


def test_a_lone_sign_in_doubt_is_as_sure_as_both_opinions_together_make_it() -> None:
    for heard, digit, is_read in (("-7-", 7, True), ("-1-", 1, True), ("-3-", 1, False)):
        (verdict,) = recognize([_sheet(_number("7", 60, 100))], Hesitates(), ALONE, transcriber=Hears(heard))
        (reading,) = verdict.digits
        assert reading.digit == digit
        assert verdict.is_read == is_read, heard
        rows = Hears(heard).frames([np.zeros((32, 40), np.float32)])[0]
        own = {1: 0.46, 7: 0.44}[digit]
        assert reading.confidence == pytest.approx(LONE.twice(own, shares_of(rows)[digit]), abs=0.02)
        assert max(reading.probabilities) == reading.probabilities[digit]


def test_a_lone_sign_of_which_the_classifier_is_sure_is_as_sure_as_such_signs_are() -> None:
    sheet = _sheet(_number("3", 60, 100))
    transcriber = Hears("-7-")
    as_seen = recognize([sheet], KnowsItsTiles(), KNOWLEDGE, transcriber=transcriber)[0]
    told = recognize([sheet], KnowsItsTiles(), ALONE, transcriber=transcriber)[0]
    assert transcriber.strips == 0
    assert told.confidence == pytest.approx(LONE.once(as_seen.confidence), rel=1e-6)
    assert told.confidence > as_seen.confidence
    # Without a transcriber nothing is known of how sure lone signs are.
    assert recognize([sheet], KnowsItsTiles(), ALONE)[0].confidence == as_seen.confidence


def test_what_is_asked_of_the_transcriber_does_not_depend_on_what_is_accepted() -> None:
    strict = replace(ALONE, thresholds=Thresholds(accept=0.9999, digit=0.5))
    transcriber = Hears("-7-")
    recognize([_sheet(_number("7", 60, 100))], SuspectsAnOutlier(), strict, transcriber=transcriber)
    assert transcriber.strips == 0


class HesitatesOnSevens(KnowsItsTiles):
    """Takes a 7 for a 1 nearly as soon; knows the rest, not quite without a doubt whether it is a digit."""

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = super().logits(tiles)
        is_seven = logits[:, :10].argmax(axis=1) == 7
        logits[:] = np.where(is_seven[:, None], -12, logits)
        logits[np.ix_(is_seven, [1, 7])] = np.log([0.46, 0.54])
        return logits


def test_an_expectation_changes_how_sure_no_other_lone_digit_is() -> None:
    sheet = _sheet([*_number("3", 60, 60), *_number("7", 60, 200)])
    rule = Expectation(pattern=Pattern("31"))
    free, fitted = (
        recognize([sheet], HesitatesOnSevens(), ALONE, expected=[expected], transcriber=Hears("-7-"))[0]
        for expected in (None, rule)
    )
    assert [reading.digit for reading in free.digits] == [3, 7]
    assert [reading.digit for reading in fitted.digits] == [
        3,
        1,
    ]  # just what was asked for, and how sure that is
    assert fitted.digits[0] == free.digits[0]
    assert fitted.digits[1].confidence < 0.5 < free.digits[1].confidence


@pytest.mark.parametrize("best", [0.885, 0.897, 0.905])
def test_no_lone_digit_is_left_as_sure_as_the_classifier_alone_makes_it(best: float) -> None:
    class Says(KnowsItsTiles):
        def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            logits = np.full((len(tiles), 13), -14.0, np.float32)
            logits[:, [3, OTHER]] = np.log([best, 1 - best])
            return logits

    thresholds = Thresholds(accept=0.98, digit=0.5, lone=0.7, outlier_weight=0.1432)
    lone = replace(LONE, by_one=(0.0, 0.8), sure_from=0.983)  # as sure as below `accept`, and above `lone`
    known = replace(ALONE, thresholds=thresholds, weights=Weights(lone=lone))
    (verdict,) = recognize([_sheet(_number("3", 60, 100))], Says(), known, transcriber=Hears("-3-"))
    own = best / (best + 0.1432 * (1 - best))
    share = shares_of(Hears("-3-").frames([np.zeros((32, 60), np.float32)])[0])[3]
    expected = lone.once(own) if own >= 0.983 else lone.twice(own, share)
    assert verdict.confidence == pytest.approx(expected, abs=0.01)
    assert verdict.is_read == (verdict.confidence >= thresholds.lone)


def test_digits_of_a_line_are_no_lone_digits() -> None:
    sheet = _sheet(_number("25", 60, 100))
    lined, alone = (
        recognize([sheet], KnowsItsTiles(), known, transcriber=Hears("--2---5--"))[0]
        for known in (KNOWLEDGE, ALONE)
    )
    assert [r.confidence for r in lined.digits] == [r.confidence for r in alone.digits]


class SuspectsAnOutlier(KnowsItsTiles):
    """Takes every tile for a 7, nine in ten, and else mostly for no digit."""

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = np.full((len(tiles), 13), -9.0, np.float32)
        logits[:, [1, 7, OTHER]] = np.log([0.01, 0.9, 0.09])
        return logits


@pytest.mark.parametrize(("outlier_weight", "strips"), [(1.0, 1), (0.1, 0)])
def test_where_outliers_are_rare_their_suspicion_alone_asks_for_no_second_opinion(
    outlier_weight: float, strips: int
) -> None:
    thresholds = Thresholds(accept=0.95, digit=0.5, outlier_weight=outlier_weight)
    knowledge = Knowledge(SETTINGS, 1.0, thresholds)
    transcriber = Hears("-7-")
    sheet = _sheet(_number("7", 60, 100))
    (verdict,) = recognize([sheet], SuspectsAnOutlier(), knowledge, transcriber=transcriber)
    assert transcriber.strips == strips
    assert verdict.is_read == (strips == 0)


def test_a_line_of_several_is_read_by_both() -> None:
    (verdict,), transcriber = _hear("--2---5--", _sheet(_number("25", 60, 100)))
    assert (verdict.text, transcriber.strips) == ("25", 1)
    assert verdict.confidence > 0.9


def test_a_digit_far_higher_than_its_line_is_whole_in_the_strip() -> None:
    def mark_of(digit: int, x: int, y: int, scale: float) -> Mark:
        glyph = cv2.resize(GLYPHS[digit], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return Mark(Box(x, y, glyph.shape[1], glyph.shape[0]), np.asarray(glyph, np.float32))

    small = [mark_of(digit, x, 150, 0.5) for x, digit in ((200, 2), (250, 3), (300, 5))]
    tall = mark_of(4, 60, 100, 1.8)
    ink = np.zeros((400, 900), np.uint8)
    for mark in (tall, *small):
        box = mark.box
        ink[box.y : box.bottom, box.x : box.right] = np.rint(200 * mark.ink)
    seen: list[Float] = []

    class Watches(Hears):
        def frames(self, strips: Sequence[Float]) -> list[npt.NDArray[np.float64]]:
            seen.extend(strips)
            return super().frames(strips)

    sheet = arrange(Writing([tall, *small], Field(ink, 0, 1)), SETTINGS, 900, 400)
    recognize([sheet], KnowsItsTiles(), KNOWLEDGE, transcriber=Watches("-4-0-3-0-"))
    (strip,) = seen
    inked = np.flatnonzero((strip > 0.5).any(axis=1))
    assert 0 < inked[0] < inked[-1] < len(strip) - 1
    assert len(inked) > 25  # and fills it: the others are as large as they can be


def test_what_only_one_of_them_reads_stays_in_doubt() -> None:
    (verdict,), _ = _hear("--2---8--", _sheet(_number("25", 60, 100)))
    assert verdict.digits[0].confidence > 0.99
    assert verdict.digits[1].confidence < 0.95


def test_a_line_is_heard_the_same_beside_others() -> None:
    one, other = _sheet(_number("25", 60, 100)), _sheet(_number("314", 60, 100))
    together, _ = _hear("--2---5--", one, other)
    alone = [_hear("--2---5--", sheet)[0][0] for sheet in (one, other)]
    assert [verdict.text for verdict in together] == [verdict.text for verdict in alone]
    for one_of_two, lone in zip(together, alone, strict=True):
        assert one_of_two.confidence == pytest.approx(lone.confidence)


def test_a_storm_is_not_heard_at_all() -> None:
    verdicts, transcriber = _hear("-1-", _sheet(_scraps(8 * STORM_FROM)))
    assert transcriber.strips == 0
    assert not verdicts[0].is_read


def _column_with_a_scribble() -> Sheet:
    """7, 4 and 6 below one another, and between the last two a scribble as large as they are."""
    high, wide = GLYPHS[4].shape
    scribble = np.zeros((high, wide), np.float32)
    scribble[::9] = scribble[:, ::7] = 1
    marks = [*_number("7", 40, 20), *_number("4", 40, 140), *_number("6", 40, 380)]
    return _sheet([*marks, Mark(Box(40, 260, wide, high), scribble)], width=200, height=520)


def test_a_sign_that_nobody_can_tell_in_a_column_of_lone_digits_leaves_a_trace() -> None:
    (verdict,) = _read(_column_with_a_scribble())
    assert verdict.text == "7\n4\n?\n6"
    assert not verdict.is_read
    (plain,) = _read(
        _sheet([*_number("7", 40, 20), *_number("4", 40, 140), *_number("6", 40, 380)], 200, 520)
    )
    assert (plain.text, plain.is_read) == ("7\n4\n6", True)


def test_such_a_sign_is_none_where_the_digits_without_it_are_what_was_expected() -> None:
    sheet = _column_with_a_scribble()
    expectations = [Expectation(digits=Span(count, count)) for count in (3, 4)]
    fits, does_not = (
        recognize([sheet], KnowsItsTiles(), KNOWLEDGE, expected=[one])[0] for one in expectations
    )
    assert (fits.text, fits.is_read) == ("7\n4\n6", True)
    assert does_not.text == "7\n4\n?\n6"
    assert not does_not.is_read
    loose = Expectation(digits=Span(1, 8))  # says nothing of whether one is missing
    (verdict,) = recognize([sheet], KnowsItsTiles(), KNOWLEDGE, expected=[loose])
    assert (verdict.text, verdict.is_read) == ("7\n4\n?\n6", False)


class KnowsBlots(KnowsItsTiles):
    """Sure that what fills its tile is no digit, and no part of one."""

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = super().logits(tiles)
        logits[tiles.reshape(len(tiles), -1).mean(axis=1) > 0.3, OTHER] = 20
        return logits


def test_a_blot_beside_digits_leaves_a_trace_unless_the_others_are_what_was_expected() -> None:
    blot = np.zeros((66, 60), np.float32)
    cv2.ellipse(blot, (30, 33), (29, 32), 0, 0, 360, 1.0, -1)
    marks = _number("274", 20, 30)
    sheet = _sheet([*marks, Mark(Box(marks[-1].box.right + 12, 30, 60, 66), blot)])
    rules = [None, Expectation(digits=Span(3, 3)), Expectation(digits=Span(4, 4))]
    beside, fits, does_not = recognize([sheet] * 3, KnowsBlots(), KNOWLEDGE, expected=rules)
    for verdict in (beside, does_not):
        assert (verdict.text, verdict.is_read) == ("274?", False)
    assert (fits.text, fits.is_read) == ("274", True)


def test_small_print_beside_digits_is_left_out_with_the_scraps_in_it() -> None:
    letters = [Mark(Box(20 + 14 * n, 4, 12, 16), np.ones((16, 12), np.float32)) for n in range(5)]
    scrap = _number("5", 90, 2)[0]
    scrap = Mark(Box(scrap.box.x, 4, 12, 16), scrap.ink)
    digits = _number("274", 20, 60)
    with_print = replace(_sheet([*digits, *letters]), overlooked=(scrap,))
    without = replace(_sheet(digits), overlooked=(scrap,))
    printed, beside = recognize([with_print, without], KnowsBlots(), KNOWLEDGE)
    assert (printed.text, printed.is_read) == ("274", True)
    assert (beside.text, beside.is_read) == ("?\n274", False)


def test_who_listens_is_told_of_each_line_that_is_looked_at_twice() -> None:
    heard: list[tuple[int, list[str]]] = []
    sheets = [_sheet(_number("2", 20, 40)), _sheet(_number("31", 20, 40))]
    recognize(
        sheets, KnowsItsTiles(), KNOWLEDGE, transcriber=Hears("-3--1-"),
        listen=lambda place, readings: heard.append((place, [one.text for one in readings])),
    )  # fmt: skip
    assert [place for place, _ in heard] == [1]
    assert heard[0][1][0] == "31"


def _with_overlooked(text: str, overlooked: str) -> Sheet:
    """A number, and further digits to its right that vision overlooked."""
    marks = _number(text + overlooked, 20, 30)
    return replace(_sheet(marks[: len(text)]), overlooked=tuple(marks[len(text) :]))


def test_digits_that_were_overlooked_send_a_picture_to_a_person() -> None:
    sheet, plain = _with_overlooked("274", "35"), _sheet(_number("274", 20, 30))
    verdict, beside = _read(sheet, plain)
    assert (verdict.text, verdict.is_read) == ("274??", False)
    assert [reading.digit for reading in verdict.digits] == [2, 7, 4, 3, 5]
    assert verdict.digits[3].box == sheet.overlooked[0].box
    assert (beside.text, beside.is_read) == ("274", True)


def test_overlooked_digits_are_none_where_the_others_are_what_was_expected() -> None:
    sheet = _with_overlooked("274", "35")
    expectations = [Expectation(digits=Span(least, most)) for least, most in ((3, 3), (5, 5), (1, 8), (7, 7))]
    verdicts = recognize([sheet] * 4, KnowsItsTiles(), KNOWLEDGE, expected=expectations)
    assert [verdict.text for verdict in verdicts] == ["274", "274??", "274??", "274??"]


def test_overlooked_digits_of_a_page_that_lies_are_where_a_person_sees_them() -> None:
    upright = _with_overlooked("24735", "4")
    lying = upright.turned(3, SETTINGS)
    (verdict,) = _read(replace(lying, turns=0))
    assert verdict.text == "24735?"
    assert verdict.digits[-1].box == turn_box(upright.overlooked[0].box, 3, upright.width, upright.height)


def test_in_a_storm_nothing_is_overlooked() -> None:
    storm = replace(_sheet(_scraps(60), 2000, 2000), overlooked=tuple(_number("35", 20, 30)))
    (verdict,) = _read(storm)
    assert [reading.digit for reading in verdict.digits if reading.accepted] == []
    assert verdict.text == "?"


def test_a_digit_that_slipped_out_of_its_line_is_in_doubt_unless_it_was_expected_there() -> None:
    marks = _number("2745", 20, 30)
    low = marks[2].box
    marks[2] = replace(marks[2], box=replace(low, y=low.y + low.height))
    sheet = _sheet(marks)
    (verdict,) = _read(sheet)
    assert (verdict.text.replace(" ", ""), verdict.is_read) == ("275\n?", False)
    assert verdict.digits[-1].digit == 4
    rules = [Expectation(digits=Span(1, 3), lines=Span(2, 2)), Expectation(digits=Span(4, 4))]
    fitting, other = recognize([sheet] * 2, KnowsItsTiles(), KNOWLEDGE, expected=rules)
    assert (fitting.text.replace(" ", ""), fitting.is_read) == ("275\n4", True)
    assert not other.is_read
