"""A model server for the bench: real protocols in front, timers in the place of a model.

    python site.py '{"name": "cloud", "tier": "cloud", "host": ..., "rest_port": ..., "grpc_port": ..., "workers": 16, ...}'

`workers` requests run at once, the others wait in order of arrival. What a request costs is drawn from its id, so the
same request costs the same whoever sends it, and runs can be compared. A request that was cancelled or has expired while
it waited is not run; one that is running is run to its end, as a model would be.

Every execution is a line in `executions`: id, arrived, began, seconds it takes. Commands come as lines of JSON on
standard input: `{"slow": 10}`, `{"drip": true}`, `{"close": true}` cuts every connection and listens no more,
`{"listen": true}`.
"""

import asyncio
import contextlib
import functools
import gc
import hashlib
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from bench_failover.timers import Timers
from edgewise.model_server.doors.probe import PROBE_PATH, ProbeAnswers
from edgewise.net import grpc_exchange
from edgewise.net.exchange import Exchange
from edgewise.net.grpc_exchange import GrpcExchange, UnaryMethod
from edgewise.net.grpc_over_http import GrpcOverHttp
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.http_server import HttpServer
from edgewise.protocols.deadline_header import DEADLINE_HEADER
from edgewise.protocols.grpc_over_http import HTTP_STATUS
from edgewise.wire import serving_pb2, tensor_pb2

PREDICT_METHOD: Final = "/tensorflow.serving.PredictionService/Predict"
HEALTH_METHOD: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"  # HealthCheckResponse{status: SERVING}
_DRIP_INTERVAL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What a site is told.

    Attributes:
        host: listens there; "" for everywhere.
        service: "exponential" or "constant".
        seed: of the service times.
        max_queue: requests that may wait; one more is told to come again (503, RESOURCE_EXHAUSTED).
        executions: the file that is appended to.
    """

    name: str
    tier: str
    host: str
    rest_port: int
    grpc_port: int
    workers: int
    service_ms: float
    executions: str
    service: str = "exponential"
    seed: int = 1
    max_queue: int = 512


def service_s(settings: SiteSettings, request_id: str) -> float:
    """What a request costs at a site, in seconds."""
    mean_s = settings.service_ms / 1e3
    if settings.service == "constant":
        return mean_s
    key = f"{settings.seed}/{settings.name}/{request_id}".encode()
    draw = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
    return -mean_s * math.log1p(-draw)


class Job:
    """A request at the site, until it is answered."""

    __slots__ = ("answer", "arrived_s", "cancelled", "expire", "expires_s", "request_id")

    def __init__(
        self, request_id: str, expires_s: float, answer: Callable[[int], None], expire: Callable[[], None]
    ) -> None:
        self.request_id = request_id
        self.arrived_s = time.monotonic()
        self.expires_s = expires_s
        self.answer = answer
        self.expire = expire
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody waits any more."""
        self.cancelled = True


class Workers:
    """Runs jobs in order of arrival."""

    def __init__(self, settings: SiteSettings, timers: Timers) -> None:
        self.slow = 1.0
        self._settings = settings
        self._timers = timers
        self._running = 0
        self._waiting: deque[Job] = deque()
        self._record = os.open(settings.executions, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    @property
    def pending(self) -> int:
        """Requests that run or wait."""
        return self._running + len(self._waiting)

    def take(self, job: Job) -> bool:
        """Take a job in; False when the queue is full."""
        if self._running < self._settings.workers:
            self._run(job)
        elif len(self._waiting) < self._settings.max_queue:
            self._waiting.append(job)
        else:
            return False
        return True

    def _run(self, job: Job) -> None:
        self._running += 1
        begun_s = time.monotonic()
        takes_s = service_s(self._settings, job.request_id) * self.slow
        # At once: a process that is killed leaves a true record.
        os.write(self._record, b"%s %.6f %.6f %.6f\n" % (job.request_id.encode(), job.arrived_s, begun_s, takes_s))
        self._timers.call_at(begun_s + takes_s, self._done, job)

    def _done(self, job: Job) -> None:
        self._running -= 1
        if not job.cancelled:
            job.answer(self.pending)
        while self._waiting and self._running < self._settings.workers:
            following = self._waiting.popleft()
            if following.cancelled:
                continue
            if following.expires_s < time.monotonic():
                following.expire()
                continue
            self._run(following)


class Door:
    """REST and gRPC in front of the workers."""

    def __init__(self, settings: SiteSettings, workers: Workers) -> None:
        self._workers = workers
        self._who = ((b"x-edgewise-site", settings.name.encode()), (b"x-edgewise-tier", settings.tier.encode()))
        self._json = ((b"content-type", b"application/json"), *self._who, (b"x-edgewise-model-version", b"1"))
        answer = serving_pb2.PredictResponse()
        answer.model_spec.name = "m"
        answer.model_spec.version.value = 1
        shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=2)])
        answer.outputs["y"].CopyFrom(tensor_pb2.TensorProto(dtype=1, tensor_shape=shape, float_val=[0.25, 0.75]))
        self._message = answer.SerializeToString()
        self._grpc = GrpcOverHttp(self.method, HTTP_STATUS, self._who)
        self._probes = ProbeAnswers(self._who)

    # --- REST ---

    def rest(self, exchange: Exchange) -> None:
        """Answer a request of the REST port."""
        if self._grpc.takes(exchange):
            self._grpc(exchange)
        elif exchange.path == PROBE_PATH:
            self._probes.answer(exchange, ready=True)
        elif exchange.path.endswith(b":predict"):
            self._predict(exchange)
        elif exchange.path == b"/health" or exchange.path.startswith(b"/v2/health/"):
            exchange.respond(200, self._json, b'{"ready": true}')
        else:
            exchange.respond(404, self._json, b'{"error": "Malformed request"}')

    def _predict(self, exchange: Exchange) -> None:
        headers = exchange.headers
        request_id = headers.get(b"x-request-id", b"-").decode("ascii", "replace")
        echoed = (b"x-request-id", request_id.encode())

        def answer(pending: int) -> None:
            depth = (b"x-edgewise-queue-depth", b"%d" % pending)
            exchange.respond(200, (*self._json, depth, echoed), b'{"predictions": [[0.25, 0.75]]}')

        def expire() -> None:
            exchange.respond(504, (*self._json, echoed), b'{"error": "the deadline has passed"}')

        job = Job(request_id, _expiry_s(headers.get(DEADLINE_HEADER)), answer, expire)
        exchange.on_cancel = job.cancel
        if not self._workers.take(job):
            exchange.respond(503, (*self._json, echoed, (b"retry-after", b"1")), b'{"error": "the queue is full"}')

    # --- gRPC ---

    def method(self, name: str) -> UnaryMethod | None:
        """The method of a gRPC call."""
        if name == PREDICT_METHOD:
            return UnaryMethod(self._call)
        if name == HEALTH_METHOD:
            return UnaryMethod(lambda call: call.respond(_SERVING, self._who))
        return None

    def _call(self, call: GrpcExchange) -> None:
        metadata = call.metadata
        request_id = metadata.get(b"x-request-id", b"-").decode("ascii", "replace")
        trailers = (*self._who, (b"x-edgewise-model-version", b"1"), (b"x-request-id", request_id.encode()))

        def answer(pending: int) -> None:
            call.respond(self._message, (*trailers, (b"x-edgewise-queue-depth", b"%d" % pending)))

        def expire() -> None:
            call.fail(grpc_exchange.DEADLINE_EXCEEDED, "the deadline has passed", trailers)

        expires_s = _expiry_s(metadata.get(DEADLINE_HEADER))
        if call.timeout_s is not None:
            expires_s = min(expires_s, time.monotonic() + call.timeout_s)
        job = Job(request_id, expires_s, answer, expire)
        call.on_cancel = job.cancel
        if not self._workers.take(job):
            call.fail(grpc_exchange.RESOURCE_EXHAUSTED, "the queue is full", trailers)


