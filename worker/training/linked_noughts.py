"""Noughts that a quick hand writes without lifting the pen: one line that loops from digit to digit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from worker.training.placed import Float, draw_polyline

Path = npt.NDArray[np.float64]
Rng = np.random.Generator

ARC_DEG = 30.0  # between two control points of a loop
BETWEEN = 6  # points of the curve from one control point to the next
ROOM_PX = 3  # around a piece of ink, for the pen's soft edge


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One digit of the line: its ink float32 (h, w) in [0, 1], where that lies, and the middle of its loop.

    `x` and `y` are the place of the ink's left top corner, `middle` the column within the ink; all in pixels,
    y down from the line on which the digits stand.
    """

    ink: Float
    x: int
    y: int
    middle: float


def draw_linked_noughts(
    count: int, height_px: float, pen_px: float, rng: Rng, *, after_one: bool = False
) -> list[Link]:
    """Draw `count` noughts (1 or more) in one line from the left, after a 1 whose foot runs on into them if asked.

    A nought is about as high as `height_px` or smaller, round, lying or half open; the links run over, through or
    under the digits, as long or as short as hands make them.
    """
    loops = _loops(count, height_px, rng)
    if after_one:  # the pen comes from the left
        loops[0] = replace(loops[0], start_deg=rng.normal(-150, 25))
    pen_px = max(1.0, min(pen_px, 0.45 * min(min(loop.across, loop.high) for loop in loops)))
    paths = [_loop_path(loop, rng) for loop in loops]
    if after_one:
        paths.insert(0, _one_path(loops[0], height_px, rng))
    if rng.random() < 0.5:
        paths[-1] = np.concatenate([paths[-1], _tail(loops[-1], height_px, rng)])
    lean = math.tan(math.radians(float(np.clip(rng.normal(8, 10), -15, 30))))
    paths = [path @ np.array([[1.0, 0.0], [-lean, 1.0]]) for path in paths]
    middles = [loop.x - lean * loop.y for loop in loops]
    if after_one:
        middles.insert(0, float(paths[0][:, 0].mean()))
    lines = _flowing(paths)
    return [_inked(line, pen_px, middle) for line, middle in zip(lines, middles, strict=True)]


@dataclass(frozen=True, slots=True)
class _Loop:
    """An oval about (x, y), run through from `start_deg` (0 is right, -90 the top); falling is anticlockwise."""

    x: float
    y: float
    across: float
    high: float
    start_deg: float
    sweep_deg: float


def _loops(count: int, height: float, rng: Rng) -> list[_Loop]:
    """Ovals beside one another: of one hand, and yet no two alike."""
    small = rng.uniform(0.45, 1.0)
    shrink = math.exp(rng.normal(-0.03, 0.06))
    stretch = math.exp(rng.normal(0.0, 0.28))
    gap = rng.uniform(-0.3, 0.6) if rng.random() < 0.7 else rng.uniform(0.3, 1.1)
    start, turn = rng.normal(-75, 30), -1.0 if rng.random() < 0.85 else 1.0
    sweep = rng.normal(365, 28)
    loops: list[_Loop] = []
    x = 0.0
    for index in range(count):
        high = 0.5 * height * small * shrink**index * math.exp(rng.normal(0, 0.1))
        across = float(
            np.clip(high * stretch * 0.85 * math.exp(rng.normal(0, 0.12)), 0.35 * high, 1.8 * high)
        )
        if loops:
            x += loops[-1].across + across + gap * math.exp(rng.normal(0, 0.3)) * min(high, across)
        y = -high + rng.normal(0, 0.05) * height
        swept = turn * float(np.clip(rng.normal(sweep, 22), 270, 450))
        loops.append(_Loop(x, y, across, high, start + rng.normal(0, 14), swept))
    return loops


def _loop_path(loop: _Loop, rng: Rng) -> Path:
    count = max(5, round(abs(loop.sweep_deg) / ARC_DEG))
    angles = np.radians(loop.start_deg + np.linspace(0, loop.sweep_deg, count))
    path = np.stack([loop.x + loop.across * np.cos(angles), loop.y + loop.high * np.sin(angles)], axis=1)
    return np.asarray(path + rng.normal(0, 0.045, path.shape) * [loop.across, loop.high])


def _one_path(first: _Loop, height: float, rng: Rng) -> Path:
    """A 1 before `first`, from its top to the ground and a little up again."""
    x = first.x - first.across - height * rng.uniform(0.05, 0.45)
    top = -height * rng.uniform(0.85, 1.25)
    path = [(x, top), (x, 0.5 * top), (x, -0.04 * height), (x + 0.03 * height, -0.1 * height)]
    if rng.random() < 0.6:  # with a flag
        reach = height * rng.uniform(0.1, 0.4)
        path.insert(0, (x - reach, top + reach * rng.uniform(0.6, 1.6)))
    return np.array(path) + rng.normal(0, 0.02, (len(path), 2)) * height


def _tail(last: _Loop, height: float, rng: Rng) -> Path:
    """What the pen does after the last nought: on to the right, level or rising or sinking."""
    reach = height * rng.uniform(0.1, 0.8)
    x, y = last.x + last.across + reach, last.y + last.high * rng.uniform(-1.0, 0.3)
    return np.array(
        [[x - 0.4 * reach, y + rng.normal(0, 0.08) * height], [x, y + rng.normal(0, 0.12) * height]]
    )


def _flowing(paths: Sequence[Path]) -> list[Path]:
    """The curve through all control points, in one piece for each path; a piece ends where the next begins."""
    points = np.concatenate(paths)
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.arange(BETWEEN)[:, None] / BETWEEN
    pieces = []
    for index in range(len(points) - 1):
        a, b, c, d = padded[index : index + 4]
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    curve = np.concatenate([*pieces, points[-1:]])
    starts = np.concatenate([[0], np.cumsum([len(path) for path in paths])])
    return [curve[a * BETWEEN : min(len(curve), b * BETWEEN + 1)] for a, b in itertools.pairwise(starts)]


def _inked(line: Path, pen_px: float, middle: float) -> Link:
    room = ROOM_PX + pen_px
    corner = np.floor(line.min(axis=0) - room)
    width, height = (np.ceil(line.max(axis=0) + room) - corner).astype(int)
    canvas = np.zeros((height, width), np.uint8)
    draw_polyline(canvas, line - corner, round(pen_px))
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    ink = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y = int(corner[0] + columns[0]), int(corner[1] + rows[0])
    return Link(np.multiply(ink, np.float32(1 / 255), dtype=np.float32), x, y, middle - x)
