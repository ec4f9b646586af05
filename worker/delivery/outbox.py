"""Outcomes into the outbox, each once: stage, log the intent, publish, retire the original.

The protocol, and why each gap between two of its steps is safe: docs/decisions/0003-commit-and-recovery.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import itertools
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from worker.delivery.journal import (
    Entry,
    Held,
    Identity,
    Item,
    Journal,
    Publication,
    sync_folder,
    write_new_file,
)
from worker.delivery.names import (
    DONE,
    FAILED,
    NAME_LIMIT_BYTES,
    PICTURE_ENDINGS,
    file_names,
    fitted_folder,
    folder_candidates,
    joined,
    marks,
    parted,
    percent_escaped,
)
from worker.delivery.records import Record, record_of
from worker.errors import FoldersError, OwnedElsewhereError, WorldError
from worker.intake.arrivals import Kind

if TYPE_CHECKING:
    from worker.intake.arrivals import Arrival
    from worker.outcome import Outcome

HIDDEN = ".digit-worker"
Durability = Literal["full", "none"]

# Up to so many staged files get an fsync each, above it one syncfs serves all. syncfs is the faster one
# from the first file on (ext4, quiet disk: 0.3 against 0.4 ms for 1 file, 3 against 21 ms for 64), but it
# waits for everybody's dirty data (300 MB of a neighbour's: 120 ms against 2 ms for 2 files). So a lone
# picture does not wait for neighbours, and a flood is not slowed down by being careful.
_FEW_FILES = 4
_FINISHED_LIMIT = 16  # entries that wait for a syncfs before one is made for their sake
_ATTEMPTS = 8  # at finding a free name while somebody keeps taking them
_COPY_BYTES = 1 << 20
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_IN_THE_WAY = (FileExistsError, NotADirectoryError, IsADirectoryError)
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EBUSY)  # EBUSY: a mount point, as containers make of a file

_libc = ctypes.CDLL(None, use_errno=True)
_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


class Fate(StrEnum):
    """What a commit did for one outcome.

    `published`: record and picture are out, and the original is retired (or was gone, or is a newer version
    by now, which is a new drop). `changed`: the source is no longer what was read; nothing was published,
    read it again. `stuck`: published, but the inbox's folder does not let its original go.
    """

    PUBLISHED = "published"
    CHANGED = "changed"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one outcome; paths are below the outbox, None where there is no such file.

    `name` is the arrival's. Paths are unknown (None) for what `recover` had finished before it was
    committed again.
    """

    name: str
    fate: Fate
    record: str | None = None
    picture: str | None = None
    original: str | None = None


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What was left behind and is finished now; names are paths below the inbox.

    `published`: records that were put out now; `already_out`: those that had been before; `stuck`: originals
    that still cannot be moved; `torn`: damaged log entries put aside; `swept_files`: staged files of batches
    that never got as far as the log (their originals are still in the inbox and will be read again).
    """

    published: tuple[str, ...]
    already_out: tuple[str, ...]
    stuck: tuple[str, ...]
    torn: tuple[str, ...]
    swept_files: int


def rename_fresh(source: str, target: str) -> None:
    """Rename without ever taking another file's place; raises FileExistsError where the name is held.

    File systems that cannot do it in one step (NFS, some FUSE: EINVAL) get a look first. The outbox has one
    owner, so only a foreign program could slip into that gap.
    """
    if _libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE):
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code), source, None, target)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(source, target)


def sync_file_system(fd: int) -> None:
    """Make everything durable that was written to the file system of `fd` (syncfs(2))."""
    if _libc.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class FolderLock:
    """The right to be the only worker of a folder, held until released or until the process ends.

    It hangs on the lock file's inode, so a folder is recognised whatever path leads to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / HIDDEN / "lock"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises OwnedElsewhereError naming the owner, FoldersError, or WorldError."""
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise OwnedElsewhereError(
                f"{self._folder} belongs to another worker (process {owner}). Stop that one first, or give"
                " this one another folder."
            ) from error
        except OSError as error:
            os.close(fd)
            raise FoldersError(
                f"{self._folder} cannot be locked ({error.strerror}). Use a file system that knows flock."
            ) from error
        # The process id is for people; a disk too full to hold it is no reason to give the lock up.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Give the lock up. The file stays: removing it would let two workers lock two files of one name."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def still_holds(self) -> bool:
        """Whether the folder at this path is still the one that was locked: not removed, not mounted over."""
        if self._fd is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self._path))
        except OSError:
            return False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _open(self) -> int:
        try:
            _make_folder(str(self._path.parent))
            return os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WorldError(f"locking {self._folder}", error) from error
            raise FoldersError(
                f"{self._folder} is missing or cannot be written to ({error.strerror})."
                " Make it, and give this user the right to write there."
            ) from error


class _Retired(Enum):
    MOVED = auto()  # or gone
    LEFT = auto()  # it is a newer version, a new drop
    STUCK = auto()
    CROSSES = auto()  # to another mount: it has to be copied


@dataclass(frozen=True, slots=True)
class _Drop:
    """What has to be known of a drop to choose its names."""

    source: str
    kind: str
    size_bytes: int
    sha256: str | None
    digest: str
    folder: str
    picture_ending: str | None
    picture: bytes | None


