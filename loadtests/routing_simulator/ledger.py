"""Every request's account, and the invariants that hold whatever goes wrong.

    one-end       each request ends once: answered, rejected, or cancelled by its app
    promise       no request is lost (rejected, late, or answered with an error) while a site could have answered it
    share         hedges stay within their route's share
    one-site      a request that is not idempotent goes to no second site once the first may have run it: bytes of it
                  left, and no answer said that it had no room (429, 503) or no such model
    left          nothing is sent to an endpoint that the router has been told of as gone
    limit         no site has more in flight than its own limit and the learned one
    late-send     nothing is sent for a request that is over or past its deadline
    table         links change as the transition table says, and never in one place while the router says another
    hold-down     a link that was lost carries requests again no sooner than its hold-down says
    ghost         what the network held back is not delivered to a site long after its request was over
    forever       nothing stays in flight past its deadline
    return        some time after the last fault everything is as it was at first, with nothing left over

A site *could have answered* a request when, for the whole of the `PATIENCE_S` before the request was lost, it was
known to the router and reachable both ways without any fault, what a slow way had taken up through, its process well, its own queue short and its workers no more than 0.8 busy; when the route names it and the model
is served there; when it had not got all of its `max_in_flight` just then, which the gateway may not exceed; and when the
budget allowed for finding out: `FAIR_BUDGET_S` and what ten runs and four round trips take.
Requests that were open while the caller itself stood still or its clock jumped are no part of the promise, nor are those
that may not run twice and may have run: bytes of them left, and no answer said that they had not run.
"""

from collections import Counter
from typing import TYPE_CHECKING, Final

from edgewise.core.routing.calls import Attempt, LinkChanged, Reason, Request
from edgewise.core.routing.link_state import TRANSITIONS, LinkState
from edgewise.core.routing.routes import Route, RouteKind
from routing_simulator.sites import Job, Site

if TYPE_CHECKING:
    from routing_simulator.scenario import Load

PATIENCE_S: Final = 3.0
FAIR_BUDGET_S: Final = 0.4
TOLERANCE_S: Final = 0.010  # of the caller's timers: their grain, and one more
GHOST_AFTER_S: Final = 1.0  # a link stays suspect no longer; until then slow attempts are left as its witnesses
TOLD_OF_EACH: Final = 5  # violations of one invariant

LEGAL_MOVES: Final = frozenset((before, after) for (before, _), after in TRANSITIONS.items())

ANSWERED, FAILED, REJECTED, LATE, CANCELLED = range(5)
_PREFERRED: Final = {
    RouteKind.PREFER_CLOUD: "cloud",
    RouteKind.CLOUD_ONLY: "cloud",
    RouteKind.PREFER_EDGE: "edge",
    RouteKind.EDGE_ONLY: "edge",
}
ELSEWHERE_RATIO: Final = 0.05  # of requests at rest: hedges, and what a full site passes on

ENDS: Final = ("answered", "failed", "rejected", "late", "cancelled")


class Ticket:
    """One request as the ledger sees it.

    Attributes:
        number: in order of arrival.
        arrived_s: in the world's time; `deadline_s` is in the caller's.
        ends: how often it has ended.
        seen_at: the first site that may have run it.
        runs: how often a site started to run it.
    """

    __slots__ = ("arrived_s", "deadline_s", "ended_s", "ends", "load", "number", "request", "runs", "seen_at")

    def __init__(self, number: int, load: "Load", arrived_s: float, deadline_s: float) -> None:
        self.number = number
        self.load = load
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.ends = 0
        self.ended_s = 0.0
        self.seen_at: Site | None = None
        self.runs = 0
        self.request: Request | None = None


