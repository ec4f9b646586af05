"""What waits: hints from the watching thread, and files for the reader.

`Intake` is what the driver talks to. It believes the directory alone: a hint, whatever it says, only
makes it look, and a scan finds all there is. It remembers each entry by its name together with what the
entry was when last seen (`Sight`), so that a name that is used again is a new drop.
"""

from __future__ import annotations

import heapq
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from operator import itemgetter
from typing import Protocol

from worker.intake.arrivals import (
    Arrival,
    BlockedFolder,
    Folder,
    IgnoreRules,
    Kind,
    SettleRule,
    Sight,
    Watched,
)

# --- hints -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hinted:
    """The hints that came since the last time.

    `files`: name → whether the last thing heard of it is that its writer closed it. `folders` came into
    being and hold what no event told. `everything`: hints were lost, only a scan helps.
    """

    files: dict[str, bool]
    folders: tuple[str, ...]
    everything: bool


class Flag(Protocol):
    """What tells the driver that there is something to take: a `threading.Event`, or the driver's own."""

    def set(self) -> None:
        """Say that there is."""

    def clear(self) -> None:
        """Forget it."""


class Hints:
    """A bounded buffer of hints between the watching thread and the driver; safe to use from any thread.

    Over `limit` names it forgets them all and asks for a scan instead: that costs less than they do.
    `arrived` is set whenever there is something to take; the driver may pass an event of its own.
    """

    def __init__(self, limit: int = 10_000, arrived: Flag | None = None) -> None:
        self.arrived: Flag = arrived if arrived is not None else threading.Event()
        self._limit = limit
        self._lock = threading.Lock()
        self._files: dict[str, bool] = {}
        self._folders: dict[str, None] = {}
        self._everything = False

    def file(self, name: str, *, closed: bool) -> None:
        """Say that something happened to a file; `closed` when its writer closed it."""
        with self._lock:
            # The last word counts: what is moved over a closed file has not been closed.
            self._files[name] = closed
            self._settle()

    def folder(self, name: str) -> None:
        """Say that a folder came into being, with or without files in it."""
        with self._lock:
            self._folders[name] = None
            self._settle()

    def everything(self) -> None:
        """Say that anything may have happened."""
        with self._lock:
            self._everything = True
            self._settle()

    def take(self) -> Hinted:
        """Hand over what came since the last time, and forget it."""
        with self._lock:
            hinted = Hinted(self._files, tuple(self._folders), self._everything)
            self._files, self._folders, self._everything = {}, {}, False
            self.arrived.clear()
            return hinted

    def _settle(self) -> None:
        if len(self._files) + len(self._folders) > self._limit:
            self._files, self._folders, self._everything = {}, {}, True
        self.arrived.set()


# --- whose turn it is ------------------------------------------------------------------------------------

_BLOCK = 512
HANDFUL = 64  # files that are handed out whatever their size
HANDFUL_BYTES = (
    2 * 1024**2
)  # and no more beyond so much: small files are cheaper in large batches, others wait longer


