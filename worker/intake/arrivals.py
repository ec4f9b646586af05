"""Which files are there, and which of them are ready: scan, settle rule, ignore rules."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple, Protocol

from worker.errors import WorldError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
HALF_WRITTEN_ENDINGS = (".part", ".tmp")
PATH_LIMIT_BYTES = 4095  # PATH_MAX counts the final NUL
_TOO_LONG = f"the paths in it are longer than {PATH_LIMIT_BYTES:,} bytes; move its pictures further up"

# Here a lease that is refused proves a writer. Clients of NFS and SMB refuse leases for reasons of their own.
LEASES_ARE_HONEST_ON = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "bcachefs", "tmpfs"})

# A file that waits for a change is looked at again after a quarter of the time that it has been quiet:
# often while it is fresh, and not a hundred thousand times a second when that many are left unfinished.
QUIET_SHARE = 0.25
STEP_ENTRIES = 256  # of a folder, between two signs that a walk gets on
SHORTEST_LOOK_S = 0.05


class Kind(StrEnum):
    """What a directory entry is."""

    FILE = "file"
    LINK = "link"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An entry of the inbox that is ready to be read.

    `name` is the path below the inbox with `/` between its parts; bytes that are no UTF-8 are kept as
    surrogate escapes (`os.fsdecode`). Device, inode, size and the two times (ns) identify this very
    version of the file. `received_at_s` is when the worker first saw it, in seconds since the epoch.
    `is_final` says that the file has not changed for `incomplete_after_s`: an empty or cut-off file is
    then answered as it is.
    """

    name: str
    kind: Kind
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    received_at_s: float
    is_final: bool = False


class Sight(NamedTuple):
    """What one look at a directory entry shows; two equal sights are the same version of the same file."""

    kind: Kind
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    def is_same_file(self, other: Sight) -> bool:
        """Whether both are one file, in whatever version."""
        return self[:3] == other[:3]

    def has_same_content(self, other: Sight) -> bool:
        """Whether both are one file with the same bytes; its owner, mode or links may have changed."""
        return self[:5] == other[:5]


_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFLNK: Kind.LINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
    stat.S_IFCHR: Kind.DEVICE,
    stat.S_IFBLK: Kind.DEVICE,
}


def arrival_at(path: str, *, follow: bool) -> Arrival:
    """The file at `path` as an arrival that will not change any more; OSError where there is none.

    With `follow` a link is what it leads to; its name is then the true path.
    """
    if follow:
        path = os.path.realpath(path)
    status = os.lstat(path)
    return Arrival(
        name=path,
        kind=_KINDS.get(stat.S_IFMT(status.st_mode), Kind.DEVICE),
        device=status.st_dev,
        inode=status.st_ino,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        received_at_s=time.time(),
        is_final=True,
    )


# --- by name ---------------------------------------------------------------------------------------------


def is_picture(base: str) -> bool:
    """Whether a file of this name (without its folder) is a picture by name."""
    return base.lower().endswith(PICTURE_ENDINGS)


