"""Lines of digits written side by side, as the reader of lines sees them: strips, and where each digit stands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import cv2
import numpy as np
import numpy.typing as npt

from worker.training.augmentation import Damage, scan, thicken, warp
from worker.training.linked_noughts import draw_linked_noughts
from worker.training.marks import draw_non_digit
from worker.training.pen import draw_shape, render, sample_pen, sample_pen_px, sample_style
from worker.training.shapes import IN_COMPANY, SHAPES, Shape, pick_shape
from worker.vision.cleaning import clean
from worker.vision.ink import MIN_CONTRAST, find_ink
from worker.vision.layout import usual_height
from worker.vision.page import Page
from worker.vision.strips import SOLID_LEVEL, Band, Field, field_of, strip_of

Float = npt.NDArray[np.float32]
Tiles = npt.NDArray[np.uint8]
Rng = np.random.Generator

MOST_DIGITS = 9
_COUNTS = np.array([0.10, 0.15, 0.16, 0.15, 0.13, 0.12, 0.09, 0.06, 0.04])
LINKED = 0.5  # of the lines that end in two noughts or more: these in one stroke
QUICK = 0.3  # of a hand's shapes: such as are read in company only
NO_DIGITS = 0.06  # lines of letters and scribbles alone
BLOCK = 250  # lines drawn from one seed
DAMAGE = Damage(margin=(0.1, 1.0), clean=0.3, printed=0.22, ruled=0.12, inverted=0.12)


@dataclass(frozen=True, slots=True, eq=False)
class WrittenLine:
    """A strip uint8 (32, w), its digits from the left, and the columns at which their middles stand."""

    pixels: Tiles
    digits: tuple[int, ...]
    middles: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """Ink at a place of the page under way: its left column, the row of its top, and the digit, if it is one."""

    ink: Float
    x: int
    y: int
    digit: int | None
    middle: float | None = (
        None  # the column of the ink at which a digit stands, where its drawer knows better
    )

    @property
    def right(self) -> int:
        return self.x + int(self.ink.shape[1])

    @property
    def bottom(self) -> int:
        return self.y + int(self.ink.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class WrittenPage:
    """A page uint8 (h, w) with one line, and the digits on it from the left."""

    grey: Tiles
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Composed:
    """A line before any scanner sees it: coverage float32 (h, w), what lies where, digits' height, slope."""

    cover: Float
    placed: Sequence[_Placed]
    height: int
    slope: float


