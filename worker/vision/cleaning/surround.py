"""What lies around a page in its picture: the dark lid of a scanner, a table, a white rim about a dark tile.

Left as it is, it would be taken for the paper, or for most of the ink. It is painted over in the tone of the page.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.cleaning.slips import DARK, LEAST_PART, ground_around_slip, is_written_beside
from worker.vision.ink import Float, Mask, shrink
from worker.vision.page import Grey, Page

LEAST_SIDE_PX = 64  # what is smaller shows a digit and no page
SIDE_PX = 200  # a surround is sought at about this size
LEAST_STEP = 40  # grey levels between a page and what is around it
ALONG = 0.95  # of a side: what lies around a page follows all of it
SIDES = 2  # at least: a bar of a digit that is cut tightly may follow one
BESIDE = 0.1  # of the others, where it is two: the bars of a 5 follow two sides, and its stem half of a third
DEEPEST = 0.4  # of the page's width or height
BETWEEN = 0.4  # of its width: the page itself, beside what lies to its left and right
STRAIGHT = (
    0.85  # of its columns: the edge of a band is near to a line there; in the rest something touches it
)
WAVERS = 0.02  # of the height: how near
SHARP = 0.6  # of the step, within a few pixels: a shadow that fades has digits in it
BLACK = 0.45  # of the page's own tone: no paper is so dark, not even in a shadow
EVEN = (
    0.995,
    0.3,
)  # of a band that is lighter, and of the step: so much of it differs by no more from its tone
NIGHT = 40  # grey levels: on what is darker nobody writes with a dark pen
WRITTEN = 0.4, 0.005  # of the step, and of the band: what stands out so much, and more of it than dust
GRAIN = 5.0  # standard deviations: what stands out no more is the grain of a table
LEAST_DEPTH_PX = (
    3  # of two sides at least: thinner bands are ruled lines, frames, and edges that `paper` knows
)
LEFT = 0.3  # of the step: what stands out so much on the page beside it is written there

Depths = npt.NDArray[np.int64]


def without_surround(page: Page) -> Page:
    """`page` with what lies around the paper painted in the tone of the paper; itself where nothing does.

    Straight bands of another tone along two sides at least, with a sharp edge, in which nothing is written.
    """
    if min(page.width, page.height) < LEAST_SIDE_PX:
        return page
    may_have_bands, may_be_ground = _may_have_one(page.grey), _may_be_ground(page.grey)
    if not (may_have_bands or may_be_ground):
        return page
    step = max(1, min(max(page.width, page.height) // SIDE_PX, min(page.width, page.height) // 32))
    small = shrink(page.grey, step)
    bands = _ground(small) if may_be_ground else None
    if bands is not None and is_written_beside(page.grey, bands):
        bands = None
    if bands is None and may_have_bands:
        bands = _bands(small)
    if bands is None:
        return page
    tone = _tone_beside(small, bands)
    size = (page.width, page.height)
    covered = cv2.resize(bands, size, interpolation=cv2.INTER_NEAREST) > 0
    painted = np.asarray(cv2.resize(tone, size, interpolation=cv2.INTER_LINEAR))
    return Page(np.where(covered, np.rint(painted), page.grey).astype(np.uint8))


def _may_have_one(grey: Grey) -> bool:
    """Whether the middles of two borders at least differ from the page: on most pages none does."""
    height, width = grey.shape
    inner = np.s_[
        height // 4 : -height // 4 : max(1, height // 64), width // 4 : -width // 4 : max(1, width // 64)
    ]
    level = _middle(grey[inner])
    borders = (grey[0], grey[-1], grey[:, 0], grey[:, -1])
    tones = [_middle(border[:: max(1, border.size // 64)]) for border in borders]
    return sum(abs(tone - level) >= LEAST_STEP for tone in tones) >= SIDES


def _middle(greys: Grey) -> int:
    """The median, near enough, of a few grey levels: NumPy's takes ten times as long."""
    half = greys.size // 2
    return int(np.partition(greys.ravel(), half)[half])


