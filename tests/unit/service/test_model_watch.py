"""Another model is noticed by a look at its files, and tried once it has been left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.service.model_watch import GRACE_S, SETTLE_S, ModelWatch, Signature, signature_of


def bundle(folder: Path, content: bytes = b"a") -> Path:
    folder.mkdir()
    (folder / "model.keras").write_bytes(content)
    (folder / "card.json").write_bytes(content)
    return folder


def test_a_swapped_link_an_exchanged_folder_and_a_new_card_each_show(tmp_path: Path) -> None:
    one, other = bundle(tmp_path / "one"), bundle(tmp_path / "other")
    link = tmp_path / "link"
    link.symlink_to(one)
    seen = {signature_of(link)}
    os.replace(_link_to(other, tmp_path), link)
    seen.add(signature_of(link))
    one.rename(tmp_path / "aside")
    other.rename(one)
    os.replace(_link_to(one, tmp_path), link)
    assert signature_of(link) in seen  # the same files, whatever way leads to them
    (one / "card.json").write_bytes(b"another")
    assert signature_of(link) not in seen


def _link_to(target: Path, folder: Path) -> Path:
    link = folder / "new-link"
    link.symlink_to(target)
    return link


def test_a_look_at_a_bundle_costs_two_stats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundle(tmp_path / "one")
    stat, asked = os.stat, []

    def counted(path: Path) -> os.stat_result:
        asked.append(path)
        return stat(path)

    monkeypatch.setattr(os, "stat", counted)
    signature_of(folder)
    assert len(asked) == 2


def test_the_file_in_a_bundle_counts_with_its_card_and_a_bare_one_by_itself(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "one")
    before = signature_of(folder / "model.keras")
    (folder / "card.json").write_bytes(b"another")
    assert signature_of(folder / "model.keras") != before
    (folder / "card.json").unlink()
    assert None not in signature_of(folder / "model.keras")
    bare = tmp_path / "bare.keras"
    bare.write_bytes(b"a")
    assert len(signature_of(bare)) == 1


def test_what_is_not_there_is_incomplete(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "one")
    (folder / "card.json").unlink()
    assert signature_of(folder)[1] is None
    assert signature_of(tmp_path / "gone") == (None, None)


OLD: Signature = ((1, 1, 1, 1, 1), (1, 2, 1, 1, 1))
HALF: Signature = ((1, 3, 1, 1, 1), (1, 2, 1, 1, 1))
NEW: Signature = ((1, 3, 1, 1, 1), (1, 4, 1, 1, 1))
GAP: Signature = (None, (1, 2, 1, 1, 1))


def test_what_serves_is_never_tried_again() -> None:
    watch = ModelWatch(OLD)
    assert not any(watch.is_worth_a_try(OLD, now_s) for now_s in range(1000))


def test_a_new_model_is_tried_once_when_it_has_settled() -> None:
    watch = ModelWatch(OLD)
    assert not watch.is_worth_a_try(NEW, 10.0)
    assert not watch.is_worth_a_try(NEW, 10.0 + SETTLE_S - 0.1)
    assert watch.is_worth_a_try(NEW, 10.0 + SETTLE_S)
    assert not watch.is_worth_a_try(NEW, 1000.0)


def test_a_copy_file_by_file_starts_the_clock_with_each_file() -> None:
    watch = ModelWatch(OLD)
    watch.is_worth_a_try(HALF, 10.0)
    assert not watch.is_worth_a_try(NEW, 10.0 + SETTLE_S)
    assert watch.is_worth_a_try(NEW, 10.0 + 2 * SETTLE_S)


def test_a_missing_file_is_waited_for_before_it_is_called_a_fault() -> None:
    watch = ModelWatch(OLD)
    assert not watch.is_worth_a_try(GAP, 10.0)
    assert not watch.is_worth_a_try(GAP, 10.0 + SETTLE_S)
    assert watch.is_worth_a_try(GAP, 10.0 + GRACE_S)


def test_a_change_and_back_within_the_settle_time_is_no_change() -> None:
    watch = ModelWatch(OLD)
    watch.is_worth_a_try(GAP, 10.0)
    assert not watch.is_worth_a_try(OLD, 10.5)
    assert not watch.is_worth_a_try(OLD, 100.0)


def test_what_failed_in_vain_is_tried_again_only_when_asked() -> None:
    watch = ModelWatch(OLD)
    watch.note_try(NEW, 10.0)
    assert not watch.is_worth_a_try(NEW, 100.0)
    watch.try_again()
    assert watch.is_worth_a_try(NEW, 101.0)


def test_a_refusal_is_meant_only_when_the_files_are_left_alone() -> None:
    watch = ModelWatch(OLD)
    watch.is_worth_a_try(HALF, 10.0)
    watch.is_worth_a_try(HALF, 10.0 + SETTLE_S)
    assert not watch.is_settled_for_good(10.0 + SETTLE_S)
    assert watch.is_settled_for_good(10.0 + GRACE_S)
