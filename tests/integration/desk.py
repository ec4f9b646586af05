"""A drop folder, a worker and a consumer in small, and the law that the disk is held to afterwards."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker.delivery import disk
from worker.delivery.outbox import Durability, Outbox
from worker.intake.arrivals import Arrival, Kind
from worker.outcome import AnnotatedPicture, Outcome, Status
from worker.reasons import Reason, ReasonCode

MODEL = ("digits", "c" * 64)
DROPS = {  # two batches: the second one begins while the log of the first is not yet cleared
    "a/one.png": b"one",
    "two.png": b"two",
    "bad.png": b"bad",
    "late.png": b"late",
}
BATCHES = (("a/one.png", "two.png", "bad.png"), ("late.png",))


class Desk:
    """One drop folder and one consumer, with a law to hold them to."""

    def __init__(self, base: Path, *, consumes: bool, again: bool, durability: Durability) -> None:
        self.base = base
        self.inbox, self.outbox = base / "inbox", base / "outbox"
        self.consumes = consumes
        self.again = again
        self.durability = durability
        self.inbox.mkdir()
        self.outbox.mkdir()
        (base / "consumed").mkdir()
        if again:  # every drop was answered before, with the other outcome for one of them
            self._drop_all()
            first = Outbox(self.inbox, self.outbox)
            first.commit([self.read(name, Status.FAILED) for name in ("bad.png", "two.png")], *MODEL)
            first.commit([self.read(name) for name in ("a/one.png", "late.png")], *MODEL)
            first.flush()
            first.close()
        self._drop_all()

    def _drop_all(self) -> None:
        for name, content in DROPS.items():
            (self.inbox / name).parent.mkdir(exist_ok=True)
            (self.inbox / name).write_bytes(content)

    def read(self, name: str, status: Status | None = None) -> Outcome:
        if status is None:
            status = Status.FAILED if name == "bad.png" else Status.READ
        seen = (self.inbox / name).lstat()
        is_failed = status is Status.FAILED
        picture = None if is_failed else AnnotatedPicture(b"picture of " + name.encode(), ".png")
        numbers = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        return Outcome(
            arrival=Arrival(name, Kind.FILE, *numbers, received_at_s=time.time()),
            status=status,
            text=None if is_failed else "",
            confidence=None if is_failed else 0.0,
            digits=(),
            reason=Reason.of(ReasonCode.UNDECODABLE) if is_failed else None,
            sha256=hashlib.sha256((self.inbox / name).read_bytes()).hexdigest(),
            size_bytes=seen.st_size,
            width=None,
            height=None,
            picture=picture,
            finished_at=datetime.now(UTC),
        )

    def waiting(self) -> list[str]:
        return [name for name in DROPS if (self.inbox / name).exists()]

    def work(self, on_step: Callable[[str], None]) -> None:
        """What a worker does: finish earlier work, then answer what the inbox holds."""
        worker = Outbox(self.inbox, self.outbox, self.durability, on_step=on_step)
        worker.recover()
        for batch in BATCHES:
            worker.commit([self.read(name) for name in batch if name in self.waiting()], *MODEL)
        worker.flush()
        worker.close()

    def shown(self) -> set[str]:
        found = set()
        for folder, folders, files in os.walk(self.outbox):
            if folder == str(self.outbox):
                folders[:] = [name for name in folders if name != ".digit-worker"]
            found |= {os.path.relpath(os.path.join(folder, file), self.outbox) for file in files}
        return found

    def consume(self) -> None:
        """Take every record with its picture away at once, as the fastest consumer would."""
        for name in sorted(self.shown()):
            if name.endswith(".json"):
                record = json.loads((self.outbox / name).read_bytes())
                kept = self.base / "consumed" / f"{time.time_ns()}-{os.getpid()}.json"
                if record["annotated"] is not None:
                    (self.outbox / record["annotated"]).unlink()  # raises where the promise is broken
                os.rename(self.outbox / name, kept)

    def broken_laws(self) -> list[str]:
        """What is not as it should be when all is done."""
        kept = [path.read_bytes() for path in (self.base / "consumed").iterdir()]
        kept += [(self.outbox / name).read_bytes() for name in self.shown() if name.endswith(".json")]
        answers = Counter(json.loads(data)["source"]["name"] for data in kept)
        faults = [f"{name} has {answers[name]} records" for name in DROPS if answers[name] != 1]
        for name, content in DROPS.items():
            folder = "failed" if name == "bad.png" else "done"
            original = self.outbox / folder / name
            if not original.exists() or original.read_bytes() != content:
                faults.append(f"the original of {name} is not in {folder}")
        expected = {f"{'failed' if name == 'bad.png' else 'done'}/{name}" for name in DROPS}
        if not self.consumes:
            expected |= {f"{name}.json" for name in DROPS}
            expected |= {f"{name}.annotated.png" for name in DROPS if name != "bad.png"}
        if self.shown() != expected:
            faults.append(f"the outbox shows {sorted(self.shown() ^ expected)} wrongly")
        faults += [f"{name} is still in the inbox" for name in self.waiting()]
        for folder in ("staging", "journal"):
            faults += [
                f"{folder} holds {name}" for name in os.listdir(self.outbox / ".digit-worker" / folder)
            ]
        return faults


def refuse_renames_out_of_the_inbox() -> None:
    """Make inbox and outbox two mounts."""
    real_fresh, real_rename = disk.rename_fresh, os.rename

    def across(real: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def rename(source: Any, target: Any) -> None:
            if "/inbox/" in str(source) and "/outbox/" in str(target):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)
            real(source, target)

        return rename

    disk.rename_fresh = across(real_fresh)  # type: ignore[assignment]
    os.rename = across(real_rename)  # type: ignore[assignment]
