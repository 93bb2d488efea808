"""Our end of an HTTP/2 connection to a gRPC server: calls become frames, frames become answers.

    OPEN ──GOAWAY──► ending ──no calls──► LINGERING ──► CLOSED

Frames, settings, windows and time limits are those of `http2_connection`, which serves both ends.

Source: RFC 9113; gRPC over HTTP2.
"""

import contextlib
import logging
import socket
from collections import deque
from struct import Struct
from typing import Final, Protocol, cast

from edgewise.net.errors import (
    ConnectionLostError,
    HttpClientError,
    ProtocolError,
    ResponseTooLargeError,
)
from edgewise.net.grpc_answer import PREFIX, PREFIX_BYTES
from edgewise.net.grpc_client_answer import AnswerHead, AnswerHeadReader, GrpcAnswer, MalformedAnswerError, end_of
from edgewise.net.grpc_client_call import OVER, RUNNING, ClientCall
from edgewise.net.grpc_exchange import RESOURCE_EXHAUSTED, Message
from edgewise.net.grpc_message import MessageError, MessageReader, unpack
from edgewise.net.http2_connection import Http2Connection
from edgewise.net.http2_control import FINAL, NOT_ENDING, OPEN
from edgewise.net.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW_BYTES,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_STREAM_ID,
    MAX_WINDOW_BYTES,
    PREFACE,
    PUSH_PROMISE,
    ErrorCode,
    Http2ConnectionError,
    pack_frame,
    pack_goaway,
    pack_rst_stream,
    pack_settings,
    pack_window_update,
    read_settings,
    read_u31,
)
from edgewise.net.http2_output import OutgoingStream
from edgewise.net.http2_streams import Http2Owner

_LOG: Final = logging.getLogger(__name__)
# Messages up to this size are copied into one buffer with their frames.
_COPIED_BYTES: Final = 8 * 1024
_DIRECT_BYTES: Final = 64 * 1024
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

    def connection_has_room(self, connection: "GrpcClientConnection") -> None:
        """It can take another call, and some wait."""

    def connection_ended(self, connection: "GrpcClientConnection") -> None:
        """It takes no further calls."""

    def connection_closed(self, connection: "GrpcClientConnection") -> None:
        """It is gone; its calls have been told."""

    def not_executed(self, call: ClientCall) -> None:
        """The server refused a call unseen. It is not on the connection any more."""


