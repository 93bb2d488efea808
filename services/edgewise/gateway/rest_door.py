"""The gateway's REST front door: understands heads, not bodies.

Every request under /v1 and /v2 goes to a site, but for the gateway's own pages. What a head comes to is kept with its
shape, so a client that repeats itself costs one look. No task is made for a request.
"""

import secrets
from time import monotonic
from typing import TYPE_CHECKING, Final

import orjson

from edgewise.core.errors import EdgewiseError, NotFoundError
from edgewise.gateway.answer_fields import attempt_fields
from edgewise.gateway.rest_call import RestCall
from edgewise.gateway.rest_request import MAX_REQUEST_ID_BYTES, RestRequest
from edgewise.net.exchange import Header
from edgewise.net.grpc_over_http import GrpcOverHttp
from edgewise.net.http_answer import AnswerHeads, encode_fields
from edgewise.net.http_exchange import HttpExchange
from edgewise.protocols.http_status import TFS_STATUS
from edgewise.protocols.rest_paths import parse_path

if TYPE_CHECKING:
    from edgewise.gateway.service import GatewayService

_EXHAUSTED: Final = 8
_TOO_LONG: Final = (
    "the message is longer than this gateway takes over HTTP/1.1; give this site a gRPC address in the config of the gateway "
    "that sent it"
)
_JSON: Final[Header] = (b"content-type", b"application/json")


class RestDoor:
    """Answers every request of the REST port; hand it to `HttpServer` as its handler.

    Args:
        service: what both doors share.
        calls: takes gRPC calls that come over this port, from another gateway; None takes none.

    Attributes:
        error_headers: the fields of answers that the HTTP server gives by itself.
        service, carrier: as given.
        logs: each request is written to the request log.
        cut_answers: long answers that had begun when their site was lost.
        id_start, sequence: what the field with the id is made of for requests that bring none.
    """

    error_headers: Final[tuple[Header, ...]] = (_JSON,)

    def __init__(self, service: "GatewayService", calls: GrpcOverHttp | None = None) -> None:
        self.service = service
        self._calls = calls
        self.carrier = service.carrier
        self.logs = service.request_log.enabled
        self.id_start = b"x-request-id: %b-" % secrets.token_hex(6).encode("ascii")
        self.sequence = 0
        self.cut_answers = 0
        service.metrics.readings["edgewise_gateway_answers_cut_total"] = (
            "Long answers cut off since their site was lost after they had begun.",
            lambda: self.cut_answers,
        )
        self._heads = AnswerHeads()

    @staticmethod
    def error_body(status: int, reason: str) -> bytes:
        """The body of an answer that the HTTP server gives by itself."""
        del status
        return _error_body(reason)

    def __call__(self, exchange: HttpExchange) -> None:
        """Answer one request, now or later."""
        head = exchange.head
        asked = head.shape.note
        service = self.service
        try:
            if asked is None or asked.config is not service.config:
                asked = self._understand(exchange)
                if asked is None:
                    return
            if service.api_keys is not None:
                service.check_key(head.get(b"authorization"), head.get(b"x-api-key"))
            RestCall(self, exchange, asked)
        except EdgewiseError as error:
            self._turn_away(exchange, error)

    def _understand(self, exchange: HttpExchange) -> RestRequest | None:
        """What a head comes to; None when somebody else answers: one of the gateway's own pages, or the door for gRPC calls.

        Raises: EdgewiseError: nothing that can be forwarded.
        """
        service = self.service
        if self._calls is not None and self._calls.takes(exchange):
            if exchange.incoming is None:
                self._calls(exchange)
            else:
                self._calls.refuse(exchange, _EXHAUSTED, _TOO_LONG)
            return None
        if service.page(exchange):
            return None
        endpoint = parse_path(exchange.method, exchange.path)
        if endpoint is None:
            raise NotFoundError("no such path; models are under /v1/models and /v2/models")
        asked = RestRequest(exchange.head, endpoint, service.config)
        asked.capture = service.captured(asked.named, asked.form, exchange.head.headers)
        exchange.head.shape.note = asked
        return asked

    def _turn_away(self, exchange: HttpExchange, error: EdgewiseError) -> None:
        self.service.metrics.refused(error)
        request_id = exchange.head.get(b"x-request-id")
        line = b"" if not request_id else b"x-request-id: %b\r\n" % request_id[:MAX_REQUEST_ID_BYTES]
        self.refuse(exchange, error, line, 0)

    def refuse(self, exchange: HttpExchange, error: EdgewiseError, id_line: bytes, attempts: int) -> None:
        """Answer with an error.

        Args:
            id_line: the header field with the request's id, b"" for none.
            attempts: how many were made.
        """
        status = TFS_STATUS[error.code]
        fields: tuple[Header, ...] = (_JSON,)
        if error.retry_after_s is not None:
            # Whole seconds are all that the header can say, and 0 would mean "at once".
            fields = (*fields, (b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
        if status == 401:
            fields = (*fields, (b"www-authenticate", b"Bearer"))
        if attempts:
            fields = (*fields, *attempt_fields(attempts, ""))
        start = self._heads.start(status, monotonic()) + encode_fields(fields) + id_line
        exchange.respond_encoded(start, _error_body(error.message))

    def count_cut(self) -> None:
        """Count an answer that had begun and has no end."""
        self.cut_answers += 1

    def dated(self, start: bytes) -> bytes:
        """An encoded head with the date of now (RFC 9110, section 6.6.1)."""
        line, _, fields = start.partition(b"\r\n")
        return b"%b\r\n%b%b" % (line, self._heads.date(monotonic()), fields)


def _error_body(message: str) -> bytes:
    # Messages quote requests; what cannot be encoded must not turn one error into another.
    return orjson.dumps({"error": message.encode(errors="replace").decode()})
