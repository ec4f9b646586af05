"""The worker's process and its children: what it is made of, how they end with it, and what an end means."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import signal
import sys
from pathlib import Path

import worker

_PR_SET_PDEATHSIG = 1
STEP_LIMIT_S = 180.0  # no single step of honest work takes longer: loading a model, a sync, one large page
KEPT_BYTES = 64 * 1024  # of what libraries print
LAST_LINES = 10
_LINE_CHARACTERS = 300
OTHER_PROGRAM = 76  # the exit status of a child that found other files than the worker was started from

# Whoever sends these may be a person, a supervisor or the kernel short of memory: they blame no picture.
_FROM_OUTSIDE = {
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGPIPE,
}


@functools.cache
def program() -> str:
    """What this program is made of, by the names, sizes and times of its files when this was first asked.

    A worker asks at its start. After an upgrade under a running worker a child would be another program, and would
    take what it is sent for something else.
    """
    home = Path(worker.__file__).resolve().parent
    seen = [
        (str(path.relative_to(home)), status.st_size, status.st_mtime_ns)
        for path in sorted(home.rglob("*.py"))
        for status in [path.stat()]
    ]
    return hashlib.sha256(repr((seen, sys.version)).encode()).hexdigest()


def child_environment() -> dict[str, str]:
    """The environment of a child: this very package, and no word to the service manager."""
    environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
    home = str(Path(worker.__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH", ""))))
    return environment


def dies_with(parent: int) -> bool:
    """End together with the thread of `parent` that started this process; False when that has ended already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def only_the_parent_ends_it() -> None:
    """Ignore what a terminal or a service manager sends to all processes of the worker: it drains first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Under nohup it would be ignored, and a child that somebody wanted gone would look like one that hangs.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def is_from_outside(status: int) -> bool:
    """Whether the exit status of a child tells of a signal that nothing in the child itself sends."""
    return status < 0 and -status in _FROM_OUTSIDE


def last_lines(said: bytes) -> list[str]:
    """The last lines that a process or a library in it printed, as plain ASCII."""
    lines = said.replace(b"\0", b"").decode("ascii", "backslashreplace").splitlines()
    return [line[:_LINE_CHARACTERS] for line in lines if line.strip()][-LAST_LINES:]


def ending(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None:
        return "no answer"
    if status == OTHER_PROGRAM:
        return f"the exit status {status}: the program was changed since the worker was started; restart it"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"the signal {signal.Signals(-status).name}"
        return f"the signal {-status}"
    return f"the exit status {status}"
