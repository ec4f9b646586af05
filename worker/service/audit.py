"""`doctor --audit`: inbox, outbox, done, failed and the log held against each other.

It streams: memory does not grow with the outbox. It only looks. What the worker or a consumer moves meanwhile
is looked at twice before it is called a misfit.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.delivery.disk import HIDDEN, STAGING, digest_of, status_of
from worker.delivery.journal import Entry, JournalTooNewError, TornEntryError
from worker.delivery.names import DONE, FAILED, MARK_LENGTHS, file_names, joined, parted, printable
from worker.delivery.retrial import originals_of, pictured_in
from worker.delivery.shelf import Shelved, is_record
from worker.errors import ExitCode, FoldersError
from worker.intake.arrivals import IgnoreRules, Walk
from worker.service.health import is_running, read_status
from worker.settings import Settings

MAX_SHOWN = 20  # of each kind; all are counted
BLINK_S = 0.5  # between the two looks at what may be moving
AT_REST_S = 3.0  # since when the worker must say that it is idle
_LARGEST_RECORD_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Misfit:
    """One thing that does not fit: its kind, the file, what is wrong, and what to do."""

    kind: str
    path: str
    what: str
    advice: str


@dataclass(slots=True)
class Audit:
    """One walk through everything; the counts are complete once `misfits` is exhausted."""

    settings: Settings
    counts: Counter[str] = field(default_factory=Counter)

    def misfits(self) -> Iterator[Misfit]:
        """Yield what does not fit. FoldersError where a folder cannot be read."""
        for folder in (self.settings.inbox, self.settings.outbox):
            if not os.path.isdir(folder):
                raise FoldersError(f"{folder}: there is no such folder, or this user may not reach it.")
        yield from _books(read_status(self.settings.outbox))
        yield from self._log()
        yield from self._staging()
        yield from self._records()
        yield from self._originals()
        yield from self._inbox()

    # --- the log ------------------------------------------------------------------------------------

    def _log(self) -> Iterator[Misfit]:
        folder = self.settings.outbox / HIDDEN / "journal"
        for entry in _entries(folder):
            if entry.name.endswith(".torn"):
                yield Misfit(
                    "torn_log", entry.path, "is a damaged log entry that was put aside.",
                    "Its drops were answered as if new: look for records that came twice, then remove it.",
                )  # fmt: skip
            elif entry.name.endswith(".entry"):
                self.counts["log_entries"] += 1
                yield from self._log_entry(Path(entry.path))

    def _log_entry(self, path: Path) -> Iterator[Misfit]:
        try:
            entry = Entry.from_bytes(path.read_bytes())
        except FileNotFoundError:
            return
        except TornEntryError as error:
            yield Misfit(
                "unreadable_log", str(path), f"cannot be read: {error}.",
                "The next start puts it aside and answers its drops anew.",
            )  # fmt: skip
        except JournalTooNewError as error:
            yield Misfit("unreadable_log", str(path), "is of a newer version.", str(error))
        except OSError as error:
            yield Misfit(
                "unreadable_log",
                str(path),
                f"cannot be read: {error.strerror}.",
                "Look as the worker's user.",
            )
        else:
            unfinished = sum(item.record is not None for item in entry.items)
            if unfinished and self._is_at_rest() and path.exists():
                yield Misfit(
                    "unfinished_work", str(path), f"announces {unfinished} answers that are not finished.",
                    "The next start of the worker finishes them.",
                )  # fmt: skip

    def _staging(self) -> Iterator[Misfit]:
        folder = self.settings.outbox / STAGING
        if not self._is_at_rest():
            return
        for entry in _entries(folder):
            yield Misfit(
                "staged_leftover", entry.path, "is staged although nothing is in work.",
                "The next start of the worker publishes or removes it.",
            )  # fmt: skip

    def _is_at_rest(self) -> bool:
        """Whether no worker is at work: none runs, or it has been idle for a while and still is."""
        if not is_running(self.settings.outbox):
            return True
        status = read_status(self.settings.outbox) or {}
        return status.get("state") == "idle" and time.time() - status.get("since_s", time.time()) > AT_REST_S

    # --- records ------------------------------------------------------------------------------------

    def _records(self) -> Iterator[Misfit]:
        for path in _files_below(self.settings.outbox):
            if not path.endswith(".json"):
                continue
            shelved = self._shelved(path)
            if shelved is None:
                if self._is_torn(path):
                    yield Misfit(
                        "unreadable_record", path, "has the name of a record and is none.",
                        "The worker writes records whole: somebody else wrote or damaged it.",
                    )  # fmt: skip
                continue
            self.counts["records"] += 1
            found = list(self._record_misfits(shelved))
            if found:
                time.sleep(BLINK_S)  # a consumer takes the picture first, a new answer replaces it first
                again = self._shelved(path)
                if again is not None and again.record == shelved.record:
                    yield from self._record_misfits(again)

    def _shelved(self, path: str) -> Shelved | None:
        try:
            with open(self.settings.outbox / path, "rb") as file:
                content = json.loads(file.read(_LARGEST_RECORD_BYTES))
        except (OSError, ValueError):
            return None
        return Shelved(path, content) if is_record(content) else None

    def _is_torn(self, path: str) -> bool:
        """Whether it is named after an original that is there: other people's JSON may lie here, too."""
        name = path.removesuffix(".json")
        kept = any((self.settings.outbox / folder / name).exists() for folder in (DONE, FAILED))
        return kept and (self.settings.outbox / path).is_file()

    def _record_misfits(self, shelved: Shelved) -> Iterator[Misfit]:
        record = shelved.record
        if record.get("annotated"):
            picture = pictured_in(shelved)
            if status_of(str(self.settings.outbox / picture)) is None:
                yield Misfit(
                    "missing_picture", shelved.path, f"names the picture {printable(picture)}, which is gone.",
                    "If no consumer took it, `digit-worker retry` has it made anew.",
                )  # fmt: skip
        yield from self._misplaced(shelved)
        yield from self._twice(shelved)

    def _misplaced(self, shelved: Shelved) -> Iterator[Misfit]:
        """An original that lies in the wrong one of the two folders, or is another file than was read."""
        is_failed = shelved.record["status"] == "failed"
        right, wrong = (FAILED, DONE) if is_failed else (DONE, FAILED)
        size_bytes = shelved.record["source"].get("bytes")
        misplaced = self._originals_in(shelved, wrong, size_bytes)  # hardly ever any, so nothing is hashed
        if misplaced and not self._originals_in(shelved, right, size_bytes):
            yield Misfit(
                "misplaced_original", shelved.path,
                f"says {shelved.record['status']}, but its original is {printable(misplaced[0])}.",
                f"Move the original to {right}/, or have the picture answered anew with `digit-worker retry`.",
            )  # fmt: skip

    def _originals_in(self, shelved: Shelved, kept: str, size_bytes: int | None) -> list[str]:
        """The places in one folder where a file of the record's size lies; its bytes too, where cheap."""
        found = []
        for path in originals_of(shelved, kept):
            status = status_of(str(self.settings.outbox / path))
            if status is None or (size_bytes is not None and status.st_size != size_bytes):
                continue
            if size_bytes is None or self._is_read(shelved, path):
                found.append(path)
        return found

    def _is_read(self, shelved: Shelved, path: str) -> bool:
        sha256 = shelved.record["source"].get("sha256")
        try:
            return sha256 is None or digest_of(str(self.settings.outbox / path)) == sha256
        except OSError:
            return False

    def _twice(self, shelved: Shelved) -> Iterator[Misfit]:
        """Another record for the same bytes under the same name; the names that it may have are few."""
        source = shelved.record["source"]
        sha256 = source.get("sha256")
        if not sha256:
            return
        folder, name = parted(shelved.name)
        for mark in ("", *(sha256[:length] for length in MARK_LENGTHS)):
            path = joined(folder, file_names(name, None, mark).record)
            if path >= shelved.path:  # each pair is found from its later one
                continue
            other = self._shelved(path)
            if other is not None and other.record["source"] == source:
                yield Misfit(
                    "answered_twice", shelved.path, f"answers the same drop as {printable(path)}.",
                    "If the file was not dropped twice, report this with both records.",
                )  # fmt: skip

    # --- originals and inbox ------------------------------------------------------------------------

    def _originals(self) -> Iterator[Misfit]:
        """Originals that are kept in both folders: an answer given anew removes the earlier one."""
        failed = self.settings.outbox / FAILED
        for kept in (DONE, FAILED):
            self.counts[f"in_{kept}"] = sum(1 for _ in _files_below(self.settings.outbox / kept))
        for path in _files_below(failed):
            twin = self.settings.outbox / DONE / path
            if twin.is_file() and self._are_equal(failed / path, twin):
                time.sleep(BLINK_S)
                if twin.is_file() and (failed / path).is_file() and self._is_at_rest():
                    yield Misfit(
                        "kept_twice", joined(FAILED, path), "lies in done/ as well, with the same bytes.",
                        "Its record says which of the two counts; remove the other.",
                    )  # fmt: skip

    @staticmethod
    def _are_equal(one: Path, other: Path) -> bool:
        try:
            if one.is_symlink() or one.stat().st_size != other.stat().st_size:
                return False
            return digest_of(str(one)) == digest_of(str(other))
        except OSError:
            return False

    def _inbox(self) -> Iterator[Misfit]:
        """Pictures that a worker at rest does not know of."""
        before = read_status(self.settings.outbox) or {}
        walk = Walk(str(self.settings.inbox), IgnoreRules(self.settings.ignore), must_move=True)
        pictures = sum(1 for _ in walk.pictures())
        self.counts["in_inbox"] = pictures
        for folder, blocked in walk.blocked.items():
            yield Misfit(
                "blocked_folder", joined(str(self.settings.inbox), folder), f"is blocked: {blocked.reason}.",
                "Its pictures wait until that is mended.",
            )  # fmt: skip
        after = read_status(self.settings.outbox) or {}
        if not is_running(self.settings.outbox) or not self._is_at_rest() or _flow(before) != _flow(after):
            return
        known = after["counts"]["waiting"] + after["counts"]["stuck"]
        if pictures > known and after["written_at_s"] - after["since_s"] > 2 * self.settings.rescan_s:
            yield Misfit(
                "unknown_to_the_worker", str(self.settings.inbox),
                f"holds {pictures} pictures, and the worker, which is idle, knows of {known}.",
                "Restart the worker, and report this.",
            )  # fmt: skip


