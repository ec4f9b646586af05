"""Inbox or outbox is a share that refuses, stalls or keeps quiet: nothing is blamed on a picture."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.integration import hostile
from tests.worlds import World, break_and_mend, kinds, needs_mounts, played

SHARE = Path(__file__).with_name("bad_share.py")


def _why_no_share() -> str:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse"
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:  # the library says so where libfuse is missing
        return f"needs mfusepy and libfuse: {error}"
    return ""


pytestmark = [
    needs_mounts,
    pytest.mark.skipif(bool(_why_no_share()), reason=_why_no_share() or "FUSE is here"),
]


PICTURES = {f"{number}.png": hostile.picture(bytes([number])) for number in range(10)}


def shared(tmp_path: Path, which: str, *lines: str) -> str:
    """The folders, one of them on a share that is served from `behind`; returns the script that mounts it."""
    for folder in ("inbox", "outbox", "behind"):
        (tmp_path / folder).mkdir()
    (tmp_path / "rules").touch()
    # Batches of two: so few files are synced one by one. A syncfs(2) never reaches a share of this kind.
    quick: tuple[str, ...] = ("settle_s: 0.1", "heartbeat_s: 0.2", "incomplete_after_s: 2", "batch_size: 2")
    quick += lines or ("rescan_s: 1",)
    (tmp_path / "config.yaml").write_text("\n".join(["inbox: inbox", "outbox: outbox", *quick]) + "\n")
    return f'"$PYTHON" "{SHARE}" behind {which} rules & share=$!; waited "mountpoint -q {which}"\n'


# Which folder, what its share does from then on, what the log says.
FAULTS = {
    "no byte can be staged": ("outbox", "write staging EIO", "paused"),
    "no file can be staged": ("outbox", "create staging ENOSPC", "paused"),
    "staged files cannot be synced": ("outbox", "fsync staging EIO", "paused"),
    "the names of staged files cannot be synced": ("outbox", "fsyncdir staging EIO", "paused"),
    "the names in the log cannot be synced": ("outbox", "fsyncdir journal EIO", "paused"),
    "no record can be put in its place": ("outbox", "rename *.png.json EIO", "paused"),
    "no original can be put away": ("outbox", "rename /done/ ENOSPC", "paused"),
    "no entry can be cleared": ("outbox", "unlink .entry EIO", "paused"),
    "what is written cannot be closed": ("outbox", "flush staging EIO", "paused"),
    "nothing works in the outbox": ("outbox", "* * EIO", "paused"),
    "the outbox is there to be read alone": ("outbox", "create * EROFS", "paused"),
    "nothing works in the inbox": ("inbox", "* * EIO", "paused"),
    "the inbox cannot be listed": ("inbox", "readdir * EIO", "paused"),
    "no picture can be read": ("inbox", "read .png EIO", "paused"),
    "one picture lies on a bad spot": ("inbox", "read *3.png EIO", "picture_unreadable_yet"),
    "no original lets itself be removed": ("inbox", "unlink .png EIO", "paused"),
}


@pytest.mark.parametrize(
    "fault",
    kinds(
        FAULTS,
        "no byte can be staged",
        "the names in the log cannot be synced",
        "nothing works in the outbox",
    ),
)
def test_a_share_that_refuses_is_waited_for_and_nobody_is_blamed(tmp_path: Path, fault: str) -> None:
    which, rule, said = FAULTS[fault]
    prepare = shared(tmp_path, which)
    drop = "behind" if which == "inbox" else "inbox"
    world = World(f"echo '{rule}' > rules", ": > rules", f'"{said}"', prepare, drop)
    break_and_mend(tmp_path, world, PICTURES, *hostile.WORKER)
    assert (tmp_path / "rules.followed").read_text()


STALLED = """
work
waited 'grep -q "\\"ready\\"" log'
echo "$RULE" > rules
cp ready/*.png $DROP/
waited 'test -s rules.followed'
for turn in 1 2 3; do sleep 1; cp $SEEN/.digit-worker/status.json stalled-$turn; done
ls $SEEN/*.json 2>/dev/null > too-early || true
: > rules
waited 'test "$(ls outbox/*.json 2>/dev/null | wc -l)" = 10'
stop
cp outbox/.digit-worker/status.json status.json
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("which", "rule", "drop", "seen"),
    [("outbox", "write staging 5", "inbox", "behind"), ("inbox", "read .png 5", "behind", "outbox")],
)
def test_a_share_that_stalls_delays_and_the_loop_goes_on_meanwhile(
    tmp_path: Path, which: str, rule: str, drop: str, seen: str
) -> None:
    prepare = shared(tmp_path, which)
    (tmp_path / "ready").mkdir()
    for name, data in PICTURES.items():
        (tmp_path / "ready" / name).write_bytes(data)
    played(prepare + STALLED, tmp_path, *hostile.WORKER, RULE=rule, DROP=drop, SEEN=seen)
    stalled = [json.loads((tmp_path / f"stalled-{turn}").read_text()) for turn in (1, 2, 3)]
    assert [status["state"] for status in stalled] == ["working"] * 3
    written_at_s = [status["written_at_s"] for status in stalled]
    assert written_at_s == sorted(set(written_at_s))
    assert (tmp_path / "too-early").read_text() == ""
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["counts"]["published"], status["counts"]["failed"]) == (10, 0)
    assert '"paused"' not in (tmp_path / "log").read_text()


SILENT = """
work
waited 'grep -q "\\"ready\\"" log'
cp ready/*.png behind/
waited 'test "$(ls outbox/*.json 2>/dev/null | wc -l)" = 10'
sleep 0.5
stop
cp outbox/.digit-worker/status.json status.json
"""


@pytest.mark.parametrize(
    ("lines", "mode", "unannounced"),
    [
        (("watch: inotify", "rescan_s: 1"), "inotify", 10),
        (("watch: auto", "rescan_s: 600", "poll_interval_s: 0.5"), "polling", 0),
    ],
)
def test_what_another_machine_puts_on_a_share_is_found_without_events(
    tmp_path: Path, lines: tuple[str, ...], mode: str, unannounced: int
) -> None:
    """`behind` is the other machine: the kernel sees nothing of what is done there."""
    prepare = shared(tmp_path, "inbox", *lines)
    (tmp_path / "ready").mkdir()
    for name, data in PICTURES.items():
        (tmp_path / "ready" / name).write_bytes(data)
    played(prepare + SILENT, tmp_path, *hostile.WORKER)
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["watcher"]["mode"] == mode
    assert status["counts"]["published"] == 10
    assert status["counts"]["unannounced"] == unannounced
