"""One request of an app over REST, from its arrival to its answer."""

import asyncio
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from edgewise.core.errors import Code, EdgewiseError, UnavailableError
from edgewise.core.routing.calls import Attempt, Failure, Outcome, Request
from edgewise.gateway.canary_shadow import answered
from edgewise.gateway.canary_trial import Trial, enter
from edgewise.gateway.capture_fields import Said
from edgewise.gateway.rest_answer import AnswerShape, RestAnswer, length_said
from edgewise.gateway.rest_pieces import STREAM_OVER_BYTES, AnswerPieces, Source
from edgewise.gateway.rest_request import RestRequest
from edgewise.gateway.rest_upload import Upload, UploadProgress
from edgewise.gateway.upstream import HttpUpstream
from edgewise.gateway.upstream_connection import UpstreamConnection, Waiting
from edgewise.net.errors import HttpClientError
from edgewise.net.exchange import Body
from edgewise.net.http_exchange import HttpExchange
from edgewise.net.http_response_head import ResponseHead
from edgewise.protocols.deadline_header import DEADLINE_HEADER, MAX_DEADLINE_MS, parse_deadline_ms
from edgewise.protocols.preferred_version import PREFERRED_VERSION_HEADER, preferred_line

if TYPE_CHECKING:
    from edgewise.gateway.rest_door import RestDoor
    from edgewise.gateway.site import Site

# A body up to this size is copied behind its head, which costs less than a second buffer for writev.
_JOINED_BODY_BYTES: Final = 16 * 1024
_OK: Final = 200


