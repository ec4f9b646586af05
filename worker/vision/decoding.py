"""Bytes become a grey page, within limits; whatever the bytes hold, memory and time stay bounded.

The header is read here, in Python, before native code sees a byte: what the picture claims to be is
judged first, and OpenCV is handed only what it needs (PNG: W3C PNG 3rd edition; JPEG: ITU-T T.81;
orientation: Exif 2.32, tag 0x0112).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from cv2.typing import MatLike

from worker.reasons import BadPictureError, ReasonCode, UnfinishedError
from worker.vision import MAX_PIXELS
from worker.vision.page import Grey, Page

# Pictures are worked on side by side in the worker's own threads; a pool for each would only thrash.
cv2.setNumThreads(1)

MAX_SIDE_PX: Final = 65_535  # a JPEG cannot have more, and no scanner makes a longer PNG

_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC: Final = b"\xff\xd8"
_JPEG_SCAN: Final = b"\xff\xda"
_JPEG_END: Final = b"\xff\xd9"
_MEGA: Final = 1_000_000

_PNG_FIRST_CHUNK_BYTES: Final = 33  # the magic and a whole IHDR
_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ANCILLARY: Final = 0x20  # the case bit of a chunk's first letter

_SOS, _APP1, _APP14 = 0xDA, 0xE1, 0xEE
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NO_PICTURE: Final = frozenset({0xD9, 0xF7})  # an end before any pixel; JPEG-LS, which is another format
_WITHOUT_LENGTH: Final = frozenset({0x00, 0x01, 0xD8, *range(0xD0, 0xD8)})
# Each scan of a progressive JPEG costs a pass over all its blocks, however little it holds.
_MAX_SCANS: Final = 200

# Handed to the decoder as more of the picture: no 0xFF inside, and a restart mark of every number, so
# that a picture with blocks still missing takes some of it, whatever its Huffman tables are.
_MORE_DATA: Final = b"".join(
    bytes((k * k * 7 + k * 29 + 13) % 251 for k in range(start, start + 48)) + bytes((0xFF, 0xD0 + number))
    for number, start in enumerate(range(0, 384, 48))
)

_GREYISH: Final = 32  # channels no further apart than this (of 255) make no colour
_SAMPLES: Final = 8_192
_CLEARLY_BETTER: Final = 1.5  # how much more contrast buys another grey than luminance
_NO_CONTRAST: Final = 24
_LUMINANCE: Final = 0

# What OpenCV calls each mirroring that is left after transposing what lies on its side (Exif 5 to 8).
_FLIP_CODES: Final = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}

# Which format other bytes are in, so that the record can name it. The first that matches counts.
_OTHER_FORMATS: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"GIF8[79]a", "a GIF"),
        (rb"II[*+]\0|MM\0[*+]", "a TIFF"),
        (rb"RIFF....WEBP", "a WebP"),
        (rb"BM....\0\0\0\0", "a BMP"),
        (rb"%PDF-", "a PDF"),
        (rb"\0\0..ftypavi[fs]", "an AVIF"),
        (rb"\0\0..ftyp(hei|hev|mif1|msf1)", "a HEIC"),
        (rb"\0\0..ftyp", "a video"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000"),
        (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL"),
        (rb"P[1-7][ \t\r\n]", "a PNM"),
        (rb"\0\0[\x01\x02]\0", "an icon"),
        (rb"8BPS", "a Photoshop file"),
        (rb"\x76\x2f\x31\x01", "an OpenEXR"),
        (rb".{128}DICM", "a DICOM"),
        (rb"PK\x03\x04", "a ZIP archive or office document"),
        (rb"\s*<(\?xml|svg|!DOCTYPE|html)", "XML, SVG or HTML"),
        (rb"[\t\n\r -~\x80-\xff]{1,160}\Z", "text"),
    )
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may measure: bytes of the file, and pixels (width times height)."""

    max_file_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says about itself before anything is decoded.

    `width` and `height` are in pixels as a person sees it, after `orientation` (Exif: 1 to 8).
    `is_complete` says that the end mark is there. The rest is for decoding: `depth` is in bits a
    sample; `transparent_grey` the sample value that a grey PNG declares transparent; `essentials` the
    parts of a PNG that its pixels depend on (empty: all of it); `scan_start` the offset of a JPEG's
    first entropy-coded byte.
    """

    format: Literal["png", "jpeg"]
    width: int
    height: int
    is_complete: bool
    orientation: int = 1
    depth: int = 8
    transparent_grey: int | None = None
    essentials: tuple[slice, ...] = ()
    scan_start: int = 0


def decode(data: bytes, limits: Limits) -> Page:
    """Decode a PNG or JPEG to the grey page a person would see, or say why that cannot be.

    Transparency lies on white (on black where white would hide the drawing), colour becomes the grey
    in which ink stands out best, more than 8 bits are brought to 8 by the range in use, and the
    orientation is applied. Polarity stays as it is.

    Raises BadPictureError (TOO_MANY_BYTES, TOO_MANY_PIXELS, UNSUPPORTED_FORMAT, TRUNCATED,
    UNDECODABLE) for what will not become a page, and UnfinishedError (EMPTY_FILE, TRUNCATED) for what
    still may. Limits are checked first, by the header alone.
    """
    refuse_too_many_bytes(len(data), limits)
    header = inspect(data)
    _refuse_too_many_pixels(header, limits.max_pixels)
    if not header.is_complete:
        raise UnfinishedError(ReasonCode.TRUNCATED)
    pixels = _decode_png(data, header) if header.format == "png" else _decode_jpeg(data, header)
    return Page(_upright(_reduce_to_grey(pixels, header), header.orientation))


def refuse_too_many_bytes(size_bytes: int, limits: Limits) -> None:
    """Raise BadPictureError (TOO_MANY_BYTES) for a file that is larger than the limit."""
    if size_bytes > limits.max_file_bytes:
        limit = limits.max_file_bytes / _MEGA
        detail = f"The file has {size_bytes / _MEGA:.3g} MB; the limit is {limit:.3g}."
        raise BadPictureError(ReasonCode.TOO_MANY_BYTES, detail)


def inspect(data: bytes) -> Header:
    """Read what a PNG or JPEG says about itself, without native code and without decoding.

    Raises UnfinishedError (EMPTY_FILE, TRUNCATED) where the file ends before its dimensions or holds
    nothing but zero bytes (space reserved for a file that is still to come), and BadPictureError:
    UNSUPPORTED_FORMAT, naming the format, or UNDECODABLE where the header makes no sense.
    """
    if data.startswith(_PNG_MAGIC):
        return _inspect_png(data)
    if data.startswith(_JPEG_MAGIC):
        return _inspect_jpeg(data)
    if not data:
        raise UnfinishedError(ReasonCode.EMPTY_FILE)
    written = data.rstrip(b"\0")
    if _PNG_MAGIC.startswith(written) or _JPEG_MAGIC.startswith(written):
        raise UnfinishedError(ReasonCode.TRUNCATED)
    if data.startswith(_PNG_MAGIC[:4]):
        raise _undecodable("This PNG was changed on its way, as a transfer in text mode does.")
    for pattern, name in _OTHER_FORMATS:
        if pattern.match(data[:160]):
            raise BadPictureError(ReasonCode.UNSUPPORTED_FORMAT, f"The content looks like {name}.")
    raise BadPictureError(ReasonCode.UNSUPPORTED_FORMAT)


def _undecodable(detail: str = "") -> BadPictureError:
    return BadPictureError(ReasonCode.UNDECODABLE, detail)


def _is_blank(data: bytes, start: int) -> bool:
    """Whether nothing but zero bytes follows: space that was reserved and not yet written to."""
    return data[start] == 0 and data.count(0, start) == len(data) - start


def _refuse_too_many_pixels(header: Header, max_pixels: int) -> None:
    most = min(max_pixels, MAX_PIXELS)
    found = f"The picture has {header.width} × {header.height} pixels"
    if header.width * header.height > most:
        detail = f"{found}; the limit is {most / _MEGA:.3g} megapixels."
        raise BadPictureError(ReasonCode.TOO_MANY_PIXELS, detail)
    if max(header.width, header.height) > MAX_SIDE_PX:
        detail = f"{found}; whatever the limit is, no side may have more than {MAX_SIDE_PX}."
        raise BadPictureError(ReasonCode.TOO_MANY_PIXELS, detail)


# PNG


def _inspect_png(data: bytes) -> Header:
    width, height, depth, colour = _png_frame(data)
    essentials: list[slice] = []
    transparent_grey, orientation, is_complete = None, 1, False
    run_start = following = 0
    for kind, start, following in _chunks(data):
        if kind == b"IEND":
            is_complete = True
        elif kind == b"tRNS":
            if colour == 0 and following - start == 14:
                transparent_grey = int.from_bytes(data[start + 8 : start + 10])
        elif kind[0] & _ANCILLARY:
            if kind == b"eXIf":
                orientation = _orientation(data[start + 8 : following - 4])
            essentials.append(slice(run_start, start))
            run_start = following
    if essentials:
        essentials.append(slice(run_start, following))
    if orientation > 4:
        width, height = height, width
    parts = tuple(essentials)
    return Header("png", width, height, is_complete, orientation, depth, transparent_grey, parts)


def _png_frame(data: bytes) -> tuple[int, int, int, int]:
    """Read width, height (px), bits a sample and colour type from IHDR."""
    if len(data) < _PNG_FIRST_CHUNK_BYTES or not any(data[len(_PNG_MAGIC) : _PNG_FIRST_CHUNK_BYTES]):
        raise UnfinishedError(ReasonCode.TRUNCATED)
    length, kind, width, height, depth, colour, method, filtering, interlace, crc = struct.unpack_from(
        ">I4sIIBBBBBI", data, len(_PNG_MAGIC)
    )
    is_frame = length == 13 and kind == b"IHDR" and zlib.crc32(data[12:29]) == crc
    is_possible = width and height and depth in _PNG_DEPTHS.get(colour, ())
    if not (is_frame and is_possible and (method, filtering) == (0, 0) and interlace in (0, 1)):
        raise _undecodable()
    return width, height, depth, colour


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Walk the chunks after IHDR as (type, start, end), to IEND or to where the file is cut."""
    position = _PNG_FIRST_CHUNK_BYTES
    kind = b""
    while kind != b"IEND" and position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        start, position = position, position + 12 + length
        if not kind.isalpha():
            if _is_blank(data, start):
                return
            raise _undecodable()
        if position > len(data):
            return
        yield kind, start, position


