"""From a grey page to ink: how much darker (or lighter) than its ground each pixel is.

The ground is estimated locally, so that gradients and shadows cancel; ink is told by contrast, never
by a global threshold. On a clean page the map is exactly linear in the grey level: what MNIST keeps in
the soft edges of its strokes survives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.page import Grey, Page

Float = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]  # 0 or 1

WORK_SIDE_PX = 1000  # pages are analysed at about this size at most; tiles are cut from the full page
GROUND_SIDE_PX = 96  # the ground is smooth: it is estimated on a picture of about this size
MIN_CONTRAST = 8 / 255  # less than this between ink and ground is no ink that a person would see
DARKEST = 0.9995  # of the page is lighter than its ink: where little is written a shadow may cover more
LEAST_IN_SHADE = 0.06  # of contrast: fainter is what no ground follows of a stain or a shadow
SHADE, LEAST_SHADED = 0.08, 0.01  # the contrast of a shadow, and the share of the page that it covers
BORDER_LINE, BORDER_RIM = 0.1, 3  # of the page: how thick a line along its border is; rows before it, at most
IN_LINE, BESIDE_LINE = 0.3, 0.5  # of a row that shows paper: at most in such a line, and at least beside it
WITHIN_CONTRAST = 0.5  # of that of the page: less is left where the writing itself ran along the border
QUANTUM = 1.5 / 255  # grey levels are whole numbers: a difference of one is no ink


@dataclass(frozen=True, slots=True, eq=False)
class InkMap:
    """The ink of a page at working resolution.

    `ink` is float32 (h, w) in [0, 1]: the contrast to the local ground. `ground` is float32 of a few
    dozen pixels a side, in grey levels. `step` is how many page pixels one working pixel covers (a
    whole number). `is_dark` says that ink is darker than its ground. `noise` is the standard deviation
    of `ink` where there is none; `core` the contrast of solid strokes.
    """

    ink: Float
    ground: Float
    step: int
    is_dark: bool
    noise: float
    core: float

    def without(self, taken: Mask | npt.NDArray[np.bool_]) -> InkMap:
        """The map with these pixels bare; its core and its noise are what they were."""
        return replace(self, ink=np.where(taken > 0, np.float32(0), self.ink))


WITHIN_BORDER = np.s_[4:-4, 4:-4]  # the border of a scan is no stroke
FAINT = 12  # grey levels: what stands out by less says nothing about which is ink
CLEARLY, EVEN_PAGE = 3, 0.9  # times what stands out to the other side; of a page that shows one level
STROKES_FROM_PX = 260  # pages at least so large can hold strokes that are thin beside light and shadow
SHEETS_FROM_PX = 400  # and at least so large are sheets; a fat digit may fill a smaller page


def find_ink(page: Page) -> InkMap:
    """The ink of `page`, dark on light or light on dark, whatever the lighting."""
    step = max(1, -(-max(page.width, page.height) // WORK_SIDE_PX))
    work = shrink(page.grey, step)
    noise_levels = _noise(work)
    if noise_levels > 2.0:
        work = np.asarray(
            cv2.GaussianBlur(work, (0, 0), 0.8), np.uint8
        )  # finer than any stroke, coarser than sensor noise
    small = _shrink_to(work, GROUND_SIDE_PX)
    is_dark = _strokes_are_dark(work)
    if is_dark is None:
        is_dark = _ink_is_dark(small)
    ground = _ground(small if is_dark else 255 - small)
    ink = contrast(work if is_dark else 255 - work, ground)
    is_uneven = _is_uneven(ink, ground)
    if is_uneven:
        finer = _shrink_to(work, 4 * GROUND_SIDE_PX)
        ground = _fine_ground(finer if is_dark else 255 - finer)
        ink = contrast(work if is_dark else 255 - work, ground)
    core = _core(ink)
    if is_uneven and core < LEAST_IN_SHADE:
        core = 0.0
    return InkMap(ink, ground, step, is_dark, _noise_of(ink, core), core)


def contrast(dark_on_light: Grey, ground: Float) -> Float:
    """How much darker than `ground` (brought to its size) each pixel is, float32 in [0, 1].

    Relative to the ground, as reflection is: a stroke in the shadow counts like one in the light.
    """
    height, width = dark_on_light.shape
    if float(ground.max()) - float(ground.min()) < 1e-3:
        level = float(ground.flat[0])
        lut = (level - np.arange(256, dtype=np.float32)) / max(level, 24.0)
        lut = np.minimum(np.maximum(lut, 0), 1).astype(np.float32)
        return cv2.LUT(dark_on_light, lut).astype(np.float32, copy=False)
    level_map = cv2.resize(ground, (width, height), interpolation=cv2.INTER_LINEAR)
    ink = level_map - dark_on_light
    ink /= np.maximum(level_map, 24.0)
    np.maximum(ink, 0.0, out=ink)
    np.minimum(ink, 1.0, out=ink)
    return ink


def shrink(grey: Grey, step: int) -> Grey:
    """`grey` with `step` x `step` pixels averaged into one; unchanged for a step of 1."""
    if step == 1:
        return grey
    height, width = grey.shape
    size = (max(1, width // step), max(1, height // step))
    return cv2.resize(grey[: size[1] * step, : size[0] * step], size, interpolation=cv2.INTER_AREA).astype(
        np.uint8, copy=False
    )


def _shrink_to(grey: Grey, side_px: int) -> Grey:
    return shrink(grey, max(1, max(grey.shape) // side_px))


def _noise(grey: Grey) -> float:
    """Standard deviation of the noise in grey levels, robust against strokes (their edges are rare).

    The median of absolute second differences along rows, on a sample of rows; 6 ** 0.5 is the gain of
    the kernel (1, -2, 1), 0.6745 turns a median deviation into a standard one.
    """
    if min(grey.shape) < 3:
        return 0.0
    rows = grey[:: max(1, grey.shape[0] // 64)].astype(np.int16)
    second = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    return _median(second) / (0.6745 * 6**0.5)


def _strokes_are_dark(work: Grey) -> bool | None:
    """Whether thin strokes are darker than what is beside them; None on small pages and where neither wins.

    Light and shadow, table edges and sleeves are broad: on a photograph they outweigh the strokes, but not here.
    """
    if min(work.shape) < STROKES_FROM_PX:
        return None
    calm = np.asarray(cv2.GaussianBlur(shrink(work, 2), (0, 0), 0.8), np.uint8)
    if (alone := _alone_is_dark(calm)) is not None:
        return alone
    # The bays of a fat stroke look like thin strokes of the other kind, but not to a wider window.
    wide_px = _odd(max(calm.shape) / 8)
    narrow = _deeper_is_dark(calm, _odd(max(calm.shape) / 24))
    if narrow is None or narrow != _deeper_is_dark(calm, wide_px):
        return _rarer_is_dark(calm, wide_px) if min(work.shape) >= SHEETS_FROM_PX else None
    return narrow


def _alone_is_dark(calm: Grey) -> bool | None:
    """Whether all that stands out from an even page is darker than it, or all lighter; None where it is not so clear.

    So it is on most pages, and told by counting grey levels once.
    """
    within = calm[WITHIN_BORDER]
    counts = cv2.calcHist([within[::4]], [0], None, [256], [0, 256]).ravel()
    usual = int(counts.argmax())
    darkest, lightest, _, _ = cv2.minMaxLoc(within)
    darker, lighter = usual - int(darkest), int(lightest) - usual
    grain = max(FAINT, min(darker, lighter))
    if max(darker, lighter) < max(2 * FAINT, CLEARLY * min(darker, lighter)):
        return None
    if counts[max(0, usual - grain) : usual + grain + 1].sum() < EVEN_PAGE * counts.sum():
        return None
    return darker > lighter


def _deeper_is_dark(calm: Grey, window_px: int) -> bool | None:
    """Whether what is darker than all around it within a window stands out more than what is lighter."""
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (window_px, window_px))
    depths = []
    for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
        residue = np.asarray(cv2.morphologyEx(calm, kind, kernel)[WITHIN_BORDER], np.uint8)
        strongest = level_at(residue, 0.995)
        depths.append(float(residue[residue >= strongest].mean(dtype=np.float32)))
    return _first_is_deeper(*depths)


def _rarer_is_dark(calm: Grey, window_px: int) -> bool | None:
    """Whether what is darker than most of its surroundings stands out more than what is lighter.

    The paper within a 4 or a 6 is as much lighter than the stroke as the stroke is darker, but it is what most of the
    surroundings show.
    """
    usual = cv2.medianBlur(calm, window_px)
    depths = [
        float(level_at(np.asarray(residue[WITHIN_BORDER], np.uint8), 0.995))
        for residue in (cv2.subtract(usual, calm), cv2.subtract(calm, usual))
    ]
    return _first_is_deeper(*depths)


def _first_is_deeper(first: float, second: float) -> bool | None:
    """Which of two depths, in grey levels, stands out; None where both are faint or much alike."""
    if max(first, second) < FAINT or max(first, second) < 1.6 * min(first, second):
        return None
    return first > second


def _ink_is_dark(small: Grey) -> bool:
    """Whether ink is the darker part: ground is what most of the surroundings show, ink deviates."""
    small = _within_lines(small)
    ground = cv2.medianBlur(small, _odd(0.7 * min(small.shape)))
    deviation = small.astype(np.float32) - ground
    tolerance = max(4.0, 0.25 * float(np.abs(deviation).max()))
    dark = float(-deviation[deviation < -tolerance].sum())
    light = float(deviation[deviation > tolerance].sum())
    if min(dark, light) > 0.35 * max(dark, light):
        # A fat stroke cut tightly, or dark edges: what most of the frame shows is ground, else the majority.
        middle = (float(small.min()) + float(small.max())) / 2
        frame = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
        light_frame = float((frame > middle).mean())
        if not 0.35 < light_frame < 0.65:
            return light_frame > 0.5
        return float((small > middle).mean()) > 0.5
    return dark >= light


def _within_lines(small: Grey) -> Grey:
    """The page within the lines of the field that it was cut from, where they run along two of its sides or all.

    They would pass for the ground: most of the frame shows them.
    """
    height, width = small.shape
    most = int(BORDER_LINE * min(height, width))
    if most < 2:  # a page so small is no field of a form
        return small
    low, high, _, _ = cv2.minMaxLoc(small)
    _, light = cv2.threshold(small, (low + high) / 2, 1, cv2.THRESH_BINARY)
    across, along = (cv2.reduce(light, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() for axis in (1, 0))
    top, bottom = _lines_at((across / width).tolist(), most)
    left, right = _lines_at((along / height).tolist(), most)
    within = small[top : height - bottom, left : width - right]
    if within.shape == small.shape or np.ptp(within) < WITHIN_CONTRAST * (high - low):
        return small
    return np.ascontiguousarray(within)


def _lines_at(light: list[float], most: int) -> tuple[int, int]:
    """How many rows the lines at both ends take, `light` being the light share of each row; (0, 0) but for two."""
    is_light = sum(light) > 0.5 * len(light)
    paper = light if is_light else [1 - share for share in light]
    first = _line_at(paper, most)
    last = _line_at(paper[::-1], most) if first else 0
    if not last:
        return 0, 0
    # In a fat digit cut tightly, what most rows show is not what most of the page shows.
    return (first, last) if (sorted(light)[len(light) // 2] > 0.5) == is_light else (0, 0)


def _line_at(paper: list[float], most: int) -> int:
    """How many rows the line at the start takes, with what lies before it; 0 where there is none.

    `paper` is the share of each row that shows the level of most of the page: a line shows hardly any of it.
    """
    start = next((row for row, share in enumerate(paper[: BORDER_RIM + 1]) if share <= IN_LINE), None)
    if start is None:
        return 0
    end = start + 1
    while end - start <= most and paper[end] <= IN_LINE:
        end += 1
    if end - start > most or max(paper[end : end + 2]) < BESIDE_LINE:
        return 0
    return end + int(paper[end] < BESIDE_LINE)  # the next row may be its soft edge


def _ground(small: Grey) -> Float:
    """The ground level under dark ink: smooth, float32, the size of `small` or less.

    What is clearly darker than its surroundings is cut out, the hole filled from around it, twice. A
    page without gradient gives one constant level, exactly.
    """
    values = small.astype(np.float32)
    level = float(_mode(small))
    ground = np.full_like(values, level)
    off = values - level
    lit = off[off > -0.12 * level]
    # Whether the 0.95 quantile is at most 3, without sorting.
    if np.count_nonzero(np.abs(lit) <= 3.0) > min(lit.size - 1, int(0.95 * lit.size)):
        return np.full((1, 1), level, np.float32)
    # Closing lifts strokes to the paper beside them, however much of a tight cut they cover.
    calm = cv2.GaussianBlur(small, (0, 0), 0.8)
    window = cv2.getStructuringElement(
        cv2.MORPH_RECT, (_odd(0.4 * small.shape[1]), _odd(0.4 * small.shape[0]))
    )
    closed = cv2.morphologyEx(calm, cv2.MORPH_CLOSE, window, borderType=cv2.BORDER_REPLICATE)
    smooth = (
        _odd(0.12 * small.shape[1]),
        _odd(0.12 * small.shape[0]),
    )  # more would flatten a slope at the border
    ground = cv2.blur(closed, smooth, borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    ground -= quantile(ground - calm, 0.3)  # closing follows the lightest grains of noisy paper
    sigma = max(2.0, max(small.shape) / 10)
    for _ in range(2):
        depth = ground - values
        cut = max(6.0, 0.3 * quantile(depth, 0.995))
        keep = (np.abs(depth) < cut).astype(np.float32)
        keep = cv2.erode(keep, np.ones((3, 3), np.uint8))
        weight = cv2.GaussianBlur(keep, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        filled = cv2.GaussianBlur(values * keep, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        trust = np.clip(weight * 20, 0, 1)
        ground = trust * filled / np.maximum(weight, 1e-4) + (1 - trust) * ground
    return ground.astype(np.float32)


def _fine_ground(small: Grey) -> Float:
    """The ground where lighting changes quickly: closed over strokes, then smoothed."""
    side = max(small.shape)
    calm = cv2.GaussianBlur(small, (0, 0), 1.0)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(side / 14), _odd(side / 14)))
    closed = cv2.morphologyEx(calm, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
    return cv2.GaussianBlur(closed, (0, 0), side / 60).astype(np.float32)


def _is_uneven(ink: Float, ground: Float) -> bool:
    """Whether the smooth ground left large patches of false ink: shadows with an edge.

    Shadows are fainter than ink; a broad patch as dark as ink is the stroke of a marker.
    """
    if min(ink.shape) < 120:
        return False
    if ground.size == 1:  # most pages: quickly, whether anything is broad and dark enough
        sparse = cv2.erode(np.ascontiguousarray(ink[::8, ::8]), np.ones((3, 3), np.uint8))
        if np.count_nonzero(sparse > SHADE) < LEAST_SHADED / 4 * sparse.size:
            return False
    coarse = np.asarray(cv2.resize(ink, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.float32)
    darkest = quantile(coarse, DARKEST)
    level = max(SHADE, 0.25 * darkest)
    faint = ((coarse > level) & (coarse < 0.7 * darkest)).astype(np.uint8)
    # Where the light is even so far, a broad pen that is paler than another is no shadow: those are broader still.
    broad = max(9, _odd(max(coarse.shape) / 7)) if ground.size == 1 else 9
    patches = cv2.morphologyEx(faint, cv2.MORPH_OPEN, np.ones((broad, broad), np.uint8))
    return float(patches.mean()) > LEAST_SHADED


def _core(ink: Float) -> float:
    """The contrast of solid strokes: what the darkest hundredth of the inked pixels reaches."""
    peak = float(ink.max())
    if peak < MIN_CONTRAST:
        return peak
    left, top, across, along = tight_box(ink, 0.3 * peak)
    near = ink[top : top + along, left : left + across]
    inked = near[near > 0.3 * peak]
    return quantile(inked, 0.75) if inked.size else peak


def _noise_of(ink: Float, core: float) -> float:
    """The standard deviation of false ink around the strokes: sensor noise, or the ringing of JPEG."""
    solid = (ink > 0.35 * core).view(np.uint8)
    left, top, across, along = cv2.boundingRect(solid)
    near = np.s_[max(0, top - 4) : top + along + 4, max(0, left - 4) : left + across + 4]
    solid = np.ascontiguousarray(solid[near])
    wide, narrow = (cv2.dilate(solid, np.ones((side, side), np.uint8)) for side in (9, 5))
    ring = ink[near][wide > narrow]
    if ring.size < 16:
        return 0.0
    return float(np.sqrt(np.mean(np.square(np.minimum(ring, 0.3 * core)))))


def tight_box(ink: Float, above: float = 0.0) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is `above` that in `ink`; all 0 where nothing is."""
    x, y, width, height = cv2.boundingRect((ink > above).view(np.uint8))
    return x, y, width, height


