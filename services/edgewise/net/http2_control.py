"""The frames of a connection that carry no call: settings, pings, windows, the announcement of the end.

Source: RFC 9113, section 6.
"""

import asyncio
from abc import abstractmethod
from time import monotonic
from typing import Final, cast

from edgewise.net.http2_budget import Budget
from edgewise.net.http2_frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    MAX_STREAM_ID,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    Http2ConnectionError,
    pack_frame,
    pack_goaway,
    pack_rst_stream,
    pack_window_update,
    read_settings,
    read_u31,
)
from edgewise.net.http2_output import Outflow
from edgewise.net.http2_streams import Http2Owner, Http2Streams, IncomingStream

_GOODBYE: Final = b"goodbye!"

# States. Plain integers: the hot path compares them with every frame.
PREFACE_DUE: Final = 0
OPEN: Final = 1
LINGERING: Final = 2
CLOSED: Final = 3

# How far the end has been announced.
NOT_ENDING: Final = 0
ANNOUNCED: Final = 1
FINAL: Final = 2


class Http2Control(Http2Streams):
    """Settings, pings, windows, budgets and header blocks of one connection, and how far it has come to its end.

    Attributes:
        outflow: the sending side.
        last_stream_id: the highest that the client has opened.
    """

    __slots__ = (
        "_begun",
        "_block",
        "_block_flags",
        "_block_s",
        "_block_stream_id",
        "_ending",
        "_ending_s",
        "_in_order",
        "_noise",
        "_peer",
        "_resets",
        "_server",
        "_state",
        "_transport",
        "_unacknowledged_bytes",
        "last_stream_id",
        "outflow",
    )

    def __init__(self, server: Http2Owner) -> None:
        limits = server.limits
        self._server = server
        self._transport = cast("asyncio.Transport", None)
        self.outflow = cast("Outflow", None)
        self.last_stream_id = 0
        self._state = PREFACE_DUE
        self._peer: str | None = None
        # The header block under way, with what its first frame said; and whether the next frame may be any.
        self._block: bytearray | None = None
        self._block_stream_id = 0
        self._block_flags = 0
        self._block_s = 0.0
        self._in_order = False
        self._begun = 0
        self._unacknowledged_bytes = 0
        self._noise = Budget(limits.control_burst, limits.controls_per_s)
        self._resets = Budget(limits.reset_burst, limits.resets_per_s)
        self._ending = NOT_ENDING
        self._ending_s = 0.0

    @abstractmethod
    def _linger(self) -> None:
        """Close, after the client had time to read what was written."""

    @property
    def peer(self) -> str:
        """The client's address as `host:port`, "" on a Unix socket."""
        if self._peer is None:
            name = self._transport.get_extra_info("peername")
            self._peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""
        return self._peer

    def announce_close(self) -> None:
        """Tell the client to open no further calls; those that it has opened by the time it hears so are served."""
        if self._ending == NOT_ENDING and self._state < LINGERING:
            self._ending = ANNOUNCED
            self._ending_s = monotonic()
            if self._state == OPEN:
                self._say_goodbye()

    def _say_goodbye(self) -> None:
        self.outflow.put(pack_goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR))
        self.outflow.put(pack_frame(PING, 0, 0, _GOODBYE))

    # --- frames ---

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        """The first frame is SETTINGS; within a header block there is nothing but more of it."""
        if self._block is None:
            if kind != SETTINGS or flags & ACK:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._in_order = True
        elif kind != CONTINUATION or stream_id & MAX_STREAM_ID != self._block_stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "another frame within a header block")

    def _take_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._take_window_update(stream_id, payload)
        elif kind == HEADERS:
            self._begin_block(flags, stream_id, payload)
        elif kind == CONTINUATION:
            self._continue_block(flags, stream_id, payload)
        elif kind == RST_STREAM:
            _check_length(payload, 4, "RST_STREAM")
            self._check_used(stream_id, "RST_STREAM")
            self._stream_reset(stream_id, int.from_bytes(payload, "big"))
        elif kind == SETTINGS:
            self._take_settings(flags, stream_id, payload)
        elif kind == PING:
            self._take_ping(flags, stream_id, payload)
        elif kind == PUSH_PROMISE:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a client cannot push")
        else:
            self._spend_noise()
            if kind == PRIORITY:
                _check_length(payload, 5, "PRIORITY")
            if (kind == GOAWAY) != (stream_id == 0) and kind in {GOAWAY, PRIORITY}:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a frame on the wrong stream")

    def _begin_block(self, flags: int, stream_id: int, payload: bytes) -> None:
        start = 0
        pad = 0
        if flags & PADDED:
            pad = payload[0] if payload else 1
            start = 1
        if flags & HAS_PRIORITY:
            start += 5
        if start + pad > len(payload):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a frame has more padding than payload")
        fragment = payload[start : len(payload) - pad]
        if flags & END_HEADERS:
            self._take_block(stream_id, fragment, flags & END_STREAM)
            return
        self._block = bytearray(fragment)
        self._block_stream_id = stream_id
        self._block_flags = flags
        self._block_s = monotonic()
        self._in_order = False

    def _continue_block(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        block += payload
        self._spend_noise()
        if len(block) > self._server.limits.max_header_block_bytes:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too long")
        if flags & END_HEADERS:
            self._block = None
            self._in_order = True
            self._take_block(stream_id, bytes(block), self._block_flags & END_STREAM)

    def _take_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        self._spend_noise()
        if flags & ACK:
            _check_length(payload, 0, "SETTINGS with ACK")
            return
        settings = read_settings(payload)
        outflow = self.outflow
        outflow.max_frame_bytes = settings.get(MAX_FRAME_SIZE, outflow.max_frame_bytes)
        if (window_bytes := settings.get(INITIAL_WINDOW_SIZE)) is not None:
            outflow.initial_window_bytes = window_bytes
            self._windows_changed()
        outflow.put(pack_frame(SETTINGS, ACK, 0))

    def _take_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_length(payload, 8, "PING")
        if stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        self._spend_noise()
        if not flags & ACK:
            self.outflow.put(pack_frame(PING, ACK, 0, payload))
        elif payload == _GOODBYE and self._ending == ANNOUNCED:
            self._end_finally()

    def _take_window_update(self, stream_id: int, payload: bytes) -> None:
        _check_length(payload, 4, "WINDOW_UPDATE")
        more_bytes = read_u31(payload)
        if stream_id:
            self._check_used(stream_id, "WINDOW_UPDATE")
            self._stream_window(stream_id, more_bytes)
        elif not more_bytes:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        elif not self.outflow.widen(more_bytes):
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is over 2^31 - 1")

    def _check_used(self, stream_id: int, name: str) -> None:
        if stream_id > self.last_stream_id or not stream_id & 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"{name} on a stream that was never opened")

    # --- bounds ---

    def _spend_noise(self) -> None:
        """Count a frame that costs us and brings no call on."""
        if not self._noise.spend():
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames")

    def _acknowledge(self, received_bytes: int) -> None:
        """Account for a DATA frame, and make room again when half of the connection's window is used up."""
        window_bytes = self._server.limits.connection_window_bytes
        self._unacknowledged_bytes += received_bytes
        if self._unacknowledged_bytes > window_bytes:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window")
        if self._unacknowledged_bytes > window_bytes >> 1:
            self.outflow.put(pack_window_update(0, self._unacknowledged_bytes))
            self._unacknowledged_bytes = 0

    def _acknowledge_frame(self, flow_bytes: int, end_stream: int) -> None:
        """Account for a DATA frame, which had better carry or end something."""
        self._acknowledge(flow_bytes)
        if not flow_bytes and not end_stream:
            self._spend_noise()

    def _acknowledge_on(self, stream: IncomingStream, received_bytes: int, *, more: bool) -> bool:
        """Account for a DATA frame on its stream, and make room again when half of the stream's window is used up.

        Args:
            more: further ones may come and are wanted.
        Returns: whether it was within the window.
        """
        window_bytes = self._server.limits.stream_window_bytes
        unacknowledged_bytes = stream.unacknowledged_bytes + received_bytes
        if unacknowledged_bytes > window_bytes:
            return False
        if more and unacknowledged_bytes > window_bytes >> 1:
            self.outflow.put(pack_window_update(stream.stream_id, unacknowledged_bytes))
            unacknowledged_bytes = 0
        stream.unacknowledged_bytes = unacknowledged_bytes
        return True

    # --- the end ---

    def _reset(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        """End one stream for an error of the client's."""
        self._server.count_protocol_error(code.name, reason, self.peer)
        self._spend_noise()
        self.outflow.put(pack_rst_stream(stream_id, code))

    def _fail(self, code: ErrorCode, reason: str) -> None:
        """End the connection for an error of the client's."""
        self._server.count_protocol_error(code.name, reason, self.peer)
        self.outflow.put(pack_goaway(self.last_stream_id, code, reason))
        self._linger()

    def _end_finally(self) -> None:
        self._ending = FINAL
        self.outflow.put(pack_goaway(self.last_stream_id, ErrorCode.NO_ERROR))
        self._close_if_done()

    def _close_if_done(self) -> None:
        """Close once the end has been announced and everything was answered."""
        if self._ending == FINAL and not self.open_streams and self._state == OPEN:
            self._linger()


def _check_length(payload: bytes, length: int, name: str) -> None:
    if len(payload) != length:
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"{name} of {len(payload)} bytes, not {length}")