@dataclass(frozen=True, slots=True)
class _Choice:
    """Paths below the outbox, and what of an earlier answer they replace."""

    record: str
    picture: str | None
    original: str
    replaces: bool = False
    stale: tuple[Held, ...] = ()
    old_original: Held | None = None


class _Chooser:
    """Chooses free names for the drops of one batch, one after the other; only looks at the disk."""

    def __init__(self, inbox: str, outbox: str, name_limit_bytes: int) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._name_limit_bytes = name_limit_bytes
        self._outbox_bytes = len(os.fsencode(outbox))
        self._files: set[str] = set()  # promised to drops of this batch
        self._folders: dict[str, str] = {"": ""}  # wanted → usable
        self._used_folders: set[str] = set()

    def promise(self, item: Item) -> None:
        """Count the names of an item that is planned already as held."""
        for publication in (item.picture, item.record):
            if publication is not None:
                self._files.add(publication.final)
        if item.original is not None:
            self._files.add(item.original)

    def choose(self, drop: _Drop) -> _Choice:
        """Choose names for a drop, the plain ones where nothing but an earlier drop of its bytes has them."""
        folder, name = parted(drop.source)
        for mark in itertools.chain(("",), marks(drop.digest)):
            names = file_names(name, drop.picture_ending, mark, self._name_limit_bytes)
            home = self.usable(folder)
            choice = self._judged(
                drop,
                record=joined(home, names.record),
                picture=None if names.picture is None else joined(home, names.picture),
                originals={
                    kept: joined(self.usable(joined(kept, folder)), names.original) for kept in (DONE, FAILED)
                },
            )
            if choice is not None:
                return self._with_stale(choice, home, name, mark) if choice.replaces else choice
        raise AssertionError  # marks never end

    def other_records(self, source: str, digest: str) -> Iterator[str]:
        """Yield paths for a record whose own was taken by somebody after it was chosen."""
        folder, name = parted(source)
        for mark in itertools.islice(marks(digest), _ATTEMPTS):
            yield joined(self.usable(folder), file_names(name, None, mark, self._name_limit_bytes).record)

    def other_originals(self, source: str, digest: str, kept: str) -> Iterator[str]:
        """Yield paths for an original whose own was taken by somebody after it was chosen."""
        folder, name = parted(source)
        for mark in itertools.islice(marks(digest), _ATTEMPTS):
            names = file_names(name, None, mark, self._name_limit_bytes)
            yield joined(self.usable(joined(kept, folder)), names.original)

    def forget_folders(self) -> None:
        """Look at the folders anew."""
        self._folders = {"": ""}

    def usable(self, folder: str) -> str:
        """`folder`, or where a file stands in the way of one of its parts, the path with that part marked.

        A record must land somewhere, and nothing is overwritten; the mark is made of the folder's path, so
        all pictures of such a folder stay together.
        """
        known = self._folders.get(folder)
        if known is not None:
            return known
        wanted, usable = "", ""
        for part in fitted_folder(folder, self._outbox_bytes).split("/"):
            wanted = joined(wanted, part)
            if wanted not in self._folders:
                candidates = folder_candidates(wanted, self._name_limit_bytes)
                self._folders[wanted] = next(
                    path for path in (joined(usable, c) for c in candidates) if self._can_be_a_folder(path)
                )
            usable = self._folders[wanted]
            self._used_folders.add(usable)
        self._folders[folder] = usable
        return usable

    def _can_be_a_folder(self, path: str) -> bool:
        if path in self._files:
            return False
        full = f"{self._outbox}/{path}"
        try:
            return stat.S_ISDIR(os.stat(full).st_mode)
        except FileNotFoundError:
            return not os.path.islink(full)
        except NotADirectoryError:
            return False

    def _judged(
        self,
        drop: _Drop,
        record: str,
        picture: str | None,
        originals: dict[str, str],
    ) -> _Choice | None:
        """The choice of these paths, or None where something else holds one of them."""
        wanted = [record, *originals.values()]
        if picture is not None:
            wanted.append(picture)
        if any(path in self._files or path in self._used_folders for path in wanted):
            return None
        earlier: dict[str, Held] = {}
        for kept, path in originals.items():
            status = status_of(f"{self._outbox}/{path}")
            if status is None:
                continue
            if not self._same_bytes(drop, path, status):
                return None
            earlier[kept] = Held(path, Identity.of(status))
        if not self._outputs_are_free(drop, record, picture, again=bool(earlier)):
            return None
        self._files.update(wanted)
        choice = _Choice(record, picture, originals[drop.folder])
        if not earlier:
            return choice
        other = earlier.get(FAILED if drop.folder == DONE else DONE)
        return replace(choice, replaces=True, old_original=other)

    def _with_stale(self, choice: _Choice, home: str, name: str, mark: str) -> _Choice:
        """Add the pictures of the earlier answer that keep their name when the new ones are in place."""
        stale = []
        for ending in PICTURE_ENDINGS:
            path = joined(home, file_names(name, ending, mark, self._name_limit_bytes).picture or "")
            status = status_of(f"{self._outbox}/{path}")
            if path == choice.picture or status is None or self._may_be_an_original(path):
                continue
            if stat.S_ISREG(status.st_mode):
                stale.append(Held(path, Identity.of(status)))
        return replace(choice, stale=tuple(stale))

    def _may_be_an_original(self, path: str) -> bool:
        """Whether the path lies where originals are kept: the outputs of an inbox folder `done` do."""
        return path.partition("/")[0] in (self.usable(DONE), self.usable(FAILED))

    def _outputs_are_free(self, drop: _Drop, record: str, picture: str | None, *, again: bool) -> bool:
        """Whether record and picture may be published there; `again`: replacing the earlier answer's."""
        for path in (record, picture):
            status = None if path is None else status_of(f"{self._outbox}/{path}")
            if path is None or status is None:
                continue
            if not again or not stat.S_ISREG(status.st_mode):
                return False
            if path == picture and self._may_be_an_original(path) and not self._holds(path, drop.picture):
                return False  # another drop's original may lie here; only equal bytes lose nothing
        return True

    def _same_bytes(self, drop: _Drop, path: str, status: os.stat_result) -> bool:
        return same_bytes(
            drop.kind,
            f"{self._inbox}/{drop.source}",
            drop.size_bytes,
            drop.sha256,
            f"{self._outbox}/{path}",
            status,
        )

    def _holds(self, path: str, content: bytes | None) -> bool:
        if content is None:
            return False
        return _has_digest(f"{self._outbox}/{path}", hashlib.sha256(content).hexdigest())


