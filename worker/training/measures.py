"""How good a set of answers is: figures of values alone, each as its source defines it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BINS = 15  # as in Guo et al., 2017
_Z_95 = 1.959963984540054  # the normal quantile of a two-sided 95 % interval
_SMALLEST = 1e-12  # a probability of 0 given to the truth costs 27.6 nats, not infinitely many


class Interval(NamedTuple):
    """Both ends of an interval, in [0, 1]."""

    low: float
    high: float


def wilson_interval(count: int, n: int) -> Interval:
    """The 95 % score interval (Wilson, 1927) for the share behind `count` of `n`; all of [0, 1] for n = 0."""
    if not 0 <= count <= n:
        raise ValueError(f"{count} of {n} is no share")
    if n == 0:
        return Interval(0.0, 1.0)
    share, z2 = count / n, _Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the two ends the formula meets 0 and 1 exactly, but for rounding.
    low = 0.0 if count == 0 else max(0.0, middle - half)
    high = 1.0 if count == n else min(1.0, middle + half)
    return Interval(low, high)


class Bin(NamedTuple):
    """The answers whose confidence lies in (low, high]; both means are 0 where `n` is 0."""

    low: float
    high: float
    n: int
    mean_confidence: float
    accuracy: float


def calibration_bins(confidences: Floats, right: Bools, count: int = BINS) -> list[Bin]:
    """Answers sorted into `count` bins of equal width over (0, 1]; a confidence of 0 goes into the first."""
    index = np.clip(np.ceil(confidences * count).astype(np.int64) - 1, 0, count - 1)
    bins = []
    for each in range(count):
        inside = index == each
        n = int(inside.sum())
        mean = float(confidences[inside].mean()) if n else 0.0
        accuracy = float(right[inside].mean()) if n else 0.0
        bins.append(Bin(each / count, (each + 1) / count, n, mean, accuracy))
    return bins


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """The gap between confidence and accuracy, weighted by the answers in each bin (Naeini et al., 2015)."""
    n = sum(each.n for each in bins)
    gaps = sum(each.n * abs(each.mean_confidence - each.accuracy) for each in bins)
    return gaps / n if n else 0.0


def brier_score(probabilities: Floats, truths: Sequence[int]) -> float:
    """The mean squared distance between probabilities (n, labels) and truth (Brier, 1950), in [0, 2]."""
    hit = np.zeros_like(probabilities)
    hit[np.arange(len(truths)), list(truths)] = 1
    return float(((probabilities - hit) ** 2).sum(axis=1).mean())


def negative_log_likelihood(probabilities: Floats, truths: Sequence[int]) -> float:
    """The mean of -ln(probability of the truth), in nats; `probabilities` has shape (n, labels)."""
    given = probabilities[np.arange(len(truths)), list(truths)]
    return float(-np.log(np.maximum(given, _SMALLEST)).mean())


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The share of wrong answers among the k most confident of n, for k = 1 … n (Geifman et al., 2017).

    `coverage` is k / n, ascending; `risk` belongs to it. `area` is the mean of the risk (AURC).
    """

    coverage: Floats
    risk: Floats
    area: float


def risk_coverage(confidences: Floats, right: Bools) -> RiskCoverage:
    """The curve of one or more answers; among equal confidences, what a random order gives on average."""
    n = len(confidences)
    if n == 0:
        raise ValueError("no answers, no curve")
    _, group, sizes = np.unique(-confidences, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=~right)  # of each group of equals, the most confident first
    errors = np.cumsum(np.repeat(wrong / sizes, sizes))
    taken = np.arange(1, n + 1)
    risk = errors / taken
    return RiskCoverage(taken / n, risk, float(risk.mean()))


def coverage_within(curve: RiskCoverage, risk: float) -> float:
    """The largest share that can be accepted, the most confident first, with at most this share wrong."""
    within = np.flatnonzero(curve.risk <= risk)
    return float(curve.coverage[within[-1]]) if len(within) else 0.0


def auroc(positives: Floats, negatives: Floats) -> float:
    """The chance that a positive scores higher than a negative, equals counting half (Mann and Whitney)."""
    if not len(positives) or not len(negatives):
        raise ValueError("an AUROC needs scores of both kinds")
    _, index, sizes = np.unique(
        np.concatenate([positives, negatives]), return_inverse=True, return_counts=True
    )
    ranks = np.cumsum(sizes) - (sizes - 1) / 2  # the mean rank of each group of equals, from 1
    above = float(ranks[index[: len(positives)]].sum()) - len(positives) * (len(positives) + 1) / 2
    return above / (len(positives) * len(negatives))


def confusion(truths: Sequence[int], guesses: Sequence[int | None]) -> npt.NDArray[np.int64]:
    """Counts, int64 (10, 11): a row for each true digit, a column for each guess, the last one for None."""
    matrix = np.zeros((DIGITS, DIGITS + 1), np.int64)
    for truth, guess in zip(truths, guesses, strict=True):
        matrix[truth, DIGITS if guess is None else guess] += 1
    return matrix
