"""Pages on which there is nothing to read. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.ink import Ink
from benchmarks.paper import (
    Conditions,
    Picture,
    Rules,
    develop,
    draw_jpeg_quality,
    draw_ramp,
    draw_tint,
    expose,
)

STYLES = ("blank", "ruled", "grid", "stained", "smudged", "noisy", "folded", "scribble")
FEWEST_CROSSINGS = 8  # a curve that crosses itself this often is no digit, and no letter either
SLIMMEST = 1.8  # the longer side of a scribble by the shorter one


def draw_nothing(style: str, rng: np.random.Generator) -> Picture:
    """A page of that style, 120 to 500 px a side; its label is `none`."""
    shape = (int(rng.integers(120, 501)), int(rng.integers(120, 501)))
    conditions = Conditions(
        paper=rng.uniform(205, 252),
        contrast=rng.uniform(0.4, 0.75),
        noise_sigma=rng.uniform(1, 5),
        blur_px=rng.uniform(0.3, 1.0),
        gradient=rng.uniform(0, 0.15),
        gradient_degrees=rng.uniform(0, 360),
        tint=draw_tint(rng),
        jpeg_quality=draw_jpeg_quality(rng, 70, 95),
    )
    image = _draw(style, shape, conditions, rng)
    return Picture("none", style, image, conditions.jpeg_quality, {"made_with": str(conditions)})


def draw_scribble(size_px: float, pen_px: float, rng: np.random.Generator) -> Ink:
    """A scribble in its box, `size_px` wide or high: a smooth curve that crosses itself many times."""
    path = draw_tangle(rng)
    path = (path - path.min(axis=0)) / np.ptp(path, axis=0).max() * size_px + pen_px
    width, height = (int(np.ceil(side + pen_px)) + 2 for side in path.max(axis=0))
    # Drawn at four times the size and averaged: strokes of any width, with soft edges.
    large = np.zeros((height * 4, width * 4), np.uint8)
    points = np.rint(path * 4 * 16).astype(np.int32)
    cv2.polylines(large, [points], False, 255, max(1, round(pen_px * 4)), cv2.LINE_8, 4)  # noqa: FBT003
    small = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def draw_tangle(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A smooth curve, closed, wandering or coiling on, with FEWEST_CROSSINGS at least: points (n, 2)."""
    while True:
        kind = rng.integers(3)
        path = _closed(rng) if kind == 0 else _wandering(rng) if kind == 1 else _coiling(rng)
        width, height = np.ptp(path, axis=0)
        # Flat or slim ones close up into a bar, which may be a 1.
        if max(width, height) > SLIMMEST * min(width, height):
            continue
        if count_crossings(path[:: max(1, len(path) // 200)]) >= FEWEST_CROSSINGS:
            return path


def count_crossings(path: npt.NDArray[np.float64]) -> int:
    """How often the polyline `path` (n, 2) crosses itself."""
    start, end = path[:-1], path[1:]

    def sides(points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """For each segment (rows) and point (columns): on which side of it the point lies."""
        along = (end - start)[:, None, :]
        to = points[None, :, :] - start[:, None, :]
        return np.asarray(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0] > 0)

    parts = sides(start) != sides(end)
    both = np.triu(parts & parts.T, k=2)  # neighbours share a point and do not count
    return int(both.sum())


def _draw(
    style: str, shape: tuple[int, int], conditions: Conditions, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    paper = np.zeros(shape, np.float32)
    if style == "scribble":
        return develop(_scribbled(shape, rng), conditions, rng)
    if style in ("ruled", "grid"):
        return develop(paper, _with_rules(conditions, rng, is_grid=style == "grid"), rng)
    light = conditions.paper * (1 - conditions.gradient * draw_ramp(shape, conditions.gradient_degrees))
    if style == "stained":
        for _ in range(rng.integers(1, 4)):
            light *= 1 - _ring(shape, rng)
    elif style == "smudged":
        for _ in range(rng.integers(2, 7)):
            light *= 1 - _smudge(shape, rng)
    elif style == "folded":
        for _ in range(rng.integers(1, 4)):
            light *= _fold(shape, rng)
    elif style == "noisy":
        light += _grain(shape, rng)
    return expose(light.astype(np.float32), conditions, rng)


def _with_rules(conditions: Conditions, rng: np.random.Generator, *, is_grid: bool) -> Conditions:
    spacing_px = rng.uniform(12, 60)
    rules = Rules(
        spacing_px=spacing_px,
        width_px=rng.uniform(1, 2.5),
        strength=rng.uniform(0.2, 0.9),
        phase_px=rng.uniform(0, spacing_px),
        tilt=rng.uniform(-0.05, 0.05),
        is_grid=is_grid,
    )
    return replace(conditions, rules=rules)


def _scribbled(shape: tuple[int, int], rng: np.random.Generator) -> Ink:
    page = np.zeros(shape, np.float32)
    size_px = min(shape) * rng.uniform(0.5, 0.8)
    ink = draw_scribble(size_px, size_px * rng.uniform(0.008, 0.025) + 0.7, rng)[: shape[0], : shape[1]]
    y, x = (int(rng.integers(0, page.shape[i] - ink.shape[i] + 1)) for i in (0, 1))
    page[y : y + ink.shape[0], x : x + ink.shape[1]] = ink
    return page


def _ring(shape: tuple[int, int], rng: np.random.Generator) -> Ink:
    """The mark a cup leaves: a broad, faint, uneven band, mostly cut by the page's edge."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = max(shape) * rng.uniform(0.4, 0.8)  # too large to lie on the page as a whole
    across, down = x - rng.uniform(0, shape[1]), y - rng.uniform(0, shape[0])
    angle = np.arctan2(down, across)
    wobble = sum(rng.uniform(0, 0.02) * np.sin(k * angle + rng.uniform(0, 6.28)) for k in range(1, 5))
    away = np.abs(np.hypot(across, down) / radius - 1 + wobble)
    wet = 0.55 + 0.45 * np.sin(angle * rng.integers(1, 4) + rng.uniform(0, 6.28))
    inside = (np.hypot(across, down) < radius) * rng.uniform(0, 0.04)
    return np.asarray(rng.uniform(0.08, 0.22) * wet * np.exp(-((away / 0.05) ** 2)) + inside, np.float32)


def _smudge(shape: tuple[int, int], rng: np.random.Generator) -> Ink:
    """A rubbed, soft, longish spot."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    across, down = x - rng.uniform(0, shape[1]), y - rng.uniform(0, shape[0])
    angle = rng.uniform(0, 3.14)
    along = across * np.cos(angle) + down * np.sin(angle)
    beside = -across * np.sin(angle) + down * np.cos(angle)
    breadth = 12 + min(shape) * rng.uniform(0.03, 0.12)
    length = breadth * rng.uniform(1, 2.5)  # any slimmer and it is a stroke
    return np.asarray(
        rng.uniform(0.06, 0.25) * np.exp(-((along / length) ** 2) - (beside / breadth) ** 2), np.float32
    )


def _fold(shape: tuple[int, int], rng: np.random.Generator) -> Ink:
    """A crease across the whole page: each side in a light of its own, the edge darker or lighter."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    angle = rng.choice((0.0, np.pi / 2)) + rng.normal(0, 0.15)
    away = (x - rng.uniform(0.2, 0.8) * shape[1]) * np.cos(angle) + (
        y - rng.uniform(0.2, 0.8) * shape[0]
    ) * np.sin(angle)
    side = 1 / (1 + np.exp(-np.clip(away / rng.uniform(0.5, 3), -50, 50)))
    edge = rng.uniform(-0.15, 0.08) * np.exp(-((away / rng.uniform(0.8, 3)) ** 2))
    return np.asarray(1 - rng.uniform(0.02, 0.12) * side + edge, np.float32)


def _grain(shape: tuple[int, int], rng: np.random.Generator) -> Ink:
    """Coarse paper or a noisy sensor: fine noise, cloudy noise, and the dust of a scanner's glass."""
    fine = rng.uniform(8, 25) * rng.standard_normal(shape, dtype=np.float32)
    cloudy = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), rng.uniform(2, 8))
    cloudy = cloudy * (rng.uniform(3, 9) / max(1e-6, float(cloudy.std())))
    dust = rng.random(shape, dtype=np.float32) < rng.uniform(0, 0.003)
    return cast("Ink", fine + cloudy - rng.uniform(40, 120) * dust)


def _closed(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A closed curve of a few harmonics."""
    t = np.linspace(0, 2 * np.pi, 400)
    waves = np.arange(1, rng.integers(5, 9))
    strengths = rng.normal(0, 1, (2, len(waves))) / waves**0.3
    phases = rng.uniform(0, 2 * np.pi, (2, len(waves)))
    return np.stack([(strengths[i] * np.sin(np.outer(t, waves) + phases[i])).sum(axis=1) for i in (0, 1)], 1)


def _wandering(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """An open curve through random points of a square."""
    knots = rng.uniform(0, 1, (int(rng.integers(12, 22)), 2))
    t = np.linspace(0, len(knots) - 1, 400)
    rough = np.stack([np.interp(t, np.arange(len(knots)), knots[:, i]) for i in (0, 1)], 1)
    weights = np.hanning(41) / np.hanning(41).sum()
    return np.stack([np.convolve(rough[:, i], weights, mode="valid") for i in (0, 1)], 1)


def _coiling(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A coil that moves on along a bent line, as one tries out a pen."""
    turns = rng.uniform(7, 12)
    t = np.linspace(0, 1, 400)
    radius = 0.25 + 0.12 * np.sin(2 * np.pi * (t * rng.uniform(0.5, 3) + rng.random()))
    middle_x = t * rng.uniform(0.6, 1.6)
    middle_y = rng.uniform(0, 0.5) * np.sin(2 * np.pi * (t * rng.uniform(0.3, 1.2) + rng.random()))
    angle = 2 * np.pi * turns * t
    return np.stack(
        [middle_x + radius * np.cos(angle), middle_y + radius * rng.uniform(0.6, 1.4) * np.sin(angle)], 1
    )
