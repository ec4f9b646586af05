"""Small print beside digits is left out by rows; what may be a number, or stands alone, stays."""

from __future__ import annotations

import numpy as np
import pytest

from worker.recognition.decision import DIGITS, OTHER, SEVERAL
from worker.recognition.knowledge import Floats
from worker.recognition.words import without_words
from worker.vision.normalization import NormalizerSettings
from worker.vision.page import Box
from worker.vision.segmentation import Mark, Writing
from worker.vision.sheet import Sheet, arrange
from worker.vision.strips import NO_FIELD

LABEL = {"L": OTHER, "s": SEVERAL}
LETTER_PX, SPACE_PX = 16, 8


def _mark(x: int, y: int, width: int, height: int) -> Mark:
    return Mark(Box(x, y, width, height), np.ones((height, width), np.float32))


def _page(
    words: str, *, x: int = 20, y: int = 20, digits: int = 3, scrap: Box | None = None
) -> tuple[Sheet, Floats]:
    """Digits 70 pixels high, and print of 20: D a sure digit, L a letter, s several, . what nobody can tell."""
    signs = [(_mark(60 + 70 * n, 100, 50, 70), "D") for n in range(digits)]
    for sign in words:
        if sign != " ":
            signs.append((_mark(x, y, LETTER_PX - 2, 20), sign))
        x += SPACE_PX if sign == " " else LETTER_PX
    kinds = {mark.box: kind for mark, kind in signs}
    overlooked = (_mark(scrap.x, scrap.y, scrap.width, scrap.height),) if scrap else ()
    writing = Writing([mark for mark, _ in signs], NO_FIELD, None, overlooked)
    sheet = arrange(writing, NormalizerSettings(), 600, 400)
    return sheet, np.array([_row(kinds[tile.box]) for tile in sheet.tiles])


def _row(kind: str) -> Floats:
    row = np.full(DIGITS + 3, 0.001)
    if kind == ".":
        row[[2, 7, OTHER]] = 0.3
    else:
        row[LABEL.get(kind, 5)] = 0.95
    return np.asarray(row / row.sum())


def _left(words: str, **how: object) -> tuple[int, int]:
    """How many marks stay of a page with such print, and what was overlooked there."""
    sheet, rows = _page(words, **how)  # type: ignore[arg-type]
    after, kept = without_words(sheet, rows)
    assert len(after.tiles) == len(after.marks) == len(kept)
    by_box = {tile.box: row for tile, row in zip(sheet.tiles, rows, strict=True)}
    assert all((by_box[tile.box] == row).all() for tile, row in zip(after.tiles, kept, strict=True))
    return len(after.marks), len(after.overlooked)


@pytest.mark.parametrize(
    "words", ["LLL", "LLDLLL", "LL.L", "LsL", "LDL LL LLDL", "L..L", "LL ..L", "LLL ..s"]
)
@pytest.mark.parametrize(("x", "y"), [(20, 20), (40, 230), (290, 125)])
def test_print_above_below_or_beside_a_number_is_left_out(words: str, x: int, y: int) -> None:
    assert _left(words, x=x, y=y) == (3, 0)


@pytest.mark.parametrize(
    "words",
    [
        "LLLL DD",  # a number of its own
        "LLLL D",
        "LLLL s",  # which may hang together
        "D LLLL",
        "LLLL DD.",
        "DDD",
        "sss",
        "LDDDL",  # too many of them
        "LDsss",
        "LLssssss",
        "LD.",  # one letter
        "LL",  # too few: a sign, a scrap
    ],
)
def test_what_may_be_a_number_stays(words: str) -> None:
    assert _left(words)[0] == 3 + len(words.replace(" ", ""))


def test_print_stays_where_no_digits_are_much_larger() -> None:
    assert _left("LLLLLL", digits=0)[0] == 6
    sheet, rows = _page("LLLLLL")
    small = np.array([box.height < 70 for box in (tile.box for tile in sheet.tiles)])
    rows[~small] = _row("L")  # what is large is no digit
    assert len(without_words(sheet, rows)[0].marks) == 9


def test_what_was_overlooked_among_the_letters_goes_with_them() -> None:
    assert _left("LLLLL", scrap=Box(110, 24, 10, 14)) == (3, 0)
    assert _left("LLLLL", scrap=Box(300, 24, 10, 14)) == (3, 1)
    assert _left("LLLLL", scrap=Box(60, 200, 10, 14)) == (3, 1)


def test_a_model_that_knows_only_digits_tells_no_letters() -> None:
    sheet, rows = _page("LLLLL")
    after, kept = without_words(sheet, rows[:, :DIGITS])
    assert after is sheet
    assert len(kept) == 8
