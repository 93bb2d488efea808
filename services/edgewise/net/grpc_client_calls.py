"""The calls of our end of a connection: how they are sent, given up, and told how they ended.

What a call may end in is in one place, so that each is told exactly once.
"""

import contextlib
import logging
import socket
from collections import deque
from struct import Struct
from typing import Final, Protocol

from edgewise.net.errors import ConnectionLostError, HttpClientError, ProtocolError
from edgewise.net.grpc_answer import PREFIX, PREFIX_BYTES
from edgewise.net.grpc_client_answer import GrpcAnswer
from edgewise.net.grpc_client_call import RUNNING, ClientCall
from edgewise.net.grpc_exchange import RESOURCE_EXHAUSTED
from edgewise.net.http2_connection import Http2Connection
from edgewise.net.http2_control import FINAL, NOT_ENDING, OPEN
from edgewise.net.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEADERS,
    MAX_STREAM_ID,
    MAX_WINDOW_BYTES,
    ErrorCode,
    Http2ConnectionError,
    pack_frame,
    pack_goaway,
    pack_rst_stream,
)
from edgewise.net.http2_output import OutgoingStream
from edgewise.net.http2_streams import Http2Owner

_LOG: Final = logging.getLogger(__name__)
# Messages up to this size are copied into one buffer with their frames.
_COPIED_BYTES: Final = 8 * 1024
_NO_LINGER: Final = Struct("ii").pack(1, 0)
_DATA_HEAD: Final = Struct(">BHBBIBI")
"""The head of a DATA frame with a whole message, and the message's prefix."""


class ClientOwner(Http2Owner, Protocol):
    """What a connection tells the client that it belongs to.

    Attributes:
        waiting: calls for which there was no room.
        max_streams: calls that the server takes at once on a connection, as it said last.
    """

    waiting: deque[ClientCall]
    max_streams: int

    def connection_has_room(self, connection: "GrpcClientCalls") -> None:
        """It can take another call, and some wait."""

    def connection_ended(self, connection: "GrpcClientCalls") -> None:
        """It takes no further calls."""

    def connection_closed(self, connection: "GrpcClientCalls") -> None:
        """It is gone; its calls have been told."""

    def not_executed(self, call: ClientCall) -> None:
        """The server refused a call unseen. It is not on the connection any more."""


