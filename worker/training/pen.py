"""A pen that writes: it bends the shapes of digits as a hand would, and turns them into ink.

The hand is a `Style`, what it holds a `Pen`, and a `Drawing` is what lies between them. All is pure given
a numpy Generator: the same state of it draws the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from worker.training.curves import Floats, Plan
from worker.training.shapes import SHAPES, Shape, pick_shape, shape_named

Ink = npt.NDArray[np.float32]
Drawer = Callable[[np.random.Generator], Ink]

MARGIN_PX = 2  # empty pixels around the ink of every rendering
SUBPIXEL_BITS = 4  # OpenCV's fixed point: positions to 1/16 px


# --- How a hand moves ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Style:
    """How one hand writes; lengths are in heights of the digit.

    `slant_deg` leans right and `turn_deg` turns clockwise; `aspect` multiplies the width. `stretch`
    moves neighbouring points together, `wobble` each for itself, `tremor` shakes along the line, `ends`
    makes strokes too long or too short. `rounding` wears corners off and `facets` turns curves into
    straight pieces (both 0 to 1); `skip` keeps every so-manieth point only, as a fast mouse does.
    The width of the line varies by `pressure` (slowly), `taper` (thin ends), `weight` (heavy in turns)
    and `shade` (heavy downwards), each a share of the width; `gaps` is how often the pen runs dry.
    """

    slant_deg: float = 0.0
    turn_deg: float = 0.0
    aspect: float = 1.0
    stretch: float = 0.02
    wobble: float = 0.008
    tremor: float = 0.0
    ends: float = 0.01
    rounding: float = 0.0
    facets: float = 0.0
    skip: int = 1
    pressure: float = 0.0
    taper: float = 0.0
    weight: float = 0.0
    shade: float = 0.0
    gaps: int = 0


NEAT = Style()


def sample_style(rng: np.random.Generator) -> Style:
    """Give a hand at random: mostly legible, some shaky, some drawn with a mouse."""
    u = rng.random(10)
    z = rng.standard_normal(3)
    style = Style(
        slant_deg=min(35.0, max(-30.0, 5 + 11 * z[0])),
        turn_deg=min(15.0, max(-15.0, 5 * z[1])),
        aspect=math.exp(0.2 * z[2]),
        stretch=0.01 + 0.045 * u[0],
        wobble=0.004 + 0.02 * u[1] ** 1.5,
        tremor=0.009 * max(0.0, u[2] - 0.45),
        ends=0.035 * u[3],
        rounding=max(0.0, 1.6 * u[4] - 0.6),
        facets=max(0.0, min(1.0, 3 * u[5] - 2.2)),
    )
    if u[6] < 0.18:  # a mouse: few points, a shaky line of one width
        return replace(style, skip=2 + int(3 * u[7]), tremor=style.tremor + 0.008 * u[8])
    if u[6] < 0.6:
        return style
    v = rng.random(5)
    return replace(
        style,
        pressure=0.3 * v[0],
        taper=max(0.0, 1.1 * v[1] - 0.4),
        weight=0.5 * v[2] - 0.25,
        shade=0.3 * v[3],
        gaps=int(u[6] > 0.94) * (1 + int(3 * v[4])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Strokes before any ink: polylines (m, 2) in heights of the digit, x right and y down.

    `widths` holds, for each stroke, the width of the pen at each of its points, relative to the pen (0
    where it does not write); it is empty where the pen is equally wide everywhere. `digit` is None for
    what is no digit.
    """

    strokes: tuple[Floats, ...]
    widths: tuple[Floats, ...]
    shape: str
    digit: int | None = None


def draw_strokes(
    digit: int, rng: np.random.Generator, shape: str | None = None, style: Style | None = None
) -> Drawing:
    """Draw `digit` (0 to 9) as one hand would; a person reads it without doubt.

    `shape` names one of `SHAPES[digit]` (KeyError for others), `style` the hand; either is sampled
    where it is None.
    """
    chosen = pick_shape(SHAPES[digit], rng) if shape is None else shape_named(digit, shape)
    return draw_shape(chosen, style or sample_style(rng), rng, digit)


