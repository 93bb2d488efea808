"""What an upstream asks of those who have something sent."""

from typing import Any, Protocol

from edgewise.core.routing.calls import Failure
from edgewise.net.errors import HttpClientError
from edgewise.net.http_response_head import ResponseHead


class Ticket(Protocol):
    """What stands for one sending: an `Attempt`, or anything else with these.

    Attributes:
        carrier: set to what cancels it while it is under way, None afterwards.
        sent_s: when it was to be sent.
    """

    carrier: Any
    sent_s: float


class Sink(Protocol):
    """Who takes an answer piece by piece."""

    def piece(self, piece: bytes | bytearray) -> None:
        """The next piece."""
        ...

    def ended(self) -> None:
        """The last piece was given."""
        ...

    def broke(self, error: HttpClientError) -> None:
        """There will be no end."""
        ...


class StreamingCall(Protocol):
    """A call that may want a long answer before it is whole."""

    def answer_begins(self, ticket: Any, head: ResponseHead, source: Any) -> Sink | None:
        """The head of a long answer is there.

        Args:
            source: has `pause`, `resume` and `cancel`.
        Returns: who takes the pieces; nothing more is told to the call then. None to be given the answer when it is whole.
        """
        ...


class UpstreamCall(Protocol):
    """Who has something sent, and what it is told; never from within `HttpUpstream.send`."""

    def sent(self, ticket: Any) -> None:
        """The bytes had to wait for a connection; they have left now. Not called when they left at once."""
        ...

    def bytes_came(self, ticket: Any) -> None:
        """Some bytes of the answer came and it is not whole yet."""
        ...

    def site_answered(self, ticket: Any, head: ResponseHead, body: bytes | bytearray) -> None:
        """The answer is whole.

        Args:
            head: the very same object while the site repeats itself; read only.
        """
        ...

    def failed(self, ticket: Any, failure: Failure, error: HttpClientError) -> None:
        """There will be no answer."""
        ...
