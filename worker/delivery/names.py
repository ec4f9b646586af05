"""How the outputs of a drop are called. Pure: the disk is asked elsewhere which of the names are free.

Names are `str` as `os.fsdecode` gives them: bytes that are no UTF-8 are surrogate escapes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

DONE = "done"
FAILED = "failed"
NAME_LIMIT_BYTES = 255  # NAME_MAX of every common file system on Linux
PICTURE_ENDINGS = (".png", ".jpg")

_PATH_LIMIT_BYTES = 4095  # PATH_MAX counts the final NUL
_ENDING_LIMIT_BYTES = 16  # what is longer is a part of the name rather than an ending
_CUT_SIGN = "~"
MARK_LENGTHS = (8, 16, 32, 64)  # hex digits


@dataclass(frozen=True, slots=True)
class FileNames:
    """What the three files of one drop are called, without their folders; each within the limit."""

    record: str
    picture: str | None
    original: str


def file_names(
    name: str, picture_ending: str | None, mark: str = "", limit_bytes: int = NAME_LIMIT_BYTES
) -> FileNames:
    """Name record, picture and original of `name` (one path component).

    `mark` is empty, or the hex digits that tell two drops of one name apart: they stand before the last
    ending of each name. `picture_ending` is `.png`, `.jpg` or None for no picture.
    """
    dotted = f".{mark}" if mark else ""
    picture = None
    if picture_ending is not None:
        picture = _fitted(name, f"{dotted}.annotated{picture_ending}", limit_bytes)
    original = _fitted(name, f"{dotted}{_last_ending(name)}", limit_bytes) if mark else name
    return FileNames(_fitted(name, f"{dotted}.json", limit_bytes), picture, original)


def marks(digest: str) -> Iterator[str]:
    """Yield hex digits to tell drops apart: the first 8, 16, 32, all 64 of `digest`, then new ones for ever.

    The end is out of reach in practice; it exists so that no file that somebody puts in the way can make
    a drop unanswerable.
    """
    for length in MARK_LENGTHS:
        yield digest[:length]
    while True:
        digest = hashlib.sha256(digest.encode()).hexdigest()
        yield digest


def folder_candidates(folder: str, limit_bytes: int = NAME_LIMIT_BYTES) -> Iterator[str]:
    """Yield names for the last component of `folder`: its own, then marked ones.

    A marked one is needed where a file holds the name. The mark comes from the folder's path, so that all
    the files of one folder meet again in one folder.
    """
    last = folder.rpartition("/")[2]
    yield last
    for mark in marks(hashlib.sha256(os.fsencode(folder)).hexdigest()):
        yield _fitted(last, f".{mark}", limit_bytes)


def fitted_folder(folder: str, outbox_bytes: int) -> str:
    """`folder`, or its first components and a mark where paths of outputs would pass PATH_MAX.

    `outbox_bytes` is the length of the outbox's own path; room is left for `failed/` and a longest name.
    """
    room = _PATH_LIMIT_BYTES - outbox_bytes - len("/failed/") - len("/") - NAME_LIMIT_BYTES
    raw = os.fsencode(folder)
    if len(raw) <= room:
        return folder
    mark = f"{_CUT_SIGN}{hashlib.sha256(raw).hexdigest()[:16]}"
    # Parts may gain a mark of their own later; the cut goes to a whole component well within the room.
    kept = raw[: max(0, room - len(mark) - 1 - NAME_LIMIT_BYTES)].rpartition(b"/")[0]
    return joined(os.fsdecode(kept), mark)


def joined(folder: str, name: str) -> str:
    """`folder/name`; either may be `""`, the root, and then it is the other one alone."""
    return f"{folder}/{name}" if folder and name else folder or name


def parted(path: str) -> tuple[str, str]:
    """Return folder and last component; the inverse of `joined`."""
    folder, _, name = path.rpartition("/")
    return folder, name


def is_utf8(name: str) -> bool:
    """Whether the bytes of `name` are UTF-8."""
    try:
        os.fsencode(name).decode()
    except UnicodeDecodeError:
        return False
    return True


def printable(name: str) -> str:
    """`name` as UTF-8 text can hold it: unchanged, or with `%XX` for each byte that is none.

    In such a name `%` becomes `%25`, so that the true bytes can be had back.
    """
    if is_utf8(name):
        return os.fsencode(name).decode()
    return percent_escaped(name)


def percent_escaped(name: str) -> str:
    """`name` with `%XX` for each byte that is no UTF-8 and `%25` for each `%`."""
    text = os.fsencode(name).decode("utf-8", "surrogateescape").replace("%", "%25")
    return "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)


def _last_ending(name: str) -> str:
    """The last ending with its dot, or `""`."""
    ending = os.path.splitext(name)[1]
    return ending if len(os.fsencode(ending)) <= _ENDING_LIMIT_BYTES else ""


def _fitted(name: str, suffix: str, limit_bytes: int) -> str:
    """`name + suffix`, the name cut at a character and signed with its own digest where that is too long."""
    raw = os.fsencode(name)
    room = limit_bytes - len(os.fsencode(suffix))
    if len(raw) <= room:
        return name + suffix
    sign = _CUT_SIGN + hashlib.sha256(raw).hexdigest()[:8]
    text = raw.decode("utf-8", "surrogateescape")[: room - len(sign)]  # a character has at least one byte
    while len(text.encode("utf-8", "surrogateescape")) > room - len(sign):
        text = text[:-1]
    return os.fsdecode(text.encode("utf-8", "surrogateescape")) + sign + suffix
