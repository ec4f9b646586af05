"""`predict`: files or folders read now, one record each; nothing is moved."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from worker.delivery.names import file_names, joined, marks, parted, printable
from worker.delivery.records import Record, record_of
from worker.errors import ExitCode, UsageError
from worker.expectation import Expectations
from worker.intake.arrivals import Arrival, IgnoreRules, Walk, arrival_at
from worker.outcome import Outcome, Status
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.recognition.card import Card

BATCH = 64


@dataclass(frozen=True, slots=True)
class Input:
    """One PATH of the command line, found to exist."""

    path: str
    is_folder: bool


def find_inputs(paths: Sequence[str]) -> list[Input]:
    """The inputs that `paths` name; UsageError names all that do not exist."""
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise UsageError("there is no " + ", no ".join(printable(path) for path in missing))
    return [Input(path, os.path.isdir(path)) for path in paths]


def predict_inputs(
    inputs: Sequence[Input], settings: Settings, *, output: Path | None, as_table: bool
) -> int:
    """Read `inputs` and print their records; 1 when some picture failed."""
    from worker.assembly import load_model, reader_for

    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{output}: cannot be made: {error.strerror}") from None
    model = load_model(settings)
    rules, names = settings.expect or Expectations(), dict[str, str]()
    reader = reader_for(
        settings, model, root="", with_pictures=output is not None,
        expected=lambda path: rules.of(names[path]),
    )  # fmt: skip
    show = _Table() if as_table else _Lines()
    shelf = _Shelf(output) if output is not None else None
    failed = 0
    found = _Found(inputs, IgnoreRules(settings.ignore))
    for batch in found.batches():
        names.clear()
        names.update((arrival.name, name) for arrival, name in batch)
        answers = reader.read([arrival for arrival, _ in batch])
        for answer, (_, name) in zip(answers, batch, strict=True):
            if not isinstance(answer, Outcome):
                print(f"digit-worker: {printable(name)}: {answer.why} while it was read", file=sys.stderr)
                failed += 1
                continue
            failed += answer.status is Status.FAILED
            show.add(_published(answer, name, model.card, shelf))
    reader.close()
    show.end()
    return ExitCode.FINDINGS if failed or found.problems else ExitCode.FINE


def _published(outcome: Outcome, name: str, card: Card, shelf: _Shelf | None) -> Record:
    """The record under the name that the user gave, laid on the shelf where there is one."""
    import dataclasses

    named = dataclasses.replace(outcome, arrival=dataclasses.replace(outcome.arrival, name=name))
    if shelf is None:
        return record_of(named, None, card.name, card.sha256)
    return shelf.put(named, card)


# --- what is there --------------------------------------------------------------------------------------


class _Found:
    """What the inputs lead to; what cannot be read is said on stderr and counted in `problems`."""

    def __init__(self, inputs: Sequence[Input], ignore: IgnoreRules) -> None:
        self._inputs = inputs
        self._ignore = ignore
        self.problems = 0

    def batches(self) -> Iterator[list[tuple[Arrival, str]]]:
        """Arrivals (whose name is the whole path) with the names their records take, some dozens at a time."""
        batch: list[tuple[Arrival, str]] = []
        for path, name, is_named in self._paths():
            arrival = _arrival(path, follow=is_named)
            if arrival is None:
                self._complain(name, "is not there any more, or is no file")
                continue
            batch.append((arrival, name))
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _paths(self) -> Iterator[tuple[str, str, bool]]:
        """Path and record name of each picture (as given, or below the folder given), and whether it was given."""
        for one in self._inputs:
            if not one.is_folder:
                yield one.path, one.path, True
                continue
            walk = Walk(one.path, self._ignore)
            for name in sorted(name for name, _ in walk.pictures()):
                yield os.path.join(one.path, name), name, False
            for folder, blocked in walk.blocked.items():
                self._complain(os.path.join(one.path, folder), blocked.reason)

    def _complain(self, name: str, why: str) -> None:
        self.problems += 1
        print(f"digit-worker: {printable(name)}: {why}", file=sys.stderr)


def _arrival(path: str, *, follow: bool) -> Arrival | None:
    """The entry at `path`; None when it has vanished. Only what the user named himself is followed if a link."""
    try:
        return arrival_at(path, follow=follow)
    except OSError:
        return None


# --- where it goes --------------------------------------------------------------------------------------


class _Shelf:
    """Writes records and annotated pictures below a folder, a second one of the same name under its hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: dict[str, str | None] = {}

    def put(self, outcome: Outcome, card: Card) -> Record:
        """Write what belongs to `outcome`; returns its record."""
        record_name, picture_name = self._names(outcome)
        annotated = None
        if outcome.picture is not None:
            annotated = picture_name
            self._write(picture_name, outcome.picture.data)
        record = record_of(outcome, annotated, card.name, card.sha256)
        self._write(record_name, record.to_json_bytes())
        return record

    def _names(self, outcome: Outcome) -> tuple[str, str]:
        name = outcome.arrival.name
        if os.path.isabs(name) or ".." in Path(name).parts:
            name = os.path.basename(name)
        folder, base = parted(os.path.normpath(name))
        ending = outcome.picture.ending if outcome.picture is not None else ".png"
        for mark in chain(("",), marks(outcome.sha256 or "0" * 64)):
            names = file_names(base, ending, mark)
            record, picture = joined(folder, names.record), joined(folder, names.picture or "")
            if self._taken.setdefault(record, outcome.sha256) == outcome.sha256:
                break
        return record, picture

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        part = path.with_name(".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            raise UsageError(f"{printable(str(path))}: cannot be written: {error.strerror}") from None


class _Lines:
    """One JSON record a line."""

    def add(self, record: Record) -> None:
        sys.stdout.buffer.write(record.to_json_line())
        sys.stdout.buffer.flush()

    def end(self) -> None:
        """Lines need no end."""


class _Table:
    """A table for people, shown when all is read."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.table import Table

        self._console = Console()
        self._table = Table("picture", "reads", "sure", "status", "why")
        self._count = 0

    def add(self, record: Record) -> None:
        from rich.markup import escape

        colour = {"read": "green", "review": "yellow", "failed": "red"}[record.status]
        guess = record.text if record.text is not None else ""
        if "?" in guess:
            guess += " (" + " ".join(str(digit.digit) for digit in record.digits) + "?)"
        self._table.add_row(
            escape(record.source.name),
            guess,
            "" if record.confidence is None else f"{min(record.confidence * 100, 99.9):.1f} %",
            f"[{colour}]{record.status}[/]",
            "" if record.reason is None else record.reason.message,
        )
        self._count += 1

    def end(self) -> None:
        if self._count:
            self._console.print(self._table)
        else:
            self._console.print("No pictures were found there.")
