"""A request that an app has its answer to is asked of the other tier as well, so that both answers can be compared."""

from typing import TYPE_CHECKING, Final

from edgewise.gateway.answer_fields import parse_version
from edgewise.gateway.capture_fields import Said
from edgewise.gateway.capture_samples import Taken
from edgewise.gateway.side_questions import SideQuestions
from edgewise.net.http_response_head import ResponseHead

if TYPE_CHECKING:
    from edgewise.gateway.capture_queue import SampleQueue
    from edgewise.gateway.site import Site

_OK: Final = 200


class OtherTier:
    """The `Asker` of one question; what was taken goes on to the queue with the answer, or without one.

    Args:
        taken: waits for this.
        site: that is asked.
    """

    __slots__ = ("_questions", "_queue", "_site", "_taken")

    def __init__(self, taken: Taken, site: "Site", questions: SideQuestions, queue: "SampleQueue") -> None:
        self._taken = taken
        self._site = site
        self._questions = questions
        self._queue = queue

    def answered(self, head: ResponseHead, body: bytes | bytearray) -> None:
        """See `Asker`."""
        headers = head.headers
        if head.status == _OK and headers.get(b"grpc-status", b"0") == b"0":
            config = self._site.config
            version = parse_version(headers.get(b"x-edgewise-model-version"))
            self._taken.other = Said(config.name, config.tier, version, headers, body)
        self._end()

    def timed_out(self) -> None:
        """See `Asker`."""
        self._end()

    def lost(self) -> None:
        """See `Asker`."""
        self._end()

    def _end(self) -> None:
        self._questions.ended()
        if self._taken.reasons or self._taken.other is not None:
            self._queue.put(self._taken)
