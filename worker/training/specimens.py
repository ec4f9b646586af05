"""Labelled sets for measuring: pictures with what a person read in them, and how each kind is put to a model.

Three ways lead through the program: `pages`, whole pictures as `predict` reads them; `boxes`, single
digits cut out by boxes that a person drew; `tiles`, straight into the networks.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from worker.delivery.names import printable
from worker.errors import UsageError, WorldError
from worker.expectation import Expectation, Span
from worker.intake.arrivals import Arrival, IgnoreRules, Walk, arrival_at
from worker.outcome import Outcome, Status
from worker.reading import Reader
from worker.reasons import BadPictureError, UnfinishedError
from worker.recognition.decision import Reading, Thresholds, Verdict
from worker.recognition.knowledge import Knowledge, TileClassifier
from worker.recognition.opinions import UNFITTED, Weights
from worker.recognition.recognizer import recognize
from worker.recognition.transcriber import LineTranscriber
from worker.vision.decoding import Limits, decode
from worker.vision.normalization import NormalizerSettings, normalize
from worker.vision.page import TILE_PX, Box, Grey, Page
from worker.vision.segmentation import Writing, find_marks, find_writing
from worker.vision.sheet import Sheet, arrange, sheet_of_tile

ONE_DIGIT = Expectation(digits=Span(1, 1))
WAYS = ("pages", "boxes", "tiles")
RIM_PX = 1  # around a box
_LABELS_CSV, _LABELS_JSON, _IMAGES = "labels.csv", "labels.json", "images"
_NO_COLUMNS = {"file", "label", "notes"}
_NAMED_AT_MOST = 5  # missing files named in one message

_Tile = npt.NDArray[np.float32]


class TruthKind(StrEnum):
    """What a label says: one digit; one of a few readings; several digits; no digit at all."""

    DIGIT = "digit"
    AMBIGUOUS = "ambiguous"
    SEVERAL = "several"
    OUTLIER = "outlier"


@dataclass(frozen=True, slots=True)
class Truth:
    """What a picture shows; `texts` would be right, white space left out: none for an outlier."""

    label: str
    kind: TruthKind
    texts: frozenset[str]

    @property
    def digit(self) -> int:
        """The one digit; only of the kind DIGIT."""
        if self.kind is not TruthKind.DIGIT:
            raise ValueError(f"{self.label} is no single digit")
        return int(self.label)

    @property
    def group(self) -> str:
        """What stands before the first `:` or `/` of the label of what is no digit: letter, Greek."""
        return re.split("[:/]", self.label, maxsplit=1)[0]


def truth_of(label: str) -> Truth:
    """What a label means: `4`, `ambiguous:1/7`, `multi:12` or `1 2/3 4`; anything else names an outlier."""
    head, _, rest = label.partition(":")
    if re.fullmatch("[0-9]", label):
        return Truth(label, TruthKind.DIGIT, frozenset({label}))
    if head == "ambiguous":
        return Truth(label, TruthKind.AMBIGUOUS, frozenset(rest.split("/")))
    numbers = rest if head == "multi" else label
    if head == "multi" or re.fullmatch(r"[0-9?\s/]{2,}", label):
        return Truth(label, TruthKind.SEVERAL, frozenset({re.sub(r"[\s/]", "", numbers)}))
    return Truth(label, TruthKind.OUTLIER, frozenset())


@dataclass(frozen=True, slots=True)
class Specimen:
    """One labelled picture; `columns` is whatever else is known of it (style, writer), `notes` free words."""

    name: str
    truth: Truth
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said about one specimen, as its record would say it; `reason` is None exactly when read.

    `confidence` is that of the whole text, in [0, 1].
    """

    status: Status
    text: str
    digits: tuple[Reading, ...]
    reason: str | None
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One specimen with its answer; what is counted is decided here."""

    specimen: Specimen
    answer: Answer

    @property
    def guess(self) -> int | None:
        """The best guess where there is exactly one entry."""
        return self.answer.digits[0].digit if len(self.answer.digits) == 1 else None

    @property
    def confidence(self) -> float:
        """The confidence of the only guess, in [0, 1]; 0 where there is none or more than one."""
        return self.answer.digits[0].confidence if len(self.answer.digits) == 1 else 0.0

    @property
    def is_right(self) -> bool:
        """Whether the only guess is the label, accepted or not; for single digits."""
        return self.guess == self.specimen.truth.digit

    @property
    def is_read(self) -> bool:
        """Whether the answer was given as certain."""
        return self.answer.status is Status.READ

    @property
    def is_misread(self) -> bool:
        """Whether a text was given as certain that is none of those that would be right."""
        return self.is_read and "".join(self.answer.text.split()) not in self.specimen.truth.texts

    @property
    def chances(self) -> list[float]:
        """Probabilities of the ten digits and of being none, summing to 1; only where there is a guess."""
        reading = self.answer.digits[0]
        given_digit = reading.probabilities[reading.digit]
        is_digit = min(1.0, reading.confidence / given_digit) if given_digit > 0 else 0.0
        return [*(is_digit * each for each in reading.probabilities), 1.0 - is_digit]


@dataclass(frozen=True, slots=True)
class Bench:
    """The model and the rules that a set is measured with; `reader` takes arrivals named by whole paths."""

    reader: Reader
    classifier: TileClassifier
    temperature: float
    thresholds: Thresholds
    normalizer: NormalizerSettings
    limits: Limits
    transcriber: LineTranscriber | None = None
    weights: Weights = UNFITTED

    def recognize(self, sheets: Sequence[Sheet], expected: Expectation | None = None) -> list[Answer]:
        """The answers to pages whose marks are known; `expected` is what is known of each of them."""
        knowledge = Knowledge(self.normalizer, self.temperature, self.thresholds, self.weights)
        rules = None if expected is None else [expected] * len(sheets)
        return [
            _answer_of(verdict)
            for verdict in recognize(
                sheets, self.classifier, knowledge, expected=rules, transcriber=self.transcriber
            )
        ]


def _answer_of(verdict: Verdict) -> Answer:
    return Answer(
        Status.READ if verdict.is_read else Status.REVIEW,
        verdict.text,
        verdict.digits,
        verdict.reason.code if verdict.reason else None,
        verdict.confidence,
    )


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What there is to see of one specimen: its page (None where there is none) and its tiles."""

    page: Grey | None
    tiles: tuple[_Tile, ...]


