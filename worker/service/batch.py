"""A batch on its way, how it is read, and what the log says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from worker.delivery.names import printable
from worker.delivery.outbox import Delivery
from worker.intake.arrivals import Arrival
from worker.logs import get_log
from worker.outcome import Outcome, Status
from worker.reading import Answer
from worker.recognition.card import Card
from worker.service.dock import AnyReader


@dataclass(slots=True)
class Batch:
    """What was taken, when (monotonic), by which model it is read, and what became of it so far."""

    number: int
    arrivals: list[Arrival]
    taken_at_s: float
    card: Card
    outcomes: list[Outcome]


def read_batch(reader: AnyReader, batch: Batch) -> list[Answer]:
    """Read a batch; every line that is logged meanwhile carries its number."""
    with structlog.contextvars.bound_contextvars(batch=batch.number):
        return reader.read(batch.arrivals)


def tell_of_picture(batch: Batch, outcome: Outcome, delivery: Delivery) -> None:
    """Leave a line that leads to the record: always for what failed, otherwise at the level debug."""
    ids = {
        "batch": batch.number,
        "name": printable(outcome.arrival.name),
        "record": None if delivery.record is None else printable(delivery.record),
    }
    reason = None if outcome.reason is None else outcome.reason.code
    if outcome.status is Status.FAILED:
        get_log().warning("picture_failed", **ids, reason=reason)
    else:
        get_log().debug("picture_answered", **ids, status=outcome.status.value, reason=reason)


def tell_of_batch(batch: Batch, counts: Mapping[str, int], took_s: float, waiting: int) -> None:
    """Leave the one line that a batch is worth: `counts` by status, and how many files wait now."""
    get_log().info(
        "batch",
        batch=batch.number,
        model=batch.card.sha256[:12],
        files=sum(counts.values()),
        **counts,
        took_ms=round(took_s * 1000),
        waiting=waiting,
    )
