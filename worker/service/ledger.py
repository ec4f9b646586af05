"""What is being read right now, on disk before native code sees the first byte of it.

After the death of the process the names that are left here are the suspects: one of them may have ended it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.delivery.disk import HIDDEN
from worker.errors import WorldError
from worker.intake.arrivals import Arrival

LEDGER_FILE = f"{HIDDEN}/in-work"
_MAGIC = b"digit-worker-in-work 1"
_END = b"\0\0"  # of a record; no field is empty, and no name holds a NUL
_ROTATE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Suspect:
    """One version of a file that was being read when a process died.

    `strikes` counts the deaths since a child process first read it unharmed.
    """

    name: str
    inode: int
    size_bytes: int
    mtime_ns: int
    strikes: int = 0

    def is_same(self, arrival: Arrival) -> bool:
        """Whether the arrival is that very version; another one under the name is nobody's suspect."""
        return (self.inode, self.size_bytes, self.mtime_ns) == (
            arrival.inode,
            arrival.size_bytes,
            arrival.mtime_ns,
        )


class Ledger:
    """The names of the batches that are being read, in one file below the outbox; safe from any thread.

    Nothing is synced: what a dead process wrote is in the page cache, and that is all that has to outlive
    it. A power cut convicts nobody.
    """

    def __init__(self, outbox: Path) -> None:
        self._path = os.path.join(os.path.abspath(outbox), LEDGER_FILE)
        self._lock = threading.Lock()
        self._number = time.time_ns()  # those of an earlier process may still stand in the file
        self._is_old = False
        self._open: set[int] = set()
        self._suspects: dict[str, Suspect] = {}
        self._acquitted: set[str] = set()

    def take_over(self) -> int:
        """Read what an earlier process left, once, before the first batch; returns how many are suspects.

        Raises WorldError where the file cannot be read. One that cannot be written anew now (a full disk) is
        kept, and written anew before a later batch.
        """
        with self._lock, self._world():
            try:
                content = Path(self._path).read_bytes()
            except FileNotFoundError:
                content = b""
            self._suspects = {suspect.name: suspect for suspect in suspects_in(content)}
            self._is_old = bool(content)
            with contextlib.suppress(OSError):
                self._rewrite_if_needed()
            return len(self._suspects)

    def suspicion_of(self, arrival: Arrival) -> Suspect | None:
        """The suspicion that this very version has still to be cleared of by a trial."""
        suspect = self._suspects.get(arrival.name)
        if suspect is None or arrival.name in self._acquitted or not suspect.is_same(arrival):
            return None
        return suspect

    def parted(self, arrivals: Sequence[Arrival]) -> tuple[list[Arrival], list[Arrival]]:
        """Those that may be read, and those that have to be tried first."""
        free: list[Arrival] = []
        suspects: list[Arrival] = []
        for arrival in arrivals:  # asked once each: a verdict may come at any moment
            (suspects if self.suspicion_of(arrival) else free).append(arrival)
        return free, suspects

    def acquit(self, name: str) -> None:
        """Let a suspect be read again: a child did so and lived. Another death counts against it."""
        with self._lock:
            self._acquitted.add(name)

    def clear(self, name: str) -> None:
        """Forget a suspect: it was answered, or is no longer that version."""
        with self._lock, contextlib.suppress(WorldError), self._world():
            if self._suspects.pop(name, None) is not None:
                self._acquitted.discard(name)
                self._append([b"C", os.fsencode(name)])

    def probe(self) -> None:
        """Raise WorldError while nothing can be written."""
        with self._lock, self._world():
            self._append([b"P"])

    def accuse(self, arrivals: Sequence[Arrival]) -> None:
        """Make suspects of what another process than this one was reading when it died."""
        with self._lock:
            for arrival in arrivals:
                self._suspects[arrival.name] = Suspect(
                    arrival.name,
                    arrival.inode,
                    arrival.size_bytes,
                    arrival.mtime_ns,
                    self._strikes_after(arrival),
                )
                self._acquitted.discard(arrival.name)
            # Where this fails they are no suspects after the next start, and harm no more than they would have.
            with contextlib.suppress(OSError):
                self._append([b"S", *(_field(self._suspects[arrival.name]) for arrival in arrivals)])

    def outlived(self, arrivals: Sequence[Arrival]) -> None:
        """Forget those of `arrivals` that were suspects: another process read them and lived."""
        if self._suspects:
            for name in {arrival.name for arrival in arrivals} & self._suspects.keys():
                self.clear(name)

    @contextlib.contextmanager
    def noted(self, arrivals: Sequence[Arrival]) -> Iterator[None]:
        """Keep the names on disk while the body runs; WorldError where they cannot be written."""
        number = self._begin(arrivals)
        try:
            yield
        finally:
            self._finish(number, arrivals)

    def _begin(self, arrivals: Sequence[Arrival]) -> int:
        with self._lock, self._world():
            self._rewrite_if_needed()
            self._number += 1
            # What stands here is what holds if this process dies now.
            lines = "\0".join(
                f"{a.inode} {a.size_bytes} {a.mtime_ns} {self._strikes_after(a)} {a.name}" for a in arrivals
            )
            self._append([b"B", b"%d" % self._number, os.fsencode(lines)])
            self._open.add(self._number)
            return self._number

    def _finish(self, number: int, arrivals: Sequence[Arrival]) -> None:
        with self._lock:
            self._open.discard(number)
            for name in {arrival.name for arrival in arrivals} & self._suspects.keys():
                del self._suspects[name]
                self._acquitted.discard(name)
            # Where this fails they are tried once more after the next start: a delay, and no blame.
            with contextlib.suppress(OSError):
                self._append([b"E", b"%d" % number])

    def _strikes_after(self, arrival: Arrival) -> int:
        suspect = self._suspects.get(arrival.name) if self._suspects else None
        return suspect.strikes + 1 if suspect is not None and suspect.is_same(arrival) else 0

    def _append(self, fields: list[bytes]) -> None:
        # Opened anew each time: the outbox may have been removed and made again.
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, _END + b"\0".join(fields) + _END)
        finally:
            os.close(handle)

    def _size_bytes(self) -> int:
        try:
            return os.stat(self._path).st_size
        except FileNotFoundError:
            return 0

    def _rewrite_if_needed(self) -> None:
        """Begin a new file, with the unresolved suspects alone, in the place of an old or a long one."""
        if self._open or not (self._is_old or self._size_bytes() > _ROTATE_BYTES):
            return
        records = [_MAGIC] + [b"S\0" + _field(suspect) for suspect in self._suspects.values()]
        part = self._path + ".part"
        Path(part).write_bytes(_END.join(records) + _END)
        os.replace(part, self._path)
        self._is_old = False

    @contextlib.contextmanager
    def _world(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorldError(f"noting what is read in {self._path}", error) from error


def _field(suspect: Suspect) -> bytes:
    numbers = f"{suspect.inode} {suspect.size_bytes} {suspect.mtime_ns} {suspect.strikes}"
    return os.fsencode(f"{numbers} {suspect.name}")


def suspects_in(content: bytes) -> list[Suspect]:
    """The suspects that a ledger names; what cannot be understood names nobody.

    A torn last record belongs to a batch that was not begun: its names come before its first byte is read.
    """
    suspects: dict[str, Suspect] = {}
    batches: dict[bytes, list[Suspect]] = {}
    for record in content.split(_END)[:-1]:
        kind, *fields = record.split(b"\0")
        if kind == b"S":
            suspects |= {suspect.name: suspect for suspect in _parsed(fields)}
        elif kind == b"B" and fields:
            batches[fields[0]] = _parsed(fields[1:])
        elif kind == b"E" and fields:
            for suspect in batches.pop(fields[0], []):
                suspects.pop(suspect.name, None)
        elif kind == b"C" and fields:
            suspects.pop(os.fsdecode(fields[0]), None)
    for batch in batches.values():
        suspects |= {suspect.name: suspect for suspect in batch}
    return list(suspects.values())


def _parsed(fields: Sequence[bytes]) -> list[Suspect]:
    found = []
    for field in fields:
        *numbers, name = field.split(b" ", 4)
        try:
            inode, size_bytes, mtime_ns, strikes = map(int, numbers)
        except ValueError:
            continue
        found.append(Suspect(os.fsdecode(name), inode, size_bytes, mtime_ns, strikes))
    return found
