"""Bytes to page: formats, limits, completeness, transparency, depth, colour, orientation."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.reasons import BadPictureError, ReasonCode, UnfinishedError
from worker.vision.decoding import Limits, decode, inspect

Array = npt.NDArray[np.uint8]
LIMITS = Limits(max_file_bytes=1_000_000, max_pixels=1_000_000)
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


# Pictures made by hand, so that every kind of file is exactly what it is meant to be


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def ihdr(width: int, height: int, depth: int = 8, colour: int = GREY, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(
    width: int,
    rows: Sequence[bytes],
    depth: int = 8,
    colour: int = GREY,
    extra: bytes = b"",
    interlace: int = 0,
) -> bytes:
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return PNG_MAGIC + ihdr(width, len(rows), depth, colour, interlace) + extra + body + chunk(b"IEND")


def jpeg(pixels: Array, *more: int) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90, *more])[1].tobytes()


def exif(orientation: int, order: str = ">") -> bytes:
    mark = b"MM\0*" if order == ">" else b"II*\0"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def app(number: int, body: bytes) -> bytes:
    return bytes((0xFF, 0xE0 + number)) + struct.pack(">H", len(body) + 2) + body


def with_segment(picture: bytes, segment: bytes) -> bytes:
    return picture[:2] + segment + picture[2:]


def digit(height: int = 60, width: int = 40, ground: int = 240, ink: int = 20) -> Array:
    page = np.full((height, width), ground, np.uint8)
    page[height // 5 : 4 * height // 5, width // 2 : width // 2 + 4] = ink
    return page


def tinted(page: Array, ground: tuple[int, int, int], ink: tuple[int, int, int]) -> Array:
    """Paint paper and pen in colours (BGR)."""
    return np.where((page < 128)[..., None], np.array(ink, np.uint8), np.array(ground, np.uint8)).astype(
        np.uint8
    )


def rgb_png(bgr: Array) -> bytes:
    return png(bgr.shape[1], [row[:, ::-1].tobytes() for row in bgr], colour=RGB)


def four_inks(blocks: Sequence[tuple[int, int, int, int]], transform: int | None) -> bytes:
    """Write a JPEG of four components, a row of flat 8 × 8 blocks; the stored values are as given."""
    bits = ""
    before = [0, 0, 0, 0]
    for block in blocks:
        for index, value in enumerate(block):
            difference = value - 128 - before[index]
            before[index] = value - 128
            size = abs(difference).bit_length()
            bits += f"{size:04b}"
            if size:
                bits += f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"
            bits += "0"  # no detail
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")

    def segment(marker: int, body: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body

    frame = struct.pack(">BHHB", 8, 8, 8 * len(blocks), 4) + b"".join(
        bytes((n, 0x11, 0)) for n in range(1, 5)
    )
    return (
        b"\xff\xd8"
        + (segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])) if transform is not None else b"")
        + segment(0xDB, b"\0" + bytes([8] * 64))
        + segment(0xC0, frame)
        + segment(0xC4, b"\0" + bytes([0, 0, 0, 12, *[0] * 12]) + bytes(range(12)))
        + segment(0xC4, b"\x10" + bytes([1, *[0] * 15]) + b"\0")
        + segment(0xDA, b"\4" + b"".join(bytes((n, 0)) for n in range(1, 5)) + b"\0\x3f\0")
        + scan
        + b"\xff\xd9"
    )


def contrast(page: Array) -> int:
    return int(page.max()) - int(page.min())


def code_of(data: bytes, limits: Limits = LIMITS) -> ReasonCode:
    with pytest.raises(BadPictureError) as caught:
        decode(data, limits)
    return caught.value.reason.code


GREY_PNG = png(40, [row.tobytes() for row in digit()])
GREY_JPEG = jpeg(digit())


# What it is


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GIF89a\1\0\1\0", "GIF"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "WebP"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "BMP"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"P5 28 28 255\n", "PNM"),
        (b"PK\x03\x04\x14\0", "ZIP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("Größe: 4\n".encode(), "text"),
        (b"\x01\x02\x03\x04\x05\x00\x06", "neither PNG nor JPEG"),
    ],
)
def test_other_formats_are_refused_by_content_and_named(data: bytes, name: str) -> None:
    with pytest.raises(BadPictureError, match=name) as caught:
        inspect(data)
    assert caught.value.reason.code is ReasonCode.UNSUPPORTED_FORMAT


def test_a_header_tells_format_and_size_without_decoding() -> None:
    for data, name in ((GREY_PNG, "png"), (GREY_JPEG, "jpeg")):
        header = inspect(data)
        assert (header.format, header.width, header.height, header.is_complete) == (name, 40, 60, True)


@pytest.mark.parametrize(
    "data",
    [
        PNG_MAGIC + ihdr(0, 5) + chunk(b"IEND"),
        PNG_MAGIC + ihdr(5, 5, depth=3) + chunk(b"IEND"),
        PNG_MAGIC + ihdr(5, 5, interlace=2) + chunk(b"IEND"),
        PNG_MAGIC + ihdr(5, 5)[:-1] + b"\0" + chunk(b"IEND"),
        PNG_MAGIC + chunk(b"IDAT", b"x" * 30),
        PNG_MAGIC + ihdr(5, 5) + chunk(b"I\x01AT", b"x"),
        GREY_PNG.replace(b"\r\n", b"\n", 1),
        b"\xff\xd8\xff\xd9\0\0",
        b"\xff\xd8" + app(0, b"JFIF\0") + b"\xff\xda\0\2" + b"\xff\xd9",
        GREY_JPEG.replace(struct.pack(">BHH", 8, 60, 40), struct.pack(">BHH", 8, 0, 40)),
        b"\xff\xd8\xff\xf7" + struct.pack(">HBHHB", 11, 8, 60, 40, 1) + b"\1\x11\0",
    ],
)
def test_a_header_that_makes_no_sense_is_undecodable(data: bytes) -> None:
    with pytest.raises(BadPictureError) as caught:
        inspect(data)
    assert caught.value.reason.code is ReasonCode.UNDECODABLE


# Is all of it there?


def test_no_bytes_at_all_are_an_unfinished_empty_file() -> None:
    with pytest.raises(UnfinishedError) as caught:
        decode(b"", LIMITS)
    assert caught.value.code is ReasonCode.EMPTY_FILE


@pytest.mark.parametrize("picture", [GREY_PNG, GREY_JPEG, jpeg(digit(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_every_beginning_of_a_picture_is_unfinished(picture: bytes) -> None:
    for length in range(1, len(picture)):
        with pytest.raises(UnfinishedError) as caught:
            decode(picture[:length], LIMITS)
        assert caught.value.code is ReasonCode.TRUNCATED, length


@pytest.mark.parametrize("picture", [GREY_PNG, GREY_JPEG])
@pytest.mark.parametrize("written", [0, 1, 2, 7, 8, 33, 60, 80])
def test_space_reserved_but_not_yet_written_is_unfinished(picture: bytes, written: int) -> None:
    with pytest.raises(UnfinishedError):
        decode(picture[:written].ljust(1000, b"\0"), LIMITS)


@pytest.mark.parametrize("picture", [GREY_PNG, GREY_JPEG])
def test_bytes_after_the_end_mark_do_no_harm(picture: bytes) -> None:
    assert np.array_equal(
        decode(picture + b"\0trailer\xff\xd8\xff" * 5, LIMITS).grey, decode(picture, LIMITS).grey
    )


def test_the_end_mark_of_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    picture = with_segment(GREY_JPEG, app(1, b"Exif\0\0" + GREY_JPEG))
    assert decode(picture, LIMITS).width == 40
    assert not inspect(picture[:-2]).is_complete


@pytest.mark.parametrize("more", [(), (cv2.IMWRITE_JPEG_RST_INTERVAL, 3)])
@pytest.mark.parametrize("part", [0.45, 0.6, 0.75, 0.9])
def test_a_cut_body_with_an_end_mark_put_behind_it_is_refused(more: tuple[int, ...], part: float) -> None:
    noise = np.random.default_rng(5).normal(200, 12, (64, 80)).astype(np.uint8)
    whole = jpeg(noise, *more)
    assert decode(whole, LIMITS).width == 80
    assert code_of(whole[: int(len(whole) * part)] + b"\xff\xd9") is ReasonCode.TRUNCATED


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6])
def test_a_cut_progressive_picture_with_an_end_mark_put_behind_it_is_unfinished(part: float) -> None:
    noise = np.random.default_rng(5).normal(200, 12, (64, 80, 3)).astype(np.uint8)
    whole = jpeg(noise, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert decode(whole, LIMITS).width == 80
    with pytest.raises(UnfinishedError):
        decode(whole[: int(len(whole) * part)] + b"\xff\xd9", LIMITS)


@pytest.mark.parametrize("more", [(), (cv2.IMWRITE_JPEG_RST_INTERVAL, 3), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_a_whole_picture_on_middle_grey_is_not_taken_for_a_cut_one(more: tuple[int, ...]) -> None:
    page = digit(ground=128, ink=0)
    assert np.abs(decode(jpeg(page, *more), LIMITS).grey.astype(int) - page).mean() < 4
    assert decode(jpeg(cv2.cvtColor(page, cv2.COLOR_GRAY2BGR).astype(np.uint8), *more), LIMITS).height == 60


# Limits


def test_more_bytes_than_the_limit_are_refused_whatever_they_are() -> None:
    assert code_of(b"x" * 101, Limits(100, 10)) is ReasonCode.TOO_MANY_BYTES


@pytest.mark.parametrize("end", [b"", chunk(b"IDAT", b"x"), chunk(b"IEND")])
def test_a_bomb_is_refused_by_its_header_even_when_it_is_cut(end: bytes) -> None:
    assert code_of(PNG_MAGIC + ihdr(30_000, 30_000) + end) is ReasonCode.TOO_MANY_PIXELS
    bomb = GREY_JPEG.replace(struct.pack(">BHH", 8, 60, 40), struct.pack(">BHH", 8, 60_000, 60_000))
    assert code_of(bomb[: len(bomb) // 2 + len(end)]) is ReasonCode.TOO_MANY_PIXELS


@pytest.mark.parametrize(
    ("data", "limits", "told"),
    [
        (b"x" * 2_000_000, LIMITS, "The file has 2 MB; the limit is 1."),
        (
            PNG_MAGIC + ihdr(3000, 1000),
            LIMITS,
            "The picture has 3000 × 1000 pixels; the limit is 1 megapixels.",
        ),
        (PNG_MAGIC + ihdr(400_000, 1), LIMITS, "no side may have more than 65535."),
    ],
)
def test_what_is_too_large_is_told_once_with_its_size_and_what_to_do(
    data: bytes, limits: Limits, told: str
) -> None:
    with pytest.raises(BadPictureError) as caught:
        decode(data, limits)
    message = caught.value.reason.message
    assert told in message
    assert message.count("limit") == 1
    assert "Scan at a lower resolution or raise max_" in message


def test_a_side_that_no_scanner_makes_is_refused_though_its_pixels_are_few() -> None:
    assert code_of(PNG_MAGIC + ihdr(400_000, 1) + chunk(b"IEND")) is ReasonCode.TOO_MANY_PIXELS


def test_a_bomb_costs_no_memory() -> None:
    script = """
