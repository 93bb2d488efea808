"""A site: workers, a queue in order of arrival, and the ways in which a process can be unwell."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from edgewise.core.routing.calls import Attempt, Outcome, Probe
from routing_simulator.network import Way
from routing_simulator.scenario import UNLIMITED, SitePlan

CROWDED_AT: Final = 2  # requests that wait for each worker
BUSY_AT: Final = 0.8  # of the time that all workers have


class Job:
    """An attempt or a probe on its way through network and site.

    Attributes:
        alive: the gateway still holds the connection.
        written: bytes of it have left the gateway.
        held: the network has swallowed it, and TCP tries again.
        fit: its connection has carried large messages.
        abandoned: the site knows that nobody waits any more.
        budget_s: what was left of its deadline when it was written; travels with it.
        expires_s: the site's own reading of that.
        epoch: of the process that has it.
    """

    __slots__ = (
        "abandoned",
        "alive",
        "answer_bytes",
        "attempt",
        "budget_s",
        "epoch",
        "expires_s",
        "fit",
        "held",
        "probe",
        "site",
        "size_bytes",
        "ticket",
        "written",
    )

    def __init__(
        self,
        site: "Site",
        attempt: Attempt | None,
        probe: Probe | None,
        ticket: Any,
        *,
        size_bytes: int,
        answer_bytes: int,
    ) -> None:
        self.site = site
        self.attempt = attempt
        self.probe = probe
        self.ticket = ticket
        self.size_bytes = size_bytes
        self.answer_bytes = answer_bytes
        self.alive = True
        self.written = False
        self.held = False
        self.fit = False
        self.abandoned = False
        self.budget_s = 0.0
        self.expires_s = 0.0
        self.epoch = 0


class Site:
    """One site's process.

    Attributes:
        faults: how many are in force here.
        good_since_s: without any fault since then; inf while there is one.
        spare_since_s: not crowded since then; inf while it is.
        known_since_s: the router knows of it since then; inf while it does not.
        work_s: what its workers have run or begun to run; `work_log` has this at times `(now_s, work_s)`.
        waiting: came and waits for a worker.
        frozen: what the kernel keeps for a stopped process, with what to do when it goes on.
    """

    __slots__ = (
        "answers_late",
        "busy",
        "dead",
        "drips",
        "epoch",
        "error",
        "executed",
        "expired",
        "faults",
        "frozen",
        "good_since_s",
        "index",
        "known_since_s",
        "name",
        "not_ready",
        "not_served",
        "plan",
        "random",
        "refuses",
        "resets",
        "service_s",
        "slow",
        "spare_since_s",
        "stopped",
        "swallows_over_bytes",
        "tier",
        "waiting",
        "way",
        "work_log",
        "work_s",
    )

    def __init__(self, index: int, plan: SitePlan, way: Way, random: Callable[[], float]) -> None:
        self.index = index
        self.plan = plan
        self.name = plan.name
        self.tier = plan.tier
        self.way = way
        self.random = random
        self.service_s = plan.service_s
        self.slow = 1.0
        self.busy = 0
        self.waiting: deque[Job] = deque()
        self.epoch = 0
        self.executed = 0
        self.expired = 0
        self.faults = 0
        self.good_since_s = 0.0
        self.spare_since_s = 0.0
        self.known_since_s = 0.0 if plan.is_known(0.0) else UNLIMITED
        self.work_s = 0.0
        self.work_log: deque[tuple[float, float]] = deque([(0.0, 0.0)], maxlen=10)
        self.frozen: list[tuple[Callable[[float, Any, Any], None], Job, Any]] = []
        self.stopped = 0
        self.dead = 0
        self.refuses = 0
        self.resets = 0
        self.drips = 0
        self.answers_late: list[tuple[Job, Outcome]] = []
        self.not_ready = 0
        self.not_served = 0
        self.swallows_over_bytes = UNLIMITED
        self.error: tuple[Outcome, float, float | None] | None = None  # what, which share, Retry-After

    def run_s(self) -> float:
        """How long the next request runs."""
        run_s = self.service_s * self.slow
        if self.plan.exponential:
            run_s *= -math.log(1.0 - self.random())
        self.work_s += run_s
        return run_s

    def was_good(self, since_s: float, now_s: float) -> bool:
        """Whether it could have answered anything the whole time from `since_s` until now, and had room."""
        if max(self.good_since_s, self.spare_since_s, self.known_since_s) > since_s:
            return False
        before_s, work_s = next((entry for entry in reversed(self.work_log) if entry[0] <= since_s), (0.0, 0.0))
        return self.work_s - work_s <= BUSY_AT * self.plan.workers * (now_s - before_s)

    def crowd(self, now_s: float) -> None:
        """Look whether there is room, after something came or went."""
        if len(self.waiting) > CROWDED_AT * self.plan.workers:
            self.spare_since_s = UNLIMITED
        elif self.spare_since_s == UNLIMITED:
            self.spare_since_s = now_s

    def die(self) -> None:
        """Lose all that the process held."""
        self.epoch += 1
        self.busy = 0
        self.waiting.clear()
        self.frozen.clear()
        self.answers_late.clear()
