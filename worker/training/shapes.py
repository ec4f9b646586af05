"""The table of shapes: digits as people all over the world form them, and marks that are no digits.

Every shape is a few strokes of control points in a box one unit high (x to the right, y down).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from worker.training.curves import Floats, Pair, Plan, Stroke, plan_of


@dataclass(frozen=True, eq=False)
class Shape:
    """One way to write something; `weight` says how common it is among the ways to write it.

    The limits keep a reader from doubting: `slant_deg` (positive leans right), `turn_deg` (positive is
    clockwise), `looseness` scales how far control points may stray, `aspect` bounds the stretch in
    width, and `thickest` is the widest pen, in heights of the digit, that leaves its loops open.
    """

    name: str
    weight: float
    strokes: tuple[Stroke, ...]
    slant_deg: Pair = (-30.0, 35.0)
    turn_deg: Pair = (-15.0, 15.0)
    aspect: Pair = (0.6, 1.6)
    looseness: float = 1.0
    thickest: float = 0.24

    @cached_property
    def plan(self) -> Plan:
        """What every drawing of this shape needs and no jitter changes; made when first drawn."""
        return plan_of(self.strokes)


def family(
    table: str,
    *,
    thickest: float,
    slant: Pair = (-30.0, 35.0),
    turn: Pair = (-15.0, 15.0),
    aspect: Pair = (0.6, 1.6),
    looseness: float = 1.0,
) -> tuple[Shape, ...]:
    """Read shapes from lines of `weight name: stroke ; stroke | limit values, limit values`.

    A limit that a line does not name is the family's. The format of a stroke: see `_stroke`.
    """
    common = {
        "slant": slant,
        "turn": turn,
        "aspect": aspect,
        "looseness": (looseness,),
        "thickest": (thickest,),
    }
    shapes = []
    for line in table.strip().splitlines():
        head, _, rest = line.partition(": ")
        weight, _, name = head.strip().partition(" ")
        paths, _, limits = rest.partition(" | ")
        own = {word: tuple(map(float, v)) for word, *v in map(str.split, limits.split(",") if limits else ())}
        if own.keys() - common.keys():
            raise ValueError(f"{name}: no such limit among {', '.join(own)}")
        strokes = tuple(_stroke(path) for path in paths.split(" ; "))
        shapes.append(_shape(name, float(weight), strokes, {**common, **own}))
    return tuple(shapes)


def _shape(
    name: str, weight: float, strokes: tuple[Stroke, ...], limits: dict[str, tuple[float, ...]]
) -> Shape:
    slant, turn, aspect = ((low, high) for low, high in (limits[k] for k in ("slant", "turn", "aspect")))
    (looseness,), (thickest,) = limits["looseness"], limits["thickest"]
    return Shape(name, weight, strokes, slant, turn, aspect, looseness, thickest)


def _stroke(path: str) -> Stroke:
    """Read a stroke of items between commas, in hundredths of the height.

    `x y` is a bend, `x y!` a corner, `@cx cy rx ry from to` an arc in degrees (0 is right, -90 the
    top; falling angles run anticlockwise).
    """
    points: list[Pair] = []
    corners: list[bool] = []
    for item in path.split(","):
        text = item.strip()
        numbers = [float(word) / 100 for word in text.strip("@!").split()]
        new = _arc(*numbers) if text.startswith("@") else [(numbers[0], numbers[1])]
        points += new
        corners += [text.endswith("!")] * len(new)
    return Stroke(tuple(points), tuple(corners))


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> list[Pair]:
    """Give a point at least every 40 degrees; angles come in hundreds of degrees, as all numbers do."""
    count = max(2, round(abs(end - start) / 0.4) + 1)
    angles = np.radians(100 * np.linspace(start, end, count)).tolist()
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


_ZEROS = family(
    """
28 oval: @30 50 30 50 -70 -445
14 round: @46 50 46 50 -70 -440 | aspect 0.8 1.3
9 narrow: @19 50 19 50 -75 -440 | aspect 0.8 1.6, thickest 0.14
6 clockwise: @31 50 31 50 -110 262
7 open: @31 50 31 50 -52 -384 | looseness 0.7
8 overlapping: 56 2, 38 -4, @31 50 31 48 -110 -395, 54 12, 34 -3, 14 2
5 slashed: @31 50 31 50 -70 -440 ; 66 0, -4 100 | aspect 0.9 1.5, thickest 0.08
3 slashed inside: @36 50 36 50 -70 -440 ; 54 22, 18 80 | aspect 0.9 1.4, thickest 0.08
1 slashed back: @36 50 36 50 -70 -440 ; 8 10, 64 92 | aspect 0.9 1.4, thickest 0.08
5 small loop on top: 26 10, 12 20, 0 52, 12 90, 32 100, 54 86, 62 50, 52 18, 36 4, 24 -5, 28 -15, \
    39 -12, 36 0, 24 10 | slant -15 20, aspect 0.7 1.2, looseness 0.6
3 tail into it: 40 0, 16 8, 2 36, 4 76, 24 99, 48 90, 60 54, 54 18, 38 4, 28 12, 32 24
4 boxy: 30 1, 10 3, 3 12, 1 50, 4 88, 12 98, 44 98, 54 90, 56 50, 54 12, 46 3, 28 1 | aspect 0.6 1.1
6 egg: 40 1, 22 3, 4 20, 2 46, 12 82, 29 99, 46 84, 58 46, 54 16, 38 1, 24 2
3 egg upside down: 38 2, 26 2, 10 24, 1 62, 10 92, 32 100, 54 90, 61 60, 48 20, 36 3, 24 3 \
    | looseness 0.7, aspect 0.7 1.3
0.6 dotted: @36 50 36 50 -70 -440 ; 35 49, 37 51 | aspect 0.9 1.4, thickest 0.1
4 stroke out to the right: 44 6, 24 0, 4 30, 6 78, 28 100, 52 78, 55 34, 42 6, 30 12, 48 15, 74 6 \
    | looseness 0.7, thickest 0.14
3 loop into the next: 46 8, 26 0, 4 28, 4 76, 28 100, 52 80, 56 34, 46 4, 34 10, 44 24, 78 14 \
    | looseness 0.7, thickest 0.13
1.5 stroke out below: @31 48 31 48 -60 -420, 76 90 | looseness 0.7, aspect 0.8 1.3, thickest 0.13
3 started from the left: -14 34, 10 14, @36 50 34 50 -110 -460 | looseness 0.7, aspect 0.7 1.2, thickest 0.14
4 lying: @70 50 70 50 -70 -440 | aspect 0.8 1.3, turn -20 10, thickest 0.16
2 lying, started inside: 24 34, 40 4, 92 4, 118 44, 96 88, 36 98, 4 70, 16 28, 56 6 \
    | aspect 0.8 1.2, looseness 0.7, thickest 0.13
2 crossing at the foot: -8 98, 20 93, 50 72, 56 30, 34 0, 8 18, 4 56, 22 86, 68 97 \
    | aspect 0.8 1.3, looseness 0.7, thickest 0.13
    """,
    thickest=0.2,
    looseness=0.8,
)

_ONES = family(
    """
