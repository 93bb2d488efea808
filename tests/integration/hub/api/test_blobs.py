"""Blobs over HTTP: parts, conditions, and what is no blob."""

import hashlib

import pytest

from support.api_world import answered, sha256
from support.waiting import wait_for

CONTENT = bytes(range(256)) * 4096
NAME = sha256(CONTENT)
PATH = f"/blobs/sha256/{NAME}"


@pytest.fixture(scope="module", autouse=True)
def blob(world):
    answer = world.operator.put(PATH, content=CONTENT)
    assert (answer.status_code, answer.json()) == (201, {"done": True})


def incoming(world):
    return list((world.hub.blobs._directory / "incoming").iterdir())


def test_a_blob_comes_back_as_it_was(world):
    answer = world.viewer.get(PATH)
    assert answer.content == CONTENT
    assert answer.headers["etag"] == f'"{NAME}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert "immutable" in answer.headers["cache-control"]
    head = world.viewer.head(PATH)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(CONTENT)), b"")


def test_a_blob_that_is_there_is_taken_again(world):
    assert world.operator.put(PATH, content=CONTENT).status_code == 200
    assert world.viewer.get(PATH).content == CONTENT


def test_an_empty_blob(world):
    empty = f"/blobs/sha256/{sha256(b'')}"
    assert world.operator.put(empty, content=b"").status_code == 201
    assert world.viewer.get(empty).content == b""
    assert world.viewer.get(empty, headers={"range": "bytes=0-"}).status_code == 416


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=1048570-", 1048570, len(CONTENT)),
        ("bytes=-10", len(CONTENT) - 10, len(CONTENT)),
        ("bytes=5-99999999", 5, len(CONTENT)),
        ("bytes=-99999999", 0, len(CONTENT)),
    ],
)
def test_a_part(world, asked, start, end):
    answer = world.viewer.get(PATH, headers={"range": asked})
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=9-5", "bytes=", "bytes=a-b", "bytes=--5"])
def test_parts_that_cannot_be_given_are_all_of_it(world, asked):
    answer = world.viewer.get(PATH, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("asked", [f"bytes={len(CONTENT)}-", "bytes=999999999-999999999", "bytes=-0"])
def test_a_part_behind_the_end(world, asked):
    answer = world.viewer.get(PATH, headers={"range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "OUT_OF_RANGE")
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"


def test_a_part_of_what_was_there_before(world):
    part = {"range": "bytes=7-9"}
    assert world.viewer.get(PATH, headers={**part, "if-range": f'"{NAME}"'}).content == CONTENT[7:10]
    for other in ('"other"', f'W/"{NAME}"', "Mon, 23 Nov 2026 10:00:00 GMT"):
        answer = world.viewer.get(PATH, headers={**part, "if-range": other})
        assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_blob_that_is_known(world):
    answer = world.viewer.get(PATH, headers={"if-none-match": f'"{NAME}"'})
    assert (answer.status_code, answer.content) == (304, b"")


def test_tampered_blob(world):
    name = sha256(b"as it should be")
    answer = world.operator.put(f"/blobs/sha256/{name}", content=b"as it is")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
    assert name in answer.json()["error"]
    assert world.viewer.head(f"/blobs/sha256/{name}").status_code == 404
    assert incoming(world) == []


@pytest.mark.parametrize("name", ["x", "0" * 63, NAME.upper(), "..%2f..%2fhub.db", "%00" * 32])
def test_names_that_are_none(world, name):
    for method in ("GET", "PUT"):
        answer = world.operator.request(method, f"/blobs/sha256/{name}", content=b"x" if method == "PUT" else None)
        assert answer.status_code in {400, 404}
        assert set(answer.json()) == {"error", "code"}


def test_an_upload_that_is_cut_leaves_nothing(world):
    name = sha256(b"never whole")
    with world.connect() as connection:
        token = world.operator.headers["authorization"]
        connection.sendall(
            f"PUT /blobs/sha256/{name} HTTP/1.1\r\nhost: hub\r\nauthorization: {token}\r\n"
            "content-length: 1000000\r\n\r\n".encode()
            + b"x" * 500_000
        )
        wait_for(lambda: incoming(world))
    wait_for(lambda: not incoming(world))
    assert world.viewer.head(f"/blobs/sha256/{name}").status_code == 404


def test_an_upload_that_stops_coming_ends(world, monkeypatch):
    monkeypatch.setattr("edgewise.hub.api.bodies.STALL_S", 0.2)
    with world.connect() as connection:
        token = world.operator.headers["authorization"]
        connection.sendall(
            f"PUT /blobs/sha256/{NAME} HTTP/1.1\r\nhost: hub\r\nauthorization: {token}\r\n"
            "content-length: 1000\r\n\r\n".encode()
            + b"x" * 500
        )
        head, body = answered(connection)
    assert head.startswith("http/1.1 408")
    assert "connection: close" in head
    assert b"DEADLINE_EXCEEDED" in body
    assert incoming(world) == []


def test_what_is_taken_is_in_the_audit_log_once(world):
    content = b"for the audit log"
    for _ in range(2):
        world.operator.put(f"/blobs/sha256/{sha256(content)}", content=content)
    entries = [one for one in world.viewer.get("/api/v1/audit").json() if one["subject"] == sha256(content)]
    assert [(one["actor"], one["action"], one["address"]) for one in entries] == [("operator", "blob.put", "127.0.0.1")]


def test_a_damaged_blob_is_not_taken_for_a_whole_one(world):
    content = b"whole" * 1000
    name = hashlib.sha256(content).hexdigest()
    world.operator.put(f"/blobs/sha256/{name}", content=content)
    path = world.hub.blobs._directory / "sha256" / name[:2] / name
    path.unlink()
    assert world.viewer.get(f"/blobs/sha256/{name}").status_code == 404
    world.operator.put(f"/blobs/sha256/{name}", content=content)
    assert world.viewer.get(f"/blobs/sha256/{name}").content == content
