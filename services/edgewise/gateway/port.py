"""What the rooms of the gateway ask of each other.

    app ─▶ door (REST, gRPC) ─▶ Request(context=AppCall) ─▶ Carrier.arrived ─▶ Router
                                                             Carrier carries out: Send   ─▶ AppCall.send ─▶ Upstream
                                                                                  Answer ─▶ AppCall.answer
                                                                                  Reject ─▶ AppCall.reject

The doors know their protocol towards the app and towards the site; the carrier and the router know neither.
"""

from typing import TYPE_CHECKING, Protocol

from edgewise.core.errors import EdgewiseError
from edgewise.core.routing.calls import Attempt

if TYPE_CHECKING:
    from edgewise.gateway.site import Site


class AppCall(Protocol):
    """One call of an app, of any protocol; `Request.context` holds it.

    The door that makes it tells the carrier when it arrives and when the app goes away.
    """

    def send(self, attempt: Attempt, site: "Site") -> None:
        """Put the call on the wire to the site.

        Sets `attempt.carrier` to something with `cancel()`. What comes of it is told to the carrier, never from within this call:
        `carrier.sent` (only when the bytes had to wait for a connection), `carrier.bytes_came`, and once
        `carrier.answered` (with `attempt.answer` and `attempt.confidence` set) or `carrier.failed`.

        The remaining budget (`x-edgewise-deadline-ms`) and `x-request-id` travel along.
        """
        ...

    def answer(self, attempt: Attempt) -> None:
        """Give the app `attempt.answer`, with what it says of who answered (`answer_fields.py`).

        Raises: EdgewiseError: there is no such answer any more; the carrier rejects with this.
        """
        ...

    def reject(self, error: EdgewiseError) -> None:
        """Tell the app why there is no answer, in its protocol's words."""
        ...


class Cancellable(Protocol):
    """What `Attempt.carrier` holds."""

    def cancel(self) -> None:
        """Take it off the wire; nothing is told of it afterwards."""
        ...