class IgnoreRules:
    """Says which names are left alone: hidden ones, half-written ones, and those that a pattern names.

    `patterns` are shell patterns (`fnmatch`, upper and lower case differ). One with a `/` inside is held
    against the path below the inbox, any other against each name alone; they name files and folders.
    The fixed rules for half-written files (`*.part`, `*.tmp`, `~*`) hold for files only: folders are
    walked whatever their names, unless hidden.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        bare = [pattern.strip("/") for pattern in patterns if pattern.strip("/")]
        self._on_name = _any_of([pattern for pattern in bare if "/" not in pattern])
        self._on_path = _any_of([pattern for pattern in bare if "/" in pattern])

    def ignores_folder(self, base: str, name: str) -> bool:
        """Whether the folder `base`, which lies at the path `name`, is not walked."""
        return base.startswith(".") or self._is_named(base, name)

    def ignores_file(self, base: str, name: str) -> bool:
        """Whether the file `base`, which lies at the path `name`, is left alone."""
        return (
            base.startswith((".", "~"))
            or base.lower().endswith(HALF_WRITTEN_ENDINGS)
            or self._is_named(base, name)
        )

    def ignores(self, name: str) -> bool:
        """Whether the file at the path `name`, or a folder on the way to it, is ignored."""
        folder, _, base = name.rpartition("/")
        return self.ignores_file(base, name) or self.ignores_way(folder)

    def ignores_way(self, folder: str) -> bool:
        """Whether the folder at the path `folder`, or one on the way to it, is not walked; "" never is."""
        while folder:
            above, _, base = folder.rpartition("/")
            if self.ignores_folder(base, folder):
                return True
            folder = above
        return False

    def _is_named(self, base: str, name: str) -> bool:
        return bool(
            (self._on_name is not None and self._on_name.match(base))
            or (self._on_path is not None and self._on_path.match(name))
        )


def _any_of(patterns: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(translate(pattern) for pattern in patterns)) if patterns else None


# --- the settle rule -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Watched:
    """One entry of the inbox as the settle rule knows it.

    `changed_at_s` (monotonic) is when it was first seen or last seen changed. `is_closed`: since then its
    writer has closed it, or none is left. `has_writer`: somebody is known to have it open for writing.
    `is_unfinished`: this version was read and has no end.
    """

    name: str
    sight: Sight
    changed_at_s: float
    is_closed: bool = False
    has_writer: bool = False
    is_unfinished: bool = False

    def observe(self, sight: Sight, now_s: float) -> bool:
        """Take in a new look; True when the entry has changed, and then its clock starts anew."""
        if sight == self.sight:
            return False
        self.sight = sight
        self.restart(now_s)
        return True

    def restart(self, now_s: float) -> None:
        """Forget what was known about its writer: it changed just now."""
        self.changed_at_s = now_s
        self.is_closed = self.has_writer = self.is_unfinished = False


@dataclass(frozen=True, slots=True)
class SettleRule:
    """Says when an entry is ready; pure, in seconds of a monotonic clock.

    A file is ready at once when it was closed after its last change, otherwise when it has not changed
    for `settle_s`. Its own times prove nothing: copy tools set them; only changes that we saw count. An
    empty file, one that was found unfinished, and one that a writer is known to hold open wait for a
    change, but no longer than `incomplete_after_s` after the last one. What is no regular file is never
    opened, so there is nothing to wait for.
    """

    settle_s: float = 0.5
    incomplete_after_s: float = 30.0

    def waits_for_change(self, entry: Watched) -> bool:
        """Whether giving this version out would be too early, however quiet it is."""
        return entry.sight.kind is Kind.FILE and (
            entry.is_unfinished or entry.has_writer or entry.sight.size_bytes == 0
        )

    def due_s(self, entry: Watched) -> float:
        """When the entry is ready if nothing happens to it until then."""
        if self.waits_for_change(entry):
            return entry.changed_at_s + self.incomplete_after_s
        if entry.is_closed or entry.sight.kind is not Kind.FILE:
            return entry.changed_at_s
        return entry.changed_at_s + self.settle_s

    def next_look_s(self, entry: Watched, now_s: float) -> float:
        """When to look at the entry again: no later than `due_s`."""
        due_s = self.due_s(entry)
        if not self.waits_for_change(entry):
            return due_s
        quiet_s = now_s - entry.changed_at_s
        return min(due_s, now_s + max(self.settle_s, QUIET_SHARE * quiet_s, SHORTEST_LOOK_S))

    def is_final(self, entry: Watched, now_s: float) -> bool:
        """Whether an empty or cut-off file has been quiet for long enough to be answered as it is."""
        # The same sum as in due_s: a difference may fall a rounding error short of it.
        return now_s >= entry.changed_at_s + self.incomplete_after_s


# --- the folder itself -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlockedFolder:
    """A folder whose pictures wait because they cannot be read or moved away; `pictures` that were seen."""

    reason: str
    pictures: int


@dataclass(frozen=True, slots=True)
class _Rights:
    """What may be done in a folder: nothing (`blocked` says why), or move all, or only one's own files."""

    blocked: str | None
    own_only: bool


_FREE = _Rights(blocked=None, own_only=False)


