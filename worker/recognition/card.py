"""The card of a model: all that is known about it, read and written as card.json.

Reading a card needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from worker.errors import ModelError
from worker.vision.page import TILE_PX

MODEL_FILE = "model.keras"
CARD_FILE = "card.json"
LITERT_FILE = "model.tflite"
TRANSCRIBER_FILE = "transcriber.keras"
TRANSCRIBER_LITERT_FILE = "transcriber.tflite"
FORMAT_VERSION = 1
DIGIT_LABELS = tuple("0123456789")

# What is larger is not read; the model that ships and its card are a hundredth of these.
MAX_MODEL_BYTES = 128 << 20
MAX_CARD_BYTES = 4 << 20

# Logits of one model differ by less than 1e-4 between processors and versions; another model's by units.
SELF_TEST_TOLERANCE = 0.01
LARGEST_DIFFERENCE = 1e-4  # by how much a probability of the LiteRT form may differ from the Keras model's

Tiles = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]


Weight = Annotated[float, Field(gt=0, le=2)]
Coefficient = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Constant = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ChosenThresholds(_Part):
    """Above which a reading is accepted, and on which data and trade-off the numbers were chosen.

    `accept` bounds the confidence in the digit, `digit` the probability that the mark is one at all;
    `outlier_weight` is what the odds of "no digit" count in the confidence.
    """

    accept: Annotated[float, Field(ge=0, le=1)] = 0.95
    digit: Annotated[float, Field(ge=0, le=1)] = 0.5
    outlier_weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    chosen_on: str = "default, not chosen for this model"


class TrainingRun(_Part):
    """How a model came to be; `epochs` may be a fraction where time ran out."""

    command: str
    preset: str
    data: str
    epochs: float
    duration_s: float


class SelfTest(_Part):
    """Known answers: small drawn tiles with the logits that this very model gave for them.

    `tiles` is the base64 of uint8 (n, 28, 28); `logits` holds n rows, one number a label, before the
    temperature; an engine may differ from them by `tolerance`, relative where they are larger than 1.
    """

    tiles: str
    logits: list[list[float]]
    tolerance: Annotated[float, Field(gt=0)] = SELF_TEST_TOLERANCE

    @model_validator(mode="after")
    def _tiles_fit_logits(self) -> SelfTest:
        try:
            size_bytes = len(base64.b64decode(self.tiles, validate=True))
        except binascii.Error as error:
            raise ValueError("tiles are not base64") from error
        if not self.logits or size_bytes != len(self.logits) * TILE_PX**2:
            raise ValueError("tiles and logits differ in number")
        return self

    def questions(self) -> Tiles:
        """The tiles, float32 (n, 28, 28) in [0, 1]."""
        pixels = np.frombuffer(base64.b64decode(self.tiles), dtype=np.uint8)
        return pixels.reshape(-1, TILE_PX, TILE_PX).astype(np.float32) / np.float32(255)

    def answers(self) -> Logits:
        """The logits, float32 (n, labels)."""
        return np.asarray(self.logits, dtype=np.float32)


class LiteRtForm(_Part):
    """The same model in the form that LiteRT runs, model.tflite.

    `largest_difference` is how far a probability of it was off from the Keras model's when it was made.
    """

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    largest_difference: Annotated[float, Field(ge=0, le=LARGEST_DIFFERENCE)]


class LonePart(_Part):
    """What to make of a digit that stands alone, in a bundle of two networks (`opinions.LoneCalibration`).

    `by_one` says how likely it is right where the classifier was sure, with at least the confidence `sure_from`,
    and `by_both` where the transcriber looked at it, too; from the probability `accept` on it is accepted;
    `chosen_on` says why these.
    """

    by_one: tuple[Constant, Coefficient]
    by_both: tuple[Constant, Coefficient, Coefficient]
    sure_from: Annotated[float, Field(ge=0, le=1)]
    accept: Annotated[float, Field(ge=0, le=1)]
    chosen_on: str


class TranscriberPart(_Part):
    """The second network of a bundle, which reads lines of digits; transcriber.keras and its LiteRT form.

    `answers` is its self-test: what it says of known windows, (n, 11), the mean logits of the ten digits and of
    none, `tolerance` how far an engine may be off, relative where they are larger than 1. `weights` say how much
    the classifier's log-probabilities count, its own, and the classifier's on parts that were cut out, where both
    speak of a line, `ranking` which of the texts so found is the likeliest (`opinions.TextRanking`; None: as found),
    `stranger_weight` how often a sign as high as digits that is none counts, as it comes more rarely in service,
    and `calibration` how likely the line is right, given both (`opinions.LineCalibration`, without its last
    coefficient in older cards); from the probability `accept` on a line of several digits is accepted; `chosen_on`
    says why these. `lone` is for digits that stand alone: where it is None, they are as sure as the classifier is,
    or as both together are.
    """

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    answers: Annotated[list[list[float]], Field(min_length=1)]
    tolerance: Annotated[float, Field(gt=0)] = SELF_TEST_TOLERANCE
    weights: tuple[Weight, Weight, Weight] = (0.7, 0.7, 0.4)
    ranking: tuple[Coefficient, Coefficient] | None = None
    stranger_weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    calibration: (
        tuple[Constant, Coefficient, Coefficient, Coefficient] | tuple[Constant, Coefficient, Coefficient]
    ) = (0.0, 1.0, 0.0, 0.0)
    accept: Annotated[float, Field(ge=0, le=1)] = 0.0
    chosen_on: str = "default, not chosen for this network"
    lone: LonePart | None = None
    litert: LiteRtForm | None = None
    training: TrainingRun | None = None


class Card(_Part):
    """All that is known about one model; card.json is this, as JSON.

    `labels` name the outputs: the ten digits, then classes of marks that are none. `metrics` are keyed
    by the data they were measured on. `self_test` is None for a bare file alone,
    `litert` where the bundle holds no model.tflite, `transcriber` where it reads sign by sign alone.
    """

    format_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    input_shape: tuple[int, ...]
    labels: tuple[str, ...] = DIGIT_LABELS
    outputs: Literal["logits", "softmax"]
    normaliser: dict[str, bool | int | float | str] = Field(default_factory=dict)
    temperature: Annotated[float, Field(gt=0)] = 1.0
    thresholds: ChosenThresholds = ChosenThresholds()
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)
    seed: int | None = None
    training: TrainingRun | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    self_test: SelfTest | None = None
    litert: LiteRtForm | None = None
    transcriber: TranscriberPart | None = None

    @field_validator("labels")
    @classmethod
    def _digits_first(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if labels[:10] != DIGIT_LABELS or len(set(labels)) != len(labels) or not all(labels):
            raise ValueError("labels must be the ten digits, then other names, each once")
        return labels

    @model_validator(mode="after")
    def _answers_fit_labels(self) -> Card:
        if self.self_test and any(len(row) != len(self.labels) for row in self.self_test.logits):
            raise ValueError("each self-test answer needs one logit a label")
        return self


def read_card(folder: Path) -> Card:
    """The card of a bundle's folder, without looking at the model; ModelError where it is unusable."""
    path = folder / CARD_FILE
    content = read_bounded(path, MAX_CARD_BYTES)
    try:
        version = json.loads(content).get("format_version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a JSON object: {error}. Restore the bundle or train it anew."
        ) from error
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format_version {version!r}; this worker knows {FORMAT_VERSION}."
            " Update the worker, or make the bundle anew with it."
        )
    try:
        return Card.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(f"{path} {_mistakes(error)}") from error


