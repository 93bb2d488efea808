"""Where a site's name leads: looked up away from the loop, and kept when later lookups fail.

No request ever waits for a lookup. A thread of our own asks, since lookups that hang would fill asyncio's executor.
"""

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

_LOG: Final = logging.getLogger(__name__)
_REFRESH_PAUSE_S: Final = 5.0

SocketAddress = tuple[int, tuple[str, int] | tuple[str, int, int, int]]
"""Address family and what `socket.connect` takes."""

Lookup = Callable[[str, int], list[SocketAddress]]


def look_up(host: str, port: int) -> list[SocketAddress]:
    """Ask the system; blocks.

    Raises: OSError: there is no answer.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} can be no name: {error}") from error
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))  # type: ignore[misc]


class Addresses:
    """The addresses of one host and port.

    Args:
        host: a name or an IP address.
        lookup: asks; replaced in tests.

    Attributes:
        known: the last good ones, the one that was connected to last in front; empty before the first good lookup.
    """

    def __init__(self, host: str, port: int, *, lookup: Lookup = look_up) -> None:
        self._host = host
        self._port = port
        self._lookup = lookup
        self._thread: threading.Thread | None = None
        self._asked_s = float("-inf")
        self.known: tuple[SocketAddress, ...] = ()
        try:
            number = ipaddress.ip_address(host)
        except ValueError:
            self._is_name = True
        else:
            self._is_name = False
            if number.version == 4:
                self.known = ((socket.AF_INET, (host, port)),)
            else:
                self.known = ((socket.AF_INET6, (host, port, 0, 0)),)

    async def resolve(self, timeout_s: float) -> bool:
        """Wait for a first lookup.

        Returns: whether an address is known; when not, later refreshes may still find one.
        """
        if not self.known:
            done = asyncio.Event()
            self.refresh(asyncio.get_running_loop(), done.set)
            try:
                async with asyncio.timeout(timeout_s):
                    await done.wait()
            except TimeoutError:
                _LOG.warning("no address of %s within %g s; still looking", self._host, timeout_s)
        return bool(self.known)

    def refresh(self, loop: asyncio.AbstractEventLoop, done: Callable[[], None] | None = None) -> None:
        """Look up again in a thread, unless one is at it or was a moment ago. Never blocks.

        Args:
            done: called on the loop when there is an answer or none, if a lookup was begun.
        """
        now_s = monotonic()
        if not self._is_name or self._thread is not None or now_s - self._asked_s < _REFRESH_PAUSE_S:
            return
        self._asked_s = now_s

        def ask() -> None:
            found: list[SocketAddress] = []
            problem = ""
            try:
                found = self._lookup(self._host, self._port)
            except OSError as error:
                problem = str(error)
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._take, found, problem, done)

        self._thread = threading.Thread(target=ask, name=f"look up {self._host}", daemon=True)
        self._thread.start()

    def worked(self, address: SocketAddress) -> None:
        """A connection to this one was made: try it first from now on."""
        if self.known and self.known[0] != address and address in self.known:
            self.known = (address, *(other for other in self.known if other != address))

    def _take(self, found: list[SocketAddress], problem: str, done: Callable[[], None] | None) -> None:
        self._thread = None
        if found:
            first = self.known[0] if self.known else None
            # The one in use stays in front while it is still one of them.
            self.known = tuple(sorted(found, key=lambda address: address != first))
        else:
            kept = "keeping the last good addresses" if self.known else "no address is known"
            _LOG.warning("looking up %s failed (%s); %s", self._host, problem or "nothing found", kept)
        if done is not None:
            done()


class EndpointAddresses(Addresses):
    """The one address of an endpoint. Whoever found it is told when no connection can be made.

    Args:
        host: an IP address.
        look_sooner: is called then.
    """

    def __init__(self, host: str, port: int, look_sooner: Callable[[], None] | None) -> None:
        super().__init__(host, port)
        self._look_sooner = look_sooner

    def refresh(self, loop: asyncio.AbstractEventLoop, done: Callable[[], None] | None = None) -> None:
        """There is nothing to look up here."""
        del loop, done
        if self._look_sooner is not None:
            self._look_sooner()
