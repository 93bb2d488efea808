"""What a server's header blocks say of a call's answer.

Source: gRPC over HTTP2, "Responses"; RFC 9113, section 8.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from edgewise.net.errors import NetError
from edgewise.net.grpc_exchange import Message
from edgewise.net.grpc_head import FIELD_NAME, FIELD_VALUE_BAD
from edgewise.net.hpack import HeaderDecoder, HpackError
from edgewise.net.hpack_tables import Field
from edgewise.net.http2_frames import ErrorCode, Http2ConnectionError

_MAX_HEADS: Final = 64
# Larger ones are not kept, so that a connection's memory is bounded.
_MAX_KEPT_BYTES: Final = 2048
_UNKNOWN: Final = 2
_LAST_STATUS: Final = 16
# What the transport says, not the service.
_OURS: Final = frozenset(
    {b"content-type", b"grpc-status", b"grpc-message", b"grpc-encoding", b"grpc-accept-encoding", b"date", b"server"}
)
_NOTHING: Final[Mapping[bytes, bytes]] = MappingProxyType({})
_STATUS_OF_HTTP: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}


class MalformedAnswerError(NetError):
    """Header fields that are no HTTP/2 response."""


class AnswerHead:
    """A response's headers or trailers; blocks that say the same share one.

    Attributes:
        http_status: of `:status`, 0 where there is none, as in trailers.
        status: of `grpc-status`; None where there is none.
        message: of `grpc-message`, percent-encoded as it came.
        encoding: of `grpc-encoding`; None for messages as they are.
        fields: the service's own: names to values, repeated ones joined by b",".
        note: the client's user may keep here what it made of it.
    """

    __slots__ = ("encoding", "fields", "http_status", "message", "note", "status")

    def __init__(self, http_status: int, every: dict[bytes, bytes]) -> None:
        self.note: Any = None
        self.http_status = http_status
        value = every.get(b"grpc-status")
        self.status = None if value is None else parse_status(value)
        self.message = every.get(b"grpc-message", b"")
        encoding = every.get(b"grpc-encoding", b"identity")
        self.encoding = None if encoding == b"identity" else encoding
        self.fields: Mapping[bytes, bytes] = {n: v for n, v in every.items() if n not in _OURS} or _NOTHING


class GrpcAnswer:
    """How a call ended, as the server says.

    Attributes:
        status: 0 to 16.
        status_message: percent-encoded as it came.
        body: the message; None where the status is not 0 and there was none.
        head: the headers before it; None where there were none of their own.
        tail: the trailers; None where the server gave the call up without any.
    """

    __slots__ = ("body", "head", "status", "status_message", "tail")

    def __init__(
        self,
        status: int,
        status_message: bytes,
        body: Message | None = None,
        head: AnswerHead | None = None,
        tail: AnswerHead | None = None,
    ) -> None:
        self.status = status
        self.status_message = status_message
        self.body = body
        self.head = head
        self.tail = tail

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """What the service said before its message."""
        return self.head.fields if self.head is not None else _NOTHING

    @property
    def trailers(self) -> Mapping[bytes, bytes]:
        """What the service said after it."""
        return self.tail.fields if self.tail is not None else _NOTHING


def end_of(first: AnswerHead | None, last: AnswerHead, body: Message | None) -> GrpcAnswer:
    """The answer that a stream's last header block completes.

    Args:
        first: the headers that came before; None where there were only these.
    Raises: MalformedAnswerError: it is no gRPC answer.
    """
    status = last.status
    message = last.message
    if status is None:
        http_status = last.http_status if first is None else first.http_status
        if http_status == 200:
            raise MalformedAnswerError("the answer ended without a grpc-status")
        status = status_of_http(http_status)
        message = b"the server answered with HTTP status %d" % http_status
    elif not status and body is None:
        raise MalformedAnswerError("the answer has status OK and no message")
    return GrpcAnswer(status, message, body, first, last)


class AnswerHeadReader:
    """Reads the header blocks of one connection in their order.

    Args:
        max_list_bytes: bound on the fields of a block.

    Attributes:
        heads: by blocks that mean the same until `read` is called with another; look here first.
    """

    __slots__ = ("_changes", "_decoder", "_max_list_bytes", "heads")

    def __init__(self, max_list_bytes: int) -> None:
        self.heads: dict[bytes, AnswerHead | MalformedAnswerError] = {}
        self._max_list_bytes = max_list_bytes
        self._decoder = HeaderDecoder(max_list_bytes)
        self._changes = 0

    def read(self, block: bytes) -> AnswerHead | MalformedAnswerError:
        """What a block says; what is wrong with it concerns its stream alone.

        Raises: Http2ConnectionError: the block is not HPACK.
        """
        decoder = self._decoder
        try:
            fields, size_bytes = decoder.decode(block)
        except HpackError as error:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        if decoder.changes != self._changes:
            self.heads.clear()
            self._changes = decoder.changes
            keep = False
        else:
            keep = len(block) <= _MAX_KEPT_BYTES
        head: AnswerHead | MalformedAnswerError
        if size_bytes > self._max_list_bytes:
            head = MalformedAnswerError(
                f"the answer's metadata take {size_bytes} bytes; at most {self._max_list_bytes} are taken"
            )
        else:
            try:
                head = _read(fields)
            except MalformedAnswerError as error:
                head = error
        if keep:
            if len(self.heads) >= _MAX_HEADS:
                self.heads.clear()
            self.heads[block] = head
        return head


def _read(fields: Iterable[Field]) -> AnswerHead:
    http_status = 0
    every: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] == b":":
            if name != b":status" or every or http_status or not (value.isdigit() and len(value) == 3):
                raise MalformedAnswerError("a pseudo-header field that is unknown, repeated, late or malformed")
            http_status = int(value)
        elif not FIELD_NAME.fullmatch(name) or FIELD_VALUE_BAD.search(value):
            raise MalformedAnswerError("a header field that is not allowed in HTTP/2")
        elif name in every:
            every[name] += b"," + value
        else:
            every[name] = value
    return AnswerHead(http_status, every)


def parse_status(value: bytes) -> int:
    """The value of `grpc-status`; UNKNOWN for what is none."""
    if value.isdigit() and len(value) <= 2 and int(value) <= _LAST_STATUS:
        return int(value)
    return _UNKNOWN


def status_of_http(http_status: int) -> int:
    """The gRPC status of an answer that has none, from its HTTP status.

    Source: gRPC, `doc/http-grpc-status-mapping.md`.
    """
    return _STATUS_OF_HTTP.get(http_status, _UNKNOWN)
