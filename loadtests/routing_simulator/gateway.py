"""The gateway on virtual time: carries out the router's instructions and tells it what comes of them.

The router's clock is the world's time plus `skew_s`, which a clock jump makes larger.
"""

from collections.abc import Callable, Sequence
from heapq import heappush
from random import Random
from typing import Any, Final

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
from edgewise.core.routing.router import Router
from edgewise.core.routing.settings import RouterSettings
from routing_simulator.ledger import ANSWERED, FAILED, REJECTED, Ticket
from routing_simulator.network import FLIGHT_BYTES, HEADER_BYTES, SYN_RETRANSMIT_S
from routing_simulator.scenario import UNLIMITED, Scenario
from routing_simulator.sites import Job, Site
from routing_simulator.world import World

TIMER_GRAIN_S: Final = 0.001  # of the caller's event loop
CONNECT_TIMEOUT_S: Final = 5.0
USER_TIMEOUT_S: Final = 10.0  # TCP_USER_TIMEOUT: a connection whose bytes are not acknowledged is broken then
DRIP_EVERY_S: Final = 0.1
EVEN_CONFIDENCE: Final = 0.9  # of a site in the cloud
_NOT_RUN: Final = frozenset({Outcome.OVERLOADED, Outcome.NOT_SERVED})
# Instructions in the decision log.
SEND, CANCEL, ANSWER, REJECT, PROBE, CLOSE, WARM, CHANGE, ENDPOINTS = range(9)

MakeRouter = Callable[..., Router]


