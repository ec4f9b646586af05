"""Trials: a suspect is read alone in a child process; whether that lives is the only evidence there is."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

from worker.intake.arrivals import Arrival
from worker.logs import get_log
from worker.processes import child_environment, ending, is_from_outside, program
from worker.reading import Answer, ReadingSettings, crashed
from worker.service.trial_child import TrialSettings, nothing_expected

# Not `-m`: the module would be `__main__` there, and its classes others than those that are sent to it.
_ENTRY = "import sys; from worker.service.trial_child import main; sys.exit(main())"
COMMAND: tuple[str, ...] = (sys.executable, "-c", _ENTRY)
START_S = 60.0  # until the child is ready, on a machine that is busy starting
PATIENCE = 10  # times the limit that a child may take which got no processor time, or waits for a disk
_SLICE_S = 0.1
# Reading takes up to 12 bytes a pixel (colour of 16 bits, measured); the limit is there to stop monsters alone.
_BYTES_A_PIXEL = 40
_BYTES_BESIDE = 512 * 1024**2


class Finding(Enum):
    """`lived`: the child read it. `convicted`: it died or overran. `void`: nothing can be said."""

    LIVED = auto()
    CONVICTED = auto()
    VOID = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial found; `answer` is the failed outcome of a convict, or why there is none any more."""

    arrival: Arrival
    finding: Finding
    detail: str = ""
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class _Lost:
    """How a child ended: of the picture (`is_evidence`) or of something else."""

    is_evidence: bool
    detail: str


