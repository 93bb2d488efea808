"""The socket that clients connect to, and what it does with them: take them, refuse them, or leave them unanswered."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

_BACKLOG: Final = 1024
_AT_A_TIME: Final = 64


class Welcome(Enum):
    """What happens to a client that connects."""

    ACCEPT = auto()
    REFUSE = auto()
    SILENT = auto()


class Listener:
    """Listens on one address.

    Left unanswered means that not even the kernel answers: its queue of connections that wait to be accepted is made as
    short as can be and filled up from here, whereupon Linux drops each further SYN. Clients send theirs again after 1 s,
    3 s, 7 s and so on, and get through when the queue is emptied.

    Args:
        accepted: called with each new connection.

    Attributes:
        address: host and port; the port is the one that was bound.
    """

    def __init__(self, accepted: Callable[[socket.socket], None]) -> None:
        self._accepted = accepted
        self._welcome = Welcome.REFUSE
        self._socket: socket.socket | None = None
        self._fillers: list[socket.socket] = []
        self._family = socket.AF_INET
        # Bound and never listening: it keeps the port while the listening socket is closed.
        self._keeper: socket.socket | None = None
        self.address = ("", 0)

    def open(self, host: str, port: int) -> None:
        """Listen.

        Raises: OSError: the address cannot be used.
        """
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self._family, _, _, _, address = infos[0]
        self._keeper = self._bound(address)
        name = self._keeper.getsockname()
        self.address = (name[0], name[1])
        try:
            self.welcome(Welcome.ACCEPT)
        except OSError:
            self.close()
            raise

    def welcome(self, welcome: Welcome) -> None:
        """Do this with new clients from now on.

        Raises: OSError: the address was taken by somebody else while clients were refused.
        """
        if welcome is self._welcome:
            return
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.remove_reader(self._socket)
        if welcome is Welcome.REFUSE:
            self._let_go()
        else:
            if self._socket is None:
                assert self._keeper is not None  # noqa: S101 - open() has been called
                self._socket = self._bound(self._keeper.getsockname())
            if welcome is Welcome.ACCEPT:
                self._socket.listen(_BACKLOG)
                loop.add_reader(self._socket, self._accept)
            else:
                self._accept()
                self._socket.listen(1)
                self._fill()
        self._welcome = welcome
        if welcome is Welcome.ACCEPT:
            self._accept()
            self._empty()

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
        self._let_go()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _bound(self, address: tuple[object, ...]) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        return sock

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._empty()

    def _fill(self) -> None:
        """Fill the queue: a backlog of 1 has room for two."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        for _ in range(2):
            filler = socket.socket(self._family, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._fillers.append(filler)
            filler.connect_ex((host, port))

    def _empty(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    def _accept(self) -> None:
        """Take those who wait."""
        assert self._socket is not None  # noqa: S101 - it is read from
        ours = self._filler_names()
        for _ in range(_AT_A_TIME):
            try:
                sock, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # Out of files: what waits is tried again when the loop next looks.
                return
            if peer[:2] in ours:
                sock.close()
                continue
            sock.setblocking(False)
            self._accepted(sock)

    def _filler_names(self) -> set[tuple[str, int]]:
        names = set()
        for filler in self._fillers:
            with contextlib.suppress(OSError):
                names.add(filler.getsockname()[:2])
        return names