def draw_shape(shape: Shape, style: Style, rng: np.random.Generator, digit: int | None = None) -> Drawing:
    """Draw a shape, a digit's or a mark's, as the hand of this style would."""
    plan = shape.plan
    controls = _bend(plan, style, shape.looseness, rng) @ _leaning(shape, style)
    if style.facets > 0.0:
        curve = style.facets * plan.straight + (1 - style.facets) * plan.sharp
    elif style.rounding > 0.0:
        # Wholly rounded corners belong to few shapes only; half-way reads as a quick hand everywhere.
        curve = 0.6 * style.rounding * plan.rounded + (1 - 0.6 * style.rounding) * plan.sharp
    else:
        curve = plan.sharp
    points = curve @ controls
    if style.tremor > 0.0:
        points += _tremble(len(points), style.tremor, rng)
    strokes = _split(points, plan.cuts)
    if style.skip > 1:
        return Drawing(tuple(_thin_out(line, style.skip) for line in strokes), (), shape.name, digit)
    widths = _press(plan, style, rng)
    return Drawing(strokes, () if widths is None else _split(widths, plan.cuts), shape.name, digit)


def _split(values: Floats, cuts: tuple[int, ...]) -> tuple[Floats, ...]:
    return tuple(values[a:b] for a, b in pairwise(cuts))


def _thin_out(line: Floats, skip: int) -> Floats:
    return np.concatenate([line[:-1:skip], line[-1:]])


def _bend(plan: Plan, style: Style, looseness: float, rng: np.random.Generator) -> Floats:
    """Move the control points as a hand does: parts together, points alone, strokes and ends astray."""
    count, strokes = len(plan.controls), len(plan.starts)
    z = rng.standard_normal((8 + count + 2 * strokes, 2))
    np.clip(z, -2.2, 2.2, out=z)
    z *= looseness
    moved = plan.controls + plan.bends @ (style.stretch * z[:8])
    moved += plan.likeness @ (style.wobble * z[8 : 8 + count])
    if strokes > 1:
        moved += (1.2 * style.wobble * z[8 + count : 8 + count + strokes])[plan.stroke_of]
    longer = style.ends * z[-strokes:]
    for side, (tip, inner) in enumerate(((plan.starts, 1), (plan.ends, -1))):
        out = moved[tip] - moved[tip + inner]
        out /= np.maximum(np.hypot(out[:, :1], out[:, 1:]), 0.05)
        moved[tip] += out * longer[:, side : side + 1]
    return moved


def _leaning(shape: Shape, style: Style) -> Floats:
    """Give the matrix (2, 2), for row vectors, of aspect, slant and turn within the shape's limits."""
    aspect = min(shape.aspect[1], max(shape.aspect[0], style.aspect))
    lean = math.tan(math.radians(min(shape.slant_deg[1], max(shape.slant_deg[0], style.slant_deg))))
    turn = math.radians(min(shape.turn_deg[1], max(shape.turn_deg[0], style.turn_deg)))
    c, s = math.cos(turn), math.sin(turn)
    return np.array([[aspect * c, aspect * s], [-lean * c - s, c - lean * s]])


def _tremble(count: int, amount: float, rng: np.random.Generator) -> Floats:
    """Give a shake (count, 2) of three low frequencies with the deviation `amount`."""
    waves = rng.random((3, 2))
    t = np.arange(count)[:, None] * (0.15 + 0.9 * waves[:, 0]) + 2 * np.pi * waves[:, 1]
    return np.asarray(np.sin(t) @ (0.8 * amount * rng.standard_normal((3, 2))))


def _press(plan: Plan, style: Style, rng: np.random.Generator) -> Floats | None:
    """Give the relative width (m,) of the line, or None where it is the same everywhere."""
    if not (style.pressure or style.taper or style.weight or style.shade or style.gaps):
        return None
    u = rng.random(4)
    blame = np.array([-style.taper * u[0], -style.taper * u[1], style.weight, style.shade])
    widths: Floats = 1 + plan.tones @ blame
    if style.pressure:
        widths += style.pressure * np.sin(np.arange(len(widths)) * (0.02 + 0.12 * u[2]) + 6.3 * u[3])
    np.clip(widths, 0.3, 1.4, out=widths)
    for _ in range(style.gaps):
        start = int(len(widths) * rng.random())
        widths[start : start + 1 + int(3 * rng.random())] = 0.0
    return widths


# --- From strokes to ink ------------------------------------------------------------------------------


class Tip(StrEnum):
    """What touches the paper: a ball, the square brush of a paint program, a broad nib."""

    ROUND = "round"
    SQUARE = "square"
    NIB = "nib"


