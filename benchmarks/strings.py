"""Numbers of several test digits on simulated paper. Pure."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from benchmarks.ink import Ink, TestDigits, as_high_as, cut_out, enlarge, gap_px, join, trim, turn
from benchmarks.paper import Conditions, Picture, develop, draw_jpeg_quality, draw_tint, lay_out
from benchmarks.pieces import AMBIGUOUS_PAIRS

STYLES = ("apart", "touching", "overlapping")
DEEP = "overlapping-deeply"
TILE_DIGIT_PX = 20
FEWEST_DIGITS, MOST_DIGITS = 2, 8
MOST_OVERLAP_TILE_PX = 4  # of digits as high as MNIST's, 20 px: a fifth of the height
MOST_OVERLAP_PX = 4  # of digits 60 px high and more, less of smaller ones: two of 30


def draw_string(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A number of 2 to 8 test digits, 30 to 70 px high, dark on light; its label is the number.

    `apart`: 4 to a third of the height in pixels between neighbours where they are nearest; `touching`:
    they meet; `overlapping`: they meet and go on for 1 to 4 px; `overlapping-deeply`: for 1 to 4 px of an
    MNIST tile, where a digit is 20 px high. Boxes never overlap by
    over a third, so two shapes that could slide under each other (a 7 beside a 4) may stay apart; so do
    pairs that make one digit or letter where they touch.
    """
    which = rng.choice(len(digits.labels), int(rng.integers(FEWEST_DIGITS, MOST_DIGITS + 1)), replace=False)
    height_px = int(rng.integers(30, 71))
    inks = [
        turn(
            enlarge(cut_out(digits.pixels[i]), round(height_px * rng.uniform(0.9, 1.1)), 1.3),
            rng.uniform(-3, 3),
        )
        for i in which
    ]
    inks = as_high_as(inks, [int(rng.integers(0, height_px // 8 + 1)) for _ in inks])
    read = [int(digits.labels[i]) for i in which]
    number = inks[0]
    for pair, ink in zip(pairwise(read), inks[1:], strict=True):
        manner = "apart" if pair in AMBIGUOUS_PAIRS else style
        number = join(number, ink, _distance_px(number, ink, manner, height_px, rng))
    conditions = Conditions(
        paper=rng.uniform(200, 250),
        contrast=rng.uniform(0.45, 0.75),
        noise_sigma=rng.uniform(1, 7),
        blur_px=rng.uniform(0.3, 1.0),
        gradient=rng.uniform(0, 0.2),
        gradient_degrees=rng.uniform(0, 360),
        tint=draw_tint(rng),
        jpeg_quality=draw_jpeg_quality(rng, 70, 95),
    )
    page, _ = lay_out(trim(number), rng, 120, 500)
    image = develop(page, conditions, rng)
    notes = {"length": str(len(which)), "made_with": f"{height_px} px {conditions}"}
    return Picture("".join(map(str, read)), style, image, conditions.jpeg_quality, notes)


def _distance_px(left: Ink, right: Ink, manner: str, height_px: int, rng: np.random.Generator) -> int:
    meet_px = -gap_px(left, right)
    if manner == "apart":
        wanted_px = meet_px + int(rng.integers(4, max(6, height_px // 3) + 1))
    elif manner == "touching":
        wanted_px = meet_px
    elif manner == DEEP:
        wanted_px = meet_px - round(rng.uniform(1, MOST_OVERLAP_TILE_PX) * height_px / TILE_DIGIT_PX)
    else:
        wanted_px = meet_px - int(rng.integers(1, min(MOST_OVERLAP_PX, height_px // 15) + 1))
    return max(wanted_px, -(int(right.shape[1]) // 3))
