"""Whatever goes wrong and whenever: the invariants of `routing_simulator/ledger.py` hold, and the system comes back.

Every run takes the same examples; `HYPOTHESIS_PROFILE=long` takes many more, others each time, and makes those that fail
smaller. A failing example is printed as a scenario; its seed replays it exactly.
"""

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st
from routing_simulator.replay import RecordingRouter, replay
from routing_simulator.rolling_update import endpoints
from routing_simulator.scenario import UNLIMITED, WORLD_WIDE, Fault, FaultKind, Load, Scenario, SitePlan
from routing_simulator.simulation import Simulation

from edgewise.core.routing.routes import Route, RouteKind

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
pytestmark = pytest.mark.timeout(7_200 if LONG else 120)
BASE_REQUESTS = 1_500  # an example has about so many before its faults are over

examples = settings(
    deadline=None,
    max_examples=2_000 if LONG else 24,
    derandomize=not LONG,
    # A scenario is hundreds of draws and a fraction of a second: making it smaller takes minutes.
    phases=list(Phase) if LONG else [Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
few_examples = settings(examples, max_examples=500 if LONG else 6)

LATEST_FAULT_S = 12.0
LONGEST_FAULT_S = 8.0

_VALUES = {
    FaultKind.SIZE_BLACKHOLE: (600.0, 1_200.0, 8_000.0),
    FaultKind.FLAP: (0.2, 1.0, 5.0),
    FaultKind.HALF_DEAD: (600.0, 1_200.0, 8_000.0),
    FaultKind.SLOW: (3.0, 10.0, 50.0),
    FaultKind.ERRORS_500: (0.1, 0.5, 1.0),
    FaultKind.ERRORS_503: (0.1, 0.5, 1.0),
    FaultKind.ERRORS_429: (0.1, 0.5, 1.0),
    FaultKind.BANDWIDTH: (8_000.0, 100_000.0),
    FaultKind.LOSS: (0.01, 0.1, 0.3),
    FaultKind.DELAY: (0.05, 0.3, 1.0),
    FaultKind.CLOCK_JUMP: (0.05, 0.5, 3.0, 30.0),
    FaultKind.PAUSE: (0.02, 0.2, 2.0),
}


@st.composite
def sites(draw, index, tier):
    far = tier == "cloud"
    service_s = draw(st.sampled_from([0.003, 0.008, 0.03]))
    return SitePlan(
        f"{tier}-{index}",
        tier,
        rtt_s=draw(st.sampled_from([0.005, 0.06, 0.3] if far else [0.0005, 0.005])),
        jitter_s=draw(st.sampled_from([0.0, 0.002, 0.02])),
        loss=draw(st.sampled_from([0.0, 0.0, 0.0, 0.001])),
        workers=draw(st.sampled_from([16, 32])),
        service_s=service_s,
        exponential=draw(st.booleans()),
        max_in_flight=draw(st.sampled_from([64, 256])),
        max_queue=draw(st.sampled_from([16, 1024])),
        probe_payload=draw(st.booleans()),
        reports_queue=draw(st.booleans()),
    )


@st.composite
def endpoints_of(draw, plan):
    """The site itself, or two or three endpoints, some of which join or leave meanwhile, or both."""
    count = draw(st.sampled_from([1, 1, 2, 3]))
    if count == 1:
        return (plan,)
    times_s = st.floats(0.1, LATEST_FAULT_S)
    several = []
    for endpoint in endpoints(plan, count):
        away = draw(st.sampled_from(["never", "never", "first", "last", "between"]))
        since_s = 0.0 if away == "first" else draw(times_s)
        until_s = UNLIMITED if away == "last" else draw(times_s)
        known = away == "never" or since_s >= until_s
        several.append(endpoint if known else replace(endpoint, away=((since_s, until_s),)))
    return tuple(several)


@st.composite
def faults(draw, names):
    kind = draw(st.sampled_from(list(FaultKind)))
    return Fault(
        kind,
        "" if kind in WORLD_WIDE else draw(st.sampled_from(names)),
        draw(st.floats(0.0, LATEST_FAULT_S)),
        0.0 if kind in WORLD_WIDE else draw(st.floats(0.05, LONGEST_FAULT_S)),
        draw(st.sampled_from(_VALUES[kind])) if kind in _VALUES else 0.0,
    )


@st.composite
def loads(draw, index, names, rate_hz, *, hurried):
    kind = draw(st.sampled_from([RouteKind.PREFER_CLOUD, *RouteKind]))
    weights = {name: draw(st.sampled_from([0.0, 1.0, 3.0])) for name in names} if kind is RouteKind.WEIGHTS else {}
    return Load(
        f"model-{index}",
        Route(
            kind,
            weights,
            confidence=draw(st.sampled_from([0.1, 0.5, 0.9])),
            hedge_ratio=draw(st.sampled_from([0.0, 0.01, 0.01, 0.2])),
            deadline_s=draw(st.sampled_from([1.0, 3.0, 10.0])),
        ),
        rate_hz=rate_hz,
        poisson=draw(st.booleans()),
        size_bytes=draw(st.sampled_from([300, 2_000, 30_000])),
        answer_bytes=draw(st.sampled_from([300, 4_000])),
        # A site that cannot answer within the deadline is not heard from at all.
        deadline_s=draw(st.sampled_from([None, None, 0.3 if hurried else 1.0, 2.0])),
        non_idempotent_share=draw(st.sampled_from([0.0, 0.1])),
        cancel_share=draw(st.sampled_from([0.0, 0.05])),
    )


@st.composite
def scenarios(draw):
    clouds = draw(st.integers(1, 3))
    edges = draw(st.integers(1, 2))
    single = tuple(draw(sites(index, "cloud" if index < clouds else "edge")) for index in range(clouds + edges))
    plans = tuple(endpoint for plan in single for endpoint in draw(endpoints_of(plan)))
    names = [plan.name for plan in single]
    targets = list(dict.fromkeys([*names, *(plan.name for plan in plans)]))
    models = draw(st.integers(1, 3))
    # Each site could carry everything at 0.6 of what it has.
    carried_hz = min(0.6 * plan.workers / plan.service_s for plan in plans)
    far_s = max(plan.rtt_s for plan in plans)
    rate_hz = min(carried_hz, BASE_REQUESTS / LATEST_FAULT_S) / models
    several = tuple(draw(loads(index, names, rate_hz, hurried=far_s < 0.1)) for index in range(models))
    wrong = tuple(draw(faults(targets)) for _ in range(draw(st.integers(0, 5))))
    return Scenario(plans, several, wrong, seed=draw(st.integers(0, 2**32)), ends_s=LATEST_FAULT_S)


def overlapping(scenario):
    """Faults that set one number of one site twice at a time; the second would end the first."""
    setting = [fault for fault in scenario.faults if fault.kind in _VALUES and fault.kind is not FaultKind.FLAP]
    return any(
        first is not second
        and first.kind is second.kind
        and not {plan.name for plan in scenario.struck(first)}.isdisjoint(plan.name for plan in scenario.struck(second))
        and first.starts_s <= second.starts_s <= first.ends_s
        for first in setting
        for second in setting
    )


@given(scenarios())
@examples
def test_nothing_is_lost_that_a_site_could_have_answered_and_everything_comes_back(scenario):
    assume(not overlapping(scenario))
    simulation = Simulation(scenario, validate=True).run()
    note(f"{scenario}; {simulation.arrivals} requests, {dict(simulation.ledger.sends)}, {simulation.ledger.moves}")
    assert simulation.ledger.violations == []


@given(scenarios())
@few_examples
def test_a_seed_replays_a_run_exactly(scenario):
    first, second = (Simulation(scenario).run() for _ in range(2))
    assert first.digest == second.digest
    assert first.ledger.ends == second.ledger.ends


@given(scenarios())
@few_examples
def test_a_log_of_events_replays_to_the_same_instructions(scenario):
    simulation = Simulation(scenario, make_router=RecordingRouter)
    simulation.run_until(LATEST_FAULT_S)
    log = simulation.router.log
    assert len(log.events) > 100
    assert replay(log) is None
