"""The gRPC methods that compute: Predict, Classify, Regress, MultiInference, ModelInfer."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edgewise.core.errors import CancelledError, Code, EdgewiseError, InternalError
from edgewise.core.requests import ModelSpec, PredictRequest, PredictResponse
from edgewise.core.signatures import find_signature, signature_by_names
from edgewise.core.tensors import Method
from edgewise.model_server.doors.answer_fields import MAX_REQUEST_ID_BYTES, prediction_fields, site_fields
from edgewise.model_server.metrics import OK
from edgewise.net.grpc_exchange import Field, GrpcExchange
from edgewise.protocols import oip_grpc, tfs_examples_grpc, tfs_grpc
from edgewise.protocols.deadline_header import DEADLINE_HEADER, parse_deadline_ms
from edgewise.protocols.grpc_status import STATUS
from edgewise.protocols.preferred_version import PREFERRED_VERSION_HEADER, parse_preferred_version

if TYPE_CHECKING:
    from edgewise.model_server.dataplane import Call
    from edgewise.model_server.servable import Servable
    from edgewise.model_server.service import Service
    from edgewise.protocols.examples import Examples

_log = logging.getLogger(__name__)

# A message or an answer beyond this is decoded or encoded in a thread.
INLINE_BYTES: Final = 4 << 20
# A client's own clock ends a call a little before ours, since its message travelled for a while.
DEADLINE_SLACK_S: Final = 0.02

Start = Callable[["GrpcPrediction", Any], None]
Encode = Callable[[PredictResponse], bytes]


class GrpcPredictions:
    """Begins a prediction for each call."""

    def __init__(self, service: "Service") -> None:
        self.service = service
        self.dataplane = service.dataplane
        self.who = site_fields(service.options)

    def predict(self, exchange: GrpcExchange) -> None:
        """PredictionService.Predict."""
        GrpcPrediction(self, exchange, "tfs-grpc", "Predict").begin(tfs_grpc.decode_predict, _predict)

    def model_infer(self, exchange: GrpcExchange) -> None:
        """GRPCInferenceService.ModelInfer."""
        GrpcPrediction(self, exchange, "oip-grpc", "Predict").begin(oip_grpc.decode_infer, _model_infer)

    def classify(self, exchange: GrpcExchange) -> None:
        """PredictionService.Classify."""
        prediction = GrpcPrediction(self, exchange, "tfs-grpc", "Classify")
        prediction.begin(tfs_examples_grpc.decode_example_request, partial(_examples, Method.CLASSIFY))

    def regress(self, exchange: GrpcExchange) -> None:
        """PredictionService.Regress."""
        prediction = GrpcPrediction(self, exchange, "tfs-grpc", "Regress")
        prediction.begin(tfs_examples_grpc.decode_example_request, partial(_examples, Method.REGRESS))

    def multi_inference(self, exchange: GrpcExchange) -> None:
        """PredictionService.MultiInference."""
        prediction = GrpcPrediction(self, exchange, "tfs-grpc", "MultiInference")
        prediction.begin(tfs_examples_grpc.decode_multi_inference, _multi_inference)


class GrpcPrediction:
    """One call on its way through the door."""

    __slots__ = ("call", "door", "encode", "exchange", "method", "model", "peer", "protocol", "request_id", "response")

    def __init__(self, door: GrpcPredictions, exchange: GrpcExchange, protocol: str, method: str) -> None:
        self.door = door
        self.exchange = exchange
        self.protocol = protocol
        self.method = method
        self.model = ""
        self.call: Call | None = None
        self.encode: Encode = tfs_grpc.encode_predict_response
        self.response: PredictResponse | None = None
        self.request_id = _request_id(exchange)
        # The exchange forgets its client once it is answered.
        self.peer = exchange.peer if door.service.request_log.enabled else ""

    def begin(self, decode: Callable[[Any], Any], start: Start) -> None:
        """Decode the message and go on with `start(self, decoded)`."""
        service = self.door.service
        service.metrics.received += 1
        exchange = self.exchange
        metadata = exchange.metadata
        message = exchange.message
        try:
            service.check_key(metadata.get(b"authorization"), metadata.get(b"x-api-key"))
            if len(message) <= INLINE_BYTES:
                start(self, decode(message))
                return
        except EdgewiseError as error:
            self._end(error)
            return
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
            self._end(self._fault())
            return

        def decode_unless_gone() -> Any:
            # What nobody waits for any more is not worth a thread's time.
            if exchange.closed:
                raise CancelledError("the client went away")
            return decode(message)

        self.door.dataplane.in_thread(decode_unless_gone, partial(self._start, start), self._end)

    def _start(self, start: Start, decoded: Any) -> None:
        try:
            start(self, decoded)
        except EdgewiseError as error:
            self._end(error)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
            self._end(self._fault())

    def _fault(self) -> InternalError:
        _log.exception("beginning a call of %s failed", self.model or "a model")
        return InternalError("the request could not be begun because of a fault in the server")

    def _end(self, error: EdgewiseError) -> None:
        """End with an error; a call that was admitted gives its version back."""
        if self.call is not None:
            self.call.end(error)
        else:
            self.ended(error)

    def admit(self, model: ModelSpec, timeout_s: float | None = None) -> "Servable":
        """Admit the call for the version that will answer, under the shorter of the two deadlines.

        Raises:
            EdgewiseError: as `Dataplane.admit`.
        """
        exchange = self.exchange
        if exchange.closed:
            raise CancelledError("the client went away")
        left_s = self.left_s()
        if timeout_s is not None and (left_s is None or timeout_s < left_s):
            left_s = timeout_s
        self.call = call = self.door.dataplane.admit(model, left_s, self.ended, self.preferred())
        self.model = call.servable.name
        exchange.on_cancel = call.cancel
        return call.servable

    def left_s(self) -> float | None:
        """The remaining budget: the shorter of what gRPC's own deadline and our header give.

        Raises:
            InvalidArgumentError: the header is no number of milliseconds.
        """
        exchange = self.exchange
        budget_s = exchange.timeout_s
        value = exchange.metadata.get(DEADLINE_HEADER)
        if value is not None:
            stated_s = parse_deadline_ms(value)
            if budget_s is None or stated_s < budget_s:
                budget_s = stated_s
        return None if budget_s is None else budget_s - (time.monotonic() - exchange.received_s)

    def preferred(self) -> int | None:
        """The version that should answer where the request leaves the choice.

        Raises:
            InvalidArgumentError: the header is no version.
        """
        return parse_preferred_version(self.exchange.metadata.get(PREFERRED_VERSION_HEADER))

    def run(self, request: PredictRequest) -> None:
        """Run the admitted call."""
        assert self.call is not None, "admitted before it runs"  # noqa: S101
        self.call.run(request.signature, request.inputs, request.outputs)  # type: ignore[arg-type]  # numpy arrays

    def ended(self, result: PredictResponse | EdgewiseError) -> None:
        """Answer; called once, when the call has ended or could not be admitted."""
        if isinstance(result, EdgewiseError):
            self.fail(result)
            return
        size = 0
        for array in result.outputs.values():
            size += array.nbytes
        if size <= INLINE_BYTES:
            try:
                message = self.encode(result)
            except EdgewiseError as error:
                self.fail(error)
            except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
                _log.exception("encoding an answer of %s failed", result.model)
                self.fail(InternalError("the answer could not be encoded because of a fault in the server"))
            else:
                self.answer(result, message)
            return
        self.door.dataplane.in_thread(lambda: self.encode(result), partial(self.answer, result), self.fail)

    def answer(self, response: PredictResponse, message: bytes) -> None:
        """Answer, and say in the trailers who did."""
        self.response = response
        queue_depth = self.call.servable.batcher.pending if self.call is not None else None
        trailers = [*self.door.who, *prediction_fields(response, queue_depth)]
        if self.request_id:
            trailers.append((b"x-request-id", self.request_id))
        self.exchange.respond(message, trailers)
        self._account(OK)

    def fail(self, error: EdgewiseError) -> None:
        """Answer with an error, unless nobody is there any more."""
        code = error.code
        if code is Code.CANCELLED and self._expired():
            # The server ended the call at its deadline and has told the client so.
            code = Code.DEADLINE_EXCEEDED
        fail(self.exchange, error, self.door.who)
        self._account(code.value)

    def _expired(self) -> bool:
        timeout_s = self.exchange.timeout_s
        return timeout_s is not None and time.monotonic() - self.exchange.received_s >= timeout_s - DEADLINE_SLACK_S

    def _account(self, code: str) -> None:
        self.door.service.account(
            protocol=self.protocol,
            method=self.method,
            model=self.model,
            code=code,
            received_s=self.exchange.received_s,
            response=self.response,
            request_id=self.request_id,
            peer=self.peer,
        )


def fail(exchange: GrpcExchange, error: EdgewiseError, trailers: tuple[Field, ...]) -> None:
    """Answer a call with an error, with the caller's id and what else the trailers are to say."""
    if error.retry_after_s is not None:
        milliseconds = b"%d" % max(1, round(error.retry_after_s * 1e3))
        seconds = b"%d" % max(1, round(error.retry_after_s))
        trailers = (*trailers, (b"grpc-retry-pushback-ms", milliseconds), (b"retry-after", seconds))
    request_id = _request_id(exchange)
    if request_id:
        trailers = (*trailers, (b"x-request-id", request_id))
    exchange.fail(STATUS[error.code], error.message, trailers)