import re, struct, zlib
from worker.reasons import BadPictureError, UnfinishedError
from worker.vision.decoding import Limits, decode
def peak_kb():  # of this program alone; ru_maxrss counts the one that started it, too
    return int(re.search("VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
def chunk(kind, body=b""):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
def png(side, extra=b"", rows=b""):
    frame = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\\x89PNG\\r\\n\\x1a\\n" + frame + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")
squeezer = zlib.compressobj(1)
inflating = b"".join([*(squeezer.compress(bytes(1 << 20)) for _ in range(50)), squeezer.flush()])
plain = png(8, rows=bytes(72))
bombs = [png(30_000, rows=bytes(1000))]
bombs.append(png(7_200)[:33] + chunk(b"IDAT", inflating) + chunk(b"IEND"))  # every row is there
bombs += [png(8, extra, bytes(72)) for extra in (
    chunk(b"zTXt", b"note\\0\\0" + inflating), chunk(b"iCCP", b"sRGB\\0\\0" + inflating),
    chunk(b"iTXt", b"note\\0\\1\\0\\0\\0" + inflating))]
bombs.append(png(8) [:33] + chunk(b"IDAT", inflating) + chunk(b"IEND"))
limits = Limits(50_000_000, 40_000_000)
decode(plain, limits)
before = peak_kb()
for bomb in bombs:
    try:
        decode(bomb, limits)
    except BadPictureError:
        pass
print(peak_kb() - before)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 20_000  # kilobytes


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    progressive = jpeg(digit(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scan_start = inspect(progressive).scan_start
    header = progressive[scan_start - 10 : scan_start]
    assert (
        code_of(progressive[:-2] + (b"\xff\xda" + header[2:]) * 1000 + b"\xff\xd9") is ReasonCode.UNDECODABLE
    )


# Damage


@pytest.mark.parametrize("part", [b"IHDR", b"IDAT"])
def test_a_png_with_a_wrong_checksum_is_undecodable(part: bytes) -> None:
    broken = bytearray(GREY_PNG)
    broken[GREY_PNG.index(part) + 6] ^= 1
    assert code_of(bytes(broken)) is ReasonCode.UNDECODABLE


def test_a_png_with_too_few_rows_is_undecodable() -> None:
    rows = zlib.compress(b"\0" * 41 * 30)
    assert code_of(PNG_MAGIC + ihdr(40, 60) + chunk(b"IDAT", rows) + chunk(b"IEND")) is ReasonCode.UNDECODABLE


@settings(max_examples=300, deadline=None)
@given(
    picture=st.sampled_from([GREY_PNG, GREY_JPEG, rgb_png(tinted(digit(), (255, 255, 255), (0, 0, 200)))]),
    where=st.floats(0, 1, exclude_max=True),
    new=st.binary(min_size=0, max_size=6),
)
def test_any_damage_ends_in_a_page_or_in_a_stated_reason(picture: bytes, where: float, new: bytes) -> None:
    at = int(where * len(picture))
    try:
        page = decode(picture[:at] + new + picture[at + len(new) :], LIMITS)
    except (BadPictureError, UnfinishedError):
        return
    assert page.grey.dtype == np.uint8
    assert page.grey.ndim == 2


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"", PNG_MAGIC, b"\xff\xd8\xff", b"\0\0\0\x18ftyp"]))
def test_any_bytes_end_in_a_stated_reason(data: bytes, magic: bytes) -> None:
    with pytest.raises((BadPictureError, UnfinishedError)):
        decode(magic + data, LIMITS)


