"""Single digits in what scanners, lamps and tables add to a page, and digits drawn as outlines. Pure.

========  ==========================================================================================
style     what is in the picture
========  ==========================================================================================
lid       2 to 18 % of each side, or of two, is the black or grey lid of a scanner, up to 2.5° askew
table     a sheet, up to 7° askew, on a table with a grain; 8 to 22 % of each side is table
tile      light ink on a black tile with a white rim, as a screen shows MNIST
shadow    the shadow of something straight: 20 to 60 % darker, edges 1 to 12 px soft
hand      the shadow of a hand: two or three blobs, 20 to 50 % darker, edges 2 to 14 px soft
streak    one to three columns that a dirty scanner draws: 10 to 45 % darker, or coloured, 1 or 2 px
faint     a ruling of 4 to 15 % contrast, up to 3° askew
outline   the digit drawn as an outline 3 to 5 px thick
========  ==========================================================================================

Or numbers on a slip of paper that is small beside what surrounds it:

========  ==========================================================================================
style     what is in the picture
========  ==========================================================================================
scanned   a slip under the black or grey lid of a scanner, up to 12° askew
lying     a slip on a table with a grain, up to 12° askew, with a shadow on two sides
========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put, turn
from benchmarks.paper import (
    Conditions,
    Image,
    Picture,
    Rules,
    draw_jpeg_quality,
    draw_office_conditions,
    draw_rules,
    expose,
)


def draw_surrounded(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """The picture of a test digit in that style; its label is the digit."""
    which = int(rng.integers(len(digits.labels)))
    height_px = int(rng.integers(130, 181) if style == "outline" else rng.integers(50, 111))
    ink = turn(
        enlarge(cut_out(digits.pixels[which]), height_px, gain=rng.uniform(1.1, 1.6)), rng.uniform(-4, 4)
    )
    height, width = (int(rng.integers(side + 60, 3 * side + 90)) for side in ink.shape)
    cover = np.zeros((height, width), np.float32)
    put(
        ink,
        cover,
        int(rng.integers(20, width - ink.shape[1] - 19)),
        int(rng.integers(20, height - ink.shape[0] - 19)),
    )
    # The light of these pages is what the styles make it.
    conditions = replace(
        draw_office_conditions(rng), gradient=0.0, jpeg_quality=draw_jpeg_quality(rng, 75, 95)
    )
    image = _STYLES[style](cover, conditions, rng)
    label = str(int(digits.labels[which]))
    return Picture(
        label, style, image, conditions.jpeg_quality, {"which": str(which), "made_with": str(conditions)}
    )


def draw_slip(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A slip with a number of one to five digits; its label is the number."""
    size_px = int(rng.integers(40, 90))
    inks, label = [], ""
    for _ in range(int(rng.integers(1, 6))):
        which = int(rng.integers(len(digits.labels)))
        inks.append(enlarge(cut_out(digits.pixels[which]), round(size_px * rng.uniform(0.9, 1.0)), 1.3))
        label += str(int(digits.labels[which]))
    gap_px = round(size_px * rng.uniform(0.12, 0.35))
    margin_px = [round(size_px * rng.uniform(0.4, 1.5)) for _ in range(4)]
    width = margin_px[0] + sum(ink.shape[1] + gap_px for ink in inks) - gap_px + margin_px[1]
    cover = np.zeros((margin_px[2] + size_px + margin_px[3], width), np.float32)
    x = margin_px[0]
    for ink in inks:
        put(ink, cover, x, margin_px[2] + size_px - ink.shape[0])
        x += ink.shape[1] + gap_px
    conditions = replace(
        draw_office_conditions(rng), gradient=0.0, jpeg_quality=draw_jpeg_quality(rng, 75, 95)
    )
    spread = float(rng.uniform(0.25, 0.9))
    top, bottom, left, right = (
        20 + round(spread * max(cover.shape) * rng.uniform(0.2, 1.0)) for _ in range(4)
    )
    size = (cover.shape[0] + top + bottom, cover.shape[1] + left + right)
    if style == "scanned":
        around = np.full(size, rng.choice([rng.uniform(5, 40), rng.uniform(60, 110)]), np.float32)
    else:
        around = _table_of(size, rng)
        low, aside = (int(rng.integers(2, 8)) for _ in range(2))
        shadow = np.zeros(size, np.float32)
        shadow[top + low : size[0] - bottom + low, left + aside : size[1] - right + aside] = 1
        around *= 1 - rng.uniform(0.1, 0.5) * cv2.GaussianBlur(shadow, (0, 0), rng.uniform(1, 4))
    page = _framed(_grey(cover, conditions), around, (top, bottom, left, right), rng.uniform(-12, 12))
    image = expose(page, conditions, rng)
    return Picture(label, style, image, conditions.jpeg_quality, {"made_with": str(conditions)})


def _grey(cover: Ink, conditions: Conditions) -> Ink:
    """The light that comes from the page."""
    return cast("Ink", conditions.paper - 255 * conditions.contrast * cover)


def _framed(grey: Ink, around: Ink, depths: tuple[int, int, int, int], degrees: float) -> Ink:
    """The page `grey` laid on `around`, which is as much larger as `depths` say (top, bottom, left, right), askew."""
    height, width = around.shape
    page = np.zeros_like(around)
    there = np.zeros_like(around)
    inner = np.s_[depths[0] : height - depths[1], depths[2] : width - depths[3]]
    page[inner], there[inner] = grey, 1
    askew = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    page, there = (
        np.asarray(cv2.warpAffine(each, askew, (width, height)), np.float32) for each in (page, there)
    )
    return cast("Ink", page * (there > 0.99) + around * (there <= 0.99))


