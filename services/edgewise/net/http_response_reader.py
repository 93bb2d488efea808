"""Responses out of a stream of bytes; no clock and no socket.

HEAD ──1xx──► HEAD
 ├──no body, or all of it there──► whole response
 ├──Content-Length──► DIRECT ─────►┤   (received into its own buffer)
 ├──chunked─────────► CHUNKED ────►┤
 └──neither─────────► UNTIL_CLOSE ─┘   (the end of the stream ends it)

Inside a body, `begin_stream` hands over what has come, and the rest is given out piece by piece.
"""

from enum import IntEnum
from typing import Final

from edgewise.net.errors import HttpProtocolError
from edgewise.net.http_chunked import ChunkedDecoder
from edgewise.net.http_head import CHUNKED
from edgewise.net.http_response_head import KnownHeads, ResponseHead, parse_response_head

_BODY_STEP_BYTES: Final = 1024 * 1024

_LINE_FEED: Final = 10
# A slice of a buffer is a copy that is copied again; a view of it costs as much as copying this.
_COPIED_TWICE_BYTES: Final = 4096


class _Stage(IntEnum):
    HEAD = 0
    DIRECT = 1
    CHUNKED = 2
    UNTIL_CLOSE = 3


# Plain names for the hot path: a look-up on the enum class costs as much as the comparison.
_HEAD: Final = _Stage.HEAD
_DIRECT: Final = _Stage.DIRECT


class BodyTooLargeError(HttpProtocolError):
    """The body is over the limit."""


