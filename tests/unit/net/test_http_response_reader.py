import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.net.errors import HttpProtocolError
from edgewise.net.http_response_head import parse_response_head
from edgewise.net.http_response_reader import BodyTooLargeError, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"


def read(raw: bytes, steps: list[int], *, head_only: bool = False, reader: ResponseReader | None = None):
    """Status and body of one response that comes in pieces; the body is None when it is incomplete."""
    reader = reader or ResponseReader(max_head_bytes=2000, max_body_bytes=1000)
    reader.expect(head_only=head_only)
    at = turn = 0
    body = None
    while at < len(raw):
        assert body is None
        step = steps[turn % len(steps)]
        piece = raw[at : at + step]
        if reader.direct:
            view = reader.direct_view()
            piece = piece[: len(view)]
            view[: len(piece)] = piece
            view.release()
            body = reader.direct_filled(len(piece))
        else:
            body = reader.feed(bytearray(piece + b"stale"), len(piece))
        at += len(piece)
        turn += 1
    if body is None:
        body = reader.finish()
    return (reader.head.status if reader.head else None), body if body is None else bytes(body)


@pytest.mark.parametrize("steps", [[10_000], [1], [7, 30]])
@pytest.mark.parametrize(
    ("raw", "head_only", "status", "body"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", False, 200, b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", False, 200, b""),
        (OK + b"Content-Length: 5\r\n\r\n", True, 200, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", False, 304, b""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", False, 200, b"abc"),
        (OK + b"\r\nuntil the end", False, 200, b"until the end"),
        (b"HTTP/1.0 404 Not Found\r\n\r\nold", False, 404, b"old"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
            False,
            200,
            b"x",
        ),
        (OK + b"Content-Length: 6\r\n\r\nhello", False, 200, None),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False, 200, None),
        (OK, False, None, None),
    ],
)
def test_responses(raw, head_only, status, body, steps):
    assert read(raw, steps, head_only=head_only) == (status, body)


@pytest.mark.parametrize("steps", [[10_000], [1]])
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        OK + b"A : b\r\n\r\n",
        OK + b"A: b\r\n c\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: one\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nx",
        OK + b"Transfer-Encoding: chunked\r\n\r\nnothex\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        OK + b"A: " + b"x" * 3000,
    ],
)
def test_refused(raw, steps):
    with pytest.raises(HttpProtocolError) as caught:
        read(raw, steps)
    assert not isinstance(caught.value, BodyTooLargeError)


@pytest.mark.parametrize(
    "raw", [OK + b"Content-Length: 1\r\n\r\nxy", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nx"]
)
def test_bytes_behind_the_end_are_refused(raw):
    with pytest.raises(HttpProtocolError, match="behind the end"):
        read(raw, [10_000])


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Content-Length: 1001\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n",
        OK + b"\r\n" + b"x" * 1001,
    ],
)
def test_too_large(raw):
    with pytest.raises(BodyTooLargeError):
        read(raw, [10_000])


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", True),
        (OK + b"Content-Length: 0\r\nConnection: x, Close\r\n\r\n", False),
        (OK + b"\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_keep_alive(head, keep_alive):
    assert parse_response_head(head, head_only=False).keep_alive is keep_alive


def test_headers_are_lower_case_and_joined():
    head = parse_response_head(OK + b"Content-Length: 0\r\nX-A: 1 \r\nx-a: 2\r\n\r\n", head_only=False)
    assert head.headers == {b"content-length": b"0", b"x-a": b"1, 2"}


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.binary(max_size=200)), max_size=6),
    st.lists(st.integers(1, 60), min_size=1),
)
def test_one_reader_reads_many(responses, steps):
    reader = ResponseReader(max_head_bytes=2000, max_body_bytes=1000)
    for head_only, chunked, body in responses:
        if chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            raw = OK + b"Transfer-Encoding: chunked\r\n\r\n" + (b"" if head_only else chunk + b"0\r\n\r\n")
        else:
            raw = OK + b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if head_only else body)
        assert read(raw, steps, head_only=head_only, reader=reader) == (200, b"" if head_only else body)
