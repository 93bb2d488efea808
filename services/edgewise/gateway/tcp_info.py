"""What the system tells of a TCP connection."""

import socket


def tcp_info(sock: socket.socket, size_bytes: int) -> bytes | None:
    """The beginning of struct tcp_info; None where the system does not tell so much.

    Its fields keep their places from one kernel to the next.

    Source: Linux, include/uapi/linux/tcp.h.
    """
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, option, size_bytes)
    except OSError:
        return None  # it was closed
    return info if len(info) == size_bytes else None
