"""A long answer on its way to the app, piece by piece.

Until the first piece another site may still answer. From then on the app has the head, so a loss can only be shown by
cutting its connection: an answer that is not whole must not look as if it were.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from edgewise.net.errors import HttpClientError
from edgewise.net.http_exchange import HttpExchange

_LOG: Final = logging.getLogger(__name__)
STREAM_OVER_BYTES: Final = 1 << 20
"""Answers longer than this are passed on while they come."""
_STALL_S: Final = 10.0
# What is taken of an answer that nobody has asked for yet: the router waits for a better one.
_MAX_HELD_BYTES: Final = 4 << 20


class Source(Protocol):
    """Where the pieces come from: a connection to a site."""

    def pause(self) -> None:
        """Wait with the rest."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def cancel(self) -> None:
        """Nobody wants the rest."""
        ...


class AnswerPieces:
    """The body of one long answer.

    Args:
        source: is paused while the app is slower than the site.
        length_bytes: of the body; None where that is not known.
        on_cut: called when an app's connection had to be cut.

    Attributes:
        flowing: the app has the head and gets each piece as it comes.
        broken: the site was lost before the answer was whole.
        came_bytes: so far.
    """

    __slots__ = (
        "_exchange",
        "_held",
        "_held_bytes",
        "_length_bytes",
        "_on_cut",
        "_paused",
        "_source",
        "_stall_timer",
        "_whole",
        "broken",
        "came_bytes",
        "flowing",
    )

    def __init__(self, source: Source, length_bytes: int | None, on_cut: Callable[[], None]) -> None:
        self.flowing = False
        self.broken = False
        self.came_bytes = 0
        self._source: Source | None = source
        self._length_bytes = length_bytes
        self._on_cut = on_cut
        self._exchange: HttpExchange | None = None
        self._held: list[bytes | bytearray] = []
        self._held_bytes = 0
        self._paused = False
        self._whole = False
        self._stall_timer: asyncio.TimerHandle | None = None
        self._watch(-1)

    # --- what the app's side does ---

    def flow_to(self, exchange: HttpExchange, start: bytes) -> None:
        """Give the app the head, what has come, and from now on each piece.

        Args:
            exchange: its request.
            start: the encoded head, as for `HttpExchange.begin`.
        """
        self.flowing = True
        self._exchange = exchange
        exchange.on_cancel = self.drop
        exchange.on_drained = self._drained
        exchange.begin(start, self._length_bytes)
        held, self._held = self._held, []
        more = True
        for piece in held:
            more = exchange.write(piece)
        if self._whole:
            exchange.end()
        elif more:
            self._drained()
        else:
            self._pause()

    def drop(self) -> None:
        """Nobody wants it: neither what has come nor the rest."""
        source = self._end()
        self._held = []
        if source is not None:
            source.cancel()

    # --- what the site's side does ---

    def piece(self, piece: bytes | bytearray) -> None:
        """The next piece came."""
        self.came_bytes += len(piece)
        if self._exchange is not None:
            if not self._exchange.write(piece):
                self._pause()
        elif self._source is not None:
            self._held.append(piece)
            if self.came_bytes > _MAX_HELD_BYTES:
                self._pause()

    def ended(self) -> None:
        """The last piece was given."""
        self._whole = True
        self._end()
        if self._exchange is not None:
            self._exchange.end()

    def broke(self, error: HttpClientError) -> None:
        """There is no end to it."""
        self._end()
        self._break(str(error))

    # --- in between ---

    def _end(self) -> Source | None:
        source, self._source = self._source, None
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        return source

    def _break(self, why: str) -> None:
        self.broken = True
        self._held = []
        exchange = self._exchange
        if exchange is not None and not exchange.closed:
            _LOG.warning("a long answer ended after %d bytes: %s", self.came_bytes, why)
            self._on_cut()
            exchange.on_cancel = None
            exchange.abort()

    def _pause(self) -> None:
        if not self._paused and self._source is not None:
            self._paused = True
            self._source.pause()

    def _drained(self) -> None:
        if self._paused and self._source is not None:
            self._paused = False
            self._source.resume()

    def _watch(self, came_before_bytes: int) -> None:
        """A site that falls silent in the middle is not waited for without end; an app that is slow is the server's matter."""
        if came_before_bytes == self.came_bytes and not self._paused:
            source = self._end()
            if source is not None:
                source.cancel()
            self._break(f"nothing came for {_STALL_S:g} s")
            return
        self._stall_timer = asyncio.get_running_loop().call_later(_STALL_S, self._watch, self.came_bytes)
