"""One client's connection to the HTTP server: hands requests on one at a time, answers them in order.

    RECEIVING ──whole request──► HANDLING ──answer──► RECEIVING
        │ └──very long──► STREAMING ──last piece──► HANDLING
        │                     └──answered early──► LINGERING
        └──malformed, too large, too slow──► LINGERING ──► CLOSED

HANDLING without an exchange means that the next request waits for something else than an answer: for the client to
read what was written, or for its turn.
"""

import asyncio
import logging
from collections.abc import Iterable
from time import monotonic
from typing import Final, cast

from edgewise.net.errors import HttpProtocolError
from edgewise.net.exchange import Body, Header
from edgewise.net.half_close import peer_is_gone
from edgewise.net.http_answer import CONTINUE
from edgewise.net.http_bounded_connection import CLOSED, HANDLING, LINGERING, RECEIVING, STREAMING, BoundedConnection
from edgewise.net.http_exchange import HttpExchange
from edgewise.net.http_head import RequestHead
from edgewise.net.http_incoming import IncomingBody
from edgewise.net.http_request_reader import Stage

_LOG: Final = logging.getLogger(__name__)
# Requests of one connection answered without letting the others in between.
_REQUESTS_IN_A_ROW: Final = 32
# Bodies up to this size are not accounted for; the number of connections bounds them.
_SMALL_BODY_BYTES: Final = 16 * 1024
# A process that was stopped finds requests in its sockets whose clients have long given them up, which shows only behind
# the request: none came for so long, so clients are looked at for that long.
_AWAY_S: Final = 0.5
_WARY_S: Final = 0.1

_HEAD: Final = Stage.HEAD
_DIRECT: Final = Stage.DIRECT


