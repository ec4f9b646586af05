"""What an entry says can be read back; what is damaged or newer is known as such."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.delivery.journal import (
    Entry,
    Held,
    Identity,
    Item,
    JournalTooNewError,
    Publication,
    TornEntryError,
)
from worker.errors import ExitCode

paths = st.binary(min_size=1, max_size=30).map(os.fsdecode)
identities = st.builds(Identity, *[st.integers(0, 2**64 - 1)] * 5)
publications = st.none() | st.builds(Publication, paths, paths, st.booleans())
held = st.builds(Held, paths, identities)
items = st.builds(
    Item,
    source=paths,
    kind=st.sampled_from(["file", "link", "fifo"]),
    identity=identities,
    sha256=st.none() | st.just("a" * 64),
    digest=st.just("b" * 64),
    folder=st.sampled_from(["done", "failed"]),
    picture=publications,
    record=publications,
    original=st.none() | paths,
    copy=paths,
    stale=st.lists(held, max_size=2).map(tuple),
    old_original=st.none() | held,
)
entries = st.builds(Entry, st.integers(0, 2**64), st.lists(items, max_size=3).map(tuple))


@given(entries)
def test_an_entry_survives_a_round_trip_whatever_bytes_its_names_have(entry: Entry) -> None:
    assert Entry.from_bytes(entry.to_bytes()) == entry


@given(entries, st.data())
def test_an_entry_that_lacks_its_end_or_has_one_byte_changed_is_torn(
    entry: Entry, data: st.DataObject
) -> None:
    whole = entry.to_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(TornEntryError):
        Entry.from_bytes(whole[:position])
    changed = whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
    with pytest.raises(TornEntryError):
        Entry.from_bytes(changed)


def test_an_entry_of_a_newer_version_is_refused_with_what_to_do() -> None:
    body = b'{"something": "new"}'
    digest = hashlib.sha256(b"2\n" + body).hexdigest()
    data = f"digit-worker-journal 2 {digest}\n".encode() + body
    with pytest.raises(JournalTooNewError, match="newer program") as error:
        Entry.from_bytes(data)
    assert error.value.exit_code == ExitCode.FOLDERS


def test_an_entry_that_version_1_wrote_stays_readable() -> None:
    # Bytes as the first release wrote them: this test may never be changed, only accompanied.
    body = (
        b'{"number": 7, "items": [{"source": "a/\\udcff.png", "kind": "file", "identity": [1, 2, 3, 4, 5],'
        b' "sha256": null, "digest": "d", "folder": "done", "picture": null,'
        b' "record": ["7-0.json", "a/\\udcff.png.json", false], "original": "done/a/\\udcff.png",'
        b' "copy": "7-0.original", "stale": [["x", [1, 2, 3, 4, 5]]], "old_original": null}]}'
    )
    data = b"digit-worker-journal 1 " + hashlib.sha256(b"1\n" + body).hexdigest().encode() + b"\n" + body
    entry = Entry.from_bytes(data)
    assert entry.number == 7
    assert os.fsencode(entry.items[0].source) == b"a/\xff.png"
    assert entry.items[0].record == Publication("7-0.json", os.fsdecode(b"a/\xff.png.json"), replaces=False)
    assert entry.items[0].stale == (Held("x", Identity(1, 2, 3, 4, 5)),)
