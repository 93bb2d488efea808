"""One connection of an upstream's pool, and what waits for one."""

import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from edgewise.gateway.tcp_progress import acknowledged_bytes
from edgewise.gateway.tcp_window import TcpWindow, read_window
from edgewise.gateway.upstream_calls import Sink, StreamingCall, Ticket, UpstreamCall
from edgewise.net.errors import HttpClientError
from edgewise.net.exchange import Body
from edgewise.net.http_client_connection import ClientConnection
from edgewise.net.http_response_head import KnownHeads, ResponseHead

if TYPE_CHECKING:
    from edgewise.gateway.upstream import HttpUpstream


class Waiting:
    """A request that waits for a connection to be opened or to become free."""

    __slots__ = (
        "body_follows",
        "call",
        "cancelled",
        "echo",
        "fresh",
        "head_only",
        "idempotent",
        "parts",
        "stream_over_bytes",
        "ticket",
        "upstream",
    )

    def __init__(
        self,
        upstream: "HttpUpstream",
        parts: list[Body],
        call: UpstreamCall,
        ticket: Ticket,
        *,
        head_only: bool,
        idempotent: bool,
        fresh: bool,
        echo: bytes,
        stream_over_bytes: int,
        body_follows: bool,
    ) -> None:
        self.upstream = upstream
        self.parts = parts
        self.call = call
        self.ticket = ticket
        self.head_only = head_only
        self.idempotent = idempotent
        self.fresh = fresh
        self.echo = echo
        self.stream_over_bytes = stream_over_bytes
        self.body_follows = body_follows
        self.cancelled = False

    def cancel(self) -> None:
        """Take it out; nothing was sent."""
        self.cancelled = True
        self.ticket.carrier = None
        self.upstream.forget_waiting(self)


class UpstreamConnection(ClientConnection):
    """A connection of the pool; also what `Ticket.carrier` holds while its request is in flight.

    Attributes:
        call, ticket, parts, echo, head_only, idempotent: of the request in flight; see `HttpUpstream.send`.
        tell_room: called when there is room again after `write` said that there was none.
        sink: who takes a long answer piece by piece.
        idle_since_s: when it was last given back.
        reused: it has been given back before.
    """

    __slots__ = (
        "call",
        "echo",
        "head_only",
        "idempotent",
        "idle_since_s",
        "parts",
        "reused",
        "sink",
        "tell_room",
        "ticket",
        "upstream",
    )

    call: UpstreamCall
    ticket: Ticket

    def __init__(
        self,
        upstream: "HttpUpstream",
        receive_buffer: bytearray,
        limits: tuple[int, int],
        known_heads: KnownHeads,
    ) -> None:
        super().__init__(receive_buffer, max_head_bytes=limits[0], max_body_bytes=limits[1], known_heads=known_heads)
        self.upstream = upstream
        self.idle_since_s = 0.0
        self.reused = False
        self.parts: list[Body] | None = None
        self.sink: Sink | None = None
        self.tell_room: Callable[[], None] | None = None
        self.head_only = False
        self.idempotent = True
        self.echo = b""

    def on_response(self, head: ResponseHead, body: bytes | bytearray) -> None:
        """Go back to the pool, then tell the call."""
        call, ticket = self.call, self.ticket
        self.parts = None
        ticket.carrier = None
        # An idle connection keeps nothing of its last request.
        self.call = cast("UpstreamCall", None)
        self.ticket = cast("Ticket", None)
        if self.usable:
            upstream = self.upstream
            if upstream.waiting:
                # From here on it carries somebody else's request.
                upstream.release(self)
            else:
                self.idle_since_s = monotonic()
                self.reused = True
                upstream.idle.append(self)
        call.site_answered(ticket, head, body)

    def on_progress(self) -> None:
        """Tell the call."""
        self.call.bytes_came(self.ticket)

    def on_long_answer(self, head: ResponseHead) -> bool:
        """Ask the call."""
        # From here on it is no more than an answer: the request is not sent again.
        self.sink = cast("StreamingCall", self.call).answer_begins(self.ticket, head, self)
        if self.sink is None:
            return False
        self.parts = None
        self.ticket.carrier = None
        return True

    def on_piece(self, piece: bytes | bytearray) -> None:
        """Hand it on."""
        if self.sink is not None:
            self.sink.piece(piece)

    def on_stream_end(self) -> None:
        """Go back to the pool, then tell the sink."""
        sink, self.sink = self.sink, None
        if self.usable:
            self.upstream.release(self)
        if sink is not None:
            sink.ended()

    def on_failure(self, error: HttpClientError) -> None:
        """Tell who waits for the rest, or let the pool decide."""
        if self.streaming:
            self.streaming = False
            sink, self.sink = self.sink, None
            if sink is not None:
                sink.broke(error)
            return
        self.upstream.connection_failed(self, error)

    def on_room(self) -> None:
        """Tell who writes."""
        if self.tell_room is not None:
            self.tell_room()

    def on_closed(self) -> None:
        """Leave the pool."""
        self.upstream.connection_closed(self)

    def cancel(self) -> None:
        """Take the request off the wire, with what is unsent."""
        super().cancel()
        self.parts = None
        self.sink = None
        self.ticket.carrier = None

    def take_socket(self, sock: socket.socket) -> None:
        """Know the socket, for what only it can do."""
        self._socket = sock

    def window(self) -> TcpWindow | None:
        """How much can be sent at once; None where the system does not tell."""
        return read_window(self._socket) if self._socket is not None else None

    def acknowledged_bytes(self) -> int | None:
        """How much of what was sent has arrived; None where the system does not tell."""
        return acknowledged_bytes(self._socket) if self._socket is not None else None
