"""Questions over gRPC as an app asks them, with raw bytes."""

from typing import Any

import grpc
from google.protobuf import message

from support.waiting import WAIT_S

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"


class GrpcQuestions:
    """Calls by full method name.

    Args:
        channel: to whom.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def future(self, method: str, request: Any, *, timeout: float = WAIT_S, metadata: Any = ()) -> Any:
        data = request.SerializeToString() if isinstance(request, message.Message) else request
        return self.channel.unary_unary(method).future(data, timeout=timeout, metadata=metadata)

    def call(
        self, method: str, request: Any = b"", *, timeout: float = WAIT_S, metadata: Any = ()
    ) -> tuple[bytes, grpc.StatusCode | None, str, dict[str, Any]]:
        """Bytes, error code (None for success), its message, and trailers by name."""
        call = self.future(method, request, timeout=timeout, metadata=metadata)
        try:
            data = call.result()
        except grpc.RpcError as error:
            return b"", error.code(), error.details(), dict(error.trailing_metadata() or ())
        return data, None, "", dict(call.trailing_metadata() or ())

    def predict(self, request: Any, **words: Any) -> tuple[bytes, grpc.StatusCode | None, str, dict[str, Any]]:
        return self.call(PREDICT, request, **words)

    def infer(self, request: Any, **words: Any) -> tuple[bytes, grpc.StatusCode | None, str, dict[str, Any]]:
        return self.call(INFER, request, **words)
