"""A site's answer to a gRPC call as the app gets it: made once for each head that a site repeats."""

from collections.abc import Iterable, Mapping
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
from edgewise.net.grpc_answer import can_be_sent, encode_ok
from edgewise.net.grpc_client_answer import GrpcAnswer, parse_status
from edgewise.net.grpc_exchange import Field
from edgewise.net.grpc_over_http import MESSAGE_FIELD, STATUS_FIELD
from edgewise.net.http_response_head import ResponseHead
from edgewise.protocols.grpc_over_http import unescape_message

if TYPE_CHECKING:
    from edgewise.gateway.site import Site

_OK, _UNIMPLEMENTED = 0, 12
# Said by gRPC itself at each hop, or about the hop.
_OWN: Final = OWN_ANSWER_FIELDS | {
    b"content-type",
    b"date",
    b"server",
    b"via",
    b"www-authenticate",
    STATUS_FIELD,
    MESSAGE_FIELD,
}
# Beside a status message and what we add, within what clients take of trailers: 8 KiB.
_MAX_FIELDS_BYTES: Final = 4096
_OUTCOMES: Final = {
    1: Outcome.SITE_ERROR,  # CANCELLED: not by us, or nobody would hear of it
    2: Outcome.SITE_ERROR,  # UNKNOWN
    4: Outcome.EXPIRED,  # DEADLINE_EXCEEDED
    5: Outcome.NOT_SERVED,  # NOT_FOUND
    8: Outcome.OVERLOADED,  # RESOURCE_EXHAUSTED
    12: Outcome.NOT_SERVED,  # UNIMPLEMENTED
    13: Outcome.SITE_ERROR,  # INTERNAL
    14: Outcome.OVERLOADED,  # UNAVAILABLE
    15: Outcome.SITE_ERROR,  # DATA_LOSS
}
# UNKNOWN, INTERNAL, DATA_LOSS. And INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE: what apps do wrong meets two versions alike, since
# chance decides which of them is asked, and a version that refuses what the other one takes is worse.
_FAULTS: Final = frozenset({2, 3, 9, 11, 13, 15})
_NO_GRPC: Final = "the site takes no gRPC calls at its REST address; give it a gRPC address in the gateway's config"
# What an HTTP server says before it looks at the call: gRPC status and meaning.
_WITHOUT_STATUS: Final = {
    401: (16, Outcome.OK),
    403: (7, Outcome.OK),
    413: (8, Outcome.OK),
    429: (8, Outcome.OVERLOADED),
    500: (13, Outcome.SITE_ERROR),
    502: (14, Outcome.SITE_ERROR),
    503: (14, Outcome.OVERLOADED),
    504: (4, Outcome.EXPIRED),
}


class SiteAnswer:
    """What the head of a site's answer comes to.

    Attributes:
        outcome, confidence, queue_depth, retry_after_s: what it says to the router.
        status, message: as gRPC says them.
        version: of the model that answered; 0 where the site does not say.
        fault: it is an error that may be the version's fault, as a rollout sees it.
        only: the encoded trailers for the one attempt of a call that went where its route prefers; b"" for an error.
    """

    __slots__ = (
        "_fields",
        "_who",
        "confidence",
        "fault",
        "message",
        "only",
        "outcome",
        "queue_depth",
        "retry_after_s",
        "status",
        "version",
    )

    def __init__(  # noqa: PLR0917 - private
        self,
        status: int,
        message: str,
        outcome: Outcome,
        said: Mapping[bytes, bytes],
        fields: Iterable[Field],
        site: "Site",
    ) -> None:
        self.status = status
        self.message = message
        self.outcome = outcome
        self.version = parse_version(said.get(b"x-edgewise-model-version"))
        self.fault = status in _FAULTS
        self.confidence = parse_confidence(said.get(b"x-edgewise-confidence"))
        self.queue_depth = parse_queue_depth(said.get(b"x-edgewise-queue-depth"))
        self.retry_after_s = parse_retry_after_s(said.get(b"retry-after"))
        self._who = site.who
        self._fields = tuple(field for field in fields if can_be_sent(field))
        self.only = b""
        if sum(len(name) + len(value) for name, value in self._fields) > _MAX_FIELDS_BYTES:
            # More than an app takes: it is told who answered all the same.
            self._fields = ()
        if status == _OK:
            self.only = encode_ok(self.trailers(1, ""))

    def trailers(self, attempts: int, degraded: str) -> tuple[Field, ...]:
        """The site's trailers and ours; see `attempt_fields`."""
        return (*self._fields, *self._who, *attempt_fields(attempts, degraded))


def read_http(head: ResponseHead, site: "Site") -> SiteAnswer:
    """What the head of an HTTP/1.1 answer comes to."""
    headers = head.headers
    value = headers.get(STATUS_FIELD)
    fields = end_to_end(headers.items(), headers.get(b"connection"), _OWN)
    if value is None:
        status, outcome = _WITHOUT_STATUS.get(head.status, (_UNIMPLEMENTED, Outcome.NOT_SERVED))
        message = _NO_GRPC if status == _UNIMPLEMENTED else f"the site answered with HTTP status {head.status}"
        return SiteAnswer(status, message, outcome, headers, (), site)
    status = parse_status(value)
    message = unescape_message(headers.get(MESSAGE_FIELD, b""))
    return SiteAnswer(status, message, _OUTCOMES.get(status, Outcome.OK), headers, fields, site)


def read_http2(answer: GrpcAnswer, site: "Site") -> SiteAnswer:
    """What an HTTP/2 answer comes to; what the service said before its message is said after it."""
    said = {**answer.headers, **answer.trailers}
    fields = [field for field in said.items() if field[0] not in _OWN]
    status = answer.status
    outcome = _OUTCOMES.get(status, Outcome.OK)
    return SiteAnswer(status, unescape_message(answer.status_message), outcome, said, fields, site)
