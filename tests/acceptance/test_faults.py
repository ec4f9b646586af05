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
from tests.worlds import World, break_and_mend, needs_mounts, played

QUICK = "engine: litert"  # the same worker, but for three seconds of importing TensorFlow

FULL_DISK = """
mount -t tmpfs -o size=400k tmpfs outbox
dd if=/dev/zero of=outbox/filler bs=1k count=392 2>/dev/null
work
waited 'grep -q paused log'
waited '"$PYTHON" -m worker status --json --config config.yaml > paused.json && grep -q "No space left" paused.json'
ls inbox > inbox-while-full
rm outbox/filler
waited 'ls outbox/done/9.png 2>/dev/null'
waited 'test "$(ls outbox/*.json | wc -l)" = 10'
stop
cp -r outbox result
"""


@needs_mounts
def test_a_full_disk_pauses_the_worker_and_blames_nobody(folders: Path) -> None:
    write_config(folders, QUICK)
    for digit in range(10):
        (folders / "inbox" / f"{digit}.png").write_bytes(png(digit, height_px=24))
    played(FULL_DISK, folders, "-m", "worker")
    status = json.loads((folders / "paused.json").read_text())
    assert status["state"] == "paused"
    assert status["fault"]["since_s"] > 0
    assert len((folders / "inbox-while-full").read_text().split()) == 10
    records = [json.loads(path.read_text()) for path in (folders / "result").glob("*.json")]
    assert len(records) == 10
    assert {record["status"] for record in records} <= {"read", "review"}
    assert len(list((folders / "result" / "done").iterdir())) == 10
    assert list((folders / "inbox").glob("*.png")) == []


BROKEN_WORLDS = {
    "no inodes left": World(
        prepare="mount -t tmpfs -o size=8m,nr_inodes=40 tmpfs outbox",
        breaks="for i in $(seq 60); do : > outbox/filler-$i || break; done 2>/dev/null",
        mends="rm outbox/filler-*",
        said="No space left",
    ),
    "no bytes left": World(
        prepare="mount -t tmpfs -o size=800k tmpfs outbox",
        breaks="dd if=/dev/zero of=outbox/filler bs=1k 2>/dev/null || true",
        mends="rm outbox/filler",
        said="No space left",
    ),
    # What met an error stays read-only until it was unmounted and repaired. The worker is not stopped for that.
    "ext4 turned read-only after an error": World(
        prepare="truncate -s 24M disk; mkfs.ext4 -q disk; mount -o loop,errors=remount-ro disk outbox",
        breaks='echo 1 > "/sys/fs/ext4/$(basename "$(findmnt -no SOURCE outbox)")/trigger_fs_error"',
        mends="""
            device=$(findmnt -no SOURCE outbox)
            umount -l outbox
            waited 'test ! -e "/sys/fs/ext4/$(basename "$device")"'
            e2fsck -fy disk > repair || true
            mount -o loop disk outbox
        """,
        said="Read-only",
    ),
    "ext4 mounted read-only, then writable again": World(
        prepare="truncate -s 24M disk; mkfs.ext4 -q disk; mount -o loop disk outbox",
        # The kernel refuses it for a mount with files that are open for writing: for one above it, it does not.
        breaks="mount --bind outbox outbox; mount -o remount,bind,ro outbox",
        mends="mount -o remount,bind,rw outbox",
        said="Read-only",
    ),
    "inbox moved away": World(
        breaks="mv inbox elsewhere", mends="mv elsewhere inbox", said="is missing", drop="elsewhere"
    ),
}


@needs_mounts
@pytest.mark.long
@pytest.mark.parametrize("broken", BROKEN_WORLDS)
def test_a_broken_world_is_waited_for_and_work_resumes_in_30_s(folders: Path, broken: str) -> None:
    world = BROKEN_WORLDS[broken]
    if "mkfs" in world.prepare and not (shutil.which("mkfs.ext4") and Path("/dev/loop-control").exists()):
        pytest.skip("needs mkfs.ext4 and loop devices")
    write_config(folders, QUICK, "rescan_s: 2")
    break_and_mend(
        folders, world, {f"{digit}.png": png(digit, height_px=24) for digit in range(10)}, "-m", "worker"
    )


def test_an_inbox_that_is_removed_and_made_again_is_served_again(folders: Path) -> None:
    from tests.acceptance.conftest import Worker, eventually

    config = write_config(folders, QUICK, "rescan_s: 2")
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
