"""The world's faults are waited for: nothing is blamed on a picture, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, png, write_config

CAN_MOUNT = (
    os.geteuid() == 0
    and shutil.which("unshare") is not None
    and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0
)

# Runs in a mount namespace of its own: what it mounts is gone with it.
SCENARIO = """
set -eu
mount -t tmpfs -o size=400k tmpfs outbox
dd if=/dev/zero of=outbox/filler bs=1k count=392 2>/dev/null
"$PYTHON" -m worker run --config config.yaml 2>log & worker=$!
trap 'kill -9 $worker 2>/dev/null || true' EXIT
waited() { for _ in $(seq 600); do if eval "$1"; then return 0; fi; sleep 0.1; done; cat log; return 1; }
waited 'grep -q paused log'
waited '"$PYTHON" -m worker status --json --config config.yaml > paused.json && grep -q "No space left" paused.json'
ls inbox > inbox-while-full
rm outbox/filler
waited 'ls outbox/done/9.png 2>/dev/null'
waited 'test "$(ls outbox/*.json | wc -l)" = 10'
kill -TERM $worker
wait $worker
trap - EXIT
cp -r outbox result
"""


@pytest.mark.skipif(not CAN_MOUNT, reason="needs root and mount namespaces")
def test_a_full_disk_pauses_the_worker_and_blames_nobody(folders: Path) -> None:
    write_config(folders)
    for digit in range(10):
        (folders / "inbox" / f"{digit}.png").write_bytes(png(digit, height_px=24))
    subprocess.run(
        ["unshare", "-m", "bash", "-c", SCENARIO],
        cwd=folders,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        timeout=170,
        check=True,
    )
    status = json.loads((folders / "paused.json").read_text())
    assert status["state"] == "paused"
    assert status["fault"]["since_s"] > 0
    assert len((folders / "inbox-while-full").read_text().split()) == 10
    records = [json.loads(path.read_text()) for path in (folders / "result").glob("*.json")]
    assert len(records) == 10
    assert {record["status"] for record in records} <= {"read", "review"}
    assert len(list((folders / "result" / "done").iterdir())) == 10
    assert list((folders / "inbox").glob("*.png")) == []


# Each: what is done before the worker starts, what breaks the world while it runs, what mends it.
BROKEN_WORLDS = {
    "no inodes left": (
        "mount -t tmpfs -o size=8m,nr_inodes=40 tmpfs outbox",
        "for i in $(seq 60); do : > outbox/filler-$i || break; done 2>/dev/null",
        "rm outbox/filler-*",
        "No space left",
    ),
    "no bytes left": (
        "mount -t tmpfs -o size=800k tmpfs outbox",
        "dd if=/dev/zero of=outbox/filler bs=1k 2>/dev/null || true",
        "rm outbox/filler",
        "No space left",
    ),
    # An ext4 that met an error stays read-only until it was unmounted and repaired: so the worker is stopped.
    "ext4 turned read-only": (
        "truncate -s 24M disk; mkfs.ext4 -q disk; mount -o loop,errors=remount-ro disk outbox",
        'echo 1 > "/sys/fs/ext4/$(basename "$(findmnt -no SOURCE outbox)")/trigger_fs_error"',
        (
            "kill -TERM $worker; wait $worker; umount outbox; e2fsck -fy disk > repair || true;"
            'mount -o loop disk outbox; "$PYTHON" -m worker run --config config.yaml 2>>log & worker=$!'
        ),
        "Read-only",
    ),
    "inbox moved away": (":", "mv inbox elsewhere", "mv elsewhere inbox", "is missing"),
}
BREAK_AND_MEND = """
set -eu
eval "$PREPARE"
"$PYTHON" -m worker run --config config.yaml 2>log & worker=$!
trap 'kill -9 $worker 2>/dev/null || true' EXIT
waited() { for _ in $(seq 900); do if eval "$1"; then return 0; fi; sleep 0.1; done; cat log; return 1; }
waited 'grep -q "\"ready\"" log'
eval "$BREAK"
cp ready/*.png "$(test -d inbox && echo inbox || echo elsewhere)/"
waited 'grep -q "\"paused\"" log'
sleep 2
eval "$MEND"
mended=$(date +%s%N)
waited 'test "$(ls outbox/done 2>/dev/null | wc -l)" = 10'
waited 'test "$(ls outbox/*.json | wc -l)" = 10'
echo $(( ($(date +%s%N) - mended) / 1000000 )) > mended-ms
kill -TERM $worker
wait $worker
trap - EXIT
cp -r outbox result
"""


@pytest.mark.skipif(not CAN_MOUNT, reason="needs root and mount namespaces")
@pytest.mark.parametrize("world", BROKEN_WORLDS)
def test_a_broken_world_is_waited_for_and_work_resumes_in_30_s(folders: Path, world: str) -> None:
    prepare, breaks, mends, said = BROKEN_WORLDS[world]
    if "mkfs" in prepare and not (shutil.which("mkfs.ext4") and Path("/dev/loop-control").exists()):
        pytest.skip("needs mkfs.ext4 and loop devices")
    write_config(folders, "rescan_s: 2")
    (folders / "ready").mkdir()
    for digit in range(10):
        (folders / "ready" / f"{digit}.png").write_bytes(png(digit, height_px=24))
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", BREAK_AND_MEND],
        cwd=folders,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "PREPARE": prepare,
            "BREAK": breaks,
            "MEND": mends,
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int((folders / "mended-ms").read_text()) < 30_000
    log = (folders / "log").read_text()
    assert said in log
    records = [json.loads(path.read_text()) for path in (folders / "result").glob("*.json")]
    assert len(records) == 10
    assert {record["status"] for record in records} <= {"read", "review"}
    for digit in range(10):
        name = f"{digit}.png"
        assert (folders / "result/done" / name).read_bytes() == (folders / "ready" / name).read_bytes()
    assert list((folders / "inbox").glob("*.png")) == []


def test_an_inbox_that_is_removed_and_made_again_is_served_again(folders: Path) -> None:
    from tests.acceptance.conftest import Worker, eventually

    config = write_config(folders, "rescan_s: 2")
    log = folders / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "run", "--config", str(config)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=file,
        )
    worker = Worker(process, folders / "inbox", folders / "outbox", config, log)
    try:
        eventually(lambda: worker.has_event("ready"), 90)
        shutil.rmtree(worker.inbox)
        eventually(lambda: worker.has_event("paused"), 20)
        worker.inbox.mkdir()
        worker.drop("again.png", png(4))
        assert worker.record("again.png", 40)["text"] == "4"
        assert worker.stop() == 0
    finally:
        process.kill()
        process.wait(10)
