"""The best readings of a line are the best indeed: held against all readings there are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.recognition.lattice import DIGITS_TRIED, NEVER, Edge, Path, best_paths, posteriors

Steps = tuple[tuple[int, int | None], ...]


@st.composite
def lattices(draw: st.DrawFn) -> tuple[list[Edge], int]:
    """Small lattices, also such as have no way through."""
    nodes = draw(st.integers(2, 5))
    spans = st.tuples(st.integers(0, nodes - 2), st.integers(1, 3)).map(
        lambda span: (span[0], min(nodes - 1, span[0] + span[1]))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    edges = []
    for tag, (first, last) in enumerate(draw(st.lists(spans, max_size=6))):
        row = np.log(rng.dirichlet(np.ones(11)))
        nothing = NEVER if draw(st.booleans()) else float(row[10])
        edges.append(Edge(first, last, tuple(float(p) for p in row[:10]), nothing, tag))
    return draw(st.permutations(edges)), nodes


def _all_paths(edges: list[Edge], nodes: int, tried: int) -> dict[Steps, float]:
    """Every path, with the likeliest `tried` digits of each edge, by plain recursion."""

    def onwards(node: int) -> list[tuple[float, Steps]]:
        if node == nodes - 1:
            return [(0.0, ())]
        found = []
        for edge in (edge for edge in edges if edge.first == node):
            digits = sorted(range(10), key=lambda digit: -edge.digits[digit])[:tried]
            labels: list[tuple[float, int | None]] = [(edge.digits[digit], digit) for digit in digits]
            labels.append((edge.nothing, None))
            for weight, digit in labels:
                if weight > NEVER:
                    found += [
                        (weight + score, ((edge.tag, digit), *rest)) for score, rest in onwards(edge.last)
                    ]
        return found

    return {steps: score for score, steps in onwards(0)}


@given(lattices(), st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_the_best_paths_are_the_best_of_all(lattice: tuple[list[Edge], int], count: int) -> None:
    edges, nodes = lattice
    every = _all_paths(edges, nodes, min(DIGITS_TRIED, count))
    found = best_paths(edges, nodes, count)
    assert len(found) == min(count, len(every))
    assert len({path.steps for path in found}) == len(found)
    scores = [path.score for path in found]
    assert scores == sorted(scores, reverse=True)
    assert scores == pytest.approx(sorted(every.values(), reverse=True)[: len(found)])
    for path in found:
        assert path.score == pytest.approx(every[path.steps])


@given(lattices())
@settings(max_examples=80, deadline=None)
def test_posteriors_are_the_share_of_all_paths(lattice: tuple[list[Edge], int]) -> None:
    edges, nodes = lattice
    every = _all_paths(edges, nodes, 10)
    shares, total = posteriors(edges, nodes)
    if not every:
        assert (shares, total) == ({}, NEVER)
        return
    mass = sum(math.exp(score) for score in every.values())
    assert total == pytest.approx(math.log(mass), abs=1e-9)
    for edge in edges:
        over = sum(math.exp(score) for steps, score in every.items() if edge.tag in {tag for tag, _ in steps})
        assert shares[edge.tag] == pytest.approx(over / mass, abs=1e-9)


@given(lattices())
@settings(max_examples=80, deadline=None)
def test_over_every_cut_the_posteriors_sum_to_one(lattice: tuple[list[Edge], int]) -> None:
    edges, nodes = lattice
    shares, total = posteriors(edges, nodes)
    if total > NEVER:
        for gap in range(nodes - 1):
            across = [shares[edge.tag] for edge in edges if edge.first <= gap < edge.last]
            assert sum(across) == pytest.approx(1.0)


def _edge(first: int, last: int, digit: int, share: float, tag: int) -> Edge:
    rest = (0.98 - share) / 9
    row = tuple(math.log(share if d == digit else rest) for d in range(10))
    return Edge(first, last, row, math.log(0.02), tag)


def test_no_edges_are_one_empty_reading_of_one_node_and_none_of_two() -> None:
    assert best_paths([], 1, 3) == [Path(0.0, ())]
    assert posteriors([], 1) == ({}, 0.0)
    assert best_paths([], 2, 3) == []
    assert posteriors([], 2) == ({}, NEVER)


def test_the_text_leaves_out_what_is_nothing() -> None:
    assert Path(0.0, ((0, 4), (1, None), (2, 0))).text == "40"


def test_two_good_halves_win_over_a_poor_whole() -> None:
    edges = [_edge(0, 2, 8, 0.3, 0), _edge(0, 1, 2, 0.9, 1), _edge(1, 2, 4, 0.9, 2)]
    assert best_paths(edges, 3, 1)[0].text == "24"
    assert best_paths([_edge(0, 2, 8, 0.97, 0), *edges[1:]], 3, 1)[0].text == "8"


def test_a_very_long_line_neither_underflows_nor_hangs() -> None:
    edges = [_edge(i, i + 1, i % 10, 0.5, i) for i in range(500)]
    assert best_paths(edges, 501, 4)[0].text == "".join(str(i % 10) for i in range(500))
    shares, total = posteriors(edges, 501)
    assert math.isfinite(total)
    assert min(shares.values()) == pytest.approx(1.0)


def test_impossible_edges_are_never_taken() -> None:
    never = Edge(0, 1, (NEVER,) * 10, NEVER, 0)
    assert best_paths([never], 2, 3) == []
    assert posteriors([never], 2) == ({}, NEVER)