@dataclass(slots=True)
class Walk:
    """One walk through a folder; the counts are complete once `pictures` is exhausted.

    With `must_move`, pictures that could not be moved away are not yielded: their folders are `blocked`.
    `on_step` is called with each folder and every few hundred entries.
    """

    root: str
    ignore: IgnoreRules
    must_move: bool = False
    on_step: Callable[[], None] = lambda: None
    foreign: int = 0
    linked_folders: int = 0
    blocked: dict[str, BlockedFolder] = field(default_factory=dict)

    def pictures(self, below: str = "") -> Iterator[tuple[str, int]]:
        """Yield (name below the root, inode) of each picture by name, of whatever kind, in no order.

        Links to folders are not followed. What vanishes meanwhile is no error; only when the root itself
        cannot be read a WorldError is raised.
        """
        folders = [] if self.ignore.ignores_way(below) else [below]
        while folders:
            folder = folders.pop()
            try:
                yield from self._pictures_in(folder, folders)
            except (FileNotFoundError, NotADirectoryError) as cause:
                self._need_root(cause)
            except OSError as cause:
                if not folder:
                    raise WorldError(f"reading the folder {self.root}", cause) from cause
                reason = _TOO_LONG if cause.errno == errno.ENAMETOOLONG else cause.strerror or str(cause)
                self.blocked[folder] = BlockedFolder(reason, 0)

    def _pictures_in(self, folder: str, folders: list[str]) -> Iterator[tuple[str, int]]:
        path = os.path.join(self.root, folder) if folder else self.root
        rights = rights_in(path) if self.must_move else _FREE
        room_bytes = PATH_LIMIT_BYTES - len(os.fsencode(path)) - 1
        held = too_long = 0
        self.on_step()
        with os.scandir(path) as entries:
            for number, entry in enumerate(entries, 1):
                if not number % STEP_ENTRIES:
                    self.on_step()
                name = f"{folder}/{entry.name}" if folder else entry.name
                if not self._is_picture(entry, name, folders):
                    continue
                if len(os.fsencode(entry.name)) > room_bytes:
                    too_long += 1
                elif rights.blocked or (rights.own_only and not _is_own(entry)):
                    held += 1
                else:
                    yield name, entry.inode()
        if held:
            reason = rights.blocked or "its sticky bit lets only the owner move files out of it"
            self.blocked[folder or "."] = BlockedFolder(reason, held)
        elif too_long:
            self.blocked[folder or "."] = BlockedFolder(_TOO_LONG, too_long)

    def _is_picture(self, entry: os.DirEntry[str], name: str, folders: list[str]) -> bool:
        """Put the entry where it belongs; True when it is a picture by name."""
        if entry.is_dir(follow_symlinks=False):
            if name == "lost+found":  # what mkfs puts into the root of a file system
                return False
            if not self.ignore.ignores_folder(entry.name, name):
                folders.append(name)
            return False
        if self.ignore.ignores_file(entry.name, name):
            return False
        if entry.is_symlink() and _leads_to_folder(entry.path):
            self.linked_folders += 1
            return False
        if not is_picture(entry.name):
            self.foreign += 1
            return False
        return True

    def _need_root(self, cause: OSError) -> None:
        if not os.path.isdir(self.root):
            raise WorldError(f"reading the folder {self.root}", cause) from cause


class Folder(Protocol):
    """What the intake must be told about the folder it serves."""

    def walk(self) -> Walk:
        """Start a walk; see `Walk`."""

    def look(self, name: str) -> Sight | None:
        """Show the entry of that name; None when no arrival is there. OSError when it cannot be told."""

    def has_writer(self, name: str, sight: Sight) -> bool | None:
        """Say whether somebody has the file open for writing; None when it cannot be told."""

    def is_blocked(self, name: str, sight: Sight) -> bool:
        """Say whether the entry could not be moved out of the folder it lies in."""

    def change_ignore(self, ignore: IgnoreRules) -> None:
        """Follow other ignore rules from now on."""


