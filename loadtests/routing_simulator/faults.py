"""What each kind of fault does to a way or a site when it begins and when it ends."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from edgewise.core.routing.calls import Outcome
from routing_simulator.scenario import UNLIMITED, Fault, FaultKind
from routing_simulator.sites import Site

if TYPE_CHECKING:
    from routing_simulator.world import World

RETRY_AFTER_S: Final = 0.5

Change = Callable[["World", Site, Fault, float], None]


def _cut(up: int, down: int) -> tuple[Change, Change]:
    def begin(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
        site.way.cuts_up += up
        site.way.cuts_down += down

    def end(world: "World", site: Site, _fault: Fault, now_s: float) -> None:
        site.way.cuts_up -= up
        site.way.cuts_down -= down
        world.release(site, now_s)

    return begin, end


def _count(name: str) -> tuple[Change, Change]:
    """A condition that holds as long as one of its faults does."""

    def begin(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
        setattr(site, name, getattr(site, name) + 1)

    def end(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
        setattr(site, name, getattr(site, name) - 1)

    return begin, end


def _way_value(name: str, usual: Callable[[Site], float], *, added: bool = False) -> tuple[Change, Change]:
    """A number of the way that is another one meanwhile."""

    def begin(_world: "World", site: Site, fault: Fault, _now_s: float) -> None:
        setattr(site.way, name, usual(site) + fault.value if added else fault.value)

    def end(world: "World", site: Site, _fault: Fault, now_s: float) -> None:
        setattr(site.way, name, usual(site))
        world.release(site, now_s)

    return begin, end


def _errors(outcome: Outcome, retry_after_s: float | None) -> tuple[Change, Change]:
    def begin(_world: "World", site: Site, fault: Fault, _now_s: float) -> None:
        site.error = (outcome, fault.value, retry_after_s)

    def end(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
        site.error = None

    return begin, end


def _flap_begin(world: "World", site: Site, fault: Fault, now_s: float) -> None:
    """Cut now, healed after `value` seconds, and so on; `World.flip` carries it on."""
    world.flip(now_s, site, (fault, True))


def _nothing(_world: "World", _site: Site, _fault: Fault, _now_s: float) -> None:
    pass


def _break_all(world: "World", site: Site, _fault: Fault, now_s: float) -> None:
    world.break_all(site, now_s)


def _reset_begin(world: "World", site: Site, _fault: Fault, now_s: float) -> None:
    site.resets += 1
    world.break_all(site, now_s)


def _reset_end(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
    site.resets -= 1


def _kill_begin(world: "World", site: Site, _fault: Fault, now_s: float) -> None:
    site.die()
    site.dead += 1
    site.refuses += 1
    world.break_all(site, now_s)


def _kill_end(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
    site.dead -= 1
    site.refuses -= 1


def _unreachable_begin(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
    site.way.cuts_up += 1
    site.way.cuts_down += 1
    site.way.unreachable += 1


def _unreachable_end(world: "World", site: Site, _fault: Fault, now_s: float) -> None:
    site.way.cuts_up -= 1
    site.way.cuts_down -= 1
    site.way.unreachable -= 1
    world.release(site, now_s)


def _stop_end(world: "World", site: Site, _fault: Fault, now_s: float) -> None:
    site.stopped -= 1
    if not site.stopped:
        frozen, site.frozen = site.frozen, []
        for handler, job, argument in frozen:
            world.at(now_s, handler, job, argument)


def _half_dead_begin(_world: "World", site: Site, fault: Fault, _now_s: float) -> None:
    site.swallows_over_bytes = fault.value


def _half_dead_end(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
    site.swallows_over_bytes = UNLIMITED


def _slow_begin(_world: "World", site: Site, fault: Fault, _now_s: float) -> None:
    site.slow = fault.value


def _slow_end(_world: "World", site: Site, _fault: Fault, _now_s: float) -> None:
    site.slow = 1.0


def _drip_end(world: "World", site: Site, _fault: Fault, now_s: float) -> None:
    site.drips -= 1
    if not site.drips:
        late, site.answers_late = site.answers_late, []
        for job, outcome in late:
            world.answer_whole(job, outcome, now_s)


_KINDS: Final[dict[FaultKind, tuple[Change, Change]]] = {
    FaultKind.CUT: _cut(1, 1),
    FaultKind.CUT_UP: _cut(1, 0),
    FaultKind.CUT_DOWN: _cut(0, 1),
    FaultKind.SIZE_BLACKHOLE: _way_value("swallows_over_bytes", lambda _site: UNLIMITED),
    FaultKind.FLAP: (_flap_begin, _nothing),
    FaultKind.RESET: (_reset_begin, _reset_end),
    FaultKind.FIN: (_break_all, _nothing),
    FaultKind.REFUSE: _count("refuses"),
    FaultKind.UNREACHABLE: (_unreachable_begin, _unreachable_end),
    FaultKind.KILL: (_kill_begin, _kill_end),
    FaultKind.STOP: (_count("stopped")[0], _stop_end),
    FaultKind.HALF_DEAD: (_half_dead_begin, _half_dead_end),
    FaultKind.SLOW: (_slow_begin, _slow_end),
    FaultKind.DRIP: (_count("drips")[0], _drip_end),
    FaultKind.ERRORS_500: _errors(Outcome.SITE_ERROR, None),
    FaultKind.ERRORS_503: _errors(Outcome.OVERLOADED, RETRY_AFTER_S),
    FaultKind.ERRORS_429: _errors(Outcome.OVERLOADED, None),
    FaultKind.NOT_READY: _count("not_ready"),
    FaultKind.NOT_SERVED: _count("not_served"),
    FaultKind.BANDWIDTH: _way_value("bandwidth_bytes_s", lambda site: site.plan.bandwidth_bytes_s),
    FaultKind.LOSS: _way_value("loss", lambda site: site.plan.loss),
    FaultKind.DELAY: _way_value("delay_s", lambda site: site.plan.rtt_s / 2, added=True),
    FaultKind.NO_CONNECTIONS: (
        lambda _world, site, _fault, _now_s: setattr(site.way, "no_connections", site.way.no_connections + 1),
        lambda _world, site, _fault, _now_s: setattr(site.way, "no_connections", site.way.no_connections - 1),
    ),
}


def begin(world: "World", site: Site, fault: Fault, now_s: float) -> None:
    """The fault comes into force."""
    site.faults += 1
    site.good_since_s = UNLIMITED
    _KINDS[fault.kind][0](world, site, fault, now_s)


def end(world: "World", site: Site, fault: Fault, now_s: float) -> None:
    """The fault is over."""
    _KINDS[fault.kind][1](world, site, fault, now_s)
    site.faults -= 1
    if not site.faults:
        site.good_since_s = now_s
