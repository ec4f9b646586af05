"""The worker, its helpers and its trial child, with a decoder in which some pictures do what a broken library might.

Run as a program: `hostile.py worker …` is the command line, `hostile.py child` the process of a trial,
`hostile.py helper 5` a helper. Tests
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
NO_WORKER = b"*NO-WORKER*"  # kills helpers and the child, not the worker
COMMAND = (sys.executable, str(Path(__file__).resolve()), "child")
HELPER = (sys.executable, str(Path(__file__).resolve()), "helper")


WORKER = (str(Path(__file__).resolve()), "worker")  # quick to start: without TensorFlow


def picture(ending: bytes = b"") -> bytes:
    """A PNG with one stroke, and what comes after its end."""
    page = np.full((64, 64), 255, np.uint8)
    cv2.line(page, (32, 10), (32, 54), 0, 4)
    return cv2.imencode(".png", page)[1].tobytes() + ending


def _die(number: int) -> bool:
    os.kill(os.getpid(), number)
    time.sleep(60)
    return True


def _spin() -> None:
    while True:
        pass


def _take_memory() -> None:
    _ = [bytearray(1 << 26) for _ in range(1000)]


def hostile(decode: Callable[..., Any], role: str) -> Callable[..., Any]:
    """`decode` in a process of that role, but for pictures that end in one of the words above."""
    is_child = role == "child"

    deeds: dict[bytes, Callable[[], object]] = {
        SEGFAULT: lambda: _die(signal.SIGSEGV),
        ABORT: lambda: _die(signal.SIGABRT),
        EXIT: lambda: os._exit(1),
        HANG: lambda: time.sleep(60),
        SPIN: _spin,
        MEMORY: _take_memory
        if is_child
        else lambda: _die(signal.SIGKILL),  # as the kernel does when it runs out
        SLOW: lambda: time.sleep(0.5),
        WORKER_ONLY: lambda: is_child or _die(signal.SIGSEGV),
        NO_WORKER: lambda: role == "worker" or _die(signal.SIGSEGV),
        CHILD_KILLED: lambda: is_child and _die(signal.SIGKILL),
    }

    def decoded(data: bytes, limits: Any) -> Any:
        for ending, deed in deeds.items():
            if data.endswith(ending):
                deed()
        return decode(data, limits)

    return decoded


class QuickModel:
    """Stands for TensorFlow, whose start would be most of a test: says 7 to everything."""

    card = Card(name="quick", sha256="0" * 64, input_shape=(28, 28), outputs="logits")
    transcriber = None

    def logits(self, tiles: Any) -> Any:
        logits = np.zeros((len(tiles), 10), np.float32)
        logits[:, 7] = 20
        return logits


def main() -> int:
    role, *arguments = sys.argv[1:]
    vars(reading)["decode"] = hostile(decoding.decode, role)
    sys.argv[1:] = arguments
    if role == "child":
        from worker.service.trial_child import main as child

        return child()
    if role == "helper":
        from worker.scale.helper_child import main as helper

        return helper()
    from worker import assembly
    from worker.cli import main as cli
    from worker.scale import helper as helpers
    from worker.service import trials

    trials.COMMAND = COMMAND
    helpers.COMMAND = HELPER
    vars(assembly)["load_model"] = lambda _: QuickModel()
    vars(assembly)["load_other_model"] = lambda *_: None  # there is no other one
    return cli(arguments)


if __name__ == "__main__":
    sys.exit(main())