class Inbox:
    """The folder on disk, seen through the ignore rules; names are paths below it."""

    def __init__(
        self, root: Path | str, ignore: IgnoreRules, on_step: Callable[[], None] = lambda: None
    ) -> None:
        self._path = root
        self._on_step = on_step
        self._root = os.path.realpath(root)
        self._ignore = ignore
        self._leasing_device = _leasing_device(self._root)

    def change_ignore(self, ignore: IgnoreRules) -> None:
        """Follow other ignore rules from the next walk or look on."""
        self._ignore = ignore

    def walk(self) -> Walk:
        """Start a walk over the pictures that could be moved away once they are answered.

        An inbox that is a link is followed anew: it may lead elsewhere by now.
        """
        root = os.path.realpath(self._path)
        if root != self._root:
            self._root, self._leasing_device = root, _leasing_device(root)
        return Walk(self._root, self._ignore, must_move=True, on_step=self._on_step)

    def look(self, name: str) -> Sight | None:
        """Show the entry of that name, never following a link.

        None when nothing is there that could be an arrival: no such entry, no picture by name, an ignored
        one, a folder or a link to one. OSError when it cannot be told, because the entry may not be looked
        at or the inbox itself is gone.
        """
        if not is_picture(name) or self._ignore.ignores(name):
            return None
        path = os.path.join(self._root, name)
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(self._root):
                raise  # a share that is not mounted has lost no files
            return None
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None or (kind is Kind.LINK and _leads_to_folder(path)):
            return None
        return Sight(
            kind, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )

    def has_writer(self, name: str, sight: Sight) -> bool | None:
        """Say whether somebody has the file open for writing, where the file system is one to be believed."""
        if sight.device != self._leasing_device:
            return None
        return has_writer(os.path.join(self._root, name))

    def is_blocked(self, name: str, sight: Sight) -> bool:
        """Say whether the entry could not be moved out of the folder it lies in."""
        path = os.path.join(self._root, name)
        try:
            rights = rights_in(os.path.dirname(path))
            return rights.blocked is not None or (rights.own_only and os.lstat(path).st_uid != os.geteuid())
        except OSError:
            return True


def rights_in(path: str) -> _Rights:
    """Say whether files can be moved out of the folder at `path`; OSError when it is gone."""
    status = os.stat(path)
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        return _Rights("the worker's user may not move files out of it", own_only=False)
    if status.st_mode & stat.S_ISVTX and os.geteuid() not in (0, status.st_uid):
        return _Rights(blocked=None, own_only=True)
    return _FREE


def has_writer(path: str) -> bool | None:
    """Say whether anybody has the file at `path` open for writing; None when the kernel does not tell.

    By asking for a read lease (fcntl(2), F_SETLEASE), which the kernel refuses with EAGAIN while the file
    is open for writing. It needs the file's ownership or CAP_LEASE: a bonus, nothing to rely on.
    """
    try:
        # O_NONBLOCK: what lay at the path a moment ago may have become a FIFO.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Whoever opens the file for writing in these microseconds waits, and we get a signal. The usual
        # one, SIGIO, would end the process; SIGURG is ignored unless somebody asks for it.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(handle)


def file_system_of(path: str) -> str:
    """Name the type of the file system that `path` lies on, as the kernel spells it; "" when unknown."""
    real = os.fsencode(os.path.realpath(path))
    best, kind = b"", b""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return ""
    for line in mounts.splitlines():
        before, _, after = line.partition(b" - ")
        point = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), before.split(b" ")[4])
        is_above = real == point or real.startswith(point.rstrip(b"/") + b"/")
        # A later mount on the same point hides the earlier one.
        if is_above and len(point) >= len(best):
            best, kind = point, after.split(b" ")[0]
    return kind.decode("ascii", "replace")


def _leasing_device(root: str) -> int | None:
    """Name the device on which leases can be believed; None when the inbox lies on no such device."""
    if file_system_of(root) not in LEASES_ARE_HONEST_ON:
        return None
    try:
        return os.stat(root).st_dev
    except OSError:
        return None


def _leads_to_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:  # dangling, a loop, or behind a closed door: a link to no folder, as far as we can see
        return False


def _is_own(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except OSError:  # it vanished, or is closed to us
        return False
