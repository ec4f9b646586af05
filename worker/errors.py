"""What can stop the program, each with its exit code and a sentence that tells a person what to do.

What is wrong with one picture is no exception of these: it is a value, see `worker.reasons`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How the program ends; a contract with everything that starts it."""

    FINE = 0
    FINDINGS = 1  # some inputs failed (predict, run --once), findings (doctor), no worker running (status)
    USAGE = 2  # usage or configuration, also a missing config file
    MODEL = 3
    FOLDERS = 4  # missing or not writable at start
    OWNED = 5  # another worker owns this inbox or outbox
    BUG = 70
    INTERRUPTED = 130  # by SIGINT, after draining


class WorkerError(Exception):
    """A reason to end the program; the message says what happened, to which file, and what to do."""

    exit_code = ExitCode.BUG


class UsageError(WorkerError):
    """The command line asks for something that cannot be done."""

    exit_code = ExitCode.USAGE


class ConfigurationError(WorkerError):
    """config.yaml or an environment variable is wrong; the message names every key at once."""

    exit_code = ExitCode.USAGE


class ModelError(WorkerError):
    """The model is missing, changed, unsafe, or does not give the answers it once gave."""

    exit_code = ExitCode.MODEL


class FoldersError(WorkerError):
    """Inbox or outbox is missing or cannot be written to."""

    exit_code = ExitCode.FOLDERS


class OwnedElsewhereError(WorkerError):
    """Another worker holds the lock of this inbox or outbox."""

    exit_code = ExitCode.OWNED


class WorldError(Exception):
    """The world is at fault (full disk, vanished folder, I/O error): pause, keep everything, try again.

    Never blamed on a picture. `during` says what was being done, for status and log.
    """

    def __init__(self, during: str, cause: OSError) -> None:
        super().__init__(f"{during}: {cause.strerror or cause}")
        self.during = during
        self.cause = cause
