"""Readings drawn onto their page: a picture for people, small and quick to make.

Accepted and doubtful marks differ in three ways, so that nobody depends on seeing colours: bluish green
or vermilion (Okabe and Ito, Color Universal Design), a solid or a dashed box, a tick or a question mark.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from worker.vision.page import Box, Grey, Page
from worker.vision.palette import Colour, Palette

Picture = npt.NDArray[np.uint8]
Spans = npt.NDArray[np.int64]

_GREEN: Final[Colour] = (88, 122, 0)  # BGR; both dark enough for white letters
_VERMILION: Final[Colour] = (0, 76, 196)
_WHITE: Final[Colour] = (255, 255, 255)
_INK: Final = 40
_MAT: Final = 222  # the grey around the page: shows where a white page ends

_MIN_SIDE_PX: Final = 280  # a page smaller than this is enlarged
_MIN_WIDTH_PX: Final = 300  # room for some words below a narrow page
_MARGIN_PX: Final = 4  # takes the outline of a box at the very edge
_LINE_PX: Final = 2
_DASH_PX, _GAP_PX = 7, 5

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_TAG_SCALE, _TAG_HEIGHT_PX, _TAG_BASE_PX = 0.48, 19, 14
_CAPTION_SCALE, _CAPTION_LINE_PX, _CAPTION_BASE_PX = 0.46, 19, 14
_SMALLEST_SCALE, _LARGEST_SCALE = 0.42, 0.9  # of letters above digits among others
_BOLD_FROM: Final = 0.6
_ABOVE: Final = 3  # so many places right above a digit come first
_SIGN_PX: Final = 19  # the width of a tick or question mark, and the space around it
_PAD_PX: Final = 5

# Characters that Hershey's fonts lack but people write, in ASCII.
_PLAIN: Final = str.maketrans(
    {"…": "...", "–": "-", "—": "-", "−": "-", "×": "x", "·": "-", "•": "-", "ß": "ss", "€": "EUR"}
    | dict.fromkeys("„“”«»", '"')
    | dict.fromkeys("‚‘’", "'")
)

_FLAT_PART: Final = 0.75  # above it, most pixels repeat their neighbour and PNG is smaller than JPEG
_MAX_PNG_PIXELS: Final = 300_000
_JPEG_PARAMETERS: Final = (cv2.IMWRITE_JPEG_QUALITY, 80)


@dataclass(frozen=True, slots=True)
class Label:
    """What to write at one mark: its box in page pixels, a short text such as "4 99.9 %", the verdict.

    Where there are several, only the first word of the text is written, or a `?` if it is not accepted.
    """

    box: Box
    text: str
    is_accepted: bool


@dataclass(frozen=True, slots=True)
class _Paint:
    """What a picture is painted with: colours where it has three channels, entries where it has a palette.

    The pairs are for what is accepted and what is doubtful: a colour, and the white of letters on it.
    """

    accepted: tuple[Colour | int, Colour | int]
    doubtful: tuple[Colour | int, Colour | int]
    paper: int
    mat: int
    ink: int
    in_palette: bool

    def pair(self, is_accepted: bool) -> tuple[Colour | int, Colour | int]:
        """The colour of a verdict, and the white on it."""
        return self.accepted if is_accepted else self.doubtful


_PALETTE: Final = Palette(_GREEN, _VERMILION)
_IN_COLOUR: Final = _Paint(
    (_GREEN, _WHITE), (_VERMILION, _WHITE), paper=255, mat=_MAT, ink=_INK, in_palette=False
)
_IN_PALETTE: Final = _Paint(
    (Palette.first, Palette.white_after(Palette.first)),
    (Palette.second, Palette.white_after(Palette.second)),
    paper=255 >> 1,
    mat=_MAT >> 1,
    ink=_INK >> 1,
    in_palette=True,
)


@dataclass(frozen=True, slots=True)
class _Rectangle:
    """Corners in pixels of the finished picture; the right column and bottom row are outside."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class _TagStyle:
    """How tags look: the scale of their letters, height, baseline and the room for a sign, in pixels."""

    scale: float
    height_px: int
    base_px: int
    sign_px: int
    pad_px: int

    def width_px(self, text: str) -> int:
        """The width of a tag with this text."""
        return self.sign_px + _text_width(text, self.scale) + self.pad_px * (1 if self.sign_px else 2)


_SINGLE_TAG: Final = _TagStyle(_TAG_SCALE, _TAG_HEIGHT_PX, _TAG_BASE_PX, _SIGN_PX, _PAD_PX)


