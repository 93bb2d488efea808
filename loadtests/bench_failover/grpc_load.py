"""The generator over gRPC, with the public library, so that its own view of deadlines and trailers is what is measured."""

import asyncio
from typing import Any

import grpc
import grpc.aio

from bench_failover.load import ERROR, LOST, OK, Generator, LoadSettings, Record
from bench_failover.site import PREDICT_METHOD
from bench_failover.timers import Timers
from edgewise.wire import serving_pb2, tensor_pb2


class GrpcLoad(Generator):
    """One channel, as apps have it."""

    def __init__(self, settings: LoadSettings, timers: Timers) -> None:
        super().__init__(settings, timers)
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{settings.port}")
        self._predict = self._channel.unary_unary(PREDICT_METHOD)
        request = serving_pb2.PredictRequest()
        request.model_spec.name = "m"
        count = max(1, (settings.body_bytes - 60) // 4)
        shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=count)])
        content = b"\0\0\x80>" * count
        request.inputs["x"].CopyFrom(tensor_pb2.TensorProto(dtype=1, tensor_shape=shape, tensor_content=content))
        self._message = request.SerializeToString()
        self._timeout_s = settings.deadline_ms / 1e3 or settings.timeout_s
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def send(self, record: Record) -> None:
        task = asyncio.get_running_loop().create_task(self._one(record))
        self._tasks[record.request_id] = task

    async def _one(self, record: Record) -> None:
        call = self._predict(
            self._message,
            timeout=self._timeout_s,
            metadata=(("x-request-id", record.request_id),),
            wait_for_ready=False,
        )
        try:
            await call
            trailers = {**_fields(await call.initial_metadata()), **_fields(await call.trailing_metadata())}
        except grpc.aio.AioRpcError as error:
            if not record.state:
                self._fail(record, error)
        else:
            if not record.state:
                self.end(record, OK, site=trailers.get("x-edgewise-site", ""))
        finally:
            del self._tasks[record.request_id]

    def _fail(self, record: Record, error: grpc.aio.AioRpcError) -> None:
        trailers = _fields(error.trailing_metadata())
        detail = f"{error.code().name}: {(error.details() or '')[:120]}"
        # The library's own words for a deadline that passed without a word from the server.
        silent = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not trailers
        later = "retry-after" in trailers or "grpc-retry-pushback-ms" in trailers
        self.end(
            record,
            LOST if silent else ERROR,
            site=trailers.get("x-edgewise-site", ""),
            detail=detail,
            retry_after=later,
        )

    def abandon(self, record: Record) -> None:
        task = self._tasks.get(record.request_id)
        if task is not None:
            task.cancel()


def _fields(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}
