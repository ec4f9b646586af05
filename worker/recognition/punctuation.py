"""Slashes and brackets are no 1s, a dollar is no 5: where it is plain they are left out, else a person is asked. Pure.

A slash and a 1 without flag and foot are one shape: a straight stroke. What tells them apart is the company: a slash
leans, it is often longer than the digits are high, and two that are alike part a line into day, month and year. Round
brackets are bows that turn their backs on what they hold. A dollar stands before an amount, with a stroke through it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from worker.recognition.decision import OTHER, Sign
from worker.vision.ink import Float
from worker.vision.layout import usual_height
from worker.vision.segmentation import Mark

LEAST_SIGNS = 3  # in a line: a sign of punctuation and two digits
MOST = 8  # strokes of a line that are looked at in pairs
LONG_YEAR = 4  # digits
LEAST_LEAN_DEG = 7.0  # to the right: what is steeper is a 1
STRAIGHT = 1.5  # times as thick as its ink would be if it were straight: a flag or a foot makes it more
DARK = 0.35  # of a mark's darkest: without the soft edges of a stroke
SLIM = 3.0  # thicknesses: how long a stroke is at least
LONGER = 1.35  # times the usual height of the digits beside it: a slash that is plain by itself
TALLER = 1.1  # the same: brackets and dollars
PARALLEL_DEG, AS_LONG = 10.0, 1.3  # how far two slashes of a date differ, and how many times one is as long
DOUBT = 0.5  # the probability that what may be punctuation is a digit
BENT = 0.09  # heights: how far the middle of a bracket lies off its ends
LEAST_BOW_PX = 8
END, NARROW, OFF_SIDE = 0.1, 0.26, 0.3  # of a dollar: its stroke above and below the S
THROUGH, MAYBE_THROUGH = 0.7, 0.3  # of its height: where that stroke shows
SMALL, LETTER = 0.85, 0.5  # of the height of digits: an o at most, and a letter at least
NEAR = 0.5  # of their height: the gap between a letter and its o at most
AS_HIGH, BROAD = 0.8, 0.4  # the same: how high and how wide at least what may be a letter is
UNREAD = 0.6  # of the height of digits: how wide at least what is larger, and no digit
RING = 1.4  # times the height of digits: a ring around one; and so much wider than high, or higher than wide
LEFT_OUT = 0.98  # the probability that what is punctuation is no digit


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A mark that is one straight stroke: how far it leans to the right, and its length in pixels of its ink."""

    lean_deg: float
    length: float


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
    for found in (_brackets(signs, own), _dollars(signs, own)):
        no_digits, doubtful = no_digits | found[0], doubtful | found[1]
    doubtful |= _noughts_of_words(signs) | _beside_the_unread(signs)
    if not all(len(sign.probabilities) > OTHER for sign in signs):
        no_digits, doubtful = set(), no_digits | doubtful
    return [
        _left_out(sign) if place in no_digits
        else replace(sign, held=sign.held * DOUBT) if place in doubtful
        else sign
        for place, sign in enumerate(signs)
    ]  # fmt: skip


def _slashes(signs: Sequence[Sign], inks: Mapping[int, Float]) -> tuple[set[int], set[int]]:
    """Where the slashes of a date are, and where there may be others."""
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
    if len(dates) == 1:
        return set(dates[0]), set()
    doubtful = {place for pair in pairs for place in pair}
    return set(), doubtful | {place for place in leaning if _is_longer(place, signs, leaning, LONGER)}


def _brackets(signs: Sequence[Sign], inks: Mapping[int, Float]) -> tuple[set[int], set[int]]:
    """Where a bracket opens and the next one closes, and where one opens alone: no 1 is bent so."""
    bows = {
        place: _bow_of(ink)
        for place, ink in inks.items()
        if signs[place].chosen == 1 and _is_longer(place, signs, {place}, TALLER)
    }
    found: set[int] = set()
    opened: list[int] = []
    for place, bow in sorted(bows.items()):
        if bow >= BENT:
            opened.append(place)
        elif bow <= -BENT and opened and place - opened[-1] > 1:
            found |= {opened.pop(), place}
    return found, set(opened)


def _bow_of(ink: Float) -> float:
    """How far the middle of an upright bow lies left of its ends, in heights; 0 for what is no plain bow."""
    rows, columns = np.nonzero(ink > DARK * ink.max(initial=0.0))
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
    dark = ink > DARK * ink.max(initial=0.0)
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


def _noughts_of_words(signs: Sequence[Sign]) -> set[int]:
    """Where a nought that is lower than its company stands beside a letter: it may be an o."""
    height = usual_height([sign.box.height for sign in signs if sign.chosen is not None])
    small = [
        place for place, sign in enumerate(signs) if sign.chosen == 0 and sign.box.height <= SMALL * height
    ]
    return {
        place
        for place in small
        for other in (place - 1, place + 1)
        if 0 <= other < len(signs) and _is_letter_beside(signs[other], signs[place], height)
    }


def _beside_the_unread(signs: Sequence[Sign]) -> set[int]:
    """Where a digit stands beside something that is none: a letter, a ring, perhaps with another digit in it.

    Between two digits that is whatever is larger, and what is as high and no thin stroke where no space is between; at
    an end, where signs of currency and words are, what is as large as a ring, and no wider.
    """
    digits = [place for place, sign in enumerate(signs) if sign.chosen is not None]
    if not digits:
        return set()
    height = usual_height([signs[place].box.height for place in digits])
    found = set()
    for place, sign in enumerate(signs):
        across, along = sign.box.width / height, sign.box.height / height
        before = [digit for digit in digits if digit < place]
        after = [digit for digit in digits if digit > place]
        if sign.chosen is not None or not (before or after):
            continue
        beside = {*before[-1:], *after[:1]}
        is_like_a_ring = along >= RING and across >= UNREAD and RING * across >= along >= across / RING
        is_larger = along >= TALLER and across >= UNREAD
        if is_like_a_ring or (before and after and is_larger):
            found |= beside
        elif before and after and along >= AS_HIGH and across >= BROAD:
            found |= {digit for digit in beside if _gap_px(signs[digit], sign) <= NEAR * height}
    return found


def _is_letter_beside(sign: Sign, nought: Sign, height: float) -> bool:
    """Whether a sign that is no digit is as large as one, and no space is between it and a nought."""
    return (
        sign.chosen is None
        and min(sign.box.height, 2 * sign.box.width) >= LETTER * height
        and _gap_px(sign, nought) <= NEAR * height
    )


def _gap_px(one: Sign, other: Sign) -> int:
    left, right = sorted((one.box, other.box), key=lambda box: box.x)
    return right.x - left.right


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


def _is_date(parts: Sequence[str]) -> bool:
    """Whether three numbers are day and month, in either order, and a year of this century or the last."""
    *days, year = parts
    low, high = sorted(int(day) for day in days)
    return 1 <= low <= 12 and high <= 31 and (len(year) < LONG_YEAR or year[:2] in ("19", "20"))


def _is_longer(place: int, signs: Sequence[Sign], but: Collection[int], times: float) -> bool:
    """Whether a sign is so many times as high as the digits beside it usually are, `but` for these."""
    beside = [
        sign.box.height for other, sign in enumerate(signs) if sign.chosen is not None and other not in but
    ]
    return bool(beside) and signs[place].box.height >= times * float(np.median(beside))


def _left_out(sign: Sign) -> Sign:
    """The sign as no digit."""
    probabilities = sign.probabilities * (1 - LEFT_OUT)
    probabilities[OTHER] += LEFT_OUT
    return replace(sign, probabilities=probabilities, chosen=None)
