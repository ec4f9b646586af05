"""What runs a model, whichever library does the arithmetic, and which numbers of tiles it may be given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from worker.recognition.bundle import known_inputs
from worker.recognition.card import Logits, Tiles


class Engine(Protocol):
    """What runs a model. `sizes`, descending, are the numbers of tiles it takes; all give the same bits."""

    @property
    def sizes(self) -> Sequence[int]:
        """How many tiles may be run at once."""
        ...

    def run(self, tiles: Tiles) -> Logits:
        """The model's outputs, float32 (size, labels), for float32 (size, *input shape)."""
        ...


def plan_chunks(count: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The chunks in which so many tiles are run: pairs of tiles taken and the size they are filled up to.

    `sizes` are descending. A size is taken as soon as more than half of it is filled: running it then
    costs no more than several of the next smaller one.
    """
    for size, smaller in zip(sizes, [*sizes[1:], 0], strict=True):
        while count > (size // 2 if smaller else 0):
            taken = min(count, size)
            yield taken, size
            count -= taken


def agreeing_sizes(
    run: Callable[[Tiles], Logits], sizes: Sequence[int], input_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Those of `sizes` (descending) in which known inputs get the very bits that the largest gives them.

    A matrix product may take another path through the processor for another number of rows, and round
    differently: the answer for a tile must not depend on its company.
    """
    if len(sizes) == 1:
        return tuple(sizes)
    largest = sizes[0]
    tiles = known_inputs(largest, input_shape)
    expected = run(tiles)

    def agrees(size: int) -> bool:
        parts = [run(tiles[start : start + size]) for start in range(0, largest, size)]
        return np.array_equal(np.concatenate(parts), expected, equal_nan=True)

    return (largest, *(size for size in sizes[1:] if agrees(size)))
