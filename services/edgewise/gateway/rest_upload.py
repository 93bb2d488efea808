"""A long request body on its way to a site, piece by piece.

It is not kept, so it goes to one site only: a loss after its first piece cannot be made good.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from edgewise.core.routing.calls import Attempt
from edgewise.gateway.upstream_connection import UpstreamConnection
from edgewise.net.exchange import Body
from edgewise.net.http_incoming import IncomingBody, Piece

KEPT_BODY_BYTES: Final = 16 << 20
"""Bodies up to this length are kept until the answer, so that they can be sent again."""
_LOOK_S: Final = 0.02


class Upload:
    """The body of one long request. The app waits until there is a connection, and while the site is slower than it.

    Args:
        incoming: what the app sends.

    Attributes:
        begun: some of it may have been sent.
        chunked: its length is not known.
        on_sent: called once the last of it has been handed to the connection.
    """

    __slots__ = ("_connection", "_held", "_incoming", "_whole", "begun", "chunked", "on_sent")

    def __init__(self, incoming: IncomingBody) -> None:
        self.begun = False
        self.chunked = incoming.length_bytes is None
        self._incoming = incoming
        self._connection: UpstreamConnection | None = None
        self._held: list[Piece] = []
        self._whole = False
        self.on_sent: Callable[[], None] | None = None
        incoming.on_piece = self._piece
        incoming.on_end = self._ended
        incoming.pause()

    def flow_to(self, connection: UpstreamConnection) -> None:
        """Send what has come, and from now on each piece."""
        self.begun = True
        self._connection = connection
        connection.tell_room = self._incoming.resume
        held, self._held = self._held, []
        room = True
        for piece in held:
            room = self._write(connection, piece)
        if self._whole:
            self._finish(connection)
        elif room:
            self._incoming.resume()

    def stop(self) -> None:
        """Nobody wants the rest."""
        connection, self._connection = self._connection, None
        self._held = []
        self.begun = True
        if connection is not None:
            connection.tell_room = None

    def _piece(self, piece: Piece) -> None:
        connection = self._connection
        if connection is None:
            if not self.begun:
                self._held.append(piece)
        elif not self._write(connection, piece):
            self._incoming.pause()

    def _ended(self) -> None:
        self._whole = True
        if self._connection is not None:
            self._finish(self._connection)

    def _write(self, connection: UpstreamConnection, piece: Body) -> bool:
        return connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)  # type: ignore[str-format]

    def _finish(self, connection: UpstreamConnection) -> None:
        if self.chunked:
            connection.write(b"0\r\n\r\n")
        connection.sending = False
        self.stop()
        if self.on_sent is not None:
            self.on_sent()


class UploadProgress:
    """Tells the router that a site is there while it takes a long body, however slowly.

    It may have nothing to say for a long time, and probes may be late behind the body. What its system acknowledges is
    heard of it as well; a site that has stopped is silent once its system's buffer is full, as one that cannot be reached is at
    once.

    Args:
        connection: carries the body.
        attempt: is looked after while it is in flight, the time included in which the system still sends.
        heard: is told of the attempt each time that more has arrived.
    """

    __slots__ = ("_acknowledged_bytes", "_attempt", "_connection", "_heard")

    def __init__(self, connection: UpstreamConnection, attempt: Attempt, heard: Callable[[Attempt], None]) -> None:
        self._connection = connection
        self._attempt = attempt
        self._heard = heard
        self._acknowledged_bytes = connection.acknowledged_bytes()
        self._look_again()

    def _look_again(self) -> None:
        # Where the system does not tell, there is nothing to see.
        if self._acknowledged_bytes is not None:
            asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        if not self._attempt.open or self._attempt.carrier is not self._connection:
            return
        before, now = self._acknowledged_bytes, self._connection.acknowledged_bytes()
        self._acknowledged_bytes = now
        if now != before and now is not None:
            self._heard(self._attempt)
        self._look_again()
