"""What was being read when a process died can be told from the ledger, however it was cut off."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import WorldError
from worker.intake.arrivals import Arrival, Kind
from worker.service.ledger import LEDGER_FILE, Ledger, Suspect, suspects_in

ODD = os.fsdecode(b"a b/\xff\n.png")


def arrival(name: str, inode: int = 1) -> Arrival:
    return Arrival(name, Kind.FILE, 1, inode, 10, -5, 6, 0.0)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    (tmp_path / ".digit-worker").mkdir()
    return tmp_path


def die_while_reading(outbox: Path, *names: str) -> None:
    """A process that took over, acquitted all its suspects, began a batch and was never heard of again."""
    ledger = Ledger(outbox)
    ledger.take_over()
    for name in names:
        ledger.acquit(name)
    ledger._begin([arrival(name) for name in names])


def test_a_batch_that_was_begun_and_not_ended_leaves_suspects_with_their_identity(outbox: Path) -> None:
    die_while_reading(outbox, "x.png", ODD)
    ledger = Ledger(outbox)
    assert ledger.take_over() == 2
    assert ledger.suspicion_of(arrival(ODD)) == Suspect(ODD, 1, 10, -5, 0)
    assert ledger.suspicion_of(arrival(ODD, inode=2)) is None
    assert ledger.suspicion_of(dataclasses.replace(arrival(ODD), size_bytes=11)) is None
    assert ledger.suspicion_of(arrival("other.png")) is None


def test_a_batch_that_was_ended_leaves_nobody_also_when_reading_raised(outbox: Path) -> None:
    ledger = Ledger(outbox)
    ledger.take_over()
    with ledger.noted([arrival("a.png")]):
        pass
    with pytest.raises(KeyError), ledger.noted([arrival("b.png")]):
        raise KeyError
    assert Ledger(outbox).take_over() == 0


def test_two_batches_at_once_are_told_apart(outbox: Path) -> None:
    ledger = Ledger(outbox)
    ledger.take_over()
    ledger._begin([arrival("a.png")])
    with ledger.noted([arrival("b.png")]):
        pass
    later = Ledger(outbox)
    assert later.take_over() == 1
    assert later.suspicion_of(arrival("a.png"))


def test_suspects_stay_until_they_are_read_or_answered_whatever_dies_meanwhile(outbox: Path) -> None:
    die_while_reading(outbox, "a.png", "b.png", "c.png")
    for _ in range(3):
        assert Ledger(outbox).take_over() == 3
    ledger = Ledger(outbox)
    ledger.take_over()
    ledger.clear("a.png")
    ledger.acquit("b.png")
    with ledger.noted([arrival("b.png")]):
        pass
    later = Ledger(outbox)
    assert later.take_over() == 1
    assert later.suspicion_of(arrival("c.png"))


def test_each_death_after_an_acquittal_is_a_strike_and_being_tried_is_none(outbox: Path) -> None:
    for strikes in range(4):
        die_while_reading(outbox, "a.png")
        ledger = Ledger(outbox)
        ledger.take_over()
        suspect = ledger.suspicion_of(arrival("a.png"))
        assert suspect is not None
        assert suspect.strikes == strikes
    ledger.acquit("a.png")
    assert ledger.suspicion_of(arrival("a.png")) is None


def test_the_file_stays_small_and_keeps_the_suspects(outbox: Path) -> None:
    die_while_reading(outbox, "a.png")
    ledger = Ledger(outbox)
    ledger.take_over()
    long = [arrival("x" * 200 + str(number)) for number in range(100)]
    sizes = []
    for _ in range(60):
        with ledger.noted(long):
            pass
        sizes.append((outbox / LEDGER_FILE).stat().st_size)
    assert max(sizes) < 400_000
    assert min(sizes[20:]) < 100_000
    assert Ledger(outbox).take_over() == 1


def test_a_missing_hidden_folder_is_a_fault_of_the_world(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(WorldError), ledger.noted([arrival("a.png")]):
        raise AssertionError


def test_a_full_disk_at_the_start_keeps_the_suspects(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    die_while_reading(outbox, "a.png")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        ledger = Ledger(outbox)
        assert ledger.take_over() == 1
    ledger.acquit("a.png")
    with ledger.noted([arrival("a.png")]):
        pass
    assert Ledger(outbox).take_over() == 0


@given(st.binary(max_size=200))
def test_whatever_lies_there_is_read_without_complaint(content: bytes) -> None:
    assert isinstance(suspects_in(content), list)


def test_a_cut_at_any_byte_names_only_batches_that_were_begun(outbox: Path) -> None:
    ledger = Ledger(outbox)
    ledger.take_over()
    with ledger.noted([arrival("done.png")]):
        pass
    ledger._begin([arrival("one.png"), arrival("two.png")])
    whole = (outbox / LEDGER_FILE).read_bytes()
    for cut in range(len(whole)):
        names = {suspect.name for suspect in suspects_in(whole[:cut])}
        # The batch is begun when its record is whole: its two names come together or not at all.
        assert names in (set(), {"done.png"})
    assert {suspect.name for suspect in suspects_in(whole)} == {"one.png", "two.png"}


def test_what_another_process_died_of_is_suspect_now_and_after_the_next_start(outbox: Path) -> None:
    ledger = Ledger(outbox)
    ledger.take_over()
    ledger.accuse([arrival("a.png"), arrival(ODD)])
    assert ledger.suspicion_of(arrival(ODD)) == Suspect(ODD, 1, 10, -5, 0)
    later = Ledger(outbox)
    assert later.take_over() == 2
    assert later.suspicion_of(arrival("a.png")) == Suspect("a.png", 1, 10, -5, 0)


def test_another_death_after_an_acquittal_counts(outbox: Path) -> None:
    ledger = Ledger(outbox)
    ledger.take_over()
    ledger.accuse([arrival("a.png")])
    ledger.acquit("a.png")
    assert ledger.suspicion_of(arrival("a.png")) is None
    ledger.accuse([arrival("a.png")])
    assert ledger.suspicion_of(arrival("a.png")) == Suspect("a.png", 1, 10, -5, 1)


def test_what_another_process_read_and_outlived_is_suspect_no_more(outbox: Path) -> None:
    ledger = Ledger(outbox)
    ledger.take_over()
    ledger.accuse([arrival("a.png"), arrival("b.png")])
    ledger.outlived([arrival("a.png"), arrival("c.png")])
    later = Ledger(outbox)
    assert later.take_over() == 1
    assert later.suspicion_of(arrival("a.png")) is None
