"""What a fault of the server leaves behind when it happens between a call's admission and its run."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from edgewise.core.requests import ModelSpec, PredictRequest
from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.model_server.dataplane import Dataplane
from edgewise.model_server.doors import grpc_predictions
from edgewise.protocols import oip_grpc

INTERNAL = 13


class Exchange:
    """A call that remembers how it ended."""

    def __init__(self, message):
        self.message = message
        self.metadata = {}
        self.timeout_s = None
        self.received_s = 0.0
        self.on_cancel = None
        self.closed = False
        self.peer = ""
        self.ended = asyncio.get_running_loop().create_future()

    def respond(self, message, trailers=()):
        self.ended.set_result((0, message))

    def fail(self, status, message, trailers=()):
        self.ended.set_result((status, message))


class Repository:
    """One version, whose batcher has a fault."""

    def __init__(self):
        spec = TensorSpec("x", DType.FLOAT32, (-1, 3), batched=True)
        self.in_use = 0
        self.servable = SimpleNamespace(
            name="m",
            version=1,
            signatures={"serving_default": Signature("serving_default", (spec,), (spec,))},
            pipelines={},
            batcher=SimpleNamespace(submit=self.submit),
        )

    def submit(self, *words, **more):
        raise RuntimeError("inner words")

    def acquire(self, spec, preferred=None):
        self.in_use += 1
        return self.servable

    def release(self, servable):
        self.in_use -= 1


class Service:
    """What the door needs of the service, with a ledger of how calls ended."""

    def __init__(self):
        self.repository = Repository()
        self.codes = []
        self.accounted = asyncio.Event()
        self.options = SimpleNamespace(site="s", tier="edge")
        self.dataplane = Dataplane(self.repository, SimpleNamespace(), loop=asyncio.get_running_loop())
        self.request_log = SimpleNamespace(enabled=False)
        self.metrics = SimpleNamespace(received=0)

    def check_key(self, *keys):
        """Everybody may ask."""

    def account(self, *, code, **words):
        self.codes.append(code)
        self.accounted.set()


MESSAGE = oip_grpc.encode_infer_request(PredictRequest(ModelSpec("m"), {"x": np.zeros((1, 3), np.float32)}))


@pytest.mark.parametrize("inline_bytes", [grpc_predictions.INLINE_BYTES, 0], ids=["on the loop", "by way of a thread"])
def test_a_fault_is_answered_and_gives_the_version_back(monkeypatch, inline_bytes):
    monkeypatch.setattr(grpc_predictions, "INLINE_BYTES", inline_bytes)

    async def scenario():
        service = Service()
        exchange = Exchange(MESSAGE)
        grpc_predictions.GrpcPredictions(service).model_infer(exchange)
        async with asyncio.timeout(5):
            status, text = await exchange.ended
        service.dataplane.close()
        return status, text, service

    status, text, service = asyncio.run(scenario())
    assert status == INTERNAL
    assert "inner words" not in text
    assert service.repository.in_use == 0
    assert service.codes == ["INTERNAL"]


def test_a_large_message_is_not_decoded_for_a_client_that_has_gone(monkeypatch):
    monkeypatch.setattr(grpc_predictions, "INLINE_BYTES", 0)
    decoded = []
    monkeypatch.setattr(oip_grpc, "decode_infer", decoded.append)

    async def scenario():
        service = Service()
        exchange = Exchange(MESSAGE)
        exchange.closed = True
        grpc_predictions.GrpcPredictions(service).model_infer(exchange)
        async with asyncio.timeout(5):
            await service.accounted.wait()
        service.dataplane.close()
        return service.codes

    assert asyncio.run(scenario()) == ["CANCELLED"]
    assert decoded == []
