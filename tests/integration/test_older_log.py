"""The log of every version that was ever released is recovered by this one.

The entries stand here as literals: they must not change when the code that writes them does.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from worker.delivery.outbox import Outbox

# Version 1 (0.1.0): two drops. Of the first nothing was published yet; of the second all was.
VERSION_1 = (
    '{"number": 1795000000000000000, "items": ['
    '{"source": "a/one.png", "kind": "file", "identity": [2049, %(one)s], "sha256": "%(sha)s",'
    ' "digest": "%(sha)s", "folder": "done",'
    ' "picture": ["01795000000000000000-0.png", "a/one.png.annotated.png", false],'
    ' "record": ["01795000000000000000-0.json", "a/one.png.json", false],'
    ' "original": "done/a/one.png", "copy": "01795000000000000000-0.original",'
    ' "stale": [], "old_original": null},'
    ' {"source": "two.png", "kind": "file", "identity": [2049, %(two)s], "sha256": null,'
    ' "digest": "%(sha)s", "folder": "failed", "picture": null,'
    ' "record": ["01795000000000000000-1.json", "two.png.json", true],'
    ' "original": "failed/two.png", "copy": "01795000000000000000-1.original",'
    ' "stale": [["two.png.annotated.png", [2049, 7, 7, 7, 7]]],'
    ' "old_original": ["done/two.png", [2049, 8, 8, 8, 8]]}]}'
)
# The same with numbers of another machine, header and all, byte for byte as version 1 wrote it.
WHOLE_1 = (
    b"digit-worker-journal 1 c09fafca759292916e1b3830ba63840b8195ae47962163a2e4ee8f6a4a0c2ab9\n"
    b'{"number": 1795000000000000000, "items": [{"source": "a/one.png", "kind": "file", "identity": ['
    b'2049, 11, 3, 12, 13], "sha256": null, "digest": "ababababababababababababababababababababababab'
    b'ababababababababab", "folder": "done", "picture": null, "record": ["01795000000000000000-0.json'
    b'", "a/one.png.json", false], "original": "done/a/one.png", "copy": "01795000000000000000-0.orig'
    b'inal", "stale": [], "old_original": null}]}'
)


def numbers(path: Path) -> str:
    seen = path.lstat()
    return f"{seen.st_ino}, {seen.st_size}, {seen.st_mtime_ns}, {seen.st_ctime_ns}"


def entry(body: str) -> bytes:
    digest = hashlib.sha256(b"1\n" + body.encode()).hexdigest()
    return f"digit-worker-journal 1 {digest}\n{body}".encode()


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    for folder in ("inbox/a", "outbox/.digit-worker/staging", "outbox/.digit-worker/journal"):
        (tmp_path / folder).mkdir(parents=True)
    staging = tmp_path / "outbox/.digit-worker/staging"
    (staging / "01795000000000000000-0.png").write_bytes(b"picture")
    (staging / "01795000000000000000-0.json").write_bytes(b"{}")
    return tmp_path


def journal(desk: Path) -> Path:
    return desk / "outbox/.digit-worker/journal/01795000000000000000.entry"


def test_a_log_of_version_1_is_finished(desk: Path) -> None:
    one, two = desk / "inbox/a/one.png", desk / "inbox/two.png"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    known = {"one": numbers(one), "two": numbers(two), "sha": hashlib.sha256(b"one").hexdigest()}
    journal(desk).write_bytes(entry(VERSION_1 % known))
    outbox = Outbox(desk / "inbox", desk / "outbox")
    report = outbox.recover()
    outbox.close()
    assert (report.published, report.already_out, report.torn) == (("a/one.png",), ("two.png",), ())
    assert (desk / "outbox/a/one.png.json").read_bytes() == b"{}"
    assert (desk / "outbox/a/one.png.annotated.png").read_bytes() == b"picture"
    assert (desk / "outbox/done/a/one.png").read_bytes() == b"one"
    assert (desk / "outbox/failed/two.png").read_bytes() == b"two"
    assert not (desk / "outbox/two.png.json").exists()  # it was published, and a consumer took it
    assert not journal(desk).exists()
    assert os.listdir(desk / "outbox/.digit-worker/staging") == []


def test_the_header_of_version_1_is_understood_byte_for_byte(desk: Path) -> None:
    journal(desk).write_bytes(WHOLE_1)
    outbox = Outbox(desk / "inbox", desk / "outbox")
    report = outbox.recover()
    outbox.close()
    assert (report.published, report.torn) == (("a/one.png",), ())
    assert not journal(desk).exists()
