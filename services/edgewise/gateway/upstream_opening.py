"""How a connection of an upstream's pool is opened: TCP to one address after the other, then TLS."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from edgewise.gateway.addresses import Addresses, SocketAddress
from edgewise.gateway.dialing import dial
from edgewise.gateway.upstream_connection import UpstreamConnection
from edgewise.net.errors import ConnectError, ConnectTimeoutError
from edgewise.net.http_response_head import KnownHeads

if TYPE_CHECKING:
    from edgewise.gateway.upstream import HttpUpstream

_RECEIVE_BYTES: Final = 256 * 1024


class Opening:
    """Opens connections to one origin.

    Args:
        where: names the origin in errors.
        addresses: where connections lead.
        ssl_context: speaks TLS when given.
        server_hostname: the name that the certificate has to be for.
        connect_timeout_s: for TCP and TLS together.
        user_timeout_ms: TCP_USER_TIMEOUT, how long sent bytes may stay unacknowledged.
        limits: on an answer's head and on its body, in bytes.
    """

    def __init__(
        self,
        where: str,
        addresses: Addresses,
        *,
        ssl_context: ssl.SSLContext | None,
        server_hostname: str | None,
        connect_timeout_s: float,
        user_timeout_ms: int,
        limits: tuple[int, int],
    ) -> None:
        self._where = where
        self._addresses = addresses
        self._ssl_context = ssl_context
        self._server_hostname = server_hostname
        self._connect_timeout_s = connect_timeout_s
        self._user_timeout_ms = user_timeout_ms
        self._limits = limits
        # All connections are used on one thread, and what they receive is taken out before the next one does.
        self._receive_buffer = bytearray(_RECEIVE_BYTES)
        self._known_heads = KnownHeads()

    async def open(self, upstream: "HttpUpstream") -> UpstreamConnection:
        """A new connection, which its pool was told of.

        Raises: ConnectError: there is none to be had; its cause says why.
        """
        known = self._addresses.known
        if not known:
            raise ConnectError(f"no address of {self._where} is known")
        problem: OSError | None = None
        for address in known:
            try:
                async with asyncio.timeout(self._connect_timeout_s / len(known)):
                    connection = await self._open_to(address, upstream)
            except OSError as error:
                problem = error
            else:
                self._addresses.worked(address)
                return connection
        if isinstance(problem, TimeoutError):
            raise ConnectTimeoutError(
                f"no connection to {self._where} within {self._connect_timeout_s:.3g} s"
            ) from problem
        raise ConnectError(f"no connection to {self._where}: {problem}") from problem

    async def _open_to(self, address: SocketAddress, upstream: "HttpUpstream") -> UpstreamConnection:
        def made() -> UpstreamConnection:
            return UpstreamConnection(upstream, self._receive_buffer, self._limits, self._known_heads)

        sock = await dial(address, user_timeout_ms=self._user_timeout_ms)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                made, sock=sock, ssl=self._ssl_context, server_hostname=self._server_hostname
            )
        except BaseException:
            sock.close()
            raise
        if not connection.usable:
            raise ConnectionResetError("it was closed as soon as it was made")
        connection.take_socket(sock)
        # At once: it may be closed before whoever waits for it hears.
        upstream.connection_opened(connection)
        return connection
