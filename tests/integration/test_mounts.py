"""Inbox or outbox is unmounted below a running worker: it pauses, blames nobody, and goes on by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

HOSTILE = Path(__file__).with_name("hostile.py")  # a worker without TensorFlow
CAN_MOUNT = (
    os.geteuid() == 0
    and shutil.which("unshare") is not None
    and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0
)

# In a mount namespace of its own. `keep` holds the mount while it is away from its place.
SCENARIO = """
set -eu
for folder in inbox outbox keep; do mkdir $folder; done
mount -t tmpfs tmpfs inbox
mount -t tmpfs tmpfs outbox
"$PYTHON" "$HOSTILE" worker run --config config.yaml 2>log & worker=$!
trap 'kill -9 $worker 2>/dev/null || true' EXIT
waited() { for _ in $(seq 400); do if eval "$1"; then return 0; fi; sleep 0.1; done; cat log; return 1; }
waited 'grep -q \\"ready\\" log'
cp picture.png inbox/first.png
waited 'test -e outbox/first.png.json'
mount --bind $WHICH keep
umount -l $WHICH
waited 'grep -q "is it mounted" log'
cp picture.png $OTHER/meanwhile.png || true
sleep 2
ls -A $WHICH > hidden-below
mount --bind keep $WHICH
cp picture.png inbox/second.png
waited 'test -e outbox/second.png.json'
grep -q resumed log
kill -TERM $worker
wait $worker
trap - EXIT
cp outbox/.digit-worker/status.json status.json
ls outbox > published
"""


@pytest.mark.skipif(not CAN_MOUNT, reason="needs root and mount namespaces")
@pytest.mark.parametrize("which", ["inbox", "outbox"])
def test_what_is_unmounted_is_waited_for_and_nothing_is_written_below(tmp_path: Path, which: str) -> None:
    page = np.full((64, 64), 255, np.uint8)
    cv2.line(page, (32, 10), (32, 54), 0, 4)
    (tmp_path / "picture.png").write_bytes(cv2.imencode(".png", page)[1].tobytes())
    (tmp_path / "config.yaml").write_text("inbox: inbox\noutbox: outbox\nrescan_s: 1\nsettle_s: 0.1\n")
    other = "inbox" if which == "outbox" else "outbox"
    subprocess.run(
        ["unshare", "-m", "--propagation", "private", "bash", "-c", SCENARIO],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "HOSTILE": str(HOSTILE),
            "PYTHONPATH": str(HOSTILE.parents[2]),
            "WHICH": which,
            "OTHER": other,
        },
        timeout=170,
        check=True,
    )
    assert (tmp_path / "hidden-below").read_text() == ""
    published = (tmp_path / "published").read_text().split()
    expected = {"first.png.json", "second.png.json"} | (
        {"meanwhile.png.json"} if which == "outbox" else set()
    )
    assert expected <= set(published)
    counts = json.loads((tmp_path / "status.json").read_text())["counts"]
    assert counts["failed"] == 0
