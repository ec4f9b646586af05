"""What a model's confidence is worth is fitted on data with outliers, and told for service, which has fewer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest

from worker.recognition.bundle import Bundle
from worker.recognition.card import Card, ChosenThresholds
from worker.recognition.classifier import Classifier
from worker.recognition.decision import DIGITS, calibrate, confidence_in
from worker.training import recipe
from worker.training.calibration import (
    OUTLIERS_IN_SERVICE,
    Calibration,
    _threshold_against,
    fit,
    fit_temperature,
    lowest_threshold,
)
from worker.training.datasets import Examples

Drawn = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]


def drawn(count: int, temperature: float, outliers: float, seed: int = 0) -> Drawn:
    """Logits of 13 labels, and labels drawn with just the probabilities that they say at this temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (count, 13))
    kind = np.where(
        rng.random(count) < outliers, rng.integers(DIGITS, 13, count), rng.integers(0, DIGITS, count)
    )
    logits[np.arange(count), kind] += rng.uniform(2, 12, count)
    told = calibrate((logits * temperature).astype(np.float32), temperature)
    labels = (told.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return (logits * temperature).astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(20_000, temperature, 0.15)) == pytest.approx(temperature, rel=0.05)


def accepted_of(found: Calibration, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    told = calibrate(logits, found.temperature)[:, :DIGITS]
    confidence = confidence_in(told, found.outlier_weight).max(axis=1)
    return np.asarray((told.sum(axis=1) >= found.digit) & (confidence >= found.accept))


def test_both_promises_hold_and_no_lower_threshold_keeps_them() -> None:
    logits, labels = drawn(20_000, 1.0, 0.15)
    found = fit(logits, labels)
    accepted = accepted_of(found, logits)
    outliers = labels >= DIGITS
    assert found.outlier_weight < 0.2
    assert accepted[outliers].mean() == pytest.approx(found.accepted_outliers)
    assert found.accepted_outliers <= 0.01
    assert found.accepted_wrong <= 0.003
    lower = Calibration(
        **{name: getattr(found, name) for name in Calibration.__slots__} | {"accept": found.accept - 0.002}
    )
    wrong = accepted_of(lower, logits) & (calibrate(logits, 1.0)[:, :DIGITS].argmax(axis=1) != labels)
    counted = np.where(outliers, found.outlier_weight, 1.0)
    share = (counted * wrong).sum() / (counted * accepted_of(lower, logits)).sum()
    assert accepted_of(lower, logits)[outliers].mean() > 0.01 or share > 0.003
    assert "2%" in found.sentence(len(labels))


def test_each_promise_alone_can_decide() -> None:
    logits, labels = drawn(20_000, 1.0, 0.15)
    for_outliers = fit(logits, labels, max_accepted_wrong=1.0)
    for_digits = fit(logits, labels, max_accepted_outliers=1.0)
    both = fit(logits, labels)
    assert both.accept == max(for_outliers.accept, for_digits.accept)
    assert fit(logits, labels, max_accepted_outliers=0.001).accept > for_outliers.accept
    assert fit(logits, labels, max_accepted_wrong=0.0005).accept > for_digits.accept


def test_confidence_is_true_where_outliers_come_as_often_as_in_service() -> None:
    """Fitted where a seventh are outliers, told where a fiftieth are."""
    found = fit(*drawn(20_000, 1.0, 0.15))
    logits, labels = drawn(200_000, 1.0, 0.15, seed=1)
    outliers = np.flatnonzero(labels >= DIGITS)
    wanted = round(OUTLIERS_IN_SERVICE / (1 - OUTLIERS_IN_SERVICE) * (len(labels) - len(outliers)))
    kept = np.concatenate([np.flatnonzero(labels < DIGITS), outliers[:wanted]])
    told = calibrate(logits[kept], 1.0)[:, :DIGITS]
    right = told.argmax(axis=1) == labels[kept]
    weighed = confidence_in(told, found.outlier_weight).max(axis=1)
    assert weighed.mean() == pytest.approx(right.mean(), abs=0.004)
    assert told.max(axis=1).mean() < right.mean() - 0.01


def test_a_threshold_against_outliers_keeps_the_other_promise_too() -> None:
    """Where more is wrong among the surest than further down: what lies between the two thresholds is no good."""
    confidence = np.repeat([0.9995, 0.999, 0.985, 0.95], [2, 60, 11, 7000])
    right = np.repeat([False, True, False, True], [2, 60, 11, 7000])
    assert lowest_threshold(confidence, right, 0.003) == 0.95
    assert lowest_threshold(confidence, right, 0.003, least=0.989) == 0.999


def test_of_equal_confidences_all_are_accepted_or_none() -> None:
    confidence = np.repeat([0.99, 0.9], [98, 4])
    right = np.repeat([True, False], [100, 2])
    assert lowest_threshold(confidence, right, 0.01) == 0.99


def test_a_threshold_keeps_its_bound_as_it_is_rounded() -> None:
    """All of 0.9004 and up would keep it; the 0.901 that a card can say leaves out what made the share small enough."""
    confidence = np.repeat([0.95, 0.9004], [50, 60])
    right = np.repeat([False, True], [1, 109])
    assert lowest_threshold(confidence, right, 0.01) == 0.999
    assert lowest_threshold(np.round(confidence, 3), right, 0.01) == 0.9


def test_where_nothing_is_sure_enough_no_threshold_is() -> None:
    assert lowest_threshold(np.array([0.7004, 0.6]), np.array([False, False]), 0.01) == 0.999
    assert lowest_threshold(np.zeros(0), np.zeros(0, np.bool_), 0.01) == 0.999


@pytest.mark.parametrize(
    ("refused", "expected"), [(0.9, 0.901), (0.9005, 0.901), (0.2, 0.5), (0.9999, 0.999)]
)
def test_a_threshold_lies_above_what_it_is_to_refuse(refused: float, expected: float) -> None:
    confidence = np.array([0.99995] + [refused] * 9)
    assert _threshold_against(confidence, 0.1) == expected
    assert _threshold_against(np.zeros(0), 0.1) == 0.5


def test_calibrating_puts_all_that_was_found_into_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Calibration(0.7, 0.97, 0.5, 0.125, 0.14, 0.9, 0.001, 0.01)
    card = Card.model_construct(temperature=1.0, thresholds=ChosenThresholds())
    written: list[Card] = []
    monkeypatch.setattr(recipe, "fit", lambda _logits, _labels: found)
    monkeypatch.setattr(Bundle, "open", lambda _folder: SimpleNamespace(card=card))
    monkeypatch.setattr(Classifier, "load", lambda _bundle: SimpleNamespace(logits=lambda _tiles: None))
    monkeypatch.setattr(recipe, "write_card", lambda _folder, new: written.append(new))
    recipe.calibrate_bundle(
        Path("anywhere"), Examples(np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.int32))
    )
    assert written[0].temperature == 0.7
    assert written[0].thresholds.model_dump(exclude={"chosen_on"}) == {
        "accept": 0.97, "digit": 0.5, "outlier_weight": 0.125,
    }  # fmt: skip


def test_data_without_outliers_weigh_nothing() -> None:
    logits, labels = drawn(5_000, 1.0, 0.0)
    digits = labels < DIGITS
    found = fit(logits[digits], labels[digits])
    assert (found.outlier_weight, found.accepted_outliers) == (1.0, 0.0)


def test_a_reading_counts_as_often_as_its_weight_says() -> None:
    confidence = np.array([0.99, 0.9, 0.8, 0.7])
    right = np.array([True, False, True, True])
    assert lowest_threshold(confidence, right, 0.2) == 0.99
    assert lowest_threshold(confidence, right, 0.2, np.array([1.0, 0.1, 1.0, 1.0])) == 0.7
