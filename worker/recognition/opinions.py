"""What to make of two opinions, of the classifier and of the transcriber, where both speak of the same ink. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class TextEvidence(NamedTuple):
    """What both said of one text that a line may spell: log-probabilities, by the classifier and the transcriber."""

    looked: float
    heard: float


Calibrate = Callable[[float, float], float]  # what a calibration is called with, and gives
Rank = Callable[[Sequence[TextEvidence]], Sequence[float]]  # log-probabilities of texts, up to a constant

LEAST_DOUBT = 1e-6  # about a whole line, or a lone digit
LEAST_CTC = -20.0  # what the transcriber finds less likely than that, it rules out
LEAST_LOOKED = -60.0  # the same for the classifier, about whole lines
MOST_ODDS = 14.0  # about 1 in 10^6: as little doubt as above


def log_odds(probability: float) -> float:
    """The logarithm of the odds of a probability, which counts as no nearer to 0 or 1 than `LEAST_DOUBT`."""
    probability = min(1 - LEAST_DOUBT, max(LEAST_DOUBT, probability))
    return math.log(probability / (1 - probability))


def chance(odds: float) -> float:
    """The probability, in (0, 1), whose odds have this logarithm, of which some are as good as infinite."""
    return 1 / (1 + math.exp(-min(MOST_ODDS, max(-MOST_ODDS, odds))))


@dataclass(frozen=True, slots=True)
class LineCalibration:
    """How likely a line is right as a whole, given both opinions: a logistic model (as Platt, 1999).

    `reading` weighs the log-odds of the product of its digits' probabilities; `ctc` the log-likelihood of that text by
    the transcriber alone, and `spelled` its log-odds: only these tell the sure from the very sure. What the transcriber
    says of a text sees what the product cannot: a digit for which no candidate had a place.
    """

    constant: float = 0.0
    reading: float = 1.0
    ctc: float = 0.0
    spelled: float = 0.0

    def as_tuple(self) -> tuple[float, float, float, float]:
        """The four numbers, as a card keeps them."""
        return self.constant, self.reading, self.ctc, self.spelled

    def __call__(self, product: float, ctc: float) -> float:
        """The probability, in (0, 1), that a line is right whose digits have this product, by a log-likelihood."""
        ctc = max(LEAST_CTC, ctc)
        by_text = self.ctc * ctc + self.spelled * log_odds(math.exp(ctc))
        return chance(self.constant + self.reading * log_odds(product) + by_text)


@dataclass(frozen=True, slots=True)
class TextRanking:
    """How likely each of several texts is, given that one of them is right: a conditional logit (McFadden, 1974).

    `looked` weighs what the classifier says of the signs of a reading, `heard` what the transcriber says of its text.
    """

    looked: float
    heard: float

    def __call__(self, texts: Sequence[TextEvidence]) -> list[float]:
        """Log-probabilities of the texts, up to a constant."""
        return [
            self.looked * max(LEAST_LOOKED, one.looked) + self.heard * max(LEAST_CTC, one.heard)
            for one in texts
        ]


class LoneOpinion(Protocol):
    """What a digit that stands alone is worth, whatever looked at it; `LoneCalibration` is the one that serves."""

    @property
    def sure_from(self) -> float:
        """The classifier's confidence from which on a lone digit needs no second look, in [0, 1]."""
        ...

    def once(self, confidence: float) -> float:
        """The probability that a digit is right that needed none, given the classifier's confidence in it."""
        ...

    def twice(self, confidence: float, share: float) -> float:
        """The probability that a digit is right that both looked at, given the share that the transcriber gives it."""
        ...


@dataclass(frozen=True, slots=True)
class LoneCalibration:
    """How likely a digit is right that stands alone: a logistic model where one looked at it, another where both did.

    Networks trained towards smoothed labels are too modest where they are sure and too bold where they are not:
    one temperature cannot be right for both. Of two opinions, `by_both` weighs the log-odds of the classifier's
    confidence and those of the digit's share among the ten by the transcriber: what is no digit at all that never
    learned. The digit is the one that this finds likeliest; where the two name different ones, it is not sure.
    """

    by_one: tuple[float, float]  # constant, classifier
    by_both: tuple[float, float, float]  # constant, classifier, transcriber
    sure_from: float

    def once(self, confidence: float) -> float:
        """The probability, in (0, 1), that a digit of this confidence is right, from `sure_from` on."""
        constant, classifier = self.by_one
        return chance(constant + classifier * log_odds(confidence))

    def twice(self, confidence: float, share: float) -> float:
        """The probability, in (0, 1), that a digit of this confidence and of this share, each in [0, 1], is right."""
        constant, classifier, transcriber = self.by_both
        return chance(constant + classifier * log_odds(confidence) + transcriber * log_odds(share))


@dataclass(frozen=True, slots=True)
class Weights:
    """How much the log-probabilities of the classifier and of the transcriber count where both speak of a line.

    They look at the same ink: less than two independent witnesses would. What the classifier says of a part cut
    out of a mark counts `cut`: it was drawn by scissors, not by a hand. `rank` says which of the texts found so is the
    likeliest; None: as they were found. `stranger` is how often a sign counts that is as high as the digits of its
    line and none: in service they are rarer than where the networks learned. In odds, in (0, 1] (Saerens et al., 2002).
    `calibration` says what to make of both for a line, `lone` of a digit that stands alone; None: its share of both, as
    it is.
    """

    classifier: float = 0.7
    transcriber: float = 0.7
    cut: float = 0.4
    calibration: Calibrate = LineCalibration()
    rank: Rank | None = None
    stranger: float = 1.0
    lone: LoneOpinion | None = None


UNFITTED = Weights()
