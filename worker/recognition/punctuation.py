"""Slashes and brackets are no 1s, a dollar is no 5: where it is plain they are left out, else a person is asked. Pure.

A slash and a 1 without flag and foot are one shape: a straight stroke. What tells them apart is the company: a slash
leans, it is often longer than the digits are high, and two that are alike part a line into day, month and year. Round
brackets are bows that turn their backs on what they hold. A dollar stands before an amount, with a stroke through it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from worker.recognition.company import doubted, low_strokes, out_of_place
from worker.recognition.decision import OTHER, Sign
from worker.vision.ink import Float
from worker.vision.moments import STRAIGHT, Bar, dark_of, straight_bar
from worker.vision.segmentation import Mark

LEAST_SIGNS = 2  # in a line: a sign of punctuation and a digit
MOST = 8  # strokes of a line that are looked at in pairs
LONG_YEAR = 4  # digits
LEAST_LEAN_DEG = 7.0  # to the right: what is steeper is a 1
LONGER = 1.35  # times the usual height of the digits beside it: a slash or a bar that is plain by itself
TALLER = 1.1  # the same: brackets and dollars
PARALLEL_DEG, AS_LONG = 10.0, 1.3  # how far two slashes of a date differ, and how many times one is as long
BENT = 0.09  # heights: how far the middle of a bracket lies off its ends
BENT_IN_PAIR = 0.06  # the same of two that hold something between them
LEAST_BOW_PX = 8
END, NARROW, OFF_SIDE = 0.1, 0.26, 0.3  # of a dollar: its stroke above and below the S
THROUGH, MAYBE_THROUGH = 0.7, 0.3  # of its height: where that stroke shows
LEFT_OUT = 0.98  # the probability that what is punctuation is no digit


def without_punctuation(signs: Sequence[Sign], marks: Sequence[Mark]) -> list[Sign]:
    """The signs of a line, from the left, without the slashes of a date, brackets and a dollar in front.

    What may be one of these elsewhere, or a letter, is in doubt. `marks` are those of the line; a sign that was cut
    from one, or joined from several, is none of them.
    """
    if len(signs) < LEAST_SIGNS:
        return list(signs)
    inks = {mark.box: mark.ink for mark in marks}
    own = {place: inks[sign.box] for place, sign in enumerate(signs) if sign.box in inks}
    no_digits, doubtful = _slashes(signs, own)
    for found in (_brackets(signs, own), _dollars(signs, own), low_strokes(signs, own)):
        no_digits, doubtful = no_digits | found[0], doubtful | found[1]
    doubtful |= out_of_place(signs, {place: ink for place, ink in own.items() if place not in no_digits})
    if not all(len(sign.probabilities) > OTHER for sign in signs):
        no_digits, doubtful = set(), no_digits | doubtful
    return [
        _left_out(sign) if place in no_digits else sign
        for place, sign in enumerate(doubted(signs, doubtful - no_digits))
    ]


def _slashes(signs: Sequence[Sign], inks: Mapping[int, Float]) -> tuple[set[int], set[int]]:
    """Where the slashes of a date are, and where there may be others, or bars."""
    strokes = {
        place: stroke
        for place, ink in inks.items()
        if signs[place].chosen == 1 and (stroke := _stroke_of(ink)) is not None
    }
    leaning = [place for place, stroke in strokes.items() if stroke.lean_deg >= LEAST_LEAN_DEG][:MOST]
    pairs = [
        pair
        for pair in combinations(leaning, 2)
        if _are_alike(*(strokes[place] for place in pair)) and _is_like_a_date(_parted(signs, pair))
    ]
    dates = [pair for pair in pairs if _is_date(_parted(signs, pair))]
    longer = {place for place in strokes if _is_longer(place, signs, strokes, LONGER)}
    if len(dates) == 1:
        return set(dates[0]), longer - set(dates[0])
    return set(), longer | {place for pair in pairs for place in pair}


def _brackets(signs: Sequence[Sign], inks: Mapping[int, Float]) -> tuple[set[int], set[int]]:
    """Where a bracket opens and the next one closes, and where one may stand alone: no 1 is bent so."""
    bows = {
        place: bow
        for place, ink in inks.items()
        if signs[place].chosen == 1
        and (_is_longer(place, signs, {place}, TALLER) or _is_beside_noughts(place, signs))
        and abs(bow := _bow_of(ink)) >= BENT_IN_PAIR
    }
    found: set[int] = set()
    opened: list[int] = []
    for place, bow in sorted(bows.items()):
        if bow > 0:
            opened.append(place)
        elif opened and place - opened[-1] > 1:
            found |= {opened.pop(), place}
    return found, {place for place, bow in bows.items() if place not in found and abs(bow) >= BENT}


def _is_beside_noughts(place: int, signs: Sequence[Sign]) -> bool:
    """Whether all others are noughts, and lower than it."""
    others = [sign for other, sign in enumerate(signs) if other != place and sign.chosen not in (None, 1)]
    return all(sign.chosen == 0 and signs[place].box.height >= TALLER * sign.box.height for sign in others)


def _bow_of(ink: Float) -> float:
    """How far the middle of an upright bow lies left of its ends, in heights; 0 for what is no plain bow."""
    rows, columns = np.nonzero(dark_of(ink))
    height = ink.shape[0]
    if len(rows) < LEAST_BOW_PX or ink.shape[1] > height:
        return 0.0
    y = rows / height - 0.5
    powers = np.stack([np.ones_like(y), y, y * y], axis=1)
    factors = np.linalg.lstsq(powers, columns, rcond=None)[0]
    across = math.sqrt(12) * float(np.std(columns - powers @ factors))
    if across > STRAIGHT * len(rows) / height + 1:
        return 0.0
    bow: float = factors[2] / 4 / height
    return bow


def _dollars(signs: Sequence[Sign], inks: Mapping[int, Float]) -> tuple[set[int], set[int]]:
    """Where a dollar plainly stands before an amount, and where one may be: there, or taller than its company."""
    shows = {place: _through(ink) for place, ink in inks.items() if signs[place].chosen == 5}
    found = {place for place, share in shows.items() if place == 0 and share >= THROUGH}
    return found, {
        place
        for place, share in shows.items()
        if share >= MAYBE_THROUGH and place not in found
        if place == 0 or _is_longer(place, signs, {place}, TALLER)
    }


def _through(ink: Float) -> float:
    """How much of a stroke shows from top to bottom of a 5, in [0, 1]; 0 where none sticks out in its middle."""
    dark = dark_of(ink)
    height, width = dark.shape
    rows = max(1, round(END * height))
    ends = []
    for end in (dark[:rows], dark[-rows:]):
        columns = np.flatnonzero(end.any(axis=0))
        if not columns.size or columns[-1] + 1 - columns[0] > NARROW * width:
            return 0.0
        ends.append(float(columns[0] + columns[-1]) / 2)
    if not all(OFF_SIDE * width <= middle <= (1 - OFF_SIDE) * width for middle in ends):
        return 0.0
    across = np.rint(np.linspace(ends[0], ends[1], height)).astype(np.int64)
    return float(dark[np.arange(height), np.clip(across, 0, width - 1)].mean())


def _stroke_of(ink: Float) -> Bar | None:
    """The straight stroke that a mark is; None where it has a flag, a foot, a bow."""
    return straight_bar(dark_of(ink))


def _are_alike(one: Bar, other: Bar) -> bool:
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


def _is_date(parts: Sequence[str]) -> bool:
    """Whether three numbers are day and month, in either order, and a year of this century or the last."""
    *days, year = parts
    low, high = sorted(int(day) for day in days)
    return 1 <= low <= 12 and high <= 31 and (len(year) < LONG_YEAR or year[:2] in ("19", "20"))


def _is_longer(place: int, signs: Sequence[Sign], but: Collection[int], times: float) -> bool:
    """Whether a sign is so many times as high as the digits beside it usually are, `but` for these.

    Noughts do not count: many people write them small.
    """
    heights = [
        sign.box.height
        for other, sign in enumerate(signs)
        if sign.chosen not in (None, 0) and other not in but
    ]
    return bool(heights) and signs[place].box.height >= times * float(np.median(heights))


def _left_out(sign: Sign) -> Sign:
    """The sign as no digit."""
    probabilities = sign.probabilities * (1 - LEFT_OUT)
    probabilities[OTHER] += LEFT_OUT
    return replace(sign, probabilities=probabilities, chosen=None)
