"""From a digit's ink to a page that somebody might have scanned, and back through the production cutter.

Training must see what service sees: the digit is put on a simulated page (paper, light, ruling, camera,
compression), and the tile is what the vision wing makes of that page.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.normalization import normalize
from worker.vision.page import Grey, Page
from worker.vision.segmentation import Mark, find_marks

Float = npt.NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Damage:
    """How much may happen to a page: probabilities and the largest amounts, in grey levels of 255."""

    margin: tuple[float, float] = (0.05, 0.9)  # paper around the digit, in its own size
    paper: tuple[int, int] = (120, 255)
    contrast: tuple[float, float] = (0.18, 1.0)  # of ink to paper
    gradient: float = 0.5  # share of the light that may be missing at one side
    blur_px: float = 1.4
    noise: float = 14.0
    ruled: float = 0.15
    printed: float = 0.1  # a fine pattern all over the paper, as cheques and forms have
    jpeg: float = 0.35
    inverted: float = 0.25
    clean: float = 0.35  # pages as a drawing program leaves them: no damage at all


def warp(ink: Float, rng: Rng, strength: float = 1.0) -> Float:
    """The ink rotated, slanted, stretched and bent a little; float32 in [0, 1], on a field as large as it needs.

    `strength` 1 is as far as a digit may go and still be read as what it was.
    """
    height, width = ink.shape
    angle = np.deg2rad(rng.normal(0, 6.0) * strength)
    slant = rng.normal(0, 0.14) * strength
    stretch = np.exp(rng.normal(0, 0.10) * strength)
    squeeze = np.exp(rng.normal(0, 0.05) * strength)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    shape = np.array([[stretch, slant], [0, squeeze]])
    matrix = turn @ shape
    corners = np.abs(matrix) @ np.array([width, height])
    out_w, out_h = int(corners[0]) + 3, int(corners[1]) + 3
    shift = np.array([out_w / 2, out_h / 2]) - matrix @ np.array([width / 2, height / 2])
    if rng.random() < 0.75:
        ink = _bend(ink, rng, strength)
    turned = cv2.warpAffine(ink, np.hstack([matrix, shift[:, None]]), (out_w, out_h), flags=cv2.INTER_LINEAR)
    return np.asarray(turned, np.float32)


def _bend(ink: Float, rng: Rng, strength: float) -> Float:
    """Elastic distortion (Simard et al., 2003) on a coarse grid of 4 x 4 knots."""
    height, width = ink.shape
    side = max(height, width)
    knots = rng.normal(0, 0.028 * side * strength, (2, 4, 4)).astype(np.float32)
    fields = [cv2.resize(knot, (width, height), interpolation=cv2.INTER_CUBIC) for knot in knots]
    columns, rows = _grid(height, width)
    return np.asarray(
        cv2.remap(
            ink, columns + fields[0], rows + fields[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        ),
        np.float32,
    )


def _grid(height: int, width: int) -> tuple[Float, Float]:
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return columns, rows


def thicken(ink: Float, rng: Rng) -> Float:
    """The strokes a little thicker or thinner, as another pen would draw them."""
    side = max(ink.shape)
    radius = int(rng.integers(1, max(2, side // 18) + 1))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    if rng.random() < 0.5:
        return np.asarray(cv2.dilate(np.pad(ink, radius), kernel), np.float32)
    thinner = cv2.erode(ink, kernel)
    # Only where the strokes survive it: an eroded hairline is no digit any more.
    survives = float(thinner.sum()) > 0.35 * float(ink.sum())
    return np.asarray(thinner if survives else ink, np.float32)


def lay_on_page(ink: Float, rng: Rng, damage: Damage) -> Grey:
    """A page, uint8, that holds `ink` (float32 coverage in [0, 1]) somewhere, as a scan might show it."""
    side = max(ink.shape)
    low, high = damage.margin
    top, bottom, left, right = (int(side * rng.uniform(low, high)) + 1 for _ in range(4))
    return scan(np.pad(ink, ((top, bottom), (left, right))), rng, damage, side)


def scan(coverage: Float, rng: Rng, damage: Damage, side: int) -> Grey:
    """The page, uint8, that a scanner makes of `coverage` (float32 in [0, 1]) by digits about `side` px large."""
    if rng.random() < damage.clean:
        page = 255.0 * (1.0 - coverage * np.float32(rng.uniform(0.4, 1.0) if rng.random() < 0.3 else 1.0))
        if rng.random() < 0.15:
            page = np.where(coverage > 0.5, 0.0, 255.0).astype(np.float32)
    else:
        page = _photographed(coverage, rng, damage, stroke_px=max(1.0, side / 12))
    grey = np.clip(page + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < damage.inverted:
        grey = 255 - grey
    if rng.random() < damage.jpeg:
        quality = int(rng.integers(25, 96))
        grey = cv2.imdecode(
            cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE
        )
    return np.asarray(grey, np.uint8)


def _photographed(coverage: Float, rng: Rng, damage: Damage, stroke_px: float) -> Float:
    """Paper, light, ink, lens and sensor; grey levels as float32."""
    height, width = coverage.shape
    level = float(rng.uniform(*damage.paper))
    contrast = float(rng.uniform(*damage.contrast))
    paper = np.full((height, width), level, np.float32)
    if rng.random() < 0.5:
        paper += _texture(height, width, rng, float(rng.uniform(0.5, 6.0)))
    if rng.random() < damage.ruled:
        _rule(paper, rng, level)
    if rng.random() < damage.printed:
        _print_pattern(paper, rng, level)
    if rng.random() < 0.1:
        _show_through(paper, rng, coverage, level)
    strength = contrast
    if rng.random() < 0.4:  # ink does not flow evenly
        strength = contrast * np.clip(1.0 + _texture(height, width, rng, 0.25), 0.35, 1.15)
    page = paper * (1.0 - coverage * strength)
    if rng.random() < 0.6:
        page *= _light(height, width, rng, damage.gradient)
    if rng.random() < 0.6:
        sigma = float(rng.uniform(0.3, damage.blur_px)) * min(1.5, max(0.5, stroke_px / 3))
        page = cv2.GaussianBlur(page, (0, 0), sigma)
    if rng.random() < 0.6:
        sigma = float(rng.uniform(0, 1) ** 2) * damage.noise * contrast**0.5
        noise = rng.standard_normal((height, width), np.float32) * np.float32(sigma)
        page += cv2.GaussianBlur(noise, (3, 3), 0.6) * 1.4 if rng.random() < 0.3 else noise
    if rng.random() < 0.12:
        _specks(page, rng)
    return np.asarray(page, np.float32)


def _texture(height: int, width: int, rng: Rng, amount: float) -> Float:
    """Cloudy texture with a standard deviation of about `amount`."""
    cell = int(rng.integers(2, 12))
    shape = (max(2, height // cell), max(2, width // cell))
    coarse = rng.standard_normal(shape, np.float32) * np.float32(amount)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _light(height: int, width: int, rng: Rng, gradient: float) -> Float:
    """Uneven light: a slope, a bulge, or the soft edge of a shadow; float32 in (0, 1]."""
    columns, rows = _grid(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    along = (columns / width - 0.5) * np.cos(angle) + (rows / height - 0.5) * np.sin(angle)
    missing = float(rng.uniform(0, gradient))
    if rng.random() < 0.25:
        softness = float(rng.uniform(0.05, 0.3))
        shadow = 1 / (1 + np.exp(-(along - rng.uniform(-0.3, 0.3)) / softness))
        return np.asarray(1 - missing * shadow, np.float32)
    return np.asarray(1 - missing * (along / 1.42 + 0.5), np.float32)


def _rule(paper: Float, rng: Rng, level: float) -> None:
    """Ruled lines or a grid on the paper, in place."""
    height, width = paper.shape
    spacing = int(rng.uniform(0.5, 1.2) * min(height, width))
    line_px = int(rng.integers(1, max(2, min(height, width) // 40) + 1))
    depth = float(rng.uniform(0.08, 0.45)) * level
    directions = [0] if rng.random() < 0.6 else [0, 1]
    for direction in directions:
        length = paper.shape[direction]
        for start in range(int(rng.integers(0, spacing)), length, max(spacing, 8)):
            line = np.s_[start : start + line_px, :] if direction == 0 else np.s_[:, start : start + line_px]
            paper[line] -= depth


def _print_pattern(paper: Float, rng: Rng, level: float) -> None:
    """Fine parallel waves, once or crossing, in place."""
    columns, rows = _grid(*paper.shape)
    depth = float(rng.uniform(0.03, 0.2)) * level
    for _ in range(int(rng.integers(1, 3))):
        angle, period = rng.uniform(0, np.pi), rng.uniform(3.5, 14)
        along = columns * np.cos(angle) + rows * np.sin(angle)
        across = rows * np.cos(angle) - columns * np.sin(angle)
        across = across + rng.uniform(0, 4) * np.sin(along * (2 * np.pi / rng.uniform(15, 80)))
        line = np.cos(across * np.float32(2 * np.pi / period)) > rng.uniform(0.3, 0.9)
        paper -= np.float32(depth) * line


def _show_through(paper: Float, rng: Rng, coverage: Float, level: float) -> None:
    """What is written on the other side of the sheet, mirrored, blurred and faint, in place."""
    mirrored = np.roll(coverage[:, ::-1], int(rng.integers(-9, 10)), axis=1)
    paper -= cv2.GaussianBlur(np.ascontiguousarray(mirrored), (0, 0), 2.0) * np.float32(0.06 * level)


def _specks(page: Float, rng: Rng) -> None:
    """Dust, dark or light, in place."""
    height, width = page.shape
    for _ in range(int(rng.integers(1, 5))):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(page, centre, int(rng.integers(0, 2)), float(rng.uniform(0, 255)), -1)


def draw_blank(rng: Rng) -> Grey:
    """A page, uint8, without any writing: rough, ruled, spotted, folded, badly lit, or all of it."""
    height, width = (int(side) for side in rng.integers(60, 180, 2))
    level = float(rng.uniform(110, 250))
    page = np.full((height, width), level, np.float32)
    page += _texture(height, width, rng, float(rng.uniform(0, 9)))
    if rng.random() < 0.4:
        _rule(page, rng, level)
    for _ in range(int(rng.integers(0, 4))):
        _blot(page, rng, level)
    if rng.random() < 0.3:
        page = _fold(page, rng)
    page *= _light(height, width, rng, 0.6)
    if rng.random() < 0.5:
        page = np.asarray(cv2.GaussianBlur(page, (0, 0), float(rng.uniform(0.3, 2.5))), np.float32)
    page += rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(0, 14))
    _specks(page, rng)
    return np.asarray(np.clip(page + 0.5, 0, 255), np.uint8)


def _blot(page: Float, rng: Rng, level: float) -> None:
    """A stain with a soft edge, or the rim that a drop leaves, in place."""
    height, width = page.shape
    stain = np.zeros_like(page)
    centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
    axes = (int(rng.integers(3, 60)), int(rng.integers(3, 60)))
    thickness = -1 if rng.random() < 0.6 else int(rng.integers(1, 5))
    cv2.ellipse(stain, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, thickness)
    stain = np.asarray(cv2.GaussianBlur(stain, (0, 0), float(rng.uniform(0.8, 12))), np.float32)
    page -= stain * np.float32(rng.uniform(0.03, 0.35) * level)


def _fold(page: Float, rng: Rng) -> Float:
    """One side of a crease a little darker, and the crease itself."""
    height, width = page.shape
    columns, rows = _grid(height, width)
    angle = rng.uniform(0, np.pi)
    x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
    beyond = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    darker = 1 - np.float32(rng.uniform(0, 0.15)) * (beyond > 0)
    crease = 1 - np.float32(rng.uniform(-0.1, 0.25)) * np.exp(-((beyond / rng.uniform(0.5, 2.5)) ** 2))
    return np.asarray(page * darker * crease, np.float32)


def cut(page: Grey) -> list[Mark]:
    """The marks that the production cutter finds."""
    return find_marks(Page(page))


def main_tile(page: Grey) -> Float | None:
    """The tile of the only mark, or of the one that outweighs all others; None where there is none such."""
    marks = cut(page)
    if not marks:
        return None
    weights = [float(mark.ink.sum()) for mark in marks]
    best = int(np.argmax(weights))
    if weights[best] < 0.85 * sum(weights):
        return None
    return normalize(marks[best].ink)
