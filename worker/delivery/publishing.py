"""Publishing: a staged picture, then its record, move to their places, where nobody else's may be taken."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from worker.delivery.choosing import Chooser, Drop, none_is_free
from worker.delivery.disk import (
    ATTEMPTS,
    IN_THE_WAY,
    STAGING,
    rename_making_folders,
    sync_folder,
    write_new_file,
)
from worker.delivery.journal import Entry, Item, Journal, Publication
from worker.delivery.names import percent_escaped
from worker.delivery.records import Record


class Publishing:
    """Puts the staged files of one outbox in their places. One thread; no step is taken without `on_step`."""

    def __init__(
        self, outbox: str, journal: Journal, *, durable: bool, on_step: Callable[[str], None]
    ) -> None:
        self._outbox = outbox
        self._staging = f"{outbox}/{STAGING}"
        self._journal = journal
        self._durable = durable
        self._on_step = on_step

    def publish(self, entry: Entry, index: int, chooser: Chooser, *, recovering: bool) -> Entry:
        """Publish picture, then record, of one item; returns the entry with the names that were used."""
        for _ in range(ATTEMPTS):
            picture = entry.items[index].picture
            if picture is None:
                break
            try:
                self._on_step("publish picture")
                self._put(picture, recovering=recovering)
                break
            except IN_THE_WAY:
                entry = self._with_other_names(entry, index, chooser)
        else:
            raise none_is_free(entry.items[index].source)
        item = entry.items[index]
        if item.record is None:
            return entry
        final = self._put_record(item, item.record, chooser, recovering=recovering)
        if final == item.record.final:
            return entry
        item = replace(item, record=replace(item.record, final=final))
        return _with_item(entry, index, item)

    def _put_record(self, item: Item, record: Publication, chooser: Chooser, *, recovering: bool) -> str:
        """Publish a record, under a marked name where somebody took its own; returns its path.

        The picture is out by then, under the name that the record says, so the record alone moves aside.
        """
        try:
            self._on_step("publish record")
            self._put(record, recovering=recovering)
        except IN_THE_WAY:
            chooser.forget_folders()
        else:
            return record.final
        for final in chooser.other_records(item.source, item.digest):
            with contextlib.suppress(*IN_THE_WAY):
                self._on_step("publish record elsewhere")
                self._put(Publication(record.staged, final, replaces=False), recovering=recovering)
                return final
        raise none_is_free(item.source)

    def _put(self, publication: Publication, *, recovering: bool) -> None:
        """Rename a staged file to its place. While recovering, a staged file that is gone is in its place."""
        staged = f"{self._staging}/{publication.staged}"
        target = f"{self._outbox}/{publication.final}"
        try:
            rename_making_folders(staged, target, fresh=not publication.replaces, outbox=self._outbox)
        except FileNotFoundError:
            if not recovering or os.path.lexists(staged) or not os.path.lexists(self._staging):
                raise

    def _with_other_names(self, entry: Entry, index: int, chooser: Chooser) -> Entry:
        """Give an item new names since somebody took its picture's; the log says so before anything is out.

        The record names the picture, so it is staged anew under another staged name: a crash on either side
        of the new entry finds a record and names that belong together.
        """
        item = entry.items[index]
        picture, record = item.picture, item.record
        if picture is None or record is None:
            raise AssertionError
        chooser.forget_folders()
        ending = os.path.splitext(picture.staged)[1]
        choice = chooser.choose(
            Drop(
                item.source,
                item.kind,
                item.identity.size_bytes,
                item.sha256,
                item.digest,
                item.folder,
                ending,
                None,
            )
        )
        staged = Record.from_json_bytes(Path(self._staging, record.staged).read_bytes())
        name = choice.picture
        if name is not None and staged.source.name_bytes_hex is not None:
            name = percent_escaped(name)
        stem = f"{item.copy.removesuffix('.original')}-{time.time_ns()}"
        self._on_step("stage record anew")
        data = staged.model_copy(update={"annotated": name}).to_json_bytes()
        write_new_file(f"{self._staging}/{stem}.json", data, sync=self._durable)
        if self._durable:
            sync_folder(self._staging)
        item = replace(
            item,
            picture=Publication(picture.staged, choice.picture or "", choice.replaces),
            record=Publication(f"{stem}.json", choice.record, choice.replaces),
            original=None if item.original is None else choice.original,
            stale=choice.stale,
            old_original=None if item.original is None else choice.old_original,
        )
        entry = _with_item(entry, index, item)
        self._journal.write(entry)
        self._on_step("remove record of old names")
        os.unlink(f"{self._staging}/{record.staged}")
        return entry


def _with_item(entry: Entry, index: int, item: Item) -> Entry:
    return replace(entry, items=(*entry.items[:index], item, *entry.items[index + 1 :]))
