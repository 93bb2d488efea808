"""One connection through the link: the client's side, the server's side, and a lane each way."""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from edgewise.link.lane import FROZEN, Ending, Lane

if TYPE_CHECKING:
    from edgewise.link.emulator import LinkEmulator

_LINGER_0: Final = struct.pack("ii", 1, 0)


def reset_on_close(sock: socket.socket) -> None:
    """Let closing the socket send RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)


class Side(asyncio.BufferedProtocol):
    """One of the two TCP connections that a connection through the link is made of."""

    __slots__ = ("_buffer", "_connection", "_reasons", "inbound", "lost", "outbound", "transport")

    def __init__(self, connection: "Connection", buffer: memoryview) -> None:
        self._connection = connection
        self._buffer = buffer
        self._reasons = 0
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.outbound: Lane
        """What this side sends."""
        self.inbound: Lane
        """What this side receives."""

    # --- the loop's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        if self._reasons:
            # Not now: uvloop begins to read when this call returns.
            asyncio.get_running_loop().call_soon(self._pause)
        self.inbound.connect(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's signature
        """Where to receive."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what was received."""
        self.outbound.take(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """This side sends no more; it may still receive."""
        self.outbound.finish(Ending.FIN)
        return True

    def pause_writing(self) -> None:
        """This side's peer does not read."""
        self.inbound.block()

    def resume_writing(self) -> None:
        """It reads again."""
        self.inbound.unblock()

    def connection_lost(self, error: Exception | None) -> None:
        """This side is gone."""
        self.lost = True
        self.outbound.finish(Ending.RESET if error is not None else Ending.FIN)
        self._connection.lost(self)

    # --- as the source of a lane ---

    def hold(self, reason: int) -> None:
        """Read no further."""
        self._reasons |= reason
        self._pause()

    def release(self, reason: int) -> None:
        """A reason not to read has gone."""
        if self._reasons & reason:
            self._reasons &= ~reason
            if not self._reasons and self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    def _pause(self) -> None:
        if self._reasons and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    # --- as the sink of a lane ---

    def write(self, data: bytes) -> None:
        """Send to this side's peer."""
        # uvloop raises for a transport that has failed and has not said so yet.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def end(self) -> None:
        """The other side sends no more."""
        self._connection.half_closed(self)

    def reset(self) -> None:
        """The other side was reset."""
        self._connection.abort(reset=True)

    def shut(self) -> None:
        """Close in order, after what is written."""
        if self.transport is not None:
            self.transport.close()

    def half_close(self) -> None:
        """Tell this side's peer that no more comes."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def cut(self, *, reset: bool) -> None:
        """Close at once."""
        if self.transport is None or self.transport.is_closing():
            return
        if reset:
            sock = self.transport.get_extra_info("socket")
            if sock is not None:
                reset_on_close(sock)
        self.transport.abort()


class Connection:
    """A connection through the link.

    Args:
        link: whose it is.
        sock: the client's, just accepted.
        opened_s: when that was.

    Attributes:
        client, server: the two sides.
        opening: makes the connection to the server.
    """

    def __init__(self, link: "LinkEmulator", sock: socket.socket, opened_s: float) -> None:
        self._link = link
        self._socket: socket.socket | None = sock
        self._opened_s = opened_s
        self._ended_sides: set[Side] = set()
        self.client = Side(self, link.receive_buffer)
        self.server = Side(self, link.receive_buffer)
        # Making a connection takes a round trip over a real link. The relay's kernel has accepted already, so the first
        # bytes pay for it.
        self._handshake_up_s = link.up.wire.handshake_s()
        made_s = opened_s + self._handshake_up_s + link.down.wire.handshake_s()
        up = Lane(link.up, self.client, made_s + link.up.wire.conditions.delay_s)
        down = Lane(link.down, self.server, made_s)
        up.opposite, down.opposite = down, up
        self.client.outbound = self.server.inbound = up
        self.server.outbound = self.client.inbound = down
        if link.frozen:
            self.freeze()
        self.opening = asyncio.get_running_loop().create_task(self._open(sock))

    async def _open(self, sock: socket.socket) -> None:
        """Take the client's socket and connect to the server, as late as the link lets that through."""
        loop = asyncio.get_running_loop()
        link = self._link
        try:
            await loop.connect_accepted_socket(lambda: self.client, sock)
        except OSError:
            self._abandon()
            return
        self._socket = None
        try:
            wait_s = self._opened_s + self._handshake_up_s - link.clock()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await link.passable.wait()
            async with asyncio.timeout(link.connect_timeout_s):
                await loop.create_connection(lambda: self.server, *link.to)
        except (OSError, TimeoutError) as error:
            link.note_unreached(error)
            self.server.outbound.finish(Ending.RESET)

    def half_closed(self, side: Side) -> None:
        """All that one side will ever receive has been passed on to it."""
        self._ended_sides.add(side)
        if len(self._ended_sides) == 2:
            self.client.shut()
            self.server.shut()
        else:
            side.half_close()

    def finish(self) -> None:
        """End in order: both sides get what is under way, then FIN."""
        for side in (self.client, self.server):
            side.outbound.finish(Ending.FIN)

    def abort(self, *, reset: bool) -> None:
        """End at once, both ways."""
        for side in (self.client, self.server):
            side.inbound.discard()
            side.cut(reset=reset)
        if all(side.transport is None or side.lost for side in (self.client, self.server)):
            self._abandon()

    def freeze(self) -> None:
        """Read no further."""
        self.client.hold(FROZEN)
        self.server.hold(FROZEN)

    def thaw(self) -> None:
        """Read again."""
        self.client.release(FROZEN)
        self.server.release(FROZEN)

    @property
    def has_lost_bytes(self) -> bool:
        """Whether bytes of it were dropped for good."""
        return self.client.outbound.lost or self.server.outbound.lost

    def lost(self, side: Side) -> None:
        """One of the sides is gone."""
        side.inbound.discard()
        other = self.server if side is self.client else self.client
        if other.lost or other.transport is None:
            self._abandon()

    def _abandon(self) -> None:
        """Nobody is there any more on the client's side, and on the server's side nobody yet or any more."""
        for side in (self.client, self.server):
            side.inbound.discard()
        if self.opening is not asyncio.current_task():
            self.opening.cancel()
        if self._socket is not None:
            self._socket.close()
        self._link.forget(self)
