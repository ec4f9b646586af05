"""What C libraries print stays out of the journal, and is there when it matters: after a crash.

libpng, libjpeg and TensorFlow print to file descriptor 2 as they like. Under systemd that is the journal,
where a flood of odd pictures would drown the log. So the descriptor leads to a small file in memory
instead (RuntimeDirectory=), while Python's own words - log, tracebacks, what faulthandler prints in a
crash - keep going to the journal through a descriptor of their own. A file, and no pipe: the last words
of a dying process stay in it, and the next start logs them.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.errors import WorkerError
from worker.logs import get_log, leads_to_journal
from worker.processes import KEPT_BYTES, last_lines


class NativeWords:
    """The file behind descriptor 2; without a path nothing is turned aside and nothing is to be done."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def tidy(self) -> None:
        """Forget old words when they have grown long; cheap, to be called every few seconds."""
        if self._path is None:
            return
        # The file is written in append mode: after this the next word simply stands at its beginning.
        with contextlib.suppress(OSError):
            if os.fstat(2).st_size > KEPT_BYTES:
                os.ftruncate(2, 0)

    def last_lines(self) -> list[str]:
        """The last lines that were printed, as plain ASCII; none where nothing was."""
        if self._path is None:
            return []
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - KEPT_BYTES))
                return last_lines(file.read())
        except OSError:
            return []


@contextlib.contextmanager
def native_words_kept_apart(environment: Mapping[str, str]) -> Iterator[NativeWords]:
    """Turn descriptor 2 aside where it leads to the journal, and log what an earlier run printed last.

    Without a RUNTIME_DIRECTORY, or where nothing can be written there, the words are dropped.
    """
    if not leads_to_journal(environment):
        yield NativeWords(None)
        return
    folder = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    path = Path(folder) / "native.log" if folder else Path(os.devnull)
    words = NativeWords(path)
    earlier = [] if not folder else words.last_lines()
    was_stderr, was_enabled = sys.stderr, faulthandler.is_enabled()
    own = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)
    with os.fdopen(own, "w", buffering=1, encoding="utf-8", errors="backslashreplace") as journal:
        sys.stderr = journal
        faulthandler.enable(journal)
        _lead_aside(path)
        if earlier:
            get_log().warning("earlier_run_ended_badly", native_words=earlier)
        try:
            yield words
            _forget(path)
        except (WorkerError, KeyboardInterrupt):
            _forget(path)
            raise
        finally:
            sys.stderr = was_stderr
            os.dup2(own, 2)
            faulthandler.disable()
            if was_enabled:
                faulthandler.enable(was_stderr)


def _lead_aside(path: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC
    try:
        aside = os.open(path, flags, 0o600)
    except OSError:
        aside = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(aside, 2)
    os.close(aside)


def _forget(path: Path) -> None:
    """An orderly end has no last words."""
    if path != Path(os.devnull):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
