"""Patterns of digits: a small part of regular expressions, matched in linear time. Pure.

Python's `re` can take time that doubles with each character, so a pattern of the configuration runs here as
a set of states instead (Thompson, 1968). That also answers how many digits fit at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

DIGITS = frozenset("0123456789")
UNKNOWN = "?"  # in a text: a digit that nobody knows
MAX_STATES = 2000
MOST_REPEATS = 400
MOST_NESTED = 20
_TOO_LARGE = "it is too large: repeat less often"


@dataclass(frozen=True, slots=True)
class _One:
    """One digit of these."""

    digits: frozenset[str]


@dataclass(frozen=True, slots=True)
class _All:
    """The parts one after the other."""

    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Any:
    """One of the parts."""

    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Times:
    """The part `low` to `high` times; None: as often as one likes."""

    part: _Node
    low: int
    high: int | None


_Node = _One | _All | _Any | _Times


class PatternError(ValueError):
    """A pattern that cannot be used; the message says why and where."""


@dataclass(frozen=True)
class Pattern:
    r"""A regular expression over digits, compiled; equal where the sources are.

    Known are digits, `\d` and `.` (any digit), classes like `[0-3]` and `[^9]`, groups, `|`, and the
    repeats `?`, `*`, `+`, `{3}`, `{2,4}`, `{2,}`. It always holds for the whole text; `^` in front and `$`
    at the end are allowed and change nothing. Raises PatternError.
    """

    source: str

    def __post_init__(self) -> None:
        """Compile at once: a wrong pattern is a wrong configuration."""
        _ = self._machine

    @cached_property
    def _machine(self) -> _Machine:
        machine = _Machine()
        end = machine.build(_Parser(self.source).parse(), machine.start)
        machine.end = end
        return machine

    def matches(self, text: str) -> bool:
        """Whether all of `text` (digits, and `?` for any of them) fits."""
        machine = self._machine
        states = machine.closure({machine.start})
        for character in text:
            states = machine.step(states, DIGITS if character == UNKNOWN else frozenset(character))
            if not states:
                return False
        return machine.end in states

    def allows_count(self, count: int) -> bool:
        """Whether some text of `count` digits fits."""
        return self.matches(UNKNOWN * count)


class _Machine:
    """States with free moves and moves that take one digit."""

    def __init__(self) -> None:
        self.free: list[list[int]] = [[]]
        self.taking: list[tuple[frozenset[str], int] | None] = [None]
        self.start = 0
        self.end = 0
        self._built = 0

    def closure(self, states: set[int]) -> set[int]:
        """The states and all that free moves lead to from them."""
        seen, waiting = set(states), list(states)
        while waiting:
            for state in self.free[waiting.pop()]:
                if state not in seen:
                    seen.add(state)
                    waiting.append(state)
        return seen

    def step(self, states: set[int], digits: frozenset[str]) -> set[int]:
        """The states after one of `digits`."""
        moves = (self.taking[state] for state in states)
        return self.closure({move[1] for move in moves if move is not None and move[0] & digits})

    def build(self, node: _Node, start: int) -> int:
        """Add the states of `node` from `start` on; returns where they end."""
        self._built += 1
        if self._built > 4 * MAX_STATES:  # repeats of nothing make no states, but take their time
            raise PatternError(_TOO_LARGE)
        if isinstance(node, _One):
            end = self._new()
            middle = self._new()
            self.free[start].append(middle)
            self.taking[middle] = (node.digits, end)
            return end
        if isinstance(node, _All):
            for part in node.parts:
                start = self.build(part, start)
            return start
        if isinstance(node, _Any):
            end = self._new()
            for part in node.parts:
                self.free[self.build(part, start)].append(end)
            return end
        return self._repeat(node, start)

    def _repeat(self, node: _Times, start: int) -> int:
        for _ in range(node.low):
            start = self.build(node.part, start)
        if node.high is None:
            hub = self._new()
            self.free[start].append(hub)
            self.free[self.build(node.part, hub)].append(hub)
            end = self._new()  # what follows must not lead back into the loop
            self.free[hub].append(end)
            return end
        end = self._new()
        self.free[start].append(end)
        for _ in range(node.high - node.low):
            start = self.build(node.part, start)
            self.free[start].append(end)
        return end

    def _new(self) -> int:
        if len(self.free) >= MAX_STATES:
            raise PatternError(_TOO_LARGE)
        self.free.append([])
        self.taking.append(None)
        return len(self.free) - 1


class _Parser:
    """Recursive descent over a pattern's characters."""

    def __init__(self, source: str) -> None:
        self._text = source.removeprefix("^")
        if self._text.endswith("$"):
            self._text = self._text[:-1]
        self._at = 0
        self._depth = 0

    def parse(self) -> _Node:
        if not self._text:
            raise PatternError("it is empty")
        node = self._either()
        if self._at < len(self._text):
            raise PatternError(f"a `)` stands there without its `(`, before {self._text[self._at :]!r}")
        return node

    def _either(self) -> _Node:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Any(tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return _All(tuple(parts))

    def _atom(self) -> _Node:
        character = self._next()
        if character in DIGITS:
            return _One(frozenset(character))
        if character == ".":
            return _One(DIGITS)
        if character == "\\" and self._take("d"):
            return _One(DIGITS)
        if character == "[":
            return _One(self._class())
        if character == "(":
            return self._group()
        raise PatternError(
            f"{character!r} is not understood here: patterns are of digits, \\d, [0-3], (…|…), ?, *, +, {{2,4}};"
            " spaces, dots and signs are not read, so leave them out"
        )

    def _group(self) -> _Node:
        if self._take("?") and not self._take(":"):
            raise PatternError("of the groups that begin with (? only (?: is known")
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise PatternError("its groups are nested too deeply")
        node = self._either()
        if not self._take(")"):
            raise PatternError("a `)` is missing")
        self._depth -= 1
        return node

    def _class(self) -> frozenset[str]:
        is_other = self._take("^")
        digits: set[str] = set()
        while not self._take("]"):
            first = self._next()
            if first == "\\" and self._take("d"):
                digits |= DIGITS
                continue
            last = self._next() if self._take("-") else first
            if first not in DIGITS or last not in DIGITS or first > last:
                raise PatternError("in [ ] only digits and ranges such as 0-3 may stand")
            digits |= {str(digit) for digit in range(int(first), int(last) + 1)}
        chosen = DIGITS - digits if is_other else frozenset(digits)
        if not chosen:
            raise PatternError("a [ ] leaves no digit")
        return chosen

    def _repeated(self, node: _Node) -> _Node:
        if self._take("?"):
            low, high = 0, 1
        elif self._take("*"):
            return self._once(_Times(node, 0, None))
        elif self._take("+"):
            return self._once(_Times(node, 1, None))
        elif self._take("{"):
            return self._once(_Times(node, *self._bounds()))
        else:
            return node
        return self._once(_Times(node, low, high))

    def _once(self, node: _Node) -> _Node:
        if self._peek() in ("?", "*", "+", "{"):
            raise PatternError("two repeats stand after each other: put the first into ( )")
        return node

    def _bounds(self) -> tuple[int, int | None]:
        inside, closed, _ = self._text[self._at :].partition("}")
        low, comma, high = inside.partition(",")
        if not closed or not _is_count(low) or not (high == "" or _is_count(high)):
            raise PatternError("a repeat is written {3}, {2,4} or {2,}")
        self._at += len(inside) + 1
        most = int(low) if not comma else int(high) if high else None
        if int(low) > MOST_REPEATS or (most is not None and not int(low) <= most <= MOST_REPEATS):
            raise PatternError(f"{{{inside}}} must rise, and go to {MOST_REPEATS} at most")
        return int(low), most

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise PatternError("it ends too early")
        self._at += 1
        return character

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6
