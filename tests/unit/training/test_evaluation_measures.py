"""Each figure against a value worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.training.measures import (
    auroc,
    brier_score,
    calibration_bins,
    confusion,
    expected_calibration_error,
    negative_log_likelihood,
    risk_coverage,
    wilson_interval,
)


def test_the_interval_of_8_of_10_is_the_one_of_the_textbooks() -> None:
    low, high = wilson_interval(8, 10)
    assert low == pytest.approx(0.4902, abs=5e-5)
    assert high == pytest.approx(0.9433, abs=5e-5)


def test_no_error_in_ten_still_leaves_room_for_some() -> None:
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(1.96**2 / (10 + 1.96**2), abs=1e-4)  # z²/(n + z²)
    assert wilson_interval(10, 10) == pytest.approx((1 - high, 1))


def test_the_interval_of_nothing_is_everything() -> None:
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(("count", "n"), [(3, 2), (-1, 5)])
def test_a_share_beyond_the_whole_is_refused(count: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(count, n)


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share(case: tuple[int, int]) -> None:
    count, n = case
    low, high = wilson_interval(count, n)
    assert 0 <= low <= high <= 1
    assert n == 0 or low <= count / n <= high


def test_calibration_error_weighs_the_gap_of_each_bin_by_its_answers() -> None:
    confidences = np.array([0.9, 0.9, 0.9, 0.6])
    right = np.array([True, True, False, True])
    bins = calibration_bins(confidences, right, 2)
    assert [each.n for each in bins] == [0, 4]
    # One bin: mean confidence 0.825, three of four right.
    assert expected_calibration_error(bins) == pytest.approx(0.075)
    # Five bins: 0.6 lies in (0.4, 0.6], 0.9 in (0.8, 1].
    five = calibration_bins(confidences, right, 5)
    assert [each.n for each in five] == [0, 0, 1, 0, 3]
    assert expected_calibration_error(five) == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.4)


def test_confidences_of_0_and_1_fall_into_the_outermost_bins() -> None:
    bins = calibration_bins(np.array([0.0, 1.0]), np.array([False, True]))
    assert (bins[0].n, bins[-1].n) == (1, 1)
    assert expected_calibration_error(bins) == 0


def test_no_answers_have_no_calibration_error() -> None:
    assert expected_calibration_error(calibration_bins(np.array([]), np.array([], np.bool_))) == 0


def test_brier_score_adds_up_the_squares_over_all_labels() -> None:
    chances = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    assert brier_score(chances, [0, 2]) == pytest.approx(((0.09 + 0.04 + 0.01) + (1 + 1)) / 2)


def test_likelihood_is_that_of_the_truth_and_never_infinite() -> None:
    chances = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert negative_log_likelihood(chances[:1], [1]) == pytest.approx(math.log(2))
    assert negative_log_likelihood(chances[1:], [1]) == pytest.approx(12 * math.log(10))


def test_risk_grows_with_coverage_as_errors_come_in() -> None:
    curve = risk_coverage(np.array([0.5, 0.9, 0.7, 0.8]), np.array([False, True, False, True]))
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.risk, [0, 0, 1 / 3, 0.5])
    assert curve.area == pytest.approx((1 / 3 + 1 / 2) / 4)


@given(st.permutations([(0.9, True), (0.9, False), (0.9, True), (0.2, False)]))
def test_the_order_of_equal_confidences_changes_no_risk(answers: list[tuple[float, bool]]) -> None:
    confidences, right = zip(*answers, strict=True)
    curve = risk_coverage(np.array(confidences), np.array(right))
    np.testing.assert_allclose(curve.risk, [1 / 3, 1 / 3, 1 / 3, 0.5])


def test_auroc_counts_the_pairs_that_are_in_order() -> None:
    # 0.9 beats both, 0.4 beats one of two, and is level with none: 3 of 4 pairs.
    assert auroc(np.array([0.9, 0.4]), np.array([0.5, 0.1])) == pytest.approx(0.75)


def test_auroc_counts_equal_scores_half() -> None:
    assert auroc(np.array([0.5, 0.5]), np.array([0.5])) == pytest.approx(0.5)
    assert auroc(np.array([0.0, 1.0, 0.0]), np.array([0.0])) == pytest.approx((0.5 + 1 + 0.5) / 3)


def test_a_perfect_score_and_its_opposite_give_one_and_zero() -> None:
    high, low = np.array([0.8, 0.9]), np.array([0.1, 0.2, 0.3])
    assert auroc(high, low) == 1
    assert auroc(low, high) == 0


def test_confusion_counts_pictures_without_a_single_guess_apart() -> None:
    matrix = confusion([4, 4, 9, 0], [4, 9, None, 0])
    assert matrix.shape == (10, 11)
    assert matrix.sum() == 4
    assert (matrix[4, 4], matrix[4, 9], matrix[9, 10], matrix[0, 0]) == (1, 1, 1, 1)
