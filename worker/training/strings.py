"""How well numbers are read: whole strings, rows, single digits by edit distance, and bags of digits. Pure.

White space is judgement and never counts. A `?` in a label is a glyph that no person can tell: whatever is
read there, also nothing, is right. Where the notes of a label say scattered, there is no order to hold an
answer against, so the digits are compared as a bag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from worker.recognition.fitting import best_guesses
from worker.training.measures import coverage_within, risk_coverage, wilson_interval
from worker.training.specimens import Answer, Measured, Truth, TruthKind

Figures = dict[str, Any]

UNTELLABLE = "?"
RISKS = (0.01, 0.02, 0.05)  # for which the coverage is given
CURVE_POINTS = 200
_MAX_GROUPS = 60


class Cause(StrEnum):
    """What is wrong with a string; the first that holds, in this order."""

    NOTHING = "nothing was read"
    TOO_FEW = "digits are missing"
    TOO_MANY = "there are too many digits"
    WRONG_DIGIT = "a digit is taken for another"
    ORDER = "digits stand in another order"


@dataclass(frozen=True, slots=True)
class Written:
    """What a label says is written: its rows without white space, and whether their order means anything."""

    rows: tuple[str, ...]
    is_scattered: bool = False

    @property
    def digits(self) -> str:
        """All of it in one, `?` included."""
        return "".join(self.rows)


def written(truth: Truth, notes: str = "") -> Written:
    """What a label such as `multi:12` or `1 2/3 ?` says."""
    label = truth.label.removeprefix("multi:")
    rows = ("".join(row.split()) for row in label.split("/"))
    return Written(tuple(row for row in rows if row), "scattered" in notes.lower())


# --- one string -------------------------------------------------------------------------------------


def edit_distance(label: str, read: str) -> int:
    """The fewest digits to put in, leave out or exchange (Levenshtein, 1966); `?` of the label costs nothing."""
    row = list(range(len(read) + 1))
    for wanted in label:
        free = wanted == UNTELLABLE
        diagonal, row[0] = row[0], row[0] + (not free)
        for place, found in enumerate(read, 1):
            exchanged = diagonal + (not free and wanted != found)
            diagonal = row[place]
            row[place] = min(exchanged, row[place] + (not free), row[place - 1] + 1)
    return row[-1]


@dataclass(frozen=True, slots=True)
class Bag:
    """Digits compared without order: how many were written, read, and both."""

    written: int
    read: int
    both: int

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 where nothing was written and nothing read."""
        total = self.written + self.read
        return 2 * self.both / total if total else 1.0


def compare_bags(label: str, read: str) -> Bag:
    """The digits of both without order; each `?` of the label excuses one digit that was read in excess."""
    wanted = Counter(label.replace(UNTELLABLE, ""))
    both = sum((wanted & Counter(read)).values())
    excused = min(label.count(UNTELLABLE), len(read) - both)
    return Bag(sum(wanted.values()), len(read) - excused, both)


def rows_in_order(label: Sequence[str], read: Sequence[str]) -> int:
    """How many rows of the label were read exactly, in their order (longest common subsequence)."""
    table = [0] * (len(read) + 1)
    for wanted in label:
        diagonal = 0
        for place, found in enumerate(read, 1):
            longer = diagonal + 1 if edit_distance(wanted, found) == 0 else 0
            diagonal = table[place]
            table[place] = max(table[place], table[place - 1], longer)
    return table[-1]


def rows_anywhere(label: Sequence[str], read: Sequence[str]) -> int:
    """How many rows of the label were read exactly, wherever they stand."""
    left = list(read)
    count = 0
    for wanted in label:
        found = next((row for row in left if edit_distance(wanted, row) == 0), None)
        if found is not None:
            left.remove(found)
            count += 1
    return count


def is_right(label: Written, read: str) -> bool:
    """Whether `read`, without white space, is what is written."""
    if label.is_scattered:
        bag = compare_bags(label.digits, read)
        return bag.written == bag.read == bag.both
    return edit_distance(label.digits, read) == 0


def cause_of(label: Written, read: str) -> Cause | None:
    """What is wrong with `read`, without white space; None if nothing is."""
    if is_right(label, read):
        return None
    most = len(label.digits)
    least = most - label.digits.count(UNTELLABLE)
    bag = compare_bags(label.digits, read)
    if not read:
        return Cause.NOTHING
    if len(read) < least:
        return Cause.TOO_FEW
    if len(read) > most:
        return Cause.TOO_MANY
    return Cause.ORDER if bag.both == bag.written == bag.read else Cause.WRONG_DIGIT


