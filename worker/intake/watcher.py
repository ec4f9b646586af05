"""Turns what happens in the inbox into hints to look; by inotify, or by looking every so often.

The only module that knows watchdog. A hint may be late, doubled, wrong or missing: whoever follows the
hints looks at the directory, and scans it now and then.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from watchdog.events import (
    DirCreatedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
    FileSystemMovedEvent,
)
from watchdog.observers.api import BaseObserver, EventEmitter
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

from worker.errors import WorldError
from worker.intake.arrivals import file_system_of
from worker.intake.queue import Hints

Mode = Literal["inotify", "polling"]

# watchdog holds the first half of a rename back, and every later event with it, until the second half
# comes: by default for half a second. The kernel queues both halves together, so they meet at once; but
# a folder that is moved out of the inbox has no second half, and the events behind it would wait.
MOVE_PAIRING_S: Final = 0.002

# No opening, no closing after reading, no modification: the worker's own reads would fill the queue.
_EVENTS: Final[list[type[FileSystemEvent]]] = [
    FileClosedEvent,
    FileMovedEvent,
    FileCreatedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]

# On these, changes made on another machine (or on the other side of the daemon) cause no events.
_SILENT_FILE_SYSTEMS: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)

_STOP_TIMEOUT_S: Final = 5.0


def lies_elsewhere(file_system: str) -> bool:
    """Whether another machine, or a daemon, keeps what is on a file system of this kind (`file_system_of`)."""
    return file_system.partition(".")[0] in _SILENT_FILE_SYSTEMS


class Watcher:
    """Watches one inbox and fills `hints`; each start asks for a scan, since nobody watched before it.

    `mode` "auto" polls on network file systems, where events are silent, and uses inotify elsewhere. Where
    the kernel refuses a watch it polls, and `fallback` says why and what to do. Polling asks for a scan
    every `poll_interval_s`.

    `mode` is what is in use now. `overflows` counts how often the kernel lost events, `surprises` how
    often an event could not be handled; each of both asked for a scan.
    """

    def __init__(
        self,
        inbox: Path | str,
        hints: Hints,
        mode: Literal["inotify", "polling", "auto"] = "auto",
        poll_interval_s: float = 1.0,
    ) -> None:
        self.mode: Mode = "inotify"
        self.fallback: str | None = None
        self.overflows = 0
        self.surprises = 0
        self._inbox = os.fspath(inbox)
        self._hints = hints
        self._wanted = mode
        self._poll_interval_s = poll_interval_s
        self._watched: tuple[int, int] | None = None
        self._root = self._inbox
        self._below = f"{self._inbox}/"
        self._kernel: _Kernel | None = None
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Begin to watch. WorldError when the inbox is not there."""
        # inotify watches a link itself, not the folder it leads to.
        self._root = os.path.realpath(self._inbox)
        self._below = self._root.rstrip("/") + "/"
        try:
            self._watched = _identity(self._root)
        except OSError as cause:
            raise WorldError(f"watching the inbox {self._inbox}", cause) from cause
        self.fallback = None
        self.mode = self._choose()
        if self.mode == "inotify":
            try:
                self._start_inotify()
            except OSError as cause:
                self.stop()
                self.mode = "polling"
                self.fallback = _advice(cause)
        if self.mode == "polling":
            self._start_polling()
        self._hints.everything()

    def stop(self) -> None:
        """Stop watching; may be called at any time, and more than once."""
        observer, self._observer = self._observer, None
        kernel, self._kernel = self._kernel, None
        if observer is not None:
            observer.stop()
        if kernel is not None:
            kernel.stop()
        for thread in (observer, kernel):
            if thread is not None and thread.ident is not None:
                thread.join(_STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Stop and start again; what happened in between is found by the scan that this asks for."""
        self.stop()
        self.start()

    def is_alive(self) -> bool:
        """Say whether hints still come: every thread runs, and the watched folder is still the inbox."""
        observer, kernel = self._observer, self._kernel
        if observer is None or not observer.is_alive() or not observer.emitters:
            return False
        # The observer lives on when an emitter or the kernel's reader has died.
        if not all(emitter.is_alive() for emitter in observer.emitters):
            return False
        if kernel is not None and (not kernel.is_alive() or kernel.refusal is not None):
            return False
        try:
            return _identity(os.path.realpath(self._inbox)) == self._watched
        except OSError:
            return False

    def _choose(self) -> Mode:
        if self._wanted != "auto":
            return self._wanted
        return "polling" if lies_elsewhere(file_system_of(self._root)) else "inotify"

    def _start_inotify(self) -> None:
        InotifyMoveEventGrouper.delay = MOVE_PAIRING_S
        for name in ("watchdog.observers.inotify_c", "watchdog.observers.inotify"):
            logging.getLogger(name).addFilter(_is_news)
        self._kernel = _Kernel(os.fsencode(self._root), self._file_came, self._lost_events)
        self._kernel.start()
        self._observer = BaseObserver(InotifyEmitter, inotify_fd=self._kernel)
        self._observer.schedule(
            _Handler(self), self._root, recursive=True, event_filter=_EVENTS, follow_symlink=False
        )
        self._observer.start()
        if self._kernel.refusal is not None:
            raise self._kernel.refusal

    def _start_polling(self) -> None:
        self._observer = BaseObserver(_Ticker, timeout=self._poll_interval_s)
        self._observer.schedule(_Handler(self), self._root, event_filter=[DirModifiedEvent])
        self._observer.start()

    def _file_came(self, name: bytes, closed: bool) -> None:
        """Pass on that something happened to a file of the inbox itself, in the kernel reader's thread."""
        try:
            if not name.startswith(b"."):
                self._hints.file(os.fsdecode(name), closed=closed)
        except Exception:
            self.surprises += 1
            self._hints.everything()

    def _lost_events(self) -> None:
        self.overflows += 1
        self._hints.everything()

    def hint(self, event: FileSystemEvent) -> None:
        """Pass on what an event tells, in the observer's thread; never raises, which would end it."""
        try:
            self._hint(event)
        except Exception:
            self.surprises += 1
            self._hints.everything()

    def _hint(self, event: FileSystemEvent) -> None:
        if isinstance(event, DirModifiedEvent):
            self._hints.everything()
            return
        path = os.fsdecode(event.dest_path if isinstance(event, FileSystemMovedEvent) else event.src_path)
        if not path.startswith(self._below):
            return
        name = path[len(self._below) :]
        if name.startswith(".") or "/." in name:  # hidden
            return
        if event.is_directory:
            self._hints.folder(name)
        else:
            self._hints.file(name, closed=isinstance(event, FileClosedEvent))


class _Handler(FileSystemEventHandler):
    """What watchdog calls with each event."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def dispatch(self, event: FileSystemEvent) -> None:
        self._watcher.hint(event)


class _Kernel(InotifyFD):
    """One inotify instance that says when it loses events, and what it was refused.

    watchdog keeps quiet about both: it logs the first, and passes over sub-folders it cannot watch.

    What happens to files of the inbox itself is told to `file_came` (name; whether its writer closed it) at once:
    on its way through watchdog's two other threads a file would cost as much as reading a tile takes. Folders, and
    what is in them, go that way: it knows which of them were moved.
    """

    def __init__(
        self, root: bytes, file_came: Callable[[bytes, bool], None], lost_events: Callable[[], None]
    ) -> None:
        super().__init__()
        self.refusal: OSError | None = None
        self._root = root
        self._root_wd: WatchDescriptor | None = None
        self._file_came = file_came
        self._lost_events = lost_events

    def add_callback(
        self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId
    ) -> WatchDescriptor:
        below = path[len(self._root) :]
        if b"/." in below:
            # The worker's own hidden folder is the busiest of all; nobody needs to hear of it. watchdog
            # passes over a sub-folder that raises.
            raise FileNotFoundError(errno.ENOENT, "hidden folders are not watched")
        if not os.access(path, os.R_OK):
            # watchdog would take the kernel's EACCES for a watch. The scan names such a folder.
            raise PermissionError(errno.EACCES, "may not be watched")
        try:
            descriptor = super().add_callback(path, mask, callback, id_)
        except OSError as cause:
            if cause.errno in (errno.ENOSPC, errno.EMFILE, errno.ENOMEM) or not below:
                self.refusal = cause
            raise
        if not below:
            self._root_wd = descriptor
        return descriptor

    def handle_event(self, event: InotifyEvent) -> None:
        # A file that leaves a name gives nothing to look at, and every original that the worker retires does:
        # half of all events. Without its first half a rename within the inbox is a file that came.
        if event.is_moved_from and not event.is_directory:
            return
        if event.wd == self._root_wd and event.name and not event.is_directory:
            if event.is_close_write or event.is_moved_to or event.is_create:
                self._file_came(event.name, event.is_close_write)
            return
        super().handle_event(event)
        if event.is_queue_overflow:
            self._lost_events()


class _Ticker(EventEmitter):
    """Says "look" at every interval.

    watchdog's own polling remembers every entry, compares two such memories at every turn, and ends for
    good when the folder is away for a moment; the intake's scan finds the same for a fraction of that.
    """

    def queue_events(self, timeout: float) -> None:
        if not self.stopped_event.wait(timeout):
            self.queue_event(DirModifiedEvent(self.watch.path))


def _is_news(record: logging.LogRecord) -> bool:
    """Keep out of the log what is dealt with here: overflows are counted and lead to a scan."""
    message = str(record.msg)
    is_overflow = message.startswith("Inotify queue overflowed")
    is_end = message.endswith("called when the thread is inactive")  # said as an error at an ordinary stop
    return not (is_overflow or is_end)


def _advice(cause: OSError) -> str:
    """Tell a person why events are not used, and what to do."""
    if cause.errno == errno.EMFILE:
        limit = "fs.inotify.max_user_instances"
    elif cause.errno == errno.ENOSPC:
        limit = "fs.inotify.max_user_watches"
    else:
        return f"inotify does not work here ({cause.strerror or cause}); the inbox is polled instead."
    return (
        f"the limit {limit} is reached, so the inbox is polled instead. Raise it with sysctl, then restart."
    )


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
