"""One kept-alive connection of the engine: a socket that the loop watches, and one request at a time on it.

It stands on the socket itself: what is sent leaves in the same call, and opening one takes no task. The answers are read by
`net.http_response_reader`; `net.http_client_connection` cannot be derived from where the hot path is compiled.
"""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from time import monotonic_ns
from typing import Final, Protocol

from edgewise.net.errors import HttpProtocolError
from edgewise.net.exchange import Body
from edgewise.net.http_response_head import KnownHeads, ResponseHead
from edgewise.net.http_response_reader import ResponseReader

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_BODY_BYTES: Final = 256 << 20
_NO_LINGER: Final = struct.pack("ii", 1, 0)
# Source: Linux, `struct tcp_info`: tcpi_bytes_acked.
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")

IDLE: Final = -1


class ConnectionOwner(Protocol):
    """Whom a connection tells."""

    def connection_ready(self, connection: "HttpConnection") -> None:
        """It can take a request."""

    def connection_failed(self, connection: "HttpConnection", reason: str) -> None:
        """It never will, and is closed."""

    def connection_answered(
        self, connection: "HttpConnection", row: int, at_ns: int, head: ResponseHead, body: bytes | bytearray
    ) -> None:
        """The answer is whole, at that time of `monotonic_ns`; where `connection.usable`, it can take another request."""

    def connection_lost(self, connection: "HttpConnection", row: int, reason: str) -> None:
        """There will be no answer; the connection is closed."""

    def connection_garbled(self, connection: "HttpConnection", row: int, reason: str) -> None:
        """What came is no HTTP; the connection is closed."""

    def connection_gone(self, connection: "HttpConnection") -> None:
        """It was closed while it was idle."""


