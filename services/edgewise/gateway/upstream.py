"""Connections to one HTTP/1.1 origin: a pool without a task or future per request.

An idle connection takes the request at once. Without one a connection is opened, and the request waits for the first
that becomes free. What is given up is dropped with its connection, unsent bytes included, so that it never runs later.

A kept-alive connection may be closed by the server at the very moment it is used again. Where a connection that had been
idle for a second or longer ends before a byte of the answer came, the request goes once more to the same site on a new
connection, if running it twice does no harm: one round trip, and no link is suspected for a server's time-out. Any
other loss is told at once, since another site then answers sooner.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Set as AbstractSet
from time import monotonic
from typing import Final

from edgewise.core.routing.calls import Failure
from edgewise.gateway.addresses import Addresses
from edgewise.gateway.config import Address
from edgewise.gateway.upstream_calls import Ticket, UpstreamCall
from edgewise.gateway.upstream_connection import UpstreamConnection, Waiting
from edgewise.gateway.upstream_opening import Opening
from edgewise.net.errors import (
    ConnectError,
    ConnectionLostError,
    HttpClientError,
    PoolTimeoutError,
)
from edgewise.net.exchange import Body

_LOG: Final = logging.getLogger(__name__)
# Servers close what was idle for whole seconds; one used within this was hardly closed for that.
STALE_AFTER_S: Final = 1.0
_REFRESH_S: Final = 60.0


class HttpUpstream:
    """A pool of kept-alive connections to one address. Used on the event loop's thread only.

    Args:
        address: where the site listens.
        ssl_context: speaks TLS when given.
        server_hostname: the name that the certificate has to be for; the address' host when None.
        max_connections: at once, those being opened included; a request beyond fails with `Failure.POOL`.
        connect_timeout_s: for TCP and TLS together.
        idle_timeout_s: a connection that was idle longer is closed. Keep it under the server's.
        user_timeout_ms: TCP_USER_TIMEOUT, how long sent bytes may stay unacknowledged.
        max_head_bytes, max_body_bytes: bounds on an answer.
        addresses: where connections lead; those of `address` when None.

    Attributes:
        host_field: the value of the Host field.
        base_path: put it before every path.
        opened: connections made since the start.
        idle, waiting: connections that could take a request, the one used last at the end; and requests without one.
        retried_stale: requests sent again since a kept-alive connection had been closed by the site.
    """

    def __init__(
        self,
        address: Address,
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        max_connections: int = 1024,
        connect_timeout_s: float = 5.0,
        idle_timeout_s: float = 20.0,
        user_timeout_ms: int = 10_000,
        max_head_bytes: int = 64 * 1024,
        max_body_bytes: int = 256 * 1024 * 1024,
        addresses: Addresses | None = None,
    ) -> None:
        host, port = address.host, address.port
        name = f"[{host}]" if ":" in host else host
        default_port = 443 if ssl_context is not None else 80
        self.host_field = (name if port == default_port else f"{name}:{port}").encode("ascii")
        self.base_path = address.base_path.encode("ascii")
        self.addresses = addresses if addresses is not None else Addresses(host, port)
        self.opened = 0
        self.retried_stale = 0
        self._where = f"{name}:{port}"
        self._max_connections = max_connections
        self._idle_timeout_s = idle_timeout_s
        self._opening = Opening(
            self._where,
            self.addresses,
            ssl_context=ssl_context,
            server_hostname=(server_hostname or host) if ssl_context is not None else None,
            connect_timeout_s=connect_timeout_s,
            user_timeout_ms=user_timeout_ms,
            limits=(max_head_bytes, max_body_bytes),
        )
        self._connections: set[UpstreamConnection] = set()
        self.idle: list[UpstreamConnection] = []
        self.waiting: deque[Waiting] = deque()
        # What each connection being opened was opened for; None for one to have.
        self._connecting: dict[asyncio.Task[UpstreamConnection], Waiting | None] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._refreshed_s = monotonic()
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections open now, idle ones included."""
        return len(self._connections)

    @property
    def connections(self) -> AbstractSet[UpstreamConnection]:
        """Those that are open; read only."""
        return self._connections

    @property
    def idle_connections(self) -> int:
        """Connections that could take a request now."""
        return sum(connection.usable for connection in self.idle)

    @property
    def busy(self) -> bool:
        """Whether a request is on a connection, or waits for one."""
        return (
            bool(self.waiting)
            or any(connection.busy for connection in self._connections)
            or any(waiting is not None and not waiting.cancelled for waiting in self._connecting.values())
        )

    def begin(self) -> None:
        """Begin to keep house."""
        if self._sweep_timer is None:
            self._sweep_timer = asyncio.get_running_loop().call_later(self._idle_timeout_s / 4, self._sweep)

    async def start(self, *, resolve_timeout_s: float = 5.0) -> bool:
        """Look the name up and begin to keep house.

        Returns: whether an address is known. When not, lookups go on with each request that fails for it.
        """
        self.begin()
        return await self.addresses.resolve(resolve_timeout_s)

    def send(
        self,
        parts: list[Body],
        call: UpstreamCall,
        ticket: Ticket,
        *,
        head_only: bool = False,
        idempotent: bool = True,
        fresh: bool = False,
        echo: bytes = b"",
        stream_over_bytes: int = 0,
        body_follows: bool = False,
    ) -> None:
        """Put a request on the wire, or let it wait for a connection.

        Args:
            parts: the request as it goes on the wire, head first; leave them unchanged until the outcome.
            call: is told what comes of it.
            ticket: handed to `call` with everything; its `carrier` is set to what cancels this.
            head_only: it is a HEAD request.
            idempotent: it may be sent twice to this site.
            fresh: on a connection of its own.
            echo: a line of the answer's head that says nothing new; see `ResponseReader.expect`.
            body_follows: the rest of the body is written to `ticket.carrier` once that is an `UpstreamConnection`: at
                once, or when `sent` is told.
            stream_over_bytes: `call` is a `StreamingCall` that is asked about answers longer than this; 0 for none.
        """
        if not fresh:
            idle = self.idle
            while idle:
                connection = idle.pop()
                if connection.usable:
                    if not idempotent and monotonic() - connection.idle_since_s > STALE_AFTER_S:
                        # It could not be sent again if this one turned out to be closed.
                        idle.append(connection)
                        break
                    connection.call = call
                    connection.ticket = ticket
                    connection.parts = parts
                    connection.head_only = head_only
                    connection.idempotent = idempotent
                    connection.echo = echo
                    connection.stream_over_bytes = stream_over_bytes
                    connection.sending = body_follows
                    ticket.carrier = connection
                    connection.send(parts, head_only=head_only, echo=echo)
                    return
        self._send_later(
            Waiting(
                *(self, parts, call, ticket),
                head_only=head_only,
                idempotent=idempotent,
                fresh=fresh,
                echo=echo,
                stream_over_bytes=stream_over_bytes,
                body_follows=body_follows,
            )
        )

    def warm(self, connections: int) -> None:
        """Have at least so many connections open or being opened."""
        missing = min(connections, self._max_connections) - len(self._connections) - len(self._connecting)
        if not self._closed:
            for _ in range(missing):
                self._connect(None)

    def close_connections(self) -> None:
        """Drop every connection that carries no request; those of requests are dropped when they are cancelled."""
        for connection in list(self._connections):
            if not connection.busy:
                connection.abort()
        self.idle.clear()
        # One that was begun in an outage would come up long after it, at the pace of what was lost.
        for task, waiting in list(self._connecting.items()):
            if waiting is None or waiting.cancelled:
                task.cancel()

    async def close(self) -> None:
        """Drop everything, for good; requests in flight end in a failure."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        tasks = list(self._connecting)
        for task in tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        self.idle.clear()
        if tasks:
            await asyncio.wait(tasks)

    # --- for connections and those that wait ---

    def release(self, connection: UpstreamConnection) -> None:
        """Give a connection to whoever waits longest, or keep it."""
        if self.waiting:
            self._begin(connection, self.waiting.popleft())
            return
        connection.idle_since_s = monotonic()
        connection.reused = True
        self.idle.append(connection)

    def use_last(self, connection: UpstreamConnection) -> None:
        """It has been given back, and has sent next to nothing yet: others are quicker."""
        idle = self.idle
        if idle and idle[-1] is connection:
            idle.insert(0, idle.pop())

    def forget_waiting(self, waiting: Waiting) -> None:
        """It was cancelled. The connection being opened for it is kept: the next request can use it."""
        if waiting in self.waiting:
            self.waiting.remove(waiting)

    def connection_failed(self, connection: UpstreamConnection, error: HttpClientError) -> None:
        """The request in flight there gets no answer."""
        call, ticket, parts = connection.call, connection.ticket, connection.parts
        connection.parts = None
        ticket.carrier = None
        if not isinstance(error, ConnectionLostError):
            call.failed(ticket, Failure.PROTOCOL, error)
            return
        stale = connection.reused and ticket.sent_s - connection.idle_since_s > STALE_AFTER_S
        if stale and connection.idempotent and not error.received_bytes and parts is not None and not self._closed:
            self.retried_stale += 1
            self._send_later(
                Waiting(
                    *(self, parts, call, ticket),
                    head_only=connection.head_only,
                    idempotent=True,
                    fresh=True,
                    echo=connection.echo,
                    stream_over_bytes=connection.stream_over_bytes,
                    body_follows=False,
                )
            )
            return
        call.failed(ticket, Failure.LOST, error)

    def connection_opened(self, connection: UpstreamConnection) -> None:
        """There is one more."""
        self._connections.add(connection)
        self.opened += 1

    def connection_closed(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    # --- opening ---

    def _send_later(self, waiting: Waiting) -> None:
        waiting.ticket.carrier = waiting
        loop = asyncio.get_running_loop()
        if self._closed or len(self._connections) + len(self._connecting) >= self._max_connections:
            loop.call_soon(self._refuse, waiting)
            return
        if not waiting.fresh:
            self.waiting.append(waiting)
        self._connect(waiting)

    def _connect(self, waiting: Waiting | None) -> None:
        task = asyncio.get_running_loop().create_task(self._opening.open(self))
        self._connecting[task] = waiting
        task.add_done_callback(self._connected)

    def _refuse(self, waiting: Waiting) -> None:
        if not waiting.cancelled:
            waiting.ticket.carrier = None
            error = PoolTimeoutError(f"all {self._max_connections} connections to {self._where} are busy")
            waiting.call.failed(waiting.ticket, Failure.POOL, error)

    def _begin(self, connection: UpstreamConnection, waiting: Waiting) -> None:
        connection.call = waiting.call
        connection.ticket = ticket = waiting.ticket
        connection.parts = waiting.parts
        connection.head_only = waiting.head_only
        connection.idempotent = waiting.idempotent
        connection.echo = waiting.echo
        connection.stream_over_bytes = waiting.stream_over_bytes
        connection.sending = waiting.body_follows
        connection.reused = False
        ticket.carrier = connection
        connection.send(waiting.parts, head_only=waiting.head_only, echo=waiting.echo)
        waiting.call.sent(ticket)

    def _connected(self, task: asyncio.Task[UpstreamConnection]) -> None:
        """A connection was opened or not; whoever waits longest gets it."""
        waiting = self._connecting.pop(task)
        if task.cancelled():
            error: HttpClientError = ConnectError(f"the connection to {self._where} was given up while it was opened")
        else:
            problem = task.exception()
            if problem is None:
                connection = task.result()
                if not connection.usable:
                    error = ConnectError(f"{self._where} closed the connection as soon as it was made")
                elif waiting is not None and waiting.fresh and not waiting.cancelled:
                    self._begin(connection, waiting)
                    return
                else:
                    self.release(connection)
                    self.use_last(connection)
                    return
            elif isinstance(problem, HttpClientError):
                error = problem
                self.addresses.refresh(task.get_loop())
            else:
                _LOG.error("connecting to %s failed", self._where, exc_info=problem)
                error = ConnectError(f"no connection to {self._where}")
        self._connect_failed(waiting, error)

    def _connect_failed(self, waiting: Waiting | None, error: HttpClientError) -> None:
        if waiting is None or not waiting.fresh:
            # Others are still being opened for the rest; this one was for whoever waits longest.
            still_coming = sum(other is None or not other.fresh for other in self._connecting.values())
            if len(self.waiting) <= still_coming:
                return
            waiting = self.waiting.popleft()
        if not waiting.cancelled:
            waiting.ticket.carrier = None
            waiting.call.failed(waiting.ticket, Failure.CONNECT, error)

    # --- keeping house ---

    def _sweep(self) -> None:
        """Close what was idle for too long, and look the name up from time to time."""
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(self._idle_timeout_s / 4, self._sweep)
        oldest_s = monotonic() - self._idle_timeout_s
        kept = []
        for connection in self.idle:
            if not connection.usable:
                continue
            if connection.idle_since_s < oldest_s:
                connection.close()
            else:
                kept.append(connection)
        self.idle = kept
        if monotonic() - self._refreshed_s > _REFRESH_S:
            self._refreshed_s = monotonic()
            self.addresses.refresh(loop)
