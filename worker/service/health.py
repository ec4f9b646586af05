"""What the running worker says of itself: a small file, written anew every few seconds, and its reader."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker import __version__
from worker.delivery.disk import HIDDEN
from worker.errors import ExitCode, FoldersError
from worker.settings import Settings

STATUS_FILE = f"{HIDDEN}/status.json"
LOCK_FILE = f"{HIDDEN}/lock"


def write_status(outbox: Path, status: Mapping[str, Any]) -> None:
    """Put `status` in place, whole. Raises OSError; the caller knows whether that matters now.

    On a full disk the old file is written over: what is wrong is worth a moment in which it may be torn.
    """
    path = outbox / STATUS_FILE
    content = (json.dumps(status, ensure_ascii=True, indent=1) + "\n").encode()
    part = path.with_name(f"status.{os.getpid()}.tmp")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        with path.open("r+b") as file:
            # Its blocks are there already; white space after JSON means nothing.
            file.write(content.ljust(path.stat().st_size))


def starting_status() -> dict[str, Any]:
    """What is said before the first look: nothing is known yet but who is starting."""
    now_s = time.time()
    keys = (
        "seen", "published", "read", "review", "failed", "answered_before", "vanished", "waiting", "in_work",
        "held", "on_trial", "stuck", "foreign", "linked_folders", "blocked_folders", "unannounced", "overflows",
    )  # fmt: skip
    return {
        "state": "starting",
        "since_s": now_s,
        "pid": os.getpid(),
        "version": __version__,
        "started_at_s": now_s,
        "written_at_s": now_s,
        "counts": dict.fromkeys(keys, 0),
        "oldest_waiting_s": None,
        "rates": {"per_s_1min": 0.0, "per_s_15min": 0.0},
        "model": None,
        "watcher": None,
        "blocked": {},
        "stuck": [],
        "fault": None,
        "last_error": None,
        "config": None,
    }


def read_status(outbox: Path) -> dict[str, Any] | None:
    """The last status that a worker wrote; None where there is none."""
    try:
        content = json.loads((outbox / STATUS_FILE).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def is_running(outbox: Path) -> bool:
    """Whether a worker holds the lock of `outbox` now; a status file alone may be a dead one's."""
    try:
        descriptor = os.open(outbox / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise FoldersError(
            f"{outbox / LOCK_FILE} may not be read by this user: ask as the worker's own."
        ) from error
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def show_status(settings: Settings, *, as_json: bool) -> int:
    """Print what the worker of these settings does; 1 when none is running."""
    running = is_running(settings.outbox)
    status = read_status(settings.outbox)
    if as_json:
        print(json.dumps({"running": running, **(status or {})}, indent=2))
        return ExitCode.FINE if running else ExitCode.FINDINGS
    if not running:
        last = f" The last one was seen {_ago(status['written_at_s'])} ago." if status else ""
        print(f"No worker is running for {settings.outbox}.{last}", file=sys.stderr)
        return ExitCode.FINDINGS
    if status is None:
        print("A worker is starting; it has not said anything yet.")
        return ExitCode.FINE
    for line in describe(status):
        print(line)
    return ExitCode.FINE


def describe(status: Mapping[str, Any]) -> list[str]:
    """The status in words, a line each; that of an older version, which says less, as well."""
    counts = status["counts"]
    process = (
        f"process {status['pid']}, up {_ago(status['started_at_s'])},"
        f" last sign of life {_ago(status['written_at_s'])} ago"
    )
    answers = f"read {counts['read']:,}, review {counts['review']:,}, failed {counts['failed']:,}"
    before = counts["answered_before"]
    books = [
        f"seen {counts['seen']:,} = answered {counts['published']:,}",
        *([f"answered before {before:,}"] if before else []),
        f"vanished {counts['vanished']:,}",
        f"waiting {counts['waiting']:,}",
        f"in work {counts['in_work']:,}",
    ]
    lines = [
        f"{status['state']} since {_ago(status['since_s'])} ({process})",
        f"answered {counts['published']:,}: {answers}",
        " + ".join(books),
    ]
    if counts["on_trial"]:
        lines.append(f"on trial, since the worker died while it read them: {counts['on_trial']:,}")
    if counts["foreign"] or counts["linked_folders"]:
        lines.append(
            f"left alone: {counts['foreign']:,} files of other kinds, {counts['linked_folders']:,} links to folders"
        )
    rates = status.get("rates")
    if rates:
        lines.append(
            f"answered a second: {rates['per_s_1min']:.2f} over 1 min, {rates['per_s_15min']:.2f} over 15 min"
        )
    if status["oldest_waiting_s"] is not None:
        lines.append(f"oldest waiting for {_ago(status['oldest_waiting_s'])}")
    lines += _of_model_and_config(status)
    if status["watcher"]:
        sign = "" if status["watcher"]["alive"] else " - NOT ALIVE"
        lines.append(f"watching by {status['watcher']['mode']}{sign}")
        if status["watcher"]["fallback"]:
            lines.append(f"  {status['watcher']['fallback']}")
    if counts["unannounced"] or counts["overflows"]:
        lines.append(
            f"found by rescans alone: {counts['unannounced']:,} files; events were lost {counts['overflows']:,} times"
        )
    lines += [f"blocked: {folder}: {why}" for folder, why in status["blocked"].items()]
    lines += [f"cannot be moved out of the inbox: {name}" for name in status["stuck"]]
    if status["fault"]:
        lines.append(
            f"paused: {status['fault']['what']} (for {_ago(status['fault']['since_s'])}; it resumes by itself)"
        )
    error = status.get("last_error")
    if error:
        lines.append(f"last error {_ago(error['at_s'])} ago: {error['event']}: {_in_one_line(error['text'])}")
    return lines


def _of_model_and_config(status: Mapping[str, Any]) -> list[str]:
    lines = []
    model, config = status["model"], status.get("config")
    if model:
        since = f", for {_ago(model['since_s'])}" if "since_s" in model else ""
        lines.append(f"model {model['name']} ({str(model['sha256'])[:12]}){since}")
        if model.get("is_loading"):
            lines.append("  another one is being loaded")
        if model.get("refused"):
            lines.append(
                f"  A NEW ONE IS REFUSED since {_ago(model['refused']['since_s'])}: {model['refused']['why']}"
            )
    if config:
        if config["refused"]:
            lines.append(
                f"THE NEW CONFIGURATION IS REFUSED since {_ago(config['refused']['since_s'])}:"
                f" {_in_one_line(config['refused']['why'])}"
            )
        if config["awaiting_restart"]:
            lines.append(f"waiting for a restart: {', '.join(config['awaiting_restart'])}")
        lines.append(f"log level {config['log_level']}")
    return lines


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _ago(moment_s: float) -> str:
    """How long ago `moment_s` (epoch) was, in the largest unit that says enough."""
    seconds = max(0.0, time.time() - moment_s)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
