"""The pictures behind the figures: the worst mistakes first, then what was right but refused."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from worker.delivery.names import printable
from worker.recognition.fitting import best_guesses
from worker.training.specimens import Bench, Measured, SpecimenSet, TruthKind, View
from worker.training.strings import Cause, cause, is_string
from worker.vision.page import Grey

MAX_WRONG, MAX_MISREAD, MAX_REFUSED = 60, 40, 30
_PAGE_PX = 168  # the longer side of a page as shown
_STRING_PX = 400  # of one with many digits
_TILE_SCALE = 3
_MAX_TILES = 4


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One picture of the gallery as data URIs (`page` None where there is none), and what to say of it."""

    page: str | None
    tiles: tuple[str, ...]
    label: str
    verdict: str
    name: str


@dataclass(frozen=True, slots=True)
class Room:
    """A part of the gallery; `total` is how many there are, of which the first are shown."""

    title: str
    total: int
    exhibits: tuple[Exhibit, ...]


def hang(measured: Sequence[Measured], specimens: SpecimenSet, bench: Bench) -> list[Room]:
    """The gallery of a measured set, each room with the worst first."""
    rooms = []
    strings = ((f"Strings read wrong: {why}", worst_strings(measured, why), MAX_WRONG) for why in Cause)
    for title, chosen, limit in (
        *strings,
        ("Digits read wrong", worst_digits(measured), MAX_WRONG),
        ("Accepted, though no such digit", worst_others(measured), MAX_MISREAD),
        ("Right, but refused", least_certain(measured), MAX_REFUSED),
    ):
        exhibits = [exhibit(measured[index], specimens.view(bench, index)) for index in chosen[:limit]]
        rooms.append(Room(title, len(chosen), tuple(exhibits)))
    return rooms


def worst_strings(measured: Sequence[Measured], why: Cause) -> list[int]:
    """The places of strings that are wrong for this cause: accepted ones first, then by falling confidence."""
    found = [i for i, each in enumerate(measured) if is_string(each) and cause(each) is why]
    return sorted(found, key=lambda i: (not measured[i].is_read, -measured[i].answer.confidence))


def worst_digits(measured: Sequence[Measured]) -> list[int]:
    """The places of digits that are wrong: accepted ones first, then by falling confidence."""
    found = [i for i, each in enumerate(measured) if _is_digit(each) and not each.is_right]
    return sorted(found, key=lambda i: (not measured[i].is_read, -measured[i].confidence))


def worst_others(measured: Sequence[Measured]) -> list[int]:
    """The places of misread pictures that are neither digit nor string, by falling confidence."""
    found = [
        i
        for i, each in enumerate(measured)
        if not _is_digit(each) and not is_string(each) and each.is_misread
    ]
    return sorted(found, key=lambda i: -measured[i].confidence)


def least_certain(measured: Sequence[Measured]) -> list[int]:
    """The places of digits that were guessed right and not accepted, by rising confidence."""
    found = [i for i, each in enumerate(measured) if _is_digit(each) and each.is_right and not each.is_read]
    return sorted(found, key=lambda i: measured[i].confidence)


def exhibit(measured: Measured, view: View) -> Exhibit:
    """One picture, small enough to stand among many."""
    answer = measured.answer
    guesses = " ".join(f"{each.digit} ({each.confidence:.4f})" for each in answer.digits[:_MAX_TILES])
    more = f" and {len(answer.digits) - _MAX_TILES} more" if len(answer.digits) > _MAX_TILES else ""
    verdict = f"{guesses or 'nothing'}{more}: {answer.reason or 'accepted'}"
    side_px, tiles = _PAGE_PX, view.tiles[:_MAX_TILES]
    if is_string(measured):
        read = best_guesses(answer.text, answer.digits).replace("\n", " / ")
        verdict = f"{read or 'nothing'} ({answer.confidence:.4f}): {answer.reason or 'accepted'}"
        side_px, tiles = _STRING_PX, ()  # many tiles say less than the whole
    return Exhibit(
        page=None if view.page is None else to_data_uri(_encode(shrink_to_fit(view.page, side_px))),
        tiles=tuple(to_data_uri(_encode(_enlarge(tile))) for tile in tiles),
        label=measured.specimen.truth.label,
        verdict=verdict,
        name=printable(measured.specimen.name),
    )


def to_data_uri(png: bytes) -> str:
    """A PNG as an address that holds it, so that a page needs no file beside it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def shrink_to_fit(page: Grey, side_px: int = _PAGE_PX) -> Grey:
    """The page with its longer side at most `side_px` long; a small one is enlarged by a whole factor."""
    height, width = page.shape
    longer = max(height, width)
    if longer > side_px:
        size = (max(1, round(width * side_px / longer)), max(1, round(height * side_px / longer)))
        return np.asarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA), np.uint8)
    factor = math.floor(side_px / longer)
    return page.repeat(factor, axis=0).repeat(factor, axis=1)


def _enlarge(tile: npt.NDArray[np.float32]) -> Grey:
    grey = np.round(tile * 255).astype(np.uint8)
    return grey.repeat(_TILE_SCALE, axis=0).repeat(_TILE_SCALE, axis=1)


def _encode(grey: Grey) -> bytes:
    return cv2.imencode(".png", grey)[1].tobytes()


def _is_digit(measured: Measured) -> bool:
    return measured.specimen.truth.kind is TruthKind.DIGIT
