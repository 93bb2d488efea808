"""What one client's connection to the HTTP server may take, in seconds and bytes, and how it ends.

`http_connection` derives from it: there requests are received and answered.
"""

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from edgewise.net.half_close import peer_is_gone
from edgewise.net.http_answer import CONTINUE
from edgewise.net.http_exchange import HttpExchange
from edgewise.net.http_incoming import IncomingBody
from edgewise.net.http_request_reader import RequestReader, Stage

if TYPE_CHECKING:
    from edgewise.net.http_server import HttpServer

_LOG: Final = logging.getLogger(__name__)
# A client has to take this much of an answer within the write timeout, or all that is left of it.
_WRITE_PROGRESS_BYTES: Final = 16 * 1024
_HEAD: Final = Stage.HEAD

# States. Plain integers: the hot path compares them several times a request.
RECEIVING: Final = 0
STREAMING: Final = 1
HANDLING: Final = 2
LINGERING: Final = 3
CLOSED: Final = 4


class BoundedConnection(asyncio.BufferedProtocol):
    """A connection that is held to the server's limits."""

    __slots__ = (
        "_answer_begun",
        "_consuming",
        "_exchange",
        "_half_closed",
        "_held_bytes",
        "_incoming",
        "_incoming_paused_s",
        "_lingered_bytes",
        "_moved_bytes",
        "_moved_s",
        "_peer",
        "_pending",
        "_pieces_are_chunks",
        "_reader",
        "_reading_paused",
        "_secure",
        "_sent_bytes",
        "_served",
        "_server",
        "_since_s",
        "_state",
        "_stays_open",
        "_transport",
        "_waits_for",
        "_write_paused",
    )

    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._transport = cast("asyncio.Transport", None)
        self._reader = RequestReader(server.limits, server.buffers)
        self._state = RECEIVING
        self._pending = bytearray()
        self._held_bytes = 0
        self._peer: str | None = None
        self._exchange: HttpExchange | None = None
        self._consuming = False
        self._served = False
        self._secure = False
        self._half_closed = False
        self._reading_paused = False
        self._write_paused = False
        # Of a body that is handed over piece by piece: whether the client waits, and since when.
        self._incoming: IncomingBody | None = None
        self._incoming_paused_s = 0.0
        # Of an answer that is sent piece by piece.
        self._answer_begun = False
        self._pieces_are_chunks = False
        self._stays_open = False
        self._lingered_bytes = 0
        self._sent_bytes = 0
        # What is being received and since when; with how much of it had moved at the last progress, and when that was.
        self._waits_for: tuple[Stage, bool] = (_HEAD, False)
        self._since_s = 0.0
        self._moved_bytes = -1
        self._moved_s = 0.0

    # --- what the server asks ---

    @property
    def idle(self) -> bool:
        """Whether no request is being received, handled or answered."""
        return self._state == RECEIVING and self._reader.stage is _HEAD and not self._pending

    @property
    def since_s(self) -> float:
        """Since when an idle one has been that: since it was opened, or had its last answer; `time.monotonic()`."""
        return self._since_s

    @property
    def peer(self) -> str:
        """The client's address as `host:port`, "" on a Unix socket."""
        if self._peer is None:
            name = self._transport.get_extra_info("peername")
            self._peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""
        return self._peer

    def close(self) -> None:
        """Close once what was written has been sent."""
        if self._state != CLOSED:
            self._state = CLOSED
            self._transport.close()

    def abort(self) -> None:
        """Close at once; unsent bytes are dropped and the request in flight is cancelled."""
        self._state = CLOSED
        self._transport.abort()
        self._cancel_exchange()

    def refuse(self, reason: str) -> None:
        """Turn a client away."""
        self._fail(503, reason)

    def sweep(self, now_s: float) -> None:
        """Hold the connection to its time limits."""
        unsent_bytes = self._transport.get_write_buffer_size()
        if unsent_bytes:
            self._sweep_unsent(now_s, self._sent_bytes - unsent_bytes)
            return
        state = self._state
        if state <= STREAMING and self._reader.stage is not _HEAD:
            if not self._incoming_paused_s:
                self._sweep_body(now_s)
            return
        self._moved_bytes = -1
        if state == RECEIVING:
            self._sweep_head(now_s - self._since_s)
        elif state == HANDLING:
            if (self._half_closed or self._reading_paused) and peer_is_gone(self._transport):
                self.abort()
        elif now_s - self._since_s > self._server.limits.linger_timeout_s:
            # Once more it is too late for good manners: TLS waits for the other side's goodbye.
            self.abort() if state == CLOSED else self.close()

    def _sweep_unsent(self, now_s: float, moved_bytes: int) -> None:
        self._since_s = now_s
        if self._moved_bytes < 0 or moved_bytes - self._moved_bytes >= _WRITE_PROGRESS_BYTES:
            self._moved_bytes = moved_bytes
            self._moved_s = now_s
        elif now_s - self._moved_s > self._server.limits.write_stall_timeout_s:
            self.abort()

    def _sweep_head(self, waited_s: float) -> None:
        limits = self._server.limits
        if self._reader.head_begun:
            if waited_s > limits.header_timeout_s:
                self._fail(408, f"the request head was not complete within {limits.header_timeout_s:g} s")
        elif waited_s > (limits.idle_timeout_s if self._served else limits.header_timeout_s):
            self.close()

    def _sweep_body(self, now_s: float) -> None:
        limits = self._server.limits
        received_bytes = self._reader.body_received_bytes(len(self._pending))
        if received_bytes != self._moved_bytes:
            self._moved_bytes = received_bytes
            self._moved_s = now_s
        elif now_s - self._moved_s > limits.body_stall_timeout_s:
            self._fail(408, f"no byte of the body came for {limits.body_stall_timeout_s:g} s")
            return
        if now_s - self._since_s > limits.body_grace_s + received_bytes / limits.min_body_rate_bytes_per_s:
            self._fail(408, f"the body came slower than {limits.min_body_rate_bytes_per_s:g} bytes per second")

    # --- memory ---

    def _hold(self, held_bytes: int) -> None:
        """Account for memory that this connection's bodies take; refuse what the server has no room for."""
        server = self._server
        server.held_body_bytes += held_bytes - self._held_bytes
        grew = held_bytes > self._held_bytes
        self._held_bytes = held_bytes
        if grew and self._state == RECEIVING and server.held_body_bytes > server.limits.max_held_body_bytes:
            self._fail(503, "the server is busy with other large requests; try again later")

    def _leave_stream(self) -> None:
        """Nobody is told of the rest."""
        incoming, self._incoming = self._incoming, None
        self._incoming_paused_s = 0.0
        if incoming is not None:
            incoming.belongs_to(None)

    # --- the end ---

    def _fail(self, status: int, reason: str) -> None:
        """Answer a request that cannot be handed on, and close."""
        server = self._server
        if self._exchange is not None:
            begun = self._answer_begun
            self._cancel_exchange()
            if begun:
                self.abort()
                return
        server.count_protocol_error(status, reason, self.peer)
        sent_bytes = server.heads.send(
            self._transport,
            None,
            status,
            server.error_headers,
            server.make_error_body(status, reason),
            monotonic(),
            keep_alive=False,
        )
        server.bytes_out += sent_bytes
        self._sent_bytes += sent_bytes
        self._end(linger=True)

    def _end(self, *, linger: bool) -> None:
        """Close; with `linger`, only after the client had time to read what was written (RFC 9112, section 9.6)."""
        if self._half_closed or not linger:
            self.close()
            return
        self._state = LINGERING
        self._since_s = monotonic()
        self._pending.clear()
        self._reader.release()
        self._hold(0)
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _cancel_exchange(self) -> None:
        exchange, self._exchange = self._exchange, None
        self._answer_begun = False
        self._leave_stream()
        on_cancel = exchange.close() if exchange is not None else None
        if on_cancel is not None:
            try:
                on_cancel()
            except Exception:  # noqa: BLE001 - the front door's fault must not reach the loop
                _LOG.exception("on_cancel failed")

    # --- the client has gone, or has it only finished sending? ---

    def _probe_later(self, exchange: HttpExchange, *, sent: bool) -> None:
        server = self._server
        server.loop.call_later(server.limits.half_close_probe_s, self._probe, exchange, sent)

    def _probe(self, exchange: HttpExchange, sent: bool) -> None:  # noqa: FBT001 - called by the loop
        """Find out whether a client that sends no more still listens.

        The end of its stream looks the same for both. A client that is gone answers bytes with a reset, and an interim
        answer is the one thing that may be sent early.
        """
        if self._exchange is not exchange:
            return
        if peer_is_gone(self._transport):
            self.abort()
        elif not sent and exchange.takes_interim_answers:
            self._sent_bytes += len(CONTINUE)
            self._transport.write(CONTINUE)
            self._probe_later(exchange, sent=True)
