"""The worker and its trial child, with a decoder in which some pictures do what a broken library might.

Run as a program: `hostile.py worker …` is the command line, `hostile.py child` the process of a trial. Tests
start these in the place of the real entry points; nothing in the program itself knows of them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from worker import reading
from worker.recognition.card import Card
from worker.vision import decoding

SEGFAULT = b"*SEGFAULT*"
ABORT = b"*ABORT*"
EXIT = b"*EXIT*"
HANG = b"*HANG*"
SPIN = b"*SPIN*"
MEMORY = b"*MEMORY*"
SLOW = b"*SLOW*"  # half a second, everywhere
WORKER_ONLY = b"*WORKER-ONLY*"  # kills the worker and leaves the child alone
CHILD_KILLED = b"*CHILD-KILLED*"  # as by a person or the kernel, in the child alone; later by nobody
COMMAND = (sys.executable, str(Path(__file__).resolve()), "child")


WORKER = (str(Path(__file__).resolve()), "worker")  # quick to start: without TensorFlow


def picture(ending: bytes = b"") -> bytes:
    """A PNG with one stroke, and what comes after its end."""
    page = np.full((64, 64), 255, np.uint8)
    cv2.line(page, (32, 10), (32, 54), 0, 4)
    return cv2.imencode(".png", page)[1].tobytes() + ending


def _die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def _spin() -> None:
    while True:
        pass


def _take_memory() -> None:
    _ = [bytearray(1 << 26) for _ in range(1000)]


def hostile(decode: Callable[..., Any], *, is_child: bool) -> Callable[..., Any]:
    """`decode`, but for pictures that end in one of the words above."""

    def decoded(data: bytes, limits: Any) -> Any:
        if data.endswith(SEGFAULT):
            _die(signal.SIGSEGV)
        elif data.endswith(ABORT):
            _die(signal.SIGABRT)
        elif data.endswith(EXIT):
            os._exit(1)
        elif data.endswith(HANG):
            time.sleep(60)
        elif data.endswith(SPIN):
            _spin()
        elif data.endswith(MEMORY) and is_child:
            _take_memory()
        elif data.endswith(MEMORY):
            _die(signal.SIGKILL)  # as the kernel does when it runs out
        elif data.endswith(SLOW):
            time.sleep(0.5)
        elif data.endswith(WORKER_ONLY) and not is_child:
            _die(signal.SIGSEGV)
        elif data.endswith(CHILD_KILLED) and is_child:
            _die(signal.SIGKILL)
        return decode(data, limits)

    return decoded


class _QuickModel:
    """Stands for TensorFlow, whose start would be most of a test: says 7 to everything."""

    card = Card(name="quick", sha256="0" * 64, input_shape=(28, 28), outputs="logits")
    transcriber = None

    def logits(self, tiles: Any) -> Any:
        logits = np.zeros((len(tiles), 10), np.float32)
        logits[:, 7] = 20
        return logits


def main() -> int:
    role, *arguments = sys.argv[1:]
    vars(reading)["decode"] = hostile(decoding.decode, is_child=role == "child")
    if role == "child":
        from worker.service.trial_child import main as child

        return child()
    from worker import assembly
    from worker.cli import main as cli
    from worker.service import trials

    trials.COMMAND = COMMAND
    vars(assembly)["load_model"] = lambda _: _QuickModel()
    vars(assembly)["load_other_model"] = lambda *_: None  # there is no other one
    return cli(arguments)


if __name__ == "__main__":
    sys.exit(main())
