"""A reader that remembers shapes of heads reads what one without a memory reads."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgewise.net.buffer_pool import BufferPool
from edgewise.net.errors import HttpProtocolError
from edgewise.net.http_limits import HttpLimits
from edgewise.net.http_request_reader import RequestReader
from edgewise.net.http_response_head import KnownHeads
from edgewise.net.http_response_reader import ResponseReader

LIMITS = HttpLimits(max_body_bytes=5000)

lengths = st.sampled_from(
    [b"0", b"1", b"2", b"9", b"10", b"4999", b"5000", b"5001", b"007", b"+1", b" 3", b"1 ", b"", b"1,1", b"9" * 19]
)
ids = st.sampled_from(
    [b"a", b"b-2", b"x" * 128, b"y" * 129, b"", b"a b", b"\xe9", b"a\tb", b'"q"', b"a\x01", b"a\r", b"\n", b"7"]
)
words = st.sampled_from([b"1.5", b"250", b"1e3", b"-1", b"x", b"0.50", b"00-ab-cd-01"])
names = st.sampled_from(
    [
        b"Content-Length",
        b"content-length",
        b"CONTENT-LENGTH",
        b"X-Request-Id",
        b"x-request-id",
        b"x-edgewise-deadline-ms",
        b"traceparent",
        b"Accept",
        b"Transfer-Encoding",
        b"Connection",
        b"Expect",
        b"x-edgewise-queue-depth",
        b"x-edgewise-confidence",
        b"Date",
        b"Retry-After",
    ]
)
values = st.one_of(lengths, ids, words, st.sampled_from([b"chunked", b"close", b"keep-alive", b"100-continue"]))
separators = st.sampled_from([b": ", b": ", b": ", b":", b":  ", b" : "])
lines = st.builds(lambda name, separator, value: name + separator + value, names, separators, values)


def _requests():
    starts = st.sampled_from([b"POST /a HTTP/1.1", b"POST /b HTTP/1.1", b"GET /a HTTP/1.1", b"POST /a HTTP/1.0"])
    return st.builds(
        lambda start, fields: b"\r\n".join([start, b"Host: x", *fields, b"", b""]), starts, st.lists(lines, max_size=4)
    )


def _mutated(heads):
    """Sequences in which heads come again with another value somewhere, as they do in life."""

    def change(draw_from):
        head, old, new = draw_from
        return head.replace(old, new, 1) if old else head

    changed = st.tuples(heads, st.one_of(lengths, ids, words), st.one_of(lengths, ids, words)).map(change)
    return st.lists(heads, min_size=1, max_size=3).flatmap(
        lambda some: st.lists(
            st.one_of(
                st.sampled_from(some),
                st.tuples(st.sampled_from(some), st.one_of(lengths, ids, words), st.one_of(lengths, ids, words)).map(
                    change
                ),
                changed,
            ),
            min_size=2,
            max_size=8,
        )
    )


def _read_request(reader: RequestReader, raw: bytes):
    """What a reader makes of one head, everything that a handler or the connection looks at."""
    try:
        stop, head, body = reader.take(bytearray(raw + b"z" * 5000), 0, len(raw) + 5000)
    except HttpProtocolError as error:
        return (error.status, error.reason)
    if head is None:
        return None
    said = (head.method, head.path, head.query, head.headers, head.content_length)
    fields = {name: head.get(name) for name in head.headers}
    assert fields == head.headers
    return (*said, head.http_1_0, head.keep_alive, head.expects_continue, stop, bytes(body))


@settings(max_examples=400, deadline=None)
@given(_mutated(_requests()))
@example(
    [
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5001\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ]
)
@example(
    [
        b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    ]
)
def test_requests_are_read_alike_with_and_without_a_memory(heads):
    remembering = RequestReader(LIMITS, BufferPool())
    for raw in heads:
        fresh = _read_request(RequestReader(LIMITS, BufferPool()), raw)
        assert _read_request(remembering, raw) == fresh
        if fresh is None or len(fresh) == 2:
            # The connection ends here, or waits for more of this very request.
            remembering = RequestReader(LIMITS, BufferPool())


def _answers():
    starts = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 503 Busy", b"HTTP/1.0 200 OK"])
    return st.builds(
        lambda start, fields: b"\r\n".join([start, *fields, b"", b""]), starts, st.lists(lines, max_size=4)
    )


def _read_answer(known: KnownHeads | None, raw: bytes, echo: bytes):
    reader = ResponseReader(max_head_bytes=8000, max_body_bytes=5000, known_heads=known)
    reader.expect(head_only=False, echo=echo)
    try:
        body = reader.feed(bytearray(raw), len(raw))
    except HttpProtocolError as error:
        return (type(error), error.reason)
    head = reader.head
    if head is None:
        return None
    return (head.status, head.fields, head.headers, head.content_length, head.keep_alive, body)


@settings(max_examples=400, deadline=None)
@given(_mutated(_answers()), st.sampled_from([b"", b"x-request-id: 7\r\n"]))
@example(
    [b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n"],
    b"",
)
def test_answers_are_read_alike_with_and_without_a_memory(heads, echo):
    known = KnownHeads()
    for raw in heads:
        assert _read_answer(known, raw, echo) == _read_answer(None, raw, echo)
