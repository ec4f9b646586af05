"""Ruled lines, grids and frames: thin straight lines across a page, also askew, told from what is written.

A line is found by the columns that it covers: at each slope, pixels of short level runs are counted by
where they meet the border. A ruling covers most columns of the page; no stroke of a digit does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.ink import Mask

LEAST_SIDE_PX = 32
STRAIGHT_FROM_PX = 60
BRIDGE_PX = 5  # gaps in a line that noise makes
STEEPEST = 0.1  # about 6 degrees
THICKEST_PX = 15  # upwards and downwards from its middle: how far a line is followed across
COLUMNS = 110  # looked at, at most: a line across the page is seen in every one of them
COVERED = 0.6  # of the columns, for a line in a strip of writing: longer than any digit is wide
COVERED_ACROSS = 0.5  # of the columns, for a line from border to border of any page
STRIP = 1.8  # a page so many times as wide as high holds a line of writing
REACH = 0.02  # of the width: how near to a border a line must come to reach it
MAX_LINES = 64
FAINT_FROM_PX = 150  # a page, rather than what was cut from one
STRIPS, STRIPPED = 24, 0.8  # of a page, and in how many of them a ruling shows
SQUARE = 0.04  # how far the sides of a frame may lean
WITHOUT_GAPS = 0.85  # of its columns: where a drawn line shows
LEAST_TEETH = 3  # uprights in step
LEAST_STEP_PX = 8
IN_STEP_PX, IN_STEP = 1.5, 0.04  # and of the step: how far an upright may stand off its place
HELD = 0.6  # of the places from the first to the last: an upright that a digit touches is not seen
LONGER = 4.0  # times the usual size of a sign: no stroke of one is so long


@dataclass(frozen=True, slots=True)
class _Line:
    """y = `start` + `slope` * x, from column `left` to column `right`."""

    start: float
    slope: float
    left: int
    right: int


def may_be_ruled(mask: Mask) -> bool:
    """Whether a line from border to border may be in `mask` (0 or 1): quickly, for paper whose grain is in it, too.

    Cut across, a ruling fills a row of most strips of the page, however it slopes; grain and writing do not. Not where
    the page is no more than a line of writing, or a digit: on the printed pattern of a cheque its digits would lose
    their feet, and in a tight crop a faint 1 runs from border to border.
    """
    if min(mask.shape) < FAINT_FROM_PX or max(mask.shape) >= STRIP * min(mask.shape):
        return False
    height, width = mask.shape
    for is_level, across, along in ((True, height, width), (False, width, height)):
        lying = mask if is_level else mask.T
        if not _spans(lying, max(1, along // 100) + 1 + BRIDGE_PX // 2):
            continue
        strips = min(STRIPS, along // 8)
        part = mask[:, : along // strips * strips] if is_level else mask[: along // strips * strips]
        # Rounded to 0 or 1: whether a strip is filled by half there.
        size = (strips, across) if is_level else (across, strips)
        filled = cv2.resize(part, size, interpolation=cv2.INTER_AREA).any(axis=0 if is_level else 1)
        if np.count_nonzero(filled) >= STRIPPED * strips:
            return True
    return False


def ruled_lines(solid: Mask) -> Mask | None:
    """The pixels of ruled lines and frames in `solid` (0 or 1), without the strokes that cross them."""
    height, width = solid.shape
    if min(height, width) < LEAST_SIDE_PX:
        return None
    found = np.zeros_like(solid)
    if min(height, width) >= STRAIGHT_FROM_PX:
        # Long runs first: they tell straight rulings from strokes. Short ones find what wavers.
        for run_share in (1 / 5, 1 / 24):
            _add(
                found,
                _long_runs(solid, round(run_share * width)),
                _long_runs(solid.T, round(run_share * height)),
            )
    rest = solid & (1 - found) if found.any() else solid
    lines, turned = _level_lines(rest), _level_lines(rest.T)
    _add(found, None if lines is None else lines.pixels, None if turned is None else turned.pixels)
    return found if found.any() else None


def _add(found: Mask, level: Mask | None, upright: Mask | None) -> None:
    """Add lines of a page, and lines of the page on its side, in place."""
    if level is not None:
        found |= level
    if upright is not None:
        found |= upright.T


@dataclass(frozen=True, slots=True, eq=False)
class _LevelLines:
    """Level lines, one at least: their pixels without strokes that cross them, slopes, and where they lie."""

    pixels: Mask
    slopes: tuple[float, ...]
    middles: tuple[float, ...]  # the row in the middle of each
    left: int  # the first and the last column of all
    right: int

    @property
    def slope(self) -> float:
        """The usual one."""
        return float(np.median(self.slopes))


@dataclass(frozen=True, slots=True, eq=False)
class DrawnLines:
    """Lines from end to end of what was looked at: their pixels without strokes, and how many lie and stand."""

    pixels: Mask
    level_count: int
    upright_count: int

    @property
    def count(self) -> int:
        """How many there are."""
        return self.level_count + self.upright_count


def drawn_lines(own: Mask, beside: Mask, size_px: int, *, is_sure: bool) -> DrawnLines | None:
    """Straight lines from end to end of `own` (0 or 1, cut to what it shows), beside signs of `size_px`.

    `beside` is all ink in the same window. The lines come with their soft edges, without strokes that cross them.

    For rulings that end within the page, for frames, tables and what a person underlines. What is no longer than
    digits are is a line only between two others: a 1 stands on a ruling, the side of a cell reaches the next one.
    """
    height, width = own.shape
    room = (_with_room(own, size_px), _with_room(own.T, size_px))
    strokes = (_with_room(beside, size_px), _with_room(beside.T, size_px))
    level = _level_lines(room[0], _Wanted(size_px, is_sure), strokes[0])
    # A frame's sides stand upright on its top and bottom, however the page lies.
    wanted = _Wanted(size_px, is_sure, None if level is None else -level.slope)
    upright = _level_lines(room[1], wanted, strokes[1])
    if upright is not None and (sides := _sides_of_fields(upright)):
        wanted = replace(wanted, places=sides)
        upright = _level_lines(room[1], wanted, strokes[1]) or upright
    counts = [0 if lines is None else len(lines.slopes) for lines in (level, upright)]
    if width < LONGER * size_px and counts[1] < 2:
        level = None
    if height < LONGER * size_px and counts[0] < 2 and not _is_comb(level, upright, size_px):
        upright = None
    if level is None and upright is None:
        return None
    found = np.zeros_like(own) if level is None else level.pixels[size_px:-size_px]
    if upright is not None:
        # Once more: where they cross level lines, these are no strokes to be kept.
        rest = strokes[1] & (1 - _with_room(found.T, size_px))
        upright = _level_lines(room[1], wanted, rest) or upright
        found = found | upright.pixels[size_px:-size_px].T
    return DrawnLines(found, len(level.slopes) if level else 0, len(upright.slopes) if upright else 0)


def _is_comb(level: _LevelLines | None, upright: _LevelLines | None, room_px: int) -> bool:
    """Whether uprights stand in step on a level line, one at each of its ends: 1s on a ruling do not."""
    if level is None or upright is None or len(upright.middles) < LEAST_TEETH:
        return False
    columns = np.sort(np.array(upright.middles)) - room_px  # it was looked for with room on both sides
    chosen = columns[in_step(columns.tolist())]
    if len(chosen) < max(LEAST_TEETH, len(columns)):
        return False
    near = IN_STEP_PX + IN_STEP * float(np.diff(chosen).max())
    return bool(abs(chosen[0] - level.left) <= 2 * near and abs(chosen[-1] - level.right) <= 2 * near)


def _sides_of_fields(upright: _LevelLines) -> tuple[float, ...]:
    """The places of uprights in step from end to end, where others stand among them: a 1 may fill its field."""
    places = sorted(upright.middles)
    chosen = [place for place, stands in zip(places, in_step(places), strict=True) if stands]
    others = len(places) - len(chosen)
    if not others or len(chosen) <= 2 * others or chosen[-1] != places[-1]:
        return ()
    return tuple(chosen)


def in_step(xs: Sequence[float]) -> list[bool]:
    """Which of `xs`, ascending, stand in step with the first: the most that do; fewer than three are none."""
    places_px = np.asarray(xs, np.float64) - xs[0] if xs else np.zeros(0)
    best, most = np.zeros(len(xs), np.bool_), 0.0
    for step in np.diff(places_px):
        if step < LEAST_STEP_PX:
            continue
        places = np.rint(places_px / step)
        is_on = np.abs(places_px - places * step) <= IN_STEP_PX + IN_STEP * step
        # A 1 in the middle of one field is in half the step with the sides of all, but then most places are empty.
        held = len(set(places[is_on].tolist())) / (1 + places[is_on].max())
        if held >= HELD and held * is_on.sum() > most:
            best, most = is_on, float(held * is_on.sum())
    is_comb: list[bool] = (best if best.sum() >= LEAST_TEETH else np.zeros_like(best)).tolist()
    return is_comb


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of drawn lines beside signs of `size_px`: about this slope, if any is known.

    What is surely longer than any sign may have gaps, as faint rulings do.
    """

    size_px: int
    is_sure: bool
    slope: float | None = None
    places: tuple[float, ...] = ()  # the rows in their middle, where these are known

    @property
    def run_px(self) -> int:
        """How long level runs are at the least: a line askew by five degrees is made of short ones."""
        return int(np.clip(self.size_px // 3, 8, 24))

    @property
    def thickest_px(self) -> float:
        """How thick a line may be."""
        return max(3.5, self.size_px / 3)

    def allows(self, line: _Line, level: float, inked: npt.NDArray[np.bool_], first: list[float]) -> bool:
        """Whether a line runs as it should, beside the first, and without gaps: the heads of digits do not.

        `level` is the row in its middle.
        """
        if self.places and min(abs(level - place) for place in self.places) > IN_STEP_PX:
            return False
        slopes = first if self.slope is None else [self.slope, *first]
        is_askew = any(abs(line.slope - slope) > SQUARE for slope in slopes)
        return not is_askew and (self.is_sure or float(inked.mean()) >= WITHOUT_GAPS)


def _with_room(part: Mask, room_px: int) -> Mask:
    whole = np.zeros((part.shape[0] + 2 * room_px, part.shape[1]), np.uint8)
    whole[room_px:-room_px] = part
    return whole


def _spans(solid: Mask, reach_px: int) -> bool:
    """Whether there is ink so near to the left and to the right border; most pages have clean ones."""
    return bool(solid[:, :reach_px].any()) and bool(solid[:, -reach_px:].any())


def _long_runs(solid: Mask, run_px: int) -> Mask | None:
    """Horizontal lines of `solid`, made of runs of `run_px`, that are thin and run from border to border.

    A stroke that a person wrote hardly ever reaches both borders, a ruling always does. None without any.
    """
    height, width = solid.shape
    run_px = max(12, run_px)
    reach_px = max(1, width // 100)
    if not _spans(solid, reach_px + 1 + BRIDGE_PX // 2):
        return None
    solid = np.ascontiguousarray(solid)  # it may be a page on its side, which few need
    bridged = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((1, BRIDGE_PX), np.uint8))
    opened = cv2.morphologyEx(bridged, cv2.MORPH_OPEN, np.ones((1, run_px), np.uint8))
    if not opened.any():
        return None
    linked = cv2.dilate(opened, np.ones((3, min(run_px // 2, 15)), np.uint8))
    if np.count_nonzero(cv2.reduce(linked, 0, cv2.REDUCE_MAX)) < width - 2 * reach_px:
        return None  # nothing in it is as long as that
    count, labels, stats, _ = cv2.connectedComponentsWithStats(linked, connectivity=8)
    max_height = max(8, height // 12)
    keep = np.zeros(count, np.uint8)
    for label in np.flatnonzero(stats[:, cv2.CC_STAT_HEIGHT] <= max_height):
        x, y, w, h, _ = stats[label]
        if label == 0 or w < width - 2 * reach_px:
            continue
        window = np.s_[y : y + h, x : x + w]
        columns = np.flatnonzero(((labels[window] == label) & (opened[window] > 0)).any(axis=0))
        keep[label] = x + columns[0] <= reach_px and x + columns[-1] >= width - 1 - reach_px
    if not keep.any():
        return None
    lines: Mask = keep[labels] & solid
    # A stroke that crosses or covers a line makes longer vertical runs there than the line alone: it stays.
    columns = lines.sum(axis=0)
    line_px = float(np.median(columns[columns > 0])) / int(keep.sum())
    longer = np.ones((round(1.6 * line_px) + 2, 1), np.uint8)
    strokes = np.asarray(cv2.morphologyEx(solid, cv2.MORPH_OPEN, longer), np.uint8)
    soft = np.asarray(
        cv2.dilate(lines & (1 - strokes), np.ones((3, 3), np.uint8)), np.uint8
    )  # with soft edges
    return np.asarray(soft & (1 - strokes), np.uint8)


def _level_lines(
    solid: Mask, wanted: _Wanted | None = None, beside: Mask | None = None
) -> _LevelLines | None:
    """Level lines of `solid`, without the strokes that cross them in `beside` (in `solid` itself, if not given)."""
    height, width = solid.shape
    # In a strip the height of the writing is known: runs must be longer than the bows of its digits.
    is_strip = width >= STRIP * height
    if not is_strip and not _spans(solid, int(_reach_px(width)) + _stride(width) + 1 + BRIDGE_PX // 2):
        return None
    solid = np.ascontiguousarray(solid)
    rulings = np.zeros_like(solid)
    slopes: list[float] = []
    middles: list[float] = []
    ends: list[int] = []
    strokes_of = solid if beside is None else beside
    if wanted is not None:
        run_px, thickest, corner_px = wanted.run_px, wanted.thickest_px, wanted.thickest_px + 3
    else:
        run_px = int(np.clip(0.3 * height, 12, 40)) if is_strip else int(np.clip(width // 12, 12, 24))
        thickest = max(3.5, 0.07 * height) if is_strip else max(4, min(height, width) // 40)
        corner_px = 0.0
    bridged = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((1, BRIDGE_PX), np.uint8))
    runs = np.asarray(cv2.morphologyEx(bridged, cv2.MORPH_OPEN, np.ones((1, run_px), np.uint8)), np.uint8)
    for line in _lines(runs, corner_px):
        columns = np.arange(line.left, line.right + 1)
        level = np.clip(np.round(line.start + line.slope * columns).astype(np.int64), 0, height - 1)
        thickness, below = _thickness(solid, columns, level)
        if thickness > thickest:
            continue
        level = np.clip(level + below, 0, height - 1)
        # A stroke that crosses or covers a line makes longer runs across there than the line alone: it stays.
        reach = round(thickness / 2) + 2
        band = np.zeros_like(solid)
        for offset in range(-reach, reach + 1):
            band[np.clip(level + offset, 0, height - 1), columns] = 1
        if not _shows_between(solid, band):
            continue
        inked = np.asarray((solid & band).any(axis=0))[columns]
        if wanted is not None and not wanted.allows(line, float(level.mean()), inked, slopes[:1]):
            continue
        longer = np.ones((round(1.6 * thickness) + 2, 1), np.uint8)
        top, bottom = max(0, int(level.min()) - 40), min(height, int(level.max()) + 40)
        strip = np.s_[top:bottom]
        strokes = np.asarray(cv2.morphologyEx(strokes_of[strip], cv2.MORPH_OPEN, longer), np.uint8)
        rulings[strip] |= band[strip] & (1 - strokes)
        slopes.append(line.slope)
        middles.append(float(level.mean()))
        ends += [line.left, line.right]
    return _LevelLines(rulings, tuple(slopes), tuple(middles), min(ends), max(ends)) if slopes else None


def _shows_between(solid: Mask, band: Mask) -> bool:
    """Whether the line goes on where nothing else is: the feet of a row of digits do not."""
    alone = ~(solid & (1 - band)).any(axis=0) & band.any(axis=0)
    if np.count_nonzero(alone) < 0.08 * solid.shape[1]:
        return True
    inked = (solid & band).any(axis=0)
    return bool(np.count_nonzero(inked & alone) >= 0.7 * np.count_nonzero(alone))


def _thickness(
    solid: Mask, columns: npt.NDArray[np.int64], level: npt.NDArray[np.int64]
) -> tuple[float, int]:
    """The usual height of the run of ink across a line, and how far below `level` its middle lies."""
    height = solid.shape[0]
    counts = np.zeros((2, len(columns)), np.int64)  # upwards, and downwards from the level itself
    rows = level + np.arange(-THICKEST_PX, THICKEST_PX + 1)[:, None]
    inside = (rows >= 0) & (rows < height)
    inked_at = inside & (solid[np.minimum(np.maximum(rows, 0), height - 1), columns] > 0)
    for down, direction in enumerate((-1, 1)):
        alive = np.ones(len(columns), bool)
        for step in range(1 - down, THICKEST_PX + 1):
            inked = inked_at[THICKEST_PX + direction * step]
            alive &= inked | (alive & (step < 2) & (counts.sum(axis=0) == 0))
            counts[down] += alive & inked
    both = counts.sum(axis=0)
    if not both.any():
        return 0.0, 0
    inked = both > 0
    below = float(np.median((counts[1] - 1 - counts[0])[inked])) / 2
    return float(np.median(both[inked])), round(below)


def _most(starts: npt.NDArray[np.float64], step: int) -> int:
    """The most pixels that any two neighbouring bins of `step` rows hold; `starts` are no less than 0."""
    counts = np.bincount((starts / step).astype(np.int64))
    return int((counts + np.append(counts[1:], 0)).max())


def _stride(width: int) -> int:
    """Every so-manieth column is looked at."""
    return max(1, width // COLUMNS)


def _reach_px(width: int) -> float:
    """How near to a border a line must come to reach it."""
    return max(2, REACH * width) + _stride(width)


def _lines(runs: Mask, corner_px: float = 0) -> list[_Line]:
    """Straight lines through pixels of `runs` that cover most of the page's columns.

    Where another line runs along the rim, one that meets it is told from it only so many pixels further in.
    """
    height, width = runs.shape
    stride = _stride(width)
    looked_at = -(-width // stride)
    sampled = np.ascontiguousarray(runs[:, ::stride])
    sampled[1:] &= 1 - sampled[:-1]  # upper edges alone: one pixel a column and line
    is_strip = width >= STRIP * height
    needed = (COVERED if is_strip else COVERED_ACROSS) * looked_at
    if np.count_nonzero(sampled.any(axis=0)) < needed:
        return []
    ys, xs = np.nonzero(sampled)
    xs = xs * stride
    half = int(np.ceil(STEEPEST * width)) + 1
    # Coarsely first: most pages hold no line at all.
    coarse = np.linspace(-STEEPEST, STEEPEST, 9)
    step = max(2, round(STEEPEST * width / 8))
    likely = [slope for slope in coarse if _most(ys - slope * xs + half, step) >= 0.9 * needed]
    fine = max(2.0 / width, STEEPEST / 60)
    slopes = sorted(
        {
            round(slope / fine + k) * fine
            for slope in likely
            for k in range(-8, 9)
            if abs(k * fine) <= STEEPEST / 7
        }
    )
    peaks: list[tuple[int, float, float]] = []
    for slope in slopes:
        starts = np.round(ys - slope * xs).astype(np.int64) + half + 1
        counts = np.bincount(np.maximum(starts, 0), minlength=height + 2 * half + 3)
        # Neighbouring rows together: lines waver by a pixel.
        both = counts[1:-1] + np.maximum(counts[:-2], counts[2:])
        rows = np.flatnonzero(both >= needed)
        peaks += [(int(both[row]), float(row - half), float(slope)) for row in rows]
    found: list[_Line] = []
    for _, start, slope in sorted(peaks, key=lambda peak: -peak[0]):
        if len(found) >= MAX_LINES:
            break
        if any(
            abs(start - line.start) < 6 and abs(start + slope * width - line.start - line.slope * width) < 6
            for line in found
        ):
            continue
        near = np.abs(ys - start - slope * xs) <= 1.5
        left, right = int(xs[near].min()), int(xs[near].max()) + stride - 1
        reach = _reach_px(width) + corner_px
        if is_strip or (left <= reach and right >= width - 1 - reach):
            found.append(_Line(*_fitted(xs[near], ys[near], start, slope), left, min(right, width - 1)))
    return found


def _fitted(
    xs: npt.NDArray[np.int64], ys: npt.NDArray[np.int64], start: float, slope: float
) -> tuple[float, float]:
    """The line through these pixels by least squares: over a wide page half a step of slope is pixels."""
    from_middle = xs - xs.mean()
    spread = float(from_middle @ from_middle)
    if spread == 0:
        return start, slope
    slope = float(from_middle @ ys) / spread
    return float(ys.mean() - slope * xs.mean()), slope
