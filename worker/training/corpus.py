"""The corpus the shipped model learns from: MNIST and the project's own pen, seen as service sees them.

Everything is drawn from a seed: the same seed gives the same tiles, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import cv2
import numpy as np
import numpy.typing as npt

from worker.training.augmentation import Damage, cut, draw_blank, lay_on_page, main_tile, thicken, warp
from worker.training.composition import compose, pieces_of
from worker.training.marks import draw_fragment, draw_non_digit, draw_several
from worker.training.pen import draw_digit
from worker.vision.normalization import normalize

Float = npt.NDArray[np.float32]
Tiles = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.uint8]
Rng = np.random.Generator

OTHER, FRAGMENT, SEVERAL = 10, 11, 12
LABELS = (*"0123456789", "other", "fragment", "several")
BLOCK = 2_000  # tiles drawn from one seed; the unit of work of a process


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which share of the corpus comes from where; the shares sum to 1."""

    mnist_warped: float = 0.40  # MNIST digits, warped only
    mnist_on_page: float = 0.12  # MNIST digits, warped, on a simulated page
    pen_on_page: float = 0.22  # digits of the pen, on a simulated page
    from_numbers: float = 0.11  # what candidate cuts make of digits side by side: digits, parts, several
    other: float = 0.11  # letters, scribbles, lines, stains
    fragment: float = 0.02  # halves of digits
    several: float = 0.02  # two or three digits in one


# Halves that a person would still read as a digit: no outliers. (digit, which half)
_READABLE_HALVES = {
    (0, "left"), (0, "right"),
    (1, "top"), (1, "bottom"), (1, "left"), (1, "right"),
    (2, "top"), (3, "top"),
    (4, "bottom"), (4, "right"),
    (6, "bottom"), (6, "left"),
    (7, "top"), (7, "bottom"), (7, "right"),
    (8, "top"), (8, "bottom"), (8, "right"),
    (9, "top"), (9, "bottom"), (9, "right"),
}  # fmt: skip


