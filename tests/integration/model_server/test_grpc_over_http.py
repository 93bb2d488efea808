"""Unary gRPC calls as HTTP requests, and probes: what a gateway asks of the REST port."""

import socket
from urllib.parse import unquote

import numpy as np
import pytest

from edgewise.wire import inference_pb2, serving_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
PROTOBUF = {"content-type": "application/x-protobuf"}
KEY = "the-only-key"
LONG, SHORT = 6000.0, 1.0
X = np.zeros((1, 8), np.float32)


def x(steps):
    return np.array([[steps]], np.float32)


@pytest.fixture(scope="module")
def server(start_server, build_slow, tiny_repository, tmp_path_factory):
    directory = tmp_path_factory.mktemp("slow")
    build_slow(directory)
    (directory / "tiny").symlink_to(tiny_repository / "tiny")
    return start_server("--repository", str(directory), "--site", "cellar", "--max-body-bytes", "100000")


@pytest.fixture(scope="module")
def locked(start_server, tiny_repository, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"gateway {KEY}\n")
    return start_server("--repository", str(tiny_repository), "--api-keys", str(keys))


def call(asked, method, request, **headers):
    body = request if isinstance(request, bytes) else request.SerializeToString()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asked.rest(method, body, method="POST", headers={**PROTOBUF, **named})


def test_the_answers_are_those_of_the_grpc_port(server, ask, grpc_calls, tfs_request, oip_request):
    asked, calls = ask(server), grpc_calls(server)
    metadata = {"x-request-id": "r-1"}
    for method, request in ((PREDICT, tfs_request("tiny", x=X)), (INFER, oip_request("tiny", x=X))):
        over_http = asked.rest(method, request.SerializeToString(), headers={**PROTOBUF, **metadata})
        message, code, _, trailers = calls.call(method, request, metadata=tuple(metadata.items()))
        assert code is None
        assert (over_http.status, over_http.headers["grpc-status"]) == (200, "0")
        assert over_http.headers["content-type"] == "application/x-protobuf"
        assert over_http.body == message
        assert {name: over_http.headers[name] for name in trailers} == trailers
        assert trailers["x-edgewise-site"] == "cellar"
        assert trailers["x-request-id"] == "r-1"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("/inference.GRPCInferenceService/ServerReady", inference_pb2.ServerReadyResponse(ready=True)),
        ("/inference.GRPCInferenceService/ServerLive", inference_pb2.ServerLiveResponse(live=True)),
        ("/grpc.health.v1.Health/Check", b"\x08\x01"),
    ],
)
def test_questions_about_the_server(server, ask, method, answer):
    found = call(ask(server), method, b"")
    assert found.status == 200
    assert found.body == (answer if isinstance(answer, bytes) else answer.SerializeToString())


def test_errors_say_what_grpc_says(server, ask, grpc_calls, tfs_request):
    asked, calls = ask(server), grpc_calls(server)
    absent = tfs_request("absent", x=X)
    wrong = tfs_request("tiny", y=X)
    for request, status in ((absent, 404), (wrong, 400), (b"\xff\xff", 400), (serving_pb2.PredictRequest(), 400)):
        over_http = call(asked, PREDICT, request, x_request_id="r-2")
        _, code, details, trailers = calls.call(PREDICT, request, metadata=(("x-request-id", "r-2"),))
        assert over_http.status == status
        assert over_http.body == b""
        assert int(over_http.headers["grpc-status"]) == code.value[0]
        assert unquote(over_http.headers["grpc-message"]) == details
        assert {name: over_http.headers[name] for name in trailers} == trailers


@pytest.mark.parametrize(
    "method",
    [
        "/tensorflow.serving.PredictionService/Explode",
        "/no.such.Service/Method",
        "/inference.GRPCInferenceService/ModelStreamInfer",
        "/grpc.health.v1.Health/Watch",
        "/",
        "/metrics",
        "/edgewise/v1/probe",
    ],
)
def test_what_is_no_unary_method(server, ask, method):
    answer = call(ask(server), method, b"")
    assert answer.status == 501
    assert answer.headers["grpc-status"] == "12"
    assert answer.headers["x-edgewise-site"] == "cellar"


def test_other_verbs_and_encodings(server, ask, tfs_request):
    asked = ask(server)
    got = asked.rest(PREDICT, method="GET", headers=PROTOBUF)
    assert (got.status, got.headers["allow"]) == (405, "POST")
    packed = call(asked, PREDICT, tfs_request("tiny", x=X), content_encoding="gzip")
    assert (packed.status, packed.headers["grpc-status"]) == (501, "12")
    plain = asked.rest(PREDICT, b"", method="POST", headers={"content-type": "application/json"})
    assert plain.status == 404
    assert "grpc-status" not in plain.headers


