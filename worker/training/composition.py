"""Numbers composed of single digits, and what candidate cuts make of them: the reader's own diet.

A candidate is labelled by whose ink it holds: nearly all of one digit and little else is that digit, a
part of one is a fragment, most of two is several. What lies in between says nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from worker.training.augmentation import Damage, cut, scan
from worker.vision.cuts import between, find_seams
from worker.vision.normalization import normalize
from worker.vision.segmentation import Mark

Float = npt.NDArray[np.float32]
Rng = np.random.Generator

WHOLE, PURE = 0.88, 0.86  # of a digit's ink in the candidate; of the candidate's ink from that digit
PART = (0.22, 0.66)  # a share of a digit's ink that is surely a fragment
MOST = 0.7  # of each of two digits: several
AT_MOST = 4  # candidates from one number: more would repeat it

# Digits of which a person may still read a part: what lies left, or right, of a cut through one.
READABLE_IN_PART = {0, 1, 3, 4, 6, 7, 8, 9}


def compose(inks: Sequence[Float], rng: Rng) -> list[Float]:
    """Layers (h, w) of one digit each, set side by side in about one height: apart, touching or overlapping."""
    height = int(np.median([ink.shape[0] for ink in inks]).clip(18, 70))
    tight = rng.random()
    low, high = (0.04, 0.35) if tight < 0.3 else (-0.06, 0.06) if tight < 0.65 else (-0.22, 0.02)
    placed: list[tuple[int, int, Float]] = []
    right = 0
    for ink in inks:
        own = max(8, round(height * rng.uniform(0.75, 1.2)))
        scale = own / ink.shape[0]
        width = max(2, min(round(ink.shape[1] * scale), 2 * own))
        digit = np.asarray(cv2.resize(ink, (width, own), interpolation=cv2.INTER_AREA), np.float32)
        start = right + round(rng.uniform(low, high) * height) if placed else 0
        start = max(start, placed[-1][0] + 3) if placed else 0
        rise = round(rng.uniform(-0.15, 0.15) * height)
        placed.append((start, rise, digit))
        right = max(right, start + width)
    top = min(rise - digit.shape[0] for _, rise, digit in placed)
    bottom = max(rise for _, rise, _ in placed)
    layers = []
    for start, rise, digit in placed:
        layer = np.zeros((bottom - top, right), np.float32)
        first = rise - digit.shape[0] - top
        layer[first : first + digit.shape[0], start : start + digit.shape[1]] = digit
        layers.append(layer)
    return layers


def pieces_of(
    layers: Sequence[Float], labels: Sequence[int], rng: Rng, damage: Damage, fragment: int, several: int
) -> Iterator[tuple[Float, int]]:
    """Tiles float32 (28, 28) and labels of a few candidates that the production cutter makes of a number."""
    height = layers[0].shape[0]
    totals = np.array(
        [float(layer.sum()) for layer in layers]
    )  # whole digits, whatever a crop leaves of them
    rims = [int(height * rng.uniform(0.1, 0.6)) + 1 for _ in range(4)]
    if rng.random() < 0.35:  # cut out of something larger, straight through the neighbours
        layers, rims = _crop(layers, rng), [1, 1, int(rng.integers(0, 3)), int(rng.integers(0, 3))]
    padded = np.pad(np.stack(layers), ((0, 0), (rims[0], rims[1]), (rims[2], rims[3])))
    page = scan(padded.max(axis=0), rng, damage, height)
    found: list[tuple[Float, int]] = []
    for mark in cut(page):
        box = mark.box
        if (box.height, box.width) == mark.ink.shape:
            own = padded[:, box.y : box.y + box.height, box.x : box.x + box.width]
            found += _candidates(mark, own, totals, labels, fragment, several)
    order = rng.permutation(len(found))[:AT_MOST]
    return (found[int(i)] for i in order)


def _crop(layers: Sequence[Float], rng: Rng) -> list[Float]:
    """The layers around one digit, with a little of what stands beside it."""
    chosen = layers[int(rng.integers(len(layers)))]
    columns = np.flatnonzero(chosen.any(axis=0))
    rim = 0.12 * chosen.shape[0]
    left = max(0, int(columns[0] - rng.uniform(0, rim)))
    right = min(chosen.shape[1], int(columns[-1] + 1 + rng.uniform(0, rim)))
    return [layer[:, left:right] for layer in layers]


def _candidates(
    mark: Mark, layers: Float, totals: Float, labels: Sequence[int], fragment: int, several: int
) -> Iterator[tuple[Float, int]]:
    ends = [None, *find_seams(mark.ink), None]
    # From end to end is the mark itself, with all that service leaves in it.
    for first in range(len(ends) - 1):
        for last in range(first + 1, min(first + 4, len(ends))):
            is_whole = first == 0 and last == len(ends) - 1
            piece = (mark.ink, 0, 0) if is_whole else between(mark.ink, ends[first], ends[last])
            if piece is None or piece[0].shape[0] < 6:
                continue
            ink, x, y = piece
            window = layers[:, y : y + ink.shape[0], x : x + ink.shape[1]] * (ink > 0)
            label = _label(window, totals, labels, fragment, several)
            if label is not None:
                yield normalize(ink), label


def _label(window: Float, totals: Float, labels: Sequence[int], fragment: int, several: int) -> int | None:
    held = window.sum(axis=(1, 2))
    shares = held / np.maximum(totals, 1e-6)
    best = int(np.argmax(held))
    purity = float(held[best]) / max(float(held.sum()), 1e-6)
    if shares[best] >= WHOLE and purity >= PURE:
        return labels[best]
    if np.count_nonzero(shares >= MOST) >= 2:
        return several
    if not (PART[0] <= shares[best] <= PART[1] and purity > 0.6):
        return None
    return None if _is_readable(window[best], labels[best], shares[best]) else fragment


def _is_readable(part: Float, digit: int, share: float) -> bool:
    """Whether the part of a digit may still read as one: upright strokes, and some halves."""
    mass = part.sum(axis=0, dtype=np.float64)
    x = np.arange(len(mass))
    mass /= max(float(mass.sum()), 1e-6)
    rows = np.flatnonzero(part.any(axis=1))
    tall = int(rows[-1] - rows[0] + 1)
    spread = float(np.sqrt(mass @ (x - mass @ x) ** 2))
    if spread < 0.14 * tall:
        return True
    return share > 0.4 and digit in READABLE_IN_PART