def annotate(
    page: Page, labels: Sequence[Label], caption: str, is_accepted: bool, *, max_side_px: int = 1000
) -> Picture:
    """Draw every label at its mark and the caption below the page; uint8 BGR of shape (height, width, 3).

    The page is enlarged or reduced by a whole factor, so that its longer side has about 280 to
    `max_side_px` pixels; margins and caption come on top of that. Labels lie beside their box and inside
    the picture. Characters outside ASCII are replaced by the nearest that can be drawn.
    """
    drawn, scale = _scale(page.grey, max_side_px)
    return _paint(drawn, scale, labels, caption, is_accepted, _IN_COLOUR)


def annotated_file(
    page: Page,
    labels: Sequence[Label],
    caption: str,
    is_accepted: bool,
    *,
    page_was_jpeg: bool,
    max_side_px: int = 1000,
) -> tuple[bytes, str]:
    """What `annotate` draws, as a file: its bytes and `.png` or `.jpg`, whichever is small and quick for it.

    PNG (in a palette: greys are off by one level at most) keeps enlarged and clean pages sharp; large or
    noisy ones would take many times longer than as JPEG.
    """
    drawn, scale = _scale(page.grey, max_side_px)
    if page_was_jpeg or drawn.size > _MAX_PNG_PIXELS or not _is_flat(drawn):
        picture = _paint(drawn, scale, labels, caption, is_accepted, _IN_COLOUR)
        return cv2.imencode(".jpg", picture, _JPEG_PARAMETERS)[1].tobytes(), ".jpg"
    return _PALETTE.png(_paint(drawn, scale, labels, caption, is_accepted, _IN_PALETTE)), ".png"


def _is_flat(drawn: Grey) -> bool:
    """Whether most pixels repeat their left neighbour, looked at in every sixteenth row."""
    rows = drawn[::16]
    if rows.shape[1] < 2:
        return True
    same = rows[:, 1:] == rows[:, :-1]
    return bool(np.count_nonzero(same) > _FLAT_PART * same.size)


def _paint(
    drawn: Grey, scale: float, labels: Sequence[Label], caption: str, is_accepted: bool, paint: _Paint
) -> Picture:
    """The page, already at its final size, with margins, boxes, labels and caption."""
    height, width = drawn.shape
    boxes = [_scaled(label.box, scale) for label in labels]
    texts = [_ascii(label.text) for label in labels]
    style = _SINGLE_TAG
    if len(labels) > 1:
        texts = [_in_short(label) for label in labels]
        style = _style_for(boxes)
    widths = [style.width_px(text) for text in texts]

    above = style.height_px if any(box.top < style.height_px for box in boxes) else 0
    below = style.height_px if any(box.bottom > height - style.height_px for box in boxes) else 0
    full_width = max(width + 2 * _MARGIN_PX, _MIN_WIDTH_PX, *(width + 2 for width in widths))
    lines = _wrap(_ascii(caption), full_width - _SIGN_PX - 3 * _PAD_PX)
    left, top = (full_width - width) // 2, _MARGIN_PX + above
    page_bottom = top + height + below + _MARGIN_PX

    # Single digits share a few captions; numbers have one each.
    draw_caption = _known_caption if len(labels) == 1 else _caption
    strip = draw_caption(tuple(lines), full_width, paint, is_accepted)
    size = (page_bottom + len(strip), full_width)
    # Greys are one number for all channels: NumPy fills with one ten times as fast as with three.
    picture = np.full(size if paint.in_palette else (*size, 3), paint.mat, np.uint8)
    picture[top : top + height, left : left + width] = (
        Palette.grey(drawn) if paint.in_palette else cv2.cvtColor(drawn, cv2.COLOR_GRAY2BGR)
    )
    picture[page_bottom:] = strip

    frames = [
        _Rectangle(
            box.left + left - _LINE_PX,
            box.top + top - _LINE_PX,
            box.right + left + _LINE_PX,
            box.bottom + top + _LINE_PX,
        )
        for box in boxes
    ]
    tags = _place(frames, widths, style, full_width, page_bottom)
    for frame, label in zip(frames, labels, strict=True):
        _draw_frame(picture, frame, paint.pair(label.is_accepted)[0], is_solid=label.is_accepted)
    for tag, label, text in zip(tags, labels, texts, strict=True):
        _draw_tag(picture, tag, text, style, paint.pair(label.is_accepted), label.is_accepted)
    return picture


