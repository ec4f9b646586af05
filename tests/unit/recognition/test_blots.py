"""A blot among digits may cover one: it is told, in doubt; letters, dots and what stands apart are left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.recognition.blots import with_blots
from worker.recognition.decision import DIGITS, OTHER, Sign
from worker.vision.ink import Float
from worker.vision.page import Box
from worker.vision.segmentation import Mark


def _sign(digit: int | None, x: int, width: int = 40, height: int = 60) -> Sign:
    row = np.full(DIGITS + 3, 0.01 / (DIGITS + 2))
    row[OTHER if digit is None else digit] = 0.99
    return Sign(row, Box(x, 100, width, height), digit)


def _disc(width: int, height: int) -> Float:
    ink = np.zeros((height, width), np.float32)
    cv2.ellipse(ink, (width // 2, height // 2), (width // 2 - 1, height // 2 - 1), 0, 0, 360, 1.0, -1)
    return ink


def _ring(width: int, height: int) -> Float:
    ink = _disc(width, height)
    cv2.ellipse(ink, (width // 2, height // 2), (width // 4, height // 4), 0, 0, 360, 0.0, -1)
    return ink


def _told(signs: list[Sign], *inks: tuple[Sign, Float]) -> list[int]:
    """Which signs were left out and are told now, all of them in doubt."""
    after = with_blots(signs, [Mark(sign.box, ink) for sign, ink in inks])
    assert [sign.box for sign in after] == [sign.box for sign in signs]
    told = [n for n, (one, other) in enumerate(zip(signs, after, strict=True)) if one != other]
    assert all(after[n].confidence == 0 and after[n].chosen is not None for n in told)
    return told


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("size", [(40, 40), (50, 60), (70, 64)])
def test_a_blot_next_to_a_digit_is_told(place: int, size: tuple[int, int]) -> None:
    signs = [_sign(4, 100), _sign(7, 170), _sign(3, 240)]
    blot = signs[place] = _sign(None, 100 + 70 * place, *size)
    assert _told(signs, (blot, _disc(*size))) == [place]


@pytest.mark.parametrize(
    ("blot", "ink"),
    [
        (
            _sign(None, 155, 34, 34),
            _disc(34, 34),
        ),  # small: the dot at the head of a list, a dot in the middle
        (_sign(None, 175, 44, 60), _disc(44, 60)),  # apart
        (_sign(None, 150, 44, 60), _ring(44, 60)),  # a letter, a ring
        (_sign(None, 150, 12, 60), np.ones((60, 12), np.float32)),  # a bar
        (_sign(0, 150, 44, 60), _disc(44, 60)),  # read as a digit
    ],
)
def test_what_is_no_blot_stays_what_it_is(blot: Sign, ink: Float) -> None:
    assert _told([_sign(4, 100), blot, _sign(None, 400)], (blot, ink)) == []


def test_a_blot_by_itself_and_what_was_cut_out_of_a_mark_are_left_out() -> None:
    blot = _sign(None, 150, 44, 60)
    assert _told([blot], (blot, _disc(44, 60))) == []
    assert _told([_sign(4, 100), blot]) == []
