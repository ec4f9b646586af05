"""Pages of ten rows of numbers on ruled paper, askew: MNIST's test digits, or drawn by a pen. Pure.

The pen is this folder's own: what trains the models has another one, and shares nothing with it.
"""

from __future__ import annotations

from typing import Final, cast

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, as_high_as, cut_out, enlarge, gap_px, join, put, trim, turn
from benchmarks.paper import Picture, Rules, develop, draw_office_conditions
from benchmarks.pieces import AMBIGUOUS_PAIRS

PENS = ("mnist", "pen")
ROWS: Final = 10
FEWEST_DIGITS, MOST_DIGITS = 2, 6
MOST_SKEW_DEGREES: Final = 5.0
_MARGIN_PX: Final = 60
_FINE: Final = 4  # strokes are drawn so many times larger, then averaged

# Strokes in a field 100 wide and 150 high. A stroke is a list of knots, and a smooth line goes through them;
# two equal knots in a row make a corner.
_Stroke = tuple[tuple[int, int], ...]
_ROUND_0: _Stroke = (
    (50, 2), (18, 28), (6, 78), (20, 128), (52, 148), (84, 122), (94, 72), (82, 26), (54, 3),
)  # fmt: skip
_CAP: _Stroke = ((84, 4), (50, 5), (22, 6), (22, 6), (18, 40))
_BELLY: _Stroke = ((16, 66), (16, 66), (54, 56), (88, 84), (82, 126), (48, 148), (8, 132))
_EIGHT_DOWN: _Stroke = ((74, 16), (42, 2), (18, 26), (40, 62), (82, 100), (78, 138))
_EIGHT_UP: _Stroke = ((44, 148), (12, 126), (26, 92), (62, 62), (84, 30), (70, 10))
SHAPES: Final[dict[int, tuple[tuple[_Stroke, ...], ...]]] = {
    0: ((_ROUND_0,),),
    1: ((((52, 2), (50, 75), (48, 148)),), (((18, 42), (58, 3), (58, 3), (56, 75), (54, 148)),)),
    2: (
        (((10, 40), (28, 8), (62, 2), (86, 28), (74, 66), (38, 108), (8, 146), (8, 146), (50, 143), (94, 146)),),
    ),
    3: ((((12, 20), (46, 2), (80, 24), (72, 56), (42, 70), (42, 70), (80, 82), (92, 114), (64, 146), (10, 134)),),),
    4: (
        (((60, 2), (36, 50), (6, 100), (6, 100), (50, 100), (96, 98)), ((70, 54), (70, 100), (68, 148))),
        (((14, 6), (10, 50), (14, 76), (14, 76), (50, 78), (88, 74)), ((80, 4), (78, 75), (76, 148))),
    ),
    5: (
        ((*_CAP, *_BELLY),),
        (((24, 6), (20, 40), *_BELLY), ((24, 6), (56, 5), (90, 3))),
    ),
    6: ((((72, 2), (36, 36), (12, 88), (18, 132), (52, 148), (84, 122), (76, 88), (44, 80), (16, 106)),),),
    7: (
        (((8, 6), (48, 5), (92, 4), (92, 4), (66, 60), (44, 148)),),
        (((8, 6), (48, 5), (92, 4), (92, 4), (66, 60), (44, 148)), ((30, 74), (60, 72), (88, 70))),
    ),
    8: (((*_EIGHT_DOWN, *_EIGHT_UP),),),
    9: ((((84, 24), (50, 2), (16, 24), (18, 62), (50, 76), (80, 54), (86, 22), (86, 22), (82, 80), (74, 148)),),),
}  # fmt: skip


def draw_rows(digits: TestDigits, pen: str, rng: np.random.Generator) -> Picture:
    """A page of ROWS numbers of 2 to 6 digits, apart or touching; its label has a `/` between rows."""
    page, numbers = write_page(digits, pen, rng)
    degrees = float(rng.uniform(-MOST_SKEW_DEGREES, MOST_SKEW_DEGREES))
    pitch_px = (page.shape[0] - 2 * _MARGIN_PX) / ROWS
    rules = Rules(
        spacing_px=pitch_px,
        width_px=rng.uniform(1, 2),
        strength=rng.uniform(0.15, 0.4),
        phase_px=0.0,
        tilt=0.0,
        is_grid=False,
    )
    y = np.arange(page.shape[0], dtype=np.float32)[:, None]
    away = np.abs(np.mod(y - _MARGIN_PX + pitch_px / 2, pitch_px) - pitch_px / 2)
    lines = np.broadcast_to(np.clip(rules.width_px / 2 + 0.5 - away, 0, 1), page.shape)
    page = np.maximum(page, np.float32(rules.strength) * lines)
    conditions = draw_office_conditions(rng)
    image = develop(skew(page, degrees), conditions, rng)
    notes = {
        "rows": str(ROWS),
        "skew": f"{degrees:.2f}",
        "made_with": f"rules {rules.strength:.0%} {conditions}",
    }
    return Picture("/".join(numbers), pen, image, conditions.jpeg_quality, notes)