def _decode_png(data: bytes, header: Header) -> MatLike:
    # Profiles, texts and animation frames can inflate to any size and change no pixel: left out.
    needed = b"".join([data[part] for part in header.essentials]) if header.essentials else data
    return _decode_natively(needed, cv2.IMREAD_UNCHANGED, header)


# JPEG


def _inspect_jpeg(data: bytes) -> Header:
    width = height = components = scan_start = 0
    orientation, depth, has_adobe, is_progressive = 1, 8, False, False
    for marker, start, end in _segments(data):
        if marker in _FRAMES:
            depth, height, width, components = _jpeg_frame(data[start:end])
            is_progressive = marker in _PROGRESSIVE
        elif marker == _APP1 and data.startswith(b"Exif\0\0", start):
            orientation = _orientation(data[start + 6 : end])
        elif marker == _APP14:
            has_adobe = has_adobe or data.startswith(b"Adobe", start)
        elif marker == _SOS:
            scan_start = end
    if not components:
        if scan_start:
            raise _undecodable()
        raise UnfinishedError(ReasonCode.TRUNCATED)
    if components == 4 and scan_start and not has_adobe:
        raise _undecodable("This CMYK picture does not say whether its inks are stored inverted.")
    # Thumbnails with end marks of their own lie before the scan. The mark is nearly always the last
    # thing in the file, which saves a search of all of it.
    is_complete = scan_start > 0 and (data.endswith(_JPEG_END) or data.find(_JPEG_END, scan_start) >= 0)
    if is_complete and is_progressive:
        is_complete = _has_last_scans(data, scan_start, components)
    if orientation > 4:
        width, height = height, width
    return Header("jpeg", width, height, is_complete, orientation, depth, scan_start=scan_start)


