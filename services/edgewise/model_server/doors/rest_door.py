"""The REST front door: TensorFlow Serving's API, the Open Inference Protocol, images as they are.

The HTTP server calls the door with each whole request. Questions are answered at once. A prediction is admitted,
decoded (on the loop when it is small, in a thread when it is not), run, and answered when the dataplane calls back;
no task is made for it.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from edgewise import __version__
from edgewise.core.errors import CancelledError, EdgewiseError, InternalError
from edgewise.core.requests import PredictResponse
from edgewise.model_server.doors.answer_fields import MAX_REQUEST_ID_BYTES, prediction_fields, site_fields
from edgewise.model_server.doors.probe import PROBE_PATH, ProbeAnswers
from edgewise.model_server.doors.rest_codecs import CODECS, Decoded, image
from edgewise.model_server.doors.rest_pages import JSON, Pages
from edgewise.model_server.metrics import OK
from edgewise.model_server.service import PLATFORMS, default_signature
from edgewise.net.exchange import Body, Exchange, Header
from edgewise.net.grpc_exchange import MethodLookup
from edgewise.net.grpc_over_http import GrpcOverHttp
from edgewise.protocols import oip_rest_metadata, tfs_rest, tfs_rest_status
from edgewise.protocols.content_encoding import decompress
from edgewise.protocols.deadline_header import DEADLINE_HEADER, parse_deadline_ms
from edgewise.protocols.grpc_over_http import HTTP_STATUS
from edgewise.protocols.http_status import OIP_STATUS, TFS_STATUS
from edgewise.protocols.oip_rest import HEADER_LENGTH
from edgewise.protocols.preferred_version import PREFERRED_VERSION_HEADER, parse_preferred_version
from edgewise.protocols.rest_paths import Action, Endpoint, Protocol, parse_path

if TYPE_CHECKING:
    from edgewise.model_server.dataplane import Call
    from edgewise.model_server.service import Service

_log = logging.getLogger(__name__)

# A body up to this size is decoded in less time than handing it to a thread takes.
INLINE_BODY_BYTES: Final = 64 * 1024
# Outputs beyond this are turned into text in a thread.
INLINE_OUTPUT_BYTES: Final = 128 * 1024

_METHODS: Final = {
    Action.PREDICT: "Predict",
    Action.INFER: "Predict",
    Action.CLASSIFY: "Classify",
    Action.REGRESS: "Regress",
}
_IMAGE: Final = b"image/"


class RestDoor:
    """Answers every request of the REST port.

    Args:
        methods: the gRPC front door, whose unary calls come over this port too; None takes none.
    """

    error_headers: Final[tuple[Header, ...]] = (JSON,)

    def __init__(self, service: "Service", methods: MethodLookup | None = None) -> None:
        self.service = service
        self.dataplane = service.dataplane
        self.metrics = service.metrics
        self.pages = Pages(service)
        self.who: tuple[Header, ...] = site_fields(service.options)
        self._grpc = GrpcOverHttp(methods, HTTP_STATUS, self.who) if methods is not None else None
        self._probes = ProbeAnswers(self.who)
        self._questions: dict[Action, Callable[[Endpoint], tuple[int, bytes]]] = {
            Action.SERVER_LIVE: lambda _: (200, oip_rest_metadata.encode_live(live=True)),
            Action.SERVER_READY: self._server_ready,
            Action.SERVER_METADATA: lambda _: (200, oip_rest_metadata.encode_server_metadata(__version__)),
            Action.MODEL_STATUS: self._model_status,
            Action.MODEL_METADATA: self._model_metadata,
            Action.MODEL_READY: self._model_ready,
        }

    @staticmethod
    def error_body(status: int, reason: str) -> bytes:
        """The body of an answer that the HTTP server gives by itself."""
        del status
        return tfs_rest.encode_error(reason)

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request, now or later."""
        try:
            endpoint = parse_path(exchange.method, exchange.path)
        except EdgewiseError as error:
            self.refuse(exchange, error)
            return
        if endpoint is None:
            self._page(exchange)
        elif endpoint.action in _METHODS:
            Prediction(self, exchange, endpoint).begin()
        else:
            self._answer_question(exchange, endpoint)

    def check_key(self, exchange: Exchange) -> None:
        """Refuse who may not ask.

        Raises:
            UnauthenticatedError: no key, or an unknown one.
        """
        headers = exchange.headers
        self.service.check_key(headers.get(b"authorization"), headers.get(b"x-api-key"))

    def timeout_s(self, headers: dict[bytes, bytes]) -> float | None:
        """The remaining budget that a request states.

        Raises:
            InvalidArgumentError: it is no number of milliseconds.
        """
        value = headers.get(DEADLINE_HEADER)
        return self.service.options.default_timeout_s if value is None else parse_deadline_ms(value)

    def _page(self, exchange: Exchange) -> None:
        if self._grpc is not None and self._grpc.takes(exchange):
            self._grpc(exchange)
            return
        if exchange.path == PROBE_PATH:
            self._probe(exchange)
            return
        if exchange.path not in self.pages:
            message = "no such path; /docs lists those there are"
            exchange.respond(404, (JSON,), tfs_rest.encode_error(message))
            return
        try:
            if exchange.path not in self.pages.open_to_all:
                self.check_key(exchange)
        except EdgewiseError as error:
            self.refuse(exchange, error)
            return
        self.pages.answer(exchange)

    def _probe(self, exchange: Exchange) -> None:
        try:
            self.check_key(exchange)
            self._probes.answer(exchange, ready=self.service.ready())
        except EdgewiseError as error:
            self.refuse(exchange, error)

    def _answer_question(self, exchange: Exchange, endpoint: Endpoint) -> None:
        try:
            # Whoever watches over the process has no key.
            if endpoint.action not in (Action.SERVER_LIVE, Action.SERVER_READY):
                self.check_key(exchange)
            status, body = self._questions[endpoint.action](endpoint)
        except EdgewiseError as error:
            self.refuse(exchange, error, endpoint.protocol)
            return
        exchange.respond(status, (JSON, *self.who), body)

    def refuse(self, exchange: Exchange, error: EdgewiseError, protocol: Protocol = Protocol.TFS) -> None:
        """Answer with an error, and say whose answer to which request it is."""
        status, headers, body = error_answer(error, protocol)
        headers = (*headers, *self.who)
        request_id = exchange.headers.get(b"x-request-id")
        if request_id is not None:
            headers = (*headers, (b"x-request-id", request_id[:MAX_REQUEST_ID_BYTES]))
        exchange.respond(status, headers, body)

    def _server_ready(self, endpoint: Endpoint) -> tuple[int, bytes]:
        del endpoint
        ready = self.service.ready()
        return 200 if ready else 503, oip_rest_metadata.encode_ready(ready=ready)

    def _model_ready(self, endpoint: Endpoint) -> tuple[int, bytes]:
        model = endpoint.the_model()
        ready = self.service.model_ready(model)
        if not ready:
            # One that is not there at all is not "not ready".
            self.service.repository.status(model.name, model.version)
        return 200 if ready else 503, oip_rest_metadata.encode_ready(ready=ready)

    def _model_status(self, endpoint: Endpoint) -> tuple[int, bytes]:
        model = endpoint.the_model()
        statuses = self.service.repository.status(model.name, model.version, model.label)
        return 200, tfs_rest_status.encode_model_status(statuses)

    def _model_metadata(self, endpoint: Endpoint) -> tuple[int, bytes]:
        repository = self.service.repository
        servable = repository.acquire(endpoint.the_model())
        try:
            if endpoint.protocol is Protocol.TFS:
                found = servable.signatures.values()
                return 200, tfs_rest_status.encode_model_metadata(servable.name, servable.version, found)
            versions = repository.available(servable.name)
            platform = PLATFORMS[servable.config.backend]
            return 200, oip_rest_metadata.encode_model_metadata(
                servable.name, versions, platform, default_signature(servable)
            )
        finally:
            repository.release(servable)


