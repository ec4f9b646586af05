"""From logits to digits: calibrated confidence, accept or review. Pure, and free of TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from worker.reasons import Reason, ReasonCode
from worker.vision.layout import groups_of, usual_height
from worker.vision.page import Box

DIGITS = 10
FULL_SIZE = 0.6  # of the height of the digits beside it
OTHER, FRAGMENT, SEVERAL = 10, 11, 12  # labels of models that know what is no digit


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is accepted, and what is taken for no digit.

    `accept`: the least confidence with which a digit is accepted. `digit`: the least probability of
    being a digit with which a mark counts as one. `line`: the least probability that all of a line of
    several digits is right with which it is accepted as a whole, where two networks read it: one mistake
    spoils a number; where it is 0, such a line is accepted digit by digit. `lone`: the least probability of
    being right with which a digit that stands alone is accepted, where it was calibrated for that; where it is 0,
    `accept`. `outlier_weight`: what the odds
    of being no digit count: the odds of a mark to be none in service, over those among the tiles that the
    temperature was fitted on. All in [0, 1].
    """

    accept: float
    digit: float
    line: float = 0.0
    lone: float = 0.0
    outlier_weight: float = 1.0

    @property
    def of_lone(self) -> float:
        """The least confidence with which a digit that stands alone is accepted."""
        return self.lone or self.accept


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

    `text` has one character for each entry of `digits`, `?` where it is not accepted; groups are
    separated by a space, lines by a newline. `confidence` is the probability that all best guesses are
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


def confidence_in(digits: npt.NDArray[np.float64], outlier_weight: float) -> npt.NDArray[np.float64]:
    """The probabilities of the ten digits where marks are rarely none; `digits` (..., 10) of a row that sums to 1.

    A model expects as many outliers as it was calibrated on; `outlier_weight` is what its odds of "no digit" are to
    be multiplied by where there are fewer (Saerens et al., 2002: adjusting a classifier to new a priori probabilities).
    """
    total = digits.sum(axis=-1, keepdims=True)
    return np.asarray(digits / np.maximum(total + outlier_weight * (1 - total), 1e-12))


@dataclass(frozen=True, slots=True, eq=False)
class Sign:
    """What a line holds at one place: probabilities of all labels (one row), and its box.

    `chosen` is the digit that it is read as; None where it is left out as no digit. `held` is what else
    the probability that it is right depends on, in [0, 1]: that a digit begins and ends where this one
    does, or that the line is right. `is_of_line` where it was calibrated for the line as a whole; `is_lone`
    where it was calibrated for a sign that is all that its line holds.
    """

    probabilities: npt.NDArray[np.float64]
    box: Box
    chosen: int | None
    held: float = 1.0
    is_of_line: bool = False
    is_lone: bool = False

    @property
    def confidence(self) -> float:
        """The probability that `chosen` is right, as the model sees it, in [0, 1]; 0 where it is left out."""
        return 0.0 if self.chosen is None else float(self.probabilities[self.chosen]) * self.held

    @property
    def is_digit(self) -> float:
        """The probability of being one digit, whichever."""
        return float(self.probabilities[:DIGITS].sum())

    @property
    def holds_digits(self) -> float:
        """The probability of being one digit or several: of what would be missing were it left out."""
        several = self.probabilities[SEVERAL] if len(self.probabilities) > SEVERAL else 0.0
        return self.is_digit + float(several)

    def may_be_missing(self, height: float) -> float:
        """The probability that leaving it out loses a digit, beside digits so high (pixels; 0: none).

        A fragment of full size beside digits is one that was not recognised, rather than a scrap.
        """
        if len(self.probabilities) <= SEVERAL or height == 0 or self.box.height < FULL_SIZE * height:
            return self.holds_digits
        return self.holds_digits + float(self.probabilities[FRAGMENT])


def disbelieved(sign: Sign) -> Sign:
    """The sign as its likeliest digit, which nobody believes: what is left out would leave no trace."""
    chosen = int(np.argmax(sign.probabilities[:DIGITS])) if sign.chosen is None else sign.chosen
    return replace(sign, chosen=chosen, held=0.0)


