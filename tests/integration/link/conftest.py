"""A link between raw sockets on 127.0.0.1, on uvloop."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from edgewise.link.emulator import LinkEmulator
from support.event_loop import run
from support.raw_peers import RawPeer
from support.waiting import LOOP_WAIT_S, until


class Peer(RawPeer):
    """One TCP connection, as the test holds it."""

    async def receive(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), LOOP_WAIT_S)

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


@dataclass
class Place:
    """A link, the server behind it, and its clients."""

    link: LinkEmulator
    server_port: int
    echo: bool
    peers: list[Peer] = field(default_factory=list)
    served: asyncio.Queue[Peer] = field(default_factory=asyncio.Queue)

    async def connect(self) -> Peer:
        peer = Peer(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.link.port), LOOP_WAIT_S))
        self.peers.append(peer)
        return peer

    async def on_server(self) -> Peer:
        """The next connection that reached the server."""
        return await asyncio.wait_for(self.served.get(), LOOP_WAIT_S)

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

    until = staticmethod(until)


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
        await asyncio.wait_for(link.stop(), LOOP_WAIT_S)
        assert link.open_connections == 0
        server.close()
        await server.wait_closed()


@dataclass(frozen=True)
class Links:
    """The tools above, for tests that cannot import this file."""

    run = staticmethod(run)
    linked = staticmethod(linked)
    wait_s = LOOP_WAIT_S


@pytest.fixture(scope="session")
def links() -> type[Links]:
    return Links