class HttpConnection:
    """A connection, from its opening on.

    Args:
        receive_buffer: filled and used up within one callback, so connections share it.
        known_heads: heads that were parsed before, shared too.

    Attributes:
        row: of the request in flight; `IDLE` for none.
        usable: it is open, and takes another request once idle.
        reused: an answer came on it before.
        since_ns: when it was last given back, or began to be opened.
        idle_before_ns: how long it had been idle when the request in flight was sent.
        received_bytes: of the current answer.
    """

    __slots__ = (
        "_before_bytes",
        "_buffer",
        "_fd",
        "_loop",
        "_owner",
        "_reader",
        "_sent_bytes",
        "_socket",
        "_unsent",
        "idle_before_ns",
        "received_bytes",
        "reused",
        "row",
        "since_ns",
        "usable",
    )

    def __init__(
        self,
        owner: ConnectionOwner,
        loop: asyncio.AbstractEventLoop,
        receive_buffer: bytearray,
        known_heads: KnownHeads,
    ) -> None:
        self.row = IDLE
        self.usable = False
        self.reused = False
        self.since_ns = 0
        self.idle_before_ns = 0
        self.received_bytes = 0
        self._owner = owner
        self._loop = loop
        self._buffer = receive_buffer
        self._reader = ResponseReader(
            max_head_bytes=_MAX_HEAD_BYTES, max_body_bytes=_MAX_BODY_BYTES, known_heads=known_heads
        )
        self._socket: socket.socket | None = None
        self._fd = -1
        self._unsent: list[memoryview] = []
        self._sent_bytes = 0
        self._before_bytes = 0

    # --- opening and closing ---

    def open(self, family: socket.AddressFamily, address: tuple[object, ...]) -> None:
        """Begin to open it; `connection_ready` or `connection_failed` is told later, never from within this call."""
        self.since_ns = monotonic_ns()
        try:
            sock = self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._fd = sock.fileno()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            problem = sock.connect_ex(address)
        except OSError as error:
            problem = error.errno or -1
        if problem in {0, errno.EINPROGRESS}:
            self._loop.add_writer(self._fd, self._connected)
        else:
            self._loop.call_soon(self._refused, problem)

    def _connected(self) -> None:
        sock = self._socket
        if sock is None:
            return
        self._loop.remove_writer(self._fd)
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._refused(problem)
            return
        self.usable = True
        self._loop.add_reader(self._fd, self._readable)
        self._owner.connection_ready(self)

    def _refused(self, problem: int) -> None:
        self.close()
        self._owner.connection_failed(self, os.strerror(problem) if problem > 0 else "it cannot be connected to")

    def close(self) -> None:
        """Close at once, with what is unsent; nobody is told."""
        self.usable = False
        sock, self._socket = self._socket, None
        if sock is None:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if self.row != IDLE:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.row = IDLE
        self._unsent = []
        sock.close()

    @property
    def silent(self) -> bool:
        """Whether nothing has come while it was idle: no bytes and no end."""
        try:
            if self._socket is not None:
                self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def untouched(self) -> bool:
        """Whether the server's system has taken nothing of the request in flight, as far as ours knows."""
        if self._socket is None:
            return False
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
        except OSError:
            return False
        if len(info) < _ACKNOWLEDGED.size:
            return False
        # The handshake counts as one byte.
        return bool(_ACKNOWLEDGED.unpack(info)[0] <= self._before_bytes + 1)

    # --- a request ---

    def ask(self, row: int, parts: list[Body]) -> None:
        """Send a request; only while usable and idle."""
        self.row = row
        self.received_bytes = 0
        self._before_bytes = self._sent_bytes
        self._reader.expect(False)
        sock = self._socket
        if sock is None:
            raise RuntimeError("a request on a closed connection")
        try:
            if len(parts) == 1:
                whole = len(parts[0])
                sent = sock.send(parts[0])
            else:
                whole = sum(map(len, parts))
                sent = sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        self._sent_bytes += sent
        if sent < whole:
            self._keep(parts, sent)

    def _keep(self, parts: list[Body], sent: int) -> None:
        for part in parts:
            view = memoryview(part)
            if sent < len(view):
                self._unsent.append(view[sent:])
            sent = max(0, sent - len(view))
        self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        sock = self._socket
        if sock is None:
            return
        unsent, self._unsent = self._unsent, []
        try:
            sent = sock.sendmsg(unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        self._sent_bytes += sent
        for view in unsent:
            if sent < len(view):
                self._unsent.append(view[sent:])
            sent = max(0, sent - len(view))
        if not self._unsent:
            self._loop.remove_writer(self._fd)

    # --- its answer ---

    def _readable(self) -> None:
        sock = self._socket
        if sock is None:
            return
        reader = self._reader
        row = self.row
        direct = row != IDLE and reader.direct
        try:
            count = sock.recv_into(reader.direct_view() if direct else self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        at_ns = monotonic_ns()
        if row == IDLE:
            self.close()  # it was closed, or says what nobody asked for
            self._owner.connection_gone(self)
        elif not count:
            body = reader.finish()
            if body is None:
                self._lose("closed by the server")
            else:
                self.close()
                self._whole(row, at_ns, body)
        else:
            self._received(row, at_ns, count, direct=direct)

    def _received(self, row: int, at_ns: int, count: int, *, direct: bool) -> None:
        reader = self._reader
        self.received_bytes += count
        try:
            body = reader.direct_filled(count) if direct else reader.feed(self._buffer, count)
        except HttpProtocolError as error:
            self.close()
            self._owner.connection_garbled(self, row, error.reason)
            return
        if body is not None:
            self._whole(row, at_ns, body)

    def _whole(self, row: int, at_ns: int, body: bytes | bytearray) -> None:
        head = self._reader.head
        if head is None:
            raise RuntimeError("a whole answer without its head")
        if self._unsent or not head.keep_alive:
            self.close()
        self.row = IDLE
        self.reused = True
        self._owner.connection_answered(self, row, at_ns, head, body)

    def _lose(self, reason: str) -> None:
        row, self.row = self.row, IDLE
        if row == IDLE:
            self.close()
            self._owner.connection_gone(self)
        else:
            self._owner.connection_lost(self, row, reason)
