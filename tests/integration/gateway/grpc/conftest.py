"""A gateway's gRPC door and its sites in one process on 127.0.0.1: the sites answer as each test tells them to."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from edgewise.gateway.assembly import make_site
from edgewise.gateway.config import Address, SiteConfig
from edgewise.gateway.grpc_door import GrpcDoor
from edgewise.gateway.service import GatewayService
from edgewise.net.exchange import Exchange
from edgewise.net.grpc_client import GrpcClient
from edgewise.net.grpc_exchange import GrpcExchange, UnaryMethod
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.http_server import HttpServer
from edgewise.net.tcp import open_socket
from edgewise.wire import inference_pb2, serving_pb2
from support.event_loop import run
from support.gateway_service import gateway_service
from support.waiting import LOOP_WAIT_S, until

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
PROTOBUF = (b"content-type", b"application/x-protobuf")
OK = (PROTOBUF, (b"grpc-status", b"0"))


def predict_request(model: str = "tiny", size: int = 0) -> bytes:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_content = bytes(size)
    return request.SerializeToString()


def infer_request(model: str = "tiny") -> bytes:
    return inference_pb2.ModelInferRequest(model_name=model).SerializeToString()


@dataclass
class HttpSite:
    """An Edgewise site: calls come over HTTP/1.1. None as `answers` leaves them to the test."""

    name: str
    tier: str = "cloud"
    answers: Callable[[Exchange], None] | None = None
    seen: list[Exchange] = field(default_factory=list)
    cancelled: int = 0
    ready: bool | None = True  # None says nothing
    server: HttpServer | None = None

    def __call__(self, exchange: Exchange) -> None:
        if exchange.path in (b"/v2/health/ready", b"/edgewise/v1/probe"):
            if self.ready is not None:
                exchange.respond(200 if self.ready else 503, (), b"")
            return
        self.seen.append(exchange)
        exchange.on_cancel = self._cancelled
        if self.answers is not None:
            self.answers(exchange)

    def _cancelled(self) -> None:
        self.cancelled += 1

    async def start(self, extra: dict[str, Any]) -> SiteConfig:
        self.server = HttpServer(self)
        port = await self.server.start("127.0.0.1", 0)
        return SiteConfig(self.name, self.tier, rest=Address("127.0.0.1", port), **extra)


@dataclass
class Http2Site:
    """A site with a gRPC address."""

    name: str
    tier: str = "cloud"
    answers: Callable[[GrpcExchange], None] | None = None
    seen: list[GrpcExchange] = field(default_factory=list)
    cancelled: int = 0
    ready: bytes | None = b"\x08\x01"  # None says nothing
    missing: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    server: GrpcServer | None = None

    def __call__(self, name: str) -> UnaryMethod | None:
        if name in ("/inference.GRPCInferenceService/ServerReady", "/grpc.health.v1.Health/Check"):
            self.asked.append(name)
            return None if name in self.missing else UnaryMethod(self._say_ready)
        return None if name in self.missing else UnaryMethod(self._handle)

    def _say_ready(self, exchange: GrpcExchange) -> None:
        if self.ready is not None:
            exchange.respond(self.ready)

    def _handle(self, exchange: GrpcExchange) -> None:
        self.seen.append(exchange)
        exchange.on_cancel = self._cancelled
        if self.answers is not None:
            self.answers(exchange)

    def _cancelled(self) -> None:
        self.cancelled += 1

    async def start(self, extra: dict[str, Any]) -> SiteConfig:
        self.server = GrpcServer(self)
        port = await self.server.start("127.0.0.1", 0)
        return SiteConfig(self.name, self.tier, grpc=Address("127.0.0.1", port), **extra)


def by(name: bytes, *trailers: tuple[bytes, bytes]) -> Callable[[Any], None]:
    """Answers with a name, in either form."""

    def answer(exchange: Any) -> None:
        if isinstance(getattr(exchange, "metadata", None), dict):
            exchange.respond(name, trailers)
        else:
            exchange.respond(200, (*OK, *trailers), name)

    return answer


@dataclass
class Gateway:
    service: GatewayService
    door: GrpcDoor
    server: GrpcServer
    port: int
    client: GrpcClient

    def begin(self, message: bytes | None = None, *, method: str = PREDICT, timeout_s: float | None = None, **metadata):
        """A call, and a future of its outcome."""
        future = asyncio.get_running_loop().create_future()
        fields = [(name.replace("_", "-").encode(), value) for name, value in metadata.items()]
        call = self.client.call(
            method.encode(),
            fields,
            predict_request() if message is None else message,
            timeout_s=timeout_s,
            done=lambda outcome: None if future.done() else future.set_result(outcome),
        )
        return call, future

    async def ask(self, message: bytes | None = None, **words):
        """The outcome of a call."""
        _, future = self.begin(message, **words)
        return await asyncio.wait_for(future, LOOP_WAIT_S)

    def state(self, site: str) -> str:
        return str(self.service.router.links[site].state)

    until = staticmethod(until)


@contextlib.asynccontextmanager
async def gateway(
    *sites: HttpSite | Http2Site | SiteConfig,
    limits: dict[str, Any] | None = None,
    site_config: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Gateway]:
    """A gateway in front of sites, which are started with it unless they are given as configurations.

    Further options are those of `gateway_service`.
    """
    configs = [site if isinstance(site, SiteConfig) else await site.start(site_config or {}) for site in sites]
    try:
        async with gateway_service(configs, make_site, **options) as service:
            door = GrpcDoor(service)
            server = GrpcServer(door, GrpcLimits(**{"sweep_interval_s": 0.02, **(limits or {})}))
            port = await server.start("127.0.0.1", 0)
            service.carrier.start()
            client = GrpcClient(b"gateway", partial(open_socket, "127.0.0.1", port))
            try:
                yield Gateway(service, door, server, port, client)
                service.router.validate_state(time.monotonic())
                assert service.metrics.in_flight == 0
                assert service.carrier._held == {}
            finally:
                await client.close()
                await asyncio.wait_for(server.close(), LOOP_WAIT_S)
    finally:
        for site in sites:
            if not isinstance(site, SiteConfig) and site.server is not None:
                await asyncio.wait_for(site.server.close(), LOOP_WAIT_S)


@dataclass(frozen=True)
class Grpc:
    """The tools above, for tests that cannot import this file."""

    run = staticmethod(run)
    gateway = staticmethod(gateway)
    http_site = HttpSite
    http2_site = Http2Site
    by = staticmethod(by)
    predict_request = staticmethod(predict_request)
    infer_request = staticmethod(infer_request)
    ok = OK
    predict = PREDICT
    infer = INFER
    wait_s = LOOP_WAIT_S


@pytest.fixture(scope="session")
def through() -> type[Grpc]:
    return Grpc