class Edge(StrEnum):
    """How ink ends: anti-aliased (tablet), in whole pixels (paint program), blurred (scanner)."""

    SMOOTH = "smooth"
    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Pen:
    """What writes.

    A nib of `nib_ratio` (thin over broad, 0 to 1) is held at `nib_deg` from the horizontal. `rough`
    (0 to 1) breaks edge and body like chalk; `hollow` leaves the outline alone; `blur_px` is the
    deviation of a soft edge.
    """

    tip: Tip = Tip.ROUND
    edge: Edge = Edge.SMOOTH
    nib_deg: float = -40.0
    nib_ratio: float = 0.35
    rough: float = 0.0
    hollow: bool = False
    blur_px: float = 0.6


BALLPOINT = Pen()


def render(
    drawing: Drawing,
    height_px: float,
    pen_px: float,
    pen: Pen = BALLPOINT,
    rng: np.random.Generator | None = None,
) -> Ink:
    """Give the ink of a drawing: float32 (h, w) in [0, 1], 1 where ink covers the pixel.

    The ink is about `height_px` high (pen included; where it is more than twice as wide as high, about
    twice that wide) and has exactly `MARGIN_PX` empty pixels on every side. A pen below one pixel is
    drawn as one. `rng` is needed by a rough pen only (ValueError without).
    """
    pen_px = max(1.0, min(pen_px, 0.6 * height_px))
    oversampling = 1 if pen.edge is Edge.HARD else _oversampling(height_px)
    strokes = _to_pixels(drawing.strokes, height_px - pen_px, pen_px)
    canvas = _canvas(strokes, pen_px, oversampling)
    _put_ink(canvas, strokes, drawing.widths, pen_px, pen, oversampling)
    if oversampling > 1:
        h, w = canvas.shape
        canvas = cv2.resize(
            canvas, (w // oversampling, h // oversampling), interpolation=cv2.INTER_AREA
        ).astype(np.uint8, copy=False)
    ink = np.multiply(canvas, np.float32(1 / 255), dtype=np.float32)
    if pen.rough > 0.0:
        if rng is None:
            raise ValueError("a rough pen needs rng, for its grain")
        ink = _roughen(ink, pen.rough, pen_px, rng)
    if pen.edge is Edge.SOFT:
        # Rounding in the filter can lift full ink by one unit in the last place.
        ink = np.minimum(cv2.GaussianBlur(ink, (0, 0), pen.blur_px), np.float32(1.0), dtype=np.float32)
    return tighten(ink)


def _oversampling(height_px: float) -> int:
    """Give how many times finer to draw: widths and positions of small digits need it, large ones not."""
    return 4 if height_px < 26 else 3 if height_px < 70 else 2 if height_px < 200 else 1


def _to_pixels(strokes: tuple[Floats, ...], room_px: float, pen_px: float) -> list[Floats]:
    """Scale the strokes to `room_px` of height and move them inside margin and pen."""
    low = np.min([line.min(axis=0) for line in strokes], axis=0)
    high = np.max([line.max(axis=0) for line in strokes], axis=0)
    width, height = high - low
    scale = max(1.0, room_px) / max(height, width / 2, 1e-3)
    start = pen_px + MARGIN_PX - low * scale
    return [line * scale + start for line in strokes]


def _canvas(strokes: Sequence[Floats], pen_px: float, oversampling: int) -> npt.NDArray[np.uint8]:
    """Give an empty canvas that holds all strokes, the pen at its widest and some blur."""
    right, bottom = np.max([line.max(axis=0) for line in strokes], axis=0)
    border = 1.6 * pen_px + MARGIN_PX + 2
    return np.zeros(
        (math.ceil(bottom + border) * oversampling, math.ceil(right + border) * oversampling), np.uint8
    )


def _put_ink(
    canvas: npt.NDArray[np.uint8],
    strokes: Sequence[Floats],
    widths: tuple[Floats, ...],
    pen_px: float,
    pen: Pen,
    oversampling: int,
) -> None:
    thickness = max(1, round(pen_px * oversampling))
    # In OpenCV's fixed point a pixel's centre is a whole number; half a fine pixel keeps the middle.
    fixed = [
        np.rint((line * oversampling + (oversampling - 1) / 2) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        for line in strokes
    ]
    kind = cv2.LINE_AA if oversampling == 1 and pen.edge is not Edge.HARD else cv2.LINE_8
    if pen.tip is Tip.SQUARE:
        _trace(canvas, fixed, 255, 1, cv2.LINE_8)
        if thickness > 1:
            cv2.dilate(canvas, np.ones((thickness, thickness), np.uint8), dst=canvas)
        return
    if pen.tip is Tip.NIB:
        widths = _nib_widths(strokes, widths, pen)
    if not widths:
        _trace(canvas, fixed, 255, thickness, kind)
        wall = max(oversampling, round(thickness * 0.14))
        if pen.hollow and thickness - 2 * wall > wall:
            _trace(canvas, fixed, 0, thickness - 2 * wall, kind)
        return
    for line, width in zip(fixed, widths, strict=True):
        _put_varying(canvas, line, width, thickness, kind)


def _trace(
    canvas: npt.NDArray[np.uint8],
    lines: Sequence[npt.NDArray[np.int32]],
    grey: int,
    thickness: int,
    kind: int,
) -> None:
    cv2.polylines(
        canvas, lines, isClosed=False, color=grey, thickness=thickness, lineType=kind, shift=SUBPIXEL_BITS
    )


def _put_varying(
    canvas: npt.NDArray[np.uint8], line: npt.NDArray[np.int32], width: Floats, thickness: int, kind: int
) -> None:
    """Draw one polyline in pieces of equal thickness; pieces of width 0 stay blank."""
    levels = np.maximum(np.rint(thickness * width[:-1]), width[:-1] > 0).astype(int)
    changes = (np.flatnonzero(np.diff(levels)) + 1).tolist()
    for start, end in zip([0, *changes], [*changes, len(levels)], strict=True):
        level = int(levels[start])
        if level:
            _trace(canvas, [line[start : end + 1]], 255, level, kind)


def _nib_widths(strokes: Sequence[Floats], widths: tuple[Floats, ...], pen: Pen) -> tuple[Floats, ...]:
    """Give the widths an elliptic nib leaves: broad across its edge, thin along it."""
    result = []
    for i, line in enumerate(strokes):
        steps = np.diff(line, axis=0)
        across = np.arctan2(steps[:, 1], steps[:, 0]) - math.radians(pen.nib_deg)
        broad = np.sqrt(np.sin(across) ** 2 + (pen.nib_ratio * np.cos(across)) ** 2)
        broad = np.append(broad, broad[-1])
        result.append(broad * widths[i] if widths else broad)
    return tuple(result)


def _roughen(ink: Ink, rough: float, pen_px: float, rng: np.random.Generator) -> Ink:
    """Fray the edge and open the body with a grain about as coarse as a fifth of the pen."""
    grain = rng.standard_normal(ink.shape, dtype=np.float32)
    size_px = max(0.5, pen_px / 5)
    grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), size_px), np.float32) * np.float32(3.5 * size_px)
    soft = cv2.GaussianBlur(ink, (0, 0), max(0.4, pen_px / 8))
    frayed = np.clip((soft - 0.45 + 0.28 * rough * grain) * 4 + 0.5, 0, 1) * (ink > 0)
    return np.asarray(np.maximum(frayed, 0.35 * ink), np.float32)


