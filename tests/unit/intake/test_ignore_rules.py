from __future__ import annotations

import pytest

from worker.intake.arrivals import IgnoreRules, is_picture


@pytest.mark.parametrize("base", ["a.png", "A.PNG", "b.JpG", "c.jpeg", "x.tmp.png", "\udcff.png"])
def test_a_picture_is_known_by_its_ending_in_any_case(base: str) -> None:
    assert is_picture(base)


@pytest.mark.parametrize("base", ["a.gif", "png", "a.png.part", "a.png~", "a.pngx"])
def test_other_names_are_no_pictures(base: str) -> None:
    assert not is_picture(base)


@pytest.mark.parametrize(
    "name", [".a.png", "~a.png", "a.png.part", "a.TMP", "x/.a.png", ".x/a.png", "x/.y/a.png"]
)
def test_hidden_and_half_written_files_are_ignored(name: str) -> None:
    assert IgnoreRules().ignores(name)


@pytest.mark.parametrize("name", ["a.png", "x.png/a.png", "x.tmp/a.png", "~x/a.png", "x.part/a.png"])
def test_folders_are_walked_whatever_their_names(name: str) -> None:
    assert not IgnoreRules().ignores(name)


def test_a_pattern_without_a_slash_names_files_and_folders_at_any_depth() -> None:
    rules = IgnoreRules(["thumb*", "scratch/"])
    assert rules.ignores("x/thumb1.png")
    assert rules.ignores("thumbs/a.png")
    assert rules.ignores("x/scratch/a.png")
    assert not rules.ignores("x/a thumb.png")


def test_a_pattern_with_a_slash_is_held_against_the_path() -> None:
    rules = IgnoreRules(["old/*.png", "/a/b"])
    assert rules.ignores("old/1.png")
    assert rules.ignores("a/b/c/1.png")
    assert not rules.ignores("x/old/1.png")
    assert not rules.ignores("b/1.png")


def test_patterns_tell_upper_from_lower_case_and_take_any_bytes() -> None:
    rules = IgnoreRules(["A*", "\udcff*", ""])
    assert rules.ignores("A.png")
    assert not rules.ignores("a.png")
    assert rules.ignores("\udcffx.png")
