"""A unary call of ours on its connection.

WAITING ──a connection──► SENDING, RECEIVING ──trailers, reset, connection lost──► over
any of them ──cancelled, expired──► over
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from edgewise.net.errors import HttpClientError, RequestTimeoutError
from edgewise.net.grpc_client_answer import AnswerHead, GrpcAnswer
from edgewise.net.grpc_exchange import Message
from edgewise.net.grpc_message import MessageReader
from edgewise.net.http2_output import OutgoingStream

if TYPE_CHECKING:
    from edgewise.net.grpc_client_calls import GrpcClientCalls

WAITING: Final = 0
RUNNING: Final = 1
OVER: Final = 2


class ClientCall(OutgoingStream):
    """One call. Who makes it derives from it and says what happens when.

    Args:
        block: its header fields, encoded.
        message: the request; left unchanged until the outcome.

    Attributes:
        block, message: as given, for as long as it may have to be sent again.
        state: WAITING for a connection, RUNNING on one, or OVER.
        head: the answer's headers; None before they come.
        reader: receives what does not come in one piece.
        body: the answer's message; None before it is whole.
        unacknowledged_bytes: received within its window since the last WINDOW_UPDATE.
        expiring: the calls that expire together with this one; None without a deadline.
        resent: the server refused it unseen once already.
    """

    __slots__ = (
        "block",
        "body",
        "connection",
        "expiring",
        "head",
        "message",
        "reader",
        "resent",
        "state",
        "unacknowledged_bytes",
    )

    def __init__(self, block: bytes, message: Message) -> None:
        # As the base class does, without the cost of calling it.
        self.stream_id = 0
        self.credit_bytes = 0
        self.opened = True
        self.outbox: deque[memoryview] | None = None
        self.unsent_bytes = 0
        self.ending: bytes | None = None
        self.sent_bytes = 0
        self.block = block
        self.message = message
        self.state = WAITING
        self.connection: GrpcClientCalls | None = None
        self.head: AnswerHead | None = None
        self.reader: MessageReader | None = None
        self.body: Message | None = None
        self.unacknowledged_bytes = 0
        self.expiring: set[ClientCall] | None = None
        self.resent = False

    # --- what happens; for the owner to say ---

    def answered(self, answer: GrpcAnswer) -> None:
        """The server has answered."""
        raise NotImplementedError

    def failed(self, error: HttpClientError) -> None:
        """There will be no answer. Never from within `GrpcClient.send`."""
        raise NotImplementedError

    def progressed(self) -> None:
        """Bytes of the answer came and it is not whole yet."""

    def sent(self) -> None:
        """It had to wait for a connection, and is on its way now."""

    # --- what the owner asks ---

    @property
    def received_bytes(self) -> int:
        """How many bytes of the answer's message have come."""
        if self.body is not None:
            return len(self.body)
        return self.reader.received_bytes if self.reader is not None else 0

    def cancel(self) -> None:
        """Give the call up: the server is told, and nothing is told any more."""
        if self.state != OVER:
            connection = self.connection
            self.end()
            if connection is not None:
                connection.give_up(self)

    def expire(self) -> None:
        """The deadline has passed."""
        if self.state != OVER:
            received_bytes = self.received_bytes
            self.cancel()
            self.failed(RequestTimeoutError("no answer came before the deadline", received_bytes=received_bytes))

    def end(self) -> None:
        """Note that it is over."""
        self.state = OVER
        self.message = b""
        self.connection = None
        self.reader = None
        if self.expiring is not None:
            self.expiring.discard(self)
            self.expiring = None


class CallbackCall(ClientCall):
    """A call that tells functions.

    Args:
        done: told once how it ended, unless it was cancelled.
        on_bytes: called when bytes of the answer came and it is not whole yet.
    """

    __slots__ = ("_done", "_on_bytes")

    def __init__(
        self,
        block: bytes,
        message: Message,
        done: Callable[[GrpcAnswer | HttpClientError], None],
        on_bytes: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(block, message)
        self._done = done
        self._on_bytes = on_bytes

    def answered(self, answer: GrpcAnswer) -> None:
        """Tell how it ended."""
        self._done(answer)

    def failed(self, error: HttpClientError) -> None:
        """Tell how it ended."""
        self._done(error)

    def progressed(self) -> None:
        """Tell that something came."""
        if self._on_bytes is not None:
            self._on_bytes()
