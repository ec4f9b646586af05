"""What is wrong with this installation, and how to mend it."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from worker import __version__
from worker.delivery.names import printable
from worker.errors import ExitCode, ModelError
from worker.intake.arrivals import file_system_of
from worker.intake.watcher import lies_elsewhere
from worker.service.health import LOCK_FILE, is_running, read_status
from worker.settings import Settings

LIBRARIES = (
    "tensorflow", "keras", "numpy", "opencv-python-headless", "watchdog", "pydantic", "structlog", "pyyaml",
    "prometheus-client",
)  # fmt: skip
LOW_SPACE_BYTES = 200 * 1024**2
LOW_INODES = 10_000
MAX_RECORDS = 20_000  # that are looked at for the newest one
CLOCK_SLACK_S = 60.0
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
UNIT = "digit-worker.service"
EARLIEST_YEAR_S = 1_735_689_600  # 2025: a clock before that was never set


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and what to do about it.

    `error`: it will not work. `warning`: it works, but not as it should, or not for long. `note`: it works,
    and can be had better. `ok`: nothing to do.
    """

    level: Literal["ok", "note", "warning", "error"]
    what: str
    advice: str = ""


def show_findings(settings: Settings, *, as_json: bool) -> int:
    """Print what was found; 1 when there is an error or a warning."""
    findings = list(examine(settings))
    counts = Counter(finding.level for finding in findings)
    if as_json:
        print(
            json.dumps([{"level": f.level, "what": f.what, "advice": f.advice} for f in findings], indent=2)
        )
    else:
        signs = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "error": "ERROR  "}
        for finding in findings:
            print(f"{signs[finding.level]} {finding.what}")
            if finding.advice:
                print(f"        -> {finding.advice}")
        fine = counts["ok"] + counts["note"]
        print(f"\n{counts['error']} to mend, {counts['warning']} to think about, {fine} fine.")
    return ExitCode.FINDINGS if counts["error"] or counts["warning"] else ExitCode.FINE


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, the cheap ones first."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python, _clock, _folders, _space, _mounts, _durability, _watching, _worker, _unit, _model,
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
    now_s = time.time()
    newest = None if folder_problem(settings.outbox) else newest_record(settings.outbox)
    if now_s < EARLIEST_YEAR_S:
        yield Finding("error", "The clock of this machine was never set.", "Set it; records carry its time.")
    elif newest is not None and newest[1] > now_s + CLOCK_SLACK_S:
        yield Finding(
            "warning",
            f"The record {printable(newest[0])} was written {newest[1] - now_s:.0f} s from now: the clock went back.",
            "Let the machine keep its time by NTP; records carry it, and are sorted by it.",
        )
    else:
        yield Finding("ok", f"the clock says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def newest_record(outbox: Path) -> tuple[str, float] | None:
    """Name and time of the newest record right in the outbox; None where there is none.

    Sub-folders are left out, and of a very full outbox the rest: this is to be quick.
    """
    newest: tuple[str, float] | None = None
    try:
        with os.scandir(outbox) as entries:
            for entry in itertools.islice(entries, MAX_RECORDS):
                if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False):
                    written_s = entry.stat(follow_symlinks=False).st_mtime
                    if newest is None or written_s > newest[1]:
                        newest = entry.name, written_s
    except OSError:
        return newest
    return newest


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
                    "note",
                    "inbox and outbox lie on different mounts: originals are copied, not renamed.",
                    "Put both below one folder of one mount; it is faster.",
                )
            else:
                yield Finding("ok", "originals move from inbox to outbox by rename")
    except OSError as error:
        yield Finding(
            "error", f"trying a rename failed: {error.strerror}", "Look at space and rights of both folders."
        )


def _durability(settings: Settings) -> Iterator[Finding]:
    """Whether the disk under the outbox is one whose syncs this machine can vouch for."""
    kind = file_system_of(str(settings.outbox))
    if kind in IN_MEMORY:
        yield Finding(
            "note",
            f"outbox lies in memory ({kind}): what is in it is gone when the machine starts again.",
            "Put the outbox on a disk.",
        )
    elif kind == "overlay":
        yield Finding(
            "note",
            "outbox lies in the layer of a container (overlay): it goes with the container.",
            "Mount a folder of the host there.",
        )
    elif lies_elsewhere(kind):
        yield Finding(
            "note",
            f"outbox lies on {kind}: how safe from a power cut it is, is up to the machine or program behind it.",
            "Put the outbox on a disk of this machine, and let the other side fetch it.",
        )
    elif kind:
        yield Finding("ok", f"outbox lies on {kind}")


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
    running = is_running(settings.outbox)
    owner = owner_of(settings.inbox)
    if running:
        yield Finding("ok", "a worker is running for this outbox (see `digit-worker status`)")
        status = read_status(settings.outbox) or {}
        yield from _of_running(status)
    elif owner is not None:
        yield Finding(
            "error",
            f"the inbox belongs to a worker of another outbox (process {owner}).",
            "Stop that one, or give one of them another inbox.",
        )
    else:
        yield Finding("ok", "no worker is running for this outbox at the moment; both folders are free")


def _of_running(status: Mapping[str, Any]) -> Iterator[Finding]:
    """What the running worker says of itself that somebody should mend."""
    fault, model, config = status.get("fault"), status.get("model") or {}, status.get("config") or {}
    if fault:
        yield Finding(
            "error", f"the worker is paused: {fault['what']}", "It resumes by itself once that is mended."
        )
    if model.get("refused"):
        yield Finding(
            "warning",
            f"a new model is refused: {model['refused']['why']}",
            "The old one goes on. Put a good one in place, or the old one back.",
        )
    if config.get("refused"):
        yield Finding(
            "warning",
            f"the configuration was changed and is refused: {config['refused']['why']}",
            "Mend it, then reload the worker: it would not start again with it.",
        )
    if config.get("awaiting_restart"):
        keys = ", ".join(config["awaiting_restart"])
        yield Finding("note", f"changed, but waiting for a restart: {keys}", "Restart the worker.")


def owner_of(folder: Path) -> str | None:
    """The process that holds the lock of `folder` now; None when nobody does, or it cannot be told."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return None


def _unit(settings: Settings) -> Iterator[Finding]:
    """Whether systemd will start the worker after the next boot."""
    if shutil.which("systemctl") is None or not os.path.isdir("/run/systemd/system"):
        yield Finding(
            "note", "no systemd is running here.", "Start the worker by hand or with your own supervisor."
        )
        return
    states = {kind: _unit_state(kind) for kind in ("--system", "--user")}
    if any(state.startswith("enabled") for state in states.values()):
        yield Finding("ok", f"the unit {UNIT} is installed and enabled")
    elif any(state not in ("", "not-found") for state in states.values()):
        yield Finding(
            "warning",
            f"the unit {UNIT} is installed but not enabled: it will not start with the machine.",
            f"systemctl enable --now {UNIT}  (with --user for a user's unit)",
        )
    else:
        yield Finding(
            "note",
            f"the unit {UNIT} is not installed.",
            "See docs/how-to/run-as-a-service.md if the worker is to run by itself.",
        )


def _unit_state(kind: str) -> str:
    """What systemd says of the unit: enabled, disabled, not-found ...; "" when it does not answer."""
    try:
        said = subprocess.run(  # noqa: S603 - three fixed words and a name
            ["systemctl", kind, "is-enabled", UNIT],  # noqa: S607 - the one of this machine's PATH
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip()


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
