"""The records that lie in an outbox, as they were published."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Shelved:
    """A published record: where it lies, relative to the outbox, and what it says."""

    path: str
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The true name of the picture below the inbox, bytes that are no UTF-8 as surrogate escapes."""
        source = self.record["source"]
        if "name_bytes_hex" in source:
            return os.fsdecode(bytes.fromhex(source["name_bytes_hex"]))
        return str(source["name"])


def shelved_records(outbox: Path) -> Iterator[Shelved]:
    """The records below `outbox`, folder by folder in order of name; what is no record is passed over.

    A record that a consumer takes away meanwhile is no error.
    """
    for folder, folders, files in os.walk(outbox):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.endswith(".json") or name.startswith("."):
                continue
            path = os.path.join(folder, name)
            try:
                with open(path, "rb") as file:
                    content = json.load(file)
            except (OSError, ValueError):
                continue
            if is_record(content):
                yield Shelved(os.path.relpath(path, outbox), content)


def is_record(content: object) -> bool:
    """Whether parsed JSON has the marks of a record; other people's JSON may lie here, too."""
    return (
        isinstance(content, dict)
        and content.get("schema_version") == 1
        and content.get("status") in ("read", "review", "failed")
        and isinstance(content.get("source"), dict)
        and isinstance(content["source"].get("name"), str)
        and isinstance(content.get("finished_at"), str)
    )
