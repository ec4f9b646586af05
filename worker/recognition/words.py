"""Small print beside digits, as forms have it: a row of letters is left out as a whole, before anything is read. Pure.

One letter in six is a digit by its shape alone, and each of those would send the number beside it to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from worker.recognition.decision import DIGITS, OTHER, SEVERAL
from worker.recognition.knowledge import Floats
from worker.vision.layout import lines_of, usual_height
from worker.vision.page import Box
from worker.vision.sheet import Sheet

SURE = 0.9  # the probability of a digit from which on a sign counts as one
LIKELY = 0.5  # that of no digit, or of several
SMALL = 0.55  # of the height of the digits: what is larger is written beside them, not printed under them
LEAST, LETTERS = 3, 2  # of a row of print: signs, and those of them that surely are letters
SHARE = 0.4  # of a row of print: the least that are neither a digit nor several; of a number hardly any
DIGIT_LIKE = 0.34  # the most that surely are digits: one letter in six looks so, of a number nearly all
WORD = 0.2  # of the height of a row: how much wider than usual a gap between two words is at least
BESIDE = 1.0  # heights of a row: how far from it scraps of it lie at most


def without_words(sheet: Sheet, rows: Floats) -> tuple[Sheet, Floats]:
    """The sheet without its small print, and the probabilities (n, labels) of the tiles that stay.

    Small beside surely read digits, several signs in a row, many of them surely no digits, and no word among them that
    may be a number: that stays, as does all print where no larger digits are.
    """
    boxes = [mark.box for mark in sheet.marks]
    if len(boxes) <= LEAST or rows.shape[1] <= SEVERAL:
        return sheet, rows
    sure = rows[:, :DIGITS].max(axis=1) >= SURE
    height = usual_height([box.height for box, is_sure in zip(boxes, sure, strict=True) if is_sure])
    small = [i for i, box in enumerate(boxes) if box.height < SMALL * height]
    if len(small) < LEAST:
        return sheet, rows
    found = _rows_of_words([boxes[i] for i in small], rows[small])
    if not found:
        return sheet, rows
    words = [[small[i] for i in row] for row in found]
    gone = {i for row in words for i in row}
    kept = [i for i in range(len(boxes)) if i not in gone]
    around = [_around([boxes[i] for i in row]) for row in words]
    return sheet.with_marks(kept, outside=around), rows[kept]


def _rows_of_words(boxes: Sequence[Box], rows: Floats) -> list[list[int]]:
    """Which of these signs are words, by rows of print; `rows` are the probabilities of all labels of each."""
    in_rows = lines_of(boxes)
    return [row for row in in_rows if _is_of_words([boxes[i] for i in row], rows[row])]


def _is_of_words(boxes: Sequence[Box], rows: Floats) -> bool:
    """Whether signs in a row, from the left, are letters, in words of which none may be a number."""
    is_digit = rows[:, :DIGITS].max(axis=1) >= SURE
    is_letter = rows[:, OTHER] >= LIKELY
    is_number = is_digit | (rows[:, SEVERAL] >= LIKELY)  # or a part of one
    count = len(boxes)
    if count < LEAST or np.count_nonzero(is_letter) < LETTERS:
        return False
    if np.count_nonzero(~is_number) < SHARE * count or np.count_nonzero(is_digit) > DIGIT_LIKE * count:
        return False
    return not any(
        not is_letter[word].any() and 2 * np.count_nonzero(is_number[word]) > len(word)
        for word in _words(boxes)
    )


def _words(boxes: Sequence[Box]) -> list[list[int]]:
    """The places of signs in a row, from the left, by words."""
    gaps = [after.x - before.right for before, after in pairwise(boxes)]
    height = usual_height([box.height for box in boxes])
    least = float(np.median(gaps)) + WORD * height
    words = [[0]]
    for place, gap in enumerate(gaps, start=1):
        if gap >= least:
            words.append([])
        words[-1].append(place)
    return words


def _around(boxes: Sequence[Box]) -> Box:
    """A box around a row of print and the scraps beside it."""
    margin = round(BESIDE * usual_height([box.height for box in boxes]))
    left, right = min(box.x for box in boxes) - margin, max(box.right for box in boxes) + margin
    top, bottom = min(box.y for box in boxes), max(box.bottom for box in boxes)
    return Box(left, top, right - left, bottom - top)
