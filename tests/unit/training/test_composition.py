"""Numbers are composed in one height, and candidates are labelled by whose ink they hold."""

from __future__ import annotations

import numpy as np
import pytest

from worker.training.augmentation import Damage
from worker.training.composition import AT_MOST, _label, compose, pieces_of
from worker.training.pen import draw_digit

FRAGMENT, SEVERAL = 11, 12
CLEAN = Damage(ruled=0, printed=0, jpeg=0, inverted=0, clean=1.0)


def _layers(*spans: tuple[int, int]) -> np.ndarray:
    """Layers with a block of ink in these columns each."""
    layers = np.zeros((len(spans), 40, 100), np.float32)
    for layer, (start, stop) in zip(layers, spans, strict=True):
        layer[:, start:stop] = 1
    return layers


def _label_of(layers: np.ndarray, start: int, stop: int) -> int | None:
    totals = layers.sum(axis=(1, 2))
    return _label(layers[:, :, start:stop], totals, [2, 5], FRAGMENT, SEVERAL)


TWO = _layers((0, 40), (50, 90))


@pytest.mark.parametrize(
    ("start", "stop", "label"),
    [
        (0, 45, 2),  # whole
        (45, 100, 5),
        (0, 37, 2),  # nearly whole
        (0, 54, 2),  # with a little of the neighbour
        (0, 20, FRAGMENT),  # half
        (70, 100, FRAGMENT),
        (0, 90, SEVERAL),
        (8, 84, SEVERAL),  # most of both
        (0, 31, None),  # between part and whole
        (0, 70, None),  # one and a half
        (0, 4, None),  # next to nothing
    ],
)
def test_a_candidate_is_labelled_by_whose_ink_it_holds(start: int, stop: int, label: int | None) -> None:
    assert _label_of(TWO, start, stop) == label


def test_an_upright_stroke_is_no_fragment_for_it_reads_as_a_one() -> None:
    assert _label_of(_layers((0, 20), (50, 90)), 0, 10) is None


def test_half_a_nought_is_left_out_for_it_may_be_read() -> None:
    totals = TWO.sum(axis=(1, 2))
    assert _label(TWO[:, :, :20], totals, [0, 5], FRAGMENT, SEVERAL) is None


def test_one_digit_alone_is_labelled_too() -> None:
    layers = _layers((0, 40))
    assert _label(layers, layers.sum(axis=(1, 2)), [7], FRAGMENT, SEVERAL) == 7


@pytest.mark.parametrize("count", [1, 2, 6])
def test_layers_hold_one_digit_each_from_left_to_right(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(5):
        layers = compose([draw_digit(int(rng.integers(10)), rng, 40) for _ in range(count)], rng)
        assert len(layers) == count
        assert len({layer.shape for layer in layers}) == 1
        starts = [int(np.flatnonzero(layer.any(axis=0))[0]) for layer in layers]
        assert starts == sorted(starts)
        assert all(layer.min() >= 0 and 0.3 < layer.max() <= 1 for layer in layers)


def test_candidates_are_tiles_with_labels_of_the_number() -> None:
    rng = np.random.default_rng(7)
    seen: set[int] = set()
    for _ in range(50):
        digits = [int(d) for d in rng.integers(0, 10, 3)]
        layers = compose([draw_digit(d, rng, 40) for d in digits], rng)
        found = list(pieces_of(layers, digits, rng, CLEAN, FRAGMENT, SEVERAL))
        assert len(found) <= AT_MOST
        for tile, label in found:
            assert tile.shape == (28, 28)
            assert tile.max() == pytest.approx(1.0)
            assert label in {*digits, FRAGMENT, SEVERAL}
            seen.add(label)
    assert {FRAGMENT, SEVERAL} <= seen
    assert len(seen - {FRAGMENT, SEVERAL}) >= 5