class HttpConnection(BoundedConnection):
    """The transport's side of one connection.

    Bytes arrive in one buffer shared by all connections of the server; what cannot be used at once is kept.
    """

    __slots__ = ()

    # --- what the transport reports ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._secure = transport.get_extra_info("sslcontext") is not None
        self._transport.set_write_buffer_limits(high=self._server.limits.write_high_water_bytes)
        self._since_s = monotonic()
        self._server.connection_opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it was lost changes nothing
        """Tell the handler that nobody waits any more."""
        self._state = CLOSED
        self._server.connection_closed(self)
        self._pending = bytearray()
        self._reader.release()
        self._cancel_exchange()
        self._hold(0)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's guess is of no use here
        """Where the next bytes go: the server's buffer, or the rest of a long body."""
        reader = self._reader
        return reader.direct_view() if reader.stage is _DIRECT else self._server.receive_view

    def buffer_updated(self, nbytes: int) -> None:
        """Use the bytes that came."""
        server = self._server
        server.bytes_in += nbytes
        state = self._state
        if state == RECEIVING:
            reader = self._reader
            pending = self._pending
            if reader.stage is _DIRECT:
                head, body = reader.direct_filled(nbytes)
                if head is not None:
                    self._begin(head, body)
                else:
                    self._hold(reader.held_bytes)
            elif pending:
                pending += server.receive_view[:nbytes]
                self._consume_pending()
            else:
                used = self._consume(server.receive_buffer, nbytes)
                if used < nbytes and self._state < LINGERING:
                    pending += server.receive_view[used:nbytes]
        elif state == HANDLING:
            pending = self._pending
            pending += server.receive_view[:nbytes]
            if len(pending) > server.limits.max_backlog_bytes and not self._reading_paused:
                self._reading_paused = True
                self._transport.pause_reading()
        elif state == STREAMING:
            self._stream(nbytes)
        else:
            self._lingered_bytes += nbytes
            if self._lingered_bytes > server.limits.max_linger_bytes:
                self.abort()

    def eof_received(self) -> bool:
        """The client sends no more; it may still listen.

        Returns: whether to keep the connection open for an answer.
        """
        if self._secure or self._state >= LINGERING or self.idle:
            return False
        self._half_closed = True
        if self._state <= STREAMING:
            self._fail(400, "the request ended before it was complete")
        elif self._exchange is not None:
            self._probe_later(self._exchange, sent=False)
        return True

    def pause_writing(self) -> None:
        """The client reads slower than we answer: begin no further request."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The client caught up."""
        self._write_paused = False
        if self._exchange is not None and self._exchange.on_drained is not None:
            self._exchange.on_drained()
        self._take_turn()

    # --- receiving ---

    def _consume(self, data: bytearray, end: int) -> int:
        """Begin requests out of data[:end] until one is incomplete or has to wait for its answer.

        Returns: how many bytes were used.
        """
        reader = self._reader
        start = 0
        begun = 0
        self._consuming = True
        try:
            while start < end and self._state == RECEIVING:
                start, head, body = reader.take(data, start, end)
                if head is None:
                    self._wait()
                    break
                self._begin(head, body)
                begun += 1
                if begun == _REQUESTS_IN_A_ROW and self._state == RECEIVING:
                    self._state = HANDLING
                    self._server.loop.call_soon(self._take_turn)
        except HttpProtocolError as error:
            self._fail(error.status, error.reason)
            return end
        finally:
            self._consuming = False
        return start

    def _wait(self) -> None:
        """A request is incomplete: time what it waits for from when that began."""
        reader = self._reader
        waits_for = (reader.stage, reader.head_begun)
        if waits_for != self._waits_for:
            self._waits_for = waits_for
            self._since_s = monotonic()
            self._moved_bytes = -1
        self._hold(reader.held_bytes)
        if reader.wants_continue and self._state == RECEIVING:
            reader.wants_continue = False
            self._sent_bytes += len(CONTINUE)
            self._transport.write(CONTINUE)

    def _consume_pending(self) -> None:
        pending = self._pending
        used = self._consume(pending, len(pending))
        if used:
            del pending[:used]
        if self._reading_paused and len(pending) <= self._server.limits.max_backlog_bytes:
            self._reading_paused = False
            self._transport.resume_reading()

    def _resume(self) -> None:
        """Go on with what arrived meanwhile."""
        if self._pending or self._reading_paused:
            self._consume_pending()
        if self._half_closed and self._state == RECEIVING:
            if self.idle:
                self.close()
            else:
                self._fail(400, "the request ended before it was complete")

    def _take_turn(self) -> None:
        """Go on when nothing but this was waited for."""
        if self._state == HANDLING and self._exchange is None and not self._write_paused:
            self._state = RECEIVING
            self._since_s = monotonic()
            self._resume()

    # --- handling and answering ---

    def _begin(self, head: RequestHead, body: Body | IncomingBody) -> None:
        server = self._server
        incoming: IncomingBody | None = None
        if (size := len(body)) > _SMALL_BODY_BYTES or self._held_bytes:
            if isinstance(body, IncomingBody):
                incoming, body, size = body, b"", 0
            self._hold(size)
            if self._state != RECEIVING:
                return
        server.requests += 1
        now_s = monotonic()
        if now_s - server.latest_s > _AWAY_S:
            server.wary_until_s = now_s + _WARY_S
        server.latest_s = now_s
        if now_s < server.wary_until_s and peer_is_gone(self._transport):
            self.abort()
            return
        self._state = HANDLING
        self._waits_for = (_HEAD, False)
        self._exchange = exchange = HttpExchange(self, head, body, now_s)  # type: ignore[arg-type]
        if incoming is not None:
            self._incoming = incoming
            self._begin_stream(exchange, incoming)
            return
        try:
            server.handler(exchange)
        except Exception:  # noqa: BLE001 - whatever the handler did, this client gets its answer
            self._handler_failed(exchange)

    def _handler_failed(self, exchange: HttpExchange) -> None:
        server = self._server
        _LOG.exception("the handler failed")
        server.handler_errors += 1
        exchange.respond(500, server.error_headers, server.make_error_body(500, "internal error"))

    # --- a body that is handed over while it comes ---

    def _begin_stream(self, exchange: HttpExchange, incoming: IncomingBody) -> None:
        self._state = STREAMING
        exchange.incoming = incoming
        incoming.belongs_to(self)
        self._since_s = monotonic()
        self._moved_bytes = -1
        try:
            self._server.handler(exchange)
        except Exception:  # noqa: BLE001 - as in `_begin`
            self._handler_failed(exchange)
        if self._incoming is incoming:
            reader = self._reader
            if reader.wants_continue:
                reader.wants_continue = False
                self._sent_bytes += len(CONTINUE)
                self._transport.write(CONTINUE)
            incoming.begin()

    def _stream(self, nbytes: int) -> None:
        server = self._server
        incoming = self._incoming
        if incoming is None:
            raise RuntimeError("a body is handed over to nobody")
        try:
            used, piece, done = self._reader.feed_stream(server.receive_buffer, nbytes)
        except HttpProtocolError as error:
            self._fail(error.status, error.reason)
            return
        if done:
            # The handler may answer from within, and then what lies behind is the next request.
            self._pending += server.receive_view[used:nbytes]
            self._state = HANDLING
            self._incoming = None
        incoming.give(piece)
        if done:
            incoming.end()

    def pause_incoming(self, incoming: IncomingBody) -> None:
        """For `IncomingBody.pause` alone."""
        if incoming is self._incoming and not self._incoming_paused_s:
            self._incoming_paused_s = monotonic()
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_incoming(self, incoming: IncomingBody) -> None:
        """For `IncomingBody.resume` alone."""
        if incoming is self._incoming and self._incoming_paused_s:
            # It was not the client that was slow.
            now_s = monotonic()
            self._since_s += now_s - self._incoming_paused_s
            self._moved_s = now_s
            self._incoming_paused_s = 0.0
            self._reading_paused = False
            self._transport.resume_reading()

    # --- answering ---

    def answer(
        self,
        exchange: HttpExchange,
        request: RequestHead,
        status: int,
        headers: Iterable[Header],
        body: Body | list[Body],
    ) -> None:
        """Send the answer to the exchange in flight and go on; for `HttpExchange.respond` alone."""
        server = self._server
        now_s = monotonic()
        keep_alive = request.keep_alive and not server.closing and self._incoming is None
        sent_bytes = server.heads.send(self._transport, request, status, headers, body, now_s, keep_alive=keep_alive)
        self._answered(exchange, request, sent_bytes, now_s, keep_alive)

    def answer_encoded(
        self,
        exchange: HttpExchange,
        request: RequestHead,
        start: bytes,
        body: Body | list[Body],
        length_bytes: int | None,
    ) -> None:
        """As `answer`, for `HttpExchange.respond_encoded` alone."""
        server = self._server
        keep_alive = request.keep_alive and not server.closing and self._incoming is None
        sent_bytes = server.heads.send_encoded(
            self._transport, request, start, body, length_bytes, keep_alive=keep_alive
        )
        self._answered(exchange, request, sent_bytes, monotonic(), keep_alive)

    def begin_answer(self, request: RequestHead, start: bytes, length_bytes: int | None) -> None:
        """For `HttpExchange.begin` alone."""
        server = self._server
        self._pieces_are_chunks = length_bytes is None and not request.http_1_0
        self._stays_open = (
            request.keep_alive
            and not server.closing
            and self._incoming is None
            and (length_bytes is not None or self._pieces_are_chunks)
        )
        self._answer_begun = True
        sent_bytes = server.heads.send_start(self._transport, request, start, length_bytes, keep_alive=self._stays_open)
        self._count_sent(sent_bytes)

    def write_piece(self, piece: Body) -> bool:
        """For `HttpExchange.write` alone."""
        size_bytes = piece.nbytes if type(piece) is memoryview else len(piece)
        if size_bytes:
            if self._pieces_are_chunks:
                self._transport.writelines((b"%x\r\n" % size_bytes, piece, b"\r\n"))
            else:
                self._transport.write(piece)
            self._count_sent(size_bytes)
        return not self._write_paused

    def end_answer(self, exchange: HttpExchange, request: RequestHead) -> None:
        """For `HttpExchange.end` alone."""
        sent_bytes = 0
        if self._pieces_are_chunks:
            self._transport.write(b"0\r\n\r\n")
            sent_bytes = 5
        self._answered(exchange, request, sent_bytes, monotonic(), self._stays_open)

    def _count_sent(self, sent_bytes: int) -> None:
        self._server.bytes_out += sent_bytes
        self._sent_bytes += sent_bytes
        self._since_s = monotonic()

    def _answered(
        self,
        exchange: HttpExchange,
        request: RequestHead,
        sent_bytes: int,
        now_s: float,
        keep_alive: bool,  # noqa: FBT001 - private
    ) -> None:
        server = self._server
        self._exchange = None
        self._answer_begun = False
        if self._incoming is not None:
            self._leave_stream()
        exchange.closed = True
        exchange.on_cancel = exchange.on_drained = None
        if self._held_bytes:
            self._hold(0)
        server.bytes_out += sent_bytes
        self._sent_bytes += sent_bytes
        self._since_s = now_s
        self._served = True
        if not keep_alive:
            self._end(linger=request.keep_alive)
        elif not self._write_paused:
            self._state = RECEIVING
            if (self._pending or self._reading_paused or self._half_closed) and not self._consuming:
                self._resume()
