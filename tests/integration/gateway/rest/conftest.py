"""A gateway and its sites in one process on 127.0.0.1: the sites answer as each test tells them to."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from edgewise.gateway.config import Address, SiteConfig
from edgewise.gateway.rest_door import RestDoor
from edgewise.gateway.service import GatewayService
from edgewise.gateway.site import Site
from edgewise.net.exchange import Exchange
from edgewise.net.http_limits import HttpLimits
from edgewise.net.http_server import HttpServer
from support.event_loop import run
from support.gateway_service import gateway_service
from support.raw_peers import HttpPeer, RawAnswer
from support.waiting import LOOP_WAIT_S, until

PREDICT = b"/v1/models/tiny:predict"
JSON = (b"content-type", b"application/json")


class App(HttpPeer):
    """A client of the gateway."""

    async def ask(
        self, target: bytes = PREDICT, body: bytes = b"{}", headers: bytes = b"", *, method: bytes = b"POST"
    ) -> RawAnswer:
        await self.send(
            b"%b %b HTTP/1.1\r\nHost: gateway\r\n%bContent-Length: %d\r\n\r\n%b"
            % (method, target, headers, len(body), body)
        )
        return await self.answer(to_head=method == b"HEAD")


@dataclass
class SiteServer:
    """A site. `answers` decides what a prediction gets; None leaves it unanswered. Probes are always answered."""

    name: str
    tier: str = "cloud"
    answers: Callable[[Exchange], None] | None = None
    seen: list[Exchange] = field(default_factory=list)
    cancelled: int = 0
    port: int = 0
    server: HttpServer | None = None
    ready: bool = True

    def __call__(self, exchange: Exchange) -> None:
        if exchange.path in (b"/v2/health/ready", b"/edgewise/v1/probe"):
            exchange.respond(200 if self.ready else 503, (JSON,), b"{}")
            return
        self.seen.append(exchange)
        exchange.on_cancel = self._cancelled
        if self.answers is not None:
            self.answers(exchange)

    def _cancelled(self) -> None:
        self.cancelled += 1

    @property
    def paths(self) -> list[bytes]:
        return [exchange.path for exchange in self.seen]


class Seen(list[bytes]):
    """Requests as they came, and the connections on which they did."""

    def __init__(self) -> None:
        super().__init__()
        self.transports: list[asyncio.Transport] = []


class RawSite(asyncio.Protocol):
    """A site's side of one connection, as bytes. Probes are answered as they should be.

    Args:
        seen: gets each request of an app, head and body.
        reply: what to answer one with; None answers nothing.
    """

    def __init__(self, seen: Seen, reply: Callable[[bytes], bytes | None]) -> None:
        self.seen = seen
        self.reply = reply
        self.data = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            match = re.search(rb"\r\ncontent-length: (\d+)", head)
            length = int(match[1]) if match else 0
            if len(rest) < length:
                return
            self.data = rest[length:]
            if head.startswith((b"GET /v2/health/ready", b"POST /edgewise/")):
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                continue
            request = head + b"\r\n\r\n" + rest[:length]
            self.seen.append(request)
            self.seen.transports.append(self.transport)
            answer = self.reply(request)
            if answer is not None:
                self.transport.write(answer)


@contextlib.asynccontextmanager
async def raw_site(
    reply: Callable[[bytes], bytes | None] = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    name: str = "cloud",
    tier: str = "cloud",
) -> AsyncIterator[tuple[SiteConfig, Seen]]:
    """A site that keeps every byte; its configuration, and what it saw."""
    seen = Seen()
    server = await asyncio.get_running_loop().create_server(lambda: RawSite(seen, reply), "127.0.0.1", 0)
    try:
        yield SiteConfig(name, tier, rest=Address("127.0.0.1", server.sockets[0].getsockname()[1])), seen
    finally:
        server.close()


@contextlib.asynccontextmanager
async def protocol_site(protocol: type[asyncio.Protocol]) -> AsyncIterator[SiteConfig]:
    """A site whose connections are of that class; its configuration."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield SiteConfig("cloud", "cloud", rest=Address("127.0.0.1", server.sockets[0].getsockname()[1]))
    finally:
        server.close()


def answer_name(name: bytes) -> Callable[[Exchange], None]:
    """Answers with a name, so that the app can tell who answered."""

    def answer(exchange: Exchange) -> None:
        exchange.respond(200, (JSON, (b"x-edgewise-model-version", b"7")), b'{"by":"%b"}' % name)

    return answer


@dataclass
class Gateway:
    """A running gateway."""

    service: GatewayService
    server: HttpServer
    port: int
    apps: list[App] = field(default_factory=list)

    async def app(self) -> App:
        app = App(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 26))
        self.apps.append(app)
        return app

    def state(self, site: str) -> str:
        return str(self.service.router.links[site].state)

    until = staticmethod(until)


@contextlib.asynccontextmanager
async def gateway(
    *sites: SiteServer | SiteConfig,
    limits: dict[str, Any] | None = None,
    site_config: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Gateway]:
    """A gateway in front of sites, which are started with it unless they are given as configurations.

    Further options are those of `gateway_service`.
    """
    configs = []
    for site in sites:
        if isinstance(site, SiteConfig):
            configs.append(site)
            continue
        site.server = HttpServer(site)
        site.port = await site.server.start("127.0.0.1", site.port)
        configs.append(SiteConfig(site.name, site.tier, rest=Address("127.0.0.1", site.port), **(site_config or {})))
    try:
        async with gateway_service(configs, Site, **options) as service:
            door = RestDoor(service)
            server = HttpServer(
                door,
                HttpLimits(**(limits or {})),
                error_body=door.error_body,
                error_headers=door.error_headers,
            )
            running = Gateway(service, server, await server.start("127.0.0.1", 0))
            service.carrier.start()
            try:
                yield running
                service.router.validate_state(time.monotonic())
            finally:
                for app in running.apps:
                    await app.close()
                await asyncio.wait_for(server.close(), LOOP_WAIT_S)
            assert service.metrics.in_flight == 0, "every request has been counted as ended"
            assert service.carrier._held == {}
    finally:
        for site in sites:
            if isinstance(site, SiteServer) and site.server is not None:
                await asyncio.wait_for(site.server.close(), LOOP_WAIT_S)


@dataclass(frozen=True)
class Tools:
    """The tools above, for tests that cannot import this file."""

    run = staticmethod(run)
    gateway = staticmethod(gateway)
    answer_name = staticmethod(answer_name)
    site = SiteServer
    raw_site = staticmethod(raw_site)
    protocol_site = staticmethod(protocol_site)
    wait_s = LOOP_WAIT_S
    predict = PREDICT
    json = JSON


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools
