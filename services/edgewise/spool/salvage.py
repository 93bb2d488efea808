"""What is whole in a segment that a dead writer left: cut within a record, as a rule, but the disk may have spoilt one in its middle as well.

Where a record is spoilt, the next one is where its length says; or, where the length is what was spoilt, at the next place where a checksum
is right. A frame that is not whole at the end is what a writer has left that died, and was never accepted.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from edgewise.spool.records import CRC_OF_LENGTH_BYTES, FRAME, HEADER, MAX_RECORD_BYTES

MOST_TRIED: Final = 100_000
MOST_SUMMED_BYTES: Final = 64 << 20
"""So many places are tried, and so many bytes summed, to find what is behind a spoilt length; others wait for the directory meanwhile."""
_LENGTH_PERHAPS: Final = re.compile(rb"(?!\x00{8})(?=.{3}[\x00-\x04])", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Salvage:
    """What is found in a segment.

    Attributes:
        records: where each whole one begins, with its head, and where it ends.
        damaged: records that are not whole, and are not the torn last one; as far as that can be told.
        is_whole: its header and its records are as they were written, but for what is torn at the end.
    """

    records: tuple[tuple[int, int], ...]
    damaged: int
    is_whole: bool

    @property
    def whole_bytes(self) -> int:
        """With the header; 0 where there is no record."""
        return self.records[-1][1] if self.records else 0


def salvage(stream: BinaryIO) -> Salvage:
    """Look through a segment, from the start of its file. Memory holds all of it."""
    content = stream.read()
    found: list[tuple[int, int]] = []
    damaged = 0
    place = len(HEADER)
    while place < len(content):
        end = _whole(content, place)
        if end:
            found.append((place, end))
            place = end
            continue
        begin = place
        place, is_sure = _next_whole(content, begin)
        if place or not is_sure or not _is_torn(content, begin):
            damaged += _lost(content, begin, place or len(content))
        if not place:
            break
    is_whole = not damaged and content[: len(HEADER)] == HEADER
    return Salvage(tuple(found), damaged, is_whole)


def salvaged(stream: BinaryIO, found: Salvage) -> bytes:
    """The segment, of what is whole in it."""
    parts = [HEADER]
    for begin, end in found.records:
        stream.seek(begin)
        parts.append(stream.read(end - begin))
    return b"".join(parts)


def _whole(content: bytes, place: int) -> int:
    """Where the frame ends that begins there; 0 where there is none, or it is not whole."""
    end = _end(content, place)
    if not end or end > len(content):
        return 0
    head = memoryview(content)[place : place + CRC_OF_LENGTH_BYTES]
    summed = zlib.crc32(memoryview(content)[place + FRAME.size : end], zlib.crc32(head))
    return end if summed == FRAME.unpack_from(content, place)[1] else 0


def _end(content: bytes, place: int) -> int:
    """Where a frame would end by the length that it says; 0 where none says so much."""
    if place + FRAME.size > len(content):
        return 0
    length = int(FRAME.unpack_from(content, place)[0])
    return 0 if length > MAX_RECORD_BYTES else place + FRAME.size + length


def _next_whole(content: bytes, place: int) -> tuple[int, bool]:
    """Where the next whole frame begins, behind one that is not whole, 0 where none is found; and whether all was searched for it."""
    end = _end(content, place)
    if end and end < len(content) and _whole(content, end):
        return end, True
    summed_bytes = 0
    for tried, each in enumerate(_perhaps(content, place + 1)):
        end = _end(content, each)
        if tried >= MOST_TRIED or summed_bytes >= MOST_SUMMED_BYTES:
            return 0, False
        # Where it ends, the file does, or another one begins: that is looked at first, since it costs nothing.
        if not end or end > len(content) or (end + FRAME.size <= len(content) and not _end(content, end)):
            continue
        summed_bytes += end - each
        if _whole(content, each):
            return each, True
    return 0, True


def _perhaps(content: bytes, place: int) -> Iterator[int]:
    return (each.start() for each in _LENGTH_PERHAPS.finditer(content, place))


def _is_torn(content: bytes, place: int) -> bool:
    """Whether nothing is there but what a writer has left that died: one frame, or room that was never written."""
    end = _end(content, place)
    return not end or end >= len(content) or not any(content[place:])


def _lost(content: bytes, place: int, until: int) -> int:
    """How many records lie there, by the lengths that they say; one at least."""
    count = 0
    while place < until:
        end = _end(content, place)
        if not end or end > until:
            break
        count += 1
        place = end
    # What is left over is one more; or torn, at the end.
    return max(1, count + (place < until < len(content)))
