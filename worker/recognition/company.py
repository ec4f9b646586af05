"""The company that a sign keeps: what stands out among the digits of its line, and what is lost. Pure.

Both networks were taught on digits of one size. Whatever else lies in a line with them, as a ring, a bar, small digits
beside a large one, they take for digits, and are sure of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS, Sign, Thresholds
from worker.vision.ink import Float
from worker.vision.layout import usual_height
from worker.vision.moments import dark_of, straight_bar
from worker.vision.page import Box

DOUBT = 0.5  # the probability that what may be no digit is one
SMALL, LETTER = 0.85, 0.5  # of the height of digits: an o at most, and a letter at least
NEAR = 0.5  # of their height: the gap between a letter and its o at most
AS_HIGH, BROAD = 0.8, 0.4  # the same: how high and how wide at least what may be a letter is
UNREAD = 0.6  # of the height of digits: how wide at least what is larger, and no digit
TALLER = 1.1  # times the height of digits: what is larger
RING = 1.4  # the same: a ring around one; and so much wider than high, or higher than wide
LARGE_NOUGHT = 1.4  # the same: a ring in which nothing is
FULL = 0.9  # of the height of digits: what is as high as they are
LARGER = 1.3  # the same: what the reader of lines sees a part of
OUT_OF_SIZE = 2.0  # times as high as the digits beside it: nobody writes so in one number
CROWD = 48  # signs in a line: no number has more
REACH = 1.5  # times the height of the higher one: how far apart digits of one number stand at most
OTHER_PEN, OTHER_OF_TWO = 2.2, 3.0  # times as thick, or as thin; and where there is one other alone
COMMA = 0.5  # of the height of the digit before it: how high a comma is at most
HANGS = 0.08  # the same: how far below it a comma ends at least
RAISED = 0.6  # of their height: a sign for degrees at most, and it ends above their middle
COLUMN = 2  # lone digits below one another, at least
EITHER_WAY = (0, 8)  # what reads the same upright and on its side
LEVEL = 0.35  # of its length: how high a bar is at most
ALIKE = (0.6, 1.7)  # of the height of digits: what is as high as they are, in another hand or of another kind
SLIP, NO_HIGHER = (
    0.5,
    1.6,
)  # of their height: how far above or below digits one stands that slipped, how high it is
NEXT, IN_COLUMNS = (
    0.6,
    0.15,
)  # of their height: how far beside them at most; of its width: how far in their columns
WITHIN = 0.5  # of its width: what lies in the columns of a mark is a part of it


def doubted(signs: Sequence[Sign], places: Collection[int]) -> list[Sign]:
    """The signs, those at `places` as likely no digit as one."""
    return [
        replace(sign, held=sign.held * DOUBT) if place in places else sign for place, sign in enumerate(signs)
    ]


def out_of_place(signs: Sequence[Sign], inks: Mapping[int, Float]) -> set[int]:
    """Which signs of a line, from the left, hardly belong to a number with the others.

    `inks` is the ink of each that is a mark of its own. In a crowd of scraps sizes and pens say nothing, and cost much.
    """
    found = _noughts_of_words(signs) | _beside_the_unread(signs) | _raised_noughts(signs)
    if len(signs) > CROWD:
        return found
    return found | _out_of_size(signs) | _of_another_pen(signs, inks)


def low_strokes(signs: Sequence[Sign], inks: Mapping[int, Float]) -> tuple[set[int], set[int]]:
    """Where a short 1 below the middle of the digit before it is a comma, as it hangs below it, and where it may be."""
    digits = [place for place, sign in enumerate(signs) if sign.chosen is not None]
    sure: set[int] = set()
    maybe: set[int] = set()
    for before, place in pairwise(digits):
        box, beside = signs[place].box, signs[before].box
        is_short = signs[place].chosen == 1 and box.height <= COMMA * beside.height
        if is_short and box.y >= beside.y + beside.height / 2:
            hangs = box.bottom >= beside.bottom + HANGS * beside.height
            is_bar = place in inks and straight_bar(dark_of(inks[place])) is not None
            (sure if hangs and is_bar else maybe).add(place)
    return sure, maybe


def stray_lines(
    lines: Sequence[Sequence[Sign]], inks: Sequence[Sequence[Float]], page: tuple[int, int]
) -> set[int]:
    """Which lines are a lone 1 that no other line says is a digit: straight, and it runs out of the page, or short.

    A pen, the edge of another sheet, a comma that hangs low. `inks` are those of the marks of each line, `page` is the
    width and height of the page.
    """
    found = set()
    for number, (signs, own) in enumerate(zip(lines, inks, strict=True)):
        if len(signs) != 1 or signs[0].chosen != 1 or len(own) != 1:
            continue
        others = [
            sign.box.height
            for other, line in enumerate(lines)
            for sign in line
            if other != number and sign.chosen is not None
        ]
        if not others:
            continue
        box = signs[0].box
        is_at_border = box.x <= 1 or box.y <= 1 or box.right >= page[0] - 1 or box.bottom >= page[1] - 1
        is_bar = is_at_border and straight_bar(dark_of(own[0])) is not None
        if is_bar or box.height <= COMMA * usual_height(others):
            found.add(number)
    return found


def unread_in_a_column(lines: Sequence[Sequence[Sign]]) -> set[int]:
    """Which lines are a lone sign that is no digit, as large as the lone digits of other lines and in their column.

    Left out, it would leave no trace in what looks like a list of digits. Or it is a level bar, as long as these are
    wide, and they look the same whichever way they lie: then it may be the 1 of a 100 that lies on its side.
    """
    alone = {number: signs[0] for number, signs in enumerate(lines) if len(signs) == 1}
    digits = [sign.box for sign in alone.values() if sign.chosen is not None]
    if len(digits) < COLUMN:
        return set()
    height = usual_height([box.height for box in digits])
    width = usual_height([box.width for box in digits])
    may_lie = all(sign.chosen in EITHER_WAY for sign in alone.values() if sign.chosen is not None)

    def is_alike(box: Box) -> bool:
        if may_lie and box.height <= LEVEL * box.width and ALIKE[0] * width <= box.width <= ALIKE[1] * width:
            return True
        return ALIKE[0] * height <= box.height <= ALIKE[1] * height and box.width >= BROAD * height

    return {
        number
        for number, sign in alone.items()
        if sign.chosen is None
        and is_alike(sign.box)
        and 2 * sum(_share_columns(sign.box, box) for box in digits) >= len(digits)
    }


def contradicted(
    signs: Sequence[Sign], boxes: Sequence[Box], rows: npt.NDArray[np.float64], thresholds: Thresholds
) -> set[int]:
    """Which digits of a line do not go with what the classifier alone says of its marks.

    `boxes` are those of the marks, and `rows` (n, labels) the classifier's probabilities for them. A mark as high as
    the digits, and a digit by itself, was left out or is one with another such mark: a bar between two numbers and a
    tall 1 look the same. Or it is larger than the others: of such a one the reader of lines sees a part.
    """
    height = usual_height([sign.box.height for sign in signs if sign.chosen is not None])
    found: set[int] = set()
    within: dict[int, int] = {}  # how many such marks make up each digit
    for box, row in zip(boxes, rows, strict=True):
        if float(row[:DIGITS].sum()) < thresholds.digit or box.height < FULL * height:
            continue
        own = [
            place
            for place, sign in enumerate(signs)
            if sign.chosen is not None and _share_columns(sign.box, box)
        ]
        if not own:
            found |= _nearest(signs, box)
        elif len(own) == 1:
            within[own[0]] = within.get(own[0], 0) + 1
            is_other = signs[own[0]].chosen != int(row[:DIGITS].argmax())
            found |= set(own) if is_other and box.height >= LARGER * height else set()
    return found | {place for place, count in within.items() if count > 1}


def _share_columns(one: Box, other: Box) -> bool:
    """Whether one of two boxes lies for the most part in the columns of the other."""
    shared = min(one.right, other.right) - max(one.x, other.x)
    return shared >= WITHIN * min(one.width, other.width)


def _nearest(signs: Sequence[Sign], box: Box) -> set[int]:
    """Where the last digit before a box is, and the first one behind it."""
    digits = [place for place, sign in enumerate(signs) if sign.chosen is not None]
    before = [place for place in digits if signs[place].box.x < box.x]
    after = [place for place in digits if signs[place].box.x >= box.x]
    return {*before[-1:], *after[:1]}


def _within_reach(place: int, signs: Sequence[Sign]) -> list[int]:
    """The other digits of a line that stand near enough to one to be of the same number."""
    box = signs[place].box
    return [
        at
        for at, sign in enumerate(signs)
        if at != place
        and sign.chosen is not None
        and _gap_px(signs[place], sign) <= REACH * max(box.height, sign.box.height)
    ]


def _out_of_size(signs: Sequence[Sign]) -> set[int]:
    """Where a digit is much higher than the others: something that was taken for one, or they are no part of it.

    Noughts say nothing of that: many people write them small.
    """
    found = set()
    for place, sign in enumerate(signs):
        if sign.chosen is None:
            continue
        near = [signs[at].box.height for at in _within_reach(place, signs) if signs[at].chosen != 0]
        times = LARGE_NOUGHT if sign.chosen == 0 else OUT_OF_SIZE
        if near and sign.box.height >= times * usual_height(near):
            found.add(place)
    return found


def _of_another_pen(signs: Sequence[Sign], inks: Mapping[int, Float]) -> set[int]:
    """Where a digit is drawn much thicker or thinner than the others: a coin, a paper clip."""
    widths = {
        place: _pen_width(ink) * signs[place].box.height / ink.shape[0]
        for place, ink in inks.items()
        if signs[place].chosen is not None and ink.any()
    }
    found = set()
    for place, width in widths.items():
        others = sorted(widths[at] for at in _within_reach(place, signs) if at in widths)
        if not others:
            continue
        times = OTHER_PEN if len(others) > 1 else OTHER_OF_TWO
        thinner, thicker = others[(len(others) - 1) // 2], others[len(others) // 2]  # the middle ones
        if width >= times * thicker or width * times <= thinner:
            found.add(place)
    return found


def _pen_width(ink: Float) -> float:
    """How thick the strokes of a mark are, in pixels of its ink: what they cover, by half of the way around them."""
    dark = np.pad(dark_of(ink), 1)
    inner = dark[1:-1, 1:-1] & dark[:-2, 1:-1] & dark[2:, 1:-1] & dark[1:-1, :-2] & dark[1:-1, 2:]
    covered = int(np.count_nonzero(dark))
    return 2 * covered / max(1, covered - int(np.count_nonzero(inner)))


def _raised_noughts(signs: Sequence[Sign]) -> set[int]:
    """Where a small nought stands high: it may be a sign for degrees."""
    digits = [place for place, sign in enumerate(signs) if sign.chosen is not None]
    found = set()
    for before, place in pairwise(digits):
        box, beside = signs[place].box, signs[before].box
        if signs[place].chosen == 0 and box.height <= RAISED * beside.height:
            is_high = box.bottom <= beside.y + beside.height / 2 + box.height / 4
            found |= {place} if is_high else set()
    return found


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


def slipped(lines: Sequence[Sequence[Sign]]) -> set[int]:
    """Which lines are a lone digit that stands in a gap of another line, or next to its digits, hardly above or below.

    Whether it was meant to be in that line, raised, or in one of its own, nobody can tell. Of two such the smaller.
    """
    digits = [[sign.box for sign in line if sign.chosen is not None] for line in lines]
    rows = [(number, own, _Row.of(own)) for number, own in enumerate(digits) if own]
    return {
        number
        for number, own, _ in rows
        if len(own) == 1
        and any(
            other != number
            and (len(others) > 1 or (others[0].height, -other) > (own[0].height, -number))
            and row.is_near(own[0])
            for other, others, row in rows
        )
    }


@dataclass(frozen=True, slots=True)
class _Row:
    """The digits of a line: their boxes, their usual height, and the top and bottom of them all."""

    boxes: Sequence[Box]
    height: float
    top: int
    bottom: int

    @classmethod
    def of(cls, boxes: Sequence[Box]) -> Self:
        """The row that these boxes, of which there are some, stand in."""
        height = usual_height([box.height for box in boxes])
        return cls(boxes, height, min(box.y for box in boxes), max(box.bottom for box in boxes))

    def is_near(self, box: Box) -> bool:
        """Whether a digit stands in a gap of the row or next to it, its top or bottom near its level."""
        apart = max(box.y - self.bottom, self.top - box.bottom)
        if box.height > NO_HIGHER * self.height or apart > SLIP * self.height:
            return False
        gap = min(max(each.x - box.right, box.x - each.right) for each in self.boxes)
        return -IN_COLUMNS * box.width <= gap <= NEXT * self.height