24 vertical: 0 0, 0 50, 0 100 | slant -25 30, turn -6 6, looseness 0.7, thickest 0.29
9 slanted: 26 0, 13 50, 0 100 | slant -8 18, turn -4 4, looseness 0.7, thickest 0.3
4 bent: 4 0, 0 34, 1 70, 7 100 | slant -15 25, turn -6 6, looseness 0.6, thickest 0.3
3 bowed: 0 0, 6 30, 7 66, 2 100 | slant -15 25, turn -6 6, looseness 0.6, thickest 0.3
14 short flag: 0 25, 25 0!, 25 100 | slant -15 26, turn -12 4, looseness 0.55
5 tiny flag: 0 13, 14 0!, 14 100 | slant -15 26, turn -12 4, looseness 0.7
14 long flag: 0 45, 36 0!, 36 100 | slant -15 26, turn -10 7, looseness 0.7
5 steep flag: 0 56, 26 0!, 28 100 | slant -12 25, turn -10 8, looseness 0.7, thickest 0.16
5 flag almost to the ground: 0 84, 42 0!, 46 100 \
    | slant -8 20, turn -8 8, aspect 0.8 1.5, looseness 0.7, thickest 0.16
5 flat flag: 0 28, 40 0!, 40 100 | slant -12 18, turn -10 0, aspect 0.6 1.1, looseness 0.5
6 slanted with a flag: 2 40, 42 0!, 22 100 | slant -8 14, turn -8 4, aspect 0.7 1.2, looseness 0.7
6 curved flag: 0 38, 15 24, 26 0!, 27 50, 26 100 | slant -12 28, turn -12 2, looseness 0.6
2 rounded flag: 0 38, 15 17, 25 3, 30 12, 28 50, 27 100 | slant -12 24, turn -12 4, looseness 0.6
4 flag as a stroke apart: 26 0, 26 50, 26 100 ; 0 27, 27 -3 | slant -15 28, turn -12 4, looseness 0.7
14 flag and foot: 0 24, 25 0!, 25 100 ; 2 100, 50 100 | slant -10 14, turn -8 5, looseness 0.6, thickest 0.2
6 long flag and foot: 0 42, 32 0!, 32 100 ; 6 100, 60 100 \
    | slant -10 14, turn -8 5, looseness 0.6, thickest 0.18
4 flag and wide foot: 6 22, 28 0!, 29 100 ; -8 99, 66 101 \
    | slant -10 14, turn -8 5, looseness 0.6, thickest 0.18
4 foot: 0 0, 0 100 ; -20 100, 21 100 | slant -12 20, turn -7 7, looseness 0.6, thickest 0.2
4 serif: 0 9, 15 0!, 15 100 ; -4 100, 34 100 | slant -10 14, turn -8 6, looseness 0.6, thickest 0.2
2 hooked foot: 0 24, 22 0!, 22 98!, 38 94 | slant -10 14, turn -8 5, looseness 0.6, thickest 0.18
5 upstroke from the ground: 0 98, 36 0!, 40 100 | slant -6 28, turn -8 8, aspect 0.55 1.1, looseness 0.7, thickest 0.17
6 long slanted upstroke: 0 70, 48 0!, 34 100 | slant 0 28, turn -8 6, aspect 0.7 1.2, looseness 0.7, thickest 0.2
4 curved upstroke: 0 74, 24 42, 44 0!, 42 100 | slant -6 28, turn -8 6, aspect 0.7 1.2, looseness 0.7, thickest 0.18
3 narrow loop: 0 60, 20 16, 26 1, 20 5, 8 100 | slant -4 20, turn -6 6, looseness 0.5, thickest 0.12
3 loop as of an l: -6 76, 16 44, 28 14, 22 0, 12 12, 8 56, 8 100 \
    | slant -4 24, turn -6 6, looseness 0.6, thickest 0.1
1 loop as of an l, stroke out: -6 76, 16 44, 28 14, 22 0, 12 12, 7 60, 12 96, 26 98, 40 86 \
    | slant -4 24, turn -6 6, looseness 0.6, thickest 0.1
2 upstroke and foot: 0 72, 38 0!, 38 100 ; 14 100, 64 99 | slant -8 16, turn -8 5, looseness 0.6, thickest 0.16
    """,
    thickest=0.24,
)

_TWOS = family(
    """
20 plain: 2 22, 12 5, 32 0, 52 10, 56 32, 38 62, 0 100!, 64 100
7 straight neck: 2 16, 26 0, 50 10, 48 40, 0 98!, 34 99, 64 98
7 wavy base: 2 20, 14 4, 36 0, 54 14, 50 40, 28 70, 0 97!, 20 91, 44 100, 68 92
12 looped: 4 22, 16 4, 36 0, 54 14, 52 40, 34 70, 12 95, -2 94, -1 82, 14 80, 40 96, 66 97 | thickest 0.18
6 wide loop: 4 18, 22 0, 46 6, 52 32, 38 64, 16 92, -4 97, -9 84, 6 75, 28 84, 50 98, 72 90 | thickest 0.16
5 flat loop: 2 22, 18 3, 42 2, 54 22, 44 52, 20 84, 0 97, -6 91, 6 87, 30 94, 64 99 \
    | aspect 0.85 1.5, looseness 0.8, thickest 0.14
6 curly top: 18 24, 8 27, 3 17, 14 3, 36 0, 55 14, 52 38, 30 68, 0 98!, 32 97, 64 99 | thickest 0.18
6 z-like: 2 5, 52 2!, 0 98!, 58 98 | turn -8 8
4 z-like with a bent neck: 0 9, 24 2, 50 6, 46 26, 0 98!, 58 99 | turn -8 8
6 swan: 5 24, 16 4, 38 1, 50 20, 42 50, 20 82, 0 98!, 24 88, 46 97, 66 82
6 round base: 2 22, 14 4, 36 0, 54 14, 50 40, 28 68, 8 88, 10 98, 34 98, 62 95
4 high neck: 0 28, 8 6, 26 0, 44 8, 44 30, 26 66, 4 97!, 56 97 \
    | aspect 0.85 1.4, looseness 0.8, thickest 0.14
4 short base: 0 20, 14 3, 38 0, 54 16, 46 44, 4 99!, 44 99 | looseness 0.8
4 angular: 0 14!, 10 2!, 48 1!, 52 40!, 4 98!, 60 97
5 curled top, looped base: 24 22, 10 28, 4 14, 20 0, 44 4, 52 26, 38 60, 12 93, -2 92, 4 80, 24 84, 46 98, 70 92 \
    | looseness 0.7, thickest 0.12
4 big curl, looped base: 30 32, 12 36, 2 18, 20 0, 46 4, 54 28, 38 62, 10 95, -6 90, 6 78, 30 88, 50 99, 76 90 \
    | looseness 0.7, thickest 0.12
3 base as a big loop: 2 22, 16 2, 40 2, 52 24, 40 54, 16 84, -10 96, -14 80, 8 72, 34 90, 60 99, 84 88 \
    | aspect 0.75 1.2, looseness 0.7, thickest 0.12
