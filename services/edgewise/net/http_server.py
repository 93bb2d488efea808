"""The HTTP/1.1 server: listens, keeps the connections to their limits, drains.

server = HttpServer(handler, HttpLimits())
await server.start("127.0.0.1", 8501)
...
server.announce_close()          # answers say `Connection: close` from now on
await server.stop_accepting()
await server.drain(timeout_s=10)
await server.close()
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

from edgewise.net.exchange import Header
from edgewise.net.http_answer import AnswerHeads, reason_phrase
from edgewise.net.http_connection import HttpConnection
from edgewise.net.http_exchange import HttpExchange
from edgewise.net.http_limits import HttpLimits
from edgewise.net.stream_server import StreamServer

_LOG: Final = logging.getLogger(__name__)
_UNREAD_S: Final = 0.25
"""For how long a request may lie in a connection's socket before it is read, on a machine that is busy."""
_LOOK_S: Final = 0.01
_TEXT: Final[tuple[Header, ...]] = ((b"content-type", b"text/plain; charset=utf-8"),)

HttpHandler = Callable[[HttpExchange], None]
ErrorBody = Callable[[int, str], bytes]
ProtocolErrorHook = Callable[[int, str, str], None]


def plain_error_body(status: int, reason: str) -> bytes:
    """An error answer for people: status, its usual words, what was wrong."""
    return f"{status} {reason_phrase(status)}: {reason}\n".encode()


class HttpServer(StreamServer[HttpConnection, int]):
    """Serves HTTP/1.1 on one event loop.

    Args:
        handler: called on the loop with each whole request; it must not block.
        limits: what one client may cost.
        ssl_context: serves TLS when given.
        error_body: makes the body of every answer that the server gives by itself, from status and reason.
        error_headers: the fields that go with such a body.
        on_protocol_error: called with status, reason and peer for each request refused by the server.

    Attributes:
        requests: whole requests handed to the handler.
        handler_errors: requests whose handler raised before it answered.
        protocol_errors: count by status of requests that the server refused.
        connections_accepted, connections_refused: since the start; the second are part of the first.
        held_body_bytes: memory that request bodies take now.
        bytes_in, bytes_out: as seen above TLS.
        closing: answers carry `Connection: close`.
    """

    limits: HttpLimits

    def __init__(
        self,
        handler: HttpHandler,
        limits: HttpLimits | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        error_body: ErrorBody = plain_error_body,
        error_headers: tuple[Header, ...] = _TEXT,
        on_protocol_error: ProtocolErrorHook | None = None,
    ) -> None:
        super().__init__(limits if limits is not None else HttpLimits(), ssl_context, on_protocol_error)
        self.handler = handler
        self.error_headers = error_headers
        self.heads = AnswerHeads()
        self.requests = 0
        self.handler_errors = 0
        self.held_body_bytes = 0
        # When a request last came; and until when clients are looked at before their requests are handled.
        self.latest_s = 0.0
        self.wary_until_s = 0.0
        self.bytes_out = 0
        self._error_body = error_body

    def _connect(self) -> HttpConnection:
        return HttpConnection(self)

    async def start_unix(self, path: Path, *, backlog: int = 1024) -> None:
        """Listen on a Unix socket; a socket left over from a dead process is replaced.

        Raises: OSError: the path cannot be used.
        """
        await self._listen_unix(path, self._ssl_context, backlog)

    def announce_close(self) -> None:
        """Let every answer from now on carry `Connection: close`, so that busy clients move away without a loss."""
        self.closing = True

    async def drain(self, timeout_s: float) -> int:
        """Close idle connections and wait until the others have their answers.

        A connection that was opened a moment ago may have a request in it that has not been read yet; it is closed once it has had the time.

        Args:
            timeout_s: how long to wait at most.
        Returns: connections still open at the end; 0 when everything was answered.
        """
        self.closing = True
        until_s = monotonic() + timeout_s
        while self._close_idle(monotonic() - _UNREAD_S) and monotonic() < until_s:  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(_LOOK_S)
        return await self._wait_for_last(max(until_s - monotonic(), 0.0))

    def _close_idle(self, before_s: float) -> bool:
        """Close connections that have been idle since before a moment. Whether others are idle."""
        left = False
        for connection in list(self._connections):
            if connection.idle:
                if connection.since_s > before_s:
                    left = True
                else:
                    connection.close()
        return left

    def make_error_body(self, status: int, reason: str) -> bytes:
        """The body of an answer that the server gives by itself."""
        try:
            return self._error_body(status, reason)
        except Exception:  # noqa: BLE001 - there has to be an answer
            _LOG.exception("error_body failed")
            return plain_error_body(status, reason)