def _jpeg_frame(segment: bytes) -> tuple[int, int, int, int]:
    """Read bits a sample, height, width (px) and the number of components from the body of a SOF."""
    if len(segment) < 6:
        raise _undecodable()
    depth, height, width, components = struct.unpack_from(">BHHB", segment)
    if not (width and height and components):
        raise _undecodable()
    return depth, height, width, components


def _has_last_scans(data: bytes, scan_start: int, components: int) -> bool:
    """Find whether the scans of a progressive JPEG bring every component to its last bit.

    One that was cut and given an end mark still shows the whole picture, but blurred: a 5 reads as 6.
    """
    done: set[tuple[int, int]] = set()  # component, first or last coefficient
    position = data.rfind(_JPEG_SCAN, 0, scan_start)
    scans = 0
    while 0 <= position < len(data) - 16:
        count = data[position + 4]
        after = position + 5 + 2 * count
        first, last, bits = data[after : after + 3].ljust(3, b"\xff")
        if bits & 15 == 0:
            ends = {first, last} & {0, 63}
            done.update((component, end) for component in data[position + 5 : after : 2] for end in ends)
        scans += 1
        position = data.find(_JPEG_SCAN, position + 2)
    if scans > _MAX_SCANS:
        raise _undecodable("It has more scans than any picture needs.")
    return len(done) >= 2 * components


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk the segments as (marker, start of its body, end), to SOS or to where the file is cut."""
    position, marker = len(_JPEG_MAGIC), 0
    while marker != _SOS:
        position = data.find(b"\xff", position)
        if position < 0 or position + 4 > len(data):
            return
        marker, length = struct.unpack_from(">xBH", data, position)
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _NO_PICTURE or length < 2:
            raise _undecodable()
        else:
            start, position = position + 4, position + 2 + length
            if position > len(data):
                return
            yield marker, start, position


def _decode_jpeg(data: bytes, header: Header) -> MatLike:
    # In colour at once: looking for colour in a reduced picture first costs more than it saves
    # (1240×1754: grey 5.3 ms, colour 6.8 ms, a reduced look 4.5 ms).
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = _decode_natively(data, flags, header)
    # Where a body ends early, libjpeg paints the rest in the middle of the range. A picture whose last
    # pixel has that very grey is decoded again with more data at its end: a whole one has no use for it.
    if np.abs(pixels[-1, -1].astype(np.int16) - 128).max() <= 2:
        end = data.find(_JPEG_END, header.scan_start)
        again = _decode_natively(data[:end] + _MORE_DATA + _JPEG_END, flags, header)
        if not np.array_equal(pixels, again):
            raise BadPictureError(ReasonCode.TRUNCATED)
    return pixels


# Either


def _orientation(exif: bytes) -> int:
    """Find the orientation (1 to 8) in a TIFF structure; 1 where there is none or it makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (directory,) = struct.unpack_from(order + "I", exif, 4)
    if directory + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(order + "H", exif, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * count, len(exif) - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == 0x0112:
            return value if 1 <= value <= 8 else 1
    return 1


def _decode_natively(data: bytes, flags: int, header: Header) -> MatLike:
    """Let OpenCV decode, to (height, width) or (height, width, 3 or 4), BGR(A), as stored."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _undecodable() from error
    if pixels is None:
        raise _undecodable()
    size = (header.height, header.width) if header.orientation <= 4 else (header.width, header.height)
    if pixels.shape[:2] != size:
        raise _undecodable()
    return pixels


def _upright(grey: Grey, orientation: int) -> Grey:
    """Turn and mirror a page as Exif says, so that it lies as a person sees it."""
    if orientation >= 5:
        grey = _grey(cv2.transpose(grey))
    flip_code = _FLIP_CODES.get(orientation)
    return grey if flip_code is None else _grey(cv2.flip(grey, flip_code))


def _grey(pixels: MatLike) -> Grey:
    """Tell the type checker what OpenCV's signatures leave open: these are bytes already."""
    return np.asarray(pixels, np.uint8)


def _reduce_to_grey(pixels: MatLike, header: Header) -> Grey:
    """Reduce pixels of any kind to uint8 (height, width): depth, then transparency and colour."""
    alpha: Grey | None = None
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        alpha = _to_eight_bits(cv2.extractChannel(pixels, 3))
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)
    elif pixels.ndim == 2 and header.transparent_grey is not None:
        steps = (1 << header.depth) - 1
        key = header.transparent_grey & steps
        alpha = (pixels != (key * 255 // steps if header.depth < 8 else key)).astype(np.uint8) * np.uint8(255)
    if alpha is not None and alpha.min() == 255:
        alpha = None
    colour = _to_eight_bits(pixels)
    if colour.ndim == 2 and alpha is None:
        return colour
    plane, ground = _most_legible(colour, alpha)
    if colour.ndim == 2:
        grey = colour
    elif plane == _LUMINANCE:
        grey = _grey(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY))
    else:
        grey = _grey(cv2.extractChannel(colour, plane - 1))
    return grey if alpha is None else _lay(grey, alpha, ground)


def _to_eight_bits(pixels: MatLike) -> Grey:
    """Bring uint16 to uint8 by the bits in use: a 12-bit scan keeps its contrast, a full range its range."""
    if pixels.dtype == np.uint8:
        return _grey(pixels)
    bits = max(8, int(pixels.max()).bit_length())
    return _grey(cv2.convertScaleAbs(pixels, alpha=255 / ((1 << bits) - 1)))


def _lay(grey: Grey, alpha: Grey, ground: int) -> Grey:
    """Lay a transparent plane on white (255) or black (0)."""
    if ground == 0:
        return _grey(cv2.multiply(grey, alpha, scale=1 / 255))
    return _grey(cv2.bitwise_not(cv2.multiply(cv2.bitwise_not(grey), alpha, scale=1 / 255)))


def _most_legible(colour: Grey, alpha: Grey | None) -> tuple[int, int]:
    """Choose the plane (0 luminance, 1 to 3 blue, green, red) and the ground in which ink stands out.

    Decided on about `_SAMPLES` pixels of a regular grid. Luminance on white, unless something else is
    clearly better: a yellow pen shows in blue alone, a white stroke on a black ground alone.
    """
    sample = _sample(colour)
    planes = [sample]
    if sample.ndim == 3:
        blue, green, red = cv2.split(sample)
        shift = max(cv2.norm(blue, green, cv2.NORM_INF), cv2.norm(red, green, cv2.NORM_INF))
        if alpha is None and shift <= _GREYISH:
            return _LUMINANCE, 255
        planes = [_grey(cv2.cvtColor(sample, cv2.COLOR_BGR2GRAY))]
        if shift > _GREYISH:
            planes += [_grey(blue), _grey(green), _grey(red)]
    if alpha is None:
        return _clearly_best([_contrast(plane) for plane in planes]), 255
    veil = _sample(alpha)
    on_white = [_contrast(_lay(plane, veil, 255)) for plane in planes]
    if max(on_white) < _NO_CONTRAST:
        on_black = [_contrast(_lay(plane, veil, 0)) for plane in planes]
        if max(on_black) >= _NO_CONTRAST:
            return _clearly_best(on_black), 0
    return _clearly_best(on_white), 255


def _sample(plane: Grey) -> Grey:
    """Take about `_SAMPLES` pixels of a regular grid: the same places in planes of the same size."""
    height, width = plane.shape[:2]
    step = (height * width / _SAMPLES) ** 0.5
    if step <= 1:
        return plane
    size = (max(1, round(width / step)), max(1, round(height / step)))
    return _grey(cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST))


def _clearly_best(contrasts: Sequence[int]) -> int:
    """Give the index of the greatest contrast where it is clearly greater than the first, else 0."""
    best = max(contrasts)
    is_clear = best >= _CLEARLY_BETTER * contrasts[0] and best - contrasts[0] >= _NO_CONTRAST
    return contrasts.index(best) if is_clear else 0


def _contrast(plane: Grey) -> int:
    """Measure how far ink lies from the ground, 0 to 255, leaving out the odd pixel.

    The ground is the median; ink is what one sample in two thousand reaches, so that thin strokes on a
    large page count and grains of dust do not.
    """
    counts = np.cumsum(cv2.calcHist([plane], [0], None, [256], [0, 256]))
    few = max(2, plane.size // 2000)
    darkest, ground, lightest = np.searchsorted(counts, (few, plane.size / 2, plane.size - few + 1))
    return int(max(ground - darkest, lightest - ground))
