"""A site's answer as the app gets it: made once for each head that a site repeats."""

from typing import TYPE_CHECKING, Final

from edgewise.core.routing.calls import Outcome
from edgewise.gateway.answer_fields import (
    attempt_fields,
    parse_confidence,
    parse_queue_depth,
    parse_retry_after_s,
    parse_version,
)
from edgewise.gateway.forwarding import OWN_ANSWER_FIELDS, end_to_end
from edgewise.gateway.rest_pieces import AnswerPieces
from edgewise.net.http_answer import encode_fields, reason_phrase
from edgewise.net.http_head_shape import is_count
from edgewise.net.http_response_head import ResponseHead

if TYPE_CHECKING:
    from edgewise.gateway.site import Site

_NO_ROOM: Final = 503
# A version that refuses what the other one takes is worse; what apps do wrong meets both alike, since chance decides who is asked.
_REFUSED: Final = 400
_OUTCOMES: Final = {
    404: Outcome.NOT_SERVED,
    # What the model does not offer is the app's mistake, not the site's.
    501: Outcome.OK,
    429: Outcome.OVERLOADED,
    503: Outcome.OVERLOADED,
    504: Outcome.EXPIRED,
}


def outcome_of(status: int) -> Outcome:
    """What a status means for routing."""
    outcome = _OUTCOMES.get(status)
    if outcome is not None:
        return outcome
    return Outcome.OK if status < 500 else Outcome.SITE_ERROR


class AnswerShape:
    """What heads of a site's answers come to that differ in a few values only; see `HeadShape`.

    Attributes:
        outcome, retry_after_s: what it says to the router.
        status: of the answer.
        dated: the site said when; otherwise the date of the answer is ours to add.
        only: the encoded head for the one attempt of a request that went where its route prefers.
        confidence, queue_depth: where every head of the shape says the same.
        varies: more than the length differs.
        version: of the model that answered; 0 where the site does not say.
        fault: it is an error that may be the version's fault, as a rollout sees it.
        headers: of the head that it was made of; what varies is another one's.
    """

    __slots__ = (
        "_fields",
        "_who",
        "confidence",
        "dated",
        "fault",
        "headers",
        "only",
        "outcome",
        "queue_depth",
        "retry_after_s",
        "status",
        "varies",
        "version",
    )

    def __init__(self, head: ResponseHead, site: "Site") -> None:
        self.headers = headers = head.headers
        self.status = head.status
        self.outcome = outcome_of(head.status)
        self.retry_after_s = parse_retry_after_s(headers.get(b"retry-after"))
        self.confidence = parse_confidence(headers.get(b"x-edgewise-confidence"))
        self.queue_depth = parse_queue_depth(headers.get(b"x-edgewise-queue-depth"))
        self.dated = b"date" in headers
        self.version = parse_version(headers.get(b"x-edgewise-model-version"))
        self.fault = head.status == _REFUSED or (head.status >= 500 and head.status != _NO_ROOM)
        self.varies = any(name != b"content-length" for name in head.shape.names)
        dropped = OWN_ANSWER_FIELDS.union(head.shape.names)
        self._fields = encode_fields(end_to_end(head.fields, headers.get(b"connection"), dropped))
        self._who = site.who
        self.only = self.start(1, "")

    def read_varied(self, said: dict[bytes, bytes]) -> tuple[bytes, float | None, int | None]:
        """What one head says where `varies`.

        Args:
            said: `ResponseHead.varied`.
        Returns: the encoded fields, confidence and queue depth.
        """
        varied = b""
        confidence, queue_depth = self.confidence, self.queue_depth
        value = said.get(b"x-edgewise-queue-depth")
        if value is not None:
            queue_depth = int(value)
            varied = b"x-edgewise-queue-depth: %b\r\n" % value
        value = said.get(b"x-edgewise-confidence")
        if value is not None:
            confidence = parse_confidence(value)
            varied = b"%bx-edgewise-confidence: %b\r\n" % (varied, value)
        return varied, confidence, queue_depth

    def start(self, attempts: int, degraded: str) -> bytes:
        """Status line and fields, without those that vary.

        Args:
            attempts, degraded: see `attempt_fields`.
        """
        line = b"HTTP/1.1 %d %b\r\n" % (self.status, reason_phrase(self.status).encode("ascii"))
        return b"%b%b%b" % (line, self._fields, encode_fields((*self._who, *attempt_fields(attempts, degraded))))


RestAnswer = tuple[AnswerShape, bytes, bytes | bytearray, AnswerPieces | int | None]
"""A site's answer, for `Attempt.answer`: what its head comes to, the encoded fields of the head that its shape does not have,
the body, and rarely: a long body that is still coming, or what Content-Length has to say to HEAD."""


def length_said(head: ResponseHead) -> int | None:
    """What a head says of the body's length, where it says a number."""
    length = head.headers.get(b"content-length")
    return int(length) if length is not None and is_count(length) else None