# Depth


@pytest.mark.parametrize(("depth", "stored"), [(1, 0b10110000), (2, 0b11001001), (4, 0x5F)])
def test_few_bits_a_pixel_span_black_to_white(depth: int, stored: int) -> None:
    count = 8 // depth
    steps = (1 << depth) - 1
    expected = [(stored >> (8 - depth * (n + 1)) & steps) * 255 // steps for n in range(count)]
    assert decode(png(count, [bytes([stored])], depth), LIMITS).grey.tolist() == [expected]


def test_twelve_bits_kept_in_sixteen_fill_the_range() -> None:
    grey = decode(png(3, [struct.pack(">HHH", 0, 2048, 4095)], 16), LIMITS).grey
    assert grey.tolist() == [[0, 128, 255]]


def test_full_sixteen_bits_keep_their_range() -> None:
    grey = decode(png(3, [struct.pack(">HHH", 257 * 10, 257 * 100, 257 * 200)], 16), LIMITS).grey
    assert grey.tolist() == [[10, 100, 200]]


@pytest.mark.parametrize(("top", "opaque"), [(65535, 65535), (4095, 65535)])
def test_sixteen_bits_in_colour_and_with_alpha_are_read(top: int, opaque: int) -> None:
    ground, ink = struct.pack(">HHH", top, top, top), struct.pack(">HHH", 0, 0, 0)
    alpha = struct.pack(">H", opaque)
    assert decode(png(3, [ground + ink + ground], 16, RGB), LIMITS).grey.tolist() == [[255, 0, 255]]
    rows = [ground + alpha + ink + alpha + ink + b"\0\0"]
    assert decode(png(3, rows, 16, RGBA), LIMITS).grey.tolist() == [[255, 0, 255]]


def test_gamma_and_other_remarks_change_no_pixel_and_leave_the_log_quiet(
    capfd: pytest.CaptureFixture[str],
) -> None:
    rows = [row.tobytes() for row in digit()]
    remarks = (
        chunk(b"gAMA", struct.pack(">I", 100_000))
        + chunk(b"sBIT", b"\4")
        + chunk(b"iCCP", b"broken\0\0" + zlib.compress(b"no profile"))
        + chunk(b"bKGD", b"\0\x10")
        + chunk(b"acTL", struct.pack(">II", 2, 0))
        + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 40, 60, 0, 0, 1, 100, 0, 0))
    )
    assert np.array_equal(decode(png(40, rows, extra=remarks), LIMITS).grey, digit())
    assert capfd.readouterr().err == ""


