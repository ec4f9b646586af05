"""A record says what its outcome says, in the form that the contract names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.delivery.records import Record, json_schema, record_of
from worker.intake.arrivals import Arrival, Kind
from worker.outcome import Outcome, Status
from worker.reasons import Reason, ReasonCode
from worker.recognition.decision import Reading
from worker.vision.page import Box

MODEL_SHA = "c" * 64
KEYS = [
    "schema_version",
    "status",
    "text",
    "confidence",
    "digits",
    "reason",
    "source",
    "annotated",
    "model",
    "worker_version",
    "received_at",
    "finished_at",
]


def reading(digit: int = 4, confidence: float = 0.99871) -> Reading:
    probabilities = tuple(1.0 if d == digit else 0.0 for d in range(10))
    return Reading(digit, confidence, accepted=True, probabilities=probabilities, box=Box(1, 2, 3, 4))


def outcome(name: str = "a/b.png", *, digits: tuple[Reading, ...] = (reading(),)) -> Outcome:
    return Outcome(
        arrival=Arrival(name, Kind.FILE, 1, 2, 3, 4, 5, received_at_s=1_700_000_000.1239),
        status=Status.READ,
        text="4" * len(digits),
        confidence=0.99871,
        digits=digits,
        reason=None,
        sha256="a" * 64,
        size_bytes=4711,
        width=300,
        height=200,
        picture=None,
        finished_at=datetime(2026, 11, 20, 9, 30, 0, 141_999, UTC),
    )


def failed(name: str = "a/b.png") -> Outcome:
    plain = outcome(name)
    return Outcome(
        plain.arrival,
        Status.FAILED,
        None,
        None,
        (),
        Reason.of(ReasonCode.NOT_READABLE, 'Permission was denied for "it".'),
        None,
        None,
        None,
        None,
        None,
        plain.finished_at,
    )


def written(of: Outcome, annotated: str | None = None) -> dict[str, object]:
    loaded = json.loads(record_of(of, annotated, "digits", MODEL_SHA).to_json_bytes())
    assert isinstance(loaded, dict)
    return loaded


def test_a_read_record_holds_every_key_in_the_order_of_the_contract() -> None:
    record = written(outcome(), "a/b.png.annotated.png")
    assert list(record) == KEYS
    assert record["source"] == {
        "name": "a/b.png",
        "sha256": "a" * 64,
        "bytes": 4711,
        "width": 300,
        "height": 200,
    }
    assert record["digits"] == [
        {
            "digit": 4,
            "confidence": 0.9987,
            "accepted": True,
            "probabilities": [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            "box": {"x": 1, "y": 2, "width": 3, "height": 4},
        }
    ]
    assert record["confidence"] == 0.9987
    assert record["reason"] is None
    assert record["annotated"] == "a/b.png.annotated.png"


def test_what_was_not_determined_is_null_in_a_failed_record() -> None:
    record = written(failed())
    assert [record[key] for key in ("text", "confidence", "annotated")] == [None] * 3
    assert record["digits"] == []
    assert record["source"] == {
        "name": "a/b.png",
        "sha256": None,
        "bytes": None,
        "width": None,
        "height": None,
    }
    assert record["reason"] == {
        "code": "not_readable",
        "message": Reason.of(ReasonCode.NOT_READABLE, 'Permission was denied for "it".').message,
    }


def test_times_are_utc_with_milliseconds_whatever_zone_they_came_in() -> None:
    here = outcome()
    elsewhere = Outcome(
        **{name: getattr(here, name) for name in Outcome.__slots__ if name != "finished_at"},
        finished_at=here.finished_at.astimezone(timezone(timedelta(hours=5, minutes=30))),
    )
    for value in (here, elsewhere):
        record = written(value)
        assert record["received_at"] == "2023-11-14T22:13:20.123Z"
        assert record["finished_at"] == "2026-11-20T09:30:00.141Z"


def test_people_find_each_key_and_each_digit_on_a_line() -> None:
    text = (
        record_of(outcome(digits=(reading(1), reading(2))), None, "digits", MODEL_SHA)
        .to_json_bytes()
        .decode()
    )
    lines = text.splitlines()
    assert text.endswith("}\n")
    assert [line.split('"')[1] for line in lines if line.startswith('  "')] == KEYS
    assert [json.loads(line.rstrip(","))["digit"] for line in lines if line.startswith("    {")] == [1, 2]


def test_the_line_form_says_the_same_on_one_line() -> None:
    record = record_of(outcome("a\nb.png"), None, "digits", MODEL_SHA)
    line = record.to_json_line()
    assert line.count(b"\n") == 1
    assert list(json.loads(line)) == KEYS
    assert json.loads(line) == json.loads(record.to_json_bytes())


def test_a_name_that_is_no_utf8_is_escaped_and_its_true_bytes_are_kept() -> None:
    name = os.fsdecode(b"a/50%\xff.png")
    record = written(outcome(name), name + ".annotated.png")
    source = record["source"]
    assert isinstance(source, dict)
    assert source["name"] == "a/50%25%FF.png"
    assert bytes.fromhex(source["name_bytes_hex"]) == b"a/50%\xff.png"
    assert record["annotated"] == "a/50%25%FF.png.annotated.png"


def test_a_percent_sign_in_a_utf8_name_stays() -> None:
    source = written(outcome("50%é.png"))["source"]
    assert isinstance(source, dict)
    assert source["name"] == "50%é.png"
    assert "name_bytes_hex" not in source


def test_a_message_that_quotes_bytes_is_still_utf8() -> None:
    bad = failed()
    quoting = Outcome(
        **{name: getattr(bad, name) for name in Outcome.__slots__ if name != "reason"},
        reason=Reason(ReasonCode.NOT_READABLE, f"{os.fsdecode(bytes([0xFF]))} is not readable."),
    )
    assert record_of(quoting, None, "digits", MODEL_SHA).to_json_bytes().decode()


chances = st.floats(0, 1)
readings = st.builds(
    Reading,
    digit=st.integers(0, 9),
    confidence=chances,
    accepted=st.booleans(),
    probabilities=st.tuples(*[chances] * 10),
    box=st.builds(Box, *[st.integers(0, 9999)] * 4),
)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    digits = tuple(draw(st.lists(readings, max_size=4)))
    return Outcome(
        arrival=Arrival(
            draw(st.binary(min_size=1).map(os.fsdecode)), Kind.FILE, 1, 2, 3, 4, 5, draw(st.floats(0, 4e9))
        ),
        status=draw(st.sampled_from(Status)),
        text=draw(st.none() | st.text("0123456789? \n")),
        confidence=draw(st.none() | chances),
        digits=digits,
        reason=draw(
            st.none() | st.builds(Reason.of, st.sampled_from(ReasonCode), st.text('ab"\\\n é', max_size=9))
        ),
        sha256=draw(st.none() | st.just("e" * 64)),
        size_bytes=draw(st.none() | st.integers(0)),
        width=draw(st.none() | st.integers(0)),
        height=draw(st.none() | st.integers(0)),
        picture=None,
        finished_at=datetime.fromtimestamp(draw(st.floats(0, 4e9)), UTC),
    )


@given(outcomes(), st.none() | st.binary(min_size=1).map(os.fsdecode).filter(str.isprintable))
def test_a_record_survives_a_round_trip(of: Outcome, annotated: str | None) -> None:
    record = record_of(of, annotated, "digits", MODEL_SHA)
    assert Record.from_json_bytes(record.to_json_bytes()) == record
    assert Record.from_json_bytes(record.to_json_line()) == record
    assert Record.from_json_bytes(record.to_json_bytes()).to_json_bytes() == record.to_json_bytes()


def test_a_key_that_the_schema_does_not_name_is_refused() -> None:
    record = written(outcome())
    with pytest.raises(ValidationError):
        Record.from_json_bytes(json.dumps({**record, "more": 1}).encode())


def test_the_schema_requires_every_key_and_no_other() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == KEYS
    assert list(schema["properties"]) == KEYS
    objects = [schema, *(part for part in schema["$defs"].values() if part["type"] == "object")]
    assert all(part["additionalProperties"] is False for part in objects)
    source = schema["$defs"]["RecordedSource"]
    assert source["required"] == ["name", "sha256", "bytes", "width", "height"]
    assert source["properties"]["name_bytes_hex"]["type"] == "string"


def test_the_schema_holds_the_closed_list_of_reasons() -> None:
    assert json_schema()["$defs"]["ReasonCode"]["enum"] == [code.value for code in ReasonCode]


def test_the_schema_comes_without_numpy_opencv_or_tensorflow() -> None:
    heavy = ("numpy", "cv2", "tensorflow")
    code = f"import sys, worker.delivery.records; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
