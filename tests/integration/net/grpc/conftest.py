"""A gRPC server on 127.0.0.1 and clients that send exactly the frames they are told to."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from edgewise.net import http2_frames as h2
from edgewise.net.grpc_exchange import GrpcExchange, GrpcStream, StreamingMethod, UnaryMethod
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.hpack import HeaderDecoder, encode_fields
from support.raw_peers import RawPeer
from support.waiting import LOOP_WAIT_S, until

ECHO = "/test.Echo/Echo"
KEEP = "/test.Echo/Keep"
RAISE = "/test.Echo/Raise"
BIDI = "/test.Echo/Bidi"
PUSH = "/test.Echo/Push"


@dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass
class Answer:
    """What came on a stream."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytes = b""
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.trailers[b"grpc-status"])

    @property
    def messages(self) -> list[bytes]:
        found, at = [], 0
        while at < len(self.data):
            flag, size = struct.unpack_from(">BI", self.data, at)
            assert flag == 0
            found.append(self.data[at + 5 : at + 5 + size])
            at += 5 + size
        return found


def message(body: bytes, *, compressed: int = 0) -> bytes:
    return struct.pack(">BI", compressed, len(body)) + body


def data(stream: int, payload: bytes, *, end: bool = True) -> bytes:
    return h2.pack_frame(h2.DATA, h2.END_STREAM if end else 0, stream, payload)


def head_fields(path: str = ECHO, **changes: bytes | None) -> list[tuple[bytes, bytes]]:
    """The header fields of a call; None leaves one out, new ones come last; "_" stands for "-", a first one for ":"."""
    fields: dict[bytes, bytes | None] = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode(),
        b":authority": b"test",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    for name, value in changes.items():
        key = name.replace("_", ":", 1) if name.startswith("_") else name
        fields[key.replace("_", "-").encode()] = value
    return [(name, value) for name, value in fields.items() if value is not None]


def headers(stream: int, path: str = ECHO, *, end: bool = False, **changes: bytes | None) -> bytes:
    return h2.pack_headers(stream, encode_fields(head_fields(path, **changes)), end_stream=end)


def call(stream: int, body: bytes = b"hello", path: str = ECHO, **changes: bytes | None) -> bytes:
    return headers(stream, path, **changes) + data(stream, message(body))


class Peer(RawPeer):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.decoder = HeaderDecoder(1 << 20)
        self.frames: list[Frame] = []
        self.answers: dict[int, Answer] = {}
        self.ended: set[int] = set()

    async def hello(self, settings: dict[int, int] | None = None) -> None:
        self.writer.write(h2.PREFACE + h2.pack_settings(settings or {}))

    async def frame(self) -> Frame:
        """The next frame; it is kept in `frames`, and what it says of a stream in `answers`."""
        head = await asyncio.wait_for(self.reader.readexactly(9), LOOP_WAIT_S)
        high, low, kind, flags, stream = h2.FRAME_HEAD.unpack(head)
        payload = await asyncio.wait_for(self.reader.readexactly(high << 16 | low), LOOP_WAIT_S)
        frame = Frame(kind, flags, stream, payload)
        self.frames.append(frame)
        answer = self.answers.setdefault(stream, Answer()) if stream else Answer()
        if kind == h2.HEADERS:
            fields, _ = self.decoder.decode(payload)
            target = answer.headers if not answer.headers else answer.trailers
            target.update(fields)
            if flags & h2.END_STREAM and not answer.trailers:
                answer.trailers = answer.headers
        elif kind == h2.DATA:
            answer.data += payload
        elif kind == h2.RST_STREAM:
            answer.reset = h2.read_u31(payload)
        if stream and (kind == h2.RST_STREAM or (kind < 2 and flags & h2.END_STREAM)):
            self.ended.add(stream)
        return frame

    async def answer(self, stream: int) -> Answer:
        """Read until the stream has ended."""
        while stream not in self.ended:
            await self.frame()
        return self.answers[stream]

    async def until(self, kind: int, *, ack: bool = False) -> Frame:
        """Read until a frame of that kind comes."""
        while True:
            frame = await self.frame()
            if frame.kind == kind and bool(frame.flags & h2.ACK) == ack:
                return frame

    async def goaway(self) -> tuple[int, int, bytes]:
        """Read until GOAWAY: last stream, code, reason."""
        frame = await self.until(h2.GOAWAY)
        last, code = struct.unpack_from(">II", frame.payload)
        return last, code, frame.payload[8:]


@dataclass
class House:
    """A running server with what its methods saw."""

    server: GrpcServer
    port: int = 0
    seen: list[Any] = field(default_factory=list)
    cancelled: list[Any] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)

    async def connect(self, settings: dict[int, int] | None = None, *, hello: bool = True, **options: Any) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self.peers.append(peer)
        if hello:
            await peer.hello(settings)
        return peer

    until = staticmethod(until)

    async def still_serves(self) -> None:
        """Another client gets its answer."""
        peer = await self.connect()
        await peer.send(call(1, b"still here"))
        assert (await peer.answer(1)).messages == [b"still here"]
        await peer.close()


def _methods(house: House) -> dict[str, Any]:
    def watch(exchange: Any) -> None:
        house.seen.append(exchange)
        exchange.on_cancel = lambda: house.cancelled.append(exchange)

    def echo(exchange: GrpcExchange) -> None:
        watch(exchange)
        exchange.respond(exchange.message)

    def fault(exchange: GrpcExchange) -> None:
        watch(exchange)
        raise RuntimeError("secret")

    def bidi(stream: GrpcStream) -> None:
        watch(stream)
        stream.on_message = lambda body: (house.got.append(bytes(body)), stream.send(body))
        stream.on_half_close = stream.finish

    def push(stream: GrpcStream) -> None:
        watch(stream)
        stream.on_message = lambda body: house.got.append(bytes(body))

    return {
        ECHO: UnaryMethod(echo),
        KEEP: UnaryMethod(watch),
        RAISE: UnaryMethod(fault),
        BIDI: StreamingMethod(bidi),
        PUSH: StreamingMethod(push),
    }


@contextlib.asynccontextmanager
async def serving(*, limits: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[House]:
    """A server with the methods above; Keep and Push leave it to the test to answer."""
    house: House
    methods: dict[str, Any] = {}
    house = House(GrpcServer(methods.get, GrpcLimits(**{"sweep_interval_s": 0.02, **(limits or {})}), **options))
    methods.update(_methods(house))
    house.port = await house.server.start("127.0.0.1", 0)
    try:
        yield house
    finally:
        for peer in house.peers:
            await peer.close()
        await asyncio.wait_for(house.server.close(), LOOP_WAIT_S)
        assert house.server.open_connections == 0
        assert house.server.open_calls == 0
        assert house.server.held_bytes == 0


@dataclass(frozen=True)
class Tools:
    """The tools above, for tests that cannot import this file."""

    serving = staticmethod(serving)
    headers = staticmethod(headers)
    head_fields = staticmethod(head_fields)
    data = staticmethod(data)
    message = staticmethod(message)
    call = staticmethod(call)
    wait_s = LOOP_WAIT_S
    echo = ECHO
    keep = KEEP
    fault = RAISE
    bidi = BIDI
    push = PUSH


@pytest.fixture(scope="session")
def grpc_tools() -> type[Tools]:
    return Tools
