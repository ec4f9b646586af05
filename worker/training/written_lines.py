"""Lines of digits written side by side, by MNIST's hands and the pen's: composed, then seen as service sees them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import cv2
import numpy as np
import numpy.typing as npt

from worker.training.augmentation import scan, thicken, warp
from worker.training.line_signs import connect_digits, letter_for, rule_form, with_signs, with_strangers
from worker.training.line_strips import DAMAGE, WrittenLine, middle_of, strip_seen
from worker.training.linked_noughts import draw_linked_noughts
from worker.training.pen import draw_shape, render, sample_pen, sample_pen_px, sample_style
from worker.training.placed import ComposedLine, Float, Placed, main_signs, strangers_among, tight
from worker.training.shapes import IN_COMPANY, SHAPES, Shape, pick_shape

Tiles = npt.NDArray[np.uint8]
Rng = np.random.Generator

MOST_DIGITS = 9
_COUNTS = np.array([0.10, 0.15, 0.16, 0.15, 0.13, 0.12, 0.09, 0.06, 0.04])
LINKED = 0.5  # of the lines that end in two noughts or more: these in one stroke
QUICK = 0.3  # of a hand's shapes: such as are read in company only
# MNIST's hands are of one country: their 1 is a bare stroke, their 7 is never crossed. Of the lines in them so many
# have all their 1s, or all their 7s, from the pen, which writes as people do elsewhere.
FOREIGN = {1: 0.45, 7: 0.25}
BARE_ONES = {"vertical", "slanted", "bent", "bowed"}
STRANGERS = 0.2  # of the lines without other signs: such marks that are no digits at their side
NO_DIGITS = 0.06  # lines of letters and scribbles alone
BLOCK = 250  # lines drawn from one seed


@dataclass(frozen=True, slots=True, eq=False)
class WrittenPage:
    """A page uint8 (h, w) with one line, the digits on it from the left, and how many signs as high are none."""

    grey: Tiles
    text: str
    strangers: int = 0


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
        return strip_seen(self._compose(rng, with_neighbours=True), rng)

    def page(self, rng: Rng) -> WrittenPage:
        """A small page with one line at random and nothing else, as a scanner sees it."""
        composed = self._compose(rng, with_neighbours=False)
        digits = sorted(
            (one.x + middle_of(one), one.digit) for one in composed.placed if one.digit is not None
        )
        grey = scan(composed.cover, rng, DAMAGE, composed.height)
        text = "".join(str(digit) for _, digit in digits)
        return WrittenPage(grey, text, strangers_among(composed.placed))

    def _compose(self, rng: Rng, *, with_neighbours: bool) -> ComposedLine:
        height = int(math.exp(rng.uniform(math.log(16), math.log(64))))
        count = 1 + int(rng.choice(MOST_DIGITS, p=_COUNTS))
        placed = self._row(count, height, rng)
        if rng.random() < 0.4:
            placed = with_signs(placed, height, rng)
        elif rng.random() < STRANGERS:
            placed = with_strangers(placed, height, rng)
        if rng.random() < NO_DIGITS:
            placed = [letter_for(one, rng) for one in placed]
        cover, placed = _paint(placed, height, rng)
        connect_digits(cover, placed, height, rng)
        rule_form(cover, placed, height, rng)
        if with_neighbours and rng.random() < 0.25:
            self._neighbours(cover, placed, height, rng)
        slope = float(np.clip(rng.normal(0, 0.035), -0.1, 0.1)) if rng.random() < 0.5 else 0.0
        if slope:
            cover = _sheared(cover, slope)
        return ComposedLine(cover, placed, height, slope)

    # --- digits -----------------------------------------------------------------------------------

    def _row(self, count: int, height: int, rng: Rng) -> list[Placed]:
        """Digits side by side: apart, touching or overlapping."""
        labels = _labels(count, rng)
        inks = self._written(labels, height, rng) if rng.random() < 0.45 else self._mnist(labels, height, rng)
        linked = _linked(labels, height, rng)
        tight = rng.random()
        low, high = (0.05, 0.45) if tight < 0.33 else (-0.05, 0.10) if tight < 0.65 else (-0.24, 0.04)
        if rng.random() < 0.07:  # as people write digits for a program to read
            low, high = 0.3, 1.4
        by_ink = rng.random() < 0.5  # gaps between strokes, not between boxes
        sizes = _sizes(labels, rng)
        drift = rng.normal(0, 0.02)
        placed: list[Placed] = []
        for index, (ink, digit) in enumerate(zip(inks, labels, strict=True)):
            if index >= count - len(linked):
                break
            own = max(7, round(height * sizes[index][0]))
            rise = (rng.normal(0, 0.05) + drift * index + sizes[index][1]) * height
            scale = own / ink.shape[0]
            width = max(2, min(round(ink.shape[1] * scale), 2 * own))
            scaled = np.asarray(cv2.resize(ink, (width, own), interpolation=cv2.INTER_AREA), np.float32)
            one = Placed(scaled, 0, round(-own - rise), digit)
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
        foreign = {
            digit: self._foreign(digit, height, rng) for digit in FOREIGN if rng.random() < FOREIGN[digit]
        }
        for label in labels:
            if label in foreign:
                inks.append(foreign[label]())
                continue
            index = int(rng.choice(self._places[label]))
            ink = self._digits[index].astype(np.float32) / 255
            ink = np.clip(cv2.resize(ink, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
            ink = warp(np.asarray(ink, np.float32), rng, strength)
            if slant:
                ink = _slanted(ink, slant)
            if fatter:
                ink = thicken(ink, rng)
            inks.append(tight(ink))
        return inks

    def _foreign(self, digit: int, height: int, rng: Rng) -> Callable[[], Float]:
        """Draws a digit as a hand of another country does, each time a little otherwise."""
        shape = pick_shape(
            tuple(one for one in SHAPES[digit] if digit != 1 or one.name not in BARE_ONES), rng
        )
        style, pen = sample_style(rng), replace(sample_pen(rng, height), hollow=False)
        pen_px = max(1.0, min(math.exp(rng.uniform(math.log(0.06), math.log(0.16))), shape.thickest) * height)

        def draw() -> Float:
            return tight(render(draw_shape(shape, style, rng, digit), float(height), pen_px, pen, rng))

        return draw

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
            inks.append(tight(render(drawing, float(height), pen_px, own, rng)))
        return inks

    def _neighbours(self, cover: Float, placed: Sequence[Placed], height: int, rng: Rng) -> None:
        """What reaches into the strip from the lines above and below, in place; never onto the digits."""
        own = main_signs(placed)
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


def _linked(labels: Sequence[int], height: int, rng: Rng) -> list[Placed]:
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
        Placed(link.ink, link.x, link.y, digit, link.middle)
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
    elif habit < 0.65:  # a stroke is longer than a digit with bows, upwards or downwards or both
        ones = np.array(labels) == 1
        longer = rng.uniform(1.05, 1.6)
        sizes[ones] *= longer
        rises[ones] -= rng.uniform(0, 1) * (longer - 1)
    if rng.random() < 0.15:  # long tails, below the line
        tails = np.isin(labels, (7, 9))
        longer = rng.uniform(1.1, 1.6)
        sizes[tails] *= longer
        rises[tails] -= longer - 1
    return [(float(size), float(rise)) for size, rise in zip(sizes, rises, strict=True)]


def _slack(one: Placed, other: Placed) -> int:
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


def _paint(placed: Sequence[Placed], height: int, rng: Rng) -> tuple[Float, list[Placed]]:
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


def _sheared(cover: Float, slope: float) -> Float:
    """Each column moved down by `slope` for each pixel right of the middle; the field grows as needed."""
    height, width = cover.shape
    reach = math.ceil(abs(slope) * width / 2)
    matrix = np.array([[1, 0, 0], [slope, 1, reach - slope * width / 2]], np.float64)
    return np.asarray(cv2.warpAffine(cover, matrix, (width, height + 2 * reach)), np.float32)


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
