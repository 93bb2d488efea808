"""The open calls of one connection: how they are answered, given up, accounted for.

What a call may end in is in one place, so that `open_calls` and `held_bytes` always add up.
"""

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from edgewise.net import grpc_exchange
from edgewise.net.grpc_answer import PREFIX, PREFIX_BYTES, encode_failure, message_bytes, pack_opening
from edgewise.net.grpc_call import Call, StreamCall
from edgewise.net.grpc_exchange import Message
from edgewise.net.http2_connection import Http2Connection
from edgewise.net.http2_frames import (
    MAX_WINDOW_BYTES,
    ErrorCode,
    Http2ConnectionError,
    pack_headers,
    pack_rst_stream,
)
from edgewise.net.http2_output import OutgoingStream

if TYPE_CHECKING:
    from edgewise.net.grpc_server import GrpcServer

_LOG: Final = logging.getLogger(__name__)
# Streams that we ended before the client did: what it still sends on so many of them is dropped without a word.
_MAX_ENDED_EARLY: Final = 1024
# Messages up to this size are not accounted for; the number of calls bounds them.
SMALL_BYTES: Final = 16 * 1024
# Answers up to this size are copied into one buffer with their frames.
_COPIED_BYTES: Final = 8 * 1024


class GrpcCalls(Http2Connection):
    """The calls of a connection from the moment they are there."""

    __slots__ = ("_answers", "_calls", "_ended_early")
    _server: "GrpcServer"

    def __init__(self, server: "GrpcServer") -> None:
        super().__init__(server)
        self._calls: dict[int, Call] = {}
        # In the order in which they ended.
        self._ended_early: dict[int, None] = {}
        self._answers = 0

    @property
    def open_streams(self) -> int:
        """Calls that are not over."""
        return len(self._calls)

    # --- answers ---

    def answer(self, call: Call, message: Message, block: bytes) -> None:
        """Send a unary call's one message and its trailers; for `UnaryCall.respond` alone."""
        self.end(call)
        self._answers += 1
        size = message_bytes(message)
        total = size + PREFIX_BYTES
        outflow = self.outflow
        if (
            outflow.free
            and total <= outflow.max_frame_bytes
            and total <= outflow.window_bytes
            and total <= outflow.initial_window_bytes + call.credit_bytes
        ):
            outflow.window_bytes -= total
            stream_id = call.stream_id
            opening = pack_opening(stream_id, size)
            closing = pack_headers(stream_id, block, end_stream=True)
            if size <= _COPIED_BYTES:
                answer = b"".join((opening, message, closing))
                outflow.out.append(answer)
                outflow.out_bytes += len(answer)
            else:
                outflow.out += (opening, message, closing)
                outflow.out_bytes += len(opening) + size + len(closing)
            calls = self._calls
            del calls[stream_id]
            if not outflow.corked:
                if calls:
                    outflow.touch()
                else:
                    # There is no other answer to wait for: a turn of the loop sooner.
                    outflow.flush()
            if self._ending:
                self._close_if_done()
            return
        self._hold_answer(call, total)
        call.outbox = deque((memoryview(PREFIX.pack(0, size)),))
        if size:
            call.outbox.append(memoryview(message).cast("B"))
        call.unsent_bytes = total
        call.ending = block
        outflow.enqueue(call)

    def _hold_answer(self, call: Call, size: int) -> None:
        if size > SMALL_BYTES:
            call.held_bytes = size
            self._server.held_bytes += size

    def enqueue(self, call: StreamCall) -> None:
        """Send what a streaming call has to send; for `StreamCall.send` alone."""
        if call.unsent_bytes > self._server.limits.max_unsent_stream_bytes:
            self._server.count_protocol_error("UNREAD", "messages of a stream are not read", self.peer)
            on_cancel = call.on_cancel
            self.outflow.forget(call)
            call.opened = True
            self.fail(call, grpc_exchange.RESOURCE_EXHAUSTED, "too many messages of this call were not read")
            call.notify(on_cancel)
        else:
            self.outflow.enqueue(call)

    def fail(self, call: Call, status: int, reason: str) -> None:
        """Answer a call with an error of the server's own."""
        if not call.closed:
            opened = call.opened or call.unsent_bytes > 0
            self.finish(call, encode_failure(status, reason, opened=opened))

    def finish(self, call: Call, block: bytes) -> None:
        """Send a call's trailers, after what it still has to send."""
        self.end(call)
        self._answers += 1
        if call.outbox or not self.outflow.free:
            call.opened = call.opened or not call.unsent_bytes
            call.ending = block
            self.outflow.enqueue(call)
            return
        self.outflow.put(pack_headers(call.stream_id, block, end_stream=True))
        self._stream_done(call)

    def end(self, call: Call) -> None:
        """A call needs no answer any more."""
        call.closed = True
        call.on_cancel = None
        self._server.open_calls -= 1
        if call.expiring is not None:
            call.expiring.discard(call)
            call.expiring = None
        if call.held_bytes:
            self._hold(call, 0)
            call.reader = None

    def handler_failed(self, call: Call) -> None:
        """A method raised."""
        _LOG.exception("the handler of %s failed", call.method)
        self._server.handler_errors += 1
        self.fail(call, grpc_exchange.INTERNAL, "the server failed; its log says more")

    def _stream_done(self, stream: OutgoingStream) -> None:
        call = cast("Call", stream)
        if self._calls.pop(call.stream_id, None) is None:
            return
        if call.held_bytes:
            self._hold(call, 0)
        if not call.half_closed:
            self._end_early(call.stream_id)
        if self._ending and not self._calls:
            self._server.loop.call_soon(self._close_if_done)

    def _stream_drained(self, stream: OutgoingStream) -> None:
        if isinstance(stream, StreamCall) and stream.on_drained is not None:
            self._server.loop.call_soon(stream.drained)

    def _end_early(self, stream_id: int) -> None:
        """Tell the client that what it still sends on an answered stream is not wanted."""
        self.outflow.put(pack_rst_stream(stream_id, ErrorCode.NO_ERROR))
        self._ignore(stream_id)

    def _ignore(self, stream_id: int) -> None:
        self._ended_early[stream_id] = None
        if len(self._ended_early) > _MAX_ENDED_EARLY:
            del self._ended_early[next(iter(self._ended_early))]

    def _hold(self, call: Call, held_bytes: int) -> bool:
        """Account for the memory that a call takes; returns whether there was room for it."""
        server = self._server
        if held_bytes <= SMALL_BYTES:
            held_bytes = 0
        grew_bytes = held_bytes - call.held_bytes
        call.held_bytes = held_bytes
        server.held_bytes += grew_bytes
        if grew_bytes > 0 and server.held_bytes > server.limits.max_held_bytes:
            busy = "the server is busy with other large requests; try again later"
            self.fail(call, grpc_exchange.RESOURCE_EXHAUSTED, busy)
            return False
        return True

    # --- what the client says of streams ---

    def _stream_reset(self, stream_id: int, code: int) -> None:  # noqa: ARG002 - gone is gone
        call = self._calls.pop(stream_id, None)
        if call is None:
            return
        if not self._resets.spend():
            self._calls[stream_id] = call
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many calls were given up")
        self._drop(call)

    def _stream_window(self, stream_id: int, more_bytes: int) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            return
        if not more_bytes:
            self._abandon(call, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        elif not self.outflow.widen_stream(call, more_bytes):
            self._abandon(call, ErrorCode.FLOW_CONTROL_ERROR, "the stream's window is over 2^31 - 1")

    def _windows_changed(self) -> None:
        outflow = self.outflow
        for call in self._calls.values():
            if outflow.initial_window_bytes + call.credit_bytes > MAX_WINDOW_BYTES:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is over 2^31 - 1")
            if call.outbox:
                outflow.enqueue(call)

    def _abandon(self, call: Call, code: ErrorCode, reason: str) -> None:
        """End a call for an error of the client's."""
        del self._calls[call.stream_id]
        self._ignore(call.stream_id)
        self._drop(call)
        self._reset(call.stream_id, code, reason)
        self._close_if_done()

    def _drop(self, call: Call) -> None:
        """Nobody waits for a call any more that is not among the open ones."""
        self.outflow.forget(call)
        if call.closed:
            self._hold(call, 0)
        else:
            call.cancel()
        if self._ending:
            self._close_if_done()

    def _cancel_streams(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self.outflow.forget(call)
            if call.closed:
                self._hold(call, 0)
            else:
                call.cancel()