3 tail to the next: 2 22, 14 4, 36 0, 52 16, 46 44, 18 84, 0 98!, 34 92, 66 94, 92 80 | aspect 0.75 1.2
5 ring for a head: 34 50, 12 48, 2 26, 12 4, 34 0, 53 14, 50 36, 30 66, 0 98!, 34 97, 66 98 \
    | looseness 0.7, thickest 0.12
3 ring for a head, looped base: 32 48, 12 46, 3 24, 14 3, 36 0, 54 15, 50 36, 32 66, 10 94, -6 92, -2 80, 22 86, \
    46 98, 72 92 | looseness 0.7, thickest 0.11
3 small ring for a head: 36 38, 22 38, 14 22, 22 4, 38 0, 52 12, 50 32, 32 66, 2 98!, 30 96, 60 98 \
    | looseness 0.7, thickest 0.1
2 ring for a head, short base: 34 52, 10 48, 4 24, 14 3, 32 0, 50 14, 46 42, 10 97!, 26 96, 48 99 \
    | looseness 0.7, thickest 0.12
    """,
    aspect=(0.75, 1.6),
    thickest=0.22,
    slant=(-14.0, 35.0),
    looseness=0.85,
)

_THREES = family(
    """
26 round: 3 13, 20 1, 42 3, 52 20, 42 40, 20 47!, 44 52, 58 72, 46 94, 22 100, 0 89
9 soft middle: 2 10, 24 0, 48 11, 46 35, 25 47, 47 56, 57 78, 36 99, 0 93
11 flat top: 4 3, 54 0!, 24 40!, 48 48, 58 70, 46 93, 22 100, 0 90
4 flat top, small neck: 0 2, 50 2!, 32 34!, 52 48, 56 74, 40 96, 16 100, -4 90
8 loop in the middle: 3 14, 20 1, 44 5, 48 25, 34 43, 18 53, 11 47, 20 42, 44 52, 58 74, 44 95, 20 100, \
    0 89 | thickest 0.16
5 pointed: 2 4, 48 20!, 14 46!, 54 74!, 0 99 | looseness 0.8
4 pointed top, round below: 2 2, 50 18!, 16 46!, 46 50, 58 72, 44 95, 0 98
7 big below: 8 8, 26 0, 42 9, 40 27, 20 37!, 48 42, 62 68, 48 95, 22 100, 0 90
5 big above: 2 16, 18 2, 44 2, 58 24, 44 50, 20 56!, 42 62, 48 80, 34 97, 14 100, 2 93
4 deep middle: 0 14, 18 0, 46 4, 50 24, 32 42, 6 50!, 40 54, 56 76, 38 97, 14 100, -4 88
4 boxy: 2 2, 50 1!, 50 48!, 12 48!, 52 49!, 53 98!, 0 99 | looseness 0.8
4 hooked ends: 8 22, 4 8, 26 0, 48 10, 46 34, 22 46!, 48 54, 56 78, 36 99, 10 98, 2 84, 12 78 \
    | looseness 0.7, thickest 0.16
3 wide middle tongue: 2 8, 30 0, 52 16, 40 40, 12 45!, 14 48!, 48 54, 54 80, 30 100, 0 93
3 loop at the end: 3 13, 20 1, 42 3, 52 20, 42 40, 20 47!, 46 52, 58 72, 44 95, 18 100, 0 90, 2 78, 16 80, 34 96 \
    | looseness 0.7, thickest 0.12
2 curled start: 16 24, 4 22, 4 6, 28 0, 48 10, 44 34, 22 46!, 46 52, 57 74, 42 97, 14 99, 0 88 \
    | looseness 0.8, thickest 0.14
    """,
    thickest=0.19,
    aspect=(0.75, 1.6),
    looseness=0.9,
)

_FOURS = family(
    """
20 open: 8 2, 3 58!, 60 57 ; 45 8, 41 100
7 open, tall stem: 4 4, 0 54!, 50 54 ; 49 0, 50 100
8 open, bar ends at the stem: 4 0, 0 52!, 46 51 ; 47 4, 45 100
12 closed: 44 0, 0 66!, 66 66 ; 44 0, 43 100 | slant 0 30, aspect 0.75 1.5, thickest 0.15
6 closed in one stroke: 46 100, 46 0!, 0 64!, 66 64 | slant 0 30, aspect 0.75 1.5, thickest 0.15
5 sail: 52 2, 0 60!, 74 58 ; 54 -2, 44 100 | slant 0 30, aspect 0.75 1.3, thickest 0.15
4 triangle on a short stem: 42 0, -2 76!, 68 76 ; 44 0, 43 100 | slant 0 30, aspect 0.75 1.4, thickest 0.15
7 short stem: 28 0, 0 60!, 64 60 ; 38 36, 36 100 | looseness 0.8, aspect 0.7 1.5
4 crossed low: 10 0, 2 74!, 60 73 ; 44 18, 42 100 | looseness 0.8
3 crossed high: 12 2, 4 42!, 60 41 ; 44 4, 42 100
5 angular: 20 0, 0 52!, 52 52 ; 46 20, 42 100
8 rounded: 3 0, 1 32, 8 48, 26 48, 46 38 ; 50 0, 47 46, 42 100 \
    | aspect 0.8 1.5, thickest 0.14, turn -10 10, looseness 0.8
4 rounded in one stroke: 4 0, 0 36, 10 50, 30 46, 46 28, 50 2!, 46 50, 42 100 \
    | aspect 0.8 1.5, thickest 0.14, looseness 0.7
6 lightning: 26 0, 0 52!, 46 48 ; 44 30, 34 100 | aspect 0.7 1.4, looseness 0.8
5 up and down the stem: 4 2, 0 50!, 46 48!, 48 6!, 46 100 | looseness 0.8
3 looped corner: 16 0, 6 34, -2 56, 4 62, 12 56, 30 53, 62 53 ; 42 20, 40 100 | thickest 0.13
4 wide bar: 14 2, 4 56!, 84 56 ; 46 10, 44 100 | aspect 0.7 1.2
3 stem leaning the other way: 2 2, 4 56!, 54 54 ; 40 6, 54 100
8 lightning in one stroke: 28 0, 0 60!, 46 44!, 36 100 \
    | slant -4 32, aspect 0.7 1.4, looseness 0.8, thickest 0.12
4 lightning, flat: 24 0, 0 62!, 48 56!, 40 100 \
    | slant -4 32, aspect 0.7 1.3, looseness 0.7, thickest 0.12
6 h-like: 24 0, 3 64!, 24 50, 42 48, 45 62, 38 100 | slant -2 32, aspect 0.7 1.4, looseness 0.7
7 low and crossed below: 30 0, 0 72!, 54 62 ; 44 44, 34 100 | slant -4 30, aspect 0.7 1.4, looseness 0.8
5 sharp foot: 34 0, 0 80!, 58 70 ; 46 52, 40 104 | slant -4 26, aspect 0.7 1.4, looseness 0.8
4 stem through a long foot: 22 0, 0 70!, 76 66 ; 48 30, 36 104 | slant -2 28, aspect 0.7 1.2, looseness 0.8
    """,
    thickest=0.19,
)

_FIVES = family(
    """
