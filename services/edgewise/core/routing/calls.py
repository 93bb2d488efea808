"""What the router and whoever carries out its instructions share: requests, attempts, probes, and how they end."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final

from edgewise.core.errors import EdgewiseError

if TYPE_CHECKING:
    from edgewise.core.routing.link import Link
    from edgewise.core.routing.path import Path
    from edgewise.core.routing.routes import Route

NO_DEADLINE_S: Final = float("inf")
# Classes by powers of four: below 1 kB, 4 kB, 16 kB, ... and from 16 MB on.
_LARGEST_CLASS_BYTES: Final = 1 << 24
SIZE_CLASSES: Final = 9


class Reason(StrEnum):
    """Why an attempt is made."""

    FIRST = "first"
    HEDGE = "hedge"  # the answer is slow
    RESCUE = "rescue"  # the link is lost
    RETRY = "retry"  # the site said that it could not answer
    RAMP = "ramp"  # beside a request that tries a link that was lost
    CASCADE = "cascade"  # the first answer was not sure enough


class Outcome(IntEnum):
    """What an answer of a site means for routing."""

    OK = 0  # an answer, or the client's own mistake: the app gets it
    NOT_SERVED = 1  # the site does not have this model, version or method
    OVERLOADED = 2  # 429, 503: the site has no room now
    SITE_ERROR = 3  # 500, 502 and the like: the site is at fault
    EXPIRED = 4  # 504: the site ran out of the budget that travelled with the request


class Failure(StrEnum):
    """Why an attempt ended without an answer."""

    CONNECT = "connect"  # no connection: the site has seen nothing of the request
    LOST = "lost"  # the connection broke after something of the request may have arrived
    PROTOCOL = "protocol"  # what came was no answer of the protocol
    POOL = "pool"  # no connection was free: nothing was sent, and nothing is wrong with the link


class Request:
    """One prediction on its way.

    Args:
        model: its name, "" where it is not known; latencies are learned for each.
        route: the rule that decides where it may go.
        arrived_s: when its head was complete.
        deadline_s: when nobody waits any more; NO_DEADLINE_S for never.
        size_bytes: of the body.
        idempotent: running it twice does no harm; False is never sent to two sites.
        pinned: it asks for a version or label of the model; that a site does not have it says nothing of the model.
        context: the carrier's own; the router does not look at it.

    Attributes:
        attempts: how many were made.
        running: those in flight.
        done: it has been answered, rejected or cancelled.
        degraded: why the answer is not what the route prefers, "" when it is.
    """

    __slots__ = (
        "arrived_s",
        "attempts",
        "context",
        "deadline_s",
        "degraded",
        "done",
        "hedged",
        "idempotent",
        "kept",
        "kept_outcome",
        "key",
        "missing_at",
        "model",
        "order",
        "pinned",
        "queued_at",
        "route",
        "running",
        "seen",
        "size_bytes",
        "size_class",
        "tried",
    )

    def __init__(
        self,
        model: str,
        route: "Route",
        *,
        arrived_s: float,
        deadline_s: float = NO_DEADLINE_S,
        size_bytes: int = 0,
        idempotent: bool = True,
        pinned: bool = False,
        context: Any = None,
    ) -> None:
        self.model = model
        self.route = route
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.size_bytes = size_bytes
        self.idempotent = idempotent
        self.pinned = pinned
        self.context = context
        self.attempts = 0
        self.running: list[Attempt] = []
        self.done = False
        self.degraded = ""
        # The router's own. `size_class`: sizes of a class behave alike. `order`: links in the order of the route. `tried`:
        # where it has been. `seen`: some site may have run it. `kept`: an answer in case no better one comes. `missing_at`: did not
        # have the model.
        self.key = 0
        self.size_class = ((size_bytes >> 10).bit_length() + 1) >> 1 if size_bytes < _LARGEST_CLASS_BYTES else 8
        self.order: tuple[Link, ...] = ()
        self.tried: tuple[Link, ...] = ()
        self.queued_at: Link | None = None
        self.seen = False
        self.hedged = False
        self.kept: Attempt | None = None
        self.kept_outcome = Outcome.OK
        self.missing_at: Link | None = None


class Attempt:
    """One try of one request at one site.

    Attributes:
        link: where; its `name` and `tier` say which site that is.
        path: what is known of this model and size on that link.
        number: 1 for the first of its request.
        sent_s: when the instruction to send was given, or `Router.sent` was told.
        open: in flight as far as the router knows.
        wanted: somebody waits for its answer; a slow one that was hedged may be left to finish so that its time is learned.
        unsent: no byte of it has left, since it waits for a connection: it may go elsewhere even when it may not run twice.
        uploading: the app is still sending the request through; how long that takes says nothing of the site. The carrier
            sets it before it sends, and calls `Router.sent` at the end.
        carrier: the carrier's own: the connection it runs on.
        answer: the carrier's own: the answer once it came.
        confidence: what the site said of its answer, None when nothing.
    """

    __slots__ = (
        "answer",
        "carrier",
        "confidence",
        "link",
        "number",
        "open",
        "path",
        "reason",
        "request",
        "sent_s",
        "unsent",
        "uploading",
        "wanted",
    )

    def __init__(  # noqa: PLR0917 - once an attempt
        self, request: Request, link: "Link", path: "Path", number: int, reason: Reason, sent_s: float
    ) -> None:
        self.request = request
        self.link = link
        self.number = number
        self.reason = reason
        self.sent_s = sent_s
        self.open = True
        self.wanted = True
        self.unsent = False
        self.uploading = False
        self.path = path
        self.carrier: Any = None
        self.answer: Any = None
        self.confidence: float | None = None


class Probe:
    """One question to a site that is asked for the link's sake alone.

    Attributes:
        payload_bytes: how large question and answer should be; 0 asks for the smallest.
        timeout_s: the carrier gives it up then and says `probe_failed`.
        fresh: on a connection of its own, since old ones may be dead.
    """

    __slots__ = ("fresh", "link", "open", "payload_bytes", "sent_s", "timeout_s")

    def __init__(self, link: "Link", *, sent_s: float, payload_bytes: int, timeout_s: float, fresh: bool) -> None:
        self.link = link
        self.sent_s = sent_s
        self.payload_bytes = payload_bytes
        self.timeout_s = timeout_s
        self.fresh = fresh
        self.open = True


# Instructions: what the router wants done, in the order of the list it returns.


class Send:
    """Send the request to the attempt's site. Afterwards: `answered` or `failed`, unless it is cancelled before."""

    __slots__ = ("attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt


class Cancel:
    """Nobody needs the attempt any more: take it from the wire so that the site need not run it. No event follows."""

    __slots__ = ("attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt


class Answer:
    """Give the app this attempt's answer. The request is over."""

    __slots__ = ("attempt", "request")

    def __init__(self, request: Request, attempt: Attempt) -> None:
        self.request = request
        self.attempt = attempt


class Reject:
    """Tell the app that there is no answer, and why. The request is over."""

    __slots__ = ("error", "request")

    def __init__(self, request: Request, error: EdgewiseError) -> None:
        self.request = request
        self.error = error


class SendProbe:
    """Ask the site. Afterwards: `probe_answered` or `probe_failed`."""

    __slots__ = ("probe",)

    def __init__(self, probe: Probe) -> None:
        self.probe = probe


class CloseConnections:
    """The link is down: drop the connections to the site, so that what lies unsent in them is never run.

    Attempts that are given up were cancelled by instructions before this one. A connection that carries an attempt
    which is still open stays: nobody else can answer that request.
    """

    __slots__ = ("link",)

    def __init__(self, link: "Link") -> None:
        self.link = link


class Warm:
    """Have at least so many connections to the site, so that requests to come need not wait for them. No event follows.

    Attributes:
        connections: so many, those in use included.
        payload_bytes: each of them can send a request of this size at once, without waiting for the network in between;
            0 where being open is enough.
        at_once: so many of them are used from now on. The others are kept ready.
        lasts_s: how long a connection that is not used has to stay fit for `payload_bytes`.
    """

    __slots__ = ("at_once", "connections", "lasts_s", "link", "payload_bytes")

    def __init__(
        self, link: "Link", connections: int, *, payload_bytes: int = 0, at_once: int = 0, lasts_s: float = 0.0
    ) -> None:
        self.link = link
        self.connections = connections
        self.payload_bytes = payload_bytes
        self.at_once = at_once
        self.lasts_s = lasts_s


class LinkChanged:
    """The link went from one state to another: for logs, metrics and sibling processes."""

    __slots__ = ("after", "before", "link", "now_s", "why")

    def __init__(self, link: "Link", before: str, after: str, why: str, now_s: float) -> None:
        self.link = link
        self.before = before
        self.after = after
        self.why = why
        self.now_s = now_s


Instruction = Send | Cancel | Answer | Reject | SendProbe | CloseConnections | Warm | LinkChanged


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """A site as the router knows it, or one endpoint of a site that has several.

    Attributes:
        name: unique.
        tier: "cloud" or "edge".
        max_in_flight: never more attempts at once than this; the learned limit stays under it.
        max_queue: requests that may wait for room at the site.
        probe_payload: links to it are probed with payloads of real size; any answer to one will do.
        site: whose endpoint this is, "" for a site that is one itself. Endpoints of the same site and tier are equals.
    """

    name: str
    tier: str
    max_in_flight: int = 256
    max_queue: int = 1024
    probe_payload: bool = True
    site: str = ""
