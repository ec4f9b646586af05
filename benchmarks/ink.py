"""MNIST's test digits as ink: loaded, enlarged, turned, joined. Pure but for the loading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

Ink = npt.NDArray[np.float32]
WRITTEN = 0.35  # coverage from which a person sees ink


class DataError(Exception):
    """The file given cannot be measured with; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class TestDigits:
    """MNIST's test part: `pixels` uint8 (n, 28, 28), ink bright on 0; `labels` (n,), 0 to 9."""

    __test__ = False  # the name is MNIST's word; pytest need not collect it

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def load_test_digits(path: Path) -> TestDigits:
    """Load the test part of an .npz in Keras' layout; the training part is never touched.

    DataError when it cannot be read or holds no test part.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            pixels, labels = archive["x_test"], archive["y_test"]
    except (OSError, ValueError, KeyError) as cause:
        raise DataError(f"{path}: no MNIST in Keras' layout with x_test and y_test ({cause}).") from cause
    if pixels.shape[1:] != (28, 28) or pixels.dtype != np.uint8 or labels.shape != (len(pixels),):
        raise DataError(f"{path}: x_test is {pixels.dtype} {pixels.shape}, not uint8 (n, 28, 28).")
    return TestDigits(pixels, labels.astype(np.int64))


def cut_out(pixels: npt.NDArray[np.uint8]) -> Ink:
    """The ink of one tile in its tight box: float32 (h, w) in [0, 1]."""
    return trim(pixels.astype(np.float32) / np.float32(255))


def trim(ink: Ink, least: float = 0.05) -> Ink:
    """The same ink without the empty rows and columns around it; `least` is what counts as ink."""
    rows = np.flatnonzero((ink >= least).any(axis=1))
    columns = np.flatnonzero((ink >= least).any(axis=0))
    if not len(rows):
        return ink
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def enlarge(ink: Ink, height_px: int, gain: float = 1.0, widest_px: int = 400) -> Ink:
    """The same ink `height_px` rows high, by cubic interpolation, sides in proportion; in [0, 1].

    `gain` above 1 makes the core of a stroke solid, as ink is, and its edge steeper. What would be wider
    than `widest_px` is made that wide instead, and less high.
    """
    scale = min(height_px / ink.shape[0], widest_px / ink.shape[1])
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    # The interpolation must see the paper around the box, else strokes at its sides end in a wall.
    framed = cv2.copyMakeBorder(ink, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0.0)
    framed_size = (size[0] + 2 * round(scale), size[1] + 2 * round(scale))
    large = cv2.resize(framed, framed_size, interpolation=cv2.INTER_CUBIC)
    return trim(np.clip(large * gain, 0, 1).astype(np.float32))


def turn(ink: Ink, degrees: float) -> Ink:
    """The same ink turned counter-clockwise about its middle, in its new tight box."""
    height, width = ink.shape
    reach = int(np.ceil(np.hypot(height, width)))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += ((reach - width) / 2, (reach - height) / 2)
    turned = cv2.warpAffine(ink, matrix, (reach, reach), flags=cv2.INTER_LINEAR)
    return trim(cast("Ink", turned))


def put(ink: Ink, page: Ink, x: int, y: int) -> None:
    """Lay the ink on the page, its box's corner at (x, y); where ink is already, the darker one shows."""
    first_x, first_y = max(0, -x), max(0, -y)  # what would lie outside of the page is cut off
    place = page[y + first_y : y + ink.shape[0], x + first_x : x + ink.shape[1]]
    np.maximum(place, ink[first_y:, first_x:][: place.shape[0], : place.shape[1]], out=place)


def gap_px(left: Ink, right: Ink) -> int:
    """How far apart two inks of equal height are in the row where they are nearest, boxes side by side.

    Rows within two pixels of each other count as one: ink that is that near touches, too. 1,000 when no
    row has ink of both.
    """
    rim_left = _rim(left[:, ::-1])
    rim_right = _rim(right)
    return int(min(1000, (rim_left + rim_right).min()))


def join(left: Ink, right: Ink, distance_px: int) -> Ink:
    """Two inks of equal height in one box, `distance_px` between their boxes (negative: they overlap)."""
    x = left.shape[1] + distance_px
    joined = np.zeros((left.shape[0], max(left.shape[1], x + right.shape[1])), np.float32)
    put(left, joined, 0, 0)
    put(right, joined, x, 0)
    return joined


def as_high_as(inks: list[Ink], drops_px: list[int]) -> list[Ink]:
    """The inks in boxes of one height, each lowered by its own `drops_px` from the common top."""
    height = max(ink.shape[0] + drop for ink, drop in zip(inks, drops_px, strict=True))
    return [
        np.pad(ink, ((drop, height - drop - ink.shape[0]), (0, 0)))
        for ink, drop in zip(inks, drops_px, strict=True)
    ]


def _rim(ink: Ink) -> npt.NDArray[np.int64]:
    """For each row, the empty pixels before its first ink, the nearest of the rows within two pixels."""
    written = ink >= WRITTEN
    first = np.where(written.any(axis=1), written.argmax(axis=1), 1000)
    near = np.lib.stride_tricks.sliding_window_view(np.pad(first, 2, constant_values=1000), 5)
    return np.asarray(near.min(axis=1), np.int64)
