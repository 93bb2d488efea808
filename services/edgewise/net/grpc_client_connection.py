"""Our end of an HTTP/2 connection to a gRPC server: calls become frames, frames become answers.

    OPEN ──GOAWAY──► ending ──no calls──► LINGERING ──► CLOSED

Frames, settings, windows and time limits are those of `http2_connection`, which serves both ends.

Source: RFC 9113; gRPC over HTTP2.
"""

import logging
from typing import Final, cast

from edgewise.net.errors import ConnectionLostError, ProtocolError, ResponseTooLargeError
from edgewise.net.grpc_answer import PREFIX, PREFIX_BYTES
from edgewise.net.grpc_client_answer import AnswerHead, AnswerHeadReader, MalformedAnswerError, end_of
from edgewise.net.grpc_client_call import OVER, ClientCall
from edgewise.net.grpc_client_calls import ClientOwner, GrpcClientCalls
from edgewise.net.grpc_exchange import RESOURCE_EXHAUSTED, Message
from edgewise.net.grpc_message import MessageError, MessageReader, unpack
from edgewise.net.http2_control import FINAL, NOT_ENDING, OPEN
from edgewise.net.http2_frames import (
    ACK,
    DEFAULT_WINDOW_BYTES,
    ENABLE_PUSH,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_STREAM_ID,
    PREFACE,
    PUSH_PROMISE,
    ErrorCode,
    Http2ConnectionError,
    pack_goaway,
    pack_rst_stream,
    pack_settings,
    pack_window_update,
    read_settings,
    read_u31,
)

_LOG: Final = logging.getLogger(__name__)
# As much of a DATA frame has to be missing for receiving it straight into the message.
_DIRECT_BYTES: Final = 64 * 1024


class GrpcClientConnection(GrpcClientCalls):
    """One connection and our calls on it."""

    __slots__ = ("_fast_bytes", "_reader", "_touched")

    def __init__(self, owner: ClientOwner) -> None:
        super().__init__(owner)
        limits = owner.limits
        self._reader = AnswerHeadReader(limits.max_header_list_bytes)
        self._fast_bytes = min(limits.max_message_bytes + PREFIX_BYTES, limits.stream_window_bytes)
        self._touched: list[ClientCall] = []

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
        self._acknowledge_frame(flow_bytes, end_stream)
        call = self._calls.get(stream_id)
        if call is None:
            self._check_used(stream_id, "DATA")
            return None
        if call.head is None:
            self._give_up(call, ErrorCode.PROTOCOL_ERROR, ProtocolError("DATA before the headers of an answer"))
            return None
        if not self._acknowledge_on(call, flow_bytes, more=not end_stream):
            self._give_up(call, ErrorCode.FLOW_CONTROL_ERROR, ProtocolError("DATA beyond the stream's window"))
            return None
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