def judge(lines: Sequence[Sequence[Sign]], thresholds: Thresholds) -> Verdict:
    """The verdict on a picture whose lines hold these signs, in reading order."""
    signs = [sign for line in lines for sign in line]
    if not signs:
        return Verdict("", 0.0, (), Reason.of(ReasonCode.NO_INK))
    if all(sign.chosen is None for sign in signs):
        best = max(signs, key=lambda sign: sign.is_digit)
        reading = _reading(best, int(np.argmax(best.probabilities[:DIGITS])), thresholds, none_missing=0.0)
        return Verdict("?", 0.0, (reading,), Reason.of(ReasonCode.NOT_A_DIGIT))
    texts, readings, confidence = [], [], 1.0
    for line in lines:
        # Nothing is missing when every sign that was left out holds no digit indeed.
        height = usual_height([sign.box.height for sign in line if sign.chosen is not None])
        none_missing = math.prod(
            max(0.0, 1.0 - sign.may_be_missing(height) * sign.held) for sign in line if sign.chosen is None
        )
        confidence *= none_missing
        own = [
            _reading(sign, sign.chosen, thresholds, none_missing) for sign in line if sign.chosen is not None
        ]
        sure = math.prod(reading.confidence for reading in own)
        if len(own) > 1 and thresholds.line > 0 and any(sign.is_of_line for sign in line):
            own = _as_a_whole(own, is_accepted=sure * none_missing >= thresholds.line)
        confidence *= sure
        if own:
            texts.append(_text(own))
            readings += own
    chosen = [sign for sign in signs if sign.chosen is not None]
    return Verdict("\n".join(texts), confidence, tuple(readings), _reason(chosen, readings))


def _as_a_whole(line: Sequence[Reading], *, is_accepted: bool) -> list[Reading]:
    """A line of several digits, accepted with all of them, or without the least sure one at least."""
    least = min(range(len(line)), key=lambda place: line[place].confidence)
    return [
        replace(reading, accepted=is_accepted or (reading.accepted and place != least))
        for place, reading in enumerate(line)
    ]


def _reason(signs: Sequence[Sign], readings: Sequence[Reading]) -> Reason | None:
    """Why the digits of a picture are not all accepted; None where they are."""
    refused = [sign for sign, reading in zip(signs, readings, strict=True) if not reading.accepted]
    if not refused:
        return None
    is_several = any(
        len(sign.probabilities) > SEVERAL and float(sign.probabilities[SEVERAL]) > sign.is_digit
        for sign in refused
    )
    return Reason.of(ReasonCode.SEVERAL_DIGITS if is_several else ReasonCode.LOW_CONFIDENCE)


def _text(line: Sequence[Reading]) -> str:
    groups = groups_of([reading.box for reading in line])
    parts = [""] * (groups[-1] + 1)
    for reading, group in zip(line, groups, strict=True):
        parts[group] += str(reading.digit) if reading.accepted else "?"
    return " ".join(parts)


def _reading(sign: Sign, digit: int, thresholds: Thresholds, none_missing: float) -> Reading:
    digits = sign.probabilities[:DIGITS]
    total = float(digits.sum())
    given_digit = digits / total if total > 0 else np.full(DIGITS, 1 / DIGITS)
    # A line's own calibration knows already how often its marks are no digits; and where one was judged to be
    # none, that such marks are rare speaks no longer.
    is_as_seen = sign.is_of_line or sign.is_lone or sign.chosen is None
    weight = 1.0 if is_as_seen else thresholds.outlier_weight
    confidence = float(confidence_in(digits, weight)[digit]) * sign.held
    least = thresholds.of_lone if sign.is_lone else thresholds.accept
    is_accepted = confidence * none_missing >= least
    return Reading(digit, confidence, is_accepted, tuple(float(p) for p in given_digit), sign.box)