def quantile(values: Float, share: float) -> float:
    """The smallest value that at least `share` of `values` do not pass; several times faster than NumPy's."""
    flat = values.ravel()
    rank = min(flat.size - 1, int(share * flat.size))
    return float(np.partition(flat, rank)[rank])


def level_at(grey: Grey, share: float) -> int:
    """`quantile` of grey levels, by counting them: sorting many equal numbers takes a hundred times as long."""
    counts = np.cumsum(cv2.calcHist([grey], [0], None, [256], [0, 256]), dtype=np.int64)
    rank = min(grey.size - 1, int(share * grey.size))
    return int(np.searchsorted(counts, rank, side="right"))


def _median(values: npt.NDArray[np.int16]) -> float:
    """The median of small whole numbers from 0 up, by counting them."""
    counts = np.cumsum(np.bincount(values.ravel()))
    last = values.size - 1
    lower, upper = np.searchsorted(counts, (last // 2, last - last // 2), side="right")
    return (int(lower) + int(upper)) / 2


def _mode(grey: Grey) -> int:
    """The most common grey level, counted with its neighbours."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float32)
    return int(np.argmax(np.convolve(counts, (0.5, 1.0, 0.5), mode="same")))


def _odd(length: float) -> int:
    return max(3, int(length) | 1)