def _mistakes(error: ValidationError) -> str:
    """What is wrong with a card, and what to do about it."""
    found = [(".".join(map(str, each["loc"])) or "card", each) for each in error.errors()]
    unknown = [place for place, each in found if each["type"] == "extra_forbidden"]
    if len(unknown) == len(found):
        return (
            f"says more than this worker understands ({', '.join(unknown)}): a newer version made it."
            " Use the bundle that came with this version, or update the worker."
        )
    wrong = "; ".join(f"{place}: {each['msg']}" for place, each in found)
    return f"is wrong: {wrong}. Restore the bundle or train it anew."


def write_card(folder: Path, card: Card) -> None:
    """Put a new card into a bundle, whole or not at all: temperature, thresholds and metrics come late."""
    if card.sha256 != hashlib.sha256(read_bounded(folder / MODEL_FILE, MAX_MODEL_BYTES)).hexdigest():
        raise ModelError(f"The new card is not about {folder / MODEL_FILE}: its digest is another one.")
    staged = folder / f".{CARD_FILE}.{os.getpid()}"
    try:
        write_synced(staged, card_bytes(card))
        staged.replace(folder / CARD_FILE)
    finally:
        staged.unlink(missing_ok=True)


def files_of(card: Card) -> list[str]:
    """The names of the files that the bundle of this card consists of."""
    names = [MODEL_FILE]
    if card.litert:
        names.append(LITERT_FILE)
    if card.transcriber:
        names.append(TRANSCRIBER_FILE)
        if card.transcriber.litert:
            names.append(TRANSCRIBER_LITERT_FILE)
    return [*names, CARD_FILE]


def card_bytes(card: Card) -> bytes:
    """The content of card.json."""
    return card.model_dump_json(indent=1).encode() + b"\n"


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The content of a regular file of at most so many bytes; ModelError otherwise."""
    try:
        # Non-blocking, so that a FIFO in the model's place is refused and not waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"{path} is not a regular file. Name a bundle's folder or a .keras file.")
            content = file.read(limit_bytes + 1)
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing. Check `model` in the configuration, or train one.") from error
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror}. Mend its permissions or its disk."
        ) from error
    if len(content) > limit_bytes:
        raise ModelError(f"{path} is larger than {limit_bytes >> 20} MiB; no digit model needs that.")
    return content


def write_synced(path: Path, content: bytes) -> None:
    """Write a file, over the one that may be there, and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