def _may_be_ground(grey: Grey) -> bool:
    """Whether two borders at least have one tone, and a part of the page is much lighter."""
    height, width = grey.shape
    borders = (grey[0], grey[-1], grey[:, 0], grey[:, -1])
    darkest, tone = sorted(_middle(border[:: max(1, border.size // 64)]) for border in borders)[:SIDES]
    if tone - darkest > LEAST_STEP or tone > DARK * 255:
        return False
    sample = grey[:: max(1, height // 64), :: max(1, width // 64)]
    return int(np.count_nonzero(sample > tone + LEAST_STEP)) >= LEAST_PART * sample.size


def _ground(small: Grey) -> Mask | None:
    """The pixels (1) around a slip of paper; None where none is told, or something is written beside it."""
    calm = np.asarray(cv2.medianBlur(small, 5), np.uint8)
    ground = ground_around_slip(small, calm)
    if ground is None:
        return None
    within = cv2.erode(ground, np.ones((7, 7), np.uint8)) > 0
    if not within.any():  # the lines of a row of fields: a table is broader
        return None
    paper = small[ground == 0]
    tone, level = float(np.median(calm[within])), float(np.median(paper))
    if _is_written_on(calm[within], tone, level - tone):
        return None
    written = np.abs(paper.astype(np.int16) - level) > LEFT * (level - tone)
    return ground if np.count_nonzero(written) >= 4 else None


def _bands(small: Grey) -> Mask | None:
    """The pixels (1) that lie around the page; None where no surround is told from what is written."""
    calm = np.asarray(cv2.medianBlur(small, 5), np.uint8)  # a table has a grain
    height, width = small.shape
    inner = small[height // 4 : -height // 4, width // 4 : -width // 4]
    level = float(np.median(inner))
    tone = float(np.median(np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])))
    contrast = abs(tone - level)
    if contrast < LEAST_STEP:
        return None
    is_near = np.abs(calm.astype(np.int16) - tone) < 0.5 * contrast
    found = np.zeros(small.shape, np.bool_)
    depths_px: dict[int, float] = {}  # of each side that has a band
    for turns in range(4):
        depths = _depths(np.rot90(is_near, turns), np.rot90(calm, turns), contrast)
        if depths is not None:
            depths_px[turns] = float(np.median(depths))
            found |= np.rot90(np.arange(is_near.shape[turns % 2])[:, None] < depths, -turns)
    deep = sum(depth >= LEAST_DEPTH_PX for depth in depths_px.values())
    if deep < SIDES or found.mean() > 1 - (1 - DEEPEST) ** 2:
        return None
    others = {0, 1, 2, 3} - set(depths_px)
    if deep == SIDES and any(np.mean(np.rot90(is_near & ~found, turns)[0]) > BESIDE for turns in others):
        return None
    # The soft edge has neither tone: it is painted over, too.
    bands = cv2.dilate(found.astype(np.uint8), np.ones((5, 5), np.uint8))
    within = cv2.erode(found.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0  # clear of the edge
    if tone < BLACK * level:
        is_written_on = _is_written_on(calm[within], tone, contrast)
    else:  # it may be paper in a shadow, or a page of another tone
        off = np.abs(small[within] - tone) >= EVEN[1] * contrast
        is_written_on = np.count_nonzero(off) > (1 - EVEN[0]) * off.size
    if is_written_on:
        return None
    stands_out = np.abs(small[bands == 0] - level) > LEFT * contrast
    return np.asarray(bands, np.uint8) if np.count_nonzero(stands_out) >= 4 else None


def _is_written_on(band: Grey, tone: float, contrast: float) -> bool:
    """Whether something in a dark band stands out more than its grain does: a pen on it, or light print."""
    if band.size == 0:
        return False
    off = band.astype(np.float32) - float(np.median(band))
    grain = 1.4826 * float(np.median(np.abs(off)))  # a standard deviation, whatever stands out
    lighter = off > max(WRITTEN[0] * contrast, GRAIN * grain)
    darker = -off > max(WRITTEN[0] * tone, GRAIN * grain) if tone > NIGHT else np.zeros_like(lighter)
    return bool(np.count_nonzero(lighter | darker) > WRITTEN[1] * band.size)


def _depths(is_near: npt.NDArray[np.bool_], small: Grey, contrast: float) -> Depths | None:
    """How deep a band of another tone reaches from the first row, for each column; None where there is no such band."""
    height, width = is_near.shape
    runs = np.minimum.accumulate(is_near, axis=0).sum(axis=0)
    if float((runs > 0).mean()) < ALONG:
        return None
    # At its ends it meets the bands of the other sides; what is darker there than the page may be a digit that touches.
    between = runs[runs < DEEPEST * height]
    if between.size < BETWEEN * width:
        return None
    usual = _line_through(runs, runs < DEEPEST * height)
    off = np.abs(runs - usual)[runs < DEEPEST * height]
    if float((off <= max(2.0, WAVERS * height)).mean()) < STRAIGHT:
        return None
    depths = np.maximum(np.rint(usual), 0).astype(np.int64)
    columns = np.flatnonzero(runs < DEEPEST * height)
    last = small.shape[0] - 1
    before = small[np.maximum(depths[columns] - 2, 0), columns].astype(np.int16)
    after = small[np.minimum(depths[columns] + 2, last), columns].astype(np.int16)
    is_sharp = float(np.median(np.abs(after - before))) >= SHARP * contrast
    return depths if is_sharp else None


def _line_through(runs: Depths, usable: npt.NDArray[np.bool_]) -> Float:
    """The straight edge of a band, robust against digits that touch it: a line through medians of its thirds."""
    columns = np.flatnonzero(usable)
    thirds = np.array_split(columns, 3)
    at = np.array([float(part.mean()) for part in thirds])
    depth = np.array([float(np.median(runs[part])) for part in thirds])
    slope, start = np.polyfit(at, depth, 1)
    return np.asarray(start + slope * np.arange(len(runs)), np.float32)


def _tone_beside(small: Grey, bands: Mask) -> Float:
    """The tone of the page, carried on into what lies around it; float32 in grey levels, of the size of `small`."""
    calm = cv2.medianBlur(small, 9).astype(np.float32)
    keep = (cv2.dilate(bands, np.ones((9, 9), np.uint8)) == 0).astype(np.float32)
    level = float(np.median(calm[keep > 0])) if keep.any() else float(np.median(calm))
    sigma = max(small.shape) / 8
    weight = cv2.GaussianBlur(keep, (0, 0), sigma) + 1e-3
    return np.asarray((cv2.GaussianBlur(calm * keep, (0, 0), sigma) + 1e-3 * level) / weight, np.float32)
