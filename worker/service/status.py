"""The status: from the driver's books and figures to what people and programs are told. Pure.

One function names every key, so that a worker that is starting says the same ones as one that works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from worker import __version__
from worker.delivery.names import printable
from worker.intake.arrivals import Arrival, BlockedFolder
from worker.intake.queue import Counts
from worker.service.rates import WINDOWS_S

MAX_NAMES = 20  # in status and log; the counts are complete
_NOTHING_SEEN = Counts(*[0] * len(fields(Counts)))


@dataclass(slots=True)
class Tally:
    """What was answered since the start."""

    read: int = 0
    review: int = 0
    failed: int = 0
    answered_before: int = 0  # by an earlier run, which could not move the original

    @property
    def published(self) -> int:
        """All answers."""
        return self.read + self.review + self.failed

    def add(self, counts: Mapping[str, int]) -> None:
        """Note the answers of a batch, by status."""
        self.read += counts["read"]
        self.review += counts["review"]
        self.failed += counts["failed"]

    def as_dict(self) -> dict[str, int]:
        """The numbers, for log and status."""
        return {"published": self.published, "read": self.read, "review": self.review, "failed": self.failed}


@dataclass(frozen=True, slots=True)
class Process:
    """Which process tells, and since when it runs (epoch)."""

    pid: int
    started_at_s: float


@dataclass(frozen=True, slots=True)
class State:
    """What the worker is at, and since when (epoch)."""

    name: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Watching:
    """How the inbox is watched; `overflows`: how often the kernel lost events."""

    mode: str
    alive: bool
    fallback: str | None
    overflows: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the world, and since when (epoch)."""

    what: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Books:
    """All that is told at one moment, but for what others report themselves. Empty before the first look.

    `oldest_waiting_s` is when the file that waits longest was first seen (epoch). `rates` are answers a second
    over each window of `rates.WINDOWS_S`.
    """

    tally: Tally = field(default_factory=Tally)
    counts: Counts = _NOTHING_SEEN
    oldest_waiting_s: float | None = None
    blocked: Mapping[str, BlockedFolder] = field(default_factory=dict)
    stuck: Sequence[Arrival] = ()
    rates: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(WINDOWS_S, 0.0))
    watching: Watching | None = None
    fault: Fault | None = None
    last_error: Mapping[str, object] | None = None


def status_of(
    process: Process,
    state: State,
    books: Books,
    now_s: float,
    *,
    model: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The status, as `status --json` shows it; `now_s` is the time of day (epoch).

    Of blocked folders and stuck originals only the first are named. Names that are no UTF-8 are made printable.
    """
    watching = books.watching
    return {
        "state": state.name,
        "since_s": state.since_s,
        "pid": process.pid,
        "version": __version__,
        "started_at_s": process.started_at_s,
        "written_at_s": now_s,
        "counts": _counts(books),
        "oldest_waiting_s": books.oldest_waiting_s,
        "rates": dict(books.rates),
        "model": model,
        "watcher": None
        if watching is None
        else {"mode": watching.mode, "alive": watching.alive, "fallback": watching.fallback},
        "blocked": {
            printable(folder): blocked.reason for folder, blocked in list(books.blocked.items())[:MAX_NAMES]
        },
        "stuck": [printable(arrival.name) for arrival in books.stuck[:MAX_NAMES]],
        "fault": None if books.fault is None else {"what": books.fault.what, "since_s": books.fault.since_s},
        "last_error": books.last_error,
        "config": config,
    }


def starting_status(process: Process, now_s: float) -> dict[str, Any]:
    """What is said before the first look: nothing is known yet but who is starting."""
    return status_of(process, State("starting", now_s), Books(), now_s)


def in_a_line(state: str, fault: str | None, tally: Tally, counts: Counts) -> str:
    """The state and the counts, as the service manager shows them."""
    trouble = "" if fault is None else f" ({fault})"
    return (
        f"{state}{trouble}: {tally.published} answered ({tally.read} read, {tally.review} review,"
        f" {tally.failed} failed), {counts.waiting} waiting, {counts.in_work} in work"
    )


def _counts(books: Books) -> dict[str, int]:
    counts, tally = books.counts, books.tally
    return {
        "seen": counts.seen,
        **tally.as_dict(),
        "answered_before": tally.answered_before,
        "vanished": counts.vanished,
        "waiting": counts.waiting,
        "in_work": counts.in_work,
        "held": counts.held,
        "on_trial": counts.aside,
        "stuck": counts.stuck,
        "foreign": counts.foreign,
        "linked_folders": counts.linked_folders,
        "blocked_folders": len(books.blocked),
        "unannounced": counts.unannounced,
        "overflows": 0 if books.watching is None else books.watching.overflows,
    }
