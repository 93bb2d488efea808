"""Unary gRPC calls to one origin, told to callbacks: no task and no future for a call.

client = GrpcClient(b"site:8500", open_socket)
client.call(b"/package.Service/Method", (), message, timeout_s=1.0, done=print)
...
await client.close()

A connection is opened when the first call needs it, and another one when the server takes no more calls at once on
those there are. A call that the server refused unseen is sent once more; no other call is.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Final

from edgewise.net.buffer_pool import BufferPool
from edgewise.net.errors import (
    ClientClosedError,
    ConnectError,
    ConnectTimeoutError,
    HttpClientError,
    NotExecutedError,
    PoolTimeoutError,
)
from edgewise.net.grpc_client_answer import GrpcAnswer
from edgewise.net.grpc_client_call import OVER, WAITING, CallbackCall, ClientCall
from edgewise.net.grpc_client_calls import GrpcClientCalls, fail_call
from edgewise.net.grpc_client_connection import GrpcClientConnection
from edgewise.net.grpc_client_head import encode_head, encode_metadata, encode_timeout
from edgewise.net.grpc_deadlines import Deadlines
from edgewise.net.grpc_exchange import Field, Message
from edgewise.net.grpc_head import grain_s
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.http2_output import FlushQueue

_LOG: Final = logging.getLogger(__name__)
_RECEIVE_BYTES: Final = 256 * 1024
_MAX_CACHED: Final = 512
# Until the server says otherwise; RFC 9113 asks servers to allow no fewer.
_ASSUMED_STREAMS: Final = 100
_CLIENT_LIMITS: Final = GrpcLimits(keepalive_s=20.0, keepalive_timeout_s=10.0, idle_timeout_s=300.0)

OpenSocket = Callable[[], Awaitable[socket.socket]]
"""Opens a TCP connection. Raises OSError."""


class GrpcClient:
    """Calls one origin. Used on the event loop's thread only.

    Args:
        authority: what calls say they are for, such as b"site:8500".
        open_socket: opens a TCP connection.
        ssl_context: speaks TLS when given; it has to offer "h2" by ALPN.
        server_hostname: the name that the certificate has to be for.
        limits: bounds on answers, and the connections' time limits.
        max_connections: at once; calls beyond what the server takes on them wait.
        max_waiting: calls that may wait; one more fails with PoolTimeoutError.
        connect_timeout_s: for TCP and TLS together.

    Attributes:
        opened: connections made since the start.
        resent: calls that were sent again since the server had refused them unseen.
        protocol_errors: count by kind of what the server did wrong.
        bytes_in: as seen above TLS.
        loop, flush_queue, deadlines, receive_view, buffers, waiting, max_streams: for the connections alone.
    """

    def __init__(
        self,
        authority: bytes,
        open_socket: OpenSocket,
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        limits: GrpcLimits = _CLIENT_LIMITS,
        max_connections: int = 8,
        max_waiting: int = 4096,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self.limits = limits
        self.opened = 0
        self.resent = 0
        self.protocol_errors: dict[str, int] = {}
        self.bytes_in = 0
        self.receive_view = memoryview(bytearray(_RECEIVE_BYTES))
        self.buffers = BufferPool()
        self.waiting: deque[ClientCall] = deque()
        self.max_streams = _ASSUMED_STREAMS
        self.loop: asyncio.AbstractEventLoop
        self.flush_queue: FlushQueue
        self.deadlines: Deadlines[ClientCall]
        self._begun = False
        self._where = authority.decode("ascii", "replace")
        self._authority = authority
        self._open_socket = open_socket
        self._ssl_context = ssl_context
        self._server_hostname = server_hostname
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._connect_timeout_s = connect_timeout_s
        self._current: GrpcClientCalls | None = None
        self._connections: set[GrpcClientCalls] = set()
        # Connections that are being opened, with the call that wants one of its own.
        self._opening: dict[asyncio.Task[None], ClientCall | None] = {}
        self._prefixes: dict[bytes, bytes] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    @property
    def open_calls(self) -> int:
        """Calls that are on a connection."""
        return sum(connection.open_streams for connection in self._connections)

    # --- calling ---

    def call(
        self,
        method: bytes,
        metadata: Iterable[Field],
        message: Message,
        *,
        timeout_s: float | None,
        done: Callable[[GrpcAnswer | HttpClientError], None],
        on_bytes: Callable[[], None] | None = None,
    ) -> ClientCall:
        """Make a call.

        Args:
            method: such as b"/package.Service/Method".
            metadata: names in lower case, values printable, those of `-bin` names in base64.
            message: the request; leave it unchanged until the outcome.
            timeout_s: told to the server, and held to here; None for no deadline.
            done: told once how it ended, never from within this call.
            on_bytes: called when bytes of the answer came and it is not whole yet.
        Returns: the call, to be cancelled.
        Raises: ValueError: the method or a field cannot be sent as it is.
        """
        block = self.head(method)
        if timeout_s is not None:
            block += encode_timeout(timeout_s)
        call = CallbackCall(block + encode_metadata(metadata), message, done, on_bytes)
        self.send(call)
        if timeout_s is not None:
            call.expiring = self.deadlines.add(call, monotonic() + timeout_s, grain_s(timeout_s))
        return call

    def head(self, method: bytes) -> bytes:
        """The header fields that every call of a method has, encoded; further ones may follow.

        Raises: ValueError: that is no method's path.
        """
        block = self._prefixes.get(method)
        if block is None:
            block = encode_head(method, self._authority, secure=self._ssl_context is not None)
            if len(self._prefixes) >= _MAX_CACHED:
                self._prefixes.clear()
            self._prefixes[method] = block
        return block

    def send(self, call: ClientCall, *, fresh: bool = False) -> None:
        """Put a call on the wire, or let it wait for a connection.

        Args:
            fresh: on a new connection, which takes the place of those there are; they go with their last call.
        """
        connection = self._current
        if connection is not None and not fresh and connection.has_room:
            connection.begin(call)
            return
        self._begin()
        if self._closed:
            self.loop.call_soon(_tell, call, ClientClosedError(f"the client of {self._where} is closed"))
        elif fresh:
            self._open(call)
        else:
            self._wait(call)

    def warm(self) -> None:
        """Have a connection open or being opened."""
        self._begin()
        if not self._closed and not self._opening and not any(one.usable for one in self._connections):
            self._open(None)

    def retire_connections(self) -> None:
        """Drop the connections that carry no call; those that do take no further ones, and go with their last call."""
        self._current = None
        for connection in list(self._connections):
            connection.retire()

    def close_connections(self) -> None:
        """Drop every connection and what is unsent; calls on them end in ConnectionLostError or ConnectError."""
        for task in list(self._opening):
            task.cancel()
        self._current = None
        for connection in list(self._connections):
            connection.abort()

    async def close(self) -> None:
        """Drop everything, for good."""
        self._closed = True
        tasks = list(self._opening)
        self.close_connections()
        if tasks:
            await asyncio.wait(tasks)
        self._fail_waiting(lambda: ClientClosedError(f"the client of {self._where} is closed"))
        if self._begun:
            self.deadlines.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    # --- calls that wait ---

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.loop = asyncio.get_running_loop()
            self.flush_queue = FlushQueue(self.loop)
            self.deadlines = Deadlines(self.loop)

    def _wait(self, call: ClientCall) -> None:
        for connection in self._connections:
            if connection.has_room:
                self._current = connection
                connection.begin(call)
                return
        if len(self.waiting) >= self._max_waiting:
            error = PoolTimeoutError(f"{self._max_waiting} calls wait for a connection to {self._where} already")
            self.loop.call_soon(_tell, call, error)
            return
        self.waiting.append(call)
        opening = sum(own is None for own in self._opening.values())
        usable = sum(connection.usable for connection in self._connections)
        if not opening and usable < self._max_connections:
            self._open(None)

    def _open(self, own: ClientCall | None) -> None:
        self._opening[self.loop.create_task(self._connect())] = own

    async def _connect(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "it runs as a task"  # noqa: S101
        error: ConnectError
        cause: BaseException | None = None
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connection = await self._open_connection()
        except asyncio.CancelledError:
            error = ConnectError(f"the connection to {self._where} was given up while it was being opened")
        except TimeoutError:
            error = ConnectTimeoutError(f"no connection to {self._where} within {self._connect_timeout_s:.3g} s")
        except (OSError, ConnectError) as problem:
            cause = problem
            error = ConnectError(f"no connection to {self._where}: {_why(problem)}")
        else:
            own = self._opening.pop(task)
            if own is not None:
                # Whoever wants a connection of its own does not trust the others.
                for other in self._connections - {connection}:
                    other.retire()
                if own.state == WAITING:
                    self._begin_late(connection, own)
            self.connection_has_room(connection)
            return
        own = self._opening.pop(task)
        error.__cause__ = cause
        if own is not None:
            _tell(own, error)
        elif not any(connection.usable for connection in self._connections):
            self._fail_waiting(lambda: _like(error))

    async def _open_connection(self) -> GrpcClientConnection:
        sock = await self._open_socket()
        try:
            transport, connection = await self.loop.create_connection(
                lambda: GrpcClientConnection(self),
                sock=sock,
                ssl=self._ssl_context,
                server_hostname=self._server_hostname if self._ssl_context is not None else None,
            )
        except BaseException:
            sock.close()
            raise
        if self._ssl_context is not None:
            tls = transport.get_extra_info("ssl_object")
            if tls is None or tls.selected_alpn_protocol() != "h2":
                connection.abort()
                raise ConnectError("it does not speak HTTP/2 under TLS (ALPN h2)")
        if not connection.usable:
            raise ConnectionResetError("it was closed as soon as it was made")
        connection.take_socket(sock)
        self._connections.add(connection)
        self.opened += 1
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self.limits.sweep_interval_s, self._sweep)
        return connection

    def _fail_waiting(self, error: Callable[[], HttpClientError]) -> None:
        waiting = list(self.waiting)
        self.waiting.clear()
        for call in waiting:
            _tell(call, error())

    def _begin_late(self, connection: GrpcClientCalls, call: ClientCall) -> None:
        connection.begin(call)
        try:
            call.sent()
        except Exception:  # noqa: BLE001 - a caller's fault must not keep others waiting
            _LOG.exception("noting that a call was sent failed")

    def _sweep(self) -> None:
        now_s = monotonic()
        for connection in list(self._connections):
            connection.sweep(now_s)
        self.buffers.sweep()
        # Without a connection there is nothing to look after: the next one starts the sweep again.
        self._sweeper = self.loop.call_later(self.limits.sweep_interval_s, self._sweep) if self._connections else None

    # --- what connections tell ---

    def connection_has_room(self, connection: GrpcClientCalls) -> None:
        """Calls that wait begin on it."""
        if self._current is None or not self._current.has_room:
            self._current = connection
        waiting = self.waiting
        while waiting and connection.has_room:
            call = waiting.popleft()
            if call.state != OVER:
                self._begin_late(connection, call)

    def connection_ended(self, connection: GrpcClientCalls) -> None:
        """It takes no further calls; those that wait for room on it get another one."""
        if self._current is connection:
            self._current = None
        if self.waiting and not self._opening and not self._closed:
            self._open(None)

    def connection_closed(self, connection: GrpcClientCalls) -> None:
        """It is gone."""
        self._connections.discard(connection)
        self.connection_ended(connection)

    def not_executed(self, call: ClientCall) -> None:
        """The server refused a call unseen: once more, elsewhere."""
        if call.resent or self._closed:
            _tell(call, NotExecutedError(f"{self._where} refused the call before it looked at it"))
            return
        call.resent = True
        self.resent += 1
        call.state = WAITING
        call.connection = None
        call.head = None
        call.credit_bytes = 0
        # Never from within the connection's own work: it may be about to end.
        self.loop.call_soon(self._send_again, call)

    def _send_again(self, call: ClientCall) -> None:
        if call.state != OVER:
            self.send(call)

    def count_protocol_error(self, kind: str, reason: str, peer: str) -> None:
        """Count what the server did wrong."""
        self.protocol_errors[kind] = self.protocol_errors.get(kind, 0) + 1
        _LOG.warning("%s (%s): %s: %s", self._where, peer, kind, reason)


def _like(error: ConnectError) -> ConnectError:
    """The same for another call; each has its own traceback."""
    another = type(error)(str(error))
    another.__cause__ = error.__cause__
    return another


def _why(problem: Exception) -> str:
    """The system's own words without those of the loop, which repeat the address."""
    number = getattr(problem, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(problem)


def _tell(call: ClientCall, error: HttpClientError) -> None:
    """A call that is on no connection gets no answer."""
    if call.state != OVER:
        fail_call(call, error)
