import pathlib

import numpy as np
import pytest

from edgewise.client.answer_headers import prediction, request_headers
from edgewise.client.call import model_spec, predict_call, remaining_s
from edgewise.client.endpoint import parse_endpoint
from edgewise.client.images import read_image
from edgewise.core.errors import DeadlineExceededError, InvalidArgumentError
from edgewise.core.requests import ModelSpec

PNG = b"\x89PNG\r\n\x1a\n..."


def call(inputs, **words):
    given = {"signature": None, "outputs": (), "timeout_s": 1.0, "request_id": None, "route": None, "idempotent": True}
    return predict_call(ModelSpec("m"), inputs, **given | words)


@pytest.mark.parametrize(
    ("inputs", "words", "message"),
    [
        ([1.0, 2.0], {}, "list; give a numpy array"),
        ({}, {}, "no inputs"),
        ({"x": [1]}, {}, "'x' is a list"),
        (b"GIF89a", {}, "not a JPEG, PNG or WebP"),
        (b"", {}, "not a JPEG, PNG or WebP"),
        ("/nowhere/cat.jpg", {}, "cannot read the image /nowhere/cat.jpg: No such file"),
        (np.zeros(1), {"timeout_s": 0}, "more than 0"),
        (np.zeros(1), {"timeout_s": float("nan")}, "more than 0"),
        (np.zeros(1), {"outputs": "y"}, "sequence of names"),
        (np.zeros(1), {"request_id": "a\r\nx-evil: 1"}, "printable ASCII"),
        (np.zeros(1), {"route": "é"}, "printable ASCII"),
        (np.zeros(1), {"source": "door\r\nx-evil: 1"}, "source must be printable ASCII"),
    ],
)
def test_a_wrong_argument_is_named(inputs, words, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call(inputs, **words)


@pytest.mark.parametrize(
    ("words", "message"),
    [(("", None, None), "empty"), (("m", 1, "stable"), "not both"), (("m", -1, None), "negative")],
)
def test_a_wrong_model_is_named(words, message):
    with pytest.raises(InvalidArgumentError, match=message):
        model_spec(*words)


def test_images_are_known_by_their_first_bytes(tmp_path):
    assert read_image(b"\xff\xd8\xff\xdb").media_type == "image/jpeg"
    assert read_image(PNG).media_type == "image/png"
    assert read_image(b"RIFF\0\0\0\0WEBPVP8 ").media_type == "image/webp"
    with pytest.raises(InvalidArgumentError, match="the image is not a JPEG, PNG or WebP file"):
        read_image(b"RIFF\0\0\0\0WAVE")
    named_wrong = tmp_path / "photo.jpg"
    named_wrong.write_bytes(PNG)
    assert read_image(named_wrong).media_type == "image/png"
    assert read_image(memoryview(PNG)).content == PNG


def test_a_directory_is_no_image(tmp_path):
    with pytest.raises(InvalidArgumentError, match="Is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9", ("127.0.0.1", 9, False, False)),
        ("https://edge.example/", ("edge.example", 8501, False, True)),
        ("grpc://edge.example", ("edge.example", 8500, True, False)),
        ("grpcs://[::1]:443", ("::1", 443, True, True)),
    ],
)
def test_urls(url, expected):
    endpoint = parse_endpoint(url, ca_file=None, cert_file=None, key_file=None)
    assert (endpoint.host, endpoint.port, endpoint.is_grpc, endpoint.is_tls) == expected


def test_an_ipv6_address_gets_its_brackets_back():
    assert parse_endpoint("http://[::1]:1", ca_file=None, cert_file=None, key_file=None).authority == "[::1]:1"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8501", "no scheme"),
        ("localhost:8501", "scheme 'localhost'"),
        ("ftp://x", "scheme 'ftp'"),
        ("http://", "no host"),
        ("http://x:99999", "malformed"),
        ("http://x/v1/models", "more than"),
        ("http://user:pw@x", "more than"),
    ],
)
def test_a_wrong_url_is_named(url, message):
    with pytest.raises(InvalidArgumentError, match=message):
        parse_endpoint(url, ca_file=None, cert_file=None, key_file=None)


def test_tls_files_need_an_encrypted_url():
    with pytest.raises(InvalidArgumentError, match="not encrypted"):
        parse_endpoint("http://x", ca_file="ca.pem", cert_file=None, key_file=None)
    with pytest.raises(InvalidArgumentError, match="cert_file"):
        parse_endpoint("https://x", ca_file=None, cert_file=None, key_file="key.pem")


def test_an_unusable_ca_file_is_an_argument_error(tmp_path):
    endpoint = parse_endpoint("https://x", ca_file=tmp_path / "none.pem", cert_file=None, key_file=None)
    with pytest.raises(InvalidArgumentError, match="No such file"):
        endpoint.ssl_context()


def test_a_budget_without_end_is_a_day():
    made = call(np.zeros(1), timeout_s=float("inf"))
    assert made.deadline_s - made.started_s == pytest.approx(86_400)


def test_request_headers_say_only_what_was_asked():
    assert request_headers(call(np.zeros(1))) == []
    assert request_headers(call(np.zeros(1), request_id="a", route="prefer-edge", source="door", idempotent=False)) == [
        ("x-request-id", "a"),
        ("x-edgewise-route", "prefer-edge"),
        ("x-edgewise-source", "door"),
        ("x-edgewise-idempotent", "false"),
    ]


def test_the_answers_headers_are_read_and_nonsense_in_them_is_not():
    made = call(np.zeros(1), request_id="mine")
    headers = {
        "x-edgewise-site": "cellar",
        "x-edgewise-tier": "edge",
        "x-edgewise-model-version": "12",
        "x-edgewise-attempts": "2",
        "x-edgewise-degraded": "cloud-down",
        "x-edgewise-confidence": "0.875",
        "x-request-id": "theirs",
    }
    full = prediction(made, {}, headers, version=3, latency_s=0.5)
    assert (full.site, full.tier, full.version, full.attempts) == ("cellar", "edge", 12, 2)
    assert (full.degraded, full.confidence, full.request_id, full.latency_s) == ("cloud-down", 0.875, "theirs", 0.5)
    odd = {"x-edgewise-model-version": "-1", "x-edgewise-attempts": "many", "x-edgewise-confidence": "nan"}
    bare = prediction(made, {}, odd, version=3, latency_s=0.5)
    assert (bare.version, bare.attempts, bare.confidence, bare.degraded, bare.site) == (3, 1, None, "", "")
    assert bare.request_id == "mine"


def test_no_time_left_is_a_passed_deadline():
    with pytest.raises(DeadlineExceededError):
        remaining_s(0.0)


def test_paths_may_be_text_or_path_objects(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    assert call(str(file)).inputs == call(pathlib.Path(file)).inputs
