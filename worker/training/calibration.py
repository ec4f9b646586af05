"""What a trained model's logits are worth: temperature and thresholds, from data of the hard kind.

The data are held-out MNIST digits and pen strokes of other seeds, damaged like the training corpus, with
outliers among them. No test or measuring set is ever looked at here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS, calibrate, confidence_in

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

DIGIT_THRESHOLD = 0.5  # more likely a digit than not
OUTLIERS_IN_SERVICE = 0.02  # of the marks that people scan to have read: one in fifty is no digit
# Of what is accepted on the hard data, outliers weighed as often as they come in service; and of the outliers.
MAX_ACCEPTED_WRONG = 0.003
MAX_ACCEPTED_OUTLIERS = 0.01


@dataclass(frozen=True, slots=True)
class Calibration:
    """What goes into the card, and what it means on the hard data (shares in [0, 1])."""

    temperature: float
    accept: float
    digit: float
    outlier_weight: float
    outlier_share: float
    accepted_digits: float
    accepted_wrong: float
    accepted_outliers: float

    def sentence(self, count: int) -> str:
        """The trade-off in words, for the card."""
        return (
            f"{count:,} held-out tiles of the hard kind, {self.outlier_share:.1%} of them no digits, weighed as if"
            f" {OUTLIERS_IN_SERVICE:.0%} were: from this confidence on {self.accepted_digits:.2%} of the digits are"
            f" accepted; {self.accepted_wrong:.3%} of what is accepted is wrong; {self.accepted_outliers:.2%} of the"
            " outliers are accepted"
        )


def fit(
    logits: Logits,
    labels: Labels,
    *,
    max_accepted_wrong: float = MAX_ACCEPTED_WRONG,
    max_accepted_outliers: float = MAX_ACCEPTED_OUTLIERS,
) -> Calibration:
    """Temperature by likelihood; then the lowest threshold that keeps both promises about what is accepted.

    `logits` float32 (n, labels), `labels` int32 (n,), 10 and more meaning no digit. Confidences count outliers as
    often as they come in service, which is more rarely than among these.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = calibrate(logits, temperature)
    is_outlier = labels >= DIGITS
    share = float(is_outlier.mean())
    weight = outlier_weight(share)
    confidence = confidence_in(probabilities[:, :DIGITS], weight).max(axis=1)
    is_digit = probabilities[:, :DIGITS].sum(axis=1) >= DIGIT_THRESHOLD
    right = probabilities[:, :DIGITS].argmax(axis=1) == labels
    told = np.where(is_digit, confidence, 0.0)
    weights = np.where(is_outlier, weight, 1.0)
    least = _threshold_against(told[is_outlier], max_accepted_outliers)
    accept = lowest_threshold(told, right, max_accepted_wrong, weights, least)
    accepted = is_digit & (confidence >= accept)
    wrong = float((weights * (accepted & ~right)).sum() / max(float((weights * accepted).sum()), 1e-12))
    return Calibration(
        temperature=temperature,
        accept=accept,
        digit=DIGIT_THRESHOLD,
        outlier_weight=weight,
        outlier_share=share,
        accepted_digits=float(accepted[~is_outlier].mean()),
        accepted_wrong=wrong,
        accepted_outliers=float(accepted[is_outlier].mean()) if is_outlier.any() else 0.0,
    )


def outlier_weight(share: float) -> float:
    """How often each outlier counts where `share` in [0, 1] of all are such, so that they count as in service."""
    weight = min(1.0, _odds(OUTLIERS_IN_SERVICE) / _odds(share)) if 0 < share < 1 else 1.0
    return max(0.0001, round(weight, 4))


def _odds(share: float) -> float:
    return share / (1 - share)


def _threshold_against(confidence: npt.NDArray[np.float64], share: float) -> float:
    """The lowest confidence, to three digits, that at most this share of `confidence` reaches; from 0.5 to 0.999."""
    if int(share * confidence.size) >= confidence.size:
        return 0.5
    first_refused = float(np.sort(confidence)[::-1][int(share * confidence.size)])
    return min(0.999, max(0.5, math.floor(first_refused * 1000 + 1) / 1000))


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature of the greatest likelihood, by golden section over its logarithm, to three digits."""

    def loss(log_temperature: float) -> float:
        probabilities = calibrate(logits, float(np.exp(log_temperature)))
        return -float(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())

    low, high = np.log(0.05), np.log(20.0)
    golden = (5**0.5 - 1) / 2
    for _ in range(30):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 3)


def lowest_threshold(
    confidence: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    max_wrong: float,
    weights: npt.NDArray[np.float64] | None = None,
    least: float = 0.5,
) -> float:
    """The lowest confidence, from `least` on, from which on at most `max_wrong` of all readings are wrong.

    A reading counts as often as its weight says, if given. To three digits, as a card keeps it; 0.999 where no such
    threshold, or none that anything reaches, keeps the bound.
    """
    order = np.argsort(-confidence, kind="stable")
    counted = np.ones(len(order)) if weights is None else weights[order]
    accepted = np.concatenate([[0.0], np.cumsum(counted)])
    wrong = np.concatenate([[0.0], np.cumsum(counted * ~right[order])])
    # Told at the very thresholds a card can hold: between two readings, or among equal ones, a share says nothing.
    thresholds = np.unique(np.ceil(np.round(confidence * 1000, 6))) / 1000
    thresholds = thresholds[(thresholds >= least) & (thresholds < 1)]
    reached = np.searchsorted(-confidence[order], -thresholds, side="right")
    kept = (accepted[reached] > 0) & (wrong[reached] <= max_wrong * accepted[reached])
    return float(thresholds[kept][0]) if kept.any() else 0.999
