"""What two opinions are worth: more evidence never means less, and no opinion is certain."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.recognition.opinions import (
    LEAST_DOUBT,
    LineCalibration,
    LoneCalibration,
    TextEvidence,
    TextRanking,
    chance,
    log_odds,
)

CALIBRATION = LoneCalibration(by_one=(-3.0, 1.9), by_both=(0.2, 0.5, 0.15), sure_from=0.98)
SHARES = st.floats(0, 1)


@given(SHARES, SHARES, SHARES)
def test_a_lone_digit_is_never_less_sure_for_more_evidence(one: float, other: float, third: float) -> None:
    low, high = sorted((one, other))
    assert 0 < CALIBRATION.once(low) <= CALIBRATION.once(high) < 1
    assert 0 < CALIBRATION.twice(low, third) <= CALIBRATION.twice(high, third) < 1
    assert CALIBRATION.twice(third, low) <= CALIBRATION.twice(third, high)


def test_what_one_is_too_modest_about_and_both_are_too_bold_about_is_set_right() -> None:
    assert CALIBRATION.once(0.9965) == pytest.approx(
        1 / (1 + math.exp(3.0 - 1.9 * math.log(0.9965 / 0.0035)))
    )
    assert CALIBRATION.once(0.9965) > 0.9995
    assert CALIBRATION.twice(0.97, 0.9) < 0.95
    # The transcriber names another digit.
    assert CALIBRATION.twice(0.97, 0.001) < 0.8 < CALIBRATION.twice(0.97, 0.999)


@given(SHARES)
def test_odds_and_chance_undo_each_other_within_what_counts_as_certain(probability: float) -> None:
    clipped = min(1 - LEAST_DOUBT, max(LEAST_DOUBT, probability))
    assert chance(log_odds(probability)) == pytest.approx(clipped, rel=1e-6)


def test_an_unfitted_calibration_changes_nothing_and_more_evidence_never_means_less() -> None:
    for sure in (1e-9, 0.2, 0.9, 1.0):
        expected = min(1 - LEAST_DOUBT, max(LEAST_DOUBT, sure))
        assert LineCalibration()(sure, -5.0) == pytest.approx(expected, rel=1e-3)
    fitted = LineCalibration(1.0, 0.8, 0.5, 0.3)
    assert fitted(0.9, -1.0) > fitted(0.9, -2.0) > fitted(0.5, -2.0) > fitted(0.5, -math.inf) > 0


def test_a_text_spelled_without_any_doubt_counts_for_more_than_one_spelled_with_little() -> None:
    by_likelihood, by_odds = LineCalibration(0.0, 0.5, 1.0), LineCalibration(0.0, 0.5, 0.0, 1.0)
    little, none = -0.05, -0.0005
    assert by_likelihood(0.9, none) - by_likelihood(0.9, little) < 0.01
    assert by_odds(0.9, little) < 0.99 < 0.999 < by_odds(0.9, none)
    assert LineCalibration(0.2, 0.5, 1.5)(0.7, -2.0) == LineCalibration(0.2, 0.5, 1.5, 0.0)(0.7, -2.0)


def test_a_ranking_weighs_both_and_neither_rules_a_text_out() -> None:
    ranking = TextRanking(looked=0.1, heard=0.7)
    likely, ruled_out = ranking([TextEvidence(-2.0, -0.5), TextEvidence(-math.inf, -math.inf)])
    assert likely == pytest.approx(-0.55)
    assert math.isfinite(ruled_out)
    assert ruled_out < likely