def test_an_interlaced_png_is_whole() -> None:
    page = digit(16, 16)
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = [row.tobytes() for y, x, down, across in passes for row in page[y::down, x::across]]
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    data = PNG_MAGIC + ihdr(16, 16, interlace=1) + body + chunk(b"IEND")
    assert np.array_equal(decode(data, LIMITS).grey, page)


# Transparency


def rgba_png(bgr: Array, alpha: Array) -> bytes:
    return png(bgr.shape[1], [r.tobytes() for r in np.dstack([bgr[..., ::-1], alpha])], colour=RGBA)


def test_a_drawing_in_the_alpha_channel_alone_is_seen() -> None:
    strokes = 255 - digit(ground=255, ink=0)
    black = np.zeros((60, 40, 3), np.uint8)
    assert np.array_equal(decode(rgba_png(black, strokes), LIMITS).grey, digit(ground=255, ink=0))


def test_white_strokes_on_a_transparent_ground_are_seen() -> None:
    strokes = 255 - digit(ground=255, ink=0)
    white = np.full((60, 40, 3), 255, np.uint8)
    assert contrast(decode(rgba_png(white, strokes), LIMITS).grey) == 255


def test_an_opaque_picture_with_transparent_corners_lies_on_white() -> None:
    alpha = np.full((60, 40), 255, np.uint8)
    alpha[:5, :5] = 0
    grey = decode(rgba_png(np.dstack([digit(ground=250, ink=180)] * 3), alpha), LIMITS).grey
    assert (grey[0, 0], grey[10, 1], grey[30, 21]) == (255, 250, 180)


