"""Unary gRPC calls on the REST port, each as one HTTP/1.1 request.

    POST /package.Service/Method          200
    content-type: application/x-protobuf  content-type: application/x-protobuf
    (metadata as header fields)           grpc-status: 0
                                          (trailers as header fields)
    the bare message                      the bare message

The message has no length before it, since the body says where it ends. An error has the HTTP status of its code, no body,
and `grpc-status` and `grpc-message` (percent-encoded) beside the trailers. Deadlines travel as `x-edgewise-deadline-ms`.

A gateway sends calls this way, to a model server or to another gateway: on HTTP/1.1 a lost call is known from its own
connection, and a call that is given up is given up with it. The methods are those of the gRPC port, with the same keys, deadlines
and limits.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from edgewise.net.exchange import Exchange
from edgewise.net.grpc_answer import escape_message
from edgewise.net.grpc_exchange import OK, Field, Message, MethodLookup, UnaryMethod
from edgewise.net.grpc_head import CallHead

_log = logging.getLogger(__name__)

CONTENT_TYPE: Final = b"application/x-protobuf"
STATUS_FIELD: Final = b"grpc-status"
MESSAGE_FIELD: Final = b"grpc-message"

_TYPE_FIELD: Final = (b"content-type", CONTENT_TYPE)
_OK_FIELDS: Final = (_TYPE_FIELD, (STATUS_FIELD, b"0"))
_ALLOW_POST: Final = (b"allow", b"POST")
_UNIMPLEMENTED, _INTERNAL, _UNAUTHENTICATED = 12, 13, 16


class GrpcOverHttp:
    """Answers such requests.

    Args:
        lookup: the gRPC front door.
        http_status: of each gRPC status, by its number.
        who: the site's own fields, for answers that no method gives.
    """

    def __init__(self, lookup: MethodLookup, http_status: Sequence[int], who: tuple[Field, ...] = ()) -> None:
        self._lookup = lookup
        self._http_status = http_status
        self._who = who
        self._methods: dict[bytes, tuple[str, UnaryMethod]] = {}

    @staticmethod
    def takes(exchange: Exchange) -> bool:
        """Whether a request is a gRPC call."""
        return exchange.headers.get(b"content-type") == CONTENT_TYPE

    def __call__(self, exchange: Exchange) -> None:
        """Answer one, now or later."""
        found = self._methods.get(exchange.path) or self._find(exchange.path)
        if exchange.method != b"POST":
            exchange.respond(405, (_ALLOW_POST, *self._who), b"")
            return
        headers = exchange.headers
        if found is None:
            name = exchange.path[:200].decode("ascii", "replace")
            self.refuse(exchange, _UNIMPLEMENTED, f"the method {name} is not served here as a unary call")
        elif b"content-encoding" in headers:
            self.refuse(exchange, _UNIMPLEMENTED, "content-encoding is not understood for gRPC calls; send none")
        else:
            name, method = found
            call = HttpCall(exchange, name, self._http_status)
            try:
                method.handle(call)
            except Exception:  # noqa: BLE001 - whatever the method did, the client gets its answer
                _log.exception("the handler of %s failed", name)
                self.refuse(exchange, _INTERNAL, "the server failed; its log says more")

    def _find(self, path: bytes) -> tuple[str, UnaryMethod] | None:
        """The method of a path; what is streaming has no form here."""
        name = path.decode("ascii", "replace")
        method = self._lookup(name)
        if not isinstance(method, UnaryMethod):
            return None
        # The door has a fixed number of them.
        found = self._methods[path] = (name, method)
        return found

    def refuse(self, exchange: Exchange, status: int, message: str) -> None:
        """Answer with an error that no method gives."""
        HttpCall(exchange, "", self._http_status).fail(status, message, self._who)


class HttpCall:
    """A unary call that came as an HTTP request; see `edgewise.net.grpc_exchange.GrpcExchange`.

    `timeout_s` is None: the budget is the one that the metadata state, and the methods hold to it.
    """

    __slots__ = ("_exchange", "_http_status", "message", "metadata", "method", "received_s", "timeout_s")

    def __init__(self, exchange: Exchange, method: str, http_status: Sequence[int]) -> None:
        self._exchange = exchange
        self._http_status = http_status
        self.method = method
        self.message: Message = exchange.body
        self.metadata: Mapping[bytes, bytes] = exchange.headers
        # The body has been read; of the call it says nothing.
        exchange.headers.pop(b"content-length", None)
        self.timeout_s: float | None = None
        self.received_s = exchange.received_s

    @property
    def closed(self) -> bool:
        """Whether the client has gone or the answer has been given."""
        return self._exchange.closed

    @property
    def head(self) -> CallHead:
        """The call as gRPC's own port has it; made anew each time."""
        metadata = dict(self.metadata)
        return CallHead(self.method, metadata, sum(len(name) + len(value) + 32 for name, value in metadata.items()))

    @property
    def peer(self) -> str:
        """The client's address, for the request log."""
        return self._exchange.peer

    @property
    def on_cancel(self) -> Callable[[], None] | None:
        """Called once if the client goes away before the answer."""
        return self._exchange.on_cancel

    @on_cancel.setter
    def on_cancel(self, callback: Callable[[], None] | None) -> None:
        self._exchange.on_cancel = callback

    def respond(self, message: Message, trailers: Iterable[Field] = ()) -> None:
        """Answer with OK. Does nothing once `closed`."""
        self._exchange.respond(200, (*_OK_FIELDS, *trailers), message)

    def fail(self, status: int, message: str, trailers: Iterable[Field] = ()) -> None:
        """Answer with an error. Does nothing once `closed`."""
        if status == OK:
            raise ValueError("a call does not fail with OK")
        fields = [_TYPE_FIELD, (STATUS_FIELD, b"%d" % status), *trailers]
        if message:
            fields.append((MESSAGE_FIELD, escape_message(message)))
        if status == _UNAUTHENTICATED:
            fields.append((b"www-authenticate", b"Bearer"))
        self._exchange.respond(self._http_status[status], fields, b"")