class SpecimenSet(Protocol):
    """A labelled set and its way through the program."""

    @property
    def specimens(self) -> Sequence[Specimen]:
        """All of them, in a fixed order."""
        ...

    @property
    def way(self) -> str:
        """One of WAYS."""
        ...

    @property
    def digest(self) -> str | None:
        """The SHA-256 of the file that holds the labels; None where folders do."""
        ...

    def read(self, bench: Bench, start: int, stop: int) -> list[Answer]:
        """The answers to the specimens start … stop - 1."""
        ...

    def view(self, bench: Bench, index: int) -> View:
        """What there is to see of one specimen."""
        ...


# --- the three ways ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileSet:
    """Whole files, through the very reader that `predict` uses."""

    specimens: Sequence[Specimen]
    paths: Sequence[Path]
    digest: str | None
    way: str = "pages"

    def read(self, bench: Bench, start: int, stop: int) -> list[Answer]:
        """Decode, cut, normalise and classify so many files at once."""
        arrivals = [_arrival(path) for path in self.paths[start:stop]]
        try:
            answers = bench.reader.read(arrivals)
        except WorldError as error:
            raise UsageError(f"The data cannot be read: {error}") from error
        return [self._answer(answer) for answer in answers]

    def view(self, bench: Bench, index: int) -> View:
        """The page and its marks; nothing where the file cannot be decoded."""
        try:
            page = decode(self.paths[index].read_bytes(), bench.limits)
        except (BadPictureError, UnfinishedError, OSError):
            return View(None, ())
        return View(page.grey, tuple(normalize(mark.ink, bench.normalizer) for mark in find_marks(page)))

    @staticmethod
    def _answer(answer: object) -> Answer:
        if not isinstance(answer, Outcome):
            raise UsageError("The data changes while it is being read. Wait until it is complete.")
        reason = answer.reason.code if answer.reason else None
        return Answer(answer.status, answer.text or "", answer.digits, reason, answer.confidence or 0.0)


class PageSource(Protocol):
    """Gives the page of each specimen."""

    def __call__(self, index: int) -> Page:
        """The page of one specimen; UsageError where it cannot be had."""
        ...


@dataclass(frozen=True, slots=True)
class PageSet:
    """Pages that are no files of their own, through the vision wing.

    With `largest_only`, all but the largest mark are left out: in a crop they are pieces of neighbours.
    """

    specimens: Sequence[Specimen]
    page: PageSource
    digest: str
    way: str
    largest_only: bool = False

    def read(self, bench: Bench, start: int, stop: int) -> list[Answer]:
        """Cut, normalise and classify so many pages at once."""
        pages = [self.page(index) for index in range(start, stop)]
        found = [arrange(self._writing(page), bench.normalizer, page.width, page.height) for page in pages]
        # What a person drew a box around is one digit.
        return bench.recognize(found, ONE_DIGIT if self.largest_only else None)

    def view(self, bench: Bench, index: int) -> View:
        """The page and the marks that were classified."""
        page = self.page(index)
        return View(
            page.grey, tuple(normalize(mark.ink, bench.normalizer) for mark in self._writing(page).marks)
        )

    def _writing(self, page: Page) -> Writing:
        writing = find_writing(page)
        if self.largest_only and writing.marks:
            return replace(
                writing, marks=[max(writing.marks, key=lambda mark: int(np.count_nonzero(mark.ink)))]
            )
        return writing


