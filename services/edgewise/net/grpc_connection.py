"""The calls of one connection: header blocks and DATA become calls, answers become frames."""

from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from edgewise.net import grpc_exchange
from edgewise.net.grpc_answer import PREFIX, PREFIX_BYTES, encode_failure
from edgewise.net.grpc_call import Call, StreamCall, UnaryCall
from edgewise.net.grpc_calls import SMALL_BYTES, GrpcCalls
from edgewise.net.grpc_exchange import Message, Method, UnaryMethod
from edgewise.net.grpc_head import CallHead, MalformedHeadError
from edgewise.net.grpc_head_reader import HeadReader
from edgewise.net.grpc_message import MessageError, MessageReader, unpack
from edgewise.net.http2_control import FINAL
from edgewise.net.http2_frames import ErrorCode, Http2ConnectionError, pack_headers

if TYPE_CHECKING:
    from edgewise.net.grpc_server import GrpcServer

_BUSY: Final = encode_failure(
    grpc_exchange.RESOURCE_EXHAUSTED, "the server has as many calls as it can take; try again later"
)
# As much of a DATA frame has to be missing for receiving it straight into the message.
_DIRECT_BYTES: Final = 64 * 1024


class GrpcConnection(GrpcCalls):
    """One client's connection and its calls."""

    __slots__ = (
        "_fast_bytes",
        "_reader",
    )

    def __init__(self, server: "GrpcServer") -> None:
        super().__init__(server)
        limits = server.limits
        self._reader = HeadReader(limits.max_header_list_bytes)
        self._fast_bytes = min(limits.max_message_bytes + PREFIX_BYTES, limits.stream_window_bytes)

    def _opened(self) -> None:
        self._server.connection_opened(self)

    def _lost(self) -> None:
        self._server.connection_closed(self)

    # --- headers ---

    def _take_block(self, stream_id: int, block: bytes, end_stream: int) -> None:
        if stream_id <= self.last_stream_id or not stream_id & 1:
            self._take_late_block(stream_id, block, end_stream)
            return
        self.last_stream_id = stream_id
        head = self._reader.heads.get(block) or self._read_head(stream_id, block)
        if head is None:
            return
        server = self._server
        limits = server.limits
        if len(self._calls) >= limits.max_concurrent_streams or self._ending == FINAL:
            self._reset(stream_id, ErrorCode.REFUSED_STREAM, "more calls than were announced")
            return
        method = self._find_method(head)
        if isinstance(method, bytes):
            self._refuse(stream_id, method, end_stream)
            return
        now_s = monotonic()
        call: Call
        if isinstance(method, UnaryMethod):
            call = UnaryCall(self, stream_id, head, now_s, method)
        else:
            call = StreamCall(self, stream_id, head, now_s, method)
            call.reader = MessageReader(limits.max_message_bytes, limits.message_step_bytes, server.buffers)
        self._calls[stream_id] = call
        server.open_calls += 1
        server.calls += 1
        self._begun += 1
        if (timeout_s := head.timeout_s) is not None:
            call.expiring = server.deadlines.add(call, now_s + timeout_s, head.grain_s)
        call.begin()
        if end_stream:
            self._half_close(call)

    def _find_method(self, head: CallHead) -> Method | bytes:
        """The method of a call, or the trailers that it is refused with."""
        if head.refusal is not None:
            return head.refusal
        server = self._server
        method = server.find_method(head.method)
        if method is None:
            return encode_failure(grpc_exchange.UNIMPLEMENTED, f"the method {head.method} is not served here")
        return method if server.open_calls < server.limits.max_open_calls else _BUSY

    def _read_head(self, stream_id: int, block: bytes) -> CallHead | None:
        """The head of a new call; None when there is no call."""
        try:
            return self._reader.read(block)
        except MalformedHeadError as error:
            self._reset(stream_id, ErrorCode.PROTOCOL_ERROR, str(error))
            return None

    def _take_late_block(self, stream_id: int, block: bytes, end_stream: int) -> None:
        """A block on a stream that is open: trailers, which mean nothing. On any other it is an error."""
        if not stream_id & 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that a client cannot open")
        malformed = ""
        try:
            self._reader.read_trailers(block)
        except MalformedHeadError as error:
            malformed = str(error)
        call = self._calls.get(stream_id)
        if call is None:
            if stream_id not in self._ended_early:
                raise Http2ConnectionError(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
            return
        if malformed:
            self._abandon(call, ErrorCode.PROTOCOL_ERROR, malformed)
        elif call.half_closed:
            self._abandon(call, ErrorCode.STREAM_CLOSED, "HEADERS after the end of the stream")
        elif not end_stream:
            self._abandon(call, ErrorCode.PROTOCOL_ERROR, "trailers that do not end the stream")
        else:
            self._half_close(call)

    def _refuse(self, stream_id: int, block: bytes, end_stream: int) -> None:
        """Answer what does not become a call."""
        self._server.calls_refused += 1
        self._answers += 1
        self.outflow.put(pack_headers(stream_id, block, end_stream=True))
        if not end_stream:
            self._end_early(stream_id)

    # --- messages ---

    def _take_whole_data(self, stream_id: int, end_stream: int, view: memoryview, start: int, end: int) -> None:
        call = self._calls.get(stream_id)
        length = end - start
        if (
            end_stream
            and call is not None
            and call.reader is None
            and not call.half_closed
            and not call.closed
            and PREFIX_BYTES <= length <= self._fast_bytes
        ):
            compressed, size = PREFIX.unpack_from(view, start)
            if size == length - PREFIX_BYTES and not compressed:
                self._acknowledge(length)
                if size <= SMALL_BYTES or self._hold(call, size):
                    cast("UnaryCall", call).handle(bytes(view[start + PREFIX_BYTES : end]))
                else:
                    call.half_closed = True
                return
        call = self._begin_data(stream_id, length, end_stream)
        if call is not None:
            self._take_data(call, view[start:end])
            if end_stream:
                self._end_data(call)

    def _begin_data(self, stream_id: int, flow_bytes: int, end_stream: int) -> Call | None:
        self._acknowledge_frame(flow_bytes, end_stream)
        call = self._calls.get(stream_id)
        if call is None:
            self._check_used(stream_id, "DATA")
            if stream_id not in self._ended_early:
                self._reset(stream_id, ErrorCode.STREAM_CLOSED, "DATA on a closed stream")
            return None
        if call.half_closed:
            self._abandon(call, ErrorCode.STREAM_CLOSED, "DATA after the end of the stream")
            return None
        if not self._acknowledge_on(call, flow_bytes, more=not end_stream and not call.closed):
            self._abandon(call, ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the stream's window")
            return None
        return call

    def _take_data(self, stream: object, view: memoryview) -> None:
        call = cast("Call", stream)
        if call.closed:
            return
        reader = call.reader
        if reader is None:
            limits = self._server.limits
            reader = call.reader = MessageReader(
                limits.max_message_bytes, limits.message_step_bytes, self._server.buffers
            )
        try:
            while view and not call.closed:
                view = view[reader.take(view) :]
                if reader.complete:
                    self._take_message(call, reader)
                else:
                    self._hold(call, reader.held_bytes)
        except MessageError as error:
            self.fail(call, error.status, error.reason)

    def _take_message(self, call: Call, reader: MessageReader) -> None:
        """Hand a complete message on."""
        compressed = reader.compressed
        message: Message = reader.pop()
        if compressed:
            message = unpack(message, call.head.encoding, self._server.limits.max_message_bytes)
        elif len(message) <= SMALL_BYTES:
            message = bytes(message)
        if isinstance(call, StreamCall):
            call.receive(message)
            self._hold(call, 0)
        elif self._hold(call, len(message)):
            call.receive(message)

    def _end_data(self, stream: object) -> None:
        self._half_close(cast("Call", stream))

    def _half_close(self, call: Call) -> None:
        """The client has sent its last message."""
        call.half_closed = True
        if call.closed:
            return
        try:
            if call.reader is not None and call.reader.begun:
                raise MessageError(grpc_exchange.INTERNAL, "the call ended within a message")
            call.half_close()
        except MessageError as error:
            self.fail(call, error.status, error.reason)

    def _direct_view(self, stream: object, max_bytes: int) -> memoryview | None:
        call = cast("Call | None", stream)
        if call is None or call.closed or call.reader is None or max_bytes < _DIRECT_BYTES:
            return None
        reader = call.reader
        if reader.wanted_bytes < _DIRECT_BYTES:
            return None
        return reader.direct_view(max_bytes)

    def _direct_filled(self, stream: object, nbytes: int) -> None:
        call = cast("Call", stream)
        reader = cast("MessageReader", call.reader)
        reader.direct_filled(nbytes)
        try:
            if reader.complete:
                self._take_message(call, reader)
            else:
                self._hold(call, reader.held_bytes)
        except MessageError as error:
            self.fail(call, error.status, error.reason)

    # --- time ---

    def end_streaming_calls(self) -> None:
        """End the calls that never end by themselves."""
        for call in list(self._calls.values()):
            if isinstance(call, StreamCall) and call.finish_on_drain and not call.closed:
                on_cancel = call.on_cancel
                self.fail(call, grpc_exchange.UNAVAILABLE, "the server is stopping")
                call.notify(on_cancel)

    def _sweep_streams(self, now_s: float) -> None:
        self._noise.refill(now_s, self._answers)
        self._resets.refill(now_s, self._answers)
        self._answers = 0
        limits = self._server.limits
        for call in list(self._calls.values()):
            moves = call.moves(now_s)
            if call.unsent_bytes or call.ending is not None:
                if not moves and now_s - call.moved_s > limits.write_stall_timeout_s:
                    self._abandon(call, ErrorCode.CANCEL, "the client makes no room for an answer")
            elif call.waits_for_client and not call.closed and (reason := call.overdue(now_s, limits)):
                self._time_out(call, reason)

    def _time_out(self, call: Call, reason: str) -> None:
        on_cancel = call.on_cancel
        self.fail(call, grpc_exchange.DEADLINE_EXCEEDED, reason)
        call.notify(on_cancel)
