"""What the worker and a helper tell each other, pickled, over one pair of sockets.

The worker sends a `Start`, then one `Order` after the other. The helper answers with `Ready`, then for each order
with any number of `Tiles`, `Strips`, `Said` and `Step`, the `Answers` part by part, and last `Done` or `Trouble`.
Each `Tiles` and `Strips` is answered by what the network says, before anything else goes that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.intake.arrivals import Arrival
from worker.reading import Answer, ReadingSettings


@dataclass(frozen=True, slots=True)
class Start:
    """Where the pictures lie, how many threads to use, and whose child the helper is."""

    root: str
    threads: int
    parent: int


@dataclass(frozen=True, slots=True)
class Order:
    """A batch to read; `reading` says how, or None: as the last one."""

    arrivals: Sequence[Arrival]
    reading: ReadingSettings | None
    reads_lines: bool  # whether the model has a second network


@dataclass(frozen=True, slots=True)
class Ready:
    """The helper waits for orders."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Asks for the logits of tiles, float32 (n, 28, 28)."""

    tiles: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Strips:
    """Asks for what the frames of strips show."""

    strips: Sequence[npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Said:
    """An event for the log."""

    level: str
    event: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """Reading gets on."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of the next part of the batch, in its order."""

    answers: list[Answer]


@dataclass(frozen=True, slots=True)
class Trouble:
    """The world is at fault, as a WorldError tells it."""

    during: str
    code: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Done:
    """All of the batch is answered."""