class RestCall:
    """The `AppCall` of REST, and who its upstreams tell what comes of it.

    It lives until its last attempt has ended, which may be after its answer.

    Raises: InvalidArgumentError: a field says what it cannot; nothing has begun then.
    """

    __slots__ = (
        "_asked",
        "_body",
        "_door",
        "_exchange",
        "_id_line",
        "_kept",
        "_passed_on",
        "_peer",
        "_preferred",
        "_request",
        "_trial",
        "_upload",
        "seen",
    )

    def __init__(self, door: "RestDoor", exchange: HttpExchange, asked: RestRequest) -> None:
        self._door = door
        self._exchange = exchange
        self._asked = asked
        # Long answers that the router has been told of and may want later.
        self._kept: list[AnswerPieces] | None = None
        self._body: Body = exchange.body
        request_id = asked.request_id
        timeout_s = asked.timeout_s
        preferred = asked.preferred
        passed_on = b""
        if asked.varies:
            varied = exchange.head.varied
            request_id = varied.get(b"x-request-id", request_id)
            deadline = varied.get(DEADLINE_HEADER)
            if deadline is not None:
                timeout_s = parse_deadline_ms(deadline)
            trace = varied.get(b"traceparent")
            if trace is not None:
                passed_on = b"traceparent: %b\r\n" % trace
            wish = varied.get(PREFERRED_VERSION_HEADER)
            if wish is not None:
                preferred = preferred_line(wish)
        if request_id is None:
            door.sequence += 1
            id_line = b"%b%x\r\n" % (door.id_start, door.sequence)
        else:
            id_line = b"x-request-id: %b\r\n" % request_id
        self._id_line = id_line
        self._passed_on = id_line + passed_on if passed_on else id_line
        # Which version is to answer: the app's wish, unless a site tries one out.
        self._preferred = preferred
        self._trial: Trial | None = None
        # For capture: an answer that others are to be compared with.
        self.seen: Attempt | None = None
        # The exchange forgets its client once it is answered.
        self._peer = exchange.peer if door.logs else ""
        arrived_s = exchange.received_s
        incoming = exchange.incoming
        self._upload = Upload(incoming) if incoming is not None else None
        self._request = request = Request(
            asked.model,
            asked.route,
            arrived_s=arrived_s,
            deadline_s=arrived_s + timeout_s,
            size_bytes=len(self._body) if incoming is None else len(incoming),
            pinned=asked.pinned,
            # What is not kept cannot be sent twice.
            idempotent=asked.idempotent and incoming is None,
            context=self,
        )
        exchange.on_cancel = self._cancelled
        door.carrier.arrived(request)

    # --- what the carrier asks ---

    def send(self, attempt: Attempt, site: "Site") -> None:
        """Put the request on the wire to a site."""
        upstream = site.rest
        if upstream is None:
            # It is there for gRPC only; nothing is wrong with the way to it.
            asyncio.get_running_loop().call_soon(self._door.carrier.failed, attempt, Failure.POOL)
            return
        asked = self._asked
        preferred = self._preferred
        canaries = self._door.carrier.canaries
        if canaries is not None and not asked.pinned:
            self._trial = trial = enter(self._trial, attempt, canaries)
            if trial is not None:
                preferred = trial.line(attempt) or preferred
        left_ms = int((self._request.deadline_s - monotonic()) * 1e3)
        if left_ms > MAX_DEADLINE_MS:
            left_ms = MAX_DEADLINE_MS
        elif left_ms < 1:
            left_ms = 1
        start = asked.starts.get(site)
        if start is None:
            start = asked.start_for(site)
        if self._upload is not None:
            self._send_long(self._upload, upstream, attempt, start + preferred, left_ms)
            return
        upstream.send(
            *(self._encode(start, preferred, left_ms), self, attempt),
            head_only=asked.head_only,
            idempotent=asked.idempotent,
            echo=self._id_line,
            stream_over_bytes=STREAM_OVER_BYTES,
        )
        if not asked.idempotent and isinstance(attempt.carrier, Waiting):
            self._door.carrier.router.waits(attempt)

    def _encode(self, start: bytes, preferred: bytes, left_ms: int) -> list[Body]:
        """The request as it goes on the wire."""
        if self._asked.bodyless:
            return [b"%b%b%bx-edgewise-deadline-ms: %d\r\n\r\n" % (start, self._passed_on, preferred, left_ms)]
        body = self._body
        size = len(body)
        head = b"%b%b%bx-edgewise-deadline-ms: %d\r\ncontent-length: %d\r\n\r\n" % (
            *(start, self._passed_on, preferred),
            *(left_ms, size),
        )
        return [head + body] if size <= _JOINED_BODY_BYTES else [head, body]

    def _send_long(self, upload: Upload, upstream: HttpUpstream, attempt: Attempt, start: bytes, left_ms: int) -> None:
        """Send a body that comes piece by piece."""
        if upload.begun:
            asyncio.get_running_loop().call_soon(self._door.carrier.failed, attempt, Failure.LOST)
            return
        framing = b"transfer-encoding: chunked" if upload.chunked else b"content-length: %d" % self._request.size_bytes
        head = b"%b%bx-edgewise-deadline-ms: %d\r\n%b\r\n\r\n" % (start, self._passed_on, left_ms, framing)
        parts: list[Body] = [head]
        attempt.uploading = True
        upstream.send(
            *(parts, self, attempt),
            idempotent=False,
            echo=self._id_line,
            stream_over_bytes=STREAM_OVER_BYTES,
            body_follows=True,
        )
        upload.on_sent = partial(self._uploaded, attempt)
        if isinstance(attempt.carrier, UpstreamConnection):
            self._flow(upload, attempt.carrier, attempt)

    def _flow(self, upload: Upload, connection: UpstreamConnection, attempt: Attempt) -> None:
        UploadProgress(connection, attempt, self._door.carrier.bytes_came)
        upload.flow_to(connection)

    def _uploaded(self, attempt: Attempt) -> None:
        attempt.uploading = False
        self._door.carrier.sent(attempt)

    def answer(self, attempt: Attempt) -> None:
        """Give the app the site's answer.

        Raises: UnavailableError: the site was lost since it began to answer; the app has been told nothing.
        """
        shape, varied, body, rest = attempt.answer
        request = self._request
        if request.attempts == 1 and not request.degraded:
            start = shape.only
        else:
            start = shape.start(request.attempts, request.degraded)
        if not shape.dated:
            start = self._door.dated(start)
        start = b"%b%b%b" % (start, varied, self._id_line)
        pieces = rest if type(rest) is AnswerPieces else None
        if self._kept is not None:
            self._drop_kept(pieces)
        if self._upload is not None:
            self._upload.stop()
        if pieces is None:
            self._exchange.respond_encoded(start, body, length_bytes=cast("int | None", rest))
        elif not pieces.broken:
            pieces.flow_to(self._exchange, start)
        else:
            raise UnavailableError("the site was lost in the middle of its answer", retry_after_s=1.0)
        request.context = None
        if self._trial is not None or self._asked.capture is not None:
            self._follow_up(attempt, shape, body, whole=pieces is None)
        if self._door.logs:
            self._account(attempt.link.site, str(shape.status))

    def reject(self, error: EdgewiseError) -> None:
        """Tell the app why there is no answer."""
        if self._kept is not None:
            self._drop_kept(None)
        if self._upload is not None:
            self._upload.stop()
        self.seen = None
        self._door.refuse(self._exchange, error, self._id_line, self._request.attempts)
        self._request.context = None
        if self._trial is not None and error.code is Code.DEADLINE_EXCEEDED:
            self._trial.given_up()
        if self._door.logs:
            self._account("", error.code.value)

    def _follow_up(self, attempt: Attempt, shape: AnswerShape, body: bytes | bytearray, *, whole: bool) -> None:
        """What an answer is good for once the app has it."""
        if self._trial is not None and whole:
            self._shadow(self._trial, attempt, shape, body)
        capture = self._asked.capture
        if capture is not None and shape.status == _OK:
            if whole and self._upload is None:
                capture.answered(self, attempt, shape.version)
            else:
                capture.passed_on()

    def _shadow(self, trial: Trial, attempt: Attempt, shape: AnswerShape, body: bytes | bytearray) -> None:
        """Ask the version that is tried out what the other one has answered, where that is wanted."""
        asked = self._asked
        service = self._door.service
        form = asked.form
        site = service.sites.get(attempt.link.name)
        if form is None or shape.status != _OK or not asked.idempotent or self._upload is not None or site is None:
            return
        canary = trial.to_shadow(attempt, shape.version, service.canaries)
        if canary is None or site.rest is None:
            return
        old = answered(shape.headers, body)
        if old is None or not service.shadows.room():
            return
        timeout_s = self._request.deadline_s - self._request.arrived_s
        start = asked.starts.get(site) or asked.start_for(site)
        service.shadows.ask(
            site.rest,
            self._encode(start, canary.new.line, max(1, int(min(timeout_s * 1e3, MAX_DEADLINE_MS)))),
            canary=canary,
            form=form,
            old=old,
            timeout_s=timeout_s,
            echo=self._id_line,
        )

    def said_by(self, attempt: Attempt) -> Said:
        """See `Captured`."""
        shape, _, body, _ = attempt.answer
        return Said(attempt.link.site, attempt.link.tier, shape.version, shape.headers, body)

    def was_asked(self) -> tuple[Body, bytes]:
        """See `Captured`."""
        return self._body, self._id_line[14:-2]

    def question_for(self, site: "Site", timeout_s: float) -> tuple[list[Body], bytes]:
        """See `Captured`."""
        start = self._asked.starts.get(site) or self._asked.start_for(site)
        left_ms = max(1, int(min(timeout_s * 1e3, MAX_DEADLINE_MS)))
        return self._encode(start, self._preferred, left_ms), self._id_line

    # --- what upstreams tell ---

    def sent(self, ticket: Attempt) -> None:
        """See `UpstreamCall`."""
        if self._upload is not None and isinstance(ticket.carrier, UpstreamConnection):
            self._flow(self._upload, ticket.carrier, ticket)
        self._door.carrier.sent(ticket)

    def bytes_came(self, ticket: Attempt) -> None:
        """See `UpstreamCall`."""
        self._door.carrier.bytes_came(ticket)

    def site_answered(self, ticket: Attempt, head: ResponseHead, body: bytes | bytearray) -> None:
        """See `UpstreamCall`."""
        carrier = self._door.carrier
        shape = head.shape.note
        if type(shape) is not AnswerShape:
            shape = head.shape.note = AnswerShape(head, carrier.sites[ticket.link.name])
        if shape.varies:
            varied, ticket.confidence, queue_depth = shape.read_varied(head.varied)
        else:
            varied = b""
            ticket.confidence = shape.confidence
            queue_depth = shape.queue_depth
        if self._trial is not None:
            self._count(self._trial, ticket, shape)
        answer: RestAnswer = (shape, varied, body, length_said(head) if self._asked.head_only else None)
        ticket.answer = answer
        capture = self._asked.capture
        if capture is not None and capture.compares and shape.status == _OK:
            capture.saw(self, ticket)
        carrier.answered(ticket, shape.outcome, queue_depth=queue_depth, retry_after_s=shape.retry_after_s)

    def answer_begins(self, ticket: Attempt, head: ResponseHead, source: Source) -> AnswerPieces | None:
        """See `StreamingCall`: an answer that the app can use is passed on as it comes."""
        carrier = self._door.carrier
        shape = head.shape.note
        if type(shape) is not AnswerShape:
            shape = head.shape.note = AnswerShape(head, carrier.sites[ticket.link.name])
        if shape.outcome is not Outcome.OK or self._asked.head_only:
            return None
        length = head.content_length
        pieces = AnswerPieces(source, length if length >= 0 else None, self._door.count_cut)
        self._kept = [pieces] if self._kept is None else [*self._kept, pieces]
        varied, ticket.confidence, queue_depth = shape.read_varied(head.varied)
        if self._trial is not None:
            self._count(self._trial, ticket, shape)
        answer: RestAnswer = (shape, varied, b"", pieces)
        ticket.answer = answer
        carrier.answered(ticket, shape.outcome, queue_depth=queue_depth, retry_after_s=shape.retry_after_s)
        if self._request.done and not pieces.flowing:
            pieces.drop()
        return pieces

    @staticmethod
    def _count(trial: Trial, ticket: Attempt, shape: AnswerShape) -> None:
        trial.answered(ticket, version=shape.version, failed=shape.fault, usable=shape.outcome is Outcome.OK)

    def _drop_kept(self, but: AnswerPieces | None) -> None:
        kept, self._kept = self._kept or (), None
        for pieces in kept:
            if pieces is not but:
                pieces.drop()

    def failed(self, ticket: Attempt, failure: Failure, error: HttpClientError) -> None:
        """See `UpstreamCall`."""
        del error
        if self._upload is not None and self._upload.begun:
            self._upload.stop()
        if self._trial is not None:
            self._trial.lost(ticket)
        self._door.carrier.failed(ticket, failure)

    # --- the end ---

    def _cancelled(self) -> None:
        if self._upload is not None:
            self._upload.stop()
        self._door.carrier.cancelled(self._request)
        self._drop_kept(None)
        self.seen = None
        self._request.context = None
        if self._trial is not None:
            self._trial.given_up()
        if self._door.logs:
            self._account("", Code.CANCELLED.value)

    def _account(self, site: str, code: str) -> None:
        request = self._request
        self._door.service.account(
            protocol="rest",
            model=self._asked.named,
            site=site,
            code=code,
            attempts=request.attempts,
            received_s=request.arrived_s,
            request_id=self._id_line[14:-2],
            peer=self._peer,
            degraded=request.degraded,
        )
