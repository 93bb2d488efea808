"""The link between the agent and the hub: counts every byte, has a bandwidth, and is cut every few seconds when it is told to."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

_PIECE_BYTES = 16_384
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset, and what was not sent is thrown away."""


@dataclass(frozen=True, slots=True)
class Badness:
    """Of a link.

    Attributes:
        bytes_per_s: all connections together, each way; payload, as TCP carries it.
        every_s: so often all connections are reset.
        away_s: so long after that, new ones are reset as well.
    """

    bytes_per_s: float
    every_s: float
    away_s: float


class Relay:
    """Relays TCP, on a thread of its own, for as long as the program runs.

    Attributes:
        port: where it listens.
        up_bytes, down_bytes: put on the wire towards the hub and towards the site, delivered or not.
        cuts: how often it was cut.
        broken: how many connections that did.
    """

    def __init__(self, to_port: int) -> None:
        self.up_bytes = self.down_bytes = 0
        self.cuts = self.broken = 0
        self._to_port = to_port
        self._badness: Badness | None = None
        self._is_away = False
        self._free_s = {True: 0.0, False: 0.0}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="relay", daemon=True).start()

    @contextlib.contextmanager
    def bad(self, badness: Badness) -> Iterator[None]:
        """The link is bad inside."""
        cutting = asyncio.run_coroutine_threadsafe(self._cut(badness), self._loop)
        self._badness = badness
        try:
            yield
        finally:
            cutting.cancel()
            self._badness = None
            self._is_away = False

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._relay, sock=self._listening))
        self._loop.run_forever()

    async def _cut(self, badness: Badness) -> None:
        while True:
            await asyncio.sleep(badness.every_s - badness.away_s)
            self._is_away = True
            self.cuts += 1
            self.broken += len(self._writers) // 2
            for writer in list(self._writers):
                _reset(writer)
            await asyncio.sleep(badness.away_s)
            self._is_away = False

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_away:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            _reset(writer)
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer, is_up=True))
                group.create_task(self._pass(far_reader, writer, is_up=False))
        except* OSError:
            pass
        finally:
            self._writers -= both
            for one in both:
                one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool) -> None:
        # What was handed over is on its way: nothing piles up here that a cut would take back.
        writer.transport.set_write_buffer_limits(0)
        while data := await reader.read(_PIECE_BYTES):
            await self._take_turn(len(data), is_up=is_up)
            if is_up:
                self.up_bytes += len(data)
            else:
                self.down_bytes += len(data)
            writer.write(data)
            await writer.drain()
        # One side has said all it had to: HTTP needs no half of a connection.
        raise ConnectionResetError

    async def _take_turn(self, count: int, *, is_up: bool) -> None:
        if self._badness is None:
            return
        now_s = self._loop.time()
        begin_s = max(now_s, self._free_s[is_up])
        self._free_s[is_up] = begin_s + count / self._badness.bytes_per_s
        await asyncio.sleep(self._free_s[is_up] - now_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
