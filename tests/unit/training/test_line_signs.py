"""What stands beside digits in a drawn line is said to be none, and covers none."""

from __future__ import annotations

import numpy as np

from worker.training.line_signs import with_signs, with_strangers
from worker.training.placed import Placed

HEIGHT = 40


def _digits() -> list[Placed]:
    ink = np.ones((HEIGHT, 24), np.float32)
    return [Placed(ink, 0, -HEIGHT, 4), Placed(ink, 30, -HEIGHT, 7)]


def test_letters_stand_before_or_after_the_digits_and_apart_from_them() -> None:
    sides = set()
    for seed in range(40):
        placed = with_strangers(_digits(), HEIGHT, np.random.default_rng(seed))
        digits = [one for one in placed if one.digit is not None]
        letters = [one for one in placed if one.digit is None]
        assert [one.digit for one in digits] == [4, 7]
        assert digits[1].x - digits[0].x == 30
        assert 1 <= len(letters) <= 3
        are_after = letters[0].x > digits[0].x
        sides.add(are_after)
        if are_after:
            assert min(one.x for one in letters) > max(one.right for one in digits)
        else:
            assert max(one.right for one in letters) < min(one.x for one in digits)
    assert sides == {True, False}


def test_letters_are_about_as_high_as_the_digits_and_stand_on_their_line() -> None:
    letters = [
        one
        for seed in range(60)
        for one in with_strangers(_digits(), HEIGHT, np.random.default_rng(seed))
        if one.digit is None
    ]
    heights = np.array([one.ink.shape[0] for one in letters])
    assert heights.max() <= 1.15 * HEIGHT + 1
    assert np.median(heights) > 0.5 * HEIGHT
    tall = [one for one in letters if one.ink.shape[0] > 0.5 * HEIGHT]
    off = [abs(one.bottom) for one in tall]
    assert np.median(off) < 0.1 * HEIGHT
    assert max(off) < 0.5 * HEIGHT


def test_signs_move_the_digits_behind_them_aside_and_no_digit_is_lost() -> None:
    for seed in range(40):
        placed = with_signs(_digits(), HEIGHT, np.random.default_rng(seed))
        digits = [one for one in placed if one.digit is not None]
        assert [one.digit for one in digits] == [4, 7]
        assert digits[1].x >= digits[0].right
