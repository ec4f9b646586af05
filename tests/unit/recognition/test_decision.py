"""What is accepted, what is doubted, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from worker.reasons import ReasonCode
from worker.recognition.decision import DIGITS, Sign, Thresholds, Verdict, calibrate, confidence_in, judge
from worker.vision.page import Box

THRESHOLDS = Thresholds(accept=0.95, digit=0.5)
LOGITS = arrays(np.float32, (3, 13), elements=st.floats(-40, 40, width=32))


def _logits(*rows: dict[int, float]) -> npt.NDArray[np.float32]:
    logits = np.zeros((len(rows), 13), np.float32)
    for row, values in zip(logits, rows, strict=True):
        for label, value in values.items():
            row[label] = value
    return logits


def decide(
    logits: npt.NDArray[np.float32], boxes: Sequence[Box], temperature: float, thresholds: Thresholds
) -> Verdict:
    """The verdict on a line of marks as they are: `boxes` from the left, and their `logits` (n, labels)."""
    signs = []
    for row, box in zip(calibrate(logits, temperature), boxes, strict=True):
        is_digit = float(row[:DIGITS].sum()) >= thresholds.digit
        signs.append(Sign(row, box, int(np.argmax(row[:DIGITS])) if is_digit else None))
    return judge([signs], thresholds)


def _decide(*rows: dict[int, float]) -> Verdict:
    boxes = [Box(10 * i, 0, 8, 9) for i in range(len(rows))]
    return decide(_logits(*rows), boxes, 1.0, THRESHOLDS)


def test_one_certain_digit_is_read() -> None:
    verdict = _decide({4: 20})
    assert verdict.is_read
    assert verdict.text == "4"
    assert verdict.reason is None
    assert verdict.digits[0].accepted
    assert verdict.confidence == verdict.digits[0].confidence > 0.999


def test_an_uncertain_digit_is_listed_and_not_accepted() -> None:
    verdict = _decide({4: 20, 9: 19.5})
    assert verdict.reason is not None
    assert verdict.reason.code is ReasonCode.LOW_CONFIDENCE
    assert verdict.text == "?"
    assert verdict.digits[0].digit == 4
    assert not verdict.digits[0].accepted


def test_no_mark_is_no_ink() -> None:
    verdict = decide(np.zeros((0, 10), np.float32), [], 1.0, THRESHOLDS)
    assert verdict.reason is not None
    assert verdict.reason.code is ReasonCode.NO_INK
    assert (verdict.text, verdict.confidence, verdict.digits) == ("", 0.0, ())


def test_a_mark_that_is_no_digit_is_listed_only_when_nothing_else_is_there() -> None:
    alone = _decide({10: 20, 3: 5})
    assert alone.reason is not None
    assert alone.reason.code is ReasonCode.NOT_A_DIGIT
    assert (alone.text, alone.confidence) == ("?", 0.0)
    assert [reading.digit for reading in alone.digits] == [3]
    beside = _decide({10: 20, 3: 5}, {7: 20})
    assert beside.text == "7"
    assert [reading.box.x for reading in beside.digits] == [10]


def test_a_doubtful_mark_beside_a_digit_lowers_the_confidence_in_the_whole() -> None:
    sure = _decide({10: 20}, {7: 20})
    doubtful = _decide({10: 1.0, 3: 0.5}, {7: 20})
    assert doubtful.confidence < 0.95 < sure.confidence
    assert not doubtful.is_read


def test_several_digits_are_one_text() -> None:
    verdict = _decide({1: 20}, {0: 20})
    assert verdict.is_read
    assert verdict.text == "10"
    doubtful = _decide({1: 20}, {0: 2, 6: 2})
    assert doubtful.text == "1?"
    assert doubtful.reason is not None
    assert doubtful.reason.code is ReasonCode.LOW_CONFIDENCE


def test_a_wide_gap_is_a_space_and_a_line_a_line() -> None:
    rows = calibrate(_logits({1: 20}, {2: 20}, {3: 20}, {4: 20}), 1.0)
    boxes = [Box(0, 0, 8, 9), Box(10, 0, 8, 9), Box(40, 0, 8, 9), Box(0, 30, 8, 9)]
    signs = [Sign(row, box, i + 1) for i, (row, box) in enumerate(zip(rows, boxes, strict=True))]
    assert judge([signs[:3], signs[3:]], THRESHOLDS).text == "12 3\n4"


def test_confidence_counts_the_chance_of_being_no_digit() -> None:
    reading = _decide({5: 3.0, 10: 2.0}).digits[0]
    assert reading.confidence < reading.probabilities[5]


@given(LOGITS, st.floats(0.05, 20))
def test_a_temperature_never_changes_the_best_guess(
    logits: npt.NDArray[np.float32], temperature: float
) -> None:
    cold, warm = calibrate(logits, 1.0), calibrate(logits, temperature)
    for before, after in zip(cold, warm, strict=True):
        assert after[np.argmax(before)] >= after.max() - 1e-12  # near ties may round either way


@given(LOGITS)
def test_every_verdict_is_consistent(logits: npt.NDArray[np.float32]) -> None:
    verdict = decide(logits, [Box(0, 0, 1, 1)] * 3, 1.5, THRESHOLDS)
    assert len(verdict.text) == len(verdict.digits)
    assert verdict.is_read == (verdict.reason is None)
    assert verdict.is_read == (bool(verdict.digits) and all(reading.accepted for reading in verdict.digits))
    assert 0 <= verdict.confidence <= 1
    for character, reading in zip(verdict.text, verdict.digits, strict=True):
        assert character == (str(reading.digit) if reading.accepted else "?")
        assert abs(sum(reading.probabilities) - 1) < 1e-9
        assert reading.probabilities[reading.digit] == max(reading.probabilities)
        assert reading.confidence <= reading.probabilities[reading.digit] + 1e-12


def _line(*confidences: float, is_of_line: bool = True) -> list[Sign]:
    signs = []
    for place, confidence in enumerate(confidences):
        row = np.full(13, (1 - confidence) / 12)
        row[7] = confidence
        signs.append(Sign(row, Box(10 * place, 0, 8, 20), 7, is_of_line=is_of_line))
    return signs


def test_a_number_is_accepted_as_a_whole_or_without_its_least_sure_digit() -> None:
    thresholds = Thresholds(accept=0.9, digit=0.5, line=0.93)
    for confidences, text in {
        (0.92,): "7",
        (0.999, 0.95): "77",
        (0.96, 0.999, 0.95): "77?",  # each is likely right, all together are less so
        (0.6, 0.999): "?7",
        (0.6, 0.999, 0.7): "?7?",
    }.items():
        verdict = judge([_line(*confidences)], thresholds)
        assert verdict.text == text
        assert verdict.is_read == ("?" not in text)


def test_a_lone_digit_that_was_calibrated_as_such_is_accepted_by_a_threshold_of_its_own() -> None:
    thresholds = Thresholds(accept=0.98, digit=0.5, lone=0.95)
    (sign,) = _line(0.96, is_of_line=False)
    assert judge([[sign]], thresholds).text == "?"
    alone = replace(sign, is_lone=True)
    assert judge([[alone]], thresholds).text == "7"
    assert judge([[alone]], Thresholds(accept=0.98, digit=0.5)).text == "?"
    assert judge([[replace(alone, held=0.98)]], thresholds).text == "?"


def test_the_confidence_of_a_calibrated_lone_digit_is_told_as_it_is() -> None:
    (sign,) = _line(0.9, is_of_line=False)
    thresholds = Thresholds(accept=0.98, digit=0.5, outlier_weight=0.1)
    assert judge([[replace(sign, is_lone=True)]], thresholds).confidence == pytest.approx(0.9)


def test_a_line_that_one_network_read_is_accepted_digit_by_digit() -> None:
    thresholds = Thresholds(accept=0.955, digit=0.5, line=0.9)
    assert judge([_line(0.96, 0.96, 0.96, is_of_line=False)], thresholds).text == "777"
    assert judge([_line(0.94, 0.999, is_of_line=False)], thresholds).text == "?7"
    assert judge([_line(0.94, 0.999)], thresholds).text == "77"


def test_without_a_threshold_for_numbers_each_digit_stands_for_itself() -> None:
    boxes = [Box(10 * i, 0, 8, 20) for i in range(3)]
    rows = _logits({3: 5.2}, {7: 20.0}, {3: 5.2})
    assert decide(rows, boxes, 1.0, Thresholds(accept=0.9, digit=0.5)).text == "373"


@given(st.floats(0, 1), LOGITS)
def test_rarer_outliers_make_no_digit_less_likely_and_leave_their_order(
    weight: float, logits: npt.NDArray[np.float32]
) -> None:
    digits = calibrate(logits, 1.0)[:, :10]
    weighed = confidence_in(digits, weight)
    assert (weighed >= digits - 1e-12).all()
    assert (weighed.sum(axis=1) <= 1 + 1e-9).all()
    assert np.array_equal(confidence_in(digits, 1.0) > 0.5, digits > 0.5)


def test_a_lone_digit_is_as_sure_as_outliers_are_rare() -> None:
    boxes = [Box(0, 0, 8, 9)]
    logits = _logits({4: 10, 10: 7.5})  # one in thirteen that it is none
    as_trained = decide(logits, boxes, 1.0, THRESHOLDS)
    rare = decide(logits, boxes, 1.0, Thresholds(accept=0.95, digit=0.5, outlier_weight=0.1))
    assert not as_trained.is_read
    assert rare.is_read
    odds = (1 - as_trained.confidence) / as_trained.confidence
    assert (1 - rare.confidence) / rare.confidence == pytest.approx(odds / 10, rel=0.1)
    assert rare.digits[0].probabilities == as_trained.digits[0].probabilities


def test_what_is_no_digit_stays_none_however_rare_that_is() -> None:
    rare = Thresholds(accept=0.95, digit=0.5, outlier_weight=0.01)
    verdict = decide(_logits({4: 10, 10: 11}), [Box(0, 0, 8, 9)], 1.0, rare)
    assert verdict.reason is not None
    assert verdict.reason.code is ReasonCode.NOT_A_DIGIT
    # That such marks are rare makes none of them more of a digit once it was told from them.
    assert verdict.digits[0].confidence < 0.5


def test_a_line_that_was_calibrated_as_one_keeps_its_confidence() -> None:
    row = calibrate(_logits({4: 10, 10: 7.5}), 1.0)[0]
    signs = [Sign(row, Box(10 * i, 0, 8, 9), 4, is_of_line=True) for i in range(2)]
    rare = Thresholds(accept=0.95, digit=0.5, line=0.9, outlier_weight=0.1)
    assert judge([signs], rare).confidence == pytest.approx(float(row[4]) ** 2)
