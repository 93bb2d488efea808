"""Hostile and broken input over a raw socket: each row gets the protocol's own error in bounded time and memory, and
the server answers the next request.

The table with status and time is printed (run with `-s` to see it).
"""

import contextlib
import json
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ANSWER_TIMEOUT_S = 30.0
# The largest body that is taken, and what a buffer that grows keeps ahead.
MEMORY_LIMIT_BYTES = (64 << 20) * 5 // 4

ROW = [0.0] * 8
TABLE: list[tuple[str, str, float]] = []


@pytest.fixture(scope="module", params=["model server", "gateway"])
def server(request, start_server, start_gateway, tiny_repository, pets_repository, tmp_path_factory):
    """What is talked to: a model server, or a gateway in front of two."""
    both = tmp_path_factory.mktemp("both")
    (both / "tiny").symlink_to(tiny_repository / "tiny")
    (both / "pets").symlink_to(pets_repository / "pets")
    TABLE.clear()
    server = start_server("--repository", str(both))
    if request.param == "gateway":
        edge = start_server("--repository", str(both), "--tier", "edge")
        server = start_gateway("--cloud", server.rest_url, "--edge", edge.rest_url)
    yield server
    width = max(len(row[0]) for row in TABLE) if TABLE else 0
    print(f"\n{request.param}:")
    for name, status, seconds in TABLE:
        print(f"{name:{width}}  {status:>7}  {seconds * 1e3:9.1f} ms")


@pytest.fixture(scope="module", autouse=True)
def slow_senders(server):
    """By name, the answer to each and the seconds until then. They wait beside the other tests, which is what a server is for."""
    with ThreadPoolExecutor(len(SLOW)) as pool:
        yield {name: pool.submit(timed_talk, server, data) for name, data in SLOW.items()}


def timed_talk(server, data: bytes) -> tuple[bytes, float]:
    begun = time.monotonic()
    answer = talk(server, data)
    return answer, time.monotonic() - begun


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def talk(server, data: bytes, *, close_write: bool = False) -> bytes:
    """Everything the server says to `data` until it closes or one whole answer is there."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=ANSWER_TIMEOUT_S) as link:
        # A refusal may come, and the connection close, before all is sent.
        with contextlib.suppress(OSError):
            link.sendall(data)
            if close_write:
                link.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := link.recv(65536):
                answer += chunk
                head, found, body = answer.partition(b"\r\n\r\n")
                if found:
                    length = next(
                        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")),
                        None,
                    )
                    if length is not None and len(body) >= length:
                        break
        return answer


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: test",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def predict(body: object, path: str = "/v1/models/tiny:predict") -> bytes:
    return post(path, body if isinstance(body, bytes) else json.dumps(body).encode())


def infer(request: dict, binary: bytes = b"", *, header_length: int | None = None) -> bytes:
    head = json.dumps(request).encode()
    size = len(head) if header_length is None else header_length
    extra = (f"Inference-Header-Content-Length: {size}",) if binary or header_length is not None else ()
    return post("/v2/models/tiny/infer", head + binary, *extra)


def tensor(shape: list[int], datatype: str = "FP32", **rest: object) -> dict:
    return {"inputs": [{"name": "x", "shape": shape, "datatype": datatype, **rest}]}


SLOW = {
    "slow headers": b"GET /v2 HTTP/1.1\r\nHost: t\r\n",
    "slow body": post("/v1/models/tiny:predict", b"{", length=1000),
    "chunked without end": b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n",
}


def png_bomb(side: int) -> bytes:
    """A PNG of side × side black pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    pixels = packer.compress(b"\0" * 1_000_000) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def image(data: bytes, kind: str = "image/jpeg") -> bytes:
    return post("/v1/models/pets:predict", data, f"Content-Type: {kind}")


CAT = Path(__file__).parent.parent.parent / "examples" / "images"
JPEG = next(path for path in sorted(CAT.glob("*.jpg"))).read_bytes()
OCTETS = struct.pack("<8f", *ROW)
NESTED = b"[" * 100_000 + b"]" * 100_000