class Corpus:
    """Draws labelled tiles from MNIST's training part and from the pen."""

    def __init__(self, digits: Tiles, labels: Labels, recipe: Recipe | None = None) -> None:
        self._digits = digits
        self._labels = labels
        self._damage = Damage()
        recipe = recipe or Recipe()
        sources: list[tuple[Callable[[Rng], tuple[Float | None, int]], float]] = [
            (self._mnist_warped, recipe.mnist_warped),
            (self._mnist_on_page, recipe.mnist_on_page),
            (self._pen_on_page, recipe.pen_on_page),
            (self._from_numbers, recipe.from_numbers),
            (self._other, recipe.other),
            (self._fragment, recipe.fragment),
            (self._several, recipe.several),
        ]
        self._sources = [source for source, _ in sources]
        self._shares = np.cumsum([share for _, share in sources])
        self._pieces: list[tuple[Float, int]] = []  # of the number that was drawn last

    def block(self, seed: int) -> tuple[Tiles, Labels]:
        """`BLOCK` tiles uint8 (n, 28, 28) and their labels (indices of LABELS), shuffled by nature."""
        cv2.setNumThreads(1)
        rng = np.random.default_rng(seed)
        self._pieces.clear()
        tiles = np.empty((BLOCK, 28, 28), np.uint8)
        labels = np.empty(BLOCK, np.uint8)
        count = 0
        while count < BLOCK:
            source = self._sources[
                int(np.searchsorted(self._shares, rng.random() * self._shares[-1], "right"))
            ]
            tile, label = source(rng)
            if tile is not None and float(tile.max()) > 0:
                tiles[count] = np.round(tile * 255)
                labels[count] = label
                count += 1
        return tiles, labels

    def page(self, rng: Rng) -> tuple[Grey, int]:
        """A page, uint8 (h, w), with one sign on it, and its label: digits plain and damaged, and outliers."""
        kind = rng.random()
        if kind < 0.25:
            return self._plain_page(rng)
        if kind < 0.55:
            ink, label = self._large(rng)
        elif kind < 0.85:
            label = int(rng.integers(10))
            ink = draw_digit(label, rng)
        elif kind < 0.93:
            ink, label = draw_non_digit(rng), OTHER
        elif kind < 0.965:
            ink, label = draw_fragment(rng), FRAGMENT
        else:
            ink, label = draw_several(rng), SEVERAL
        return lay_on_page(ink, rng, self._damage), label

    def _plain_page(self, rng: Rng) -> tuple[Grey, int]:
        """An MNIST digit as it is, dark on light, with some room around it, at its own size or enlarged."""
        ink, label = self._pick(rng)
        grey = 255 - np.pad(np.rint(ink * 255).astype(np.uint8), int(rng.integers(20)))
        if rng.random() < 0.5:
            scale = rng.uniform(1, 6)
            method = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_NEAREST
            grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method), np.uint8)
        return grey, label

    # --- digits ---------------------------------------------------------------------------------

    def _pick(self, rng: Rng) -> tuple[Float, int]:
        """An MNIST digit as float32 ink of its own 28x28 field, and its label."""
        index = int(rng.integers(len(self._digits)))
        return self._digits[index].astype(np.float32) / 255, int(self._labels[index])

    def _large(self, rng: Rng) -> tuple[Float, int]:
        """An MNIST digit as another pen, hand and scanner would have made it, at a height they would."""
        ink, label = self._pick(rng)
        side = int(np.exp(rng.uniform(np.log(26), np.log(90))))
        ink = np.clip(cv2.resize(ink, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)
        ink = warp(ink, rng)
        return (thicken(ink, rng) if rng.random() < 0.35 else ink), label

    def _mnist_warped(self, rng: Rng) -> tuple[Float | None, int]:
        ink, label = self._pick(rng)
        if rng.random() < 0.08:
            return normalize(ink), label
        ink = np.asarray(cv2.resize(ink, (56, 56), interpolation=cv2.INTER_LINEAR), np.float32)
        return normalize(_without_dust(warp(ink, rng, float(rng.uniform(0.3, 1.0))))), label

    def _mnist_on_page(self, rng: Rng) -> tuple[Float | None, int]:
        ink, label = self._large(rng)
        return main_tile(lay_on_page(ink, rng, self._damage)), label

    def _pen_on_page(self, rng: Rng) -> tuple[Float | None, int]:
        label = int(rng.integers(10))
        return main_tile(lay_on_page(draw_digit(label, rng), rng, self._damage)), label

    def _from_numbers(self, rng: Rng) -> tuple[Float | None, int]:
        """A candidate of the reader of numbers, labelled by whose ink it holds."""
        while not self._pieces:
            written = rng.random() < 0.5
            count = int(rng.integers(2, 5))
            digits = [self._one_of_a_number(rng, is_written=written) for _ in range(count)]
            number = compose([ink for ink, _ in digits], rng)
            labels = [label for _, label in digits]
            self._pieces = list(pieces_of(number, labels, rng, self._damage, FRAGMENT, SEVERAL))
        return self._pieces.pop()

    def _one_of_a_number(self, rng: Rng, *, is_written: bool) -> tuple[Float, int]:
        if not is_written:
            ink, label = self._large(rng)
            return _without_dust(_tight(ink).copy()), label
        label = int(rng.integers(10))
        return _tight(draw_digit(label, rng)), label

    # --- outliers -------------------------------------------------------------------------------

    def _other(self, rng: Rng) -> tuple[Float | None, int]:
        if rng.random() < 0.3:
            return self._paper(rng), OTHER
        return main_tile(lay_on_page(draw_non_digit(rng), rng, self._damage)), OTHER

    def _paper(self, rng: Rng) -> Float | None:
        """What the cutter takes for a mark on paper that nobody has written on."""
        for _ in range(20):
            # An upright bar is how most people write a 1, wherever it comes from.
            marks = [mark for mark in cut(draw_blank(rng)) if mark.box.height < 2 * mark.box.width]
            if marks:
                return normalize(marks[int(rng.integers(len(marks)))].ink)
        return None

    def _fragment(self, rng: Rng) -> tuple[Float | None, int]:
        if rng.random() < 0.35:
            return main_tile(lay_on_page(draw_fragment(rng), rng, self._damage)), FRAGMENT
        ink, label = self._large(rng)
        half = str(rng.choice(("top", "bottom", "left", "right")))
        if (label, half) in _READABLE_HALVES:
            return None, FRAGMENT
        return normalize(_half(ink, half, float(rng.uniform(0.42, 0.58)))), FRAGMENT

    def _several(self, rng: Rng) -> tuple[Float | None, int]:
        if rng.random() < 0.35:
            return normalize(draw_several(rng)), SEVERAL
        left, right = self._large(rng)[0], self._large(rng)[0]
        return normalize(_side_by_side(left, right, rng)), SEVERAL


def _without_dust(ink: Float) -> Float:
    """Zero where interpolation left next to nothing, so that the tight box stays tight."""
    ink[ink < 0.04] = 0
    return ink


def _tight(ink: Float) -> Float:
    rows, columns = np.flatnonzero((ink > 0.1).any(axis=1)), np.flatnonzero((ink > 0.1).any(axis=0))
    if rows.size == 0 or columns.size == 0:
        return ink
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _half(ink: Float, half: str, share: float) -> Float:
    ink = _without_dust(_tight(ink).copy())
    height, width = ink.shape
    if half == "top":
        return ink[: max(2, int(height * share))]
    if half == "bottom":
        return ink[-max(2, int(height * share)) :]
    if half == "left":
        return ink[:, : max(2, int(width * share))]
    return ink[:, -max(2, int(width * share)) :]


def _side_by_side(left: Float, right: Float, rng: Rng) -> Float:
    """Two digits of about the same height: apart, touching, or overlapping a little."""
    left, right = _without_dust(_tight(left).copy()), _without_dust(_tight(right).copy())
    height = max(8, int(left.shape[0] * rng.uniform(0.8, 1.25)))
    width = max(2, round(right.shape[1] * height / right.shape[0]))
    right = np.asarray(cv2.resize(right, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    gap = int(rng.uniform(-0.12, 0.2) * min(left.shape[1], width))
    rise = int(rng.uniform(-0.15, 0.15) * height)
    tall = max(left.shape[0], height) + abs(rise)
    both = np.zeros((tall, left.shape[1] + width + max(gap, 0)), np.float32)
    top_left, top_right = max(0, -rise), max(0, rise)
    both[top_left : top_left + left.shape[0], : left.shape[1]] = left
    start = left.shape[1] + gap
    window = both[top_right : top_right + height, start : start + width]
    np.maximum(window, right[: window.shape[0], : window.shape[1]], out=window)
    return both


# --- many blocks, by several processes --------------------------------------------------------------

_corpus: Corpus | None = None


def _start(digits: Tiles, labels: Labels, recipe: Recipe) -> None:
    global _corpus  # noqa: PLW0603 - what each process of the pool holds; sent once, not with every task
    _corpus = Corpus(digits, labels, recipe)


def _block(seed: int) -> tuple[Tiles, Labels]:
    assert _corpus is not None  # noqa: S101 - _start ran before
    return _corpus.block(seed)


def draw_blocks(
    digits: Tiles, labels: Labels, recipe: Recipe, seeds: range, processes: int
) -> Iterator[tuple[Tiles, Labels]]:
    """The blocks of `seeds`, in their order, drawn by `processes` processes (which never see TensorFlow)."""
    context = get_context("spawn")
    with ProcessPoolExecutor(
        processes, context, initializer=_start, initargs=(digits, labels, recipe)
    ) as pool:
        yield from pool.map(_block, seeds)
