"""What a bad cut gives: half digits, and two digits in one mark, drawn dark on light. Pure.

A half is left out where it is a digit itself, or nearly. HALVES names what is kept; what is not:

- 0 left, right: an arc, as a bent 1.
- 1: every half is a 1 again.
- 2 top: a 7 with a round shoulder; 2 left, right: mostly in two parts, the right one like a 1 or 7.
- 3 top: a flat-topped 7, or the head of a 2; 3 left: three loose ends; 3 right: still a 3.
- 4 top: a u or 11, and with a high bar the whole of a 4; 4 bottom, right: the stem, a 1; 4 left: of a
  slanted one a 9.
- 5 left, right: mostly in two parts, and what is left of a slim one is still a 5.
- 6 top, left: a bent 1; 6 bottom: a 0; 6 right: an arc.
- 7 top: a 7 with a short stem; 7 bottom: a 1; 7 right: a 7 without much of its bar; 7 left, where the stem
  slants so far that it is in it: a comma, or a 7 still.
- 8 top, bottom: a 0; 8 left: a mirrored 3, or with a slant a 6; 8 right: a 3.
- 9 top: a 0, or a 9 with a short stem; 9 bottom, right: a 1; 9 left, where the tail is in it: a slim 9.

Left out as well is what `looks_whole` finds among the rest: closed bowls, and slim halves.

Two in one: pairs that together look like one digit or letter are left out, see AMBIGUOUS_PAIRS.
"""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.ink import (
    WRITTEN,
    DataError,
    Ink,
    TestDigits,
    as_high_as,
    cut_out,
    enlarge,
    gap_px,
    join,
    trim,
    turn,
)
from benchmarks.paper import Conditions, Picture, develop, draw_jpeg_quality, draw_tint, lay_out

# Digit, side, and the greatest share of the whole's height that the half may have.
HALVES: tuple[tuple[int, str, float], ...] = (
    (0, "top", 1.0),
    (0, "bottom", 1.0),
    (2, "bottom", 1.0),
    (3, "bottom", 1.0),
    (5, "top", 1.0),
    (5, "bottom", 1.0),
    (7, "left", 0.35),  # the bar alone
    (9, "left", 0.6),  # the bowl alone
)
# 0 and 1 together make an a, b, d, p or q, or a 6 or 9 with a large belly; 1 and 1 a wide stroke, an n or
# a 4; 1 and 3 an 8 or B; 1 and 7 a flagged 1 written twice.
AMBIGUOUS_PAIRS = frozenset({(0, 1), (1, 0), (1, 1), (1, 3), (1, 7)})
WHOLE = 0.92  # the share of the ink that hangs together in a half that is kept
MOST_OVERLAP = 0.2
NEARLY_PX = 1  # of a gap that most cutters close
TRIES = 500


def cut_half(ink: Ink, side: str) -> Ink:
    """The `top`, `bottom`, `left` or `right` half of the box, trimmed."""
    height, width = ink.shape
    middle_y, middle_x = (height + 1) // 2, (width + 1) // 2
    halves = {
        "top": ink[:middle_y],
        "bottom": ink[height - middle_y :],
        "left": ink[:, :middle_x],
        "right": ink[:, width - middle_x :],
    }
    return trim(halves[side])


