"""The head of a response: bytes up to and with the empty line, to status, fields and framing."""

from types import MappingProxyType
from typing import Any, Final

import httptools

from edgewise.net.errors import HttpProtocolError
from edgewise.net.http_head import CHUNKED, FieldCollector
from edgewise.net.http_head_shape import HeadShape, is_count, is_decimal

UNTIL_CLOSE: Final = -2
_MAX_KNOWN_HEADS: Final = 256
_MAX_KNOWN_SHAPES: Final = 12
_MAX_SHAPE_BYTES: Final = 4096
_BODYLESS: Final = frozenset({204, 304})
VARYING: Final = MappingProxyType(
    {
        b"content-length": is_count,
        b"x-edgewise-confidence": is_decimal,
        b"x-edgewise-queue-depth": is_count,
    }
)
"""Fields of answers that differ from one to the next."""


class ResponseHead:
    """A parsed response head; shared by responses that repeat it, so read only.

    Attributes:
        status: 100 to 999.
        content_length: bytes of body, `CHUNKED`, or `UNTIL_CLOSE`.
        keep_alive: the connection can be used again after this response.
        shape: what it has in common with heads that differ in `varied` only; has a note of its own.
        varied: values by name of fields that differ between heads of one shape.
        note: the reader's user may keep here what it made of this very head.
    """

    __slots__ = ("_fields", "_headers", "content_length", "keep_alive", "note", "shape", "status", "varied")

    def __init__(  # noqa: PLR0917 - once a response
        self,
        status: int,
        fields: list[tuple[bytes, bytes]],
        content_length: int,
        keep_alive: bool,  # noqa: FBT001 - once a response
        shape: HeadShape,
        varied: dict[bytes, bytes],
    ) -> None:
        self.status = status
        self.content_length = content_length
        self.keep_alive = keep_alive
        self.shape = shape
        self.varied = varied
        self.note: Any = None
        self._fields = fields
        self._headers: dict[bytes, bytes] | None = None

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Header fields as they came, names in lower case."""
        varied = self.varied
        return [(name, varied.get(name, value)) for name, value in self._fields] if varied else self._fields

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Header fields, names in lower case; a repeated one has its values joined by b", "."""
        headers = self._headers
        if headers is None:
            headers = self._headers = _join(self.fields)
        return headers

    def like(self, values: list[bytes]) -> "ResponseHead":
        """Another head of the same shape.

        Args:
            values: of the shape's names.
        """
        varied = dict(zip(self.shape.names, values, strict=True))
        length = varied.get(b"content-length")
        # Where there is no body, a length says nothing of one.
        content_length = self.content_length if length is None or self.content_length < 0 else int(length)
        if self.status in _BODYLESS:
            content_length = 0
        return ResponseHead(self.status, self._fields, content_length, self.keep_alive, self.shape, varied)


def parse_response_head(head: bytes, *, head_only: bool) -> ResponseHead:
    """Parse and judge one response head.

    Args:
        head: from the status line to the empty line.
        head_only: it answers a HEAD request, so there is no body whatever it says.
    Raises: HttpProtocolError: it is not HTTP/1.1, or its framing can be read two ways.
    Source: RFC 9112, sections 4, 6.3 and 9.3.
    """
    http_1_0 = head.startswith(b"HTTP/1.0 ")
    if not http_1_0 and not head.startswith(b"HTTP/1.1 "):
        raise HttpProtocolError(502, "the answer does not begin with `HTTP/1.1`")
    collector = FieldCollector()
    parser = httptools.HttpResponseParser(collector)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        raise HttpProtocolError(502, "the answer switches protocols, which was not asked for") from None
    except httptools.HttpParserError as error:
        raise HttpProtocolError(502, f"malformed response head: {error}") from error
    if not collector.complete:
        raise HttpProtocolError(502, "malformed response head")
    fields = [(name.lower(), value.rstrip(b" \t")) for name, value in collector.fields]
    headers = _join(fields)
    status: int = parser.get_status_code()
    length = 0 if head_only or status < 200 or status in _BODYLESS else _framing(headers)
    options = [option.strip() for option in headers.get(b"connection", b"").lower().split(b",")]
    keep_alive = length != UNTIL_CLOSE and b"close" not in options and (not http_1_0 or b"keep-alive" in options)
    shape = HeadShape(head, VARYING)
    return ResponseHead(status, fields, length, keep_alive, shape, {name: headers[name] for name in shape.names})


def _join(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _framing(headers: dict[bytes, bytes]) -> int:
    coding = headers.get(b"transfer-encoding")
    length = headers.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise HttpProtocolError(502, "the answer has both Content-Length and Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise HttpProtocolError(502, "the answer has a transfer coding other than chunked")
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    if not length.isdigit() or len(length) > 19:
        raise HttpProtocolError(502, "the answer's Content-Length is not one decimal number")
    return int(length)


class KnownHeads:
    """Heads that were parsed before, for readers of one server to share.

    Attributes:
        by_bytes: whole heads.
        shapes: one head of each shape, the one met last in front.
    """

    __slots__ = ("by_bytes", "shapes")

    def __init__(self) -> None:
        self.by_bytes: dict[bytes, ResponseHead] = {}
        self.shapes: list[ResponseHead] = []

    def parse(self, raw: bytes) -> ResponseHead:
        """The head that these bytes are, parsed only where nothing like it is known.

        Raises: HttpProtocolError: as `parse_response_head`.
        """
        head = self.by_bytes.get(raw)
        if head is not None:
            return head
        end = len(raw)
        for index, known in enumerate(self.shapes):
            match = known.shape.match(raw, 0, end)
            if match is not None and match[0] == end:
                head = known.like(match[1])
                if index:
                    self.shapes.insert(0, self.shapes.pop(index))
                break
        else:
            head = parse_response_head(raw, head_only=False)
            if end > _MAX_SHAPE_BYTES:
                return head
            if head.status >= 200:
                del self.shapes[_MAX_KNOWN_SHAPES - 1 :]
                self.shapes.insert(0, head)
        if len(self.by_bytes) >= _MAX_KNOWN_HEADS:
            self.by_bytes.clear()
        self.by_bytes[raw] = head
        return head
