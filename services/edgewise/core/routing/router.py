"""The router: events in, instructions out.

    router = Router(sites, now_s=now_s, draws=random.random)
    for instruction in router.arrived(request, now_s): ...

It reads no clock and opens no socket. Whoever carries the instructions out tells it what came of them, and calls `tick`
no later than `wake_s`. One event is handled at a time; the instructions of a list are carried out in its order.

What holds at any time (`validate_state` checks it): a request is in exactly one of these: over, in flight, waiting for
room; a request that may not run twice has been seen by one site at most; no link has more in flight than its limit allows.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from edgewise.core.errors import DeadlineExceededError, EdgewiseError, UnavailableError
from edgewise.core.routing.budgets import HedgeBudget, RetryBudget
from edgewise.core.routing.calls import (
    Answer,
    Attempt,
    Cancel,
    Failure,
    Instruction,
    Outcome,
    Probe,
    Reason,
    Reject,
    Request,
    Send,
    SiteSpec,
    Warm,
)
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import LinkEvent, LinkState
from edgewise.core.routing.order import EDGE, by_speed, by_weight, fixed_orders
from edgewise.core.routing.routes import RouteKind
from edgewise.core.routing.settings import RouterSettings
from edgewise.core.routing.watch import LinkWatch

_UP: Final = LinkState.UP
_RAMP: Final = LinkState.RAMP
_FIRST: Final = Reason.FIRST
_OK: Final = Outcome.OK
_NEVER_S: Final = float("inf")
# Younger requests are most likely answered before anything about them has to be decided.
_FRESH_S: Final = 0.010
# A model that a site did not know is looked for elsewhere first for this long.
_MISSING_S: Final = 5.0
_MOST_MISSING: Final = 1000
# Answers take a little longer than planned, and have to be sent.
_MARGIN_S: Final = 0.005
_SURE: Final = 1.25
_STALL_GRACE_S: Final = 0.012
_LONG_STALL_S: Final = 1.0
_LONG_STALL_GRACE_S: Final = 0.05
_FIRST_CONNECTIONS: Final = 4
_OTHER_MODELS: Final = "*"

_DEGRADED: Final = {
    Reason.FIRST: "failover",
    Reason.HEDGE: "hedge",
    Reason.RESCUE: "rescue",
    Reason.RETRY: "retry",
    Reason.RAMP: "ramp",
    Reason.CASCADE: "cascade",
}


class Router:
    """Decides for all requests of one gateway.

    Args:
        sites: in the order of preference within a tier.
        now_s: monotonic.
        settings: floors, ratios and counts.
        draws: uniform in [0, 1), for weights and jitter.

    Attributes:
        links: by name of the site.
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
        self.settings = settings or RouterSettings()
        self.links: dict[str, Link] = {spec.name: Link(spec, self.settings, now_s) for spec in sites}
        self.wake_s = now_s
        self._draws = draws
        self._watch = LinkWatch(self.settings, self, draws)
        self._grain_s = self.settings.grain_s
        self._orders = fixed_orders(self.links.values())
        self._leaving: list[Link] = []
        self._number = 0
        self._fresh: deque[Request] = deque()
        self._timers: list[tuple[float, int, Request]] = []
        self._hedges: dict[str, HedgeBudget] = {}
        self._retries = RetryBudget()
        self._distrust_until_s = now_s
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
        hedges = self._hedges.get(request.model)
        if hedges is None:
            hedges = self._budget(request)
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
                and now_s < request.deadline_s
                and request.model not in link.missing
            ):
                return [self._attempt(request, link, _FIRST, now_s)]
        out: list[Instruction] = []
        if now_s >= request.deadline_s:
            self._reject(request, DeadlineExceededError("the deadline had passed when the request arrived"), out)
        elif not self._dispatch(request, _FIRST, now_s, out):
            self._reject(request, self._why_not(request, now_s), out)
        return out

    def sent(self, attempt: Attempt, now_s: float) -> list[Instruction]:
        """The bytes of an attempt left only now, since they had to wait for a connection."""
        link = attempt.link
        if attempt.open and link.in_flight.pop(attempt, attempt) is None:
            # Setting up the connection was no part of the answer's time. In order of sending it is the last one now.
            attempt.sent_s = now_s
            link.in_flight[attempt] = None
            link.last_heard_s = now_s
        return []

    def bytes_came(self, attempt: Attempt, now_s: float) -> list[Instruction]:
        """Some bytes of an answer that is not whole yet."""
        if attempt.open:
            attempt.last_byte_s = attempt.link.last_heard_s = now_s
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
        if queue_depth is not None:
            link.queue_depth = queue_depth
        if outcome is _OK:
            link.limiter.answered(seconds, in_flight, now_s)
            link.errors = link.resets = 0
            if attempt.path.record(seconds, now_s):
                link.slow = link.slow or attempt.path
            if link.state is _UP and not link.queue and not request.done and len(request.running) == 1:
                running = request.running
                if running[0] is attempt and request.kept is None and request.route.kind is not RouteKind.CASCADE:
                    running.clear()
                    request.done = True
                    if link is not request.order[0]:
                        request.degraded = _degraded(attempt)
                    return [Answer(request, attempt)]
        return self._answered_otherwise(attempt, outcome, now_s, retry_after_s)

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
            self._note_broken(link, failure, now_s, out)
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
            self._wake_at(probe.link.next_probe_s)
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

    def tick(self, now_s: float) -> list[Instruction]:
        """Time has passed."""
        out: list[Instruction] = []
        late_s = now_s - self.wake_s
        if late_s > self.settings.stall_s:
            # The caller was away: answers may have come that it has not read yet.
            grace_s = _LONG_STALL_GRACE_S if late_s > _LONG_STALL_S else _STALL_GRACE_S
            self._distrust_until_s = now_s + grace_s
        self.wake_s = _NEVER_S
        self._look_at_requests(now_s, out)
        trusted = now_s >= self._distrust_until_s
        busy = False
        for link in self._all_links():
            if link.witnesses:
                self._drop_old_witnesses(link, now_s, out)
            if not self._draining:
                self._watch.watch(link, now_s, out, trusted=trusted)
            if link.queue:
                self._fill(link, now_s, out)
                self._drop_expired(link, now_s, out)
            busy = busy or bool(link.in_flight) or bool(link.queue)
        self._retire()
        if busy or self._fresh or out:
            self._wake_at(now_s + self._grain_s)
        else:
            self._wake_at(min(self._next_probe_s(now_s), self._timers[0][0] if self._timers else _NEVER_S))
        return out

    def drain(self, now_s: float) -> list[Instruction]:
        """Stop asking links; requests in flight finish."""
        self._draining = True
        self._wake_at(now_s + self._grain_s)
        return []

    def reconfigure(self, sites: Sequence[SiteSpec], now_s: float) -> list[Instruction]:
        """Exchange the sites; links that stay keep what is known of them, those that go finish what they have."""
        out: list[Instruction] = []
        links = {}
        for spec in sites:
            link = self.links.pop(spec.name, None)
            if link is None or link.tier != spec.tier:
                if link is not None:
                    self._leaving.append(link)
                link = Link(spec, self.settings, now_s)
                out.append(Warm(link, _FIRST_CONNECTIONS))
                self._watch.probe(link, 0, now_s, out, fresh=False)
            link.respecify(spec)
            links[spec.name] = link
        left = list(self.links.values())
        self.links = links
        self._orders = fixed_orders(links.values())
        for link in left:
            self._leaving.append(link)
            self.move_queue(link, now_s, out)
        self._wake_at(now_s + self._grain_s)
        return out

    # --- what the watch asks ---

    def has_alternative(self, link: Link) -> bool:
        """Whether another link is up."""
        return any(other.state is _UP for other in self.links.values() if other is not link)

    def rescue(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Send what is in flight or queued at a link to other sites too, the most urgent first."""
        lost = [
            attempt
            for attempt in link.in_flight
            if not attempt.request.done and len(attempt.request.running) == 1 and attempt.request.queued_at is None
        ]
        lost.sort(key=lambda attempt: (attempt.request.deadline_s, attempt.request.key))
        for attempt in lost:
            request = attempt.request
            if request.kept is not None:
                self._answer_with(request.kept, now_s, out)
            elif request.idempotent:
                self._dispatch(request, Reason.RESCUE, now_s, out, last_resort=False)
        self.move_queue(link, now_s, out)

    def give_up(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Cancel what is in flight at a link, where somebody else can answer it."""
        self.rescue(link, now_s, out)
        for attempt in list(link.in_flight):
            request = attempt.request
            if request.done:
                self._cancel(attempt, out)
            elif len(request.running) > 1 or request.queued_at is not None:
                request.running.remove(attempt)
                request.seen = True
                self._cancel(attempt, out)

    # --- finding a site ---

    def _order(self, request: Request, now_s: float) -> tuple[Link, ...]:
        if request.route.kind is RouteKind.WEIGHTS:
            return by_weight(request.route, self.links.values(), self._draws())
        return by_speed(request, self.links.values(), now_s, self._draws())

    def _budget(self, request: Request) -> HedgeBudget:
        model = request.model if len(self._hedges) < self.settings.max_models else _OTHER_MODELS
        budget = self._hedges.get(model)
        if budget is None:
            budget = self._hedges[model] = HedgeBudget(request.route.hedge_ratio)
        return budget

    def _pick(self, request: Request, reason: Reason, now_s: float, *, last_resort: bool) -> tuple[Link | None, bool]:
        """Where an attempt can go, and whether it has to wait for room there.

        In this order: the first link of the route that is up and has room; one that may not know the model; the one with the shortest
        queue; when no link is up, whatever is not given up altogether.
        """
        missing: Link | None = None
        full: list[Link] = []
        for link in request.order:
            state = link.state
            if (state is not _UP and state is not _RAMP) or link in request.tried:
                continue
            if link.queue or len(link.in_flight) >= link.limit:
                full.append(link)
            elif request.model in link.missing and now_s < link.missing[request.model]:
                missing = missing or link
            elif state is _UP or self._ramp_takes(link, request, reason):
                return link, False
        if missing is not None:
            return missing, False
        if full:
            return self._shortest(full, request, now_s), True
        return (_last_resort(request) if last_resort else None), False

    def _shortest(self, full: list[Link], request: Request, now_s: float) -> Link | None:
        """The link with the shortest wait for room; None when the request would wait in vain everywhere."""
        wait_s, link = min(((self._wait_s(link, request, now_s), link) for link in full), key=lambda pair: pair[0])
        return link if wait_s < _NEVER_S else None

    def _wait_s(self, link: Link, request: Request, now_s: float) -> float:
        """How long a request would wait for room at a link; infinity when it would wait in vain."""
        queued = len(link.queue)
        if queued >= link.spec.max_queue:
            return _NEVER_S
        wait_s = link.expected_wait_s(now_s)
        answer_s = link.path(request.model, request.size_class).latency.q99
        if (
            wait_s > request.route.max_queue_wait_s
            or now_s + _SURE * wait_s + answer_s + _MARGIN_S > request.deadline_s
        ):
            return _NEVER_S
        return wait_s

    def _ramp_takes(self, link: Link, request: Request, reason: Reason) -> bool:
        if reason is not _FIRST or not request.idempotent:
            return False
        if link.ramp_credit < 1.0:
            link.ramp_credit += self.settings.ramp_shares[link.ramp_step]
        if link.ramp_credit < 1.0:
            return False
        link.ramp_credit -= 1.0
        link.ramp_sent += 1
        return True

    def _dispatch(
        self, request: Request, reason: Reason, now_s: float, out: list[Instruction], *, last_resort: bool = True
    ) -> bool:
        """Send a request to the next site, or let it wait there; False when there is none."""
        link, waits = self._pick(request, reason, now_s, last_resort=last_resort)
        if link is None:
            return False
        if waits:
            request.queued_at = link
            link.enqueue(request, reason, now_s)
        else:
            out.append(self._attempt(request, link, reason, now_s))
        return True

    def _attempt(self, request: Request, link: Link, reason: Reason, now_s: float) -> Send:
        number = request.attempts = request.attempts + 1
        size_class = request.size_class
        attempt = Attempt(request, link, link.path(request.model, size_class), number, reason, now_s)
        request.running.append(attempt)
        request.tried += (link,)
        link.in_flight[attempt] = None
        link.in_flight_of_class[size_class] += 1
        return Send(attempt)

    def _why_not(self, request: Request, now_s: float) -> EdgewiseError:
        order = request.order
        if not order:
            return UnavailableError(f"no site is configured that the route {request.route.kind.value} may use")
        full = [link for link in order if link.state is _UP]
        if full:
            wait_s = min(link.expected_wait_s(now_s) for link in full)
            return UnavailableError(
                "every site that is reachable is busy for longer than the request may wait; try again later",
                retry_after_s=max(self.settings.retry_after_s, wait_s),
            )
        states = ", ".join(f"{link.name} is {link.state.value} ({link.why})" for link in order)
        return UnavailableError(
            f"no site can answer now: {states}; try again later", retry_after_s=self.settings.retry_after_s
        )

    # --- ends ---

    def _answered_otherwise(
        self, attempt: Attempt, outcome: Outcome, now_s: float, retry_after_s: float | None
    ) -> list[Instruction]:
        """Everything but a good answer, from a link that is up, to a request with one attempt."""
        out: list[Instruction] = []
        link = attempt.link
        request = attempt.request
        if not attempt.wanted:
            link.witnesses -= 1
        if not request.done:
            request.running.remove(attempt)
            if outcome is _OK:
                if not self._asks_further(attempt, now_s, out):
                    self._answer_with(attempt, now_s, out)
            elif outcome is Outcome.EXPIRED:
                request.seen = True
                self._keep(attempt)
                if not request.running and request.queued_at is None:
                    self._answer_with(request.kept or attempt, now_s, out)
            else:
                self._refused(attempt, outcome, now_s, out)
        self._note_outcome(link, outcome, retry_after_s, now_s, out)
        if link.state is not _UP:
            self._watch.answered(link, request.size_class, now_s, out, good=outcome is _OK)
        self._fill(link, now_s, out)
        self._wake_at(now_s + self._grain_s)
        return out

    def _asks_further(self, attempt: Attempt, now_s: float, out: list[Instruction]) -> bool:
        """For `cascade`: whether an unsure answer of the edge is asked again in the cloud."""
        request = attempt.request
        route = request.route
        if (
            route.kind is not RouteKind.CASCADE
            or attempt.link.tier != EDGE
            or attempt.confidence is None
            or attempt.confidence >= route.confidence
            or request.running
            or not request.idempotent
        ):
            return False
        for link in request.order:
            if link.tier == EDGE or link in request.tried or link.state is not _UP:
                continue
            latency = link.path(request.model, request.size_class).latency
            if link.queue or len(link.in_flight) >= link.limit or now_s + latency.q95 + _MARGIN_S > request.deadline_s:
                continue
            request.kept = attempt
            request.hedged = True
            out.append(self._attempt(request, link, Reason.CASCADE, now_s))
            heapq.heappush(self._timers, (request.deadline_s - _MARGIN_S, request.key, request))
            return True
        return False

    def _refused(self, attempt: Attempt, outcome: Outcome, now_s: float, out: list[Instruction]) -> None:
        """The site gave no answer of use: ask the next one, or pass on what it said."""
        request = attempt.request
        self._keep(attempt)
        if request.running or request.queued_at is not None:
            return
        if outcome is Outcome.SITE_ERROR:
            request.seen = True
        elif outcome is Outcome.NOT_SERVED:
            request.missing_at = attempt.link
        allowed = (request.idempotent or not request.seen) and (
            outcome is not Outcome.SITE_ERROR or self._retries.take(now_s)
        )
        if not allowed or not self._dispatch(request, Reason.RETRY, now_s, out, last_resort=False):
            self._answer_with(request.kept or attempt, now_s, out)

    @staticmethod
    def _keep(attempt: Attempt) -> None:
        """Keep an answer in case no better one comes: the first, since the route preferred that site."""
        if attempt.request.kept is None:
            attempt.request.kept = attempt

    def _resend(
        self, request: Request, attempt: Attempt, failure: Failure, now_s: float, out: list[Instruction]
    ) -> None:
        """An attempt was lost: the request goes to the next site, once more to the same one, or ends."""
        if request.kept is not None:
            self._answer_with(request.kept, now_s, out)
            return
        if not request.idempotent and request.seen:
            self._reject(
                request,
                UnavailableError(
                    f"the connection to {attempt.link.name} was lost; the request may have run there, and may not run twice"
                ),
                out,
            )
            return
        if self._dispatch(request, Reason.RESCUE, now_s, out):
            return
        if attempt.link.state is _UP and failure is Failure.LOST and attempt.reason is not Reason.RETRY:
            # A kept-alive connection that the site had closed meanwhile says nothing of the site.
            request.tried = tuple(link for link in request.tried if link is not attempt.link)
            if self._dispatch(request, Reason.RETRY, now_s, out):
                return
        self._reject(request, self._why_not(request, now_s), out)

    def _answer_with(self, attempt: Attempt, now_s: float, out: list[Instruction]) -> None:
        request = attempt.request
        request.done = True
        kept, request.kept = request.kept, None
        if kept is attempt and request.route.kind is RouteKind.CASCADE and request.attempts > 1:
            request.degraded = "cascade"
        elif attempt.reason is not Reason.CASCADE and attempt.link is not request.order[0]:
            request.degraded = _degraded(attempt)
        if request.missing_at is not None and kept is not attempt:
            # Another site has what this one did not: look there first for a while.
            self._note_missing(request.missing_at, request.model, now_s)
        out.append(Answer(request, attempt))
        self._drop_running(request, attempt, out, now_s)

    def _reject(self, request: Request, error: EdgewiseError, out: list[Instruction]) -> None:
        request.done = True
        request.queued_at = None
        out.append(Reject(request, error))

    def _drop_running(self, request: Request, winner: Attempt | None, out: list[Instruction], now_s: float) -> None:
        """Let go of what runs for a request that is over.

        A slow attempt whose hedge won is left to finish: how long it took has to be learned, or the learned quantiles would only know
        the answers that were quick enough. One at a suspect link is a witness of whether the link is alive.
        """
        request.queued_at = None
        request.kept = None
        running, request.running = request.running, []
        for attempt in running:
            if attempt is winner or not attempt.open:
                continue
            link = attempt.link
            witness = winner is not None and attempt.number < winner.number and winner.reason in _RACES
            if witness and link.state is not LinkState.DOWN and now_s < request.deadline_s:
                attempt.wanted = False
                link.witnesses += 1
            else:
                self._cancel(attempt, out)

    def _close(self, attempt: Attempt) -> None:
        link = attempt.link
        attempt.open = False
        del link.in_flight[attempt]
        link.in_flight_of_class[attempt.request.size_class] -= 1
        if not attempt.wanted:
            link.witnesses -= 1

    def _cancel(self, attempt: Attempt, out: list[Instruction]) -> None:
        self._close(attempt)
        out.append(Cancel(attempt))

    # --- evidence ---

    @staticmethod
    def _note_missing(link: Link, model: str, now_s: float) -> None:
        if len(link.missing) >= _MOST_MISSING:
            link.missing.clear()
        link.missing[model] = now_s + _MISSING_S

    def _note_outcome(
        self, link: Link, outcome: Outcome, retry_after_s: float | None, now_s: float, out: list[Instruction]
    ) -> None:
        if outcome is Outcome.OVERLOADED:
            link.errors += 1
            link.limiter.overloaded(now_s)
            if retry_after_s is not None and not link.probes and link.state is _UP:
                # It may be about to stop: its readiness says.
                self._watch.probe(link, 0, now_s, out, fresh=False)
        elif outcome is Outcome.SITE_ERROR:
            link.errors += 2
        else:
            return
        # On the ramp one is too many.
        most = 2 * self.settings.errors_in_a_row if link.state is _UP else 1
        if link.state in {_UP, _RAMP} and link.errors >= most and self.has_alternative(link):
            self._watch.move(link, LinkEvent.DECLINED, "it answers with errors only", now_s, out)

    def _note_broken(self, link: Link, failure: Failure, now_s: float, out: list[Instruction]) -> None:
        link.resets += 1
        refused = failure is Failure.CONNECT and (link.resets > 1 or not link.in_flight)
        if refused or link.resets >= self.settings.resets_in_a_row or link.state is _RAMP:
            why = "connections cannot be made" if failure is Failure.CONNECT else "connections break"
            self._watch.move(link, LinkEvent.BROKEN, why, now_s, out)

    # --- queues ---

    def _fill(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Send what waits at a link, as far as there is room."""
        queue = link.queue
        if not queue:
            return
        link.drained += 1
        usable = link.state in {_UP, _RAMP, LinkState.SUSPECT}
        while queue and len(link.in_flight) < link.limit:
            _, _, request, reason = heapq.heappop(queue)
            if request.done or request.queued_at is not link:
                continue
            request.queued_at = None
            if usable:
                out.append(self._attempt(request, link, reason, now_s))
                heapq.heappush(self._timers, (now_s + _FRESH_S, request.key, request))
            elif not request.running and not self._dispatch(request, reason, now_s, out):
                self._reject(request, self._why_not(request, now_s), out)
        if not queue:
            link.note_pace(now_s)

    def move_queue(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        """Let what waits at a link that was lost wait elsewhere."""
        waiting, link.queue = link.queue, []
        for _, _, request, reason in sorted(waiting, key=lambda entry: entry[:2]):
            if request.done or request.queued_at is not link:
                continue
            request.queued_at = None
            suspect = link.state is LinkState.SUSPECT
            if self._dispatch(request, reason, now_s, out, last_resort=not suspect):
                continue
            if suspect:
                # Nobody else can take it, and the link may yet prove to be alive.
                request.queued_at = link
                link.enqueue(request, reason, now_s)
            elif not request.running:
                self._reject(request, self._why_not(request, now_s), out)

    def _drop_expired(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        queue = link.queue
        while queue and (queue[0][0] <= now_s or queue[0][2].done or queue[0][2].queued_at is not link):
            request = heapq.heappop(queue)[2]
            if not request.done and request.queued_at is link:
                self._expire(request, now_s, out)

    # --- time ---

    def _look_at_requests(self, now_s: float, out: list[Instruction]) -> None:
        fresh = self._fresh
        old_s = now_s - _FRESH_S
        while fresh and (fresh[0].done or fresh[0].arrived_s <= old_s or fresh[0].deadline_s <= now_s):
            request = fresh.popleft()
            if not request.done:
                self._look_at(request, now_s, out)
        timers = self._timers
        while timers and timers[0][0] <= now_s:
            request = heapq.heappop(timers)[2]
            if not request.done:
                self._look_at(request, now_s, out)

    def _look_at(self, request: Request, now_s: float, out: list[Instruction]) -> None:
        """Expire or hedge a request that has not been answered, or say when to look again."""
        if now_s >= request.deadline_s - (_MARGIN_S if request.kept is not None else 0.0):
            self._expire(request, now_s, out)
            return
        next_s = request.deadline_s
        if not request.hedged and request.idempotent:
            hedge_s = self._hedge_at_s(request)
            if hedge_s <= now_s:
                self._hedge(request, now_s, out)
            next_s = min(next_s, max(hedge_s, now_s + self._grain_s))
        if not request.done and next_s < _NEVER_S:
            heapq.heappush(self._timers, (next_s, request.key, request))

    def _hedge_at_s(self, request: Request) -> float:
        """When a request is to be sent to a second site; infinity for not (yet)."""
        running = request.running
        if len(running) != 1 or request.queued_at is not None:
            return _NEVER_S
        attempt = running[0]
        path = attempt.path
        if attempt.link.state is _RAMP:
            return attempt.sent_s + max(path.latency.q95, self.settings.hedge_floor_s)
        fallback = self._fallback(request)
        if fallback is None:
            return _NEVER_S
        after_s = attempt.sent_s + path.hedge_s if path.known else _NEVER_S
        answer_s = fallback.path(request.model, request.size_class).latency.q99
        return min(after_s, request.deadline_s - answer_s - _MARGIN_S)

    def _fallback(self, request: Request) -> Link | None:
        for link in request.order:
            if link.state is _UP and link not in request.tried:
                return link
        return None

    def _hedge(self, request: Request, now_s: float, out: list[Instruction]) -> None:
        request.hedged = True
        attempt = request.running[0]
        if attempt.link.state is _RAMP:
            self._dispatch(request, Reason.RAMP, now_s, out, last_resort=False)
            return
        fallback = self._fallback(request)
        if fallback is None or fallback.queue or len(fallback.in_flight) >= fallback.limit:
            return
        if self._hedges[self._budget_key(request)].take():
            out.append(self._attempt(request, fallback, Reason.HEDGE, now_s))

    def _budget_key(self, request: Request) -> str:
        return request.model if request.model in self._hedges else _OTHER_MODELS

    def _expire(self, request: Request, now_s: float, out: list[Instruction]) -> None:
        if request.kept is not None:
            self._answer_with(request.kept, now_s, out)
            return
        waited_ms = (now_s - request.arrived_s) * 1e3
        self._reject(
            request,
            DeadlineExceededError(f"no site answered within the deadline; the request waited {waited_ms:.0f} ms"),
            out,
        )
        self._drop_running(request, None, out, now_s)

    def _drop_old_witnesses(self, link: Link, now_s: float, out: list[Instruction]) -> None:
        for attempt in list(link.in_flight):
            if not attempt.wanted and (
                now_s - attempt.sent_s > 2.0 * attempt.path.overdue_s or now_s >= attempt.request.deadline_s
            ):
                # It took at least this long, which is more than not knowing.
                attempt.path.record(now_s - attempt.sent_s, now_s)
                self._cancel(attempt, out)

    def _wake_at(self, when_s: float) -> None:
        self.wake_s = min(self.wake_s, when_s)

    def _next_probe_s(self, now_s: float) -> float:
        if self._draining:
            return _NEVER_S
        next_s = _NEVER_S
        for link in self.links.values():
            if link.state in {LinkState.DOWN, LinkState.PROBING}:
                due_s = link.next_probe_s
            elif link.state is not _UP or link.probes:
                due_s = now_s + 4 * self._grain_s
            else:
                due_s = max(link.last_heard_s, link.next_probe_s) + self.settings.idle_probe_s
            next_s = min(next_s, due_s)
        return next_s

    def _all_links(self) -> list[Link]:
        return [*self.links.values(), *self._leaving]

    def _retire(self) -> None:
        if self._leaving:
            self._leaving = [link for link in self._leaving if link.in_flight or link.queue]

    def validate_state(self, now_s: float) -> None:
        """Check what has to hold between events; for tests.

        Raises: AssertionError: it does not hold.
        """
        for link in self._all_links():
            counts = [0] * len(link.in_flight_of_class)
            for attempt in link.in_flight:
                assert attempt.open, f"a closed attempt is in flight at {link.name}"  # noqa: S101
                assert attempt.link is link, f"an attempt is in flight at the wrong link {link.name}"  # noqa: S101
                assert not attempt.wanted or not attempt.request.done, "an attempt runs for a request that is over"  # noqa: S101
                counts[attempt.request.size_class] += 1
            assert counts == link.in_flight_of_class, f"the classes in flight at {link.name} do not add up"  # noqa: S101
            assert len(link.in_flight) <= link.spec.max_in_flight, f"{link.name} has too much in flight"  # noqa: S101
            unwanted = sum(not attempt.wanted for attempt in link.in_flight)
            assert unwanted == link.witnesses, f"the witnesses at {link.name} do not add up"  # noqa: S101
        assert now_s - self.wake_s < _NEVER_S, "there is something to wake for"  # noqa: S101


_RACES: Final = frozenset({Reason.HEDGE, Reason.RESCUE, Reason.RAMP})


def _last_resort(request: Request) -> Link | None:
    """When no link is up: one that is not given up altogether."""
    for state in (_RAMP, LinkState.SUSPECT, LinkState.PROBING):
        for link in request.order:
            if link.state is state and link not in request.tried and len(link.in_flight) < link.limit:
                return link
    return None


def _degraded(attempt: Attempt) -> str:
    """What the app is told when another site than the preferred one answers."""
    if attempt.reason is _FIRST and attempt.request.order[0].state is _UP:
        return "overload"
    return _DEGRADED[attempt.reason]