class Prediction:
    """One prediction on its way through the door."""

    __slots__ = ("call", "decoded", "door", "endpoint", "exchange", "peer", "response")

    def __init__(self, door: RestDoor, exchange: Exchange, endpoint: Endpoint) -> None:
        self.door = door
        self.exchange = exchange
        self.endpoint = endpoint
        self.call: Call | None = None
        self.decoded: Decoded | None = None
        self.response: PredictResponse | None = None
        # The exchange forgets its client once it is answered.
        self.peer = exchange.peer if door.service.request_log.enabled else ""

    def begin(self) -> None:
        """Admit, decode and run the request."""
        door, exchange = self.door, self.exchange
        door.metrics.received += 1
        try:
            door.check_key(exchange)
            headers = exchange.headers
            self.call = call = door.dataplane.admit(
                self.endpoint.the_model(),
                door.timeout_s(headers),
                self.ended,
                parse_preferred_version(headers.get(PREFERRED_VERSION_HEADER)),
            )
        except EdgewiseError as error:
            self.ended(error)
            return
        exchange.on_cancel = call.cancel
        body = exchange.body
        codec = CODECS[self.endpoint.action]
        content_type = headers.get(b"content-type", b"")
        if content_type[:6].lower() == _IMAGE and self.endpoint.action is Action.PREDICT:
            codec = image
        encoding = headers.get(b"content-encoding")
        if encoding is None and (len(body) <= INLINE_BODY_BYTES or codec is image or _is_binary(headers, body)):
            try:
                self.run(codec(body, headers, call.servable))
            except EdgewiseError as error:
                call.end(error)
            except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
                _log.exception("decoding a request for %s failed", call.servable.name)
                call.end(InternalError("the request could not be decoded because of a fault in the server"))
            return
        limit = door.service.options.max_body_bytes

        def decode() -> Decoded:
            return codec(decompress(body, encoding, limit) if encoding else body, headers, call.servable)

        call.offload(decode, self.run)

    def run(self, decoded: Decoded) -> None:
        """Run a decoded request."""
        self.decoded = decoded
        call = self.call
        assert call is not None, "admitted before it was decoded"  # noqa: S101
        if decoded.timeout_s is not None:
            call.shorten(decoded.timeout_s)
        call.run(decoded.signature, decoded.inputs, decoded.outputs)

    def ended(self, result: PredictResponse | EdgewiseError) -> None:
        """Answer; called once, when the call has ended or could not be admitted."""
        if isinstance(result, EdgewiseError):
            self._answer_error(result)
            return
        self.response = result
        decoded = self.decoded
        assert decoded is not None, "run before it ended"  # noqa: S101
        size = 0
        for array in result.outputs.values():
            size += array.nbytes
        if size <= INLINE_OUTPUT_BYTES:
            try:
                self._answer(decoded.encode(result))
            except EdgewiseError as error:
                self._answer_error(error)
            except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
                _log.exception("encoding an answer of %s failed", result.model)
                self._answer_error(InternalError("the answer could not be encoded because of a fault in the server"))
            return
        self.door.dataplane.in_thread(lambda: decoded.encode(result), self._answer, self._answer_error)

    def _answer(self, encoded: tuple[tuple[Header, ...], Body | list[Body]]) -> None:
        headers, body = encoded
        result = self.response
        assert result is not None, "answered after it ended"  # noqa: S101
        call = self.call
        assert call is not None, "admitted before it ended"  # noqa: S101
        fields = [*headers, *self.door.who, *prediction_fields(result, call.servable.batcher.pending)]
        request_id = self.exchange.headers.get(b"x-request-id")
        if request_id is not None:
            fields.append((b"x-request-id", request_id[:MAX_REQUEST_ID_BYTES]))
        self.exchange.respond(200, fields, body)
        self._account(OK)

    def _answer_error(self, error: EdgewiseError) -> None:
        if not isinstance(error, CancelledError):
            self.door.refuse(self.exchange, error, self.endpoint.protocol)
        self._account(error.code.value)

    def _account(self, code: str) -> None:
        exchange = self.exchange
        self.door.service.account(
            protocol="tfs-rest" if self.endpoint.protocol is Protocol.TFS else "oip-rest",
            method=_METHODS[self.endpoint.action],
            model=self.call.servable.name if self.call is not None else "",
            code=code,
            received_s=exchange.received_s,
            response=self.response,
            request_id=exchange.headers.get(b"x-request-id", b"")[:MAX_REQUEST_ID_BYTES],
            peer=self.peer,
        )


def _is_binary(headers: dict[bytes, bytes], body: Body) -> bool:
    """Whether a large body is numbers in binary behind a little JSON, which take no time to decode.

    Texts in binary are decoded one by one, so they do not count; nor does JSON that may hide the word with an escape.
    """
    value = headers.get(HEADER_LENGTH)
    if value is None or not value.isdigit() or len(value) > 9 or int(value) > INLINE_BODY_BYTES:
        return False
    text = bytes(memoryview(body)[: int(value)])
    return b"BYTES" not in text and b"\\" not in text


def error_answer(error: EdgewiseError, protocol: Protocol) -> tuple[int, tuple[Header, ...], bytes]:
    """Status, headers and body of an error."""
    status = (TFS_STATUS if protocol is Protocol.TFS else OIP_STATUS)[error.code]
    headers: tuple[Header, ...] = (JSON,)
    if error.retry_after_s is not None:
        # Whole seconds are all that the header can say, and 0 would mean "at once".
        headers = (JSON, (b"retry-after", str(max(1, round(error.retry_after_s))).encode()))
    if status == 401:
        headers = (*headers, (b"www-authenticate", b"Bearer"))
    return status, headers, tfs_rest.encode_error(error.message)