def test_half_transparent_ink_is_half_as_dark() -> None:
    data = png(2, [bytes([0, 128, 0, 0])], colour=GREY_ALPHA)
    assert decode(data, LIMITS).grey.tolist() == [[127, 255]]


def test_transparent_palette_entries_are_white() -> None:
    extra = chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", bytes([0, 255]))
    rows = [bytes([1 if ink < 128 else 0 for ink in row]) for row in digit().tolist()]
    assert np.array_equal(
        decode(png(40, rows, colour=PALETTE, extra=extra), LIMITS).grey, digit(ground=255, ink=0)
    )


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (8, bytes([0, 77, 200]), 77, [0, 255, 200]),
        (16, struct.pack(">HHH", 0, 30_000, 51_400), 30_000, [0, 255, 200]),
        (2, bytes([0b00011000]), 1, [0, 255, 170]),
    ],
)
def test_the_transparent_grey_of_a_png_is_white(
    depth: int, row: bytes, key: int, expected: list[int]
) -> None:
    data = png(3, [row], depth, extra=chunk(b"tRNS", struct.pack(">H", key)))
    assert decode(data, LIMITS).grey.tolist() == [expected]


# Colour


@pytest.mark.parametrize(
    ("ground", "ink"),
    [
        ((255, 255, 255), (0, 240, 255)),  # yellow pen on white paper
        ((90, 0, 0), (0, 0, 200)),  # red on dark blue
        ((0, 0, 230), (0, 0, 0)),  # black on red
        ((255, 255, 255), (255, 235, 170)),  # a pale blue felt pen
        ((60, 100, 200), (200, 117, 90)),  # two colours of the same luminance
    ],
)
@pytest.mark.parametrize("write", [rgb_png, jpeg])
def test_coloured_ink_is_seen_in_the_grey_that_shows_it(
    ground: tuple[int, int, int], ink: tuple[int, int, int], write: type
) -> None:
    colour = tinted(digit(ground=255), ground, ink)
    luminance = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY).astype(np.uint8)
    grey = decode(write(colour), LIMITS).grey
    here, there = int(np.median(grey[20:40, 21:23])), int(np.median(grey[:, :10]))
    assert abs(here - there) >= 1.5 * contrast(luminance) or abs(here - there) > 120
    assert abs(here - there) >= 50


