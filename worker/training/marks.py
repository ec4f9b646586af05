"""Marks that are no single digit: letters, signs and scribbles, halves of digits, several digits in one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from worker.training.curves import Floats, hermite
from worker.training.pen import (
    MARGIN_PX,
    SUBPIXEL_BITS,
    Drawing,
    Ink,
    draw_strokes,
    ink_of,
    render,
    sample_height_px,
    sample_pen,
    sample_pen_px,
    sample_style,
    side_by_side,
    tighten,
)
from worker.training.shapes import MARKS, pick_shape, shape_named


def draw_non_digit(rng: np.random.Generator) -> Ink:
    """Draw something that nobody takes for a digit: float32 ink (h, w) in [0, 1].

    Letters without a twin among the digits, signs, arrows, faces, scribbles, spirals, level and
    diagonal lines, hatching, dots, blots. Never a lone upright line (that is a 1) or a lone loop (a 0).
    """
    height_px = sample_height_px(rng)
    choice = rng.random()
    if choice < 0.6:
        return ink_of(pick_shape(MARKS, rng), sample_style(rng), rng, height_px)
    if choice < 0.64:
        return _blot(rng, height_px)
    drawing = _DOODLES[int(rng.integers(len(_DOODLES)))](rng)
    return render(drawing, height_px, sample_pen_px(rng, height_px, 0.14), sample_pen(rng, height_px), rng)


def _doodle(name: str, *lines: Floats) -> Drawing:
    return Drawing(lines, (), name)


@lru_cache(maxsize=64)
def _smooth_basis(count: int) -> Floats:
    """Give the matrix of a smooth curve through `count` points of no particular place."""
    where = np.linspace(0, count - 1, 8 * (count - 1) + 1)
    return hermite(np.ones(count - 1), [0, count - 1], where)


def _through(points: Floats) -> Floats:
    return _smooth_basis(len(points)) @ points


def _scribble(rng: np.random.Generator) -> Drawing:
    count = int(rng.integers(7, 16))
    return _doodle("scribble", _through(rng.random((count, 2)) * (rng.uniform(0.6, 2.0), 1.0)))


def _knot(rng: np.random.Generator) -> Drawing:
    """Loops drawn over and over, as people cross something out."""
    t = np.linspace(0, 2 * np.pi * rng.uniform(2.5, 6), 120)
    drift = rng.uniform(0.05, 0.2) * t + 0.1 * np.sin(t * rng.uniform(0.2, 0.5))
    x = drift + 0.5 * np.cos(t) * rng.uniform(0.6, 1.2)
    return _doodle("knot", np.column_stack([x, 0.5 * np.sin(t + rng.uniform(-0.5, 0.5))]))


def _spiral(rng: np.random.Generator) -> Drawing:
    turns = rng.uniform(2.2, 4.5)
    t = np.linspace(0.04, 1, 110)
    angle = rng.choice([-1, 1]) * 2 * np.pi * turns * t + rng.uniform(0, 6.3)
    return _doodle("spiral", np.column_stack([t * np.cos(angle) * rng.uniform(0.8, 1.3), t * np.sin(angle)]))


def _level_line(rng: np.random.Generator) -> Drawing:
    """A line between level and diagonal, either way; steeper ones are somebody's 1."""
    angle = math.radians(rng.uniform(-48, 48) if rng.random() < 0.5 else rng.normal(0, 5))
    t = np.linspace(0, 1, 5)
    bow = rng.normal(0, 0.04) * np.sin(np.pi * t)
    x, y = t * math.cos(angle) - bow * math.sin(angle), t * math.sin(angle) + bow * math.cos(angle)
    return _doodle("level line", np.column_stack([x, y]))


def _zigzag(rng: np.random.Generator) -> Drawing:
    """Hatching without lifting the pen."""
    count = int(rng.integers(6, 16))
    x = np.arange(count) * rng.uniform(0.06, 0.2) + rng.normal(0, 0.015, count)
    y = np.arange(count) % 2 + rng.normal(0, 0.06, count)
    points = np.column_stack([x + rng.uniform(-0.6, 0.6) * y, y])
    return _doodle("zigzag", _through(points) if rng.random() < 0.5 else points)


