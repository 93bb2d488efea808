"""The chunked transfer coding, undone strictly and with bounds.

Written out rather than left to llhttp because its binding does not say where a message ends in the input, and the
bytes after that belong to the next request.

    SIZE ──size > 0──► DATA ──all of it──► DATA_END ──CRLF──► SIZE
      └───size = 0──► TRAILER ──empty line──► done
"""

import re
from enum import IntEnum
from typing import Final

from edgewise.net.errors import HttpProtocolError

# A chunk extension is legal and means nothing to us; a long one is an attack.
MAX_SIZE_LINE_BYTES: Final = 256
# Slicing copies once; a view of the data costs as much as copying this.
_LARGE_CHUNK_BYTES: Final = 4096
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}\Z")
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n\Z")
_TRAILER_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n\Z")


class _Part(IntEnum):
    SIZE = 0
    DATA = 1
    DATA_END = 2
    TRAILER = 3
    DONE = 4


class ChunkedDecoder:
    """Takes the bytes of one chunked body as they come.

    Attributes:
        body: what has been decoded so far.
        received_bytes: raw bytes taken, framing included.
    """

    __slots__ = (
        "_left_bytes",
        "_line",
        "_max_body_bytes",
        "_max_trailer_bytes",
        "_part",
        "_trailer_bytes",
        "body",
        "received_bytes",
    )

    def __init__(self, *, max_body_bytes: int, max_trailer_bytes: int) -> None:
        self.body = bytearray()
        self.received_bytes = 0
        self._max_body_bytes = max_body_bytes
        self._max_trailer_bytes = max_trailer_bytes
        self._left_bytes = 0
        self._line = bytearray()
        self._part = _Part.SIZE
        self._trailer_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the body is complete."""
        return self._part is _Part.DONE

    def take(self) -> bytearray:
        """Hand over what has been decoded so far; the limit counts from here again."""
        body, self.body = self.body, bytearray()
        return body

    def feed(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Decode data[start:end] until it is used up or the body is complete.

        Returns: where it stopped; less than `end` only when the body is complete.
        Raises: HttpProtocolError: 400 for bad framing, 413 for a body and 431 for trailers over the limit.
        Source: RFC 9112, section 7.1.
        """
        begin = start
        if self._part is _Part.SIZE and not self._line:
            start = self._take_whole_chunks(data, start, end)
        while start < end and self._part is not _Part.DONE:
            if self._part is _Part.DATA:
                take = min(self._left_bytes, end - start)
                with memoryview(data) as view:
                    self.body += view[start : start + take]
                start += take
                self._left_bytes -= take
                if not self._left_bytes:
                    self._part = _Part.DATA_END
            else:
                start = self._take_line(data, start, end)
        self.received_bytes += start - begin
        return start

    def _take_whole_chunks(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Chunks that are there in one piece and have no extension: most of them, and the cheap way for tiny ones.

        Anything else is left to the careful way, errors included.
        """
        body = self.body
        while True:
            line_end = data.find(b"\r\n", start, min(end, start + 18))
            if line_end < 0 or _SIZE.match(data, start, line_end) is None:
                return start
            size = int(data[start:line_end], 16)
            begin = line_end + 2
            stop = begin + size
            if (
                not size
                or stop + 2 > end
                or len(body) + size > self._max_body_bytes
                or data[stop : stop + 2] != b"\r\n"
            ):
                return start
            if size > _LARGE_CHUNK_BYTES:
                with memoryview(data) as view:
                    body += view[begin:stop]
            else:
                body += data[begin:stop]
            start = stop + 2

    def _take_line(self, data: bytes | bytearray, start: int, end: int) -> int:
        newline = data.find(b"\n", start, end)
        stop = end if newline < 0 else newline + 1
        line = self._line
        line += data[start:stop]
        if self._part is _Part.SIZE:
            if len(line) > MAX_SIZE_LINE_BYTES:
                raise HttpProtocolError(400, f"a chunk's size line is longer than {MAX_SIZE_LINE_BYTES} bytes")
        elif self._part is _Part.DATA_END:
            if not b"\r\n".startswith(line):
                raise HttpProtocolError(400, "a chunk is longer than its size says; CRLF has to follow the chunk")
        elif self._trailer_bytes + len(line) > self._max_trailer_bytes:
            raise HttpProtocolError(431, f"the trailer fields are larger than {self._max_trailer_bytes} bytes")
        if newline >= 0:
            self._end_line(bytes(line))
            line.clear()
        return stop

    def _end_line(self, line: bytes) -> None:
        if self._part is _Part.DATA_END:
            self._part = _Part.SIZE
        elif self._part is _Part.SIZE:
            match = _SIZE_LINE.match(line)
            if match is None:
                raise HttpProtocolError(400, "a chunk's size has to be a hexadecimal number followed by CRLF")
            size = int(match[1], 16)
            if len(self.body) + size > self._max_body_bytes:
                raise HttpProtocolError(413, f"the body is larger than {self._max_body_bytes} bytes")
            self._left_bytes = size
            self._part = _Part.DATA if size else _Part.TRAILER
        elif line == b"\r\n":
            self._part = _Part.DONE
        elif _TRAILER_LINE.match(line) is None:
            raise HttpProtocolError(400, "malformed trailer field after the last chunk")
        else:
            self._trailer_bytes += len(line)