14 two strokes: 8 1, 4 42!, 26 36, 50 46, 58 70, 46 93, 22 100, 0 90 ; 8 0, 54 0
6 bar apart: 8 2, 4 42!, 26 37, 50 47, 57 71, 45 93, 22 100, 0 90 ; 16 -7, 58 -9 | turn -12 12
4 bar beside: 6 4, 4 42!, 26 37, 50 47, 57 71, 44 93, 22 100, 0 90 ; 17 1, 62 -3
4 long bar: 8 2, 5 42!, 26 36, 48 46, 54 70, 42 93, 20 100, 0 91 ; 4 1, 78 -4 | aspect 0.6 1.3
2 bar sloping down: 8 0, 4 42!, 26 37, 48 48, 55 71, 42 94, 20 100, 0 91 ; 6 0, 58 12 | looseness 0.8
16 one stroke: 54 0, 10 1!, 4 43!, 28 37, 52 48, 58 72, 46 94, 22 100, 0 91
6 one stroke, round: 56 3, 34 1, 12 3!, 6 40!, 30 38, 50 50, 55 74, 40 96, 18 100, 0 92
8 s-like: 53 5, 34 0, 11 5, 6 24, 18 40, 40 48, 54 64, 52 85, 34 99, 0 94
3 angular s: 52 2, 10 6!, 6 38!, 48 52!, 50 88!, 2 98 | looseness 0.8
5 angular: 50 0, 4 0!, 4 46!, 48 47!, 50 98!, 0 98 | looseness 0.8
5 small belly: 48 0, 12 1!, 8 54!, 26 49, 44 60, 45 84, 28 99, 4 96
5 big belly: 46 0, 14 1!, 8 32!, 34 27, 60 44, 62 74, 44 96, 18 100, -2 89
2 belly curling in: 54 0, 10 1!, 4 42!, 28 36, 54 50, 56 78, 34 99, 8 95, 2 85 | looseness 0.7
5 leaning neck: 60 0, 24 2!, 10 42!, 34 38, 52 52, 52 76, 34 97, 12 100, -4 92 | slant -12 22
2 wavy bar: 8 1, 4 42!, 28 36, 52 48, 56 74, 40 97, 0 92 ; 8 1, 22 -5, 40 4, 60 -4
4 s-like, belly curling in: 55 5, 34 0, 11 6, 7 26, 20 42, 42 50, 54 66, 50 88, 30 99, 8 94, 4 82, 18 78 \
    | looseness 0.7, thickest 0.12
4 tail into the next: 8 1, 4 42!, 26 36, 50 46, 58 70, 44 94, 18 99, 0 88 ; 8 0, 40 1, 86 -12 \
    | aspect 0.7 1.2, looseness 0.8
3 flowing: 60 0, 30 8, 14 4!, 6 38, 28 40, 48 54, 48 80, 24 99, -6 92 | looseness 0.8, slant -6 28
3 stem for a belly: 64 0, 20 3!, 20 40, 19 76, 8 98, -8 94, -12 82 \
    | aspect 0.7 1.3, slant -6 28, looseness 0.7, thickest 0.13
2 stem for a belly, bar apart: 16 10, 20 50, 18 80, 6 98, -8 94, -12 84 ; 14 6, 38 2, 66 -4 \
    | aspect 0.7 1.3, slant -6 28, looseness 0.7, thickest 0.13
2 straight belly: 62 0, 16 3!, 10 32!, 24 32, 32 54, 24 88, 6 99, -12 90 \
    | aspect 0.7 1.3, slant -6 26, looseness 0.7, thickest 0.12
    """,
    thickest=0.19,
    looseness=0.9,
)

_SIXES = family(
    """
20 normal: 48 2, 26 13, 8 40, 0 70, 10 94, 30 100, 50 90, 53 70, 38 55, 16 60, 2 76
8 curled top: 54 14, 46 2, 28 3, 10 26, 1 62, 8 92, 30 100, 50 90, 53 70, 38 56, 16 60, 2 75 | turn -12 12
5 hooked top: 50 24, 50 8, 36 0, 16 10, 3 44, 3 80, 20 99, 44 95, 54 74, 40 57, 18 60, 3 75 \
    | looseness 0.6, turn -8 12
8 b-like: 6 0, 3 40, 2 78, 14 97, 34 99, 50 86, 50 66, 32 55, 12 62, 3 76 | slant -10 35
4 b-like, retraced: 6 0, 3 50, 3 96!, 3 72, 18 56, 42 58, 52 78, 40 97, 4 97 | slant -10 30, looseness 0.7
8 straight slanted stem: 46 0, 24 32, 4 64, 0 82, 12 98, 34 99, 50 86, 48 66, 30 58, 8 66
6 looped: 48 2, 24 18, 6 46, 2 78, 16 98, 40 96, 52 78, 42 60, 22 60, 4 72, -8 82 | looseness 0.8
5 snail: 46 2, 18 20, 2 54, 8 90, 34 99, 54 82, 46 60, 26 58, 14 74, 24 84 | looseness 0.7, thickest 0.14
7 big belly: 46 2, 20 14, 3 46, 2 78, 20 99, 46 96, 60 74, 54 48, 34 38, 14 46, 2 64 | looseness 0.65
6 small belly: 46 0, 26 18, 10 44, 1 76, 8 95, 24 100, 38 92, 40 78, 28 69, 12 74, 2 84 | thickest 0.13
4 flat top: 52 3, 28 3, 10 16, 4 50, 4 82, 20 99, 42 95, 50 76, 38 58, 18 59, 4 72
2 boxy: 48 1, 8 4!, 2 97!, 48 97!, 48 55!, 4 56 | looseness 0.7, slant -12 24
4 boxy belly: 46 0, 20 18, 4 58, 2 96!, 48 97!, 50 60!, 4 60 | looseness 0.7
3 belly beside the stem: 40 0, 14 30, 0 68, 8 95, 34 99, 56 84, 50 62, 34 58, 20 68, 14 86 \
    | looseness 0.7, thickest 0.14
3 lazy: 60 10, 36 16, 12 40, 0 70, 12 96, 40 99, 62 84, 54 66, 30 62, 2 76 | turn -12 6
3 belly open: 46 2, 24 14, 6 42, 0 72, 10 96, 32 100, 50 88, 50 70, 36 60, 20 66 | looseness 0.7, thickest 0.13
4 stroke out of the belly: 48 2, 26 13, 6 42, 0 74, 12 97, 34 99, 50 86, 50 68, 34 58, 14 66, 20 78, 50 74, 80 62 \
    | looseness 0.7, aspect 0.7 1.2, thickest 0.12
    """,
    thickest=0.15,
    looseness=0.9,
)

_SEVENS = family(
    """
