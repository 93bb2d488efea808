"""One call on its connection: what a front door holds of it, and where it stands.

    RECEIVING ──last message──► HANDLING ──answer──► SENDING ──trailers sent──► over
        └──────────refused, expired────────────────────►┘
    any of them ──reset by the client, connection lost──► over

A streaming call is handled while it is received.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from edgewise.net import grpc_exchange
from edgewise.net.grpc_answer import OK_BLOCK, PREFIX, encode_failure, encode_ok, message_bytes
from edgewise.net.grpc_exchange import Field, Message, StreamingMethod, UnaryMethod
from edgewise.net.grpc_head import CallHead
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.grpc_message import MessageError, MessageReader
from edgewise.net.http2_output import OutgoingStream

if TYPE_CHECKING:
    from edgewise.net.grpc_calls import GrpcCalls

_LOG: Final = logging.getLogger(__name__)


class Call(OutgoingStream):
    """What unary and streaming calls have in common; see `edgewise.net.grpc_exchange.GrpcCallInfo`.

    Attributes:
        head: as decoded.
        reader: receives what does not come in one piece; None as long as there was no need.
        half_closed: the client has sent its last message.
        expiring: the calls that expire together with this one; None without a deadline.
        held_bytes: memory that this call is accounted for.
        unacknowledged_bytes: received within its window since the last WINDOW_UPDATE.
        moved_bytes, moved_s: what had been received and sent at the last progress, and when that was.
    """

    __slots__ = (
        "_connection",
        "closed",
        "expiring",
        "half_closed",
        "head",
        "held_bytes",
        "metadata",
        "method",
        "moved_bytes",
        "moved_s",
        "on_cancel",
        "reader",
        "received_s",
        "timeout_s",
        "unacknowledged_bytes",
    )

    def __init__(self, connection: "GrpcCalls", stream_id: int, head: CallHead, received_s: float) -> None:
        # As the base class does, without the cost of calling it.
        self.stream_id = stream_id
        self.credit_bytes = 0
        self.opened = False
        self.outbox: deque[memoryview] | None = None
        self.unsent_bytes = 0
        self.ending: bytes | None = None
        self.sent_bytes = 0
        self.method = head.method
        self.metadata: Mapping[bytes, bytes] = head.metadata
        self.timeout_s = head.timeout_s
        self.received_s = received_s
        self.on_cancel: Callable[[], None] | None = None
        self.closed = False
        self.head = head
        self.reader: MessageReader | None = None
        self.half_closed = False
        self.expiring: set[Call] | None = None
        self.held_bytes = 0
        self.unacknowledged_bytes = 0
        self.moved_bytes = 0
        self.moved_s = received_s
        self._connection = connection

    @property
    def peer(self) -> str:
        """The client's address as `host:port`; "" on a Unix socket."""
        return self._connection.peer

    @property
    def waits_for_client(self) -> bool:
        """Whether the client owes bytes of a message."""
        raise NotImplementedError

    def moves(self, now_s: float) -> bool:
        """Whether bytes went either way since this was asked last, or none had to."""
        moved_bytes = self.sent_bytes
        if self.reader is not None:
            moved_bytes += self.reader.received_bytes
        waits = self.unsent_bytes or self.ending is not None or (self.waits_for_client and not self.closed)
        if moved_bytes == self.moved_bytes and waits:
            return False
        self.moved_bytes = moved_bytes
        self.moved_s = now_s
        return True

    def overdue(self, now_s: float, limits: GrpcLimits) -> str:
        """Why the client has taken too long with its request; "" when it has not."""
        if now_s - self.moved_s > limits.request_stall_timeout_s:
            return f"no byte of the request came for {limits.request_stall_timeout_s:g} s"
        return ""

    def begin(self) -> None:
        """The headers are there."""

    def receive(self, message: Message) -> None:
        """A message is there."""
        raise NotImplementedError

    def half_close(self) -> None:
        """There will be no further message."""
        raise NotImplementedError

    def expire(self) -> None:
        """The deadline has passed."""
        if not self.closed:
            on_cancel = self.on_cancel
            self._connection.fail(self, grpc_exchange.DEADLINE_EXCEEDED, "the deadline of the call passed")
            self.notify(on_cancel)

    def cancel(self) -> None:
        """The client gave up, or is gone. Tells the method, if it still had to answer."""
        if not self.closed:
            on_cancel = self.on_cancel
            self._connection.end(self)
            self.notify(on_cancel)

    def notify(self, callback: Callable[[], None] | None) -> None:
        """Call back; a front door's fault must not reach the loop."""
        if callback is not None:
            try:
                callback()
            except Exception:  # noqa: BLE001 - whatever the method did, the client gets its answer
                _LOG.exception("a callback of %s failed", self.method)


