"""What an encoded image's header says, read before any decoder sees the file.

A decoder allocates what the header announces and walks whatever metadata there is, so a file of a few kilobytes can cost
gigabytes or minutes. Here the size is read with bounded work, refused when it is too large, and the file is handed on
with only the parts that its pixels need; orientation is kept aside.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from edgewise.core.errors import InvalidArgumentError

ALLOWED = "a JPEG, PNG or WebP image"
MAX_PARTS = 2000
MAX_SCANS = 100

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# What PNG pixels are made of; fdAT and its kin are the later frames of an animation.
_PNG_PIXEL_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_MIN_IDAT_BYTES = 512
# Start-of-frame markers of the Huffman-coded kinds with 8-bit samples in use: baseline, extended, progressive.
_JPEG_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
_JPEG_OTHER_FRAMES = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
# JFIF and Adobe tell the colour space; every other application segment and comment is metadata.
_JPEG_METADATA = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_EXIF_MAGIC = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112


class ImageFormat(StrEnum):
    """The formats that are decoded."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """An encoded image that may be decoded.

    Attributes:
        width, height: pixels as stored, before orientation.
        orientation: EXIF's 1..8; 1 shows the image as stored.
        data: the file without metadata.
        alpha: whether a WebP image says it is transparent in parts.
    """

    format: ImageFormat
    width: int
    height: int
    orientation: int
    data: bytes
    alpha: bool = False


def picture_type(content: bytes) -> str:
    """The media type that the first bytes tell: JPEG, PNG or WebP; "" for anything else."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(_PNG_MAGIC):
        return "image/png"
    return "image/webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ""


def read_header(data: bytes, max_pixels: int) -> ImageHeader:
    """Read the header of an encoded image.

    Raises:
        InvalidArgumentError: not an image of an allowed format, damaged, or of more than `max_pixels`.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _read_jpeg(data)
        elif data.startswith(_PNG_MAGIC):
            header = _read_png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            header = _read_webp(data)
        else:
            raise InvalidArgumentError(f"the input is not {ALLOWED}" + ("" if data else " but empty"))
    except (struct.error, IndexError) as error:
        raise InvalidArgumentError("the image is truncated before its pixels begin") from error
    if not header.width or not header.height:
        raise _damaged(header.format, "it has no pixels")
    if header.width * header.height > max_pixels:
        raise InvalidArgumentError(
            f"the image has {header.width} x {header.height} = {header.width * header.height} pixels, "
            f"expected at most {max_pixels}"
        )
    return header


def check_whole(data: bytes) -> None:
    """Check that a file of which `read_header` found nothing wrong goes on to its image's end. Nothing is decoded: damage in the middle is not seen.

    A JPEG has its end marker behind its first scan, a PNG all its chunks up to IEND, a WebP as many bytes as it announces. More may follow.

    Raises:
        InvalidArgumentError: it ends before.
    """
    kind = picture_type(data)
    if kind == "image/jpeg":
        # The preview in the metadata has an end of its own.
        scan = next((start for marker, start, _ in _jpeg_segments(data) if marker == 0xDA), len(data))
        if data.find(b"\xff\xd9", scan) < 0:
            raise _cut(ImageFormat.JPEG, "its end marker is missing")
    elif kind == "image/png":
        if not _png_has_end(data):
            raise _cut(ImageFormat.PNG, "its chunk IEND is missing")
    elif kind == "image/webp" and (announced := 8 + int.from_bytes(data[4:8], "little")) > len(data):
        raise _cut(ImageFormat.WEBP, f"it announces {announced} bytes and has {len(data)}")


def _cut(image_format: ImageFormat, problem: str) -> InvalidArgumentError:
    return _damaged(image_format, f"{problem}, so it was cut off; copy it again from where it came")


def _png_has_end(data: bytes) -> bool:
    position: int = len(_PNG_MAGIC)
    length: int
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if kind == b"IEND":
            return position <= len(data)
    return False


def _damaged(image_format: ImageFormat, problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"the {image_format} image is damaged: {problem}")


def _read_jpeg(data: bytes) -> ImageHeader:
    parts = [data[:2]]
    size: tuple[int, int] | None = None
    exif = b""
    for marker, start, end in _jpeg_segments(data):
        if marker in _JPEG_OTHER_FRAMES:
            raise InvalidArgumentError(
                "the JPEG image is lossless or arithmetic-coded; send a baseline or progressive one"
            )
        if marker in _JPEG_FRAMES:
            if size is not None:
                raise _damaged(ImageFormat.JPEG, "it has two frames")
            height, width = struct.unpack_from(">HH", data, start + 5)
            size = width, height
        elif marker == 0xE1 and not exif and data.startswith(_EXIF_MAGIC, start + 4):
            exif = data[start + 4 + len(_EXIF_MAGIC) : end]
        if marker not in _JPEG_METADATA:
            parts.append(data[start:end])
    if size is None:
        raise _damaged(ImageFormat.JPEG, "it has no frame")
    return ImageHeader(ImageFormat.JPEG, *size, _orientation(exif), b"".join(parts))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; the last begins with the first scan and holds all the rest."""
    position = 2
    for _ in range(MAX_PARTS):
        if data[position] != 0xFF:
            raise _damaged(ImageFormat.JPEG, "a marker is missing")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == 0xDA:
            _limit_scans(data, position)
            yield marker, position, len(data)
            return
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        if length < 2 or end > len(data):
            raise _damaged(ImageFormat.JPEG, "a segment ends too early")
        yield marker, position, end
        position = end
    raise _damaged(ImageFormat.JPEG, f"more than {MAX_PARTS} segments before the pixels")


