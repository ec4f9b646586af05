"""While the world is at fault the driver waits, growing longer, up to 15 seconds."""

from __future__ import annotations

from worker.errors import WorldError
from worker.service.pause import LONGEST_PAUSE_S, Pause

FULL = WorldError("writing", OSError(28, "No space left on device"))


def test_pauses_grow_up_to_the_longest() -> None:
    pause = Pause()
    lengths = []
    for _ in range(9):
        pause.begin(FULL, now_s=100.0)
        lengths.append(pause.retry_at_s - 100.0)
    assert lengths[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert lengths[5:] == [LONGEST_PAUSE_S] * 4


def test_since_is_the_first_fault_and_the_end_forgets_it() -> None:
    pause = Pause()
    pause.begin(FULL, now_s=0.0)
    since_s = pause.since_s
    pause.begin(WorldError("renaming", OSError(30, "Read-only file system")), now_s=9.0)
    assert pause.since_s == since_s
    assert pause.what is not None
    assert "Read-only" in pause.what
    pause.end()
    assert not pause.what
    pause.begin(FULL, now_s=20.0)
    assert pause.retry_at_s == 20.5
