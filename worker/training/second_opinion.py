"""How much a classifier and a transcriber count where both read a line: fitted on pages that neither has seen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import Verdict
from worker.recognition.knowledge import Knowledge, TileClassifier
from worker.recognition.opinions import LEAST_CTC, LEAST_DOUBT, LineCalibration, Weights
from worker.recognition.recognizer import recognize
from worker.recognition.transcriber import LineTranscriber
from worker.training.calibration import lowest_threshold
from worker.training.datasets import Examples
from worker.training.logistic import fit_sober
from worker.training.written_lines import LineWriter, WrittenPage
from worker.vision.page import Page
from worker.vision.sheet import sheet_of

# What the classifier counts beside a transcriber that counts 1, on whole marks and on parts cut out of them.
# All networks so far were read best at 0.3 and 0.2, on a scale of 0.7 or 0.85.
RATIOS = tuple(itertools.product((0.2, 0.3, 0.5), (0.1, 0.2, 0.3)))
SCALES = (0.6, 0.7, 0.85, 1.0)  # of all three together: how much confidence the sum deserves
BATCH_PAGES = 64
MAX_ACCEPTED_WRONG = 0.02  # of the pages that are accepted
UNFITTED_LINE = np.array(LineCalibration().as_tuple())  # that the product of its digits is right as it is
SUREST = 1e-4  # no confidence counts as nearer to 0 or 1


class _Remembering:
    """A classifier that answers what it was asked before from memory: the pages stay, the weights change."""

    def __init__(self, classifier: TileClassifier) -> None:
        self._classifier = classifier
        self._known: dict[bytes, npt.NDArray[np.float32]] = {}

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        keys = [tile.tobytes() for tile in tiles]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            answers = self._classifier.logits(tiles[list(new.values())])
            self._known.update(zip(new, answers, strict=True))
        return np.stack([self._known[key] for key in keys]) if keys else self._classifier.logits(tiles)


def draw_pages(examples: Examples, seed: int, count: int) -> list[WrittenPage]:
    """So many pages with two digits or more, made of `examples` and of the pen."""
    rng = np.random.default_rng(seed)
    writer = LineWriter(examples.pixels, examples.labels.astype(np.uint8))
    pages: list[WrittenPage] = []
    while len(pages) < count:
        page = writer.page(rng)
        if len(page.text) > 1:
            pages.append(page)
    return pages


@dataclass(frozen=True, slots=True)
class Opinion:
    """What was fitted, for the card: from the probability `accept` on a line is accepted; `why` is in words."""

    weights: Weights
    calibration: LineCalibration
    accept: float
    why: str


def fit_opinion(
    pages: Sequence[WrittenPage],
    classifier: TileClassifier,
    transcriber: LineTranscriber,
    knowledge: Knowledge,
    to_weigh: int,
) -> Opinion:
    """The weights that read most pages exactly, scaled so that confidence in whole texts is the truest; and why.

    Which reading wins depends on the ratio of the weights alone, how sure it looks on their scale. Both are chosen on
    the first `to_weigh` pages, for each is read as often as there are weights. Calibration and threshold hang on the
    few pages that are wrong and look sure: they need all.
    """
    remembering = _Remembering(classifier)
    weighed = pages[:to_weigh]

    def tried(weights: Weights) -> tuple[float, float]:
        return _loss(weighed, remembering, transcriber, replace(knowledge, weights=weights))

    ratios = [Weights(whole, 1.0, cut) for whole, cut in RATIOS]
    by_exact = [(-exact, loss, place) for place, (loss, exact) in enumerate(map(tried, ratios))]
    best = ratios[min(by_exact)[2]]
    scaled = [
        Weights(round(best.classifier * scale, 3), scale, round(best.cut * scale, 3)) for scale in SCALES
    ]
    by_loss = [(loss, -exact, place) for place, (loss, exact) in enumerate(map(tried, scaled))]
    loss, exact, place = min(by_loss)
    weights = scaled[place]
    evidence, right = _evidence(pages, classifier, transcriber, replace(knowledge, weights=weights))
    calibration = fit_line_calibration(evidence, right)
    known = replace(knowledge, weights=replace(weights, calibration=calibration))
    chance, right = _chances(pages, classifier, transcriber, known)
    accept = lowest_threshold(chance, right, MAX_ACCEPTED_WRONG)
    accepted = chance >= accept
    wrong = float((~right[accepted]).mean()) if accepted.any() else 0.0
    return Opinion(
        weights,
        calibration,
        accept,
        f"{len(weighed):,} held-out pages of numbers of the hard kind: of {len(ratios)} ratios the one that reads most"
        f" of them exactly ({-exact:.1%}), on the scale with the least loss of whole texts ({loss:.3f}); lines"
        f" calibrated on {len(evidence):,} of {len(pages):,} pages, which both read as one; from {accept} on"
        f" {accepted.mean():.1%} of all pages are accepted, {wrong:.2%} of these wrong",
    )


def fit_line_calibration(evidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> LineCalibration:
    """The logistic model of the greatest penalised likelihood; `evidence` (n, 2) is what `LineCalibration` is given.

    Rounded as the card keeps it.
    """
    product = np.clip(evidence[:, 0], LEAST_DOUBT, 1 - LEAST_DOUBT)
    ctc = np.maximum(evidence[:, 1], LEAST_CTC)
    rows = np.stack([np.ones(len(product)), np.log(product / (1 - product)), ctc], axis=1)
    return LineCalibration(*fit_sober(rows, right, UNFITTED_LINE).tolist())


@dataclass(slots=True)
class _Witness:
    """A calibration that changes nothing, and keeps what it was told."""

    told: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, product: float, ctc: float) -> float:
        self.told.append((product, ctc))
        return product


def _evidence(
    pages: Sequence[WrittenPage], classifier: TileClassifier, transcriber: LineTranscriber, known: Knowledge
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """What is known of each page that both read as one line, (n, 2), and whether it was read right."""
    evidence, right = [], []
    for page in pages:
        witness = _Witness()
        own = replace(known, weights=replace(known.weights, calibration=witness))
        ((_, is_right),) = _verdicts([page], classifier, transcriber, own)
        if len(witness.told) == 1:
            evidence += witness.told
            right.append(is_right)
    return np.array(evidence).reshape(-1, 2), np.array(right, np.bool_)


def _chances(
    pages: Sequence[WrittenPage], classifier: TileClassifier, transcriber: LineTranscriber, known: Knowledge
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """For each page the probability that its text is right, and whether it is.

    A page that is read as a single digit is accepted or not by that digit's own threshold.
    """
    chances, right = [], []
    for verdict, is_right in _verdicts(pages, classifier, transcriber, known):
        is_single = len(verdict.digits) < 2
        chances.append(float(verdict.is_read) if is_single else verdict.confidence)
        right.append(is_right)
    return np.array(chances), np.array(right, np.bool_)


def _verdicts(
    pages: Sequence[WrittenPage], classifier: TileClassifier, transcriber: LineTranscriber, known: Knowledge
) -> Iterator[tuple[Verdict, bool]]:
    """What is read on each page, and whether that is right."""
    for start in range(0, len(pages), BATCH_PAGES):
        part = pages[start : start + BATCH_PAGES]
        sheets = [sheet_of(Page(page.grey), known.normalizer) for page in part]
        verdicts = recognize(sheets, classifier, known, transcriber=transcriber)
        for page, verdict in zip(part, verdicts, strict=True):
            yield verdict, "".join(str(reading.digit) for reading in verdict.digits) == page.text


def _loss(
    pages: Sequence[WrittenPage], classifier: TileClassifier, transcriber: LineTranscriber, known: Knowledge
) -> tuple[float, float]:
    """The mean log-loss of the confidence in whole texts, and the share that is exact."""
    losses, exact = [], 0
    for verdict, is_right in _verdicts(pages, classifier, transcriber, known):
        sure = min(1 - SUREST, max(SUREST, verdict.confidence))
        losses.append(-math.log(sure if is_right else 1 - sure))
        exact += is_right
    return float(np.mean(losses)), exact / len(pages)