def show_audit(settings: Settings, *, as_json: bool) -> int:
    """Print what does not fit, kind by kind; 1 where anything does not."""
    audit = Audit(settings)
    kinds: Counter[str] = Counter()
    shown: list[Misfit] = []
    for misfit in audit.misfits():
        kinds[misfit.kind] += 1
        if kinds[misfit.kind] > MAX_SHOWN:
            continue
        shown.append(misfit)
        if not as_json:
            print(f"{misfit.kind}: {printable(misfit.path)} {misfit.what}\n    -> {misfit.advice}")
    if as_json:
        findings = [
            {"kind": m.kind, "path": printable(m.path), "what": m.what, "advice": m.advice} for m in shown
        ]
        print(json.dumps({"looked_at": dict(audit.counts), "misfits": kinds, "shown": findings}, indent=2))
    else:
        for kind, count in kinds.items():
            if count > MAX_SHOWN:
                print(f"{kind}: {count - MAX_SHOWN:,} more.")
        looked = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in audit.counts.items())
        print(f"Looked at: {looked}. {sum(kinds.values()):,} things do not fit.")
    return ExitCode.FINDINGS if kinds else ExitCode.FINE


def _books(status: Mapping[str, Any] | None) -> Iterator[Misfit]:
    """The equation that every status has to fulfil."""
    if status is None or not status.get("model"):
        return
    counts = status["counts"]
    ways = ("published", "answered_before", "vanished", "waiting", "in_work")
    total = sum(counts[way] for way in ways)
    if counts["seen"] != total:
        yield Misfit(
            "books", "status", f"says that {counts['seen']} files were seen and {total} accounted for.",
            "Report this, with the status and the log.",
        )  # fmt: skip


def _flow(status: Mapping[str, Any]) -> tuple[Any, ...]:
    counts = status.get("counts", {})
    return tuple(counts.get(name) for name in ("seen", "published", "vanished"))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return
    except OSError as error:
        raise FoldersError(f"{folder} cannot be read: {error.strerror}. Ask as the worker's user.") from error


def _files_below(root: Path) -> Iterator[str]:
    """The files below `root`, as paths below it, in no order; hidden ones are passed over."""
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in _entries(root / folder):
            if entry.name.startswith("."):
                continue
            path = joined(folder, entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path
