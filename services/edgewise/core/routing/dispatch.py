"""Finds a site for a request: in the order of its route, with room, or at least a wait that is worth it."""

import heapq
from collections.abc import Callable, Sequence
from typing import Final

from edgewise.core.errors import EdgewiseError, UnavailableError
from edgewise.core.routing.calls import Attempt, Instruction, Reason, Request, Send, SiteSpec
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.order import by_route, by_site, by_speed, by_weight, fixed_orders, spread
from edgewise.core.routing.path import Path
from edgewise.core.routing.routes import RouteKind
from edgewise.core.routing.settings import RouterSettings

_UP: Final = LinkState.UP
_RAMP: Final = LinkState.RAMP
_NEVER_S: Final = float("inf")
# Waits are estimates.
_SURE: Final = 1.25
# Endpoints are equals: what so many of one site could not do, its others are not asked for.
_MOST_ENDPOINTS: Final = 3
MARGIN_S: Final = 0.005
"""Answers take a little longer than planned, and have to be sent."""
TOO_BUSY: Final = "all model servers that can be reached are too busy to answer in time; try again later"
_WHERE: Final = {
    RouteKind.CLOUD_ONLY: "no model server in the cloud",
    RouteKind.EDGE_ONLY: "no model server at the edge",
}
FRESH_S: Final = 0.010
"""Younger attempts are most likely answered before anything about them has to be decided."""


