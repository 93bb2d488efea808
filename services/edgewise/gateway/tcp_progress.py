"""How much of what was sent over a TCP connection has arrived, as the system tells it."""

import socket
import sys
from typing import Final

# Of Linux' struct tcp_info, whose fields keep their places: tcpi_bytes_acked, 64 bits.
_ACKNOWLEDGED: Final = slice(120, 128)


def acknowledged_bytes(sock: socket.socket) -> int | None:
    """What the other side's system has acknowledged since the connection was made; None where ours does not tell.

    Source: Linux, include/uapi/linux/tcp.h, struct tcp_info.
    """
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, option, _ACKNOWLEDGED.stop)
    except OSError:
        return None  # it was closed
    field = info[_ACKNOWLEDGED]
    return int.from_bytes(field, sys.byteorder) if len(field) == 8 else None