@dataclass(frozen=True, slots=True, eq=False)
class TileSet:
    """Finished tiles, uint8 (n, 28, 28) with ink bright on 0, as they are: read as lone signs, not normalised again."""

    specimens: Sequence[Specimen]
    pixels: npt.NDArray[np.uint8]
    digest: str
    way: str = "tiles"

    def read(self, bench: Bench, start: int, stop: int) -> list[Answer]:
        """Read so many tiles at once."""
        return bench.recognize([sheet_of_tile(tile) for tile in self._tiles(start, stop)])

    def view(self, bench: Bench, index: int) -> View:
        """The tile alone."""
        return View(None, tuple(self._tiles(index, index + 1)))

    def _tiles(self, start: int, stop: int) -> _Tile:
        return self.pixels[start:stop].astype(np.float32) / np.float32(255)


def _arrival(path: Path) -> Arrival:
    """A file as the reader takes it, links followed; UsageError where it is gone."""
    try:
        return arrival_at(str(path), follow=True)
    except OSError as error:
        raise UsageError(f"{printable(str(path))}: {error.strerror}") from error


# --- finding out what a path holds ------------------------------------------------------------------


def open_set(data: Path, way: str | None, limits: Limits) -> SpecimenSet:
    """The labelled set at `data`, to be put through `way`, or the way that suits it where None.

    Known are an `.npz` with pictures and labels, and a folder with labels.csv, with labels.json, or with
    one sub-folder a label. UsageError says what is missing.
    """
    shown = printable(str(data))
    if data.is_file():
        return _open_arrays(data, way)
    if not data.is_dir():
        raise UsageError(f"There is no {shown}. Name an .npz file or a folder of labelled pictures.")
    if (data / _LABELS_JSON).is_file():
        return _open_boxes(data, way, limits)
    if way in ("boxes", "tiles"):
        raise UsageError(f"{shown} holds whole pictures; only --through pages is possible.")
    if (data / _LABELS_CSV).is_file():
        return _open_table(data)
    return _open_folders(data)


def _open_table(data: Path) -> FileSet:
    """A folder with labels.csv."""
    path = data / _LABELS_CSV
    content = _read(path)
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{printable(str(path))} is no CSV table in UTF-8: {error}.") from error
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise UsageError(
            f"{printable(str(path))} needs a first line with the columns file and label, and rows."
        )
    wrong = [str(number) for number, row in enumerate(rows, 2) if not row["file"] or not row["label"]]
    if wrong:
        raise UsageError(
            f"{printable(str(path))} has no file or no label in row {', '.join(wrong[:_NAMED_AT_MOST])}."
        )
    specimens = [
        Specimen(row["file"], truth_of(row["label"].strip()), _columns(row), row.get("notes") or "")
        for row in rows
    ]
    files = _find_files(data, [specimen.name for specimen in specimens], _LABELS_CSV)
    return FileSet(specimens, files, hashlib.sha256(content).hexdigest())


def _columns(row: Mapping[str | None, Any]) -> dict[str, str]:
    """The columns to group by: cells beyond the header (key None) and missing ones (value None) are none."""
    return {key: value for key, value in row.items() if key and key not in _NO_COLUMNS and value}


def _open_folders(data: Path) -> FileSet:
    """A folder whose sub-folders are the labels."""
    specimens, paths = [], []
    for folder in sorted(each for each in data.iterdir() if each.is_dir() and each.name != _IMAGES):
        for name in sorted(name for name, _ in Walk(str(folder), IgnoreRules()).pictures()):
            specimens.append(Specimen(f"{folder.name}/{name}", truth_of(folder.name)))
            paths.append(folder / name)
    if not specimens:
        raise UsageError(
            f"{printable(str(data))} has no labels: it needs {_LABELS_CSV} (columns file and label),"
            f" {_LABELS_JSON}, or sub-folders named by what the pictures in them show."
        )
    return FileSet(specimens, paths, None)