class UnaryCall(Call):
    """See `edgewise.net.grpc_exchange.GrpcExchange`."""

    __slots__ = ("_handler", "_received", "message")

    def __init__(
        self, connection: "GrpcCalls", stream_id: int, head: CallHead, received_s: float, method: UnaryMethod
    ) -> None:
        super().__init__(connection, stream_id, head, received_s)
        self.message: Message = b""
        self._received = False
        self._handler = method

    def respond(self, message: Message, trailers: Iterable[Field] = ()) -> None:
        """Answer with OK."""
        if not self.closed:
            self._connection.answer(self, message, encode_ok(trailers) if trailers else OK_BLOCK)

    def respond_encoded(self, message: Message, block: bytes) -> None:
        """Answer with OK and with trailers that `encode_ok` has encoded. Does nothing once `closed`."""
        if not self.closed:
            self._connection.answer(self, message, block)

    def fail(self, status: int, message: str, trailers: Iterable[Field] = ()) -> None:
        """Answer with an error."""
        if not self.closed:
            if status == grpc_exchange.OK:
                raise ValueError("a call does not fail with OK")
            self._connection.finish(self, encode_failure(status, message, trailers))

    @property
    def waits_for_client(self) -> bool:
        """Whether the client owes bytes of a message."""
        return not self.half_closed

    def overdue(self, now_s: float, limits: GrpcLimits) -> str:
        """As for all calls; one message has to come at some rate as well."""
        received_bytes = self.reader.received_bytes if self.reader is not None else 0
        allowed_s = limits.request_grace_s + received_bytes / limits.min_request_rate_bytes_per_s
        if now_s - self.received_s > allowed_s:
            return "the request comes too slowly"
        return super().overdue(now_s, limits)

    def receive(self, message: Message) -> None:
        """Keep the one message until the client says that it was the only one."""
        if self._received:
            raise MessageError(grpc_exchange.INTERNAL, "a second message in a call of a method that takes one")
        self._received = True
        self.message = message

    def half_close(self) -> None:
        """Hand the call to its method."""
        self.half_closed = True
        if not self._received:
            raise MessageError(grpc_exchange.INTERNAL, "the call ended without a message")
        try:
            self._handler.handle(self)
        except Exception:  # noqa: BLE001 - whatever the method did, the client gets its answer
            self._connection.handler_failed(self)

    def handle(self, message: Message) -> None:
        """Hand the call to its method, with a message that came in one piece and is the last."""
        self.half_closed = True
        self.message = message
        try:
            self._handler.handle(self)
        except Exception:  # noqa: BLE001 - whatever the method did, the client gets its answer
            self._connection.handler_failed(self)


class StreamCall(Call):
    """See `edgewise.net.grpc_exchange.GrpcStream`."""

    __slots__ = ("_open", "finish_on_drain", "on_drained", "on_half_close", "on_message")

    def __init__(
        self, connection: "GrpcCalls", stream_id: int, head: CallHead, received_s: float, method: StreamingMethod
    ) -> None:
        super().__init__(connection, stream_id, head, received_s)
        self.on_message: Callable[[Message], None] | None = None
        self.on_half_close: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self.finish_on_drain = method.finish_on_drain
        self._open = method.open

    def send(self, message: Message) -> None:
        """Send a message."""
        if not self.closed:
            size = message_bytes(message)
            outbox = self.outbox
            if outbox is None:
                outbox = self.outbox = deque()
            outbox.append(memoryview(PREFIX.pack(0, size)))
            if size:
                outbox.append(memoryview(message).cast("B"))
            self.unsent_bytes += size + 5
            self._connection.enqueue(self)

    def finish(self, status: int = grpc_exchange.OK, message: str = "", trailers: Iterable[Field] = ()) -> None:
        """End the call after what was sent."""
        if not self.closed:
            opened = self.opened or self.unsent_bytes > 0
            self._connection.finish(self, encode_failure(status, message, trailers, opened=opened))

    @property
    def waits_for_client(self) -> bool:
        """Whether the client owes bytes of a message."""
        return self.reader is not None and self.reader.begun

    def begin(self) -> None:
        """Hand the call to its method."""
        self._run(lambda: self._open(self))

    def receive(self, message: Message) -> None:
        """Hand a message on."""
        if (on_message := self.on_message) is not None:
            self._run(lambda: on_message(message))

    def half_close(self) -> None:
        """Tell that there are no more."""
        self.half_closed = True
        if (on_half_close := self.on_half_close) is not None:
            self._run(on_half_close)

    def drained(self) -> None:
        """Tell that there is room for more."""
        if (on_drained := self.on_drained) is not None and not self.closed:
            self._run(on_drained)

    def _run(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:  # noqa: BLE001 - whatever the method did, the client gets its answer
            self._connection.handler_failed(self)