def tighten(ink: Ink) -> Ink:
    """Cut to what is inked (above 1/255, as eight bits would hold it), with the margin around it."""
    inked = ink > 0.006
    rows = np.flatnonzero(inked.any(axis=1))
    columns = np.flatnonzero(inked.any(axis=0))
    inner = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    h, w = inner.shape
    whole = np.zeros((h + 2 * MARGIN_PX, w + 2 * MARGIN_PX), np.float32)
    whole[MARGIN_PX : MARGIN_PX + h, MARGIN_PX : MARGIN_PX + w] = inner
    return whole


# --- Everything by chance -----------------------------------------------------------------------------


def sample_pen(rng: np.random.Generator, height_px: float) -> Pen:
    """Give a pen at random, for digits so high: mostly round and plain, as people's are."""
    u = rng.random(6)
    edge = Edge.SMOOTH if u[0] < 0.5 else Edge.HARD if u[0] < 0.75 else Edge.SOFT
    tip = Tip.ROUND if u[1] < 0.8 else Tip.SQUARE if u[1] < 0.9 else Tip.NIB
    return Pen(
        tip,
        edge,
        nib_deg=-60 + 50 * u[2],
        nib_ratio=0.25 + 0.4 * u[3],
        rough=0.4 + 0.6 * u[4] if 0.06 < u[4] < 0.12 else 0.0,
        hollow=bool(u[5] < 0.012),
        blur_px=0.35 + min(0.9, 0.02 * height_px) * u[5],
    )


