"""How much of what was sent over a TCP connection has arrived, as the system tells it."""

import socket
import sys
from typing import Final

from edgewise.gateway.tcp_info import tcp_info

# tcpi_bytes_acked, 64 bits.
_ACKNOWLEDGED: Final = slice(120, 128)


def acknowledged_bytes(sock: socket.socket) -> int | None:
    """What the other side's system has acknowledged since the connection was made; None where ours does not tell."""
    info = tcp_info(sock, _ACKNOWLEDGED.stop)
    return None if info is None else int.from_bytes(info[_ACKNOWLEDGED], sys.byteorder)
