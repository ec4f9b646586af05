"""How long is the start? From a fresh process to READY=1, beside one that only imports TensorFlow and loads the model.

    python -m benchmarks.start [--rounds 7] [--waiting 0] [--most-s 1.5] [--folder DIR]

The two take turns, so that a busy machine slows both. The bare process times itself, from before `import tensorflow`
to after Keras has loaded the model that ships; the worker is timed from outside, from before its process exists to the
message on the notify socket, its interpreter included. Ends with 1 where the median difference is over the limit.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 120.0
END_WITHIN_S = 60.0

BARE = """
import os, sys, time
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # as the worker does
began_s = time.perf_counter()
import tensorflow
imported_s = time.perf_counter()
import keras
keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True)
print(imported_s - began_s, time.perf_counter() - began_s)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="after one that warms the caches (default: 7)")
    parser.add_argument("--waiting", type=int, default=0, help="pictures that wait in the inbox (default: 0)")
    parser.add_argument("--most-s", type=float, default=1.5, help="above import and load (default: 1.5)")
    parser.add_argument("--folder", type=Path, help="where to work; a real disk, please")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="digit-worker-start-") as name:
        folder = Path(name)
        config = _prepared(folder, options.waiting)
        rounds = [(*_bare_s(), _ready_s(folder, config)) for _ in range(options.rounds + 1)][1:]
    imports_s, bare_s, ready_s = zip(*rounds, strict=True)
    above_s = [ready - bare for bare, ready in zip(bare_s, ready_s, strict=True)]
    _say("import tensorflow", imports_s)
    _say("import tensorflow, load the model", bare_s)
    _say("start to READY", ready_s)
    _say("READY above import and load", above_s)
    is_over = statistics.median(above_s) > options.most_s
    if is_over:
        print(f"OVER ITS LIMIT: more than {options.most_s:g} s above import and load")
    return int(is_over)


def _prepared(folder: Path, waiting: int) -> Path:
    """An inbox whose files are too young to be read before READY, and a configuration with the model that ships."""
    (folder / "inbox").mkdir()
    (folder / "outbox").mkdir()
    for number in range(waiting):
        (folder / "inbox" / f"{number:06}.png").write_bytes(b"\x89PNG")
    config = folder / "config.yaml"
    # Whatever waits is never old enough: the start is measured, not the reading.
    config.write_text(
        f"inbox: inbox\noutbox: outbox\nmodel: {ROOT / 'models' / 'digits'}\nincomplete_after_s: 86400\n"
    )
    return config


def _bare_s() -> tuple[float, float]:
    """Seconds of a process for `import tensorflow`, and for that and loading the model."""
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(ROOT / "models" / "digits" / "model.keras")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=READY_WITHIN_S,
        check=True,
    )
    imported_s, loaded_s = map(float, done.stdout.split())
    return imported_s, loaded_s


def _ready_s(folder: Path, config: Path) -> float:
    """Seconds from before the worker's process is made to its READY=1."""
    address = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, (folder / "log").open("wb") as log:
        manager.bind(str(address))
        began_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "run", "--config", str(config)],
            cwd=ROOT,
            env=dict(os.environ, NOTIFY_SOCKET=str(address)),
            stderr=log,
        )
        try:
            _wait_for_ready(manager, began_s + READY_WITHIN_S)
            return time.monotonic() - began_s
        except TimeoutError:
            raise TimeoutError((folder / "log").read_text()[-2000:]) from None
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(END_WITHIN_S)
            address.unlink()


def _wait_for_ready(manager: socket.socket, end_s: float) -> None:
    message = b""
    while b"READY=1" not in message.splitlines():
        manager.settimeout(max(0.01, end_s - time.monotonic()))
        message = manager.recv(4096)


def _say(what: str, seconds: Sequence[float]) -> None:
    print(f"{what:36}{statistics.median(seconds):7.2f} s median{max(seconds):9.2f} s longest")


if __name__ == "__main__":
    sys.exit(main())
