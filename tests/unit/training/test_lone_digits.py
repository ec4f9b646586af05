"""The calibration of lone digits finds which digit is likeliest and how likely, whatever the two networks claim."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from worker.recognition.card import LonePart
from worker.recognition.decision import OTHER, Thresholds
from worker.recognition.frames import BLANK, FRAME_LABELS, shares_of
from worker.recognition.knowledge import Knowledge
from worker.recognition.opinions import chance, log_odds
from worker.training.datasets import Examples
from worker.training.logistic import fit_sober
from worker.training.lone_digits import LEAST_ACCEPTED, LonePage, draw_lone_pages, fit_lone_part
from worker.vision.normalization import NormalizerSettings

ACCEPT = 0.9
KNOWN = Knowledge(NormalizerSettings(), 1.0, Thresholds(accept=ACCEPT, digit=0.5))


def _page(label: int) -> LonePage:
    """A bar on white paper: what it is, only the label says."""
    grey = np.full((60, 60), 255, np.uint8)
    grey[12:48, 20:30] = 20
    return LonePage(grey, label)


class Claims:
    """Both networks, saying of the pages in turn what a list says: the classifier's 1, and the transcriber's digit."""

    def __init__(self, ones: Sequence[float], heard: Sequence[int]) -> None:
        self._ones, self._heard = list(ones), list(heard)
        self.page = -1

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.page += len(tiles) > 0
        logits = np.full((len(tiles), 13), -12.0, np.float32)
        logits[:, 1] = np.log(self._ones[self.page])
        logits[:, 7] = np.log(1 - self._ones[self.page])
        return logits

    def frames(self, strips: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float64]]:
        rows = np.full((20, FRAME_LABELS), np.log(0.01))
        rows[:, BLANK] = np.log(0.9)
        rows[8:12, BLANK] = np.log(0.01)
        rows[8:12, self._heard[self.page]] = np.log(0.9)
        return [rows for _ in strips]


def test_it_believes_each_network_as_far_as_it_was_right() -> None:
    rng = np.random.default_rng(1)
    count = 600
    # In doubt the classifier knows nothing, the transcriber is right nine times in ten; sure, it is right indeed.
    is_one = rng.random(count) < 0.5
    told = np.where(is_one, 1, 7)
    heard = np.where(rng.random(count) < 0.9, told, 8 - told)
    sure = np.arange(count) % 3 == 0
    ones = np.where(sure, np.where(is_one, 0.93, 0.07), 0.5 + rng.uniform(-0.1, 0.1, count))
    claims = Claims(ones.tolist(), heard.tolist())
    pages = [_page(label) for label in told.tolist()]
    part = fit_lone_part(pages, claims, claims, KNOWN)
    constant, classifier, transcriber = part.by_both
    assert transcriber > 2 * classifier
    share = float(shares_of(claims.frames([np.zeros((32, 40), np.float32)])[0]).max())
    assert chance(constant + transcriber * log_odds(share)) == pytest.approx(0.9, abs=0.03)
    assert part.sure_from == ACCEPT
    # Sure of 0.93 and never wrong: it was too modest.
    sure_of = chance(part.by_one[0] + part.by_one[1] * log_odds(0.93))
    assert sure_of > 0.96
    assert part.accept <= sure_of


def _claimed(told: Sequence[int], ones: Sequence[float]) -> LonePart:
    """What comes of pages of these labels, whose 1s the classifier says with these probabilities, the other as sure."""
    claims = Claims(ones, [1] * len(told))
    return fit_lone_part([_page(label) for label in told], claims, claims, KNOWN)


def test_a_sign_that_is_no_digit_counts_as_rarely_as_in_service() -> None:
    ones = [0.6, 0.7, 0.8] * 60
    labels = [OTHER if i % 4 == 0 else 1 for i in range(180)]
    often = _claimed([7 if label == OTHER else 1 for label in labels], ones)
    rarely = _claimed(labels, ones)

    def sure(part: LonePart) -> float:
        share = float(shares_of(Claims([0.5], [1]).frames([np.zeros((32, 40), np.float32)])[0]).max())
        return chance(float(np.dot(part.by_both, [1.0, log_odds(0.7), log_odds(share)])))

    assert sure(often) == pytest.approx(0.75, abs=0.05)
    assert sure(rarely) == pytest.approx(0.98, abs=0.01)  # one in fifty


def test_who_is_sure_is_accepted_whatever_those_in_doubt_ask_for() -> None:
    # Of those in doubt a third is wrong, whatever is said of them: none is to be accepted.
    part = _claimed([1] * 60 + [1, 1, 7] * 40, [0.93] * 60 + [0.6] * 120)
    assert part.accept <= chance(part.by_one[0] + part.by_one[1] * log_odds(ACCEPT))
    assert part.accept > chance(float(np.dot(part.by_both, [1.0, log_odds(0.6), 14.0])))
    assert "0.00% of what is accepted is wrong" in part.chosen_on


def test_of_those_in_doubt_no_more_are_accepted_than_keep_the_promise() -> None:
    # Of those of which it is hardly sure, one in sixteen is wrong, of the others none.
    part = _claimed([1] * 40 + [7, *[1] * 15] * 10 + [1] * 60, [0.85] * 40 + [0.55] * 160 + [0.93] * 60)
    share = float(shares_of(Claims([0.5], [1]).frames([np.zeros((32, 40), np.float32)])[0]).max())
    hardly, rather = (
        chance(float(np.dot(part.by_both, [1.0, log_odds(own), log_odds(share)]))) for own in (0.55, 0.85)
    )
    assert LEAST_ACCEPTED < hardly < part.accept <= rather
    assert "0.00% of what is accepted is wrong" in part.chosen_on


def test_no_pages_leave_it_as_it_began() -> None:
    claims = Claims([], [])
    part = fit_lone_part([], claims, claims, KNOWN)
    assert (part.by_one, part.by_both) == ((0.0, 1.0), (0.0, 0.5, 0.5))


def test_pages_are_the_same_for_a_seed_and_hold_digits_and_outliers() -> None:
    rng = np.random.default_rng(0)
    examples = Examples((rng.random((10, 28, 28)) * 255).astype(np.uint8), np.arange(10, dtype=np.int32))
    pages, again = draw_lone_pages(examples, 3, 60), draw_lone_pages(examples, 3, 60)
    assert all(np.array_equal(page.grey, other.grey) for page, other in zip(pages, again, strict=True))
    labels = [page.label for page in pages]
    assert labels == [page.label for page in again]
    assert 0 < sum(label >= OTHER for label in labels) < 25


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_evidence_counts_as_often_as_it_weighs(weight: float) -> None:
    rng = np.random.default_rng(2)
    rows = np.column_stack([np.ones(2000), rng.normal(0, 2, 2000)])
    right = rng.random(2000) < 1 / (1 + np.exp(-(0.5 + rows[:, 1])))
    weights = np.where(right, 1.0, weight)
    constant, slope = fit_sober(rows, right, np.array([0.0, 1.0]), weights)
    assert slope == pytest.approx(1.0, abs=0.15)
    assert constant == pytest.approx(0.5 - np.log(weight), abs=0.2)