def write_page(digits: TestDigits, pen: str, rng: np.random.Generator) -> tuple[Ink, list[str]]:
    """The ink of a page whose rows lie straight, and its numbers; rows are 1.6 to 2.2 digits apart."""
    height_px = int(rng.integers(36, 56))
    pitch_px = round(height_px * rng.uniform(1.6, 2.2))
    lead_px = int(rng.integers(0, 80))
    page = np.zeros(
        (ROWS * pitch_px + 2 * _MARGIN_PX, MOST_DIGITS * 2 * height_px + 2 * _MARGIN_PX), np.float32
    )
    numbers = []
    for row in range(ROWS):
        number, ink = _write_number(digits, pen, height_px, rng)
        # On its line, with the feet near the rule; never so high that it meets the row above.
        bottom = _MARGIN_PX + (row + 1) * pitch_px - int(rng.integers(2, 6))
        put(
            ink,
            page,
            _MARGIN_PX + min(lead_px, page.shape[1] - 2 * _MARGIN_PX - ink.shape[1]),
            bottom - ink.shape[0],
        )
        numbers.append(number)
    return page, numbers


def skew(page: Ink, degrees: float) -> Ink:
    """The page turned about its middle, on paper that is as large; its margins take what is turned out."""
    height, width = page.shape
    pad_px = int(np.ceil(max(height, width) * 0.05))
    framed = np.pad(page, pad_px)
    middle = (framed.shape[1] / 2, framed.shape[0] / 2)
    matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
    turned = cv2.warpAffine(framed, matrix, framed.shape[::-1], flags=cv2.INTER_LINEAR)
    return cast("Ink", np.asarray(turned, np.float32))


def draw_digit(digit: int, height_px: int, rng: np.random.Generator) -> Ink:
    """A digit by the pen: one of its shapes, shaken, slanted, in a stroke of some width."""
    shapes = SHAPES[digit]
    strokes = shapes[rng.integers(len(shapes))]
    scale = height_px / 150 * _FINE
    slant, breadth = rng.uniform(-0.05, 0.25), rng.uniform(0.75, 1.05)
    pen_px = max(1, round(height_px * rng.uniform(0.05, 0.1) * _FINE))
    edge = 2 * pen_px
    canvas = np.zeros((int(170 * scale) + 2 * edge, int(190 * scale) + 2 * edge), np.uint8)
    for stroke in strokes:
        knots = np.array(stroke, np.float64)
        corners = (knots[1:] == knots[:-1]).all(axis=1)
        shaken = knots + rng.normal(0, 2.5, knots.shape)
        shaken[1:][corners] = shaken[:-1][corners]
        path = _smooth(shaken)
        x = (path[:, 0] * breadth + (150 - path[:, 1]) * slant + 15) * scale + edge
        y = (path[:, 1] + 10) * scale + edge
        points = np.rint(np.stack([x, y], 1)).astype(np.int32)
        cv2.polylines(canvas, [points], False, 255, pen_px, cv2.LINE_AA)  # noqa: FBT003
    size = (canvas.shape[1] // _FINE, canvas.shape[0] // _FINE)
    small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return trim(small.astype(np.float32) / np.float32(255))


def _write_number(digits: TestDigits, pen: str, height_px: int, rng: np.random.Generator) -> tuple[str, Ink]:
    count = int(rng.integers(FEWEST_DIGITS, MOST_DIGITS + 1))
    if pen == "mnist":
        which = rng.choice(len(digits.labels), count, replace=False)
        read = [int(digits.labels[i]) for i in which]
        inks = [
            turn(
                enlarge(cut_out(digits.pixels[i]), round(height_px * rng.uniform(0.9, 1.1)), 1.3),
                rng.uniform(-3, 3),
            )
            for i in which
        ]
    else:
        read = [int(digit) for digit in rng.integers(0, 10, count)]
        inks = [draw_digit(digit, round(height_px * rng.uniform(0.92, 1.08)), rng) for digit in read]
    inks = as_high_as(inks, [int(rng.integers(0, height_px // 10 + 1)) for _ in inks])
    number = inks[0]
    for left, right, ink in zip(read, read[1:], inks[1:], strict=False):
        touches = rng.random() < 0.2 and (left, right) not in AMBIGUOUS_PAIRS
        gap = 0 if touches else int(rng.integers(3, height_px // 3))
        number = join(number, ink, max(gap - gap_px(number, ink), -(ink.shape[1] // 3)))
    return "".join(map(str, read)), trim(number)


def _smooth(knots: np.ndarray) -> np.ndarray:
    """A curve (n, 2) through all knots (Catmull and Rom, 1974), with corners where two are equal."""
    ends = np.concatenate([knots[:1], knots, knots[-1:]])
    t = np.linspace(0, 1, 12, endpoint=False)[:, None]
    parts = []
    for before, start, end, after in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        bend = (2 * before - 5 * start + 4 * end - after) * t**2
        twist = (3 * start - before - 3 * end + after) * t**3
        parts.append(0.5 * (2 * start + (end - before) * t + bend + twist))
    return np.concatenate([*parts, knots[-1:]])
