"""Is there another model at the model's place? Told from a look at two files, never from their content."""

from __future__ import annotations

import os
from pathlib import Path

from worker.recognition.card import CARD_FILE, MODEL_FILE

SETTLE_S = 1.0  # so long the files must be as they are before they are tried
GRACE_S = 10.0  # so long what was tried in vain may be a state in between, and nobody is told

Marks = tuple[int, int, int, int, int]
Signature = tuple[Marks | None, ...]
_NO_CARD: Marks = (0, 0, 0, 0, 0)


def signature_of(model: Path) -> Signature:
    """What tells one version of the files at `model` from another; None stands for a file that is not there.

    Links are followed, so a swapped link shows, and so do exchanged folders. It costs two stats.
    """
    try:
        inside = _marks(os.stat(model / MODEL_FILE))
    except NotADirectoryError:
        own = _marks_of(model)
        if model.name == MODEL_FILE:  # the file in a bundle: its card counts, where there is one
            return own, _marks_of(model.parent / CARD_FILE) or _NO_CARD
        return (own,)
    except OSError:
        inside = None
    return inside, _marks_of(model / CARD_FILE)


def _marks_of(path: Path) -> Marks | None:
    try:
        return _marks(os.stat(path))
    except OSError:
        return None


def _marks(status: os.stat_result) -> Marks:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class ModelWatch:
    """Says when to try what lies at the model's place; pure, in seconds of a monotonic clock.

    Each version of the files is tried once, when it has been left alone for `SETTLE_S` (an incomplete one
    only after `GRACE_S`). So a copy that is made file by file is waited for.
    """

    def __init__(self, served: Signature) -> None:
        self._tried = self._seen = served
        self._seen_since_s = float("-inf")

    def is_worth_a_try(self, found: Signature, now_s: float) -> bool:
        """Take in a look; True when what is there should be tried now, which then counts as done."""
        if found != self._seen:
            self._seen, self._seen_since_s = found, now_s
        if found == self._tried:
            return False
        if now_s - self._seen_since_s < (GRACE_S if None in found else SETTLE_S):
            return False
        self._tried = found
        return True

    def note_try(self, found: Signature, now_s: float) -> None:
        """Note that what is there is tried, or served, whatever was known of it."""
        if found != self._seen:
            self._seen, self._seen_since_s = found, now_s
        self._tried = found

    def try_again(self) -> None:
        """Forget the last try: it ended for a reason that has nothing to do with the files."""
        self._tried = ()

    def is_settled_for_good(self, now_s: float) -> bool:
        """Whether the files have been left alone for so long that what they are is meant."""
        return now_s - self._seen_since_s >= GRACE_S
