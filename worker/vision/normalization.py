"""From the ink of one mark to the 28x28 tile that MNIST would have held.

How MNIST made its tiles is known from the reconstruction in QMNIST (Yadav and Bottou, 2019): the tight
box is padded to a square, area-resampled to 20x20, scaled so that its maximum is 255, and shifted by
whole pixels so that the centre of mass lies at index 14 ± 0.5 of a 28x28 field.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from worker.vision.ink import Float, tight_box
from worker.vision.page import TILE_PX


@dataclass(frozen=True, slots=True)
class NormalizerSettings:
    """What a model was trained behind; stored in its card, never overridden by the configuration."""

    name: str = "mnist"
    version: int = 1
    digit_px: int = 20

    def as_dict(self) -> dict[str, str | int]:
        """The settings as the card stores them."""
        return asdict(self)


def normalize(ink: Float, settings: NormalizerSettings | None = None) -> Float:
    """The tile of one mark: float32 (28, 28) in [0, 1], ink bright on 0, its maximum 1.

    `ink` is float32 (h, w) in [0, 1], exactly 0 where there is no ink; its tight box is found here. No
    ink at all gives an empty tile. An ink map that already is an MNIST tile comes back unchanged.
    """
    digit_px = (settings or NormalizerSettings()).digit_px
    tile = np.zeros((TILE_PX, TILE_PX), np.float32)
    x, y, width, height = tight_box(ink)
    if width == 0:
        return tile
    small = _resample(_pad_to_square(ink[y : y + height, x : x + width]), digit_px)
    small *= 1.0 / float(small.max())
    # The centre of mass decides where the digit lies; whole pixels, as MNIST was made.
    mass = float(small.sum())
    indices = np.arange(digit_px, dtype=np.float32)
    top = _offset(float(small.sum(axis=1) @ indices) / mass, digit_px)
    left = _offset(float(small.sum(axis=0) @ indices) / mass, digit_px)
    tile[top : top + digit_px, left : left + digit_px] = small
    return tile


def _offset(centre: float, digit_px: int) -> int:
    """Where the digit field starts so that `centre` comes to lie at TILE_PX / 2, kept inside the tile."""
    return min(max(0, math.floor(TILE_PX / 2 - centre + 0.5)), TILE_PX - digit_px)


def _pad_to_square(ink: Float) -> Float:
    height, width = ink.shape
    side = max(height, width)
    if height == width:
        return ink
    square = np.zeros((side, side), np.float32)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = ink
    return square


def _resample(square: Float, side_px: int) -> Float:
    side = square.shape[0]
    if side == side_px:
        return square.copy()
    method = cv2.INTER_AREA if side > side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (side_px, side_px), interpolation=method), np.float32)
