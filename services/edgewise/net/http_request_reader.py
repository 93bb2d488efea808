"""Requests out of a stream of bytes; no clock and no socket.

    HEAD ──no body, or all of it there──────► whole request ──► HEAD
     ├──body incomplete, short───► SHORT ────►┤
     ├──body incomplete, long────► DIRECT ───►┤   (received into its own buffer, past everything here)
     ├──chunked──────────────────► CHUNKED ──►┘
 └──very long───► STREAM ──► whole request, whose body is given out piece by piece ──► HEAD

A client most often repeats its head byte for byte, so the last head is kept with what it parsed to and compared first; then
the last few shapes (see `http_head_shape`).
"""

from enum import IntEnum
from typing import Final, cast

from edgewise.net.buffer_pool import BufferPool
from edgewise.net.errors import HttpProtocolError
from edgewise.net.http_chunked import ChunkedDecoder
from edgewise.net.http_head import CHUNKED, RequestHead, check_request_line, parse_request_head
from edgewise.net.http_incoming import IncomingBody
from edgewise.net.http_limits import HttpLimits

_REMEMBERED_HEAD_BYTES: Final = 4096
_REMEMBERED_SHAPES: Final = 4
# A slice of a buffer is a copy that is copied again; a view of it costs as much as copying this.
_COPIED_TWICE_BYTES: Final = 4096
_CARRIAGE_RETURN: Final = 13


class Stage(IntEnum):
    """What the reader waits for. The members from SHORT on are inside a body."""

    HEAD = 0
    SHORT = 1
    DIRECT = 2
    CHUNKED = 3
    STREAM = 4


# Plain names for the hot path: a look-up on the enum class costs as much as the comparison.
_HEAD: Final = Stage.HEAD
_SHORT: Final = Stage.SHORT
_DIRECT: Final = Stage.DIRECT
_CHUNKED: Final = Stage.CHUNKED
_STREAM: Final = Stage.STREAM


