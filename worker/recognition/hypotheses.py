"""Readings of a line as a whole: which is the likeliest once its text is seen entire, and how likely it is right.

Pure, given what both networks said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS, Sign
from worker.recognition.frames import Frames
from worker.recognition.opinions import LEAST_DOUBT, Calibrate, Rank, TextEvidence

Floats = npt.NDArray[np.float64]

LEAST_PRODUCT = 1e-300  # of ever so many doubtful digits: its logarithm is a number


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One reading of a line: its signs from the left, and its share of all readings' probability, in [0, 1].

    `looked` is what the classifier alone says of these signs: their log-probability, less what their cuts cost.
    `frames` is what the transcriber says of the line, None where it was not asked; `heard` its log-probability that
    the whole line spells this text. `left_out` is how many signs as high as digits it takes for none.
    """

    signs: list[Sign]
    share: float
    looked: float = 0.0
    frames: Frames | None = None
    heard: float = 0.0
    left_out: float = 0.0

    @property
    def text(self) -> str:
        """The digits alone."""
        return "".join(str(sign.chosen) for sign in self.signs if sign.chosen is not None)

    @property
    def product(self) -> float:
        """The product of its digits' probabilities, in (0, 1); 1 where it has none."""
        return max(LEAST_PRODUCT, math.prod(_within(sign.confidence, self._ceiling) for sign in self._digits))

    @property
    def _digits(self) -> list[Sign]:
        return [sign for sign in self.signs if sign.chosen is not None]

    @property
    def _ceiling(self) -> float:
        """How sure one digit may look, so that all together are not certain."""
        return 1 - LEAST_DOUBT / max(1, len(self._digits))

    def calibrated(self, calibration: Calibrate) -> list[Sign]:
        """The signs, their confidences such that all together are as likely right as `calibration` finds the line.

        The more doubtful a digit was, the more of the change it takes. As they are where one network read alone.
        """
        if self.frames is None or not self._digits:
            return self.signs
        product, ceiling = self.product, self._ceiling
        exponent = math.log(calibration(product, self.heard)) / math.log(product)
        return [
            sign
            if sign.chosen is None
            else replace(
                held_at(
                    _led_by(sign, sign.chosen),
                    sign.chosen,
                    _within(sign.confidence, ceiling) ** exponent,
                ),
                is_of_line=True,
            )
            for sign in self.signs
        ]


def ranked(hypotheses: Sequence[Hypothesis], rank: Rank, stranger: float = 1.0) -> list[Hypothesis]:
    """The readings of a line by what both networks say of their whole texts, the likeliest first.

    Where digits end, the search must guess before it can ask the transcriber about each; about a whole text it can be
    asked without. All together keep their share. For each sign as high as digits that it leaves out, a reading is
    `stranger` times as likely as they say (`opinions.Weights`).
    """
    if not hypotheses:
        return []
    told = [TextEvidence(one.looked, one.heard) for one in hypotheses]
    scores = np.asarray(rank(told), np.float64)
    scores += math.log(stranger) * np.array([one.left_out for one in hypotheses])
    likely = np.exp(scores - scores.max())
    shares = likely / likely.sum() * min(1.0, sum(one.share for one in hypotheses))
    order = sorted(range(len(hypotheses)), key=lambda place: -scores[place])
    return [replace(hypotheses[place], share=float(shares[place])) for place in order]


def held_at(sign: Sign, digit: int, confidence: float) -> Sign:
    """The same sign, its confidence in `digit` being just `confidence`.

    A doubt about the line says nothing about which other digit this might be: the row stays as it is.
    Confidence goes to the row, at the cost of all others alike.
    """
    row = sign.probabilities
    if confidence > row[digit]:
        row = row * ((1 - confidence) / (1 - float(row[digit])))
        row[digit] = confidence
    return replace(sign, probabilities=row, held=confidence / float(row[digit]))


def _within(confidence: float, ceiling: float) -> float:
    return min(ceiling, max(LEAST_DOUBT, confidence))


def _led_by(sign: Sign, digit: int) -> Sign:
    """The same sign with `digit` as its likeliest: the whole text told what its place alone did not."""
    row: Floats = sign.probabilities
    best = int(np.argmax(row[:DIGITS]))
    if best == digit:
        return sign
    led = row.copy()
    led[[best, digit]] = row[[digit, best]]
    return replace(sign, probabilities=led)
