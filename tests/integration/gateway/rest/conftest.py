"""A gateway and its sites in one process on 127.0.0.1: the sites answer as each test tells them to."""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route
from edgewise.gateway.carrier import Carrier
from edgewise.gateway.config import Address, GatewayConfig, SiteConfig
from edgewise.gateway.metrics import GatewayMetrics
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.rest_door import RestDoor
from edgewise.gateway.service import GatewayService
from edgewise.gateway.site import Site
from edgewise.net.api_keys import ApiKeys
from edgewise.net.exchange import Exchange
from edgewise.net.http_limits import HttpLimits
from edgewise.net.http_server import HttpServer

WAIT_S = 20.0
PREDICT = b"/v1/models/tiny:predict"
JSON = (b"content-type", b"application/json")


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    fields: list[tuple[bytes, bytes]]


class App:
    """A client of the gateway that sends exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await asyncio.wait_for(self.writer.drain(), WAIT_S)

    async def answer(self, *, to_head: bool = False) -> Answer:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_S)
        line, *lines = head[:-4].split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [A-Za-z' -]+", line)
        assert match, line
        fields = [(name, value) for name, _, value in (field.partition(b": ") for field in lines)]
        headers = dict(fields)
        length = 0 if to_head else int(headers.get(b"content-length", b"0"))
        body = await asyncio.wait_for(self.reader.readexactly(length), WAIT_S)
        return Answer(int(match[1]), headers, body, fields)

    async def ask(
        self, target: bytes = PREDICT, body: bytes = b"{}", headers: bytes = b"", *, method: bytes = b"POST"
    ) -> Answer:
        await self.send(
            b"%b %b HTTP/1.1\r\nHost: gateway\r\n%bContent-Length: %d\r\n\r\n%b"
            % (method, target, headers, len(body), body)
        )
        return await self.answer(to_head=method == b"HEAD")

    async def rest(self) -> bytes:
        """All bytes until the gateway closes."""
        return await asyncio.wait_for(self.reader.read(), WAIT_S)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


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

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the loop turn until something holds."""
        async with asyncio.timeout(WAIT_S):
            while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def gateway(
    *sites: SiteServer | SiteConfig,
    route: Route | None = None,
    routes: dict[str, Route] | None = None,
    api_keys: Path | None = None,
    limits: dict[str, Any] | None = None,
    site_config: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Gateway]:
    """A gateway in front of sites, which are started with it unless they are given as configurations."""
    loop = asyncio.get_running_loop()
    configs = []
    for site in sites:
        if isinstance(site, SiteConfig):
            configs.append(site)
            continue
        site.server = HttpServer(site)
        site.port = await site.server.start("127.0.0.1", site.port)
        configs.append(SiteConfig(site.name, site.tier, rest=Address("127.0.0.1", site.port), **(site_config or {})))
    config = GatewayConfig(tuple(configs), route or Route(), routes or {})
    reached = {name.name: Site(name) for name in configs}
    for one in reached.values():
        await one.start()
    router = Router([one.spec() for one in reached.values()], now_s=time.monotonic(), draws=random.Random(1).random)
    metrics = GatewayMetrics()
    for name in reached:
        metrics.name_site(name)
    carrier = Carrier(router, reached, loop=loop, hooks=metrics)
    service = GatewayService(
        options=GatewayOptions(**options),
        config=config,
        router=router,
        carrier=carrier,
        sites=reached,
        metrics=metrics,
        api_keys=ApiKeys(api_keys) if api_keys is not None else None,
    )
    door = RestDoor(service)
    server = HttpServer(
        door,
        HttpLimits(**(limits or {})),
        error_body=door.error_body,
        error_headers=door.error_headers,
    )
    port = await server.start("127.0.0.1", 0)
    carrier.start()
    running = Gateway(service, server, port)
    try:
        yield running
        router.validate_state(time.monotonic())
    finally:
        for app in running.apps:
            await app.close()
        await asyncio.wait_for(server.close(), WAIT_S)
        carrier.close()
        for one in reached.values():
            await one.close()
        for site in sites:
            if isinstance(site, SiteServer) and site.server is not None:
                await asyncio.wait_for(site.server.close(), WAIT_S)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on a fresh uvloop; an exception that reached the loop fails the test."""
    reached: list[dict[str, Any]] = []

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reached.append(context))
        await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())
    assert reached == [], reached


@dataclass(frozen=True)
class Tools:
    """The tools above, for tests that cannot import this file."""

    run = staticmethod(run)
    gateway = staticmethod(gateway)
    answer_name = staticmethod(answer_name)
    site = SiteServer
    raw_site = staticmethod(raw_site)
    protocol_site = staticmethod(protocol_site)
    wait_s = WAIT_S
    predict = PREDICT
    json = JSON


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools
