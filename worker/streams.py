"""What the commands print to, also where it is closed, full, or its reader has gone."""

from __future__ import annotations

import contextlib
import os
import sys


def replace_closed_streams() -> None:
    """Give stdout and stderr somewhere to go where the program was started with one of them closed (`>&-`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open to the end


def say(text: str) -> None:
    """Print one line to stderr; where that cannot be, the exit code has to do."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def drop_unwritable_output() -> None:
    """Write out what stdout and stderr still hold; what cannot be written is dropped.

    Without this the interpreter would try once more at its end, complain, and end with 120 whatever the
    command's own exit code is.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
