"""A picture dropped into the inbox becomes a record and an annotated picture in the outbox."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.acceptance.conftest import Worker, eventually, png, run_cli, write_config
from worker.delivery.records import Record

Start = Callable[..., Worker]


def test_the_life_of_a_worker_from_first_drop_to_drain(start: Start) -> None:
    worker = start("incomplete_after_s: 2")
    # A picture becomes a record, a picture and a retired original.
    data = png(4)
    worker.drop("a/b.png", data)
    record = worker.record("a/b.png")
    Record.model_validate(record)
    assert record["status"] == "read"
    assert record["text"] == "4"
    assert record["source"]["name"] == "a/b.png"
    assert record["source"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert cv2.imread(str(worker.outbox / record["annotated"])) is not None
    eventually((worker.outbox / "done/a/b.png").exists)
    assert (worker.outbox / "done/a/b.png").read_bytes() == data
    assert not (worker.inbox / "a/b.png").exists()
    # JPEG bytes under a PNG name are read; the annotated picture says by its ending what it is.
    jpeg = _as_jpeg(data)
    worker.drop("jpeg.png", jpeg)
    assert worker.record("jpeg.png")["text"] == "4"
    # The same bytes again replace, other bytes get a name of their own.
    worker.drop("a/b.png", data)
    eventually(lambda: not (worker.inbox / "a/b.png").exists())
    other = png(7, seed=1)
    worker.drop("a/b.png", other)
    mark = hashlib.sha256(other).hexdigest()[:8]
    assert worker.record(f"a/b.png.{mark}")["text"] == "7"
    eventually((worker.outbox / f"done/a/b.png.{mark}.png").exists)
    # Names of every kind.
    for name in ("with space.png", "new\nline.png", "quote'\".png", "Ünï-😀.PNG", "x" * 246 + ".png"):
        worker.drop(name, png(3))
        assert worker.record(name)["text"] == "3"
    worker_raw = os.path.join(os.fsencode(worker.inbox), b"caf\xe9.png")
    Path(os.fsdecode(worker_raw)).write_bytes(png(3))
    raw = worker.record(os.fsdecode(b"caf\xe9.png"))
    assert raw["source"]["name"] == "caf%E9.png"
    assert raw["source"]["name_bytes_hex"] == b"caf\xe9.png".hex()
    # Status tells it all, and a second worker is refused.
    done = json.loads(run_cli("status", "--json", "--config", worker.config).stdout)
    assert done["running"]
    second = run_cli("run", "--config", worker.config)
    assert second.returncode == 5
    assert str(worker.process.pid) in second.stderr
    assert worker.stop() == 0
    assert worker.events()[-1]["event"] == "stopped"
    assert run_cli("status", "--config", worker.config).returncode == 1
    assert not list((worker.outbox / ".digit-worker" / "staging").iterdir())


def test_bad_files_fail_with_their_reason_and_hinder_nobody(start: Start) -> None:
    worker = start("incomplete_after_s: 1.5", "max_file_mb: 0.5", "max_megapixels: 4")
    bomb = _bomb(30_000)
    bad = {
        "empty.png": (b"", "empty_file"),
        "cut.png": (png(5)[:-20], "truncated"),
        "cut.jpg": (_as_jpeg(png(5))[:-30], "truncated"),
        "text.png": (b"Dear all, ...\n" * 9, "unsupported_format"),
        "gif.jpg": (b"GIF89a" + bytes(80), "unsupported_format"),
        "large.png": (png(5) + bytes(600_000), "too_many_bytes"),
        "bomb.png": (bomb, "too_many_pixels"),
        "crc.png": (_with_a_flipped_byte(png(5)), "undecodable"),
    }
    for name, (data, _) in bad.items():
        worker.drop(name, data)
    worker.drop("good.png", png(8))
    assert worker.record("good.png")["text"] == "8"
    (worker.inbox / "link.png").symlink_to("/etc/hostname")
    os.mkfifo(worker.inbox / "fifo.png")
    listener = socket.socket(socket.AF_UNIX)
    os.chdir(worker.inbox)
    listener.bind("socket.png")
    for name, (data, code) in bad.items():
        record = worker.record(name)
        Record.model_validate(record)
        assert (record["status"], record["reason"]["code"]) == ("failed", code)
        assert record["text"] is record["confidence"] is record["annotated"] is None
        assert record["digits"] == []
        eventually((worker.outbox / "failed" / name).exists)
        assert (worker.outbox / "failed" / name).read_bytes() == data
    for name in ("link.png", "fifo.png", "socket.png"):
        record = worker.record(name)
        assert (record["status"], record["reason"]["code"]) == ("failed", "not_a_file")
        eventually(partial(os.path.lexists, worker.outbox / "failed" / name))
    assert (worker.outbox / "failed/link.png").is_symlink()
    (worker.inbox / "notes.txt").write_text("left alone")
    (worker.inbox / ".hidden.png").write_bytes(png(1))
    (worker.inbox / "upload.png.part").write_bytes(png(1))
    (worker.inbox / "~lock.png").write_bytes(png(1))
    worker.drop("last.png", png(2))
    assert worker.record("last.png")["text"] == "2"
    assert worker.stop() == 0
    assert sorted(p.name for p in worker.inbox.iterdir() if not p.name.startswith(".digit")) == [
        ".hidden.png", "notes.txt", "upload.png.part", "~lock.png",
    ]  # fmt: skip


def test_a_slow_writer_with_pauses_is_waited_for(start: Start) -> None:
    worker = start("incomplete_after_s: 4", "settle_s: 0.2")
    data = png(6)
    path = worker.inbox / "slow.png"
    third = len(data) // 3
    for start_byte in range(0, len(data), third):
        with path.open("ab") as file:  # opened and closed each time, as some programs do
            file.write(data[start_byte : start_byte + third])
        time.sleep(0.8)
    assert worker.record("slow.png")["text"] == "6"
    placeholder = worker.drop("placeholder.png", b"")
    time.sleep(1.0)
    placeholder.write_bytes(data)
    assert worker.record("placeholder.png")["text"] == "6"
    assert worker.stop() == 0


def test_a_lone_file_is_answered_at_once_also_while_others_flow(start: Start) -> None:
    worker = start()
    data = png(9, height_px=24)

    def latency_s(name: str) -> float:
        path = worker.drop(name, data)
        closed_s = time.monotonic()
        target = worker.outbox / f"{path.name}.json"
        while not target.exists():
            assert time.monotonic() < closed_s + 10
            time.sleep(0.001)
        return time.monotonic() - closed_s

    latency_s("first.png")
    alone = statistics.median(latency_s(f"alone-{i}.png") for i in range(15))
    stop = threading.Event()

    def flow() -> None:
        for i in range(400):
            if stop.wait(0.05):
                return
            worker.drop(f"flow-{i}.png", data)

    thread = threading.Thread(target=flow)
    thread.start()
    among = statistics.median(latency_s(f"among-{i}.png") for i in range(15))
    stop.set()
    thread.join()
    assert alone < 0.15
    assert among < 0.15
    assert worker.stop() == 0


def test_sigint_drains_and_says_so(start: Start) -> None:
    worker = start("batch_size: 8")
    names = [f"{i}.png" for i in range(60)]
    for name in names:
        worker.drop(name, png(1, height_px=24))
    eventually(lambda: list(worker.outbox.glob("*.json")))
    assert worker.stop(signal.SIGINT) == 130
    for name in names:
        answered = (worker.outbox / f"{name}.json").exists()
        assert answered != (worker.inbox / name).exists()
        assert answered == (worker.outbox / "done" / name).exists()


def test_once_reads_what_is_there_and_ends(folders: Path) -> None:
    config = write_config(folders, "incomplete_after_s: 1")
    for digit in range(10):
        (folders / "inbox" / f"digit{digit}.png").write_bytes(png(digit))
    assert run_cli("run", "--once", "--config", config).returncode == 0
    texts = [json.loads((folders / "outbox" / f"digit{d}.png.json").read_text())["text"] for d in range(10)]
    assert texts == list("0123456789")
    (folders / "inbox" / "unfinished.png").write_bytes(png(3)[:-9])
    assert run_cli("run", "--once", "--config", config).returncode == 1
    record = json.loads((folders / "outbox" / "unfinished.png.json").read_text())
    assert record["reason"]["code"] == "truncated"


def test_a_killed_worker_loses_nothing_and_answers_nothing_twice(start: Start) -> None:
    worker = start("batch_size: 16")
    names = [f"{i:03}.png" for i in range(200)]
    for name in names:
        worker.drop(name, png(1, height_px=24))
    eventually(lambda: len(list(worker.outbox.glob("*.json"))) > 20)
    worker.process.kill()
    worker.process.wait(10)
    assert run_cli("run", "--once", "--config", worker.config).returncode == 0
    assert sorted(p.name for p in worker.outbox.glob("*.json")) == [f"{name}.json" for name in names]
    assert sorted(p.name for p in (worker.outbox / "done").iterdir()) == names
    assert not list((worker.outbox / ".digit-worker" / "staging").iterdir())


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        (["batch_size: 0", "colour: red"], 2, "2 mistakes"),
        (["outbox: inbox/out"], 2, "stands here a second time"),
    ],
)
def test_a_wrong_configuration_ends_with_2(folders: Path, lines: list[str], code: int, said: str) -> None:
    ended = run_cli("run", "--config", write_config(folders, *lines))
    assert ended.returncode == code
    assert said in ended.stderr


def test_missing_things_end_with_their_own_code(folders: Path) -> None:
    assert run_cli("run", cwd=folders / "inbox").returncode == 2
    config = folders / "config.yaml"
    config.write_text("inbox: inbox\noutbox: nowhere\nmodel: m\n")
    ended = run_cli("run", "--config", config)
    assert ended.returncode == 4
    assert "nowhere" in ended.stderr
    config.write_text("inbox: inbox\noutbox: outbox\nmodel: m\n")
    ended = run_cli("run", "--config", config)
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr


def _as_jpeg(data: bytes) -> bytes:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return cv2.imencode(".jpg", picture)[1].tobytes()


def _with_a_flipped_byte(data: bytes) -> bytes:
    middle = data.index(b"IDAT") + 20
    return data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]


def _bomb(side: int) -> bytes:
    """A small PNG that says it is huge, and is."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(400)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
