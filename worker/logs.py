"""Log lines: pretty on a terminal, JSON otherwise; one event a unit of work, always on stderr.

In the journal each line carries its priority, in front, as sd-daemon(3) says: `journalctl -p warning` works.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Literal, TextIO

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # as syslog(3) counts


def leads_to_journal(environment: Mapping[str, str]) -> bool:
    """Whether stderr, on whatever descriptor, is the very stream to the journal that JOURNAL_STREAM names."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class _JournalLine:
    """Renders one line of JSON with its priority in front."""

    def __init__(self) -> None:
        self._json = structlog.processors.JSONRenderer(ensure_ascii=True)

    def __call__(
        self, logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
    ) -> str:
        priority = PRIORITIES.get(str(event.get("level")), PRIORITIES["info"])
        return f"<{priority}>{self._json(logger, name, event)!s}"


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
            sys.stderr.write(message + "\n")  # at once: several threads and their lines
            sys.stderr.flush()
        except (OSError, ValueError):
            return

    log = debug = info = warning = warn = error = err = critical = fatal = exception = failure = msg


class _ForeignHandler(logging.StreamHandler[TextIO]):
    """Writes libraries' warnings to what stderr is at that moment."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure_logs(
    level: Literal["debug", "info", "warning", "error"], form: Literal["auto", "console", "json"]
) -> None:
    """From here on events from `level` up go to stderr in `form`; libraries' warnings join them.

    In the journal `auto` and `json` mean JSON with priorities.
    """
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
            # ASCII, because names may hold bytes that are no UTF-8
            _JournalLine()
            if leads_to_journal(os.environ)
            else structlog.processors.JSONRenderer(ensure_ascii=True),
        ]
    )
    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=False,
    )
    foreign = _ForeignHandler()
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
    logging.captureWarnings(capture=True)


def get_log() -> structlog.typing.FilteringBoundLogger:
    """The logger; event names are snake_case and listed in docs/reference/log-events.md."""
    return structlog.get_logger()  # type: ignore[no-any-return]
