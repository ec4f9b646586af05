"""A verdict held against what was expected. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from worker.expectation import Expectation
from worker.reasons import Reason, ReasonCode
from worker.recognition.decision import Reading, Verdict

_STANDING = {ReasonCode.NO_INK, ReasonCode.NOT_A_DIGIT}  # nothing was read that could fit
_QUOTED = 40  # characters of a text in a message


def best_guesses(text: str, digits: Sequence[Reading]) -> str:
    """The text of these digits with every `?` replaced by the best guess behind it."""
    guesses = iter(digits)
    return "".join(each if each.isspace() else str(next(guesses).digit) for each in text)


def held_against(verdict: Verdict, expected: Expectation | None) -> Verdict:
    """The same verdict where the best guesses fit; else one that a person should look at, and why."""
    if expected is None or (verdict.reason is not None and verdict.reason.code in _STANDING):
        return verdict
    guesses = best_guesses(verdict.text, verdict.digits)
    if expected.matches(guesses):
        return verdict
    shown = " / ".join(guesses.split("\n"))
    if len(shown) > _QUOTED:
        shown = f"{shown[:_QUOTED]}…"
    detail = f"Read was {shown}, expected {expected}."
    return replace(verdict, reason=Reason.of(ReasonCode.UNEXPECTED_FORMAT, detail))
