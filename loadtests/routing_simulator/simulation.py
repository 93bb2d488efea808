"""A run of a scenario: what the apps do, what goes wrong with the caller, and how the run ends."""

from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from edgewise.core.routing.calls import Request
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.router import Router
from edgewise.core.routing.settings import RouterSettings
from routing_simulator.gateway import Gateway, MakeRouter
from routing_simulator.ledger import CANCELLED, Ticket
from routing_simulator.network import Handler
from routing_simulator.scenario import UNLIMITED, Fault, FaultKind, Load, Scenario

FIRST_HEDGES: Final = 2.0  # a route's budget begins with so many
SWEEP_EVERY_S: Final = 1.0
# The longest hold-down is 66 s, and a link that is lost once more while it comes back has another one.
RETURNS_WITHIN_S: Final = 150.0
RETURN_STEP_S: Final = 0.5
SETTLES_S: Final = 6.0  # that a site did not have a model is remembered for 5 s
REST_S: Final = 2.0


class Simulation(Gateway):
    """One run of a scenario.

    Args:
        validate: have the router check itself after each event.
        keep_records: keep a record of each request in the ledger.
        make_router: called like `Router`; a recorder in its place sees every event.

    Attributes:
        arrivals: requests so far.
        returned_after_s: how long it took after the last fault until all links were up and no queue was left.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        settings: RouterSettings | None = None,
        validate: bool = False,
        keep_records: bool = False,
        make_router: MakeRouter = Router,
    ) -> None:
        super().__init__(
            scenario,
            settings=settings or RouterSettings(),
            validate=validate,
            keep_records=keep_records,
            make_router=make_router,
        )
        self.arrivals = 0
        self.returned_after_s = UNLIMITED
        self.ledger.hedge_burst = FIRST_HEDGES
        self._started = False
        self._loads_stop = False
        self._arrivals = Random(f"{scenario.seed}/arrivals")
        # Bound once: the heap is fed with this for every request.
        self._on_arrival = self._arrival
        # What the caller itself does, and cannot do while it stands still.
        self._callers: frozenset[Handler] = frozenset(
            {
                self._on_arrival,
                self._on_back,
                self._on_tick,
                self.dripped,
                self.broke,
                self.probe_came_back,
                self.probe_ended,
                self._connected,
                self._refused,
                self._no_connection,
                self._connect_timeout,
                self._user_timeout,
                self._app_leaves,
                self.endpoints_change,
            }
        )
        for load in scenario.loads:
            self.at(load.starts_s + self._gap_s(load), self._on_arrival, load)
        self.at(SWEEP_EVERY_S, self._sweep)

    def run(self) -> "Simulation":
        """The whole scenario, then until everything is as it was at first, then without load until nothing is left."""
        scenario = self.scenario
        self.run_until(max(scenario.ends_s, scenario.healed_s))
        self.run_until_returned()
        self.drain()
        return self

    def drain(self) -> None:
        """Go on without load until nothing is left, and have the ledger look for what is."""
        self._loads_stop = True
        longest_s = max(load.deadline_s or load.route.deadline_s for load in self.scenario.loads)
        self.run_until(self.now_s + longest_s + 1.0)
        self.ledger.finish(self.now_s, self.arrivals)

    def run_until(self, until_s: float) -> None:
        """Go on until the given time."""
        if not self._started:
            self._started = True
            self._told(self.router.start(0.0), 0.0)
        self.step_until(until_s)
        self.now_s = until_s

    def run_until_returned(self) -> None:
        """Go on, with load and without faults, until all links are up and the load has gone where it belongs."""
        healed_s = self.now_s
        while any(link.state is not LinkState.UP or link.queue for link in self.router.links.values()):
            if self.now_s - healed_s > RETURNS_WITHIN_S:
                states = ", ".join(
                    f"{link.name} {link.state} ({link.why})"
                    for link in self.router.links.values()
                    if link.state != "UP"
                )
                self.ledger.violation("return", self.now_s, f"{RETURNS_WITHIN_S:.0f} s after the last fault: {states}")
                return
            self.run_until(self.now_s + RETURN_STEP_S)
        self.returned_after_s = self.now_s - healed_s
        self.run_until(self.now_s + SETTLES_S)
        self.ledger.rest_since_s = self.now_s
        self.run_until(self.now_s + REST_S)
        self.ledger.rest_until_s = self.now_s

    # What the apps do.

    def _gap_s(self, load: Load) -> float:
        return self._arrivals.expovariate(load.rate_hz) if load.poisson else 1.0 / load.rate_hz

    def _arrival(self, now_s: float, load: Load, _b: Any) -> None:
        if now_s > load.ends_s or self._loads_stop:
            return
        self.arrivals += 1
        route = load.route
        clock_s = now_s + self.skew_s
        deadline_s = clock_s + (load.deadline_s or route.deadline_s)
        ticket = Ticket(self.arrivals, load, now_s, deadline_s)
        idempotent = route.idempotent
        if load.non_idempotent_share and self._arrivals.random() < load.non_idempotent_share:
            idempotent = False
        request = ticket.request = Request(
            load.model,
            route,
            arrived_s=clock_s,
            deadline_s=deadline_s,
            size_bytes=load.size_bytes,
            idempotent=idempotent,
            context=ticket,
        )
        self.ledger.arrived(load.model, route)
        if load.cancel_share and self._arrivals.random() < load.cancel_share:
            self.at(now_s + self._arrivals.random() * load.cancel_within_s, self._app_leaves, request)
        heappush(self._heap, (now_s + self._gap_s(load), next(self._numbers), self._on_arrival, load, None))
        self._told(self.router.arrived(request, clock_s), now_s)

    def _app_leaves(self, now_s: float, request: Request, _b: Any) -> None:
        ticket: Ticket = request.context
        if not ticket.ends:
            self.ledger.ended(ticket, CANCELLED, None, now_s, now_s + self.skew_s)
            self._told(self.router.cancelled(request, now_s + self.skew_s), now_s)

    def _sweep(self, now_s: float, _a: Any, _b: Any) -> None:
        self.ledger.sweep(now_s, now_s + self.skew_s)
        self.at(now_s + SWEEP_EVERY_S, self._sweep)

    # What goes wrong with the caller itself.

    def caller_fault(self, now_s: float, fault: Fault, _b: Any) -> None:
        if fault.kind is FaultKind.CLOCK_JUMP:
            self.ledger.jumped_s = max(self.ledger.jumped_s, now_s)
            self.skew_s += fault.value
            self._tick_at_s -= fault.value
            self.at(now_s, self._on_tick)
            return
        self._pause(now_s, now_s + fault.value)

    def _pause(self, now_s: float, goes_on_s: float) -> None:
        """The caller stands still: what it would have done meanwhile comes all at once afterwards, in order."""
        heap = self._heap
        late: list[tuple[Handler, Any, Any]] = []
        self.ledger.jumped_s = max(self.ledger.jumped_s, goes_on_s)
        while heap and heap[0][0] < goes_on_s:
            now_s, _, handler, a, b = heappop(heap)
            if handler in self._callers:
                late.append((handler, a, b))
            else:
                self.now_s = now_s
                handler(now_s, a, b)
        for handler, a, b in late:
            self.at(goes_on_s, handler, a, b)
