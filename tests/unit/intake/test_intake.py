from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from worker.intake.arrivals import (
    Arrival,
    BlockedFolder,
    IgnoreRules,
    Kind,
    SettleRule,
    Sight,
    Walk,
    is_picture,
)
from worker.intake.queue import Hinted, Intake

RULE = SettleRule(settle_s=1.0, incomplete_after_s=30.0)


@dataclass
class Desk:
    """A folder in memory, where each change is visible in the entry, as it is on a disk."""

    sights: dict[str, Sight] = field(default_factory=dict)
    writers: dict[str, bool | None] = field(default_factory=dict)
    closed_doors: set[str] = field(default_factory=set)
    blocked: dict[str, BlockedFolder] = field(default_factory=dict)
    ignore: IgnoreRules = field(default_factory=IgnoreRules)
    ticks: int = 0
    looks: int = 0

    def put(self, name: str, size_bytes: int = 100, kind: Kind = Kind.FILE) -> None:
        self.ticks += 1
        self.sights[name] = Sight(kind, 1, self.ticks, size_bytes, self.ticks, self.ticks)

    def write(self, name: str, more_bytes: int = 10) -> None:
        self.ticks += 1
        old = self.sights[name]
        size_bytes = old.size_bytes + more_bytes
        self.sights[name] = old._replace(size_bytes=size_bytes, mtime_ns=self.ticks, ctime_ns=self.ticks)

    def rename(self, name: str, other: str) -> None:
        self.ticks += 1
        self.sights[other] = self.sights.pop(name)._replace(ctime_ns=self.ticks)

    def remove(self, name: str) -> None:
        del self.sights[name]

    def walk(self) -> Walk:
        return DeskWalk("", self.ignore, desk=self)

    def look(self, name: str) -> Sight | None:
        self.looks += 1
        if name in self.closed_doors:
            raise PermissionError(name)
        return self.sights.get(name) if is_picture(name) and not self.ignore.ignores(name) else None

    def has_writer(self, name: str, sight: Sight) -> bool | None:
        return self.writers.get(name)

    def is_blocked(self, name: str, sight: Sight) -> bool:
        return (name.rpartition("/")[0] or ".") in self.blocked

    def change_ignore(self, ignore: IgnoreRules) -> None:
        self.ignore = ignore


@dataclass
class DeskWalk(Walk):
    desk: Desk = field(default_factory=Desk)

    def pictures(self, below: str = "") -> Iterator[tuple[str, int]]:
        self.blocked = dict(self.desk.blocked)
        for name, sight in list(self.desk.sights.items()):
            folder = name.rpartition("/")[0] or "."
            is_ours = is_picture(name) and not self.ignore.ignores(name)
            if name.startswith(below) and is_ours and folder not in self.blocked:
                yield name, sight.inode


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def intake(desk: Desk) -> Intake:
    return Intake(desk, RULE, clock=lambda: 1_700_000_000.0)


def names(arrivals: Iterable[Arrival]) -> list[str]:
    return [arrival.name for arrival in arrivals]


def assert_balanced(intake: Intake) -> None:
    counts = intake.counts
    assert counts.seen == counts.finished + counts.vanished + counts.waiting + counts.in_work
    assert counts.ready + counts.held + counts.aside <= counts.waiting