18 plain: 0 2, 56 0!, 20 100 | turn -3 12, aspect 0.8 1.5
6 steep stem: 0 2, 52 0!, 42 100 | turn -2 10, aspect 0.92 1.5, slant -4 30
3 angular: 0 1, 50 1!, 50 100 | turn -2 8, aspect 0.85 1.5, slant -3 25
13 crossed: 0 2, 56 0!, 22 100 ; 14 52, 58 50 | turn -6 12, aspect 0.8 1.5, thickest 0.16
4 crossed, steep stem: 0 2, 48 0!, 38 100 ; 16 50, 66 50 | turn -6 10, aspect 0.92 1.5, thickest 0.16
3 crossed with a long bar: 2 2, 56 0!, 24 100 ; -2 54, 74 48 | turn -6 12, aspect 0.8 1.3, thickest 0.16
3 crossed aslant: 0 3, 56 0!, 24 100 ; 16 60, 54 42 | turn -6 10, aspect 0.8 1.4, thickest 0.16
6 serif: 0 18, 2 1!, 56 0!, 20 100 | turn -3 12, aspect 0.8 1.4, thickest 0.16
6 crossed with a serif: 0 19, 3 1!, 56 0!, 22 100 ; 15 53, 58 50 | turn -6 12, aspect 0.8 1.4, thickest 0.16
9 curved stem: 0 4, 56 0!, 34 34, 23 68, 21 100 | looseness 0.7, turn -3 12, aspect 0.8 1.4, thickest 0.18
4 curved stem, crossed: 0 4, 56 0!, 36 34, 25 68, 22 100 ; 10 50, 54 47 \
    | looseness 0.7, turn -6 12, aspect 0.8 1.4, thickest 0.16
5 rounded: 0 3, 26 1, 46 2, 55 10, 47 34, 20 100 | turn -3 12, aspect 0.92 1.4
6 wavy top: 0 13, 8 1, 28 9, 56 0!, 30 50, 16 100 | turn -3 12, aspect 0.92 1.4, thickest 0.13
4 wavy top, crossed: 0 14, 8 1, 28 9, 56 0!, 32 50, 20 100 ; 14 54, 56 50 \
    | turn -6 12, aspect 0.8 1.4, thickest 0.13
5 short downstroke on the left: 1 36, 2 2!, 54 1!, 46 40, 26 100 \
    | turn -3 10, aspect 0.92 1.4, looseness 0.7, thickest 0.13
2 short downstroke, steep stem: 1 34, 2 2!, 50 1!, 49 40, 40 100 \
    | turn -4 8, aspect 0.92 1.4, looseness 0.7, thickest 0.13
2 bar bending down: 0 6, 24 -1, 54 3!, 22 100 | turn -2 12, aspect 0.92 1.5, looseness 0.6, thickest 0.14
4 short bar, crossed: 4 8, 36 0!, 24 100 ; -2 52, 54 47 | turn -4 8, looseness 0.6, aspect 0.8 1.4, thickest 0.13
4 hooked and crossed: 0 22, 4 4, 22 8, 50 0!, 34 42, 24 72, 22 100 ; 4 54, 56 48 \
    | turn -6 10, aspect 0.8 1.4, looseness 0.7, thickest 0.13
4 round and crossed: 2 16, 10 2, 32 0, 52 8, 42 40, 24 72, 16 100 ; 4 56, 56 50 \
    | turn -6 10, aspect 0.8 1.4, looseness 0.7, thickest 0.13
2 round and crossed, flicked foot: 2 16, 10 2, 32 0, 51 8, 40 40, 26 70, 21 96, 36 94 ; 4 54, 56 48 \
    | turn -6 10, aspect 0.8 1.4, looseness 0.7, thickest 0.12
3 wavy stem, crossed: 0 10, 20 2, 54 0!, 34 36, 30 60, 20 84, 2 98 ; 8 54, 60 44 \
    | turn -4 10, aspect 0.8 1.3, looseness 0.7, thickest 0.13
2 crossed twice over: 0 4, 54 0!, 24 100 ; 6 50, 60 47 ; -2 8, -1 22 | turn -6 10, aspect 0.8 1.4, thickest 0.13
    """,
    slant=(-6.0, 28.0),
    looseness=0.75,
    thickest=0.2,
)

_EIGHTS = family(
    """
26 s-crossing: 46 14, 30 0, 9 8, 8 30, 30 49, 52 68, 50 92, 28 100, 4 90, 5 68, 26 50, 46 32, 45 10
6 from the middle: 28 48, 8 32, 12 6, 34 0, 50 16, 44 36, 26 50, 4 70, 10 94, 34 100, 54 86, 48 64, 28 48
11 two circles: @28 24 22 24 -90 -455 ; @28 74 28 26 -90 -455
3 two circles, apart: @28 22 22 22 -60 -425 ; @28 76 26 24 -80 -445 | looseness 0.7
6 open top: 40 5, 20 1, 4 16, 18 40, 46 62, 50 86, 28 100, 4 88, 8 64, 34 40, 54 10 | looseness 0.7
6 narrow: 30 14, 18 0, 5 10, 7 32, 20 50, 33 68, 31 92, 17 100, 2 90, 4 68, 18 50, 30 32, 29 10 \
    | aspect 0.85 1.5, thickest 0.1
8 big below: 42 12, 29 0, 14 6, 13 25, 30 41, 56 62, 54 90, 28 100, 2 90, 4 60, 26 42, 42 26, 42 10 \
    | thickest 0.13
5 big above: 52 18, 32 0, 6 8, 5 36, 28 58, 46 76, 42 95, 26 100, 10 94, 10 76, 28 58, 50 40, 51 12 \
    | thickest 0.13
4 hourglass: 2 4!, 48 3!, 4 97!, 54 97!, 2 4 | looseness 0.6, aspect 0.8 1.4, thickest 0.1
4 soft hourglass: 48 4, 24 1, 6 6, 10 28, 44 74, 50 95, 26 100, 2 94, 8 74, 40 26, 46 4 \
    | aspect 0.8 1.4, looseness 0.8, thickest 0.11
2 boxes: 4 2!, 4 98!, 48 98!, 48 2!, 4 2 ; 5 49, 48 49 | looseness 0.7
4 tail at the top: 62 -4, 40 2, 14 5, 6 24, 28 46, 52 68, 48 94, 26 100, 4 90, 6 68, 28 48, 46 28, 46 6 \
    | thickest 0.13
3 lying loops: 40 20, 26 2, 8 12, 10 36, 30 50, 46 66, 38 94, 16 98, 2 82, 14 62, 34 46, 50 22, 38 6 \
    | turn 0 20, thickest 0.12
4 loop on an o: 30 44, 10 30, 18 4, 38 2, 46 22, 34 42 ; @28 72 28 28 -70 -435 \
    | looseness 0.8, thickest 0.13
3 clockwise: 8 14, 26 0, 48 8, 48 30, 28 49, 6 68, 6 92, 28 100, 52 90, 52 68, 30 50, 10 32, 8 10
3 crossing high, both ends out: 60 -6, 34 24, 8 60, 4 86, 24 100, 46 88, 42 62, 14 34, 6 12, 24 0, 42 10, 58 26 \
    | looseness 0.7, thickest 0.12
3 stroke out to the right: 46 14, 30 0, 9 8, 8 30, 30 49, 52 68, 50 92, 28 100, 4 90, 5 68, 26 50, 48 34, 78 26 \
    | looseness 0.7, aspect 0.7 1.3, thickest 0.12
    """,
    aspect=(0.7, 1.6),
    thickest=0.14,
    looseness=0.8,
)

_NINES = family(
    """
