import pytest

from edgewise.net.buffer_pool import BufferPool
from edgewise.net.http_head_shape import HeadShape, is_count, is_decimal, is_word
from edgewise.net.http_limits import HttpLimits
from edgewise.net.http_request_reader import RequestReader
from edgewise.net.http_response_head import KnownHeads

VARYING = {b"content-length": is_count, b"id": is_word}
HEAD = b"POST / HTTP/1.1\r\nContent-Length: 10\r\nid: abc\r\nAccept: */*\r\n\r\n"


def test_values_that_vary_are_found_between_what_does_not():
    shape = HeadShape(HEAD, VARYING)
    assert shape.names == (b"content-length", b"id")
    other = HEAD.replace(b"10", b"123456").replace(b"abc", b"z")
    data = b"before" + other + b"behind"
    assert shape.match(data, 6, len(data)) == (6 + len(other), [b"123456", b"z"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"10", b"ten"),
        (b"10", b""),
        (b"10", b"1" * 19),
        (b"10", b" 1"),
        (b"abc", b"a b"),
        (b"abc", b"\xe9"),
        (b"abc", b"x" * 129),
        (b"abc", b"a\n"),
        (b"abc", b"a\r\nEvil: 1"),
        (b"Accept", b"accept"),
        (b"POST", b"PUT"),
        (b"\r\n\r\n", b"\r\n"),
    ],
)
def test_anything_else_is_another_head(old, new):
    other = HEAD.replace(old, new, 1)
    assert HeadShape(HEAD, VARYING).match(other, 0, len(other)) is None


def test_a_head_that_is_not_whole_does_not_match_whatever_lies_behind_it():
    shape = HeadShape(HEAD, VARYING)
    for end in range(len(HEAD)):
        assert shape.match(HEAD, 0, end) is None


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nid: a\r\nId: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nid:a\r\n\r\n",
        b"POST / HTTP/1.1\r\nid: a b\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_could_be_read_otherwise_is_compared_as_it_is(head):
    shape = HeadShape(head, VARYING)
    assert shape.names == ()
    assert shape.match(head, 0, len(head)) == (len(head), [])


def test_clients_that_vary_ids_and_lengths_are_parsed_once_and_share_a_note(monkeypatch):
    parsed = 0

    def count(*args, **kwargs):
        nonlocal parsed
        parsed += 1
        return original(*args, **kwargs)

    import edgewise.net.http_request_reader as module

    original = module.parse_request_head
    monkeypatch.setattr(module, "parse_request_head", count)
    reader = RequestReader(HttpLimits(), BufferPool())
    shapes = set()
    for n in range(1, 50):
        raw = b"POST /v1/x HTTP/1.1\r\nHost: x\r\nX-Request-Id: r%d\r\nContent-Length: %d\r\n\r\n" % (n, n) + b"b" * n
        stop, head, body = reader.take(bytearray(raw), 0, len(raw))
        assert (stop, head.headers[b"x-request-id"], body) == (len(raw), b"r%d" % n, b"b" * n)
        shapes.add(id(head.shape))
    assert parsed == len(shapes) == 1


def test_what_is_remembered_of_answers_is_bounded():
    known = KnownHeads()
    for n in range(2000):
        known.parse(b"HTTP/1.1 200 OK\r\nx-a: %d\r\nContent-Length: %d\r\n\r\n" % (n % 50, n))
    assert len(known.by_bytes) <= 256
    assert len(known.shapes) <= 12


@pytest.mark.parametrize(
    ("value", "yes"), [(b"0.25", True), (b"1", True), (b".5", False), (b"1.", False), (b"1e3", False)]
)
def test_decimals_are_plain(value, yes):
    assert is_decimal(value) == yes
