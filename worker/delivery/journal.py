"""The intent log: what a batch is about to do to outbox and inbox, on disk before the first of it is done.

One file a batch: `NUMBER.entry`, a header line (name, version, SHA-256 of version and rest) and one JSON
object. An entry appears whole, by rename. It stays until everything that it announces is done and durable.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.delivery.disk import sync_folder, write_new_file
from worker.errors import ExitCode, WorkerError

VERSION = 1
_MAGIC = "digit-worker-journal"
_ENDING = ".entry"
_DRAFT = ".draft"
_TORN = ".torn"


class JournalTooNewError(WorkerError):
    """A newer version of this program left work behind that this one cannot read."""

    exit_code = ExitCode.FOLDERS


class TornEntryError(Exception):
    """An entry's content is not what its writer wrote."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells this very version of a file from every other one, as `lstat` reports it."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @staticmethod
    def of(status: os.stat_result) -> Identity:
        """The identity of what was looked at."""
        return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def outlives_restart(self) -> tuple[int, int, int, int]:
        """Everything but the device, whose number may be another one after a reboot."""
        return (self.inode, self.size_bytes, self.mtime_ns, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class Publication:
    """A staged file and its path below the outbox.

    `replaces` says that it takes the place of what an earlier answer to the same drop left there;
    otherwise it may take nobody's place.
    """

    staged: str
    final: str
    replaces: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A file below the outbox that is in nobody's way any more, removed only while it is this very one."""

    path: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Item:
    """Everything that is to happen for one drop.

    `source` is its path below the inbox, `kind` what it is, `sha256` the digest of its bytes or None where
    they were not read. `digest` (64 hex digits) marks names where the plain ones are held. `picture` and
    `record` are published in this order; both are None in an entry that only remembers an original which
    could not be moved. `original` is where the source goes below the outbox, None where it had vanished
    after it was read; `folder` is `done` or `failed`; `copy` is the staged name that a copy has on its way
    between two mounts. `stale` are pictures of the earlier answer that the new one does not replace by
    name, `old_original` is its original in the other one of the two folders.
    """

    source: str
    kind: str
    identity: Identity
    sha256: str | None
    digest: str
    folder: str
    picture: Publication | None
    record: Publication | None
    original: str | None
    copy: str
    stale: tuple[Held, ...] = ()
    old_original: Held | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch. Numbers only grow, so that entries are finished in the order in which they were made."""

    number: int
    items: tuple[Item, ...]

    def to_bytes(self) -> bytes:
        """Write the entry in the newest version; ASCII, names that are no UTF-8 as escaped surrogates."""
        body = json.dumps({"number": self.number, "items": [_written(item) for item in self.items]}).encode()
        return f"{_MAGIC} {VERSION} {_digest(str(VERSION), body)}\n".encode() + body

    @staticmethod
    def from_bytes(data: bytes) -> Entry:
        """Read an entry of this or an older version.

        Raises TornEntryError where the content is damaged, JournalTooNewError where its version is newer.
        """
        header, _, body = data.partition(b"\n")
        words = header.decode("ascii", "replace").split(" ")
        if len(words) != 3 or words[0] != _MAGIC or not words[1].isdecimal():
            raise TornEntryError("no header")
        # The digest is asked first, and covers the version: damage must not pass for a newer program's work.
        if _digest(words[1], body) != words[2]:
            raise TornEntryError("the digest differs")
        read = _READERS.get(int(words[1]))
        if read is None:
            raise JournalTooNewError(
                f"The outbox holds unfinished work of a newer digit-worker (journal version {words[1]}, this"
                f" program knows up to {VERSION}). Start the newer program once so that it can finish, then"
                " this one."
            )
        return read(json.loads(body))


class Journal:
    """The folder of entries. With `durable` an entry that was sealed survives a power cut."""

    def __init__(self, folder: str, *, durable: bool, on_step: Callable[[str], None]) -> None:
        self._folder = folder
        self._durable = durable
        self._on_step = on_step

    def draft(self, entry: Entry, *, sync: bool) -> None:
        """Write the entry beside its place; without `sync` the caller makes it durable before sealing it."""
        path = self._path(entry.number) + _DRAFT
        self._on_step("draft entry")
        if os.path.lexists(path):
            os.unlink(path)
        write_new_file(path, entry.to_bytes(), sync=sync)

    def seal(self, entry: Entry) -> None:
        """Put the draft in its place: from here on, what it says is going to happen."""
        self._put_in_place(entry)
        if self._durable:
            self._sync()

    def write(self, entry: Entry) -> None:
        """Draft and seal in one; takes the place of an entry with the same number."""
        self.draft(entry, sync=self._durable)
        self.seal(entry)

    def renew(self, entries: Sequence[Entry]) -> None:
        """Make sure that entries that are there survive a power cut, before they are acted upon.

        The sync that was to keep them may have failed, in this process or the one before. One that is repeated
        may say yes without having kept anything, so they are written anew.
        """
        if self._durable and entries:
            for entry in entries:
                self.draft(entry, sync=True)
            for entry in entries:
                self._put_in_place(entry)
            self._sync()

    def clear(self, number: int) -> None:
        """Forget an entry. Not synced: an entry that comes back after a power cut finds nothing to do."""
        self._on_step("clear entry")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(number))

    def read(self) -> tuple[list[Entry], list[str]]:
        """Return the entries in order, and the names of those that are damaged.

        A damaged one is put aside for people to look at: what it announced is not known, and the drops
        whose originals still lie in the inbox are answered as if they were new.
        """
        entries, torn = [], []
        for name in sorted(os.listdir(self._folder)):
            path = f"{self._folder}/{name}"
            if name.endswith(_DRAFT):
                self._on_step("remove draft")
                os.unlink(path)
            elif name.endswith(_ENDING):
                with open(path, "rb") as file:
                    data = file.read()
                try:
                    entries.append(Entry.from_bytes(data))
                except TornEntryError:
                    self._on_step("put torn entry aside")
                    os.rename(path, path + _TORN)
                    torn.append(name)
        return entries, torn

    def _put_in_place(self, entry: Entry) -> None:
        path = self._path(entry.number)
        self._on_step("seal entry")
        os.rename(path + _DRAFT, path)

    def _sync(self) -> None:
        self._on_step("sync journal")
        sync_folder(self._folder)

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:020d}{_ENDING}"


def _digest(version: str, body: bytes) -> str:
    return hashlib.sha256(version.encode() + b"\n" + body).hexdigest()


def _written(item: Item) -> dict[str, Any]:
    """The item as version 1 holds it. By hand: `dataclasses.asdict` costs as much as staging the files."""
    old = item.old_original
    return {
        "source": item.source,
        "kind": item.kind,
        "identity": _numbers(item.identity),
        "sha256": item.sha256,
        "digest": item.digest,
        "folder": item.folder,
        "picture": _written_publication(item.picture),
        "record": _written_publication(item.record),
        "original": item.original,
        "copy": item.copy,
        "stale": [[held.path, _numbers(held.identity)] for held in item.stale],
        "old_original": None if old is None else [old.path, _numbers(old.identity)],
    }


def _written_publication(publication: Publication | None) -> list[str | bool] | None:
    if publication is None:
        return None
    return [publication.staged, publication.final, publication.replaces]


def _numbers(identity: Identity) -> tuple[int, ...]:
    return (identity.device, *identity.outlives_restart())


def _read_version_1(body: dict[str, Any]) -> Entry:
    return Entry(body["number"], tuple(_item_1(item) for item in body["items"]))


def _item_1(item: dict[str, Any]) -> Item:
    picture, record, old = item["picture"], item["record"], item["old_original"]
    return Item(
        source=item["source"],
        kind=item["kind"],
        identity=Identity(*item["identity"]),
        sha256=item["sha256"],
        digest=item["digest"],
        folder=item["folder"],
        picture=None if picture is None else Publication(*picture),
        record=None if record is None else Publication(*record),
        original=item["original"],
        copy=item["copy"],
        stale=tuple(_held_1(held) for held in item["stale"]),
        old_original=None if old is None else _held_1(old),
    )


def _held_1(held: list[Any]) -> Held:
    path, numbers = held
    return Held(path, Identity(*numbers))


_READERS: dict[int, Callable[[dict[str, Any]], Entry]] = {1: _read_version_1}
