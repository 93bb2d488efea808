"""Keeps connections of a pool fit for large requests, so that the first ones after a cut take no longer than others.

A connection whose TCP window is smaller than a request is sent a question whose answer nobody waits for (`tcp_window.py`
says why). It is busy for that time, and a request takes another one. Whole flights are sent: the last segments of a
question cost a round trip as well, and a full flight doubles the window.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from edgewise.core.routing.calls import Failure
from edgewise.gateway.tcp_window import NEW, TcpWindow
from edgewise.gateway.upstream import HttpUpstream
from edgewise.gateway.upstream_connection import UpstreamConnection
from edgewise.net.errors import HttpClientError
from edgewise.net.exchange import Body
from edgewise.net.http_response_head import ResponseHead

# What a request has besides its body, and a question.
_HEAD_BYTES: Final = 1024
_QUESTION_HEAD_BYTES: Final = 512


class _Question:
    """One connection being warmed: what the pool has sent, and what stands for it."""

    __slots__ = ("carrier", "sent_s", "warming")

    def __init__(self, warming: "UpstreamWarming") -> None:
        self.warming = warming
        self.carrier: Any = None
        self.sent_s = monotonic()

    def sent(self, ticket: Any) -> None:
        pass

    def bytes_came(self, ticket: Any) -> None:
        pass

    def site_answered(self, ticket: Any, head: ResponseHead, body: bytes | bytearray) -> None:
        del ticket, head, body
        self.warming.over(self)

    def failed(self, ticket: Any, failure: Failure, error: HttpClientError) -> None:
        del ticket, failure, error
        self.warming.over(self)


class UpstreamWarming:
    """Warms the connections of one pool. Used on the event loop's thread only.

    Args:
        upstream: the pool.
        question: makes a request with a body of so many bytes, whose answer is small.
        max_question_bytes: no question is larger.
        timeout_s: a question that is not answered by then is given up, with its connection.

    Attributes:
        asked: questions sent.
    """

    def __init__(
        self,
        upstream: HttpUpstream,
        question: Callable[[int], list[Body]],
        *,
        max_question_bytes: int = 1 << 20,
        timeout_s: float = 5.0,
    ) -> None:
        self.asked = 0
        self._upstream = upstream
        self._question = question
        self._max_question_bytes = max_question_bytes
        self._timeout_s = timeout_s
        # Those under way, the oldest first.
        self._open: dict[_Question, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def under_way(self) -> int:
        """Connections that are being warmed."""
        return len(self._open)

    def warm(self, connections: int, payload_bytes: int, *, at_once: int = 0, lasts_s: float = 0.0) -> None:
        """Have at least so many connections that can send a request without waiting for the network in between.

        Args:
            connections: so many, those in use included; others are opened where there are too few.
            payload_bytes: of the request's body.
            at_once: so many of them are used from now on, and stay fit by that.
            lasts_s: how long the others have to be fit without being used.
        """
        upstream = self._upstream
        needed_bytes = payload_bytes + _HEAD_BYTES
        in_use = sum(
            connection.busy
            and type(connection.call) is not _Question
            and _is_fit(connection.window(), needed_bytes, 0.0)
            for connection in upstream.connections
        )
        fit: list[UpstreamConnection] = []
        fading: list[UpstreamConnection] = []
        cold: list[UpstreamConnection] = []
        windows: dict[UpstreamConnection, TcpWindow | None] = {}
        at_once -= in_use
        # The one that is used next is the last.
        for connection in reversed(upstream.idle):
            if not connection.usable:
                continue
            window = windows[connection] = connection.window()
            if not _is_fit(window, needed_bytes, 0.0):
                cold.append(connection)
            elif len(fit) < at_once or _is_fit(window, needed_bytes, lasts_s):
                fit.append(connection)
            else:
                fading.append(connection)
        missing = connections - in_use - len(fit) - len(self._open)
        asked = [*cold, *fading][: max(0, missing)]
        # Requests take those first that are fit; but before them the pool takes those that are asked.
        upstream.idle[:] = (
            *reversed(cold[len(asked) :]),
            *reversed(fading[max(0, len(asked) - len(cold)) :]),
            *reversed(fit),
            *reversed(asked),
        )
        for connection in asked:
            self._ask(windows[connection], needed_bytes, lasts_s, fresh=False)
        for _ in range(missing - len(asked)):
            self._ask(NEW, needed_bytes, lasts_s, fresh=True)

    def give_up(self) -> None:
        """Nobody needs it any more: close the connections being warmed, with what is unsent in them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._give_up_until(float("inf"))

    def over(self, question: _Question) -> None:
        """A question was answered, or its connection lost."""
        self._open.pop(question, None)

    def _ask(self, window: TcpWindow | None, needed_bytes: int, lasts_s: float, *, fresh: bool) -> None:
        parts = self._question(_question_bytes(window or NEW, needed_bytes, lasts_s, self._max_question_bytes))
        question = _Question(self)
        self._open[question] = None
        self.asked += 1
        self._upstream.send(parts, question, question, fresh=fresh)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._look)

    def _look(self) -> None:
        self._timer = None
        self._give_up_until(monotonic() - self._timeout_s)
        oldest = next(iter(self._open), None)
        if oldest is not None:
            left_s = oldest.sent_s + self._timeout_s - monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left_s), self._look)

    def _give_up_until(self, sent_s: float) -> None:
        for question in [question for question in self._open if question.sent_s <= sent_s]:
            del self._open[question]
            if question.carrier is not None:
                question.carrier.cancel()


def _is_fit(window: TcpWindow | None, needed_bytes: int, idle_s: float) -> bool:
    """Whether a connection can send so much at once after being idle so much longer, or could hardly be made to."""
    if window is None:
        return False
    return window.bytes_after(idle_s) >= min(needed_bytes, window.threshold_bytes)


def _question_bytes(window: TcpWindow, needed_bytes: int, lasts_s: float, most_bytes: int) -> int:
    """How large the body of a question is that makes the window large enough, also after being idle for `lasts_s`.

    Returns: whole flights, one at least.
    """
    target_bytes = min(needed_bytes << min(window.halvings(lasts_s), 31), window.threshold_bytes)
    flight_bytes = total_bytes = min(window.bytes_after(0.0), most_bytes)
    # A flight that was answered has doubled the window.
    while 2 * flight_bytes < target_bytes and total_bytes + 2 * flight_bytes <= most_bytes:
        flight_bytes *= 2
        total_bytes += flight_bytes
    return max(1, total_bytes - _QUESTION_HEAD_BYTES)
