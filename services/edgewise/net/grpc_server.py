"""The gRPC server: listens, keeps connections and calls to their limits, drains.

server = GrpcServer(lookup, GrpcLimits())
await server.start("127.0.0.1", 8500)
...
server.announce_close()          # clients open their next calls elsewhere
await server.stop_accepting()
await server.drain(timeout_s=10)
await server.close()
"""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edgewise.net.grpc_call import Call
from edgewise.net.grpc_connection import GrpcConnection
from edgewise.net.grpc_deadlines import Deadlines
from edgewise.net.grpc_exchange import Method, MethodLookup
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.http2_output import FlushQueue
from edgewise.net.stream_server import StreamServer

_LOG: Final = logging.getLogger(__name__)

ProtocolErrorHook = Callable[[str, str, str], None]


class GrpcServer(StreamServer[GrpcConnection, str]):
    """Serves gRPC over HTTP/2 on one event loop.

    Args:
        lookup: finds the method of a call; called for each, on the loop.
        limits: what one client may cost.
        ssl_context: serves TLS when given; it has to offer "h2" by ALPN, since gRPC clients insist on it.
        on_protocol_error: called with the kind of error, what was wrong and the peer.

    Attributes:
        calls: calls that were handed to a method, or are being received for one.
        calls_refused: answered without one: no such method, not gRPC, too many calls.
        open_calls: calls that wait for their answer.
        handler_errors: calls whose method raised.
        protocol_errors: count by kind (the names of HTTP/2's error codes, and a few more) of what clients did wrong.
        connections_accepted, connections_refused: since the start; the second are part of the first.
        held_bytes: memory that large messages take now.
        bytes_in, bytes_out: as seen above TLS.
        closing: the end has been announced.
    """

    limits: GrpcLimits

    def __init__(
        self,
        lookup: MethodLookup,
        limits: GrpcLimits | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        on_protocol_error: ProtocolErrorHook | None = None,
    ) -> None:
        super().__init__(limits if limits is not None else GrpcLimits(), ssl_context, on_protocol_error)
        self.flush_queue: FlushQueue
        self.deadlines: Deadlines[Call]
        self.calls = 0
        self.calls_refused = 0
        self.open_calls = 0
        self.handler_errors = 0
        self.held_bytes = 0
        self._bytes_out = 0
        self._lookup = lookup

    def _connect(self) -> GrpcConnection:
        return GrpcConnection(self)

    # --- listening ---

    async def start_unix(self, path: Path, *, backlog: int = 1024) -> None:
        """Listen on a Unix socket, without TLS; a socket left over from a dead process is replaced.

        Raises: OSError: the path cannot be used.
        """
        await self._listen_unix(path, None, backlog)

    def _begin(self) -> None:
        super()._begin()
        if not self._listeners:
            self.flush_queue = FlushQueue(self.loop)
            self.deadlines = Deadlines(self.loop)

    @property
    def bytes_out(self) -> int:
        """Bytes written since the start, as seen above TLS."""
        return self._bytes_out + sum(connection.outflow.written_bytes for connection in self._connections)

    # --- ending ---

    def announce_close(self) -> None:
        """Tell the clients that are connected to open their next calls elsewhere (GOAWAY); open ones are served."""
        self.closing = True
        for connection in list(self._connections):
            connection.announce_close()

    async def drain(self, timeout_s: float) -> int:
        """Announce the end, end streaming calls that never end by themselves, and wait for the answers of the others.

        Args:
            timeout_s: how long to wait at most.
        Returns: connections still open at the end; 0 when everything was answered.
        """
        self.announce_close()
        for connection in list(self._connections):
            connection.end_streaming_calls()
        return await self._wait_for_last(timeout_s)

    def _ended(self) -> None:
        self.deadlines.close()

    # --- what connections ask and report ---

    def find_method(self, name: str) -> Method | None:
        """The method of that name; None when there is none."""
        try:
            return self._lookup(name)
        except Exception:  # noqa: BLE001 - the front door's fault must not reach the loop
            _LOG.exception("the lookup of a method failed")
            return None

    def connection_closed(self, connection: GrpcConnection) -> None:
        """Forget a connection, but not what it has sent."""
        super().connection_closed(connection)
        self._bytes_out += connection.outflow.written_bytes
