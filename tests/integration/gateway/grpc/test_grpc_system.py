"""`edgewise gateway` before real model servers, asked by grpcio's client while the cloud dies, comes back and drains."""

import signal
import threading

import grpc
import pytest

from edgewise.wire import serving_pb2
from support.sockets import free_port
from support.wire_requests import HALVES, tfs_request

PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
WAIT_S = 30.0


class Load:
    """Callers that ask one after the other until they are told to stop, and count who answered."""

    def __init__(self, target, callers=8):
        self.channels = [grpc.insecure_channel(target, [("x", n)]) for n in range(2)]
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.by = {}
        self.failures = []
        self.threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(callers)]
        for thread in self.threads:
            thread.start()

    def _ask(self, number):
        predict = self.channels[number % 2].unary_unary(PREDICT)
        message = tfs_request("tiny", x=HALVES).SerializeToString()
        while not self.stopping.is_set():
            try:
                _, call = predict.with_call(message, timeout=10)
            except grpc.RpcError as error:
                with self.lock:
                    self.failures.append((error.code(), error.details()))
                continue
            site = dict(call.trailing_metadata())["x-edgewise-site"]
            with self.lock:
                self.by[site] = self.by.get(site, 0) + 1

    def count(self, site):
        with self.lock:
            return self.by.get(site, 0)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(WAIT_S)
        for channel in self.channels:
            channel.close()


@pytest.fixture
def load():
    running = []

    def make(gateway, **words):
        running.append(Load(gateway.grpc_target, **words))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.mark.parametrize("carriage", ["http", "http2"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_call_is_lost_when_the_cloud_goes(
    start_server, start_gateway, tiny_repository, load, until, ask, carriage, how
):
    words = ("--repository", str(tiny_repository))
    cloud = start_server(*words, "--tier", "cloud")
    edge = start_server(*words)

    def address(site):
        return site.rest_url if carriage == "http" else f"{site.rest_url},grpc://{site.grpc_target}"

    gateway = start_gateway("--cloud", address(cloud), "--edge", address(edge))
    asked = ask(gateway)
    until(lambda: asked.state("cloud") == "UP")
    callers = load(gateway)
    until(lambda: callers.count("cloud") > 200)
    cloud.stop(how)
    before = callers.count("edge")
    until(lambda: callers.count("edge") > before + 200)
    callers.stop()
    assert callers.failures == []
    assert set(callers.by) == {"cloud", "edge"}
    metrics = asked.metrics()
    assert metrics["edgewise_gateway_in_flight_requests"] == 0


def test_a_gateway_that_drains_loses_no_call(start_server, start_gateway, tiny_repository, load, until):
    edge = start_server("--repository", str(tiny_repository))
    port = free_port()
    first = start_gateway("--edge", edge.rest_url, "--grpc-port", str(port))
    callers = load(first)
    until(lambda: callers.count("edge") > 200)
    assert first.stop() == 0
    until(lambda: callers.failures)
    callers.stop()
    # What was in flight was answered; what came later found nobody there.
    assert {code for code, _ in callers.failures} == {grpc.StatusCode.UNAVAILABLE}


def test_questions_and_errors_are_those_of_a_site(start_server, start_gateway, tiny_repository, grpc_calls):
    edge = start_server("--repository", str(tiny_repository))
    gateway = start_gateway("--edge", edge.rest_url)
    direct, through = grpc_calls(edge), grpc_calls(gateway)
    status = serving_pb2.GetModelStatusRequest()
    status.model_spec.name = "tiny"
    for method, message in (
        (PREDICT, tfs_request("tiny", x=HALVES).SerializeToString()),
        (PREDICT, tfs_request("absent", x=HALVES).SerializeToString()),
        (PREDICT, b"\xff"),
        (PREDICT, b""),
        (STATUS, status.SerializeToString()),
        (STATUS, b""),
    ):
        assert through.call(method, message)[:3] == direct.call(method, message)[:3]


def test_a_gateway_behind_a_gateway(start_server, start_gateway, tiny_repository, grpc_calls, until, ask):
    """As at the edge: the site is a cluster, whose gateway has one address for both protocols."""
    cloud = start_server("--repository", str(tiny_repository), "--tier", "cloud")
    cluster = start_gateway("--cloud", cloud.rest_url)
    edge = start_gateway("--cloud", cluster.rest_url)
    asked = ask(edge)
    until(lambda: asked.state("cloud") == "UP")
    direct, through = grpc_calls(cloud), grpc_calls(edge)
    status = serving_pb2.GetModelStatusRequest()
    status.model_spec.name = "tiny"
    for method, message in (
        (PREDICT, tfs_request("tiny", x=HALVES).SerializeToString()),
        (PREDICT, tfs_request("absent", x=HALVES).SerializeToString()),
        (PREDICT, b"\xff"),
        (STATUS, status.SerializeToString()),
        ("/inference.GRPCInferenceService/ServerMetadata", b""),
    ):
        assert through.call(method, message)[:3] == direct.call(method, message)[:3]
    assert asked.predict().status == 200
    cloud.stop(signal.SIGKILL)
    _, code, *_ = through.call(PREDICT, tfs_request("tiny", x=HALVES).SerializeToString())
    assert code is grpc.StatusCode.UNAVAILABLE


def test_a_message_that_is_too_long_between_gateways_is_refused(
    start_server, start_gateway, tiny_repository, grpc_calls
):
    cloud = start_server("--repository", str(tiny_repository), "--tier", "cloud")
    edge = start_gateway("--cloud", start_gateway("--cloud", cloud.rest_url).rest_url)
    _, code, details, *_ = grpc_calls(edge).call(
        PREDICT, tfs_request("tiny", x=HALVES).SerializeToString() + bytes(17 << 20)
    )
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "give this site a gRPC address" in details