class RequestReader:
    """Cuts one connection's bytes into requests.

    Args:
        buffers: where long bodies get their buffers from.

    Attributes:
        stage: what it waits for.
        head_begun: part of a head has been seen (stage HEAD only).
        wants_continue: the client waits for `100 Continue`; reset it once that is sent.
    """

    __slots__ = (
        "_body",
        "_buffers",
        "_decoder",
        "_filled_bytes",
        "_last_head",
        "_last_request",
        "_limits",
        "_pooled",
        "_request",
        "_scanned_bytes",
        "_shapes",
        "stage",
        "wants_continue",
    )

    # Set with `_last_head`, and when a head with a body has been read.
    _last_request: RequestHead
    _request: RequestHead

    def __init__(self, limits: HttpLimits, buffers: BufferPool) -> None:
        self._buffers = buffers
        self._pooled = False
        self.stage = _HEAD
        self.wants_continue = False
        self._limits = limits
        self._last_head: bytes | None = None
        self._scanned_bytes = 0
        self._shapes: list[RequestHead] = []
        self._body = bytearray()
        self._filled_bytes = 0
        self._decoder: ChunkedDecoder | None = None

    @property
    def head_begun(self) -> bool:
        """Whether part of a head has been seen (stage HEAD only)."""
        return self._scanned_bytes > 0

    def take(  # noqa: C901, PLR0911 - each way a request can be whole or not leaves at once
        self, data: bytearray, start: int, end: int
    ) -> tuple[int, RequestHead | None, bytes | bytearray | IncomingBody]:
        """Take one request out of data[start:end].

        The caller keeps what was not used and offers it again, with more behind it.

        Returns: where what is left begins; the head, None while the request is incomplete; the body, which is an
            `IncomingBody` when the stage is STREAM now.
        Raises: HttpProtocolError: with the status to answer; nothing of this connection can be understood after it.
        """
        stage = self.stage
        if stage is _HEAD:
            last_head = self._last_head
            if last_head is not None and data.startswith(last_head, start, end):
                request: RequestHead | None = self._last_request
                start += len(last_head)
                self._scanned_bytes = 0
            elif (found := self._take_like(data, start, end)) is not None:
                request, start = found
            else:
                request, start = self._take_head(data, start, end)
            if request is None:
                return start, None, b""
            length = request.content_length
            if length == 0:
                return start, request, b""
            stop = start + length
            if length > 0 and stop <= end:
                if length > _COPIED_TWICE_BYTES:
                    with memoryview(data) as view:
                        return stop, request, bytes(view[start:stop])
                return stop, request, bytes(data[start:stop])
            stage = self._start_body(request, have=end - start)
        if stage is _CHUNKED:
            return self._take_chunks(data, start, end)
        if stage is _SHORT:
            stop = start + self._request.content_length
            if stop > end:
                return start, None, b""
            self.stage = _HEAD
            return stop, self._request, bytes(data[start:stop])
        if stage is _STREAM:
            with memoryview(data) as view:
                first = bytes(view[start:end])
            self._filled_bytes = len(first)
            return end, self._request, IncomingBody(self._request.content_length, first)
        # Only the first bytes of a long body pass here; the rest goes where `direct_view` says.
        with memoryview(data) as view:
            self._body[: end - start] = view[start:end]
        return end, None, b""

    def direct_view(self) -> memoryview:
        """Where the next bytes of a long body go; never empty. Stage DIRECT only."""
        body = self._body
        filled_bytes = self._filled_bytes
        if filled_bytes == len(body):
            grown = bytearray(min(self._request.content_length, 2 * filled_bytes))
            grown[:filled_bytes] = body
            self._body = body = grown
        return memoryview(body)[filled_bytes:]

    def direct_filled(self, count: int) -> tuple[RequestHead | None, bytes | bytearray]:
        """Note that `count` bytes were put where `direct_view` said.

        Returns: head and body once the request is whole; before that the head is None.
        """
        self._filled_bytes += count
        if self._filled_bytes < self._request.content_length:
            return None, b""
        body, self._body = self._body, bytearray()
        self.stage = _HEAD
        if not self._pooled:
            self._buffers.keep(body)
        return self._request, body

    def body_received_bytes(self, pending_bytes: int) -> int:
        """How much of the current body has come, given how much of it the caller keeps."""
        if self._decoder is not None:
            return self._decoder.received_bytes
        return self._filled_bytes if self.stage in {_DIRECT, _STREAM} else pending_bytes

    @property
    def held_bytes(self) -> int:
        """Memory taken by the body being received."""
        return len(self._body) if self._decoder is None else len(self._decoder.body)

    def release(self) -> None:
        """Let go of what was received; nothing is read after this."""
        self.stage = _HEAD
        self._body = bytearray()
        self._decoder = None
        self._last_head = None
        self._shapes.clear()

    def _take_head(self, data: bytearray, start: int, end: int) -> tuple[RequestHead | None, int]:
        while data.startswith(b"\r\n", start, end):
            start += 2  # empty lines before a request are to be ignored (RFC 9112, section 2.2)
            self._scanned_bytes = 0
        found = data.find(b"\r\n\r\n", start + max(0, self._scanned_bytes - 3), end)
        if found < 0:
            if start < end:
                self._check_partial_head(data, start, end)
            return None, start
        self._scanned_bytes = 0
        stop = found + 4
        head = bytes(data[start:stop])
        request = parse_request_head(head, self._limits)
        if stop - start <= _REMEMBERED_HEAD_BYTES:
            self._last_head = head
            self._last_request = request
            del self._shapes[_REMEMBERED_SHAPES - 1 :]
            self._shapes.insert(0, request)
        return request, stop

    def _take_like(self, data: bytearray, start: int, end: int) -> tuple[RequestHead, int] | None:
        """A head that differs from one this client sent before in a few values only."""
        for index, known in enumerate(self._shapes):
            match = known.shape.match(data, start, end)
            if match is not None:
                stop, values = match
                request = known.like(values, self._limits)
                if request is None:
                    return None
                if index:
                    self._shapes.insert(0, self._shapes.pop(index))
                self._scanned_bytes = 0
                self._last_head = bytes(data[start:stop])
                self._last_request = request
                return request, stop
        return None

    def _check_partial_head(self, data: bytearray, start: int, end: int) -> None:
        """Refuse as soon as it is clear that waiting for the rest is of no use."""
        limits = self._limits
        fresh = start + self._scanned_bytes
        self._scanned_bytes = size_bytes = end - start
        if not data[start : start + 1].isalpha() and data[start] != _CARRIAGE_RETURN:
            raise HttpProtocolError(400, "this is not HTTP; send `METHOD TARGET HTTP/1.1`")
        if data.count(b"\n", fresh, end) != data.count(b"\r\n", max(start, fresh - 1), end):
            raise HttpProtocolError(400, "a line of the request head ends without CR; end lines in CRLF")
        line_end = data.find(b"\r\n", start, end)
        if line_end >= 0:
            check_request_line(bytes(data[start:line_end]), limits)
        elif size_bytes > limits.max_request_line_bytes:
            check_request_line(bytes(data[start:end]), limits)
        if size_bytes > limits.max_head_bytes:
            raise HttpProtocolError(431, f"the header fields are larger than {limits.max_head_bytes} bytes")

    def _start_body(self, request: RequestHead, *, have: int) -> Stage:
        self._request = request
        self.wants_continue = request.expects_continue and not have
        limits = self._limits
        length = request.content_length
        if length == CHUNKED:
            self._decoder = ChunkedDecoder(
                max_body_bytes=limits.max_body_bytes, max_trailer_bytes=limits.max_head_bytes
            )
            self.stage = _CHUNKED
        elif length <= limits.direct_body_bytes:
            self.stage = _SHORT
        elif length > limits.stream_over_bytes:
            self.stage = _STREAM
        else:
            pooled = self._buffers.take(length)
            self._pooled = pooled is not None
            self._body = bytearray(min(length, max(limits.body_step_bytes, 2 * have))) if pooled is None else pooled
            self._filled_bytes = have
            self.stage = _DIRECT
        return self.stage

    def feed_stream(self, data: bytearray, end: int) -> tuple[int, bytes | bytearray, bool]:
        """Take data[:end] of a body that is given out piece by piece; stage STREAM only.

        Returns: where it stopped, the piece, and whether it is the last; the stage is HEAD then.
        Raises: HttpProtocolError: as `take`.
        """
        decoder = self._decoder
        if decoder is None:
            stop = min(end, self._request.content_length - self._filled_bytes)
            with memoryview(data) as view:
                piece: bytes | bytearray = bytes(view[:stop])
            self._filled_bytes += stop
            done = self._filled_bytes == self._request.content_length
        else:
            stop = decoder.feed(data, 0, end)
            piece = decoder.take()
            self._filled_bytes += len(piece)
            if self._filled_bytes > self._limits.max_body_bytes:
                raise HttpProtocolError(413, f"the body is larger than {self._limits.max_body_bytes} bytes")
            done = decoder.done
        if done:
            self._decoder = None
            self.stage = _HEAD
        return stop, piece, done

    def _take_chunks(
        self, data: bytearray, start: int, end: int
    ) -> tuple[int, RequestHead | None, bytearray | IncomingBody]:
        decoder = cast("ChunkedDecoder", self._decoder)
        start = decoder.feed(data, start, end)
        if not decoder.done:
            if len(decoder.body) <= self._limits.stream_over_bytes:
                return start, None, decoder.body
            self.stage = _STREAM
            self._filled_bytes = len(decoder.body)
            return start, self._request, IncomingBody(None, decoder.take())
        self._decoder = None
        self.stage = _HEAD
        return start, self._request, decoder.body