def _request_id(exchange: GrpcExchange) -> bytes:
    """The caller's id; what cannot be sent back is no reason to fail."""
    value = exchange.metadata.get(b"x-request-id", b"")[:MAX_REQUEST_ID_BYTES]
    return value if value.isascii() and value.decode().isprintable() else b""


def _predict(prediction: GrpcPrediction, request: PredictRequest) -> None:
    prediction.admit(request.model)
    prediction.run(request)


def _model_infer(prediction: GrpcPrediction, request: PredictRequest) -> None:
    servable = prediction.admit(request.model, request.timeout_s)
    request.signature = signature_by_names(servable.signatures, request.signature, request.inputs)
    request_id = request.request_id
    prediction.encode = lambda response: oip_grpc.encode_infer_response(response, request_id)
    prediction.run(request)


def _examples(method: Method, prediction: GrpcPrediction, decoded: tfs_examples_grpc.ExampleRequest) -> None:
    servable = prediction.admit(decoded.model)
    count = len(decoded.examples)
    encode = (
        tfs_examples_grpc.encode_classification_response
        if method is Method.CLASSIFY
        else tfs_examples_grpc.encode_regression_response
    )
    prediction.encode = lambda response: encode(response, count)
    prediction.run(_from_examples(servable, decoded.examples, decoded.signature, method))


