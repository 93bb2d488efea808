"""`edgewise gateway` in front of real model servers: who answers, what is said of it, and what is left of a site's end."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from support.sockets import free_port
from support.wire_requests import HALVES, oip_request, tfs_request

TFS_PREDICT = "/tensorflow.serving.PredictionService/Predict"
OIP_INFER = "/inference.GRPCInferenceService/ModelInfer"
BODY = {"instances": [[0.5] * 8]}
OUTCOMES = ("answered", "rejected", "expired", "failed", "cancelled")


@pytest.fixture(scope="module")
def edge(start_server, tiny_repository):
    return start_server("--repository", str(tiny_repository), "--site", "an-edge", "--tier", "edge")


@pytest.fixture(scope="module")
def cloud(start_server, tiny_repository):
    return start_server("--repository", str(tiny_repository), "--site", "a-cloud", "--tier", "cloud")


@pytest.fixture(scope="module")
def gateway(start_gateway, cloud, edge):
    return start_gateway("--cloud", cloud.rest_url, "--edge", edge.rest_url)


def expected_y(edge, ask):
    return ask(edge).rest("/v1/models/tiny:predict", BODY).json["predictions"]


def test_rest_is_answered_by_the_cloud(gateway, edge, ask):
    asked = ask(gateway)
    answer = asked.rest("/v1/models/tiny:predict", BODY, headers={"x-request-id": "r-7"})
    assert answer.status == 200
    assert answer.json["predictions"] == expected_y(edge, ask)
    # The gateway's own names of the sites, whatever they call themselves.
    assert (answer.site, answer.headers["x-edgewise-tier"]) == ("cloud", "cloud")
    assert answer.headers["x-edgewise-attempts"] == "1"
    assert answer.headers["x-edgewise-model-version"] == "2"
    assert answer.headers["x-edgewise-degraded"] is None
    assert answer.headers["x-request-id"] == "r-7"
    infer = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [0.5] * 8}]}
    assert asked.rest("/v2/models/tiny/infer", infer).json["outputs"][0]["name"] == "y"
    assert asked.rest("/v1/models/tiny").json["model_version_status"][0]["state"] == "AVAILABLE"
    wished = asked.rest("/v1/models/tiny:predict", BODY, headers={"x-edgewise-route": "edge-only"})
    assert wished.site == "edge"


@pytest.mark.parametrize(("method", "request_of"), [(TFS_PREDICT, tfs_request), (OIP_INFER, oip_request)])
def test_grpc_is_answered_by_the_cloud(gateway, grpc_calls, method, request_of):
    calls = grpc_calls(gateway)
    data, code, _, trailers = calls.call(method, request_of("tiny", x=HALVES), metadata=(("x-request-id", "g-7"),))
    assert code is None
    assert data
    assert trailers["x-edgewise-site"] == trailers["x-edgewise-tier"] == "cloud"
    assert trailers["x-edgewise-attempts"] == "1"
    assert trailers["x-edgewise-model-version"] == "2"
    assert trailers["x-request-id"] == "g-7"
    assert "x-edgewise-degraded" not in trailers
    wished = calls.call(method, request_of("tiny", x=HALVES), metadata=(("x-edgewise-route", "edge-only"),))
    assert wished[3]["x-edgewise-site"] == "edge"


def test_a_site_with_a_grpc_address_is_spoken_to_there(start_gateway, edge, grpc_calls, ask):
    gateway = start_gateway("--edge", f"{edge.rest_url},grpc://{edge.grpc_target}")
    before = ask(edge).metrics()["edgewise_server_grpc_received_bytes_total"]
    data, code, _, trailers = grpc_calls(gateway).call(TFS_PREDICT, tfs_request("tiny", x=HALVES))
    assert code is None
    assert data
    assert trailers["x-edgewise-site"] == "edge"
    assert ask(edge).metrics()["edgewise_server_grpc_received_bytes_total"] > before
    assert gateway.stop() == 0


def test_no_request_is_lost_when_the_cloud_is_killed(
    start_server, start_gateway, tiny_repository, edge, ask, grpc_calls, until
):
    port = free_port()
    words = ("--repository", str(tiny_repository), "--tier", "cloud")
    cloud = start_server(*words, "--rest-port", str(port))
    gateway = start_gateway("--cloud", cloud.rest_url, "--edge", edge.rest_url)
    asked, calls = ask(gateway), grpc_calls(gateway)
    assert {asked.predict().site for _ in range(10)} == {"cloud"}
    assert calls.call(TFS_PREDICT, tfs_request("tiny", x=HALVES))[3]["x-edgewise-site"] == "cloud"

    cloud.stop(signal.SIGKILL)
    over_rest = [asked.predict() for _ in range(10)]
    assert {answer.status for answer in over_rest} == {200}
    assert {answer.site for answer in over_rest} == {"edge"}
    for answer in over_rest:
        assert answer.headers["x-edgewise-tier"] == "edge"
        assert answer.headers["x-edgewise-degraded"] in {"rescue", "retry", "failover"}
    _, code, _, trailers = calls.call(TFS_PREDICT, tfs_request("tiny", x=HALVES))
    assert code is None
    assert trailers["x-edgewise-site"] == "edge"
    assert trailers["x-edgewise-degraded"] in {"rescue", "retry", "failover"}
    until(lambda: asked.state("cloud") == "DOWN")
    assert asked.rest("/v2/health/ready").status == 200

    again = start_server(*words, "--rest-port", str(port))
    until(lambda: asked.state("cloud") == "UP")
    back = asked.predict()
    assert back.site == "cloud"
    assert back.headers["x-edgewise-degraded"] is None

    shown = asked.metrics()
    ended = sum(shown[f"edgewise_gateway_outcome_requests_total{{outcome={outcome}}}"] for outcome in OUTCOMES)
    assert shown["edgewise_gateway_received_requests_total"] == ended == 23
    assert shown["edgewise_gateway_outcome_requests_total{outcome=answered}"] == 23
    assert shown["edgewise_gateway_in_flight_requests"] == 0
    assert shown["edgewise_gateway_link_changes_total{site=cloud,state=DOWN}"] >= 1
    assert gateway.stop() == 0
    assert again.stop() == 0


def test_both_sites_gone_is_an_error_at_once_and_heals_by_itself(start_gateway, plain_site, ask, grpc_calls, until):
    site = plain_site()
    url, port = site.url, site.server.server_address[1]
    gateway = start_gateway("--cloud", f"http://127.0.0.1:{free_port()}", "--edge", url)
    asked = ask(gateway)
    assert asked.predict().site == "edge"
    site.close()
    until(lambda: asked.state("edge") == "DOWN" and asked.state("cloud") == "DOWN")
    answer = asked.predict()
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert list(answer.json) == ["error"]
    assert "127.0.0.1" not in answer.json["error"]
    _, code, _, _ = grpc_calls(gateway).call(TFS_PREDICT, tfs_request("tiny", x=HALVES))
    assert code.name == "UNAVAILABLE"
    assert asked.rest("/v2/health/ready").status == 503
    assert asked.rest("/v2/health/live").status == 200
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        connection, _ = listener.accept()
        with connection:
            # It is asked again without anybody's doing.
            assert connection.recv(65536).startswith(b"GET /v2/health/ready HTTP/1.1\r\n")
    assert gateway.stop() == 0


def test_workers_share_ports_numbers_and_what_they_know(
    start_server, start_gateway, tiny_repository, edge, ask, until, children_of
):
    cloud = start_server("--repository", str(tiny_repository), "--tier", "cloud")
    gateway = start_gateway("--cloud", cloud.rest_url, "--edge", edge.rest_url, "--workers", "3")
    asked = ask(gateway)
    count = 60
    assert {asked.predict().site for _ in range(count)} == {"cloud"}
    shown = asked.metrics()
    assert shown["edgewise_gateway_workers"] == 3
    assert shown["edgewise_gateway_requests_total{model=tiny,outcome=answered,site=cloud}"] == count
    assert asked.links()["gateway"]["workers"] == 3

    cloud.stop(signal.SIGKILL)
    assert {asked.predict().status for _ in range(count)} == {200}
    until(lambda: asked.metrics()["edgewise_gateway_link_state{site=cloud,state=UP,tier=cloud}"] == 0)
    assert any("another worker" in change["why"] for change in asked.links()["changes"])

    before = children_of(gateway.process.pid)
    assert len(before) == 3
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(set(children_of(gateway.process.pid)) - set(before)) == 1)
    until(lambda: asked.metrics()["edgewise_gateway_workers"] == 3)
    assert {asked.predict().status for _ in range(20)} == {200}
    assert "starting it again" in gateway.log
    assert gateway.stop() == 0


def test_a_sites_limit_is_for_all_workers_together(start_gateway, plain_site, ask, until, in_thread, tmp_path):
    site = plain_site()
    config = tmp_path / "gateway.toml"
    limits = "max_in_flight = 2\nmax_queue = 0"
    config.write_text(f'[[site]]\nname = "near"\ntier = "edge"\nrest = "{site.url}"\n{limits}\n')
    gateway = start_gateway("--config", str(config), "--workers", "2")
    asked = ask(gateway)
    assert asked.links()["sites"][0]["limit"] == 2
    site.gate.clear()
    # Each on a connection of its own: both workers get some of so many.
    asking = [in_thread(asked.predict) for _ in range(16)]
    until(lambda: sum(one.done() for one in asking) + len(site.asked) == len(asking))
    assert len(site.asked) == 2
    site.gate.set()
    statuses = [one.result().status for one in asking]
    assert (statuses.count(200), statuses.count(503)) == (2, 14)


def test_workers_do_not_outlive_their_parent(start_gateway, edge, until, children_of):
    gateway = start_gateway("--edge", edge.rest_url, "--workers", "2")
    workers = children_of(gateway.process.pid)
    assert len(workers) == 2
    gateway.stop(signal.SIGKILL)
    until(lambda: not any(is_running(pid) for pid in workers))


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - a file of the kernel
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_request_log_has_a_line_for_each(start_gateway, edge, ask, grpc_calls):
    gateway = start_gateway("--edge", edge.rest_url, "--request-log")
    ask(gateway).predict(headers={"x-request-id": "first"})
    grpc_calls(gateway).call(TFS_PREDICT, tfs_request("tiny", x=HALVES), metadata=(("x-request-id", "second"),))
    ask(gateway).predict("missing", headers={"x-request-id": "third"})
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(40) == 0
    lines = [json.loads(line) for line in gateway.process.stdout.read().splitlines()]
    gateway.process.stdout.close()
    assert [(line["request_id"], line["protocol"], line["site"]) for line in lines] == [
        *(("first", "rest", "edge"), ("second", "grpc", "edge"), ("third", "rest", "edge"))
    ]
    assert lines[0]["model"] == lines[1]["model"] == "tiny"
    assert lines[2]["code"] == "404"
    assert all(line["ms"] > 0 and line["attempts"] == 1 for line in lines)


def test_what_it_cannot_start_with_is_told_in_one_line(tmp_path):
    config = tmp_path / "gateway.toml"
    config.write_text('[[site]]\nname = "s"\ntier = "edge"\nrest = "h:1"\n')
    keys = tmp_path / "keys"
    keys.write_text("nobody\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        site, free = ("--edge", "http://127.0.0.1:9"), ("--rest-port", "0", "--grpc-port", "0")
        cases = [
            ((), "--cloud http://HOST:PORT"),
            (("--edge", "h:1"), "--edge: 'h:1' is no address"),
            (("--config", str(config)), "[[site]] s: rest"),
            (("--config", str(tmp_path / "none")), "cannot be read"),
            ((*site, "--tls-cert", "c"), "--tls-key"),
            ((*site, *free, "--tls-cert", "c", "--tls-key", "k"), "TLS files"),
            ((*site, *free, "--api-keys", str(keys)), "NAME KEY"),
            ((*site, *free, "--api-keys", str(keys), "--workers", "2"), "NAME KEY"),
            ((*site, "--rest-port", port, "--grpc-port", "0"), f"cannot listen on 127.0.0.1:{port}"),
            ((*site, "--rest-port", "0", "--grpc-port", port), f"cannot listen on 127.0.0.1:{port}"),
            ((*site, "--rest-port", "0", "--grpc-port", port, "--workers", "2"), f"cannot listen on 127.0.0.1:{port}"),
        ]
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "edgewise", "gateway", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for words, _ in cases
        ]
        for process, (words, part) in zip(started, cases, strict=True):
            printed, complained = process.communicate(timeout=60)
            assert process.returncode == 1, words
            assert part in complained
            assert "edgewise: " in complained
            assert "Traceback" not in complained
            assert "ready" not in printed
