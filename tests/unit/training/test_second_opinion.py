"""The ranking of texts and the calibration of lines find what made the data, and survive data that say little."""

from __future__ import annotations

import numpy as np
import pytest

from worker.recognition.decision import Sign
from worker.recognition.hypotheses import Hypothesis
from worker.recognition.opinions import log_odds
from worker.training.second_opinion import UNFITTED_RANKING, fit_line_calibration, fit_ranking
from worker.vision.page import Box

Lines = tuple[np.ndarray, np.ndarray]


def _lines(count: int, truth: tuple[float, float, float], middle: float, seed: int = 0) -> Lines:
    """Lines as overconfident readers see them; `truth` weighs a constant, the product and the odds of the text."""
    rng = np.random.default_rng(seed)
    odds = np.clip(rng.normal(middle, 2.0, count), -5.5, 5.5)
    ctc = -rng.exponential(2.0, count) * rng.choice([0.01, 1.0], count)
    spelled = np.array([log_odds(float(np.exp(one))) for one in ctc])
    chance = 1 / (1 + np.exp(-(truth[0] + truth[1] * odds + truth[2] * spelled)))
    return np.stack([1 / (1 + np.exp(-odds)), ctc], axis=1), rng.random(count) < chance


@pytest.mark.parametrize("middle", [0.0, 3.0, 4.0])
def test_it_finds_what_made_the_data(middle: float) -> None:
    truth = (1.0, 0.5, 0.5)
    evidence, right = _lines(4000, truth, middle)
    found = fit_line_calibration(evidence, right)
    assert (found.constant, found.reading) == pytest.approx(truth[:2], abs=0.3)
    assert found.spelled + found.ctc == pytest.approx(truth[2], abs=0.3)
    chances = np.array([found(product, ctc) for product, ctc in evidence.tolist()])
    for low, high in ((0, 0.5), (0.5, 0.9), (0.9, 0.98), (0.98, 1)):
        some = (chances >= low) & (chances < high)
        assert right[some].mean() == pytest.approx(chances[some].mean(), abs=0.05)


def test_a_witness_who_lies_is_not_heard() -> None:
    evidence, right = _lines(3000, (1.0, 0.7, -0.4), 2.0)
    found = fit_line_calibration(evidence, right)
    assert (found.ctc, found.spelled) == (0, 0)
    chances = [found(product, ctc) for product, ctc in evidence.tolist()]
    assert np.mean(chances) == pytest.approx(right.mean(), abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 4, 30])
@pytest.mark.parametrize("outcome", [True, False])
def test_little_or_one_sided_evidence_gives_a_sober_calibration(count: int, outcome: bool) -> None:
    evidence, _ = _lines(count, (0, 1, 0), 3.0)
    found = fit_line_calibration(evidence, np.full(count, outcome))
    assert np.abs(found.as_tuple()).max() < 30
    assert min(found.reading, found.ctc, found.spelled) >= 0


def test_certain_lines_do_not_end_the_fit() -> None:
    evidence = np.array([[1.0, 0.0], [1.0, -1e9], [0.0, -np.inf], [0.5, -3.0]] * 50)
    right = np.array([True, False, False, True] * 50)
    assert np.isfinite(fit_line_calibration(evidence, right).as_tuple()).all()


def _reading(text: str, looked: float, heard: float) -> Hypothesis:
    signs = [Sign(np.full(13, 1 / 13), Box(0, 0, 9, 9), int(digit)) for digit in text]
    return Hypothesis(signs, 0.1, looked=looked, heard=heard)


def _texts(count: int, truth: tuple[float, float], seed: int = 0) -> list[tuple[list[Hypothesis], str]]:
    """Lines with four texts each, of which that is true that `truth` makes so."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        texts = [_reading(str(n), *(-rng.exponential(4.0, 2)).tolist()) for n in range(4)]
        odds = np.array([truth[0] * one.looked + truth[1] * one.heard for one in texts])
        likely = np.exp(odds) / np.exp(odds).sum()
        lines.append((texts, str(rng.choice(4, p=likely))))
    return lines


def test_the_ranking_finds_what_made_the_data() -> None:
    found = fit_ranking(_texts(3000, (0.2, 0.9)))
    assert (found.looked, found.heard) == pytest.approx((0.2, 0.9), abs=0.06)


def test_a_reader_who_lies_does_not_rank() -> None:
    found = fit_ranking(_texts(2000, (-0.3, 0.6)))
    assert found.looked == 0
    assert found.heard > 0.3


def test_lines_that_say_nothing_leave_the_ranking_as_it_is() -> None:
    only = [_reading("12", -1.0, -1.0)]
    missed = [_reading("12", -1.0, -9.0), _reading("17", -9.0, -1.0)]
    found = fit_ranking([(only, "12"), (missed, "42"), ([], "1")])
    assert found == UNFITTED_RANKING


def test_readers_who_both_lie_rank_nothing() -> None:
    found = fit_ranking(_texts(2000, (-0.5, -0.5)))
    assert (found.looked, found.heard) == (0, 0)
