"""Keeping the talk of native libraries off stderr while they start."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_CHATTER = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:|[IWE]0000 00:00:|\d{4}-\d\d-\d\d .*: [IWE] (tensorflow|external)/"
    rb"|WARNING: All log messages before absl|To enable the following instructions:"
    rb"|INFO: Created TensorFlow Lite XNNPACK delegate"
)


@contextlib.contextmanager
def quiet_tensorflow(*, hide_gpus: bool = True) -> Iterator[None]:
    """Keep TensorFlow's start-up talk off stderr, and any other line that is written there for later.

    The first lines come from C++ before any log level is known, so the file descriptor itself is turned
    aside. What is not TensorFlow's (other threads' logs, a warning of Python) is written through at the
    end. GPUs are hidden, unless CUDA_VISIBLE_DEVICES says otherwise or `hide_gpus` is False: a tile is too
    small to be worth the way there, and looking for them costs time.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hide_gpus:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with quiet_stderr():
        yield


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what is written to stderr, and write it through at the end without the libraries' talk."""
    sys.stderr.flush()
    true_stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(true_stderr, 2)
            os.close(true_stderr)
            aside.seek(0)
            for line in aside:
                if not _CHATTER.match(line):
                    os.write(2, line)