def _scale(grey: Grey, max_side_px: int) -> tuple[Grey, float]:
    """Enlarge a small page (in squares) or reduce a large one (by means) by a whole factor; and by how much.

    Whole factors keep pixels square for the eye, and reducing by one is eight times faster than by
    1.754.
    """
    height, width = grey.shape
    side = max(height, width)
    if side <= max_side_px:
        factor = min(math.ceil(_MIN_SIDE_PX / side), max_side_px // side)
        # Along rows first: then whole rows are repeated, which takes a quarter of what resizing takes.
        return grey if factor == 1 else grey.repeat(factor, axis=1).repeat(factor, axis=0), factor
    divisor = math.ceil(side / max_side_px)
    # The edge is repeated up to a multiple of the divisor: no column is lost, and the scale is exact.
    whole = cv2.copyMakeBorder(grey, 0, -height % divisor, 0, -width % divisor, cv2.BORDER_REPLICATE)
    size = (whole.shape[1] // divisor, whole.shape[0] // divisor)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8), 1 / divisor


def _scaled(box: Box, scale: float) -> _Rectangle:
    return _Rectangle(
        math.floor(box.x * scale),
        math.floor(box.y * scale),
        math.ceil(box.right * scale),
        math.ceil(box.bottom * scale),
    )


def _in_short(label: Label) -> str:
    """What fits above a digit among others."""
    return (_ascii(label.text).split() or [""])[0] if label.is_accepted else "?"


def _style_for(boxes: list[_Rectangle]) -> _TagStyle:
    """Tags for many digits: as large as the usual box is wide, but always legible."""
    usual_px = float(np.median([max(box.right - box.left, (box.bottom - box.top) // 2) for box in boxes]))
    scale = float(np.clip(usual_px / 32, _SMALLEST_SCALE, _LARGEST_SCALE))
    letters_px = math.ceil(22 * scale)  # how high Hershey's figures are
    return _TagStyle(scale, letters_px + 5, letters_px + 2, 0, 2)


def _place(
    frames: list[_Rectangle], widths: list[int], style: _TagStyle, width: int, height: int
) -> list[_Rectangle]:
    """Find a place for each tag beside its frame: inside the picture, on as little of the others as can be.

    Above is tried first, then below, right and left; of equally good places the first is taken.
    """
    taken = np.zeros((2 * len(frames), 4), np.int64)  # left, top, right, bottom: frames, then tags
    for index, frame in enumerate(frames):
        taken[index] = (frame.left, frame.top, frame.right, frame.bottom)
    tags = []
    for index, (frame, tag_width) in enumerate(zip(frames, widths, strict=True)):
        right, bottom = max(0, width - tag_width), max(0, height - style.height_px)
        places = [
            (min(max(x, 0), right), min(max(y, 0), bottom)) for x, y in _corners(frame, tag_width, style)
        ]
        if len(frames) == 1:
            left, top = min(places, key=lambda at: _covered(frame, at, tag_width, style.height_px))
        else:
            left, top = places[_least_covering(places, taken, index, tag_width, style)]
        tags.append(_Rectangle(left, top, left + tag_width, top + style.height_px))
        taken[len(frames) + index] = (left, top, left + tag_width, top + style.height_px)
    return tags


def _corners(frame: _Rectangle, tag_width: int, style: _TagStyle) -> tuple[tuple[int, int], ...]:
    """List the top left corners that a tag of this width may take, best first."""
    above, below = frame.top - style.height_px, frame.bottom
    flush_right = frame.right - tag_width
    centred = (frame.left + frame.right - tag_width) // 2
    # Of a digit among others the eye looks for the tag right above; a single one has room beside that.
    # It may give way to its neighbours by a few pixels, so that the tags of a line stay in one row.
    aside = 1 + tag_width // 4
    first = (
        ()
        if style.sign_px
        else ((centred, above), (centred - aside, above), (centred + aside, above), (centred, below))
    )
    return (
        *first,
        (frame.left, above),
        (frame.left, below),
        (flush_right, above),
        (flush_right, below),
        (frame.right, frame.top),
        (frame.left - tag_width, frame.top),
        (frame.right, frame.bottom - style.height_px),
        (frame.left - tag_width, frame.bottom - style.height_px),
    )


def _covered(frame: _Rectangle, at: tuple[int, int], width: int, height: int) -> int:
    """How many square pixels of a frame a tag of this size would cover there."""
    left, top = at
    across = min(left + width, frame.right) - max(left, frame.left)
    along = min(top + height, frame.bottom) - max(top, frame.top)
    return max(across, 0) * max(along, 0)


def _least_covering(
    places: Sequence[tuple[int, int]], taken: Spans, own: int, tag_width: int, style: _TagStyle
) -> int:
    """Which of the places for the tag of frame `own` covers least of the rectangles that are `taken`."""
    corners = np.array(places, np.int64)
    ends = corners + np.array((tag_width, style.height_px), np.int64)
    shared = np.minimum(ends[:, None], taken[:, 2:]) - np.maximum(corners[:, None], taken[:, :2])
    np.maximum(shared, 0, out=shared)
    covered = shared[..., 0] * shared[..., 1]  # (places, rectangles), in square pixels
    covered[:, own] *= 4  # its own digit is what the eye looks for
    cost = covered.sum(axis=1)
    if not style.sign_px:
        cost[_ABOVE:] += tag_width * style.height_px // 4
    return int(np.argmin(cost))


def _draw_frame(picture: Picture, frame: _Rectangle, colour: Colour | int, *, is_solid: bool) -> None:
    """Outline a box just outside its ink: solid, or in dashes."""
    left, top = max(0, frame.left), max(0, frame.top)
    dash, step = (1 << 20, 1 << 20) if is_solid else (_DASH_PX, _DASH_PX + _GAP_PX)
    for x in range(left, frame.right, step):
        end = min(x + dash, frame.right)
        picture[top : top + _LINE_PX, x:end] = colour
        picture[frame.bottom - _LINE_PX : frame.bottom, x:end] = colour
    for y in range(top, frame.bottom, step):
        end = min(y + dash, frame.bottom)
        picture[y:end, left : left + _LINE_PX] = colour
        picture[y:end, frame.right - _LINE_PX : frame.right] = colour


def _draw_tag(
    picture: Picture,
    tag: _Rectangle,
    text: str,
    style: _TagStyle,
    colours: tuple[Colour | int, Colour | int],
    is_accepted: bool,
) -> None:
    colour, white = colours
    picture[tag.top : tag.bottom, tag.left : tag.right] = colour
    if style.sign_px:
        _draw_sign(picture, tag.left + 3, tag.top + 3, white, is_accepted)
    at = (tag.left + (style.sign_px or style.pad_px), tag.top + style.base_px)
    thickness = 2 if style.scale > _BOLD_FROM else 1
    cv2.putText(picture, text, at, _FONT, style.scale, _scalar(white), thickness, cv2.LINE_AA)


def _caption(lines: tuple[str, ...], width_px: int, paint: _Paint, is_accepted: bool) -> Picture:
    """The caption in dark letters on white, beside a coloured block with the sign; not to be written to."""
    height = len(lines) * _CAPTION_LINE_PX + 2 * _PAD_PX
    colour, white = paint.pair(is_accepted)
    strip = np.full((height, width_px) if paint.in_palette else (height, width_px, 3), paint.paper, np.uint8)
    strip[:, : _SIGN_PX + _PAD_PX] = colour
    _draw_sign(strip, 4, _PAD_PX + 3, white, is_accepted)
    for row, line in enumerate(lines):
        at = (_SIGN_PX + 2 * _PAD_PX, _PAD_PX + _CAPTION_BASE_PX + row * _CAPTION_LINE_PX)
        cv2.putText(strip, line, at, _FONT, _CAPTION_SCALE, _scalar(paint.ink), 1, cv2.LINE_AA)
    strip.flags.writeable = False
    return strip


_known_caption = lru_cache(maxsize=64)(_caption)


def _draw_sign(picture: Picture, left: int, top: int, white: Colour | int, is_accepted: bool) -> None:
    """Draw a white tick or question mark, 11 pixels high."""
    if is_accepted:
        tick = np.array([(left, top + 7), (left + 4, top + 11), (left + 11, top + 2)], np.int32)
        cv2.polylines(picture, [tick], False, _scalar(white), 2, cv2.LINE_AA)  # noqa: FBT003
    else:
        cv2.putText(picture, "?", (left + 1, top + 12), _FONT, 0.5, _scalar(white), 2, cv2.LINE_AA)


def _scalar(colour: Colour | int) -> Colour:
    """The colour as OpenCV takes it, which looks at the first number alone where there is one channel."""
    return (colour, colour, colour) if isinstance(colour, int) else colour


@lru_cache(maxsize=4096)
def _text_width(text: str, scale: float) -> int:
    return int(cv2.getTextSize(text, _FONT, scale, 1)[0][0])


@lru_cache(maxsize=4096)
def _ascii(text: str) -> str:
    """Replace what Hershey's fonts cannot draw by the nearest that they can; white space by one blank."""
    plain = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    kept = (character for character in plain if not unicodedata.combining(character))
    return " ".join("".join(c if " " <= c <= "~" or c.isspace() else "?" for c in kept).split())


def _wrap(text: str, width_px: int) -> list[str]:
    """Break a text into lines of at most this width, between words where possible; [] for no text."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if _text_width(longer, _CAPTION_SCALE) <= width_px:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _split(word, width_px)
        lines += full
    return [*lines, line] if line else lines


def _split(word: str, width_px: int) -> list[str]:
    """Cut a word into parts that fit; a word that fits is one part."""
    parts = [""]
    for character in word:
        if parts[-1] and _text_width(parts[-1] + character, _CAPTION_SCALE) > width_px:
            parts.append("")
        parts[-1] += character
    return parts