class GrpcClientCalls(Http2Connection):
    """Our calls on a connection, from the moment they are sent."""

    __slots__ = ("_answers", "_calls", "_error", "_max_streams", "_next_id", "_socket")
    _server: ClientOwner

    def __init__(self, owner: ClientOwner) -> None:
        super().__init__(owner)
        self._calls: dict[int, ClientCall] = {}
        self._next_id = 1
        self._max_streams = owner.max_streams
        self._answers = 0
        self._error: HttpClientError | None = None
        self._socket: socket.socket | None = None

    # --- what the client asks ---

    @property
    def open_streams(self) -> int:
        """Calls that are not over."""
        return len(self._calls)

    @property
    def usable(self) -> bool:
        """Whether it takes calls, now or when others are over."""
        return self._state == OPEN and self._ending == NOT_ENDING

    @property
    def has_room(self) -> bool:
        """Whether it takes another call now."""
        return self._state == OPEN and self._ending == NOT_ENDING and len(self._calls) < self._max_streams

    def take_socket(self, sock: socket.socket) -> None:
        """Know the socket, for what only it can do."""
        self._socket = sock

    def begin(self, call: ClientCall) -> None:
        """Send a call; only while there is room."""
        stream_id = self._next_id
        self._next_id = stream_id + 2
        self.last_stream_id = stream_id
        self._calls[stream_id] = call
        call.stream_id = stream_id
        call.connection = self
        call.state = RUNNING
        message = call.message
        size = len(message) if type(message) is not memoryview else message.nbytes
        total = size + PREFIX_BYTES
        outflow = self.outflow
        block = call.block
        if len(block) > outflow.max_frame_bytes:
            self._put_long_block(stream_id, block)
            head = b""
        else:
            length = len(block)
            head = FRAME_HEAD.pack(length >> 16, length & 0xFFFF, HEADERS, END_HEADERS, stream_id) + block
        if (
            outflow.free
            and total <= outflow.max_frame_bytes
            and total <= outflow.window_bytes
            and total <= outflow.initial_window_bytes
        ):
            outflow.window_bytes -= total
            data = _DATA_HEAD.pack(total >> 16, total & 0xFFFF, DATA, END_STREAM, stream_id, 0, size)
            if size <= _COPIED_BYTES:
                whole = b"".join((head, data, message))
                outflow.out.append(whole)
                outflow.out_bytes += len(whole)
            else:
                outflow.out += (head, data, message)
                outflow.out_bytes += len(head) + len(data) + size
            if not outflow.corked:
                if len(self._calls) > 1:
                    outflow.touch()
                else:
                    # Others have nothing to do with it yet: a turn of the loop sooner.
                    outflow.flush()
        else:
            if head:
                outflow.put(head)
            call.outbox = deque((memoryview(PREFIX.pack(0, size)),))
            if size:
                call.outbox.append(memoryview(message).cast("B"))
            call.unsent_bytes = total
            outflow.enqueue(call)
        if self._next_id > MAX_STREAM_ID:
            self._end(ErrorCode.NO_ERROR, "")

    def _put_long_block(self, stream_id: int, block: bytes) -> None:
        step = self.outflow.max_frame_bytes
        kind = HEADERS
        for start in range(0, len(block), step):
            last = start + step >= len(block)
            self.outflow.put(pack_frame(kind, END_HEADERS if last else 0, stream_id, block[start : start + step]))
            kind = CONTINUATION

    def give_up(self, call: ClientCall) -> None:
        """Take a call off that is over for us; for `ClientCall.cancel` alone."""
        if self._calls.pop(call.stream_id, None) is not None:
            self._drop(call, ErrorCode.CANCEL)

    def abort(self) -> None:
        """Close at once. What the system has not sent yet is dropped as well, so that nothing of it is run later."""
        if self._error is None:
            self._error = ConnectionLostError("the connection was given up")
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        super().abort()

    def retire(self) -> None:
        """Take no further calls; at once gone when it has none."""
        if self._calls:
            self.announce_close()
        else:
            self.abort()

    def announce_close(self) -> None:
        """Take no further calls, and close when those in flight are over."""
        if self.usable:
            self._end(ErrorCode.NO_ERROR, "")

    # --- room for more ---

    def _offer_room(self) -> None:
        if self._server.waiting and self.has_room:
            self._server.connection_has_room(self)

    def _end(self, code: ErrorCode, reason: str) -> None:
        """Take no further calls."""
        if self._ending == NOT_ENDING:
            self._ending = FINAL
            self.outflow.put(pack_goaway(0, code, reason))
            self._server.connection_ended(self)
            self._close_if_done()

    # --- what the server says of streams ---

    def _stream_reset(self, stream_id: int, code: int) -> None:
        call = self._calls.pop(stream_id, None)
        if call is None:
            self._spend_noise()
            return
        self.outflow.forget(call)
        if code == ErrorCode.REFUSED_STREAM:
            self._server.not_executed(call)
        elif code == ErrorCode.ENHANCE_YOUR_CALM:
            self._answer(call, GrpcAnswer(RESOURCE_EXHAUSTED, b"the server has too much to do"))
        else:
            error = ProtocolError(
                f"the server reset the call (HTTP/2 error {code})", received_bytes=call.received_bytes
            )
            fail_call(call, error)
        self._left()

    def _stream_window(self, stream_id: int, more_bytes: int) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            return
        if not more_bytes:
            self._give_up(call, ErrorCode.PROTOCOL_ERROR, ProtocolError("WINDOW_UPDATE by 0"))
        elif not self.outflow.widen_stream(call, more_bytes):
            self._give_up(call, ErrorCode.FLOW_CONTROL_ERROR, ProtocolError("the stream's window is over 2^31 - 1"))

    def _windows_changed(self) -> None:
        outflow = self.outflow
        for call in self._calls.values():
            if outflow.initial_window_bytes + call.credit_bytes > MAX_WINDOW_BYTES:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is over 2^31 - 1")
            if call.outbox:
                outflow.enqueue(call)

    def _stream_done(self, stream: OutgoingStream) -> None:
        """Requests have no trailers."""

    def _stream_drained(self, stream: OutgoingStream) -> None:
        """The message has been sent: it was the only one."""
        stream.outbox = None
        end = pack_frame(DATA, END_STREAM, stream.stream_id)
        self.outflow.out.append(end)
        self.outflow.out_bytes += len(end)

    def _sweep_streams(self, now_s: float) -> None:
        self._noise.refill(now_s, self._answers)
        self._answers = 0

    # --- how calls end ---

    def _answer(self, call: ClientCall, answer: GrpcAnswer) -> None:
        self._answers += 1
        call.end()
        try:
            call.answered(answer)
        except Exception:  # noqa: BLE001 - a caller's fault must not reach the loop
            _LOG.exception("handling an answer failed")

    def _left(self) -> None:
        """A call is over: another may begin, or the connection end."""
        if self._ending:
            self._close_if_done()
        elif self._server.waiting:
            self._offer_room()

    def _give_up(self, call: ClientCall, code: ErrorCode, error: HttpClientError) -> None:
        """End a call for an error of the server's."""
        del self._calls[call.stream_id]
        self._server.count_protocol_error(code.name, str(error), self.peer)
        error.received_bytes = call.received_bytes
        self._drop(call, code)
        fail_call(call, error)

    def _drop(self, call: ClientCall, code: ErrorCode) -> None:
        """Tell the server that nobody waits for a call any more."""
        self.outflow.forget(call)
        if self._state == OPEN:
            self.outflow.put(pack_rst_stream(call.stream_id, code))
            self._left()

    def _cancel_streams(self) -> None:
        calls, self._calls = self._calls, {}
        if calls:
            error = self._error or ConnectionLostError("the connection was closed")
            for call in calls.values():
                self.outflow.forget(call)
                fail_call(call, type(error)(str(error), received_bytes=call.received_bytes))


def fail_call(call: ClientCall, error: HttpClientError) -> None:
    """Tell of a call that there is no answer."""
    call.end()
    try:
        call.failed(error)
    except Exception:  # noqa: BLE001 - a caller's fault must not reach the loop
        _LOG.exception("handling a failed call failed")
