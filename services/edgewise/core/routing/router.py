"""The router: events in, instructions out.

    router = Router(sites, now_s=now_s, draws=random.random)
    for instruction in router.arrived(request, now_s): ...

It reads no clock and opens no socket. Whoever carries the instructions out tells it what came of them, and calls `tick`
no later than `wake_s`. One event is handled at a time; the instructions of a list are carried out in its order.

It stands on three layers, one on the other: `dispatch` finds a site, `endings` brings a request to its end, `waiting` looks
after what takes long. Beside them, `watch` moves the links.

What holds at any time (`validate_state` checks it): a request is in exactly one of these: over, in flight, waiting for
room; a request that may not run twice has been seen by one site at most; no link has more in flight than its limit allows.
"""

from collections.abc import Callable, Sequence
from typing import Final

from edgewise.core.errors import DeadlineExceededError
from edgewise.core.routing.calls import (
    Answer,
    Attempt,
    Failure,
    Instruction,
    Outcome,
    Probe,
    Reason,
    Request,
    SiteSpec,
    Warm,
)
from edgewise.core.routing.endings import degraded
from edgewise.core.routing.evidence import Evidence
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import LinkEvent, LinkState
from edgewise.core.routing.routes import RouteKind
from edgewise.core.routing.settings import RouterSettings
from edgewise.core.routing.state_check import check_links, check_requests
from edgewise.core.routing.waiting import Waiting
from edgewise.core.routing.watch import LinkWatch

_UP: Final = LinkState.UP
_RAMP: Final = LinkState.RAMP
_FIRST: Final = Reason.FIRST
_OK: Final = Outcome.OK
_NEVER_S: Final = float("inf")
_FIRST_CONNECTIONS: Final = 4


