"""The server's `Exchange`: what a front door holds of one request."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from edgewise.net.exchange import Body, Header
from edgewise.net.http_head import RequestHead
from edgewise.net.http_incoming import IncomingBody

if TYPE_CHECKING:
    from edgewise.net.http_connection import HttpConnection


class HttpExchange:
    """A request that waits for its one answer; see `edgewise.net.exchange.Exchange`.

    Long answers may be sent piece by piece: `begin`, `write` any number of times, `end`; or `abort` where there is no end.

    Attributes:
        incoming: a long body that comes piece by piece, where the server's limits ask for that; `body` is empty then.
        on_drained: called when the client has taken what `write` said had to wait; set by the handler.
        head: as it was parsed; requests that repeat it byte for byte share it, so read only.
        closed: the client has gone or the answer has been given.
    """

    __slots__ = (
        "_connection",
        "_headers",
        "body",
        "closed",
        "head",
        "incoming",
        "method",
        "on_cancel",
        "on_drained",
        "path",
        "query",
        "received_s",
    )

    def __init__(self, connection: "HttpConnection", head: RequestHead, body: Body, received_s: float) -> None:
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self._headers: dict[bytes, bytes] | None = None
        self.body = body
        self.received_s = received_s
        self.on_cancel: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self.closed = False
        self.incoming: IncomingBody | None = None
        self.head = head
        self._connection = connection

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The header fields; this request's own copy."""
        headers = self._headers
        if headers is None:
            headers = self._headers = self.head.headers.copy()
        return headers

    @headers.setter
    def headers(self, headers: dict[bytes, bytes]) -> None:
        self._headers = headers

    @property
    def peer(self) -> str:
        """The client's address as `host:port`; "" on a Unix socket."""
        return self._connection.peer

    def respond(self, status: int, headers: Iterable[Header], body: Body | list[Body]) -> None:
        """Send the answer; Content-Length, Date and Connection are added. Does nothing once `closed`.

        Call it on the event loop's thread. A large body is not copied: leave it unchanged afterwards.

        Raises: ValueError: a header holds a line break; the exchange is still unanswered then.
        """
        if not self.closed:
            self._connection.answer(self, self.head, status, headers, body)

    def respond_encoded(self, start: bytes, body: Body | list[Body], *, length_bytes: int | None = None) -> None:
        r"""Send an answer whose head is there already; Content-Length and Connection are added.

        Does nothing once `closed`. Call it on the event loop's thread. A large body is not copied: leave it unchanged.

        Args:
            start: the status line and header fields, each with its CRLF, of an answer that may have a body.
            body: none of it is sent for HEAD.
            length_bytes: what Content-Length says where that is not the body's own, for HEAD.
        """
        if not self.closed:
            self._connection.answer_encoded(self, self.head, start, body, length_bytes)

    def begin(self, start: bytes, length_bytes: int | None) -> None:
        """Begin an answer whose body comes piece by piece. Does nothing once `closed`.

        Args:
            start: as for `respond_encoded`.
            length_bytes: of the body; None where that is not known, which ends the connection for HTTP/1.0.
        """
        if not self.closed:
            self._connection.begin_answer(self.head, start, length_bytes)

    def write(self, piece: Body) -> bool:
        """Send a piece. Does nothing once `closed`.

        Returns: whether more can be sent at once; if not, `on_drained` is called when it can.
        """
        return self.closed or self._connection.write_piece(piece)

    def end(self) -> None:
        """The last piece was written."""
        if not self.closed:
            self._connection.end_answer(self, self.head)

    def abort(self) -> None:
        """Cut the connection: an answer that was begun has no end, and the client has to see that."""
        if not self.closed:
            self._connection.abort()

    def close(self) -> Callable[[], None] | None:
        """Note that it is over; for its connection alone.

        Returns: what the handler wants called when the client went away.
        """
        self.closed = True
        on_cancel, self.on_cancel = self.on_cancel, None
        self.on_drained = None
        return on_cancel

    @property
    def takes_interim_answers(self) -> bool:
        """Whether the client understands 1xx."""
        return not self.head.http_1_0
