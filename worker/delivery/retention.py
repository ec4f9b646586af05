"""Retention: old originals leave done/ and failed/, by age and by size, a little at a time.

Nothing but originals is touched: records and annotated pictures belong to whoever takes them. Age is
counted from the moment at which the original was put there (ctime): no copy tool can set it, while the
mtime of a scan may be years old.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.delivery.names import PICTURE_ENDINGS

_OUTPUT_ENDINGS = (".json", *(f".annotated{ending}" for ending in PICTURE_ENDINGS))
_SLOT_S = 60  # the size rule tells ages apart by the minute; within one, order is left to chance


@dataclass(frozen=True, slots=True)
class KeepRule:
    """What one folder may hold; None is without limit. Sizes are apparent ones, in bytes."""

    max_age_s: float | None = None
    max_bytes: int | None = None

    @property
    def is_endless(self) -> bool:
        """Whether everything is kept for ever."""
        return self.max_age_s is None and self.max_bytes is None


@dataclass(slots=True)
class Removed:
    """What one sweep through a folder came to: what was removed, and how many files would not go."""

    files: int = 0
    size_bytes: int = 0
    hindered: int = 0


@dataclass(frozen=True, slots=True)
class _Original:
    folder_fd: int
    name: str
    placed_s: float
    size_bytes: int


class Sweep:
    """One sweep through the originals below `folder`, done in steps by repeated calls of `go_on`.

    A sweep remembers sizes by the minute, not files: its memory does not grow with the folder. Use it from
    the thread that owns the outbox.
    """

    def __init__(self, folder: Path, rule: KeepRule, now_s: float) -> None:
        self.removed = Removed()
        self._folder = str(folder)
        self._rule = rule
        self._now_s = now_s
        self._work = self._all()

    def go_on(self, entries: int) -> bool:
        """Look at up to `entries` more directory entries; False when the sweep is over."""
        return all(next(self._work, False) is not False for _ in range(entries))

    def close(self) -> None:
        """Let go of the folders; the sweep is over."""
        self._work.close()

    def _all(self) -> Generator[None, None, None]:
        """The whole sweep, an entry at a time. First the sizes are summed, where a rule asks for them."""
        sizes: Counter[int] = Counter()
        if self._rule.max_bytes is not None:
            for original in self._originals(is_tidying=False):
                if original is not None:
                    sizes[int(original.placed_s // _SLOT_S)] += original.size_bytes
                yield
        over_bytes = 0 if self._rule.max_bytes is None else sum(sizes.values()) - self._rule.max_bytes
        last_slot = -1
        for slot in sorted(sizes):
            if over_bytes <= 0:
                break
            last_slot = slot
            over_bytes -= sizes[slot]
        # Of the last minute only so much goes as is over the limit.
        from_last_bytes = sizes[last_slot] + over_bytes
        oldest_s = float("-inf") if self._rule.max_age_s is None else self._now_s - self._rule.max_age_s
        for original in self._originals(is_tidying=True):
            if original is not None:
                slot = int(original.placed_s // _SLOT_S)
                if slot == last_slot and from_last_bytes > 0:
                    from_last_bytes -= original.size_bytes
                    self._remove(original)
                elif slot < last_slot or original.placed_s < oldest_s:
                    self._remove(original)
            yield

    def _remove(self, original: _Original) -> None:
        try:
            os.unlink(original.name, dir_fd=original.folder_fd)
        except FileNotFoundError:
            return
        except OSError:
            self.removed.hindered += 1
        else:
            self.removed.files += 1
            self.removed.size_bytes += original.size_bytes

    def _originals(self, *, is_tidying: bool) -> Iterator[_Original | None]:
        """Each original, and None for each other entry: what was looked at is to be counted.

        `is_tidying` removes sub-folders out of which files went and that are empty now.
        """
        to_do: list[tuple[tuple[str, ...], int | None]] = [((), None)]
        while to_do:
            parts, removed_before = to_do.pop()
            if removed_before is not None:
                if parts and self.removed.files > removed_before:
                    self._remove_empty(parts)
                continue
            if is_tidying:
                to_do.append((parts, self.removed.files))
            with _opened(self._folder, parts) as folder_fd:
                if folder_fd is None:
                    continue
                with os.scandir(folder_fd) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            to_do.append(((*parts, entry.name), None))
                            yield None
                        else:
                            yield _original(folder_fd, entry)

    def _remove_empty(self, parts: tuple[str, ...]) -> None:
        with _opened(self._folder, parts[:-1]) as above_fd, contextlib.suppress(OSError):  # not empty
            if above_fd is not None:
                os.rmdir(parts[-1], dir_fd=above_fd)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def _opened(root: str, parts: tuple[str, ...]) -> Iterator[int | None]:
    """A descriptor of the folder `parts` below `root`, or None where it cannot be had.

    Each component is opened by itself and no link is followed, so nobody can lead the way elsewhere.
    """
    folder_fd: int | None = None
    try:
        try:
            folder_fd = os.open(root, _FOLDER)
            for part in parts:
                above_fd, folder_fd = folder_fd, None
                try:
                    folder_fd = os.open(part, _FOLDER, dir_fd=above_fd)
                finally:
                    os.close(above_fd)
        except OSError:
            folder_fd = None
        yield folder_fd
    finally:
        if folder_fd is not None:
            os.close(folder_fd)


def _original(folder_fd: int, entry: os.DirEntry[str]) -> _Original | None:
    """The original that the entry is; None for what else may lie here, outputs of an inbox folder `done` say."""
    if entry.name.endswith(_OUTPUT_ENDINGS) or entry.name.startswith("."):
        return None
    try:
        status = os.stat(entry.name, dir_fd=folder_fd, follow_symlinks=False)
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return None
    return _Original(folder_fd, entry.name, status.st_ctime, status.st_size)
