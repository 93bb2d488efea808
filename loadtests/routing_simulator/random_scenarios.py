"""Scenarios from a seed."""

from random import Random
from typing import Final

from edgewise.core.routing.routes import Route, RouteKind
from routing_simulator.rolling_update import endpoints, rolling_update
from routing_simulator.scenario import WORLD_WIDE, Fault, FaultKind, Load, Scenario, SitePlan, random_fault

LARGE_RATE_HZ: Final = 8_000.0
LARGE_MODELS: Final = 40  # fewer than the router learns apart
FAULT_FREE_RATIO: Final = 0.1  # of the run, at its beginning
LONGEST_FAULT_RATIO: Final = 0.15
FAULTS_OF_A_SITE: Final = 2
SEVERAL_RATIO: Final = 0.2  # of the sites have several endpoints
ROLLED_RATIO: Final = 0.5  # of those have them exchanged
# `fastest` and `weights` look at every site for every request.
_KINDS: Final = (
    (RouteKind.PREFER_CLOUD, 50),
    (RouteKind.PREFER_EDGE, 20),
    (RouteKind.CASCADE, 10),
    (RouteKind.CLOUD_ONLY, 5),
    (RouteKind.EDGE_ONLY, 5),
    (RouteKind.WEIGHTS, 5),
    (RouteKind.FASTEST, 5),
)


def large_scenario(*, requests: int, sites: int, seed: int) -> Scenario:
    """Many sites and models, and faults at each of them.

    Args:
        requests: at least so many arrive.
        sites: two in five of them in the cloud, at least one. Some have several endpoints, and some of those exchange them.
    """
    random = Random(f"{seed}/scenario")
    lasts_s = requests / LARGE_RATE_HZ
    named = tuple(_site(random, index, "cloud" if index < max(1, sites * 2 // 5) else "edge") for index in range(sites))
    loads = tuple(_load(random, index, named) for index in range(LARGE_MODELS))
    faults: list[Fault] = []
    kinds = [kind for kind in FaultKind if kind not in WORLD_WIDE]
    starts_s = FAULT_FREE_RATIO * lasts_s
    longest_s = LONGEST_FAULT_RATIO * lasts_s
    for plan in named:
        for _ in range(FAULTS_OF_A_SITE):
            kind = random.choice(kinds)
            begins_s = random.uniform(starts_s, lasts_s - longest_s)
            faults.append(random_fault(random, plan.name, kind=kind, starts_s=begins_s, longest_s=longest_s))
    plans: list[SitePlan] = []
    for plan in named:
        several, gone = (
            _endpoints(random, plan, starts_s, lasts_s) if random.random() < SEVERAL_RATIO else ((plan,), ())
        )
        plans += several
        faults += gone
        if len(several) > 1:
            one = random.choice(several).name
            kind = random.choice(kinds)
            begins_s = random.uniform(starts_s, lasts_s - longest_s)
            faults.append(random_fault(random, one, kind=kind, starts_s=begins_s, longest_s=longest_s))
    faults += (
        random_fault(random, "", kind=kind, starts_s=random.uniform(starts_s, lasts_s - longest_s), longest_s=longest_s)
        for kind in sorted(WORLD_WIDE)
    )
    return Scenario(tuple(plans), loads, tuple(faults), seed=seed, ends_s=lasts_s)


def _endpoints(
    random: Random, plan: SitePlan, starts_s: float, ends_s: float
) -> tuple[tuple[SitePlan, ...], tuple[Fault, ...]]:
    """Two to four endpoints instead of the site, and what happens when they are exchanged."""
    several = endpoints(plan, random.choice((2, 3, 4)))
    if random.random() >= ROLLED_RATIO:
        return several, ()
    begins_s = random.uniform(starts_s, 0.5 * ends_s)
    return rolling_update(several, starts_s=begins_s, each_s=0.4 * ends_s / len(several))


def _site(random: Random, index: int, tier: str) -> SitePlan:
    far = tier == "cloud"
    return SitePlan(
        f"{tier}-{index}",
        tier,
        rtt_s=random.choice((0.005, 0.02, 0.06, 0.15) if far else (0.0005, 0.002, 0.005)),
        jitter_s=random.choice((0.0, 0.002)),
        loss=random.choice((0.0, 0.0, 0.001)),
        workers=random.choice((32, 64) if far else (8, 16)),
        service_s=random.choice((0.004, 0.008)),
        exponential=random.random() < 0.7,
        probe_payload=random.random() < 0.7,
        reports_queue=random.random() < 0.7,
    )


def _load(random: Random, index: int, plans: tuple[SitePlan, ...]) -> Load:
    kind = random.choices([kind for kind, _ in _KINDS], [share for _, share in _KINDS])[0]
    weights = {plan.name: random.choice((0.0, 1.0, 3.0)) for plan in plans} if kind is RouteKind.WEIGHTS else {}
    return Load(
        f"model-{index}",
        Route(kind, weights, confidence=0.2, deadline_s=random.choice((1.0, 3.0, 10.0))),
        rate_hz=LARGE_RATE_HZ / LARGE_MODELS,
        poisson=random.random() < 0.8,
        size_bytes=random.choice((500, 2_000, 30_000)),
        answer_bytes=random.choice((300, 4_000)),
        non_idempotent_share=random.choice((0.0, 0.0, 0.05)),
        cancel_share=random.choice((0.0, 0.0, 0.01)),
    )
