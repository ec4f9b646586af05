"""What a crowded outbox costs: publishing a batch, looking for old originals, telling the status.

    python -m benchmarks.upkeep.crowded_outbox [--records 100000 1000000] [--batches 40] [--folder DIR]

Fills a flat outbox with so many records, and `done/` with as many originals, and publishes batches of 64 and of 1
before and after, with the outbox's own code and nothing else: no model, no watcher. What lies there are links to a
few files: names are what makes a folder large. Prints milliseconds, the median and the longest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from worker.delivery.outbox import Outbox
from worker.delivery.retention import KeepRule, Sweep
from worker.intake.arrivals import Arrival, IgnoreRules, Inbox
from worker.outcome import AnnotatedPicture, Outcome, Status
from worker.service.upkeep import STEP_ENTRIES

RECORD = b'{"schema_version": 1}' + b" " * 900
DEPTH = 100
MOST_LINKS = 60_000  # to one file; ext4 allows 65,000
PICTURE = AnnotatedPicture(b"\x89PNG" + b"x" * 2000, ".png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.upkeep.crowded_outbox", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--records",
        type=int,
        nargs="+",
        default=[100_000, 1_000_000],
        help="that lie there already; ascending",
    )
    parser.add_argument("--batches", type=int, default=40, help="of each size, before and after")
    parser.add_argument("--folder", type=Path, help="where to work; a real disk, please")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="digit-worker-crowd-") as name:
        inbox, records = Path(name) / "inbox", Path(name) / "outbox"
        (records / "done").mkdir(parents=True)
        inbox.mkdir()
        outbox = Outbox(inbox, records)
        outbox.recover()
        _publish(outbox, inbox, "warm", 64, 5)
        before = 0
        for count in (0, *options.records):
            _fill(records, before, count)
            before = count
            for size in (64, 1):
                times_ms = _publish(outbox, inbox, f"{count}-{size}", size, options.batches)
                _say(f"{count:,} records there: publish {size}", times_ms)
        deep = "/".join(["folder"] * DEPTH)
        (inbox / deep).mkdir(parents=True)
        _say(
            f"{DEPTH} folders deep: publish 64", _publish(outbox, inbox, f"{deep}/deep", 64, options.batches)
        )
        outbox.flush()
        started_s = time.monotonic()
        Outbox(inbox, records).recover()
        _say("crowded: recovery at the start", [(time.monotonic() - started_s) * 1000])
        _say("crowded: a step of retention", _sweep(records / "done"))
        outbox.close()
    return 0


def _fill(records: Path, first: int, count: int) -> None:
    """Have `count` records and originals there, `first` of which are there already."""
    for start in range(first, count, MOST_LINKS):
        record, original = (records / f"old-{start:07}.png.json", records / "done" / f"old-{start:07}.png")
        record.write_bytes(RECORD)
        original.write_bytes(b"x")
        for number in range(start + 1, min(start + MOST_LINKS, count)):
            os.link(record, records / f"old-{number:07}.png.json")
            os.link(original, records / "done" / f"old-{number:07}.png")
    os.sync()  # or the first batch would wait for all of these


def _publish(outbox: Outbox, inbox: Path, prefix: str, size: int, batches: int) -> list[float]:
    """Publish so many batches; how long each took (ms)."""
    times_ms = []
    for batch in range(batches):
        outcomes = [_outcome(inbox, f"{prefix}-{batch}-{number}.png") for number in range(size)]
        started_s = time.monotonic()
        outbox.commit(outcomes, "none", "0" * 64)
        times_ms.append((time.monotonic() - started_s) * 1000)
    return times_ms


def _outcome(inbox: Path, name: str) -> Outcome:
    (inbox / name).write_bytes(name.encode())
    sight = Inbox(inbox, IgnoreRules()).look(name)
    if sight is None:
        raise FileNotFoundError(name)
    arrival = Arrival(name, *sight, received_at_s=time.time())
    return Outcome(
        arrival, Status.READ, "1", 1.0, (), None, f"{hash(name) & (2**64 - 1):064x}", arrival.size_bytes, 28, 28,
        PICTURE, datetime.now(UTC),
    )  # fmt: skip


def _sweep(folder: Path) -> list[float]:
    sweep = Sweep(folder, KeepRule(max_bytes=10**12), time.time())
    times_ms = []
    is_going_on = True
    while is_going_on:
        started_s = time.monotonic()
        is_going_on = sweep.go_on(STEP_ENTRIES)
        times_ms.append((time.monotonic() - started_s) * 1000)
    sweep.close()
    return times_ms


def _say(what: str, times_ms: Sequence[float]) -> None:
    print(f"{what:56}{statistics.median(times_ms):9.2f} ms median{max(times_ms):9.2f} ms longest")


if __name__ == "__main__":
    sys.exit(main())
