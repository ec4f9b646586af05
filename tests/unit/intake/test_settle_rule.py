from __future__ import annotations

import pytest

from worker.intake.arrivals import Kind, SettleRule, Sight, Watched

RULE = SettleRule(settle_s=1.0, incomplete_after_s=30.0)
SIGHT = Sight(Kind.FILE, 1, 2, 100, 5, 6)


def watched(sight: Sight = SIGHT) -> Watched:
    return Watched("a.png", sight, changed_at_s=50.0)


def test_a_file_is_ready_when_it_has_not_changed_for_the_settling_time() -> None:
    assert RULE.due_s(watched()) == 51.0


def test_its_own_times_prove_nothing() -> None:
    assert RULE.due_s(watched(SIGHT._replace(mtime_ns=-(10**18)))) == 51.0


def test_a_closed_file_is_ready_at_once() -> None:
    entry = watched()
    entry.is_closed = True
    assert RULE.due_s(entry) == 50.0


@pytest.mark.parametrize("kind", [Kind.LINK, Kind.FIFO, Kind.SOCKET, Kind.DEVICE])
def test_what_is_never_opened_is_ready_at_once(kind: Kind) -> None:
    entry = watched(SIGHT._replace(kind=kind, size_bytes=0))
    assert RULE.due_s(entry) == 50.0


@pytest.mark.parametrize("is_closed", [True, False])
def test_an_empty_file_waits_for_content_but_not_for_ever(is_closed: bool) -> None:
    entry = watched(SIGHT._replace(size_bytes=0))
    entry.is_closed = is_closed
    assert RULE.due_s(entry) == 80.0


def test_an_unfinished_file_is_ready_when_left_alone_for_long_enough() -> None:
    entry = watched()
    entry.is_closed = entry.is_unfinished = True
    assert RULE.due_s(entry) == 80.0
    assert not RULE.is_final(entry, 79.9)
    assert RULE.is_final(entry, 80.0)


def test_what_is_due_after_being_left_alone_is_final_whatever_the_rounding() -> None:
    for tenths in range(1, 1000):
        entry = Watched("a.png", SIGHT._replace(size_bytes=0), changed_at_s=tenths / 10)
        assert RULE.is_final(entry, RULE.due_s(entry))


def test_a_file_with_a_known_writer_waits_for_it_but_not_for_ever() -> None:
    entry = watched()
    entry.has_writer = True
    assert RULE.due_s(entry) == 80.0


def test_a_change_starts_the_clock_anew_and_undoes_what_was_known() -> None:
    entry = watched()
    entry.is_closed = entry.is_unfinished = True
    assert not entry.observe(SIGHT, 60.0)
    assert RULE.due_s(entry) == 80.0
    assert entry.observe(SIGHT._replace(size_bytes=101), 60.0)
    assert RULE.due_s(entry) == 61.0


@pytest.mark.parametrize(
    "other",
    [
        SIGHT._replace(device=999),
        SIGHT._replace(inode=999),
        SIGHT._replace(size_bytes=999),
        SIGHT._replace(mtime_ns=999),
        SIGHT._replace(ctime_ns=999),
    ],
)
def test_any_difference_is_a_change(other: Sight) -> None:
    assert watched().observe(other, 60.0)


def test_looks_at_a_waiting_file_become_rarer_and_the_last_is_on_time() -> None:
    entry = watched()
    entry.is_unfinished = True
    now_s, looks = 50.0, []
    while now_s < 80.0:
        now_s = RULE.next_look_s(entry, now_s)
        looks.append(now_s)
    assert looks[0] == 51.0
    assert looks[-1] == 80.0
    assert 10 < len(looks) < 20


def test_a_settling_time_of_nothing_does_not_look_without_pause() -> None:
    entry = watched(SIGHT._replace(size_bytes=0))
    assert SettleRule(0.0, 30.0).next_look_s(entry, 50.0) > 50.0
