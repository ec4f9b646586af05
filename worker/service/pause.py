"""What the driver does while the world is at fault: wait, growing longer, and try again by itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

from worker.errors import WorldError
from worker.logs import get_log

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0


@dataclass(slots=True)
class Pause:
    """What is wrong with the world, since when (epoch), and when to try again (monotonic)."""

    what: str | None = None
    since_s: float = 0.0
    tries: int = 0
    retry_at_s: float = 0.0

    def begin(self, fault: WorldError, now_s: float) -> None:
        """Note a fault, new or still there; `retry_at_s` says when to try again."""
        if self.what is None:
            self.since_s = time.time()
        if self.what != str(fault):
            get_log().error("paused", what=str(fault))
        self.what = str(fault)
        self.retry_at_s = now_s + min(FIRST_PAUSE_S * 2**self.tries, LONGEST_PAUSE_S)
        self.tries = min(self.tries + 1, 20)

    def lift(self) -> None:
        """Note that it is worth going on; the next fault waits longer still until something has succeeded."""
        if self.what is not None:
            get_log().info("resumed", after_s=round(time.time() - self.since_s, 1))
            self.what = None

    def end(self) -> None:
        """Note that something succeeded: the world is well."""
        self.lift()
        self.tries = 0
