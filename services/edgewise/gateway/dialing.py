"""TCP connections to sites, made so that they are worth having."""

import asyncio
import socket
from typing import Final

from edgewise.gateway.addresses import SocketAddress
from edgewise.gateway.tcp_info import tcp_info

# tcpi_total_retrans, 32 bits.
_RETRANSMITTED: Final = slice(100, 104)
_NEVER: Final = bytes(4)


async def dial(address: SocketAddress, *, user_timeout_ms: int) -> socket.socket:
    """A connected socket at its full pace.

    A connection whose handshake had to be sent again, as one that was begun in an outage, starts with a window of one
    segment, and a large request on it takes several round trips more. It is closed and made once more.

    Args:
        address: family and name.
        user_timeout_ms: TCP_USER_TIMEOUT, how long sent bytes may stay unacknowledged.
    Raises: OSError: there is no connection.
    """
    connected = await _connect(address, user_timeout_ms)
    info = tcp_info(connected, _RETRANSMITTED.stop)
    if info is not None and info[_RETRANSMITTED] != _NEVER:
        connected.close()
        connected = await _connect(address, user_timeout_ms)
    return connected


async def _connect(address: SocketAddress, user_timeout_ms: int) -> socket.socket:
    family, name = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
        await asyncio.get_running_loop().sock_connect(sock, name)
    except BaseException:
        sock.close()
        raise
    return sock
