"""Carries out what the router decides, and tells it what comes of it.

    doors, upstreams ──event──► Carrier ──► Router ──instructions──► Carrier ──► calls of apps, sites

Every event goes to the router at once. Instructions are carried out in the order in which they were given, also when
carrying one out is itself an event: what it brings about waits its turn. One timer serves every request.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from edgewise.core.errors import EdgewiseError, InternalError, UnavailableError
from edgewise.core.routing.calls import (
    Answer,
    Attempt,
    Cancel,
    CloseConnections,
    Failure,
    Instruction,
    LinkChanged,
    Outcome,
    Probe,
    Reject,
    Request,
    Send,
    SendProbe,
    SiteSpec,
    Warm,
)
from edgewise.core.routing.routes import RouteKind

if TYPE_CHECKING:
    from edgewise.core.routing.router import Router
    from edgewise.gateway.canaries import InForce
    from edgewise.gateway.site import Site

_LOG: Final = logging.getLogger(__name__)
_NEVER_S: Final = float("inf")
_MIN_PAUSE_S: Final = 0.001
_AWAY: Final = "no model server can be reached now; try again later"
_AWAY_RETRY_S: Final = 1.0


class CarrierHooks(Protocol):
    """Who counts what happens. Called on the hot path: quick, and without raising."""

    def received(self) -> None:
        """A request arrived."""
        ...

    def attempted(self, attempt: Attempt) -> None:
        """An attempt is being handed to its site."""
        ...

    def attempt_answered(self, attempt: Attempt, outcome: Outcome) -> None:
        """A site's answer is whole, whether somebody waits for it or not."""
        ...

    def attempt_failed(self, attempt: Attempt, failure: Failure) -> None:
        """An attempt ended without an answer."""
        ...

    def attempt_cancelled(self, attempt: Attempt) -> None:
        """An attempt was taken off the wire."""
        ...

    def answered(self, request: Request, attempt: Attempt, outcome: Outcome, answered_s: float) -> None:
        """A request was given the answer of this attempt, which meant `outcome` and was whole at `answered_s`."""
        ...

    def rejected(self, request: Request, error: EdgewiseError) -> None:
        """A request was given an error of the gateway's own."""
        ...

    def cancelled(self, request: Request) -> None:
        """A request's app went away."""
        ...

    def link_changed(self, change: LinkChanged) -> None:
        """A link went from one state to another."""
        ...


class NoHooks:
    """Counts nothing."""

    def received(self) -> None:
        """See `CarrierHooks`."""

    def attempted(self, attempt: Attempt) -> None:
        """See `CarrierHooks`."""

    def attempt_answered(self, attempt: Attempt, outcome: Outcome) -> None:
        """See `CarrierHooks`."""

    def attempt_failed(self, attempt: Attempt, failure: Failure) -> None:
        """See `CarrierHooks`."""

    def attempt_cancelled(self, attempt: Attempt) -> None:
        """See `CarrierHooks`."""

    def answered(self, request: Request, attempt: Attempt, outcome: Outcome, answered_s: float) -> None:
        """See `CarrierHooks`."""

    def rejected(self, request: Request, error: EdgewiseError) -> None:
        """See `CarrierHooks`."""

    def cancelled(self, request: Request) -> None:
        """See `CarrierHooks`."""

    def link_changed(self, change: LinkChanged) -> None:
        """See `CarrierHooks`."""


