"""A link between raw sockets on 127.0.0.1, on uvloop."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from edgewise.link.emulator import LinkEmulator

WAIT_S = 20.0


class Peer:
    """One TCP connection, as the test holds it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), WAIT_S)

    async def receive(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), WAIT_S)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), WAIT_S)

    async def ask(self, question: bytes) -> bytes:
        """Send, and wait for as many bytes from an echo."""
        await self.send(question)
        return await self.receive(len(question))

    async def nothing_comes(self, while_: Coroutine[Any, Any, Any]) -> None:
        """Nothing is received until `while_` is done."""
        reading = asyncio.ensure_future(self.reader.read(1))
        await while_
        assert not reading.done()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@dataclass
class Place:
    """A link, the server behind it, and its clients."""

    link: LinkEmulator
    server_port: int
    echo: bool
    peers: list[Peer] = field(default_factory=list)
    served: asyncio.Queue[Peer] = field(default_factory=asyncio.Queue)

    async def connect(self) -> Peer:
        peer = Peer(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.link.port), WAIT_S))
        self.peers.append(peer)
        return peer

    async def on_server(self) -> Peer:
        """The next connection that reached the server."""
        return await asyncio.wait_for(self.served.get(), WAIT_S)

    async def direct(self) -> Peer:
        """A connection that does not use the link."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.server_port))
        self.peers.append(peer)
        return peer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self.served.put_nowait(peer)
        if not self.echo:
            return
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the loop turn until something holds."""
        async with asyncio.timeout(WAIT_S):
            while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def linked(*, echo: bool = True, **options: Any) -> AsyncIterator[Place]:
    """A link to a server that echoes, or that the test speaks for."""
    place: Place

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await place.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = LinkEmulator(("127.0.0.1", 0), ("127.0.0.1", port), seed=1, **options)
    place = Place(link, port, echo)
    await link.start()
    try:
        yield place
    finally:
        for peer in place.peers:
            peer.writer.transport.abort()
        await asyncio.wait_for(link.stop(), WAIT_S)
        assert link.open_connections == 0
        server.close()
        await server.wait_closed()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on a fresh uvloop; an exception that reached the loop fails the test."""
    reached: list[dict[str, Any]] = []

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reached.append(context))
        await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())
    assert reached == []


@dataclass(frozen=True)
class Links:
    """The tools above, for tests that cannot import this file."""

    run = staticmethod(run)
    linked = staticmethod(linked)
    wait_s = WAIT_S


@pytest.fixture(scope="session")
def links() -> type[Links]:
    return Links