def _from_examples(servable: "Servable", examples: "Examples", signature: str, method: Method) -> PredictRequest:
    found = find_signature(servable.signatures, signature)
    spec = ModelSpec(servable.name, servable.version)
    return tfs_examples_grpc.to_predict_request(spec, examples, found, method)


def _multi_inference(prediction: GrpcPrediction, decoded: tfs_examples_grpc.MultiInferenceRequest) -> None:
    """Run every task on one version, though another may take over in between, and answer when all have."""
    repository = prediction.door.service.repository
    pinned = repository.acquire(decoded.model, prediction.preferred())
    try:
        model = ModelSpec(pinned.name, pinned.version)
        requests = [_from_examples(pinned, decoded.examples, task.signature, task.method) for task in decoded.tasks]
        _Tasks(prediction, decoded.tasks, len(decoded.examples)).run(model, requests)
    finally:
        repository.release(pinned)


class _Tasks:
    """The tasks of one MultiInference call."""

    def __init__(
        self, prediction: GrpcPrediction, tasks: Sequence[tfs_examples_grpc.InferenceTask], count: int
    ) -> None:
        self._prediction = prediction
        self._tasks = tasks
        self._count = count
        self._responses: list[PredictResponse | None] = [None] * len(tasks)
        self._calls: list[Call] = []
        self._ended = False

    def run(self, model: ModelSpec, requests: Sequence[PredictRequest]) -> None:
        exchange = self._prediction.exchange
        left_s = self._prediction.left_s()
        dataplane = self._prediction.door.dataplane
        # All are admitted before one runs, so that an early end finds every other call to cancel.
        self._calls = [dataplane.admit(model, left_s, partial(self._done, index)) for index in range(len(requests))]
        self._prediction.model = model.name
        exchange.on_cancel = self._cancel
        for call, request in zip(self._calls, requests, strict=True):
            call.run(request.signature, request.inputs, request.outputs)  # type: ignore[arg-type]  # numpy arrays

    def _done(self, index: int, result: PredictResponse | EdgewiseError) -> None:
        if self._ended:
            return
        if isinstance(result, EdgewiseError):
            self._ended = True
            for call in self._calls:
                call.cancel()
            self._prediction.ended(result)
            return
        self._responses[index] = result
        responses = [response for response in self._responses if response is not None]
        if len(responses) == len(self._tasks):
            self._ended = True
            self._prediction.encode = lambda _: tfs_examples_grpc.encode_multi_inference_response(
                self._tasks, responses, self._count
            )
            self._prediction.ended(responses[0])

    def _cancel(self) -> None:
        self._done(0, CancelledError("the client went away"))