class Outbox:
    """The outbox of one inbox. Only the owner of both locks may use it, from one thread.

    With durability `full` a record that was published survives a power cut, and so does the fact that it
    was; `none` keeps the same order of steps without waiting for the disk: still safe when the process
    dies, not when the machine does.

    Call `recover` first. After a WorldError call `recover` until it succeeds (`commit` does so by itself),
    then commit the same outcomes again or read the inbox anew; either way nothing is published twice.
    `on_step` is called with the name of each step just before it is taken.
    """

    def __init__(
        self,
        inbox: Path,
        outbox: Path,
        durability: Durability = "full",
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self._inbox = os.path.abspath(inbox)
        self._outbox = os.path.abspath(outbox)
        self._durable = durability == "full"
        self._on_step = on_step
        self._hidden = f"{self._outbox}/{HIDDEN}"
        self._staging = f"{self._hidden}/staging"
        self._journal = Journal(f"{self._hidden}/journal", durable=self._durable, on_step=on_step)
        self._needs_recovery = True
        self._during = ""
        self._outbox_fd: int | None = None
        self._name_limit_bytes = NAME_LIMIT_BYTES
        self._crosses: bool | None = None
        self._two_file_systems = False
        self._last_number = 0
        self._finished: list[int] = []  # entries whose renames are made, but perhaps not durable
        self._stuck: dict[int, list[Item]] = {}  # by entry
        self._stuck_sources: dict[str, Item] = {}
        self._settled: dict[tuple[str, Identity], Fate] = {}  # finished by recover, not by commit

    @property
    def needs_recovery(self) -> bool:
        """Whether something was left half done, as it may be at the start and is after a WorldError."""
        return self._needs_recovery

    @property
    def stuck(self) -> tuple[str, ...]:
        """Names below the inbox of answered originals that could not be moved out of it."""
        return tuple(self._stuck_sources)

    def is_stuck(self, arrival: Arrival) -> bool:
        """Whether this very file was answered already and merely cannot be moved; costs no system call.

        Its ctime is not asked: the chmod or chattr that mends the matter changes it.
        """
        item = self._stuck_sources.get(arrival.name)
        return item is not None and _same_but_ctime(item.identity, _identity_of(arrival))

    def crosses_mounts(self) -> bool:
        """Whether originals must be copied to leave the inbox; found out by trying a rename.

        Then what has no content to keep (FIFO, socket, device) will be removed, and its record should say so.
        """
        if self._crosses is None:
            with self._world(f"preparing {self._outbox}"):
                self._prepare()
        return bool(self._crosses)

    def commit(self, outcomes: Sequence[Outcome], model_name: str, model_sha256: str) -> list[Delivery]:
        """Publish outcomes and retire their originals; one Delivery for each outcome, in their order.

        An outcome whose source vanished after it was read is published all the same: the answer is there,
        and the drop deserves it. Raises WorldError where the world is at fault; then `needs_recovery` holds.
        """
        if self._needs_recovery:
            self.recover()
        with self._world(f"choosing names in {self._outbox}"):
            number = max(time.time_ns(), self._last_number + 1)
            self._last_number = number
            chooser = self._chooser()
            deliveries: list[Delivery | None] = []
            items: list[Item] = []
            files: list[tuple[str, bytes]] = []
            for outcome in outcomes:
                fate, is_there = self._look_at(outcome.arrival)
                if fate is not None:
                    deliveries.append(Delivery(outcome.arrival.name, fate))
                    continue
                stem = f"{number:020d}-{len(items)}"
                item, made = self._planned(outcome, stem, chooser, model_name, model_sha256, is_there)
                items.append(item)
                files += made
                deliveries.append(None)
            done = iter(self._carried_out(Entry(number, tuple(items)), files, chooser) if items else ())
            return [next(done) if delivery is None else delivery for delivery in deliveries]

    def retire_again(self) -> tuple[str, ...]:
        """Try once more to move the stuck originals; returns the names of those that are stuck no longer."""
        if self._needs_recovery:
            before = set(self.stuck)
            self.recover()
            return tuple(before - set(self.stuck))
        freed: list[str] = []
        with self._world(f"moving originals out of {self._inbox}"):
            for number, items in list(self._stuck.items()):
                results = self._retired(items, self._chooser())
                still = [item for item, (how, _) in zip(items, results, strict=True) if how is _Retired.STUCK]
                if len(still) < len(items):
                    freed += [item.source for item in items if item not in still]
                    self._keep_stuck(number, still)
                    self._finish(number)
        return tuple(freed)

    def flush(self) -> None:
        """Make everything durable and forget the log; to be called when idle. Cheap when there is nothing."""
        if not self._needs_recovery and self._finished:
            with self._world(f"syncing {self._outbox}"):
                self._sync()

    def close(self) -> None:
        """Let go of the outbox, so that it can be unmounted; `recover` takes it up again."""
        if self._outbox_fd is not None:
            os.close(self._outbox_fd)
            self._outbox_fd = None
        self._needs_recovery = True

    def recover(self) -> RecoveryReport:
        """Finish what an earlier process, or a commit that raised, left half done. Idempotent.

        Raises WorldError, and JournalTooNewError where a newer program's work is waiting.
        """
        with self._world(f"finishing earlier work in {self._outbox}"):
            self._needs_recovery = True
            self._prepare()
            if self._durable:
                # What is about to be acted upon may exist in the page cache alone, after a failed fsync.
                self._sync()
            entries, torn = self._journal.read()
            published: list[str] = []
            already_out: list[str] = []
            for entry in entries:
                self._last_number = max(self._last_number, entry.number)
                out_now = self._resumed(entry)
                answered = [item.source for item in entry.items if item.record is not None]
                published += out_now
                already_out += [name for name in answered if name not in out_now]
            self._finished = [entry.number for entry in entries]
            self._sync()
            swept = self._sweep()
            self._needs_recovery = False
        return RecoveryReport(tuple(published), tuple(already_out), self.stuck, tuple(torn), swept)

    # Planning

    def _look_at(self, arrival: Arrival) -> tuple[Fate | None, bool]:
        """Return an arrival's fate as far as it is known beforehand, and whether the source is there."""
        settled = self._settled.get((arrival.name, _identity_of(arrival)))
        if settled is not None:
            return settled, True
        if self.is_stuck(arrival):
            return Fate.STUCK, True
        try:
            status = status_of(f"{self._inbox}/{arrival.name}")
        except PermissionError:  # its folder was closed to us since; what is in it now is not known
            return Fate.CHANGED, True
        if status is None:
            self._require_inbox()
            return None, False
        same = _is_same(arrival.kind, _identity_of(arrival), Identity.of(status))
        return (None if same else Fate.CHANGED), True

    def _planned(
        self,
        outcome: Outcome,
        stem: str,
        chooser: _Chooser,
        model_name: str,
        model_sha256: str,
        is_there: bool,
    ) -> tuple[Item, list[tuple[str, bytes]]]:
        """Return the item for an outcome and the files to stage for it (name, content)."""
        arrival, picture = outcome.arrival, outcome.picture
        folder = FAILED if outcome.status.value == "failed" else DONE
        digest = outcome.sha256 or self._digest_without_content(arrival)
        choice = chooser.choose(
            _Drop(
                arrival.name,
                arrival.kind.value,
                arrival.size_bytes,
                outcome.sha256,
                digest,
                folder,
                None if picture is None else picture.ending,
                None if picture is None else picture.data,
            )
        )
        record = record_of(outcome, choice.picture, model_name, model_sha256)
        files = [(f"{stem}.json", record.to_json_bytes())]
        published = None
        if picture is not None and choice.picture is not None:
            published = Publication(stem + picture.ending, choice.picture, choice.replaces)
            files.insert(0, (stem + picture.ending, picture.data))
        item = Item(
            source=arrival.name,
            kind=arrival.kind.value,
            identity=_identity_of(arrival),
            sha256=outcome.sha256,
            digest=digest,
            folder=folder,
            picture=published,
            record=Publication(f"{stem}.json", choice.record, choice.replaces),
            original=choice.original if is_there else None,
            copy=f"{stem}.original",
            stale=choice.stale,
            old_original=choice.old_original if is_there else None,
        )
        return item, files

    def _digest_without_content(self, arrival: Arrival) -> str:
        """64 hex digits that mark this drop where its bytes were not read: a link's target, or the inode."""
        text = f"{arrival.name}\0{arrival.inode}\0{arrival.ctime_ns}"
        if arrival.kind is Kind.LINK:
            with contextlib.suppress(OSError):
                text = os.readlink(f"{self._inbox}/{arrival.name}")
        return hashlib.sha256(os.fsencode(text)).hexdigest()

    def _chooser(self) -> _Chooser:
        return _Chooser(self._inbox, self._outbox, self._name_limit_bytes)

    # The steps of a commit

    def _carried_out(self, entry: Entry, files: list[tuple[str, bytes]], chooser: _Chooser) -> list[Delivery]:
        self._stage(entry, files)
        self._during = f"publishing in {self._outbox}"
        for index in range(len(entry.items)):
            entry = self._published(entry, index, chooser, recovering=False)
        self._during = f"moving originals from {self._inbox} to {self._outbox}"
        results = self._retired(entry.items, chooser)
        deliveries = []
        for item, (how, place) in zip(entry.items, results, strict=True):
            deliveries.append(
                Delivery(
                    item.source,
                    Fate.STUCK if how is _Retired.STUCK else Fate.PUBLISHED,
                    item.record.final if item.record else None,
                    item.picture.final if item.picture else None,
                    place,
                )
            )
        self._keep_stuck(entry.number, _stuck_items(entry.items, results))
        self._finish(entry.number)
        return deliveries

    def _stage(self, entry: Entry, files: list[tuple[str, bytes]]) -> None:
        """Write all files and the entry, make them durable, and only then seal the entry.

        In this order: recovery reads "entry there, staged file gone" as "already published", so no entry may
        be durable before its files are. The draft rides on the same syncfs.
        """
        self._during = f"writing to {self._outbox}"
        few = self._durable and len(files) <= _FEW_FILES and len(self._finished) < _FINISHED_LIMIT
        for name, data in files:
            self._on_step("stage file")
            write_new_file(f"{self._staging}/{name}", data, sync=few)
        if few:
            self._on_step("sync staging")
            sync_folder(self._staging)
        self._journal.draft(entry, sync=few)
        if self._durable and not few:
            self._sync()
        self._journal.seal(entry)

    def _published(self, entry: Entry, index: int, chooser: _Chooser, *, recovering: bool) -> Entry:
        """Publish picture, then record, of one item; returns the entry with the names that were used."""
        for _ in range(_ATTEMPTS):
            picture = entry.items[index].picture
            if picture is None:
                break
            try:
                self._on_step("publish picture")
                self._put(picture, recovering=recovering)
                break
            except _IN_THE_WAY:
                entry = self._with_other_names(entry, index, chooser)
        else:
            raise FileExistsError(
                errno.EEXIST, "every name that was tried is held", entry.items[index].source
            )
        item = entry.items[index]
        if item.record is None:
            return entry
        final = self._put_record(item, item.record, chooser, recovering=recovering)
        for held in item.stale:
            self._remove(held)
        if final == item.record.final:
            return entry
        item = replace(item, record=replace(item.record, final=final))
        return replace(entry, items=(*entry.items[:index], item, *entry.items[index + 1 :]))

    def _put_record(self, item: Item, record: Publication, chooser: _Chooser, *, recovering: bool) -> str:
        """Publish a record, under a marked name where somebody took its own; returns its path.

        The picture is out by then, under the name that the record says, so the record alone moves aside.
        """
        try:
            self._on_step("publish record")
            self._put(record, recovering=recovering)
        except _IN_THE_WAY:
            chooser.forget_folders()
        else:
            return record.final
        for final in chooser.other_records(item.source, item.digest):
            with contextlib.suppress(*_IN_THE_WAY):
                self._on_step("publish record elsewhere")
                self._put(Publication(record.staged, final, replaces=False), recovering=recovering)
                return final
        raise FileExistsError(errno.EEXIST, "every name that was tried is held", item.source)

    def _put(self, publication: Publication, *, recovering: bool) -> None:
        """Rename a staged file to its place. While recovering, a staged file that is gone is in its place."""
        staged = f"{self._staging}/{publication.staged}"
        target = f"{self._outbox}/{publication.final}"
        try:
            self._rename(staged, target, fresh=not publication.replaces)
        except FileNotFoundError:
            if not recovering or os.path.lexists(staged) or not os.path.lexists(self._staging):
                raise

    def _rename(self, source: str, target: str, *, fresh: bool) -> None:
        """Rename, making the folders that the target needs; FileNotFoundError means the source is gone.

        New folders need no sync of their own: the syncfs before the entry is cleared covers them, and until
        then recovery would make them again.
        """
        move = rename_fresh if fresh else os.rename
        for _ in range(_ATTEMPTS):  # consumers may remove an emptied folder under our hands
            try:
                move(source, target)
            except FileNotFoundError:
                if not os.path.lexists(source):
                    raise
                if not os.path.lexists(self._staging):  # never build a new outbox where one was taken away
                    raise OSError(errno.ESTALE, "the outbox is gone", self._outbox) from None
                os.makedirs(os.path.dirname(target), exist_ok=True)
            else:
                return
        raise OSError(errno.ESTALE, "its folder vanishes again and again", target)

    def _with_other_names(self, entry: Entry, index: int, chooser: _Chooser) -> Entry:
        """Give an item new names since somebody took its picture's; the log says so before anything is out.

        The record names the picture, so it is staged anew under another staged name: a crash on either side
        of the new entry finds a record and names that belong together.
        """
        item = entry.items[index]
        picture, record = item.picture, item.record
        if picture is None or record is None:
            raise AssertionError
        chooser.forget_folders()
        ending = os.path.splitext(picture.staged)[1]
        choice = chooser.choose(
            _Drop(
                item.source,
                item.kind,
                item.identity.size_bytes,
                item.sha256,
                item.digest,
                item.folder,
                ending,
                None,
            )
        )
        staged = Record.from_json_bytes(Path(self._staging, record.staged).read_bytes())
        name = choice.picture
        if name is not None and staged.source.name_bytes_hex is not None:
            name = percent_escaped(name)
        stem = f"{item.copy.removesuffix('.original')}-{time.time_ns()}"
        self._on_step("stage record anew")
        data = staged.model_copy(update={"annotated": name}).to_json_bytes()
        write_new_file(f"{self._staging}/{stem}.json", data, sync=self._durable)
        if self._durable:
            sync_folder(self._staging)
        item = replace(
            item,
            picture=Publication(picture.staged, choice.picture or "", choice.replaces),
            record=Publication(f"{stem}.json", choice.record, choice.replaces),
            original=None if item.original is None else choice.original,
            stale=choice.stale,
            old_original=None if item.original is None else choice.old_original,
        )
        entry = replace(entry, items=(*entry.items[:index], item, *entry.items[index + 1 :]))
        self._journal.write(entry)
        self._on_step("remove record of old names")
        os.unlink(f"{self._staging}/{record.staged}")
        return entry

    # Retiring

    def _retired(self, items: Sequence[Item], chooser: _Chooser) -> list[tuple[_Retired, str | None]]:
        """Move the originals of `items` out of the inbox; says for each how it went and where it is."""
        results = [self._moved(item, chooser) for item in items]
        crossing = [index for index, (how, _) in enumerate(results) if how is _Retired.CROSSES]
        if crossing:
            self._two_file_systems = True
            across = self._moved_across([items[index] for index in crossing], chooser)
            for index, result in zip(crossing, across, strict=True):
                results[index] = result
        for item, (how, _) in zip(items, results, strict=True):
            if item.old_original is not None and how is _Retired.MOVED:
                self._remove(item.old_original)
        return results

    def _moved(self, item: Item, chooser: _Chooser) -> tuple[_Retired, str | None]:
        """Retire one original by rename."""
        if item.original is None:
            return _Retired.LEFT, None
        source = f"{self._inbox}/{item.source}"
        try:
            status = status_of(source)
            if status is None:
                self._require_inbox()
                return _Retired.MOVED, self._placed_copy(item, chooser, only_whole=True)
            if not self._is_what_was_read(item, status):
                return _Retired.LEFT, None
            place = self._placed(item, source, chooser)
        except FileNotFoundError:
            self._require_inbox()
            return _Retired.LEFT, None
        except OSError as error:
            if error.errno == errno.EXDEV:
                return _Retired.CROSSES, None
            if self._is_inboxs_refusal(error, item):
                return _Retired.STUCK, None
            raise
        if self._is_intruder(item, place):
            return _Retired.LEFT, None
        return _Retired.MOVED, place

    def _placed(self, item: Item, file: str, chooser: _Chooser) -> str:
        """Rename `file` (the source, or its copy) to where the original belongs; returns the path it got."""
        if item.original is None:
            raise AssertionError
        places = itertools.chain(
            (item.original,), chooser.other_originals(item.source, item.digest, item.folder)
        )
        for place in places:
            target = f"{self._outbox}/{place}"
            self._on_step("retire original")
            try:
                self._rename(file, target, fresh=True)
            except _IN_THE_WAY:
                status = status_of(target)
                if status is None:
                    chooser.forget_folders()
                elif self._takes_the_place(item, file, target, status):
                    return place
            else:
                return place
        raise FileExistsError(errno.EEXIST, "every name that was tried is held", item.source)

    def _takes_the_place(self, item: Item, file: str, target: str, held: os.stat_result) -> bool:
        """Put `file` where the same bytes lie already; False where other bytes lie there."""
        if os.path.samestat(os.lstat(file), held):
            # Two links to one inode: rename(2) would do nothing, say so, and leave both.
            self._on_step("unlink second link")
            os.unlink(file)
            return True
        if not same_bytes(item.kind, file, item.identity.size_bytes, item.sha256, target, held):
            return False
        self._on_step("replace original")
        os.rename(file, target)
        return True

    def _is_intruder(self, item: Item, place: str) -> bool:
        """Whether what was moved is not what was read, since it was exchanged just before; then it goes back.

        Nothing but this look afterwards can close the gap between looking and renaming.
        """
        target = f"{self._outbox}/{place}"
        status = status_of(target)
        if status is None or item.kind != Kind.FILE.value:
            return False
        if _same_but_ctime(item.identity, Identity.of(status)) or _has_digest(target, item.sha256):
            return False
        self._on_step("give intruder back")
        with contextlib.suppress(OSError):  # there is a still newer one in the inbox: then this one stays
            rename_fresh(target, f"{self._inbox}/{item.source}")
        return True

    def _is_what_was_read(self, item: Item, status: os.stat_result) -> bool:
        now = Identity.of(status)
        if _is_same(Kind(item.kind), item.identity, now):
            return True
        if item.record is not None:
            # Moving an original back into the inbox keeps everything but the ctime, and is a new drop.
            return False
        # A stuck one never left the inbox, and the chmod that set it free changed the ctime.
        if not _same_but_ctime(item.identity, now):
            return False
        return item.sha256 is None or _has_digest(f"{self._inbox}/{item.source}", item.sha256)

    def _is_inboxs_refusal(self, error: OSError, item: Item) -> bool:
        """Whether it is the inbox's folder that refuses: sticky, immutable, not writable; not the outbox."""
        if error.errno not in _REFUSALS or item.original is None:
            return False
        parent = os.path.dirname(f"{self._outbox}/{item.original}")
        while not os.path.lexists(parent) and parent != self._outbox:
            parent = os.path.dirname(parent)
        return os.access(parent, os.W_OK | os.X_OK)

    # Retiring to another mount

    def _moved_across(self, items: Sequence[Item], chooser: _Chooser) -> list[tuple[_Retired, str | None]]:
        """Retire originals to another mount: copy, sync, rename into place, and only then unlink."""
        few = self._durable and len(items) <= _FEW_FILES
        copied = [self._copied(item, sync=few) for item in items]
        if few:
            self._on_step("sync staging")
            sync_folder(self._staging)
        elif self._durable:
            self._sync()
        return [
            self._exchanged_for_copy(item, chooser) if is_ready else (_Retired.STUCK, None)
            for item, is_ready in zip(items, copied, strict=True)
        ]

    def _copied(self, item: Item, *, sync: bool) -> bool:
        """Stage a copy of the source unless its bytes are in place already; False where it cannot be read."""
        source, copy = f"{self._inbox}/{item.source}", f"{self._staging}/{item.copy}"
        if item.kind not in (Kind.FILE.value, Kind.LINK.value) or self._has_its_place(item):
            return True
        if os.path.lexists(copy):
            self._on_step("remove old copy")
            os.unlink(copy)
        self._on_step("copy original")
        if item.kind == Kind.LINK.value:
            with contextlib.suppress(FileNotFoundError):
                os.symlink(os.readlink(source), copy)
            return True
        try:
            reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        except PermissionError:
            return False
        with open(reading, "rb") as file, open(copy, "xb") as target:
            shutil.copyfileobj(file, target, _COPY_BYTES)
            target.flush()
            os.utime(target.fileno(), ns=(item.identity.mtime_ns, item.identity.mtime_ns))
            if sync:
                os.fsync(target.fileno())
        return True

    def _has_its_place(self, item: Item) -> bool:
        """Whether the original's place holds its bytes, from before a crash or from an earlier drop."""
        target = f"{self._outbox}/{item.original}"
        status = status_of(target)
        source = f"{self._inbox}/{item.source}"
        return status is not None and same_bytes(
            item.kind, source, item.identity.size_bytes, item.sha256, target, status
        )

    def _exchanged_for_copy(self, item: Item, chooser: _Chooser) -> tuple[_Retired, str | None]:
        source = f"{self._inbox}/{item.source}"
        status = status_of(source)
        if status is not None and not self._is_what_was_read(item, status):
            self._discard_copy(item)
            return _Retired.LEFT, None
        place: str | None = None
        if item.kind in (Kind.FILE.value, Kind.LINK.value):
            place = self._placed_copy(item, chooser, only_whole=status is None)
            if place is None:
                if not self._has_its_place(item):  # no copy, no unlinking
                    return _Retired.LEFT, None
                place = item.original
        try:
            self._on_step("unlink source")
            os.unlink(source)
        except FileNotFoundError:
            self._require_inbox()
        except OSError as error:
            if error.errno in _REFUSALS:
                return _Retired.STUCK, place
            raise
        return _Retired.MOVED, place

    def _placed_copy(self, item: Item, chooser: _Chooser, *, only_whole: bool) -> str | None:
        """Put a staged copy in the original's place, if there is one; returns its path.

        `only_whole`: the source is gone, so the copy may be all there is; or a torn one, made while the
        source was being taken away. The digest tells.
        """
        copy = f"{self._staging}/{item.copy}"
        status = status_of(copy)
        if status is None:
            return None
        if only_whole and item.kind == Kind.FILE.value:
            whole = status.st_size == item.identity.size_bytes
            if not whole or not (item.sha256 is None or _has_digest(copy, item.sha256)):
                self._discard_copy(item)
                return None
        return self._placed(item, copy, chooser)

    def _discard_copy(self, item: Item) -> None:
        self._on_step("discard copy")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._staging}/{item.copy}")

    # Recovery, and what is left for later

    def _resumed(self, entry: Entry) -> list[str]:
        """Finish one entry; returns the names of the drops whose records were put out only now."""
        chooser = self._chooser()
        for item in entry.items:
            chooser.promise(item)
        out_now = []
        for index, item in enumerate(entry.items):
            if item.record is not None and os.path.lexists(f"{self._staging}/{item.record.staged}"):
                out_now.append(item.source)
            entry = self._published(entry, index, chooser, recovering=True)
        results = self._retired(entry.items, chooser)
        for item, (how, _) in zip(entry.items, results, strict=True):
            if item.record is not None:
                fate = Fate.STUCK if how is _Retired.STUCK else Fate.PUBLISHED
                self._settled[item.source, item.identity] = fate
        self._keep_stuck(entry.number, _stuck_items(entry.items, results))
        return out_now

    def _keep_stuck(self, number: int, items: list[Item]) -> None:
        """Remember, or forget, the stuck originals of one entry."""
        for item in self._stuck.pop(number, []):
            if self._stuck_sources.get(item.source) is item:
                del self._stuck_sources[item.source]
        if items:
            self._stuck[number] = items
            self._stuck_sources |= {item.source: item for item in items}

    def _finish(self, number: int) -> None:
        """Note that everything an entry says is done; it is cleared when that is durable as well."""
        if self._durable:
            if number not in self._finished:
                self._finished.append(number)
        else:
            self._clear(number)

    def _clear(self, number: int) -> None:
        """Forget an entry, but for the originals that are stuck: these must survive a restart."""
        stuck = self._stuck.get(number)
        if stuck:
            self._journal.write(Entry(number, tuple(stuck)))
        else:
            self._journal.clear(number)

    def _sync(self) -> None:
        """Make both file systems durable, then clear the entries that were finished before."""
        if self._durable:
            self._on_step("sync outbox")
            # The descriptor is older than the writes: no error of theirs can have been told to others alone.
            if self._outbox_fd is None:
                raise AssertionError
            sync_file_system(self._outbox_fd)
            if self._two_file_systems:
                self._on_step("sync inbox")
                self._sync_inbox()
        while self._finished:
            self._clear(self._finished[0])
            del self._finished[0]

    def _sync_inbox(self) -> None:
        fd = os.open(self._inbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_file_system(fd)
        finally:
            os.close(fd)

    def _sweep(self) -> int:
        """Remove staged files that no entry speaks of; returns how many."""
        names = os.listdir(self._staging)
        for name in names:
            self._on_step("sweep staging")
            os.unlink(f"{self._staging}/{name}")
        return len(names)

    def _remove(self, held: Held) -> None:
        path = f"{self._outbox}/{held.path}"
        status = status_of(path)
        # Not the ctime: it changes when another link to the same inode is moved.
        if status is not None and _same_but_ctime(held.identity, Identity.of(status)):
            self._on_step("remove what is replaced")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _prepare(self) -> None:
        """Make the hidden folders, open the outbox, and find out about its file system."""
        _make_folder(f"{self._inbox}/{HIDDEN}")
        _make_folder(self._hidden)
        # A setgid bit and default ACLs are inherited here too, so published files get the outbox's group.
        for folder in (self._staging, f"{self._hidden}/journal"):
            _make_folder(folder, 0o700)
        if self._outbox_fd is not None:
            os.close(self._outbox_fd)
            self._outbox_fd = None
        self._outbox_fd = os.open(self._staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            self._name_limit_bytes = min(NAME_LIMIT_BYTES, os.pathconf(self._outbox, "PC_NAME_MAX"))
        self._crosses = self._tried_rename_crosses()
        self._two_file_systems = self._crosses
        self._finished = []
        self._stuck = {}
        self._stuck_sources = {}

    def _tried_rename_crosses(self) -> bool:
        # Tried, since equal device numbers prove nothing: two bind mounts of one file system refuse as well.
        probe, target = f"{self._inbox}/{HIDDEN}/probe", f"{self._staging}/probe"
        try:
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            os.rename(probe, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return True
        finally:
            for path in (probe, target):
                with contextlib.suppress(OSError):
                    os.unlink(path)
        return False

    def _require_inbox(self) -> None:
        """Raise FileNotFoundError where the inbox as a whole is gone: then nothing says where a file went."""
        os.lstat(f"{self._inbox}/{HIDDEN}")

    @contextlib.contextmanager
    def _world(self, during: str) -> Iterator[None]:
        """Turn an OSError into a WorldError; whatever goes wrong, recovery comes next."""
        self._during = during
        try:
            yield
        except OSError as error:
            self._needs_recovery = True
            raise WorldError(self._during, error) from error
        except BaseException:
            self._needs_recovery = True
            raise


def status_of(path: str) -> os.stat_result | None:
    """`lstat`, or None where there is no such file."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def digest_of(path: str) -> str:
    """SHA-256 of a regular file's bytes, as hex digits."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same_bytes(
    kind: str, file: str, size_bytes: int, sha256: str | None, held: str, held_status: os.stat_result
) -> bool:
    """Whether `held` has the content of `file`; for a link: the same target. Unreadable is not the same.

    `sha256` is that of `file`, or None where it has to be read for it.
    """
    try:
        if kind == Kind.LINK.value:
            return stat.S_ISLNK(held_status.st_mode) and os.readlink(held) == os.readlink(file)
        if kind != Kind.FILE.value or not stat.S_ISREG(held_status.st_mode):
            return False
        if held_status.st_size != size_bytes:
            return False
        return digest_of(held) == (sha256 or digest_of(file))
    except (FileNotFoundError, PermissionError):
        return False


def _has_digest(path: str, sha256: str | None) -> bool:
    try:
        return digest_of(path) == sha256
    except (FileNotFoundError, PermissionError):
        return False


def _identity_of(arrival: Arrival) -> Identity:
    return Identity(arrival.device, arrival.inode, arrival.size_bytes, arrival.mtime_ns, arrival.ctime_ns)


def _is_same(kind: Kind, read: Identity, now: Identity) -> bool:
    """Whether a source still is what was read. Times of a FIFO or a device change by mere use."""
    if kind in (Kind.FILE, Kind.LINK):
        return read.outlives_restart() == now.outlives_restart()
    return read.inode == now.inode


def _same_but_ctime(one: Identity, other: Identity) -> bool:
    return one.outlives_restart()[:3] == other.outlives_restart()[:3]


def _stuck_items(items: Sequence[Item], results: Sequence[tuple[_Retired, str | None]]) -> list[Item]:
    """What has to be remembered of the items whose originals are stuck: all but what is published."""
    return [
        replace(item, picture=None, record=None, stale=())
        for item, (how, _) in zip(items, results, strict=True)
        if how is _Retired.STUCK
    ]


def _make_folder(path: str, mode: int = 0o777) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
