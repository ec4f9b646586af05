"""Log lines: pretty on a terminal, JSON otherwise; one event a unit of work, always on stderr."""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_last_error: list[dict[str, object]] = []  # at most one
_NOT_SAID_AGAIN = {"event", "level", "timestamp", "exc_info", "batch"}


def last_error() -> dict[str, object] | None:
    """The last event of level error in this process: `event`, `text` (its fields) and `at_s` (epoch)."""
    return _last_error[0] if _last_error else None


def _remember_error(
    _logger: object, method: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if method in ("error", "exception", "critical"):
        told = "; ".join(f"{key}: {value}" for key, value in fields.items() if key not in _NOT_SAID_AGAIN)
        _last_error[:] = [{"event": str(fields.get("event")), "text": told[:500], "at_s": time.time()}]
    return fields


class _Stderr:
    """Writes lines to stderr; a log that cannot be written (full disk, reader gone) never stops the work."""

    def msg(self, message: str) -> None:
        try:
            print(message, file=sys.stderr, flush=True)
        except (OSError, ValueError):
            return

    log = debug = info = warning = warn = error = err = critical = fatal = exception = failure = msg


def configure_logs(
    level: Literal["debug", "info", "warning", "error"], form: Literal["auto", "console", "json"]
) -> None:
    """From here on events from `level` up go to stderr in `form`; libraries' warnings join them."""
    pretty = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _remember_error,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    finish: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if pretty
        else [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(ensure_ascii=True),  # names may hold bytes that are no UTF-8
        ]
    )
    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=False,
    )
    foreign = logging.StreamHandler(sys.stderr)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    logging.raiseExceptions = False  # a handler that cannot write says so on stderr, over and over
    root = logging.getLogger()
    root.handlers[:] = [foreign]
    root.setLevel(logging.WARNING)


def get_log() -> structlog.typing.FilteringBoundLogger:
    """The logger; event names are snake_case and listed in docs/reference/log-events.md."""
    return structlog.get_logger()  # type: ignore[no-any-return]
