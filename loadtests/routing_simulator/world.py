"""What happens outside the gateway: events on virtual time, sites that run requests, networks that break.

One heap of `(time, number, handler, a, b)`; the number keeps what falls on the same instant in order. Nothing here reads a
clock. `gateway.Gateway` adds the gateway, `simulation.Simulation` the apps.
"""

import itertools
from heapq import heappop, heappush
from random import Random
from typing import Any

from edgewise.core.routing.calls import Outcome
from routing_simulator import faults
from routing_simulator.ledger import Ledger
from routing_simulator.network import Handler, Way
from routing_simulator.scenario import WORLD_WIDE, Fault, Scenario, changes
from routing_simulator.sites import Job, Site

PROBE_RUN_S = 0.000_5
"""What a site needs to answer a probe."""


class World:
    """Sites and networks of a scenario.

    Attributes:
        now_s: the world's time.
        sites: in the order of the scenario.
        events: how many have happened.
    """

    def __init__(self, scenario: Scenario, *, keep_records: bool) -> None:
        self.scenario = scenario
        self.now_s = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Handler, Any, Any]] = []
        self._numbers = itertools.count()
        # Streams of their own, so that one more draw in one place does not change the others.
        self._network = Random(f"{scenario.seed}/network").random
        self._service = Random(f"{scenario.seed}/service").random
        self.sites: list[Site] = []
        for index, plan in enumerate(scenario.sites):
            self.sites.append(Site(index, plan, Way(plan, self._network), self._service))
        self._by_name = {site.name: site for site in self.sites}
        self.ledger = Ledger(self.sites, keep_records=keep_records)
        # Bound once: the heap is fed with these for every request.
        self._on_reach = self._reach
        self._on_finish = self._finish
        self._on_back = self.came_back
        for fault in scenario.faults:
            if fault.kind in WORLD_WIDE:
                self.at(fault.starts_s, self.caller_fault, fault)
            else:
                struck = [self._by_name[plan.name] for plan in scenario.struck(fault)]
                self.at(fault.starts_s, self._fault_begins, fault, struck)
                self.at(fault.ends_s, self._fault_ends, fault, struck)
        for time_s in sorted({time_s for plan in scenario.sites for time_s in changes(plan)}):
            self.at(time_s, self.endpoints_change)

    def at(self, time_s: float, handler: Handler, a: Any = None, b: Any = None) -> None:
        """Have `handler(time_s, a, b)` called then."""
        heappush(self._heap, (time_s, next(self._numbers), handler, a, b))

    def step_until(self, ends_s: float) -> None:
        """Let everything up to then happen."""
        heap = self._heap
        events = 0
        while heap and heap[0][0] <= ends_s:
            now_s, _, handler, a, b = heappop(heap)
            self.now_s = now_s
            handler(now_s, a, b)
            events += 1
        self.events += events

    # What the gateway does about it.

    def came_back(self, now_s: float, job: Job, answer: tuple[Outcome, float | None]) -> None:
        """An answer and its Retry-After arrive whole at the gateway."""
        raise NotImplementedError

    def dripped(self, now_s: float, job: Job, _b: Any) -> None:
        """Some bytes of an answer arrive."""
        raise NotImplementedError

    def broke(self, now_s: float, job: Job, _b: Any) -> None:
        """The connection is closed from the other side."""
        raise NotImplementedError

    def probe_came_back(self, now_s: float, job: Job, _b: Any) -> None:
        """The answer to a probe arrives."""
        raise NotImplementedError

    def probe_ended(self, now_s: float, job: Job, refused: Any) -> None:
        """Nothing comes of a probe."""
        raise NotImplementedError

    def caller_fault(self, now_s: float, fault: Fault, _b: Any) -> None:
        """Something goes wrong with the gateway itself."""
        raise NotImplementedError

    def endpoints_change(self, now_s: float, _a: Any, _b: Any) -> None:
        """Endpoints have joined or left."""
        raise NotImplementedError

    # What a site does.

    def _reach(self, now_s: float, job: Job, was_held: Any) -> None:
        """A request is with the site, unless the network kept it back and its connection has been closed meanwhile."""
        if was_held:
            if not job.alive:
                return
            job.held = False
            self.ledger.released(job, now_s)
        site = job.site
        if site.stopped:
            site.frozen.append((self._on_reach, job, False))
            return
        if site.dead or job.abandoned or job.size_bytes > site.swallows_over_bytes:
            return
        if (site.not_ready or site.not_served or site.error) and self._refuse(site, job, now_s):
            return
        job.expires_s = now_s + job.budget_s
        if site.busy < site.plan.workers:
            self._start(site, job, now_s)
        elif len(site.waiting) >= site.plan.site_queue:
            self._reply(job, Outcome.OVERLOADED, now_s, faults.RETRY_AFTER_S)
        else:
            site.waiting.append(job)
            site.crowd(now_s)

    def _refuse(self, site: Site, job: Job, now_s: float) -> bool:
        """Answer with an error, where the site has one for this request."""
        if site.not_served:
            self._reply(job, Outcome.NOT_SERVED, now_s, None)
        elif site.not_ready:
            self._reply(job, Outcome.OVERLOADED, now_s, faults.RETRY_AFTER_S)
        elif site.error is not None:
            outcome, share, retry_after_s = site.error
            if share < 1.0 and self._service() >= share:
                return False
            self._reply(job, outcome, now_s, retry_after_s)
        return True

    def _start(self, site: Site, job: Job, now_s: float) -> None:
        site.busy += 1
        site.executed += 1
        job.epoch = site.epoch
        self.ledger.ran(job.ticket)
        heappush(self._heap, (now_s + site.run_s(), next(self._numbers), self._on_finish, job, None))

    def _finish(self, now_s: float, job: Job, _b: Any) -> None:
        site = job.site
        if job.epoch != site.epoch:
            return
        if site.stopped:
            site.frozen.append((self._on_finish, job, None))
            return
        site.busy -= 1
        if not job.abandoned:
            if site.drips:
                site.answers_late.append((job, Outcome.OK))
                self.at(now_s + site.way.takes_s(), self.dripped, job)
            else:
                self._reply(job, Outcome.OK, now_s, None)
        if site.waiting:
            self._start_next(site, now_s)

    def _start_next(self, site: Site, now_s: float) -> None:
        waiting = site.waiting
        while waiting:
            following = waiting.popleft()
            if following.abandoned:
                continue
            if now_s > following.expires_s:
                site.expired += 1
                self._reply(following, Outcome.EXPIRED, now_s, None)
                continue
            self._start(site, following, now_s)
            break
        site.crowd(now_s)

    def _reply(self, job: Job, outcome: Outcome, now_s: float, retry_after_s: float | None) -> None:
        back_s = job.site.way.down_s(now_s, job.answer_bytes)
        heappush(self._heap, (back_s, next(self._numbers), self._on_back, job, (outcome, retry_after_s)))

    def answer_whole(self, job: Job, outcome: Outcome, now_s: float) -> None:
        """The rest of an answer that dripped is sent."""
        self._reply(job, outcome, now_s, None)

    def _probe_reach(self, now_s: float, job: Job, _b: Any) -> None:
        site = job.site
        if not job.alive:
            return
        if site.dead or site.resets:
            self.at(now_s + site.way.takes_s(), self.probe_ended, job, site.dead > 0)
        elif site.stopped:
            site.frozen.append((self._probe_reach, job, None))
        elif job.size_bytes <= site.swallows_over_bytes and not site.drips:
            self.at(site.way.down_s(now_s + PROBE_RUN_S * site.slow, job.answer_bytes), self.probe_came_back, job)

    @staticmethod
    def _hung_up(_now_s: float, job: Job, _b: Any) -> None:
        """The site learns that the connection is closed."""
        job.abandoned = True

    # What goes wrong.

    def _fault_begins(self, now_s: float, fault: Fault, struck: list[Site]) -> None:
        for site in struck:
            faults.begin(self, site, fault, now_s)

    def _fault_ends(self, now_s: float, fault: Fault, struck: list[Site]) -> None:
        for site in struck:
            faults.end(self, site, fault, now_s)

    def release(self, site: Site, now_s: float) -> None:
        """Let pass what the network held and does not hold any more."""
        for time_s, message in site.way.released(now_s):
            self.at(time_s, message.handler, message.job, message.argument)

    def break_all(self, site: Site, now_s: float) -> None:
        """Every connection to the site is closed from the other side."""
        site.way.close_idle()
        for job in site.way.jobs:
            job.abandoned = True
            self.at(now_s, self.broke, job)

    def flip(self, now_s: float, site: Site, edge: tuple[Fault, bool]) -> None:
        """One edge of a flap: the cut begins (True) or is healed."""
        fault, cut = edge
        change = 1 if cut else -1
        site.way.cuts_up += change
        site.way.cuts_down += change
        if not cut:
            self.release(site, now_s)
        next_s = now_s + fault.value
        if cut:
            self.at(min(next_s, fault.ends_s), self.flip, site, (fault, False))
        elif next_s < fault.ends_s:
            self.at(next_s, self.flip, site, (fault, True))
