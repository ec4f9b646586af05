"""What else stands in a line of digits: dots, dashes, letters, ligatures, and the lines of forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from worker.training.marks import draw_non_digit
from worker.training.placed import Float, Placed, draw_polyline, main_signs, tight

Tiles = npt.NDArray[np.uint8]
Rng = np.random.Generator


def with_signs(placed: list[Placed], height: int, rng: Rng) -> list[Placed]:
    """Signs that are no digits before, between and after the digits, which move aside."""
    pen = max(1, round(height * math.exp(rng.uniform(math.log(0.04), math.log(0.16)))))
    rate = rng.choice([0.12, 0.3, 0.6])
    found: list[Placed] = []
    shift = 0
    if rng.random() < rate:
        found += _sign(0, height, pen, rng, at_end=True)
        shift = _room(found, placed[0], height, rng) if found else 0
    for index, one in enumerate(placed):
        moved = replace(one, x=one.x + shift)
        found.append(moved)
        is_last = index + 1 == len(placed)
        if rng.random() < (rate if is_last else 0.5 * rate):
            for drawn in _sign(moved.right, height, pen, rng, at_end=is_last):
                gap = round(rng.uniform(0.0 if drawn.ink.shape[0] < 0.4 * height else 0.08, 0.4) * height)
                sign = replace(drawn, x=moved.right + gap)
                found.append(sign)
                if not is_last:
                    after = placed[index + 1].x + shift
                    want = sign.right + round(rng.uniform(0.05, 0.4) * height)
                    is_low = sign.ink.shape[0] < 0.35 * height and sign.y > -0.3 * height
                    shift += max(0, want - after) if not is_low or rng.random() < 0.5 else 0
    return found


def _room(before: Sequence[Placed], first: Placed, height: int, rng: Rng) -> int:
    return max(one.right for one in before) - first.x + round(rng.uniform(0.08, 0.6) * height)


def _sign(x: int, height: int, pen: int, rng: Rng, *, at_end: bool) -> list[Placed]:
    """A sign whose left end is at `x`: dots, commas, dashes, slashes, letters, fill lines."""
    kind = rng.random()
    if kind < 0.28:  # a dot or a comma on the base line, or a little above it
        long = round(rng.uniform(0, 0.3) * height) if rng.random() < 0.6 else 0
        ink = _stroke([(0, 0), (-0.4 * long, long)], max(pen, 2))
        return [
            Placed(ink, x, -round(rng.uniform(-0.05, 0.12) * height) - (0 if long else ink.shape[0]), None)
        ]
    if kind < 0.5:  # a dash, or two
        wide = rng.uniform(0.25, 1.3) * height
        tilt = rng.normal(0, 0.1) * wide
        ink = _stroke([(0, 0), (wide / 2, tilt / 2 + rng.normal(0, 0.04) * height), (wide, tilt)], pen)
        y = -round(rng.uniform(0.3, 0.65) * height)
        signs = [Placed(ink, x, y, None)]
        if rng.random() < 0.35:
            signs.append(Placed(ink, x, y + round(rng.uniform(0.2, 0.4) * height), None))
        return signs
    if kind < 0.515 and not at_end:  # a slash, taller and farther over than anybody's 1
        tall = rng.uniform(1.4, 1.8) * height
        return [
            Placed(
                _stroke([(rng.uniform(0.8, 1.1) * tall, 0), (0, tall)], pen),
                x,
                -round(0.5 * (tall + height)),
                None,
            )
        ]
    if kind < 0.66 and at_end:  # the line that fills the field
        wide = rng.uniform(1.0, 4.0) * height
        t = np.linspace(0, 1, 40)
        wave = rng.uniform(0, 0.15) * height * np.sin(2 * np.pi * rng.uniform(0.5, 8) * t)
        ink = _stroke(list(zip((wide * t).tolist(), wave.tolist(), strict=True)), pen)
        return [Placed(ink, x, -round(rng.uniform(0.2, 0.7) * height) - ink.shape[0] // 2, None)]
    ink = tight(draw_non_digit(rng))
    tall = round(rng.uniform(0.45, 1.3) * height)
    return [_resized(ink, x, tall, (rng.normal(0, 0.1) - 0.5) * height)]


def _resized(ink: Float, x: int, tall: int, middle: float) -> Placed:
    """Ink so tall whose middle is at the height `middle`, its left end at `x`; what is long is made less tall."""
    tall = max(6, tall)
    if max(ink.shape) > 2.2 * ink.shape[0]:
        tall = max(4, round(tall * 2.2 * ink.shape[0] / max(ink.shape)))
    wide = max(2, round(ink.shape[1] * tall / ink.shape[0]))
    scaled = np.asarray(cv2.resize(ink, (wide, tall), interpolation=cv2.INTER_AREA), np.float32)
    return Placed(scaled, x, round(middle - 0.5 * tall), None)


def with_strangers(placed: list[Placed], height: int, rng: Rng) -> list[Placed]:
    """One to three marks that are no digits beside the digits as if they belonged to them.

    A third of them are letters, of a unit, a prefix, a word; the others are blots, doodles and signs as large.
    """
    strangers: list[Placed] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))):
        tall = round(rng.uniform(0.55, 1.15) * height)
        x = strangers[-1].right + round(rng.uniform(0.03, 0.3) * height) if strangers else 0
        middle = rng.normal(0, 0.05) * height - 0.5 * tall  # on the base line, about
        strangers.append(_resized(tight(draw_non_digit(rng)), x, tall, middle))
    gap = round(rng.uniform(0.05, 0.45) * height)
    if rng.random() < 0.5:
        start = max(one.right for one in placed) + gap
        return [*placed, *(replace(one, x=one.x + start) for one in strangers)]
    shift = max(one.right for one in strangers) + gap - min(one.x for one in placed)
    return [*strangers, *(replace(one, x=one.x + shift) for one in placed)]


def _stroke(points: Sequence[tuple[float, float]], pen: int) -> Float:
    """A polyline as ink, tight."""
    corners = np.array(points, np.float64)
    corners -= corners.min(axis=0) - pen
    width, height = (np.ceil(corners.max(axis=0)) + pen + 1).astype(int)
    canvas = np.zeros((height, width), np.uint8)
    draw_polyline(canvas, corners, pen)
    return tight(np.multiply(canvas, np.float32(1 / 255), dtype=np.float32))


def letter_for(one: Placed, rng: Rng) -> Placed:
    """A letter or a scribble in the place of a digit."""
    if one.digit is None:
        return one
    ink = cv2.resize(tight(draw_non_digit(rng)), one.ink.shape[::-1], interpolation=cv2.INTER_AREA)
    return replace(one, ink=np.asarray(ink, np.float32), digit=None)


def connect_digits(cover: Float, placed: Sequence[Placed], height: int, rng: Rng) -> None:
    """Strokes that a quick hand leaves between digits, in place."""
    if rng.random() > 0.22:
        return
    digits = main_signs(placed)
    pen = max(1, round(height * rng.uniform(0.03, 0.1)))
    for one, after in itertools.pairwise(digits):
        if rng.random() < 0.6 and -0.1 * height < after.x - one.right < 0.6 * height:
            row = rng.uniform(0, 1)
            start, end = _edge(one, row, -1), _edge(after, min(1.0, max(0.0, row + rng.normal(0, 0.15))), 0)
            if start is not None and end is not None:
                middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + rng.normal(0, 0.06) * height)
                layer = np.zeros(cover.shape, np.uint8)
                draw_polyline(layer, np.array([start, middle, end], np.float64), pen)
                np.maximum(cover, layer.astype(np.float32) / 255, out=cover)


def _edge(one: Placed, row: float, place: int) -> tuple[float, float] | None:
    """The first (0) or last (-1) inked column of a row."""
    y = min(one.ink.shape[0] - 1, int(row * one.ink.shape[0]))
    columns = np.flatnonzero(one.ink[y] > 0.5)
    return (float(one.x + columns[place]), float(one.y + y)) if columns.size else None


def rule_form(cover: Float, placed: Sequence[Placed], height: int, rng: Rng) -> None:
    """Lines and boxes of a form, in place: under, over, through and between the digits."""
    if rng.random() > 0.22:
        return
    digits = main_signs(placed)
    left, right = digits[0].x, max(one.right for one in digits)
    top, bottom = min(one.y for one in digits), max(one.bottom for one in digits)
    pen = max(1, round(height * rng.uniform(0.02, 0.08)))
    strength = float(rng.uniform(0.25, 1.0))
    layer = np.zeros(cover.shape, np.uint8)
    near, far = (int(v) for v in (left - rng.uniform(0, 1) * height, right + rng.uniform(0, 1) * height))
    if rng.random() < 0.2:
        near, far = 0, cover.shape[1]
    kind = rng.random()
    if kind < 0.4:
        y = bottom + int(rng.uniform(-0.12, 0.35) * height)
        cv2.line(layer, (near, y), (far, y + int(rng.normal(0, 0.06) * height)), 255, pen, cv2.LINE_AA)
    elif kind < 0.55:
        y = int(rng.uniform(top, bottom))
        pen = max(1, pen // 2)
        cv2.line(layer, (near, y), (far, y), 255, pen, cv2.LINE_AA)
    else:
        up, down = top - int(rng.uniform(0.02, 0.4) * height), bottom + int(rng.uniform(0.02, 0.4) * height)
        if kind < 0.85:
            cv2.rectangle(layer, (near, up), (far, down), 255, pen)
        else:  # what stands between digits without a frame is told from a 1 by how far it reaches
            up, down = top - int(rng.uniform(0.3, 0.6) * height), bottom + int(rng.uniform(0.3, 0.6) * height)
        for one, after in itertools.pairwise(digits):
            middle = (one.right + after.x) // 2
            if after.x - one.right > 2 * pen or rng.random() < 0.3:
                cv2.line(layer, (middle, up), (middle, down), 255, pen)
    np.maximum(cover, layer.astype(np.float32) * np.float32(strength / 255), out=cover)
