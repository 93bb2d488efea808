"""TCP connections for clients that read and write their sockets themselves."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any


async def open_socket(host: str, port: int) -> socket.socket:
    """A connection to a name or an address.

    Raises: OSError: there is none to be had; of several addresses, what the last one said.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await connect((family, address) for family, _, _, _, address in found)


async def connect(addresses: Iterable[tuple[int, Any]]) -> socket.socket:
    """A connection to the first of some addresses that takes one; it does not block, and sends small messages at once.

    Args:
        addresses: family and address, as `getaddrinfo` has them.
    Raises: OSError: none does; what the last one said.
    """
    problem = OSError("there is no address")
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise problem
