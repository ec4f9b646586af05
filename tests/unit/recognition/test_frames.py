"""What frames say of a stretch is held against every way there is to spell it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from worker.recognition.frames import (
    BLANK,
    FRAME_LABELS,
    LOWEST,
    Frames,
    ctc_log_likelihoods,
    evidence,
    peaks,
    shares_of,
)
from worker.vision.strips import Band

BAND = Band(left=40.0, width=300.0, level=50.0, height=36.0, slope=0.0)


def _rows(frames: int, seed: int = 0) -> np.ndarray:
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(FRAME_LABELS), frames))


def _spelled(labels: tuple[int, ...]) -> tuple[int, ...]:
    """CTC's rule: repeats count once, blanks not at all."""
    return tuple(label for label, _ in itertools.groupby(labels) if label != BLANK)


def _by_hand(rows: np.ndarray, text: tuple[int, ...]) -> float:
    alphabet = sorted({*text, BLANK, 7})
    ways = itertools.product(alphabet, repeat=len(rows))
    return sum(
        math.exp(sum(rows[i, label] for i, label in enumerate(way))) for way in ways if _spelled(way) == text
    )


@pytest.mark.parametrize("digit", [3, 7])
def test_evidence_for_a_digit_sums_all_ways_to_spell_it(digit: int) -> None:
    rows = _rows(6)
    found = evidence(rows, [(1, 5)])[0, digit]
    assert math.exp(found) == pytest.approx(_by_hand(rows[1:5], (digit,)))


TEXTS = [(), (3,), (3, 3), (3, 7), (3, 7, 3), (7, 7, 7)]


def test_the_likelihood_of_a_text_sums_all_its_alignments_whatever_is_asked_beside_it() -> None:
    rows = _rows(6, seed=2)
    found = np.exp(ctc_log_likelihoods(rows, TEXTS))
    assert found == pytest.approx([_by_hand(rows, text) for text in TEXTS])
    for text, likely in zip(TEXTS, found, strict=True):
        assert np.exp(ctc_log_likelihoods(rows, [text])) == pytest.approx([likely])
    assert ctc_log_likelihoods(rows, []).shape == (0,)


def test_a_text_longer_than_the_line_is_impossible_and_a_long_line_does_not_underflow() -> None:
    assert ctc_log_likelihoods(_rows(2), [[1, 1], [1]])[0] == -np.inf
    assert np.isfinite(ctc_log_likelihoods(_rows(2), [[1, 1], [1]])[1])
    none = ctc_log_likelihoods(np.zeros((0, FRAME_LABELS)), [[1], []])
    assert none[0] < -20
    assert none[1] == 0.0
    assert -1e5 < ctc_log_likelihoods(np.full((900, FRAME_LABELS), -25.0), [[1, 2]])[0] < -1e4


def test_evidence_for_nothing_is_that_of_blanks() -> None:
    rows = _rows(6)
    assert evidence(rows, [(2, 6)])[0, BLANK] == pytest.approx(rows[2:6, BLANK].sum())


def test_stretches_of_several_lengths_do_not_disturb_one_another() -> None:
    rows = _rows(12)
    stretches = [(0, 3), (3, 12), (5, 5), (11, 12)]
    together = evidence(rows, stretches)
    for alone, stretch in zip(together, stretches, strict=True):
        assert np.array_equal(alone, evidence(rows, [stretch])[0])


def test_an_empty_stretch_holds_nothing_for_certain() -> None:
    found = evidence(_rows(4), [(2, 2)])[0]
    assert found[BLANK] == 0.0
    assert (found[:BLANK] == LOWEST).all()


def test_no_stretches_give_no_rows() -> None:
    assert evidence(_rows(4), []).shape == (0, FRAME_LABELS)


def _frames(labels: str) -> Frames:
    """A frame a character, `-` for none, each said with certainty."""
    rows = np.full((len(labels), FRAME_LABELS), -9.0)
    for place, label in enumerate(labels):
        rows[place, BLANK if label == "-" else int(label)] = -0.01
    return Frames(rows, BAND, 2)


def test_peaks_are_what_ctc_spells_and_where() -> None:
    frames = _frames("--11--1--77-")
    assert [peak.digit for peak in peaks(frames)] == [1, 1, 7]
    assert [frames.frame_at(peak.x) for peak in peaks(frames)] == pytest.approx([3, 6.5, 10])


def test_a_faint_frame_is_no_peak() -> None:
    rows = np.full((3, FRAME_LABELS), math.log(0.08))
    rows[1, 4] = math.log(0.2)
    assert peaks(Frames(rows, BAND, 1)) == []


def test_columns_of_the_page_and_frames_are_each_others_inverse() -> None:
    frames = _frames("-----")
    assert frames.frame_at(frames.x_at(3.25)) == pytest.approx(3.25)


def test_the_shares_are_of_the_ten_digits_alone() -> None:
    rows = _frames("---33---").log_probabilities
    shares = shares_of(rows)
    assert shares.sum() == pytest.approx(1.0)
    assert shares[3] > 0.99
    texts = np.exp(ctc_log_likelihoods(rows, [[digit] for digit in range(10)]))
    assert shares == pytest.approx(texts / texts.sum())


@pytest.mark.parametrize("rows", [np.zeros((0, 11)), np.log(np.full((9, 11), 1 / 11))])
def test_frames_that_say_nothing_give_each_digit_the_same_share(rows: np.ndarray) -> None:
    assert shares_of(rows) == pytest.approx(np.full(10, 0.1))
