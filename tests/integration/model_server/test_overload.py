"""Deadlines, full queues and clients that go away: what is not computed, what is told, and that the sums add up."""

import contextlib
import json
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

# Matrix products: a second or two of one core, and some milliseconds: what takes less is run on the event loop, and so
# would the next one be, however long.
LONG, SHORT = 12000.0, 50.0
SLOW = "/v1/models/slow:predict"
INFER_SLOW = "/v2/models/slow/infer"


def x(steps):
    return np.array([[steps]], np.float32)


def instances(steps):
    return {"instances": [[steps]]}


def inference(steps, **rest):
    return {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [steps]}], **rest}


@pytest.fixture(scope="module")
def server(start_server, build_slow, tiny_repository, tmp_path_factory):
    directory = tmp_path_factory.mktemp("slow")
    build_slow(directory)
    (directory / "tiny").symlink_to(tiny_repository / "tiny")
    return start_server("--repository", str(directory))


@pytest.fixture
def busy(slow, pool, until):
    """The model computes for a request; the fixture's value is its future answer."""
    slow.in_flight()  # the first scrape imports the Prometheus client, which may take as long as the request
    blocker = pool.submit(slow.rest, SLOW, instances(LONG))
    until(lambda: slow.in_flight() == 1 or blocker.done())
    assert not blocker.done(), blocker.result()
    return blocker


def open_request(server, path, body):
    """A socket on which a request has been sent."""
    data = json.dumps(body).encode()
    link = socket.create_connection(("127.0.0.1", server.rest_port))
    link.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    return link


def test_expired_requests_do_not_run(server, slow, busy, pool, grpc_calls, tfs_request, oip_request):
    calls = grpc_calls(server)
    deadline = {"x-edgewise-deadline-ms": "40"}
    rest = [
        pool.submit(slow.rest, SLOW, instances(SHORT), headers=deadline),
        # The timeout that the Open Inference Protocol's own parameter gives, in microseconds.
        pool.submit(slow.rest, INFER_SLOW, inference(SHORT, parameters={"timeout": 40_000})),
    ]
    for answer in [future.result() for future in rest]:
        assert answer.status == 504
        assert "deadline" in answer.json["error"]
        assert answer.headers["x-edgewise-site"] == "local"
    over_grpc = [
        pool.submit(calls.predict, tfs_request("slow", x=x(SHORT)), timeout=0.04),
        pool.submit(calls.infer, oip_request("slow", x=x(SHORT)), timeout=0.04),
    ]
    for _, code, _, _ in [future.result() for future in over_grpc]:
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not busy.done()
    assert slow.runs() == 0
    assert busy.result().status == 200
    assert slow.rest(SLOW, instances(SHORT)).json == {"predictions": [[SHORT]]}
    assert slow.runs() == 2
    assert slow.outcomes() == {"answered": 2, "rejected": 0, "expired": 4, "failed": 0}


def test_the_header_is_a_deadline_over_grpc_too(server, slow, busy, grpc_calls, tfs_request, oip_request):
    calls = grpc_calls(server)
    for value, code in (("40", grpc.StatusCode.DEADLINE_EXCEEDED), ("soon", grpc.StatusCode.INVALID_ARGUMENT)):
        words = {"metadata": (("x-edgewise-deadline-ms", value),)}
        for answer in (
            calls.predict(tfs_request("slow", x=x(SHORT)), **words),
            calls.infer(oip_request("slow", x=x(SHORT)), **words),
        ):
            assert answer[1] is code
            assert "deadline" in answer[2]
    assert not busy.done()
    assert busy.result().status == 200
    assert slow.runs() == 1


@pytest.mark.parametrize("value", ["0", "0.0"])
def test_no_budget_left(slow, value):
    assert slow.rest(SLOW, instances(SHORT), headers={"x-edgewise-deadline-ms": value}).status == 504
    assert slow.runs() == 0


@pytest.mark.parametrize("value", ["-1", "soon", "nan", "inf", "1e99", ""])
def test_a_deadline_that_is_none(slow, value):
    answer = slow.rest(SLOW, instances(SHORT), headers={"x-edgewise-deadline-ms": value})
    assert answer.status == 400
    assert "x-edgewise-deadline-ms" in answer.json["error"]


def test_a_full_queue_refuses_at_once(server, slow, busy, pool, grpc_calls, tfs_request, oip_request, until):
    calls = grpc_calls(server)
    waiting = [pool.submit(slow.rest, SLOW, instances(SHORT)) for _ in range(2)]
    until(lambda: slow.in_flight() == 3)
    for answer in (slow.rest(SLOW, instances(SHORT)), slow.rest(INFER_SLOW, inference(SHORT))):
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert "queue is full" in answer.json["error"]
    for _, code, details, trailers in (
        calls.predict(tfs_request("slow", x=x(SHORT))),
        calls.infer(oip_request("slow", x=x(SHORT))),
    ):
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "queue is full" in details
        assert int(trailers["retry-after"]) >= 1
        assert int(trailers["grpc-retry-pushback-ms"]) >= 1
    # Nobody had to wait for the model to be told.
    assert not busy.done()
    assert [future.result().status for future in (busy, *waiting)] == [200, 200, 200]
    assert slow.outcomes() == {"answered": 3, "rejected": 4, "expired": 0, "failed": 0}


