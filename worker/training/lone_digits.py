"""How sure two networks together are of a digit that stands alone: fitted on pages that neither has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from worker.recognition.card import LonePart
from worker.recognition.decision import DIGITS
from worker.recognition.knowledge import Knowledge, TileClassifier
from worker.recognition.opinions import chance, log_odds
from worker.recognition.recognizer import recognize
from worker.recognition.transcriber import LineTranscriber
from worker.training.calibration import lowest_threshold, outlier_weight
from worker.training.corpus import Corpus
from worker.training.datasets import Examples
from worker.training.logistic import fit_sober
from worker.vision.page import Page
from worker.vision.sheet import sheet_of

Floats = npt.NDArray[np.float64]

# Of the digits in doubt that are accepted. About one in fifteen is in doubt: of all digits it is a fifteenth of that.
MAX_ACCEPTED_WRONG = 0.01
LEAST_ACCEPTED = 0.9  # however few of these pages are misread: there are worse ones
UNFITTED_BY_ONE = np.array([0.0, 1.0])  # that the classifier is right as often as it says
UNFITTED_BY_BOTH = np.array([0.0, 0.5, 0.5])  # that two witnesses saw the same ink
ROUNDS = 4  # which digit is the likeliest depends on the coefficients that are fitted to it


@dataclass(frozen=True, slots=True)
class LonePage:
    """A page with one sign on it: `grey` uint8 (h, w); `label` below 10 is the digit, above it is none."""

    grey: npt.NDArray[np.uint8]
    label: int


@dataclass(slots=True)
class _Witness:
    """An opinion that keeps what it is told of a sign, by one network or by both, and believes the classifier."""

    sure_from: float
    by_one: list[float] = field(default_factory=list)
    by_both: list[tuple[float, float]] = field(default_factory=list)  # of each digit

    def once(self, confidence: float) -> float:
        self.by_one.append(confidence)
        return confidence

    def twice(self, confidence: float, share: float) -> float:
        self.by_both.append((confidence, share))
        return confidence


@dataclass(slots=True)
class _Evidence:
    """What is known of signs that were looked at equally often: rows of log-odds, and labels, ten and more for none.

    `odds` has, for each sign, a row for each digit that it may be read as; `digits` says which.
    """

    odds: list[list[list[float]]] = field(default_factory=list)
    digits: list[list[int]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def add(self, odds: list[list[float]], digits: list[int], label: int) -> None:
        """One sign."""
        self.odds.append(odds)
        self.digits.append(digits)
        self.labels.append(label)

    def weights(self, outlier: float) -> Floats:
        """What each sign counts, one that is no digit `outlier`."""
        return np.where(np.array(self.labels, np.int64) < DIGITS, 1.0, outlier)

    def read(self, coefficients: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """The rows (n, k) of the digits that these coefficients find likeliest, and which of these are right."""
        rows, right = [], []
        for odds, digits, label in zip(self.odds, self.digits, self.labels, strict=True):
            best = int(np.argmax(np.array(odds) @ coefficients))
            rows.append(odds[best])
            right.append(digits[best] == label)
        return np.array(rows).reshape(-1, len(coefficients)), np.array(right, np.bool_)

    def fitted(self, start: Floats, outlier: float) -> Floats:
        """The coefficients of the logistic model of whether the likeliest digit by these very coefficients is right."""
        found = start
        for _ in range(ROUNDS):
            rows, right = self.read(found)
            found = fit_sober(rows, right, start, self.weights(outlier))
        return found


def draw_lone_pages(examples: Examples, seed: int, count: int) -> list[LonePage]:
    """So many pages with one sign each, made of `examples` and of the pen."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    corpus = Corpus(examples.pixels, examples.labels.astype(np.uint8))
    return [LonePage(*corpus.page(rng)) for _ in range(count)]


def fit_lone_part(
    pages: Sequence[LonePage],
    classifier: TileClassifier,
    transcriber: LineTranscriber,
    knowledge: Knowledge,
) -> LonePart:
    """The calibrations of the greatest likelihood for lone digits, and from what probability on they are accepted.

    Outliers count as often as they come in service. What is accepted is chosen on the digits that were in doubt.
    """
    sure_from = knowledge.thresholds.accept
    by_one, by_both = _evidence(pages, classifier, transcriber, knowledge)
    outlier = outlier_weight(sum(page.label >= DIGITS for page in pages) / max(1, len(pages)))
    sure = by_one.fitted(UNFITTED_BY_ONE, outlier)
    doubt = by_both.fitted(UNFITTED_BY_BOTH, outlier)
    rows, right = by_both.read(doubt)
    weights = by_both.weights(outlier)
    chances = np.array([chance(float(odds)) for odds in rows @ doubt])
    accept = lowest_threshold(chances, right, MAX_ACCEPTED_WRONG, weights, LEAST_ACCEPTED)
    # Who is sure is accepted, whatever the digits in doubt ask for.
    accept = min(accept, round(chance(float(sure @ [1.0, log_odds(sure_from)])) - 0.0005, 3))
    accepted = chances >= accept
    sure_wrong = _share(~by_one.read(sure)[1], by_one.weights(outlier))
    kept = _share(accepted[right], weights[right])
    wrong = _share(~right[accepted], weights[accepted])
    return LonePart(
        by_one=(sure[0], sure[1]),
        by_both=(doubt[0], doubt[1], doubt[2]),
        sure_from=sure_from,
        accept=accept,
        chosen_on=(
            f"{len(pages):,} held-out pages with one sign of the hard kind, those that are no digits weighed"
            f" {outlier:.3f}: {len(by_one.labels):,} of which the classifier was sure, {sure_wrong:.2%} of them wrong,"
            f" and {len(right):,} that both looked at; of these, {kept:.1%} of what is read rightly is accepted from"
            f" {accept} on, and {wrong:.2%} of what is accepted is wrong"
        ),
    )


def _share(chosen: npt.NDArray[np.bool_], weights: Floats) -> float:
    """The weight of those that are `chosen`, in [0, 1]."""
    return float((weights * chosen).sum() / max(float(weights.sum()), 1e-12))


def _evidence(
    pages: Sequence[LonePage], classifier: TileClassifier, transcriber: LineTranscriber, knowledge: Knowledge
) -> tuple[_Evidence, _Evidence]:
    """What is known of the signs that one network looked at, and of those that both did."""
    by_one, by_both = _Evidence(), _Evidence()
    for page in pages:
        witness = _Witness(knowledge.thresholds.accept)
        known = replace(knowledge, weights=replace(knowledge.weights, lone=witness))
        sheet = sheet_of(Page(page.grey), known.normalizer)
        (verdict,) = recognize([sheet], classifier, known, transcriber=transcriber)
        if len(verdict.digits) != 1:
            continue
        if len(witness.by_one) == 1:
            digit = verdict.digits[0].digit
            by_one.add([[1.0, log_odds(witness.by_one[0])]], [digit], page.label)
        elif len(witness.by_both) == DIGITS:
            odds = [[1.0, log_odds(own), log_odds(share)] for own, share in witness.by_both]
            by_both.add(odds, list(range(DIGITS)), page.label)
    return by_one, by_both
