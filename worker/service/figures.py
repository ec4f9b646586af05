"""What was done, in figures: rates for the status, and metrics for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from worker.logs import get_log
from worker.outcome import Outcome
from worker.service.rates import Rates
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.service.metrics import Metrics

WRITE_EVERY_S = 10.0


class Figures:
    """Counts what the driver tells and says it on; from one thread. Nothing here ever stops the work."""

    def __init__(self, settings: Settings, began_s: float | None = None) -> None:
        self._path = settings.metrics_path
        self._port = settings.metrics_port
        self._rates = Rates(time.monotonic() if began_s is None else began_s)
        self._metrics: Metrics | None = None
        self._next_write_s = 0.0
        self._is_hindered = False
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Write to the file that these settings name from now on."""
        self._path = settings.metrics_path
        self._next_write_s = 0.0
        if self._metrics is None and (self._path is not None or self._port):
            from worker.service.metrics import Metrics

            self._metrics = Metrics()

    def serve(self) -> None:
        """Serve the metrics at the configured port, if there is one."""
        if self._metrics is not None and self._port:
            self._metrics.serve(self._port)

    def close(self) -> None:
        """Serve no more."""
        if self._metrics is not None:
            self._metrics.close()

    def batch(self, outcomes: Sequence[Outcome], took_s: float, now_s: float) -> None:
        """Note the answers of a batch that was just published."""
        self._rates.add(len(outcomes), now_s)
        if self._metrics is not None:
            now_epoch_s = time.time()
            self._metrics.batch(
                (now_epoch_s - outcome.arrival.received_at_s for outcome in outcomes),
                (outcome.reason.code.value for outcome in outcomes if outcome.reason is not None),
                took_s,
            )

    def rates(self, now_s: float) -> dict[str, float]:
        """Answers a second, over the last minute and the last quarter of an hour."""
        return self._rates.rates(now_s)

    def publish(self, status: Mapping[str, Any], *, is_last: bool) -> None:
        """Take over a status, and write the file when its time has come."""
        if self._metrics is None:
            return
        self._metrics.status(status)
        now_s = time.monotonic()
        if self._path is None or not (is_last or now_s >= self._next_write_s):
            return
        self._next_write_s = now_s + WRITE_EVERY_S
        try:
            self._metrics.write(self._path)
        except OSError as error:
            if not self._is_hindered:
                get_log().warning("metrics_not_written", why=error.strerror or str(error))
            self._is_hindered = True
        else:
            self._is_hindered = False
