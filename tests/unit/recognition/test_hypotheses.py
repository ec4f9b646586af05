"""Readings of a line: in the order of what both networks say of the whole text, and as sure as they are calibrated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from worker.recognition.decision import OTHER, Sign
from worker.recognition.frames import FRAME_LABELS, Frames
from worker.recognition.hypotheses import Hypothesis, ranked
from worker.recognition.opinions import LineCalibration, TextRanking
from worker.vision.page import Box
from worker.vision.strips import Band

LABELS = 13
BOX = Box(0, 0, 9, 9)
FRAMES = Frames(np.log(np.full((10, FRAME_LABELS), 1 / FRAME_LABELS)), Band(0.0, 90.0, 0.0, 30.0, 0.0), 1)
RANKING = TextRanking(looked=0.2, heard=0.8)


def _row(label: int, share: float = 0.98) -> np.ndarray:
    row = np.full(LABELS, (1 - share) / (LABELS - 1))
    row[label] = share
    return row


def _hypothesis(text: str, share: float, looked: float, heard: float) -> Hypothesis:
    return Hypothesis(
        [Sign(_row(int(digit)), BOX, int(digit)) for digit in text], share, looked, FRAMES, heard
    )


def test_what_both_say_of_the_whole_text_decides() -> None:
    first, second = _hypothesis("37", 0.6, -1.0, -4.0), _hypothesis("31", 0.3, -2.0, -1.0)
    found = ranked([first, second], RANKING)
    assert [one.text for one in found] == ["31", "37"]
    odds = 0.2 * (-2.0 - -1.0) + 0.8 * (-1.0 - -4.0)
    assert found[0].share / found[1].share == pytest.approx(math.exp(odds))
    assert sum(one.share for one in found) == pytest.approx(0.9)  # the rest is what was not found
    assert [one.text for one in ranked([first, second], TextRanking(0.2, 0.0))] == ["37", "31"]


def test_a_text_that_leaves_out_what_is_as_high_as_digits_is_rarer_in_service() -> None:
    whole, without = _hypothesis("37", 0.3, -2.0, -2.0), _hypothesis("3", 0.6, -1.0, -1.0)
    without = replace(without, left_out=1.5)
    assert [one.text for one in ranked([whole, without], RANKING)] == ["3", "37"]
    found = ranked([whole, without], RANKING, 0.2)
    assert [one.text for one in found] == ["37", "3"]
    assert found[0].share / found[1].share == pytest.approx(math.exp(-1.0) / 0.2**1.5)


def test_a_text_that_is_ruled_out_by_one_can_be_saved_by_the_other() -> None:
    impossible, likely = _hypothesis("8", 0.5, -0.1, -math.inf), _hypothesis("3", 0.5, -500.0, -3.0)
    found = ranked([impossible, likely], TextRanking(1.0, 0.1))
    assert [one.text for one in found] == ["8", "3"]
    assert all(0 < one.share <= 1 for one in found)


def test_readings_as_likely_stay_in_the_order_of_the_search_and_none_is_none() -> None:
    alike = [_hypothesis(text, 0.3, -1.0, -1.0) for text in ("1", "7", "4")]
    assert [one.text for one in ranked(alike, RANKING)] == ["1", "7", "4"]
    assert ranked([], RANKING) == []


def test_a_line_is_as_sure_as_it_is_calibrated_and_the_doubtful_digit_takes_the_doubt() -> None:
    signs = [Sign(_row(3, 0.99), BOX, 3), Sign(_row(7, 0.8), BOX, 7), Sign(_row(OTHER), BOX, None)]
    line = Hypothesis(signs, 0.9, 0.0, FRAMES, -5.0)
    for constant in (-4.0, 0.0, 4.0):
        calibration = LineCalibration(constant, 0.5, 0.1, 0.2)
        first, second, left_out = line.calibrated(calibration)
        assert first.confidence * second.confidence == pytest.approx(calibration(0.99 * 0.8, -5.0), rel=1e-4)
        assert first.confidence > second.confidence
        for sign in (first, second):
            assert sign.is_of_line
            assert sign.probabilities.sum() == pytest.approx(1)
            assert sign.probabilities.argmax() == sign.chosen  # doubt about the line is none about the digit
            assert sign.confidence <= float(sign.probabilities.max()) + 1e-12
        assert left_out is signs[2]
    assert Hypothesis(signs, 0.9).calibrated(LineCalibration(-9.0)) is signs


@pytest.mark.parametrize("constant", [-3.0, 0.0, 3.0])
def test_a_digit_that_the_whole_text_alone_speaks_for_leads_its_row(constant: float) -> None:
    row = _row(7, 0.9)
    row[[1, 7]] = 0.08, 0.9
    row /= row.sum()
    line = Hypothesis([Sign(_row(3), BOX, 3), Sign(row, BOX, 1)], 0.4, 0.0, FRAMES, -0.1)
    calibration = LineCalibration(constant, 0.3, 0.0, 0.8)
    signs = line.calibrated(calibration)
    assert signs[1].probabilities.argmax() == 1
    assert signs[1].probabilities.sum() == pytest.approx(1)
    product = float(signs[0].confidence * signs[1].confidence)
    assert product == pytest.approx(calibration(0.98 * float(row[1]), -0.1), rel=1e-3)


@pytest.mark.parametrize("sure", [1.0, 1 - 1e-9, 1 - 1e-7, 0.5])
def test_eight_certain_digits_can_be_doubted(sure: float) -> None:
    signs = [Sign(_row(3, sure), Box(9 * i, 0, 9, 9), 3) for i in range(8)]
    calibrated = Hypothesis(signs, 1.0, 0.0, FRAMES, 0.0).calibrated(lambda _product, _ctc: 0.2)
    assert math.prod(sign.confidence for sign in calibrated) == pytest.approx(0.2, rel=1e-3)
