"""Simulated paper and what a scanner or a camera makes of it: ink coverage → picture. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.ink import Ink, put

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Rules:
    """Lines printed on the paper: a ruling, or a grid.

    `strength` is how dark a line is, as a share of the ink's darkness; `tilt` is a slope (dy/dx).
    """

    spacing_px: float
    width_px: float
    strength: float
    phase_px: float
    tilt: float
    is_grid: bool


@dataclass(frozen=True, slots=True)
class Conditions:
    """How one picture came about.

    `paper` is the grey of the lightest paper, 0 to 255. `contrast` is how far ink lies from that paper, as
    a share of the full range of 255; `is_inverted`: light ink on dark paper. `gradient` is the share of the
    light that is lost from the lightest to the darkest edge of the page; light falls off towards
    `gradient_degrees`. `noise_sigma` is in grey levels of 255. `tint` are factors for blue, green and red,
    or None for a grey picture; `jpeg_quality` is None for PNG.
    """

    paper: float
    contrast: float
    noise_sigma: float
    blur_px: float
    gradient: float = 0.0
    gradient_degrees: float = 0.0
    is_inverted: bool = False
    rules: Rules | None = None
    tint: tuple[float, float, float] | None = None
    jpeg_quality: int | None = None

    def __str__(self) -> str:
        rules = f"{self.rules.strength:.0%}" if self.rules else "none"
        return (
            f"contrast {self.contrast:.1%} noise {self.noise_sigma:.1f} blur {self.blur_px:.1f} px"
            f" gradient {self.gradient:.0%} rules {rules} jpeg {self.jpeg_quality or 'no'}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture with what it shows, ready to be written: `image` uint8 (h, w) or (h, w, 3), BGR."""

    label: str
    style: str
    image: Image
    jpeg_quality: int | None = None
    notes: dict[str, str] = field(default_factory=dict)


def develop(coverage: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    """The picture of a page whose ink covers `coverage` (h, w; 0 paper to 1 ink): ink, light, lens, noise."""
    covered = coverage
    if conditions.rules is not None:
        covered = np.maximum(
            coverage, conditions.rules.strength * draw_rules(coverage.shape, conditions.rules)
        )
    direction = 1 if conditions.is_inverted else -1
    grey = conditions.paper + direction * 255 * conditions.contrast * covered
    if conditions.gradient > 0:
        grey *= 1 - conditions.gradient * draw_ramp(coverage.shape, conditions.gradient_degrees)
    return expose(grey, conditions, rng)


def expose(grey: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    """What lens, sensor and paper colour make of the light `grey` (h, w; 0 to 255): blur, noise, tint."""
    if conditions.blur_px > 0:
        grey = cast("Ink", cv2.GaussianBlur(grey, (0, 0), conditions.blur_px))
    grey = grey + conditions.noise_sigma * rng.standard_normal(grey.shape, dtype=np.float32)
    if conditions.tint is None:
        return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    coloured = grey[:, :, None] * np.array(conditions.tint, np.float32)
    return np.clip(np.rint(coloured), 0, 255).astype(np.uint8)


def draw_rules(shape: tuple[int, ...], rules: Rules) -> Ink:
    """The lines alone, anti-aliased: float32 of `shape` in [0, 1]."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    lines = _comb(y - rules.tilt * x, rules)
    if rules.is_grid:
        lines = np.maximum(lines, _comb(x + rules.tilt * y, rules))
    return lines


def draw_ramp(shape: tuple[int, ...], degrees: float) -> Ink:
    """A plane that rises from 0 at one end of the page to 1 at the other, towards `degrees`."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    along = (x * np.cos(np.deg2rad(degrees)) + y * np.sin(np.deg2rad(degrees))).astype(np.float32)
    along -= along.min()
    return np.asarray(along / max(1e-6, float(along.max())), np.float32)


def draw_tint(rng: np.random.Generator) -> tuple[float, float, float] | None:
    """The colour of the paper: grey pictures in six of ten, else white, cream, green, blue or pink."""
    if rng.random() < 0.6:
        return None
    kinds = ((1.0, 1.0, 1.0), (0.86, 0.96, 1.0), (0.92, 1.0, 0.93), (1.0, 0.97, 0.9), (0.93, 0.9, 1.0))
    blue, green, red = kinds[rng.integers(len(kinds))]
    return blue, green, red


def draw_jpeg_quality(rng: np.random.Generator, lowest: int, highest: int) -> int | None:
    """A JPEG quality in [lowest, highest] for two of three pictures, None (PNG) for the third."""
    return None if rng.random() < 1 / 3 else int(rng.integers(lowest, highest + 1))


def draw_office_conditions(rng: np.random.Generator) -> Conditions:
    """A page from an office scanner: legible, a little noise and blur, light that is nearly even."""
    return Conditions(
        paper=rng.uniform(215, 250),
        contrast=rng.uniform(0.5, 0.8),
        noise_sigma=rng.uniform(1, 4),
        blur_px=rng.uniform(0.3, 0.9),
        gradient=rng.uniform(0, 0.2),
        gradient_degrees=rng.uniform(0, 360),
        tint=draw_tint(rng),
        jpeg_quality=draw_jpeg_quality(rng, 75, 95),
    )


def lay_out(
    ink: Ink, rng: np.random.Generator, smallest_px: int, largest_px: int, margin_px: int = 8
) -> tuple[Ink, tuple[int, int]]:
    """An empty page with the ink at a random place, and the corner (x, y) where it lies.

    Each side is drawn from [smallest_px, largest_px], but leaves `margin_px` around the ink.
    """
    height, width = (
        int(rng.integers(max(smallest_px, side + 2 * margin_px), max(largest_px, side + 2 * margin_px) + 1))
        for side in ink.shape
    )
    x = int(rng.integers(margin_px, width - margin_px - ink.shape[1] + 1))
    y = int(rng.integers(margin_px, height - margin_px - ink.shape[0] + 1))
    page = np.zeros((height, width), np.float32)
    put(ink, page, x, y)
    return page, (x, y)


def _comb(across: npt.NDArray[np.float64], rules: Rules) -> Ink:
    away = np.mod(across.astype(np.float32) + np.float32(rules.phase_px), np.float32(rules.spacing_px))
    away = np.minimum(away, np.float32(rules.spacing_px) - away)
    return np.asarray(np.clip(rules.width_px / 2 + 0.5 - away, 0, 1), np.float32)