class GrpcClientConnection(Http2Connection):
    """One connection and our calls on it."""

    __slots__ = (
        "_answers",
        "_calls",
        "_error",
        "_fast_bytes",
        "_max_streams",
        "_next_id",
        "_reader",
        "_socket",
        "_touched",
    )
    _server: ClientOwner

    def __init__(self, owner: ClientOwner) -> None:
        super().__init__(owner)
        limits = owner.limits
        self._calls: dict[int, ClientCall] = {}
        self._next_id = 1
        self._max_streams = owner.max_streams
        self._reader = AnswerHeadReader(limits.max_header_list_bytes)
        self._fast_bytes = min(limits.max_message_bytes + PREFIX_BYTES, limits.stream_window_bytes)
        self._touched: list[ClientCall] = []
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

    # --- the connection's life ---

    def _opened(self) -> None:
        limits = self._server.limits
        self._state = OPEN
        outflow = self.outflow
        outflow.put(PREFACE)
        outflow.put(
            pack_settings(
                {
                    ENABLE_PUSH: 0,
                    INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                    MAX_FRAME_SIZE: limits.max_frame_bytes,
                    MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
                }
            )
        )
        if limits.connection_window_bytes > DEFAULT_WINDOW_BYTES:
            outflow.put(pack_window_update(0, limits.connection_window_bytes - DEFAULT_WINDOW_BYTES))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the calls that there will be no answer."""
        if self._error is None:
            what = f": {exc}" if exc is not None else " by the server"
            self._error = ConnectionLostError(f"the connection was closed{what} before the answer was complete")
        super().connection_lost(exc)
        self._server.connection_closed(self)

    def _lost(self) -> None:
        """Nothing before the calls are told."""

    def _cancel_streams(self) -> None:
        calls, self._calls = self._calls, {}
        if calls:
            error = self._error or ConnectionLostError("the connection was closed")
            for call in calls.values():
                self.outflow.forget(call)
                fail_call(call, type(error)(str(error), received_bytes=call.received_bytes))

    def _fail(self, code: ErrorCode, reason: str) -> None:
        """End the connection for an error of the server's."""
        self._error = ProtocolError(f"the server broke HTTP/2: {reason}")
        self._server.count_protocol_error(code.name, reason, self.peer)
        self.outflow.put(pack_goaway(0, code, reason))
        self._ending = FINAL
        self._server.connection_ended(self)
        self._linger()

    def eof_received(self) -> bool:
        """The server has gone. Returns False, to close."""
        if self._ending == NOT_ENDING:
            self._ending = FINAL
            self._server.connection_ended(self)
        return False

    def _end(self, code: ErrorCode, reason: str) -> None:
        """Take no further calls."""
        if self._ending == NOT_ENDING:
            self._ending = FINAL
            self.outflow.put(pack_goaway(0, code, reason))
            self._server.connection_ended(self)
            self._close_if_done()

    def buffer_updated(self, nbytes: int) -> None:
        """Use the bytes that came, and tell of answers that are on their way."""
        super().buffer_updated(nbytes)
        if self._touched:
            touched, self._touched = self._touched, []
            for call in touched:
                if call.state != OVER:
                    try:
                        call.progressed()
                    except Exception:  # noqa: BLE001 - a caller's fault must not reach the loop
                        _LOG.exception("noting the progress of an answer failed")

    def _sweep_streams(self, now_s: float) -> None:
        self._noise.refill(now_s, self._answers)
        self._answers = 0

    # --- frames ---

    def _take_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == GOAWAY:
            self._take_goaway(stream_id, payload)
        elif kind == PUSH_PROMISE:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a push, which was not allowed")
        else:
            super()._take_frame(kind, flags, stream_id, payload)

    def _take_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        super()._take_settings(flags, stream_id, payload)
        if not flags & ACK:
            self._max_streams = read_settings(payload).get(MAX_CONCURRENT_STREAMS, MAX_STREAM_ID)
            self._server.max_streams = self._max_streams
            self._offer_room()

    def _offer_room(self) -> None:
        if self._server.waiting and self.has_room:
            self._server.connection_has_room(self)

    def _take_goaway(self, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
        self._spend_noise()
        last_id = read_u31(payload)
        if code := int.from_bytes(payload[4:8], "big"):
            reason = payload[8:200].decode("ascii", "replace")
            self._error = ConnectionLostError(f"the server ended the connection (HTTP/2 error {code}: {reason})")
        self._ending = FINAL
        refused = [call for call in self._calls.values() if call.stream_id > last_id]
        for call in refused:
            del self._calls[call.stream_id]
            self.outflow.forget(call)
        self._server.connection_ended(self)
        for call in refused:
            self._server.not_executed(call)
        self._close_if_done()

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

    # --- answers ---

    def _take_block(self, stream_id: int, block: bytes, end_stream: int) -> None:
        head = self._reader.heads.get(block) or self._reader.read(block)
        call = self._calls.get(stream_id)
        if call is None:
            self._check_used(stream_id, "HEADERS")
        elif not isinstance(head, AnswerHead):
            self._give_up(call, ErrorCode.PROTOCOL_ERROR, ProtocolError(str(head)))
        elif end_stream:
            self._end_call(call, head)
        elif call.head is None and head.http_status >= 200:
            call.head = head
            self._touched.append(call)
        elif head.http_status == 0 or head.http_status >= 200:
            self._give_up(call, ErrorCode.PROTOCOL_ERROR, ProtocolError("headers in the middle of an answer"))

    def _end_call(self, call: ClientCall, head: AnswerHead) -> None:
        """The last headers are there."""
        try:
            if call.reader is not None and call.reader.begun:
                raise MalformedAnswerError("the answer ended within its message")
            answer = end_of(call.head, head, call.body)
        except MalformedAnswerError as error:
            self._give_up(call, ErrorCode.PROTOCOL_ERROR, ProtocolError(str(error)))
            return
        del self._calls[call.stream_id]
        if call.outbox:
            # The server needs no more of the request.
            self.outflow.forget(call)
            self.outflow.put(pack_rst_stream(call.stream_id, ErrorCode.CANCEL))
        self._answer(call, answer)
        self._left()

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

    # --- messages ---

    def _take_whole_data(self, stream_id: int, end_stream: int, view: memoryview, start: int, end: int) -> None:
        call = self._calls.get(stream_id)
        length = end - start
        if (
            call is not None
            and call.head is not None
            and call.reader is None
            and call.body is None
            and not end_stream
            and PREFIX_BYTES <= length <= self._fast_bytes
        ):
            compressed, size = PREFIX.unpack_from(view, start)
            if size == length - PREFIX_BYTES and not compressed:
                self._acknowledge(length)
                call.body = bytes(view[start + PREFIX_BYTES : end])
                return
        stream = self._begin_data(stream_id, length, end_stream)
        if stream is not None:
            self._take_data(stream, view[start:end])
            if end_stream:
                self._end_data(stream)

    def _begin_data(self, stream_id: int, flow_bytes: int, end_stream: int) -> ClientCall | None:
        self._acknowledge(flow_bytes)
        if not flow_bytes and not end_stream:
            self._spend_noise()
        call = self._calls.get(stream_id)
        if call is None:
            self._check_used(stream_id, "DATA")
            return None
        if call.head is None:
            self._give_up(call, ErrorCode.PROTOCOL_ERROR, ProtocolError("DATA before the headers of an answer"))
            return None
        window_bytes = self._server.limits.stream_window_bytes
        call.unacknowledged_bytes += flow_bytes
        if call.unacknowledged_bytes > window_bytes:
            self._give_up(call, ErrorCode.FLOW_CONTROL_ERROR, ProtocolError("DATA beyond the stream's window"))
            return None
        if call.unacknowledged_bytes > window_bytes >> 1 and not end_stream:
            self.outflow.put(pack_window_update(stream_id, call.unacknowledged_bytes))
            call.unacknowledged_bytes = 0
        return call

    def _take_data(self, stream: object, view: memoryview) -> None:
        call = cast("ClientCall", stream)
        if call.state == OVER or not view or not _is_grpc(call):
            return
        reader = call.reader
        if reader is None:
            owner = self._server
            limits = owner.limits
            reader = call.reader = MessageReader(limits.max_message_bytes, limits.message_step_bytes, owner.buffers)
            if call.body is not None:
                self._give_up(call, ErrorCode.PROTOCOL_ERROR, ProtocolError("a second message in an answer"))
                return
        try:
            while view and call.state != OVER:
                view = view[reader.take(view) :]
                if reader.complete:
                    self._take_message(call, reader)
        except MessageError as error:
            self._refuse_message(call, error)
        else:
            self._touched.append(call)

    def _take_message(self, call: ClientCall, reader: MessageReader) -> None:
        compressed = reader.compressed
        message: Message = reader.pop()
        if call.body is not None:
            self._give_up(call, ErrorCode.PROTOCOL_ERROR, ProtocolError("a second message in an answer"))
            return
        if compressed:
            head = cast("AnswerHead", call.head)
            message = unpack(message, head.encoding, self._server.limits.max_message_bytes)
        call.body = message

    def _refuse_message(self, call: ClientCall, error: MessageError) -> None:
        kind = ResponseTooLargeError if error.status == RESOURCE_EXHAUSTED else ProtocolError
        self._give_up(call, ErrorCode.CANCEL, kind(error.reason))

    def _end_data(self, stream: object) -> None:
        call = cast("ClientCall", stream)
        if call.state != OVER:
            head = cast("AnswerHead", call.head)
            # Something else than gRPC may well end without trailers.
            self._end_call(call, head)

    def _direct_view(self, stream: object, max_bytes: int) -> memoryview | None:
        call = cast("ClientCall | None", stream)
        if call is None or call.state == OVER or call.reader is None or max_bytes < _DIRECT_BYTES:
            return None
        reader = call.reader
        if reader.wanted_bytes < _DIRECT_BYTES:
            return None
        return reader.direct_view(max_bytes)

    def _direct_filled(self, stream: object, nbytes: int) -> None:
        call = cast("ClientCall", stream)
        reader = cast("MessageReader", call.reader)
        reader.direct_filled(nbytes)
        self._touched.append(call)
        try:
            if reader.complete:
                self._take_message(call, reader)
        except MessageError as error:
            self._refuse_message(call, error)


def _is_grpc(call: ClientCall) -> bool:
    """Whether what comes is messages: a proxy's own error page is none."""
    return call.head is None or call.head.http_status == 200


def fail_call(call: ClientCall, error: HttpClientError) -> None:
    """Tell of a call that there is no answer."""
    call.end()
    try:
        call.failed(error)
    except Exception:  # noqa: BLE001 - a caller's fault must not reach the loop
        _LOG.exception("handling a failed call failed")
