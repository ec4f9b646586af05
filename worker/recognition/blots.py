"""Blots among the digits of a line: each may cover one, so it is told, and in doubt. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from worker.recognition.decision import Sign, disbelieved
from worker.vision.layout import usual_height
from worker.vision.moments import dark_of, is_solid
from worker.vision.page import Box
from worker.vision.segmentation import Mark

LEAST = 0.6  # of the height of digits: how large it is at least, either way; the dot at the head of a list is smaller
NEAR = 0.5  # of that height: how far from a digit it is at most


def with_blots(signs: Sequence[Sign], marks: Sequence[Mark]) -> list[Sign]:
    """The signs of a line, from the left; a blot next to a digit, and hardly smaller, is in doubt, not left out.

    `marks` are those of the line: a sign that was cut from one, or joined from several, is no blot.
    """
    digits = [sign.box for sign in signs if sign.chosen is not None]
    if not digits or len(digits) == len(signs):
        return list(signs)
    height = usual_height([box.height for box in digits])
    inks = {mark.box: mark.ink for mark in marks}

    def is_blot(sign: Sign) -> bool:
        return (
            sign.chosen is None
            and sign.box in inks
            and min(sign.box.width, sign.box.height) >= LEAST * height
            and any(_gap_px(sign.box, digit) <= NEAR * height for digit in digits)
            and is_solid(dark_of(inks[sign.box]))
        )

    return [disbelieved(sign) if is_blot(sign) else sign for sign in signs]


def _gap_px(one: Box, other: Box) -> int:
    return max(one.x - other.right, other.x - one.right)
