"""What is answered to what is wrong, or hostile."""

import logging

import pytest

from edgewise.hub.listening import MAX_HEAD_BYTES
from support.api_world import answered


def problem(answer, status, code):
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert set(answer.json()) == {"error", "code"}
    assert answer.json()["code"] == code
    return answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[]", "body"),
        (b"{}", "body.name: it is required; body.role: it is required"),
        (b'{"name": "x", "role": "king"}', "body.role: found 'king', input should be 'viewer', 'operator' or 'admin'"),
        (b'{"name": 5, "role": "viewer"}', "body.name: found 5, input should be a valid string"),
        (b'{"name": "x", "role": "viewer", "rolle": 1}', "body.rolle: there is no such field"),
        (
            b'{"name": "x", "role": "viewer", "expires_s": -3}',
            "body.expires_s: found -3, input should be greater than 0",
        ),
        (b'{"name": "x y", "role": "viewer"}', "found the name 'x y' for a token"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"name": "x", "role": "viewer", "expires_s": 1e999}', "body.expires_s"),
    ],
)
def test_bodies_that_are_wrong(world, body, message):
    answer = world.admin.post("/api/v1/tokens", content=body, headers={"content-type": "application/json"})
    assert message in problem(answer, 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/api/v1/audit?limit=0", "query.limit: found '0', input should be greater than or equal to 1"),
        ("/api/v1/audit?limit=many", "query.limit: found 'many', input should be a valid integer"),
        (f"/api/v1/audit?before={1 << 64}", "query.before"),
        ("/api/v1/releases/pets/two", "path.version: found 'two'"),
        ("/api/v1/sites?selector=tier=(", "cannot understand"),
    ],
)
def test_addresses_that_are_wrong(world, path, message):
    assert message in problem(world.viewer.get(path), 400, "INVALID_ARGUMENT")


def test_what_is_not_there(world):
    assert "/nothing" in problem(world.viewer.get("/nothing"), 404, "NOT_FOUND")
    assert "expected GET" in problem(world.viewer.post("/healthz"), 405, "UNIMPLEMENTED")
    assert world.viewer.delete(f"/blobs/sha256/{'0' * 64}").headers["allow"] == "GET, HEAD, PUT"
    for path in ("/api/v1/sites/nobody", "/api/v1/rollouts/none", "/api/v1/rollouts/none/history"):
        problem(world.viewer.get(path), 404, "NOT_FOUND")


def test_a_fault_of_the_hub_is_told_to_the_log_alone(world, monkeypatch, caplog):
    def broken(*_words):
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(world.hub.plane, "releases", broken)
    with caplog.at_level(logging.ERROR):
        answer = world.viewer.get("/api/v1/releases")
    assert problem(answer, 500, "INTERNAL") == "the hub failed; its log says why"
    assert "42" not in answer.text
    assert "the secret is 42" in caplog.text


def test_every_answer_has_the_fields_that_keep_browsers_in_bounds(world):
    for path in ("/healthz", "/nothing", "/docs", "/api/v1/sites"):
        fields = world.nobody.get(path).headers
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["x-frame-options"] == "DENY"
        assert "default-src 'none'" in fields["content-security-policy"]
        assert "server" not in fields


def test_endless_data(world):
    """A body in chunks that says nothing of its length is refused, and the connection with it."""
    token = world.admin.headers["authorization"]
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with world.connect() as connection:
        connection.sendall(
            f"POST /api/v1/tokens HTTP/1.1\r\nhost: hub\r\nauthorization: {token}\r\n"
            "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        sent = 0
        try:
            while sent < 64 << 20:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert sent < 32 << 20


def test_a_body_that_says_how_much_too_long_it_is(world):
    token = world.admin.headers["authorization"]
    with world.connect() as connection:
        connection.sendall(
            f"POST /api/v1/tokens HTTP/1.1\r\nhost: hub\r\nauthorization: {token}\r\n"
            "content-length: 999999999999\r\n\r\n".encode()
        )
        head, body = answered(connection)
    assert head.startswith("http/1.1 413")
    assert "connection: close" in head
    assert b"OUT_OF_RANGE" in body


def test_a_head_without_end(world):
    with world.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: hub\r\nx-long: " + b"a" * (2 * MAX_HEAD_BYTES))
        head, body = answered(connection)
    assert head.startswith("http/1.1 431")
    assert b"OUT_OF_RANGE" in body


def test_a_long_body_behind_a_head_is_none(world):
    content = b"x" * (4 * MAX_HEAD_BYTES)
    answer = world.operator.put(f"/blobs/sha256/{'0' * 64}", content=content)
    assert answer.status_code == 400
    assert world.operator.get("/healthz").status_code == 200


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nx-slow: a"])
def test_slow_retrieval_of_a_head(world, monkeypatch, begun):
    monkeypatch.setattr("edgewise.hub.listening.HEAD_S", 0.2)
    with world.connect() as connection:
        connection.sendall(begun)
        assert connection.recv(1000) == b""


def test_two_requests_in_one_packet(world):
    with world.connect() as connection:
        one = b"GET /healthz HTTP/1.1\r\nhost: hub\r\n\r\n"
        connection.sendall(one + one.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        _, body = answered(connection)
    assert body.count(b'{"live":true}') == 2


@pytest.mark.parametrize("sent", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00"])
def test_what_is_no_http(world, sent):
    with world.connect() as connection:
        connection.sendall(sent)
        assert answered(connection)[0].startswith("http/1.1 400")
