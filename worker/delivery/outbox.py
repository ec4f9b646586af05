"""Outcomes into the outbox, each once: stage, log the intent, publish, retire the original.

The protocol, and why each gap between two of its steps is safe: docs/decisions/0003-commit-and-recovery.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from worker.delivery.choosing import Chooser, Drop
from worker.delivery.disk import (
    FEW_FILES,
    HIDDEN,
    STAGING,
    make_folder,
    rename_crosses,
    require_inbox,
    status_of,
    sync_file_system,
    sync_folder,
    write_new_file,
)
from worker.delivery.journal import (
    Entry,
    Identity,
    Item,
    Journal,
    Publication,
)
from worker.delivery.names import DONE, FAILED, NAME_LIMIT_BYTES
from worker.delivery.publishing import Publishing
from worker.delivery.records import record_of
from worker.delivery.retirement import Retired, Retirement
from worker.delivery.sameness import identity_of, is_same, same_but_ctime
from worker.errors import WorldError
from worker.intake.arrivals import Kind

if TYPE_CHECKING:
    from worker.intake.arrivals import Arrival
    from worker.outcome import Outcome

Durability = Literal["full", "none"]

_FINISHED_LIMIT = 16  # entries that wait for a syncfs before one is made for their sake


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
        self._staging = f"{self._outbox}/{STAGING}"
        self._journal = Journal(f"{self._hidden}/journal", durable=self._durable, on_step=on_step)
        self._publishing = Publishing(self._outbox, self._journal, durable=self._durable, on_step=on_step)
        self._retirement = Retirement(
            self._inbox, self._outbox, durable=self._durable, sync=self._sync, on_step=on_step
        )
        self._needs_recovery = True
        self._during = ""
        self._outbox_fd: int | None = None
        self._name_limit_bytes = NAME_LIMIT_BYTES
        self._crosses: bool | None = None
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
        return item is not None and same_but_ctime(item.identity, identity_of(arrival))

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
                results = self._retirement.retire(items, self._chooser())
                still = [item for item, (how, _) in zip(items, results, strict=True) if how is Retired.STUCK]
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
        self._let_go()
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
            self._journal.renew(entries)
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
        settled = self._settled.get((arrival.name, identity_of(arrival)))
        if settled is not None:
            return settled, True
        if self.is_stuck(arrival):
            return Fate.STUCK, True
        try:
            status = status_of(f"{self._inbox}/{arrival.name}")
        except PermissionError:  # its folder was closed to us since; what is in it now is not known
            return Fate.CHANGED, True
        if status is None:
            require_inbox(self._inbox)
            return None, False
        same = is_same(arrival.kind, identity_of(arrival), Identity.of(status))
        return (None if same else Fate.CHANGED), True

    def _planned(
        self,
        outcome: Outcome,
        stem: str,
        chooser: Chooser,
        model_name: str,
        model_sha256: str,
        is_there: bool,
    ) -> tuple[Item, list[tuple[str, bytes]]]:
        """Return the item for an outcome and the files to stage for it (name, content)."""
        arrival, picture = outcome.arrival, outcome.picture
        folder = FAILED if outcome.status.value == "failed" else DONE
        digest = outcome.sha256 or self._digest_without_content(arrival)
        choice = chooser.choose(
            Drop(
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
            identity=identity_of(arrival),
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

    def _chooser(self) -> Chooser:
        return Chooser(self._inbox, self._outbox, self._name_limit_bytes)

    # The steps of a commit

    def _carried_out(self, entry: Entry, files: list[tuple[str, bytes]], chooser: Chooser) -> list[Delivery]:
        self._stage(entry, files)
        self._during = f"publishing in {self._outbox}"
        for index in range(len(entry.items)):
            entry = self._published(entry, index, chooser, recovering=False)
        self._during = f"moving originals from {self._inbox} to {self._outbox}"
        results = self._retirement.retire(entry.items, chooser, just_published=True)
        deliveries = []
        for item, (how, place) in zip(entry.items, results, strict=True):
            deliveries.append(
                Delivery(
                    item.source,
                    Fate.STUCK if how is Retired.STUCK else Fate.PUBLISHED,
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
        few = self._durable and len(files) <= FEW_FILES and len(self._finished) < _FINISHED_LIMIT
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

    def _published(self, entry: Entry, index: int, chooser: Chooser, *, recovering: bool) -> Entry:
        """Publish one item in the place of its earlier answer; returns the entry with the names used."""
        entry = self._publishing.publish(entry, index, chooser, recovering=recovering)
        for held in entry.items[index].stale:
            self._retirement.remove(held)
        return entry

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
        results = self._retirement.retire(entry.items, chooser)
        for item, (how, _) in zip(entry.items, results, strict=True):
            if item.record is not None:
                fate = Fate.STUCK if how is Retired.STUCK else Fate.PUBLISHED
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
            if self._retirement.crosses:
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

    def _prepare(self) -> None:
        """Make the hidden folders, open the outbox, and find out about its file system."""
        make_folder(f"{self._inbox}/{HIDDEN}")
        make_folder(self._hidden)
        # A setgid bit and default ACLs are inherited here too, so published files get the outbox's group.
        for folder in (self._staging, f"{self._hidden}/journal"):
            make_folder(folder, 0o700)
        self._let_go()
        self._outbox_fd = os.open(self._staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            self._name_limit_bytes = min(NAME_LIMIT_BYTES, os.pathconf(self._outbox, "PC_NAME_MAX"))
        self._crosses = rename_crosses(self._inbox, self._outbox)
        self._retirement.crosses = self._crosses
        self._finished = []
        self._stuck = {}
        self._stuck_sources = {}

    def _let_go(self) -> None:
        fd, self._outbox_fd = self._outbox_fd, None
        if fd is not None:
            with contextlib.suppress(OSError):  # of a share that is dead; the descriptor is gone all the same
                os.close(fd)

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


def _stuck_items(items: Sequence[Item], results: Sequence[tuple[Retired, str | None]]) -> list[Item]:
    """What has to be remembered of the items whose originals are stuck: all but what is published."""
    return [
        replace(item, picture=None, record=None, stale=())
        for item, (how, _) in zip(items, results, strict=True)
        if how is Retired.STUCK
    ]
