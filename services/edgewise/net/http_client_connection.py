"""One connection to a server: one request at a time, its outcome told to whoever derives from it.

The pool in `http_client` stands on it; so can anything that must not make a task or a future for each request.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast

from edgewise.net.errors import (
    ConnectionLostError,
    HttpClientError,
    HttpProtocolError,
    ProtocolError,
    ResponseTooLargeError,
)
from edgewise.net.exchange import Body, Header
from edgewise.net.http_answer import encode_fields
from edgewise.net.http_response_head import KnownHeads, ResponseHead
from edgewise.net.http_response_reader import BodyTooLargeError, ResponseReader

# A body up to this size is copied behind its head, which costs less than a second buffer for writev.
_JOINED_BODY_BYTES: Final = 16 * 1024
# Closing resets the connection and drops what is unsent.
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_BODY_METHODS: Final = frozenset({b"POST", b"PUT", b"PATCH"})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer.

    Attributes:
        status: 200 to 999.
        headers: names in lower case; a repeated header has its values joined by b", ".
        body: the whole body.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes | bytearray


def encode_start(method: bytes, path: bytes, host: bytes) -> bytes:
    """The request line and the Host field.

    Raises: ValueError: something holds a space or a line break where it may not.
    """
    line = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, path, host)
    if line.count(b" ") != 3 or line.count(b"\n") != 2 or line.count(b"\r") != 2:
        raise ValueError("the method, path or host holds a space or a line break; percent-encode the path")
    return line


def encode_request(
    method: bytes, path: bytes, host: bytes, headers: Iterable[Header], body: Body | list[Body]
) -> list[Body]:
    """A request as it goes on the wire.

    Args:
        method: upper-case.
        path: with its query, percent-encoded.
        host: the value of the Host field.
        headers: without Host and Content-Length, which are added.
        body: not copied when it is large; a list is sent part by part.
    Returns: the parts to write, in order.
    Raises: ValueError: something holds a space or a line break where it may not.
    """
    line = encode_start(method, path, host)
    parts: list[Body] = body if isinstance(body, list) else [body]
    length = sum(part.nbytes if type(part) is memoryview else len(part) for part in parts)
    if length or method in _BODY_METHODS:
        line = b"%bcontent-length: %d\r\n" % (line, length)
    head = b"%b%b\r\n" % (line, encode_fields(headers))
    if not length:
        return [head]
    if length <= _JOINED_BODY_BYTES:
        return [b"".join([head, *parts])]
    return [head, *parts]


class ClientConnection(asyncio.BufferedProtocol):
    """The transport's side of one connection. Who owns it derives from it and says what happens when.

    Args:
        receive_buffer: filled and used up within one callback of the loop, so connections may share it.
        max_head_bytes, max_body_bytes: bounds on an answer.
        known_heads: see `ResponseReader`.

    Attributes:
        busy: a request has been sent and its outcome not been told.
        usable: another request can be sent once it is not busy.
        received_bytes: of the current answer.
        stream_over_bytes: `on_long_answer` is asked about an answer whose body is longer than this; 0 for none. Set it
            before each `send`.
        streaming: the answer in flight is given out piece by piece.
        sending: the body of the request in flight is still to be written.
    """

    __slots__ = (
        "_buffer",
        "_has_room",
        "_reader",
        "_socket",
        "_transport",
        "_view",
        "busy",
        "received_bytes",
        "sending",
        "stream_over_bytes",
        "streaming",
        "usable",
    )

    def __init__(
        self,
        receive_buffer: bytearray,
        *,
        max_head_bytes: int,
        max_body_bytes: int,
        known_heads: KnownHeads | None = None,
    ) -> None:
        self.busy = False
        self.usable = False
        self.received_bytes = 0
        self.stream_over_bytes = 0
        self.streaming = False
        self.sending = False
        self._has_room = True
        self._buffer = receive_buffer
        self._view = memoryview(receive_buffer)
        self._reader = ResponseReader(
            max_head_bytes=max_head_bytes, max_body_bytes=max_body_bytes, known_heads=known_heads
        )
        self._transport = cast("asyncio.Transport", None)
        self._socket: socket.socket | None = None

    # --- what happens; for the owner to say ---

    def on_response(self, head: ResponseHead, body: bytes | bytearray) -> None:
        """The response is whole. Not busy any more: the next request may be sent from here.

        Args:
            head: shared with other responses; read only.
            body: the caller's own.
        """
        raise NotImplementedError

    def on_failure(self, error: HttpClientError) -> None:
        """There will be no whole response; the connection is closing. Never from within `send`."""
        raise NotImplementedError

    def on_progress(self) -> None:
        """Bytes came and the response is not whole yet."""

    def on_long_answer(self, head: ResponseHead) -> bool:
        """The head of a long answer is there, and not yet all of its body.

        Returns: whether the body is wanted piece by piece (`on_piece`, then `on_stream_end` or `on_failure`).
        """
        raise NotImplementedError

    def on_piece(self, piece: bytes | bytearray) -> None:
        """The next piece of a body that is wanted so."""
        raise NotImplementedError

    def on_stream_end(self) -> None:
        """The last piece was given. Not busy any more: the next request may be sent from here."""
        raise NotImplementedError

    def on_room(self) -> None:
        """The server has taken what `write` said had to wait."""

    def on_closed(self) -> None:
        """The connection is gone; called once, before `on_failure` where a request was in flight."""

    # --- what the owner asks ---

    def send(self, parts: list[Body], *, head_only: bool = False, echo: bytes = b"") -> None:
        """Send one request.

        Args:
            parts: from `encode_request`, or made like it.
            head_only: it is a HEAD request.
            echo: see `ResponseReader.expect`.
        Raises: RuntimeError: the connection is busy or not usable.
        """
        if self.busy or not self.usable:
            raise RuntimeError("the connection is busy or closed")
        self.busy = True
        self.received_bytes = 0
        reader = self._reader
        reader.streams = self.stream_over_bytes > 0
        reader.expect(head_only, echo)
        if len(parts) == 1:
            self._transport.write(parts[0])
        else:
            self._transport.writelines(parts)

    def write(self, piece: Body) -> bool:
        """Send more of the body of the request in flight; set `sending` before its `send`, and back after the last piece.

        Returns: whether more can be sent at once; if not, `on_room` is called when it can.
        """
        if self.usable:
            self._transport.write(piece)
        return self._has_room

    def abort(self) -> None:
        """Close at once; a request in flight ends in ConnectionLostError.

        What the system has not sent yet is dropped as well where the connection was given its socket: the server never
        gets the rest of what was given up.
        """
        self.usable = False
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def cancel(self) -> None:
        """Close at once, and tell nobody of the request in flight."""
        self.abort()
        self.busy = False

    def pause(self) -> None:
        """Let the server wait with the rest of its answer."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._transport.resume_reading()

    def close(self) -> None:
        """Close politely; only while not busy."""
        self.usable = False
        self._transport.close()

    # --- what the transport reports ---

    def pause_writing(self) -> None:
        """The server takes less than it is sent."""
        self._has_room = False

    def resume_writing(self) -> None:
        """The server caught up."""
        self._has_room = True
        self.on_room()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.usable = False
        self.on_closed()
        if self.busy:
            self.busy = False
            what = f": {exc}" if exc is not None else " by the server"
            self.on_failure(
                ConnectionLostError(
                    f"the connection was closed{what} before the answer was complete",
                    received_bytes=self.received_bytes,
                )
            )

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's guess is of no use here
        """Where the next bytes go."""
        return self._reader.direct_view() if self._reader.direct else self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Use the bytes that came."""
        self.received_bytes += nbytes
        if not self.busy:
            self.abort()  # bytes that nobody asked for
            return
        if self.streaming:
            self._stream(nbytes)
            return
        reader = self._reader
        try:
            body = reader.direct_filled(nbytes) if reader.direct else reader.feed(self._buffer, nbytes)
        except BodyTooLargeError as too_large:
            self._give_up(ResponseTooLargeError(too_large.reason, received_bytes=self.received_bytes))
            return
        except HttpProtocolError as error:
            self._give_up(ProtocolError(error.reason, received_bytes=self.received_bytes))
            return
        if body is not None:
            self._complete(body)
            return
        self.on_progress()
        if self.stream_over_bytes and reader.body_bytes > self.stream_over_bytes and self.busy:
            self._offer_stream()

    def _offer_stream(self) -> None:
        reader = self._reader
        head = reader.head
        self.stream_over_bytes = 0
        if head is not None and self.on_long_answer(head):
            if self.busy:
                self.streaming = True
                self.on_piece(reader.begin_stream())
        elif reader.too_long and self.busy:
            self._give_up(
                ResponseTooLargeError("the answer is larger than is taken", received_bytes=self.received_bytes)
            )

    def _stream(self, nbytes: int) -> None:
        try:
            piece, done = self._reader.feed_stream(self._buffer, nbytes)
        except HttpProtocolError as error:
            self._give_up(ProtocolError(error.reason, received_bytes=self.received_bytes))
            return
        self.on_piece(piece)
        if done and self.busy:
            self._complete(b"")

    def eof_received(self) -> bool:
        """The server sends no more.

        Returns: False; the transport closes.
        """
        self.usable = False
        if self.busy:
            body = self._reader.finish()
            if body is not None:
                self._complete(body)
        return False

    def _complete(self, body: bytes | bytearray) -> None:
        head = self._reader.head
        if head is None:
            raise RuntimeError("a whole response without its head")
        if self.sending or not head.keep_alive:
            # Whoever answers before it has been asked everything gets no second question.
            self.sending = False
            self.abort()
        # Out of the busy state before it is told: whoever is told may send the next request.
        self.busy = False
        if self.streaming:
            self.streaming = False
            self.on_stream_end()
        else:
            self.on_response(head, body)

    def _give_up(self, error: HttpClientError) -> None:
        self.abort()
        self.busy = False
        self.on_failure(error)


class CallbackConnection(ClientConnection):
    """A connection that tells by callbacks what happens, for owners whose own classes are not compiled.

    Of a class that is machine code, methods that an interpreted one overrides are not heard.

    Args:
        receive_buffer, max_head_bytes, max_body_bytes, known_heads: of `ClientConnection`.
        on_response, on_failure, on_closed: told as the methods of `ClientConnection` are.
    """

    __slots__ = ("_closed", "_failure", "_response")

    def __init__(
        self,
        receive_buffer: bytearray,
        *,
        max_head_bytes: int,
        max_body_bytes: int,
        on_response: Callable[[ResponseHead, bytes | bytearray], None],
        on_failure: Callable[[HttpClientError], None],
        on_closed: Callable[[], None],
        known_heads: KnownHeads | None = None,
    ) -> None:
        super().__init__(
            receive_buffer, max_head_bytes=max_head_bytes, max_body_bytes=max_body_bytes, known_heads=known_heads
        )
        self._response = on_response
        self._failure = on_failure
        self._closed = on_closed

    def on_response(self, head: ResponseHead, body: bytes | bytearray) -> None:
        """See `ClientConnection`."""
        self._response(head, body)

    def on_failure(self, error: HttpClientError) -> None:
        """See `ClientConnection`."""
        self._failure(error)

    def on_closed(self) -> None:
        """See `ClientConnection`."""
        self._closed()
