"""An HTTP/1.1 client for one origin: a pool of kept-alive connections.

async with HttpClient("127.0.0.1", 8501) as client:
    response = await client.request(b"GET", b"/v2/health/ready", timeout_s=1.0)
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Final, Self

from edgewise.net.errors import (
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    HttpClientError,
    PoolTimeoutError,
    RequestTimeoutError,
)
from edgewise.net.exchange import Body, Header
from edgewise.net.http_client_connection import ClientConnection, HttpResponse, encode_request
from edgewise.net.http_response_head import ResponseHead

_RECEIVE_BYTES: Final = 128 * 1024


class _PooledConnection(ClientConnection):
    """A connection of a client.

    Attributes:
        outcome: where the outcome of the request in flight goes.
    """

    __slots__ = ("_client", "outcome")

    def __init__(
        self, client: "HttpClient", receive_buffer: bytearray, *, max_head_bytes: int, max_body_bytes: int
    ) -> None:
        super().__init__(receive_buffer, max_head_bytes=max_head_bytes, max_body_bytes=max_body_bytes)
        self._client = client
        self.outcome: asyncio.Future[HttpResponse] | None = None

    def on_response(self, head: ResponseHead, body: bytes | bytearray) -> None:
        outcome, self.outcome = self.outcome, None
        if self.usable:
            self._client.release(self)
        if outcome is not None and not outcome.done():
            outcome.set_result(HttpResponse(head.status, head.headers.copy(), body))

    def on_failure(self, error: HttpClientError) -> None:
        outcome, self.outcome = self.outcome, None
        if outcome is not None and not outcome.done():
            outcome.set_exception(error)

    def on_closed(self) -> None:
        self._client.forget(self)


class HttpClient:
    """Sends requests to one origin.

    Args:
        host, port: where the server is.
        ssl_context: speaks TLS when given.
        server_hostname: the name that the certificate has to be for; `host` when None.
        max_connections: at once; further requests wait for one.
        connect_timeout_s: for TCP and TLS together.
        idle_timeout_s: a connection that was idle longer is not used again. Keep it under the server's.
        user_timeout_ms: TCP_USER_TIMEOUT, how long sent bytes may stay unacknowledged before the connection is given
            up; None leaves it to the system.
        max_head_bytes, max_body_bytes: bounds on an answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        max_connections: int = 100,
        connect_timeout_s: float = 5.0,
        idle_timeout_s: float = 60.0,
        user_timeout_ms: int | None = None,
        max_head_bytes: int = 64 * 1024,
        max_body_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections is {max_connections}; it has to be at least 1")
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._server_hostname = (server_hostname or host) if ssl_context is not None else None
        name = f"[{host}]" if ":" in host else host
        default_port = 443 if ssl_context is not None else 80
        self._host_field = (name if port == default_port else f"{name}:{port}").encode("ascii")
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._user_timeout_ms = user_timeout_ms
        self._max_head_bytes = max_head_bytes
        self._max_body_bytes = max_body_bytes
        self._receive_buffer = bytearray(_RECEIVE_BYTES)
        # A slot is held from before a connection is made until it is gone.
        self._slots_used = 0
        self._connections: set[_PooledConnection] = set()
        self._idle: list[tuple[_PooledConnection, float]] = []
        self._waiters: deque[asyncio.Future[_PooledConnection | None]] = deque()
        self._closed = False
        self._all_gone: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def open_connections(self) -> int:
        """Connections open now, idle ones included."""
        return len(self._connections)

    async def request(
        self,
        method: bytes,
        path: bytes,
        headers: Iterable[Header] = (),
        body: Body | list[Body] = b"",
        *,
        timeout_s: float,
        idempotent: bool = False,
    ) -> HttpResponse:
        """Send a request and wait for its whole answer.

        Args:
            method: upper-case, such as b"POST".
            path: with its query, percent-encoded, such as b"/v1/models/pets:predict".
            headers: without Host and Content-Length, which are added.
            body: sent as it is; leave it unchanged until the answer is there. A list is sent part by part.
            timeout_s: for everything: waiting for a connection, connecting, sending, the answer.
            idempotent: sending it twice does no harm. It is then sent once more, on a new connection, when a kept-alive
                one turns out to be closed before a byte of the answer came.
        Returns: the answer, whatever its status.
        Raises: HttpClientError: there is no answer; see `edgewise.net.errors`. ValueError: the request is malformed.
        """
        deadline_s = monotonic() + timeout_s
        parts = encode_request(method, path, self._host_field, headers, body)
        connection, reused = await self._acquire(deadline_s, fresh=False)
        try:
            return await self._send(connection, parts, deadline_s, head_only=method == b"HEAD")
        except ConnectionLostError as error:
            if not reused or not idempotent or error.received_bytes:
                raise
        connection, _ = await self._acquire(deadline_s, fresh=True)
        return await self._send(connection, parts, deadline_s, head_only=method == b"HEAD")

    async def close(self) -> None:
        """Cut every connection; requests in flight end in ClientClosedError or ConnectionLostError."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ClientClosedError("the client was closed"))
        self._waiters.clear()
        self._idle.clear()
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            self._all_gone = asyncio.get_running_loop().create_future()
            await self._all_gone

    # --- one request ---

    async def _send(
        self, connection: _PooledConnection, parts: list[Body], deadline_s: float, *, head_only: bool
    ) -> HttpResponse:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[HttpResponse] = loop.create_future()
        connection.outcome = outcome
        connection.send(parts, head_only=head_only)
        timer = loop.call_later(max(0.0, deadline_s - monotonic()), self._time_out, connection, outcome)
        try:
            return await outcome
        except asyncio.CancelledError:
            if connection.busy:
                connection.cancel()
            raise
        finally:
            timer.cancel()

    @staticmethod
    def _time_out(connection: _PooledConnection, outcome: asyncio.Future[HttpResponse]) -> None:
        if not outcome.done():
            received_bytes = connection.received_bytes
            connection.cancel()
            outcome.set_exception(
                RequestTimeoutError(
                    f"no whole answer before the deadline ({received_bytes} bytes came)", received_bytes=received_bytes
                )
            )

    # --- the pool ---

    async def _acquire(self, deadline_s: float, *, fresh: bool) -> tuple[_PooledConnection, bool]:
        """A connection for one request, and whether it has been used before."""
        while True:
            if self._closed:
                raise ClientClosedError("the client was closed")
            oldest_s = monotonic() - self._idle_timeout_s
            while self._idle:
                connection, since_s = self._idle.pop()
                if fresh or since_s < oldest_s:
                    connection.abort()
                elif connection.usable:
                    return connection, True
            if self._slots_used < self._max_connections:
                self._slots_used += 1
                return await self._connect(deadline_s), False
            given = await self._wait_for_connection(deadline_s)
            if given is None:
                return await self._connect(deadline_s), False
            if given.usable:
                return given, True

    async def _wait_for_connection(self, deadline_s: float) -> _PooledConnection | None:
        """A connection that became idle, or None with a slot taken for a new one."""
        waiter: asyncio.Future[_PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(max(0.0, deadline_s - monotonic())):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise PoolTimeoutError(
                    f"all {self._max_connections} connections stayed busy until the deadline"
                ) from None
            raise

    async def _connect(self, deadline_s: float) -> _PooledConnection:
        """Open a connection; the caller has taken a slot for it."""
        loop = asyncio.get_running_loop()
        where = f"{self._host}:{self._port}"
        timeout_s = max(0.0, min(self._connect_timeout_s, deadline_s - monotonic()))
        try:
            async with asyncio.timeout(timeout_s):
                transport, connection = await loop.create_connection(
                    self._make_connection,
                    self._host,
                    self._port,
                    ssl=self._ssl_context,
                    server_hostname=self._server_hostname,
                )
        except BaseException as error:
            self._free_slot()
            if isinstance(error, TimeoutError):
                raise ConnectTimeoutError(f"no connection to {where} within {timeout_s:.3g} s") from error
            if isinstance(error, OSError):
                raise ConnectError(f"no connection to {where}: {error}") from error
            raise
        if not connection.usable:
            self._free_slot()
            raise ConnectError(f"{where} closed the connection as soon as it was made")
        self._connections.add(connection)
        if self._closed:
            connection.abort()
            raise ClientClosedError("the client was closed")
        if self._user_timeout_ms is not None:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._user_timeout_ms)
        return connection

    def _make_connection(self) -> _PooledConnection:
        return _PooledConnection(
            self, self._receive_buffer, max_head_bytes=self._max_head_bytes, max_body_bytes=self._max_body_bytes
        )

    def release(self, connection: _PooledConnection) -> None:
        """Give a connection to whoever waits longest, or keep it; for connections alone."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append((connection, monotonic()))

    def _give_back(self, given: _PooledConnection | None) -> None:
        """Return what a waiter got and cannot use any more."""
        if given is None:
            self._free_slot()
        elif given.usable:
            self.release(given)

    def forget(self, connection: _PooledConnection) -> None:
        """Note that a connection is gone; for connections alone."""
        if connection not in self._connections:
            return  # it was never handed over; whoever connects frees the slot
        self._connections.discard(connection)
        self._idle = [entry for entry in self._idle if entry[0] is not connection]
        self._free_slot()
        if self._all_gone is not None and not self._connections and not self._all_gone.done():
            self._all_gone.set_result(None)

    def _free_slot(self) -> None:
        """Let whoever waits longest open a connection in the slot that became free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._slots_used -= 1
