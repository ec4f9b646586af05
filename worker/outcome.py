"""What became of one arrival: the value that reading hands to delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.intake.arrivals import Arrival
from worker.reasons import Reason
from worker.recognition.decision import Reading


class Status(StrEnum):
    """`read`: every digit accepted; `review`: a person should look; `failed`: no picture."""

    READ = "read"
    REVIEW = "review"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AnnotatedPicture:
    """An encoded picture and the ending its file name takes (`.png` or `.jpg`)."""

    data: bytes
    ending: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer to one arrival; everything a record says but the names that delivery chooses.

    `text`, `confidence` and the size in pixels are None when failed; `sha256` and `size_bytes` are
    None where the content was never read.
    """

    arrival: Arrival
    status: Status
    text: str | None
    confidence: float | None
    digits: tuple[Reading, ...]
    reason: Reason | None
    sha256: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    picture: AnnotatedPicture | None
    finished_at: datetime