class Router(Waiting):
    """Decides for all requests of one gateway.

    Args:
        sites: in the order of preference within a tier.
        now_s: monotonic.
        settings: floors, ratios and counts.
        draws: uniform in [0, 1), for weights, endpoints and jitter.

    Attributes:
        links: by name of the site or endpoint.
        wake_s: when `tick` is to be called next; infinity when nothing is to come.
    """

    def __init__(
        self,
        sites: Sequence[SiteSpec],
        *,
        now_s: float,
        draws: Callable[[], float],
        settings: RouterSettings | None = None,
    ) -> None:
        super().__init__(sites, now_s=now_s, draws=draws, settings=settings or RouterSettings())
        self.wake_s = now_s
        self._stall_s = self.settings.stall_s
        self._watch = LinkWatch(self.settings, self, draws)
        self._evidence = Evidence(self.settings, self, self._watch)
        self._leaving: list[Link] = []
        self._draining = False

    # --- requests ---

    def arrived(self, request: Request, now_s: float) -> list[Instruction]:
        """A request wants an answer."""
        self._number += 1
        request.key = self._number
        order = self._orders.get(request.route.kind)
        if order is None:
            order = self._order(request, now_s)
        request.order = order
        hedges = self._hedges.get(request.model) or self._budget(request)
        hedges.request_seen()
        self._retries.request_seen(now_s)
        self._fresh.append(request)
        wake_s = now_s + self._grain_s
        if wake_s < self.wake_s:  # noqa: PLR1730 - min() would cost each request a call
            self.wake_s = wake_s
        if order:
            link = order[0]
            if (
                link.state is _UP
                and not link.queue
                and len(link.in_flight) < link.limiter.limit
                and request.model not in link.missing
            ):
                path = link.path(request.model, request.size_class)
                if path.least_s < request.deadline_s - now_s:
                    return [self._attempt_on(path, request, link, _FIRST, now_s)]
        out: list[Instruction] = []
        if now_s >= request.deadline_s:
            self._reject(request, DeadlineExceededError("the deadline had passed when the request arrived"), out)
        elif not self._dispatch(request, _FIRST, now_s, out):
            self._reject(request, self._why_not(request, now_s), out)
        return out

    @staticmethod
    def waits(attempt: Attempt) -> None:
        """The bytes of an attempt wait for a connection; `sent` follows, or `failed`. Told while `Send` is carried out."""
        attempt.unsent = True

    def sent(self, attempt: Attempt, now_s: float) -> list[Instruction]:
        """The bytes of an attempt left only now, since they had to wait for a connection."""
        link = attempt.link
        attempt.unsent = False
        if attempt.open and link.in_flight.pop(attempt, attempt) is None:
            # Setting up the connection was no part of the answer's time. In order of sending it is the last one now.
            attempt.sent_s = now_s
            link.in_flight[attempt] = None
            link.last_heard_s = now_s
        return []

    def bytes_came(self, attempt: Attempt, now_s: float) -> list[Instruction]:
        """Some bytes of an answer that is not whole yet."""
        if attempt.open:
            attempt.link.last_heard_s = now_s
        return []

    def answered(
        self,
        attempt: Attempt,
        outcome: Outcome,
        now_s: float,
        *,
        queue_depth: int | None = None,
        retry_after_s: float | None = None,
    ) -> list[Instruction]:
        """A whole answer came.

        Args:
            attempt: with `answer` and `confidence` set.
            outcome: what it means.
            now_s: monotonic.
            queue_depth: requests that the site says are waiting there.
            retry_after_s: when the site says that it has room again.
        """
        if not attempt.open:
            return []
        link = attempt.link
        request = attempt.request
        size_class = request.size_class
        in_flight = len(link.in_flight)
        attempt.open = False
        del link.in_flight[attempt]
        link.in_flight_of_class[size_class] -= 1
        seconds = now_s - attempt.sent_s
        if now_s - link.answered_s[size_class] > self.settings.overdue_floor_s and link.state is _UP and in_flight > 1:
            link.heard_after_silence(size_class, now_s)
        link.last_heard_s = link.answered_s[size_class] = now_s
        if link.queue:
            link.drained += 1
        if queue_depth is not None:
            link.queue_depth = queue_depth
        if outcome is _OK:
            link.limiter.answered(seconds, in_flight, now_s)
            link.errors = link.resets = 0
            # While the caller is late, answers have waited to be read, and their times are its own.
            if now_s - self.wake_s < self._stall_s and attempt.path.record(seconds, now_s):
                link.slow = link.slow or attempt.path
            if link.state is _UP and not link.queue and not request.done and len(request.running) == 1:
                running = request.running
                if running[0] is attempt and request.kept is None and request.route.kind is not RouteKind.CASCADE:
                    running.clear()
                    request.done = True
                    if link is not request.order[0]:
                        request.degraded = degraded(attempt)
                    return [Answer(request, attempt)]
        return self._answered_otherwise(attempt, outcome, now_s, retry_after_s)

    def _answered_otherwise(
        self, attempt: Attempt, outcome: Outcome, now_s: float, retry_after_s: float | None
    ) -> list[Instruction]:
        """Everything but a good answer, from a link that is up, to a request with one attempt."""
        out: list[Instruction] = []
        link = attempt.link
        request = attempt.request
        if outcome is Outcome.EXPIRED and 2.0 * (request.deadline_s - now_s) > request.deadline_s - request.arrived_s:
            # It was not the request's own time that ran out there.
            outcome = Outcome.SITE_ERROR
        if not attempt.wanted:
            link.witnesses -= 1
        if not request.done:
            request.running.remove(attempt)
            if outcome is _OK:
                if not self._asks_further(attempt, now_s, out):
                    self._answer_with(attempt, now_s, out)
            elif outcome is Outcome.EXPIRED:
                request.seen = True
                self._keep(attempt, outcome)
                if not request.running and request.queued_at is None:
                    self._answer_with(attempt, now_s, out)
            else:
                self._refused(attempt, outcome, now_s, out, retry_after_s)
        self._evidence.answered(link, outcome, retry_after_s, now_s, out)
        if link.state is not _UP:
            self._watch.answered(link, request.size_class, now_s, out, good=outcome is _OK)
        self._fill(link, now_s, out)
        self._wake_at(now_s + self._grain_s)
        return out

    def failed(self, attempt: Attempt, failure: Failure, now_s: float) -> list[Instruction]:
        """An attempt ended without an answer."""
        if not attempt.open:
            return []
        out: list[Instruction] = []
        link = attempt.link
        request = attempt.request
        self._close(attempt)
        if failure is not Failure.CONNECT and failure is not Failure.POOL:
            request.seen = True
        if not request.done:
            request.running.remove(attempt)
        if failure is not Failure.POOL:
            self._evidence.broken(link, failure, now_s, out)
        if not request.done and not request.running and request.queued_at is None:
            self._resend(request, attempt, failure, now_s, out)
        self._fill(link, now_s, out)
        return out

    def cancelled(self, request: Request, now_s: float) -> list[Instruction]:
        """The app went away."""
        out: list[Instruction] = []
        if not request.done:
            request.done = True
            self._drop_running(request, None, out, now_s)
        return out

    # --- links ---

    def start(self, now_s: float) -> list[Instruction]:
        """Begin: the first probes, and connections for the first requests."""
        out: list[Instruction] = []
        for link in self.links.values():
            out.append(Warm(link, _FIRST_CONNECTIONS))
            self._watch.probe(link, 0, now_s, out, fresh=False)
        return out

    def probe_answered(self, probe: Probe, now_s: float, *, ready: bool = True) -> list[Instruction]:
        """A probe was answered; `ready` as the site says of itself."""
        out: list[Instruction] = []
        if probe.open:
            probe.open = False
            probe.link.probes.pop(probe, None)
            self._watch.probe_answered(probe, now_s, out, ready=ready)
            self._wake_at(now_s + self._grain_s)
        return out

    def probe_failed(self, probe: Probe, now_s: float, *, refused: bool = False) -> list[Instruction]:
        """A probe found nobody, or nothing came of it in its time."""
        out: list[Instruction] = []
        if probe.open:
            probe.open = False
            probe.link.probes.pop(probe, None)
            self._watch.probe_failed(probe, now_s, out, refused=refused)
            self._wake_at(now_s + self._grain_s)
        return out

    def told(self, site: str, state: str, now_s: float) -> list[Instruction]:
        """Another process of this gateway saw the link to a site change."""
        out: list[Instruction] = []
        link = self.links.get(site)
        if link is not None:
            if link.state is _UP and state in {LinkState.SUSPECT, LinkState.DOWN}:
                link.cause_class = 0
                self._watch.move(link, LinkEvent.OVERDUE, "another worker lost it", now_s, out)
            elif link.state is LinkState.DOWN and state in {LinkState.PROBING, LinkState.RAMP, LinkState.UP}:
                link.next_probe_s = now_s
            self._wake_at(now_s + self._grain_s)
        return out

    def drain(self, now_s: float) -> list[Instruction]:
        """Stop asking links; requests in flight finish."""
        self._draining = True
        self._wake_at(now_s + self._grain_s)
        return []

    def reconfigure(self, sites: Sequence[SiteSpec], now_s: float) -> list[Instruction]:
        """Exchange the sites and endpoints.

        Links that stay keep what is known of them. Those that go finish what they have, and get nothing new: what waits there
        goes elsewhere, and requests that are in flight know the new ones from now on. One that comes back before it has finished
        is the same link. One that joins a site begins with what the site's others are known for.
        """
        out: list[Instruction] = []
        before, self.links = self.links, {}
        leaving = {link.name: link for link in self._leaving}
        everything = [*self._leaving, *before.values()]
        for spec in sites:
            link = before.get(spec.name) or leaving.get(spec.name)
            if link is None or link.tier != spec.tier:
                link = Link(spec, self.settings, now_s)
                link.learn_from(everything)
                out.append(Warm(link, _FIRST_CONNECTIONS))
                self._watch.probe(link, 0, now_s, out, fresh=False)
            link.respecify(spec)
            self.links[spec.name] = link
        staying = set(self.links.values())
        self._leaving = [link for link in everything if link not in staying]
        for link in everything:
            link.left = link not in staying
        self._arrange()
        self._keep_hedges()
        for link in everything:
            self._order_again(link, now_s)
        for link in self._leaving:
            link.peers = ()
            self.move_queue(link, now_s, out)
        self._wake_at(now_s + self._grain_s)
        return out

    # --- time ---

    def tick(self, now_s: float) -> list[Instruction]:
        """Time has passed."""
        out: list[Instruction] = []
        late_s = now_s - self.wake_s
        if late_s > self._stall_s:
            # The caller was away, or its clock jumped: what came meanwhile it has not read yet.
            for link in self._all_links():
                link.forgive(late_s, now_s)
        self.wake_s = _NEVER_S
        self._look_at_requests(now_s, out)
        busy = False
        for link in self._all_links():
            self._look_at_link(link, now_s, out)
            busy = busy or bool(link.in_flight) or bool(link.queue)
        if self._spreads and not self._draining:
            for site in self.sites:
                self._watch.watch_site(site.links, now_s, out)
        self._retire()
        if busy or self._fresh or out:
            self._wake_at(now_s + self._grain_s)
        else:
            next_s = self._timers[0][0] if self._timers else _NEVER_S
            if not self._draining:
                for link in self.links.values():
                    next_s = min(next_s, link.next_look_s(now_s))
            self._wake_at(max(next_s, now_s + self._grain_s))
        return out

    def _look_at_link(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        if link.witnesses:
            self._drop_old_witnesses(link, now_s, out)
        if not self._draining:
            self._watch.watch(link, now_s, out)
        if link.in_flight and (link.state is LinkState.DOWN or link.state is LinkState.PROBING):
            self.end_kept(link, now_s, out)
        if link.queue:
            self._fill(link, now_s, out)
            self._move_waiting(link, now_s, out)
            self._drop_expired(link, now_s, out)

    def _wake_at(self, when_s: float) -> None:
        self.wake_s = min(self.wake_s, when_s)

    def _all_links(self) -> list[Link]:
        return [*self.links.values(), *self._leaving]

    def _retire(self) -> None:
        if self._leaving:
            self._leaving = [link for link in self._leaving if link.in_flight or link.queue]

    def validate_state(self, now_s: float) -> None:
        """Check what has to hold between events; for tests.

        Raises: AssertionError: it does not hold.
        """
        check_links(self._all_links())
        for link in self._all_links():
            if link.in_flight or link.queue:
                assert self.wake_s <= now_s + self._grain_s, f"nobody looks after what is at {link.name}"  # noqa: S101

    def validate_requests(self) -> None:
        """Check that each request that is not over will end; for tests, and slower than `validate_state`.

        Raises: AssertionError: one was forgotten.
        """
        check_requests(self._all_links(), [*self._fresh, *(request for _, _, request in self._timers)])
