"""What a picture is expected to say: how many digits, which pattern, which check digit. Pure.

Rules speak of digits alone: a text is held against them without its spaces. A rule without `lines` takes all
digits of a picture together, whatever its lines; with `lines`, each line must fit by itself.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

from worker.pattern import UNKNOWN, Pattern, PatternError

MOST_DIGITS: Final = 1000  # of a text; longer ones fit nothing
MOST_TRIES: Final = 2000  # combinations of readings tried to find one that fits
KEYS: Final = ("digits", "pattern", "check", "lines")
ANYTHING: Final = "any"
HERE: Final = "."


# --- check digits -----------------------------------------------------------------------------------


def is_luhn(digits: str) -> bool:
    """Whether the last digit checks the others by Luhn's formula (ISO/IEC 7812): cards, OCR references."""
    doubled = (int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits)))
    return sum(d - 9 * (d > 9) for d in doubled) % 10 == 0


def is_gtin(digits: str) -> bool:
    """Whether the last digit checks the others with weights 1 and 3 from the right: GTIN, EAN, ISBN-13."""
    return sum(int(d) * (1 + 2 * (i % 2)) for i, d in enumerate(reversed(digits))) % 10 == 0


def is_mod11(digits: str) -> bool:
    """Whether the sum with weights 1 and then 2 to 7, repeated, from the right is a multiple of 11."""
    weights = [1, *islice(cycle(range(2, 8)), len(digits))]
    return sum(int(d) * w for d, w in zip(reversed(digits), weights, strict=False)) % 11 == 0


def is_mod97(digits: str) -> bool:
    """Whether the number leaves 1 when divided by 97 (ISO 7064, MOD 97-10): its last two digits check."""
    rest = 0
    for digit in digits:
        rest = (rest * 10 + int(digit)) % 97
    return rest == 1


CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "luhn": is_luhn,
    "gtin": is_gtin,
    "mod11": is_mod11,
    "mod97": is_mod97,
}


# --- one rule ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A count from `least` to `most`, both included."""

    least: int
    most: int

    def __contains__(self, count: int) -> bool:
        return self.least <= count <= self.most

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}-{self.most}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """A rule; what is None is not asked for. All that is asked for must hold."""

    digits: Span | None = None
    pattern: Pattern | None = None
    check: str | None = None
    lines: Span | None = None

    def __str__(self) -> str:
        parts = []
        if self.digits is not None:
            parts.append(f"{self.digits} digit{'s' * (self.digits != Span(1, 1))}")
        if self.pattern is not None:
            parts.append(f"the pattern {self.pattern.source}")
        if self.check is not None:
            parts.append(f"the check digit {self.check}")
        if self.lines is not None:
            return f"{self.lines} line{'s' * (self.lines != Span(1, 1))}" + (
                f", each of {', '.join(parts)}" if parts else ""
            )
        return ", ".join(parts)

    def allows_count(self, count: int) -> bool:
        """Whether a number of `count` digits can fit: one line of them where `lines` is set, else all."""
        if not 0 < count <= MOST_DIGITS or (self.digits is not None and count not in self.digits):
            return False
        return self.pattern is None or self.pattern.allows_count(count)

    def fits_number(self, number: str) -> bool:
        """Whether one number fits: digits, and `?` for each that is unknown; white space is left out."""
        digits = "".join(number.split())
        if not self.allows_count(len(digits)):
            return False
        if self.pattern is not None and not self.pattern.matches(digits):
            return False
        # With a digit unknown there nearly always is one that makes the check come out.
        return self.check is None or UNKNOWN in digits or CHECKS[self.check](digits)

    def matches(self, text: str) -> bool:
        """Whether the text of a picture fits, lines separated by newlines."""
        if self.lines is None:
            return self.fits_number(text)
        lines = [line for line in text.split("\n") if line.strip()]
        return len(lines) in self.lines and all(self.fits_number(line) for line in lines)

    def choose(self, lines: Sequence[Sequence[tuple[str, float]]]) -> tuple[int, ...] | None:
        """For each line, which of its readings (text, probability; best first) to take so that all fits.

        The most probable choice that fits wins; None where none of the MOST_TRIES most probable ones does.
        An empty reading leaves the line out.
        """
        if not all(lines):
            return None
        if self.lines is not None:
            return self._each(lines)
        first = (0,) * len(lines)
        queue, seen = [(-_chance(lines, first), first)], {first}
        for _ in range(MOST_TRIES):
            if not queue:
                return None
            _, choice = heapq.heappop(queue)
            if self.matches("\n".join(lines[i][place][0] for i, place in enumerate(choice))):
                return choice
            for i in range(len(lines)):
                longer = (*choice[:i], choice[i] + 1, *choice[i + 1 :])
                if longer[i] < len(lines[i]) and longer not in seen:
                    seen.add(longer)
                    heapq.heappush(queue, (-_chance(lines, longer), longer))
        return None

    def _each(self, lines: Sequence[Sequence[tuple[str, float]]]) -> tuple[int, ...] | None:
        """The choice where each line fits by itself, or is empty."""
        choice = []
        for readings in lines:
            fits = (i for i, (text, _) in enumerate(readings) if not text or self.fits_number(text))
            place = next(fits, None)
            if place is None:
                return None
            choice.append(place)
        text = "\n".join(readings[i][0] for readings, i in zip(lines, choice, strict=True))
        return tuple(choice) if self.matches(text) else None


