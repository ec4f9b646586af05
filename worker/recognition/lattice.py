"""The best readings of a line, as paths through a lattice of candidates. Pure.

A node lies between two atoms of ink, an edge spans the atoms of one candidate. An edge is read as a digit
or left out as nothing; a path from the first node to the last reads the whole line.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

DIGITS_TRIED = 3  # for each candidate, the likeliest
NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Edge:
    """One candidate between nodes `first` < `last`: ten log-probabilities, and that of being no digit.

    `tag` is the caller's name for it.
    """

    first: int
    last: int
    digits: tuple[float, ...]
    nothing: float
    tag: int


@dataclass(frozen=True, slots=True)
class Path:
    """One reading of the whole line: its log-probability, and (tag, digit) in order, None where left out."""

    score: float
    steps: tuple[tuple[int, int | None], ...]

    @property
    def text(self) -> str:
        """The digits alone."""
        return "".join(str(digit) for _, digit in self.steps if digit is not None)


def best_paths(edges: Sequence[Edge], nodes: int, count: int) -> list[Path]:
    """At most `count` paths from node 0 to node `nodes` - 1, the best first, no two with the same steps."""
    arriving: list[list[Edge]] = [[] for _ in range(nodes)]
    for edge in edges:
        arriving[edge.last].append(edge)
    found: list[list[Path]] = [[] for _ in range(nodes)]
    found[0] = [Path(0.0, ())]
    for node in range(1, nodes):
        # (score, the path so far, tag, digit): of hundreds of ways only `count` go on and are worth making a path.
        longer: list[tuple[float, Path, int, int | None]] = []
        for edge in arriving[node]:
            before = found[edge.first]
            if not before:
                continue
            ways = sorted(range(10), key=lambda digit: -edge.digits[digit])[: min(DIGITS_TRIED, count)]
            labels: list[tuple[float, int | None]] = [(edge.digits[digit], digit) for digit in ways]
            labels.append((edge.nothing, None))
            for weight, digit in labels:
                if weight > NEVER:
                    longer += [(path.score + weight, path, edge.tag, digit) for path in before]
        best = heapq.nlargest(count, longer, key=itemgetter(0))
        found[node] = [Path(score, (*path.steps, (tag, digit))) for score, path, tag, digit in best]
    return found[-1]


def posteriors(edges: Sequence[Edge], nodes: int) -> tuple[dict[int, float], float]:
    """For each tag the share of all paths' probability that runs over its edge, and the log of their sum."""
    weights = {edge.tag: _log_sum([*edge.digits, edge.nothing]) for edge in edges}
    forward = [NEVER] * nodes
    backward = [NEVER] * nodes
    forward[0] = backward[-1] = 0.0
    for edge in sorted(edges, key=lambda edge: edge.last):
        forward[edge.last] = _log_sum([forward[edge.last], forward[edge.first] + weights[edge.tag]])
    for edge in sorted(edges, key=lambda edge: -edge.first):
        backward[edge.first] = _log_sum([backward[edge.first], backward[edge.last] + weights[edge.tag]])
    total = forward[-1]
    if total == NEVER:
        return {}, NEVER
    shares = {
        edge.tag: math.exp(min(0.0, forward[edge.first] + weights[edge.tag] + backward[edge.last] - total))
        for edge in edges
    }
    return shares, total


def _log_sum(values: Sequence[float]) -> float:
    highest = max(values)
    if highest == NEVER:
        return NEVER
    return highest + math.log(sum(math.exp(value - highest) for value in values))
