"""What a trained model's logits are worth: temperature and thresholds, from data of the hard kind.

The data are held-out MNIST digits and pen strokes of other seeds, damaged like the training corpus, with
outliers among them. No test or measuring set is ever looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS, calibrate

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

DIGIT_THRESHOLD = 0.5  # more likely a digit than not
MAX_ACCEPTED_WRONG = 0.003  # of what is accepted on the hard data, outliers included


@dataclass(frozen=True, slots=True)
class Calibration:
    """What goes into the card, and what it means on the hard data (shares in [0, 1])."""

    temperature: float
    accept: float
    digit: float
    accepted_digits: float
    accepted_wrong: float
    accepted_outliers: float

    def sentence(self, count: int) -> str:
        """The trade-off in words, for the card."""
        return (
            f"{count:,} held-out tiles of the hard kind, a seventh of them no digits: from this confidence on"
            f" {self.accepted_digits:.2%} of the digits are accepted; {self.accepted_wrong:.3%} of what is"
            f" accepted is wrong; {self.accepted_outliers:.2%} of the outliers are accepted"
        )


def fit(logits: Logits, labels: Labels, *, max_accepted_wrong: float = MAX_ACCEPTED_WRONG) -> Calibration:
    """Temperature by likelihood; then the lowest threshold that keeps the promise about what is accepted.

    `logits` float32 (n, labels), `labels` int32 (n,), 10 and more meaning no digit.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = calibrate(logits, temperature)
    confidence = probabilities[:, :DIGITS].max(axis=1)
    is_digit = probabilities[:, :DIGITS].sum(axis=1) >= DIGIT_THRESHOLD
    right = probabilities[:, :DIGITS].argmax(axis=1) == labels
    accept = lowest_threshold(np.where(is_digit, confidence, 0.0), right, max_accepted_wrong)
    accepted = is_digit & (confidence >= accept)
    digits = labels < DIGITS
    return Calibration(
        temperature=temperature,
        accept=accept,
        digit=DIGIT_THRESHOLD,
        accepted_digits=float(accepted[digits].mean()),
        accepted_wrong=float((~right[accepted]).mean()) if accepted.any() else 0.0,
        accepted_outliers=float(accepted[~digits].mean()) if (~digits).any() else 0.0,
    )


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
    confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], max_wrong: float
) -> float:
    """The lowest confidence from which on at most `max_wrong` of all readings are wrong; at least 0.5."""
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    kept = np.flatnonzero(wrong <= max_wrong)
    if kept.size == 0:
        return 0.999
    return round(float(np.clip(confidence[order][kept[-1]], 0.5, 0.999)), 3)
