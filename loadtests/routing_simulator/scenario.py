"""What a run is made of: sites, loads, faults and a seed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

from edgewise.core.routing.routes import DEFAULT_ROUTE, Route

UNLIMITED: Final = float("inf")


@dataclass(frozen=True, slots=True)
class SitePlan:
    """A site and the way to it, without any fault; or one endpoint of a site that has several.

    Attributes:
        rtt_s: there and back, without jitter.
        jitter_s: added to each direction, uniform in [0, jitter_s).
        loss: share of messages that are lost once and cost a retransmission timeout.
        bandwidth_bytes_s: each direction.
        workers: requests that run at the same time.
        service_s: mean of a request's run.
        exponential: runs vary (exponential); False: all alike.
        site_queue: requests that wait at the site itself; beyond it answers 503.
        max_in_flight, max_queue, probe_payload: as the router is told.
        reports_queue: its answers say how many requests wait there.
        site: whose endpoint it is, "" for a site that is one itself.
        away: from when to when the router does not know of it; it joins when one is over and leaves when one begins.
    """

    name: str
    tier: str
    rtt_s: float = 0.06
    jitter_s: float = 0.0
    loss: float = 0.0
    bandwidth_bytes_s: float = UNLIMITED
    workers: int = 16
    service_s: float = 0.008
    exponential: bool = True
    site_queue: int = 4096
    max_in_flight: int = 256
    max_queue: int = 1024
    probe_payload: bool = True
    reports_queue: bool = True
    site: str = ""
    away: tuple[tuple[float, float], ...] = ()

    def is_known(self, now_s: float) -> bool:
        """Whether the router is told of it at that time."""
        return not any(since_s <= now_s < until_s for since_s, until_s in self.away)


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one model, open loop.

    Attributes:
        rate_hz: requests a second.
        poisson: exponential gaps; False: constant ones.
        size_bytes, answer_bytes: of each request and of its answer.
        deadline_s: what the requests bring; None leaves the route's.
        non_idempotent_share, cancel_share: of the requests; a cancel comes within the first `cancel_within_s`.
        starts_s, ends_s: when requests arrive.
    """

    model: str = "m"
    route: Route = DEFAULT_ROUTE
    rate_hz: float = 100.0
    poisson: bool = True
    size_bytes: int = 2_000
    answer_bytes: int = 500
    deadline_s: float | None = None
    non_idempotent_share: float = 0.0
    cancel_share: float = 0.0
    cancel_within_s: float = 0.2
    starts_s: float = 0.0
    ends_s: float = UNLIMITED


class FaultKind(StrEnum):
    """What can go wrong; `value` of the fault is in brackets."""

    CUT = "cut"  # packets vanish both ways
    CUT_UP = "cut-up"  # towards the site only
    CUT_DOWN = "cut-down"  # from the site only
    SIZE_BLACKHOLE = "size-blackhole"  # messages of more than [bytes] vanish
    FLAP = "flap"  # cut and healed in turn, each for [seconds]
    RESET = "reset"  # connections are reset, and new ones as soon as they are used
    FIN = "fin"  # all connections are closed once, in good order
    REFUSE = "refuse"  # no new connections
    UNREACHABLE = "unreachable"  # the interface is down: a cut that new connections notice at once
    KILL = "kill"  # the process dies: resets, then refuses; what it held is gone
    STOP = "stop"  # the process stands still, the kernel accepts; all is answered when it goes on
    HALF_DEAD = "half-dead"  # requests of more than [bytes] are never answered, also afterwards
    SLOW = "slow"  # runs take [times] longer
    DRIP = "drip"  # answers come byte by byte and are not whole before the fault ends
    ERRORS_500 = "errors-500"  # a share of [0..1]
    ERRORS_503 = "errors-503"  # likewise, with a Retry-After
    ERRORS_429 = "errors-429"
    NOT_READY = "not-ready"  # 503 for all, and probes are told so
    NOT_SERVED = "not-served"  # 404 for all models
    BANDWIDTH = "bandwidth"  # [bytes a second] each way
    LOSS = "loss"  # a share of [0..1] is retransmitted
    DELAY = "delay"  # [seconds] more each way
    NO_CONNECTIONS = "no-connections"  # the carrier's pool is empty
    CLOCK_JUMP = "clock-jump"  # the caller's clock is [seconds] further; nothing else has happened
    PAUSE = "pause"  # the caller stands still for [seconds]; the world goes on