class Dispatcher:
    """Knows the links and makes attempts on them.

    Args:
        sites: in the order of preference within a tier.
        now_s: monotonic.
        draws: uniform in [0, 1), for weights, endpoints and jitter.
        settings: floors, ratios and counts.

    Attributes:
        links: by name of the site or endpoint.
        sites: the same, the endpoints of each site together.
        settings: as given.
    """

    def __init__(
        self, sites: Sequence[SiteSpec], *, now_s: float, draws: Callable[[], float], settings: RouterSettings
    ) -> None:
        self.settings = settings
        self.links: dict[str, Link] = {spec.name: Link(spec, settings, now_s) for spec in sites}
        self._draws = draws
        # When no link is up, the first that fits.
        self._last_resorts: tuple[Callable[[Link], bool], ...] = (
            lambda link: link.state is _RAMP,
            self._is_as_good_as_back,
            lambda link: link.state is LinkState.SUSPECT,
            lambda link: link.state is LinkState.PROBING,
            lambda link: link.state is LinkState.DOWN and link.answers,
        )
        self._arrange()
        # When a request is to be looked at again: (time, number, request).
        self._timers: list[tuple[float, int, Request]] = []
        self._number = 0

    def _arrange(self) -> None:
        """Put the endpoints of each site together, and see which routes have one order for all requests."""
        self.sites = by_site(self.links.values())
        self._routes = by_route(self.sites)
        self._orders = fixed_orders(self._routes)
        for site in self.sites:
            for link in site.links:
                link.peers = site.links if len(site.links) > 1 else ()
        self._spreads = any(len(site.links) > 1 for site in self.sites)

    def others(self, link: Link) -> list[Link]:
        """All links but this one."""
        return [other for other in self.links.values() if other is not link]

    def has_alternative(self, link: Link) -> bool:
        """Whether another link is up."""
        return any(other.state is _UP for other in self.links.values() if other is not link)

    def _is_as_good_as_back(self, link: Link) -> bool:
        """Whether only the hold-down keeps a link from coming back."""
        return link.state is LinkState.PROBING and link.good_probes >= self.settings.good_probes

    def _order(self, request: Request, now_s: float) -> tuple[Link, ...]:
        """The order of this moment, for routes that have no fixed one."""
        kind = request.route.kind
        if kind is RouteKind.WEIGHTS:
            return by_weight(request.route, self.sites, self._draws)
        if kind is RouteKind.FASTEST:
            return by_speed(request, self.sites, now_s, self._draws)
        return spread(self._routes[kind], self._draws)

    def _order_again(self, link: Link, now_s: float) -> None:
        """Let the requests at a link know the sites and endpoints of now; which of them they prefer stays as it was."""
        requests = {attempt.request: None for attempt in link.in_flight}
        requests.update((request, None) for _, _, request, _ in link.queue)
        for request in requests:
            if request.done:
                continue
            order = self._orders.get(request.route.kind)
            if order is None:
                order = self._order(request, now_s)
            preferred = request.order[0]
            place = order.index(preferred) if preferred in order else len(order)
            request.order = (preferred, *order[:place], *order[place + 1 :])

    def _dispatch(
        self,
        request: Request,
        reason: Reason,
        now_s: float,
        out: list[Instruction],
        *,
        last_resort: bool = True,
        lost: Attempt | None = None,
        everywhere: bool = True,
    ) -> bool:
        """Send a request to the next site, or let it wait there; False when there is none.

        Args:
            last_resort: also to one that is not up.
            lost: the attempt that this is a rescue of.
            everywhere: also to a site of which several endpoints have been asked in vain.
        """
        order = request.order
        if not everywhere and len(request.tried) >= _MOST_ENDPOINTS:
            request.order = tuple(link for link in order if not _was_asked_enough(link, request))
        link, waits = self._pick(request, reason, now_s, last_resort=last_resort, lost=lost)
        request.order = order
        if link is None:
            return False
        if waits:
            request.queued_at = link
            link.enqueue(request, reason, now_s)
        else:
            out.append(self._attempt(request, link, reason, now_s))
            if reason is not Reason.FIRST:
                heapq.heappush(self._timers, (now_s + FRESH_S, request.key, request))
        return True

    def _attempt(self, request: Request, link: Link, reason: Reason, now_s: float) -> Send:
        return self._attempt_on(link.path(request.model, request.size_class), request, link, reason, now_s)

    @staticmethod
    def _attempt_on(path: Path, request: Request, link: Link, reason: Reason, now_s: float) -> Send:
        number = request.attempts = request.attempts + 1
        attempt = Attempt(request, link, path, number, reason, now_s)
        request.running.append(attempt)
        request.tried += (link,)
        link.in_flight[attempt] = None
        link.in_flight_of_class[request.size_class] += 1
        return Send(attempt)

    def _pick(
        self, request: Request, reason: Reason, now_s: float, *, last_resort: bool, lost: Attempt | None = None
    ) -> tuple[Link | None, bool]:
        """Where an attempt can go, and whether it has to wait for room there.

        In this order: the first link of the route that is up and has room; one that may be lost with the one that was; one
        that may not know the model or is hardly in time; the one with the shortest queue; when no link is up, whatever is not
        given up altogether, or the queue there.
        """
        doubtful: Link | None = None
        unlikely: Link | None = None
        on_ramp: Link | None = None
        full: list[Link] = []
        for link in request.order:
            state = link.state
            if (state is not _UP and state is not _RAMP) or link in request.tried or link.left:
                continue
            if link.queue or len(link.in_flight) >= link.limit:
                full.append(link)
            elif self._is_unlikely(link, request, now_s):
                unlikely = unlikely or link
            elif lost is not None and state is _UP and may_share_fate(link, lost):
                doubtful = doubtful or link
            elif state is _UP or self._ramp_takes(link, request, reason, on_ramp):
                return link, False
            else:
                on_ramp = link
        second = doubtful or unlikely
        if second is not None:
            return second, False
        shortest = self._shortest(full, request, now_s) if full else None
        if shortest is not None:
            return shortest, True
        return self._last_resort(request, now_s) if last_resort else (None, False)

    def _last_resort(self, request: Request, now_s: float) -> tuple[Link | None, bool]:
        """When no link is up: one that is not given up altogether, or was given up though it answers."""
        full: list[Link] = []
        for is_one in self._last_resorts:
            for link in request.order:
                if not is_one(link) or link in request.tried or link.left:
                    continue
                if len(link.in_flight) < link.limit and not link.queue:
                    return link, False
                full.append(link)
        shortest = self._shortest(full, request, now_s) if full else None
        return shortest, shortest is not None

    @staticmethod
    def _is_unlikely(link: Link, request: Request, now_s: float) -> bool:
        """Whether the site did not know the model lately, or hardly answers in the time that is left."""
        missing_until_s = link.missing.get(request.model)
        if missing_until_s is not None:
            if now_s < missing_until_s:
                return True
            del link.missing[request.model]
        return link.path(request.model, request.size_class).too_slow(request.deadline_s - now_s, now_s)

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
        if wait_s > request.route.max_queue_wait_s or now_s + _SURE * wait_s + answer_s + MARGIN_S > request.deadline_s:
            return _NEVER_S
        return wait_s

    def _ramp_takes(self, link: Link, request: Request, reason: Reason, asked: Link | None) -> bool:
        if reason is not Reason.FIRST or not request.idempotent:
            return False
        if asked is not None and asked.is_equal(link):
            return False  # however many endpoints of a site are on the ramp, together they take one share
        if link.ramp_credit < 1.0:
            link.ramp_credit += self.settings.ramp_shares[link.ramp_step]
        if link.ramp_credit < 1.0:
            return False
        link.ramp_credit -= 1.0
        link.ramp_sent += 1
        return True

    def _why_not(self, request: Request, now_s: float) -> EdgewiseError:
        """What the app is told: what is wrong, and what to do about it. Names and states of sites are for the log."""
        order = request.order
        if not order:
            return UnavailableError(
                f"the gateway has no site for the route {request.route.kind.value}; use another route, or add such a site"
            )
        full = [link for link in order if link.state is _UP and not link.left]
        if full:
            wait_s = min(link.expected_wait_s(now_s) for link in full)
            return UnavailableError(TOO_BUSY, retry_after_s=max(self.settings.retry_after_s, wait_s))
        return UnavailableError(
            f"{_WHERE.get(request.route.kind, 'no model server')} can be reached now; try again later",
            retry_after_s=self.settings.retry_after_s,
        )


def _was_asked_enough(link: Link, request: Request) -> bool:
    """Whether several other endpoints of the link's site have had the request."""
    return sum(other.is_equal(link) for other in request.tried) >= _MOST_ENDPOINTS


def may_share_fate(link: Link, lost: Attempt) -> bool:
    """Whether a link may be lost together with that of an attempt: an endpoint of the same site, not heard from since then."""
    return link.last_heard_s <= lost.sent_s and link is not lost.link and link.is_equal(lost.link)


def passed_over(attempt: Attempt, link: Link) -> bool:
    """Whether a site has answered requests as large that were sent much later: it has lost this one."""
    return (
        attempt.link is link
        and max(link.answered_s[attempt.request.size_class :]) > attempt.sent_s + attempt.path.overdue_s
    )
