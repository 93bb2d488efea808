"""Asks the new version of a canary what the old one has just answered, and compares: the app has its answer, and waits for nothing.

See `side_questions.py` for how it is asked.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from edgewise.gateway.canaries import Canary
from edgewise.gateway.side_questions import SideQuestions
from edgewise.net.exchange import Body
from edgewise.net.http_head_shape import is_count
from edgewise.net.http_response_head import ResponseHead
from edgewise.protocols.answers import JSON_LENGTH_HEADER, Answered, Form

if TYPE_CHECKING:
    from edgewise.gateway.upstream import HttpUpstream

_LOG: Final = logging.getLogger(__name__)
MAX_SHADOWED_BYTES: Final = 1 << 20
VERSION_FIELD: Final = b"x-edgewise-model-version"
# No room, or no such version (any more): this says nothing of what it would have answered.
_NO_ANSWER: Final = frozenset({404, 429, 503})


class Shadows(SideQuestions):
    """The questions of one process."""

    def __init__(self) -> None:
        super().__init__()
        self._threads: ThreadPoolExecutor | None = None

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
        self.put(upstream, parts, _Shadow(self, canary, form, old), timeout_s=timeout_s, echo=echo)

    def compare(self, canary: Canary, form: Form, old: Answered, new: Answered) -> None:
        """Compare two answers in a thread: they may be large, and what reads them takes a while to import."""
        if self.closed:
            self.ended()
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        loop = asyncio.get_running_loop()
        future = self._threads.submit(_agree, form, old, new)
        future.add_done_callback(lambda done: _on_loop(loop, partial(self._compared, canary, done)))

    def _compared(self, canary: Canary, done: "Future[bool | None]") -> None:
        self.ended()
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
        self.closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _agree(form: Form, old: Answered, new: Answered) -> bool | None:
    from edgewise.protocols.agreement import agree  # noqa: PLC0415 - numpy is for gateways that compare, and not on the loop

    return agree(form, old, new)


def _on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


class _Shadow:
    """The `Asker` of one question."""

    __slots__ = ("_canary", "_form", "_old", "_shadows")

    def __init__(self, shadows: Shadows, canary: Canary, form: Form, old: Answered) -> None:
        self._shadows = shadows
        self._canary = canary
        self._form = form
        self._old = old

    def answered(self, head: ResponseHead, body: bytes | bytearray) -> None:
        """See `Asker`."""
        headers = head.headers
        version = headers.get(VERSION_FIELD)
        if head.status in _NO_ANSWER or (version is not None and version != b"%d" % self._canary.new.version):
            self._shadows.ended()
        elif head.status != 200:
            self.timed_out()
        else:
            new = answered(headers, body)
            if new is None:
                self._shadows.ended()
            else:
                self._shadows.compare(self._canary, self._form, self._old, new)

    def timed_out(self) -> None:
        """See `Asker`: the old version was quicker than that, so the new one has failed."""
        self._canary.shadowed += 1
        self._canary.shadow_errors += 1
        self._shadows.ended()

    def lost(self) -> None:
        """See `Asker`."""
        self._shadows.ended()


def answered(headers: Mapping[bytes, bytes], body: Body) -> Answered | None:
    """An answer as `agree` takes it; None for one that is encoded, or too long to be looked into."""
    json_bytes = headers.get(JSON_LENGTH_HEADER)
    if b"content-encoding" in headers or len(body) > MAX_SHADOWED_BYTES or (json_bytes and not is_count(json_bytes)):
        return None
    return Answered(body, None if json_bytes is None else int(json_bytes))