17 straight tail: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 46 100
8 slanted tail: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 28 100 | slant -15 22
6 stem apart: @24 25 24 25 -50 -420 ; 48 2, 48 50, 47 100
3 stem above the head: @24 27 23 23 -50 -420 ; 50 -6, 49 50, 46 100
10 round tail: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 50 44, 46 76, 32 97, 8 97
9 g-like: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 50 50, 47 84, 30 100, 8 97, 0 84
5 g-like, square: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 48 97!, 2 98 | looseness 0.8
5 bent tail: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 48 58, 42 78, 18 99
5 sharply bent tail: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 46 64!, 26 100 | looseness 0.8
2 tail bent outwards: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 44 66, 48 100 | looseness 0.8
2 q-like: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 45 96, 50 99, 60 88 | looseness 0.7
5 open top: 40 4, 22 1, 4 12, 3 36, 20 48, 40 38, 50 8!, 46 100 | looseness 0.6
6 small head: 44 10, 31 0, 16 5, 12 20, 20 33, 34 32, 44 8!, 42 56, 40 100 | thickest 0.13
5 big head: 54 14, 34 0, 10 6, 0 30, 10 56, 32 60, 50 42, 56 8!, 52 100
5 cursive: 48 22, 34 2, 12 4, 1 24, 8 44, 28 46, 44 28, 50 8, 51 40, 42 100 | looseness 0.8
6 clockwise: 47 34, 28 49, 6 42, 2 18, 20 1, 42 6, 50 28, 48 62, 40 100 | looseness 0.8
5 clockwise, round tail: 47 34, 28 49, 6 42, 2 18, 20 1, 42 6, 51 32, 47 72, 30 97, 4 98 | looseness 0.8
4 boxy: 46 2!, 4 3!, 4 46!, 46 46!, 46 2!, 46 100 | looseness 0.7
3 boxy, hooked: 46 2!, 4 3!, 4 44!, 46 44!, 46 2!, 47 97!, 4 98 | looseness 0.6
2 looped tail: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 50 58, 44 90, 24 100, 16 88, 34 76, \
    58 66 | looseness 0.7, thickest 0.13
6 ball on a stem: @25 25 24 25 80 -290, 24 72, 22 100 | slant -6 28, looseness 0.7, aspect 0.8 1.4, thickest 0.12
4 ball on a bent stem: @25 24 24 24 70 -290, 22 66, 28 90, 46 98 | looseness 0.7, aspect 0.8 1.4, thickest 0.12
5 narrow head, long tail: 40 12, 28 0, 14 8, 10 26, 22 36, 36 24, 42 6, 36 56, 22 100 \
    | slant -6 26, looseness 0.7, thickest 0.1
5 crossing at the neck: 12 44, 34 42, 48 22, 34 1, 12 6, 6 26, 20 46, 26 62, 24 84, 8 98 \
    | looseness 0.7, aspect 0.8 1.4, thickest 0.12
4 crossing at the neck, tail to the right: 6 42, 30 42, 46 22, 32 1, 10 6, 6 26, 18 44, 26 64, 30 88, 50 98 \
    | looseness 0.7, aspect 0.8 1.3, thickest 0.12
4 s-tailed: 46 12, 30 0, 10 5, 1 24, 8 44, 26 48, 42 34, 48 8!, 44 50, 34 74, 14 80, 6 92, 24 100 \
    | looseness 0.7, thickest 0.12
3 started outside: 70 2, 44 2, 20 0, 4 20, 10 42, 30 44, 46 24, 46 6, 46 50, 40 100 \
    | looseness 0.7, aspect 0.8 1.3, thickest 0.12
    """,
    thickest=0.15,
    looseness=0.9,
)

SHAPES: dict[int, tuple[Shape, ...]] = {
    0: _ZEROS,
    1: _ONES,
    2: _TWOS,
    3: _THREES,
    4: _FOURS,
    5: _FIVES,
    6: _SIXES,
    7: _SEVENS,
    8: _EIGHTS,
    9: _NINES,
}

# What quick hands make of digits: read in the company of others, but by itself it may be a letter or a sign.
IN_COMPANY: dict[int, tuple[Shape, ...]] = {
    1: family(
        """
5 far upstroke: 0 70, 64 0!, 44 100 | slant 0 28
4 upstroke as long as the stem: 0 100, 44 0!, 30 100 | slant 0 28, aspect 0.7 1.2
4 l-like: 0 66, 26 30, 24 2, 10 0, 8 40, 14 92, 32 100, 44 84 | slant 0 30
        """,
        thickest=0.13,
        looseness=0.8,
    ),
    2: family(
        """
6 ringed head: 34 36, 14 38, 2 20, 16 2, 42 0, 58 20, 50 50, 24 82, 0 96, -8 86, 8 78, 34 92, 70 96
5 large open head: -2 44, 0 16, 24 0, 54 6, 58 34, 36 68, 4 96, -6 86, 12 78, 38 94, 78 92
4 ringed head, straight base: 30 34, 10 36, 2 18, 20 1, 46 3, 54 26, 36 62, 2 98!, 62 96
        """,
        thickest=0.12,
        looseness=0.7,
        aspect=(0.7, 1.4),
        slant=(-8.0, 32.0),
    ),
    4: family(
        """
6 foot and slash: 18 0, 0 70!, 42 60 ; 64 16, 50 104 | slant -4 26
5 y-like: 2 4, 4 36, 22 48, 46 8!, 24 100 | slant -6 24
5 n-like: 14 0, 0 60!, 22 38, 42 40, 42 56, 38 100 | slant -2 30
4 hook and stem: 24 0, 2 50, 12 62, 46 34!, 36 102 | slant -4 28
4 long foot: 34 0, 0 66!, 78 54 ; 56 30, 44 106 | slant -2 26, aspect 0.7 1.2
        """,
        thickest=0.13,
        looseness=0.8,
    ),
    5: family(
        """
6 bar forgotten: 12 0, 5 44!, 28 38, 46 54, 44 80, 22 98, -4 96
5 bar forgotten, flowing: 26 0, 12 40!, 30 40, 42 60, 30 88, -4 98 | slant 0 30
4 small flag: 10 6, 4 46!, 26 38, 44 54, 40 84, 14 99, -6 94 ; 12 4, 34 0
6 no belly: 56 0, 16 3!, 14 40, 20 70, 8 98, -14 90 | slant 0 28
5 no belly, bar apart: 14 6, 12 44, 20 72, 8 98, -12 90 ; 14 2, 64 -4 | slant 0 28
5 root-like: 66 -2, 24 2!, 10 98!, -10 82 | slant 0 26, aspect 0.7 1.3
4 straight belly: 52 0, 16 2!, 8 42!, 34 52, 20 102, -4 96
        """,
        thickest=0.15,
    ),
    6: family(
        """
5 loop left open: 36 0, 10 34, 0 70, 12 98, 36 94, 42 72, 26 62
4 small loop below: 30 0, 8 44, 2 86, 18 100, 34 90, 28 76, 8 84
        """,
        thickest=0.12,
        looseness=0.8,
    ),
    7: family(
        """