class Trials:
    """Tries suspects one after the other in a thread of its own; `ready` is called for each verdict.

    `reading` and `labels` say how the worker reads now, `limit_s` what one suspect may take, in seconds of
    processor time; `follow` tells other ones.
    """

    def __init__(
        self,
        root: str,
        reading: ReadingSettings,
        labels: int,
        limit_s: float,
        ready: Callable[[], None],
        command: Sequence[str] | None = None,
    ) -> None:
        self._settings = _trial_settings(root, reading, labels, limit_s)
        self._ready = ready
        self._command = tuple(command or COMMAND)
        program()  # as it is now, while it is that of this process
        self._waiting: queue.SimpleQueue[Arrival | None] = queue.SimpleQueue()
        self._verdicts: deque[Verdict] = deque()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, reading: ReadingSettings, labels: int, limit_s: float) -> None:
        """Try as the worker reads from now on; a trial that is under way proves nothing any more."""
        # One reference, set whole: the thread takes it once for each trial.
        self._settings = _trial_settings(self._settings.root, reading, labels, limit_s)

    def submit(self, arrival: Arrival) -> None:
        """Have an arrival tried."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="trials", daemon=True)
            self._thread.start()
        self._waiting.put(arrival)

    def verdicts(self) -> list[Verdict]:
        """The verdicts since the last time."""
        found = []
        while self._verdicts:
            found.append(self._verdicts.popleft())
        return found

    def close(self) -> None:
        """End the child and let the thread go; suspects without a verdict stay suspects."""
        self._is_over.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        child: _Child | None = None
        while (arrival := self._waiting.get()) is not None and not self._is_over.is_set():
            settings = self._settings
            try:
                if child is not None and child.settings != settings:
                    child.end()
                    child = None
                if child is None:
                    child = _Child(self._command, settings, self._is_over)
                verdict = _judged(arrival, child)
                if settings != self._settings:
                    # What it may take and how it is read is no longer what was tried.
                    verdict = Verdict(arrival, Finding.VOID, "the configuration changed during the trial")
                if child.is_lost:
                    child.end()
                    child = None
            except (
                Exception
            ) as error:  # no process to be had now, or a bug of ours: no evidence in either case
                verdict = Verdict(arrival, Finding.VOID, f"{type(error).__name__}: {error}")
                if child is not None:
                    child.end()
                child = None
            if self._is_over.is_set():
                break
            self._verdicts.append(verdict)
            self._ready()
            if child is not None and self._waiting.empty():
                child.end()
                child = None
        if child is not None:
            child.end()


def _trial_settings(root: str, reading: ReadingSettings, labels: int, limit_s: float) -> TrialSettings:
    limits = reading.limits
    memory_bytes = _BYTES_BESIDE + _BYTES_A_PIXEL * limits.max_pixels + 4 * limits.max_file_bytes
    # What is expected of a picture is no matter of its bytes, and functions cannot be sent.
    reading = replace(reading, expected=nothing_expected)
    return TrialSettings(root, reading, labels, limit_s, memory_bytes, os.getpid())


def _judged(arrival: Arrival, child: _Child) -> Verdict:
    settings = child.settings
    lost = child.tried(arrival)
    if lost is None:
        return Verdict(arrival, Finding.LIVED)
    if not lost.is_evidence:
        return Verdict(arrival, Finding.VOID, lost.detail)
    detail = lost.detail
    if detail == "memory":
        detail = f"Reading it takes more than {settings.memory_bytes // 1024**2:,} MiB of memory."
    answer = crashed(settings.root, arrival, settings.reading.limits, detail)
    return Verdict(arrival, Finding.CONVICTED, detail, answer)


class _Child:
    """One child process; tries suspects by `settings` as long as it lives. Raises OSError where none can be started."""

    def __init__(self, command: Sequence[str], settings: TrialSettings, is_over: threading.Event) -> None:
        self.settings = settings
        self._is_over = is_over
        self._said = b""
        self.is_lost = False
        # A session of its own: Ctrl-C in the worker's terminal is not meant for it.
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, program()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
            cwd="/",
            start_new_session=True,
        )
        try:
            self._send(settings)
            is_ready = self._word(START_S) == "ready"
        except BaseException:
            self.end()
            raise
        if not is_ready:
            self.end()
            raise OSError(f"the trial process did not start ({ending(self._process.returncode)})")

    def tried(self, arrival: Arrival) -> _Lost | None:
        """Have one suspect read; None when the child lived, otherwise how it was lost."""
        limit_s = self.settings.cpu_s
        self._send(arrival)
        word = self._word(PATIENCE * limit_s)
        if word == "began":
            word = self._verdict_word(limit_s)
        if word == "lived":
            return None
        if word == "memory":
            return _Lost(is_evidence=True, detail="memory")
        if word == "void":
            return _Lost(is_evidence=False, detail="the world did not let it be read")
        self.is_lost = True
        if word == "overrun":
            self.end()
            return _Lost(is_evidence=True, detail=f"Reading it took more than {limit_s:g} s and was stopped.")
        if word:
            self.end()
            return _Lost(is_evidence=False, detail=word)
        status = self._process.wait()
        if status == -signal.SIGXCPU:
            detail = f"Reading it took more than {limit_s:g} s of processor time (SIGXCPU)."
            return _Lost(is_evidence=True, detail=detail)
        detail = f"The process that read it ended with {ending(status)}."
        return _Lost(is_evidence=not is_from_outside(status), detail=detail)

    def end(self) -> None:
        """Be rid of the process."""
        self.is_lost = True
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def _send(self, order: object) -> None:
        if self._process.stdin is None:
            raise AssertionError
        with contextlib.suppress(BrokenPipeError):  # its end is noticed where its answer is missing
            self._process.stdin.write(pickle.dumps(order))
            self._process.stdin.flush()

    def _verdict_word(self, limit_s: float) -> str:
        """The child's word, `overrun`, or another word for why its time proves nothing."""
        began_s = time.monotonic()
        cpu_began_s = self._seen()[1]
        while (word := self._word(limit_s / 2)) == "silent":
            took_s = time.monotonic() - began_s
            if took_s < limit_s:
                continue
            state, cpu_s = self._seen()
            if state in "Tt":
                return "it was stopped by somebody"
            was_fed = cpu_s - cpu_began_s >= limit_s / 2
            if was_fed or state == "S":  # it computes, or it waits for something that is no disk
                return "overrun"
            if took_s > PATIENCE * limit_s:
                return "it got too little of the processor or the disk"
        return word

    def _seen(self) -> tuple[str, float]:
        """State and processor time (s) of the child, as the kernel sees it."""
        try:
            content = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return "", 0.0
        fields = content.rpartition(")")[2].split()
        return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _word(self, timeout_s: float) -> str:
        """The next word of the child; `silent` when none came in time, "" when it has ended."""
        pipe = self._process.stdout
        if pipe is None:
            raise AssertionError
        end_s = time.monotonic() + timeout_s
        while b"\n" not in self._said:
            if self._is_over.is_set():
                return "the worker was stopped"
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return "silent"
            if select.select([pipe], [], [], min(left_s, _SLICE_S))[0]:
                part = os.read(pipe.fileno(), 4096)
                if not part:
                    return ""
                self._said += part
        word, _, self._said = self._said.partition(b"\n")
        return word.decode("ascii", "replace")


def log_void(verdict: Verdict) -> None:
    """Say that a trial proved nothing."""
    get_log().warning("trial_void", name=ascii(verdict.arrival.name), why=verdict.detail)
