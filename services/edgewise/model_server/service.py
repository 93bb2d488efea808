"""What both front doors share: the dataplane, who may ask, and what is told of the server and its models."""

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from edgewise.core.errors import EdgewiseError
from edgewise.core.requests import DEFAULT_SIGNATURE, ModelSpec, PredictResponse
from edgewise.core.tensors import Signature
from edgewise.model_server.config.model_config import BackendName
from edgewise.model_server.dataplane import Dataplane
from edgewise.model_server.metrics import ServerMetrics
from edgewise.model_server.options import ServeOptions
from edgewise.model_server.request_log import RequestLog

if TYPE_CHECKING:
    from edgewise.model_server.servable import Servable
    from edgewise.model_server.versions.repository import Repository
    from edgewise.net.api_keys import ApiKeys

# Triton's names for what runs a model, which clients of the Open Inference Protocol know.
PLATFORMS: Final = {BackendName.ONNX: "onnxruntime_onnx", BackendName.TENSORFLOW: "tensorflow_savedmodel"}


class Service:
    """The model server without its doors.

    Attributes:
        api_keys: who may ask; None lets everybody.
        draining: SIGTERM has come; not ready, though what arrives is still answered.
    """

    def __init__(
        self,
        options: ServeOptions,
        repository: "Repository",
        metrics: ServerMetrics,
        *,
        loop: asyncio.AbstractEventLoop,
        api_keys: "ApiKeys | None" = None,
    ) -> None:
        self.options = options
        self.repository = repository
        self.metrics = metrics
        self.loop = loop
        self.dataplane = Dataplane(repository, metrics, loop=loop)
        self.request_log = RequestLog(enabled=options.request_log)
        self.api_keys = api_keys
        self.draining = False
        metrics.model_states = self._model_states

    def ready(self) -> bool:
        """Whether every model that should serve is loaded and warm, and the server is not about to stop."""
        return not self.draining and self.repository.ready()

    def model_ready(self, spec: ModelSpec) -> bool:
        """Whether that model (or version) answers; false for one that is not there."""
        if self.draining:
            return False
        try:
            servable = self.repository.acquire(spec)
        except EdgewiseError:
            return False
        self.repository.release(servable)
        return True

    def check_key(self, authorization: bytes | None, x_api_key: bytes | None) -> None:
        """Refuse who may not ask.

        Raises:
            UnauthenticatedError: no key, or an unknown one.
        """
        if self.api_keys is not None:
            self.api_keys.check(authorization, x_api_key)

    def account(
        self,
        *,
        protocol: str,
        method: str,
        model: str,
        code: str,
        received_s: float,
        response: PredictResponse | None,
        request_id: bytes,
        peer: str,
    ) -> None:
        """Count the end of a prediction, and log it when that is asked for.

        Args:
            protocol, method, model, code: as `ServerMetrics.finished` takes them.
            received_s: `time.monotonic()` when the request's head was complete.
            response: what was answered; None for an error.
            request_id: the caller's, b"" for none.
            peer: the client's address.
        """
        seconds = time.monotonic() - received_s
        compute_s = response.compute_s if response is not None else None
        self.metrics.finished(
            model=model, protocol=protocol, method=method, code=code, seconds=seconds, compute_s=compute_s
        )
        if self.request_log.enabled:
            self.request_log.write(
                protocol=protocol,
                method=method,
                model=model,
                version=response.version if response is not None else None,
                code=code,
                seconds=seconds,
                queue_s=response.queue_s if response is not None else 0.0,
                compute_s=compute_s or 0.0,
                request_id=request_id.decode("latin-1"),
                peer=peer,
            )

    def _model_states(self) -> Iterable[tuple[str, int, str, bool]]:
        for name in self.repository.models():
            try:
                statuses = self.repository.status(name)
            except EdgewiseError:
                continue
            for status in statuses:
                yield name, status.version, status.state.value, status.error_code is not None


def default_signature(servable: "Servable") -> Signature:
    """The signature that protocols without signatures are told of."""
    found = servable.signatures.get(DEFAULT_SIGNATURE)
    return found if found is not None else next(iter(servable.signatures.values()))