def test_a_small_mark_on_a_large_coloured_page_decides_as_well() -> None:
    colour = np.full((900, 900, 3), 255, np.uint8)
    cv2.putText(colour, "4", (600, 700), cv2.FONT_HERSHEY_SIMPLEX, 3, (0, 240, 255), 8)
    assert contrast(decode(rgb_png(colour), Limits(10_000_000, 1_000_000)).grey) > 200


def test_ordinary_colours_become_luminance() -> None:
    colour = tinted(digit(ground=255), (235, 240, 245), (120, 40, 20))
    luminance = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    assert np.array_equal(decode(rgb_png(colour), LIMITS).grey, luminance)


def test_both_polarities_stay_as_they_are() -> None:
    for page in (digit(), 255 - digit()):
        assert np.array_equal(decode(png(40, [row.tobytes() for row in page]), LIMITS).grey, page)


@pytest.mark.parametrize(("transform", "paper"), [(0, (255, 255, 255, 255)), (2, (0, 128, 128, 255))])
def test_inverted_inks_of_adobe_are_black_on_white(transform: int, paper: tuple[int, int, int, int]) -> None:
    black = (*paper[:3], 0)
    grey = decode(four_inks([paper, black, paper], transform), LIMITS).grey
    assert grey.shape == (8, 24)
    assert grey[4, 4] > 250
    assert grey[4, 12] < 5


def test_inks_that_may_or_may_not_be_inverted_are_refused() -> None:
    assert code_of(four_inks([(0, 0, 0, 0), (0, 0, 0, 255)], None)) is ReasonCode.UNDECODABLE


@pytest.mark.parametrize("more", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_jpegs_grey_or_in_colour_baseline_or_progressive_are_read(more: tuple[int, ...]) -> None:
    page = digit()
    for pixels in (page, np.dstack([page] * 3)):
        assert np.abs(decode(jpeg(pixels, *more), LIMITS).grey.astype(int) - page).max() < 40


# Orientation: a page of 40 × 60 with its dark corner at the top left, as a person should see it


def seen() -> Array:
    page = np.full((60, 40), 255, np.uint8)
    page[:16, :8] = 0
    return page


def stored(orientation: int) -> Array:
    page = seen()
    undo = {
        1: page,
        2: page[:, ::-1],
        3: page[::-1, ::-1],
        4: page[::-1],
        5: page.T,
        6: np.rot90(page),
        7: page[::-1, ::-1].T,
        8: np.rot90(page, -1),
    }
    return np.ascontiguousarray(undo[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", [">", "<"])
def test_orientation_is_applied_once(orientation: int, order: str) -> None:
    pixels = stored(orientation)
    remark = exif(orientation, order)
    plain = png(pixels.shape[1], [r.tobytes() for r in pixels], extra=chunk(b"eXIf", remark))
    colour = with_segment(jpeg(np.dstack([pixels] * 3)), app(1, b"Exif\0\0" + remark))
    grey = with_segment(jpeg(pixels), app(1, b"Exif\0\0" + remark))
    for data in (plain, colour, grey):
        header = inspect(data)
        assert (header.width, header.height) == (40, 60)
        assert np.abs(decode(data, LIMITS).grey.astype(int) - seen()).max() < 60


@pytest.mark.parametrize(
    "remark", [exif(0), exif(9), b"MM\0*", b"MM\0*\xff\xff\xff\xff", exif(6)[:12], b"", b"XX"]
)
def test_an_orientation_that_makes_no_sense_is_none(remark: bytes) -> None:
    header = inspect(with_segment(GREY_JPEG, app(1, b"Exif\0\0" + remark)))
    assert (header.width, header.height, header.orientation) == (40, 60, 1)
