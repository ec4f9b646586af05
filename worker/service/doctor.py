"""What is wrong with this installation, and how to mend it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from worker import __version__
from worker.errors import ExitCode, ModelError
from worker.service.health import is_running
from worker.settings import Settings

LIBRARIES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "watchdog", "pydantic", "structlog")
LOW_SPACE_BYTES = 200 * 1024**2
LOW_INODES = 10_000
EARLIEST_YEAR_S = 1_735_689_600  # 2025: a clock before that was never set


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `ok`, a `warning`, or an `error`, and what to do about it."""

    level: Literal["ok", "warning", "error"]
    what: str
    advice: str = ""


def show_findings(settings: Settings, *, as_json: bool) -> int:
    """Print what was found; 1 when something has to be mended (warnings alone are fine)."""
    findings = list(examine(settings))
    if as_json:
        print(
            json.dumps([{"level": f.level, "what": f.what, "advice": f.advice} for f in findings], indent=2)
        )
    else:
        signs = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}
        for finding in findings:
            print(f"{signs[finding.level]} {finding.what}")
            if finding.advice:
                print(f"        -> {finding.advice}")
        errors = sum(finding.level == "error" for finding in findings)
        warnings = sum(finding.level == "warning" for finding in findings)
        print(f"\n{errors} to mend, {warnings} to think about, {len(findings) - errors - warnings} fine.")
    return ExitCode.FINDINGS if any(finding.level == "error" for finding in findings) else ExitCode.FINE


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, the cheap ones first."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python, _clock, _folders, _space, _mounts, _watching, _worker, _model,
    )  # fmt: skip
    for check in checks:
        yield from check(settings)


def _python(settings: Settings) -> Iterator[Finding]:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding(
            "ok", f"digit-worker {__version__} on Python {version}, {platform.system()} {platform.machine()}"
        )
    else:
        yield Finding("error", f"Python {version} is not supported.", "Use Python 3.11, 3.12 or 3.13.")
    found, missing = [], []
    for library in (*LIBRARIES, *(["ai-edge-litert"] if settings.engine == "litert" else [])):
        try:
            found.append(f"{library} {metadata.version(library)}")
        except metadata.PackageNotFoundError:
            missing.append(library)
    if found:
        yield Finding("ok", ", ".join(found))
    if missing:
        yield Finding(
            "error",
            f"Not installed: {', '.join(missing)}.",
            "Run `make install` in the project's folder."
            if missing != ["ai-edge-litert"]
            else "Install it (pip install ai-edge-litert), or set `engine: tensorflow`.",
        )
    threads = settings.reader_threads
    yield Finding(
        "ok", f"{threads} reader thread{'s' * (threads > 1)} on {len(os.sched_getaffinity(0))} processors"
    )


def _clock(settings: Settings) -> Iterator[Finding]:
    import time

    if time.time() < EARLIEST_YEAR_S:
        yield Finding("error", "The clock of this machine was never set.", "Set it; records carry its time.")


def _folders(settings: Settings) -> Iterator[Finding]:
    for key in ("inbox", "outbox"):
        folder: Path = getattr(settings, key)
        problem = folder_problem(folder)
        if problem is None:
            yield Finding("ok", f"{key} {folder} is there and can be written to")
        else:
            yield Finding("error", f"{key} {folder} {problem[0]}", problem[1])


def folder_problem(folder: Path) -> tuple[str, str] | None:
    """What keeps a worker from using `folder`, and the advice that goes with it; None if nothing does."""
    if not os.path.exists(folder):
        return "does not exist, or this user may not reach it.", f"Make it (mkdir -p {folder}) or correct it."
    if not os.path.isdir(folder):
        return "is not a folder.", "Correct the configuration."
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return (
            "cannot be read and written by this user.",
            f"Give user {os.getuid()} the right to, or correct it.",
        )
    return None


def _space(settings: Settings) -> Iterator[Finding]:
    for key in ("inbox", "outbox"):
        folder: Path = getattr(settings, key)
        try:
            space = os.statvfs(folder)
        except OSError:
            continue
        free_bytes = space.f_bavail * space.f_frsize
        if free_bytes < LOW_SPACE_BYTES:
            yield Finding(
                "warning", f"{key}: only {free_bytes / 1024**2:.0f} MiB free.", "Make room on this disk."
            )
        elif space.f_files and space.f_favail < LOW_INODES:
            yield Finding(
                "warning", f"{key}: only {space.f_favail} inodes free.", "Remove small files on this disk."
            )
        else:
            yield Finding("ok", f"{key}: {free_bytes / 1024**3:.1f} GiB free")


def _mounts(settings: Settings) -> Iterator[Finding]:
    """Whether originals can be renamed from inbox to outbox; only a real rename tells (bind mounts)."""
    if folder_problem(settings.inbox) or folder_problem(settings.outbox):
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".digit-worker-doctor-", dir=settings.outbox) as there:
            with tempfile.NamedTemporaryFile(
                prefix=".digit-worker-doctor-", dir=settings.inbox, delete=False
            ) as probe:
                pass
            try:
                Path(probe.name).rename(Path(there) / "probe")
            except OSError:
                Path(probe.name).unlink(missing_ok=True)
                yield Finding(
                    "warning",
                    "inbox and outbox lie on different mounts: originals are copied, not renamed.",
                    "Put both below one folder of one mount; it is faster.",
                )
            else:
                yield Finding("ok", "originals move from inbox to outbox by rename")
    except OSError as error:
        yield Finding(
            "error", f"trying a rename failed: {error.strerror}", "Look at space and rights of both folders."
        )


def _watching(settings: Settings) -> Iterator[Finding]:
    limits = {}
    for name in ("max_user_instances", "max_user_watches", "max_queued_events"):
        try:
            limits[name] = int(Path(f"/proc/sys/fs/inotify/{name}").read_text())
        except (OSError, ValueError):
            yield Finding(
                "warning", "inotify limits cannot be read.", "Set `watch: polling` if files are seen late."
            )
            return
    if settings.watch == "polling":
        yield Finding("ok", f"the inbox is polled every {settings.poll_interval_s:g} s")
    elif limits["max_user_watches"] < 1024:
        yield Finding(
            "warning",
            f"inotify allows only {limits['max_user_watches']} watches; each folder of the inbox takes one.",
            "Raise fs.inotify.max_user_watches (sysctl), or set `watch: polling`.",
        )
    else:
        yield Finding("ok", "inotify: " + ", ".join(f"{name} {value}" for name, value in limits.items()))


def _worker(settings: Settings) -> Iterator[Finding]:
    if is_running(settings.outbox):
        yield Finding("ok", "a worker is running for this outbox (see `digit-worker status`)")
    else:
        yield Finding("ok", "no worker is running for this outbox at the moment")
    if shutil.which("systemctl") is None:
        yield Finding("ok", "no systemd here: start the worker by hand or with your own supervisor")


def _model(settings: Settings) -> Iterator[Finding]:
    """The model opened, loaded and asked what it once answered: what `run` does before it reads."""
    from worker.recognition.bundle import Bundle
    from worker.recognition.classifier import Classifier

    try:
        bundle = Bundle.open(settings.model)
        Classifier.load(bundle, settings.reader_threads, settings.engine).self_test()
    except ModelError as error:
        yield Finding(
            "error", f"model {settings.model}: {error}", "Restore it from a backup, or run `make model`."
        )
    else:
        yield Finding(
            "ok",
            f"model {bundle.card.name} ({bundle.card.sha256[:12]}) gives the answers it once gave,"
            f" run by {settings.engine}",
        )
