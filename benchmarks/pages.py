"""Single digits on simulated pages, at three levels of damage. Pure.

The levels; every range is drawn from evenly. A fifth of each level is light ink on dark paper.

=================  ==================  ======================  ===============================
level              mild                medium                  severe
=================  ==================  ======================  ===============================
stands for         an office flatbed   a phone, good light     a bad photograph
digit height       30–160 px           30–160 px               60–160 px
contrast           70–100 %            35–70 %                 50–80 %; damaged: 10–15 %
noise sigma        1–4                 4–9                     2–5; damaged: 12–20
gradient           none                0–25 %                  0–10 %; damaged: 40–60 %
ruled lines        none                faint, in a third       none; damaged: through the digit
blur               0.3–0.8 px          0.6–1.5 px              0.6–1.5 px
turned by          ±2°                 ±8°                     ±8°
JPEG (2 of 3)      85–98               60–85                   75–95
=================  ==================  ======================  ===============================

Contrast is ink against the lightest paper as a share of the full range; noise is in grey levels of 255;
the gradient is the share of the light lost across the page. A severe picture has one main damage (a
quarter of the pictures each, in turn: `style`) at the strength above and a second one, any of the other
three, at half of it: contrast 20–30 %, noise sigma 6–10, gradient 20–30 %, lines half as dark. Lines at
full strength are 60–100 % as dark as the ink, up to a third as wide as a stroke, at most half a digit
apart, in a quarter of the cases a grid. Where the gradient is the main damage no page is inverted (dark
paper hides it); the other three are inverted more often to make up for it. Where noise is the main damage
the picture is a PNG: JPEG would smooth the stated noise away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.ink import TestDigits, cut_out, enlarge, turn
from benchmarks.paper import (
    Conditions,
    Picture,
    Rules,
    develop,
    draw_jpeg_quality,
    draw_tint,
    lay_out,
)

SMALLEST_PAGE_PX, LARGEST_PAGE_PX = 120, 500
INVERTED = 0.2
DAMAGES = ("contrast", "noise", "rules", "gradient")
STROKE = 0.1  # the width of an MNIST stroke as a share of the digit's height, on the thin side

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Level:
    """A column of the table above, before what only some pictures have."""

    height_px: tuple[int, int]
    least_paper: float
    contrast: Range
    noise_sigma: Range
    gradient: Range
    blur_px: Range
    turn_degrees: float
    jpeg_quality: tuple[int, int]


LEVELS = {
    "mild": Level((30, 160), 225, (0.7, 1.0), (1, 4), (0, 0), (0.3, 0.8), 2, (85, 98)),
    "medium": Level((30, 160), 185, (0.35, 0.7), (4, 9), (0, 0.25), (0.6, 1.5), 8, (60, 85)),
    "severe": Level((60, 160), 160, (0.5, 0.8), (2, 5), (0, 0.1), (0.6, 1.5), 8, (75, 95)),
}


def draw_page(digits: TestDigits, which: int, level: str, turn_of: int, rng: np.random.Generator) -> Picture:
    """The picture of test digit number `which` at a level; `turn_of` chooses the main damage in turn."""
    plan = LEVELS[level]
    height_px = int(rng.integers(plan.height_px[0], plan.height_px[1] + 1))
    ink = enlarge(cut_out(digits.pixels[which]), height_px, gain=rng.uniform(1.0, 1.6))
    ink = turn(ink, rng.uniform(-plan.turn_degrees, plan.turn_degrees))
    main = DAMAGES[turn_of % len(DAMAGES)] if level == "severe" else ""
    conditions, second = draw_conditions(level, main, min(ink.shape[0], height_px), rng)
    page, _ = lay_out(ink, rng, SMALLEST_PAGE_PX, LARGEST_PAGE_PX)
    notes = {
        "second": second,
        "ground": "dark" if conditions.is_inverted else "light",
        "made_with": f"test digit {which} {height_px} px {conditions}",
    }
    image = develop(page, conditions, rng)
    return Picture(str(digits.labels[which]), main or level, image, conditions.jpeg_quality, notes)


def draw_conditions(
    level: str, main: str, height_px: int, rng: np.random.Generator
) -> tuple[Conditions, str]:
    """Conditions of a level for a digit of that height, and the second damage ("" but in severe)."""
    plan = LEVELS[level]
    contrast = rng.uniform(*plan.contrast)
    is_inverted = rng.random() < (INVERTED if not main else INVERTED * 4 / 3 if main != "gradient" else 0)
    sound = Conditions(
        paper=rng.uniform(plan.least_paper, 255),
        contrast=contrast,
        noise_sigma=rng.uniform(*plan.noise_sigma),
        # A lens that blurs more than this leaves nothing of a small digit's strokes.
        blur_px=min(rng.uniform(*plan.blur_px), height_px / 30),
        gradient=rng.uniform(*plan.gradient),
        gradient_degrees=rng.uniform(0, 360),
        is_inverted=is_inverted,
        tint=draw_tint(rng),
        jpeg_quality=draw_jpeg_quality(rng, *plan.jpeg_quality),
    )
    second = ""
    if level == "medium" and rng.random() < 1 / 3:
        sound = replace(sound, rules=_draw_rules(height_px, (0.12, 0.3), (0.5, 1.5), rng))
    if main:
        second = str(rng.choice([damage for damage in DAMAGES if damage != main]))
        sound = _damage(
            _damage(sound, second, height_px, rng, is_main=False), main, height_px, rng, is_main=True
        )
    # Paper is at least as light as its ink is dark, else the contrast could not be had; and dark paper is
    # not quite black, where faint ink could not be seen on any screen.
    paper = max(min(sound.paper, 235) if is_inverted else sound.paper, 255 * sound.contrast)
    return replace(sound, paper=255 - paper if is_inverted else paper), second


def _damage(
    sound: Conditions, damage: str, height_px: int, rng: np.random.Generator, *, is_main: bool
) -> Conditions:
    if damage == "contrast":
        return replace(sound, contrast=rng.uniform(0.1, 0.15) * (1 if is_main else 2))
    if damage == "noise":
        noise_sigma = rng.uniform(12, 20) * (1 if is_main else 0.5)
        return replace(sound, noise_sigma=noise_sigma, jpeg_quality=None if is_main else sound.jpeg_quality)
    if damage == "gradient":
        return replace(sound, gradient=rng.uniform(0.4, 0.6) * (1 if is_main else 0.5))
    strength = (0.6, 1.0) if is_main else (0.3, 0.5)
    return replace(sound, rules=_draw_rules(height_px, strength, (0.3, 0.5), rng))


def _draw_rules(height_px: int, strength: Range, spacing: Range, rng: np.random.Generator) -> Rules:
    """Rules that are `spacing` digit heights apart and `strength` as dark as the ink."""
    spacing_px = height_px * rng.uniform(*spacing)
    return Rules(
        spacing_px=spacing_px,
        width_px=rng.uniform(1, max(1.5, height_px * STROKE / 3)),
        strength=rng.uniform(*strength),
        phase_px=rng.uniform(0, spacing_px),
        tilt=rng.uniform(-0.03, 0.03),
        is_grid=rng.random() < 0.25,
    )
