"""The record, the JSON that people and programs read: its models, its way of being written, its schema."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

import worker
from worker.delivery.names import is_utf8, percent_escaped, printable
from worker.reasons import ReasonCode

if TYPE_CHECKING:  # NumPy comes with them, and the `schema` command needs none of it
    from worker.outcome import Outcome
    from worker.recognition.decision import Reading

SCHEMA_VERSION: Literal[1] = 1
_DECIMALS = 4
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Chance = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]

_quoted = json.JSONEncoder(ensure_ascii=False).encode


class _Part(BaseModel):
    """What all parts of a record have in common: frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordedBox(_Part):
    """A rectangle in pixels of the picture as a person sees it (after EXIF orientation)."""

    x: Count = Field(description="The first column.")
    y: Count = Field(description="The first row.")
    width: Count = Field(description="Columns.")
    height: Count = Field(description="Rows.")


class RecordedDigit(_Part):
    """One mark that was read."""

    digit: int = Field(ge=0, le=9, description="The best guess, also where it is not accepted.")
    confidence: Chance = Field(
        description="Calibrated probability that `digit` is right. It counts the chance that the mark is no"
        " digit at all, so it may lie below the digit's entry in `probabilities`."
    )
    accepted: bool = Field(description="Whether the digit may be used without a person looking at it.")
    probabilities: tuple[Chance, ...] = Field(
        min_length=10, max_length=10, description="For 0 to 9: which digit, given that it is one."
    )
    box: RecordedBox


class RecordedReason(_Part):
    """Why the picture was not simply read."""

    code: ReasonCode = Field(description="One of a closed list.")
    message: str = Field(description="A sentence that tells a person what to do.")


def _without_default(schema: dict[str, Any]) -> None:
    """Say in the schema that a key may be left out, but is no null."""
    schema.pop("default", None)
    schema.pop("anyOf", None)
    schema |= {"type": "string", "pattern": "^([0-9a-f]{2})+$"}


class RecordedSource(_Part):
    """The picture that was dropped."""

    name: str = Field(
        description="Its path below the inbox. Bytes that are no UTF-8 are written %XX; then % itself is %25"
        " and `name_bytes_hex` is there."
    )
    sha256: Sha256 | None = Field(description="SHA-256 of its bytes; null where they were not read.")
    bytes: Count | None = Field(description="Its size; null where it was not determined.")
    width: Count | None = Field(description="In pixels, upright; null where it was not determined.")
    height: Count | None = Field(description="In pixels, upright; null where it was not determined.")
    name_bytes_hex: str | None = Field(
        default=None,
        description="The true bytes of the name as hex digits; only for names that are not UTF-8.",
        json_schema_extra=_without_default,
    )


class RecordedModel(_Part):
    """The model that read the picture."""

    name: str
    sha256: Sha256


class Record(_Part):
    """What became of one picture that was dropped into the inbox."""

    schema_version: Literal[1] = Field(description="The version of this format.")
    status: Literal["read", "review", "failed"] = Field(
        description="`read`: every digit is accepted; `review`: a person should look; `failed`: it could not"
        " be read as a picture."
    )
    text: str | None = Field(
        description="One character for each entry of `digits`: the digit, or ? where it is not accepted."
        " A space separates groups, a newline lines. Empty where there is no ink; null when failed."
    )
    confidence: Chance | None = Field(
        description="Calibrated probability that all best guesses are right and none is missing; 0 where"
        " nothing was read; null when failed."
    )
    digits: tuple[RecordedDigit, ...] = Field(description="In reading order; empty when failed.")
    reason: RecordedReason | None = Field(description="Null when read.")
    source: RecordedSource
    annotated: str | None = Field(
        description="The annotated picture's path below the outbox, written like `source.name`; null when"
        " failed or switched off."
    )
    model: RecordedModel
    worker_version: str
    received_at: AwareDatetime = Field(description="When the worker first saw the picture; UTC, ms.")
    finished_at: AwareDatetime = Field(description="When it was read; UTC, ms.")

    def to_json_bytes(self) -> bytes:
        """Write the record for people: a line for each key and for each digit, and a newline at the end.

        The same record always gives the same bytes, in UTF-8.
        """
        lines = []
        for key, value in self._members():
            text = _one_a_line(value) if isinstance(value, list) else value
            lines.append(f'  "{key}": {text}')
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    def to_json_line(self) -> bytes:
        """Write the record on one line, newline included, for streams of records."""
        members = []
        for key, value in self._members():
            text = f"[{', '.join(value)}]" if isinstance(value, list) else value
            members.append(f'"{key}": {text}')
        return ("{" + ", ".join(members) + "}\n").encode()

    @classmethod
    def from_json_bytes(cls, data: bytes) -> Record:
        """Read back what a writer wrote; raises `pydantic.ValidationError` for anything else."""
        return cls.model_validate_json(data)

    def _members(self) -> list[tuple[str, str | list[str]]]:
        """Every key in order with its JSON text; the digits as one text each.

        Written by hand, since a general encoder can put neither one digit on one line nor 20 records in
        the time that one fsync takes.
        """
        model = self.model
        return [
            ("schema_version", str(self.schema_version)),
            ("status", f'"{self.status}"'),
            ("text", _text(self.text)),
            ("confidence", "null" if self.confidence is None else repr(self.confidence)),
            ("digits", [_digit(digit) for digit in self.digits]),
            ("reason", "null" if self.reason is None else _reason(self.reason)),
            ("source", _source(self.source)),
            ("annotated", _text(self.annotated)),
            ("model", f'{{"name": {_quoted(model.name)}, "sha256": "{model.sha256}"}}'),
            ("worker_version", _quoted(self.worker_version)),
            ("received_at", _time(self.received_at)),
            ("finished_at", _time(self.finished_at)),
        ]