def _limit_scans(data: bytes, start: int) -> None:
    """Refuse a file that makes the decoder go over all pixels again and again."""
    if data.count(b"\xff\xda", start) <= MAX_SCANS:
        return
    # What follows the image's end (a video, a second image) may hold any bytes: count only up to there.
    scans = 0
    for match in _JPEG_MARKER.finditer(data, start):
        marker = data[match.start() + 1]
        if marker == 0xD9:
            return
        scans += marker == 0xDA
        if scans > MAX_SCANS:
            raise _damaged(ImageFormat.JPEG, f"more than {MAX_SCANS} scans")


def _read_png(data: bytes) -> ImageHeader:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or length != 13:
        raise _damaged(ImageFormat.PNG, "it does not begin with a header")
    parts = [_PNG_MAGIC]
    exif = b""
    position = len(_PNG_MAGIC)
    kept_from = position
    # Encoders write pixels in pieces of 8 KiB or more; a file of tiny pieces only burns time.
    for _ in range(MAX_PARTS + len(data) // _MIN_IDAT_BYTES):
        if position + 8 > len(data):  # the decoder says what is missing
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if kind not in _PNG_PIXEL_CHUNKS:
            if kind == b"eXIf" and not exif:
                exif = data[position + 8 : end - 4]
            parts.append(data[kept_from:position])
            kept_from = min(end, len(data))
        position = end
        if kind == b"IEND":
            break
    else:
        raise _damaged(ImageFormat.PNG, "too many chunks")
    parts.append(data[kept_from : max(position, kept_from)])
    return ImageHeader(ImageFormat.PNG, width, height, _orientation(exif), b"".join(parts))


def _read_webp(data: bytes) -> ImageHeader:
    kind = data[12:16]
    orientation = 1
    alpha = False
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise _damaged(ImageFormat.WEBP, "the start code is missing")
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        if data[20] != 0x2F:
            raise _damaged(ImageFormat.WEBP, "the signature byte is missing")
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        alpha = bool(bits >> 28 & 1)
    elif kind == b"VP8X":
        if len(data) < 30:
            raise _damaged(ImageFormat.WEBP, "it ends in its header")
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        orientation = _webp_orientation(data)
        alpha = bool(data[20] & 0x10)
    else:
        raise _damaged(ImageFormat.WEBP, "the first chunk is unknown")
    return ImageHeader(ImageFormat.WEBP, width, height, orientation, data, alpha)


def _webp_orientation(data: bytes) -> int:
    position = 12
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            return 1
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            return _orientation(data[position + 8 : position + 8 + length].removeprefix(_EXIF_MAGIC))
        position += 8 + length + (length & 1)
    raise _damaged(ImageFormat.WEBP, f"more than {MAX_PARTS} chunks")


def _orientation(exif: bytes) -> int:
    """The orientation in a TIFF-shaped EXIF block; 1 when there is none or the block is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, offset)
        for index in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, offset + 2 + 12 * index)
            if tag == _ORIENTATION_TAG:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
