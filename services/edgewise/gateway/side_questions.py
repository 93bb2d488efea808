"""Questions to sites beside those of apps: what an app was answered is asked of somebody else as well, and compared.

Few are under way at a time; further ones are left out, never queued. They go past the router: what becomes of them says nothing of
the link, and they are sent once, whatever becomes of them.
"""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgewise.core.routing.calls import Failure
from edgewise.gateway.rest_pieces import STREAM_OVER_BYTES, AnswerPieces, Source
from edgewise.net.errors import HttpClientError
from edgewise.net.exchange import Body
from edgewise.net.http_response_head import ResponseHead

if TYPE_CHECKING:
    from edgewise.gateway.upstream import HttpUpstream

MOST_IN_FLIGHT: Final = 4
# Requests may have a day; few of those that are asked of somebody who hangs would keep all others from being asked.
_LONGEST_S: Final = 30.0


class Asker(Protocol):
    """Who wants to know; told one of these, once. Calls `SideQuestions.ended` when it is through."""

    def answered(self, head: ResponseHead, body: bytes | bytearray) -> None:
        """The answer is whole."""
        ...

    def timed_out(self) -> None:
        """There was none in time."""
        ...

    def lost(self) -> None:
        """There will be none that could be used, which is nobody's fault: a lost connection, or an answer that is too long."""
        ...


class SideQuestions:
    """Those of one process, for one purpose.

    Attributes:
        in_flight: under way or being compared.
        skipped: left out since too many were under way.
        closed: nothing is asked any more.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.skipped = 0
        self.closed = False

    def room(self) -> bool:
        """Whether another question may be asked; counts one that may not."""
        if self.in_flight >= MOST_IN_FLIGHT or self.closed:
            self.skipped += 1
            return False
        return True

    def put(self, upstream: "HttpUpstream", parts: list[Body], asker: Asker, *, timeout_s: float, echo: bytes) -> None:
        """Ask; whether there is room was asked before.

        Args:
            parts: the question, as `HttpUpstream.send` takes it.
            timeout_s: half a minute is the most.
            echo: see `HttpUpstream.send`.
        """
        self.in_flight += 1
        question = _Question(asker)
        question.timer = asyncio.get_running_loop().call_later(min(timeout_s, _LONGEST_S), question.time_out)
        upstream.send(parts, question, question, echo=echo, stream_over_bytes=STREAM_OVER_BYTES)

    def ended(self) -> None:
        """An asker is through."""
        self.in_flight -= 1


class _Question:
    """One question; also its ticket."""

    __slots__ = ("_asker", "carrier", "sent_s", "timer")

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self.carrier: Any = None
        self.sent_s = monotonic()
        self.timer: asyncio.TimerHandle | None = None

    def sent(self, ticket: Any) -> None:
        """See `UpstreamCall`."""

    def bytes_came(self, ticket: Any) -> None:
        """See `UpstreamCall`."""

    def answer_begins(self, ticket: Any, head: ResponseHead, source: Source) -> AnswerPieces:
        """See `StreamingCall`: an answer as long as this is not compared."""
        del ticket, head
        self._stop_timer()
        pieces = AnswerPieces(source, None, _nothing)
        pieces.drop()
        self._asker.lost()
        return pieces

    def site_answered(self, ticket: Any, head: ResponseHead, body: bytes | bytearray) -> None:
        """See `UpstreamCall`."""
        del ticket
        self._stop_timer()
        self._asker.answered(head, body)

    def failed(self, ticket: Any, failure: Failure, error: HttpClientError) -> None:
        """See `UpstreamCall`."""
        del ticket, failure, error
        self._stop_timer()
        self._asker.lost()

    def time_out(self) -> None:
        """Nobody waits for longer than this."""
        self.timer = None
        if self.carrier is not None:
            self.carrier.cancel()
        self._asker.timed_out()

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def _nothing() -> None:
    """An answer that nobody asked for is cut off; nobody has to know."""
