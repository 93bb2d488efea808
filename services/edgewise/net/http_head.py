"""The head of a request: bytes up to and with the empty line, to method, target, fields and framing.

llhttp checks the grammar. What it lets pass and a server must not is refused here: a second Content-Length or Host,
HTTP versions we do not speak, transfer codings we cannot undo, anything that two servers in a row could read
differently (request smuggling).
"""

import re
from types import MappingProxyType
from typing import Final, NoReturn

import httptools

from edgewise.net.errors import HttpProtocolError
from edgewise.net.http_head_shape import HeadShape, is_count, is_word
from edgewise.net.http_limits import HttpLimits

CHUNKED: Final = -1
VARYING: Final = MappingProxyType(
    {
        b"content-length": is_count,
        b"traceparent": is_word,
        b"x-edgewise-deadline-ms": is_count,
        b"x-edgewise-prefer-version": is_count,
        b"x-request-id": is_word,
    }
)
"""Fields of requests that differ from one to the next."""
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:\[\]%-]*\Z")
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_SINGLE: Final = frozenset({b"host", b"content-length", b"content-type", b"authorization", b"expect"})
_NO_VERSION: Final = "the request line names no HTTP version; send `METHOD TARGET HTTP/1.1`"


class RequestHead:
    """A parsed request head; requests that repeat it share it, so read only.

    Attributes:
        method, path, query: as in `Exchange`.
        content_length: bytes of body that follow; 0 when none, `CHUNKED` when the transfer coding is chunked.
        http_1_0: the client speaks HTTP/1.0.
        keep_alive: the client would use the connection again.
        expects_continue: the client waits for `100 Continue` before it sends the body.
        shape: what it has in common with heads that differ in `varied` only; has a note for the front door.
        varied: values by name of fields that differ between heads of one shape; those of this head are in `headers`.
    """

    __slots__ = (
        "_headers",
        "_shared_headers",
        "content_length",
        "expects_continue",
        "http_1_0",
        "keep_alive",
        "method",
        "path",
        "query",
        "shape",
        "varied",
    )

    def __init__(  # noqa: PLR0917 - once a request
        self,
        method: bytes,
        path: bytes,
        query: bytes,
        headers: dict[bytes, bytes],
        shape: HeadShape,
        varied: dict[bytes, bytes],
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.content_length = 0
        self.http_1_0 = False
        self.keep_alive = True
        self.expects_continue = False
        self.shape = shape
        self.varied = varied
        self._headers: dict[bytes, bytes] | None = headers
        self._shared_headers = headers

    @property
    def headers(self) -> dict[bytes, bytes]:
        """As in `Exchange`."""
        headers = self._headers
        if headers is None:
            headers = self._headers = {**self._shared_headers, **self.varied}
        return headers

    def get(self, name: bytes) -> bytes | None:
        """The value of one field."""
        value = self.varied.get(name)
        return self._shared_headers.get(name) if value is None else value

    def like(self, values: list[bytes], limits: HttpLimits) -> "RequestHead | None":
        """Another head of the same shape.

        Args:
            values: of the shape's names.
            limits: the body's applies.
        Returns: None where this shape does not say how it is framed.
        """
        varied = dict(zip(self.shape.names, values, strict=True))
        length = varied.get(b"content-length")
        content_length = self.content_length
        if length is not None:
            content_length = int(length)
            # Zero changes more than a number: there is no body to wait for.
            if not 0 < content_length <= limits.max_body_bytes or not self.content_length:
                return None
        other = RequestHead(self.method, self.path, self.query, self._shared_headers, self.shape, varied)
        other.content_length = content_length
        other.http_1_0 = self.http_1_0
        other.keep_alive = self.keep_alive
        other.expects_continue = self.expects_continue
        other._headers = None
        return other


class FieldCollector:
    """Receives llhttp's callbacks."""

    __slots__ = ("complete", "fields")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one field."""
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head ended."""
        self.complete = True


def check_request_line(line: bytes, limits: HttpLimits) -> tuple[bytes, bytes, bool]:
    """Split a request line (without its CRLF) before anything else of the head is looked at.

    Returns: method, target, whether the version is 1.0.
    Raises: HttpProtocolError: 400, 414, 501 or 505.
    Source: RFC 9112, section 3.
    """
    if len(line) > limits.max_request_line_bytes:
        raise HttpProtocolError(
            414, f"the request line is longer than {limits.max_request_line_bytes} bytes; shorten the path or query"
        )
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[1]:
        if len(parts) == 2 and _TOKEN.match(parts[0]) and parts[1]:
            raise HttpProtocolError(505, _NO_VERSION)
        raise HttpProtocolError(400, "malformed request line; send `METHOD TARGET HTTP/1.1` with single spaces")
    method, target, version = parts
    if version == b"HTTP/1.1":
        http_1_0 = False
    elif version == b"HTTP/1.0":
        http_1_0 = True
    elif _VERSION.match(version):
        raise HttpProtocolError(505, "this HTTP version is not spoken here; use HTTP/1.1")
    else:
        raise HttpProtocolError(400, "malformed request line; it has to end in `HTTP/1.1`")
    if not _TOKEN.match(method):
        raise HttpProtocolError(400, "the request method is not a token; send GET, POST or another HTTP method")
    if method == b"CONNECT":
        raise HttpProtocolError(501, "CONNECT is not offered; this server is no proxy")
    return method, target, http_1_0


def parse_request_head(head: bytes, limits: HttpLimits) -> RequestHead:
    r"""Parse and judge one request head.

    Args:
        head: from the request line to the empty line, b"GET / HTTP/1.1\r\n...\r\n\r\n".
        limits: the size limits apply; no clock is read.
    Returns: the head; its body is announced to be within the limit.
    Raises: HttpProtocolError: with the status to answer.
    Source: RFC 9112; RFC 9110, sections 7.2, 8.6 and 10.1.1.
    """
    method, target, http_1_0 = check_request_line(head[: head.find(b"\r\n")], limits)
    if len(head) > limits.max_head_bytes:
        raise HttpProtocolError(431, f"the header fields are larger than {limits.max_head_bytes} bytes")
    collector = FieldCollector()
    try:
        httptools.HttpRequestParser(collector).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # an offered upgrade is ignored: the request is answered over HTTP/1.1
    except httptools.HttpParserError as error:
        _refuse(error, collector)
    if not collector.complete:
        raise HttpProtocolError(400, "malformed request head")
    fields = collector.fields
    if len(fields) > limits.max_header_count:
        raise HttpProtocolError(431, f"more than {limits.max_header_count} header fields")
    path, query = _split_target(method, target)
    headers, shape = _collect(head, fields), HeadShape(head, VARYING)
    request = RequestHead(method, path, query, headers, shape, {name: headers[name] for name in shape.names})
    request.http_1_0 = http_1_0
    _frame(request, limits)
    return request


def _refuse(error: Exception, collector: FieldCollector) -> NoReturn:
    """Turn llhttp's refusal into the status that fits."""
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        raise HttpProtocolError(501, "this request method is not offered here") from error
    names = [name.lower() for name, _ in collector.fields]
    if b"transfer-encoding" in names and b"content-length" not in names:
        codings = [value for name, value in collector.fields if name.lower() == b"transfer-encoding"]
        _check_transfer_encoding(b", ".join(codings))
    raise HttpProtocolError(400, f"malformed request head: {error}") from error


def _split_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """The path and query of a request target in origin, absolute or asterisk form."""
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in {b"http", b"https"}:
            raise HttpProtocolError(400, "the request target has to start with `/`")
        authority = re.split(rb"[/?]", rest, maxsplit=1)[0]
        target = rest[len(authority) :]
        if not target.startswith(b"/"):
            target = b"/" + target
    if b"#" in target:
        raise HttpProtocolError(400, "the request target has a fragment; leave out `#` and what follows")
    path, _, query = target.partition(b"?")
    return path, query


def _collect(head: bytes, fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Fields by lower-case name; repeated ones joined (RFC 9110, section 5.3)."""
    # llhttp leaves space behind a value; two searches are cheaper than stripping each.
    if b" \r\n" in head or b"\t\r\n" in head:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    headers = {name.lower(): value for name, value in fields}
    if len(headers) == len(fields):
        return headers
    headers.clear()
    for raw_name, value in fields:
        name = raw_name.lower()
        before = headers.get(name)
        if before is None:
            headers[name] = value
        elif name in _SINGLE:
            raise HttpProtocolError(400, f"the header field {name.decode()} is there twice; send it once")
        else:
            headers[name] = before + (b"; " if name == b"cookie" else b", ") + value
    return headers


def _frame(request: RequestHead, limits: HttpLimits) -> None:
    """Decide where the body ends and what follows it."""
    headers = request.headers
    host = headers.get(b"host")
    if host is None:
        if not request.http_1_0:
            raise HttpProtocolError(400, "the Host header field is missing; HTTP/1.1 requires it")
    elif not _HOST.match(host):
        raise HttpProtocolError(400, "the Host header field is malformed; send `host` or `host:port`")
    coding = headers.get(b"transfer-encoding")
    length = headers.get(b"content-length")
    if coding is not None:
        _frame_chunked(request, coding, length)
    elif length is not None:
        request.content_length = _body_length(length, limits)
    connection = headers.get(b"connection")
    if connection is None:
        request.keep_alive = not request.http_1_0
    elif connection != b"keep-alive":
        request.keep_alive = _keeps_alive(connection, request.http_1_0)
    expect = headers.get(b"expect")
    if expect is not None and not request.http_1_0:
        if expect.lower() != b"100-continue":
            raise HttpProtocolError(417, "the only expectation met here is 100-continue")
        request.expects_continue = request.content_length != 0


def _frame_chunked(request: RequestHead, coding: bytes, length: bytes | None) -> None:
    if length is not None:
        raise HttpProtocolError(400, "Content-Length and Transfer-Encoding exclude each other; send one of them")
    if request.http_1_0:
        raise HttpProtocolError(400, "Transfer-Encoding is not part of HTTP/1.0; send Content-Length")
    _check_transfer_encoding(coding)
    request.content_length = CHUNKED


def _body_length(value: bytes, limits: HttpLimits) -> int:
    if not value.isdigit() or len(value) > 19:
        raise HttpProtocolError(400, "Content-Length has to be one decimal number")
    length = int(value)
    if length > limits.max_body_bytes:
        raise HttpProtocolError(413, f"the body has {length} bytes; at most {limits.max_body_bytes} are accepted")
    return length


def _keeps_alive(connection: bytes, http_1_0: bool) -> bool:  # noqa: FBT001 - private
    options = [option.strip() for option in connection.lower().split(b",")]
    return b"close" not in options and (not http_1_0 or b"keep-alive" in options)


def _check_transfer_encoding(value: bytes) -> None:
    codings = [coding.strip().lower() for coding in value.split(b",")]
    if codings == [b"chunked"]:
        return
    if b"chunked" in codings[:-1]:
        raise HttpProtocolError(400, "chunked has to be the last transfer coding, once")
    raise HttpProtocolError(501, "the only transfer coding understood here is chunked")