def _hatching(rng: np.random.Generator) -> Drawing:
    count, lean, step = int(rng.integers(3, 8)), rng.uniform(-0.9, 0.9), rng.uniform(0.15, 0.35)
    lines = []
    for i in range(count):
        top, bottom = rng.normal([0, 1], 0.05)
        lines.append(np.array([[i * step + lean * top, top], [i * step + lean * bottom, bottom]]))
    return _doodle("hatching", *lines)


def _strokes(rng: np.random.Generator) -> Drawing:
    """Three to five strokes that have nothing to do with one another."""
    lines = []
    for _ in range(int(rng.integers(3, 6))):
        start, step = rng.random((1, 2)), rng.normal(0, 0.35, (int(rng.integers(1, 4)), 2))
        lines.append(_through(np.concatenate([start, start + np.cumsum(step, axis=0)])))
    return _doodle("strokes", *lines)


def _dots(rng: np.random.Generator) -> Drawing:
    places = rng.random((int(rng.integers(2, 8)), 1, 2)) * (1.2, 1.0)
    return _doodle("dots", *(place + np.array([[0, 0], [0.02, 0.01]]) for place in places))


def _waves(rng: np.random.Generator) -> Drawing:
    t = np.linspace(0, 1, 60)
    y = rng.uniform(0.1, 0.3) * np.sin(2 * np.pi * rng.uniform(1.5, 4) * t + rng.uniform(0, 6.3))
    return _doodle("wave", np.column_stack([1.6 * t, y]))