def test_nothing_is_computed_for_who_went_away(server, slow, busy, grpc_calls, tfs_request, until):
    calls = grpc_calls(server)
    link = open_request(server, SLOW, instances(SHORT))
    until(lambda: slow.in_flight() == 2)
    call = calls.future("/tensorflow.serving.PredictionService/Predict", tfs_request("slow", x=x(SHORT)))
    until(lambda: slow.in_flight() == 3)
    link.close()
    call.cancel()
    until(lambda: slow.in_flight() == 1)
    assert not busy.done()
    assert busy.result().status == 200
    assert slow.rest(SLOW, instances(SHORT)).status == 200
    assert slow.runs() == 2
    assert slow.outcomes() == {"answered": 2, "rejected": 0, "expired": 0, "failed": 2}


def test_every_request_is_accounted_for(server, slow, busy, grpc_calls, tfs_request, oip_request, until):
    # One that certainly expires, and one that certainly leaves before its answer.
    assert slow.rest(SLOW, instances(SHORT), headers={"x-edgewise-deadline-ms": "20"}).status == 504
    link = open_request(server, SLOW, instances(SHORT))
    until(lambda: slow.in_flight() == 2)
    link.close()
    calls = grpc_calls(server)
    tfs, oip = "/tensorflow.serving.PredictionService/Predict", "/inference.GRPCInferenceService/ModelInfer"
    row = np.zeros((1, 8), np.float32)
    seen, lock = [], threading.Lock()

    def note(kind):
        with lock:
            seen.append(kind)

    def rest(path, body, **headers):
        note(slow.rest(path, body, headers=headers).status)

    def call(method, request, **words):
        note(calls.call(method, request, **words)[1])

    def leave(path, body):
        with contextlib.closing(open_request(server, path, body)):
            note("left")

    def cancel(method, request):
        calls.future(method, request).cancel()

    kinds = [
        lambda: rest("/v1/models/tiny:predict", {"instances": [[0.0] * 8]}),
        lambda: rest(
            "/v2/models/tiny/infer", {"inputs": [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [0.0] * 8}]}
        ),
        lambda: rest("/v1/models/tiny:predict", b"{"),
        lambda: rest("/v1/models/tiny:predict", {"instances": [[0.0] * 7]}),
        lambda: rest("/v1/models/tiny:classify", {"examples": [{"x": [0.0] * 8}]}),
        lambda: rest("/v1/models/absent:predict", {"instances": [[0.0] * 8]}),
        lambda: rest("/v1/models/tiny:predict", b"x" * 100_000),
        lambda: rest("/v1/models/tiny:predict", b"no zip", **{"Content-Encoding": "gzip"}),
        lambda: rest("/v1/models/tiny:predict", b"\xff\xd8", **{"Content-Type": "image/jpeg"}),
        lambda: rest(SLOW, instances(20.0), **{"x-edgewise-deadline-ms": "15"}),
        lambda: rest(SLOW, instances(10.0)),
        lambda: rest(INFER_SLOW, inference(10.0)),
        lambda: leave(SLOW, instances(20.0)),
        lambda: leave("/v1/models/tiny:predict", {"instances": [[0.0] * 8]}),
        lambda: call(tfs, tfs_request("tiny", x=row)),
        lambda: call(oip, oip_request("tiny", x=row)),
        lambda: call(tfs, tfs_request("absent", x=row)),
        lambda: call(tfs, b"\xff\xff"),
        lambda: call(oip, oip_request("tiny", z=row)),
        lambda: call(tfs, tfs_request("slow", x=x(20.0)), timeout=0.015),
        lambda: call(oip, oip_request("slow", x=x(10.0))),
        lambda: call("/tensorflow.serving.PredictionService/Classify", b""),
        lambda: call("/tensorflow.serving.PredictionService/MultiInference", b""),
        lambda: cancel(tfs, tfs_request("slow", x=x(20.0))),
    ]
    order = kinds * 25
    random.Random(8162).shuffle(order)
    with ThreadPoolExecutor(24) as pool:
        for future in [pool.submit(kind) for kind in order]:
            future.result()
    until(lambda: slow.in_flight() == 0)
    metrics = slow.metrics()
    total = metrics["edgewise_server_received_total"]
    assert total == metrics["edgewise_server_requests_total"]
    assert total == metrics["edgewise_server_request_seconds_count"]
    received, outcomes = slow.received(), slow.outcomes()
    assert received == sum(outcomes.values())
    # Clients that left at once may have been gone before their request had arrived; all others are in the sum.
    answers = [kind for kind in seen if kind != "left"]
    assert len(answers) + 3 <= received <= len(order) + 3
    assert outcomes["answered"] >= sum(kind in {200, None} for kind in answers)
    assert all(count > 0 for count in outcomes.values()), outcomes
    assert {200, 400, 404, None} <= set(answers)
