"""The process of a helper: sees and draws the pictures it is given, and asks the worker what the networks say.

Started anew, never forked from the worker: a process that has imported TensorFlow has threads. It imports none.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt
import structlog

from worker.errors import WorldError
from worker.processes import OTHER_PROGRAM, dies_with, only_the_parent_ends_it, program
from worker.reading import Reader
from worker.recognition.transcriber import Floats
from worker.scale.messages import Answers, Done, Order, Ready, Said, Start, Step, Strips, Tiles, Trouble

STEP_S = 1.0  # between two signs that reading gets on


class _Line:
    """The way to the worker: anybody may tell it something, one thread at a time asks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._telling = threading.Lock()
        self._next_step_s = 0.0

    def tell(self, message: object) -> None:
        with self._telling:
            self._connection.send(message)

    def heard(self) -> object:
        """The next message of the worker; None when it is gone."""
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError):
            return None

    def step(self) -> None:
        """Tell now and then that reading gets on."""
        now_s = time.monotonic()
        if now_s >= self._next_step_s:
            self._next_step_s = now_s + STEP_S
            self.tell(Step())

    def log(self, _logger: object, level: str, fields: structlog.typing.EventDict) -> str:
        """Have the worker log an event; a processor of structlog, the last one."""
        event = str(fields.pop("event", ""))
        self.tell(Said(level, event, dict(fields)))
        raise structlog.DropEvent


class _Networks:
    """Stands for both networks: the worker has them."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The logits of `tiles`, as the worker's classifier gives them."""
        self._line.tell(Tiles(tiles))
        answer = self._line.heard()
        if not isinstance(answer, np.ndarray):
            raise SystemExit(0)  # the worker is gone
        return answer

    def frames(self, strips: Sequence[npt.NDArray[np.float32]]) -> list[Floats]:
        """What the frames of `strips` show, as the worker's transcriber gives it."""
        self._line.tell(Strips(strips))
        answer = self._line.heard()
        if not isinstance(answer, list):
            raise SystemExit(0)
        return answer


def main() -> int:
    """Serve orders over the descriptor that the command line names, until the worker hangs up.

    The command line names the worker's program, too: nothing is understood before both are the same.
    """
    if sys.argv[2] != program():
        return OTHER_PROGRAM
    only_the_parent_ends_it()
    faulthandler.enable()
    line = _Line(Connection(int(sys.argv[1])))
    start = line.heard()
    if not isinstance(start, Start) or not dies_with(start.parent):
        return 0
    structlog.configure(
        processors=[structlog.processors.format_exc_info, line.log],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    _offer_itself()
    gc.freeze()
    with contextlib.suppress(ConnectionError):  # the worker is gone
        line.tell(Ready())
        _serve(line, start)
    return 0


def _offer_itself() -> None:
    """Let a kernel short of memory take the helper before it takes the worker, which loses nothing by that."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        score = min(1000, int(file.read()) + 300)
        file.seek(0)
        file.write(str(score))


def _serve(line: _Line, start: Start) -> None:
    networks = _Networks(line)
    reader: Reader | None = None
    while isinstance(order := line.heard(), Order):
        if order.reading is not None:
            if reader is not None:
                reader.close()
            transcriber = networks if order.reads_lines else None
            reader = Reader(start.root, networks, order.reading, start.threads, line.step, transcriber)
        if reader is None:
            raise ValueError("the first order does not say how to read")
        try:
            for answers in reader.in_parts(order.arrivals):
                line.tell(Answers(answers))
        except WorldError as fault:
            line.tell(Trouble(fault.during, fault.cause.errno, fault.cause.strerror or str(fault.cause)))
        else:
            line.tell(Done())
