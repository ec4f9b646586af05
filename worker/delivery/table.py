"""The records of an outbox as one table, for people who open spreadsheets and not JSON."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from worker.delivery.shelf import Shelved, shelved_records
from worker.errors import ExitCode, FoldersError, UsageError

COLUMNS = (
    "name", "status", "text", "confidence", "digits", "reason", "message", "width", "height", "bytes",
    "received_at", "finished_at", "record", "annotated", "sha256", "model", "model_sha256",
)  # fmt: skip


def export(outbox: Path, form: Literal["csv", "jsonl"], *, since: str | None, output: Path | None) -> int:
    """Write the records of `outbox`, oldest first, to `output` or stdout; returns the exit code."""
    start = parse_time(since) if since else None
    if not os.path.isdir(outbox):
        raise FoldersError(f"{outbox}: there is no such outbox, or this user may not reach it.")
    rows = sorted(
        (shelved for shelved in shelved_records(outbox) if start is None or _finished(shelved) >= start),
        key=lambda shelved: (shelved.record["finished_at"], shelved.path),
    )
    if output is None:
        _write(rows, form, sys.stdout)
        return ExitCode.FINE
    # Spreadsheets take a CSV file for UTF-8 only when it begins with a byte order mark.
    encoding = "utf-8-sig" if form == "csv" else "utf-8"
    try:
        with output.open("w", encoding=encoding, newline="") as file:
            _write(rows, form, file)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror}") from None
    print(f"{len(rows)} records written to {output}", file=sys.stderr)
    return ExitCode.FINE


def parse_time(text: str) -> datetime:
    """The moment that `text` names (ISO 8601, a date or a date with time); local time where no zone is said."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--since {text}: not a time. Write it like 2026-11-20 or 2026-11-20T08:00Z."
        ) from None
    return moment.astimezone(UTC)


def _finished(shelved: Shelved) -> datetime:
    try:
        return datetime.fromisoformat(shelved.record["finished_at"]).astimezone(UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _write(rows: Iterable[Shelved], form: str, file: TextIO) -> None:
    if form == "jsonl":
        for shelved in rows:
            file.write(json.dumps(shelved.record, ensure_ascii=False) + "\n")
        return
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for shelved in rows:
        writer.writerow([_safe(value) for value in _cells(shelved)])


def _cells(shelved: Shelved) -> Iterator[Any]:
    record = shelved.record
    source, reason = record["source"], record.get("reason") or {}
    model = record.get("model") or {}
    yield from (source["name"], record["status"], record.get("text"), record.get("confidence"))
    yield len(record.get("digits") or ())
    yield from (reason.get("code"), reason.get("message"))
    yield from (source.get("width"), source.get("height"), source.get("bytes"))
    yield from (record.get("received_at"), record["finished_at"], shelved.path, record.get("annotated"))
    yield from (source.get("sha256"), model.get("name"), model.get("sha256"))


def _safe(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: names of files are chosen by whoever drops them."""
    if value is None:
        return ""
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace").decode("utf-8")
        if value.startswith(("=", "+", "-", "@", "\t", "\r")):
            return "'" + value
    return value
