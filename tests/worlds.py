"""Worlds that break while a worker runs, and are mended: mounts that nobody else sees, as root.

A scenario is a script in a mount namespace of its own, so what it mounts is gone with its last process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESUMED_WITHIN_MS = 30_000
_CAN_MOUNT = (
    os.geteuid() == 0
    and shutil.which("unshare") is not None
    and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0
)
needs_mounts = pytest.mark.skipif(not _CAN_MOUNT, reason="needs root and mount namespaces")

# $PROGRAM is unquoted: it is several words. What still runs at the end is killed, the last started first.
_BEGIN = """
set -eu
worker= share=
trap 'kill -9 $worker $share 2>/dev/null || true' EXIT
work() { "$PYTHON" $PROGRAM run --config config.yaml 2>>log & worker=$!; }
waited() { for _ in $(seq 600); do if eval "$1"; then return 0; fi; sleep 0.1; done; cat log; return 1; }
stop() { kill -TERM $worker; wait $worker; worker=; }
"""
_BREAK_AND_MEND = """
eval "$PREPARE"
work
waited 'grep -q "\\"ready\\"" log'
eval "$BREAK"
cp ready/*.png $DROP/
waited "grep -q \\"$SAID\\" log"
sleep 1
eval "$MEND"
mended=$(date +%s%N)
waited 'test "$(ls outbox/done 2>/dev/null | wc -l)" = 10'
waited 'test "$(ls outbox/*.json | wc -l)" = 10'
waited 'test -z "$(ls outbox/.digit-worker/journal)"'
echo $(( ($(date +%s%N) - mended) / 1000000 )) > mended-ms
stop
cp -r outbox result
"""


@dataclass(frozen=True, slots=True)
class World:
    """What is done before the worker starts, what breaks, what mends it, what the log says between (a pattern).

    Pictures are dropped into the folder `drop` when it is broken.
    """

    breaks: str
    mends: str
    said: str
    prepare: str = ":"
    drop: str = "inbox"


def kinds(names: Iterable[str], *quick: str) -> list[Any]:
    """Parameters of a test: those that are not `quick` are left to the long run."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.long) for name in names]


def played(script: str, folder: Path, *program: str, timeout_s: float = 280, **more: str) -> None:
    """Run a script in `folder`; `work` starts the program in it, `waited` waits, `stop` ends the worker."""
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "bash", "-c", _BEGIN + script],
        cwd=folder,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
            "PROGRAM": " ".join(program),
            **more,
        },
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def break_and_mend(folder: Path, world: World, pictures: Mapping[str, bytes], *program: str) -> None:
    """Drop ten pictures into a broken world, mend it, and hold the disk to the law afterwards."""
    (folder / "ready").mkdir()
    for name, data in pictures.items():
        (folder / "ready" / name).write_bytes(data)
    played(
        _BREAK_AND_MEND,
        folder,
        *program,
        PREPARE=world.prepare,
        BREAK=world.breaks,
        MEND=world.mends,
        SAID=world.said,
        DROP=world.drop,
    )
    assert int((folder / "mended-ms").read_text()) < RESUMED_WITHIN_MS
    result = folder / "result"
    records = [json.loads(path.read_text()) for path in result.glob("*.json")]
    assert {record["source"]["name"] for record in records} == set(pictures)
    assert len(records) == len(pictures) == 10
    assert {record["status"] for record in records} <= {"read", "review"}
    assert all((result / record["annotated"]).stat().st_size for record in records)
    for name, data in pictures.items():
        assert (result / "done" / name).read_bytes() == data
    assert list((folder / "inbox").glob("*.png")) == []
    assert [
        *(result / ".digit-worker/staging").iterdir(),
        *(result / ".digit-worker/journal").iterdir(),
    ] == []
    counts = json.loads((result / ".digit-worker/status.json").read_text())["counts"]
    assert (counts["published"], counts["failed"], counts["waiting"]) == (10, 0, 0)