def _depths(shape: tuple[int, ...], least: float, most: float, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(round(shape[side // 2] * rng.uniform(least, most)) for side in range(4))


def _lid(cover: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    depths = list(_depths(cover.shape, 0.02, 0.18, rng))
    degrees = 0.0
    if rng.random() < 0.4:
        depths[rng.integers(2)] = depths[2 + rng.integers(2)] = 0
    elif rng.random() < 0.5:
        degrees = rng.uniform(-2.5, 2.5)
        depths = [max(depth, 16) for depth in depths]
    size = (cover.shape[0] + depths[0] + depths[1], cover.shape[1] + depths[2] + depths[3])
    lid = np.full(size, rng.choice([rng.uniform(5, 40), rng.uniform(90, 140)]), np.float32)
    top, bottom, left, right = depths
    return expose(
        _framed(_grey(cover, conditions), lid, (top, bottom, left, right), degrees), conditions, rng
    )


def _table(cover: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    top, bottom, left, right = (max(depth, 24) for depth in _depths(cover.shape, 0.08, 0.22, rng))
    table = _table_of((cover.shape[0] + top + bottom, cover.shape[1] + left + right), rng)
    degrees = rng.uniform(-7, 7)
    page = _framed(_grey(cover, conditions), table, (top, bottom, left, right), degrees)
    return expose(page, conditions, rng)


def _table_of(size: tuple[int, int], rng: np.random.Generator) -> Ink:
    """A table with a grain."""
    grain = cv2.GaussianBlur(
        rng.standard_normal(size, dtype=np.float32), (0, 0), sigmaX=rng.uniform(8, 30), sigmaY=2
    )
    return cast("Ink", rng.uniform(50, 95) + rng.uniform(6, 20) * grain / float(grain.std()))


def _tile(cover: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    rim = round(max(cover.shape) * rng.uniform(0.04, 0.15))
    dark = 15 + 225 * cover
    return expose(
        cast("Ink", cv2.copyMakeBorder(dark, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=250.0)),
        conditions,
        rng,
    )


def _shadow(cover: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    height, width = cover.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    away = (x - rng.uniform(0.2, 0.8) * width) * np.cos(angle) + (
        y - rng.uniform(0.2, 0.8) * height
    ) * np.sin(angle)
    is_dark = away > 0 if rng.random() < 0.6 else np.abs(away) < 0.15 * max(height, width)
    light = 1 - rng.uniform(0.2, 0.6) * is_dark.astype(np.float32)
    soft = cv2.GaussianBlur(light, (0, 0), rng.uniform(1, 12))
    return expose(cast("Ink", _grey(cover, conditions) * soft), conditions, rng)


def _hand(cover: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    height, width = cover.shape
    light = np.ones(cover.shape, np.float32)
    depth = rng.uniform(0.2, 0.5)
    for _ in range(int(rng.integers(2, 4))):
        centre = (round(width * rng.uniform(0.4, 1.05)), round(height * rng.uniform(0.4, 1.05)))
        axes = (round(width * rng.uniform(0.12, 0.4)), round(height * rng.uniform(0.1, 0.25)))
        cv2.ellipse(light, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(1 - depth), -1)
    soft = cv2.GaussianBlur(light, (0, 0), rng.uniform(2, 14))
    return expose(cast("Ink", _grey(cover, conditions) * soft), conditions, rng)


def _streak(cover: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    image = expose(_grey(cover, conditions), conditions, rng)
    for _ in range(int(rng.integers(1, 4))):
        column, thick = int(rng.integers(image.shape[1] - 2)), int(rng.integers(1, 3))
        factors = 1 - rng.uniform(0.1, 0.45) * rng.choice([np.ones(3), rng.random(3)])
        part = image[:, column : column + thick]
        darker = part * (factors if image.ndim == 3 else float(factors.mean()))
        image[:, column : column + thick] = np.rint(darker).astype(np.uint8)
    return image


def _faint(cover: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    rules = Rules(
        spacing_px=rng.uniform(28, 70),
        width_px=rng.uniform(1, 2),
        strength=1.0,
        phase_px=rng.uniform(0, 28),
        tilt=rng.uniform(-0.05, 0.05),
        is_grid=False,
    )
    lines = 255 * rng.uniform(0.04, 0.15) * draw_rules(cover.shape, rules) * (1 - cover)
    return expose(cast("Ink", _grey(cover, conditions) - lines), conditions, rng)


def _outline(cover: Ink, conditions: Conditions, rng: np.random.Generator) -> Image:
    solid = (cover > 0.5).astype(np.uint8)
    # A pen runs around the digit; drawn larger than it is, so that thin strokes are hollow, too.
    wide = cv2.dilate(solid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    edges, _ = cv2.findContours(wide, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = np.zeros(cover.shape, np.uint8)
    cv2.drawContours(drawn, edges, -1, 255, int(rng.integers(3, 6)), cv2.LINE_AA)
    return expose(_grey(cast("Ink", drawn.astype(np.float32) / 255), conditions), conditions, rng)


_STYLES: dict[str, Callable[[Ink, Conditions, np.random.Generator], Image]] = {
    "lid": _lid,
    "table": _table,
    "tile": _tile,
    "shadow": _shadow,
    "hand": _hand,
    "streak": _streak,
    "faint": _faint,
    "outline": _outline,
}
SLIP_STYLES = ("scanned", "lying")
STYLES = tuple(_STYLES)