def record_of(outcome: Outcome, annotated_name: str | None, model_name: str, model_sha256: str) -> Record:
    """Say in a record what `outcome` says; `annotated_name` is the picture's path below the outbox, or None.

    Probabilities are rounded to 4 decimals, times to whole milliseconds (downwards).
    """
    name = outcome.arrival.name
    plain = is_utf8(name)
    if annotated_name is not None and not plain:
        # Escaped whenever the source is, whatever a cut has left of it: `name_bytes_hex` is the one sign.
        annotated_name = percent_escaped(annotated_name)
    reason = outcome.reason
    return Record(
        schema_version=SCHEMA_VERSION,
        status=outcome.status.value,
        text=outcome.text,
        confidence=None if outcome.confidence is None else _rounded(outcome.confidence),
        digits=tuple(_recorded(reading) for reading in outcome.digits),
        # A message may quote a name that is no UTF-8.
        reason=None
        if reason is None
        else RecordedReason(code=reason.code, message=printable(reason.message)),
        source=RecordedSource(
            name=printable(name),
            sha256=outcome.sha256,
            bytes=outcome.size_bytes,
            width=outcome.width,
            height=outcome.height,
            name_bytes_hex=None if plain else os.fsencode(name).hex(),
        ),
        annotated=annotated_name,
        model=RecordedModel(name=printable(model_name), sha256=model_sha256),
        worker_version=worker.__version__,
        received_at=_whole_ms(datetime.fromtimestamp(outcome.arrival.received_at_s, UTC)),
        finished_at=_whole_ms(outcome.finished_at.astimezone(UTC)),
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every record of this version obeys."""
    schema = Record.model_json_schema(mode="validation")
    return {"$schema": _DIALECT, **schema}


def _recorded(reading: Reading) -> RecordedDigit:
    box = reading.box
    return RecordedDigit(
        digit=reading.digit,
        confidence=_rounded(reading.confidence),
        accepted=reading.accepted,
        probabilities=tuple(_rounded(p) for p in reading.probabilities),
        box=RecordedBox(x=box.x, y=box.y, width=box.width, height=box.height),
    )


def _rounded(chance: float) -> float:
    return round(float(chance), _DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _time(moment: datetime) -> str:
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f'"{utc.isoformat(timespec="milliseconds")}Z"'


def _text(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


def _one_a_line(entries: list[str]) -> str:
    inner = ",\n".join(f"    {entry}" for entry in entries)
    return f"[\n{inner}\n  ]" if entries else "[]"


def _reason(reason: RecordedReason) -> str:
    return f'{{"code": "{reason.code.value}", "message": {_quoted(reason.message)}}}'


def _digit(digit: RecordedDigit) -> str:
    box = digit.box
    return (
        f'{{"digit": {digit.digit}, "confidence": {digit.confidence!r},'
        f' "accepted": {"true" if digit.accepted else "false"},'
        f' "probabilities": [{", ".join(map(repr, digit.probabilities))}],'
        f' "box": {{"x": {box.x}, "y": {box.y}, "width": {box.width}, "height": {box.height}}}}}'
    )


def _source(source: RecordedSource) -> str:
    true_name = f', "name_bytes_hex": "{source.name_bytes_hex}"' if source.name_bytes_hex else ""
    return (
        f'{{"name": {_quoted(source.name)}, "sha256": {_text(source.sha256)},'
        f' "bytes": {_number(source.bytes)}, "width": {_number(source.width)},'
        f' "height": {_number(source.height)}{true_name}}}'
    )
