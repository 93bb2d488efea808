"""The gRPC front door: both protocols' services over the one dataplane, the standard health service, reflection.

Methods go by their public names with raw bytes in and out, so that the messages stay under Edgewise's own proto package.
The server calls the door with each whole call; a prediction is decoded, admitted, run, and answered when the dataplane
calls back. No task is made for it. A call's deadline is the client's; a call that the client gives up is cancelled
down to the queue.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from edgewise import __version__
from edgewise.core.errors import EdgewiseError, InternalError
from edgewise.model_server.doors.answer_fields import site_fields
from edgewise.model_server.doors.grpc_predictions import GrpcPredictions, fail
from edgewise.model_server.service import PLATFORMS, default_signature
from edgewise.net.grpc_exchange import GrpcExchange, GrpcStream, Method, StreamingMethod, UnaryMethod
from edgewise.net.grpc_health import HealthService
from edgewise.protocols import oip_grpc, tfs_grpc
from edgewise.protocols.grpc_services import INFERENCE_SERVICE, MODEL_SERVICE, PREDICTION_SERVICE
from edgewise.protocols.grpc_status import STATUS
from edgewise.protocols.oip_rest_metadata import EXTENSIONS
from edgewise.wire import inference_pb2

if TYPE_CHECKING:
    from edgewise.model_server.service import Service

_log = logging.getLogger(__name__)

HEALTH_SERVICE: Final = "grpc.health.v1.Health"
SERVICES: Final = (PREDICTION_SERVICE, MODEL_SERVICE, INFERENCE_SERVICE)

_REFLECTION: Final = "/grpc.reflection."

Answer = Callable[[bytes], bytes]


class GrpcDoor:
    """Finds the method of a call by its full name.

    Attributes:
        health: what the health service tells.
    """

    def __init__(self, service: "Service") -> None:
        self._service = service
        self.health = HealthService(("", *SERVICES))
        self._who = site_fields(service.options)
        self._reloads: set[asyncio.Task[None]] = set()
        self._reflection: dict[str, Method] = {}
        questions: dict[str, Answer] = {
            f"/{PREDICTION_SERVICE}/GetModelMetadata": self._get_model_metadata,
            f"/{MODEL_SERVICE}/GetModelStatus": self._get_model_status,
            f"/{INFERENCE_SERVICE}/ServerMetadata": self._server_metadata,
            f"/{INFERENCE_SERVICE}/ModelMetadata": self._model_metadata,
            f"/{INFERENCE_SERVICE}/ModelReady": self._model_ready,
        }
        # Whoever watches over the process has no key.
        open_to_all: dict[str, Answer] = {
            f"/{INFERENCE_SERVICE}/ServerLive": self._server_live,
            f"/{INFERENCE_SERVICE}/ServerReady": self._server_ready,
            f"/{HEALTH_SERVICE}/Check": self.health.check,
        }
        predictions = GrpcPredictions(service)
        self._methods: dict[str, Method] = {
            f"/{PREDICTION_SERVICE}/Predict": UnaryMethod(predictions.predict),
            f"/{PREDICTION_SERVICE}/Classify": UnaryMethod(predictions.classify),
            f"/{PREDICTION_SERVICE}/Regress": UnaryMethod(predictions.regress),
            f"/{PREDICTION_SERVICE}/MultiInference": UnaryMethod(predictions.multi_inference),
            f"/{INFERENCE_SERVICE}/ModelInfer": UnaryMethod(predictions.model_infer),
            f"/{MODEL_SERVICE}/HandleReloadConfigRequest": UnaryMethod(self._reload_config),
            f"/{HEALTH_SERVICE}/Watch": StreamingMethod(self.health.watch),
            **{name: UnaryMethod(self._question(answer, with_key=True)) for name, answer in questions.items()},
            **{name: UnaryMethod(self._question(answer, with_key=False)) for name, answer in open_to_all.items()},
        }

    def __call__(self, name: str) -> Method | None:
        """The method of that name; None for one that is not served here."""
        found = self._methods.get(name)
        if found is None and name.startswith(_REFLECTION):
            if not self._reflection:
                # It pulls in every descriptor, which few servers are ever asked for.
                from edgewise.net import grpc_reflection  # noqa: PLC0415
                from edgewise.protocols.reflection import public_pool  # noqa: PLC0415

                methods = grpc_reflection.methods((*SERVICES, HEALTH_SERVICE), public_pool())
                self._reflection = {
                    full_name: StreamingMethod(self._with_key(opened)) for full_name, opened in methods.items()
                }
            return self._reflection.get(name)
        return found

    # --- around every question

    def _question(self, answer: Answer, *, with_key: bool) -> Callable[[GrpcExchange], None]:
        def handle(exchange: GrpcExchange) -> None:
            try:
                if with_key:
                    self._check_key(exchange)
                exchange.respond(answer(bytes(exchange.message)), self._who)
            except EdgewiseError as error:
                fail(exchange, error, self._who)

        return handle

    def _with_key(self, opened: Callable[[GrpcStream], None]) -> Callable[[GrpcStream], None]:
        def handle(stream: GrpcStream) -> None:
            try:
                self._check_key(stream)
            except EdgewiseError as error:
                stream.finish(STATUS[error.code], error.message)
                return
            opened(stream)

        return handle

    def _check_key(self, call: GrpcExchange | GrpcStream) -> None:
        metadata = call.metadata
        self._service.check_key(metadata.get(b"authorization"), metadata.get(b"x-api-key"))

    # --- TensorFlow Serving

    def _get_model_metadata(self, message: bytes) -> bytes:
        spec = tfs_grpc.decode_get_model_metadata(message)
        servable = self._service.repository.acquire(spec)
        try:
            return tfs_grpc.encode_model_metadata(servable.name, servable.version, servable.signatures.values())
        finally:
            self._service.repository.release(servable)

    def _get_model_status(self, message: bytes) -> bytes:
        spec = tfs_grpc.decode_get_model_status(message)
        return tfs_grpc.encode_model_status(self._service.repository.status(spec.name, spec.version, spec.label))

    def _reload_config(self, exchange: GrpcExchange) -> None:
        """Loading takes time, so this one is a task."""
        task = self._service.loop.create_task(self._reload(exchange))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self, exchange: GrpcExchange) -> None:
        try:
            self._check_key(exchange)
            await self._service.repository.reload(tfs_grpc.decode_reload_config(bytes(exchange.message)))
        except EdgewiseError as error:
            fail(exchange, error, self._who)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
            _log.exception("reloading the config failed")
            fail(
                exchange, InternalError("the config could not be reloaded because of a fault in the server"), self._who
            )
        else:
            exchange.respond(tfs_grpc.encode_reload_config_response(), self._who)

    # --- Open Inference Protocol

    @staticmethod
    def _server_metadata(message: bytes) -> bytes:
        del message
        return oip_grpc.encode_server_metadata(__version__, EXTENSIONS)

    def _model_metadata(self, message: bytes) -> bytes:
        spec = oip_grpc.decode_model_reference(inference_pb2.ModelMetadataRequest, message)
        service = self._service
        servable = service.repository.acquire(spec)
        try:
            versions = service.repository.available(servable.name)
            platform = PLATFORMS[servable.config.backend]
            return oip_grpc.encode_model_metadata(servable.name, versions, platform, default_signature(servable))
        finally:
            service.repository.release(servable)

    @staticmethod
    def _server_live(message: bytes) -> bytes:
        del message
        return oip_grpc.encode_server_live(live=True)

    def _server_ready(self, message: bytes) -> bytes:
        del message
        return oip_grpc.encode_server_ready(ready=self._service.ready())

    def _model_ready(self, message: bytes) -> bytes:
        spec = oip_grpc.decode_model_reference(inference_pb2.ModelReadyRequest, message)
        return oip_grpc.encode_model_ready(ready=self._service.model_ready(spec))
