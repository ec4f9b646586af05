"""Large pictures with nothing handwritten, that invite a reader to find a thousand digits. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.paper import Conditions, Picture, Rules, develop, draw_jpeg_quality, expose

STYLES = ("specks", "crowd", "newspaper", "grid", "noise")
_TEXT: Final = (
    "the council said on monday that its plans for a new harbour would wait until spring since costs had risen"
    " again while residents of both towns asked for a further hearing before any work begins near old moles"
)


def draw_bad_input(style: str, rng: np.random.Generator) -> Picture:
    """A picture of that style, 1,200 to 1,700 px at its longer side; its label is `none`."""
    height = int(rng.integers(1200, 1601))
    shape = (height, round(height * rng.uniform(0.65, 0.95)))
    conditions = Conditions(
        paper=rng.uniform(215, 250),
        contrast=rng.uniform(0.5, 0.85),
        noise_sigma=rng.uniform(1, 4),
        blur_px=rng.uniform(0.3, 0.8),
        jpeg_quality=draw_jpeg_quality(rng, 75, 95),
    )
    image = _DRAW[style](shape, conditions, rng)
    return Picture("none", style, image, conditions.jpeg_quality, {"made_with": str(conditions)})


def _specks(
    shape: tuple[int, int], conditions: Conditions, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Three to eight thousand specks of 2 to 9 px."""
    page = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(3000, 8001))):
        centre = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        axes = (int(rng.integers(1, 6)), int(rng.integers(1, 4)))
        cv2.ellipse(page, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    return develop(page, conditions, rng)


def _crowd(shape: tuple[int, int], conditions: Conditions, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Heads and shoulders in rows that overlap, each in its own light, before a mottled ground."""
    light = 120 + 60 * _mottled(shape, 40, rng)
    size = rng.uniform(22, 60)
    y = size
    while y < shape[0] + 2 * size:
        for x in np.arange(-size, shape[1] + size, size * 1.5):
            centre = (round(x + rng.normal(0, size / 3)), round(y + rng.normal(0, size / 4)))
            skin, coat, hair = (float(grey) for grey in (rng.uniform(90, 230), *rng.uniform(10, 240, 2)))
            body = (centre[0], centre[1] + round(size * 1.3))
            cv2.ellipse(light, body, (round(size), round(size * 0.9)), 0, 0, 360, coat, -1, cv2.LINE_AA)
            head = (round(size * 0.5), round(size * 0.65))
            cv2.ellipse(light, centre, head, 0, 0, 360, skin, -1, cv2.LINE_AA)
            cv2.ellipse(light, centre, head, 0, 180, 360, hair, -1, cv2.LINE_AA)
            for side in (-1, 1):
                eye = (centre[0] + side * round(size * 0.18), centre[1] + round(size * 0.05))
                cv2.circle(light, eye, max(1, round(size * 0.06)), 20.0, -1, cv2.LINE_AA)
            mouth = (centre[0], centre[1] + round(size * 0.35))
            cv2.ellipse(light, mouth, (round(size * 0.2), 2), 0, 0, 180, 60.0, 1, cv2.LINE_AA)
        y += size * 0.9
    light += 8 * _mottled(shape, 3, rng)
    return expose(light, conditions, rng)


def _newspaper(
    shape: tuple[int, int], conditions: Conditions, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Columns of small printed words, without a figure, below a headline."""
    page = np.zeros(shape, np.uint8)  # letters are drawn on bytes alone
    font = int(rng.choice((cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)))
    scale = rng.uniform(0.32, 0.5)
    cv2.putText(page, "Harbour plans wait", (30, 80), font, 2.0, 255, 3, cv2.LINE_AA)
    columns = int(rng.integers(2, 5))
    breadth = (shape[1] - 60) // columns
    for column in range(columns):
        left = 30 + column * breadth
        x, y = left, 130
        while y < shape[0] - 20:
            word = str(rng.choice(_TEXT.split()))
            wide = cv2.getTextSize(word, font, scale, 1)[0][0]
            if x + wide > left + breadth - 20:
                x, y = left, y + round(38 * scale)
                continue
            cv2.putText(page, word, (x, y), font, scale, 255, 1, cv2.LINE_AA)
            x += wide + round(16 * scale)
    return develop(page.astype(np.float32) / np.float32(255), conditions, rng)


def _grid(shape: tuple[int, int], conditions: Conditions, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Squared paper, a little askew, with strong lines."""
    spacing_px = rng.uniform(16, 50)
    rules = Rules(
        spacing_px, rng.uniform(1, 3), rng.uniform(0.4, 1.0), rng.uniform(0, 16), rng.uniform(-0.06, 0.06),
        is_grid=True,
    )  # fmt: skip
    return develop(np.zeros(shape, np.float32), replace(conditions, rules=rules), rng)


def _noise(shape: tuple[int, int], _: Conditions, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Noise of one grain, from single pixels to blots as large as digits, over the full range."""
    grain_px = float(rng.choice((0.0, 1.5, 4.0, 10.0)))
    noise = 128 + 60 * (_mottled(shape, grain_px, rng) if grain_px else rng.standard_normal(shape))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


def _mottled(shape: tuple[int, int], grain_px: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Smooth noise with mean 0 and deviation 1."""
    smooth = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), grain_px)
    return np.asarray((smooth - smooth.mean()) / max(1e-6, float(smooth.std())), np.float32)


_DRAW = {"specks": _specks, "crowd": _crowd, "newspaper": _newspaper, "grid": _grid, "noise": _noise}
