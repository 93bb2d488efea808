"""What servers of any protocol share: listening, keeping connections to their number and their time, ending.

A subclass makes the connections and says what they speak. Connections use the server's attributes directly, and call it
only when they open, close or fail.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from edgewise.net.buffer_pool import BufferPool

_LOG: Final = logging.getLogger(__name__)
_RECEIVE_BYTES: Final = 256 * 1024
# Refused connections that may linger to be told so at once; more are cut off.
_MAX_LINGERING_REFUSALS: Final = 64


class StreamConnection(Protocol):
    """What the server asks of a connection."""

    def refuse(self, reason: str) -> None:
        """Tell the client that it is one too many, and close."""

    def abort(self) -> None:
        """Close at once; unsent bytes are dropped and what is in flight is cancelled."""

    def sweep(self, now_s: float) -> None:
        """Hold the connection to its time limits; `now_s` is of the monotonic clock."""


class StreamLimits(Protocol):
    """What the server has to know of its limits."""

    @property
    def max_connections(self) -> int:
        """Open at once; one more is refused."""

    @property
    def header_timeout_s(self) -> float:
        """How long a TLS handshake may take."""

    @property
    def linger_timeout_s(self) -> float:
        """How long TLS waits for the other side's goodbye."""

    @property
    def sweep_interval_s(self) -> float:
        """How often connections are held to their time limits."""


ConnectionT = TypeVar("ConnectionT", bound=StreamConnection)
# What a protocol calls its errors: a status, a name.
ErrorKindT = TypeVar("ErrorKindT")


class StreamServer(ABC, Generic[ConnectionT, ErrorKindT]):
    """Listens on one event loop and looks after the connections.

    Args:
        limits: what one client may cost.
        ssl_context: serves TLS on TCP when given.
        on_protocol_error: called with the kind of error, what was wrong and the peer.

    Attributes:
        protocol_errors: count by kind of what clients did wrong.
        connections_accepted, connections_refused: since the start; the second are part of the first.
        bytes_in: as seen above TLS.
        closing: the end has been announced.
        receive_buffer, receive_view: where connections receive. Filled and used up within one callback of the loop, so
            that all of them share it.
        buffers: for what is too long for that.
    """

    limits: StreamLimits

    def __init__(
        self,
        limits: StreamLimits,
        ssl_context: ssl.SSLContext | None,
        on_protocol_error: Callable[[ErrorKindT, str, str], None] | None,
    ) -> None:
        self.limits = limits
        self.receive_buffer = bytearray(_RECEIVE_BYTES)
        self.receive_view = memoryview(self.receive_buffer)
        self.buffers = BufferPool()
        self.loop: asyncio.AbstractEventLoop
        self.closing = False
        self.protocol_errors: dict[ErrorKindT, int] = {}
        self.connections_accepted = 0
        self.connections_refused = 0
        self.bytes_in = 0
        self._ssl_context = ssl_context
        self._on_protocol_error = on_protocol_error
        self._listeners: list[asyncio.Server] = []
        self._unix_paths: list[Path] = []
        self._connections: set[ConnectionT] = set()
        self._refused: set[ConnectionT] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None

    @abstractmethod
    def _connect(self) -> asyncio.BaseProtocol:
        """A connection for a client that has just been accepted."""

    # --- listening ---

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, *, reuse_port: bool = False, backlog: int = 1024
    ) -> int:
        """Listen on TCP.

        Args:
            host: address or name; "" for all interfaces.
            port: 0 picks a free one.
            reuse_port: SO_REUSEPORT, for several processes on one port.
            backlog: connections that may wait to be accepted.
        Returns: the port listened on.
        Raises: OSError: the address cannot be used.
        """
        self._begin()
        listener = await self.loop.create_server(
            self._connect,
            host or None,
            port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self.limits.header_timeout_s if self._ssl_context else None,
            ssl_shutdown_timeout=self.limits.linger_timeout_s if self._ssl_context else None,
            reuse_port=reuse_port,
            backlog=backlog,
        )
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def _listen_unix(self, path: Path, ssl_context: ssl.SSLContext | None, backlog: int) -> None:
        """Listen on a Unix socket.

        Raises: OSError: the path cannot be used.
        """
        self._begin()
        listener = await self.loop.create_unix_server(self._connect, str(path), ssl=ssl_context, backlog=backlog)
        self._listeners.append(listener)
        self._unix_paths.append(path)

    def _begin(self) -> None:
        """Take what listening needs of the running loop."""
        self.loop = asyncio.get_running_loop()

    @property
    def port(self) -> int:
        """The first TCP port listened on. Raises LookupError when there is none."""
        for listener in self._listeners:
            for sock in listener.sockets:
                name = sock.getsockname()
                if isinstance(name, tuple):
                    return int(name[1])
        raise LookupError("the server listens on no TCP port")

    @property
    def open_connections(self) -> int:
        """Connections open now, refused ones that still linger included."""
        return len(self._connections) + len(self._refused)

    # --- ending ---

    async def stop_accepting(self) -> None:
        """Close the listening sockets, after what already waited on them has been taken."""
        self.closing = True
        for _ in range(2):
            await asyncio.sleep(0)
        for listener in self._listeners:
            listener.close()
        for path in self._unix_paths:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        self._unix_paths.clear()

    async def _wait_for_last(self, timeout_s: float | None) -> int:
        """Wait until no connection is open, for that long at most; None waits without end. Returns how many are."""
        if self.open_connections:
            self._drained = self.loop.create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._drained
            self._drained = None
        return self.open_connections

    async def close(self) -> None:
        """Stop listening and cut every connection; requests or calls in flight are cancelled."""
        await self.stop_accepting()
        for connection in [*self._connections, *self._refused]:
            connection.abort()
        await self._wait_for_last(None)
        for listener in self._listeners:
            await listener.wait_closed()
        if self._listeners:
            self._ended()
        self._listeners.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _ended(self) -> None:
        """Let go of what `_begin` took, now that all connections are closed."""

    # --- what connections report ---

    def connection_opened(self, connection: ConnectionT) -> None:
        """Take a new connection in, or refuse it when there are too many."""
        self.connections_accepted += 1
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self.limits.sweep_interval_s, self._sweep)
        if len(self._connections) < self.limits.max_connections:
            self._connections.add(connection)
            return
        self.connections_refused += 1
        self._refused.add(connection)
        if len(self._refused) > _MAX_LINGERING_REFUSALS:
            connection.abort()
        else:
            connection.refuse("too many connections; try again later")

    def connection_closed(self, connection: ConnectionT) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._refused.discard(connection)
        if self._drained is not None and not self.open_connections and not self._drained.done():
            self._drained.set_result(None)

    def count_protocol_error(self, kind: ErrorKindT, reason: str, peer: str) -> None:
        """Count what a client did wrong and tell the hook."""
        self.protocol_errors[kind] = self.protocol_errors.get(kind, 0) + 1
        if self._on_protocol_error is not None:
            try:
                self._on_protocol_error(kind, reason, peer)
            except Exception:  # noqa: BLE001 - a hook's fault must not reach the loop
                _LOG.exception("on_protocol_error failed")

    def _sweep(self) -> None:
        now_s = time.monotonic()
        for connection in [*self._connections, *self._refused]:
            connection.sweep(now_s)
        if self.open_connections:
            self.buffers.sweep()
        else:
            self.buffers.clear()
        # An idle server sleeps: the next connection starts the sweep again.
        self._sweeper = (
            self.loop.call_later(self.limits.sweep_interval_s, self._sweep) if self.open_connections else None
        )