class Carrier:
    """Stands between the router and everything with sockets. Used on the event loop's thread only.

    Attributes:
        router: decides.
        sites: by name, at least those that the router knows.
        hooks: counts.
        canaries: that divide requests now; None without any.
        absent_tiers: of sites that have no endpoint now, so that the router does not know them.
    """

    def __init__(
        self,
        router: "Router",
        sites: Mapping[str, "Site"],
        *,
        loop: asyncio.AbstractEventLoop,
        hooks: CarrierHooks | None = None,
    ) -> None:
        self.router = router
        self.sites = dict(sites)
        self.canaries: InForce | None = None
        self.absent_tiers: frozenset[str] = frozenset()
        self.hooks: CarrierHooks = hooks if hooks is not None else NoHooks()
        # Looked up once: these are called for each request.
        self._received = self.hooks.received
        self._attempted = self.hooks.attempted
        self._loop = loop
        self._carrying = False
        self._queue: deque[Instruction] = deque()
        # What the answer that came last meant, and when that was; and the same of answers that were not given at once.
        self._latest_outcome = Outcome.OK
        self._latest_s = 0.0
        self._held: dict[Request, dict[Attempt, tuple[Outcome, float]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = _NEVER_S
        self._closed = False

    # --- life ---

    def start(self) -> None:
        """Begin to probe."""
        self._carry_out(self.router.start(monotonic()))

    def drain(self) -> None:
        """Stop probing; requests in flight go on."""
        self._carry_out(self.router.drain(monotonic()))

    def reconfigure(self, sites: Mapping[str, "Site"], specs: Sequence[SiteSpec]) -> None:
        """Take over another set of sites; links that stay keep their state.

        Sites that are no longer there answer what is in flight; `forget` them once they are closed.
        """
        self.sites = {**self.sites, **sites}
        self._carry_out(self.router.reconfigure(specs, monotonic()))

    def forget(self, site: "Site") -> None:
        """A site that is no longer configured has been closed."""
        if self.sites.get(site.name) is site:
            del self.sites[site.name]

    def close(self) -> None:
        """Stop the timer; nothing is carried out after this."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- events ---

    def arrived(self, request: Request) -> None:
        """An app asks; `request.context` is its `AppCall`."""
        self._received()
        self._carry_out(self.router.arrived(request, monotonic()))

    def cancelled(self, request: Request) -> None:
        """The app went away."""
        if not request.done:
            self.hooks.cancelled(request)
            self._held.pop(request, None)
            self._carry_out(self.router.cancelled(request, monotonic()))

    def sent(self, attempt: Attempt) -> None:
        """The bytes had to wait for a connection; they have left now."""
        self._carry_out(self.router.sent(attempt, monotonic()))

    def bytes_came(self, attempt: Attempt) -> None:
        """Bytes of an answer that is not whole yet came."""
        self._carry_out(self.router.bytes_came(attempt, monotonic()))

    def answered(
        self,
        attempt: Attempt,
        outcome: Outcome,
        *,
        queue_depth: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """The site's answer is whole; `attempt.answer` and `attempt.confidence` are set.

        Args:
            outcome: what it means for routing.
            queue_depth: what the site says of its queue.
            retry_after_s: when the site wants to be asked again.
        """
        now_s = monotonic()
        self.hooks.attempt_answered(attempt, outcome)
        instructions = self.router.answered(
            attempt, outcome, now_s, queue_depth=queue_depth, retry_after_s=retry_after_s
        )
        self._latest_outcome = outcome
        self._latest_s = now_s
        if not attempt.request.done or (self._carrying and _answers(instructions, attempt.request)):
            # The answer may be given later: when no better one comes, or when it is its turn.
            self._held.setdefault(attempt.request, {})[attempt] = (outcome, now_s)
        self._carry_out(instructions)

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        """The attempt ended without an answer."""
        self.hooks.attempt_failed(attempt, failure)
        self._carry_out(self.router.failed(attempt, failure, monotonic()))

    def probe_answered(self, probe: Probe, *, ready: bool = True) -> None:
        """A site answered a probe."""
        self._carry_out(self.router.probe_answered(probe, monotonic(), ready=ready))

    def probe_failed(self, probe: Probe, *, refused: bool = False) -> None:
        """A probe got no answer."""
        self._carry_out(self.router.probe_failed(probe, monotonic(), refused=refused))

    def told(self, site: str, state: str) -> None:
        """A sibling process saw this link change."""
        self._carry_out(self.router.told(site, state, monotonic()))

    # --- instructions ---

    def _carry_out(self, instructions: list[Instruction]) -> None:
        queue = self._queue
        if self._carrying:
            queue.extend(instructions)
            return
        self._carrying = True
        try:
            for instruction in instructions:
                self._carry_out_one(instruction)
            while queue:
                self._carry_out_one(queue.popleft())
        finally:
            self._carrying = False
        if self.router.wake_s < self._timer_s:
            self._arm()

    def _carry_out_one(self, instruction: Instruction) -> None:
        try:
            if type(instruction) is Send:
                attempt = instruction.attempt
                self._attempted(attempt)
                attempt.request.context.send(attempt, self.sites[attempt.link.name])
            elif type(instruction) is Answer:
                self._answer(instruction.request, instruction.attempt)
            else:
                self._carry_out_rare(instruction)
        except Exception:  # noqa: BLE001 - one call's fault must not keep the others from what was decided
            _LOG.exception("carrying out %s failed", type(instruction).__name__)
            self._recover(instruction)

    def _answer(self, request: Request, attempt: Attempt) -> None:
        outcome, answered_s = self._latest_outcome, self._latest_s
        if self._held:
            held = self._held.pop(request, None)
            if held is not None and attempt in held:
                outcome, answered_s = held[attempt]
        call = request.context
        if call is None:
            # The app went away while this waited for its turn.
            self.hooks.cancelled(request)
            return
        try:
            call.answer(attempt)
        except EdgewiseError as error:
            self._reject(request, error)
            return
        self.hooks.answered(request, attempt, outcome, answered_s)

    def _reject(self, request: Request, error: EdgewiseError) -> None:
        call = request.context
        if call is None:
            self.hooks.cancelled(request)
            return
        self.hooks.rejected(request, error)
        call.reject(error)

    def _carry_out_rare(self, instruction: Instruction) -> None:
        match instruction:
            case Cancel(attempt=attempt):
                if attempt.carrier is not None:
                    attempt.carrier.cancel()
                    attempt.carrier = None
                self.hooks.attempt_cancelled(attempt)
            case Reject(request=request, error=error):
                self._held.pop(request, None)
                if not request.order and self._waits_for_site(request):
                    # The router was told of no such site, and yet there is one.
                    error = UnavailableError(_AWAY, retry_after_s=_AWAY_RETRY_S)
                self._reject(request, error)
            case SendProbe(probe=probe):
                self._send_probe(probe)
            case CloseConnections(link=link):
                site = self.sites.get(link.name)
                if site is not None:  # its site may have been taken away
                    site.close_connections()
            case Warm(link=link, connections=connections):
                self.sites[link.name].warm(
                    connections,
                    instruction.payload_bytes,
                    at_once=instruction.at_once,
                    lasts_s=instruction.lasts_s,
                )
            case LinkChanged(link=link, before=before, after=after, why=why):
                _LOG.info("link %s: %s -> %s: %s", link.name, before, after, why)
                self.hooks.link_changed(instruction)
            case _:
                raise TypeError(f"no such instruction: {instruction!r}")

    def _send_probe(self, probe: Probe) -> None:
        if (site := self.sites.get(probe.link.name)) is not None:
            site.send_probe(probe, self)
        else:
            # A link that has left is in doubt when its last connections are dropped.
            self._loop.call_soon(self.probe_failed, probe)

    def _waits_for_site(self, request: Request) -> bool:
        """Whether a site that has no endpoint now could answer by the request's route."""
        kind = request.route.kind
        if kind is RouteKind.CLOUD_ONLY:
            return "cloud" in self.absent_tiers
        if kind is RouteKind.EDGE_ONLY:
            return "edge" in self.absent_tiers
        return bool(self.absent_tiers)

    def _recover(self, instruction: Instruction) -> None:
        """What could not be carried out must still end.

        Each request ends in an answer and is counted once, each attempt and probe in an event.
        """
        if isinstance(instruction, Send):
            self._loop.call_soon(self.failed, instruction.attempt, Failure.PROTOCOL)
        elif isinstance(instruction, SendProbe):
            self._loop.call_soon(self.probe_failed, instruction.probe)
        elif isinstance(instruction, Answer):
            request = instruction.request
            if request.context is None:
                # The app has the answer; what failed came after that.
                self.hooks.answered(request, instruction.attempt, self._latest_outcome, self._latest_s)
                return
            try:
                self._reject(
                    request, InternalError("the answer could not be passed on because of a fault in the gateway")
                )
            except Exception:  # noqa: BLE001 - there is nothing left to try
                _LOG.exception("refusing the request failed as well")

    # --- the timer ---

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_s = wake_s = self.router.wake_s
        if wake_s < _NEVER_S and not self._closed:
            self._timer = self._loop.call_later(max(_MIN_PAUSE_S, wake_s - monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._timer_s = _NEVER_S
        self._carry_out(self.router.tick(monotonic()))


def _answers(instructions: Sequence[Instruction], request: Request) -> bool:
    """Whether one of them gives this request its answer."""
    return any(type(one) is Answer and one.request is request for one in instructions)