class Gateway(World):
    """A router and its carrier among the sites.

    Attributes:
        router: decides.
        skew_s: how much further the router's clock is than the world's.
        probes: how many were sent.
        digest: of all instructions in order; equal for equal runs.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        settings: RouterSettings,
        validate: bool,
        keep_records: bool,
        make_router: MakeRouter,
    ) -> None:
        super().__init__(scenario, keep_records=keep_records)
        self.skew_s = 0.0
        self.digest = 0
        self.probes = 0
        self.router = make_router(
            self._specs(0.0),
            now_s=0.0,
            settings=settings,
            draws=Random(f"{scenario.seed}/router").random,
        )
        self._validate = validate
        self._tick_at_s = UNLIMITED
        self._on_tick = self._tick

    def _specs(self, now_s: float) -> list[SiteSpec]:
        """What discovery knows at that time."""
        return [
            SiteSpec(plan.name, plan.tier, plan.max_in_flight, plan.max_queue, plan.probe_payload, plan.site)
            for plan in self.scenario.sites
            if plan.is_known(now_s)
        ]

    def endpoints_change(self, now_s: float, _a: Any, _b: Any) -> None:
        """Discovery tells the router which endpoints there are."""
        before = dict(self.router.links)
        instructions = self.router.reconfigure(self._specs(now_s), now_s + self.skew_s)
        for site in self.sites:
            link = self.router.links.get(site.name)
            if link is None:
                site.known_since_s = UNLIMITED
            elif before.get(site.name) is None:
                site.known_since_s = now_s
            for known in (before.get(site.name), link):
                self.ledger.joined(site.name, known)
        self.digest = hash((self.digest, ENDPOINTS, len(self.router.links), now_s))
        self._told(instructions, now_s)

    # What the router says.

    def _told(self, instructions: Sequence[Instruction], now_s: float) -> None:
        """After each event: carry out what came of it, and see when the router wants to be woken."""
        if instructions:
            for instruction in instructions:
                kind = instruction.__class__
                if kind is Send:
                    self._send(instruction.attempt, now_s)
                elif kind is Answer:
                    self._answer(instruction.request, instruction.attempt, now_s)
                else:
                    self._told_else(instruction, now_s)
        clock_s = now_s + self.skew_s
        if self._validate:
            self.router.validate_state(clock_s)
        wake_s = max(self.router.wake_s - self.skew_s, now_s + TIMER_GRAIN_S)
        if wake_s < self._tick_at_s:
            self._tick_at_s = wake_s
            heappush(self._heap, (wake_s, next(self._numbers), self._on_tick, None, None))

    def _told_else(self, instruction: Instruction, now_s: float) -> None:
        kind = instruction.__class__
        if kind is Cancel:
            self._cancel(instruction.attempt, now_s)
        elif kind is Reject:
            ticket = instruction.request.context
            self.digest = hash(
                (self.digest, REJECT, ticket.number, now_s, instruction.error.code.value == "UNAVAILABLE")
            )
            self.ledger.ended(ticket, REJECTED, None, now_s, now_s + self.skew_s)
        elif kind is SendProbe:
            self._send_probe(instruction.probe, now_s)
        elif kind is CloseConnections:
            self._close(self._by_name[instruction.link.name], now_s)
        elif kind is Warm:
            self._warm(self._by_name[instruction.link.name], instruction, now_s)
        elif kind is LinkChanged:
            site = self._by_name[instruction.link.name]
            self.digest = hash((self.digest, CHANGE, site.index, len(instruction.after), now_s))
            self.ledger.changed(instruction, now_s)
        else:
            raise TypeError(f"no such instruction: {instruction!r}")

    def _send(self, attempt: Attempt, now_s: float) -> None:
        request = attempt.request
        ticket: Ticket = request.context
        site = self._by_name[attempt.link.name]
        way = site.way
        load = ticket.load
        job = Job(site, attempt, None, ticket, size_bytes=load.size_bytes, answer_bytes=load.answer_bytes)
        attempt.carrier = job
        way.jobs[job] = None
        self.digest = hash((self.digest, SEND, ticket.number, site.index, attempt.number, now_s))
        self.ledger.sent(attempt, ticket, site, now_s, now_s + self.skew_s)
        if way.idle:
            job.fit = way.take(now_s)
            self._write(job, now_s)
        elif way.no_connections:
            self.at(now_s, self._no_connection, job)
        else:
            self.router.waits(attempt)
            self._connect(job, now_s)

    def _write(self, job: Job, now_s: float) -> None:
        """The request leaves the gateway."""
        site = job.site
        way = site.way
        ticket = job.ticket
        job.written = True
        job.budget_s = ticket.deadline_s - now_s - self.skew_s
        if ticket.seen_at is None:
            ticket.seen_at = site
        size_bytes = job.size_bytes
        if way.cuts_up or size_bytes > way.swallows_over_bytes:
            job.held = True
            way.hold(now_s, self._on_reach, job, True, size_bytes=size_bytes, upwards=True)
            self.at(now_s + USER_TIMEOUT_S, self._user_timeout, job)
        elif site.resets:
            self.at(now_s + 2 * way.delay_s, self.broke, job)
        else:
            up_s = way.up_s(now_s, size_bytes)
            if size_bytes > FLIGHT_BYTES and not job.fit:
                up_s += way.more_flights_s(size_bytes)
            heappush(self._heap, (up_s, next(self._numbers), self._on_reach, job, False))

    def _connect(self, job: Job, now_s: float) -> None:
        way = job.site.way
        if way.unreachable:
            self.at(now_s, self._refused, job)
        elif way.cuts_up:
            way.hold(now_s, self._syn_reach, job, None, size_bytes=0, upwards=True, timeout_s=SYN_RETRANSMIT_S)
            self.at(now_s + CONNECT_TIMEOUT_S, self._connect_timeout, job)
        else:
            self._syn_reach(now_s + way.takes_s(), job, None)

    def _syn_reach(self, now_s: float, job: Job, _b: Any) -> None:
        """The site's kernel answers by itself, also for a process that stands still."""
        back_s = now_s + job.site.way.takes_s()
        self.at(back_s, self._refused if job.site.refuses else self._connected, job)

    def _cancel(self, attempt: Attempt, now_s: float) -> None:
        job: Job = attempt.carrier
        self.digest = hash((self.digest, CANCEL, job.ticket.number, attempt.number, now_s))
        if job.alive:
            self._hang_up(job, now_s)

    def _hang_up(self, job: Job, now_s: float) -> None:
        """Reset the connection: what lies unsent in it is gone, and the site learns of it if the network lets it."""
        job.alive = False
        way = job.site.way
        way.jobs.pop(job, None)
        if job.written and not way.cuts_up:
            self.at(now_s + way.takes_s(), self._hung_up, job)

    def _close(self, site: Site, now_s: float) -> None:
        self.digest = hash((self.digest, CLOSE, site.index, now_s))
        self.ledger.closed(site, now_s)
        site.way.close_idle()

    def _warm(self, site: Site, warm: Warm, now_s: float) -> None:
        self.digest = hash((self.digest, WARM, site.index, warm.connections, warm.payload_bytes, now_s))
        way = site.way
        if way.cuts_up or way.cuts_down or way.unreachable or site.refuses or way.no_connections:
            return
        new = max(0, warm.connections - way.idle - len(way.jobs))
        if warm.payload_bytes <= FLIGHT_BYTES:
            if new:
                self.at(now_s + way.takes_s() + way.takes_s(), self._warmed, site, (new, False))
            return
        # Those that are in use are fit soon. The others are idle, and busy while they are warmed.
        cold = min(way.idle - way.fit, max(0, warm.connections - way.fit - len(way.jobs)))
        way.idle -= cold
        asked_s = now_s + way.takes_s() + way.takes_s()
        if cold:
            self.at(asked_s, self._warmed, site, (cold, True))
        if new:
            self.at(asked_s + way.takes_s() + way.takes_s(), self._warmed, site, (new, True))

    @staticmethod
    def _warmed(now_s: float, site: Site, warmed: tuple[int, bool]) -> None:
        connections, fit = warmed
        way = site.way
        if not (way.cuts_up or way.cuts_down or way.unreachable or site.refuses):
            way.idle += connections
            if fit:
                way.fit += connections
                way.used_s = now_s

    def _answer(self, request: Request, attempt: Attempt, now_s: float) -> None:
        ticket: Ticket = request.context
        site = self._by_name[attempt.link.name]
        self.digest = hash((self.digest, ANSWER, ticket.number, site.index, attempt.number, now_s))
        how = ANSWERED if attempt.answer == Outcome.OK else FAILED
        self.ledger.ended(ticket, how, site, now_s, now_s + self.skew_s)

    # What the gateway notices.

    def _tick(self, now_s: float, _a: Any, _b: Any) -> None:
        if now_s >= self._tick_at_s:
            self._tick_at_s = UNLIMITED
            self._told(self.router.tick(now_s + self.skew_s), now_s)
            if self._validate:
                self.router.validate_requests()

    def came_back(self, now_s: float, job: Job, answer: tuple[Outcome, float | None]) -> None:
        """An answer arrives whole."""
        if not job.alive:
            return
        way = job.site.way
        if way.cuts_down or job.answer_bytes > way.swallows_over_bytes:
            way.hold(now_s, self._on_back, job, answer, size_bytes=job.answer_bytes, upwards=False)
            return
        job.alive = False
        del way.jobs[job]
        way.give_back(now_s, job.size_bytes, fit=job.fit)
        attempt = job.attempt
        attempt.answer, retry_after_s = answer
        site = job.site
        if attempt.answer in _NOT_RUN and job.ticket.seen_at is site:
            job.ticket.seen_at = None
        if job.ticket.load.route.confidence:
            attempt.confidence = self._service() if site.tier == "edge" else EVEN_CONFIDENCE
        self._told(
            self.router.answered(
                attempt,
                answer[0],
                now_s + self.skew_s,
                queue_depth=len(site.waiting) if site.plan.reports_queue else None,
                retry_after_s=retry_after_s,
            ),
            now_s,
        )

    def dripped(self, now_s: float, job: Job, _b: Any) -> None:
        if not job.alive or not job.site.drips:
            return
        if not job.site.way.cuts_down:
            self._told(self.router.bytes_came(job.attempt, now_s + self.skew_s), now_s)
        if job.alive:
            self.at(now_s + DRIP_EVERY_S, self.dripped, job)

    def _failed(self, now_s: float, job: Job, failure: Failure) -> None:
        if job.alive:
            job.alive = False
            del job.site.way.jobs[job]
            self._told(self.router.failed(job.attempt, failure, now_s + self.skew_s), now_s)

    def _connected(self, now_s: float, job: Job, _b: Any) -> None:
        if not job.alive:
            return
        way = job.site.way
        if way.cuts_down:
            way.hold(now_s, self._connected, job, None, size_bytes=0, upwards=False, timeout_s=SYN_RETRANSMIT_S)
            self.at(now_s + CONNECT_TIMEOUT_S, self._connect_timeout, job)
            return
        self._write(job, now_s)
        self._told(self.router.sent(job.attempt, now_s + self.skew_s), now_s)

    def _connect_timeout(self, now_s: float, job: Job, _b: Any) -> None:
        if not job.written:
            self._failed(now_s, job, Failure.CONNECT)

    def _user_timeout(self, now_s: float, job: Job, _b: Any) -> None:
        if job.held:
            self._failed(now_s, job, Failure.LOST)

    def _refused(self, now_s: float, job: Job, _b: Any) -> None:
        if not job.site.way.cuts_down or job.site.way.unreachable:
            self._failed(now_s, job, Failure.CONNECT)
        else:
            self.at(now_s + CONNECT_TIMEOUT_S, self._connect_timeout, job)

    def _no_connection(self, now_s: float, job: Job, _b: Any) -> None:
        self._failed(now_s, job, Failure.POOL)

    def broke(self, now_s: float, job: Job, _b: Any) -> None:
        self._failed(now_s, job, Failure.LOST)

    # Probes.

    def _send_probe(self, probe: Probe, now_s: float) -> None:
        self.probes += 1
        site = self._by_name[probe.link.name]
        way = site.way
        self.digest = hash((self.digest, PROBE, site.index, probe.payload_bytes, now_s))
        size_bytes = HEADER_BYTES + probe.payload_bytes
        job = Job(site, None, probe, None, size_bytes=size_bytes, answer_bytes=size_bytes)
        self.at(now_s + probe.timeout_s, self.probe_ended, job, False)
        fresh = probe.fresh or not way.idle
        if fresh and way.unreachable:
            self.at(now_s, self.probe_ended, job, False)
        elif way.cuts_up or size_bytes > way.swallows_over_bytes:
            way.hold(now_s, self._probe_reach, job, None, size_bytes=size_bytes, upwards=True)
        else:
            handshake_s = way.takes_s() + way.takes_s() if fresh else 0.0
            if fresh and site.refuses:
                self.at(now_s + handshake_s, self.probe_ended, job, True)
            else:
                self.at(way.up_s(now_s + handshake_s, size_bytes), self._probe_reach, job)

    def probe_came_back(self, now_s: float, job: Job, _b: Any) -> None:
        if not job.alive:
            return
        site = job.site
        if site.way.swallows_down(job.answer_bytes):
            site.way.hold(now_s, self.probe_came_back, job, None, size_bytes=job.answer_bytes, upwards=False)
            return
        job.alive = False
        self._told(self.router.probe_answered(job.probe, now_s + self.skew_s, ready=not site.not_ready), now_s)

    def probe_ended(self, now_s: float, job: Job, refused: Any) -> None:
        if job.alive:
            job.alive = False
            self._told(self.router.probe_failed(job.probe, now_s + self.skew_s, refused=refused), now_s)