class Ledger:
    """Checks as the run goes; `violations` is what it found.

    Attributes:
        sends: by reason.
        ends: by how.
        served: answers by site.
        lost_without_a_site: lost requests that no site could have answered.
        moves: `(now_s, link, before, after, why)` of each link's changes.
        records: `(arrived_s, ended_s, site or -1, how, attempts, degraded)`, when they are kept.
    """

    def __init__(self, sites: list[Site], *, keep_records: bool) -> None:
        self._sites = sites
        self.sends: Counter[Reason] = Counter()
        self.ends: Counter[int] = Counter()
        self.served: Counter[int] = Counter()
        self.requests = 0
        self.runs = 0
        self.ran_once = 0
        self.lost_without_a_site = 0
        self.excused = 0
        self.ghosts = 0
        self.late_s = 0.0
        self.checks = 0
        self.moves: list[tuple[float, str, str, str, str]] = []
        self.records: list[tuple[float, float, int, int, int, str]] = []
        self.violations: list[str] = []
        self.found: Counter[str] = Counter()
        self.jumped_s = float("-inf")
        self._keep_records = keep_records
        self._hedges: dict[str, tuple[Route, list[int]]] = {}
        self._states: dict[str, str] = {}
        self._held_until_s: dict[str, float] = {}
        self._links: dict[str, object] = {}
        self.switches = 0
        self.rest_since_s = float("inf")
        self.rest_until_s = float("inf")
        self.rest_requests = 0
        self.rest_elsewhere = 0
        self.hedge_burst = 0.0

    def violation(self, invariant: str, now_s: float, text: str) -> None:
        """Note that an invariant did not hold."""
        self.found[invariant] += 1
        if self.found[invariant] <= TOLD_OF_EACH:
            self.violations.append(f"{invariant} at {now_s:.4f} s: {text}")

    # Requests.

    def arrived(self, model: str, route: Route) -> None:
        """A request comes under the model's route."""
        self.requests += 1
        share = self._hedges.get(model)
        if share is None:
            share = self._hedges[model] = (route, [0, 0])
        share[1][0] += 1

    def sent(self, attempt: Attempt, ticket: Ticket, site: Site, now_s: float, clock_s: float) -> None:
        """The router gives the instruction to send; the attempt is among `site.way.jobs` already."""
        request = attempt.request
        link = attempt.link
        reason = attempt.reason
        self.sends[reason] += 1
        self.checks += 6
        if site.known_since_s > now_s:
            self.violation("left", now_s, f"request {ticket.number} goes to {site.name}, which has left ({reason})")
        if ticket.ends:
            self.violation("late-send", now_s, f"request {ticket.number} is over and goes to {site.name}")
        if clock_s > ticket.deadline_s + TOLERANCE_S:
            self.violation("late-send", now_s, f"request {ticket.number} is past its deadline and goes to {site.name}")
        in_flight = len(site.way.jobs)
        if in_flight > site.plan.max_in_flight or len(link.in_flight) > link.limit:
            self.violation(
                "limit",
                now_s,
                f"{in_flight} in flight at {site.name} (its own limit {site.plan.max_in_flight}, the learned one {link.limit})",
            )
        if not request.idempotent and ticket.seen_at is not None and ticket.seen_at is not site:
            self.violation(
                "one-site",
                now_s,
                f"request {ticket.number} is not idempotent and goes to {site.name}; {ticket.seen_at.name} may have run it",
            )
        if reason is Reason.HEDGE:
            route, counts = self._hedges[request.model]
            counts[1] += 1
            if counts[1] > route.hedge_ratio * counts[0] + self.hedge_burst:
                self.violation("share", now_s, f"{counts[1]} hedges of {counts[0]} requests at {route.hedge_ratio}")

    def ended(self, ticket: Ticket, how: int, site: Site | None, now_s: float, clock_s: float) -> None:
        """The request is over; `how` is one of ANSWERED, FAILED, REJECTED, CANCELLED."""
        ticket.ends += 1
        ticket.ended_s = now_s
        self.checks += 2
        if ticket.ends > 1:
            self.violation("one-end", now_s, f"request {ticket.number} ends {ticket.ends} times")
            return
        if how == ANSWERED and clock_s > ticket.deadline_s + TOLERANCE_S:
            how = LATE
        self.ends[how] += 1
        if site is not None:
            self.served[site.index] += 1
        if how in (FAILED, REJECTED, LATE):
            self._lost(ticket, how, now_s, clock_s)
        if self.rest_since_s <= ticket.arrived_s < self.rest_until_s and how != CANCELLED:
            tier = _PREFERRED.get(ticket.load.route.kind)
            if tier is not None and any(
                has_fair_budget(ticket, other)
                for other in self._sites
                if other.tier == tier and other.known_since_s <= ticket.arrived_s
            ):
                self.rest_requests += 1
                self.rest_elsewhere += site is None or site.tier != tier
        request = ticket.request
        if self._keep_records and request is not None:
            self.records.append(
                (ticket.arrived_s, now_s, -1 if site is None else site.index, how, request.attempts, request.degraded)
            )
        ticket.request = None

    def _lost(self, ticket: Ticket, how: int, now_s: float, clock_s: float) -> None:
        request = ticket.request
        if ticket.arrived_s <= self.jumped_s:
            self.excused += 1
            return
        late_s = max(0.0, clock_s - ticket.deadline_s)
        self.late_s = max(self.late_s, late_s)
        could = self._could(ticket, now_s, late_s)
        may_have_run = ticket.seen_at is not None or (request is not None and request.seen)
        if could is None or (request is not None and not request.idempotent and may_have_run):
            self.lost_without_a_site += 1
            return
        self.violation(
            "promise",
            now_s,
            f"request {ticket.number} ({ticket.load.model}, {ticket.load.route.kind.value}) of {ticket.arrived_s:.4f} s is "
            f"{ENDS[how]}; {could.name} could have answered",
        )

    def _could(self, ticket: Ticket, now_s: float, late_s: float) -> Site | None:
        """A site that could have answered, as the module says."""
        route = ticket.load.route
        since_s = now_s - late_s - PATIENCE_S
        for site in self._sites:
            if not site.was_good(since_s, now_s) or not allows(route, site):
                continue
            if len(site.way.jobs) >= site.plan.max_in_flight or site.way.backlog_until_s > since_s:
                continue
            if has_fair_budget(ticket, site):
                return site
        return None

    # Sites.

    def ran(self, ticket: Ticket) -> None:
        """A site starts to run it."""
        self.runs += 1
        ticket.runs += 1
        if ticket.runs == 1:
            self.ran_once += 1

    def released(self, job: Job, now_s: float) -> None:
        """The network delivers what it held, to a site that does not know better."""
        self.checks += 1
        ticket = job.ticket
        if ticket.ends and now_s - ticket.ended_s > GHOST_AFTER_S:
            self.ghosts += 1
            over_s = now_s - ticket.ended_s
            self.violation(
                "ghost", now_s, f"request {ticket.number}, over for {over_s:.3f} s, reaches {job.site.name} now"
            )

    def closed(self, site: Site, now_s: float) -> None:
        """The router has the connections to the site closed; what is still on them must be wanted."""
        for job in site.way.jobs:
            self.checks += 1
            if job.ticket.ends:
                self.violation(
                    "ghost",
                    now_s,
                    f"connections to {site.name} close and request {job.ticket.number} was not cancelled",
                )

    def sweep(self, now_s: float, clock_s: float) -> None:
        """Look for what has been in flight past its deadline; the caller may have to wake up first."""
        for site in self._sites:
            site.work_log.append((now_s, site.work_s))
        if now_s - self.jumped_s < TOLERANCE_S:
            return
        for site in self._sites:
            for job in site.way.jobs:
                self.checks += 1
                if clock_s > job.ticket.deadline_s + 1.0:
                    self.violation("forever", now_s, f"request {job.ticket.number} is still in flight at {site.name}")
                break  # the oldest

    # Links.

    def joined(self, name: str, link: object) -> None:
        """What the router has for an endpoint now, None when nothing: another link than before begins anew."""
        if link is not None and self._links.get(name, link) is not link:
            self._states.pop(name, None)
            self._held_until_s.pop(name, None)
        if link is not None:
            self._links[name] = link

    def changed(self, change: LinkChanged, now_s: float) -> None:
        """A link goes from one state to another."""
        name, before, after = change.link.name, change.before, change.after
        self.checks += 2
        if (before, after) not in LEGAL_MOVES:
            self.violation("table", now_s, f"{name} goes from {before} to {after}")
        known = self._states.get(name, LinkState.UP)
        if before != known:
            self.violation("table", now_s, f"{name} goes from {before} and was {known}")
        self._states[name] = after
        self._switched(change, now_s)
        self.moves.append((now_s, name, str(before), str(after), change.why))

    def _switched(self, change: LinkChanged, now_s: float) -> None:
        """Away from a link is one switch, back to it is another; the hold-down begins with the first."""
        name = change.link.name
        if change.after == LinkState.DOWN and change.before != LinkState.PROBING:
            self.switches += 1
            self._held_until_s[name] = change.now_s + change.link.hold.hold_s
            if not change.link.hold.hold_s > 0.0:
                self.violation("hold-down", now_s, f"{name} is lost and not held down")
        elif change.after == LinkState.RAMP:
            self.switches += 1
            until_s = self._held_until_s.get(name, 0.0)
            if change.now_s < until_s:
                self.violation("hold-down", now_s, f"{name} comes back {until_s - change.now_s:.3f} s too soon")

    def finish(self, now_s: float, arrived: int) -> None:
        """The run is over: everything has ended, and nothing is left anywhere."""
        ended = sum(self.ends.values())
        self.checks += 1
        if ended != arrived:
            self.violation("one-end", now_s, f"{arrived} requests arrived and {ended} ended")
        self.checks += 1
        if self.rest_elsewhere > ELSEWHERE_RATIO * self.rest_requests + 3:
            self.violation(
                "return",
                now_s,
                f"{self.rest_elsewhere} of {self.rest_requests} requests do not go where their route prefers, without a fault",
            )
        for site in self._sites:
            self.checks += 1
            if site.way.jobs:
                self.violation("forever", now_s, f"{len(site.way.jobs)} attempts are left at {site.name}")

    @property
    def duplicates(self) -> float:
        """Runs of requests that had run before, as a share of the requests that ran."""
        return (self.runs - self.ran_once) / self.ran_once if self.ran_once else 0.0

    @property
    def lost(self) -> int:
        """Requests without a good answer in time, those that apps took back left aside."""
        return self.ends[FAILED] + self.ends[REJECTED] + self.ends[LATE]


def has_fair_budget(ticket: Ticket, site: Site) -> bool:
    """Whether the request's budget leaves time to find out that another site is lost, and then to ask this one."""
    plan = site.plan
    needed_s = FAIR_BUDGET_S + 10 * plan.service_s + 4 * (plan.rtt_s + 2 * plan.jitter_s)
    return (ticket.load.deadline_s or ticket.load.route.deadline_s) >= needed_s


def allows(route: Route, site: Site) -> bool:
    """Whether the route lets the site answer at all."""
    if route.kind is RouteKind.CLOUD_ONLY:
        return site.tier == "cloud"
    if route.kind is RouteKind.EDGE_ONLY:
        return site.tier == "edge"
    return True