8 t-like: 0 12, 20 0!, 10 100 ; -16 54, 44 46
6 t-like, bent: 2 10, 18 0!, 16 50, 8 82, 14 100, 28 94 ; -14 54, 46 44
6 short hook: -4 22, 4 4, 24 0!, 8 100 ; -18 58, 40 46
4 f-like: 44 6, 28 0, 20 12, 12 60, 0 104 ; -12 52, 46 46
5 plus with a hook: -8 12, 10 2!, 8 100 ; -24 52, 42 48
4 looped: -6 26, 4 6, 30 0!, 16 60, 4 100 ; -14 66, 10 46, 50 44
        """,
        slant=(-6.0, 30.0),
        thickest=0.13,
    ),
    8: family(
        """
5 open below: 44 8, 26 0, 12 16, 28 44, 44 70, 28 98, 8 84, 22 56, 54 34
4 loop on a hook: 30 46, 10 30, 22 2, 42 10, 32 44, 10 72, 12 94, 34 98, 46 82
4 knot: 42 16, 22 0, 8 16, 20 44, 44 60, 40 94, 14 98, 6 76, 36 44, 56 22
4 B-like: 8 4!, 6 96!, 40 94, 46 72, 10 48!, 40 40, 40 10, 8 4
        """,
        thickest=0.12,
    ),
    9: family(
        """
8 p-like: 10 100, 24 4!, 42 0, 54 14, 44 34, 20 42 | slant -6 28
6 p-like in one stroke: 30 38, 46 30, 52 10, 34 0, 20 16, 14 60, 6 100 | slant -4 28
5 open loop to the right: 18 40, 42 34, 52 14, 36 0, 22 14, 20 60, 14 100 | slant -4 28
5 e-like: 14 42, 40 32, 42 8, 22 0, 8 22, 8 62, 24 96, 50 92 | slant -4 20
        """,
        thickest=0.12,
        looseness=0.8,
    ),
}

# Marks that nobody reads as a digit: letters without a twin among the digits, signs, little pictures.
MARKS: tuple[Shape, ...] = family(
    """
2 A: 0 100, 34 0!, 68 100 ; 12 62, 58 62 | turn -12 12
1 A in one stroke: 0 100, 32 0!, 60 100!, 54 64!, 8 66
3 B: 4 0!, 4 100 ; 4 1, 40 2, 52 22, 40 46, 6 48 ; 6 48, 46 50, 60 74, 44 98, 4 100 \
    | looseness 0.6, turn -6 6, slant -8 10
2 B in one stroke: 4 100, 4 0!, 40 2, 52 22, 38 46, 8 48!, 46 50, 60 74, 44 98, 4 99 \
    | looseness 0.6, turn -6 6, slant -8 10
2 C: @40 50 40 50 -48 -312 | looseness 0.6, aspect 0.8 1.4
3 D: 4 0!, 4 100 ; 4 1, 40 4, 66 30, 66 70, 40 96, 4 100 \
    | looseness 0.6, turn -6 6, slant -8 10, aspect 0.9 1.5
2 D in one stroke: 4 100!, 4 1!, 40 4, 66 30, 66 70, 40 97, 4 100 \
    | looseness 0.6, turn -6 6, slant -8 10, aspect 0.9 1.5
2 E: 4 0, 2 100 ; 4 0, 56 1 ; 3 49, 46 49 ; 2 100, 58 99
1 E, round: 54 8, 20 0, 4 22, 26 44!, 2 70, 16 98, 56 92 | looseness 0.7, turn -8 8
2 F: 4 0, 3 100 ; 4 1, 56 0 ; 4 46, 44 45 | looseness 0.8, turn -8 8
2 G: 62 18, 44 2, 16 8, 2 40, 6 80, 30 100, 60 90, 62 56!, 36 56 | looseness 0.6, turn -6 6
2 H: 0 0, 0 100 ; 56 0, 57 100 ; 0 50, 56 48
1 J: 44 0, 44 70, 32 98, 8 96, 0 76 ; 20 0, 68 0 | looseness 0.7, turn -8 8
2 K: 2 0, 2 100 ; 56 0, 4 52!, 60 100
1 L: 2 0, 2 99!, 60 99 | aspect 0.9 1.6, turn -8 8, slant -12 15
2 M: 0 100, 6 0!, 40 62!, 74 0!, 80 100
2 N: 0 100, 2 0!, 56 100!, 58 0 | looseness 0.8
1 P: 4 0, 4 100 ; 4 2, 40 2, 54 24, 38 48, 4 50 | looseness 0.8, turn -8 8
2 Q: @40 50 40 50 -90 -450 ; 48 70, 84 108 | looseness 0.6, turn -6 6
2 R: 4 0, 4 100 ; 2 2, 38 0, 52 22, 38 46, 6 50!, 58 100
2 T: 0 1, 70 0 ; 36 0, 35 100 | looseness 0.8, turn -8 8, slant -12 18
1 U: 0 0, 1 66, 14 96, 44 96, 58 66, 60 0 | looseness 0.7, turn -8 8
2 V: 0 0, 34 100!, 70 0 | turn -8 8, slant -12 15
2 W: 0 0, 20 100!, 42 30!, 64 100!, 86 0
3 X: 0 0, 62 100 ; 62 0, 0 100
2 Y: 0 0, 36 46!, 72 0 ; 36 46, 36 100 | turn -8 8, slant -8 8, looseness 0.7
2 a: 50 10, 24 0, 2 30, 4 80, 26 100, 48 76, 50 6!, 50 84, 62 100 | looseness 0.7, turn -6 6
1 a, printed: 6 20, 26 2, 48 14, 50 100 ; 50 44, 16 50, 4 76, 20 100, 50 80 | looseness 0.7, turn -6 6
1 d: 46 56, 24 48, 2 66, 8 96, 32 98, 46 76 ; 48 0, 48 100 | looseness 0.8, turn -6 6, slant -10 12
1 e: 4 56, 56 50!, 50 16, 26 2, 4 24, 4 70, 28 99, 60 84 | looseness 0.6, turn -8 8
1 f: 58 10, 42 0, 28 14, 26 60, 24 100 ; 4 44, 52 42 | looseness 0.7
1 h: 2 0, 2 100 ; 3 62, 22 46, 42 56, 46 100 | looseness 0.8, turn -8 8
1 k: 2 0, 2 100 ; 44 40, 4 70!, 48 100
2 m: 0 10, 4 100 ; 4 30, 22 6, 40 26, 40 100 ; 40 30, 60 6, 80 26, 80 100
2 n: 0 4, 3 100 ; 3 36, 26 4, 58 14, 62 56, 62 100 | turn -8 8
2 r: 4 2, 6 100 ; 6 46, 22 12, 46 2, 62 12 | looseness 0.8, turn -8 8
1 t: 26 0, 26 76, 34 98, 54 92 ; 2 30, 52 30 | looseness 0.6, turn -6 6
1 u: 0 0, 2 70, 20 98, 46 90, 58 0!, 58 84, 70 100 | looseness 0.7, turn -6 6
1 v: 0 0, 14 40, 30 98!, 48 44, 74 0 | turn -8 8
1 w: 0 4, 8 70, 24 98, 42 60, 46 10, 50 66, 66 98, 84 60, 88 0 | looseness 0.8
1 x: 2 4, 24 20, 44 80, 66 96 ; 62 0, 0 100
1 i: 0 44, 1 100 ; 0 2, 2 6 | looseness 0.5, turn -6 6, slant -15 20
1 j: 30 34, 30 80, 18 99, 0 92 ; 30 2, 32 6 | looseness 0.5
1 &: 66 98, 14 26, 20 2, 40 4, 38 26, 4 66, 8 96, 36 98, 66 58 | looseness 0.7
2 #: 24 0, 14 100 ; 62 0, 52 100 ; 0 32, 80 30 ; -2 68, 76 66
2 ?: 0 22, 12 4, 36 0, 52 18, 42 40, 24 54, 23 74 ; 23 96, 24 100 | looseness 0.7, turn -8 8
1 !: 0 0, 1 58 ; 1 94, 2 100 | looseness 0.5
3 +: 40 0, 40 80 ; 0 40, 80 40 | turn -10 10
2 =: 0 0, 70 0 ; 0 36, 70 35 | turn -10 10, slant -15 15, aspect 0.8 1.5
2 @: 64 34, 44 24, 28 42, 34 64, 54 62, 66 32!, 66 62, 84 66, 96 40, 80 6, 44 0, 8 22, 2 62, 26 94, 74 96 \
    | looseness 0.6