def _glyph(rng: np.random.Generator) -> Drawing:
    """A letter of an alphabet that nobody has: strokes, bows and loops that spring from one another."""
    parts: list[Floats] = []
    t = np.linspace(0, 1, 14)
    for _ in range(int(rng.integers(3, 6))):
        length, angle = rng.uniform(0.35, 1.0), rng.choice([0, 90, 180, 270]) + rng.normal(0, 18)
        kind = rng.random()
        if kind < 0.5:  # a stroke, straight or bowed
            x, y = length * t, rng.choice([0.0, rng.normal(0, 0.35)]) * length * np.sin(np.pi * t)
        elif kind < 0.8:  # half a circle or more
            turn = rng.uniform(np.pi * 0.8, np.pi * 1.6) * t
            x, y = 0.4 * length * (1 - np.cos(turn)), 0.4 * length * np.sin(turn)
        else:  # a loop
            x, y = 0.25 * length * (1 - np.cos(2 * np.pi * t)), 0.3 * length * np.sin(2 * np.pi * t)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        part = np.column_stack([x * cos - y * sin, x * sin + y * cos])
        if parts:
            before = parts[int(rng.integers(len(parts)))]
            part += before[rng.choice([0, len(t) // 2, -1])]
        parts.append(part)
    return _doodle("glyph", *parts)


_DOODLES: tuple[Callable[[np.random.Generator], Drawing], ...] = (
    _scribble,
    _knot,
    _spiral,
    _level_line,
    _level_line,  # twice: rulings and dashes are the commonest of these on real pages
    _zigzag,
    _hatching,
    _strokes,
    _glyph,
    _glyph,
    _glyph,
    _glyph,
    _dots,
    _waves,
)


def _blot(rng: np.random.Generator, height_px: float) -> Ink:
    """Paint a spot of ink with an uneven edge, about as wide as high."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = np.arange(2, 7)
    shake = np.cos(angles[:, None] * waves + rng.uniform(0, 6.3, 5)) @ (rng.normal(0, 0.25, 5) / waves)
    radius = height_px / 2 * np.maximum(0.3, 1 + shake)
    around = np.column_stack([np.cos(angles) * rng.uniform(0.8, 1.6), np.sin(angles)])
    points = radius[:, None] * around
    points += MARGIN_PX - points.min(axis=0)
    width, height = np.ceil(points.max(axis=0)).astype(int) + MARGIN_PX + 1
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return tighten(np.multiply(canvas, np.float32(1 / 255), dtype=np.float32))


class Half(NamedTuple):
    """A part of some digit, in some shapes, that no longer reads as a digit."""

    digit: int
    sides: tuple[str, ...]
    shapes: tuple[str, ...]


# Half an 8 is a 0 or a 3, the head of a 9 a 0, the upper half of a 7 a 7, any part of a 1 a 1: none of
# those is here.
_HALVES = (
    Half(0, ("top", "bottom"), ("oval", "round", "clockwise", "boxy")),
    Half(0, ("left", "right"), ("round",)),
    Half(2, ("bottom", "left"), ("plain", "straight neck", "wavy base", "angular")),
    Half(3, ("left",), ("round", "soft middle", "flat top", "big below")),
    Half(4, ("left",), ("closed", "sail", "triangle on a short stem")),
    Half(5, ("top", "left"), ("two strokes", "one stroke", "angular", "small belly")),
    Half(7, ("left",), ("crossed with a long bar",)),
    Half(9, ("left",), ("straight tail", "stem apart", "big head")),
)


def draw_fragment(rng: np.random.Generator) -> Ink:
    """Draw half a digit, as a bad cut leaves it, that no longer reads as one: float32 ink (h, w)."""
    while True:
        half = _HALVES[int(rng.integers(len(_HALVES)))]
        shape = shape_named(half.digit, half.shapes[int(rng.integers(len(half.shapes)))])
        # A narrow or steeply slanted digit keeps too much of itself on either side of a cut.
        style = sample_style(rng)
        style = replace(style, aspect=max(1.0, style.aspect), slant_deg=style.slant_deg / 3, facets=0.0)
        whole = ink_of(shape, style, rng, 1.6 * sample_height_px(rng), thickest=0.13)
        side = half.sides[int(rng.integers(len(half.sides)))]
        ink = tighten(_cut(whole, side, rng.uniform(0.38, 0.48)))
        if not _resembles_a_one(ink):
            return ink


def _resembles_a_one(ink: Ink) -> bool:
    """Say whether the ink keeps near one upright line without a gap."""
    h, w = ink.shape
    mass = ink.sum(axis=0, dtype=np.float64) / ink.sum(dtype=np.float64)
    x = np.arange(w)
    spread_px = math.sqrt(float(mass @ (x - mass @ x) ** 2))
    blank = int(np.count_nonzero(~ink.any(axis=1))) - 2 * MARGIN_PX
    return bool(spread_px < 0.12 * h and blank < 0.25 * h)


def _cut(ink: Ink, side: str, share: float) -> Ink:
    h, w = ink.shape
    if side == "top":
        return ink[: int(h * share)]
    if side == "bottom":
        return ink[int(h * (1 - share)) :]
    if side == "left":
        return ink[:, : int(w * share)]
    return ink[:, int(w * (1 - share)) :]


def draw_several(rng: np.random.Generator) -> Ink:
    """Draw two or three digits in one box, apart, touching or overlapping: float32 ink (h, w)."""
    height_px = sample_height_px(rng)
    style, pen = sample_style(rng), sample_pen(rng, height_px)
    pen_px = sample_pen_px(rng, height_px, 0.14)
    inks = []
    for digit in rng.integers(10, size=2 + int(rng.random() < 0.3)).tolist():
        drawing = draw_strokes(digit, rng, style=style)
        inks.append(render(drawing, height_px * rng.uniform(0.8, 1.15), pen_px, pen, rng))
    gap = rng.choice([rng.uniform(0.05, 0.5), 0.0, rng.uniform(-0.2, -0.02)], p=[0.45, 0.25, 0.3])
    return tighten(side_by_side(inks, round(gap * height_px), height_px * 0.12, rng))
