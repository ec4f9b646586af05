"""How much was done lately: counts over the last minute and the last quarter of an hour."""

from __future__ import annotations

from collections import deque

WINDOWS_S = {"per_s_1min": 60.0, "per_s_15min": 900.0}
_LONGEST_S = max(WINDOWS_S.values())


class Rates:
    """Counts by second, for `_LONGEST_S` seconds; pure, in seconds of a monotonic clock."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self._counts: deque[tuple[int, int]] = deque()  # (second, how many), the oldest first

    def add(self, count: int, now_s: float) -> None:
        """Note that `count` things were done now."""
        second = int(now_s)
        if self._counts and self._counts[-1][0] == second:
            count += self._counts.pop()[1]
        self._counts.append((second, count))
        self._forget(now_s)

    def rates(self, now_s: float) -> dict[str, float]:
        """Things a second over each window of `WINDOWS_S`, or since the beginning where that is shorter."""
        self._forget(now_s)
        found = {}
        for name, window_s in WINDOWS_S.items():
            done = sum(count for second, count in self._counts if second > now_s - window_s)
            found[name] = round(done / max(1.0, min(window_s, now_s - self._began_s)), 3)
        return found

    def _forget(self, now_s: float) -> None:
        while self._counts and self._counts[0][0] <= now_s - _LONGEST_S:
            self._counts.popleft()
