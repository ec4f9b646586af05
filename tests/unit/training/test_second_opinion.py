"""The calibration of lines finds what made the data, and survives data that say little."""

from __future__ import annotations

import numpy as np
import pytest

from worker.training.second_opinion import fit_line_calibration

Lines = tuple[np.ndarray, np.ndarray]


def _lines(count: int, truth: tuple[float, float, float], middle: float, seed: int = 0) -> Lines:
    """Lines as overconfident readers see them; which are right follows `truth`."""
    rng = np.random.default_rng(seed)
    odds = np.clip(rng.normal(middle, 2.0, count), -5.5, 5.5)
    ctc = -rng.exponential(2.0, count)
    chance = 1 / (1 + np.exp(-(truth[0] + truth[1] * odds + truth[2] * ctc)))
    return np.stack([1 / (1 + np.exp(-odds)), ctc], axis=1), rng.random(count) < chance


@pytest.mark.parametrize("middle", [0.0, 3.0, 4.0, 5.0])
def test_it_finds_what_made_the_data(middle: float) -> None:
    truth = (1.0, 0.5, 0.5)
    found = fit_line_calibration(*_lines(4000, truth, middle))
    assert found.as_tuple() == pytest.approx(truth, abs=0.2)


def test_a_witness_who_lies_is_not_heard() -> None:
    evidence, right = _lines(3000, (1.0, 0.7, -0.4), 2.0)
    found = fit_line_calibration(evidence, right)
    assert found.ctc == 0
    chances = [found(product, ctc) for product, ctc in evidence.tolist()]
    assert np.mean(chances) == pytest.approx(right.mean(), abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 4, 30])
@pytest.mark.parametrize("outcome", [True, False])
def test_little_or_one_sided_evidence_gives_a_sober_calibration(count: int, outcome: bool) -> None:
    evidence, _ = _lines(count, (0, 1, 0), 3.0)
    found = fit_line_calibration(evidence, np.full(count, outcome))
    assert np.abs(found.as_tuple()).max() < 30
    assert found.reading >= 0
    assert found.ctc >= 0


def test_certain_lines_do_not_end_the_fit() -> None:
    evidence = np.array([[1.0, 0.0], [1.0, -1e9], [0.0, -np.inf], [0.5, -3.0]] * 50)
    right = np.array([True, False, False, True] * 50)
    assert np.isfinite(fit_line_calibration(evidence, right).as_tuple()).all()
