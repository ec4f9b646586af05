"""`retry`: originals of failed or reviewed pictures go back into the inbox, to be answered anew."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from worker.delivery.disk import HIDDEN, digest_of, rename_fresh
from worker.delivery.names import DONE, FAILED, MARK_LENGTHS, file_names, printable
from worker.delivery.shelf import Shelved, shelved_records
from worker.errors import ExitCode, FoldersError

WITHDRAWN = f"{HIDDEN}/retry"


def retry(inbox: Path, outbox: Path, names: Sequence[str], *, dry_run: bool) -> int:
    """Put the originals of `names` (all failed and reviewed ones if empty) back; 1 when some could not be.

    The old record and picture are withdrawn first, so that the new answer takes their names; they come
    back when the original cannot be moved, also after a crash in between (by the next call).
    """
    for folder in (inbox, outbox):
        if not os.path.isdir(folder):
            raise FoldersError(f"{folder}: there is no such folder, or this user may not reach it.")
    _restore(outbox)
    wanted = set(names)
    found: set[str] = set()
    problems = put_back = 0
    for shelved in list(shelved_records(outbox)):
        shown = printable(shelved.name)
        called = wanted & {shown, shelved.name, shelved.path, shelved.path.removesuffix(".json")}
        if (wanted and not called) or (not wanted and shelved.record["status"] == "read"):
            continue
        found |= called
        problem = _put_back(inbox, outbox, shelved, dry_run=dry_run)
        if problem is None:
            put_back += 1
            print(f"{'would put back' if dry_run else 'put back'} {shown}")
        else:
            problems += 1
            print(f"{shown}: {problem}", file=sys.stderr)
    for name in sorted(wanted - found):
        problems += 1
        print(f"{printable(name)}: no record in {outbox} has this name", file=sys.stderr)
    if not put_back and not problems:
        print("nothing to put back: no picture failed or waits for review")
    return ExitCode.FINDINGS if problems else ExitCode.FINE


def _put_back(inbox: Path, outbox: Path, shelved: Shelved, *, dry_run: bool) -> str | None:
    """Move one original back; returns what hinders it, or None."""
    original = _original_of(outbox, shelved)
    if original is None:
        return "its original is no longer in done/ or failed/"
    target = inbox / shelved.name
    if os.path.lexists(target):
        return "a file of this name waits in the inbox already"
    if dry_run:
        return None
    outputs = [shelved.path]
    if shelved.record.get("annotated"):
        outputs.append(pictured_in(shelved))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        withdrawn = _withdraw(outbox, outputs)
        try:
            _move(outbox / original, target, inbox / HIDDEN)
        except OSError:
            _restore(outbox)
            raise
    except FileExistsError:
        return "a file of this name waits in the inbox already"
    except OSError as error:
        return f"cannot be put back: {error.strerror}"
    for path in withdrawn:
        path.unlink(missing_ok=True)
    return None


def _withdraw(outbox: Path, outputs: Sequence[str]) -> list[Path]:
    """Take outputs out of everybody's sight, below a hidden folder under their own paths; returns those."""
    withdrawn = []
    for path in outputs:
        hidden = outbox / WITHDRAWN / path
        hidden.parent.mkdir(parents=True, exist_ok=True)
        try:
            (outbox / path).rename(hidden)
        except FileNotFoundError:  # a consumer took it
            continue
        withdrawn.append(hidden)
    return withdrawn


def _restore(outbox: Path) -> None:
    """Put back what was withdrawn for an original that never moved; forget what was withdrawn for one that did."""
    root = outbox / WITHDRAWN
    for shelved in list(shelved_records(root)):
        outputs = [shelved.path]
        if shelved.record.get("annotated"):
            outputs.insert(0, pictured_in(shelved))
        is_back = _original_of(outbox, shelved) is None
        for path in outputs:
            if not is_back and (root / path).exists():
                with contextlib.suppress(
                    FileExistsError
                ):  # it was answered anew meanwhile: the old answer is history
                    rename_fresh(str(root / path), str(outbox / path))
    shutil.rmtree(root, ignore_errors=True)


def pictured_in(shelved: Shelved) -> str:
    """The path of the annotated picture; of a name that is no UTF-8 the record's own path has the true bytes."""
    if "name_bytes_hex" not in shelved.record["source"]:
        return str(shelved.record["annotated"])
    ending = os.path.splitext(str(shelved.record["annotated"]))[1]
    return shelved.path.removesuffix(".json") + ".annotated" + ending


def _original_of(outbox: Path, shelved: Shelved) -> str | None:
    """Where the original lies, told by its name and, where the record knows it, by its bytes."""
    sha256 = shelved.record["source"].get("sha256")
    for path in chain(originals_of(shelved, FAILED), originals_of(shelved, DONE)):
        full = outbox / path
        if not os.path.lexists(full):
            continue
        if sha256 is None or (full.is_file() and not full.is_symlink() and digest_of(str(full)) == sha256):
            return path
    return None


def originals_of(shelved: Shelved, kept: str) -> Iterator[str]:
    """Where in `kept` (done or failed) the original may lie: under the record's mark, or its own name."""
    folder = os.path.dirname(shelved.path)
    plain = os.path.basename(shelved.name)
    stem = os.path.basename(shelved.path).removesuffix(".json")
    mark = stem.rpartition(".")[2]
    # A name without a mark may end like one; then both names are looked at, and the bytes decide.
    is_mark = len(mark) in MARK_LENGTHS and not mark.strip("0123456789abcdef")
    if is_mark and stem != plain:
        yield os.path.join(kept, folder, file_names(plain, None, mark).original)
    yield os.path.join(kept, folder, plain)


def _move(source: Path, target: Path, hidden: Path) -> None:
    """Rename without overwriting; between two mounts by way of a hidden copy, so that it appears whole."""
    try:
        rename_fresh(str(source), str(target))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        hidden.mkdir(exist_ok=True)
        copy = hidden / f"retry-{os.getpid()}"
        try:
            shutil.copy2(source, copy, follow_symlinks=False)
            if not copy.is_symlink():
                with copy.open("rb") as file:
                    os.fsync(file.fileno())
            rename_fresh(str(copy), str(target))
        finally:
            copy.unlink(missing_ok=True)
        source.unlink()
