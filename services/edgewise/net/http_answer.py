"""Answers on the wire, put together from pieces that rarely change and sent in one write."""

import asyncio
import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from edgewise.net.exchange import Body, Header
from edgewise.net.http_head import RequestHead

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_BODYLESS: Final = frozenset({204, 304})
# A body up to this size is copied behind its head, which costs less than a second buffer for writev.
_JOINED_BODY_BYTES: Final = 16 * 1024


def reason_phrase(status: int) -> str:
    """The usual words for a status, "Unknown" for one that has none."""
    return _REASONS.get(status, "Unknown")


def encode_fields(headers: Iterable[Header]) -> bytes:
    """Header fields as they go on the wire.

    Raises: ValueError: a name or value holds a line break, which would let it say more than its own field.
    """
    lines = [b"%b: %b\r\n" % header for header in headers]
    block = b"".join(lines)
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines):
        raise ValueError("a header field holds a line break")
    return block


class AnswerHeads:
    """Caches what answers share: the status line with the Date of this second, and constant fields."""

    __slots__ = ("_block", "_block_headers", "_date", "_expires_s", "_starts")

    def __init__(self) -> None:
        self._starts: dict[int, bytes] = {}
        self._expires_s = 0.0
        self._date = b""
        self._block_headers: Iterable[Header] | None = None
        self._block = b""

    def send(  # noqa: PLR0917 - once a request
        self,
        transport: asyncio.Transport,
        request: RequestHead | None,
        status: int,
        headers: Iterable[Header],
        body: Body | list[Body],
        now_s: float,
        *,
        keep_alive: bool,
    ) -> int:
        """Write one answer.

        Args:
            transport: takes it in one `write` or `writelines`.
            request: what is answered; None when it was not understood.
            status: 200 to 599.
            headers: without Content-Length, Date and Connection, which are added. A tuple is remembered, so callers do
                well to pass the same one.
            body: sent as it is; a list is sent part by part without joining. None of it is sent for HEAD, 204 and 304.
            now_s: monotonic; the wall clock is read at most once a second.
            keep_alive: whether the connection stays open.
        Returns: bytes written.
        Raises: ValueError: a header holds a line break; nothing was written.
        """
        fields = self._block if headers is self._block_headers else self._fields(headers)
        start = self._starts.get(status) if now_s < self._expires_s else None
        if start is None:
            start = self.start(status, now_s)
        if not keep_alive:
            tail = b"connection: close\r\n\r\n"
        elif request is not None and request.http_1_0:
            tail = b"connection: keep-alive\r\n\r\n"
        else:
            tail = b"\r\n"
        if not isinstance(body, list):
            length = body.nbytes if type(body) is memoryview else len(body)
            if length <= _JOINED_BODY_BYTES:
                if status in _BODYLESS or (request is not None and request.method == b"HEAD"):
                    return self._send_head(transport, status, start, fields, length, tail)
                whole = b"%b%bcontent-length: %d\r\n%b%b" % (start, fields, length, tail, body)  # type: ignore[str-format]
                transport.write(whole)
                return len(whole)
            parts: list[Body] = [body]
        else:
            parts = body
            length = sum(part.nbytes if type(part) is memoryview else len(part) for part in parts)
        if status in _BODYLESS or (request is not None and request.method == b"HEAD"):
            return self._send_head(transport, status, start, fields, length, tail)
        head = b"%b%bcontent-length: %d\r\n%b" % (start, fields, length, tail)
        transport.writelines([head, *parts])
        return len(head) + length

    @staticmethod
    def send_encoded(
        transport: asyncio.Transport,
        request: RequestHead,
        start: bytes,
        body: Body | list[Body],
        length_bytes: int | None,
        *,
        keep_alive: bool,
    ) -> int:
        """Write one answer whose head is there already.

        Args:
            start: status line and fields without Content-Length and Connection.
            length_bytes: what Content-Length says; the body's own length when None.
        Returns: bytes written.
        """
        if not keep_alive:
            tail = b"connection: close\r\n\r\n"
        elif request.http_1_0:
            tail = b"connection: keep-alive\r\n\r\n"
        else:
            tail = b"\r\n"
        if isinstance(body, list):
            parts = body
            own_bytes = sum(part.nbytes if type(part) is memoryview else len(part) for part in parts)
        else:
            own_bytes = body.nbytes if type(body) is memoryview else len(body)
            if own_bytes <= _JOINED_BODY_BYTES and length_bytes is None and request.method != b"HEAD":
                whole = b"%bcontent-length: %d\r\n%b%b" % (start, own_bytes, tail, body)  # type: ignore[str-format]
                transport.write(whole)
                return len(whole)
            parts = [body]
        head = b"%bcontent-length: %d\r\n%b" % (start, own_bytes if length_bytes is None else length_bytes, tail)
        if request.method == b"HEAD":
            transport.write(head)
            return len(head)
        transport.writelines([head, *parts])
        return len(head) + own_bytes

    @staticmethod
    def send_start(
        transport: asyncio.Transport,
        request: RequestHead,
        start: bytes,
        length_bytes: int | None,
        *,
        keep_alive: bool,
    ) -> int:
        """Write the head of an answer whose body comes piece by piece.

        Args:
            start: as for `send_encoded`.
            length_bytes: of the body; None sends it in chunks, or until the connection ends for HTTP/1.0.
        Returns: bytes written.
        """
        framing = b"" if length_bytes is None else b"content-length: %d\r\n" % length_bytes
        if length_bytes is None and not request.http_1_0:
            framing = b"transfer-encoding: chunked\r\n"
        if not keep_alive:
            framing += b"connection: close\r\n"
        elif request.http_1_0:
            framing += b"connection: keep-alive\r\n"
        head = b"%b%b\r\n" % (start, framing)
        transport.write(head)
        return len(head)

    @staticmethod
    def _send_head(  # noqa: PLR0917 - private
        transport: asyncio.Transport, status: int, start: bytes, fields: bytes, length: int, tail: bytes
    ) -> int:
        # Without a body, 204 may not and 304 need not say a length (RFC 9110, section 8.6).
        said = b"" if status in _BODYLESS else b"content-length: %d\r\n" % length
        head = b"%b%b%b%b" % (start, fields, said, tail)
        transport.write(head)
        return len(head)

    def date(self, now_s: float) -> bytes:
        """The Date field of this second, with its CRLF.

        Args:
            now_s: monotonic; the wall clock is read at most once a second.
        """
        if now_s >= self._expires_s:
            wall_s = time.time()
            self._starts.clear()
            self._expires_s = now_s + 1.0 - wall_s % 1.0
            self._date = f"date: {formatdate(wall_s, usegmt=True)}\r\n".encode("ascii")
        return self._date

    def start(self, status: int, now_s: float) -> bytes:
        """The status line and the Date field of this second."""
        date = self.date(now_s)
        start = self._starts.get(status)
        if start is None:
            start = f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii") + date
            self._starts[status] = start
        return start

    def _fields(self, headers: Iterable[Header]) -> bytes:
        block = encode_fields(headers)
        if type(headers) is tuple:
            self._block_headers = headers
            self._block = block
        return block
