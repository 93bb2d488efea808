"""TCP ports for servers that are told where to listen, and connections to them."""

import asyncio
import socket


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def open_socket(host: str, port: int) -> socket.socket:
    """A TCP connection to a name or an address.

    Raises: OSError: there is none to be had.
    """
    loop = asyncio.get_running_loop()
    problem: OSError = OSError(f"no address of {host} is known")
    for family, _, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise problem
