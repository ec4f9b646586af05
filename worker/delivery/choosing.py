"""Choosing names: which of the names that a drop may have are free, or hold an earlier answer to it."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace

from worker.delivery.disk import ATTEMPTS, status_of
from worker.delivery.journal import Held, Identity, Item
from worker.delivery.names import (
    DONE,
    FAILED,
    PICTURE_ENDINGS,
    file_names,
    fitted_folder,
    folder_candidates,
    joined,
    marks,
    parted,
)
from worker.delivery.sameness import has_digest, same_bytes


@dataclass(frozen=True, slots=True)
class Drop:
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
class Choice:
    """Paths below the outbox, and what of an earlier answer they replace."""

    record: str
    picture: str | None
    original: str
    replaces: bool = False
    stale: tuple[Held, ...] = ()
    old_original: Held | None = None


def none_is_free(source: str) -> FileExistsError:
    """The error for a drop all of whose names somebody takes again and again."""
    return FileExistsError(errno.EEXIST, "every name that was tried is held", source)


class Chooser:
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

    def choose(self, drop: Drop) -> Choice:
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
        for mark in itertools.islice(marks(digest), ATTEMPTS):
            yield joined(self.usable(folder), file_names(name, None, mark, self._name_limit_bytes).record)

    def other_originals(self, source: str, digest: str, kept: str) -> Iterator[str]:
        """Yield paths for an original whose own was taken by somebody after it was chosen."""
        folder, name = parted(source)
        for mark in itertools.islice(marks(digest), ATTEMPTS):
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
        drop: Drop,
        record: str,
        picture: str | None,
        originals: dict[str, str],
    ) -> Choice | None:
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
        choice = Choice(record, picture, originals[drop.folder])
        if not earlier:
            return choice
        other = earlier.get(FAILED if drop.folder == DONE else DONE)
        return replace(choice, replaces=True, old_original=other)

    def _with_stale(self, choice: Choice, home: str, name: str, mark: str) -> Choice:
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

    def _outputs_are_free(self, drop: Drop, record: str, picture: str | None, *, again: bool) -> bool:
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

    def _same_bytes(self, drop: Drop, path: str, status: os.stat_result) -> bool:
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
        return has_digest(f"{self._outbox}/{path}", hashlib.sha256(content).hexdigest())
