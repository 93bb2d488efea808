"""Where the endpoints of a site come from: the port, and what needs no library for it.

A source tells what it finds on the loop's thread, and never lets anybody wait: requests go to the endpoints that are known.
Each source decides by itself how far it is to be believed when it suddenly finds nothing.
"""

import asyncio
import random
import socket
import threading
from time import monotonic
from typing import Final, Protocol

from edgewise.gateway.addresses import Lookup, look_up
from edgewise.gateway.endpoints import Endpoint

_MAX_HUNG: Final = 3
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})


class EndpointListener(Protocol):
    """Who is told, on the loop's thread."""

    def found(self, endpoints: tuple[Endpoint, ...]) -> None:
        """These take requests from now on, and no others; () is to be obeyed as well."""
        ...

    def failed(self, why: str) -> None:
        """The source could not be asked; what it found last still holds."""
        ...


class EndpointSource(Protocol):
    """Finds the endpoints of one site, and goes on looking."""

    def start(self, listener: EndpointListener) -> None:
        """Begin to look; called once, on the loop's thread."""
        ...

    def hint(self) -> None:
        """A connection to an endpoint could not be made: look sooner than planned. Never blocks."""
        ...

    def close(self) -> None:
        """Look no more; nothing is told afterwards."""
        ...


class DnsSource:
    """Every address of a name is an endpoint, IPv4 and IPv6.

    Lookups run in threads of their own, one at a time: one that hangs is left behind after a while, three of them at most. When DNS
    cannot be asked the last endpoints stay for good. When it says that the name has no address they stay for `empty_kept_s`: a
    resolver that lost its records says so as well, and links show by themselves that nobody answers.

    Args:
        host, port: what is looked up, and the port of all endpoints.
        lookup: asks; blocks.
        interval_s: between lookups, give or take a tenth.
        soonest_s: between lookups when connections fail.
        hung_s: a lookup that takes longer is left behind.
        empty_kept_s: endpoints outlive the name by so much.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        lookup: Lookup = look_up,
        interval_s: float = 5.0,
        soonest_s: float = 1.0,
        hung_s: float = 10.0,
        empty_kept_s: float = 300.0,
    ) -> None:
        self._host = host
        self._port = port
        self._lookup = lookup
        self._interval_s = interval_s
        self._soonest_s = soonest_s
        self._hung_s = hung_s
        self._empty_kept_s = empty_kept_s
        self._listener: EndpointListener | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = float("inf")
        self._asked_s = float("-inf")
        self._empty_since_s: float | None = None
        # Once is enough: that a name still has no address is no news, and no sign that DNS is well again.
        self._told_empty = False
        self._asking: threading.Thread | None = None
        self._hung: list[threading.Thread] = []

    def start(self, listener: EndpointListener) -> None:
        """See `EndpointSource`."""
        self._listener = listener
        self._empty_since_s = None
        self._told_empty = False
        self._ask()

    def hint(self) -> None:
        """See `EndpointSource`."""
        if self._listener is not None and self._asking is None:
            self._ask_in(max(0.0, self._asked_s + self._soonest_s - monotonic()))

    def close(self) -> None:
        """See `EndpointSource`."""
        self._listener = None
        self._asking = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask_in(self, seconds: float) -> None:
        due_s = monotonic() + seconds
        if self._timer is not None:
            if self._due_s <= due_s:
                return
            self._timer.cancel()
        self._due_s = due_s
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ask)

    def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        if len(self._hung) >= _MAX_HUNG:
            self._timer = None
            self._ask_in(self._hung_s)
            return
        self._asked_s = monotonic()

        def ask() -> None:
            found: tuple[Endpoint, ...] = ()
            problem: OSError | None = None
            try:
                found = tuple(
                    sorted({Endpoint(name[0], self._port) for _, name in self._lookup(self._host, self._port)})
                )
            except OSError as error:
                problem = error
            try:
                loop.call_soon_threadsafe(self._take, thread, found, problem)
            except RuntimeError:
                return  # the loop is closed

        thread = self._asking = threading.Thread(target=ask, name=f"look up {self._host}", daemon=True)
        thread.start()
        self._timer = loop.call_later(self._hung_s, self._leave_behind)

    def _leave_behind(self) -> None:
        """The lookup has not come back."""
        self._timer = None
        if self._asking is not None and self._listener is not None:
            self._hung.append(self._asking)
            self._asking = None
            self._listener.failed(f"looking up {self._host} took longer than {self._hung_s:g} s")
            self._ask()

    def _take(self, thread: threading.Thread, found: tuple[Endpoint, ...], problem: OSError | None) -> None:
        listener = self._listener
        if listener is None or thread is not self._asking:
            return
        self._asking = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ask_in(self._interval_s * random.uniform(0.9, 1.1))  # noqa: S311 - spreads lookups, keeps no secret
        if found:
            self._empty_since_s = None
            self._told_empty = False
            listener.found(found)
            return
        if problem is None or (isinstance(problem, socket.gaierror) and problem.errno in _NO_SUCH_NAME):
            now_s = monotonic()
            if self._empty_since_s is None:
                self._empty_since_s = now_s
            if now_s - self._empty_since_s >= self._empty_kept_s and not self._told_empty:
                self._told_empty = True
                listener.found(())
            listener.failed(f"the name {self._host} has no address")
        else:
            # Only an unbroken row of such answers is to be believed.
            self._empty_since_s = None
            listener.failed(f"looking up {self._host} failed ({problem})")
