"""The child process of a trial: reads one suspect after the other, as the worker would, and says that it lived.

Started anew, never forked from the worker: a process that has imported TensorFlow has threads.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import pickle
import resource
import sys
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from worker.errors import WorldError
from worker.intake.arrivals import Arrival, Kind
from worker.processes import OTHER_PROGRAM, dies_with, only_the_parent_ends_it, program
from worker.reading import Reader, ReadingSettings

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """What the child is told first: how and where to read, and what one suspect may take."""

    root: str
    reading: ReadingSettings
    labels: int
    cpu_s: float
    memory_bytes: int
    parent: int


def nothing_expected(_name: str) -> None:
    """Say that nothing is expected of a picture of that name."""


class _NoModel:
    """Stands for the model: says nothing about any tile. What the network does, its input cannot change."""

    def __init__(self, labels: int) -> None:
        self._labels = labels

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.zeros((len(tiles), self._labels), np.float32)


def main() -> int:
    """Serve suspects from stdin until it ends; one word a line goes back.

    The command line names the worker's program: another one would misunderstand what it is sent.
    """
    if sys.argv[1] != program():
        return OTHER_PROGRAM
    # Libraries that print must not speak for us.
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    only_the_parent_ends_it()
    orders = sys.stdin.buffer
    settings = _received(orders)
    if not isinstance(settings, TrialSettings) or not dies_with(settings.parent):
        return 0
    reader = Reader(settings.root, _NoModel(settings.labels), settings.reading, threads=1)
    ceiling_bytes = _confine(settings.memory_bytes)
    say.write("ready\n")
    while isinstance(arrival := _received(orders), Arrival):
        _allow_cpu(settings.cpu_s)
        _fetch(settings.root, arrival, settings.reading.limits.max_file_bytes)
        say.write("began\n")
        say.write(_tried(reader, arrival, ceiling_bytes) + "\n")
    return 0


def _tried(reader: Reader, arrival: Arrival, ceiling_bytes: int | None) -> str:
    try:
        reader.read([arrival])
    except WorldError as fault:
        if fault.cause.errno == errno.ENOMEM and ceiling_bytes and _has_room_up_to(ceiling_bytes):
            return "memory"
        return "void"
    return "lived"


def _received(orders: IO[bytes]) -> object:
    try:
        return pickle.load(orders)  # noqa: S301 - from the worker that started this process
    except EOFError:
        return None


def _confine(memory_bytes: int) -> int | None:
    """Take away what reading a picture does not need; returns the limit on the address space."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    ceiling_bytes = _address_space_bytes() + memory_bytes
    return ceiling_bytes if _limit(resource.RLIMIT_AS, ceiling_bytes) else None


def _limit(what: int, most: int) -> bool:
    try:
        hard = resource.getrlimit(what)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(what, (most, hard))
    except (OSError, ValueError):  # refused by a sandbox: the worker's own clock is still there
        return False
    return True


def _allow_cpu(cpu_s: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + cpu_s))


def _address_space_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _has_room_up_to(ceiling_bytes: int) -> bool:
    """Whether the machine would have given what the limit refused: then the picture asked for too much."""
    missing = ceiling_bytes - _address_space_bytes() - _BLOCK_BYTES
    if missing <= 0:
        return True
    try:
        mmap.mmap(-1, missing).close()
    except (OSError, ValueError, MemoryError):
        return False
    return True


def _fetch(root: str, arrival: Arrival, limit_bytes: int) -> None:
    """Have the content in the page cache: a slow disk or share must not count as the picture's time."""
    if arrival.kind is not Kind.FILE:
        return
    path = os.path.join(root, arrival.name)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        left = limit_bytes
        while left > 0 and (part := os.read(handle, _BLOCK_BYTES)):
            left -= len(part)
    except OSError:
        pass
    finally:
        os.close(handle)
