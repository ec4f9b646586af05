"""From logits to digits: calibrated confidence, accept or review. Pure, and free of TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.reasons import Reason, ReasonCode
from worker.vision.page import Box

DIGITS = 10


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is accepted, and what is taken for no digit.

    `accept`: the least confidence with which a digit is accepted. `digit`: the least probability of
    being a digit with which a mark counts as one. Both in [0, 1].
    """

    accept: float
    digit: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One mark, read.

    `probabilities` are ten numbers that sum to 1: which digit, given that it is one. `confidence` is
    the calibrated probability that `digit` is right, in [0, 1]; it counts the chance that the mark is
    no digit at all.
    """

    digit: int
    confidence: float
    accepted: bool
    probabilities: tuple[float, ...]
    box: Box


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a picture says as a whole.

    `text` has one character for each entry
    of `digits`, `?` where it is not accepted. `confidence` is the probability that all best guesses are
    right and none is missing, in [0, 1]; 0 where nothing was read. `reason` is None exactly when it is read.
    """

    text: str
    confidence: float
    digits: tuple[Reading, ...]
    reason: Reason | None

    @property
    def is_read(self) -> bool:
        """Whether every digit was accepted and nothing else is in doubt."""
        return self.reason is None


def calibrate(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities of all labels, rows summing to 1; a temperature never changes the order.

    `logits` has shape (n, labels): ten digits first, then whatever else the model tells apart from
    digits. Method: temperature scaling (Guo et al., 2017).
    """
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponents = np.exp(scaled)
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def decide(
    logits: npt.NDArray[np.float32], boxes: Sequence[Box], temperature: float, thresholds: Thresholds
) -> Verdict:
    """The verdict on a picture with the marks `boxes`, in reading order, and their `logits` (n, labels)."""
    if len(boxes) == 0:
        return Verdict("", 0.0, (), Reason.of(ReasonCode.NO_INK))
    probabilities = calibrate(logits, temperature)
    is_digit = probabilities[:, :DIGITS].sum(axis=1)
    chosen = [i for i in range(len(boxes)) if is_digit[i] >= thresholds.digit]
    if not chosen:
        best = int(np.argmax(is_digit))
        reading = _reading(probabilities[best], boxes[best], is_accepted=False)
        return Verdict("?", 0.0, (reading,), Reason.of(ReasonCode.NOT_A_DIGIT))
    # Nothing is missing when every mark that was left out is no digit indeed.
    none_missing = math.prod(1.0 - float(is_digit[i]) for i in range(len(boxes)) if i not in set(chosen))
    readings = tuple(
        _reading(
            probabilities[i],
            boxes[i],
            is_accepted=len(chosen) == 1
            and float(probabilities[i, :DIGITS].max()) * none_missing >= thresholds.accept,
        )
        for i in chosen
    )
    confidence = none_missing * math.prod(reading.confidence for reading in readings)
    text = "".join(str(reading.digit) if reading.accepted else "?" for reading in readings)
    if len(chosen) > 1:
        reason: Reason | None = Reason.of(ReasonCode.SEVERAL_DIGITS)
    elif not readings[0].accepted:
        reason = Reason.of(ReasonCode.LOW_CONFIDENCE)
    else:
        reason = None
    return Verdict(text, confidence, readings, reason)


def _reading(probabilities: npt.NDArray[np.float64], box: Box, *, is_accepted: bool) -> Reading:
    digits = probabilities[:DIGITS]
    total = float(digits.sum())
    given_digit = digits / total if total > 0 else np.full(DIGITS, 1 / DIGITS)
    digit = int(np.argmax(digits))
    return Reading(digit, float(digits[digit]), is_accepted, tuple(float(p) for p in given_digit), box)
