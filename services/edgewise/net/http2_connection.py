"""One client's HTTP/2 connection, below what the streams carry: frames, settings, windows, limits, the end.

    PREFACE ──settings──► OPEN ──no calls after GOAWAY, or an error──► LINGERING ──► CLOSED

Source: RFC 9113.
"""

import asyncio
from time import monotonic
from typing import Final, cast

from edgewise.net.grpc_answer import RESPONSE_BLOCK
from edgewise.net.http2_control import CLOSED, LINGERING, OPEN, PREFACE_DUE
from edgewise.net.http2_frames import (
    DATA,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    FRAME_HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    ErrorCode,
    Http2ConnectionError,
    pack_goaway,
    pack_settings,
    pack_window_update,
)
from edgewise.net.http2_output import Outflow
from edgewise.net.http2_streams import Http2Owner
from edgewise.net.http2_time_limits import Http2TimeLimits

# Calls of one connection begun without letting the others in between.
_CALLS_IN_A_ROW: Final = 256
_HTTP_1_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b"
)
_HTTP_1_TEXT: Final = (
    b"400 Bad Request: this port speaks gRPC, over HTTP/2 with prior knowledge; REST has its own port\n"
)


class Http2Connection(Http2TimeLimits):
    """The transport's side of one connection; what streams carry is a subclass's business.

    Bytes arrive in one buffer shared by all connections of the server, and are used up where they are; the rest of a
    long DATA frame may be received straight to where the stream wants it.
    """

    __slots__ = (
        "_data_left",
        "_data_pad",
        "_data_stream",
        "_direct",
        "_frame_flags",
        "_in_data",
        "_lingered_bytes",
    )

    def __init__(self, server: Http2Owner) -> None:
        super().__init__(server)
        # The DATA frame under way: its stream and flags, what is to come of its payload and its padding.
        self._in_data = False
        self._data_stream: object | None = None
        self._frame_flags = 0
        self._data_left = 0
        self._data_pad = 0
        self._direct = False
        self._lingered_bytes = 0

    # --- what the server asks ---

    def refuse(self, reason: str) -> None:
        """Turn a client away."""
        self.outflow.put(pack_settings({}))
        self.outflow.put(pack_goaway(0, ErrorCode.ENHANCE_YOUR_CALM, reason))
        self._linger()

    def abort(self) -> None:
        """Close at once; unsent bytes are dropped and calls are cancelled."""
        self._state = CLOSED
        self._transport.abort()
        self._cancel_streams()

    # --- asyncio.BufferedProtocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the time for the preface."""
        server = self._server
        limits = server.limits
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=limits.write_high_water_bytes)
        self.outflow = Outflow(
            server.flush_queue,
            self._transport,
            high_water_bytes=limits.write_high_water_bytes,
            response_block=RESPONSE_BLOCK,
            done=self._stream_done,
            drained=self._stream_drained,
        )
        self._since_s = self._heard_s = self._partial_s = monotonic()
        self._noise.refill(self._since_s)
        self._resets.refill(self._since_s)
        self._opened()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it was lost changes nothing
        """Tell the methods that nobody waits any more."""
        self._state = CLOSED
        self.outflow.close()
        self._pending = bytearray()
        self._block = None
        self._data_stream = None
        self._lost()
        self._cancel_streams()

    def eof_received(self) -> bool:
        """The client has gone: HTTP/2 knows no half-closed connections. Returns False, to close."""
        return False

    def pause_writing(self) -> None:
        """The client reads slower than we answer."""
        self.outflow.pause()

    def resume_writing(self) -> None:
        """The client caught up."""
        self.outflow.resume()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's guess is of no use here
        """Where the next bytes go: the server's buffer, or straight into a long message."""
        if self._data_left:
            view = self._direct_view(self._data_stream, self._data_left)
            if view is not None:
                self._direct = True
                return view
        self._direct = False
        return self._server.receive_view

    def buffer_updated(self, nbytes: int) -> None:
        """Use the bytes that came."""
        server = self._server
        server.bytes_in += nbytes
        self._heard = True
        if self._state >= LINGERING:
            self._lingered_bytes += nbytes
            if self._lingered_bytes > server.limits.max_linger_bytes:
                self.abort()
            return
        outflow = self.outflow
        outflow.corked = True
        try:
            if self._direct:
                self._direct = False
                self._data_left -= nbytes
                self._direct_filled(self._data_stream, nbytes)
                self._continue_data(server.receive_view, 0, 0)
            elif self._pending:
                pending = self._pending
                pending += server.receive_view[:nbytes]
                with memoryview(pending) as view:
                    used = self._consume(view, len(pending))
                del pending[:used]
            else:
                used = self._consume(server.receive_view, nbytes)
                if used < nbytes:
                    self._pending += server.receive_view[used:nbytes]
        except Http2ConnectionError as error:
            self._fail(error.code, error.reason)
        finally:
            outflow.corked = False
        outflow.flush()
        if outflow.unread_control_bytes > server.limits.max_control_bytes:
            server.count_protocol_error(ErrorCode.ENHANCE_YOUR_CALM.name, "answers are not read", self.peer)
            self.abort()
        elif self._begun > _CALLS_IN_A_ROW:
            self._let_others_in()

    def _let_others_in(self) -> None:
        """Other connections get their turn before this one goes on."""
        self._begun = 0
        self._transport.pause_reading()
        self._server.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._state < CLOSED and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- frames ---

    def _consume(self, view: memoryview, end: int) -> int:  # noqa: C901, PLR0912 - one loop, so that a frame costs no call
        """Take the frames in view[:end].

        Returns: how many bytes were used.
        Raises: Http2ConnectionError: the client broke the protocol.
        """
        at = 0
        if self._state == PREFACE_DUE:
            at = self._take_preface(view, end)
        if self._in_data:
            at = self._continue_data(view, at, end)
        limits = self._server.limits
        max_frame_bytes = limits.max_frame_bytes
        unpack = FRAME_HEAD.unpack_from
        while end - at >= FRAME_HEAD_BYTES and self._state == OPEN:
            high, low, kind, flags, stream_id = unpack(view, at)
            length = high << 16 | low
            start = at + FRAME_HEAD_BYTES
            after = start + length
            if not self._in_order:
                self._check_order(kind, flags, stream_id)
            if kind == DATA:
                if length > max_frame_bytes:
                    raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"a DATA frame of {length} bytes")
                if after <= end and flags & PADDED == 0:
                    self._take_whole_data(stream_id & MAX_STREAM_ID, flags & END_STREAM, view, start, after)
                else:
                    if flags & PADDED and start >= end and length:
                        break
                    start = self._open_data(flags, stream_id & MAX_STREAM_ID, length, view, start)
                    at = self._continue_data(view, start, end)
                    continue
            elif length > limits.max_header_block_bytes:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of kind {kind} with {length} bytes")
            elif after > end:
                break
            elif kind == HEADERS and flags & ~END_STREAM == END_HEADERS:
                self._take_block(stream_id & MAX_STREAM_ID, bytes(view[start:after]), flags & END_STREAM)
            else:
                self._take_frame(kind, flags, stream_id & MAX_STREAM_ID, bytes(view[start:after]))
            at = after
        if at:
            self._progress = True
        return at

    def _take_preface(self, view: memoryview, end: int) -> int:
        begin = bytes(view[: min(end, len(PREFACE))])
        if not PREFACE.startswith(begin):
            self._refuse_protocol(begin)
            return end
        if len(begin) < len(PREFACE):
            return 0
        limits = self._server.limits
        self._state = OPEN
        self.outflow.put(
            pack_settings(
                {
                    MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                    INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                    MAX_FRAME_SIZE: limits.max_frame_bytes,
                    MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
                }
            )
        )
        if limits.connection_window_bytes > DEFAULT_WINDOW_BYTES:
            self.outflow.put(pack_window_update(0, limits.connection_window_bytes - DEFAULT_WINDOW_BYTES))
        if self._ending:
            self._say_goodbye()
        return len(PREFACE)

    def _refuse_protocol(self, begin: bytes) -> None:
        """Whoever speaks something else is told, if it looks like HTTP/1."""
        self._server.count_protocol_error("PREFACE", "the connection does not begin as HTTP/2", self.peer)
        if begin[:1].isalpha() and begin.split(b" ", 1)[0].isupper():
            self.outflow.put(_HTTP_1_ANSWER % (len(_HTTP_1_TEXT), _HTTP_1_TEXT))
        else:
            self.outflow.put(pack_goaway(0, ErrorCode.PROTOCOL_ERROR, "the connection does not begin as HTTP/2"))
        self._linger()

    def _open_data(self, flags: int, stream_id: int, length: int, view: memoryview, start: int) -> int:
        """Begin a DATA frame that is not there as a whole, or padded; returns where its payload begins."""
        pad = 0
        payload = length
        if flags & PADDED:
            pad = view[start] if length else 1
            payload -= 1 + pad
            start += 1
            if payload < 0:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a frame has more padding than payload")
        self._frame_flags = flags
        self._data_left = payload
        self._data_pad = pad
        self._data_stream = self._begin_data(stream_id, length, flags & END_STREAM)
        self._in_data = True
        return start

    def _continue_data(self, view: memoryview, at: int, end: int) -> int:
        """Take more of the DATA frame under way; returns what comes after it."""
        stream = self._data_stream
        if (part := min(end - at, self._data_left)) > 0:
            self._data_left -= part
            if stream is not None:
                self._take_data(stream, view[at : at + part])
            at += part
        if not self._data_left and (part := min(end - at, self._data_pad)) > 0:
            self._data_pad -= part
            at += part
        if not self._data_left and not self._data_pad:
            self._in_data = False
            self._data_stream = None
            if stream is not None and self._frame_flags & END_STREAM:
                self._end_data(stream)
        return at

    # --- the end ---

    def _linger(self) -> None:
        """Close, after the client had time to read what was written."""
        self._state = LINGERING
        self._since_s = monotonic()
        self._pending = bytearray()
        self._block = None
        self._in_data = False
        self._data_left = 0
        self._data_stream = None
        self._cancel_streams()
        self.outflow.flush()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