def sample_pen_px(
    rng: np.random.Generator, height_px: float, thickest: float = 0.24, aspect: float = 1.0
) -> float:
    """Give a pen's width in pixels, from one pixel to `thickest` heights; thin ones are common."""
    widest = thickest * min(1.0, aspect)
    if rng.random() < 0.15:
        return 1.0
    ratio = math.exp(rng.uniform(math.log(0.02), math.log(widest)))
    return max(1.0, ratio * height_px)


def sample_height_px(rng: np.random.Generator) -> float:
    """Give a digit's height in pixels, 14 to 90, small ones more often."""
    return math.exp(rng.uniform(math.log(14), math.log(90)))


def draw_digit(digit: int, rng: np.random.Generator, height_px: float | None = None) -> Ink:
    """Draw `digit` (0 to 9) by any hand and pen: float32 ink (h, w) in [0, 1], as `render` gives it."""
    shape, style = pick_shape(SHAPES[digit], rng), sample_style(rng)
    return ink_of(shape, style, rng, sample_height_px(rng) if height_px is None else height_px)


def ink_of(
    shape: Shape, style: Style, rng: np.random.Generator, height_px: float, thickest: float = 1.0
) -> Ink:
    """Draw a shape with a pen at random, no thicker than the shape bears."""
    drawing = draw_shape(shape, style, rng)
    aspect = min(shape.aspect[1], max(shape.aspect[0], style.aspect))
    pen_px = sample_pen_px(rng, height_px, min(shape.thickest, thickest), aspect)
    pen = sample_pen(rng, height_px)
    if shape.thickest > 0.25:  # a lone line: its outline would be a 0
        pen = replace(pen, hollow=False)
    return render(drawing, height_px, pen_px, pen, rng)


def side_by_side(inks: Sequence[Ink], gap_px: int, rise_px: float, rng: np.random.Generator) -> Ink:
    """Set inks on one line, `gap_px` between their tight boxes (negative: overlapping)."""
    rises = [max(0, round(rng.uniform(0, rise_px))) for _ in inks]
    height = max(ink.shape[0] + rise for ink, rise in zip(inks, rises, strict=True))
    step = gap_px - 2 * MARGIN_PX
    places = [0]
    for ink in inks[:-1]:
        # At most a third of a digit may lie on the one before it: more would hide it.
        places.append(places[-1] + max(ink.shape[1] + step, ink.shape[1] * 2 // 3))
    line = np.zeros((height, max(p + ink.shape[1] for p, ink in zip(places, inks, strict=True))), np.float32)
    for place, rise, ink in zip(places, rises, inks, strict=True):
        bottom = height - rise
        part = line[bottom - ink.shape[0] : bottom, place : place + ink.shape[1]]
        np.maximum(part, ink, out=part)
    return line


def draw_scan(
    digits: int | Sequence[int],
    rng: np.random.Generator,
    *,
    height_px: float = 64.0,
    pen_px: float | None = None,
    style: Style | None = None,
    paper: int | None = None,
    ink: int | None = None,
    noise: float = 3.0,
    ruled: bool = False,
) -> npt.NDArray[np.uint8]:
    """Draw a small page with one or several digits on one line: uint8 (h, w), 0 black to 255 white.

    `paper` and `ink` are grey levels (sampled light and dark where None; a dark paper with light ink is
    fine), `noise` a deviation in grey levels, `ruled` adds three level lines between ink and paper.
    The same hand and pen write all digits; they stand clear of one another and of the border.
    """
    wanted = [digits] if isinstance(digits, int) else list(digits)
    hand = sample_style(rng) if style is None else style
    width_px = max(1.2, 0.07 * height_px) if pen_px is None else pen_px
    inks = [render(draw_strokes(d, rng, style=hand), height_px, width_px) for d in wanted]
    line = side_by_side(inks, round(0.45 * height_px), 0.08 * height_px, rng)
    border_px = np.round(rng.uniform(0.25, 0.6, (2, 2)) * height_px).astype(int)
    cover = np.pad(line, border_px)
    ground = int(rng.integers(215, 252)) if paper is None else paper
    dark = int(rng.integers(10, 80)) if ink is None else ink
    page = np.full(cover.shape, ground, np.float32)
    if ruled:
        first, step = int(rng.uniform(0.02, 0.2) * len(page)), max(8, len(page) // 3)
        page[first::step] = 0.75 * ground + 0.25 * dark
    page += (dark - page) * cover
    if noise > 0.0:
        page += rng.standard_normal(page.shape, dtype=np.float32) * np.float32(noise)
    return np.clip(np.rint(page), 0, 255).astype(np.uint8)
