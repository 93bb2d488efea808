"""A rolling update of the endpoints of a site, as Kubernetes makes one: one joins, an old one leaves, finishes, and is gone."""

from dataclasses import replace

from routing_simulator.scenario import UNLIMITED, Fault, FaultKind, SitePlan


def endpoints(plan: SitePlan, count: int, *, first: int = 0) -> tuple[SitePlan, ...]:
    """So many endpoints like `plan`, of a site of its name."""
    return tuple(replace(plan, name=f"{plan.name}/{first + number}", site=plan.name) for number in range(count))


def rolling_update(
    old: tuple[SitePlan, ...],
    *,
    starts_s: float,
    each_s: float,
    told_after_s: float = 0.05,
    grace_s: float = 1.0,
) -> tuple[tuple[SitePlan, ...], tuple[Fault, ...]]:
    """Exchange endpoints one by one.

    Args:
        old: the endpoints of one site.
        starts_s: the first new one joins then.
        each_s: between one and the next; the old one goes after half of it.
        told_after_s: an old one says that it is not ready, and so much later the gateway is told that it has left.
        grace_s: from then until its process is gone.
    Returns: all endpoints, old and new, and what happens to the old ones.
    """
    plans: list[SitePlan] = []
    faults: list[Fault] = []
    for number, plan in enumerate(old):
        joins_s = starts_s + number * each_s
        stops_s = joins_s + 0.5 * each_s
        leaves_s = stops_s + told_after_s
        plans += (
            replace(plan, away=((leaves_s, UNLIMITED),)),
            replace(plan, name=f"{plan.name}-new", away=((0.0, joins_s),)),
        )
        faults += (
            Fault(FaultKind.NOT_READY, plan.name, stops_s, told_after_s + grace_s),
            Fault(FaultKind.KILL, plan.name, leaves_s + grace_s, 1.0),
        )
    return tuple(plans), tuple(faults)
