"""The lock of a folder: one worker owns it, and nobody else."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Self

from worker.delivery.disk import HIDDEN, make_folder
from worker.errors import FoldersError, OwnedElsewhereError, WorldError

_TRIES = 5
_PAUSE_S = 0.03


class FolderLock:
    """The right to be the only worker of a folder, held until released or until the process ends.

    It hangs on the lock file's inode, so a folder is recognised whatever path leads to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / HIDDEN / "lock"
        self._fd: int | None = None
        self._device: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises OwnedElsewhereError naming the owner, FoldersError, or WorldError."""
        fd = self._open()
        try:
            _lock(fd)
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
        self._device = os.fstat(fd).st_dev

    def ensure(self) -> None:
        """Lock the folder that is at this path now, where it is no longer the one that was locked.

        Raises WorldError while there is none, OwnedElsewhereError where somebody else was quicker. A folder
        on another file system that was never a worker's is none: a mount point shows one when its mount is
        gone, and what is written there is hidden when the mount comes back.
        """
        if self.still_holds():
            return
        # The one that is gone is let go first: held open, its file system could not be repaired.
        self.release()
        if self._is_bare_mount_point():
            cause = "it lies on another file system than before and was never used: is it mounted?"
            raise WorldError(f"using {self._folder}", OSError(errno.ENODEV, cause))
        try:
            self.acquire()
        except FoldersError as error:
            missing = OSError(errno.ENOENT, "it is missing or cannot be written to")
            raise WorldError(f"locking {self._folder} again", missing) from error

    def release(self) -> None:
        """Give the lock up. The file stays: removing it would let two workers lock two files of one name."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):  # of a share that is dead; the descriptor is gone all the same
                os.close(fd)

    def still_holds(self) -> bool:
        """Whether the folder at this path is still the one that was locked: not removed, not mounted over."""
        if self._fd is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self._path))
        except OSError:
            return False

    def _is_bare_mount_point(self) -> bool:
        try:
            device = os.stat(self._folder).st_dev
        except OSError:
            return False
        return self._device not in (None, device) and not os.path.lexists(self._path)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _open(self) -> int:
        try:
            make_folder(str(self._path.parent))
            return os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WorldError(f"locking {self._folder}", error) from error
            raise FoldersError(
                f"{self._folder} is missing or cannot be written to ({error.strerror})."
                " Make it, and give this user the right to write there."
            ) from error


def _lock(fd: int) -> None:
    """Lock or raise BlockingIOError; patient for a moment, since `status` looks by locking, too."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
