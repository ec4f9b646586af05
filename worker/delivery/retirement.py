"""Retirement: originals that were answered leave the inbox, by rename or, between mounts, as copies."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from enum import Enum, auto

from worker.delivery.choosing import Chooser, none_is_free
from worker.delivery.disk import (
    FEW_FILES,
    IN_THE_WAY,
    STAGING,
    rename_fresh,
    rename_making_folders,
    require_inbox,
    status_of,
    sync_folder,
)
from worker.delivery.journal import Held, Identity, Item
from worker.delivery.sameness import has_digest, is_same, same_but_ctime, same_bytes
from worker.intake.arrivals import Kind

_COPY_BYTES = 1 << 20
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EBUSY)  # EBUSY: a mount point, as containers make of a file


class Retired(Enum):
    """How retiring one original went."""

    MOVED = auto()  # or gone
    LEFT = auto()  # it is a newer version, a new drop
    STUCK = auto()
    CROSSES = auto()  # to another mount: it has to be copied


class Retirement:
    """Moves the originals of one inbox to its outbox. One thread; no step is taken without `on_step`.

    `crosses` says that inbox and outbox are two mounts; `sync` makes both durable where an fsync for each
    file would cost more.
    """

    def __init__(
        self,
        inbox: str,
        outbox: str,
        *,
        durable: bool,
        sync: Callable[[], None],
        on_step: Callable[[str], None],
    ) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._staging = f"{outbox}/{STAGING}"
        self._durable = durable
        self._sync = sync
        self._on_step = on_step
        self.crosses = False
        self._just_published = False

    def retire(
        self, items: Sequence[Item], chooser: Chooser, *, just_published: bool = False
    ) -> list[tuple[Retired, str | None]]:
        """Move the originals of `items` out of the inbox; says for each how it went and where it is.

        `just_published`: by this very process, a moment ago, and not by one that may be long dead.
        """
        self._just_published = just_published
        results = [self._moved(item, chooser) for item in items]
        crossing = [index for index, (how, _) in enumerate(results) if how is Retired.CROSSES]
        if crossing:
            self.crosses = True
            across = self._moved_across([items[index] for index in crossing], chooser)
            for index, result in zip(crossing, across, strict=True):
                results[index] = result
        for item, (how, _) in zip(items, results, strict=True):
            if item.old_original is not None and how is Retired.MOVED:
                self.remove(item.old_original)
        return results

    def _moved(self, item: Item, chooser: Chooser) -> tuple[Retired, str | None]:
        """Retire one original by rename."""
        if item.original is None:
            return Retired.LEFT, None
        source = f"{self._inbox}/{item.source}"
        try:
            status = status_of(source)
            if status is None:
                require_inbox(self._inbox)
                return Retired.MOVED, self._placed_copy(item, chooser, only_whole=True)
            if not self._is_what_was_read(item, status):
                return Retired.LEFT, None
            place = self._placed(item, source, chooser)
        except FileNotFoundError:
            require_inbox(self._inbox)
            return Retired.LEFT, None
        except OSError as error:
            if error.errno == errno.EXDEV:
                return Retired.CROSSES, None
            if self._is_inboxs_refusal(error, item):
                return Retired.STUCK, None
            raise
        if self._is_intruder(item, place):
            return Retired.LEFT, None
        return Retired.MOVED, place

    def _placed(self, item: Item, file: str, chooser: Chooser) -> str:
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
                rename_making_folders(file, target, fresh=True, outbox=self._outbox)
            except IN_THE_WAY:
                status = status_of(target)
                if status is None:
                    chooser.forget_folders()
                elif self._takes_the_place(item, file, target, status):
                    return place
            else:
                return place
        raise none_is_free(item.source)

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
        if same_but_ctime(item.identity, Identity.of(status)) or has_digest(target, item.sha256):
            return False
        self._on_step("give intruder back")
        with contextlib.suppress(OSError):  # there is a still newer one in the inbox: then this one stays
            rename_fresh(target, f"{self._inbox}/{item.source}")
        return True

    def _is_what_was_read(self, item: Item, status: os.stat_result) -> bool:
        now = Identity.of(status)
        if is_same(Kind(item.kind), item.identity, now):
            return True
        if self._just_published:
            # Another link to the same inode was retired in this batch, or its mode changed: same bytes all the same.
            return same_but_ctime(item.identity, now)
        if item.record is not None:
            # Moving an original back into the inbox keeps everything but the ctime, and is a new drop.
            return False
        # A stuck one never left the inbox, and the chmod that set it free changed the ctime.
        if not same_but_ctime(item.identity, now):
            return False
        return item.sha256 is None or has_digest(f"{self._inbox}/{item.source}", item.sha256)

    def _is_inboxs_refusal(self, error: OSError, item: Item) -> bool:
        """Whether it is the inbox's folder that refuses: sticky, immutable, not writable; not the outbox."""
        if error.errno not in _REFUSALS or item.original is None:
            return False
        parent = os.path.dirname(f"{self._outbox}/{item.original}")
        while not os.path.lexists(parent) and parent != self._outbox:
            parent = os.path.dirname(parent)
        return os.access(parent, os.W_OK | os.X_OK)

    # To another mount

    def _moved_across(self, items: Sequence[Item], chooser: Chooser) -> list[tuple[Retired, str | None]]:
        """Retire originals to another mount: copy, sync, rename into place, and only then unlink."""
        few = self._durable and len(items) <= FEW_FILES
        copied = [self._copied(item, sync=few) for item in items]
        if few:
            self._on_step("sync staging")
            sync_folder(self._staging)
        elif self._durable:
            self._sync()
        return [
            self._exchanged_for_copy(item, chooser) if is_ready else (Retired.STUCK, None)
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

    def _exchanged_for_copy(self, item: Item, chooser: Chooser) -> tuple[Retired, str | None]:
        source = f"{self._inbox}/{item.source}"
        status = status_of(source)
        if status is not None and not self._is_what_was_read(item, status):
            self._discard_copy(item)
            return Retired.LEFT, None
        place: str | None = None
        if item.kind in (Kind.FILE.value, Kind.LINK.value):
            place = self._placed_copy(item, chooser, only_whole=status is None)
            if place is None:
                if not self._has_its_place(item):  # no copy, no unlinking
                    return Retired.LEFT, None
                place = item.original
        try:
            self._on_step("unlink source")
            os.unlink(source)
        except FileNotFoundError:
            require_inbox(self._inbox)
        except OSError as error:
            if error.errno in _REFUSALS:
                return Retired.STUCK, place
            raise
        return Retired.MOVED, place

    def _placed_copy(self, item: Item, chooser: Chooser, *, only_whole: bool) -> str | None:
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
            if not whole or not (item.sha256 is None or has_digest(copy, item.sha256)):
                self._discard_copy(item)
                return None
        return self._placed(item, copy, chooser)

    def _discard_copy(self, item: Item) -> None:
        self._on_step("discard copy")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._staging}/{item.copy}")

    def remove(self, held: Held) -> None:
        """Remove a file of an earlier answer while it is still this very one."""
        path = f"{self._outbox}/{held.path}"
        status = status_of(path)
        # Not the ctime: it changes when another link to the same inode is moved.
        if status is not None and same_but_ctime(held.identity, Identity.of(status)):
            self._on_step("remove what is replaced")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