class LineWriter:
    """Writes lines with digits of MNIST's training part and of the pen."""

    def __init__(self, digits: Tiles, labels: Tiles) -> None:
        self._digits = digits
        self._places = [np.flatnonzero(labels == digit) for digit in range(10)]

    def block(self, seed: int) -> list[WrittenLine]:
        """`BLOCK` lines, drawn from `seed`."""
        cv2.setNumThreads(1)
        rng = np.random.default_rng(seed)
        lines: list[WrittenLine] = []
        while len(lines) < BLOCK:
            line = self.write(rng)
            if line is not None:
                lines.append(line)
        return lines

    def write(self, rng: Rng) -> WrittenLine | None:
        """One line at random, as the transcriber sees it; None where its page hid it."""
        return _seen(self._compose(rng, with_neighbours=True), rng)

    def page(self, rng: Rng) -> WrittenPage:
        """A small page with one line at random and nothing else, as a scanner sees it."""
        composed = self._compose(rng, with_neighbours=False)
        digits = sorted((one.x, one.digit) for one in composed.placed if one.digit is not None)
        grey = scan(composed.cover, rng, DAMAGE, composed.height)
        return WrittenPage(grey, "".join(str(digit) for _, digit in digits))

    def _compose(self, rng: Rng, *, with_neighbours: bool) -> _Composed:
        height = int(math.exp(rng.uniform(math.log(16), math.log(64))))
        count = 1 + int(rng.choice(MOST_DIGITS, p=_COUNTS))
        placed = self._row(count, height, rng)
        if rng.random() < 0.4:
            placed = _with_signs(placed, height, rng)
        if rng.random() < NO_DIGITS:
            placed = [_letter_for(one, rng) for one in placed]
        cover, placed = _paint(placed, height, rng)
        _connect(cover, placed, height, rng)
        _form(cover, placed, height, rng)
        if with_neighbours and rng.random() < 0.25:
            self._neighbours(cover, placed, height, rng)
        slope = float(np.clip(rng.normal(0, 0.035), -0.1, 0.1)) if rng.random() < 0.5 else 0.0
        if slope:
            cover = _sheared(cover, slope)
        return _Composed(cover, placed, height, slope)

    # --- digits -----------------------------------------------------------------------------------

    def _row(self, count: int, height: int, rng: Rng) -> list[_Placed]:
        """Digits side by side: apart, touching or overlapping."""
        labels = _labels(count, rng)
        inks = self._written(labels, height, rng) if rng.random() < 0.45 else self._mnist(labels, height, rng)
        linked = _linked(labels, height, rng)
        tight = rng.random()
        low, high = (0.05, 0.45) if tight < 0.33 else (-0.05, 0.10) if tight < 0.65 else (-0.24, 0.04)
        by_ink = rng.random() < 0.5  # gaps between strokes, not between boxes
        sizes = _sizes(labels, rng)
        drift = rng.normal(0, 0.02)
        placed: list[_Placed] = []
        for index, (ink, digit) in enumerate(zip(inks, labels, strict=True)):
            if index >= count - len(linked):
                break
            own = max(7, round(height * sizes[index][0]))
            rise = (rng.normal(0, 0.05) + drift * index + sizes[index][1]) * height
            scale = own / ink.shape[0]
            width = max(2, min(round(ink.shape[1] * scale), 2 * own))
            scaled = np.asarray(cv2.resize(ink, (width, own), interpolation=cv2.INTER_AREA), np.float32)
            one = _Placed(scaled, 0, round(-own - rise), digit)
            gap = rng.uniform(low, high) * height
            if rng.random() < 0.05:
                gap = rng.uniform(0.5, 2.5) * height
            if placed:
                before = placed[-1]
                start = before.right + round(gap) - (_slack(before, one) if by_ink else 0)
                # A digit that hides the one before it is none that anybody could read.
                least = before.x + max(3, round(0.55 * min(width, before.ink.shape[1])))
                one = replace(one, x=max(start, least))
            placed.append(one)
        if linked and placed:
            gap = rng.uniform(max(low, -0.1), max(high, 0.1)) * height
            shift = placed[-1].right + round(gap) - min(one.x for one in linked)
            linked = [replace(one, x=one.x + shift) for one in linked]
        return placed + linked

    def _mnist(self, labels: Sequence[int], height: int, rng: Rng) -> list[Float]:
        """MNIST digits as if one hand had written them: one slant, one stretch, one pen."""
        inks = []
        strength, fatter = float(rng.uniform(0.2, 0.9)), rng.random() < 0.3
        slant = float(np.clip(rng.normal(0.12, 0.2), -0.25, 0.6)) if rng.random() < 0.5 else 0.0
        side = max(20, round(height * 1.4))
        for label in labels:
            index = int(rng.choice(self._places[label]))
            ink = self._digits[index].astype(np.float32) / 255
            ink = np.clip(cv2.resize(ink, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
            ink = warp(np.asarray(ink, np.float32), rng, strength)
            if slant:
                ink = _slanted(ink, slant)
            if fatter:
                ink = thicken(ink, rng)
            inks.append(_tight(ink))
        return inks

    def _written(self, labels: Sequence[int], height: int, rng: Rng) -> list[Float]:
        """Digits of one hand with one pen."""
        style, pen = sample_style(rng), sample_pen(rng, height)
        if rng.random() < 0.35:
            style = replace(style, slant_deg=float(np.clip(rng.normal(16, 10), -5, 35)))
        ratio = sample_pen_px(rng, height, 0.2) / height
        kept: dict[int, Shape] = {}
        inks = []
        for digit in labels:
            if digit not in kept or rng.random() < 0.1:
                quick = digit in IN_COMPANY and len(labels) > 1 and rng.random() < QUICK
                kept[digit] = pick_shape(IN_COMPANY[digit] if quick else SHAPES[digit], rng)
            shape = kept[digit]
            drawing = draw_shape(shape, style, rng, digit)
            pen_px = max(1.0, min(ratio, shape.thickest) * height)
            own = pen if shape.thickest <= 0.25 else replace(pen, hollow=False)
            inks.append(_tight(render(drawing, float(height), pen_px, own, rng)))
        return inks

    def _neighbours(self, cover: Float, placed: Sequence[_Placed], height: int, rng: Rng) -> None:
        """What reaches into the strip from the lines above and below, in place; never onto the digits."""
        own = _main(placed)
        top, bottom = min(one.y for one in own), max(one.bottom for one in own)
        x = int(rng.integers(0, max(1, cover.shape[1] - height)))
        for ink in self._mnist(rng.integers(0, 10, int(rng.integers(1, 4))).tolist(), height, rng):
            room = top - int(0.05 * height) if rng.random() < 0.5 else -(bottom + int(0.05 * height))
            scaled = cv2.resize(ink, (max(2, round(ink.shape[1] * height / ink.shape[0])), height))
            part = scaled[-room:] if room > 0 else scaled[: cover.shape[0] + room]
            part = part[:, : max(0, cover.shape[1] - x)]
            if part.shape[0] < 2 or part.shape[1] < 2:
                return
            rows = (
                slice(max(0, room - part.shape[0]), room) if room > 0 else slice(-room, -room + part.shape[0])
            )
            window = cover[rows, x : x + part.shape[1]]
            np.maximum(window, part[: window.shape[0]], out=window)
            x += scaled.shape[1] + int(rng.uniform(0, 1) * height)


def _linked(labels: Sequence[int], height: int, rng: Rng) -> list[_Placed]:
    """The noughts at the end, now and then, in one line from the first to the last of them; a 1 before them, too."""
    noughts = next((i for i, digit in enumerate(reversed(labels)) if digit), len(labels))
    if noughts < 2 or rng.random() > LINKED:
        return []
    count = noughts if rng.random() < 0.75 else int(rng.integers(2, noughts + 1))
    after_one = len(labels) > count and labels[-count - 1] == 1 and rng.random() < 0.3
    pen_px = height * math.exp(rng.uniform(math.log(0.04), math.log(0.16)))
    links = draw_linked_noughts(count, height, pen_px, rng, after_one=after_one)
    digits = [1] * after_one + [0] * count
    return [
        _Placed(link.ink, link.x, link.y, digit, link.middle)
        for link, digit in zip(links, digits, strict=True)
    ]


def _labels(count: int, rng: Rng) -> list[int]:
    """Digits at random; amounts end in noughts more often than chance would have it."""
    labels: list[int] = rng.integers(0, 10, count).tolist()
    if count >= 3 and rng.random() < 0.4:
        noughts = int(rng.integers(1, min(6, count)))
        labels[-noughts:] = [0] * noughts
    return labels


def _sizes(labels: Sequence[int], rng: Rng) -> list[tuple[float, float]]:
    """For each digit its height and how far it is raised, in heights of the line, as one hand would vary them."""
    count = len(labels)
    sizes = np.exp(rng.normal(0, 0.09 if rng.random() < 0.7 else 0.17, count))
    rises = np.zeros(count)
    habit = rng.random()
    if count >= 4 and habit < 0.1:  # cents: small, and somewhat raised
        small = rng.uniform(0.5, 0.8)
        sizes[-2:] *= small
        rises[-2:] = rng.uniform(0.0, 0.6) * (1 - small)
    elif count >= 2 and habit < 0.2:  # the first one large
        sizes[0] *= rng.uniform(1.15, 1.5)
        rises[0] = rng.uniform(-0.2, 0.0)
    elif habit < 0.35:  # noughts small, on the line or above it
        small = rng.uniform(0.5, 0.85)
        noughts = np.array(labels) == 0
        sizes[noughts] *= small
        rises[noughts] = rng.uniform(0.0, 0.5) * (1 - small)
    elif habit < 0.45:  # ever smaller
        sizes *= np.linspace(1.1, rng.uniform(0.6, 0.9), count)
    return [(float(size), float(rise)) for size, rise in zip(sizes, rises, strict=True)]


def _slack(one: _Placed, other: _Placed) -> int:
    """How much nearer two inks could come than their boxes before strokes meet; 0 where they share no row."""
    top, bottom = max(one.y, other.y), min(one.bottom, other.bottom)
    if bottom - top < 2:
        return 0
    left = one.ink[top - one.y : bottom - one.y] > 0.4
    right = other.ink[top - other.y : bottom - other.y] > 0.4
    free_left = np.where(left.any(axis=1), left[:, ::-1].argmax(axis=1), left.shape[1])
    free_right = np.where(right.any(axis=1), right.argmax(axis=1), right.shape[1])
    # A stroke also meets what is a little above or below it.
    reach = max(1, (bottom - top) // 12) * 2 + 1
    kernel = np.ones((reach, 1), np.uint8)
    free_left = cv2.erode(free_left.astype(np.float32)[:, None], kernel)[:, 0]
    free_right = cv2.erode(free_right.astype(np.float32)[:, None], kernel)[:, 0]
    return int((free_left + free_right).min())


def _slanted(ink: Float, slant: float) -> Float:
    height, width = ink.shape
    room = math.ceil(abs(slant) * height)
    shift = slant * height if slant > 0 else 0.0
    matrix = np.array([[1, -slant, shift], [0, 1, 0]], np.float64)
    return np.asarray(cv2.warpAffine(ink, matrix, (width + room, height)), np.float32)


def _letter_for(one: _Placed, rng: Rng) -> _Placed:
    """A letter or a scribble in the place of a digit."""
    if one.digit is None:
        return one
    ink = cv2.resize(_tight(draw_non_digit(rng)), one.ink.shape[::-1], interpolation=cv2.INTER_AREA)
    return replace(one, ink=np.asarray(ink, np.float32), digit=None)


def _tight(ink: Float) -> Float:
    rows, columns = np.flatnonzero((ink > 0.1).any(axis=1)), np.flatnonzero((ink > 0.1).any(axis=0))
    if rows.size == 0 or columns.size == 0:
        return ink
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


# --- what else stands in a line ---------------------------------------------------------------------------


def _with_signs(placed: list[_Placed], height: int, rng: Rng) -> list[_Placed]:
    """Signs that are no digits before, between and after the digits, which move aside."""
    pen = max(1, round(height * math.exp(rng.uniform(math.log(0.04), math.log(0.16)))))
    rate = rng.choice([0.12, 0.3, 0.6])
    found: list[_Placed] = []
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


def _room(before: Sequence[_Placed], first: _Placed, height: int, rng: Rng) -> int:
    return max(one.right for one in before) - first.x + round(rng.uniform(0.08, 0.6) * height)


def _sign(x: int, height: int, pen: int, rng: Rng, *, at_end: bool) -> list[_Placed]:
    """A sign whose left end is at `x`: dots, commas, dashes, slashes, letters, fill lines."""
    kind = rng.random()
    if kind < 0.28:  # a dot or a comma on the base line, or a little above it
        long = round(rng.uniform(0, 0.3) * height) if rng.random() < 0.6 else 0
        ink = _stroke([(0, 0), (-0.4 * long, long)], max(pen, 2))
        return [
            _Placed(ink, x, -round(rng.uniform(-0.05, 0.12) * height) - (0 if long else ink.shape[0]), None)
        ]
    if kind < 0.5:  # a dash, or two
        wide = rng.uniform(0.25, 1.3) * height
        tilt = rng.normal(0, 0.1) * wide
        ink = _stroke([(0, 0), (wide / 2, tilt / 2 + rng.normal(0, 0.04) * height), (wide, tilt)], pen)
        y = -round(rng.uniform(0.3, 0.65) * height)
        signs = [_Placed(ink, x, y, None)]
        if rng.random() < 0.35:
            signs.append(_Placed(ink, x, y + round(rng.uniform(0.2, 0.4) * height), None))
        return signs
    if kind < 0.53 and not at_end:  # a slash, taller and farther over than anybody's 1
        tall = rng.uniform(1.25, 1.6) * height
        return [
            _Placed(
                _stroke([(rng.uniform(0.6, 0.9) * tall, 0), (0, tall)], pen),
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
        return [_Placed(ink, x, -round(rng.uniform(0.2, 0.7) * height) - ink.shape[0] // 2, None)]
    ink = draw_non_digit(rng)
    ink = _tight(ink)
    tall = max(6, round(rng.uniform(0.45, 1.3) * height))
    if max(ink.shape) > 2.2 * ink.shape[0]:
        tall = max(4, round(tall * 2.2 * ink.shape[0] / max(ink.shape)))
    wide_px = max(2, round(ink.shape[1] * tall / ink.shape[0]))
    scaled = np.asarray(cv2.resize(ink, (wide_px, tall), interpolation=cv2.INTER_AREA), np.float32)
    return [_Placed(scaled, x, -round(0.5 * (tall + height) + rng.normal(0, 0.1) * height), None)]


def _stroke(points: Sequence[tuple[float, float]], pen: int) -> Float:
    """A polyline as ink, tight."""
    corners = np.array(points, np.float64)
    corners -= corners.min(axis=0) - pen
    width, height = (np.ceil(corners.max(axis=0)) + pen + 1).astype(int)
    canvas = np.zeros((height, width), np.uint8)
    _draw(canvas, corners, pen)
    return _tight(np.multiply(canvas, np.float32(1 / 255), dtype=np.float32))


def _draw(canvas: Tiles, points: npt.NDArray[np.float64], pen: int) -> None:
    fixed = np.rint(points * 16).astype(np.int32)
    cv2.polylines(
        canvas, [fixed], isClosed=False, color=255, thickness=max(1, pen), lineType=cv2.LINE_AA, shift=4
    )


def _paint(placed: Sequence[_Placed], height: int, rng: Rng) -> tuple[Float, list[_Placed]]:
    """All on one field with room around, and where each came to lie."""
    sides = [round(height * u) + 2 for u in rng.uniform(0.15, 1.0, 4)]
    left = min(one.x for one in placed)
    top = min(one.y for one in placed)
    right, bottom = max(one.right for one in placed), max(one.bottom for one in placed)
    moved = [replace(one, x=one.x - left + sides[0], y=one.y - top + sides[1]) for one in placed]
    cover = np.zeros((bottom - top + sides[1] + sides[3], right - left + sides[0] + sides[2]), np.float32)
    for one in moved:
        window = cover[one.y : one.bottom, one.x : one.right]
        np.maximum(window, one.ink, out=window)
    return cover, moved


def _connect(cover: Float, placed: Sequence[_Placed], height: int, rng: Rng) -> None:
    """Strokes that a quick hand leaves between digits, in place."""
    if rng.random() > 0.22:
        return
    digits = _main(placed)
    pen = max(1, round(height * rng.uniform(0.03, 0.1)))
    for one, after in itertools.pairwise(digits):
        if rng.random() < 0.6 and -0.1 * height < after.x - one.right < 0.6 * height:
            row = rng.uniform(0, 1)
            start, end = _edge(one, row, -1), _edge(after, min(1.0, max(0.0, row + rng.normal(0, 0.15))), 0)
            if start is not None and end is not None:
                middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + rng.normal(0, 0.06) * height)
                layer = np.zeros(cover.shape, np.uint8)
                _draw(layer, np.array([start, middle, end], np.float64), pen)
                np.maximum(cover, layer.astype(np.float32) / 255, out=cover)


def _edge(one: _Placed, row: float, place: int) -> tuple[float, float] | None:
    """The first (0) or last (-1) inked column of a row."""
    y = min(one.ink.shape[0] - 1, int(row * one.ink.shape[0]))
    columns = np.flatnonzero(one.ink[y] > 0.5)
    return (float(one.x + columns[place]), float(one.y + y)) if columns.size else None


def _form(cover: Float, placed: Sequence[_Placed], height: int, rng: Rng) -> None:
    """Lines and boxes of a form, in place: under, over, through and between the digits."""
    if rng.random() > 0.22:
        return
    digits = _main(placed)
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
        if kind < 0.8:
            cv2.rectangle(layer, (near, up), (far, down), 255, pen)
        for one, after in itertools.pairwise(digits):
            middle = (one.right + after.x) // 2
            if after.x - one.right > 2 * pen or rng.random() < 0.3:
                cv2.line(layer, (middle, up), (middle, down), 255, pen)
    np.maximum(cover, layer.astype(np.float32) * np.float32(strength / 255), out=cover)


def _sheared(cover: Float, slope: float) -> Float:
    """Each column moved down by `slope` for each pixel right of the middle; the field grows as needed."""
    height, width = cover.shape
    reach = math.ceil(abs(slope) * width / 2)
    matrix = np.array([[1, 0, 0], [slope, 1, reach - slope * width / 2]], np.float64)
    return np.asarray(cv2.warpAffine(cover, matrix, (width, height + 2 * reach)), np.float32)


# --- what the reader sees of it ---------------------------------------------------------------------------


def _seen(composed: _Composed, rng: Rng) -> WrittenLine | None:
    """The strip of the page that a scanner made of it; None where the ink was not found."""
    cover, placed, slope = composed.cover, composed.placed, composed.slope
    field = _drawn(cover) if rng.random() < 0.25 else _scanned(cover, composed.height, rng)
    if field is None:
        return None
    digits = _main(placed)
    heights = [one.ink.shape[0] for one in digits]
    usual = usual_height(heights) * math.exp(rng.normal(0, 0.11))
    width = cover.shape[1]
    reach = math.ceil(abs(slope) * width / 2)
    tall = [one for one in digits if one.ink.shape[0] >= 0.6 * max(heights)]
    middle = float(np.median([(one.y + one.bottom) / 2 for one in tall]))
    level = middle + (reach - slope * width / 2) + rng.normal(0, 0.05) * usual
    seen_slope = slope + (rng.normal(0, 0.015) if len(digits) > 2 else -slope)
    if len(digits) <= 2:
        level += slope * (digits[0].x + digits[-1].right) / 2
    left = min(one.x for one in digits) + rng.normal(0, 0.1) * usual
    right = max(one.right for one in digits) + rng.normal(0, 0.1) * usual
    if rng.random() < 0.7:  # signs are marks, too
        left, right = min([left, *(one.x for one in placed)]), max([right, *(one.right for one in placed)])
    if rng.random() < 0.15:
        left, right = left - rng.uniform(0, 2) * usual, right + rng.uniform(0, 2) * usual
    left, right = min(left, digits[0].x + 0.3 * usual), max(right, digits[-1].right - 0.3 * usual)
    pivot = (left + right) / 2
    band = Band(left, right - left, level + (slope - seen_slope) * pivot, usual, seen_slope)
    strip = strip_of(field, band)
    true = [(one.digit, band.to_strip(one.x + _middle(one))) for one in digits if one.digit is not None]
    true.sort(key=lambda each: each[1])
    return WrittenLine(
        np.round(strip * 255).astype(np.uint8), tuple(digit for digit, _ in true), tuple(x for _, x in true)
    )


def _main(placed: Sequence[_Placed]) -> list[_Placed]:
    """The digits of a line; all its signs where it has none."""
    return [one for one in placed if one.digit is not None] or list(placed)


def _middle(one: _Placed) -> float:
    """The middle column of a digit in its ink: half-way between its box's and its ink's, or as its drawer said."""
    if one.middle is not None:
        return one.middle
    mass = one.ink.sum(axis=0)
    return float(0.5 * (mass @ np.arange(len(mass))) / max(float(mass.sum()), 1e-6) + 0.25 * len(mass))


def _drawn(cover: Float) -> Field:
    return Field(np.round(cover * SOLID_LEVEL).astype(np.uint8), 2, 1)


def _scanned(cover: Float, height: int, rng: Rng) -> Field | None:
    """The field of ink that service finds on the page; None where it took something else for ink."""
    ink_map = find_ink(Page(scan(cover, rng, DAMAGE, height)))
    if ink_map.core < MIN_CONTRAST or ink_map.step != 1:
        return None
    ink_map, _ = clean(ink_map)
    written = cover > 0.6
    if (
        ink_map.core < MIN_CONTRAST
        or not written.any()
        or float(ink_map.ink[written].mean()) < 0.45 * ink_map.core
    ):
        return None
    return field_of(ink_map)


# --- many blocks, by several processes --------------------------------------------------------------------

_writer: LineWriter | None = None


def _start(digits: Tiles, labels: Tiles) -> None:
    global _writer  # noqa: PLW0603 - what each process of the pool holds; sent once, not with every task
    _writer = LineWriter(digits, labels)


def _block(seed: int) -> list[WrittenLine]:
    assert _writer is not None  # noqa: S101 - _start ran before
    return _writer.block(seed)


def write_blocks(digits: Tiles, labels: Tiles, seeds: range, processes: int) -> Iterator[list[WrittenLine]]:
    """The blocks of `seeds`, in their order, written by `processes` processes (which never see TensorFlow)."""
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_start, initargs=(digits, labels)) as pool:
        yield from pool.map(_block, seeds)