# --- a set ------------------------------------------------------------------------------------------


def guessed_rows(answer: Answer) -> list[str]:
    """The best guesses by rows, without white space."""
    return ["".join(row.split()) for row in best_guesses(answer.text, answer.digits).split("\n")]


def cause(measured: Measured) -> Cause | None:
    """What is wrong with the best guesses of one string, accepted or not; None if nothing is."""
    label = written(measured.specimen.truth, measured.specimen.notes)
    return cause_of(label, "".join(guessed_rows(measured.answer)))


def is_string(measured: Measured) -> bool:
    """Whether the label is one of several digits."""
    return measured.specimen.truth.kind is TruthKind.SEVERAL


def string_figures(strings: Sequence[Measured]) -> Figures:
    """The figures of one or more strings, as JSON holds them."""
    confidences = np.array([each.answer.confidence for each in strings], np.float64)
    right = np.array([cause(each) is None for each in strings], np.bool_)
    curve = risk_coverage(confidences, right)
    points = np.unique(np.linspace(0, len(strings) - 1, CURVE_POINTS).round().astype(int))
    names = dict.fromkeys(name for each in strings for name in each.specimen.columns)
    groups = {name: _grouped(strings, name) for name in names}
    return {
        **string_outline(strings),
        "causes": dict(Counter(str(found) for each in strings if (found := cause(each))).most_common()),
        "columns": {
            name: {group: string_outline(own) for group, own in found.items()}
            for name, found in groups.items()
            if 1 < len(found) <= _MAX_GROUPS
        },
        "coverage_at": {f"{risk:g}": coverage_within(curve, risk) for risk in RISKS},
        "risk_coverage": {
            "aurc": curve.area,
            "coverage": curve.coverage[points].tolist(),
            "risk": curve.risk[points].tolist(),
        },
    }


def string_outline(strings: Sequence[Measured]) -> Figures:
    """What is counted of a set of strings and of each part of it."""
    labels = [written(each.specimen.truth, each.specimen.notes) for each in strings]
    rows = [guessed_rows(each.answer) for each in strings]
    wrong = [not is_right(label, "".join(read)) for label, read in zip(labels, rows, strict=True)]
    accepted = [not_right for each, not_right in zip(strings, wrong, strict=True) if each.is_read]
    ordered = [(label, read) for label, read in zip(labels, rows, strict=True) if not label.is_scattered]
    in_order = [rows_in_order(label.rows, read) for label, read in ordered]
    bags = [compare_bags(label.digits, "".join(read)) for label, read in zip(labels, rows, strict=True)]
    pooled = Bag(*(sum(getattr(bag, name) for bag in bags) for name in ("written", "read", "both")))
    edits = sum(edit_distance(label.digits, "".join(read)) for label, read in ordered)
    digits = sum(len(label.digits.replace(UNTELLABLE, "")) for label, _ in ordered)
    return {
        "exact": _share(wrong.count(False), len(strings)),
        "accepted": _share(len(accepted), len(strings)),
        "accepted_wrong": _share(sum(accepted), len(accepted)),
        "rows_exact": _share(sum(in_order), sum(len(label.rows) for label, _ in ordered)),
        "order_right": _share(
            sum(
                rows_anywhere(label.rows, read) == count
                for (label, read), count in zip(ordered, in_order, strict=True)
            ),
            len(ordered),
        ),
        "digit_errors": edits,
        "digits": digits,
        "digit_error_rate": edits / digits if digits else None,
        "bag": {
            "written": pooled.written,
            "read": pooled.read,
            "both": pooled.both,
            "f1": pooled.f1,
            "mean_f1": sum(bag.f1 for bag in bags) / len(bags) if bags else None,
        },
    }


def _grouped(strings: Sequence[Measured], column: str) -> dict[str, list[Measured]]:
    groups: dict[str, list[Measured]] = {}
    for each in strings:
        groups.setdefault(each.specimen.columns.get(column, ""), []).append(each)
    return dict(sorted(groups.items()))


def _share(count: int, n: int) -> Figures:
    low, high = wilson_interval(count, n)
    return {"count": count, "of": n, "share": count / n if n else None, "low": low, "high": high}