def test_a_file_found_by_the_first_scan_has_to_settle_like_any_other(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(100.0)
    assert intake.take(8, 100.9) == []
    assert intake.next_deadline(100.9) == 101.0
    assert names(intake.take(8, 101.0)) == ["a.png"]


def test_an_arrival_tells_what_was_seen(desk: Desk, intake: Intake) -> None:
    desk.put("x/a.png", 4711)
    intake.scan(0.0)
    sight = desk.sights["x/a.png"]
    assert intake.take(8, 1.0) == [Arrival("x/a.png", *sight, received_at_s=1_700_000_000.0, is_final=False)]


@pytest.mark.parametrize(("size_bytes", "count"), [(100, 150), (40_000, 64), (20_000, 128), (10**9, 64)])
def test_small_files_are_given_out_by_the_hundred_and_large_ones_by_the_handful(
    desk: Desk, intake: Intake, size_bytes: int, count: int
) -> None:
    for index in range(200):
        desk.put(f"{index}.png", size_bytes)
    intake.scan(0.0)
    given = names(intake.take(150, 1.0))
    assert len(given) == count
    assert "0.png" in given  # the oldest
    assert "199.png" in given  # the newest
    assert_balanced(intake)


def test_a_file_that_grows_is_not_given_out(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    for now_s in range(1, 20):
        desk.write("a.png")
        assert intake.take(8, float(now_s)) == []
    assert names(intake.take(8, 20.0)) == ["a.png"]


def test_a_closed_file_is_given_out_at_once(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look(Hinted({"a.png": True}, (), everything=False), 0.0)
    assert intake.next_deadline(0.0) == 0.0
    assert names(intake.take(8, 0.0)) == ["a.png"]


def test_a_file_that_was_created_only_has_to_settle(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look_at("a.png", 0.0)
    assert intake.take(8, 0.9) == []
    assert names(intake.take(8, 1.0)) == ["a.png"]


def test_a_file_that_has_no_writer_left_need_not_settle(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    desk.writers["a.png"] = False
    intake.scan(0.0)
    assert names(intake.take(8, 0.0)) == ["a.png"]


def test_closing_means_nothing_while_another_writer_is_known(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    desk.writers["a.png"] = True
    intake.look_at("a.png", 0.0, closed=True)
    assert intake.take(8, 10.0) == []
    desk.writers["a.png"] = False
    intake.look_at("a.png", 11.0, closed=True)
    assert names(intake.take(8, 11.0)) == ["a.png"]


def test_a_writer_that_never_closes_is_not_waited_for_for_ever(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    desk.writers["a.png"] = True
    intake.look_at("a.png", 0.0)
    assert run_until_given(intake, 0.0) == (30.0, ["a.png"])


def test_a_writer_that_leaves_without_an_event_is_noticed(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    desk.writers["a.png"] = True
    intake.look_at("a.png", 0.0)
    assert intake.take(8, 1.0) == []
    desk.writers["a.png"] = None
    given_s, given = run_until_given(intake, 1.0)
    assert given == ["a.png"]
    assert given_s < 5.0


def test_of_two_writers_the_last_is_waited_for_and_its_leaving_noticed(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    desk.writers["a.png"] = True
    intake.look_at("a.png", 0.0, closed=True)
    assert intake.take(8, 1.0) == []
    desk.writers["a.png"] = False
    assert run_until_given(intake, 1.0)[0] < 5.0


def test_a_scan_asks_only_for_so_many_writers(desk: Desk) -> None:
    intake = Intake(desk, RULE, lease_limit=3)
    for number in range(10):
        desk.put(f"{number}.png")
        desk.writers[f"{number}.png"] = False
    intake.scan(0.0)
    assert len(intake.take(100, 0.0)) == 3
    assert len(intake.take(100, 1.0)) == 7


def run_until_given(intake: Intake, now_s: float) -> tuple[float, list[str]]:
    """Follow the deadlines alone until something is given out."""
    for _ in range(1000):
        given = intake.take(8, now_s)
        if given:
            return now_s, names(given)
        deadline_s = intake.next_deadline(now_s)
        assert deadline_s is not None
        assert deadline_s > now_s
        now_s = deadline_s
    raise AssertionError("nothing was given out")


def test_an_empty_file_is_given_out_only_as_final(desk: Desk, intake: Intake) -> None:
    desk.put("a.png", 0)
    intake.look_at("a.png", 0.0, closed=True)
    assert intake.take(8, 29.9) == []
    [arrival] = intake.take(8, 30.0)
    assert arrival.is_final


def test_an_empty_placeholder_that_is_filled_is_given_out_once(desk: Desk, intake: Intake) -> None:
    desk.put("a.png", 0)
    intake.look_at("a.png", 0.0, closed=True)
    desk.write("a.png")
    intake.look_at("a.png", 5.0, closed=True)
    [arrival] = intake.take(8, 5.0)
    assert not arrival.is_final
    assert arrival.size_bytes == 10


def test_an_unfinished_file_comes_again_as_final_when_it_is_left_alone(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look_at("a.png", 0.0, closed=True)
    [arrival] = intake.take(8, 0.0)
    intake.unfinished(arrival, 2.0)
    assert intake.take(8, 29.9) == []
    [again] = intake.take(8, 30.0)
    assert again == replace(arrival, is_final=True)


def test_an_unfinished_file_that_goes_on_settles_anew(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    intake.unfinished(arrival, 1.0)
    desk.write("a.png")
    given_s, given = run_until_given(intake, 20.0)
    assert given == ["a.png"]
    assert 21.0 <= given_s <= 30.0


def test_a_closing_without_a_change_does_not_finish_an_unfinished_file(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look_at("a.png", 0.0, closed=True)
    [arrival] = intake.take(8, 0.0)
    intake.look_at("a.png", 0.1, closed=True)
    intake.unfinished(arrival, 0.2)
    intake.look_at("a.png", 0.3, closed=True)
    assert intake.take(8, 29.0) == []


def test_a_final_file_that_is_refused_does_not_come_back_without_pause(desk: Desk, intake: Intake) -> None:
    desk.put("a.png", 0)
    intake.scan(0.0)
    [arrival] = intake.take(8, 30.0)
    intake.unfinished(arrival, 30.0)
    assert run_until_given(intake, 30.0) == (60.0, ["a.png"])


def test_a_file_that_changed_while_being_read_settles_anew(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look_at("a.png", 0.0, closed=True)
    [arrival] = intake.take(8, 0.0)
    desk.write("a.png")
    intake.changed(arrival, 5.0)
    assert intake.take(8, 5.9) == []
    assert names(intake.take(8, 6.0)) == ["a.png"]


def test_a_file_that_changed_and_looks_the_same_settles_anew(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look_at("a.png", 0.0, closed=True)
    [arrival] = intake.take(8, 0.0)
    intake.changed(arrival, 5.0)
    assert run_until_given(intake, 5.0) == (6.0, ["a.png"])


def test_a_file_that_was_closed_while_it_was_read_is_ready_when_it_is_handed_back(
    desk: Desk, intake: Intake
) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    desk.write("a.png")
    intake.look_at("a.png", 1.5, closed=True)
    intake.changed(arrival, 2.0)
    assert names(intake.take(8, 2.0)) == ["a.png"]


def test_a_file_in_work_is_not_given_out_twice_whatever_events_say(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look_at("a.png", 0.0, closed=True)
    assert len(intake.take(8, 0.0)) == 1
    intake.look_at("a.png", 1.0, closed=True)
    intake.scan(2.0)
    assert intake.take(8, 100.0) == []


def test_the_same_name_again_is_a_new_drop(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    desk.remove("a.png")
    intake.finished(arrival)
    desk.put("a.png")
    intake.scan(10.0)
    [again] = intake.take(8, 11.0)
    assert again.inode != arrival.inode
    assert intake.counts.seen == 2


@pytest.mark.parametrize("told_by", ["event", "scan"])
def test_the_same_name_again_while_the_first_is_in_work_is_not_forgotten(
    desk: Desk, intake: Intake, told_by: str
) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    desk.remove("a.png")
    desk.put("a.png")
    if told_by == "event":
        intake.look_at("a.png", 2.0, closed=True)
    else:
        intake.scan(2.0)
    intake.finished(arrival)
    assert run_until_given(intake, 3.0)[1] == ["a.png"]
    assert_balanced(intake)


def test_a_file_that_replaces_a_waiting_one_is_another_drop(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    desk.put("a.png")
    assert intake.take(8, 1.0) == []
    assert names(intake.take(8, 2.0)) == ["a.png"]
    assert (intake.counts.seen, intake.counts.vanished) == (2, 1)


def test_a_file_that_vanishes_while_waiting_is_counted_and_not_given_out(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    desk.put("b.png")
    intake.scan(0.0)
    desk.remove("a.png")
    assert names(intake.take(8, 1.0)) == ["b.png"]
    assert intake.counts.vanished == 1
    assert_balanced(intake)


def test_a_scan_notices_what_is_gone(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look_at("a.png", 0.0, closed=True)
    desk.remove("a.png")
    intake.scan(1.0)
    assert intake.counts.vanished == 1
    assert intake.counts.waiting == 0


def test_a_file_the_reader_could_not_find_is_forgotten(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    desk.remove("a.png")
    intake.vanished(arrival)
    assert intake.counts.vanished == 1
    assert intake.next_deadline(2.0) is None
    assert_balanced(intake)


def test_what_is_not_in_work_cannot_be_finished(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    intake.finished(arrival)
    with pytest.raises(KeyError):
        intake.finished(arrival)
    assert_balanced(intake)


def test_a_file_that_cannot_be_moved_away_is_not_answered_again(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    intake.stuck(arrival, 2.0)
    assert names(intake.stuck_arrivals) == ["a.png"]
    intake.scan(3.0)
    intake.look_at("a.png", 4.0, closed=True)
    desk.sights["a.png"] = desk.sights["a.png"]._replace(ctime_ns=999)  # its mode was changed
    intake.scan(5.0)
    assert intake.take(8, 100.0) == []
    assert_balanced(intake)
    intake.finished(arrival)
    assert intake.stuck_arrivals == ()
    assert intake.counts.finished == 1
    assert_balanced(intake)


@pytest.mark.parametrize("how", ["written", "replaced"])
def test_a_stuck_file_with_new_content_is_a_new_drop(desk: Desk, intake: Intake, how: str) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    intake.stuck(arrival, 2.0)
    if how == "written":
        desk.write("a.png")
    else:
        desk.put("a.png")
    intake.scan(3.0)
    assert intake.stuck_arrivals == ()
    assert names(intake.take(8, 4.0)) == ["a.png"]
    assert_balanced(intake)


def test_a_stuck_file_that_somebody_removes_is_no_longer_listed(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    intake.stuck(arrival, 2.0)
    desk.remove("a.png")
    intake.scan(3.0)
    assert intake.stuck_arrivals == ()
    assert (intake.counts.finished, intake.counts.vanished) == (1, 0)
    assert_balanced(intake)


def test_a_stuck_file_that_may_not_be_looked_at_stays_listed(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    [arrival] = intake.take(8, 1.0)
    intake.stuck(arrival, 2.0)
    desk.closed_doors.add("a.png")
    intake.scan(3.0)
    assert names(intake.stuck_arrivals) == ["a.png"]
    assert intake.counts.held == 0
    desk.closed_doors.clear()
    intake.scan(4.0)
    assert intake.take(8, 100.0) == []
    assert_balanced(intake)


def test_what_an_earlier_run_answered_can_be_named_before_the_first_scan(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.stuck(Arrival("a.png", *desk.sights["a.png"], received_at_s=1.0), 0.0)
    intake.scan(0.0)
    assert intake.take(8, 100.0) == []
    assert_balanced(intake)


def test_a_rescan_does_not_look_at_what_is_known(desk: Desk, intake: Intake) -> None:
    for number in range(50):
        desk.put(f"{number}.png")
    intake.scan(0.0)
    desk.looks = 0
    intake.scan(0.5)
    assert desk.looks == 0


def test_what_no_event_told_of_is_counted_until_one_does(desk: Desk, intake: Intake) -> None:
    desk.put("first.png")
    intake.scan(0.0)
    assert intake.counts.unannounced == 0  # nobody could have told of it
    desk.put("a.png")
    desk.put("b.png")
    desk.put("c.png")
    intake.look_at("c.png", 1.0, closed=True)
    intake.scan(1.0)
    assert intake.counts.unannounced == 2
    intake.look_at("a.png", 1.1, closed=True)  # the event was only late
    assert intake.counts.unannounced == 1


def test_where_nobody_tells_of_files_what_a_scan_finds_is_no_surprise(desk: Desk, intake: Intake) -> None:
    intake.scan(0.0)
    intake.expects_events = False  # the inbox is polled
    desk.put("a.png")
    intake.scan(1.0)
    assert (intake.counts.seen, intake.counts.unannounced) == (1, 0)
    intake.expects_events = True
    desk.put("b.png")
    intake.scan(2.0)
    assert intake.counts.unannounced == 1


def test_hints_of_a_folder_find_what_lies_in_it(desk: Desk, intake: Intake) -> None:
    desk.put("x/a.png")
    desk.put("y/b.png")
    intake.look(Hinted({}, ("x",), everything=False), 0.0)
    assert names(intake.take(8, 1.0)) == ["x/a.png"]


def test_lost_hints_lead_to_a_scan(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.look(Hinted({}, (), everything=True), 0.0)
    assert intake.counts.waiting == 1


def test_files_in_a_blocked_folder_wait_for_it_to_open(desk: Desk, intake: Intake) -> None:
    desk.put("x/a.png")
    desk.put("x/b.png")
    intake.scan(0.0)
    [first] = intake.take(1, 1.0)
    desk.blocked["x"] = BlockedFolder("no right", 2)
    intake.scan(2.0)
    intake.look_at("x/c.png", 2.0, closed=True)
    assert intake.blocked == {"x": BlockedFolder("no right", 2)}
    assert intake.take(8, 50.0) == []
    assert (intake.counts.held, intake.counts.waiting) == (1, 1)
    assert_balanced(intake)
    desk.blocked.clear()
    intake.scan(60.0)
    assert len(intake.take(8, 61.0)) == 1
    intake.finished(first)
    assert_balanced(intake)


def test_a_drop_in_a_blocked_folder_is_not_admitted_on_a_hint(desk: Desk, intake: Intake) -> None:
    desk.blocked["."] = BlockedFolder("no right", 0)
    desk.put("a.png")
    intake.look_at("a.png", 0.0, closed=True)
    assert intake.take(8, 50.0) == []


def test_a_file_that_may_not_be_looked_at_is_tried_again_at_the_next_scan(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(0.0)
    desk.closed_doors.add("a.png")
    assert intake.take(8, 1.0) == []
    assert (intake.counts.held, intake.counts.vanished) == (1, 0)
    desk.closed_doors.clear()
    intake.scan(5.0)
    assert names(intake.take(8, 6.0)) == ["a.png"]
    assert_balanced(intake)


@pytest.mark.parametrize("kind", [Kind.LINK, Kind.FIFO, Kind.SOCKET, Kind.DEVICE])
def test_what_is_no_regular_file_is_given_out_at_once(desk: Desk, intake: Intake, kind: Kind) -> None:
    desk.put("a.png", 0, kind)
    intake.scan(0.0)
    [arrival] = intake.take(8, 0.0)
    assert arrival.kind is kind


def test_the_newcomer_passes_the_backlog(desk: Desk, intake: Intake) -> None:
    for number in range(200):
        desk.put(f"{number}.png")
    intake.scan(0.0)
    intake.take(8, 1.0)
    desk.put("newcomer.png")
    intake.look_at("newcomer.png", 2.0, closed=True)
    batch = names(intake.take(8, 2.0))
    assert "newcomer.png" in batch
    assert "6.png" in batch


def test_the_longest_waiting_one_is_named_by_its_first_sight(desk: Desk) -> None:
    clock = iter([10.0, 20.0])
    intake = Intake(desk, RULE, clock=lambda: next(clock))
    assert intake.oldest_waiting_since_s() is None
    desk.put("a.png")
    intake.look_at("a.png", 0.0, closed=True)
    desk.put("b.png")
    intake.look_at("b.png", 0.0)
    assert intake.oldest_waiting_since_s() == 10.0
    intake.take(1, 0.0)
    assert intake.oldest_waiting_since_s() == 20.0


NAMES = st.sampled_from(["a.png", "b.png", "x/a.jpg"])


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: each drop is answered at most once, and in the end all are."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.intake = Intake(self.desk, RULE, clock=lambda: 0.0)
        self.now_s = 0.0
        self.whole: set[int] = set()  # inodes with an end mark
        self.changed_at_s: dict[str, float] = {}
        self.in_work: dict[str, Arrival] = {}
        self.aside: dict[str, Arrival] = {}
        self.answered: set[tuple[int, int]] = set()

    @rule(name=NAMES, size_bytes=st.sampled_from([0, 50]), is_whole=st.booleans())
    def create(self, name: str, size_bytes: int, is_whole: bool) -> None:
        self.desk.put(name, size_bytes)
        self.changed_at_s[name] = self.now_s
        if is_whole and size_bytes:
            self.whole.add(self.desk.ticks)

    @rule(name=NAMES, is_whole=st.booleans())
    def append(self, name: str, is_whole: bool) -> None:
        if name in self.desk.sights:
            self.desk.write(name)
            self.changed_at_s[name] = self.now_s
            if is_whole:
                self.whole.add(self.desk.sights[name].inode)

    @rule(name=NAMES, other=NAMES)
    def rename(self, name: str, other: str) -> None:
        if name in self.desk.sights and name != other:
            self.desk.rename(name, other)
            self.changed_at_s[other] = self.now_s

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.desk.sights.pop(name, None)

    @rule(name=NAMES, writer=st.sampled_from([True, False, None]))
    def lease(self, name: str, writer: bool | None) -> None:
        self.desk.writers[name] = writer

    @rule(name=NAMES, closed=st.booleans())
    def event(self, name: str, closed: bool) -> None:
        self.intake.look_at(name, self.now_s, closed=closed)

    @rule()
    def scan(self) -> None:
        self.intake.scan(self.now_s)

    @rule(folder=st.sampled_from([".", "x"]), is_blocked=st.booleans())
    def block(self, folder: str, is_blocked: bool) -> None:
        if is_blocked:
            self.desk.blocked[folder] = BlockedFolder("no right", 0)
        else:
            self.desk.blocked.pop(folder, None)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(max_count=st.integers(1, 3))
    def take(self, max_count: int) -> None:
        for arrival in self.intake.take(max_count, self.now_s):
            assert arrival.name not in self.in_work
            assert self.desk.sights[arrival.name] == Sight(
                arrival.kind,
                arrival.device,
                arrival.inode,
                arrival.size_bytes,
                arrival.mtime_ns,
                arrival.ctime_ns,
            )
            assert arrival.size_bytes or arrival.is_final
            self.in_work[arrival.name] = arrival

    @precondition(lambda self: self.in_work)
    @rule(data=st.data(), is_stuck=st.booleans())
    def hand_back(self, data: st.DataObject, is_stuck: bool) -> None:
        arrival = self.in_work.pop(data.draw(st.sampled_from(sorted(self.in_work))))
        sight = self.desk.sights.get(arrival.name)
        if sight is None:
            self.intake.vanished(arrival)
        elif (sight.inode, sight.ctime_ns) != (arrival.inode, arrival.ctime_ns):
            self.intake.changed(arrival, self.now_s)
        elif arrival.inode not in self.whole and not arrival.is_final:
            self.intake.unfinished(arrival, self.now_s)
        else:
            if arrival.inode not in self.whole:
                assert self.now_s >= self.changed_at_s[arrival.name] + RULE.incomplete_after_s
            assert (arrival.inode, arrival.ctime_ns) not in self.answered
            self.answered.add((arrival.inode, arrival.ctime_ns))
            if is_stuck:
                self.intake.stuck(arrival, self.now_s)
            else:
                del self.desk.sights[arrival.name]
                self.intake.finished(arrival)

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def set_aside(self, data: st.DataObject) -> None:
        arrival = self.in_work.pop(data.draw(st.sampled_from(sorted(self.in_work))))
        self.intake.set_aside(arrival)
        self.aside[arrival.name] = arrival

    @precondition(lambda self: self.aside)
    @rule(data=st.data(), how=st.sampled_from(["bring back", "take up", "hold back"]))
    def end_aside(self, data: st.DataObject, how: str) -> None:
        arrival = self.aside.pop(data.draw(st.sampled_from(sorted(self.aside))))
        if how == "bring back":
            self.intake.bring_back(arrival, self.now_s)
        elif how == "hold back":
            self.intake.hold_back(arrival)
        elif self.intake.take_up(arrival):
            assert arrival.name not in self.in_work
            self.in_work[arrival.name] = arrival

    @rule()
    def move_stuck_away(self) -> None:
        for arrival in self.intake.stuck_arrivals:
            if self.desk.sights.get(arrival.name) is not None:
                del self.desk.sights[arrival.name]
            self.intake.finished(arrival)

    @invariant()
    def books_balance(self) -> None:
        assert_balanced(self.intake)
        assert self.intake.counts.in_work == len(self.in_work)

    def teardown(self) -> None:
        self.desk.blocked.clear()
        for arrival in self.aside.values():
            self.intake.bring_back(arrival, self.now_s)
        for _ in range(4):
            while self.in_work:
                for name in list(self.in_work):
                    self.finish(self.in_work.pop(name))
            self.scan()
            self.now_s += RULE.incomplete_after_s
            self.take(10)
        stuck = {arrival.name for arrival in self.intake.stuck_arrivals}
        assert set(self.desk.sights) == stuck
        assert self.intake.counts.waiting == 0
        assert_balanced(self.intake)

    def finish(self, arrival: Arrival) -> None:
        sight = self.desk.sights.get(arrival.name)
        if sight is None:
            self.intake.vanished(arrival)
        elif sight.inode != arrival.inode:
            self.intake.changed(arrival, self.now_s)
        else:
            del self.desk.sights[arrival.name]
            self.intake.finished(arrival)


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_what_a_new_rule_ignores_leaves_the_queue_and_comes_back_with_it(desk: Desk, intake: Intake) -> None:
    for name in ("draft-a.png", "draft-b.png", "c.png"):
        desk.put(name)
    intake.scan(100.0)
    assert names(intake.take(1, 101.0)) == ["draft-a.png"]  # in work: it is finished as it was begun
    intake.change_ignore(IgnoreRules(["draft-*"]))
    intake.scan(101.0)
    assert names(intake.take(8, 102.0)) == ["c.png"]
    assert intake.counts.vanished == 1
    assert_balanced(intake)
    intake.change_ignore(IgnoreRules())
    intake.scan(103.0)
    assert names(intake.take(8, 110.0)) == ["draft-b.png"]


def test_a_new_settle_rule_holds_for_what_waits_on_a_timer(desk: Desk, intake: Intake) -> None:
    desk.put("a.png")
    intake.scan(100.0)
    intake.change_rule(SettleRule(settle_s=5.0, incomplete_after_s=30.0))
    assert intake.take(8, 101.5) == []
    assert names(intake.take(8, 105.0)) == ["a.png"]
