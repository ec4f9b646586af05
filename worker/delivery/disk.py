"""Small steps on the disk that the standard library lacks, or takes less carefully."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os

HIDDEN = ".digit-worker"  # the worker's own folder, in the inbox and in the outbox
STAGING = f"{HIDDEN}/staging"  # below the outbox

# Up to so many staged files get an fsync each, above it one syncfs serves all. syncfs is the faster one
# from the first file on (ext4, quiet disk: 0.3 against 0.4 ms for 1 file, 3 against 21 ms for 64), but it
# waits for everybody's dirty data (300 MB of a neighbour's: 120 ms against 2 ms for 2 files). So a lone
# picture does not wait for neighbours, and a flood is not slowed down by being careful.
FEW_FILES = 4
ATTEMPTS = 8  # at what somebody else may spoil meanwhile: a free name, a folder
IN_THE_WAY = (FileExistsError, NotADirectoryError, IsADirectoryError)  # what a rename says of a held name
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)
_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


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


def rename_making_folders(source: str, target: str, *, fresh: bool, outbox: str) -> None:
    """Rename, making the folders below `outbox` that the target needs; `fresh` takes nobody's place.

    FileNotFoundError means the source is gone.

    New folders need no sync of their own: the syncfs before the entry is cleared covers them, and until
    then recovery would make them again.
    """
    move = rename_fresh if fresh else os.rename
    for _ in range(ATTEMPTS):  # consumers may remove an emptied folder under our hands
        try:
            move(source, target)
        except FileNotFoundError:
            if not os.path.lexists(source):
                raise
            if not os.path.lexists(
                f"{outbox}/{STAGING}"
            ):  # never build a new outbox where one was taken away
                raise OSError(errno.ESTALE, "the outbox is gone", outbox) from None
            os.makedirs(os.path.dirname(target), exist_ok=True)
        else:
            return
    raise OSError(errno.ESTALE, "its folder vanishes again and again", target)


def sync_file_system(fd: int) -> None:
    """Make everything durable that was written to the file system of `fd` (syncfs(2))."""
    if _libc.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def rename_crosses(inbox: str, outbox: str) -> bool:
    """Whether inbox and outbox, their hidden folders made, are two mounts; found out by trying a rename."""
    # Tried, since equal device numbers prove nothing: two bind mounts of one file system refuse as well.
    probe, target = f"{inbox}/{HIDDEN}/probe", f"{outbox}/{STAGING}/probe"
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


def write_new_file(path: str, data: bytes, *, sync: bool) -> None:
    """Write a file that must not exist yet, whole or not at all as far as errors can tell.

    A failed `fsync` is never tried again on the same file: the kernel may have dropped the pages and marked
    them clean, so that a second `fsync` reports a success that never was ("fsyncgate", PostgreSQL 2018;
    Rebello et al., USENIX ATC 2020, "Can Applications Recover from fsync Failures?"). The error goes up,
    the file is swept, and the next attempt writes a new one.
    """
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        written = os.write(fd, data)
        while written < len(data):  # a nearly full disk takes a part, and refuses only the next write
            written += os.write(fd, data[written:])
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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


def make_folder(path: str, mode: int = 0o777) -> None:
    """Make a folder that may be there already; its parent must be."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)


def require_inbox(inbox: str) -> None:
    """Raise FileNotFoundError where the inbox as a whole is gone: then nothing says where a file went."""
    os.lstat(f"{inbox}/{HIDDEN}")
