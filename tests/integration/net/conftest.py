"""A server and raw sockets on 127.0.0.1, on uvloop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from edgewise.net.exchange import Exchange
from edgewise.net.http_limits import HttpLimits
from edgewise.net.http_server import HttpServer
from support.event_loop import run
from support.raw_peers import HttpPeer, RawAnswer
from support.waiting import LOOP_WAIT_S, until


class Peer(HttpPeer):
    """A client whose answers have no field twice."""

    async def answer(self, *, to_head: bool = False) -> RawAnswer:
        answer = await super().answer(to_head=to_head)
        assert len(answer.headers) == len(answer.fields)
        return answer


@dataclass
class House:
    """A running server with what its handler saw."""

    server: HttpServer
    port: int
    seen: list[Exchange] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    peers: list[Peer] = field(default_factory=list)

    async def connect(self, **options: Any) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self.peers.append(peer)
        return peer

    async def next_exchange(self) -> Exchange:
        """Wait until the handler got (another) request."""
        await asyncio.wait_for(self.arrived.wait(), LOOP_WAIT_S)
        self.arrived.clear()
        return self.seen[-1]

    until = staticmethod(until)


def echo(exchange: Exchange) -> None:
    """Answer with what was asked."""
    body = b"%b %b?%b|" % (exchange.method, exchange.path, exchange.query) + bytes(exchange.body)
    exchange.respond(200, [(b"content-type", b"text/plain")], body)


@contextlib.asynccontextmanager
async def serving(
    handler: Callable[[Exchange], None] | None = echo, *, listen: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[House]:
    """A server; with handler None it keeps requests in `seen` for the test to answer."""
    limits = HttpLimits(**{"sweep_interval_s": 0.02, **options.pop("limits", {})})
    house: House

    def record(exchange: Exchange) -> None:
        house.seen.append(exchange)
        house.arrived.set()
        if handler is not None:
            handler(exchange)

    server = HttpServer(record, limits, **options)
    house = House(server, await server.start("127.0.0.1", 0, **(listen or {})))
    try:
        yield house
    finally:
        for peer in house.peers:
            await peer.close()
        await asyncio.wait_for(server.close(), LOOP_WAIT_S)
        assert server.open_connections == 0


@dataclass(frozen=True)
class Net:
    """The tools above, for tests that cannot import this file."""

    run = staticmethod(run)
    serving = staticmethod(serving)
    echo = staticmethod(echo)
    peer = Peer
    wait_s = LOOP_WAIT_S


@pytest.fixture(scope="session")
def net() -> type[Net]:
    return Net
