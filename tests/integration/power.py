"""What a power cut may leave of a disk: a list of changes, what made them durable, and any subset of the rest.

The model, which asks less of a file system than POSIX lets one hope: `fsync` of a file keeps its bytes, and
not its name; `fsync` of a folder keeps the names in it that were made, taken away or moved there; `syncfs`
keeps everything before it; what a sync that failed was to keep, no later one keeps. Of the other changes each
may persist or not, in any order, a rename as one; a file whose bytes were not kept is there, and empty, or holds
half of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.integration.tracing import CREATE, Call

Status = os.stat_result
Choices = Callable[[int], list[tuple[str, Callable[["Change"], float]]]]  # by step: which changes persist


@dataclass(slots=True)
class Change:
    """One change of the disk; `file` is a number that stands for an inode. Durable from step `durable_at` on."""

    how: str  # make, folder, write, rename, unlink
    file: int
    path: str
    target: str = ""
    data: bytes = b""
    seen: Status | None = None  # of the file, after the change
    durable_at: int | None = None
    is_lost: bool = False  # a sync failed that was to keep it: no later one does, whatever it says


@dataclass(slots=True)
class Recorder:
    """Writes down what happens below a folder, from calls that succeeded."""

    base: str
    names: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    kept_at: list[int] = field(
        default_factory=list
    )  # for each step: how many records the consumer had by then
    _numbers: Iterable[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        for folder, folders, files in os.walk(self.base):
            for name in folders:
                self._add(Change("folder", -1, os.path.join(folder, name), durable_at=0))
            for name in files:
                path = os.path.join(folder, name)
                self._add(Change("make", self._new(path), path, durable_at=0))
                self._add(Change("write", self.names[path], path, data=Path(path).read_bytes(), durable_at=0))

    def _new(self, path: str) -> int:
        self.names[path] = next(iter(self._numbers))
        return self.names[path]

    def _add(self, change: Change) -> None:
        if change.file >= 0:
            where = change.target or change.path
            change.seen = os.lstat(where) if os.path.lexists(where) else None
        self.changes.append(change)

    def note(self, call: Call) -> None:
        """Take a call down."""
        path, step = call.path, len(self.changes)
        if call.name in ("open", "openat") and call.flags & CREATE and path not in self.names:
            self._add(Change("make", self._new(path), path))
        elif call.name == "write":
            self._add(Change("write", self.names[path], path, data=call.data))
        elif call.name in ("mkdir", "mkdirat"):
            self._add(Change("folder", -1, path))
        elif call.name in ("unlink", "unlinkat"):
            self._add(Change("unlink", self.names.pop(path), path))
        elif call.name in ("rename", "renameat", "renameat2"):
            number = self.names.pop(path)
            self.names[call.target] = number
            self._add(Change("rename", number, path, call.target))
        elif call.name in ("fsync", "syncfs", "fdatasync"):
            for change in self.changes:
                if change.durable_at is None and not change.is_lost and self._keeps(call, change):
                    change.durable_at = step

    def lose(self, call: Call) -> None:
        """Note that a sync failed. What it was to keep, the kernel may have marked clean and forgotten.

        Of a whole file system that is the bytes alone: one that cannot keep names any more turns read-only.
        """
        for change in self.changes:
            if change.durable_at is None and self._keeps(call, change):
                change.is_lost |= call.name != "syncfs" or change.how == "write"

    def _keeps(self, call: Call, change: Change) -> bool:
        if call.name == "syncfs":
            return True
        if change.how == "write":
            return self.names.get(call.path) == change.file
        return os.path.dirname(change.target or change.path) == call.path

    def take(self, path: str) -> None:
        """Note that a consumer took a file away."""
        self._add(Change("unlink", self.names.pop(path), path))


def surviving(
    changes: list[Change], step: int, choose: Callable[[Change], float]
) -> list[tuple[Change, float]]:
    """The changes that a cut before `step` leaves, with the share of their bytes; `choose` rules on the rest."""
    left = []
    for change in changes[:step]:
        is_durable = change.durable_at is not None and change.durable_at <= step
        share = 1.0 if is_durable else choose(change)
        if share > 0:
            left.append((change, share))
    return left


@dataclass(slots=True)
class Remains:
    """The disk after the cut, made anew below another folder; `identities` say what `lstat` said before."""

    identities: dict[tuple[int, int], Status] = field(default_factory=dict)

    def make(self, left: list[tuple[Change, float]], old: str, new: str) -> None:
        names: dict[str, int] = {}
        data: dict[int, bytes] = {}
        seen: dict[int, Status] = {}
        folders: set[str] = set()
        for change, share in left:
            if change.how == "folder":
                folders.add(change.path)
            elif change.how == "write":
                data[change.file] = data.get(change.file, b"") + change.data[: int(len(change.data) * share)]
            elif change.how == "unlink":
                if names.get(change.path) == change.file:
                    del names[change.path]
            else:
                names = {path: file for path, file in names.items() if file != change.file}
                names[change.target or change.path] = change.file
            if change.seen is not None and change.file >= 0:
                seen[change.file] = change.seen
        for path in sorted(folders | {os.path.dirname(path) for path in names}):
            os.makedirs(new + path.removeprefix(old), exist_ok=True)
        for path, file in names.items():
            made = Path(new + path.removeprefix(old))
            made.write_bytes(data.get(file, b""))
            if file in seen:
                status = seen[file]
                os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))
                self.identities[made.lstat().st_ino, made.lstat().st_size] = status

    @contextmanager
    def believed(self) -> Any:
        """Let `os.stat` and its kin report each file's inode and ctime of before, as a true disk would."""
        real = {name: getattr(os, name) for name in ("stat", "lstat", "fstat")}
        changed = {inode: os.stat_result for inode, _ in self.identities}

        def like(name: str) -> Callable[..., Status]:
            def stat(*arguments: Any, **more: Any) -> Status:
                now: Status = real[name](*arguments, **more)
                old = self.identities.get((now.st_ino, now.st_size))
                if now.st_ino not in changed or old is None or old.st_size != now.st_size:
                    return now
                numbers = list(now)
                numbers[1] = old.st_ino
                return os.stat_result(
                    numbers[:10],
                    {
                        "st_mtime_ns": now.st_mtime_ns,
                        "st_ctime_ns": old.st_ctime_ns,
                        "st_atime_ns": now.st_atime_ns,
                        "st_mode": now.st_mode,
                    },
                )

            return stat

        for name in real:
            setattr(os, name, like(name))
        try:
            yield
        finally:
            for name, function in real.items():
                setattr(os, name, function)


def choices(seed: int, many: int) -> list[tuple[str, Callable[[Change], float]]]:
    """The two extremes, names without bytes, and random subsets."""
    rng = random.Random(seed)
    fixed: list[tuple[str, Callable[[Change], float]]] = [
        ("nothing unsynced", lambda _change: 0.0),
        ("everything", lambda _change: 1.0),
        ("names without bytes", lambda change: 0.0 if change.how == "write" else 1.0),
        ("bytes without names", lambda change: 1.0 if change.how == "write" else 0.0),
        ("outbox only", lambda change: 0.0 if "/inbox/" in change.path and change.how == "rename" else 1.0),
        ("originals only", lambda change: 1.0 if "/inbox/" in change.path else 0.0),
    ]
    return fixed + [
        (f"random {number}", lambda _change: rng.choice((0.0, 0.5, 1.0, 1.0))) for number in range(many)
    ]
