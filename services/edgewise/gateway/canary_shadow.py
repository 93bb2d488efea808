"""Asks the new version of a canary what the old one has just answered, and compares: the app has its answer, and waits for nothing.

Few questions are under way at a time; further ones are left out, never queued. They go past the router: what becomes of them says nothing
of the link, and they are sent once, whatever becomes of them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from edgewise.core.routing.calls import Failure
from edgewise.gateway.canaries import Canary
from edgewise.gateway.rest_pieces import STREAM_OVER_BYTES, AnswerPieces, Source
from edgewise.net.errors import HttpClientError
from edgewise.net.exchange import Body
from edgewise.net.http_head_shape import is_count
from edgewise.net.http_response_head import ResponseHead
from edgewise.protocols.answers import JSON_LENGTH_HEADER, Answered, Form

if TYPE_CHECKING:
    from edgewise.gateway.upstream import HttpUpstream

_LOG: Final = logging.getLogger(__name__)
MOST_IN_FLIGHT: Final = 4
MAX_SHADOWED_BYTES: Final = 1 << 20
# Requests may have a day; few of those that are asked of a version that hangs would keep all others from being asked.
_LONGEST_S: Final = 30.0
VERSION_FIELD: Final = b"x-edgewise-model-version"
# No room, or no such version (any more): this says nothing of what it would have answered.
_NO_ANSWER: Final = frozenset({404, 429, 503})


class Shadows:
    """The questions of one process.

    Attributes:
        in_flight: under way or being compared.
        skipped: left out since too many were under way.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.skipped = 0
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    def room(self) -> bool:
        """Whether another question may be asked; counts one that may not."""
        if self.in_flight >= MOST_IN_FLIGHT or self._closed:
            self.skipped += 1
            return False
        return True

    def ask(
        self,
        upstream: "HttpUpstream",
        parts: list[Body],
        *,
        canary: Canary,
        form: Form,
        old: Answered,
        timeout_s: float,
        echo: bytes,
    ) -> None:
        """Ask the new version; whether there is room was asked before.

        Args:
            upstream: of the endpoint that the old version answered from.
            parts: the question, as `HttpUpstream.send` takes it.
            canary: counts what comes of it.
            form, old: what the old version answered.
            timeout_s: a new version that takes longer has failed; half a minute is the most.
            echo: see `HttpUpstream.send`.
        """
        self.in_flight += 1
        shadow = _Shadow(self, canary, form, old)
        shadow.timer = asyncio.get_running_loop().call_later(min(timeout_s, _LONGEST_S), shadow.time_out)
        upstream.send(parts, shadow, shadow, echo=echo, stream_over_bytes=STREAM_OVER_BYTES)

    def compare(self, canary: Canary, form: Form, old: Answered, new: Answered) -> None:
        """Compare two answers in a thread: they may be large, and what reads them takes a while to import."""
        if self._closed:
            self.in_flight -= 1
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        loop = asyncio.get_running_loop()
        future = self._threads.submit(_agree, form, old, new)
        future.add_done_callback(lambda done: _on_loop(loop, partial(self._compared, canary, done)))

    def _compared(self, canary: Canary, done: "Future[bool | None]") -> None:
        self.in_flight -= 1
        if done.cancelled():
            return
        problem = done.exception()
        if problem is not None:
            _LOG.error("comparing two answers failed", exc_info=problem)
            return
        agreed = done.result()
        if agreed is not None:
            canary.shadowed += 1
            canary.disagreed += not agreed

    def close(self) -> None:
        """Ask nothing more, and do not wait for what is being compared."""
        self._closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _agree(form: Form, old: Answered, new: Answered) -> bool | None:
    from edgewise.protocols.agreement import agree  # noqa: PLC0415 - numpy is for gateways that compare, and not on the loop

    return agree(form, old, new)


def _on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


class _Shadow:
    """One question; also its ticket."""

    __slots__ = ("_canary", "_form", "_old", "_shadows", "carrier", "sent_s", "timer")

    def __init__(self, shadows: Shadows, canary: Canary, form: Form, old: Answered) -> None:
        self._shadows = shadows
        self._canary = canary
        self._form = form
        self._old = old
        self.carrier: Any = None
        self.sent_s = monotonic()
        self.timer: asyncio.TimerHandle | None = None

    # --- what the upstream tells ---

    def sent(self, ticket: Any) -> None:
        """See `UpstreamCall`."""

    def bytes_came(self, ticket: Any) -> None:
        """See `UpstreamCall`."""

    def answer_begins(self, ticket: Any, head: ResponseHead, source: Source) -> AnswerPieces:
        """See `StreamingCall`: an answer as long as this is not compared."""
        del ticket, head
        self._end()
        pieces = AnswerPieces(source, None, _nothing)
        pieces.drop()
        return pieces

    def site_answered(self, ticket: Any, head: ResponseHead, body: bytes | bytearray) -> None:
        """See `UpstreamCall`."""
        del ticket
        headers = head.headers
        version = headers.get(VERSION_FIELD)
        if head.status in _NO_ANSWER or (version is not None and version != b"%d" % self._canary.new.version):
            self._end()
        elif head.status != 200:
            self._count_error()
        else:
            self._stop_timer()
            new = answered(headers, body)
            if new is None:
                self._end()
            else:
                self._shadows.compare(self._canary, self._form, self._old, new)

    def failed(self, ticket: Any, failure: Failure, error: HttpClientError) -> None:
        """See `UpstreamCall`: what was lost is nobody's fault."""
        del ticket, failure, error
        self._end()

    # --- ends ---

    def time_out(self) -> None:
        """The old version was quicker than that."""
        self.timer = None
        if self.carrier is not None:
            self.carrier.cancel()
        self._count_error()

    def _count_error(self) -> None:
        self._canary.shadowed += 1
        self._canary.shadow_errors += 1
        self._end()

    def _end(self) -> None:
        self._stop_timer()
        self._shadows.in_flight -= 1

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def answered(headers: Mapping[bytes, bytes], body: Body) -> Answered | None:
    """An answer as `agree` takes it; None for one that is encoded, or too long to be looked into."""
    json_bytes = headers.get(JSON_LENGTH_HEADER)
    if b"content-encoding" in headers or len(body) > MAX_SHADOWED_BYTES or (json_bytes and not is_count(json_bytes)):
        return None
    return Answered(body, None if json_bytes is None else int(json_bytes))


def _nothing() -> None:
    """An answer that nobody asked for is cut off; nobody has to know."""