WORLD_WIDE: Final = frozenset({FaultKind.CLOCK_JUMP, FaultKind.PAUSE})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        site: its name, or that of an endpoint; all endpoints of a site are struck. "" for those of the caller itself (clock jump,
            pause).
    """

    kind: FaultKind
    site: str
    starts_s: float
    lasts_s: float = 0.0
    value: float = 0.0

    @property
    def ends_s(self) -> float:
        """When it is over; a pause lasts as long as its value says."""
        return self.starts_s + (self.value if self.kind is FaultKind.PAUSE else self.lasts_s)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run.

    Attributes:
        ends_s: the load lasts at least so long, and until everything is as it was at first.
    """

    sites: tuple[SitePlan, ...]
    loads: tuple[Load, ...]
    faults: tuple[Fault, ...] = field(default=())
    seed: int = 1
    ends_s: float = 10.0

    @property
    def healed_s(self) -> float:
        """When the last fault is over, and the last endpoint has joined or left."""
        changes_s = [time_s for plan in self.sites for time_s in changes(plan)]
        return max([fault.ends_s for fault in self.faults] + changes_s, default=0.0)

    def struck(self, fault: Fault) -> tuple[SitePlan, ...]:
        """The sites and endpoints that a fault is about."""
        return tuple(plan for plan in self.sites if fault.site and fault.site in {plan.name, plan.site})


def changes(plan: SitePlan) -> list[float]:
    """When the router is told that an endpoint has joined or left."""
    return [time_s for away in plan.away for time_s in away if 0.0 < time_s < UNLIMITED]


# What `value` a random fault of the kind has; kinds that are missing have none.
_VALUES: Final[dict[FaultKind, Callable[[Random], float]]] = {
    FaultKind.SIZE_BLACKHOLE: lambda random: random.choice((600, 1_200, 8_000)),
    FaultKind.FLAP: lambda random: random.choice((0.2, 1.0, 5.0)),
    FaultKind.HALF_DEAD: lambda random: random.choice((600, 1_200, 8_000)),
    FaultKind.SLOW: lambda random: random.choice((3.0, 10.0, 50.0)),
    FaultKind.ERRORS_500: lambda random: random.choice((0.1, 0.5, 1.0)),
    FaultKind.ERRORS_503: lambda random: random.choice((0.1, 0.5, 1.0)),
    FaultKind.ERRORS_429: lambda random: random.choice((0.1, 0.5, 1.0)),
    FaultKind.BANDWIDTH: lambda random: random.choice((8_000.0, 100_000.0)),
    FaultKind.LOSS: lambda random: random.choice((0.01, 0.1, 0.3)),
    FaultKind.DELAY: lambda random: random.choice((0.05, 0.3, 1.0)),
    FaultKind.CLOCK_JUMP: lambda random: random.choice((0.05, 0.5, 3.0, 30.0)),
    FaultKind.PAUSE: lambda random: random.choice((0.02, 0.2, 2.0)),
}


def random_fault(random: Random, site: str, *, kind: FaultKind, starts_s: float, longest_s: float) -> Fault:
    """A fault of the kind with a value that fits it.

    Args:
        longest_s: it lasts between a twentieth of this and this.
    """
    draw_value = _VALUES.get(kind)
    return Fault(
        kind,
        "" if kind in WORLD_WIDE else site,
        starts_s,
        0.0 if kind in WORLD_WIDE else random.uniform(0.05, 1.0) * longest_s,
        draw_value(random) if draw_value else 0.0,
    )