class FairQueue:
    """Names in the order in which they were put into the folder (`ctime`, which no copy tool can set).

    The oldest come first, yet a newcomer does not stand behind a whole backlog: of the places in a batch
    a quarter, and at least one, goes to the newest; a batch of one goes to the oldest and to the newest
    in turn. So the oldest advance whatever keeps coming, and of a backlog of any length the newcomer is
    in the next batch.

    Kept as sorted blocks: adding, removing and taking cost O(log n) comparisons and a move within a block.
    """

    def __init__(self) -> None:
        self._blocks: list[list[tuple[int, str]]] = []
        self._length = 0
        self._is_newest_turn = False

    def __len__(self) -> int:
        return self._length

    def add(self, placed_ns: int, name: str) -> None:
        """Put a name in its place by the time it was put into the folder (ns)."""
        key = (placed_ns, name)
        self._length += 1
        if not self._blocks:
            self._blocks.append([key])
            return
        index = self._block_of(key)
        block = self._blocks[index]
        insort(block, key)
        if len(block) > 2 * _BLOCK:
            self._blocks[index : index + 1] = [block[:_BLOCK], block[_BLOCK:]]

    def remove(self, placed_ns: int, name: str) -> None:
        """Take out what `add` put in; KeyError when it is not there."""
        key = (placed_ns, name)
        index = self._block_of(key)
        block = self._blocks[index] if self._blocks else []
        place = bisect_left(block, key)
        if place == len(block) or block[place] != key:
            raise KeyError(key)
        self._pop(index, place)

    def take(self, count: int) -> list[str]:
        """Take up to `count` names by the rule of the class, the oldest ones first."""
        if self._length <= count:
            names = [name for block in self._blocks for _, name in block]
            self._blocks, self._length = [], 0
            return names
        if count == 1:
            newest = int(self._is_newest_turn)
            self._is_newest_turn = not self._is_newest_turn
        else:
            newest = max(1, count // 4)
        oldest = [self._pop(0, 0) for _ in range(count - newest)]
        return oldest + [self._pop(-1, -1) for _ in range(newest)]

    def _block_of(self, key: tuple[int, str]) -> int:
        return max(bisect_right(self._blocks, key, key=itemgetter(0)) - 1, 0)

    def _pop(self, index: int, place: int) -> str:
        block = self._blocks[index]
        _, name = block.pop(place)
        self._length -= 1
        if not block:
            del self._blocks[index]
        return name


# --- the intake ------------------------------------------------------------------------------------------


class _State(Enum):
    SETTLING = "settling"  # its timer says when to look again
    READY = "ready"  # in the queue
    IN_WORK = "in work"  # the reader or delivery has it
    HELD = "held"  # it may not be looked at or moved; the next scan tries again
    STUCK = "stuck"  # answered, but could not be moved away
    ASIDE = "aside"  # kept apart by the driver, which says when it goes on


@dataclass(slots=True, eq=False)
class _Entry(Watched):
    """What the intake knows of one name in the inbox."""

    received_at_s: float = 0.0
    state: _State = _State.SETTLING
    timer: list[_Entry] | None = None  # who is to be looked at together with it
    scan: int = 0  # the last scan that met it
    was_announced: bool = True
    # What was heard of it while in work: nothing, something (False), or that it was closed (True).
    heard: bool | None = None


@dataclass(slots=True)
class _Timers:
    """Entries by the moment at which to look at them; those of one scan share a moment, so this stays small.

    An entry that has got another moment since is left in its old place and skipped there.
    """

    _moments: list[float] = field(default_factory=list)
    _entries: dict[float, list[_Entry]] = field(default_factory=dict)

    def set(self, entry: _Entry, moment_s: float) -> None:
        together = self._entries.get(moment_s)
        if together is None:
            together = self._entries[moment_s] = []
            heapq.heappush(self._moments, moment_s)
        together.append(entry)
        entry.timer = together

    def due(self, now_s: float) -> Iterator[_Entry]:
        while self._moments and self._moments[0] <= now_s:
            moment_s = heapq.heappop(self._moments)
            together = self._entries.pop(moment_s)
            for entry in together:
                if entry.state is _State.SETTLING and entry.timer is together:
                    entry.timer = None
                    yield entry

    def next_s(self) -> float | None:
        return self._moments[0] if self._moments else None


@dataclass(frozen=True, slots=True)
class Counts:
    """What the intake has seen since it began, and what is there now.

    Always `seen == finished + vanished + waiting + in_work`. `finished` counts answers, so what is stuck
    is among them. `ready`, `held` and `aside` are parts of `waiting`. `foreign` files, `linked_folders` and
    `blocked` folders are those of the last scan. `unannounced` files were found by a scan after the first
    one while events were to be expected, and none has ever told of them: where they keep coming, events are
    not to be trusted.
    """

    seen: int
    finished: int
    vanished: int
    waiting: int
    in_work: int
    ready: int
    held: int
    aside: int
    stuck: int
    foreign: int
    linked_folders: int
    unannounced: int


class Intake:
    """Says which files are ready, each version of each once; to be called from one thread.

    `now_s` is the caller's monotonic clock, `clock` the time of day (seconds since the epoch). A scan asks
    for at most `lease_limit` files whether a writer is left; the others wait until they have settled.
    `expects_events` is false while nobody tells of files, so that what a scan finds surprises nobody.
    """

    def __init__(
        self,
        folder: Folder,
        rule: SettleRule,
        *,
        clock: Callable[[], float] = time.time,
        lease_limit: int = 256,
    ) -> None:
        self._folder = folder
        self._rule = rule
        self._clock = clock
        self._lease_limit = lease_limit
        self._leases_left = 0
        self._entries: dict[str, _Entry] = {}
        self._queue = FairQueue()
        self._timers = _Timers()
        self._look_again: dict[str, bool] = {}
        self._stuck: dict[str, Arrival] = {}
        self._scans = 0
        self._seen = self._finished = self._vanished = 0
        self._in_work = self._held = self._aside = self._unannounced = 0
        self._foreign = self._linked_folders = 0
        self.blocked: dict[str, BlockedFolder] = {}
        self.expects_events = True

    # What the driver tells

    def change_rule(self, rule: SettleRule) -> None:
        """Judge by another rule from now on; what waits on a timer is judged anew when that is over."""
        self._rule = rule

    def change_ignore(self, ignore: IgnoreRules) -> None:
        """Leave other names alone from the next scan on; what waits and is ignored then counts as vanished."""
        self._folder.change_ignore(ignore)

    def look(self, hinted: Hinted, now_s: float) -> None:
        """Follow the hints. WorldError when the inbox is gone or cannot be read."""
        for name, closed in hinted.files.items():
            self.look_at(name, now_s, closed=closed)
        if hinted.everything:
            self.scan(now_s)
            return
        for folder in hinted.folders:
            self.scan_below(folder, now_s)

    def look_at(self, name: str, now_s: float, *, closed: bool = False) -> None:
        """Look at one name of which an event told; `closed` when the event said so."""
        self._leases_left = self._lease_limit
        entry = self._entries.get(name)
        if entry is not None and not entry.was_announced:
            entry.was_announced = True
            self._unannounced -= 1
        self._meet(name, now_s, closed=closed, is_vetted=False)

    def scan(self, now_s: float) -> None:
        """Find all there is, and notice what is gone. WorldError when the inbox cannot be read.

        Files that are known by name and inode are not looked at again: their own timers do that.
        """
        self._scans += 1
        self._leases_left = self._lease_limit
        walk = self._folder.walk()
        is_announced = self._scans == 1 or not self.expects_events
        for name, inode in walk.pictures():
            entry = self._entries.get(name)
            if entry is not None:
                entry.scan = self._scans
                if entry.sight.inode == inode and entry.state not in (_State.HELD, _State.STUCK):
                    continue
            self._meet(name, now_s, is_announced=is_announced)
        self.blocked = walk.blocked
        self._foreign, self._linked_folders = walk.foreign, walk.linked_folders
        self._miss(now_s)

    def scan_below(self, folder: str, now_s: float) -> None:
        """Find what lies in a folder of which an event told."""
        self._leases_left = self._lease_limit
        walk = self._folder.walk()
        for name, _ in walk.pictures(folder):
            self._meet(name, now_s)
        self.blocked |= walk.blocked

    def take(self, max_count: int, now_s: float) -> list[Arrival]:
        """Hand out up to `max_count` ready arrivals by the rule of `FairQueue`; they are then in work.

        They come by handfuls, and no more of them once they have `HANDFUL_BYTES`. Each is looked at once more:
        what is given out is what lies there now, and has settled.
        """
        self._wake(now_s)
        taken: list[Arrival] = []
        taken_bytes = 0
        while self._queue and len(taken) < max_count and taken_bytes < HANDFUL_BYTES:
            for name in self._queue.take(min(HANDFUL, max_count - len(taken))):
                arrival = self._hand_out(self._entries[name], now_s)
                if arrival is not None:
                    taken.append(arrival)
                    taken_bytes += arrival.size_bytes
        return taken

    def finished(self, arrival: Arrival) -> None:
        """Note that the arrival was answered and its file moved away."""
        if self._stuck.pop(arrival.name, None) is not None:
            del self._entries[arrival.name]
            return
        self._release(arrival)
        self._finished += 1

    def vanished(self, arrival: Arrival) -> None:
        """Note that the file was gone before it could be answered."""
        self._release(arrival)
        self._vanished += 1

    def unfinished(self, arrival: Arrival, now_s: float) -> None:
        """Take back a file that is empty or has no end yet.

        It is given out again when it has changed and settled, or, marked as final, when it has been left
        unchanged for `incomplete_after_s`.
        """
        entry = self._take_back(arrival)
        entry.is_unfinished = True
        if arrival.is_final:
            entry.changed_at_s = now_s  # whoever refuses a final one gets it again, but not at once
        self._meet(entry.name, now_s, closed=bool(entry.heard))

    def changed(self, arrival: Arrival, now_s: float) -> None:
        """Take back a file that changed while it was read: it has to settle anew."""
        entry = self._take_back(arrival)
        entry.restart(now_s)
        self._meet(entry.name, now_s, closed=bool(entry.heard))

    def set_aside(self, arrival: Arrival) -> None:
        """Take back an arrival and keep it apart: it waits, and is not given out while it stays as it is."""
        entry = self._take_back(arrival)
        entry.state = _State.ASIDE
        self._aside += 1
        if entry.heard is not None:
            self._look_again[entry.name], entry.heard = entry.heard, None

    def bring_back(self, arrival: Arrival, now_s: float) -> bool:
        """End the keeping apart: the arrival is given out again as any other; False when it is gone by now."""
        entry = self._kept_apart(arrival)
        if entry is None:
            return False
        self._leave_state(entry)
        self._schedule(entry, now_s)
        return True

    def take_up(self, arrival: Arrival) -> bool:
        """End the keeping apart: the arrival is in work; False when it is gone or another version by now."""
        entry = self._kept_apart(arrival)
        if entry is None:
            return False
        self._leave_state(entry)
        entry.state, entry.heard = _State.IN_WORK, None
        self._in_work += 1
        return True

    def hold_back(self, arrival: Arrival) -> None:
        """End the keeping apart: the arrival is held until the next scan."""
        entry = self._kept_apart(arrival)
        if entry is not None:
            self._hold(entry)

    def stuck(self, arrival: Arrival, now_s: float) -> None:
        """Note that the arrival was answered, but its file may not be moved away.

        It is not given out again while its content stays as it is; `stuck_arrivals` lists it, and
        `finished` ends it. One that an earlier run of the worker answered may be named here before it
        was ever seen.
        """
        entry = self._entries.get(arrival.name)
        if entry is None:
            sight = _sight_of(arrival)
            self._seen += 1
            entry = _Entry(arrival.name, sight, now_s, received_at_s=arrival.received_at_s, scan=self._scans)
            self._entries[arrival.name] = entry
        elif entry.state is _State.IN_WORK:
            self._in_work -= 1
        else:
            self._leave_state(entry)
        if arrival.name not in self._stuck:
            self._finished += 1
        entry.state = _State.STUCK
        self._stuck[arrival.name] = arrival
        if entry.heard is not None:
            self._look_again[entry.name], entry.heard = entry.heard, None

    # What the driver asks

    @property
    def stuck_arrivals(self) -> tuple[Arrival, ...]:
        """The answered arrivals whose files could not be moved away yet: that is to be tried again."""
        return tuple(self._stuck.values())

    def next_deadline(self, now_s: float) -> float | None:
        """When `take` may have something to give although no event comes; None when never."""
        if self._queue or self._look_again:
            return now_s
        return self._timers.next_s()

    def oldest_waiting_since_s(self) -> float | None:
        """When the one that waits longest was first seen (seconds since the epoch); None when none waits."""
        waiting = (_State.SETTLING, _State.READY, _State.HELD, _State.ASIDE)
        return next((e.received_at_s for e in self._entries.values() if e.state in waiting), None)

    @property
    def counts(self) -> Counts:
        """The numbers for status and log; see `Counts`."""
        return Counts(
            seen=self._seen,
            finished=self._finished,
            vanished=self._vanished,
            waiting=len(self._entries) - self._in_work - len(self._stuck),
            in_work=self._in_work,
            ready=len(self._queue),
            held=self._held,
            aside=self._aside,
            stuck=len(self._stuck),
            foreign=self._foreign,
            linked_folders=self._linked_folders,
            unannounced=self._unannounced,
        )

    # Looking

    def _meet(
        self,
        name: str,
        now_s: float,
        *,
        closed: bool = False,
        is_vetted: bool = True,
        is_announced: bool = True,
    ) -> None:
        """Look at a name and draw the conclusions.

        A walk has left out what lies in blocked folders; a hint is not vetted so.
        """
        entry = self._entries.get(name)
        if entry is not None and entry.state is _State.IN_WORK:
            entry.heard = closed
            return
        try:
            sight = self._folder.look(name)
        except OSError:
            if entry is not None:
                self._hold(entry)
            return
        if sight is None:
            if entry is not None:
                self._lose(entry)
        elif entry is not None:
            self._see_again(entry, sight, now_s, closed=closed)
        elif is_vetted or not self._folder.is_blocked(name, sight):
            self._admit(name, sight, now_s, closed=closed, is_announced=is_announced)

    def _admit(
        self, name: str, sight: Sight, now_s: float, *, closed: bool, is_announced: bool = True
    ) -> None:
        entry = _Entry(name, sight, now_s, received_at_s=self._clock(), scan=self._scans)
        entry.was_announced = is_announced
        self._unannounced += not is_announced
        self._seen += 1
        self._entries[name] = entry
        self._judge(entry, now_s, closed=closed)

    def _see_again(self, entry: _Entry, sight: Sight, now_s: float, *, closed: bool) -> None:
        is_new_drop = (
            not entry.sight.has_same_content(sight)
            if entry.state is _State.STUCK
            else not entry.sight.is_same_file(sight)
        )
        if is_new_drop:
            self._lose(entry)
            self._admit(entry.name, sight, now_s, closed=closed)
            return
        is_at_rest = entry.state in (_State.READY, _State.ASIDE) and entry.sight == sight
        if entry.state is _State.STUCK or is_at_rest:
            return
        self._leave_state(entry)
        entry.observe(sight, now_s)
        self._judge(entry, now_s, closed=closed)

    def _judge(self, entry: _Entry, now_s: float, *, closed: bool) -> None:
        """Ask for a writer where that can matter, and put the entry into the queue or on a timer."""
        is_content_waited_for = entry.is_unfinished or entry.sight.size_bytes == 0
        can_matter = entry.sight.kind is Kind.FILE and not is_content_waited_for and not entry.is_closed
        if can_matter and self._leases_left > 0:
            self._leases_left -= 1
            has_writer = self._folder.has_writer(entry.name, entry.sight)
            # A program may close the file and open it again at once: then its closing meant nothing.
            entry.has_writer = has_writer is True
            entry.is_closed = not entry.has_writer and (closed or has_writer is False)
        elif closed:
            entry.is_closed, entry.has_writer = True, False
        self._schedule(entry, now_s)

    def _schedule(self, entry: _Entry, now_s: float) -> None:
        if self._rule.due_s(entry) <= now_s:
            entry.state = _State.READY
            self._queue.add(entry.sight.ctime_ns, entry.name)
        else:
            entry.state = _State.SETTLING
            self._timers.set(entry, self._rule.next_look_s(entry, now_s))

    def _wake(self, now_s: float) -> None:
        """Do what has become due."""
        again, self._look_again = self._look_again, {}
        for name, closed in again.items():
            self.look_at(name, now_s, closed=closed)
        self._leases_left = self._lease_limit
        for entry in self._timers.due(now_s):
            if self._entries.get(entry.name) is not entry:
                continue
            if self._rule.waits_for_change(entry):
                self._meet(entry.name, now_s)
            else:
                # Whether it has changed meanwhile is seen when it is handed out: one look is enough.
                self._schedule(entry, now_s)

    def _hand_out(self, entry: _Entry, now_s: float) -> Arrival | None:
        entry.state = _State.SETTLING
        try:
            sight = self._folder.look(entry.name)
        except OSError:
            self._hold(entry)
            return None
        if sight is None:
            self._lose(entry)
            return None
        if sight != entry.sight:
            self._see_again(entry, sight, now_s, closed=False)
            return None
        entry.state = _State.IN_WORK
        entry.heard = None
        self._in_work += 1
        is_final = self._rule.is_final(entry, now_s)
        return Arrival(entry.name, *sight, received_at_s=entry.received_at_s, is_final=is_final)

    def _miss(self, now_s: float) -> None:
        """Look after what the last scan should have met and did not."""
        missed = [
            entry
            for entry in self._entries.values()
            if entry.scan != self._scans and entry.state is not _State.IN_WORK
        ]
        for entry in missed:
            self._meet_missed(entry, now_s)

    def _meet_missed(self, entry: _Entry, now_s: float) -> None:
        """Tell a file that is gone from one that the scan could not reach."""
        try:
            sight = self._folder.look(entry.name)
        except OSError:
            self._hold(entry)
            return
        if sight is None:
            self._lose(entry)
        elif self._is_below_blocked(entry.name):
            self._hold(entry)
        else:
            self._see_again(entry, sight, now_s, closed=False)

    def _is_below_blocked(self, name: str) -> bool:
        if not self.blocked:
            return False
        folder = name.rpartition("/")[0]
        if not folder:
            return "." in self.blocked
        while folder and folder not in self.blocked:
            folder = folder.rpartition("/")[0]
        return bool(folder)

    # Between states

    def _leave_state(self, entry: _Entry) -> None:
        """Take the entry out of what its state put it into; it must get a new state at once."""
        if entry.state is _State.READY:
            self._queue.remove(entry.sight.ctime_ns, entry.name)
        elif entry.state is _State.HELD:
            self._held -= 1
        elif entry.state is _State.ASIDE:
            self._aside -= 1
        entry.state = _State.SETTLING

    def _hold(self, entry: _Entry) -> None:
        if entry.state in (_State.STUCK, _State.HELD):
            return
        self._leave_state(entry)
        entry.state = _State.HELD
        self._held += 1

    def _lose(self, entry: _Entry) -> None:
        """Forget an entry that is no longer there."""
        if entry.state is _State.STUCK:
            del self._stuck[entry.name]  # it was answered, so it has not vanished
        else:
            self._leave_state(entry)
            self._vanished += 1
        del self._entries[entry.name]

    def _kept_apart(self, arrival: Arrival) -> _Entry | None:
        entry = self._entries.get(arrival.name)
        if entry is None or entry.state is not _State.ASIDE or entry.sight != _sight_of(arrival):
            return None
        return entry

    def _take_back(self, arrival: Arrival) -> _Entry:
        entry = self._entries[arrival.name]
        if entry.state is not _State.IN_WORK:
            raise ValueError(f"{arrival.name!r} is not in work")
        self._in_work -= 1
        entry.state = _State.SETTLING
        self._leases_left = self._lease_limit
        return entry

    def _release(self, arrival: Arrival) -> None:
        entry = self._take_back(arrival)
        del self._entries[arrival.name]
        if entry.heard is not None:
            self._look_again[arrival.name] = entry.heard


def _sight_of(arrival: Arrival) -> Sight:
    return Sight(
        arrival.kind,
        arrival.device,
        arrival.inode,
        arrival.size_bytes,
        arrival.mtime_ns,
        arrival.ctime_ns,
    )
