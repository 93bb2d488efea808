import socket
import threading
import time

import numpy as np
import pytest

from edgewise.client import (
    Client,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

X = np.array([1.5, -2], np.float32)
JPEG = b"\xff\xd8\xff\xe0 the rest of a photograph"


@pytest.fixture
def client(rest):
    with Client(rest.url, api_key="k1") as opened:
        yield opened


def test_a_named_tensor_is_one_binary_request(rest, client):
    answer = client.predict("double", {"x": X}, request_id="r-1", route="prefer-edge", timeout_s=5)
    assert answer.outputs["y"].tolist() == [3.0, -4.0]
    assert (answer.site, answer.tier, answer.version, answer.confidence) == ("cellar", "edge", 4, 0.75)
    assert (answer.attempts, answer.degraded, answer.request_id) == (1, "", "r-1")
    assert answer.latency_s > 0
    ((method, target, headers, _),) = rest.requests
    assert (method, target) == ("POST", "/v2/models/double/infer")
    assert headers["authorization"] == "Bearer k1"
    assert headers["x-edgewise-route"] == "prefer-edge"
    assert 0 < int(headers["x-edgewise-deadline-ms"]) <= 5000


def test_a_tensor_without_a_name_asks_for_the_signature_once(rest, client):
    for _ in range(3):
        assert client.predict("double", X).outputs["y"].tolist() == [3.0, -4.0]
    assert [target for _, target, _, _ in rest.requests] == [
        "/v1/models/double/metadata",
        *["/v2/models/double/infer"] * 3,
    ]
    assert rest.connections == 1


def test_a_refused_call_asks_for_the_signature_again(rest, client):
    client.predict("double", X)
    rest.script.append(lambda connection, _: rest.send(connection, 400, b'{"error": "no input x"}'))
    with pytest.raises(InvalidArgumentError, match="no input x"):
        client.predict("double", X)
    client.predict("double", X)
    assert [target for _, target, _, _ in rest.requests].count("/v1/models/double/metadata") == 2


def test_a_label_goes_by_json(rest, client):
    answer = client.predict("double", X, label="stable")
    assert answer.outputs["y"].dtype == np.float32
    assert answer.outputs["y"].tolist() == [3.0, -4.0]
    assert [target for _, target, _, _ in rest.requests] == [
        "/v1/models/double/labels/stable/metadata",
        "/v1/models/double/labels/stable:predict",
    ]


def test_an_image_is_sent_as_it_is(rest, client, tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(JPEG)
    for source in (path, str(path), JPEG):
        answer = client.predict("pets", source)
        assert answer.outputs["verdict"].tolist() == [b"cat"]
        assert answer.outputs["labels"].tolist() == [[b"tabby", b"lynx"]]
    assert {(target, headers["content-type"], body) for _, target, headers, body in rest.requests} == {
        ("/v1/models/pets:predict", "image/jpeg", JPEG)
    }


def test_a_full_queue_says_when_to_come_back(rest, client):
    rest.script.append(lambda connection, _: rest.send(connection, 429, b'{"error": "full"}', {"Retry-After": "3"}))
    with pytest.raises(ResourceExhaustedError, match="full") as caught:
        client.predict("double", {"x": X})
    assert caught.value.retry_after_s == 3.0


def test_a_pooled_connection_that_the_server_closed_is_replaced(rest, client):
    client.predict("double", {"x": X})
    # The server reads the next request and closes without a word, as one does whose idle timeout ran out meanwhile.
    rest.script.append(lambda _connection, _: "close")
    assert client.predict("double", {"x": X}).outputs["y"].tolist() == [3.0, -4.0]
    assert rest.connections == 2


def test_a_request_that_is_not_idempotent_is_not_sent_twice(rest, client):
    client.predict("double", {"x": X})
    rest.script.append(lambda _connection, _: "close")
    with pytest.raises(UnavailableError, match="closed the connection"):
        client.predict("double", {"x": X}, idempotent=False)
    assert len(rest.requests) == 2
    assert rest.requests[1][2]["x-edgewise-idempotent"] == "false"


def test_a_new_connection_that_is_closed_is_no_reason_to_try_again(rest, client):
    rest.script.append(lambda _connection, _: "close")
    with pytest.raises(UnavailableError, match="closed the connection"):
        client.predict("double", {"x": X})
    assert len(rest.requests) == 1


def test_an_answer_cut_short_is_not_tried_again(rest, client):
    def cut(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
        return "close"

    client.predict("double", {"x": X})
    rest.script.append(cut)
    with pytest.raises(UnavailableError, match="middle of the answer"):
        client.predict("double", {"x": X})
    assert len(rest.requests) == 2


@pytest.mark.parametrize(
    "trickle",
    [b"", b"HTTP/1.1 200 OK\r\nx-a: 1\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"],
    ids=["silence", "slow headers", "slow body"],
)
def test_the_deadline_bounds_an_answer_that_trickles(rest, client, trickle):
    stop = threading.Event()

    def slow(connection, _):
        connection.sendall(trickle)
        while trickle and not stop.wait(0.01):
            connection.sendall(b"x")
        stop.wait(10)
        return "close"

    rest.script.append(slow)
    try:
        with pytest.raises(DeadlineExceededError, match="before (the deadline|there was an answer)"):
            client.predict("double", {"x": X}, timeout_s=0.2)
    finally:
        stop.set()


def test_a_connection_whose_answer_came_late_is_not_used_again(rest, client):
    released = threading.Event()

    def late(connection, _):
        released.wait(10)
        rest.send(connection, 200, b"late")

    rest.script.append(late)
    with pytest.raises(DeadlineExceededError):
        client.predict("double", {"x": X}, timeout_s=0.1)
    released.set()
    assert client.predict("double", {"x": X}).outputs["y"].tolist() == [3.0, -4.0]
    assert rest.connections == 2


def test_something_else_than_http_is_named(rest, client):
    rest.script.append(lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n") or "close")
    with pytest.raises(InternalError, match="REST port"):
        client.predict("double", {"x": X})


def test_nobody_there_is_unavailable_and_not_ready():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(UnavailableError, match="Connection refused"):
            client.predict("double", {"x": X})
        assert client.ready() is False


def test_ready_is_what_the_server_says(rest, client):
    assert client.ready() is True
    rest.script.append(lambda connection, _: rest.send(connection, 503, b'{"ready": false}'))
    assert client.ready() is False


def test_threads_share_a_client(rest, client):
    client.predict("double", X)
    answers = []

    def ask(number):
        array = np.full(1000, number, np.float32)
        answers.extend((number, client.predict("double", array).outputs["y"][0]) for _ in range(10))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 80
    assert all(doubled == 2 * number for number, doubled in answers)
    assert rest.connections <= 9


def test_a_closed_client_refuses(rest):
    client = Client(rest.url)
    client.predict("double", {"x": X})
    client.close()
    with pytest.raises(FailedPreconditionError, match="closed"):
        client.predict("double", {"x": X})


def test_the_budget_told_to_the_second_request_is_what_is_left(rest, client):
    def slowly(connection, _request):
        time.sleep(0.05)
        rest.send(connection, 200, b'{"error": "not metadata"}')

    rest.script.append(slowly)
    with pytest.raises(InternalError):
        client.predict("double", X, timeout_s=1)
    client.predict("double", X, timeout_s=1)
    first, second, third = (int(headers["x-edgewise-deadline-ms"]) for _, _, headers, _ in rest.requests)
    assert first <= 1000
    assert third <= second <= 1000
