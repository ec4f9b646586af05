"""What to make of a line that a classifier and a transcriber read: fitted on pages that neither has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import Verdict
from worker.recognition.hypotheses import Hypothesis, ranked
from worker.recognition.knowledge import Knowledge, TileClassifier
from worker.recognition.opinions import (
    LEAST_CTC,
    LEAST_LOOKED,
    LineCalibration,
    TextRanking,
    Weights,
    log_odds,
)
from worker.recognition.recognizer import recognize
from worker.recognition.transcriber import LineTranscriber
from worker.training.calibration import lowest_threshold, outlier_weight
from worker.training.datasets import Examples
from worker.training.logistic import fit_choice, fit_sober
from worker.training.written_lines import LineWriter, WrittenPage
from worker.vision.page import Page
from worker.vision.sheet import sheet_of

# What counts beside a transcriber in the search for texts: the classifier on whole marks, and on parts cut out of
# them. All networks so far were read best about there; which of the texts found wins is the ranking's to say.
WEIGHTS = Weights(0.25, 0.85, 0.17)
BATCH_PAGES = 64
MAX_ACCEPTED_WRONG = 0.02  # of the pages that are accepted
UNFITTED_LINE = np.array(LineCalibration().as_tuple())  # that the product of its digits is right as it is
UNFITTED_RANKING = TextRanking(0.15, 0.7)  # where there is little to fit it on


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

    ranking: TextRanking
    calibration: LineCalibration
    accept: float
    why: str
    stranger: float = 1.0

    @property
    def weights(self) -> Weights:
        """All of it as the reader takes it, beside the weights of the search, which are not fitted."""
        return replace(WEIGHTS, rank=self.ranking, calibration=self.calibration, stranger=self.stranger)


def fit_opinion(
    pages: Sequence[WrittenPage],
    classifier: TileClassifier,
    transcriber: LineTranscriber,
    knowledge: Knowledge,
) -> Opinion:
    """How texts are ranked that a line may spell, how likely the best one is right, and from where it is accepted."""
    stranger = outlier_weight(_strangers(pages))
    known = replace(knowledge, weights=replace(WEIGHTS, stranger=stranger))
    lines = _lines(pages, classifier, transcriber, known)
    ranking = fit_ranking(lines)
    best = [(ranked(readings, ranking, stranger)[0], truth) for readings, truth in lines]
    numbers = [(one, truth) for one, truth in best if len(one.text) > 1]
    evidence = np.array([(one.product, one.heard) for one, _ in numbers]).reshape(-1, 2)
    right = np.array([one.text == truth for one, truth in numbers], np.bool_)
    calibration = fit_line_calibration(evidence, right)
    known = replace(known, weights=replace(known.weights, rank=ranking, calibration=calibration))
    chance, is_right = _chances(pages, classifier, transcriber, known)
    accept = lowest_threshold(chance, is_right, MAX_ACCEPTED_WRONG)
    accepted = chance >= accept
    wrong = float((~is_right[accepted]).mean()) if accepted.any() else 0.0
    return Opinion(
        ranking,
        calibration,
        accept,
        f"{len(pages):,} held-out pages of numbers of the hard kind, {is_right.mean():.1%} of them read exactly: texts"
        f" ranked and lines calibrated on the {len(numbers):,} of them that both read as one line; from {accept} on"
        f" {accepted.mean():.1%} of all pages are accepted, {wrong:.2%} of these wrong",
        stranger,
    )


def _strangers(pages: Sequence[WrittenPage]) -> float:
    """The share of signs as high as digits that are none, in [0, 1]; how rare they are in service is assumed."""
    strangers = sum(page.strangers for page in pages)
    return strangers / max(1, strangers + sum(len(page.text) for page in pages))


def fit_ranking(lines: Sequence[tuple[Sequence[Hypothesis], str]]) -> TextRanking:
    """The conditional logit that tells the true text of each line best from the others that were found, if it was."""
    options, chosen = [], []
    for readings, truth in lines:
        places = [place for place, one in enumerate(readings) if one.text == truth]
        if places and len(readings) > 1:
            options.append(
                np.array([(max(LEAST_LOOKED, one.looked), max(LEAST_CTC, one.heard)) for one in readings])
            )
            chosen.append(places[0])
    start = np.array([UNFITTED_RANKING.looked, UNFITTED_RANKING.heard])
    return TextRanking(*fit_choice(options, chosen, start).tolist())


def fit_line_calibration(evidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> LineCalibration:
    """The logistic model of the greatest penalised likelihood; `evidence` (n, 2) is what `LineCalibration` is given.

    Rounded as the card keeps it.
    """
    rows = [
        (1.0, log_odds(product), ctc, log_odds(float(np.exp(ctc)))) for product, ctc in _bounded(evidence)
    ]
    return LineCalibration(*fit_sober(np.array(rows).reshape(-1, 4), right, UNFITTED_LINE).tolist())


def _bounded(evidence: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(product, max(LEAST_CTC, ctc)) for product, ctc in evidence.tolist()]


def _lines(
    pages: Sequence[WrittenPage], classifier: TileClassifier, transcriber: LineTranscriber, known: Knowledge
) -> list[tuple[Sequence[Hypothesis], str]]:
    """The readings of each page of which both networks read one line, and what is written there.

    A mark beside that line that only the classifier looked at is no line here; what besides its line sends a page to
    a person says nothing of how the line was read.
    """
    heard: dict[int, list[Sequence[Hypothesis]]] = {}

    def listen(place: int, readings: Sequence[Hypothesis]) -> None:
        if readings and readings[0].frames is not None:
            heard.setdefault(place, []).append(readings)

    for _ in _verdicts(pages, classifier, transcriber, known, listen):
        pass
    return [(lines[0], pages[place].text) for place, lines in heard.items() if len(lines) == 1]


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
    pages: Sequence[WrittenPage],
    classifier: TileClassifier,
    transcriber: LineTranscriber,
    known: Knowledge,
    listen: Callable[[int, Sequence[Hypothesis]], None] | None = None,
) -> Iterator[tuple[Verdict, bool]]:
    """What is read on each page, and whether that is right; `listen` is told the place of the page and its readings."""
    for start in range(0, len(pages), BATCH_PAGES):
        part = pages[start : start + BATCH_PAGES]
        sheets = [sheet_of(Page(page.grey), known.normalizer) for page in part]
        told = None if listen is None else _from(start, listen)
        verdicts = recognize(sheets, classifier, known, transcriber=transcriber, listen=told)
        for page, verdict in zip(part, verdicts, strict=True):
            yield verdict, "".join(str(reading.digit) for reading in verdict.digits) == page.text


def _from(
    start: int, listen: Callable[[int, Sequence[Hypothesis]], None]
) -> Callable[[int, Sequence[Hypothesis]], None]:
    """The same listener, for a batch that begins at `start`."""
    return lambda place, readings: listen(start + place, readings)
