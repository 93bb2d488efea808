"""One gRPC call of an app, from its arrival to its answer."""

from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from edgewise.core.errors import Code, EdgewiseError
from edgewise.core.routing.calls import Attempt, Failure, Outcome, Request
from edgewise.gateway.answer_fields import attempt_fields
from edgewise.gateway.canary_shadow import MAX_SHADOWED_BYTES
from edgewise.gateway.canary_trial import Trial, enter
from edgewise.gateway.capture_fields import Said
from edgewise.gateway.grpc_answer import SiteAnswer, read_http, read_http2
from edgewise.gateway.grpc_methods import ForwardedMethod
from edgewise.gateway.grpc_request import GrpcHead
from edgewise.gateway.upstream_connection import Waiting
from edgewise.net.errors import HttpClientError
from edgewise.net.exchange import Body
from edgewise.net.grpc_answer import encode_ok
from edgewise.net.grpc_call import UnaryCall
from edgewise.net.grpc_client_answer import GrpcAnswer
from edgewise.net.grpc_client_head import encode_timeout
from edgewise.net.grpc_exchange import Field
from edgewise.net.grpc_over_http import HttpCall
from edgewise.net.hpack import encode_field
from edgewise.net.http_response_head import ResponseHead
from edgewise.protocols.answers import Answered
from edgewise.protocols.deadline_header import MAX_DEADLINE_MS
from edgewise.protocols.grpc_status import CODES, STATUS
from edgewise.protocols.preferred_version import PREFERRED_VERSION_HEADER, preferred_line

if TYPE_CHECKING:
    from edgewise.gateway.grpc_door import GrpcDoor
    from edgewise.gateway.grpc_upstream import Http2Upstream
    from edgewise.gateway.site import Site

# A message up to this size is copied behind its head, which costs less than a second buffer for writev.
_JOINED_BODY_BYTES: Final = 16 * 1024
_OK: Final = 0
_NO_FIELDS: Final[dict[bytes, bytes]] = {}


