"""Inbox or outbox is unmounted below a running worker: it pauses, blames nobody, and goes on by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration import hostile
from tests.worlds import kinds, needs_mounts, played

# `keep` holds the mount while it is away from its place.
SCENARIO = """
for folder in inbox outbox keep; do mkdir $folder; done
mount -t tmpfs tmpfs inbox
mount -t tmpfs tmpfs outbox
work
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
stop
cp outbox/.digit-worker/status.json status.json
ls outbox > published
"""


@needs_mounts
@pytest.mark.parametrize("which", kinds(["inbox", "outbox"], "outbox"))
def test_what_is_unmounted_is_waited_for_and_nothing_is_written_below(tmp_path: Path, which: str) -> None:
    (tmp_path / "picture.png").write_bytes(hostile.picture())
    (tmp_path / "config.yaml").write_text("inbox: inbox\noutbox: outbox\nrescan_s: 1\nsettle_s: 0.1\n")
    other = "inbox" if which == "outbox" else "outbox"
    played(SCENARIO, tmp_path, *hostile.WORKER, WHICH=which, OTHER=other)
    assert (tmp_path / "hidden-below").read_text() == ""
    published = (tmp_path / "published").read_text().split()
    expected = {"first.png.json", "second.png.json"} | (
        {"meanwhile.png.json"} if which == "outbox" else set()
    )
    assert expected <= set(published)
    counts = json.loads((tmp_path / "status.json").read_text())["counts"]
    assert counts["failed"] == 0