ROWS: list[tuple[str, bytes, set[int]]] = [
    ("wrong path", get("/nothing"), {404}),
    ("wrong path under /v1/", get("/v1/nothing"), {400}),
    ("wrong path under /v2/", get("/v2/nothing"), {404}),
    ("wrong verb", predict({"instances": [ROW]}, "/v1/models/tiny:explode"), {400}),
    ("wrong method", b"DELETE /v1/models/tiny HTTP/1.1\r\nHost: test\r\n\r\n", {400}),
    ("not JSON", predict(b"{"), {400}),
    ("JSON that is no object", predict([1, 2]), {400}),
    ("empty body", predict(b""), {400}),
    ("not UTF-8", predict(b'{"instances": ["\xff\xfe"]}'), {400}),
    ("neither instances nor inputs", predict({}), {400}),
    ("both instances and inputs", predict({"instances": [ROW], "inputs": [ROW]}), {400}),
    ("missing input", predict({"inputs": {}}), {400}),
    ("extra input", predict({"inputs": {"x": [ROW], "z": [1]}}), {400}),
    ("wrong dtype", predict({"instances": [["a"] * 8]}), {400}),
    ("wrong shape", predict({"instances": [[1.0]]}), {400}),
    ("wrong rank", predict({"instances": [[[1.0]]]}), {400}),
    ("ragged rows", predict({"instances": [ROW, ROW[1:]]}), {400}),
    ("NaN in an integer tensor", infer(tensor([1, 8], "INT32", data=[float("nan")] * 8)), {400}),
    ("number out of range", predict(b'{"instances": [[1e999,0,0,0,0,0,0,0]]}'), {200, 400}),
    ("unknown model", predict({"instances": [ROW]}, "/v1/models/absent:predict"), {404}),
    ("unknown version", predict({"instances": [ROW]}, "/v1/models/tiny/versions/9:predict"), {404}),
    ("version over 64 bits", predict({"instances": [ROW]}, f"/v1/models/tiny/versions/{2**80}:predict"), {400, 404}),
    ("unknown label", predict({"instances": [ROW]}, "/v1/models/tiny/labels/x:predict"), {400}),
    ("unknown signature", predict({"signature_name": "x", "instances": [ROW]}), {400}),
    ("deep JSON", predict(b'{"instances": ' + NESTED + b"}"), {400}),
    ("deep JSON beside the inputs", predict(b'{"x": ' + NESTED + b', "instances": [[0,0,0,0,0,0,0,0]]}'), {400}),
    ("duplicate keys", predict(b'{"instances": [[0]], "instances": [[0]]}'), {400}),
    ("truncated JPEG", image(JPEG[: len(JPEG) // 2]), {400}),
    ("not an image", image(b"nothing of an image"), {400}),
    ("image of another kind", post("/v1/models/pets:predict", b"GIF89a", "Content-Type: image/gif"), {400, 415}),
    ("image bomb, 900 megapixels in 1 kB", image(png_bomb(30_000), "image/png"), {400}),
    ("image bomb, 4 gigapixels in 1 kB", image(png_bomb(65_000), "image/png"), {400}),
    ("empty image", image(b""), {400}),
    (
        "broken base64",
        predict({"signature_name": "image", "instances": [{"b64": "%%%"}]}, "/v1/models/pets:predict"),
        {400},
    ),
    ("binary size too large", infer(tensor([1, 8], parameters={"binary_data_size": 64}), OCTETS), {400}),
    ("binary size too small", infer(tensor([1, 8], parameters={"binary_data_size": 4}), OCTETS), {400}),
    ("binary size negative", infer(tensor([1, 8], parameters={"binary_data_size": -4}), OCTETS), {400}),
    ("binary size against the shape", infer(tensor([2, 8], parameters={"binary_data_size": 32}), OCTETS), {400}),
    ("bytes after the last tensor", infer(tensor([1, 8], parameters={"binary_data_size": 32}), OCTETS + b"xx"), {400}),
    ("header length past the body", infer(tensor([1, 8]), OCTETS, header_length=10_000), {400}),
    ("header length negative", infer(tensor([1, 8]), OCTETS, header_length=-1), {400}),
    ("negative dimension", infer(tensor([-1, 8], data=ROW)), {400}),
    ("dimensions past memory", infer(tensor([2**40, 2**40], data=ROW)), {400}),
    ("unknown datatype", infer(tensor([1, 8], "FP99", data=ROW)), {400}),
    ("data against the shape", infer(tensor([1, 8], data=[1.0])), {400}),
    ("unknown output", infer(tensor([1, 8], data=ROW) | {"outputs": [{"name": "q"}]}), {400}),
    (
        "BYTES that run past the end",
        infer(tensor([1], "BYTES", parameters={"binary_data_size": 4}), b"\xff\xff\xff\x7f"),
        {400},
    ),
    ("name with ..", predict({"instances": [ROW]}, "/v1/models/../../etc:predict"), {400, 404}),
    ("name with %2F", predict({"instances": [ROW]}, "/v1/models/..%2F..%2Fetc:predict"), {400, 404}),
    ("name with a null byte", predict({"instances": [ROW]}, "/v1/models/a%00b:predict"), {400, 404}),
    ("deadline not a number", post("/v1/models/tiny:predict", b"{}", "x-edgewise-deadline-ms: soon"), {400}),
    (
        "deadline spent",
        post("/v1/models/tiny:predict", b'{"instances":[[0,0,0,0,0,0,0,0]]}', "x-edgewise-deadline-ms: 0"),
        {400, 504},
    ),
    ("2 GB announced", post("/v1/models/tiny:predict", b"", length=2 << 30), {413}),
    ("2^70 bytes announced", post("/v1/models/tiny:predict", b"", length=2**70), {400, 413}),
    ("length not a number", post("/v1/models/tiny:predict", b"").replace(b"Length: 0", b"Length: many"), {400}),
    ("length negative", post("/v1/models/tiny:predict", b"", length=-1), {400}),
    ("two lengths", post("/v1/models/tiny:predict", b"{}", "Content-Length: 5"), {400}),
    ("two equal lengths", post("/v1/models/tiny:predict", b"{}", "Content-Length: 2"), {400}),
    ("length and chunked", post("/v1/models/tiny:predict", b"0\r\n\r\n", "Transfer-Encoding: chunked"), {400}),
    (
        "chunked twice",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        {400, 501},
    ),
    (
        "unknown transfer coding",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n",
        {400, 501},
    ),
    (
        "chunk size not hex",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        {400},
    ),
    (
        "chunk size over 64 bits",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        {400, 413},
    ),
    (
        "chunked past the limit",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"100000\r\n" + b"x" * (1 << 20) + b"\r\n") * 65,
        {413},
    ),
    ("space before the colon", b"GET /v2 HTTP/1.1\r\nHost : t\r\n\r\n", {400}),
    ("folded header", b"GET /v2 HTTP/1.1\r\nHost: t\r\nA: b\r\n c\r\n\r\n", {400}),
    ("null byte in a header", b"GET /v2 HTTP/1.1\r\nHost: t\r\nA: b\0c\r\n\r\n", {400}),
    ("no Host", b"GET /v2 HTTP/1.1\r\n\r\n", {400}),
    ("headers without end", b"GET /v2 HTTP/1.1\r\nHost: t\r\n" + b"A: " + b"x" * 1_000_000, {431}),
    ("many headers", b"GET /v2 HTTP/1.1\r\nHost: t\r\n" + b"A: b\r\n" * 100_000 + b"\r\n", {431}),
    ("path without end", b"GET /" + b"x" * 1_000_000, {414, 431}),
    ("HTTP/9.9", b"GET /v2 HTTP/9.9\r\nHost: t\r\n\r\n", {400, 505}),
    ("HTTP/2 on the REST port", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100 + b"\r\n\r\n", {400}),
    (
        "gzip bomb",
        post("/v2/models/tiny/infer", zlib.compress(b"\0" * (200 << 20), 9), "Content-Encoding: deflate"),
        {400, 413},
    ),
    ("unknown content coding", post("/v2/models/tiny/infer", b"x", "Content-Encoding: br"), {400, 415}),
]


@pytest.mark.parametrize(("name", "data", "allowed"), ROWS, ids=[row[0] for row in ROWS])
def test_bad_input(server, name, data, allowed):
    before = resident_bytes(server.process.pid)
    begun = time.monotonic()
    answer = talk(server, data)
    seconds = time.monotonic() - begun
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    status = int(answer[9:12])
    TABLE.append((name, str(status), seconds))
    assert status in allowed, answer[:400]
    body = answer.partition(b"\r\n\r\n")[2]
    if status != 200:
        assert list(json.loads(body)) == ["error"]
    assert b"Traceback" not in answer
    assert resident_bytes(server.process.pid) - before < MEMORY_LIMIT_BYTES + len(data)
    follow_up = talk(server, predict({"instances": [ROW]}))
    assert follow_up.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("name", SLOW)
def test_slow_senders_are_cut_off(slow_senders, name):
    answer, seconds = slow_senders[name].result(timeout=ANSWER_TIMEOUT_S + 10)
    TABLE.append((name, answer[9:12].decode(), seconds))
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_in_the_middle_harms_nobody(server):
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=5) as link:
        link.sendall(post("/v1/models/tiny:predict", b'{"instances"', length=500))
    assert talk(server, predict({"instances": [ROW]})).startswith(b"HTTP/1.1 200")
