"""A helper: a process beside the worker that reads for it, with the worker's own networks.

Finding, cutting and drawing hold Python's interpreter, so threads take turns at it; a second process has its own. The
networks stay where they are: a helper sends tiles and gets logits, needs no TensorFlow, and starts within a second.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from worker.errors import WorldError
from worker.intake.arrivals import Arrival
from worker.logs import get_log
from worker.processes import (
    KEPT_BYTES,
    STEP_LIMIT_S,
    child_environment,
    ending,
    is_from_outside,
    last_lines,
    program,
)
from worker.reading import Answer, Reader, ReadingSettings, of_a_well_disk
from worker.scale.messages import Answers, Done, Order, Ready, Said, Start, Step, Strips, Tiles, Trouble

# Not `-m`: the module would be `__main__` there, and its classes others than those that are sent to it.
_ENTRY = "import sys; from worker.scale.helper_child import main; sys.exit(main())"
COMMAND: tuple[str, ...] = (sys.executable, "-c", _ENTRY)
START_S = 60.0  # until it is ready, on a machine that is busy
_SLICE_S = 0.1


class HelperLostError(Exception):
    """The helper is gone in the middle of a batch. `answers` are those it had given before.

    `is_suspicious` says that a picture may have ended it; otherwise somebody did, or the kernel.
    """

    def __init__(self, detail: str, answers: Sequence[Answer] = (), *, is_suspicious: bool) -> None:
        super().__init__(detail)
        self.answers = list(answers)
        self.is_suspicious = is_suspicious


class Helper:
    """One helper process; for use by one thread, which has to outlive it.

    It reads below `root`, with so many `threads`. Raises OSError where it cannot be started, or `is_over` before that.
    """

    def __init__(
        self,
        root: str,
        threads: int,
        command: Sequence[str] | None = None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reading: ReadingSettings | None = None
        self._has_ended = False
        self._words = os.memfd_create("helper-stderr", os.MFD_CLOEXEC)
        ours, theirs = socket.socketpair()
        with theirs:
            # What is not taken, or given to its end, within that time never will be.
            for way in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                ours.setsockopt(socket.SOL_SOCKET, way, struct.pack("ll", int(STEP_LIMIT_S), 0))
            self._line = Connection(ours.detach())
            try:
                self._process = self._started([*(command or COMMAND), str(theirs.fileno())], theirs.fileno())
            except BaseException:
                self._line.close()
                os.close(self._words)
                raise
        try:
            self._until_ready(Start(root, threads, os.getpid()), is_over)
        except HelperLostError as lost:
            self.end()
            raise OSError(f"the helper did not start: {lost}") from None
        except BaseException:
            self.end()
            raise

    def _started(self, command: Sequence[str], line: int) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the worker's terminal is not meant for it.
        return subprocess.Popen(  # noqa: S603 - our own program
            [*command, program()],
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=self._words,
            env=child_environment(),
            cwd="/",
            pass_fds=[line],
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def read(self, arrivals: Sequence[Arrival], reader: Reader) -> list[Answer]:
        """One answer for each of `arrivals`, in their order, as `reader` itself would give them.

        Raises HelperLostError, after which there is no helper any more, and WorldError as `reader` does.
        """
        if self._has_ended:
            raise HelperLostError("it has ended before", is_suspicious=False)
        answers: list[Answer] = []
        try:
            self._read(arrivals, reader, answers)
        except HelperLostError as lost:
            lost.answers = answers
            self.end()
            raise
        except WorldError:  # told by the helper, which is done with the batch
            raise
        except BaseException:  # ours: what the helper waits for will never come
            self.end()
            raise
        self._forget_words()
        return of_a_well_disk(answers)

    def end(self) -> None:
        """Be rid of the process; once is enough."""
        if self._has_ended:
            return
        self._has_ended = True
        with contextlib.suppress(OSError):
            self._line.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        os.close(self._words)

    def _until_ready(self, start: Start, is_over: Callable[[], bool]) -> None:
        self._tell(start)
        end_s = time.monotonic() + START_S
        while not self._line.poll(_SLICE_S) and time.monotonic() < end_s:
            if is_over():
                raise HelperLostError("the worker ends", is_suspicious=False)
        if not isinstance(self._heard(0.0), Ready):
            raise HelperLostError("it said something else than that it is ready", is_suspicious=False)

    def _read(self, arrivals: Sequence[Arrival], reader: Reader, answers: list[Answer]) -> None:
        """Append the answers to `answers` as they come."""
        is_new = reader.settings is not self._reading
        self._reading = reader.settings
        self._tell(Order(arrivals, reader.settings if is_new else None, reader.transcriber is not None))
        while not isinstance(message := self._heard(STEP_LIMIT_S), Done):
            if isinstance(message, Answers):
                answers += message.answers
            elif isinstance(message, Trouble):
                raise WorldError(message.during, OSError(message.code, message.why))
            else:
                self._serve(message, reader)

    def _serve(self, message: object, reader: Reader) -> None:
        if isinstance(message, Tiles):
            self._tell(reader.classifier.logits(message.tiles))
        elif isinstance(message, Strips) and reader.transcriber is not None:
            self._tell(reader.transcriber.frames(message.strips))
        elif isinstance(message, Said):
            get_log().log(_LEVELS.get(message.level, 40), message.event, **message.fields)
        elif not isinstance(message, Step):
            raise TypeError(f"a helper said {message!r}")

    def _tell(self, message: object) -> None:
        try:
            self._line.send(message)
        except OSError:
            raise self._lost() from None

    def _heard(self, within_s: float) -> object:
        try:
            if self._line.poll(within_s):
                return self._line.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        except Exception as error:  # no message of ours: its memory is not what it was
            self._process.kill()
            raise HelperLostError(f"it said what makes no sense ({error!r})", is_suspicious=True) from error
        self._process.kill()
        raise HelperLostError(f"it took no step for {within_s:g} s and was ended", is_suspicious=True)

    def _lost(self) -> HelperLostError:
        """What became of the process, whose end of the line is closed."""
        try:
            status = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return HelperLostError("it does not answer and was ended", is_suspicious=True)
        lines = self._last_lines()
        if lines and status != -signal.SIGKILL:
            get_log().warning("helper_last_words", native_words=lines)
        return HelperLostError(f"it ended with {ending(status)}", is_suspicious=not is_from_outside(status))

    def _last_lines(self) -> list[str]:
        size = os.fstat(self._words).st_size
        return last_lines(os.pread(self._words, KEPT_BYTES, max(0, size - KEPT_BYTES)))

    def _forget_words(self) -> None:
        """Keep what libraries print from growing; the next word stands after a hole that takes no memory."""
        if os.fstat(self._words).st_size > KEPT_BYTES:
            os.ftruncate(self._words, 0)


_LEVELS = {"warning": 30, "error": 40, "exception": 40, "critical": 50}
