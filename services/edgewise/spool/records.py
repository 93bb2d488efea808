"""The content of a segment: a line that says so, then records, each with its length and a CRC-32 of length and content.

edgewise-spool/1 | length (4 bytes, little endian) | CRC-32 (4 bytes) | record | length | CRC-32 | record ...
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from edgewise.core.errors import InvalidArgumentError

HEADER: Final = b"edgewise-spool/1\n"
MAX_RECORD_BYTES: Final = 64 * 1024 * 1024
FRAME: Final = struct.Struct("<II")
_LENGTH: Final = struct.Struct("<I")
CRC_OF_LENGTH_BYTES: Final = _LENGTH.size
"""Of the head are summed as well, before the record."""


def frame_head(record: bytes) -> bytes:
    """What stands before a record."""
    length = _LENGTH.pack(len(record))
    return FRAME.pack(len(record), zlib.crc32(record, zlib.crc32(length)))


def count_frames(stream: BinaryIO) -> int:
    """How many records a segment has, by the lengths that it says; contents are not read."""
    end = stream.seek(0, io.SEEK_END)
    place, number = len(HEADER), 0
    while place + FRAME.size <= end:
        stream.seek(place)
        head = stream.read(FRAME.size)
        if len(head) < FRAME.size:
            break
        place += FRAME.size + int(FRAME.unpack(head)[0])
        if place > end:
            break
        number += 1
    return number


def records_of(content: bytes | BinaryIO) -> Iterator[bytes]:
    """The records of a segment, in the order in which they were written. Memory holds one of them.

    Args:
        content: the whole segment, or a file of it at its start.
    Raises: InvalidArgumentError: it is no segment, is cut off, or a record is damaged; records before that have been given.
    """
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    found = stream.read(len(HEADER))
    if found != HEADER:
        raise InvalidArgumentError(f"found {found!r} at the start of a segment, expected {HEADER!r}")
    number = 0
    while head := stream.read(FRAME.size):
        yield _record(stream, head, f"record {number} of the segment")
        number += 1


def _record(stream: BinaryIO, head: bytes, which: str) -> bytes:
    if len(head) < FRAME.size:
        raise InvalidArgumentError(f"{which} is cut off before its content")
    length, checksum = FRAME.unpack(head)
    if length > MAX_RECORD_BYTES:
        raise InvalidArgumentError(f"{which} says that it has {length} bytes; {MAX_RECORD_BYTES} is the most")
    record = stream.read(length)
    if len(record) < length:
        raise InvalidArgumentError(f"{which} is cut off: {len(record)} of {length} bytes are there")
    if zlib.crc32(record, zlib.crc32(_LENGTH.pack(length))) != checksum:
        raise InvalidArgumentError(f"{which} has a wrong checksum; the segment is damaged")
    return record