def _open_boxes(data: Path, way: str | None, limits: Limits) -> SpecimenSet:
    """A folder with labels.json: each digit by its box, or whole pictures with their text."""
    path = data / _LABELS_JSON
    content = _read(path)
    names, texts, boxes = [], [], []
    try:
        for entry in json.loads(content):
            names.append(str(entry["file"]))
            texts.append(str(entry["text"]))
            boxes.append([(str(int(digit)), Box(*map(int, box))) for digit, *box in entry["boxes"]])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{printable(str(path))} is no list of {{file, text, boxes: [[digit, x, y, width, height]]}}:"
            f" {error!r}."
        ) from error
    files = _find_files(data, names, _LABELS_JSON)
    digest = hashlib.sha256(content).hexdigest()
    if way == "tiles":
        raise UsageError(f"{printable(str(data))} holds no tiles; use --through boxes or pages.")
    if way == "pages":
        whole = [Specimen(name, truth_of(text)) for name, text in zip(names, texts, strict=True)]
        return FileSet(whole, files, digest)
    cuts = [(file, box) for file, own in zip(files, boxes, strict=True) for _, box in own]
    specimens = [
        Specimen(f"{name}#{place}", truth_of(digit))
        for name, own in zip(names, boxes, strict=True)
        for place, (digit, _) in enumerate(own)
    ]
    return PageSet(specimens, _Crops(cuts, limits), digest, "boxes", largest_only=True)


class _Crops:
    """The pages inside boxes of pictures; a picture is decoded once for boxes that follow each other.

    Boxes are tight: a rim of one pixel shows paper all around. More would bring in pieces of neighbours.
    """

    def __init__(self, cuts: Sequence[tuple[Path, Box]], limits: Limits) -> None:
        self._cuts = cuts
        self._page = lru_cache(maxsize=2)(lambda path: _decoded(path, limits))

    def __call__(self, index: int) -> Page:
        path, box = self._cuts[index]
        top, left = max(0, box.y - RIM_PX), max(0, box.x - RIM_PX)
        crop = self._page(path).grey[top : max(0, box.bottom + RIM_PX), left : max(0, box.right + RIM_PX)]
        if crop.size == 0:
            raise UsageError(f"{printable(str(path))}: a box of its label lies outside the picture.")
        return Page(np.ascontiguousarray(crop))


def _decoded(path: Path, limits: Limits) -> Page:
    try:
        return decode(path.read_bytes(), limits)
    except (BadPictureError, UnfinishedError, OSError) as error:
        raise UsageError(f"{printable(str(path))} cannot be read as a picture: {error}") from error


def _open_arrays(data: Path, way: str | None) -> SpecimenSet:
    """An .npz: tiles in Keras' layout, or pictures with labels of any kind."""
    shown = printable(str(data))
    try:
        with np.load(io.BytesIO(_read(data)), allow_pickle=False) as arrays:
            pictures = arrays[_first(arrays, "x_test", "x", "images")]
            named_by = _first(arrays, "y_test", "y", "labels", "alphabet")
            labels = [str(label) for label in arrays[named_by].tolist()]
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{shown} is no labelled .npz ({error}): it needs x_test or x, and y_test, y or alphabet."
        ) from error
    if pictures.dtype != np.uint8 or pictures.ndim != 3 or len(pictures) != len(labels):
        raise UsageError(f"{shown} needs uint8 pictures (n, height, width) and n labels.")
    if 0 in pictures.shape:
        raise UsageError(f"{shown} holds pictures without pixels.")
    is_tiles = pictures.shape[1:] == (TILE_PX, TILE_PX)
    if way == "boxes" or (way == "tiles" and not is_tiles):
        raise UsageError(f"{shown} cannot be put through {way}; it holds pictures of {pictures.shape[1:]}.")
    specimens = [
        Specimen(f"{data.name}[{place}]", truth, {named_by: truth.group} if named_by == "alphabet" else {})
        for place, truth in enumerate(map(truth_of, labels))
    ]
    digest = hashlib.sha256(_read(data)).hexdigest()
    if way == "tiles" or (way is None and is_tiles):
        return TileSet(specimens, pictures, digest)
    return PageSet(specimens, lambda index: Page(np.ascontiguousarray(pictures[index])), digest, "pages")


def _first(arrays: Mapping[str, Any], *names: str) -> str:
    for name in names:
        if name in arrays:
            return name
    raise KeyError(f"none of {', '.join(names)}")


def _find_files(data: Path, names: Sequence[str], labels: str) -> list[Path]:
    """Where each named file lies: in the folder, or in images/ below it."""
    found = [
        next((path for path in (data / name, data / _IMAGES / name) if path.is_file()), None)
        for name in names
    ]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        first = ", ".join(printable(name) for name in missing[:_NAMED_AT_MOST])
        more = f" and {len(missing) - _NAMED_AT_MOST} more" if len(missing) > _NAMED_AT_MOST else ""
        raise UsageError(f"{printable(str(data / labels))} names what is not there: {first}{more}.")
    return [path for path in found if path is not None]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{printable(str(path))} cannot be read: {error.strerror or error}.") from error