def _chance(lines: Sequence[Sequence[tuple[str, float]]], choice: Sequence[int]) -> float:
    chance = 1.0
    for readings, place in zip(lines, choice, strict=True):
        chance *= readings[place][1]
    return chance


# --- all rules --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expectations:
    """Rules by folder below the inbox: (folder with `/` at its end, or `` for all; rule, None for anything)."""

    rules: tuple[tuple[str, Expectation | None], ...] = ()

    def of(self, name: str) -> Expectation | None:
        """The rule for a picture named by its path below the inbox: the deepest folder's; None for none."""
        fitting = [rule for rule in self.rules if name.startswith(rule[0])]
        return max(fitting, key=lambda rule: len(rule[0]))[1] if fitting else None


def parse_expectations(value: object) -> Expectations:
    """The rules that a configuration's value means: one rule, or one for each folder.

    ValueError names every mistake.
    """
    if isinstance(value, Expectations):
        return value
    if not isinstance(value, Mapping) or not value:
        raise ValueError(
            f"must be a rule such as {{digits: 4-6}}, or folders with rules; keys: {_listed(KEYS)}"
        )
    problems: list[str] = []
    rules: list[tuple[str, Expectation | None]] = []
    if set(value) & set(KEYS):
        rules.append(("", _parse_rule(value, "", problems)))
    else:
        for folder, rule in value.items():
            prefix = _prefix(folder, problems)
            if prefix in dict(rules):
                problems.append(f"{folder} names a folder a second time")
            rules.append((prefix, _parse_rule(rule, f"{folder}: ", problems)))
    if problems:
        raise ValueError("; ".join(problems))
    return Expectations(tuple(rules))


def _prefix(folder: object, problems: list[str]) -> str:
    if folder == HERE:
        return ""
    name = str(folder)
    if not isinstance(folder, str) or not name.endswith("/"):
        problems.append(
            f"{name} is neither one of {_listed(KEYS)}, nor a folder: folders end in / (or are `.`)"
        )
    elif name.startswith("/") or any(part in ("", ".", "..") for part in name[:-1].split("/")):
        problems.append(f"{name} must be a path below the inbox, written plainly")
    return name


def _parse_rule(value: object, where: str, problems: list[str]) -> Expectation | None:
    if value == ANYTHING:
        return None
    if not isinstance(value, Mapping) or not value:
        problems.append(f"{where}a rule is `any`, or has some of {_listed(KEYS)}")
        return None
    unknown = [key for key in value if key not in KEYS]
    problems += [f"{where}{key} is unknown; a rule has some of {_listed(KEYS)}" for key in unknown]
    return Expectation(
        digits=_span(value, "digits", where, problems),
        pattern=_pattern(value, where, problems),
        check=_check(value, where, problems),
        lines=_span(value, "lines", where, problems),
    )


def _span(value: Mapping[object, object], key: str, where: str, problems: list[str]) -> Span | None:
    if key not in value:
        return None
    raw = value[key]
    found = re.fullmatch(r"([0-9]{1,4})(?:\s*-\s*([0-9]{1,4}))?", str(raw).strip())
    if found is None or isinstance(raw, bool):
        problems.append(f"{where}{key} is a number or a range such as 4-6, not {raw!r}")
        return None
    span = Span(int(found[1]), int(found[2] or found[1]))
    if not 1 <= span.least <= span.most <= MOST_DIGITS:
        problems.append(f"{where}{key} {raw} must rise, from 1 to {MOST_DIGITS} at most")
        return None
    return span


def _pattern(value: Mapping[object, object], where: str, problems: list[str]) -> Pattern | None:
    if "pattern" not in value:
        return None
    raw = value["pattern"]
    # YAML takes 0123 or 12 for a number and loses its noughts.
    if not isinstance(raw, str):
        problems.append(f"{where}pattern {raw!r} is no text: write it in single quotes")
        return None
    try:
        return Pattern(raw)
    except PatternError as error:
        problems.append(f"{where}pattern {raw!r}: {error}")
        return None


def _check(value: Mapping[object, object], where: str, problems: list[str]) -> str | None:
    if "check" not in value:
        return None
    raw = value["check"]
    if not isinstance(raw, str) or raw not in CHECKS:
        problems.append(f"{where}check is one of {_listed(CHECKS)}, not {raw!r}")
        return None
    return raw


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(names)
