"""Numbers with small print beside them, as forms and labels have it, or with small writing below. Pure.

========  ========================================================================================
style     what is in the picture; the label is what is written, rows parted by `/`
========  ========================================================================================
above     a number, and words printed above it
below     the same below it
beside    the same to its left or its right
boxed     a number in a frame, words printed within it
two       two numbers, words printed above each
single    one digit, words printed above it
window    a number in the window of a drawing program, with a title, buttons and a bar below
numbered  as `above`, but the print ends in a number, which belongs to the label
small     a number, and one written half as large or smaller below it
========  ========================================================================================
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from benchmarks.ink import Ink, TestDigits, cut_out, enlarge, put
from benchmarks.paper import Picture, develop, draw_office_conditions

STYLES = ("above", "below", "beside", "boxed", "two", "single", "window", "numbered", "small")
WORDS: Final = (
    "Amount in EUR", "Total", "Name", "meter reading", "Please write clearly", "Date", "Customer number",
    "Menge", "kWh", "Unterschrift", "Quantity of items", "Room", "Price", "PLZ / Ort", "Postal code",
    "Order no.", "Seite", "Kilometer", "Temperatur", "Telefon", "Score", "Class", "Group", "Invoice",
    "Signature", "Zahl", "Numero", "Codice", "Fecha", "Prix total", "Cantidad", "do not write below",
)  # fmt: skip
_FONTS: Final = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_PRINT: Final = (0.17, 0.34)  # of the height of the digits: how high a capital letter is
_SMALL: Final = (0.3, 0.48)  # the same: how high the digits of a small number are


def draw_labelled(digits: TestDigits, style: str, rng: np.random.Generator) -> Picture:
    """A picture of this style; its label is all that is written, and printed where that is a number."""
    size_px = int(rng.integers(48, 130))
    page, label = laid_out(digits, style, size_px, rng)
    conditions = draw_office_conditions(rng)
    image = develop(page, conditions, rng)
    return Picture(label, style, image, conditions.jpeg_quality, {"made_with": f"{size_px} px {conditions}"})


def laid_out(digits: TestDigits, style: str, size_px: int, rng: np.random.Generator) -> tuple[Ink, str]:
    """The ink of a page of this style, digits being about `size_px` high, and its label."""
    count = 1 if style == "single" else int(rng.integers(2, 7))
    rows = 2 if style == "two" else 1
    wide = 20 if style == "beside" else 13
    page = np.zeros((round((2.0 + 2.2 * rows) * size_px), round(wide * size_px)), np.float32)
    top, left = 1.7 * size_px, size_px * (6.5 if style == "beside" else 0.8)
    labels, right = [], left
    for row in range(rows):
        label, right = _write(page, digits, count, (left, top + 2.2 * row * size_px), size_px, rng)
        labels.append(label)
    words = str(rng.choice(WORDS))
    if style == "beside":
        x = size_px * 0.5 if rng.random() < 0.5 else right + size_px * rng.uniform(0.3, 0.6)
        _print(page, words, (x, top + size_px * rng.uniform(0.5, 0.9)), size_px, rng)
    elif style == "below":
        _print(page, words, (size_px * rng.uniform(0.5, 1), top + 1.7 * size_px), size_px, rng)
    elif style == "small":
        small_px = size_px * rng.uniform(*_SMALL)
        below, _ = _write(page, digits, int(rng.integers(3, 6)), (left, top + 1.5 * size_px), small_px, rng)
        labels.append(below)
    elif style == "window":
        _window(page, size_px, rng)
    elif style == "numbered":
        number = str(int(rng.integers(10, 1000)))
        _print(page, f"{words.split(maxsplit=1)[0]} {number}", (left, top - 0.5 * size_px), size_px, rng)
        labels.insert(0, number)
    else:
        for row in range(rows):
            y = top + (2.2 * row - rng.uniform(0.4, 0.7)) * size_px
            _print(page, str(rng.choice(WORDS)), (left - 0.3 * size_px, y), size_px, rng)
    if style == "boxed":
        _frame(
            page,
            (left - 0.5 * size_px, top - 1.2 * size_px),
            (right + 1.5 * size_px, top + 1.4 * size_px),
            size_px,
        )
    return page, "/".join(labels)


def _write(
    page: Ink,
    digits: TestDigits,
    count: int,
    where: tuple[float, float],
    size_px: float,
    rng: np.random.Generator,
) -> tuple[str, float]:
    """Write so many digits from a place (left, top) on; gives what they say and where they end."""
    x, top = where
    label = ""
    for _ in range(count):
        place = int(rng.integers(len(digits.labels)))
        high = round(size_px * rng.uniform(0.9, 1.0))
        ink = enlarge(cut_out(digits.pixels[place]), high, 1.3, round(1.2 * size_px))
        put(ink, page, round(x), round(top + size_px - ink.shape[0]))
        x += ink.shape[1] + size_px * rng.uniform(0.1, 0.3)
        label += str(digits.labels[place])
    return label, x


def _print(
    page: Ink, words: str, where: tuple[float, float], size_px: float, rng: np.random.Generator
) -> None:
    """Print words from a place on the base line on, in one of several types, plain or bold."""
    font = int(rng.choice(_FONTS))
    high_px = size_px * rng.uniform(*_PRINT)
    (_, cap_px), _ = cv2.getTextSize("H", font, 1.0, 1)
    pen_px = max(1, round(high_px * rng.uniform(0.08, 0.16)))
    drawn = np.zeros(page.shape, np.uint8)
    at = round(where[0]), round(where[1])
    cv2.putText(drawn, words, at, font, high_px / cap_px, 255, pen_px, cv2.LINE_AA)
    _lay(page, drawn)


def _frame(page: Ink, first: tuple[float, float], last: tuple[float, float], size_px: float) -> None:
    drawn = np.zeros(page.shape, np.uint8)
    corners = [(round(x), round(y)) for x, y in (first, last)]
    cv2.rectangle(drawn, corners[0], corners[1], 255, max(1, round(0.03 * size_px)), cv2.LINE_AA)
    _lay(page, drawn)


def _window(page: Ink, size_px: float, rng: np.random.Generator) -> None:
    """A title, a row of buttons with a letter in each, and a line of status."""
    _print(page, "Untitled - Draw", (0.3 * size_px, 0.4 * size_px), size_px, rng)
    for place, letter in enumerate("FBTSAEKM"):
        left, top = (0.3 + 0.7 * place) * size_px, 0.6 * size_px
        _frame(page, (left, top), (left + 0.5 * size_px, top + 0.5 * size_px), size_px)
        _print(page, letter, (left + 0.12 * size_px, top + 0.4 * size_px), size_px, rng)
    _print(page, "Ready   zoom   fit", (0.3 * size_px, page.shape[0] - 0.2 * size_px), size_px, rng)


def _lay(page: Ink, drawn: cv2.typing.MatLike) -> None:
    np.maximum(page, drawn.astype(np.float32) / np.float32(255), out=page)