def test_a_message_over_the_limit(server, ask):
    assert call(ask(server), PREDICT, bytes(100_001)).status == 413


def test_keys(locked, ask, tfs_request):
    asked = ask(locked)
    request = tfs_request("tiny", x=X)
    refused = call(asked, PREDICT, request, authorization="Bearer another-key")
    assert refused.status == 401
    assert refused.headers["grpc-status"] == "16"
    assert refused.headers["www-authenticate"] == "Bearer"
    assert call(asked, PREDICT, request, authorization=f"Bearer {KEY}").status == 200
    assert call(asked, "/inference.GRPCInferenceService/ServerReady", b"").status == 200
    assert asked.rest("/edgewise/v1/probe", b"", method="POST").status == 401
    assert asked.rest("/edgewise/v1/probe", b"", method="POST", headers={"x-api-key": KEY}).status == 200


@pytest.fixture
def busy(slow, pool, until, tfs_request):
    """The model computes for a call; the fixture's value is its future answer."""
    slow.in_flight()
    blocker = pool.submit(call, slow, PREDICT, tfs_request("slow", x=x(LONG)))
    until(lambda: slow.in_flight() == 1 or blocker.done())
    assert not blocker.done(), blocker.result()
    return blocker


def test_what_expires_in_the_queue_is_never_run(slow, busy, tfs_request, oip_request):
    for method, request in ((PREDICT, tfs_request("slow", x=x(SHORT))), (INFER, oip_request("slow", x=x(SHORT)))):
        expired = call(slow, method, request, x_edgewise_deadline_ms="40")
        assert (expired.status, expired.headers["grpc-status"]) == (504, "4")
    gone = call(slow, PREDICT, tfs_request("slow", x=x(SHORT)), x_edgewise_deadline_ms="0")
    assert gone.status == 504
    wrong = call(slow, PREDICT, tfs_request("slow", x=x(SHORT)), x_edgewise_deadline_ms="soon")
    assert (wrong.status, wrong.headers["grpc-status"]) == (400, "3")
    assert not busy.done()
    assert slow.runs() == 0
    assert busy.result().status == 200
    assert slow.runs() == 1
    assert slow.outcomes() == {"answered": 1, "rejected": 1, "expired": 3, "failed": 0}


def test_what_a_client_gave_up_is_never_run(server, slow, busy, tfs_request, until):
    message = tfs_request("slow", x=x(SHORT)).SerializeToString()
    with socket.create_connection(("127.0.0.1", server.rest_port)) as link:
        head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
        link.sendall(f"{head}content-length: {len(message)}\r\n\r\n".encode() + message)
        until(lambda: slow.in_flight() == 2)
    until(lambda: slow.in_flight() == 1)
    assert busy.result().status == 200
    assert slow.runs() == 1


def test_the_queue_is_told(slow, busy, pool, tfs_request, until):
    waiting = pool.submit(slow.rest, "/v1/models/slow:predict", {"instances": [[SHORT]]})
    until(lambda: slow.in_flight() == 2)
    assert busy.result().headers["x-edgewise-queue-depth"] == "1"
    assert waiting.result().headers["x-edgewise-queue-depth"] == "0"


@pytest.mark.parametrize(("sent", "wanted"), [(0, 0), (1, 1), (50_000, 1 << 20), (99_000, 65_537)])
def test_probes(server, ask, sent, wanted):
    query = f"?answer_bytes={wanted}" if wanted else ""
    answer = ask(server).rest(f"/edgewise/v1/probe{query}", bytes(sent), method="POST")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert (answer.headers["x-edgewise-site"], answer.headers["x-edgewise-tier"]) == ("cellar", "edge")
    assert len(answer.body) == wanted


@pytest.mark.parametrize(
    "query", ["answer_bytes=", "answer_bytes=-1", "answer_bytes=1048577", "answer_bytes=9e5", "n=1"]
)
def test_probes_of_no_size(server, ask, query):
    answer = ask(server).rest(f"/edgewise/v1/probe?{query}", b"", method="POST")
    assert answer.status == 400
    assert "answer_bytes" in answer.json["error"]


def test_a_probe_is_a_post(server, ask):
    answer = ask(server).rest("/edgewise/v1/probe")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
