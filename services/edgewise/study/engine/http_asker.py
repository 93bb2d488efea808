"""Requests over HTTP/1.1: a pool of kept-alive connections, the one used last first."""

import asyncio
import contextlib
import math
import socket
from time import monotonic_ns
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.net.exchange import Body
from edgewise.net.http_client_connection import encode_request
from edgewise.net.http_response_head import KnownHeads, ResponseHead
from edgewise.study.engine.asker import Line
from edgewise.study.engine.http_connection import HttpConnection
from edgewise.study.engine.job import Job, State
from edgewise.study.engine.ledger import Ledger, Origin

SocketAddress = tuple[socket.AddressFamily, tuple[object, ...]]

_RECEIVE_BYTES: Final = 128 * 1024
_STALE_AFTER_NS: Final = 1_000_000_000
_CONNECT_TIMEOUT_S: Final = 5.0
_START_TIMEOUT_S: Final = 3.0
_TEXT_BYTES: Final = 300
_MS: Final = 1_000_000
_REJECTED: Final = frozenset({429, 503})
_MAX_VERSION: Final = 2**31 - 1


class HttpAsker:
    """See `Asker`.

    Args:
        addresses: of the target, in the order in which they are tried.
    """

    def __init__(self, job: Job, line: Line, addresses: list[SocketAddress], loop: asyncio.AbstractEventLoop) -> None:
        asking = job.asking
        self.opened = 0
        self.resent = 0
        self._line = line
        self._ledger = line.ledger
        self._loop = loop
        self._addresses = addresses
        # The one that worked last.
        self._address = 0
        self._where = f"{asking.host}:{asking.port}"
        self._path = asking.path.encode("ascii")
        name = f"[{asking.host}]" if ":" in asking.host else asking.host
        self._host = (name if asking.port == 80 else f"{name}:{asking.port}").encode("ascii")
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in asking.headers]
        if asking.content_type:
            headers.insert(0, (b"content-type", asking.content_type.encode("ascii")))
        self._headers = headers
        self._bodies = [question.body for question in asking.questions]
        self._deadline_ms = job.deadline_ms
        self._deadline_ns = int(job.deadline_ms * _MS)
        try:
            self._requests = [self._encode(body, job.deadline_ms) for body in self._bodies]
        except ValueError as error:
            raise InvalidArgumentError(f"the request cannot be sent as it is: {error}") from None
        self._max_connections = job.max_connections
        self._start_timeout_s = min(_START_TIMEOUT_S, job.timeout_s)
        self._connect_timeout_ns = int(min(_CONNECT_TIMEOUT_S, job.timeout_s) * 1e9)
        self._receive_buffer = bytearray(_RECEIVE_BYTES)
        self._known_heads = KnownHeads()
        self._idle: list[HttpConnection] = []
        self._open: set[HttpConnection] = set()
        # With the address, and how many were tried in vain before it; in the order in which they were begun.
        self._opening: dict[HttpConnection, tuple[int, int]] = {}
        self._carriers: dict[int, HttpConnection] = {}
        self._resent_rows: set[int] = set()
        self._closed = False
        self._opened_all = asyncio.Event()

    def _encode(self, body: bytes, deadline_ms: float) -> list[Body]:
        headers = self._headers
        if deadline_ms > 0:
            headers = [*headers, (b"x-edgewise-deadline-ms", b"%d" % math.ceil(deadline_ms))]
        return encode_request(b"POST", self._path, self._host, headers, body)

    # --- what the run asks ---

    async def start(self, connections: int) -> None:
        """See `Asker`."""
        for _ in range(min(connections, self._max_connections)):
            self._connect()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._start_timeout_s):
                await self._opened_all.wait()

    def begin(self, row: int) -> bool:
        """See `Asker`."""
        if not self._idle:
            return False
        connection = self._idle.pop()
        connection.idle_before_ns = monotonic_ns() - connection.since_ns
        self._ask(connection, row)
        return True

    def wanted(self) -> None:
        """See `Asker`."""
        opening = self._opening
        room = self._max_connections - len(self._open) - len(opening)
        for _ in range(min(room, self._line.waiting() - len(opening))):
            self._connect()

    def give_up(self, row: int) -> None:
        """See `Asker`."""
        connection = self._carriers.pop(row, None)
        if connection is not None:
            self._open.discard(connection)
            connection.close()
            self.wanted()

    def tend(self, now_ns: int) -> None:
        """See `Asker`."""
        # The oldest is in front.
        while self._opening:
            connection = next(iter(self._opening))
            if now_ns - connection.since_ns < self._connect_timeout_ns:
                break
            connection.close()
            self._fail_opening(connection, "no answer to connecting")

    async def close(self) -> None:
        """See `Asker`."""
        self._closed = True
        for connection in [*self._open, *self._opening]:
            connection.close()
        self._idle.clear()
        self._open.clear()
        self._opening.clear()

    # --- what connections tell ---

    def connection_ready(self, connection: HttpConnection) -> None:
        """See `ConnectionOwner`."""
        self._address, _ = self._opening.pop(connection)
        if not self._opening:
            self._opened_all.set()
        self._open.add(connection)
        self.opened += 1
        self._use(connection)

    def connection_failed(self, connection: HttpConnection, reason: str) -> None:
        """See `ConnectionOwner`."""
        if connection in self._opening:
            self._fail_opening(connection, reason)

    def connection_answered(
        self, connection: HttpConnection, row: int, at_ns: int, head: ResponseHead, body: bytes | bytearray
    ) -> None:
        """See `ConnectionOwner`."""
        del self._carriers[row]
        if connection.usable:
            self._use(connection)
        else:
            self._open.discard(connection)
            self.wanted()
        shape = head.shape
        origin = shape.note
        if origin is None:
            origin = shape.note = self._read_origin(head)
        ledger = self._ledger
        status = head.status
        at_ns -= ledger.start_ns
        if 200 <= status < 300:
            ledger.predicted(row, at_ns, status, body, origin)
        else:
            state = State.REJECTED if status in _REJECTED else State.EXPIRED if status == 504 else State.ERROR
            ledger.refused(row, at_ns, state, status, f"{status} {text_of(body)}".rstrip(), origin)
        if self._resent_rows:
            self._resent_rows.discard(row)
        self._line.answered()

    def connection_lost(self, connection: HttpConnection, row: int, reason: str) -> None:
        """See `ConnectionOwner`."""
        del self._carriers[row]
        # A server that closes an idle connection just when a request is on its way has taken no request.
        unseen = connection.untouched() or connection.idle_before_ns > _STALE_AFTER_NS
        again = connection.reused and not connection.received_bytes and unseen and row not in self._resent_rows
        self._drop(connection)
        if again:
            self._resent_rows.add(row)
            self.resent += 1
            # Those that were idle beside it have likely gone with it.
            for other in [other for other in self._idle if not other.silent]:
                self._idle.remove(other)
                self._drop(other)
            if not self.begin(row):
                self._line.put_back(row)
        else:
            self._resent_rows.discard(row)
            ledger = self._ledger
            ledger.refused(row, ledger.now_ns(), State.LOST, -1, f"the connection was lost: {reason}")
        self.wanted()

    def connection_garbled(self, connection: HttpConnection, row: int, reason: str) -> None:
        """See `ConnectionOwner`."""
        del self._carriers[row]
        self._drop(connection)
        ledger = self._ledger
        ledger.refused(row, ledger.now_ns(), State.ERROR, -1, f"the answer is not HTTP: {reason}")
        self.wanted()

    def connection_gone(self, connection: HttpConnection) -> None:
        """See `ConnectionOwner`."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._drop(connection)
        self.wanted()

    # --- the pool ---

    def _connect(self) -> None:
        self._connect_to(self._address, 0)

    def _connect_to(self, index: int, tried: int) -> None:
        if self._closed:
            return
        connection = HttpConnection(self, self._loop, self._receive_buffer, self._known_heads)
        self._opening[connection] = (index, tried)
        family, address = self._addresses[index]
        connection.open(family, address)

    def _fail_opening(self, connection: HttpConnection, reason: str) -> None:
        index, tried = self._opening.pop(connection)
        if tried + 1 < len(self._addresses):
            self._connect_to((index + 1) % len(self._addresses), tried + 1)
            return
        if not self._opening:
            self._opened_all.set()
        line = self._line
        # The others that are being opened are for the rest.
        if line.waiting() > len(self._opening):
            row = line.take()
            if row >= 0:
                ledger = self._ledger
                text = f"no connection to {self._where}: {reason}"
                ledger.refused(row, ledger.now_ns(), State.LOST, -1, text)
        self.wanted()

    def _use(self, connection: HttpConnection) -> None:
        """Give a connection to who has waited longest, or keep it."""
        row = self._line.take()
        if row < 0:
            connection.since_ns = monotonic_ns()
            self._idle.append(connection)
        else:
            connection.idle_before_ns = 0
            self._ask(connection, row)

    def _ask(self, connection: HttpConnection, row: int) -> None:
        self._carriers[row] = connection
        question = self._ledger.question[row]
        parts = self._requests[question]
        if self._deadline_ns:
            waited_ns = self._ledger.now_ns() - self._ledger.due[row]
            if waited_ns > _MS:
                left_ms = max(1.0, (self._deadline_ns - waited_ns) / _MS)
                parts = self._encode(self._bodies[question], left_ms)
        connection.ask(row, parts)

    def _drop(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        connection.close()

    def _read_origin(self, head: ResponseHead) -> Origin:
        headers = head.headers
        return read_origin(
            self._ledger,
            headers.get(b"x-edgewise-site", b""),
            headers.get(b"x-edgewise-attempts", b""),
            headers.get(b"x-edgewise-model-version", b""),
        )


def read_origin(ledger: Ledger, site: bytes, attempts: bytes, version: bytes) -> Origin:
    """What the headers of an answer say of who answered; what they do not say in numbers is 0."""
    return (ledger.site(site), _number(attempts, 255), _number(version, _MAX_VERSION))


def _number(value: bytes, most: int) -> int:
    return min(int(value), most) if value.isdigit() and len(value) <= 18 else 0


def text_of(body: bytes | bytearray | memoryview) -> str:
    """The beginning of an answer, on one line, for people."""
    return " ".join(bytes(body[:_TEXT_BYTES]).decode("utf-8", "replace").split())
