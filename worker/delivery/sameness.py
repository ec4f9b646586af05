"""Sameness: whether a file still is what was read, and whether two files hold the same bytes."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from worker.delivery.disk import digest_of
from worker.delivery.journal import Identity
from worker.intake.arrivals import Kind

if TYPE_CHECKING:
    from worker.intake.arrivals import Arrival


def identity_of(arrival: Arrival) -> Identity:
    """The identity of the version that arrived."""
    return Identity(arrival.device, arrival.inode, arrival.size_bytes, arrival.mtime_ns, arrival.ctime_ns)


def is_same(kind: Kind, read: Identity, now: Identity) -> bool:
    """Whether a source still is what was read. Times of a FIFO or a device change by mere use."""
    if kind in (Kind.FILE, Kind.LINK):
        return read.outlives_restart() == now.outlives_restart()
    return read.inode == now.inode


def same_but_ctime(one: Identity, other: Identity) -> bool:
    """Whether nothing but the ctime differs (and the device, whose number may change at a reboot)."""
    return one.outlives_restart()[:3] == other.outlives_restart()[:3]


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


def has_digest(path: str, sha256: str | None) -> bool:
    """Whether the file's bytes have this SHA-256; what is gone or unreadable has none."""
    try:
        return digest_of(path) == sha256
    except (FileNotFoundError, PermissionError):
        return False