def hangs_together(ink: Ink) -> bool:
    """Whether nearly all the ink is one mark."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((ink >= WRITTEN).astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return len(areas) > 0 and bool(areas.max() >= WHOLE * areas.sum())


def looks_whole(half: Ink, side: str) -> bool:
    """Whether a half of this side may be taken for a small digit of its own.

    So may one with a hole in it (a 0, 6 or 9), and an upper or lower half that is higher than wide: it
    stems from a slim digit whose halves differ, and holds nearly all of its turns.
    """
    framed = np.pad(half < WRITTEN, 1, constant_values=True)
    grounds = cv2.connectedComponents(framed.astype(np.uint8), connectivity=4)[0] - 1
    return grounds > 1 or (side in ("top", "bottom") and half.shape[0] > half.shape[1])


def draw_half(digits: TestDigits, kind: tuple[int, str, float], rng: np.random.Generator) -> Picture:
    """A half of some test digit, the whole of which is 50 to 110 px high; its label is `half`.

    `kind` is an entry of HALVES. DataError when no digit in TRIES gives such a half.
    """
    digit, side, share = kind
    candidates = np.flatnonzero(digits.labels == digit)
    for which in rng.choice(candidates, TRIES) if len(candidates) else ():
        large = enlarge(cut_out(digits.pixels[which]), int(rng.integers(50, 111)), 1.3)
        whole = turn(large, rng.uniform(-3, 3))
        half = cut_half(whole, side)
        if half.shape[0] <= share * whole.shape[0] and hangs_together(half) and not looks_whole(half, side):
            return _on_paper(half, "half", f"half-{side}", {"of": str(digit), "which": str(which)}, rng)
    raise DataError(f"None of {TRIES} test digits gave a {side} half of a {digit} that is a piece.")


def draw_two(digits: TestDigits, rng: np.random.Generator) -> Picture:
    """Two test digits that make one mark, or nearly; its label is `two`.

    DataError when no pair in TRIES does.
    """
    for which in rng.integers(len(digits.labels), size=(TRIES, 2)):
        first, second = (int(digits.labels[i]) for i in which)
        if (first, second) in AMBIGUOUS_PAIRS:
            continue
        joined = join_two([digits.pixels[i] for i in which], rng)
        if joined is not None:
            ink, manner = joined
            notes = {"of": f"{first}{second}", "which": f"{which[0]} {which[1]}"}
            return _on_paper(ink, "two", f"two-{manner}", notes, rng)
    raise DataError(f"None of {TRIES} pairs of test digits made one mark.")


def join_two(tiles: list[np.ndarray], rng: np.random.Generator) -> tuple[Ink, str] | None:
    """Two digits side by side in one mark; None where their shapes do not let them meet."""
    height_px = int(rng.integers(40, 71))
    heights_px = [round(height_px * rng.uniform(0.9, 1.1)) for _ in tiles]
    inks = [enlarge(cut_out(tile), high, 1.3) for tile, high in zip(tiles, heights_px, strict=True)]
    left, right = as_high_as(inks, [int(rng.integers(0, height_px // 10 + 1)) for _ in inks])
    most_px = int(MOST_OVERLAP * min(left.shape[1], right.shape[1]))
    nearest_px = -gap_px(left, right)
    # Rows beside each other count as near, so shapes may have to come closer still to hang together.
    distances_px = range(min(nearest_px, 0), -most_px - 1, -1)
    meet_px = next((each for each in distances_px if hangs_together(join(left, right, each))), None)
    if meet_px is None:
        return None
    manner = str(rng.choice(("near", "touching", "overlapping"), p=(0.2, 0.4, 0.4)))
    wanted_px = {"near": meet_px + NEARLY_PX, "touching": meet_px, "overlapping": meet_px - most_px // 2}[
        manner
    ]
    return join(left, right, max(wanted_px, -most_px)), manner


def _on_paper(ink: Ink, label: str, style: str, notes: dict[str, str], rng: np.random.Generator) -> Picture:
    conditions = Conditions(
        paper=rng.uniform(225, 253),
        contrast=rng.uniform(0.55, 0.85),
        noise_sigma=rng.uniform(1, 4),
        blur_px=rng.uniform(0.3, 0.8),
        tint=draw_tint(rng),
        jpeg_quality=draw_jpeg_quality(rng, 80, 95),
    )
    page, _ = lay_out(ink, rng, 100, 200)
    image = develop(page, conditions, rng)
    return Picture(label, style, image, conditions.jpeg_quality, notes | {"made_with": str(conditions)})
