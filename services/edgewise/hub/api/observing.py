"""Around every request: what is counted, the fields that every answer has, and faults of ours, which a client does not read."""

import logging
from time import perf_counter
from typing import Final

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgewise.core.errors import Code
from edgewise.hub.api.metrics import HubMetrics

_FIELDS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cache-control", b"no-store"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_CLOSED: Final = 499
_log = logging.getLogger(__name__)


class Observed:
    """An app, and what is around it."""

    def __init__(self, app: ASGIApp, metrics: HubMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        begun_s = perf_counter()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = exchange.status or _CLOSED
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if exchange.status:
                # What has begun to go out cannot become an error; the connection is cut instead.
                raise
            text = "the hub failed; its log says why"
            answer = JSONResponse({"error": text, "code": Code.INTERNAL.value}, 500)
            await answer(scope, exchange.receive, exchange.send)
        finally:
            self._count(scope, exchange.status or _CLOSED, perf_counter() - begun_s)

    def _count(self, scope: Scope, status: int, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        if status == 401:
            self._metrics.refused.inc()
        # How long somebody wanted to wait says nothing about the hub.
        if b"wait_s" not in scope["query_string"]:
            self._metrics.latency_s.labels(route, method).observe(took_s)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Exchange:
    """A request and its answer, as they pass.

    Attributes:
        status: of the answer; 0 before there is one.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_https = scope["scheme"] == "https"
        named = dict(scope["headers"])
        self._has_body_left = b"transfer-encoding" in named or named.get(b"content-length", b"0") != b"0"
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._has_body_left = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            fields = list(message["headers"])
            there = {name.lower() for name, _ in fields}
            fields += [field for field in _FIELDS if field[0] not in there]
            if self._is_https:
                fields.append(_HSTS)
            if self._has_body_left:
                # Nobody reads the rest, which need not end.
                fields.append((b"connection", b"close"))
            message = {**message, "headers": fields}
        await self._send(message)


def observe(app: FastAPI, metrics: HubMetrics) -> None:
    """Put it around an app."""
    app.add_middleware(Observed, metrics=metrics)
