"""Pictures damaged at random and bombs, through the decoder: each ends in a page or in a stated reason, soon.

python -m tests.integration.mutations [--files 20000] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np

from worker.reasons import BadPictureError, UnfinishedError
from worker.vision.decoding import Limits, decode, inspect

LIMITS = Limits(max_file_bytes=20_000_000, max_pixels=25_000_000)
SLOW_S = 5.0  # CPU seconds that no file of some KB may take


def seeds() -> list[bytes]:
    """Small whole pictures of many kinds."""
    rng = np.random.default_rng(0)
    grey = np.full((40, 32), 250, np.uint8)
    cv2.putText(grey, "7", (6, 30), 0, 1.0, 20, 2)
    colour = np.dstack([grey, grey, rng.integers(0, 255, grey.shape, np.uint8)])
    alpha = np.dstack([colour, 255 - grey])
    deep = grey.astype(np.uint16) * 257
    made = [cv2.imencode(".png", page)[1].tobytes() for page in (grey, colour, alpha, deep)]
    more: list[list[int]] = [
        [],
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
        [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    ]
    made += [cv2.imencode(".jpg", page, flags)[1].tobytes() for page in (grey, colour) for flags in more]
    return made


def mutated(data: bytes, rng: np.random.Generator) -> tuple[bytes, bool]:
    """Damaged bytes, and whether they are a mere beginning of the picture."""
    how = int(rng.integers(0, 7))
    if how == 0:
        return data[: int(rng.integers(0, len(data) - 2))], True
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, len(out)))
        if how == 1:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif how == 2:
            out[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))
        elif how == 3:
            del out[at : at + int(rng.integers(1, 20))]
        elif how == 4:
            out[at:at] = rng.bytes(int(rng.integers(1, 20)))
        elif how == 5:
            other = int(rng.integers(0, len(out)))
            out[at : at + 16] = out[other : other + 16]
        else:  # the header alone
            out[int(rng.integers(0, min(64, len(out))))] = int(rng.integers(0, 256))
        if not out:
            break
    if data.startswith(b"\x89PNG") and rng.random() < 0.5:
        out = bytearray(with_right_checksums(bytes(out)))
    return bytes(out), False


def with_right_checksums(data: bytes) -> bytes:
    """The same chunks with checksums that fit, so that the damage gets past them."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        size = struct.unpack_from(">I", data, at)[0]
        if at + 12 + size > len(data):
            break
        body = data[at + 4 : at + 8 + size]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return out + data[at:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(side: int, *chunks: bytes, depth: int = 8, kind: int = 0, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(chunks) + _chunk(b"IEND", b"")


def bombs() -> Iterator[tuple[str, bytes]]:
    """Files that are small, and ask for much."""
    rows = zlib.compress(bytes(33 * 32), 9)
    zeros = zlib.compress(bytes(200_000_000), 9)
    image = _chunk(b"IDAT", rows)
    yield "200 MB in a zTXt", _png(32, _chunk(b"zTXt", b"c\0\0" + zeros), image)
    yield "200 MB in an iTXt", _png(32, _chunk(b"iTXt", b"c\0\1\0\0\0" + zeros), image)
    yield "200 MB in an iCCP", _png(32, _chunk(b"iCCP", b"c\0\0" + zeros), image)
    yield "200 MB in the IDAT of a small picture", _png(32, _chunk(b"IDAT", zeros))
    yield "100,000 IDATs", _png(32, _chunk(b"IDAT", rows[:1]) + _chunk(b"IDAT", b"") * 100_000
                                + _chunk(b"IDAT", rows[1:]))  # fmt: skip
    yield "100,000 remarks", _png(32, _chunk(b"tEXt", b"a\0b") * 100_000, image)
    yield "60,000 by 60,000", _png(60_000, image)
    yield "2^31 by 2^31", _png(2**31 - 1, image)
    yield "interlaced, few rows", _png(4900, image, interlaced=1)
    yield "16 bits of four colours at the limit", _png(5000, _chunk(b"IDAT", zeros), depth=16, kind=6)
    noise = np.random.default_rng(1).integers(0, 255, (2000, 2000), np.uint8)
    progressive = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan = progressive.rindex(b"\xff\xda")
    yield "4,000 scans", progressive[:scan] + progressive[scan : scan + 40] * 4000 + b"\xff\xd9"
    yield "190 scans", progressive[:scan] + progressive[scan : scan + 40] * 190 + b"\xff\xd9"
    yield "a million fill bytes", b"\xff\xd8" + b"\xff" * 1_000_000 + b"\xff\xd9"
    yield "100,000 empty segments", b"\xff\xd8" + b"\xff\xe0\0\2" * 100_000 + progressive[2:]


def outcome(data: bytes) -> str:
    """What the decoder says: `page`, or a reason; anything else is a fault of its own."""
    try:
        decode(data, LIMITS)
    except BadPictureError as error:
        return error.reason.code.value
    except UnfinishedError as error:
        return f"unfinished: {error.code.value}"
    return "page"


def fuzz(files: int, seed: int) -> dict[str, int | float]:
    """Damage and decode; the figures. AssertionError where a beginning of a picture passed for a whole one."""
    rng = np.random.default_rng(seed)
    wholes = seeds()
    found: Counter[str] = Counter()
    slowest_s = 0.0
    for number in range(files):
        data, is_cut = mutated(wholes[number % len(wholes)], rng)
        begun_s = time.process_time()
        try:
            inspect(data)
        except (BadPictureError, UnfinishedError):
            found["headers refused"] += 1
        what = outcome(data)
        slowest_s = max(slowest_s, time.process_time() - begun_s)
        if is_cut and what == "page":
            raise AssertionError(f"file {number} of seed {seed} is truncated and was read")
        found[what] += 1
        found["truncated files made"] += is_cut
    return {"files": files, **found, "slowest CPU s": round(slowest_s, 3)}


def main() -> None:
    """Fuzz and throw bombs; a traceback is the finding."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(fuzz(options.files, options.seed)))
    slow = []
    for name, data in bombs():
        begun_s = time.process_time()
        what = outcome(data)
        took_s = time.process_time() - begun_s
        print(f"{name:40}{len(data):>12,} bytes {what:22}{took_s:8.3f} CPU s")
        if took_s > SLOW_S:
            slow.append(name)
    if slow:
        sys.exit(f"too slow: {slow}")


if __name__ == "__main__":
    main()
