"""Slashes are no 1s: between the parts of a date they are left out, elsewhere a person is asked. Pure.

A slash and a 1 without flag and foot are one shape: a straight stroke. What tells them apart is the company: a slash
leans, it is often longer than the digits are high, and two that are alike part a line into day, month and year.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from worker.recognition.decision import OTHER, Sign
from worker.vision.ink import Float
from worker.vision.segmentation import Mark

LEAST_SIGNS = 3
MOST = 8  # strokes of a line that are looked at in pairs
LONG_YEAR = 4  # digits
LEAST_LEAN_DEG = 7.0  # to the right: what is steeper is a 1
STRAIGHT = 1.5  # times as thick as its ink would be if it were straight: a flag or a foot makes it more
DARK = 0.35  # of a mark's darkest: without the soft edges of a stroke
SLIM = 3.0  # thicknesses: how long a stroke is at least
LONGER = 1.35  # times the usual height of the digits beside it
PARALLEL_DEG, AS_LONG = (
    10.0,
    1.3,
)  # how far, and how many times as long, two slashes of one date differ at most
DOUBT = 0.5  # the probability that what may be a slash is a 1
LEFT_OUT = 0.98  # the probability that what parts a date is no digit


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A mark that is one straight stroke: how far it leans to the right, and its length in pixels of its ink."""

    lean_deg: float
    length: float


def without_slashes(signs: Sequence[Sign], marks: Sequence[Mark]) -> list[Sign]:
    """The signs of a line, from the left, without the slashes of a date; what may be another slash is in doubt.

    `marks` are those of the line; a sign that was cut from one, or joined from several, is no slash.
    """
    strokes = _strokes_of(signs, marks) if len(signs) >= LEAST_SIGNS else {}
    leaning = [place for place, stroke in strokes.items() if stroke.lean_deg >= LEAST_LEAN_DEG][:MOST]
    pairs = [
        pair
        for pair in combinations(leaning, 2)
        if _are_alike(*(strokes[place] for place in pair)) and _is_like_a_date(_parted(signs, pair))
    ]
    dates = [pair for pair in pairs if _is_date(_parted(signs, pair))]
    knows_others = all(len(sign.probabilities) > OTHER for sign in signs)
    if len(dates) == 1 and knows_others:
        return [_left_out(sign) if place in dates[0] else sign for place, sign in enumerate(signs)]
    doubtful = {place for pair in pairs for place in pair}
    doubtful |= {place for place in leaning if _is_long(place, signs, leaning)}
    return [
        replace(sign, held=sign.held * DOUBT) if place in doubtful else sign
        for place, sign in enumerate(signs)
    ]


def _strokes_of(signs: Sequence[Sign], marks: Sequence[Mark]) -> dict[int, _Stroke]:
    """The straight strokes among the signs that were read as 1s, by place."""
    inks = {mark.box: mark.ink for mark in marks}
    found = {}
    for place, sign in enumerate(signs):
        if sign.chosen == 1 and sign.box in inks and (stroke := _stroke_of(inks[sign.box])) is not None:
            found[place] = stroke
    return found


def _stroke_of(ink: Float) -> _Stroke | None:
    """The straight stroke that a mark is, by the moments of its area; None where it has a flag, a foot, a bow."""
    rows, columns = np.nonzero(ink > DARK * ink.max(initial=0.0))
    if len(rows) < 2:
        return None
    values, axes = np.linalg.eigh(np.cov(np.stack([rows, columns]), bias=True))
    # A bar's variance is a twelfth of its side squared.
    across, along = (math.sqrt(12 * max(float(value), 0.0)) for value in values)
    thickness = len(rows) / max(along, 1.0)
    if along < SLIM * thickness or across > STRAIGHT * thickness + 1:
        return None
    down, right = float(axes[0, 1]), float(axes[1, 1])
    lean_deg = math.degrees(math.atan2(-right if down > 0 else right, abs(down)))
    return _Stroke(lean_deg, along)


def _are_alike(one: _Stroke, other: _Stroke) -> bool:
    """Whether two strokes are parallel and about as long."""
    lengths = sorted((one.length, other.length))
    return abs(one.lean_deg - other.lean_deg) <= PARALLEL_DEG and lengths[1] <= AS_LONG * lengths[0]


def _parted(signs: Sequence[Sign], places: Sequence[int]) -> list[str]:
    """The digits before, between and after the signs at these places; a year that comes first is put last."""
    parts, start = [], 0
    for end in (*places, len(signs)):
        parts.append("".join(str(sign.chosen) for sign in signs[start:end] if sign.chosen is not None))
        start = end + 1
    return [*parts[1:], parts[0]] if len(parts[0]) == LONG_YEAR else parts


def _is_like_a_date(parts: Sequence[str]) -> bool:
    """Whether three numbers are as long as day, month and year are; with a short year, day and month have two digits.

    Six or seven digits in which two 1s happen to stand so are many more than there are dates.
    """
    *days, year = parts
    if len(year) == LONG_YEAR:
        return all(1 <= len(day) <= 2 for day in days)
    return len(year) == 2 and all(len(day) == 2 for day in days)


def _left_out(sign: Sign) -> Sign:
    """The sign as no digit."""
    probabilities = sign.probabilities * (1 - LEFT_OUT)
    probabilities[OTHER] += LEFT_OUT
    return replace(sign, probabilities=probabilities, chosen=None)


def _is_date(parts: Sequence[str]) -> bool:
    """Whether three numbers are day and month, in either order, and a year of this century or the last."""
    *days, year = parts
    low, high = sorted(int(day) for day in days)
    return 1 <= low <= 12 and high <= 31 and (len(year) < LONG_YEAR or year[:2] in ("19", "20"))


def _is_long(place: int, signs: Sequence[Sign], leaning: Sequence[int]) -> bool:
    """Whether a stroke is longer than the digits beside it are high."""
    beside = [
        sign.box.height
        for other, sign in enumerate(signs)
        if sign.chosen is not None and other not in leaning
    ]
    return bool(beside) and signs[place].box.height >= LONGER * float(np.median(beside))
