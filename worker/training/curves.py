"""Curves: from the control points of a stroke to the smooth line that a pen follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pair = tuple[float, float]

STEP = 0.035  # unit heights between two points of a polyline: half a pixel off a circle 600 px high


class Stroke(NamedTuple):
    """One movement of the pen: control points (n, 2), and which of them are corners rather than bends."""

    points: tuple[Pair, ...]
    corners: tuple[bool, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The constant part of drawing a shape: curves are linear in the n control points.

    `sharp`, `rounded` and `straight` are (m, n): times control points (n, 2) they give the m points of
    the polylines with corners kept, with corners rounded, and as plain straight pieces. `bends` (n, 8)
    are smooth fields that move neighbours alike; `tones` (m, 4) say where a hand presses: near the
    start, near the end, in turns, downwards. `cuts` are the bounds of the strokes among the m points;
    `likeness` (n, n) makes neighbours on a stroke stray alike, since a hand curves, it does not zigzag.
    """

    controls: Floats
    sharp: Floats
    rounded: Floats
    straight: Floats
    bends: Floats
    tones: Floats
    cuts: tuple[int, ...]
    starts: npt.NDArray[np.intp]
    ends: npt.NDArray[np.intp]
    stroke_of: npt.NDArray[np.intp]
    likeness: Floats


def plan_of(strokes: tuple[Stroke, ...]) -> Plan:
    """Work out what all drawings of these strokes have in common."""
    sizes = [len(stroke.points) for stroke in strokes]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    controls = np.concatenate([np.asarray(stroke.points) for stroke in strokes])
    bases = [_bases(np.asarray(stroke.points), stroke.corners) for stroke in strokes]
    cuts = (0, *np.cumsum([basis[0].shape[0] for basis in bases]).tolist())
    stacked = [np.zeros((cuts[-1], len(controls))) for _ in range(3)]
    for i, trio in enumerate(bases):
        for whole, part in zip(stacked, trio, strict=True):
            whole[cuts[i] : cuts[i + 1], bounds[i] : bounds[i + 1]] = part
    polylines = np.split(stacked[0] @ controls, cuts[1:-1])
    return Plan(
        controls=controls,
        sharp=stacked[0],
        rounded=stacked[1],
        straight=stacked[2],
        bends=_bends(controls),
        tones=np.concatenate([_tones(line) for line in polylines]),
        cuts=cuts,
        starts=bounds[:-1],
        ends=bounds[1:] - 1,
        stroke_of=np.repeat(np.arange(len(strokes)), sizes),
        likeness=_likeness(bounds),
    )


def _likeness(bounds: npt.NDArray[np.intp]) -> Floats:
    """Give the (n, n) average over neighbours within a stroke, with rows of length one."""
    matrix = np.eye(int(bounds[-1]))
    for first, end in pairwise(bounds.tolist()):
        for i in range(first, end - 1):
            matrix[i, i + 1] = matrix[i + 1, i] = 0.6
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def _bases(points: Floats, corners: Sequence[bool]) -> tuple[Floats, Floats, Floats]:
    """Give the (m, n) matrices that turn n control points into curves: sharp, rounded, straight."""
    gaps = np.hypot(*np.diff(points, axis=0).T)
    counts = np.maximum(2, np.ceil(gaps / STEP)).astype(int)
    where = np.concatenate([i + np.arange(c) / c for i, c in enumerate(counts)] + [[len(gaps)]])
    breaks = [0, *(i for i in range(1, len(gaps)) if corners[i]), len(gaps)]
    return (
        hermite(gaps, breaks, where),
        hermite(gaps, [0, len(gaps)], where),
        hermite(gaps, list(range(len(points))), where),
    )


def hermite(gaps: Floats, breaks: Sequence[int], where: Floats) -> Floats:
    """Give the matrix of a centripetal Catmull-Rom curve, smooth between the breaks.

    Knots lie at the square roots of the template's chords (Yuksel et al. 2011: no loops, no
    overshoot); they do not move with the jitter, which keeps the curve linear in its points.
    """
    count = len(gaps) + 1
    unit = np.eye(count)
    span = np.sqrt(np.maximum(gaps, 1e-3))
    slope = np.diff(unit, axis=0) / span[:, None]
    out_of = np.zeros((count, count))  # the tangent with which a segment leaves its first point
    into = np.zeros((count, count))  # ... and reaches its last
    for first, last in pairwise(breaks):
        for i in range(first + 1, last):
            out_of[i] = into[i] = (span[i] * slope[i - 1] + span[i - 1] * slope[i]) / (span[i - 1] + span[i])
        alone = last - first == 1
        out_of[first] = slope[first] if alone else 1.5 * slope[first] - 0.5 * into[first + 1]
        into[last] = slope[last - 1] if alone else 1.5 * slope[last - 1] - 0.5 * out_of[last - 1]
    segment = np.minimum(where.astype(int), count - 2)
    s = (where - segment)[:, None]
    h = span[segment][:, None]
    return np.asarray(
        (1 + 2 * s) * (1 - s) ** 2 * unit[segment]
        + s * (1 - s) ** 2 * h * out_of[segment]
        + s**2 * (3 - 2 * s) * unit[segment + 1]
        + s**2 * (s - 1) * h * into[segment + 1]
    )


def _bends(controls: Floats) -> Floats:
    """Give eight smooth fields at the control points: weighted by chance, they stretch parts unequally."""
    low, high = controls.min(axis=0), controls.max(axis=0)
    x, y = ((controls - low) / np.maximum(high - low, 0.3)).T
    level, upright = np.pi * x, np.pi * y
    fields = [np.sin(upright), np.sin(2 * upright), np.sin(3 * upright) / 2, np.sin(level), np.sin(2 * level)]
    fields += [np.cos(upright) * (x - 0.5), np.cos(level) * (y - 0.5), 2 * (x - 0.5) * (y - 0.5)]
    return np.column_stack(fields)


def _tones(line: Floats) -> Floats:
    """Give where a hand presses along one polyline (m, 2): start, end, turns, downwards; all in [-1, 1]."""
    steps = np.diff(line, axis=0)
    lengths = np.maximum(np.hypot(*steps.T), 1e-6)
    along = np.concatenate([[0], np.cumsum(lengths)])
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    turning = np.abs(np.gradient(heading)) if len(heading) > 1 else np.zeros(1)
    turning = np.convolve(np.pad(turning, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    downwards = np.convolve(np.pad(steps[:, 1] / lengths, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    columns = [
        np.exp(-along / 0.1),
        np.exp(-(along[-1] - along) / 0.1),
        np.append(np.tanh(turning * 3) * 2 - 1, -1.0),
        np.append(downwards, downwards[-1]),
    ]
    return np.column_stack(columns)
