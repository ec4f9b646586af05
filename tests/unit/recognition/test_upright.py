"""How a page of marks lies, and whether it is one of digits, by what the classifier says of them."""

from __future__ import annotations

import numpy as np
import pytest

from worker.recognition.decision import OTHER, SEVERAL, Sign
from worker.recognition.upright import STORM_FROM, TURNED_FROM, is_poor, is_storm, legibility, weathered
from worker.vision.page import Box

LABELS = 13
EMPTY = np.zeros((0, LABELS))


def _row(label: int, share: float = 0.98) -> np.ndarray:
    row = np.full(LABELS, (1 - share) / (LABELS - 1))
    row[label] = share
    return row


def test_nothing_is_neither_legible_nor_poor_nor_a_storm() -> None:
    assert legibility(EMPTY) == 0.0
    assert not is_poor(EMPTY)
    assert not is_storm(EMPTY)


def test_legibility_lies_between_nothing_and_sure_digits() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        assert 0.0 <= legibility(rng.dirichlet(np.ones(LABELS) * 0.2, 5)) <= 1.0
    assert legibility(np.array([_row(4, 1.0)])) == pytest.approx(1.0)
    assert legibility(np.array([_row(OTHER, 1.0)])) == pytest.approx(0.0)
    assert legibility(np.array([_row(SEVERAL, 1.0)])) == pytest.approx(0.5)
    assert legibility(np.array([_row(1, 1.0)])) < 0.5  # a bar is a bar however a page lies


def test_few_marks_are_never_turned() -> None:
    bad = np.array([_row(OTHER)] * TURNED_FROM)
    assert is_poor(bad)
    assert not is_poor(bad[1:])


def test_many_marks_that_are_no_digits_are_a_storm_and_nothing_in_it_is_read() -> None:
    bad = np.array([_row(OTHER)] * STORM_FROM)
    assert is_storm(bad)
    assert not is_storm(bad[1:])
    assert not is_storm(np.array([_row(3)] * 500))
    assert not is_storm(np.array([_row(3, 0.99)] * 12 + [_row(OTHER)] * 16))  # digits beside a ring binder
    assert is_storm(np.array([_row(3, 0.99)] * 8 + [_row(OTHER)] * 16))
    sign = Sign(_row(3), Box(0, 0, 5, 5), 3)
    assert [[s.chosen for s in line] for line in weathered([[sign, sign], [], [sign]])] == [
        [None, None],
        [],
        [None],
    ]