class GrpcCall:
    """The `AppCall` of gRPC, and who its upstreams tell what comes of it.

    It lives until its last attempt has ended, which may be after its answer.

    Raises: InvalidArgumentError: there is no such route.
    """

    __slots__ = (
        "_asked",
        "_door",
        "_exchange",
        "_id",
        "_message",
        "_method",
        "_model",
        "_peer",
        "_preferred",
        "_request",
        "_trial",
        "seen",
    )

    def __init__(
        self, door: "GrpcDoor", exchange: UnaryCall | HttpCall, method: ForwardedMethod, head: GrpcHead
    ) -> None:
        asked = head.asked
        message = exchange.message
        self._model = model = method.find_model(message)
        route = asked.route_for(model)
        self._door = door
        self._exchange = exchange
        self._asked = asked
        self._message = message
        self._method = method
        # Which version is to answer: the app's wish, unless a site tries one out.
        self._preferred = head.preferred
        self._trial: Trial | None = None
        # For capture: an answer that others are to be compared with.
        self.seen: Attempt | None = None
        request_id = head.request_id
        if request_id is None:
            door.sequence += 1
            request_id = b"%b%x" % (door.id_prefix, door.sequence)
        self._id = request_id
        # The exchange forgets its client once it is answered.
        self._peer = exchange.peer if door.logs else ""
        timeout_s = exchange.timeout_s
        if timeout_s is None:
            timeout_s = head.timeout_s
            if timeout_s is None:
                timeout_s = route.deadline_s
        elif head.timeout_s is not None and head.timeout_s < timeout_s:
            timeout_s = head.timeout_s
        arrived_s = exchange.received_s
        if not method.predicts:
            model = ""
            idempotent = True
        else:
            idempotent = route.idempotent if asked.idempotent is None else asked.idempotent
        self._request = request = Request(
            model,
            route,
            arrived_s=arrived_s,
            deadline_s=arrived_s + timeout_s,
            size_bytes=len(message),
            idempotent=idempotent,
            context=self,
        )
        exchange.on_cancel = self._cancelled
        door.carrier.arrived(request)

    # --- what the carrier asks ---

    def send(self, attempt: Attempt, site: "Site") -> None:
        """Put the call on the wire to a site."""
        request = self._request
        left_s = request.deadline_s - monotonic()
        if site.grpc is not None:
            self._send_http2(attempt, site, cast("Http2Upstream", site.grpc), left_s)
            return
        upstream = site.rest
        assert upstream is not None, "a site has an address"  # noqa: S101
        id_line = b"x-request-id: %b\r\n" % self._id
        parts = self._encode(site, id_line + self._preferred_line(attempt), left_s)
        upstream.send(parts, self, attempt, idempotent=request.idempotent, echo=id_line)
        if not request.idempotent and isinstance(attempt.carrier, Waiting):
            self._door.carrier.router.waits(attempt)

    def _preferred_line(self, attempt: Attempt) -> bytes:
        """The field that says which version is to answer; b"" for none."""
        canaries = self._door.carrier.canaries
        if canaries is not None:
            trial = self._trial
            if trial is not None or (attempt.link.site, self._request.model) in canaries:
                names_version = self._method.names_version
                if names_version is not None and not names_version(self._message):
                    self._trial = trial = enter(trial, attempt, canaries)
            line = trial.line(attempt) if trial is not None else None
            if line is not None:
                return line
        return b"" if self._preferred is None else preferred_line(self._preferred)

    def _encode(self, site: "Site", own: bytes, left_s: float) -> list[Body]:
        """The call as it goes over HTTP/1.1.

        Args:
            own: fields of this call alone.
            left_s: the budget that travels with it.
        """
        left_ms = int(left_s * 1e3)
        if left_ms > MAX_DEADLINE_MS:
            left_ms = MAX_DEADLINE_MS
        elif left_ms < 1:
            left_ms = 1
        message = self._message
        size = len(message)
        start = self._asked.http_head(site)
        rest = b"%bx-edgewise-deadline-ms: %d\r\ncontent-length: %d\r\n\r\n" % (own, left_ms, size)
        if size <= _JOINED_BODY_BYTES:
            return [b"%b%b%b" % (start, rest, message)]  # type: ignore[str-format]
        return [start + rest, message]

    def _send_http2(self, attempt: Attempt, site: "Site", upstream: "Http2Upstream", left_s: float) -> None:
        head = self._asked.http2_head(site, upstream)
        block = b"%b%b%b" % (head, encode_timeout(left_s), encode_field(b"x-request-id", self._id))
        if self._preferred is not None:
            block += encode_field(PREFERRED_VERSION_HEADER, self._preferred)
        upstream.send(block, self._message, self, attempt)

    def answer(self, attempt: Attempt) -> None:
        """Give the app the site's answer."""
        answer: SiteAnswer
        answer, body = attempt.answer
        request = self._request
        exchange = self._exchange
        if answer.status == _OK:
            if isinstance(exchange, HttpCall):
                fields = answer.trailers(request.attempts, request.degraded)
                exchange.respond(body, (*fields, (b"x-request-id", self._id)))
            elif request.attempts == 1 and not request.degraded:
                exchange.respond_encoded(body, answer.only + encode_field(b"x-request-id", self._id))
            else:
                block = encode_ok(answer.trailers(request.attempts, request.degraded))
                exchange.respond_encoded(body, block + encode_field(b"x-request-id", self._id))
        else:
            trailers = answer.trailers(request.attempts, request.degraded)
            exchange.fail(answer.status, answer.message, (*trailers, (b"x-request-id", self._id)))
        request.context = None
        if self._trial is not None:
            self._shadow(self._trial, attempt, answer, body)
        capture = self._door.service.capture
        if capture is not None and answer.status == _OK:
            head = self._asked.capture_of(self._model, capture)
            if head is not None:
                head.answered(self, attempt, answer.version)
        if self._door.logs:
            code = CODES.get(answer.status)
            self._account(attempt.link.site, "OK" if not answer.status else code.value if code else "UNKNOWN")

    def reject(self, error: EdgewiseError) -> None:
        """Tell the app why there is no answer."""
        request = self._request
        self.seen = None
        refuse(self._exchange, error, self._id, request.attempts, request.degraded)
        request.context = None
        if self._trial is not None and error.code is Code.DEADLINE_EXCEEDED:
            self._trial.given_up()
        if self._door.logs:
            self._account("", error.code.value)

    def _shadow(self, trial: Trial, attempt: Attempt, answer: SiteAnswer, body: bytes | bytearray) -> None:
        """Ask the version that is tried out what the other one has answered, where that is wanted."""
        request, form, service = self._request, self._method.form, self._door.service
        site = service.sites.get(attempt.link.name)
        if form is None or answer.status != _OK or not request.idempotent or len(body) > MAX_SHADOWED_BYTES:
            return
        canary = trial.to_shadow(attempt, answer.version, service.canaries)
        if canary is None or site is None or site.rest is None or not service.shadows.room():
            return
        timeout_s = request.deadline_s - request.arrived_s
        id_line = b"x-request-id: %b\r\n" % self._id
        service.shadows.ask(
            site.rest,
            self._encode(site, id_line + canary.new.line, timeout_s),
            canary=canary,
            form=form,
            old=Answered(body),
            timeout_s=timeout_s,
            echo=id_line,
        )

    def said_by(self, attempt: Attempt) -> Said:
        """See `Captured`."""
        answer, body = attempt.answer
        return Said(attempt.link.site, attempt.link.tier, answer.version, _NO_FIELDS, body)

    def was_asked(self) -> tuple[Body, bytes]:
        """See `Captured`."""
        return self._message, self._id

    def question_for(self, site: "Site", timeout_s: float) -> tuple[list[Body], bytes]:
        """See `Captured`."""
        id_line = b"x-request-id: %b\r\n" % self._id
        wish = b"" if self._preferred is None else preferred_line(self._preferred)
        return self._encode(site, id_line + wish, timeout_s), id_line

    # --- what upstreams tell ---

    def sent(self, ticket: Attempt) -> None:
        """See `UpstreamCall`."""
        self._door.carrier.sent(ticket)

    def bytes_came(self, ticket: Attempt) -> None:
        """See `UpstreamCall`."""
        self._door.carrier.bytes_came(ticket)

    def site_answered(self, ticket: Attempt, head: ResponseHead, body: bytes | bytearray) -> None:
        """See `UpstreamCall`."""
        answer = head.note
        if type(answer) is not SiteAnswer:
            answer = read_http(head, self._door.carrier.sites[ticket.link.name])
            # A head without a gRPC status may answer REST requests too, which keep there what they made of it.
            if b"grpc-status" in head.headers:
                head.note = answer
        self._answered(ticket, answer, body)

    def http2_answered(self, ticket: Attempt, answer: GrpcAnswer) -> None:
        """As `site_answered`, of a site's HTTP/2 side."""
        tail = answer.tail
        read = tail.note if tail is not None and not answer.headers else None
        if read is None:
            read = read_http2(answer, self._door.carrier.sites[ticket.link.name])
            if tail is not None and not answer.headers:
                tail.note = read
        self._answered(ticket, read, cast("bytes | bytearray", answer.body))

    def _answered(self, ticket: Attempt, answer: SiteAnswer, body: bytes | bytearray) -> None:
        ticket.answer = (answer, body)
        if self._trial is not None:
            usable = answer.outcome is Outcome.OK
            self._trial.answered(ticket, version=answer.version, failed=answer.fault, usable=usable)
        ticket.confidence = answer.confidence
        capture = self._door.service.capture
        if capture is not None and answer.status == _OK:
            head = self._asked.capture_of(self._model, capture)
            if head is not None and head.compares:
                head.saw(self, ticket)
        self._door.carrier.answered(
            ticket, answer.outcome, queue_depth=answer.queue_depth, retry_after_s=answer.retry_after_s
        )

    def failed(self, ticket: Attempt, failure: Failure, error: HttpClientError) -> None:
        """See `UpstreamCall`."""
        del error
        if self._trial is not None:
            self._trial.lost(ticket)
        self._door.carrier.failed(ticket, failure)

    # --- the end ---

    def _cancelled(self) -> None:
        self._door.carrier.cancelled(self._request)
        self.seen = None
        self._request.context = None
        if self._trial is not None:
            self._trial.given_up()
        if self._door.logs:
            self._account("", Code.CANCELLED.value)

    def _account(self, site: str, code: str) -> None:
        request = self._request
        self._door.service.account(
            protocol="grpc",
            model=self._model,
            site=site,
            code=code,
            attempts=request.attempts,
            received_s=request.arrived_s,
            request_id=self._id,
            peer=self._peer,
            degraded=request.degraded,
        )


def refuse(
    exchange: UnaryCall | HttpCall, error: EdgewiseError, request_id: bytes, attempts: int, degraded: str
) -> None:
    """Answer with an error of the gateway's own.

    Args:
        request_id: b"" for none.
        attempts: how many were made; 0 says nothing.
        degraded: see `attempt_fields`.
    """
    trailers: list[Field] = []
    if error.retry_after_s is not None:
        milliseconds = b"%d" % max(1, round(error.retry_after_s * 1e3))
        trailers += [
            (b"grpc-retry-pushback-ms", milliseconds),
            (b"retry-after", b"%d" % max(1, round(error.retry_after_s))),
        ]
    if attempts:
        trailers += attempt_fields(attempts, degraded)
    if request_id:
        trailers.append((b"x-request-id", request_id))
    exchange.fail(STATUS[error.code], error.message, trailers)
