"""The laws of output names."""

from __future__ import annotations

import hashlib
import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.delivery.names import (
    file_names,
    fitted_folder,
    folder_candidates,
    joined,
    marks,
    parted,
    printable,
)

DIGEST = hashlib.sha256(b"content").hexdigest()
MARK = DIGEST[:8]

# What a directory may hold: 1 to 255 bytes, neither NUL nor slash, UTF-8 or not.
raw_names = st.one_of(
    st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1).map(str.encode),
    st.binary(min_size=1, max_size=255).map(lambda b: b.replace(b"\0", b"0").replace(b"/", b"_")),
).filter(lambda raw: 0 < len(raw) <= 255 and raw not in (b".", b".."))
names = raw_names.map(os.fsdecode)
long_names = st.builds(
    lambda char, ending, pad: ("x" * pad + char * 255).encode()[: 255 - len(ending)] + ending.encode(),
    st.sampled_from(["a", "é", "漢", "𝟜"]),
    st.sampled_from([".png", ".JPG"]),
    st.integers(0, 3),
).map(lambda raw: raw.decode("utf-8", "ignore"))


def test_plain_names_are_the_dropped_name_with_an_ending() -> None:
    made = file_names("b.png", ".png")
    assert (made.record, made.picture, made.original) == ("b.png.json", "b.png.annotated.png", "b.png")


def test_a_mark_stands_before_the_last_ending_of_each_name() -> None:
    made = file_names("b.png", ".jpg", "1a2b3c4d")
    assert made.record == "b.png.1a2b3c4d.json"
    assert made.picture == "b.png.1a2b3c4d.annotated.jpg"
    assert made.original == "b.png.1a2b3c4d.png"


def test_without_a_picture_there_is_no_picture_name() -> None:
    assert file_names("b.png", None).picture is None


def test_a_name_without_ending_gets_its_mark_at_the_end() -> None:
    assert file_names("scan", None, "1a2b3c4d").original == "scan.1a2b3c4d"


@given(st.one_of(names, long_names), st.sampled_from([".png", ".jpg"]), st.sampled_from(["", MARK, DIGEST]))
def test_no_output_name_passes_255_bytes(name: str, ending: str, mark: str) -> None:
    made = file_names(name, ending, mark)
    for output in (made.record, made.picture, made.original):
        assert output is not None
        assert 0 < len(os.fsencode(output)) <= 255
        assert "/" not in output


@given(long_names, st.sampled_from(["", MARK]))
def test_a_cut_name_is_utf8_as_long_as_possible_and_signed(name: str, mark: str) -> None:
    record = file_names(name, None, mark).record
    suffix = f".{mark}.json" if mark else ".json"
    sign = "~" + hashlib.sha256(name.encode()).hexdigest()[:8]
    assert record.endswith(sign + suffix)
    kept = record.removesuffix(sign + suffix)
    assert name.startswith(kept)
    kept.encode()  # raises where a character was cut
    next_character = name[len(kept)]
    assert len(record.encode()) + len(next_character.encode()) > 255


def test_each_output_is_cut_on_its_own() -> None:
    name = "a" * 240 + ".png"
    made = file_names(name, ".png")
    assert made.record == name + ".json"
    assert made.picture is not None
    assert "~" in made.picture


def test_bytes_that_are_no_utf8_count_as_single_when_cut() -> None:
    raw = b"\xff" * 251 + b".png"
    record = os.fsencode(file_names(os.fsdecode(raw), None).record)
    assert record == b"\xff" * 241 + b"~" + hashlib.sha256(raw).hexdigest()[:8].encode() + b".json"


@given(names, names, st.sampled_from(["", MARK]))
def test_two_names_never_share_an_output(one: str, other: str, mark: str) -> None:
    made_one, made_other = file_names(one, ".png", mark), file_names(other, ".png", mark)
    assert (made_one.record == made_other.record) == (one == other)
    assert (made_one.picture == made_other.picture) == (one == other)


def test_marks_grow_and_never_end() -> None:
    some = list(itertools.islice(marks(DIGEST), 10))
    assert some[:4] == [DIGEST[:8], DIGEST[:16], DIGEST[:32], DIGEST]
    assert len(set(some)) == 10


def test_a_folder_whose_name_is_held_gets_a_mark_of_its_path() -> None:
    own, marked = itertools.islice(folder_candidates("a/b"), 2)
    assert own == "b"
    assert marked == "b." + hashlib.sha256(b"a/b").hexdigest()[:8]


@given(st.lists(names, min_size=1, max_size=40), st.integers(1, 200))
def test_a_folder_leaves_room_for_the_longest_name_below_it(parts: list[str], outbox_bytes: int) -> None:
    folder = fitted_folder("/".join(parts * 20), outbox_bytes)
    assert outbox_bytes + len("/failed/") + len(os.fsencode(folder)) + 1 + 255 <= 4095
    assert not folder.startswith("/")
    assert "//" not in folder


def test_a_short_folder_stays_as_it_is() -> None:
    assert fitted_folder("a/b", 100) == "a/b"


@given(names, names)
def test_parting_undoes_joining(folder: str, name: str) -> None:
    assert parted(joined(folder, name)) == (folder, name)
    assert parted(joined("", name)) == ("", name)


@given(raw_names)
def test_what_is_printed_is_utf8_and_gives_the_true_bytes_back(raw: bytes) -> None:
    from urllib.parse import unquote_to_bytes

    text = printable(os.fsdecode(raw))
    encoded = text.encode()
    assert (encoded if encoded == raw else unquote_to_bytes(text)) == raw


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"50%.png", "50%.png"), (b"50%\xff.png", "50%25%FF.png"), ("é\n.png".encode(), "é\n.png")],
)
def test_only_names_that_are_no_utf8_are_escaped(raw: bytes, text: str) -> None:
    assert printable(os.fsdecode(raw)) == text
