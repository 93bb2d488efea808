"""The hub's port: a socket whose connections do not outlive their peers, and a protocol whose heads end."""

import asyncio
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edgewise.core.errors import Code, FailedPreconditionError

MAX_HEAD_BYTES: Final = 65536
HEAD_S: Final = 20.0
LINGER_S: Final = 1.0
_BACKLOG: Final = 2048
_IDLE_S: Final = 60
_SILENT_MS: Final = 120_000
_DRAIN_S: Final = 15
_KEEP_ALIVE_S: Final = 75
_MOST_CONNECTIONS: Final = 20_000
_log = logging.getLogger(__name__)


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose heads are not longer than they may be, and come in time: uvicorn alone waits and collects for as long as one likes."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A connection; its first head is waited for."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._head_came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """The last byte of a head."""
        self._head_came()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        if self._is_refused:
            return
        if self._head_timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer is not None and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            _log.warning("a request's head from %s is longer than %d bytes", self.client, MAX_HEAD_BYTES)
            self._refuse()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self) -> None:
        self._head_came()
        text = json.dumps({"error": f"the head is longer than {MAX_HEAD_BYTES} bytes", "code": Code.OUT_OF_RANGE})
        lines = (
            "HTTP/1.1 431 Request Header Fields Too Large",
            "content-type: application/json",
            f"content-length: {len(text)}",
            "connection: close",
        )
        self._is_refused = True
        self.transport.write("\r\n".join((*lines, "", text)).encode())
        # Closed at once with bytes unread, the connection would be reset, and the answer be lost on the way.
        self.loop.call_later(LINGER_S, self.transport.close)


def server_config(app: FastAPI, *, proxies: Sequence[str] = (), tls: ssl.SSLContext | None = None) -> uvicorn.Config:
    """How the hub is served.

    Args:
        proxies: addresses whose word counts for where a request came from.
        tls: None for plain HTTP.
    """
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=",".join(proxies) or None,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )


class HubServer(uvicorn.Server):
    """A server that leaves signals to who runs it, and says when it listens.

    Attributes:
        is_ready: set once it does.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.is_ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """`edgewise.net.lifecycle` has them."""
        yield


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket. A connection whose peer has vanished ends within minutes, also in the midst of an answer.

    Args:
        port: 0 picks a free one.
    Raises: FailedPreconditionError: the address cannot be used.
    """
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        bound = socket.socket(family, kind, protocol)
        try:
            for level, option, value in (
                (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
                # Connections inherit what the listening socket has.
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_MS),
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            ):
                bound.setsockopt(level, option, value)
            bound.bind(address)
            bound.listen(_BACKLOG)
            bound.setblocking(False)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise FailedPreconditionError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return bound
