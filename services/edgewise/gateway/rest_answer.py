"""A site's answer as the app gets it: made once for each head that a site repeats."""

from typing import TYPE_CHECKING, Final

from edgewise.core.routing.calls import Outcome
from edgewise.gateway.answer_fields import (
    attempt_fields,
    parse_confidence,
    parse_queue_depth,
    parse_retry_after_s,
)
from edgewise.gateway.forwarding import OWN_ANSWER_FIELDS, end_to_end
from edgewise.net.http_answer import encode_fields, reason_phrase
from edgewise.net.http_response_reader import ResponseHead

if TYPE_CHECKING:
    from edgewise.gateway.site import Site

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


class AnswerHead:
    """What one response head of a site comes to.

    Attributes:
        outcome, confidence, queue_depth, retry_after_s: what it says to the router.
        status: of the answer.
        dated: the site said when; otherwise the date of the answer is ours to add.
        length_bytes: what it says of the body's length; None where it does not.
        only: the encoded head for the one attempt of a request that went where its route prefers.
    """

    __slots__ = (
        "_fields",
        "_who",
        "confidence",
        "dated",
        "length_bytes",
        "only",
        "outcome",
        "queue_depth",
        "retry_after_s",
        "status",
    )

    def __init__(self, head: ResponseHead, site: "Site") -> None:
        headers = head.headers
        self.status = head.status
        self.outcome = outcome_of(head.status)
        self.confidence = parse_confidence(headers.get(b"x-edgewise-confidence"))
        self.queue_depth = parse_queue_depth(headers.get(b"x-edgewise-queue-depth"))
        self.retry_after_s = parse_retry_after_s(headers.get(b"retry-after"))
        self.dated = b"date" in headers
        length = headers.get(b"content-length")
        self.length_bytes = int(length) if length is not None and length.isdigit() and len(length) < 20 else None
        passed_on = end_to_end(head.fields, headers.get(b"connection"), OWN_ANSWER_FIELDS)
        self._fields = encode_fields(passed_on)
        self._who = site.who
        self.only = self.start(1, "")

    def start(self, attempts: int, degraded: str) -> bytes:
        """Status line and fields.

        Args:
            attempts, degraded: see `attempt_fields`.
        """
        line = b"HTTP/1.1 %d %b\r\n" % (self.status, reason_phrase(self.status).encode("ascii"))
        return b"%b%b%b" % (line, self._fields, encode_fields((*self._who, *attempt_fields(attempts, degraded))))