class ResponseReader:
    """Reads one response after the other, each announced with `expect`.

    Args:
        max_head_bytes, max_body_bytes: bounds.
        known_heads: heads that were parsed before.

    Attributes:
        head: the head of the current response once it is there.
        direct: the next bytes go where `direct_view` says.
        streams: a body over the limit may be announced, since somebody may want it piece by piece.
    """

    __slots__ = (
        "_body",
        "_decoder",
        "_echo",
        "_filled_bytes",
        "_head_only",
        "_known_heads",
        "_last_head",
        "_last_parsed",
        "_left_bytes",
        "_max_body_bytes",
        "_max_head_bytes",
        "_pending",
        "_stage",
        "direct",
        "head",
        "streams",
    )

    # Set with `_last_head`.
    _last_parsed: ResponseHead

    def __init__(self, *, max_head_bytes: int, max_body_bytes: int, known_heads: KnownHeads | None = None) -> None:
        self.direct = False
        self.streams = False
        self._echo = b""
        self._known_heads = known_heads if known_heads is not None else KnownHeads()
        self.head: ResponseHead | None = None
        self._max_head_bytes = max_head_bytes
        self._max_body_bytes = max_body_bytes
        self._head_only = False
        self._stage = _HEAD
        self._pending = bytearray()
        self._body = bytearray()
        self._filled_bytes = 0
        self._left_bytes = 0
        self._decoder: ChunkedDecoder | None = None
        self._last_head: bytes | None = None

    def expect(self, head_only: bool, echo: bytes = b"") -> None:  # noqa: FBT001 - once a request
        r"""Begin the next response.

        Args:
            head_only: it answers HEAD.
            echo: a line of the head that may be in it, such as b"x-request-id: 7\r\n", and says nothing new: it is left
                out, so that heads that differ in nothing else are parsed once.
        """
        if head_only != self._head_only:
            self._last_head = None
            self._head_only = head_only
        self._echo = echo
        self.head = None
        self._stage = _HEAD
        self.direct = False

    def direct_view(self) -> memoryview:
        """Where the next bytes of the body go; never empty. Only while `direct`."""
        body = self._body
        filled_bytes = self._filled_bytes
        if filled_bytes == len(body):
            length = self.head.content_length if self.head is not None else 0
            grown = bytearray(min(length, 2 * filled_bytes))
            grown[:filled_bytes] = body
            self._body = body = grown
        return memoryview(body)[filled_bytes:]

    def direct_filled(self, count: int) -> bytes | bytearray | None:
        """Note that `count` bytes were put where `direct_view` said.

        Returns: the body once it is whole.
        """
        self._filled_bytes += count
        if self.head is None or self._filled_bytes < self.head.content_length:
            return None
        self.direct = False
        body, self._body = self._body, bytearray()
        return body

    def feed(  # noqa: PLR0911 - each way an answer can be whole or not leaves at once
        self, data: bytearray, end: int
    ) -> bytes | bytearray | None:
        """Take data[:end].

        Returns: the body once the response is whole; `head` is set then.
        Raises: HttpProtocolError: it cannot be understood, has bytes behind its end, or is too large.
        """
        if self._stage is not _HEAD:
            return self._feed_body(data, 0, end)
        last_head = self._last_head
        if self._pending:
            return self._feed_head(data, end)
        if last_head is not None and data.startswith(last_head, 0, end):
            self.head = head = self._last_parsed
            stop = len(last_head)
        else:
            stop = data.find(b"\r\n\r\n", 0, end) + 4
            if not 3 < stop <= self._max_head_bytes:
                return self._feed_head(data, end)
            raw = bytes(data[:stop])
            head = self._parse(raw)
            if head.status < 200:
                return self._feed_head(data, end)
            self.head = head
            if not self._echo:
                self._last_head = raw
                self._last_parsed = head
        # Most answers come in one piece.
        if head.content_length == end - stop:
            if end - stop > _COPIED_TWICE_BYTES:
                with memoryview(data) as view:
                    return bytes(view[stop:end])
            return bytes(data[stop:end])
        return self._start_body(data, stop, end)

    @property
    def body_bytes(self) -> int:
        """How long the body is as far as is known: what the head announced, or what has come."""
        if self.head is None:
            return 0
        if self.head.content_length >= 0:
            return self.head.content_length
        return len(self._body) if self._decoder is None else len(self._decoder.body)

    @property
    def too_long(self) -> bool:
        """Whether the body that was announced is over the limit."""
        return self.body_bytes > self._max_body_bytes

    def begin_stream(self) -> bytes | bytearray:
        """Begin to give the body out piece by piece; only while a response is incomplete and its head is there.

        Returns: what has come of it so far.
        """
        self.direct = False
        if self._decoder is not None:
            return self._decoder.take()
        if self._stage is _DIRECT and self.head is not None:
            with memoryview(self._body) as view:
                body: bytes | bytearray = bytes(view[: self._filled_bytes])
            self._left_bytes = self.head.content_length - self._filled_bytes
        else:
            body = self._body
        self._body = bytearray()
        return body

    def feed_stream(self, data: bytearray, end: int) -> tuple[bytes | bytearray, bool]:
        """Take data[:end] after `begin_stream`.

        Returns: the next piece, and whether it is the last.
        Raises: HttpProtocolError: it cannot be understood, or has bytes behind its end.
        """
        decoder = self._decoder
        if decoder is not None:
            stop = decoder.feed(data, 0, end)
            piece: bytes | bytearray = decoder.take()
            done = decoder.done
            if done:
                self._decoder = None
        else:
            stop = min(end, self._left_bytes) if self._stage is _DIRECT else end
            with memoryview(data) as view:
                piece = bytes(view[:stop])
            self._left_bytes -= stop
            done = self._stage is _DIRECT and not self._left_bytes
        if stop < end:
            raise HttpProtocolError(502, "there are bytes behind the end of the answer")
        return piece, done

    def finish(self) -> bytes | bytearray | None:
        """The stream ended.

        Returns: the body when that was its end, None when the response is incomplete.
        """
        return self._body if self._stage is _Stage.UNTIL_CLOSE else None

    def _feed_head(self, data: bytearray, end: int) -> bytes | bytearray | None:
        pending = self._pending
        if pending:
            pending += data[:end]
            data, end = pending, len(pending)
        start = 0
        while True:
            found = data.find(b"\r\n\r\n", start, end)
            if found < 0 or found - start > self._max_head_bytes:
                if end - start > self._max_head_bytes:
                    raise HttpProtocolError(502, f"the response head is larger than {self._max_head_bytes} bytes")
                self._pending = data[start:end]
                return None
            raw = bytes(data[start : found + 4])
            start = found + 4
            head = self._parse(raw)
            if head.status >= 200:
                break
        self.head = head
        if not self._echo:
            self._last_head = raw
            self._last_parsed = head
        if pending:
            self._pending = bytearray()
        return self._start_body(data, start, end)

    def _parse(self, raw: bytes) -> ResponseHead:
        if self._head_only:
            return parse_response_head(raw, head_only=True)
        echo = self._echo
        if echo:
            # Between line breaks, so that it is a line and not the end of one.
            found = raw.find(echo)
            if found > 0 and raw[found - 1] == _LINE_FEED:
                raw = raw[:found] + raw[found + len(echo) :]
        return self._known_heads.parse(raw)

    def _start_body(self, data: bytearray, start: int, end: int) -> bytes | bytearray | None:
        length = self.head.content_length if self.head is not None else 0
        if length >= 0:
            stop = start + length
            if stop == end:
                return bytes(data[start:end])
            if stop < end:
                raise HttpProtocolError(502, "there are bytes behind the end of the answer")
            if length > self._max_body_bytes and not self.streams:
                raise BodyTooLargeError(502, f"the answer has {length} bytes; at most {self._max_body_bytes} are taken")
            have = end - start
            self._body = bytearray(min(length, max(_BODY_STEP_BYTES, 2 * have)))
            self._body[:have] = data[start:end]
            self._filled_bytes = have
            self._stage = _DIRECT
            self.direct = True
            return None
        if length == CHUNKED:
            self._decoder = ChunkedDecoder(max_body_bytes=self._max_body_bytes, max_trailer_bytes=self._max_head_bytes)
            self._stage = _Stage.CHUNKED
        else:
            self._body = bytearray()
            self._stage = _Stage.UNTIL_CLOSE
        return self._feed_body(data, start, end)

    def _feed_body(self, data: bytearray, start: int, end: int) -> bytearray | None:
        decoder = self._decoder
        if decoder is None:
            self._body += data[start:end]
            if len(self._body) > self._max_body_bytes:
                raise BodyTooLargeError(502, f"the answer is larger than {self._max_body_bytes} bytes")
            return None
        try:
            start = decoder.feed(data, start, end)
        except HttpProtocolError as error:
            if error.status == 413:
                raise BodyTooLargeError(502, f"the answer is larger than {self._max_body_bytes} bytes") from error
            raise
        if not decoder.done:
            return None
        if start < end:
            raise HttpProtocolError(502, "there are bytes behind the end of the answer")
        self._decoder = None
        return decoder.body