def _expiry_s(budget_ms: bytes | None) -> float:
    return time.monotonic() + float(budget_ms) / 1e3 if budget_ms else math.inf


class DrippingTransport:
    """A transport whose writes can be made to come out byte by byte."""

    def __init__(self, transport: Any, faults: "Faults") -> None:
        self._transport = transport
        self._faults = faults
        self._unsent = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, or let drip."""
        if not self._faults.drip and not self._unsent:
            self._transport.write(data)
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._let_drip)
        self._unsent += data

    def writelines(self, parts: list[bytes]) -> None:
        """Write them all."""
        self.write(b"".join(parts))

    def _let_drip(self) -> None:
        count = 1 if self._faults.drip else len(self._unsent)
        if self._transport.is_closing():
            return
        self._transport.write(bytes(self._unsent[:count]))
        del self._unsent[:count]
        if self._unsent:
            asyncio.get_running_loop().call_later(_DRIP_INTERVAL_S, self._let_drip)


@dataclass(eq=False)
class Faults:
    """What is wrong with the site's own connections."""

    drip: bool = False


class Dripping(asyncio.BufferedProtocol):
    """Stands between the loop and a connection, which it hands a `DrippingTransport`."""

    def __init__(self, connection: Any, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults
        for name in (
            "get_buffer",
            "buffer_updated",
            "eof_received",
            "connection_lost",
            "pause_writing",
            "resume_writing",
        ):
            setattr(self, name, getattr(connection, name))

    def connection_made(self, transport: Any) -> None:
        """Hand the connection its transport."""
        self._connection.connection_made(DrippingTransport(transport, self._faults))


class Site:
    """The listening sockets, and what can be done to them."""

    def __init__(self, settings: SiteSettings) -> None:
        self._settings = settings
        self._workers = Workers(settings, Timers(asyncio.get_running_loop()))
        self._door = Door(settings, self._workers)
        self._faults = Faults()
        self._servers: list[HttpServer | GrpcServer] = []

    async def listen(self) -> None:
        """Open both ports."""
        http = HttpServer(self._door.rest)
        grpc = GrpcServer(self._door.method)
        self._servers = [http, grpc]
        for server, port in ((http, self._settings.rest_port), (grpc, self._settings.grpc_port)):
            self._wrap(server)
            await server.start(self._settings.host, port)

    def _wrap(self, server: Any) -> None:
        connect: Callable[[], Any] = server._connect  # noqa: SLF001 - the drip is below what the server offers

        def dripping() -> Any:
            return Dripping(connect(), self._faults)

        server._connect = dripping  # noqa: SLF001 - as above

    async def command(self, command: dict[str, Any]) -> None:
        """Carry a command out."""
        if "slow" in command:
            self._workers.slow = float(command["slow"])
        if "drip" in command:
            self._faults.drip = bool(command["drip"])
        if command.get("close"):
            for server in self._servers:
                await server.close()
        if command.get("listen"):
            await self.listen()


async def serve(settings: SiteSettings) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    site = Site(settings)
    await site.listen()
    # A collection takes longer than a request.
    gc.collect()
    gc.freeze()
    gc.disable()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(functools.partial(asyncio.StreamReaderProtocol, reader), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while line := await reader.readline():
        await site.command(json.loads(line))
        print(json.dumps({"at_s": time.monotonic()}), flush=True)


def main() -> None:
    """Serve as the first argument says."""
    settings = SiteSettings(**json.loads(sys.argv[1]))
    Path(settings.executions).touch()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