2 %: 64 0, 4 100 ; @12 18 14 17 -90 -450 ; @58 82 14 17 -90 -450
1 €: 64 12, 44 0, 20 14, 12 50, 20 86, 44 100, 66 88 ; -2 40, 48 40 ; -4 60, 46 60 | looseness 0.7
1.5 $: 58 20, 32 10, 6 22, 14 42, 44 54, 58 72, 34 90, 2 80 ; 32 -6, 30 108 | looseness 0.7
2 *: 40 0, 40 80 ; 4 20, 76 60 ; 76 20, 4 60
1 ^: 0 44, 30 0!, 62 46 | turn -10 10, slant -8 8, looseness 0.7, aspect 0.9 1.6
1 ~: 0 20, 18 2, 46 22, 70 28, 88 8 | looseness 0.7
1 [ ]: 18 0, 0 0!, 0 100!, 18 100 ; 46 0, 64 0!, 64 100!, 46 100
1 [: 34 0, 2 0!, 2 100!, 34 100 | looseness 0.7, turn -8 8
1 ( ): 18 0, 2 26, 2 74, 18 100 ; 86 0, 102 26, 102 74, 86 100 | looseness 0.6, aspect 1 1.5
1 {: 40 0, 22 8, 24 38, 4 50!, 24 62, 22 92, 40 100 | looseness 0.6
1 <: 60 0, 2 44!, 60 88 | looseness 0.7, turn -10 10
1 >: 0 0, 58 44!, 0 88 | looseness 0.7, turn -10 10
3 tick: 0 60, 22 98!, 88 0 | looseness 0.8, turn -10 10
2 arrow right: 0 34, 100 34 ; 70 6, 100 34!, 70 62
1 arrow left: 0 34, 100 34 ; 28 8, 0 34!, 28 60
1 arrow up: 34 0, 34 100 ; 6 30, 34 0!, 62 30
1 arrow down: 34 0, 34 100 ; 6 72, 34 100!, 62 70
2 heart: 48 98!, 4 50, 2 16, 24 0, 48 26!, 72 0, 96 16, 92 50, 48 98
2 star: 20 100, 50 0!, 80 100!, 0 36!, 100 36!, 20 100
2 triangle: 50 0!, 0 90!, 100 90!, 50 0
2 diamond: 50 0!, 96 50!, 50 100!, 4 50!, 50 0 | looseness 0.6
2 square: 0 0!, 0 90!, 100 90!, 100 0!, 0 0 | looseness 0.6, aspect 1 1.6
2 wide rectangle: 0 0!, 0 60!, 120 60!, 120 0!, 0 0
2 ticked box: 0 0!, 0 90!, 90 90!, 90 0!, 0 0 ; 16 46, 40 78!, 96 -10
3 crossed box: 0 0!, 0 90!, 90 90!, 90 0!, 0 0 ; 10 10, 80 80 ; 80 10, 10 80
2 smiley: @50 50 50 50 -90 -450 ; 34 34, 35 42 ; 66 34, 66 42 ; 24 62, 38 76, 62 76, 76 62
1 face with a nose: @50 50 46 50 -90 -450 ; 32 32, 34 36 ; 66 32, 67 36 ; 50 42, 46 58, 54 60 ; 34 76, 66 76
1 house: 0 40!, 40 0!, 80 40!, 80 100!, 0 100!, 0 40 ; 30 100, 30 66!, 50 66!, 50 100
2 house without a door: 0 40!, 40 0!, 80 40!, 80 100!, 0 100!, 0 40 | looseness 0.6
1 crosshair: @40 40 34 34 -90 -450 ; 40 -6, 40 86 ; -6 40, 86 40
1 infinity: 50 24, 76 2, 100 14, 98 38, 74 46, 50 24, 26 2, 2 12, 2 38, 26 46, 50 24 \
    | looseness 0.7, turn -8 8, aspect 0.9 1.5
1 flash: 60 0, 10 54!, 50 48!, 0 100! ; 30 96, 0 100!, 8 70 | looseness 0.7
1 lightning: 60 0, 4 56!, 56 50!, 20 100 | looseness 0.7, turn -10 10
1 crossed lines: 0 10, 100 30 ; 10 50, 100 0 ; 30 0, 60 60
1 grid: 0 33, 100 33 ; 0 66, 100 66 ; 33 0, 33 100 ; 66 0, 66 100
1 flower: @50 50 14 14 -90 -450 ; @50 18 16 18 -90 -450 ; @82 50 18 16 -90 -450 ; \
    @50 82 16 18 -90 -450 ; @18 50 18 16 -90 -450
1 equals crossed: 0 10, 70 10 ; 0 46, 70 45 ; 56 -14, 16 70
1 division: 0 40, 80 40 ; 39 8, 41 12 ; 39 70, 41 74
0.6 Phi: @40 50 40 34 -90 -450 ; 40 -6, 40 106 | looseness 0.6, turn -6 6, slant -6 6
1 Theta: @40 50 40 50 -90 -450 ; 0 50, 80 50 | looseness 0.6, turn -6 6
1 pi: 0 8, 20 2, 78 0 ; 24 4, 18 100 ; 56 2, 58 80, 74 98 | turn -8 8
    """,
    thickest=0.16,
)


def shape_named(digit: int, name: str) -> Shape:
    """The shape of `digit` that is called so; KeyError, with the names there are, for others."""
    for shape in SHAPES[digit]:
        if shape.name == name:
            return shape
    raise KeyError(f"no shape {name!r} of {digit}; there are: {', '.join(s.name for s in SHAPES[digit])}")


def pick_shape(shapes: tuple[Shape, ...], rng: np.random.Generator) -> Shape:
    """Pick a shape by chance, common ones more often."""
    return shapes[int(np.searchsorted(_chances(shapes), rng.random(), side="right"))]


@lru_cache(maxsize=64)
def _chances(shapes: tuple[Shape, ...]) -> Floats:
    total = np.cumsum([shape.weight for shape in shapes])
    return np.asarray(total[:-1] / total[-1])
