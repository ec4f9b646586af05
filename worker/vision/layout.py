"""From boxes to lines of writing, and where a line has its spaces. Pure.

Lines are chains: each sign is linked to the nearest one right of it that shares much of its height, so
lines may lie askew and need not be equally long.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from worker.vision.page import Box

TALL = 0.5  # of the usual height: lower signs (dots, dashes) join a line
ROW = 3  # but so many of them side by side are a line of their own,
CLEAR = 0.25  # so many usual heights above or below all others
SHARED = 0.35  # of the lower height: the overlap of two neighbours in a line
REACH = 4.0  # heights: how far right the next sign of a line may stand
# Beyond that, chains continue each other where they are level, within so many heights; the farther, the stricter.
LEVEL_AT_REACH, LEVEL_FAR, FAR = 0.65, 0.4, 8.0
ALONE = 1.5  # heights: within so many of it no other line may lie, where less than level is enough
SPACE = 0.9  # heights: a gap as wide as this is a space, where it also stands out among the gaps
STANDS_OUT = 1.8  # times the usual gap

Floats = npt.NDArray[np.float64]


def usual_height(heights: Sequence[float]) -> float:
    """The height that most of the larger signs have, in the unit of `heights`; 0 without any."""
    if not heights:
        return 0.0
    largest_first = sorted((float(height) for height in heights), reverse=True)
    least = 0.4 * largest_first[min(1, len(largest_first) - 1)]
    return _median([height for height in largest_first if height >= least])


def _median(values: Sequence[float]) -> float:
    """The median of a few sorted numbers; for so few a list is ten times quicker than an array."""
    last = len(values) - 1
    return (values[last // 2] + values[last - last // 2]) / 2


def lines_of(boxes: Sequence[Box]) -> list[list[int]]:
    """The places of `boxes` by lines: lines from the top, each from the left."""
    if len(boxes) < 2:  # most pictures hold a single digit
        return [[0]] if boxes else []
    x = np.array([box.x for box in boxes], np.float64)
    y = np.array([box.y for box in boxes], np.float64)
    right = np.array([box.right for box in boxes], np.float64)
    bottom = np.array([box.bottom for box in boxes], np.float64)
    usual = usual_height([box.height for box in boxes])
    tall = np.flatnonzero(bottom - y >= TALL * usual)
    chains = _chains(tall, x, y, right, bottom, usual)
    chains = _joined(chains, x, y, right, bottom, usual)
    low = np.flatnonzero(bottom - y < TALL * usual)
    rows = _rows_apart(low, chains, x, y, right, bottom, usual)
    chains += rows
    for index in sorted(set(low.tolist()).difference(*rows)):
        _adopt(index, chains, x, y, right, bottom)
    slope = _slope(chains, x, y, right, bottom)
    middle = float((x.min() + right.max()) / 2)

    def height_at_middle(chain: list[int]) -> float:
        centres = (y[chain] + bottom[chain]) / 2 - slope * ((x[chain] + right[chain]) / 2 - middle)
        return float(np.median(centres))

    for chain in chains:
        chain.sort(key=lambda i: x[i] + right[i])
    return sorted(chains, key=height_at_middle)


def _chains(
    tall: npt.NDArray[np.int64], x: Floats, y: Floats, right: Floats, bottom: Floats, usual: float
) -> list[list[int]]:
    """Tall signs linked to their nearest neighbour on the right, and back."""
    after: dict[int, int] = {}
    taken: set[int] = set()
    order = sorted(tall.tolist(), key=lambda i: x[i] + right[i])
    for place, i in enumerate(order):
        best, best_gap = -1, REACH * usual
        for j in order[place + 1 :]:
            gap = x[j] - right[i]
            if gap >= best_gap:
                if x[j] - right[i] > REACH * usual + usual * 4:
                    break
                continue
            shared = min(bottom[i], bottom[j]) - max(y[i], y[j])
            if j not in taken and shared >= SHARED * min(bottom[i] - y[i], bottom[j] - y[j]):
                best, best_gap = j, gap
        if best >= 0:
            after[i] = best
            taken.add(best)
    chains = []
    for i in order:
        if i not in taken:
            chain = [i]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            chains.append(chain)
    return chains


def _slope(chains: list[list[int]], x: Floats, y: Floats, right: Floats, bottom: Floats) -> float:
    """How far lines sink for each pixel to the right: the median over neighbours."""
    rises, runs = [], []
    for chain in chains:
        if len(chain) >= 3:
            first, last = chain[0], chain[-1]
            runs.append((x[last] + right[last] - x[first] - right[first]) / 2)
            rises.append((y[last] + bottom[last] - y[first] - bottom[first]) / 2)
    total = float(np.sum(runs)) if runs else 0.0
    return float(np.clip(np.sum(rises) / total, -0.5, 0.5)) if total > 0 else 0.0


def _joined(
    chains: list[list[int]], x: Floats, y: Floats, right: Floats, bottom: Floats, usual: float
) -> list[list[int]]:
    """Chains that continue each other across a wide gap, along the common slope."""
    slope = _slope(chains, x, y, right, bottom)
    levels: list[float] = ((y + bottom) / 2 - slope * (x + right) / 2).tolist()
    in_order = sorted(chains, key=lambda chain: x[chain[0]])
    own_levels = [_median(sorted(levels[i] for i in chain)) for chain in in_order]
    lines: list[list[int]] = []
    parts: list[list[int]] = []  # of each line, which chains
    middles: list[float] = []  # of each line's levels
    ends: list[float] = []  # where each line ends on the right
    for number, (chain, own) in enumerate(zip(in_order, own_levels, strict=True)):
        start, end = float(x[chain[0]]), float(right[chain].max())
        before = [
            (abs(own - middle), place)
            for place, middle in enumerate(middles)
            if start - ends[place] >= -0.3 * usual
        ]
        off, nearest = min(before, default=(math.inf, -1))
        is_level = off < LEVEL_FAR * usual
        if not is_level and nearest >= 0 and off < _apart(start - ends[nearest], usual):
            others = np.delete(own_levels, [number, *parts[nearest]])
            # Where rows stand close, what lies between two of them may belong to either.
            is_level = not (np.abs(others - own) < ALONE * usual).any()
        if is_level:
            lines[nearest].extend(chain)
            parts[nearest].append(number)
            middles[nearest] = _median(sorted(levels[i] for i in lines[nearest]))
            ends[nearest] = max(ends[nearest], end)
        else:
            lines.append(list(chain))
            parts.append([number])
            middles.append(own)
            ends.append(end)
    return lines


def _apart(gap: float, usual: float) -> float:
    """How far one chain may lie above another that ends `gap` before it; signs are `usual` high."""
    if gap < REACH * usual:  # signs so near that are no chain do not stand side by side
        return 0.0
    along = min(1.0, (gap - REACH * usual) / max(1.0, (FAR - REACH) * usual))
    return (LEVEL_AT_REACH + (LEVEL_FAR - LEVEL_AT_REACH) * along) * usual


def _rows_apart(
    low: npt.NDArray[np.int64],
    chains: list[list[int]],
    x: Floats,
    y: Floats,
    right: Floats,
    bottom: Floats,
    usual: float,
) -> list[list[int]]:
    """Rows of low signs that lie clear above or below all lines: small print, small writing."""
    if len(low) < ROW or not chains:
        return []
    clear = [i for i in low.tolist() if _nearest_line(i, chains, x, y, right, bottom)[1] > CLEAR * usual]
    if len(clear) < ROW:
        return []
    height = usual_height((bottom[clear] - y[clear]).tolist())
    rows = _chains(np.array(clear), x, y, right, bottom, height)
    return [row for row in rows if len(row) >= ROW]


def _adopt(index: int, chains: list[list[int]], x: Floats, y: Floats, right: Floats, bottom: Floats) -> None:
    """Give a low sign to the line in whose height it lies, or nearest to."""
    if not chains:
        chains.append([index])
        return
    chains[_nearest_line(index, chains, x, y, right, bottom)[0]].append(index)


def _nearest_line(
    index: int, chains: list[list[int]], x: Floats, y: Floats, right: Floats, bottom: Floats
) -> tuple[int, float]:
    """The line in whose height a low sign lies, or nearest to, and how far above or below it the middle of it lies."""
    members = np.array([i for chain in chains for i in chain])
    starts = np.cumsum([0] + [len(chain) for chain in chains[:-1]])
    centre_x, centre_y = (x[index] + right[index]) / 2, (y[index] + bottom[index]) / 2
    # Of each line the sign that is nearest along it says how high the line runs there.
    along = np.abs((x[members] + right[members]) / 2 - centre_x)
    is_nearest = along == np.repeat(np.minimum.reduceat(along, starts), np.diff([*starts, len(members)]))
    nearest = members[[start + int(is_nearest[start:].argmax()) for start in starts]]
    outside = np.maximum(0.0, np.maximum(y[nearest] - centre_y, centre_y - bottom[nearest]))
    aside = np.maximum(0.0, np.maximum(x[nearest] - right[index], x[index] - right[nearest]))
    line = int((outside + 0.25 * aside).argmin())
    return line, float(outside[line])


def groups_of(boxes: Sequence[Box]) -> list[int]:
    """For each box of a line, from the left, the number of its group: a wide gap begins a new one."""
    if len(boxes) < 2:
        return [0] if boxes else []
    height = usual_height([box.height for box in boxes])
    gaps = [max(0, after.x - before.right) for before, after in itertools.pairwise(boxes)]
    usual = float(np.median(gaps)) if len(gaps) >= 2 else 0.0
    groups = [0]
    for gap in gaps:
        is_space = gap > SPACE * height and gap > STANDS_OUT * usual
        groups.append(groups[-1] + int(is_space))
    return groups
