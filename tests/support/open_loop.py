"""A constant-rate load over REST and gRPC that records every request, and what can be checked of the record.

The schedule is computed beforehand; a request that is due is sent, whatever became of those before it. Each request
ends in exactly one record.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field

import grpc.aio

from edgewise.wire import serving_pb2, tensor_pb2

MODEL = "tiny"
ROW = [0.0] * 8


@dataclass(slots=True)
class Record:
    """One request: when it was sent and answered (`time.monotonic()`, seconds), and how it ended.

    Attributes:
        error: "" when it was answered with a prediction.
        refused: the connection was refused before any byte was sent, so the server never accepted it.
    """

    number: int
    door: str
    sent_s: float
    ended_s: float = 0.0
    version: int = 0
    error: str = ""
    refused: bool = False


@dataclass
class OpenLoop:
    """Sends `rate` requests a second until told to stop, REST and gRPC in turn.

    Attributes:
        label: ask for this label; by label the requests go over REST and gRPC alike.
    """

    rest_port: int
    grpc_port: int
    rate: float = 200.0
    label: str | None = None
    records: list[Record] = field(default_factory=list)
    _waiting: list[tuple[int, float, "asyncio.Future[None]"]] = field(default_factory=list)

    async def answered_by(self, version: int) -> None:
        """Return once a request that is sent from now on has been answered by `version`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((version, time.monotonic(), future))
        async with asyncio.timeout(20):
            await future

    async def run(self, duration_s: float, *, stop: asyncio.Event | None = None) -> None:
        """Send for `duration_s` or until `stop` is set; return when every request has ended."""
        self._rest: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        loop = asyncio.get_running_loop()
        begun = time.monotonic()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            self._predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            tasks = []
            for number in range(int(duration_s * self.rate)):
                due = begun + number / self.rate
                if stop is not None and stop.is_set():
                    break
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                record = Record(number, "rest" if number % 2 else "grpc", time.monotonic())
                self.records.append(record)
                tasks.append(loop.create_task(self._one(record)))
            await asyncio.gather(*tasks)
        for _, writer in self._rest:
            writer.close()

    async def _one(self, record: Record) -> None:
        try:
            async with asyncio.timeout(20):
                await (self._over_rest(record) if record.door == "rest" else self._over_grpc(record))
        except grpc.aio.AioRpcError as error:
            record.error = f"{error.code().name}: {error.details()}"
            record.refused = "onnection refused" in (error.details() or "")
        except ConnectionRefusedError:
            record.error, record.refused = "connection refused", True
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            record.error = f"{type(error).__name__}: {error}"
        record.ended_s = time.monotonic()
        for version, since_s, future in self._waiting:
            if version == record.version and record.sent_s >= since_s and not future.done():
                future.set_result(None)

    async def _over_rest(self, record: Record) -> None:
        place = f"/labels/{self.label}" if self.label else ""
        body = json.dumps({"instances": [ROW]}).encode()
        head = f"POST /v1/models/{MODEL}{place}:predict HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
        pooled = bool(self._rest)
        reader, writer = self._rest.pop() if pooled else await asyncio.open_connection("127.0.0.1", self.rest_port)
        try:
            writer.write(head.encode() + body)
            try:
                answer = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError) as error:
                # A pooled connection that the server closed while idle took no request: HTTP/1.1 clients send it anew.
                if not pooled or getattr(error, "partial", b""):
                    raise
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.rest_port)
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
        except BaseException:
            writer.close()
            raise
        headers = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if b": " in line)
        content = await reader.readexactly(int(headers[b"content-length"]))
        if headers.get(b"connection") == b"close":
            writer.close()
        else:
            self._rest.append((reader, writer))
        if answer[9:12] != b"200":
            record.error = f"{answer[9:12].decode()}: {content.decode()}"
            return
        record.version = int(headers[b"x-edgewise-model-version"])
        assert len(json.loads(content)["predictions"][0]) == 2

    async def _over_grpc(self, record: Record) -> None:
        request = serving_pb2.PredictRequest()
        request.model_spec.name = MODEL
        if self.label:
            request.model_spec.version_label = self.label
        shape = tensor_pb2.TensorShapeProto(
            dim=[tensor_pb2.TensorShapeProto.Dim(size=1), tensor_pb2.TensorShapeProto.Dim(size=8)]
        )
        request.inputs["x"].CopyFrom(tensor_pb2.TensorProto(dtype=1, tensor_shape=shape, float_val=ROW))
        answer = serving_pb2.PredictResponse.FromString(await self._predict(request.SerializeToString(), timeout=20))
        record.version = answer.model_spec.version.value

    @property
    def failures(self) -> list[Record]:
        """Requests that did not end in a prediction."""
        return [record for record in self.records if record.error]


def percentile_ms(records: list[Record], ratio: float) -> float:
    """A latency percentile in milliseconds, from the moment of sending."""
    ordered = sorted(record.ended_s - record.sent_s for record in records)
    return ordered[min(len(ordered) - 1, int(len(ordered) * ratio))] * 1e3
