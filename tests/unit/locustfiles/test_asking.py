"""Whom `--host` names, and which answers are predictions."""

import json

import pytest
from swarm import answers
from swarm.asking import target_of

from edgewise.core.errors import InvalidArgumentError
from edgewise.wire import inference_pb2, serving_pb2


@pytest.mark.parametrize(
    ("host", "protocol", "url", "authority"),
    [
        ("http://127.0.0.1:8080", "rest-json", "http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "rest-json", "http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("127.0.0.1:8080", "rest-image", "http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://edge.example", "rest-json", "http://edge.example:80", "edge.example:80"),
        ("https://edge.example", "rest-json", "https://edge.example:443", "edge.example:443"),
        ("http://[::1]:8080", "rest-binary", "http://[::1]:8080", "[::1]:8080"),
        ("127.0.0.1:8081", "tfs-grpc", "grpc://127.0.0.1:8081", "127.0.0.1:8081"),
        ("http://127.0.0.1:8081", "oip-grpc", "http://127.0.0.1:8081", "127.0.0.1:8081"),
        ("grpc://[::1]:8081", "oip-grpc", "grpc://[::1]:8081", "[::1]:8081"),
    ],
)
def test_a_host_is_understood(host, protocol, url, authority):
    target = target_of(host, protocol)
    assert (target.url, target.authority) == (url, authority)
    assert target.tls == url.startswith("https")


@pytest.mark.parametrize(
    "host",
    [
        "ftp://somewhere:21",
        "http://",
        "http://host:99999",
        "http://host:port",
        "http://host:80/v1/models",
        "http://host:80?x",
        "http://[::1",
    ],
)
@pytest.mark.parametrize("protocol", ["rest-json", "oip-grpc"])
def test_a_host_that_is_none_is_refused_with_an_example(host, protocol):
    with pytest.raises(InvalidArgumentError, match=f"is no address for {protocol}: expected one such as"):
        target_of(host, protocol)


def test_grpc_needs_a_port_and_is_not_spoken_over_tls():
    for host in ("somewhere", "https://somewhere:443"):
        with pytest.raises(InvalidArgumentError, match="127.0.0.1:8081"):
            target_of(host, "tfs-grpc")


@pytest.mark.parametrize("engine", ["open", "both"])
def test_tls_is_for_the_closed_loop(engine):
    assert target_of("https://somewhere", "rest-json", "closed").tls
    with pytest.raises(InvalidArgumentError, match="speaks no TLS: ask https://somewhere with --engine closed"):
        target_of("https://somewhere", "rest-json", engine)


@pytest.mark.parametrize("host", ["", None])
def test_no_host_is_told(host):
    with pytest.raises(InvalidArgumentError, match="name the server, such as --host"):
        target_of(host, "rest-json")


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        ("rest-json", b'{"predictions":[[0.5,NaN]]}'),
        ("rest-json", b'{"outputs":{"y":[1]}}'),
        ("rest-image", '{"predictions":[{"verdict":"Hündin"}]}'.encode()),
        ("rest-binary", b'{"outputs":[{"name":"y"}]}\xff\x00\xfe'),
        ("tfs-grpc", serving_pb2.PredictResponse(outputs={"y": {"float_val": [1.0]}}).SerializeToString()),
        ("oip-grpc", inference_pb2.ModelInferResponse(outputs=[{"name": "y"}]).SerializeToString()),
    ],
)
def test_a_prediction_is_one(protocol, body):
    assert answers.complaint(protocol, body) == ""


@pytest.mark.parametrize(
    ("protocol", "body", "said"),
    [
        ("rest-json", b"", "no JSON: an empty body"),
        ("rest-json", b"<html>welcome</html>", "no JSON: <html>"),
        ("rest-json", b"[1, 2]", "holds no prediction"),
        ("rest-json", b'{"predictions":[]}', "holds no prediction"),
        ("rest-json", b'{"status":"fine"}', 'holds no prediction: {"status"'),
        ("rest-binary", b'{"outputs":[]}', "holds no prediction"),
        ("tfs-grpc", b"", "holds no prediction"),
        ("tfs-grpc", b"\xff\xff", "no message of the protocol"),
        ("oip-grpc", b"", "holds no prediction"),
    ],
)
def test_a_status_alone_is_none(protocol, body, said):
    assert said in answers.complaint(protocol, body)


def test_a_refusal_is_told_in_its_own_words_and_bounded():
    assert answers.refusal(404, json.dumps({"error": "Servable not found"}).encode()) == "404: Servable not found"
    assert answers.refusal(502, b"Bad\r\nGateway" + b"x" * 1000).startswith("502: Bad Gatewayxxx")
    assert len(answers.refusal(502, b"x" * 1000)) < 250
    assert answers.refusal(503, b"") == "503: an empty body"
